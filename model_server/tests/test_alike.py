"""Batches of mixed lengths: the oldest first, with those that are nearly as long, and little padding."""

import asyncio
import itertools

from failover_model_server.serving.alike import MOST_PADDING, alike
from failover_model_server.serving.line import Waiting
from failover_model_server.serving.shape import Shape
from failover_model_server.tasks.base import Item
from hypothesis import given
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
