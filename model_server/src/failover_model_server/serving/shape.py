"""What batches look like: their sizes, and what items of different lengths cost in one."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """The buckets of batch sizes, and whether batches are filled up to them."""

    buckets: tuple[int, ...]
    """Ascending."""
    static: bool
    """Batches are filled up to one of the buckets."""
    packed: bool = False
    """Items are not padded to the longest of their batch."""

    @property
    def by_age(self) -> bool:
        """Whether the oldest items share a batch: their lengths do not matter, or are all the same."""
        return self.static or self.packed

    def size(self, items: int) -> int:
        """The size at which a batch of `items` items runs."""
        return next(bucket for bucket in self.buckets if bucket >= items) if self.static else items

    def work(self, works: Sequence[float]) -> float:
        """The work of each item of a batch, as its time counts it: the most of any where they are padded, else the mean."""
        return statistics.fmean(works) if self.packed else max(works)
