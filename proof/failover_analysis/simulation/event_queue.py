"""Virtual time: what is due when. Nothing else moves it."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final

MOST: Final = 200_000
"""Bound of what may be due at once: far above what a world of some hundred pods ever has; beyond it something schedules without end."""

Work = Callable[[], None]


class EventQueue:
    """Due events, in the order of their times, then in that of their making: the same run always has the same order.

    Args:
        start: The first moment, seconds since the Unix epoch.
    """

    def __init__(self, start: float) -> None:
        self.now = start
        self._due: list[tuple[float, int, Work]] = []
        self._made = 0

    def at(self, when: float, work: Work) -> None:
        """Does `work` at a time; at once, after all that is due now, where it has passed.

        Raises:
            RuntimeError: More is due than a world can have.
        """
        if len(self._due) >= MOST:
            raise RuntimeError(f"{MOST} events are due: something schedules without end")
        self._made += 1
        heapq.heappush(self._due, (max(when, self.now), self._made, work))

    def after(self, seconds: float, work: Work) -> None:
        """Does `work` that many seconds from now."""
        self.at(self.now + seconds, work)

    def every(self, seconds: float, work: Work, *, first: float | None = None) -> None:
        """Does `work` again and again.

        Args:
            seconds: Between two times.
            work: What.
            first: When it is done first; None: `seconds` from now.
        """

        def again() -> None:
            work()
            self.after(seconds, again)

        self.at(self.now + seconds if first is None else first, again)

    def run(self, until: float) -> None:
        """Does all that is due up to and including a moment, which is then the present."""
        due = self._due
        while due and due[0][0] <= until:
            self.now, _, work = heapq.heappop(due)
            work()
        self.now = max(self.now, until)
