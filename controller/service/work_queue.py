"""Which applications wait for a pass: a set of keys without duplicates, as controller-runtime's work queue is.

A key is handed out to one worker at a time. What is marked meanwhile is handed out once more afterwards. Each key has a time at which it is
due even if nothing changes, and may have a time before which it is not handed out, whatever changes.

What changed wakes a worker for each key. What is merely due is for one worker, which the others help if it is held up: workers that share a
few passes take turns at the interpreter's lock, and each finds its processor's caches cold.
"""

from __future__ import annotations

import heapq
import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count
from typing import Final

from controller.clock import Clock

OVERTAKE_S: Final = 5.0
"""By how much what changed comes before what is merely due, seconds: in a mass event the periodic passes wait, but not for ever."""
HELP_S: Final = 1.0
"""After that time another worker helps with what is merely due, seconds; and another one after each further time like it."""
_STALE_TIMERS: Final = 8  # timers kept for each key, most of them out of date, before those are dropped


@dataclass(slots=True)
class _Entry:
    """What is known of a key. All times are monotonic.

    Attributes:
        due: When it is handed out even if nothing changes.
        gate: When it may be handed out at the earliest.
        changed: Since when a change waits to be handled; None: none does.
        urgency: The earlier, the sooner it is handed out once it is ready.
        turn: Its present place in the order of those that are ready; None: it is not ready.
    """

    due: float = math.inf
    gate: float = -math.inf
    changed: float | None = None
    urgency: float = math.inf
    turn: int | None = None

    @property
    def ready(self) -> bool:
        """Whether it waits for a worker."""
        return self.turn is not None


