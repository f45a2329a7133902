"""How long batches take, learned from those that ran: what admission and Retry-After are computed from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from failover_model_server.serving.least_squares import LeastSquares

FORGETTING = 0.9
"""Weight of everything before when a batch is added: the last ten or so decide."""
FEW = 3.0
"""Weight up to which an estimate is replaced by a batch that takes less than half of it: those before compiled, or met cold caches."""
MARGIN = 2.0
"""Mean deviations that are added to an expected time where a promise depends on it."""


@dataclass(slots=True)
class _Fit:
    """seconds = base + slope * work; neither part is negative."""

    line: LeastSquares = field(default_factory=lambda: LeastSquares(FORGETTING))
    deviation: float = 0.0

    def add(self, work: float, seconds: float) -> None:
        if self.line.weight and self.line.weight <= FEW and seconds < self.at(work) / 2:
            self.line, self.deviation = LeastSquares(FORGETTING), 0.0
        error = abs(seconds - self.at(work)) if self.line.weight else 0.0
        self.deviation += (error - self.deviation) * (1 - FORGETTING)
        self.line.add(work, seconds)

    def at(self, work: float) -> float:
        slope = self.line.slope()
        mean, seconds = self.line.means()
        if slope is None:
            return seconds * work / mean if mean else seconds
        base = seconds - max(0.0, slope) * mean
        return base + max(0.0, slope) * work if base >= 0 else seconds * work / mean


class Pace:
    """Expected seconds of a batch by its size and its work.

    Work is what `Item.work` says: batches of one size take a fixed time and a time proportional to it. Sizes are few: those of the
    buckets, or every number up to the largest.

    Args:
        packed: batches of all sizes take one fixed time and a time proportional to all their work.
    """

    def __init__(self, *, packed: bool = False) -> None:
        self._packed = packed
        self._fits: dict[int, _Fit] = {}

    def ran(self, size: int, work: float, seconds: float) -> None:
        """Learn from a batch that ran.

        Args:
            size: items in it, padding included.
            work: what `Shape.work` gives for its items.
            seconds: how long it took.
        """
        size, work = self._key(size, work)
        self._fits.setdefault(size, _Fit()).add(work, seconds)

    def expects(self, size: int, work: float) -> float:
        """Mean seconds of such a batch; 0 before any has run."""
        size, work = self._key(size, work)
        fit, share = self._nearest(size)
        return fit.at(work) * share if fit else 0.0

    def promises(self, size: int, work: float) -> float:
        """Seconds within which such a batch ends nearly always; 0 before any has run."""
        size, work = self._key(size, work)
        fit, share = self._nearest(size)
        return (fit.at(work) + MARGIN * fit.deviation) * share if fit else 0.0

    def _key(self, size: int, work: float) -> tuple[int, float]:
        """The size that the fit is of, and the work in it."""
        return (1, size * work) if self._packed else (size, work)

    def _nearest(self, size: int) -> tuple[_Fit | None, float]:
        """The fit of this size; else of the next larger one, as it is; else of the largest, in proportion."""
        fits: Mapping[int, _Fit] = self._fits
        if size in fits:
            return fits[size], 1.0
        if not fits:
            return None, 1.0
        larger = [known for known in fits if known > size]
        return (fits[min(larger)], 1.0) if larger else (fits[max(fits)], size / max(fits))
