"""Karpenter's batching window: Karpenter waits for more pods before it schedules the pending ones."""

from __future__ import annotations

from failover_testbed.capacity.karpenter import BATCH_IDLE_S, BATCH_MAX_S


class Batcher:
    """The open batch, if any. Times are seconds of any clock."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._newest = 0.0

    def add(self, now: float) -> None:
        """Adds a pod: opens a batch, or extends the open one."""
        self._since = now if self._since is None else self._since
        self._newest = now

    @property
    def due_at(self) -> float:
        """When the batch closes if no more pods come; infinity if none is open."""
        return float("inf") if self._since is None else min(self._newest + BATCH_IDLE_S, self._since + BATCH_MAX_S)

    def close(self) -> None:
        """Closes the batch; the next pod opens a new one."""
        self._since = None
