"""What a mode costs an hour: where there is an answer, and its words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.policy.account import Figures, dollars, hourly, price_words
from controller.policy.model import Price, PriceSource, Sample, Snapshot
from tests.policy.support import change
from tests.support.applications import NOW, SERVICES, snapshot


def measured(demand: float) -> Snapshot:
    """A snapshot in which all units together get this many requests a period."""
    made = snapshot()
    for name in SERVICES:
        made = change(made, name, demand=Sample(demand / len(SERVICES), NOW - 30))
    return made


@pytest.mark.parametrize("demand", [0.5, 1.0, 200.0])
def test_a_mode_costs_in_proportion_to_the_demand(demand: float) -> None:
    """However small it is; only nothing costs nothing."""
    found, twice = (hourly(one, Figures.of(one)) for one in (measured(demand), measured(2 * demand)))
    assert found is not None
    assert twice is not None
    assert found.measured
    assert twice.cost == pytest.approx(2 * found.cost)
    assert twice.capacity == pytest.approx(2 * found.capacity)


def test_without_demand_or_without_a_weight_there_is_no_price() -> None:
    """A change from nothing to nothing says nothing."""
    none, made = measured(0.0), measured(200.0)
    figures = Figures.of(made)
    assert hourly(none, Figures.of(none)) is None
    assert hourly(made, replace(figures, intended=dict.fromkeys(figures.intended, 0))) is None


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (3.1, 4.85, "$3.10/h → $4.85/h (+56 %)"),
        (4.0, 2.0, "$4.00/h → $2.00/h (-50 %)"),
        (0.5, 1_250.0, "$0.50/h → $1,250.00/h (+249900 %)"),
        (1.0, 1.0, "$1.00/h → $1.00/h (0 %)"),
        (30.40, 30.27, "$30.40/h → $30.27/h (0 %)"),
        (0.0, 4.85, "$0.00/h → $4.85/h"),
    ],
)
def test_a_change_of_price_has_its_share(before: float, after: float, words: str) -> None:
    """Nothing is no base for one."""
    assert dollars(before, after) == words


def test_a_price_says_where_it_is_from_and_how_old_it_is() -> None:
    """The application file's own price needs no words; why it counts does. A clock that runs behind makes no negative age."""
    read = Price(0.75821, PriceSource.KARPENTER, NOW - 90)
    assert price_words(read, NOW) == ("a replica costs $0.7582/h: Karpenter's gauge, read 1 min 30 s ago",)
    assert price_words(read, NOW - 95) == ("a replica costs $0.7582/h: Karpenter's gauge, read 0 s ago",)
    assert price_words(replace(read, at=None, source=PriceSource.FILE), NOW) == ()
    both = price_words(replace(read, problem="karpenter says $0/h"), NOW)
    assert both[1:] == ("the application file's price counts: karpenter says $0/h",)
