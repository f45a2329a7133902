"""Holds back what may wait while many applications wait for a pass: mode changes come before it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from controller.clock import Clock

LONGEST_S: Final = 20.0
"""How long anything is held back at most, seconds: a thousand mode changes need less."""
_AGAIN_S: Final = 0.25


class ModeChangesFirst:
    """Lets one thread wait while many applications do. All its waits in one mass event take `LONGEST_S` at most.

    Args:
        busy: Whether many applications wait for a pass.
        clock: For the wait.
        stop: Ends a wait when set; None: nothing does.
    """

    def __init__(self, busy: Callable[[], bool], clock: Clock, stop: threading.Event | None = None) -> None:
        self._busy, self._clock, self._stop = busy, clock, stop or threading.Event()
        self._since: float | None = None  # when it began to wait, monotonic

    def __call__(self) -> None:
        """Waits until few applications wait."""
        while self._waits() and not self._clock.wait(self._stop, _AGAIN_S):
            pass

    def _waits(self) -> bool:
        if not self._busy():
            self._since = None
            return False
        now = self._clock.monotonic()
        self._since = now if self._since is None else self._since
        return now - self._since < LONGEST_S
