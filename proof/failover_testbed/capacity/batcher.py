"""Karpenter's batching window: it waits for further pods before it schedules those that wait."""

from __future__ import annotations

from failover_testbed.capacity.karpenter import BATCH_IDLE_S, BATCH_MAX_S


class Batcher:
    """The open batch, if there is one. Times are seconds of any clock."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._newest = 0.0

    def add(self, now: float) -> None:
        """A pod has come: it opens a batch or keeps the open one open for longer."""
        self._since = now if self._since is None else self._since
        self._newest = now

    @property
    def due_at(self) -> float:
        """When the batch closes if no further pod comes; infinity where none is open."""
        return float("inf") if self._since is None else min(self._newest + BATCH_IDLE_S, self._since + BATCH_MAX_S)

    def close(self) -> None:
        """Ends the batch; the next pod opens another."""
        self._since = None
