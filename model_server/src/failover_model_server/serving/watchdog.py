"""The watchdog: a batch that runs for far too long means that the accelerator hangs, and only a new process recovers it."""

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import structlog

from failover_model_server.lifecycle import Lifecycle, State

log = structlog.get_logger()

REMEMBERED = 512
"""Batches whose times are remembered."""
FACTOR = 20.0
"""A batch hangs when it takes this many times the 99th percentile, and at least the floor."""
INTERVAL = 1.0
"""Seconds between two checks."""


class Watched(Protocol):
    """The properties of a worker that the watchdog reads."""

    @property
    def number(self) -> int:
        """0, 1, and so on."""

    @property
    def busy_seconds(self) -> float:
        """How long the batch in flight has been running, seconds; 0 if there is none."""


class Watchdog:
    """Moves READY to WEDGED while a batch hangs, and back if it ends after all.

    Args:
        lifecycle: changed by it.
        workers: watched.
        floor: seconds below which no batch hangs, however fast batches usually are.
    """

    def __init__(self, lifecycle: Lifecycle, workers: Sequence[Watched], floor: float) -> None:
        self._lifecycle = lifecycle
        self._workers = workers
        self._floor = floor
        self._times: deque[float] = deque(maxlen=REMEMBERED)

    def ran(self, seconds: float) -> None:
        """Record how long a batch took."""
        self._times.append(seconds)

    @property
    def limit(self) -> float:
        """Seconds after which a batch counts as hanging."""
        if not self._times:
            return self._floor
        ordered = sorted(self._times)
        return max(self._floor, FACTOR * ordered[math.ceil(0.99 * len(ordered)) - 1])

    def check(self) -> None:
        """Compare the batches in flight with the limit."""
        longest = max(self._workers, key=lambda worker: worker.busy_seconds)
        hangs = longest.busy_seconds > self.limit
        if hangs and self._lifecycle.state is State.READY:  # a draining process ends soon, whatever hangs
            reason = f"a batch has been running on worker {longest.number} for more than {self.limit:.0f} s"
            log.error("wedged", reason=reason)
            self._lifecycle.to(State.WEDGED, reason)
        elif not hangs and self._lifecycle.state is State.WEDGED:
            log.warning("recovered", reason="the batch ended after all")
            self._lifecycle.to(State.READY, "the batch that hung has ended")

    async def run(self) -> None:
        """Check for ever."""
        while True:
            await asyncio.sleep(INTERVAL)
            self.check()
