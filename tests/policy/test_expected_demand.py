"""The demand that is expected one cold start ahead."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.policy.fleet import SLOTS, noted_demand
from controller.policy.fleet.expected import ALIKE, CANDIDATES, KEPT_OUTCOMES, LEAST_OUTCOMES, RECENT, SLOT_S, Expected, expected_demand
from controller.policy.model import Candidates, Damping, DemandHistory, Memory, NotedDemand, Outcome, PolicySettings, Sample, Strategy
from controller.recording.stored import CodecError, decode, encode
from tests.policy.support import decide
from tests.support.applications import NOW, application, memory, snapshot

DAY_S = SLOTS * SLOT_S
COLD_S = 600.0
LASTING = Damping(1e9, 1e9)
"""Trends have always gone on."""


def seen(demand: Callable[[float], float], times: Iterable[float]) -> DemandHistory:
    """What is remembered of a demand that was seen at these times."""
    history = None
    for at in times:
        history = noted_demand(history, at, demand(at))
    assert history is not None
    return history


def fell_short(*shares: float, of: float = 100.0) -> tuple[Outcome, ...]:
    """Outcomes of equal forecasts that fell short by these shares."""
    return tuple(Outcome(of, of * (1 + share)) for share in shares)


def every(step_s: float, days: float) -> Iterable[float]:
    return (step * step_s for step in range(round(days * DAY_S / step_s)))


def wave(at: float) -> float:
    return 1_000 - 900 * math.cos(2 * math.pi * at / DAY_S)


def test_without_history_it_is_the_present_demand() -> None:
    """Nothing is known of its errors either."""
    assert expected_demand(None, NOW, 123.0, COLD_S) == Expected(123.0, 123.0, None)


def test_what_rises_goes_on() -> None:
    """A line is continued, from a sample of at least half a slot ago."""
    rising = replace(seen(lambda at: at / 10, every(60.0, 0.05)), damping=LASTING)
    now = 0.05 * DAY_S
    assert expected_demand(rising, now, now / 10, COLD_S).point == pytest.approx((now + COLD_S) / 10)


def test_a_usual_rise_is_expected_before_it_begins() -> None:
    """After a day the season says it: at night, and with more requests than the day before."""
    history = seen(wave, every(300.0, 2))
    for hour in range(24):
        now = 2 * DAY_S + hour * 3_600
        wanted = max(wave(now), wave(now + COLD_S))
        later = seen(wave, every(300.0, 2 + hour / 24))
        assert expected_demand(later, now, wave(now), COLD_S).point == pytest.approx(wanted, rel=0.02, abs=6)
    assert history.season.count(None) == 0


def test_the_peak_is_not_passed() -> None:
    """A trend alone would go on past the top of the day; the season bends it."""
    top = 2 * DAY_S + DAY_S / 2
    history = seen(wave, every(300.0, 2.5))
    assert expected_demand(history, top, wave(top), 2 * COLD_S).point <= 1.01 * wave(top)


def test_what_forecasts_fell_short_by_comes_on_top() -> None:
    """The ninth of ten errors, once there are enough of them to judge."""
    history = DemandHistory(outcomes=fell_short(*(0.0,) * (LEAST_OUTCOMES - 1)), season=(None,) * SLOTS)
    assert expected_demand(history, NOW, 100.0, COLD_S).shortfall is None
    judged = replace(history, outcomes=fell_short(0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9))
    found = expected_demand(judged, NOW, 100.0, COLD_S)
    assert (found.demand, found.point, found.shortfall) == pytest.approx((180.0, 100.0, 0.8))


def test_a_steady_demand_has_no_margin() -> None:
    """A constant is forecast without an error."""
    history = seen(lambda _: 500.0, every(60.0, 1))
    assert expected_demand(history, DAY_S, 500.0, COLD_S) == Expected(500.0, 500.0, 0.0, CANDIDATES[0])


def test_a_gap_has_no_trend_and_no_error() -> None:
    """What a forecast said of a time that was not seen is not judged."""
    before = seen(lambda at: at / 10, every(60.0, 0.05))
    after = noted_demand(before, 0.2 * DAY_S, 5_000.0)
    assert after.outcomes == before.outcomes
    assert after.damping == before.damping
    assert expected_demand(before, 0.2 * DAY_S, 5_000.0, COLD_S).point == 5_000.0


def test_a_slot_is_noted_once() -> None:
    """So the memory changes, and is stored, four times an hour."""
    first = noted_demand(None, 10 * SLOT_S, 1.0)
    assert noted_demand(first, 10 * SLOT_S + SLOT_S - 1, 2.0) is first
    assert noted_demand(first, 11 * SLOT_S, 2.0) is not first


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(1, 5_000), st.floats(0, 1e6)), max_size=150), st.floats(0, 1e6), st.floats(0, 3_600))
def test_it_is_finite_bounded_and_never_below_the_present_demand(steps: list[tuple[float, float]], demand: float, ahead_s: float) -> None:
    """Whatever was seen."""
    history, now = None, 1_800_000_000.0
    for passed, value in steps:
        now += passed
        history = noted_demand(history, now, value)
        assert len(history.recent) <= RECENT
        assert len(history.outcomes) <= KEPT_OUTCOMES
        assert decode(encode(Memory(demand_history=history))).demand_history == history
        assert len(history.season) == SLOTS
    found = expected_demand(history, now, demand, ahead_s)
    assert demand <= found.point <= found.demand < math.inf


def test_it_is_stored() -> None:
    """And costs a memory without it nothing."""
    kept = Memory(demand_history=seen(wave, every(300.0, 1.5)))
    assert decode(encode(kept)) == kept
    assert len(encode(kept)) < 4_000
    assert "demand_history" not in encode(Memory())


def test_a_stored_history_of_another_kind_is_dropped() -> None:
    """A later version may divide the day otherwise: the history begins anew, and the rest of the memory stays."""
    raw = json.loads(encode(Memory(hold_level=2, demand_history=seen(wave, every(300.0, 0.5)))))
    raw["demand_history"]["season"] = raw["demand_history"]["season"][:24]
    assert decode(json.dumps(raw)) == Memory(hold_level=2)
    raw["demand_history"] = {"season": [-1.0] * SLOTS}
    with pytest.raises(CodecError, match=r"-1\.0 as a number"):
        decode(json.dumps(raw))


def test_missing_metrics_change_nothing() -> None:
    """Neither does another strategy note anything."""
    made = snapshot(application(policy=PolicySettings(strategy=Strategy.PLANNED)))
    known = replace(made, units={name: replace(one, demand=Sample(100.0, NOW)) for name, one in made.units.items()})
    history = decide(memory(), known)[0].demand_history
    assert history is not None
    assert history.recent == (NotedDemand(NOW, 500.0, 500.0),)
    later = replace(made, now=NOW + 2 * SLOT_S)
    assert decide(memory(demand_history=history), replace(later, sources=()))[0].demand_history is history
    assert decide(memory(demand_history=history), snapshot())[0].demand_history is None


@pytest.mark.parametrize(
    ("demand", "shortfall"),
    [
        pytest.param(150.0, 0.5, id="half as much again"),
        pytest.param(80.0, 0.0, id="less than expected is no shortfall"),
        pytest.param(500.0, 1.0, id="one doubling says nothing about the next"),
    ],
)
def test_an_error_is_the_share_by_which_a_forecast_fell_short(demand: float, shortfall: float) -> None:
    """Of the forecast, and at most all of it."""
    history = DemandHistory((), (Outcome(100.0, demand),) * LEAST_OUTCOMES, (None,) * SLOTS)
    assert expected_demand(history, NOW, 100.0, COLD_S).shortfall == pytest.approx(shortfall)


@pytest.mark.parametrize(
    ("later_s", "outcomes"),
    [
        pytest.param(SLOT_S, (Outcome(100.0, 150.0),), id="a slot later"),
        pytest.param(2 * SLOT_S - 1, (Outcome(100.0, 150.0),), id="a little late"),
        pytest.param(2 * SLOT_S, (), id="too late to compare"),
    ],
)
def test_an_outcome_is_of_a_forecast_for_that_time(later_s: float, outcomes: tuple[Outcome, ...]) -> None:
    """A forecast is for one slot later."""
    history = noted_demand(None, 10 * SLOT_S, 100.0)
    assert history.recent[-1].forecast == 100.0
    assert noted_demand(history, 10 * SLOT_S + later_s, 150.0).outcomes == outcomes


def test_only_forecasts_of_a_like_demand_count() -> None:
    """At night a few requests are twice as many as expected; by day that would start every replica twice."""
    night, day = fell_short(*(0.9,) * ALIKE, of=10.0), fell_short(*(0.1,) * ALIKE, of=1_000.0)
    history = DemandHistory((), (*night, *day), (None,) * SLOTS)
    for demand, shortfall in ((12.0, 0.9), (900.0, 0.1), (0.1, 0.9), (1e6, 0.1)):
        assert expected_demand(history, NOW, demand, COLD_S).shortfall == pytest.approx(shortfall)
    # In the middle of 10 and 1,000 is not 505 but 100: twice as many is as far off as half as many.
    assert expected_demand(history, NOW, 99.0, COLD_S).shortfall == pytest.approx(0.9)
    assert expected_demand(history, NOW, 101.0, COLD_S).shortfall == pytest.approx(0.1)


def test_the_twenty_most_similar_count() -> None:
    """Of those, nine in ten fell short by less: the third-largest of 20 has two above it."""
    near, far = fell_short(*(number / 100 for number in range(ALIKE))), fell_short(*(1.0,) * 44, of=50.0)
    assert expected_demand(DemandHistory((), far + near, (None,) * SLOTS), NOW, 100.0, COLD_S).shortfall == pytest.approx(0.17)


def test_the_season_keeps_what_is_no_longer_recent() -> None:
    """The first demand of a slot as it was, the next day's to three tenths."""
    first = seen(lambda at: 100.0, every(SLOT_S, (RECENT + 1) / SLOTS))
    assert first.season[0] == 100.0
    assert first.season[1] is None, "it is recent"
    both = seen(lambda at: 100.0 if at < DAY_S else 200.1234, every(SLOT_S, 1 + (RECENT + 1) / SLOTS))
    assert both.season[0] == pytest.approx(100 + 0.3 * 100.1234, abs=0.001)


