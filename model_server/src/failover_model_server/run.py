"""A batch while it runs: how far it is, and who still waits for it."""

import time
from collections.abc import Callable

GAPS = 64
"""Gaps that a batch remembers: one of many steps must not grow."""


class Abandoned(Exception):
    """Nobody waits for any item of the batch: each client has gone, or its deadline has passed. Not a failure."""


class Run:
    """What a backend and the server tell each other while a batch runs.

    The event loop calls `leave`; the backend's thread calls `step`. Each attribute has one writing thread.

    Args:
        waiting: items that somebody waits for; they come first in the batch.
        size: items in the batch, those that only fill it up included.
        work: what `Shape.work` gives for the batch.
        clock: monotonic seconds.
    """

    def __init__(self, waiting: int, size: int, work: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.over = [False] * waiting + [True] * (size - waiting)
        """Whether nobody waits for the item in this place: its caller has gone, or it only fills the batch up."""
        self.cut_short = False
        """A caller has gone before the end: the batch may have taken less time than it would have."""
        self.work = work
        self.steps = 0
        """Steps reported so far."""
        self.gaps: list[float] = []
        """Seconds between the newest reports, the beginning and the end included; at most GAPS of them."""
        self._clock = clock
        self._moved = clock()

    @property
    def seconds_since_progress(self) -> float:
        """Time since the batch began or reported a step."""
        return self._clock() - self._moved

    @property
    def abandoned(self) -> bool:
        """Nobody waits for any of it."""
        return all(self.over)

    def leave(self, place: int) -> None:
        """Nobody waits for the item in this place any more."""
        self.over[place] = self.cut_short = True

    def step(self) -> None:
        """Report that a step is done, as a denoising step.

        Raises:
            Abandoned: nobody waits for what would come; the backend lets it pass through.
        """
        self.steps += 1
        self.moved()
        if self.abandoned:
            raise Abandoned

    def moved(self) -> None:
        """Note the time: a step has ended, or the batch."""
        now = self._clock()
        self.gaps = [*self.gaps, now - self._moved][-GAPS:]
        self._moved = now

    def begin(self) -> None:
        """Note that the batch begins now: it may have waited for its thread."""
        self._moved = self._clock()
