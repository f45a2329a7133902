"""The choice among the rules of the waits: what it may cost beyond the best of them, and that a decision can be replayed."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.policy.experts import Bounds, Expert, adahedge, chosen
from controller.policy.learning import KEPT, LEAST_SEEN, Stakes, Waits, learned_waits
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


SMALL = Stakes(extra=0.1, exposed=2.1, change_s=8.0, late_s=3.0)
"""Break-even after 80 s; the learned hold is kept within 20 and 320 s, the patience within 0 and 16 s: all of them whole seconds."""
WITHIN = Bounds(10.0, 500.0, 60.0)
NARROW = Bounds(100.0, 300.0, 60.0)


def _waits(expert: Expert, level: int, learned: Waits | None, bounds: Bounds) -> Waits:
    """What a rule advises, as its name says."""

    def held(hold_s: float) -> float:
        return sorted((bounds.least_s, hold_s, bounds.most_s))[1]

    doubled = Waits(0.0, held(held(80.0) * 2.0**level))
    rules = {Expert.DOUBLED: doubled, Expert.BREAK_EVEN: Waits(0.0, held(80.0)), Expert.IMMEDIATE: Waits(0.0, bounds.least_s)}
    if expert is Expert.LEARNED and learned is not None:
        return replace(learned, hold_s=held(learned.hold_s))
    return rules.get(expert, doubled)


class Lived:
    """A rule that lives through up-times and outages second by second."""

    def __init__(self, expert: Expert, bounds: Bounds) -> None:
        self.expert, self.bounds = expert, bounds
        self.paid, self.capacity, self.level, self.up_after = 0.0, True, 0, math.inf

    def round(self, uptime_s: int, outage_s: int, doubled: int, learned: Waits | None) -> None:
        """Capacity is there for some time, then it is not; a decision takes effect `late_s` after it was made."""
        waits, decided = _waits(self.expert, doubled, learned, self.bounds), math.inf
        for second in range(uptime_s):
            if self.capacity and second == waits.hold_s:
                decided, self.paid = second, self.paid + SMALL.change_s
            self.paid += SMALL.extra * (self.capacity and second < decided + SMALL.late_s)
        if decided < math.inf:
            self.capacity, self.up_after = False, uptime_s - decided
        decided = math.inf
        for second in range(outage_s):
            if not self.capacity and second == waits.patience_s:
                decided, self.paid = second, self.paid + SMALL.change_s
            exposed = not self.capacity and second < decided + SMALL.late_s
            self.paid += SMALL.exposed if exposed else SMALL.extra
        if decided < math.inf:
            self.capacity, self.level = True, self.level + 1 if self.up_after < self.bounds.flap_s else 0


@pytest.mark.parametrize("bounds", [WITHIN, NARROW])
@pytest.mark.parametrize("seed", range(4))
def test_what_each_rule_pays_is_what_it_would_have_lived_through(seed: int, bounds: Bounds) -> None:
    """With wrong costs a wrong rule is followed: capacity mode is paid for nothing, or users wait for a failover.

    Among the durations are those of the waits themselves, and up-times that end just a flap window after a return.
    """
    draw = random.Random(seed)
    uptimes = [draw.choice((5, 10, 11, 20, 70, 79, 80, 81, 139, 140, 141, 219, 220, 221, 400, 900)) for _ in range(22)]
    outages = [draw.choice((1, 2, 3, 4, 15, 16, 17, 40)) for _ in range(22)]
    lives = {expert: Lived(expert, bounds) for expert in Expert}
    for number, (uptime_s, outage_s) in enumerate(zip(uptimes, outages, strict=True)):
        seen = number // LEAST_SEEN * LEAST_SEEN
        learned, level = learned_waits(outages[:seen], uptimes[:seen], SMALL), lives[Expert.DOUBLED].level
        for life in lives.values():
            life.round(uptime_s, outage_s, level, learned)
    past = OutageHistory(False, 1e9, tuple(map(float, outages)), tuple(map(float, uptimes)))
    choice = chosen(past, SMALL, bounds)
    assert choice.costs == pytest.approx([lives[expert].paid for expert in Expert])
    assert choice.waits == _waits(choice.expert, lives[Expert.DOUBLED].level, learned_waits(outages, uptimes, SMALL), bounds)


def test_rounds_of_unequal_histories() -> None:
    """Of more up-times than outages, and of more than are kept, the newest count: an up-time belongs to the outage after it."""
    some = OutageHistory(False, 1e9, (40.0,), (900.0, 900.0, 5.0))
    assert chosen(some, SMALL, WITHIN) == chosen(replace(some, uptimes_s=(5.0,)), SMALL, WITHIN)
    many = OutageHistory(False, 1e9, (1.0, *(40.0,) * KEPT), (900.0, *(5.0,) * KEPT))
    assert chosen(many, SMALL, WITHIN).rounds == KEPT
    assert chosen(many, SMALL, WITHIN).costs == chosen(history(5.0, 40.0, KEPT), SMALL, WITHIN).costs


def _hedged(costs: Sequence[Sequence[float]], count: int) -> list[float]:
    """AdaHedge as its authors write it, without regard to what a computer rounds."""
    total, gap, weights = [0.0] * count, 0.0, [1.0 / count] * count
    for row in costs:
        expected = sum(weight * cost for weight, cost in zip(weights, row, strict=True))
        if gap == 0:
            mixed = min(cost for weight, cost in zip(weights, row, strict=True) if weight)
        else:
            rate = math.log(count) / gap
            mixed = -math.log(sum(weight * math.exp(-rate * cost) for weight, cost in zip(weights, row, strict=True))) / rate
        gap += expected - mixed
        total = [before + cost for before, cost in zip(total, row, strict=True)]
        if gap == 0:
            leaders = [one == min(total) for one in total]
            weights = [leads / sum(leaders) for leads in leaders]
        else:
            behind = [math.exp(-math.log(count) / gap * one) for one in total]
            weights = [one / sum(behind) for one in behind]
    return weights


@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_weights_are_those_of_the_publication(count: int) -> None:
    """Its bound of what the choice may cost beyond the best rule holds for these weights only."""
    draw = random.Random(count)
    leading = [(0.0, *(1.0,) * (count - 1))] * 3
    costs = [tuple(draw.choice((0.0, 0.2, 0.7, 1.5)) for _ in range(count)) for _ in range(30)]
    for rounds in (leading, [*leading, *costs], costs, costs[:1], costs[:2], []):
        weights, total = adahedge(rounds, count)
        assert weights == pytest.approx(_hedged(rounds, count))
        assert total == pytest.approx([sum(row[rule] for row in rounds) for rule in range(count)])


def test_rules_far_behind_have_no_chance_and_break_nothing() -> None:
    """A rule that would have cost months of spend more than the best is followed with a chance of 0, not with an error."""
    assert adahedge([(1.0, 0.0), *[(0.0, 1.0)] * 60, (0.0, 1e7)], 2)[0] == pytest.approx((1.0, 0.0))