MIDNIGHT = 20_000 * DAY_S
NOTHING = (None,) * SLOTS


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        pytest.param({}, 200.0, id="nothing was noted"),
        pytest.param({450: 100.0}, 400.0, id="half a slot ago: 100 in 450 s, twice that in 900"),
        pytest.param({449: 100.0}, 200.0, id="too young for a trend"),
        pytest.param({1_799: 100.0}, 200 + 90_000 / 1_799, id="almost two slots ago"),
        pytest.param({1_800: 100.0}, 200.0, id="two slots ago: too old"),
        pytest.param({1_000: 150.0, 500: 100.0}, 380.0, id="the newer of two"),
        pytest.param({1_000: 150.0, 100: 100.0}, 245.0, id="the older, where the newer is too young"),
        pytest.param({500: 300.0}, 200.0, id="a fall: replicas go once the demand has gone"),
    ],
)
def test_a_trend_goes_on(before: dict[int, float], expected: float) -> None:
    """Of 200 requests now, 900 s ahead. From a wrong sample the fleet grows for a spike, or too late for a rise."""
    recent = tuple(NotedDemand(NOW - ago, demand, 0.0) for ago, demand in before.items())
    found = expected_demand(DemandHistory(recent, (), NOTHING, LASTING), NOW, 200.0, 900.0)
    assert found == Expected(pytest.approx(expected), pytest.approx(expected), None)  # type: ignore[arg-type]  # equal to floats


