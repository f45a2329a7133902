"""What one sink still has to deliver and what it was given lately. Plain data structures: the caller locks."""

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
        message: To be delivered.
        since: When it was published, monotonic seconds.
        about: Name of the sink that the message is about, where the dispatcher itself made it; else "".
    """

    message: Message
    since: float
    about: str = ""


class Backlog:
    """A bounded queue that gives up the oldest, but never a mode change for anything less.

    Args:
        size: Most items it holds; at least 1.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: deque[Item] = deque()

    def __len__(self) -> int:
        return len(self._items)

    def push(self, item: Item) -> Item | None:
        """Adds an item.

        Returns:
            The item that had to go for it (which may be itself), None where there was room.
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
        """Takes the oldest item, None where there is none."""
        return self._items.popleft() if self._items else None


class Recent:
    """Remembers keys for a while.

    Two messages are the same if key *and* kind are: a RESOLVED under the key of its ALERT is news, and so is the ALERT after it. What
    people read last must be true.

    Args:
        window_s: For how long, seconds; counted from the message that was let through, so that what lasts is repeated once a window.
        size: Most keys it holds; the oldest goes first.
    """

    def __init__(self, window_s: float, size: int) -> None:
        self._window_s = window_s
        self._size = size
        self._seen: OrderedDict[str, tuple[MessageKind, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def repeats(self, message: Message, now: float) -> bool:
        """Whether the message was let through within the window; if not, it counts as let through now.

        Args:
            message: Never repeats anything without a `dedup_key`.
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
        """Lets the next message like this one through: this one was not delivered."""
        seen = self._seen.get(message.dedup_key)
        if seen is not None and seen[0] is message.kind:
            del self._seen[message.dedup_key]
