"""One sink's queue of messages, and the keys of the messages it accepted lately. Plain data structures: the caller locks."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Final

from controller.ports import Message, MessageKind

PROTECTED: Final = frozenset({MessageKind.FAILOVER, MessageKind.FALLBACK})


@dataclass(frozen=True, slots=True)
class Item:
    """A message in a queue.

    Attributes:
        message: What to deliver.
        since: When it was published, monotonic seconds.
        about: Name of the sink that the message reports on, if the dispatcher wrote it; else "".
    """

    message: Message
    since: float
    about: str = ""


class Backlog:
    """A bounded queue. When it is full it drops the oldest message, but a mode change only for another mode change.

    Args:
        size: Most items held; at least 1.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: deque[Item] = deque()

    def __len__(self) -> int:
        return len(self._items)

    def push(self, item: Item) -> Item | None:
        """Adds an item.

        Returns:
            The item that was dropped, which may be the new one; None if there was room.
        """
        if len(self._items) < self._size:
            self._items.append(item)
            return None
        victim = next((held for held in self._items if held.message.kind not in PROTECTED), None)
        if victim is None:
            if item.message.kind not in PROTECTED:
                return item
            victim = self._items[0]
        self._items.remove(victim)
        self._items.append(item)
        return victim

    def pop(self) -> Item | None:
        """Removes and returns the oldest item; None if the queue is empty."""
        return self._items.popleft() if self._items else None


class Recent:
    """The keys of the messages that passed lately.

    A message repeats another if both key *and* kind are equal. So a RESOLVED under the key of its ALERT passes, and so does the next ALERT:
    the last message that people read must be true.

    Args:
        window_s: How long a key counts, seconds from the message that passed. A condition that lasts is repeated once a window.
        size: Most keys held; the oldest is forgotten first.
    """

    def __init__(self, window_s: float, size: int) -> None:
        self._window_s = window_s
        self._size = size
        self._seen: OrderedDict[str, tuple[MessageKind, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def repeats(self, message: Message, now: float) -> bool:
        """Whether an equal message passed within the window. If none did, records that this one passes now.

        Args:
            message: Repeats nothing if it has no `dedup_key`.
            now: Monotonic seconds.
        """
        key = message.dedup_key
        if not key:
            return False
        seen = self._seen.get(key)
        if seen is not None and seen[0] is message.kind and now - seen[1] < self._window_s:
            return True
        self._seen[key] = (message.kind, now)
        self._seen.move_to_end(key)
        if len(self._seen) > self._size:
            self._seen.popitem(last=False)
        return False

    def forget(self, message: Message) -> None:
        """Forgets a message that was not delivered, so that the next equal one passes."""
        seen = self._seen.get(message.dedup_key)
        if seen is not None and seen[0] is message.kind:
            del self._seen[message.dedup_key]
