"""The watchdog: a batch that makes no progress for far too long means that the accelerator hangs, and only a new process recovers it."""

import asyncio
import math
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Protocol

import structlog

from failover_model_server.lifecycle import Lifecycle, State
from failover_model_server.run import Run

log = structlog.get_logger()

REMEMBERED = 512
"""Gaps that are remembered."""
FACTOR = 20.0
"""A batch hangs when it makes no progress for this many times the 99th percentile, and at least for the floor."""
INTERVAL = 1.0
"""Seconds between two checks."""


class Watched(Protocol):
    """The properties of a worker that the watchdog reads."""

    @property
    def number(self) -> int:
        """0, 1, and so on."""

    @property
    def in_flight(self) -> Run | None:
        """The batch that runs, if there is one."""


class Watchdog:
    """Moves READY to WEDGED while a batch hangs, and back if it ends after all.

    A backend that reports steps is judged by the time since the last one, so that a generation may run for as long as it is permitted to.
    One that reports none is judged by the whole batch, in proportion to its work.

    Args:
        lifecycle: changed by it.
        workers: watched.
        floor: seconds below which no batch hangs, however fast steps usually are.
    """

    def __init__(self, lifecycle: Lifecycle, workers: Sequence[Watched], floor: float) -> None:
        self._lifecycle = lifecycle
        self._workers = workers
        self._floor = floor
        self._gaps: deque[float] = deque(maxlen=REMEMBERED)
        self._rates: deque[float] = deque(maxlen=REMEMBERED)

    def ran(self, run: Run) -> None:
        """Learn from a batch that ran."""
        if run.steps:
            self._gaps.extend(run.gaps)
        else:
            self._rates.extend(gap / run.work for gap in run.gaps)

    def limit(self, run: Run) -> float:
        """Seconds without progress after which a batch counts as hanging."""
        usual = _p99(self._gaps) if self._gaps else _p99(self._rates) * run.work
        return max(self._floor, FACTOR * usual)

    def check(self) -> None:
        """Compare the batches in flight with the limit."""
        hanging = self._hanging()
        if hanging and self._lifecycle.state is State.READY:  # a draining process ends soon, whatever hangs
            log.error("wedged", reason=hanging)
            self._lifecycle.to(State.WEDGED, hanging)
        elif not hanging and self._lifecycle.state is State.WEDGED:
            log.warning("recovered", reason="the batch went on after all")
            self._lifecycle.to(State.READY, "the batch that hung has gone on")

    def _hanging(self) -> str:
        """Which batch hangs, in words; empty if none does."""
        for worker in self._workers:
            run = worker.in_flight
            if run is not None and run.seconds_since_progress > self.limit(run):
                return (
                    f"a batch has made no progress on worker {worker.number} for more than {self.limit(run):.0f} s, after {run.steps} steps"
                )
        return ""

    async def run(self) -> None:
        """Check for ever."""
        while True:
            await asyncio.sleep(INTERVAL)
            self.check()


def _p99(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[math.ceil(0.99 * len(ordered)) - 1] if ordered else 0.0
