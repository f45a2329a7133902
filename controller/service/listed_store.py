"""The stored memory of all applications, read by one list at the beginning of a leadership term instead of one request each."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import Final

import structlog

from controller.clients.kube import Object
from controller.clock import Clock
from controller.errors import RemoteError
from controller.policy.model import Memory
from controller.ports import EMPTY, Leadership, StoredMemory
from controller.service.store import ConfigMapStore, record_name

FRESH_S: Final = 30.0
"""How long after its beginning a list is used, seconds. Eight workers have passed over a thousand applications long before."""
PAUSE_S: Final = 2.0
"""How long the list waits before it requests a page again that was turned away, seconds: the other workers wait with it. Where the server
asks for more, each application reads its own record."""
LISTS: Final = 4
"""Lists within `FRESH_S` at most. Where the Lease was reset, each application may begin another term."""

log = structlog.get_logger(__name__)


class ListedStore:
    """Reads all memory by one list, and hands each record out once, within the term in which the list began.

    Within a term only this process writes, so that a record which it has not handed out is what is stored. If somebody else changed it
    after all, the first save is refused, and the next load reads it alone. So does every load that the list does not answer: a second one,
    one after `FRESH_S`, one after the list failed, and one of an application that the list does not name: its ConfigMap may have lost its
    labels.

    Args:
        store: The store to read from and write to.
        leadership: Says which term it is.
        clock: The clock.
    """

    def __init__(self, store: ConfigMapStore, leadership: Leadership, clock: Clock) -> None:
        self._store, self._leadership, self._clock = store, leadership, clock
        self._never = threading.Event()
        self._lock = threading.Lock()  # held while listing: the other workers need the same list
        self._term: int | None = None
        self._records: dict[str, Object] = {}
        self._begun: deque[float] = deque(maxlen=LISTS)  # monotonic

    def load(self, application: str) -> StoredMemory:
        """See `controller.ports.StateStore.load`."""
        with self._lock:
            found = self._take(record_name(application))
        return self._store.load(application) if found is None else self._store.read(application, found)

    def save(self, application: str, memory: Memory, *, over: StoredMemory, epoch: int, beside: Mapping[str, str] = EMPTY) -> StoredMemory:
        """See `controller.ports.StateStore.save`."""
        return self._store.save(application, memory, over=over, epoch=epoch, beside=beside)

    def _take(self, name: str) -> Object | None:
        """The record of that name if the list of this term has it. Begins a list if this term has none."""
        term, now = self._leadership.epoch(), self._clock.monotonic()
        if term != self._term and (len(self._begun) < LISTS or now - self._begun[0] >= FRESH_S):
            self._begun.append(now)
            self._term, self._records = term, self._list()
        if self._records and self._clock.monotonic() - self._begun[-1] >= FRESH_S:
            self._records = {}
        found = self._records.pop(name, None)
        return found if self._leadership.epoch() == self._term else None

    def _list(self) -> dict[str, Object]:
        try:
            return dict(self._store.listed(self._pause))
        except RemoteError as error:  # each application reads its own record, and holds if that fails too
            log.warning("state.unlisted", error=str(error))
            return {}

    def _pause(self, seconds: float) -> bool:
        return seconds > PAUSE_S or self._clock.wait(self._never, seconds)
