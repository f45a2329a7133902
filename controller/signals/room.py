"""The memory of what strangers can add to without end: Events, NodeClaims, waiting pods. All of it shares one bound.

Anyone who may create Events can invent NodePools and NodeClaims in them, and anyone who may create pods can create a hundred thousand.
So each store of such things is made of one `Room`, each entry counts by its size, and beyond the bound the largest crowds give up their
oldest entries until all fit again. A crowd is the entries of one store and one owner, such as a namespace or a NodePool; everything about
owners that do not exist is one crowd. No flood makes anything of another owner forgotten that takes less than an equal share.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Mapping
from dataclasses import fields
from typing import Any, Final, Generic, TypeVar, cast

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")

MOST_BYTES: Final = 28 * 1024 * 1024
"""What 5,000 waiting pods with their Events, or 12,000 NodeClaims, take. The process has 100 MiB of code, and a limit of 256 MiB."""
_LEAVE: Final = 0.9  # share of the bound that is left, so that the next entry finds room
_OVERHEAD: Final = 300  # bytes of an entry beside its value: its places in dictionaries and indexes


def footprint(value: object) -> int:
    """The memory that a value takes with all that it holds, bytes. What values share counts for each of them."""
    size = sys.getsizeof(value)
    if isinstance(value, Mapping):
        return size + sum(footprint(key) + footprint(item) for key, item in value.items())
    if isinstance(value, tuple | list | set | frozenset):
        return size + sum(map(footprint, value))
    if hasattr(value, "__dataclass_fields__"):
        return size + sum(footprint(getattr(value, one.name)) for one in fields(cast("Any", value)))
    return size


class Bounded(dict[_K, _V], Generic[_K, _V]):
    """A store in a `Room`, which makes it; see there. Change it only by item assignment, `del` and `pop`."""

    def __init__(
        self,
        room: Room,
        at: Callable[[_V], float],
        owner: Callable[[_K, _V], Hashable],
        dropped: Callable[[_K, _V], object] | None,
        times: int,
    ) -> None:
        super().__init__()
        self._room, self.at, self.owner, self._dropped, self._times = room, at, owner, dropped, times
        self.sizes: dict[_K, int] = {}

    def __setitem__(self, key: _K, value: _V) -> None:
        size = self._times * (footprint(key) + footprint(value)) + _OVERHEAD
        self._room.taken += size - self.sizes.get(key, 0)
        self.sizes[key] = size
        super().__setitem__(key, value)

    def __delitem__(self, key: _K) -> None:
        super().__delitem__(key)
        self._room.taken -= self.sizes.pop(key)

    def pop(self, key: _K, default: Any = None) -> Any:  # noqa: ANN401 - as that of a dictionary
        """Removes an entry, and returns it; the default where there is none."""
        if key not in self:
            return default
        value = self[key]
        del self[key]
        return value

    def drop(self, key: _K) -> None:
        """Drops an entry for want of room."""
        value = self.pop(key)
        if value is not None and self._dropped is not None:
            self._dropped(key, value)


class Room:
    """One bound for several stores. Not thread-safe.

    Args:
        most: How much they may take together, bytes.
    """

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most = most
        self._stores: list[Bounded[Any, Any]] = []
        self.taken = 0

    def store(
        self,
        at: Callable[[_V], float],
        owner: Callable[[_K, _V], Hashable],
        dropped: Callable[[_K, _V], object] | None = None,
        times: int = 1,
    ) -> Bounded[_K, _V]:
        """Makes a store.

        Args:
            at: How old an entry is, seconds since the Unix epoch: the oldest is dropped first.
            owner: Whose it is; "" for one that does not exist.
            dropped: Called with an entry that was dropped for want of room, after that.
            times: How many times its own size an entry takes, with the indexes of it.
        """
        made = Bounded(self, at, owner, dropped, times)
        self._stores.append(made)
        return made

    def fit(self) -> None:
        """Drops what does not fit. To be called after each change, once everything that refers to it is noted."""
        if self.taken <= self._most:
            return
        crowds: dict[Hashable, list[tuple[float, int, Bounded[Any, Any], Any]]] = {}
        for number, store in enumerate(self._stores):
            for key, value in store.items():
                crowds.setdefault((number, store.owner(key, value)), []).append((store.at(value), store.sizes[key], store, key))
        sizes = {crowd: sum(size for _, size, _, _ in found) for crowd, found in crowds.items()}
        share = _equal_share(sorted(sizes.values()), _LEAVE * self._most)
        for crowd, found in crowds.items():
            for _, size, store, key in sorted(found, key=lambda entry: entry[0]):
                if sizes[crowd] <= share:
                    break
                store.drop(key)
                sizes[crowd] -= size


def _equal_share(sizes: list[int], left: float) -> float:
    """The most that each crowd may take so that all fit: those that want less leave their rest to the others. The smallest come first."""
    for place, size in enumerate(sizes):
        share = left / (len(sizes) - place)
        if size > share:
            return share
        left -= size
    return left
