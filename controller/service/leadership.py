"""Leadership of a single replica: it always leads. The elected one comes with an issue of its own and implements the same port."""

from __future__ import annotations

import math

from controller.clock import Clock


class SingleReplica:
    """The only replica there is.

    Args:
        clock: Its start becomes the epoch, so that a later process always has a later one.
    """

    def __init__(self, clock: Clock) -> None:
        self._epoch = int(clock.now())

    def epoch(self) -> int:
        """See `controller.ports.Leadership.epoch`."""
        return self._epoch

    def remaining_s(self) -> float:
        """See `controller.ports.Leadership.remaining_s`."""
        return math.inf
