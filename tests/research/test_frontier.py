"""What fleets cost at the same lateness."""

from __future__ import annotations

import pytest

from research import fleets, frontier
from research.fleets import Played
from research.frontier import LEVELS, cheapest, table
from tests.support.applications import application

CURVE = (Played(2.0, 0.0), Played(1.6, 0.01), Played(1.7, 0.02), Played(1.0, 0.04))


@pytest.mark.parametrize(
    ("late", "bill"),
    [
        pytest.param(0.0, 2.0, id="one of them"),
        pytest.param(0.005, 1.8, id="between two"),
        pytest.param(0.015, 1.6, id="one with fewer late requests costs less than what lies between"),
        pytest.param(0.03, 1.35, id="between the last two"),
        pytest.param(0.5, 1.0, id="the cheapest"),
    ],
)
def test_between_two_neighbours_the_bill_is_a_straight_line(late: float, bill: float) -> None:
    """And nothing costs more than what has fewer late requests."""
    assert cheapest(CURVE, late) == pytest.approx(bill)


def test_what_always_has_more_late_requests_costs_nothing_that_is_known() -> None:
    assert cheapest(CURVE[1:], 0.005) is None


def test_each_load_is_played_with_and_without_outages(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a steady demand nobody but the sample's weights is late, and the list that is filled to the last request is the cheapest."""
    monkeypatch.setattr(fleets, "demands", lambda _load: ([1_000.0] * 90, 300.0))
    monkeypatch.setattr(frontier, "HEADROOMS", (0.0, 0.3))
    monkeypatch.setattr(frontier, "TARGETS", (0.5, 1.0))
    made = table(application(), ["wave"])
    assert [*made.columns[0].cells] == ["wave", "wave, outages"]
    cells = [str(next(iter(column.cells))) for column in made.columns[1:]]
    assert len(cells) == len(LEVELS)
    assert cells[-1].endswith("(priority list)")
