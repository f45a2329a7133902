"""One application's stored memory within a leadership term: read once a term, stamped with the term's epoch, written only while leading."""

from __future__ import annotations

import structlog

from controller.errors import Conflict
from controller.policy.model import Memory
from controller.ports import Leadership, StateStore, StoredMemory
from controller.service.election import EFFECT_S

log = structlog.get_logger(__name__)


class TermRecord:
    """Loads the memory of one application, and saves it while this replica leads.

    Args:
        store: Where memory is kept.
        leadership: Who may write.
        application: ``namespace/ingress``.
    """

    def __init__(self, store: StateStore, leadership: Leadership, application: str) -> None:
        self._store, self._leadership, self._application = store, leadership, application
        self._stored: StoredMemory | None = None
        self._written_in: int | None = None  # the last term in which this process wrote, or may have written
        self.epoch = 0
        """The term in which the memory was loaded."""

    def current(self) -> bool:
        """Whether what was loaded is of the present term: in an earlier one another replica may have written since."""
        return self._stored is not None and self.epoch == self._leadership.epoch()

    def load(self) -> Memory:
        """Reads the memory.

        Raises:
            Conflict: It is of this term or a later one without being ours, and a later term could not be begun.
            RemoteError: It could not be read.
            StateError: It was read but cannot be understood.
        """
        stored, epoch = self._store.load(self._application), self._leadership.epoch()
        if self._leadership.leads() and self._set_back(stored, epoch):
            log.warning("election.set_back", application=self._application, epoch=epoch, stored=stored.epoch)
            self._leadership.outrank(stored.epoch)
            epoch = self._leadership.epoch()
            if self._set_back(stored, epoch):
                raise Conflict(f"state of {self._application} is of epoch {stored.epoch}, ours is {epoch}, and no later one could be begun")
        self._stored, self.epoch = stored, epoch
        return stored.memory

    def save(self, memory: Memory) -> None:
        """Stores the memory where it changed, and once a term: a record of this term refuses what an earlier leader sends late.

        Does nothing while this replica cannot be sure that it leads in this term: it is stored later, or read anew.

        Raises:
            Conflict: Somebody else wrote: load it again.
            RemoteError: It could not be written.
        """
        stored, epoch = self._stored, self.epoch
        if stored is None or (stored.epoch == epoch and memory == stored.memory) or not self._leadership.confirm(epoch, EFFECT_S):
            return
        self._written_in = epoch
        self._stored = self._store.save(self._application, memory, over=stored, epoch=epoch)

    def _set_back(self, stored: StoredMemory, epoch: int) -> bool:
        """Whether state is of a term that ours should come after: only a Lease that was deleted or edited explains it."""
        return stored.epoch > epoch or (stored.epoch == epoch and stored.version != "" and self._written_in != epoch)
