"""One sink's queue of messages, and the keys of the messages it accepted lately. Plain data structures: the caller locks."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from controller.notifiers.digest import Subject, digest, subject
from controller.notifiers.incident import Status, status
from controller.ports import Message, MessageKind

DIGEST_FROM: Final = 10
"""Applications whose messages about one subject may wait one by one; with one more, a digest takes their place."""
MOST_PARTS: Final = 10_000
"""Messages in one digest; more than there are applications. The oldest are dropped."""
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


class _Entry:
    """One place in a queue: an item, or the items of a digest, which is worded when it leaves."""

    __slots__ = ("items", "names", "subject")

    def __init__(self, item: Item) -> None:
        self.items, self.names, self.subject = [item], {item.message.application}, subject(item.message)

    def take(self, other: _Entry) -> None:
        """Adds the items of a later entry."""
        self.items += other.items
        self.names |= other.names

    def left(self) -> Item:
        """What leaves the queue."""
        if len(self.items) == 1:
            return self.items[0]
        return Item(digest([item.message for item in self.items]), self.items[-1].since)


class Backlog:
    """A bounded queue. Where many messages about one subject wait, a digest takes their place.

    So a mass event leaves a few digests in it. Only where it is full of different subjects it drops the oldest message, but a mode change
    only for another mode change.

    Args:
        size: Most items held; at least 1.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: deque[_Entry] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    def messages(self) -> int:
        """The number of messages that wait, those in digests included."""
        return sum(len(entry.items) for entry in self._entries)

    def push(self, item: Item) -> Item | None:
        """Adds an item.

        Returns:
            The item that was dropped, which may be the new one; None if there was room.
        """
        full, new = len(self._entries) >= self._size, _Entry(item)
        alike = self._alike(new.subject) if not item.about else []
        names = set[str]().union(*(entry.names for entry in alike))
        if alike and (full or len(names) >= DIGEST_FROM):
            return self._sum_up([*alike, new])
        if full:
            self._make_room()
        if len(self._entries) < self._size:
            self._entries.append(new)
            return None
        victim = next((held for held in self._entries if held.subject[0] not in PROTECTED), None)
        if victim is None:
            if item.message.kind not in PROTECTED:
                return item
            victim = self._entries[0]
        self._entries.remove(victim)
        self._entries.append(new)
        return victim.left()

    def begins(self) -> bool:
        """Whether a message waits that begins an incident, or says that it goes on."""
        return any(status(entry.items[0].message) is Status.OPEN for entry in self._entries)

    def pop(self) -> Item | None:
        """Removes and returns the oldest item; None if the queue is empty."""
        return self._entries.popleft().left() if self._entries else None

    def _alike(self, wanted: Subject) -> list[_Entry]:
        """The entries of a subject that may go to the end of the queue, the oldest first.

        None may overtake a later one of the same application: the last message that people read must be true.
        """
        later: set[str] = set()
        found = []
        for entry in reversed(self._entries):
            if entry.subject == wanted and not entry.items[0].about and later.isdisjoint(entry.names):
                found.append(entry)
            else:
                later |= entry.names
        return found[::-1]

    def _sum_up(self, entries: Sequence[_Entry]) -> Item | None:
        """Puts one entry at the end, in the place of these. Returns what no longer fits into it."""
        whole, *others = entries
        for other in others:
            whole.take(other)
        gone = {id(entry) for entry in entries}
        self._entries = deque(entry for entry in self._entries if id(entry) not in gone)
        self._entries.append(whole)
        return whole.items.pop(0) if len(whole.items) > MOST_PARTS else None

    def _make_room(self) -> None:
        """Sums up the subject of which most entries wait."""
        counts = Counter(entry.subject for entry in self._entries)
        alike = max((self._alike(one) for one, count in counts.items() if count > 1), key=len, default=[])
        if len(alike) > 1:
            self._sum_up(alike)


class Recent:
    """The keys of the messages that passed lately.

    A message repeats another if both key *and* kind are equal. So a RESOLVED under the key of its ALERT passes, and so does the next ALERT:
    the last message that people read must be true.

    Args:
        window_s: How long a key counts, seconds from the message that passed. For a message that is offered again it counts until another
            kind passes: what lasts is not repeated to those who know of it.
        size: Most keys held; the oldest is forgotten first.
    """

    def __init__(self, window_s: float, size: int) -> None:
        self._window_s = window_s
        self._size = size
        self._seen: OrderedDict[str, tuple[MessageKind, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def repeats(self, message: Message, now: float) -> bool:
        """Whether an equal message passed, within the window unless it is offered again. If none did, records that this one passes now.

        Args:
            message: Repeats nothing if it has no `dedup_key`.
            now: Monotonic seconds.
        """
        key = message.dedup_key
        if not key:
            return False
        seen = self._seen.get(key)
        if seen is not None and seen[0] is message.kind and (message.again or now - seen[1] < self._window_s):
            if message.again:
                self._seen.move_to_end(key)  # what lasts is the last to be forgotten
            return True
        self._seen[key] = (message.kind, now)
        self._seen.move_to_end(key)
        if len(self._seen) > self._size:
            self._seen.popitem(last=False)
        return False

    def clear(self) -> None:
        """Forgets all messages."""
        self._seen.clear()

    def forget(self, message: Message) -> None:
        """Forgets a message that was not delivered, so that the next equal one passes."""
        seen = self._seen.get(message.dedup_key)
        if seen is not None and seen[0] is message.kind:
            del self._seen[message.dedup_key]
