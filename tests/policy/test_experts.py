"""The choice among the rules of the waits: what it may cost beyond the best of them, and that a decision can be replayed."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.policy.experts import Bounds, Expert, adahedge, chosen
from controller.policy.learning import KEPT, LEAST_SEEN, Stakes
from controller.policy.model import OutageHistory

HOUR = 3600.0
STAKES = Stakes(extra=0.22, exposed=20.0, change_s=900.0, late_s=20.0)
BOUNDS = Bounds(0.0, 4 * HOUR, 2 * HOUR)


def history(uptime_s: float, outage_s: float = 1800.0, count: int = 20, since: float = 1e9) -> OutageHistory:
    """Equal up-times and outages; capacity is back since `since`."""
    return OutageHistory(short=False, since=since, outages_s=(outage_s,) * count, uptimes_s=(uptime_s,) * count)


def followed(expert: Expert, past: OutageHistory, stakes: Stakes = STAKES) -> float:
    """The chance that a rule is followed."""
    return chosen(past, stakes, BOUNDS).weights[list(Expert).index(expert)]


def test_capacity_that_stays_for_days_is_returned_to_at_once() -> None:
    """Every minute of a hold is paid for nothing. The learned hold is kept from short ones by its clamp."""
    assert followed(Expert.IMMEDIATE, history(5 * 24 * HOUR)) > 0.9
    assert chosen(history(5 * 24 * HOUR), STAKES, BOUNDS).waits.hold_s == 0.0


def test_capacity_that_leaves_within_the_hour_is_not_returned_to() -> None:
    """The break-even hold is longer; to return at once is the worst of all."""
    past = history(HOUR)
    assert followed(Expert.IMMEDIATE, past) == pytest.approx(0.0, abs=1e-3)
    assert chosen(past, STAKES, BOUNDS).waits.hold_s > HOUR


def test_all_rules_keep_the_bounds_of_the_policy() -> None:
    """A person's shortest hold is also that of the rule that returns at once."""
    bounds = Bounds(600.0, 700.0, 2 * HOUR)
    for uptime_s in (60.0, HOUR, 24 * HOUR):
        for since in range(20):
            assert 600.0 <= chosen(history(uptime_s, since=float(since)), STAKES, bounds).waits.hold_s <= 700.0


def test_a_choice_lasts_as_long_as_the_run_of_capacity() -> None:
    """A replay and every pass of the wait have the same; another run has another draw."""
    mixed = OutageHistory(False, 1e9, (1800.0, 300.0) * 8, (HOUR, 3 * HOUR, 600.0, 9 * HOUR) * 4)
    assert chosen(mixed, STAKES, BOUNDS) == chosen(replace(mixed), STAKES, BOUNDS)
    weights = chosen(mixed, STAKES, BOUNDS).weights
    drawn = [chosen(replace(mixed, since=1e9 + 3571.0 * number), STAKES, BOUNDS).expert for number in range(400)]
    for expert, weight in zip(Expert, weights, strict=True):
        assert drawn.count(expert) / len(drawn) == pytest.approx(weight, abs=0.1)


def test_a_round_is_an_uptime_and_the_outage_after_it() -> None:
    """While a unit is short, the last up-time has no outage after it yet."""
    past = OutageHistory(False, 1e9, (1.0, 2.0, 3.0), (10.0, 20.0))
    assert chosen(past, STAKES, BOUNDS).rounds == 2
    assert chosen(replace(past, short=True), STAKES, BOUNDS).rounds == 1
    assert chosen(history(HOUR, count=KEPT), STAKES, BOUNDS).rounds == KEPT >= LEAST_SEEN


@given(st.lists(st.tuples(*[st.floats(0.0, 5.0)] * 4), max_size=60))
def test_the_regret_of_adahedge_is_bounded(costs: list[tuple[float, ...]]) -> None:
    """On any costs: its expected cost is within the bound of the best rule's."""
    paid = 0.0
    for number, row in enumerate(costs):
        weights, _ = adahedge(costs[:number], 4)
        assert sum(weights) == pytest.approx(1.0)
        paid += sum(weight * cost for weight, cost in zip(weights, row, strict=True))
    best = min((sum(row[number] for row in costs) for number in range(4)), default=0.0)
    widest = max((max(row) - min(row) for row in costs), default=0.0)
    # Each round's variance is at most a quarter of the square of its range.
    bound = widest * math.sqrt(len(costs) * math.log(4)) + widest * (4 / 3 * math.log(4) + 2)
    assert paid <= best + bound + 1e-6


def test_an_adversary_gains_little_by_alternation() -> None:
    """Who follows the leader pays in every round here; this stays near the best."""
    rng, costs = random.Random(1), list[tuple[float, ...]]()
    paid = 0.0
    for number in range(400):
        row = tuple(1.0 if index == (number + rng.randrange(2)) % 2 else 0.4 for index in range(2))
        weights, _ = adahedge(costs, 2)
        paid += sum(weight * cost for weight, cost in zip(weights, row, strict=True))
        costs.append(row)
    best = min(sum(row[index] for row in costs) for index in range(2))
    assert paid - best < 0.6 * math.sqrt(400 * math.log(2)) + 0.6 * (4 / 3 * math.log(2) + 2)
