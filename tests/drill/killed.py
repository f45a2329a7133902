"""A drill that ends at one point: before or after one of its calls. Run as a program, it is killed there."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from controller.clients.aws import AwsClients
from controller.clock import Clock
from failover_setup.drill.experiments import Experiments
from failover_setup.drill.run import Outcome, run
from failover_setup.drill.timeline import Seen
from failover_testbed.clocks import AcceleratedClock
from tests.drill.drills import page, plan

_T = TypeVar("_T")

FACTOR = 100.0
CALLS = (
    ("CreateExperimentTemplate", 0),
    ("StartExperiment", 0),
    ("read", 0),
    ("GetExperiment", 0),
    ("read", 1),
    ("GetExperiment", 1),
    ("StopExperiment", 0),
    ("DeleteExperimentTemplate", 0),
    ("ListExperiments", 0),
    ("ListExperimentTemplates", 0),
)
"""What every drill does, in order: the call of FIS, or the reading of the cluster, and how often it was made before."""
POINTS = range(2 * len(CALLS))
"""Before each of them, and after it."""
BEGUN = POINTS.index(2 * CALLS.index(("read", 0)))
"""From this point on the experiment has begun, and what ends the drill has a report."""
ENDING = POINTS.index(2 * CALLS.index(("StopExperiment", 0)))
"""From this point on the drill ends by itself."""


class Trap:
    """Something that happens once, at a point.

    Args:
        point: One of `POINTS`; None: nothing happens.
        what: What happens.
    """

    def __init__(self, point: int | None, what: Callable[[], None]) -> None:
        self._at = None if point is None else (*CALLS[point // 2], point % 2)
        self._what, self.made = what, Counter[str]()

    def around(self, name: str, call: Callable[[], _T]) -> _T:
        """Makes a call."""
        number = self.made[name]
        self.made[name] += 1
        self._maybe((name, number, 0))
        try:
            return call()
        finally:  # also where FIS refuses
            self._maybe((name, number, 1))

    def _maybe(self, here: tuple[str, int, int]) -> None:
        if here == self._at:
            self._what()


class _Nothing:
    """A cluster in which nothing happens."""

    seen = Seen()

    def __init__(self, trap: Trap) -> None:
        self._trap = trap

    def read(self) -> Seen:
        return self._trap.around("read", Seen)


class _Trapped(Experiments):
    """FIS with the trap."""

    def __init__(self, clock: Clock, trap: Trap) -> None:
        super().__init__(AwsClients(), clock)
        self._trap = trap

    def _request(self, operation: str, **arguments: Any) -> dict[str, Any]:
        return self._trap.around(operation, partial(super()._request, operation, **arguments))


def drilled(trap: Trap, **changes: Any) -> Outcome:
    """Runs a drill of a minute, or with other `changes` of `plan`."""
    clock = AcceleratedClock(FACTOR)
    with page() as url:
        return run(plan(**{"duration_s": 60} | changes), url, _Nothing(trap), _Trapped(clock, trap), clock, lambda _: None, poll_s=12)  # type: ignore[arg-type]


if __name__ == "__main__":
    drilled(Trap(int(sys.argv[1]), lambda: os.kill(os.getpid(), signal.SIGKILL)))
