"""The search for the highest rate that holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failover_harness.model_servers.measuring import step
from failover_setup.breaking_point.model import Ending, Limit, Step
from failover_setup.breaking_point.search import Bracket, Search, Try, bracket, limits_at, next_step

SEARCH = Search(start=10.0, highest=1000.0)
BROKE = (Limit.PLATEAU,)


def test_it_begins_at_the_start() -> None:
    """The first rate is the start."""
    assert next_step([], SEARCH) == Try(10.0)


def test_it_climbs_by_the_growth_while_rates_hold() -> None:
    """The rate after one that held is half as high again."""
    assert next_step([step(10.0)], SEARCH) == Try(15.0)


def test_it_halves_geometrically_between_held_and_not() -> None:
    """Between 10 and 40 lies 20."""
    assert next_step([step(10.0), step(40.0, *BROKE)], SEARCH) == Try(20.0)


def test_the_lowest_rate_that_did_not_hold_is_run_again() -> None:
    """One unlucky step must not end the climb too early."""
    assert next_step([step(100.0), step(102.0, *BROKE)], SEARCH) == Try(102.0)


@pytest.mark.parametrize("limit", [Limit.LATENCY, Limit.ERRORS, Limit.ACCELERATOR])
def test_a_step_that_kept_up_and_yet_exceeded_a_limit_is_run_again_at_once(limit: Limit) -> None:
    """A pause makes requests late without a lack of capacity; a throughput that falls behind is a lack."""
    assert next_step([step(10.0), step(15.0, limit)], SEARCH) == Try(15.0)
    assert next_step([step(10.0), step(15.0, limit), step(15.0, limit)], SEARCH) == Try(12.25)
    assert next_step([step(10.0), step(15.0, limit, Limit.PLATEAU)], SEARCH) == Try(12.25)


def test_if_two_steps_disagree_a_third_decides() -> None:
    """After one step that held and one that did not, a third runs and the majority decides."""
    steps = [step(100.0), step(102.0, *BROKE), step(102.0)]
    assert next_step(steps, SEARCH) == Try(102.0)
    assert bracket([*steps, step(102.0)]) == Bracket(102.0, None)
    assert bracket([*steps, step(102.0, *BROKE)]) == Bracket(100.0, 102.0)


def test_after_an_unlucky_step_the_climb_goes_on() -> None:
    """A rate that held after all is no upper bound."""
    assert next_step([step(100.0), step(102.0, *BROKE), step(102.0), step(102.0)], SEARCH) == Try(153.0)


def test_the_highest_rate_that_held_is_confirmed_by_a_longer_step() -> None:
    """The reported rate held in a longer step than those of the search."""
    steps = [step(100.0), step(102.0, *BROKE), step(102.0, *BROKE)]
    assert next_step(steps, SEARCH) == Try(100.0, long=True)
    confirmed = step(100.0, long=True)
    assert next_step([*steps, confirmed], SEARCH) is confirmed


def test_a_rate_that_is_not_confirmed_is_searched_below() -> None:
    """Two long steps that do not hold outvote the short one."""
    lost = [step(100.0, *BROKE, long=True), step(100.0, *BROKE, long=True)]
    steps = [step(50.0), step(100.0), step(102.0, *BROKE), step(102.0, *BROKE)]
    assert next_step([*steps, lost[0]], SEARCH) == Try(100.0, long=True)
    assert next_step([*steps, *lost], SEARCH) == Try(70.71)


def test_after_a_start_that_is_too_high_it_searches_downwards() -> None:
    """It gives up at an eighth of the start."""
    assert next_step([step(10.0, *BROKE)], SEARCH) == Try(6.667)
    below = [step(rate, *BROKE) for rate in (10.0, 6.667, 4.445, 2.963, 1.975, 1.317)]
    assert next_step(below, SEARCH) is Ending.NEVER_HELD


def test_the_highest_rate_is_not_exceeded() -> None:
    """The climb ends there, with its own ending."""
    assert next_step([step(900.0)], SEARCH) == Try(1000.0)
    assert next_step([step(1000.0)], SEARCH) is Ending.HIGHEST_RATE


def test_every_limit_that_a_rate_exceeded_is_named_once() -> None:
    """In the order of the limits."""
    steps = [step(5.0, Limit.ERRORS), step(5.0, Limit.LATENCY, Limit.ERRORS), step(4.0, Limit.PLATEAU)]
    assert limits_at(steps, 5.0) == (Limit.LATENCY, Limit.ERRORS)
    assert limits_at(steps, None) == ()


@given(knee=st.floats(1.5, 900.0), lies=st.lists(st.booleans(), max_size=60))
def test_it_ends_near_the_knee_despite_misleading_steps(knee: float, lies: list[bool]) -> None:
    """Up to every fourth step may mislead: the search ends, and never above a rate that most of its steps held."""
    steps: list[Step] = []
    while isinstance(to_try := next_step(steps, SEARCH), Try):
        number = len(steps)
        lie = number % 4 == 3 and number < len(lies) and lies[number]
        holds = (to_try.rate <= knee) is not lie
        steps.append(step(to_try.rate, *(() if holds else BROKE), long=to_try.long))
        assert len(steps) < 100
    if isinstance(to_try, Ending):
        assert to_try is Ending.NEVER_HELD
        assert knee < 10.0 / 8 * 1.5
        return
    assert to_try.long
    assert sum(1 if one.held else -1 for one in steps if one.rate == to_try.rate) > 0
    if not any(lies):
        assert knee / 1.031 <= to_try.rate <= knee


def test_the_same_steps_lead_to_the_same_rate() -> None:
    """It is pure."""
    steps = [step(10.0), step(40.0, *BROKE), step(20.0)]
    assert next_step(steps, SEARCH) == next_step(list(steps), SEARCH) == Try(28.28)
