"""Metrics that come late."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

_T = TypeVar("_T")


@dataclass(slots=True)
class Late(Generic[_T]):
    """What a metric shows in each step: a value of some steps ago. Until there are as many, it shows the present one.

    Attributes:
        steps: How many steps late it is.
    """

    steps: int
    _past: deque[_T] = field(default_factory=deque)

    def shown(self, value: _T) -> _T:
        """Takes the value of a step; returns the one that the metric shows in it."""
        self._past.append(value)
        return self._past.popleft() if len(self._past) > self.steps else value
