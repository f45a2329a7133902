"""The two-state problem, its optimum, and what every policy must satisfy."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.policy.account import break_even_s
from controller.policy.model import PolicySettings, Strategy
from research.best_online import Law, solve
from research.policies import POLICIES
from research.production import Production, application
from research.rules import Fixed, played
from research.traces import DAY_S, TICK_S, Trace, either, sampled
from research.two_state import GRID, Prices, account, optimum

SHORT = st.binary(min_size=1, max_size=11).map(lambda raw: Trace("short", bytes(byte % 2 for byte in raw)))
PRICES = st.builds(Prices, st.floats(1.05, 3), st.floats(2.5, 30), st.floats(60, 2_000))
RUNS = st.lists(st.integers(1, 60), min_size=1, max_size=12)


def trace(*lengths: int, first: bool = True) -> Trace:
    """Runs of these lengths, which alternate."""
    bits = b"".join(bytes([first is (number % 2 == 0)]) * length for number, length in enumerate(lengths))
    return Trace("made", bits)


def cost(changes: list[int], made: Trace, prices: Prices) -> float:
    return account(changes, made, prices).cost


def cheapest_by_trying(made: Trace, prices: Prices) -> float:
    """The least cost over every sequence of modes."""
    found = []
    for modes in product((0, 1), repeat=len(made.available)):
        changes = [tick for tick, (before, now) in enumerate(pairwise((0, *modes))) if before != now]
        found.append(cost(changes, made, prices))
    return min(found)


@settings(max_examples=40, deadline=None)
@given(SHORT, PRICES)
def test_optimum_is_what_trying_every_sequence_finds(made: Trace, prices: Prices) -> None:
    """The dynamic program over runs is exact."""
    assert cost(optimum(made, prices), made, prices) == pytest.approx(cheapest_by_trying(made, prices))


@settings(max_examples=25, deadline=None)
@given(RUNS, st.booleans(), st.sampled_from(GRID))
def test_nobody_beats_the_optimum(lengths: list[int], first: bool, prices: Prices) -> None:
    """OPT is a lower bound for every policy."""
    made = trace(*lengths, first=first)
    least = cost(optimum(made, prices), made, prices)
    for name, play in POLICIES.items():
        assert cost(play(made, prices), made, prices) >= least - 1e-9, name


@settings(max_examples=12, deadline=None)
@given(RUNS, RUNS, st.booleans(), st.sampled_from(GRID))
def test_no_policy_knows_the_future(lengths: list[int], others: list[int], first: bool, prices: Prices) -> None:
    """On two traces that agree up to a tick, every policy acts alike up to the next tick: one tick of delay and no foresight."""
    shared = trace(*lengths, first=first).available
    traces = [Trace("a", shared + trace(*others, first=start).available) for start in (False, True)]
    for name, play in POLICIES.items():
        one, two = ([tick for tick in play(made, prices) if tick <= len(shared)] for made in traces)
        assert one == two, name


def test_a_bill_is_added_up_by_hand() -> None:
    """Ten ticks of capacity, four without, six with: failed over one tick late, back two ticks after the return."""
    made, prices = trace(10, 4, 6), Prices(1.5, 9.0, 2 * TICK_S)
    done = account([11, 16], made, prices)
    assert done.cost == pytest.approx(10 + (1 + 9) + 5 * 1.5 + 4 + 2 * 2)
    assert (done.changes, done.exposed, done.needless) == (2, 1, 2)
    assert done.exposed_minutes_a_day == pytest.approx(TICK_S / 60 / (20 * TICK_S / DAY_S))


@pytest.mark.parametrize("changes", [[3, 3], [5, 2], [20], [-1]])
def test_impossible_changes_are_refused(changes: list[int]) -> None:
    """A bill is made of ascending ticks of the trace only."""
    with pytest.raises(ValueError, match="ascending"):
        account(changes, trace(20), GRID[0])


def test_waits_count_from_what_was_seen() -> None:
    """One tick of delay: an outage as long as the patience causes no failover; one tick longer does, even if it is over."""
    assert played(Fixed(0, 0), trace(5, 3, 5)) == [6, 9]
    assert played(Fixed(3 * TICK_S, 0), trace(5, 3, 5)) == []
    assert played(Fixed(2 * TICK_S, 2 * TICK_S), trace(5, 3, 5)) == [8, 11]


def test_checker_returns_unchecked_once_a_day() -> None:
    """The AWS sample's checker returns at its hour although capacity has not, and is exposed until its next check."""
    made = trace(10, 3 * 443)
    changes = POLICIES["the AWS sample's checker"](made, GRID[0])
    assert len(changes) == 7  # out, and then three mornings: back and out again
    assert all(later - earlier <= 3 for earlier, later in zip(changes[1::2], changes[2::2], strict=True))