def _season(known: dict[int, float]) -> tuple[float | None, ...]:
    return tuple(known.get(slot) for slot in range(SLOTS))


@pytest.mark.parametrize(
    ("season", "slot", "before", "expected"),
    [
        pytest.param({10: 100.0, 11: 200.0, 12: 400.0}, 10.5, None, 1_150.0, id="150 is usual now and 300 one slot later"),
        pytest.param({10: 100.0, 11: 200.0, 12: 400.0}, 10.0, None, 1_100.0, id="100 is usual now and 200 one slot later"),
        pytest.param({94: 100.0, 95: 100.0, 0: 200.0, 1: 500.0}, 95.5, None, 1_200.0, id="around midnight: 150 and 350"),
        pytest.param({10: 100.0, 11: 200.0}, 10.5, None, 1_000.0, id="the end is not known"),
        pytest.param({11: 200.0, 12: 400.0}, 10.5, None, 1_000.0, id="the beginning is not known"),
        pytest.param({10: 400.0, 11: 200.0, 12: 100.0}, 10.5, None, 1_000.0, id="a usual fall"),
        pytest.param({9: 50.0, 10: 100.0, 11: 200.0, 12: 400.0}, 10.5, 900.0, 1_175.0, id="it rose by 100, of which 75 are usual"),
        pytest.param({9: 50.0, 10: 100.0, 11: 200.0, 12: 400.0}, 10.5, 950.0, 1_125.0, id="it rose by 50, where 75 are usual"),
    ],
)
def test_what_is_usual_at_this_time_of_day(season: dict[int, float], slot: float, before: float | None, expected: float) -> None:
    """Of 1,000 requests now, one slot ahead. With another day's hour the fleet is ready for the wrong demand every day."""
    now = MIDNIGHT + slot * SLOT_S
    recent = () if before is None else (NotedDemand(now - SLOT_S, before, 0.0),)
    history = DemandHistory(recent, (), _season(season), LASTING)
    assert expected_demand(history, now, 1_000.0, SLOT_S).point == pytest.approx(expected)


