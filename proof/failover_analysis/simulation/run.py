"""One run: a world with its faults and the invariants that are checked in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from failover_analysis.simulation.engine import Engine
from failover_analysis.simulation.faults import schedule
from failover_analysis.simulation.invariants import Invariants
from failover_analysis.simulation.recorder import Recorder
from failover_analysis.simulation.recording import Result
from failover_analysis.simulation.setup import Setup
from failover_analysis.simulation.truth import Truth

_STRETCH_S: Final = 900.0
"""Virtual time between two reports of progress, seconds."""


class Simulation:
    """A run that has not begun.

    Args:
        setup: What to simulate.
        seed: Seed of every random stream.
        measured: Whether the run is measured for a report. The run is the same in either case.
    """

    def __init__(self, setup: Setup, seed: int, *, measured: bool = False) -> None:
        self.setup, self.seed = setup, seed
        self.engine = Engine(setup, seed)
        self.truth = Truth(self.engine)
        self.invariants = Invariants(self.engine, self.truth)
        self.recorder = Recorder(self.engine, self.truth, measured=measured)
        self.engine.start()
        schedule(self.engine, setup.faults)

    def run(self, watched: Callable[[float], bool] | None = None, *, until: float = math.inf) -> Result:
        """Runs to the end.

        Args:
            watched: Called from time to time with the share that is done; returns whether to go on.
            until: Where to stop early, seconds since the Unix epoch. Up to there it is the same run.
        """
        engine, queue = self.engine, self.engine.event_queue
        end = min(until, self.setup.start + self.setup.seconds)
        try:
            with _without_logs():
                while queue.now < end and not self.invariants.full():
                    queue.run(min(end, queue.now + _STRETCH_S))
                    if watched is not None and not watched(engine.elapsed() / self.setup.seconds):
                        break
        except Exception as error:  # noqa: BLE001 - a bug of the core is what is searched for: it is reported with the seed
            self.invariants.broke(error)
        engine.traffic.advance()
        return self.recorder.result(self.invariants.violations, self.invariants.harm)


@contextmanager
def _without_logs() -> Iterator[None]:
    """Suppresses the log of the production pass: lines in virtual time belong neither in this process's log nor in a command's output."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    try:
        yield
    finally:
        structlog.configure(**before)