class WorkQueue:
    """Keys that wait for a worker. Safe to share between threads.

    Nothing happens by itself: `promote` makes ready what has become due, and says when to call it again.

    Args:
        clock: The clock. Only its monotonic time counts.
        earlier: Called when a key becomes due before the time that `promote` named last; must not block.
    """

    def __init__(self, clock: Clock, earlier: Callable[[], None] = lambda: None) -> None:
        self._clock, self._earlier = clock, earlier
        self._news = threading.Condition()
        self._entries: dict[str, _Entry] = {}
        self._ready: list[tuple[float, int, str]] = []  # urgency, turn, key; one whose turn is not its entry's is out of date
        self._timers: list[tuple[float, str]] = []  # one whose time is not its entry's `due` is out of date
        self._working: dict[str, float] = {}  # since when; also of keys that are removed meanwhile
        self._turns = count()
        self._waiting, self._changes = 0, 0  # entries that are ready; those of them that a change made ready
        self._named = math.inf  # when `promote` is to be called again
        self._idle, self._woken = 0, 0  # workers that wait for a key; those that a change woke since `promote` was called last
        self._closed = False

    def retain(self, keys: Iterable[str]) -> None:
        """Replaces the set of keys. New ones wait for `add`; those that are gone are not handed out any more."""
        with self._news:
            self._entries = {key: self._entries.get(key) or _Entry() for key in keys}
            ready = [entry for entry in self._entries.values() if entry.ready]
            self._waiting, self._changes = len(ready), sum(entry.changed is not None for entry in ready)
            self._woken = 0  # it may have been for keys that are gone

    def add(self, keys: Iterable[str]) -> None:
        """Notes that something changed. Unknown keys are ignored."""
        now = self._clock.monotonic()
        with self._news:
            for key in keys:
                entry = self._entries.get(key)
                if entry is not None:
                    if entry.changed is None:
                        entry.changed = now
                        self._changes += entry.ready
                    self._place(key, entry, now)

    def promote(self) -> float:
        """Makes ready what has become due, and wakes a worker for it, if one is idle.

        Returns:
            Seconds until something else becomes due, or until another worker is to help; infinite if nothing is to happen.
        """
        with self._news:
            now = self._clock.monotonic()
            while self._timers and (self._timers[0][0] <= now or self._outdated(*self._timers[0])):
                at, key = heapq.heappop(self._timers)
                if not self._outdated(at, key):
                    self._place(key, self._entries[key], now)
            self._named = self._timers[0][0] if self._timers else math.inf
            unattended, self._woken = self._waiting - self._woken, 0
            if unattended > 0 and self._idle:
                self._news.notify()
                self._named = min(self._named, now + HELP_S) if unattended > 1 else self._named
            return max(0.0, self._named - now)

    def take(self) -> str | None:
        """Hands out the key that is most urgent; None if none is ready."""
        with self._news:
            return self._take()

    def get(self) -> str | None:
        """Waits for a key, and hands it out; None once the queue is closed."""
        with self._news:
            while not self._closed:
                key = self._take()
                if key is not None:
                    return key
                self._idle += 1
                try:
                    self._news.wait()
                finally:
                    self._idle -= 1
            return None

    def done(self, key: str, again_s: float, gate_s: float = 0.0) -> None:
        """Takes a key back from its worker.

        Args:
            key: The key.
            again_s: Seconds after which it is due even if nothing changes.
            gate_s: Seconds for which it is not handed out, whatever changes.
        """
        now = self._clock.monotonic()
        with self._news:
            self._working.pop(key, None)
            entry = self._entries.get(key)
            if entry is None:
                return
            entry.due, entry.gate = now + max(again_s, gate_s), now + gate_s
            self._place(key, entry, now)
            sooner = entry.due < self._named
        if sooner:
            self._earlier()

    def close(self) -> None:
        """Hands out nothing any more."""
        with self._news:
            self._closed = True
            self._news.notify_all()

    def waiting(self) -> int:
        """The number of keys that are ready."""
        with self._news:
            return self._waiting

    def changes(self) -> int:
        """The number of keys that are ready because something changed; 0 once the queue is closed."""
        with self._news:
            return 0 if self._closed else self._changes

    def longest_s(self) -> float:
        """For how long the oldest of the present workers has had its key, seconds; 0 if all are idle."""
        with self._news:
            return self._clock.monotonic() - min(self._working.values()) if self._working else 0.0

    def _outdated(self, at: float, key: str) -> bool:
        entry = self._entries.get(key)
        return entry is None or entry.due != at or entry.ready or key in self._working

    def _place(self, key: str, entry: _Entry, now: float) -> None:
        """Puts a key where it belongs: it is being worked on, it is ready, or it waits for its time.

        A change wakes one worker; `promote` wakes one for all that is merely due.
        """
        if key in self._working:
            return  # `done` places it
        if entry.changed is not None:
            entry.due = min(entry.due, max(now, entry.gate))
        if entry.due > now:
            self._time(entry.due, key)
            return
        urgency = entry.changed if entry.changed is not None else entry.due + OVERTAKE_S
        if not entry.ready or urgency < entry.urgency:  # a change puts forward what was merely due
            if not entry.ready:
                self._waiting += 1
                self._changes += entry.changed is not None
            if entry.changed is not None:
                self._news.notify()
                self._woken += 1
            entry.urgency, entry.turn = urgency, next(self._turns)
            heapq.heappush(self._ready, (urgency, entry.turn, key))

    def _time(self, due: float, key: str) -> None:
        if due == math.inf:
            return
        if len(self._timers) > _STALE_TIMERS * (1 + len(self._entries)):
            self._timers = [(entry.due, name) for name, entry in self._entries.items() if not self._outdated(entry.due, name)]
            heapq.heapify(self._timers)
        heapq.heappush(self._timers, (due, key))

    def _take(self) -> str | None:
        while self._ready and not self._closed:
            _, turn, key = heapq.heappop(self._ready)
            entry = self._entries.get(key)
            if entry is not None and entry.turn == turn and key not in self._working:
                self._waiting -= 1
                self._woken = max(0, self._woken - 1)
                self._changes -= entry.changed is not None
                entry.turn = entry.changed = None
                self._working[key] = self._clock.monotonic()
                return key
        return None