@pytest.mark.parametrize(("count", "shortfall"), [(7, None), (8, 0.07), (10, 0.08), (11, 0.09), (20, 0.17)])
def test_nine_of_ten_forecasts_fell_short_by_less(count: int, shortfall: float | None) -> None:
    """The margin of the fleet: with too small a one a fleet lacks replicas more often than its words say."""
    outcomes = fell_short(*(number / 100 for number in reversed(range(count))))
    found = expected_demand(DemandHistory((), outcomes, NOTHING), NOW, 100.0, 900.0)
    assert (found.demand, found.point) == pytest.approx((100 * (1 + (shortfall or 0.0)), 100.0))
    assert found.shortfall == (shortfall if shortfall is None else pytest.approx(shortfall))


@pytest.mark.parametrize(
    ("forecast", "later_s", "outcomes"),
    [
        pytest.param(100.0004, SLOT_S, (Outcome(90.0, 99.0), Outcome(100.0, 150.0)), id="another one"),
        pytest.param(0.0, SLOT_S, (Outcome(90.0, 99.0),), id="of nothing there is no share"),
        pytest.param(0.0004, SLOT_S, (Outcome(90.0, 99.0),), id="nothing, rounded"),
        pytest.param(0.5, SLOT_S, (Outcome(90.0, 99.0), Outcome(0.5, 150.0)), id="hardly any was expected"),
        pytest.param(100.0, -SLOT_S, (Outcome(90.0, 99.0),), id="a clock that was set back"),
    ],
)
def test_the_whole_history_after_a_demand(forecast: float, later_s: float, outcomes: tuple[Outcome, ...]) -> None:
    """All of it is stored and decides the fleets of the coming days."""
    at = MIDNIGHT + 10 * SLOT_S
    first, last = NotedDemand(at - SLOT_S, 80.0, 90.0), NotedDemand(at, 100.0, forecast)
    found = noted_demand(DemandHistory((first, last), (Outcome(90.0, 99.0),), _season({9: 40.0})), at + later_s, 150.0)
    # The demand rose by 50 in a slot, and is not taken to go on: nothing was known of trends when it was forecast.
    noted = NotedDemand(at + later_s, 150.0, 150.0)
    season = _season({9: 40 + 0.3 * 40})  # the first demand is recent no more
    # It had risen by a fifth of 100 in the slot before, and rose by half of it in this one.
    damping = Damping(pytest.approx(0.2 * 0.5), pytest.approx(0.2 * 0.2)) if later_s > 0 else Damping()  # type: ignore[arg-type]
    assert found == DemandHistory((last, noted), outcomes, season, damping)


def test_only_the_newest_outcomes_are_kept() -> None:
    """A bad week long ago is no reason to pay for a margin now."""
    last = NotedDemand(MIDNIGHT, 100.0, 100.0)
    history = DemandHistory((last,), fell_short(*(number / 100 for number in range(KEPT_OUTCOMES))), NOTHING)
    kept = noted_demand(history, MIDNIGHT + SLOT_S, 150.0).outcomes
    assert kept == (*history.outcomes[1:], Outcome(100.0, 150.0))


RISING = (NotedDemand(NOW - SLOT_S, 100.0, 0.0),)
"""From 100 to 200 within a slot, where 200 are asked now."""


