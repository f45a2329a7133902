"""A batch while it runs: how far it is, who still waits for it, and what it has made so far."""

import time
from collections.abc import Callable, Sequence

GAPS = 64
"""Gaps that a batch remembers: a generation of thousands of tokens must not grow."""


class Abandoned(Exception):
    """Nobody waits for any item of the batch: each client has gone, or its deadline has passed. Not a failure."""


def _drop(place: int, part: object) -> None:
    """For a batch whose callers want whole outputs alone, and all at its end."""


class Run:
    """What a backend and the server tell each other while a batch runs.

    The event loop calls `leave`, `enough` and `answered`; the backend's thread calls `step`, `emit` and `finish`, and reads `over`. Each
    attribute has one writing thread.

    Args:
        waiting: items that somebody waits for; they come first in the batch.
        size: items in the batch, those that only fill it up included.
        emit: takes (place in the batch, part of its output), on the backend's thread; must not block or raise.
        work: what `Shape.work` gives for the batch.
        clock: monotonic seconds.
        finish: takes (place in the batch, its whole output), as `emit` does.
    """

    def __init__(
        self,
        waiting: int,
        size: int,
        emit: Callable[[int, object], None] = _drop,
        work: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        finish: Callable[[int, object], None] = _drop,
    ) -> None:
        self.over = [False] * waiting + [True] * (size - waiting)
        """Whether the item in this place may end early: its caller has gone or has enough, or it only fills the batch up."""
        self._left = list(self.over)
        self.cut_short = False
        """A caller has gone before the end: the batch may have taken less time than it would have. Where a text ends is no such reason."""
        self.work = work
        self.emit = emit
        """Hands on a part of an output, as a token, before the whole is there."""
        self.finish = finish
        """Hands on the whole output of an item that has ended before the batch. The batch's own outputs have it too."""
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
        return all(self._left)

    def leave(self, place: int) -> None:
        """Nobody waits for the item in this place any more."""
        self.over[place] = self._left[place] = self.cut_short = True

    def enough(self, place: int) -> None:
        """The caller has all that it wants of this item, and waits for its output: a stop sequence has come."""
        self.over[place] = True

    def answered(self, place: int) -> None:
        """The caller of this item has its whole output."""
        self._left[place] = True

    @property
    def left(self) -> Sequence[bool]:
        """Whether nobody waits for the item in each place."""
        return self._left

    def step(self) -> None:
        """Report that a step is done: a token of each prompt, a denoising step.

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
