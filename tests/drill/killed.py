"""A drill that ends at one point: before or after one of its calls of FIS. Run as a program, it is killed there."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from controller.clients.aws import AwsClients
from controller.clock import Clock
from failover_setup.drill.experiments import Experiments
from failover_setup.drill.run import Outcome, run
from failover_setup.drill.timeline import Seen
from failover_testbed.clocks import AcceleratedClock
from tests.drill.drills import page, plan

FACTOR = 200.0
CALLS = 10
"""How many calls an undisturbed drill makes at least: template, start, readings, stop, deletion and two lists."""


class _Nothing:
    """A cluster in which nothing happens."""

    def read(self) -> Seen:
        return Seen()


class EndsAt(Experiments):
    """FIS, with something that happens at one point.

    Args:
        clock: Time.
        point: Twice the number of the call, from 0; odd: after it.
        what: What happens.
    """

    def __init__(self, clock: Clock, point: int, what: Callable[[], None]) -> None:
        super().__init__(AwsClients(), clock)
        self._point, self._what, self.calls = point, what, 0

    def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        number, self.calls = self.calls, self.calls + 1
        if self._point == 2 * number:
            self._what()
        answer = super()._call(operation, **arguments)
        if self._point == 2 * number + 1:
            self._what()
        return answer


def drilled(experiments: Experiments, clock: Clock) -> Outcome:
    """Runs a drill of a minute."""
    with page() as url:
        return run(plan(duration_s=60), url, _Nothing(), experiments, clock, lambda _: None, poll_s=12)  # type: ignore[arg-type]


if __name__ == "__main__":
    CLOCK = AcceleratedClock(FACTOR)
    drilled(EndsAt(CLOCK, int(sys.argv[1]), lambda: os.kill(os.getpid(), signal.SIGKILL)), CLOCK)