@pytest.mark.parametrize(
    ("damping", "slots", "rise"),
    [
        pytest.param(Damping(), 1.0, 0.0, id="nothing is known: it ends"),
        pytest.param(Damping(3.0, 3.0), 1.0, 0.75, id="trends go on, and one was supposed to end"),
        pytest.param(LASTING, 2.0, 2.0, id="trends go on"),
        pytest.param(Damping(9.0, 3.0), 2.0, 2.0, id="they even grow, which says nothing about this one"),
        pytest.param(Damping(2.0, 3.0), 1.0, 0.5, id="half of a trend lasts, with the doubling that was supposed to end"),
        pytest.param(Damping(2.0, 3.0), 0.5, 0.25, id="within a slot it is a line"),
        pytest.param(Damping(2.0, 3.0), 2.0, 0.75, id="half, and half of that"),
        pytest.param(Damping(2.0, 3.0), 2.5, 0.8125, id="and half of an eighth"),
        pytest.param(Damping(-1.0, 3.0), 2.0, 0.0, id="what rises falls"),
        pytest.param(Damping(-4.0, 3.0), 2.0, 0.0, id="and by more"),
        pytest.param(Damping(0.0, 1.0), 0.0, 0.0, id="now"),
    ],
)
def test_a_trend_counts_as_much_as_trends_lasted(damping: Damping, slots: float, rise: float) -> None:
    """Of a rise from 100 to 200 in a slot. On a load of bursts each burst would start a fleet for twice its height."""
    found = expected_demand(DemandHistory(RISING, (), NOTHING, damping), NOW, 200.0, slots * SLOT_S)
    assert found.point == pytest.approx(200 + 100 * rise)


@pytest.mark.parametrize(
    ("first", "second", "now", "learned"),
    [
        pytest.param(100.0, 200.0, 250.0, Damping(0.5 * 0.25, 0.25), id="half of a rise follows it"),
        pytest.param(100.0, 200.0, 150.0, Damping(0.5 * -0.25, 0.25), id="a fall follows it"),
        pytest.param(100.0, 200.0, 900.0, Damping(0.5, 0.25), id="more than a doubling counts as one"),
        pytest.param(900.0, 200.0, 100.0, Damping(0.5, 1.0), id="likewise a fall to less than nothing"),
        pytest.param(100.0, 0.0, 100.0, Damping(), id="of nothing there is no share"),
    ],
)
def test_what_is_learned_of_trends(first: float, second: float, now: float, learned: Damping) -> None:
    """As shares of the demand between them."""
    at = MIDNIGHT + 10 * SLOT_S
    recent = (NotedDemand(at - SLOT_S, first, 0.0), NotedDemand(at, second, 0.0))
    known = Damping(64.0, 128.0)
    found = noted_demand(DemandHistory(recent, (), NOTHING, known), at + SLOT_S, now).damping
    kept = Damping(63.0, 126.0) if second else known
    assert (found.lasted, found.squares) == pytest.approx((kept.lasted + learned.lasted, kept.squares + learned.squares))


@pytest.mark.parametrize(("first_s", "last_s"), [(2 * SLOT_S, SLOT_S), (SLOT_S, 2 * SLOT_S), (0.0, SLOT_S), (SLOT_S, 0.0)])
def test_nothing_is_learned_across_a_gap(first_s: float, last_s: float) -> None:
    """What happened meanwhile is not known."""
    at = MIDNIGHT + 10 * SLOT_S
    recent = (NotedDemand(at - first_s, 100.0, 0.0), NotedDemand(at, 200.0, 0.0))
    known = Damping(64.0, 128.0)
    assert noted_demand(DemandHistory(recent, (), NOTHING, known), at + last_s, 300.0).damping == known


def test_what_is_usual_is_no_trend() -> None:
    """The morning's rise says nothing about what lasts of a trend."""
    at = MIDNIGHT + 10 * SLOT_S
    recent = (NotedDemand(at - SLOT_S, 100.0, 0.0), NotedDemand(at, 200.0, 0.0))
    usual = _season({9: 100.0, 10: 200.0, 11: 250.0, 12: 300.0})
    assert noted_demand(DemandHistory(recent, (), usual, Damping()), at + SLOT_S, 350.0).damping == Damping(0.0, 0.0)


