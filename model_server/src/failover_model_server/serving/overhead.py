"""What a batch takes whatever it holds: to read the weights and to start the kernels. Learned from the batches that ran."""

import math
from dataclasses import dataclass

FORGETTING = 0.98
"""Weight of everything before when a batch is added: the last fifty or so decide."""
SPREAD = 0.05
"""Standard deviation of the lengths, as a part of their mean, below which they say nothing."""


@dataclass(slots=True)
class Overhead:
    """seconds = base + slope * length, where the length of a batch is that of all its items, padding included.

    Fitted by least squares of the relative errors, whose weights decay: times vary in proportion to themselves, and the short batches
    show the base.
    """

    _weight: float = 0.0
    _length: float = 0.0
    _seconds: float = 0.0
    _squares: float = 0.0
    _products: float = 0.0

    def ran(self, length: float, seconds: float) -> None:
        """Learn from a batch that ran.

        Args:
            length: of all its items, padding included.
            seconds: how long it took; not learned from where the clock shows none.
        """
        if seconds <= 0:
            return
        weight = seconds**-2
        self._weight = self._weight * FORGETTING + weight
        self._length = self._length * FORGETTING + weight * length
        self._seconds = self._seconds * FORGETTING + weight * seconds
        self._squares = self._squares * FORGETTING + weight * length * length
        self._products = self._products * FORGETTING + weight * length * seconds

    @property
    def length(self) -> float:
        """The length that takes as long as the overhead; infinite until batches of different lengths show it, or where it is everything."""
        if not self._weight:
            return math.inf
        mean, seconds = self._length / self._weight, self._seconds / self._weight
        variance = self._squares / self._weight - mean * mean
        if variance <= (SPREAD * mean) ** 2:
            return math.inf
        slope = (self._products / self._weight - mean * seconds) / variance
        return max(0.0, seconds / slope - mean) if slope > 0 else math.inf
