"""Batches whose items are not padded: the oldest share one, whatever their lengths, and it takes a time in proportion to all its work."""

import asyncio
import random

import pytest
from failover_model_server.errors import Overloaded
from failover_model_server.serving.arrivals import Arrivals
from failover_model_server.serving.line import Line, Waiting
from failover_model_server.serving.pace import Pace
from failover_model_server.serving.shape import Shape
from failover_model_server.tasks.base import Item

from tests.test_batcher import Stand
from tests.test_overload import BUCKETS, DEADLINE, SECONDS, Played, gone

PACKED = Shape(BUCKETS, static=False, packed=True)


def text(length: int) -> Item:
    """An item whose work is its length."""
    return Item("padded", length, work=length, length=length, free="any")


def test_the_oldest_share_a_batch_whatever_their_lengths() -> None:
    """None is passed over since it is longer or shorter, as it is where it would be padded."""

    async def ran(*, packed: bool) -> list[list[object]]:
        async with Stand(Shape((1, 2, 4), static=False, packed=packed)) as stand:
            await stand.ask([text(length) for length in (30, 200, 31, 6, 190)])
            return [[item.payload for item in batch] for batch in stand.backends[0].batches]

    assert asyncio.run(ran(packed=True)) == [[30, 200, 31, 6], [190]]
    assert asyncio.run(ran(packed=False))[0] == [30, 31]


def test_a_padded_batch_is_as_long_as_its_longest_and_a_packed_one_as_all_of_it() -> None:
    """The work of each item, by hand."""
    assert Shape(BUCKETS, static=False).work([30.0, 200.0, 10.0]) == 200.0
    assert PACKED.work([30.0, 200.0, 10.0]) == 80.0


def test_batches_of_all_sizes_teach_one_line() -> None:
    """10 ms and 1 ms for each token: from batches of two sizes the time of any other follows."""
    pace = Pace(packed=True)
    for size, work in ((1, 40.0), (8, 50.0), (1, 200.0), (4, 25.0)):
        pace.ran(size, work, 0.010 + 0.001 * size * work)
    assert pace.expects(2, 60.0) == pytest.approx(0.130)
    assert pace.expects(8, 10.0) == pytest.approx(0.090)


class Mixed(Played):
    """Texts of 6 to 200 tokens, the logarithm uniform, whose batches take `base + item * tokens` seconds."""

    def __init__(self, base: float, item: float, buckets: tuple[int, ...] = BUCKETS) -> None:
        super().__init__(base, item, packed=True, buckets=buckets)
        drawn = random.Random(5)
        self.lengths = [round(6 * (200 / 6) ** drawn.random()) for _ in range(1000)]
        self.came = 0

    @property
    def best(self) -> float:
        mean, most = sum(self.lengths) / len(self.lengths), self.shape.buckets[-1]
        return float(most / (self._base + self._item * most * mean))

    def arrive(self, answer: "asyncio.Future[object]") -> None:
        item, probe = text(self.lengths[self.came % len(self.lengths)]), self.batcher.idle
        self.came += 1
        try:
            self.batcher.reserve(self.now + DEADLINE)
            self.batcher.admit(self.now + DEADLINE, item)
        except Overloaded:
            return
        self.taken += 1
        self.batcher._line.add(Waiting(item, answer, self.now + DEADLINE, DEADLINE, probe))

    def lasts(self, batch: list[Waiting]) -> float:
        return float(self._base + self._item * sum(waiting.item.work for waiting in batch))


@pytest.mark.parametrize("factor", [1, 3, 20])
@pytest.mark.parametrize(("buckets", "late"), [(BUCKETS, 0.1), ((*BUCKETS, 16), 0.2)], ids=["8", "16"])
@pytest.mark.parametrize(("base", "item"), [(0.01, 0.0002), (0.02, 0.0005), (0.02, 0.001)])
def test_the_capacity_is_used_by_texts_of_all_lengths(
    factor: float, buckets: tuple[int, ...], late: float, base: float, item: float
) -> None:
    """Nearly all that the worker could answer without deadlines, and nothing late.

    Few that were admitted become too late: nobody knows how long the other texts of their batch will be, and a larger one has more.
    """
    played = Mixed(base, item, buckets)
    played.play(played.best * factor, SECONDS)
    assert played.missed == 0
    assert played.observer.too_late <= late * played.taken
    assert played.good / SECONDS >= 0.9 * played.best, played.good / SECONDS / played.best


def test_a_long_text_among_short_ones_is_not_refused_for_its_length() -> None:
    """Its batch is as long as all its texts, not as if each were as long as it."""
    played = Mixed(0.01, 0.0005)
    for _ in range(6):
        played.batcher._line.add(Waiting(text(10), gone(), DEADLINE, DEADLINE))
    played.batcher._ends[0] = 0.0, 0.1  # a batch runs
    played.batcher.admit(0.4, text(200))  # padded it would be 8 * 200 tokens, 0.81 s
    with pytest.raises(Overloaded):
        played.batcher.admit(0.15, text(200))


def test_a_long_text_counts_whole_in_the_batch_that_it_joins() -> None:
    """Sixteen short texts wait, and half of a patience of 0.5 s is enough for ten texts: its batch has nine of them and itself."""
    pace = Pace(packed=True)
    for tokens in (100.0, 500.0):
        pace.ran(1, tokens, 0.01 + 0.001 * tokens)
    line = Line(Shape((*BUCKETS, 16), static=False, packed=True), pace, Arrivals())
    for _ in range(16):
        line.add(Waiting(text(10), gone()))
    before, batch, _ = line.joining("any", 200.0, 0, 0.5)
    assert batch == before == pace.promises(10, (9 * 10 + 200) / 10)
