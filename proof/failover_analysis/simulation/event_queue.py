"""The event queue: the only source of virtual time."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final

MOST: Final = 200_000
"""Bound of due events: far above what a world of some hundred pods has. More means that something schedules without end."""

AT_ONCE: Final = 5_000
"""Bound of events without any time between them. More means that something is done again and again, as by a controller that never waits."""

Work = Callable[[], None]


class EventQueue:
    """Events in the order of their times, then of their creation, so that the same run always has the same order.

    Args:
        start: The initial time, seconds since the Unix epoch.
    """

    def __init__(self, start: float) -> None:
        self.now = start
        self._due: list[tuple[float, int, Work]] = []
        self._made = 0

    def at(self, when: float, work: Work) -> None:
        """Schedules `work`. If the time has passed, it runs now, after everything that is already due.

        Raises:
            RuntimeError: There are more than `MOST` events.
        """
        if len(self._due) >= MOST:
            raise RuntimeError(f"{MOST} events are due: something schedules without end")
        self._made += 1
        heapq.heappush(self._due, (max(when, self.now), self._made, work))

    def after(self, seconds: float, work: Work) -> None:
        """Schedules `work` for that many seconds from now."""
        self.at(self.now + seconds, work)

    def every(self, seconds: float, work: Work, *, first: float | None = None) -> None:
        """Schedules `work` again and again.

        Args:
            seconds: Time between two calls.
            work: What to call.
            first: Time of the first call; None: `seconds` from now.
        """

        def again() -> None:
            work()
            self.after(seconds, again)

        self.at(self.now + seconds if first is None else first, again)

    def run(self, until: float) -> None:
        """Runs everything that is due up to and including `until`, which then is the present.

        Raises:
            RuntimeError: There are more than `AT_ONCE` events at one time.
        """
        due, before, at_once = self._due, self.now, 0
        while due and due[0][0] <= until:
            self.now, _, work = heapq.heappop(due)
            at_once, before = at_once + 1 if self.now == before else 0, self.now
            if at_once > AT_ONCE:
                raise RuntimeError(f"{AT_ONCE} events happened at one time: something is done without end")
            work()
        self.now = max(self.now, until)
