"""A work queue as controller-runtime's: what changed is done once, and what failed again after growing pauses."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from controller.clock import Clock

RETRY_BASE_S: Final = 0.01
RETRY_MAX_S: Final = 1000.0

_MAX_DOUBLINGS: Final = 20  # beyond it the pause is the longest anyway

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class _Item:
    since: float  # monotonic: when the change was seen, or the time of a retry
    retry: bool = False


class WorkQueue(Generic[K]):
    """What is to be done, by key. Safe to share between threads.

    Args:
        clock: Time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._items: dict[K, _Item] = {}
        self._failures: dict[K, int] = {}
        self._working: set[K] = set()

    def add(self, key: K) -> None:
        """Something changed: `key` is due at once, also where it waits to be tried again.

        How often it failed before is not forgotten; only a success does that. So if it fails once more the next pause is a long one.
        """
        with self._lock:
            item = self._items.get(key)
            if item is None or item.retry:
                self._items[key] = _Item(self._clock.monotonic())

    def take(self, lag_s: float) -> list[tuple[K, float]]:
        """What is due, in the order in which it changed, each with when that was seen (monotonic). It must be given to `done`.

        Args:
            lag_s: Seconds that a change waits.
        """
        with self._lock:
            now = self._clock.monotonic()
            due = sorted(
                ((key, item) for key, item in self._items.items() if now >= item.since + (0.0 if item.retry else lag_s)),
                key=lambda pair: pair[1].since,
            )
            for key, _ in due:
                del self._items[key]
                self._working.add(key)
            return [(key, item.since) for key, item in due]

    def done(self, key: K, *, failed: bool) -> None:
        """Ends the work on what `take` gave.

        Args:
            key: Which.
            failed: Whether to try it again later, unless it changed meanwhile.
        """
        with self._lock:
            self._working.discard(key)
            if not failed:
                self._failures.pop(key, None)
                return
            failures = self._failures.get(key, 0)
            self._failures[key] = failures + 1
            pause = min(RETRY_MAX_S, RETRY_BASE_S * 2.0 ** min(failures, _MAX_DOUBLINGS))
            self._items.setdefault(key, _Item(self._clock.monotonic() + pause, retry=True))

    def restart(self) -> None:
        """Forgets all failures, as a process that starts anew."""
        with self._lock:
            self._failures.clear()

    def pause(self, lag_s: float, longest_s: float) -> float:
        """Seconds until something is due, at most `longest_s`."""
        with self._lock:
            now = self._clock.monotonic()
            due = [item.since + (0.0 if item.retry else lag_s) for item in self._items.values()]
            return max(0.0, min([at - now for at in due] + [longest_s]))

    def idle(self) -> bool:
        """Whether nothing is left but what waits to be tried again."""
        with self._lock:
            return not self._working and all(item.retry for item in self._items.values())
