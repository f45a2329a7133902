"""The items that wait for an accelerator, oldest first, and how long they will keep it busy."""

import asyncio
import bisect
import itertools
import math
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field

from failover_model_server.run import Run
from failover_model_server.serving.arrivals import Arrivals
from failover_model_server.serving.pace import Pace
from failover_model_server.serving.shape import Shape
from failover_model_server.tasks.base import Item

SHARE = 0.5
"""Part of an item's patience that the batch which it joins may always take."""


@dataclass(slots=True, eq=False)
class Waiting:
    """One item whose caller waits."""

    item: Item
    answer: asyncio.Future[object] = field(repr=False)
    deadline: float = math.inf
    """Monotonic seconds by which the caller needs its answer."""
    patience: float = math.inf
    """Seconds that its batches have: from when it joined the queue to the deadline, without those from an output to an answer."""
    probe: bool = False
    """Came while nothing else was there: runs although it is expected to be late, since only a run shows that the estimate is too high."""
    run: Run | None = None
    """The batch that runs it, while it runs."""
    place: int = 0
    """Its place in that batch."""

    def leave(self) -> None:
        """The caller has gone: the batch that runs it, if there is one, need not."""
        if self.run is not None:
            self.run.leave(self.place)


@dataclass(slots=True)
class _Group:
    """Items that may share a batch."""

    items: dict[Waiting, None] = field(default_factory=dict)
    work: float = 0.0

    @property
    def mean(self) -> float:
        return self.work / len(self.items)


class Line:
    """Items by age, and by the key that they share. The estimates take time in the number of keys, not of items."""

    def __init__(self, shape: Shape, pace: Pace, arrivals: Arrivals) -> None:
        self._shape = shape
        self._pace = pace
        self._arrivals = arrivals
        self._all: dict[Waiting, None] = {}
        self._groups: dict[Hashable, _Group] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._all)

    def add(self, waiting: Waiting) -> None:
        """Put an item at the end."""
        self._all[waiting] = None
        group = self._groups.setdefault(self.key(waiting.item), _Group())
        group.items[waiting] = None
        group.work += waiting.item.work

    def remove(self, waiting: Waiting) -> None:
        """Take an item out, if it is still there."""
        if waiting not in self._all:
            return
        del self._all[waiting]
        key = self.key(waiting.item)
        group = self._groups[key]
        del group.items[waiting]
        group.work -= waiting.item.work
        if not group.items:
            del self._groups[key]

    def key(self, item: Item) -> Hashable:
        """What the items of a batch share: the padded length too where shapes are static."""
        return item.key if self._shape.static or item.free is None else item.free

    def oldest_group(self) -> list[Waiting]:
        """The oldest item and those behind it with the same key: two batches, or all where they are chosen by length. The line has one."""
        oldest = next(iter(self._all))
        items = self._groups[self.key(oldest.item)].items
        most = 2 * self._shape.buckets[-1] if self._shape.by_age or oldest.item.length is None else None
        return list(itertools.islice(items, most))

    def seconds(self, coming: int = 0) -> float:
        """Expected time of everything that waits, on one worker.

        Args:
            coming: items that are being prepared; they are taken to be like the last group.
        """
        last = next(reversed(self._groups), None)
        counts = ((len(group.items) + (coming if key == last else 0), group.mean) for key, group in self._groups.items())
        return sum(self._batches(items, work, self._pace.expects) for items, work in counts)

    def joining(self, key: Hashable | None, work: float, coming: int, patience: float = math.inf) -> tuple[float, float, float]:
        """What one more item meets, in seconds: what is before its batch, its batch, and how long requests take to fill one.

        The first two are times within which batches end nearly always.

        It plans with a batch as large as it may be, not as it is: one that is admitted since a small batch would still make it has no time
        for a larger one, and the small one keeps the accelerator from all who come meanwhile.

        Args:
            key: the item's; None: not known yet, taken to be the last group's.
            work: the item's.
            coming: other items that are being prepared, taken to come before it in its group.
            patience: the item's.
        """
        if key is None:
            key = next(reversed(self._groups), None)
        group = self._groups.get(key)
        before = (len(group.items) if group else 0) + coming
        promised = self._pace.promises
        others = sum(self._batches(len(other.items), other.mean, promised) for name, other in self._groups.items() if name != key)
        largest = self.largest(self._among(group, before, self._shape.buckets[-1], work), patience)
        batch = promised(self._shape.size(largest), self._among(group, before, largest, work))
        return others + before // largest * batch, batch, self._arrivals.lasting * largest

    def _among(self, group: _Group | None, before: int, size: int, work: float) -> float:
        """What `Shape.work` gives for a batch of that size with one more item, whose work is given, behind those before it."""
        return self._shape.work([*[group.mean] * min(before, size - 1), work]) if group else work

    def largest(self, work: float, patience: float) -> int:
        """Items of the largest batch that an item joins.

        It may take half of the item's patience: then the item makes it also when it comes while another one runs. It may be larger where
        requests come so often that more are answered: then those make it who come while the one before it ends.

        Args:
            work: what `Shape.work` gives for its items.
            patience: the item's, in seconds.
        """
        sizes = self._shape.buckets if self._shape.static else range(1, self._shape.buckets[-1] + 1)

        def takes(size: int) -> float:
            return self._pace.promises(size, work)

        fitting = bisect.bisect_right(sizes, patience * SHARE, key=takes)
        if fitting == len(sizes):
            return sizes[-1]
        safe = sizes[max(0, fitting - 1)]
        gap = self._arrivals.gap * max(1, len(self._groups))

        def rate(size: int) -> float:
            seconds = takes(size)
            return (size if size == safe else min(size, (patience - seconds) / gap)) / seconds

        return max([safe, *(size for size in self._shape.buckets if size > safe)], key=rate)

    def _batches(self, items: int, work: float, seconds: Callable[[int, float], float]) -> float:
        full, rest = divmod(items, self._shape.buckets[-1])
        return full * seconds(self._shape.buckets[-1], work) + (seconds(self._shape.size(rest), work) if rest else 0.0)