def test_bursts_teach_that_trends_do_not_last() -> None:
    """White noise: a rise is followed by a fall. A wave teaches the opposite."""
    heights = (100.0, 300.0, 200.0, 250.0, 80.0, 400.0, 120.0, 150.0)
    bursts = seen(lambda at: heights[round(at / SLOT_S) * 5 % 8], every(SLOT_S, 1))
    assert bursts.damping.lasted < 0
    rising = seen(lambda at: 1_000 - 900 * math.cos(2 * math.pi * at / DAY_S), every(SLOT_S, 0.9))
    assert rising.damping.lasted > 0.5 * rising.damping.squares


FELL = tuple(Outcome(100.0, after) for after in (20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 130.0, 150.0))
"""Of ten forecasts of 100, nine were followed by at most 130 and fell short by at most three tenths."""


OFTEN: Final = math.inf
"""What a candidate lost that does not count."""


@pytest.mark.parametrize(
    ("losses", "present", "served", "expected"),
    [
        pytest.param((1.0, 1.0), 200.0, 0.0, Expected(260.0, 200.0, 0.3), id="equally good: by shares"),
        pytest.param((1.0, 2.0), 200.0, 0.0, Expected(260.0, 200.0, 0.3), id="by shares"),
        pytest.param((2.0, 1.0), 200.0, 0.0, Expected(130.0, 130.0, -0.35), id="by demands: the burst will be over"),
        pytest.param((2.0, 1.0), 200.0, 150.0, Expected(150.0, 150.0, -0.35), id="what serves it stays"),
        pytest.param((2.0, 1.0), 200.0, 900.0, Expected(200.0, 200.0, -0.35), id="all of it is served"),
        pytest.param((2.0, 1.0), 200.0, None, Expected(200.0, 200.0, -0.35), id="nothing is said of what is ready"),
        pytest.param((2.0, 1.0), 50.0, 0.0, Expected(130.0, 50.0, 1.6), id="by demands: a burst may come"),
        pytest.param((2.0, 1.0), 0.0, 0.0, Expected(130.0, 0.0, 0.0), id="of nothing there is no share"),
        pytest.param((0.0, 0.0), 0.0, 0.0, Expected(0.0, 0.0, 0.0), id="nor of its shortfall"),
    ],
)
def test_the_margin_that_was_better_lately_counts(
    losses: tuple[float, float], present: float, served: float | None, expected: Expected
) -> None:
    """A load of bursts is no more likely to burst because it does; a load that grows goes beyond all that was seen."""
    history = DemandHistory((), FELL, NOTHING, candidates=Candidates((*losses, OFTEN, OFTEN)))
    found = expected_demand(history, NOW, present, 900.0, served)
    assert (found.demand, found.point, found.shortfall) == pytest.approx((expected.demand, expected.point, expected.shortfall))
    assert found.followed == CANDIDATES[losses[1] < losses[0]]
    assert found.loss == min(losses)


NOISE = tuple(Outcome(100.0, after) for after in (100.0, 120.0, 80.0, 120.0, 80.0, 120.0, 80.0, 120.0, 80.0, 120.0))


