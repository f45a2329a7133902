"""The loads that were made up."""

from __future__ import annotations

import pytest

from research.made_up import loads

DAY = 288


def test_they_are_the_same_each_time_and_as_long_as_asked_for() -> None:
    """A table of them can be made again."""
    assert loads(2 * DAY) == loads(2 * DAY)
    assert {len(load) for load in loads(10).values()} == {10}
    assert all(value > 0 for load in loads(4 * DAY).values() for value in load)


def _mean(load: list[float], begin: int, end: int) -> float:
    return sum(load[begin:end]) / (end - begin)


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("a day's cycle", 1.0),
        ("a cycle that grows to four times", 3.625 / 1.375),
        ("a cycle with a step to 3.5 times", 3.5),
        ("a cycle with 20 minutes of three times every 8 hours", 1.0),
    ],
)
def test_they_do_what_their_names_say(name: str, times: float) -> None:
    """The last of four days beside the first."""
    load = loads(4 * DAY)[name]
    assert _mean(load, 3 * DAY, 4 * DAY) / _mean(load, 0, DAY) == pytest.approx(times, rel=0.05)


def test_bursts_are_three_times_as_high() -> None:
    load, calm = loads(DAY)["a cycle with 20 minutes of three times every 8 hours"], loads(DAY)["a day's cycle"]
    shares = [burst / (0.6 * usual) for burst, usual in zip(load, calm, strict=True)]
    assert [round(share, 6) for share in shares[95:102]] == [1, 1, 3, 3, 3, 3, 1]
