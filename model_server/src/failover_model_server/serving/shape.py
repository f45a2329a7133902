"""What sizes a batch may have."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """The buckets of batch sizes, and whether batches are filled up to them."""

    buckets: tuple[int, ...]
    """Ascending."""
    static: bool
    """Batches are filled up to one of the buckets."""

    def size(self, items: int) -> int:
        """The size at which a batch of `items` items runs."""
        return next(bucket for bucket in self.buckets if bucket >= items) if self.static else items
