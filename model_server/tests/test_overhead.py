"""What a batch takes whatever it holds."""

import math
import random
from collections.abc import Callable

import pytest
from failover_model_server.serving.overhead import Overhead


def test_nothing_is_known_before_batches_of_different_lengths() -> None:
    """Infinite: batches are as full as they may be."""
    overhead = Overhead()
    assert overhead.length == math.inf
    for _ in range(5):
        overhead.ran(64, 0.02)
        assert overhead.length == math.inf


def test_the_overhead_is_the_length_that_takes_as_long() -> None:
    """10 ms and 0.2 ms a token: as long as 50 tokens."""
    overhead = Overhead()
    for length in (6, 30, 200, 1600):
        overhead.ran(length, 0.010 + 0.0002 * length)
    assert overhead.length == pytest.approx(50)


def test_times_that_vary_in_proportion_to_themselves_hide_it_little() -> None:
    """Each a fifth more or less, so a full batch varies by more than the whole overhead."""
    overhead, drawn = Overhead(), random.Random(1)
    for _ in range(200):
        length = drawn.choice((8, 40, 200, 1600))
        overhead.ran(length, (0.010 + 0.0002 * length) * drawn.uniform(0.8, 1.2))
    assert 35 < overhead.length < 70


def test_a_machine_that_became_faster_is_learned() -> None:
    """The overhead falls to a tenth: the old batches are forgotten."""
    overhead = Overhead()
    for base in (0.100, 0.010):
        for _ in range(100):
            for length in (10, 100, 1000):
                overhead.ran(length, base + 0.0002 * length)
    assert overhead.length == pytest.approx(50, rel=0.02)


@pytest.mark.parametrize("seconds", [lambda length: 0.5, lambda length: 1.0 / length])
def test_where_length_takes_no_time_the_overhead_is_everything(seconds: Callable[[int], float]) -> None:
    """Longer batches that take as long, or less."""
    overhead = Overhead()
    for length in (10, 100, 1000):
        overhead.ran(length, seconds(length))
    assert overhead.length > 1e9


def test_a_clock_that_stands_still_teaches_nothing() -> None:
    """No division by zero, and no time of zero."""
    overhead = Overhead()
    overhead.ran(10, 0.0)
    assert overhead.length == math.inf
