"""A work queue like controller-runtime's: it merges changes of a key, and retries failures after growing pauses."""

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
    """Pending work by key. Thread-safe.

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
        """Makes `key` due at once because it changed, even if it waits for a retry.

        Only a success resets the number of failures, so after another failure the next pause is longer.
        """
        with self._lock:
            item = self._items.get(key)
            if item is None or item.retry:
                self._items[key] = _Item(self._clock.monotonic())

    def take(self, lag_s: float) -> list[tuple[K, float]]:
        """The due keys in order of their changes, each with the monotonic time of its change. The caller must pass each to `done`.

        Args:
            lag_s: Seconds that a change waits before it is due.
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
        """Ends the work on a key from `take`.

        Args:
            key: The key.
            failed: Whether to retry it later, unless it changed in the meantime.
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
        """Forgets all failures, like a restarted process."""
        with self._lock:
            self._failures.clear()

    def pause(self, lag_s: float, longest_s: float) -> float:
        """Seconds until something is due, at most `longest_s`."""
        with self._lock:
            now = self._clock.monotonic()
            due = [item.since + (0.0 if item.retry else lag_s) for item in self._items.values()]
            return max(0.0, min([at - now for at in due] + [longest_s]))

    def idle(self) -> bool:
        """Whether nothing is pending except retries."""
        with self._lock:
            return not self._working and all(item.retry for item in self._items.values())
