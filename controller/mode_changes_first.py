"""Holds back what may wait while many applications wait for a pass: mode changes come before it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from controller.clock import Clock

LONGEST_S: Final = 20.0
"""How long anything is held back at most, seconds: a thousand mode changes need less."""
_REFILL: Final = 3.0  # seconds in which it may be held back for one second more: a fleet that is always busy delays by a quarter at most
_AGAIN_S: Final = 0.25


class ModeChangesFirst:
    """Lets one thread at a time wait while many applications do. Its waits in one mass event take `LONGEST_S` at most together.

    Args:
        busy: Whether many applications wait for a pass.
        clock: For the wait.
        stop: Ends a wait when set; None: nothing does.
    """

    def __init__(self, busy: Callable[[], bool], clock: Clock, stop: threading.Event | None = None) -> None:
        self._busy, self._clock, self._stop = busy, clock, stop or threading.Event()
        self._left, self._at = LONGEST_S, clock.monotonic()  # how long it may still wait, seconds, and as of when

    def __call__(self) -> None:
        """Waits until few applications wait."""
        self._left = min(LONGEST_S, self._left + self._passed() / _REFILL)
        while self._left > 0 and self._busy():
            seconds = min(_AGAIN_S, self._left)
            stopped = self._clock.wait(self._stop, seconds)
            self._left -= max(seconds, self._passed())  # never less, however coarse the clock: a wait without an end would follow
            if stopped:
                return

    def _passed(self) -> float:
        """Seconds since the last call."""
        before, self._at = self._at, self._clock.monotonic()
        return self._at - before
