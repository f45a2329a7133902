"""Batches of mixed lengths: the oldest first, with those that are nearly as long, and little padding."""

import asyncio
import itertools
import math

import pytest
from failover_model_server.serving.alike import MOST_PADDING, UNKNOWN_OVERHEAD, alike
from failover_model_server.serving.line import Waiting
from failover_model_server.serving.shape import Shape
from failover_model_server.tasks.base import Item
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.test_batcher import Stand
from tests.test_overload import gone


def waiting(*lengths: int) -> list[Waiting]:
    answer = gone()
    return [Waiting(Item("padded", number, length=length, free="any"), answer) for number, length in enumerate(lengths)]


def lengths(items: list[Waiting]) -> list[int | None]:
    return [one.item.length for one in items]


def test_the_oldest_is_joined_by_those_nearest_in_length() -> None:
    """Not by those behind it in the line."""
    assert lengths(alike(waiting(10, 500, 11, 400, 9, 12, 490), 4)) == [10, 11, 9, 12]
    assert lengths(alike(waiting(500, 10, 11, 490, 9), 4)) == [500, 490]


@given(mixed=st.lists(st.integers(1, 512), min_size=1, max_size=64), most=st.integers(1, 16))
def test_no_batch_is_mostly_padding(mixed: list[int], most: int) -> None:
    """Whatever the lengths: the oldest is in it, nobody twice, and the padding is bounded."""
    chosen = alike(group := waiting(*mixed), most)
    assert chosen[0] is group[0]
    assert len(set(chosen)) == len(chosen) <= most
    real = [one.item.length or 0 for one in chosen]
    assert len(real) * max(real) - sum(real) <= MOST_PADDING * len(real) * max(real)


def test_a_batch_wastes_the_least_time_for_each_item() -> None:
    """With a small overhead nobody is padded far; with a large one the batch is full. Each by hand: (overhead + padding) / items."""
    mixed = (30, 100, 28, 26, 90, 33, 38)
    assert lengths(alike(waiting(*mixed), 8, overhead=1.0)) == [30]
    assert lengths(alike(waiting(*mixed), 8, overhead=10.0)) == [30, 28, 26]  # (10 + 6) / 3; with 33 it would be (10 + 15) / 4
    assert lengths(alike(waiting(*mixed), 8, overhead=100.0)) == [30, 28, 33, 26, 38]  # (100 + 35) / 5


@given(
    mixed=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    most=st.integers(1, 5),
    overhead=st.sampled_from([0.0, 3.0, 30.0, math.inf]),
)
def test_no_other_batch_of_neighbours_wastes_less(mixed: list[int], most: int, overhead: float) -> None:
    """Of all runs of neighbours in length that hold the oldest, within the bound of padding."""
    assume(mixed.count(mixed[0]) == 1)  # its equals come before longer ones
    finite = min(overhead, UNKNOWN_OVERHEAD)

    def waste(batch: tuple[int, ...]) -> float:
        padded = len(batch) * max(batch)
        return (finite + padded - sum(batch)) / len(batch) if padded - sum(batch) <= MOST_PADDING * padded else math.inf

    own, ordered = mixed[0], sorted(mixed)
    runs = [tuple(ordered[start : start + count]) for count in range(1, most + 1) for start in range(len(ordered) - count + 1)]
    others = [run for run in runs if own in run]
    chosen = alike(waiting(*mixed), most, overhead)
    assert waste(tuple(one.item.length or 0 for one in chosen)) == pytest.approx(min(waste(batch) for batch in others))


def test_free_shapes_share_batches_and_static_ones_do_not() -> None:
    """The same items: two batches by length where shapes are free, one for each padded length where they are compiled."""

    async def ran(*, static: bool) -> list[list[int]]:
        async with Stand(Shape((1, 2, 4), static=static)) as stand:
            items = [Item(f"padded to {64 if length > 32 else 32}", 0, length=length, free="any") for length in (30, 60, 34, 29, 61, 33)]
            await stand.ask(items)
            batches = [[item.length or 0 for item in batch] for batch in stand.backends[0].batches]
            return [list(dict.fromkeys(batch)) for batch in batches]

    assert asyncio.run(ran(static=False)) == [[30, 29, 33, 34], [60, 61]]
    assert sorted(itertools.chain(*asyncio.run(ran(static=True)))) == [29, 30, 33, 34, 60, 61]
    assert asyncio.run(ran(static=True))[0] == [30, 29]
