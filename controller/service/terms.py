"""One application's stored memory within a leadership term: read once a term, stamped with its epoch, written only while leading."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import replace
from typing import Final

import structlog

from controller.errors import Conflict, RemoteError, StateError, Unavailable
from controller.policy.floors import as_stored
from controller.policy.model import Alert, Memory
from controller.ports import EMPTY, Leadership, StateStore, StoredMemory
from controller.service.election import EFFECT_S
from controller.service.known_alerts import KnownAlerts
from controller.service.store import record_name

REFUSED_LATELY_S: Final = 60.0
"""By how much the stored time of a unit's last refusal may be behind, seconds. A NodePool at its limit refuses in every pass, for hours:
each would be a write. A replica that takes over waits that much less before it believes in a return."""

log = structlog.get_logger(__name__)


class TermRecord:
    """Loads an application's memory, and saves it while this replica leads.

    Args:
        store: Where the memory is stored.
        leadership: Says who may write.
        application: The application's key.
        alerts: What is stored beside the memory; None: nothing.
        written: By application, the last term in which this process wrote its memory, or may have written it. The records of a process
            share it: an application that is removed and added again gets another record, and what is stored is still our own. None: this
            is the only record.
    """

    def __init__(
        self,
        store: StateStore,
        leadership: Leadership,
        application: str,
        alerts: KnownAlerts | None = None,
        written: MutableMapping[str, int] | None = None,
    ) -> None:
        self._store, self._leadership, self._application, self._known = store, leadership, application, alerts
        self._stored: StoredMemory | None = None
        self._written: MutableMapping[str, int] = {} if written is None else written
        self._sent: Memory | None = None  # the memory in doubt: the answer to its write was lost, so it is stored or it is not
        self._loaded_just_now = False  # no save since then
        self.epoch = 0
        """The term in which the memory was loaded."""

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """The alerts that people knew of when the memory was stored; () once it is saved again."""
        return self._stored.alerts if self._stored is not None else ()

    def current(self) -> bool:
        """Whether the loaded memory is of the present term. In an earlier term another replica may have written since."""
        return self._stored is not None and self.epoch == self._leadership.epoch()

    def load(self) -> Memory:
        """Reads the memory.

        Raises:
            Conflict: It is of this term or a later one although this process did not write it, and no later term could begin.
            RemoteError: The memory could not be read.
            StateError: The memory was read but is not valid.
        """
        stored, epoch = self._store.load(self._application), self._leadership.epoch()
        if self._leadership.leads() and self._set_back(stored, epoch):
            log.warning("election.set_back", application=self._application, epoch=epoch, stored=stored.epoch)
            self._leadership.outrank(stored.epoch)
            epoch = self._leadership.epoch()
            if self._set_back(stored, epoch):
                raise Conflict(
                    f"state of {self._application} is of epoch {stored.epoch}, ours is {epoch}, and no later epoch could begin; "
                    f"if this lasts, delete its ConfigMap {record_name(self._application)} to begin with what the routing object shows"
                )
        self._stored, self.epoch, self._sent, self._loaded_just_now = stored, epoch, None, True
        return stored.memory

    def save(self, memory: Memory, *, with_alerts: bool = False) -> None:
        """Stores the memory if it has changed by more than a minute of refusals, and once a term: a late write of an earlier leader fails.

        What has not changed since it was loaded is stored by the second save of the term. In the first passes after a takeover, a write for
        each of a thousand applications would delay those that have something to do. An earlier leader may write until then, as it may
        before the load: our save is refused, and its memory is loaded.

        The memory is also written when its alerts are due. If that fails, the failure is logged: nothing but the alerts is missing. Does
        nothing if this replica cannot be sure that it leads in this term: it is stored later, or loaded again.

        Args:
            memory: What to store.
            with_alerts: Whether the alerts are to be written as well although they are not due.

        Raises:
            Conflict: Another process wrote it: load it again.
            RemoteError: The memory could not be written.
        """
        stored, epoch, known = self._stored, self.epoch, self._known
        if stored is None:
            return
        alike = _alike(memory, stored.memory)
        first, self._loaded_just_now = self._loaded_just_now, False
        if first and alike and stored.version and not with_alerts:
            return
        kept = alike and stored.epoch == epoch and (self._sent is None or _alike(self._sent, stored.memory))
        if kept and not (known is not None and self._leadership.leads() and (with_alerts or known.due())):
            return
        if not self._leadership.confirm(epoch, EFFECT_S):
            return
        self._written[self._application] = epoch
        try:
            stored = self._stored = self._settled(stored)
            self._stored, self._sent = self._write(memory, stored), None
        except RemoteError as error:
            if known is not None:
                known.tried(written=False)
            if not kept or with_alerts or isinstance(error, Conflict):
                raise
            log.warning("alerts.unsaved", application=self._application, error=str(error))
            return
        if known is not None:
            known.tried(written=True)

    def _settled(self, stored: StoredMemory) -> StoredMemory:
        """What is stored now if the answer to a write was lost. Otherwise our own write would count as another's.

        The next memory would be refused, and with it what was done since: a failover would be found as one made by hand.
        """
        if self._sent is None:
            return stored
        found = self._store.load(self._application)
        return found if self._is_ours(found, stored) else stored

    def _is_ours(self, found: StoredMemory, stored: StoredMemory) -> bool:
        """Whether what is found is what is known to be stored, or what was sent last and may have been stored since."""
        ours = [(stored.memory, stored.epoch), *([] if self._sent is None else [(self._sent, self.epoch)])]
        return found.epoch <= self.epoch and any(found.epoch == epoch and _alike(found.memory, memory) for memory, epoch in ours)

    def _write(self, memory: Memory, stored: StoredMemory) -> StoredMemory:
        beside = self._known.texts() if self._known is not None else EMPTY
        try:
            return self._store.save(self._application, memory, over=stored, epoch=self.epoch, beside=beside)
        except Unavailable:
            self._sent = memory
            raise
        except Conflict as error:
            touched = self._touched(stored)
            if touched is None:
                raise
            self._stored = touched
            raise Unavailable(f"{error}; its memory is as before, so that it is saved over that") from error

    def _touched(self, stored: StoredMemory) -> StoredMemory | None:
        """What is stored if somebody has changed something else of the object, as a label; None where the memory is another's, or gone.

        To load it then would lose what was done since: a failover would be found as one made by hand.

        Raises:
            Unavailable: It could not be read, so that nobody knows. The next save tries again.
        """
        try:
            found = self._store.load(self._application)
        except StateError:
            return None
        except RemoteError as error:
            raise Unavailable(f"who else wrote the state of {self._application} is not known: {error}") from error
        return found if found.version and self._is_ours(found, stored) else None

    def _set_back(self, stored: StoredMemory, epoch: int) -> bool:
        """Whether the state is of a term that should precede ours: only a deleted or edited Lease explains that."""
        ours = not stored.version or self._written.get(self._application) == epoch
        return stored.epoch > epoch or (stored.epoch == epoch and not ours)


def _alike(memory: Memory, stored: Memory) -> bool:
    """Whether two memories are equal, apart from how lately units were refused and from what is not stored at all."""
    units = {}
    for name, unit in memory.units.items():
        known = stored.units.get(name)
        lately = known is not None and 0 <= unit.last_failure_at - known.last_failure_at < REFUSED_LATELY_S
        units[name] = replace(unit, last_failure_at=known.last_failure_at) if known is not None and lately else unit
    return replace(as_stored(memory), units=units) == as_stored(stored)
