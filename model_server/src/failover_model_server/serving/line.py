"""The items that wait for an accelerator, oldest first, and how long they will keep it busy."""

import asyncio
import itertools
import math
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field

from failover_model_server.run import Run
from failover_model_server.serving.pace import Pace
from failover_model_server.serving.shape import Shape
from failover_model_server.tasks.base import Item

Emit = Callable[[object], bool]
"""Takes a part of an output, on the event loop, before the whole is there; False: that was enough, and the backend may end this item."""


@dataclass(slots=True, eq=False)
class Waiting:
    """One item whose caller waits."""

    item: Item
    answer: asyncio.Future[object] = field(repr=False)
    deadline: float = math.inf
    """Monotonic seconds by which the caller needs its answer."""
    probe: bool = False
    """Came while nothing else was there: runs although it is expected to be late, since only a run shows that the estimate is too high."""
    emit: Emit | None = None
    run: Run | None = None
    """The batch that runs it."""
    place: int = 0
    """Its place in that batch."""

    def leave(self) -> None:
        """The caller has gone: the batch that runs it, if there is one, need not."""
        if self.run is not None:
            self.run.leave(self.place)


@dataclass(slots=True)
class _Group:
    """Items that may share a batch."""

    items: dict[int, Waiting] = field(default_factory=dict)
    work: float = 0.0

    @property
    def mean(self) -> float:
        return self.work / len(self.items)


class Line:
    """Items by age, and by the key that they share. The estimates take time in the number of keys, not of items."""

    def __init__(self, shape: Shape, pace: Pace) -> None:
        self._shape = shape
        self._pace = pace
        self._numbers = itertools.count()
        self._all: dict[int, Waiting] = {}
        self._groups: dict[Hashable, _Group] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._all.values())

    def add(self, waiting: Waiting) -> int:
        """Put an item at the end; the number that `remove` wants."""
        number = next(self._numbers)
        self._all[number] = waiting
        group = self._groups.setdefault(waiting.item.key, _Group())
        group.items[number] = waiting
        group.work += waiting.item.work
        return number

    def remove(self, number: int) -> None:
        """Take an item out, if it is still there."""
        waiting = self._all.pop(number, None)
        if waiting is None:
            return
        group = self._groups[waiting.item.key]
        del group.items[number]
        group.work -= waiting.item.work
        if not group.items:
            del self._groups[waiting.item.key]

    def oldest_group(self) -> list[tuple[int, Waiting]]:
        """The oldest item and those behind it with the same key, at most a batch, with their numbers. The line must not be empty."""
        key = next(iter(self._all.values())).item.key
        return list(itertools.islice(self._groups[key].items.items(), self._shape.buckets[-1]))

    def seconds(self, coming: int = 0) -> float:
        """Expected time of everything that waits, on one worker.

        Args:
            coming: items that are being prepared; they are taken to be like the last group.
        """
        last = next(reversed(self._groups), None)
        counts = ((len(group.items) + (coming if key == last else 0), group.mean) for key, group in self._groups.items())
        return sum(self._batches(items, work, self._pace.expects) for items, work in counts)

    def joining(self, key: Hashable | None, work: float, coming: int) -> tuple[float, float]:
        """What one more item meets: seconds within which what is before its batch ends nearly always, and its batch after that.

        Args:
            key: the item's; None: not known yet, taken to be the last group's.
            work: the item's.
            coming: other items that are being prepared, taken to come before it in its group.
        """
        if key is None:
            key = next(reversed(self._groups), None)
        group = self._groups.get(key)
        before = (len(group.items) if group else 0) + coming
        promised = self._pace.promises
        others = sum(self._batches(len(other.items), other.mean, promised) for name, other in self._groups.items() if name != key)
        full, rest = divmod(before, self._shape.buckets[-1])
        most = max(work, group.mean) if group else work
        own = promised(self._shape.size(rest + 1), most)
        return others + self._batches(full * self._shape.buckets[-1], most, promised), own

    def _batches(self, items: int, work: float, seconds: Callable[[int, float], float]) -> float:
        full, rest = divmod(items, self._shape.buckets[-1])
        return full * seconds(self._shape.buckets[-1], work) + (seconds(self._shape.size(rest), work) if rest else 0.0)