def test_zones_are_one_unit() -> None:
    """A unit has capacity where any zone has; zones of different length are refused."""
    assert either("unit", [Trace("a", b"\1\0\0"), Trace("b", b"\0\0\1")]).available == b"\1\0\1"
    with pytest.raises(ValueError, match="same ticks"):
        either("unit", [Trace("a", b"\1"), Trace("b", b"\1\1")])


def test_sampling_shows_what_a_poll_sees() -> None:
    """A change counts from the first tick that starts at it or later; what is shorter than a tick may be missed."""
    made = sampled("polled", [(0.0, True), (15.0, False), (17.0, True), (20.0, False), (41.0, True)], 60.0, 10.0)
    assert made.available == b"\1\1\0\0\0\1"
    with pytest.raises(ValueError, match="order"):
        sampled("polled", [(5.0, True), (1.0, False)], 60.0)


# --- production ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prices", GRID, ids=str)
def test_production_computes_the_very_prices(prices: Prices) -> None:
    """Production computes the r and S of the problem for the benchmark's application."""
    made = application(prices, PolicySettings(hold_min_s=0))
    assert break_even_s(made, {"cheap": 1, "expensive": 0}, ["cheap"], 0) == pytest.approx(prices.break_even_s)


@settings(max_examples=8, deadline=None)
@given(RUNS, st.sampled_from((GRID[0], GRID[2])), st.sampled_from(list(Strategy)))
def test_production_need_not_be_asked_every_tick(lengths: list[int], prices: Prices, strategy: Strategy) -> None:
    """Deciding only when the result may change gives the same mode changes."""
    made, policy = trace(*lengths), PolicySettings(strategy=strategy)
    assert Production(policy)(made, prices) == Production(policy, every_tick=True)(made, prices)


def test_production_is_break_even_behind_its_guards() -> None:
    """One clean outage: out one tick after it began, back when hold and quiet time are over."""
    prices = GRID[0]
    made = trace(100, 30, 100)
    out, back = Production()(made, prices)
    assert out == 101
    assert (back - 130) * TICK_S == pytest.approx(prices.break_even_s, abs=2 * TICK_S)


def test_production_waits_for_quiet_where_the_hold_is_shorter() -> None:
    """At r = 2.5 the hold is the quiet time's ten minutes: both count, not their sum."""
    out, back = Production()(trace(100, 30, 100), GRID[2])
    assert out == 101
    assert (back - 130) * TICK_S == pytest.approx(600, abs=2 * TICK_S)


# --- the best online policy ---------------------------------------------------------------------------------------------------------------


def test_best_online_foresees_what_always_happens() -> None:
    """If all outages and up-times are equal, the law predicts them: the cost is that of OPT except in the first cycle."""
    made, prices = trace(*[12, 5] * 60), Prices(1.5, 20.0, TICK_S)
    best = solve(Law.of([5]), Law.of([12]), prices, TICK_S)
    assert cost(best.play(made), made, prices) <= cost(optimum(made, prices), made, prices) + 2 * prices.exposed


@pytest.mark.parametrize("prices", GRID, ids=str)
def test_best_online_is_no_worse_than_any_threshold(prices: Prices) -> None:
    """On the runs of its law no constant patience and hold is better, except for the law's binning."""
    from research.experiments import laws
    from research.fit import FITTED
    from research.outages import region

    made = region(1, FITTED, days=200)[0]
    best = cost(solve(*laws(made), prices, TICK_S).play(made), made, prices)
    fixed = [Fixed(patience, hold) for patience in (0, 600) for hold in (0, 900, 3_600, 7_200, 14_400)]
    assert best <= min(cost(played(rule, made), made, prices) for rule in fixed) * 1.01
