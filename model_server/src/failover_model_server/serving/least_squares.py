"""A straight line through pairs of numbers, of which the newest count most."""

from dataclasses import dataclass

SPREAD = 0.05
"""Standard deviation of x, as a part of its mean, below which no slope is fitted: it would be noise."""


@dataclass(slots=True)
class LeastSquares:
    """y = base + slope * x, by least squares with weights that decay."""

    forgetting: float
    """Weight of everything before when a pair is added."""
    weight: float = 0.0
    _x: float = 0.0
    _y: float = 0.0
    _squares: float = 0.0
    _products: float = 0.0

    def add(self, x: float, y: float) -> None:
        """Add a pair."""
        self.weight = self.weight * self.forgetting + 1.0
        self._x = self._x * self.forgetting + x
        self._y = self._y * self.forgetting + y
        self._squares = self._squares * self.forgetting + x * x
        self._products = self._products * self.forgetting + x * y

    def means(self) -> tuple[float, float]:
        """The weighted means of x and y. There is a pair."""
        return self._x / self.weight, self._y / self.weight

    def slope(self) -> float | None:
        """The slope; None where x is nearly the same in all pairs, or there is none."""
        if not self.weight:
            return None
        x, y = self.means()
        variance = self._squares / self.weight - x * x
        return None if variance <= (SPREAD * x) ** 2 else (self._products / self.weight - x * y) / variance
