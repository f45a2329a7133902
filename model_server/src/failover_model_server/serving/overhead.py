"""What a batch takes whatever it holds: to read the weights and to start the kernels. Learned from the batches that ran."""

import math
from dataclasses import dataclass, field

from failover_model_server.serving.least_squares import LeastSquares

FORGETTING = 0.98
"""Weight of everything before when a batch is added: the last fifty or so decide."""


@dataclass(slots=True)
class Overhead:
    """seconds = base + slope * length, where the length of a batch is that of all its items, padding included.

    Fitted by least squares of the relative errors: times vary in proportion to themselves, and the short batches show the base.
    """

    _line: LeastSquares = field(default_factory=lambda: LeastSquares(FORGETTING))

    def ran(self, length: float, seconds: float) -> None:
        """Learn from a batch that ran.

        Args:
            length: of all its items, padding included.
            seconds: how long it took; not learned from where the clock shows none.
        """
        if seconds > 0:
            self._line.add(length, seconds, weight=seconds**-2)

    @property
    def length(self) -> float:
        """The length that takes as long as the overhead; infinite until batches of different lengths show it, or where it is everything."""
        slope = self._line.slope()
        if slope is None or slope <= 0:
            return math.inf
        length, seconds = self._line.means()
        return max(0.0, seconds / slope - length)
