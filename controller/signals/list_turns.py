"""Few lists at a time: what is held of each while it is read was the highest memory of the whole process."""

from __future__ import annotations

import math
import threading
from typing import Final

from controller.clock import SystemClock

PATIENCE_S: Final = 10.0
"""How long those that wait for a turn see none begin or end before one of them goes on without, seconds: the lists being read may hang."""


class ListTurns:
    """Turns to read a list. Safe to share between threads.

    Where no list comes to its end, one more goes on every `PATIENCE_S`. If each that waits went on after that time, all would at once: an
    API server that has just come back, and is slow, would get the lists of all namespaces together.

    Args:
        number: How many have a turn at the same time.
    """

    def __init__(self, number: int) -> None:
        self._clock = SystemClock()  # the lists are read in real time, also in the demo
        self._news = threading.Condition()
        self._free = number
        self._moved = -math.inf  # when one began, ended, or went on without a turn last, monotonic

    def take(self) -> bool:
        """Waits for a turn.

        Returns:
            Whether there is one, which must be given back. Otherwise the list may be read without.
        """
        with self._news:
            while not self._free:
                left_s = self._moved + PATIENCE_S - self._clock.monotonic()
                if left_s <= 0:
                    self._moved = self._clock.monotonic()
                    return False
                self._news.wait(left_s)
            self._free -= 1
            self._moved = self._clock.monotonic()
            return True

    def give_back(self) -> None:
        """Ends a turn."""
        with self._news:
            self._free += 1
            self._moved = self._clock.monotonic()
            self._news.notify()