@pytest.mark.parametrize(
    ("losses", "followed", "expected"),
    [
        pytest.param((9.0, 9.0, 1.0, 2.0), 2, 100.0 + 20.0 + 80.0 / 3, id="half of the noise, and errors of it"),
        pytest.param((9.0, 9.0, 2.0, 1.0), 3, 160.0 + 40.0, id="all of it, and errors of all of it"),
    ],
)
def test_smoothing_follows_noise_less_than_the_last_demand_does(
    losses: tuple[float, float, float, float], followed: int, expected: float
) -> None:
    """The level swings about 93 and 107, so that errors are at most 27 and the level of 160 requests is 127; those of the last are 40."""
    history = DemandHistory((), NOISE, NOTHING, candidates=Candidates(losses))
    found = expected_demand(history, NOW, 160.0, 900.0, 0.0)
    assert found.followed == CANDIDATES[followed]
    assert found.demand == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize(
    ("bounds", "losses"),
    [
        pytest.param((150.0, 150.0, 150.0, 150.0), (63.0, 126.0, 0.0, 63.0), id="exactly enough: nothing is lost"),
        pytest.param((790.0, 214.0, 150.0, 790.0), (64.0, 126.1, 0.0, 64.0), id="a request too many costs a tenth"),
        pytest.param((86.0, 22.0, 150.0, 86.0), (63.9, 127.8, 0.0, 63.9), id="a request too few costs nine tenths"),
        pytest.param(None, (64.0, 128.0, 0.0, 64.0), id="nothing was said"),
    ],
)
def test_a_candidate_is_judged_once_the_demand_is_known(
    bounds: tuple[float, float, float, float] | None, losses: tuple[float, float, float, float]
) -> None:
    """By what it said before. The latest loss is a 64th of the average: without one, 64 and 128 are 63 and 126 a slot later."""
    last = NotedDemand(MIDNIGHT, 100.0, 100.0)
    history = DemandHistory((last,), (), NOTHING, candidates=Candidates((64.0, 128.0, 0.0, 64.0), bounds))
    found = noted_demand(history, MIDNIGHT + SLOT_S, 150.0).candidates
    assert found.losses == pytest.approx(losses)
    assert found.bounds is None
    late = noted_demand(history, MIDNIGHT + 2 * SLOT_S, 150.0).candidates
    assert late.losses == (64.0, 128.0, 0.0, 64.0), "a slot was missed: it is another time than the one that was spoken of"


def test_each_candidate_says_something_of_the_next_slot() -> None:
    """With the outcome that has just become known: its forecast of 100 was followed by 50."""
    history = DemandHistory((NotedDemand(MIDNIGHT, 100.0, 100.0),), FELL, NOTHING)
    bounds = noted_demand(history, MIDNIGHT + SLOT_S, 50.0).candidates.bounds
    assert bounds is not None
    assert bounds[:2] == (65.0, 130.0)
    few = DemandHistory((NotedDemand(MIDNIGHT, 100.0, 100.0),), FELL[: LEAST_OUTCOMES - 2], NOTHING)
    assert noted_demand(few, MIDNIGHT + SLOT_S, 50.0).candidates.bounds is None


def _grown(at: float) -> float:
    """Twice as much each day."""
    return 100.0 * 2 ** (at / DAY_S)


def _bursts(at: float) -> float:
    """A slot of eleven has five times the demand, each day another one."""
    return 500.0 if at % (11 * SLOT_S) < SLOT_S else 100.0


@pytest.mark.parametrize(("demand", "by_demands"), [(_grown, False), (_bursts, True)])
def test_the_load_decides_which_margin_is_better(demand: Callable[[float], float], by_demands: bool) -> None:
    """Without a parameter: the better one has lost less."""
    days = 22 * 11 / SLOTS  # at its end a burst begins
    history, now = seen(demand, every(300.0, days)), days * DAY_S
    by_share, by_demand, *_ = history.candidates.losses
    assert (by_demand < by_share) is by_demands
    alone = replace(history, candidates=Candidates((by_share, by_demand, OFTEN, OFTEN)))
    found = expected_demand(alone, now, demand(now), SLOT_S, served=0.0)
    assert (found.demand < demand(now)) is by_demands


@pytest.mark.parametrize(("noise", "walk", "followed"), [(40.0, 10.0, 2), (0.0, 40.0, 3)], ids=["noisy", "wandering"])
def test_the_load_decides_how_much_is_forgotten(noise: float, walk: float, followed: int) -> None:
    """Noise about a level that wanders is smoothed; of a demand that only wanders the last value is all there is."""
    drawn, level, demands = random.Random(7), 1_000.0, list[float]()
    for _ in range(3 * SLOTS):
        level += drawn.gauss(0, walk)
        demands.append(level + drawn.gauss(0, noise))
    losses = seen(lambda at: demands[round(at / SLOT_S) % len(demands)], every(SLOT_S, 3)).candidates.losses
    assert losses[followed] == min(losses[2:])


def test_a_stored_forecast_of_nothing_is_no_outcome() -> None:
    """Nothing has a ratio to it. No version notes it, but anyone may have edited the ConfigMap."""
    kept = seen(wave, every(300.0, 1.5))
    edited = replace(kept, outcomes=(*kept.outcomes, Outcome(0.0, 5.0)))
    assert expected_demand(edited, NOW, 0.0, SLOT_S) == expected_demand(kept, NOW, 0.0, SLOT_S)
