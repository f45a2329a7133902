"""How often requests come: what decides how soon a batch is full."""

import math

SMOOTHING = 0.02
"""Part of the newest gap in the mean: the last fifty or so requests decide."""
FEWEST = 20
"""Gaps that last: some requests that come at once are no crowd."""


class Arrivals:
    """The mean time between two requests, those that are refused included."""

    def __init__(self) -> None:
        self._last = math.nan
        self._gap = math.inf
        self._gaps = 0

    @property
    def gap(self) -> float:
        """Seconds; infinite before two have come."""
        return self._gap

    @property
    def lasting(self) -> float:
        """The same; infinite until it has lasted."""
        return self._gap if self._gaps >= FEWEST else math.inf

    def came(self, now: float) -> None:
        """A request has come; `now` in monotonic seconds."""
        gap = now - self._last
        if not math.isnan(gap):
            self._gaps += 1
            self._gap = gap if math.isinf(self._gap) else self._gap + (gap - self._gap) * SMOOTHING
        self._last = now
