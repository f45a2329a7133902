"""The waits before the next mode change, as `plan`, `status` and `explain` show them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.policy.decide import _waits, decide
from controller.policy.experts import Expert
from controller.policy.hold import _learned, _share_within, break_even_s, hold_s, next_waiting, patience_s, waiting
from controller.policy.learning import LEAST_SEEN
from controller.policy.model import Application, Cause, HoldStrategy, OutageHistory, PolicySettings, UnitMemory
from controller.policy.weights import price_ratio
from tests.policy.support import change, pods, refused
from tests.support.applications import NOW, application, memory, snapshot

WEIGHTS = {"sd21-inf2": 40, "sd21-trn1": 20, "sd21-g5-triton": 15, "sd21-g6-triton": 10, "sd21-g5-cuda": 15}
UNITS = ("sd21-inf2",)


def _history(count: int) -> OutageHistory:
    return OutageHistory(False, NOW, (600.0,) * count, (86_400.0,) * count)


@pytest.mark.parametrize(
    ("durations", "wait", "share"),
    [((), 60.0, None), ((60.0,), 60.0, 1.0), ((60.1,), 60.0, 0.0), ((10.0, 60.0, 61.0, 99.0), 60.0, 0.5), ((0.0,), 0.0, 1.0)],
)
def test_the_share_that_ended_within_a_wait(durations: tuple[float, ...], wait: float, share: float | None) -> None:
    """One that took exactly the wait ended within it; of none there is no share, which is not a share of zero."""
    assert _share_within(durations, wait) == share


def test_break_even_waits_say_what_was_observed_and_nothing_of_learning() -> None:
    """The policy does not ask for learned waits."""
    app, remembered = application(), memory(outage_history=_history(3))
    seen = waiting(app, WEIGHTS, UNITS, remembered)
    assert (seen.units, seen.strategy, seen.rule, seen.why) == (UNITS, HoldStrategy.BREAK_EVEN, Expert.DOUBLED, "")
    assert (seen.patience_s, seen.hold_s) == (patience_s(app, WEIGHTS, UNITS, remembered), hold_s(app, WEIGHTS, UNITS, remembered))
    assert (seen.outages, seen.uptimes, seen.over_by_patience, seen.gone_by_hold) == (3, 3, 0.0, 0.0)


@pytest.mark.parametrize(
    ("count", "exposed_cost", "strategy", "why"),
    [
        (LEAST_SEEN - 1, 100.0, HoldStrategy.BREAK_EVEN, f"were observed: {LEAST_SEEN - 1} so far"),
        (LEAST_SEEN, 100.0, HoldStrategy.LEARNED, ""),
        (LEAST_SEEN, 0.001, HoldStrategy.BREAK_EVEN, "could never pay"),
    ],
)
def test_learned_waits_say_why_they_are_not(count: int, exposed_cost: float, strategy: HoldStrategy, why: str) -> None:
    """Too few shortages, or a failover that costs more than to be exposed."""
    app = application(policy=PolicySettings(hold_strategy=HoldStrategy.LEARNED, exposed_cost=exposed_cost))
    seen = waiting(app, WEIGHTS, UNITS, memory(outage_history=_history(count)))
    assert seen.strategy is strategy
    choice = _learned(app, WEIGHTS, UNITS, memory(outage_history=_history(count)))
    assert seen.rule is (choice.expert if choice is not None else Expert.DOUBLED)
    assert (choice is not None) is (strategy is HoldStrategy.LEARNED)
    assert why in seen.why
    assert bool(seen.why) is bool(why)


def test_learned_waits_need_units_whose_return_costs_something() -> None:
    """Without a named unit nothing is spent on a return, and nothing can be learned of it: both conditions count, not one of them."""
    app = application(policy=PolicySettings(hold_strategy=HoldStrategy.LEARNED, exposed_cost=100.0))
    assert waiting(app, WEIGHTS, (), memory(outage_history=_history(LEAST_SEEN))).strategy is HoldStrategy.BREAK_EVEN


def _learning(exposed_cost: float = 100.0, **policy: Any) -> Application:
    return application(policy=PolicySettings(hold_strategy=HoldStrategy.LEARNED, exposed_cost=exposed_cost, **policy))


def test_nothing_is_learned_where_a_failover_or_a_fallback_cannot_pay() -> None:
    """Capacity mode costs the same, or exactly as much more as it costs to be exposed: at both bounds there is nothing to weigh."""
    remembered = memory(outage_history=_history(LEAST_SEEN))
    same = _learning()
    same = replace(same, units=tuple(replace(unit, price_per_hour=1.0, throughput=100) for unit in same.units))
    assert waiting(same, WEIGHTS, UNITS, remembered).strategy is HoldStrategy.BREAK_EVEN
    extra = price_ratio(application(), WEIGHTS) - 1
    assert waiting(_learning(exposed_cost=extra), WEIGHTS, UNITS, remembered).strategy is HoldStrategy.BREAK_EVEN
    assert waiting(_learning(exposed_cost=extra * 1.01), WEIGHTS, UNITS, remembered).strategy is HoldStrategy.LEARNED


def test_waits_are_learned_of_the_shortest_cold_starts_too() -> None:
    """And a failover is as late as patience and the replacement of a pod together, whichever is longer."""
    app = _learning(patience_s=0.0, replacement_hold_s=60.0)
    app = replace(app, units=tuple(replace(unit, cold_start_s=0.5) for unit in app.units))
    assert waiting(app, WEIGHTS, UNITS, memory(outage_history=_history(LEAST_SEEN))).strategy is HoldStrategy.LEARNED


def test_the_hold_is_the_same_in_every_currency() -> None:
    """Only the ratio of prices counts."""
    app = application()
    cheap = replace(app, units=tuple(replace(unit, price_per_hour=unit.price_per_hour / 10_000) for unit in app.units))
    assert break_even_s(cheap, WEIGHTS, UNITS, 0) == pytest.approx(break_even_s(app, WEIGHTS, UNITS, 0))


def test_the_hold_is_doubled_at_most_sixteen_times() -> None:
    """Beyond that it would leave the range of numbers, whatever the bound."""
    app = application(policy=PolicySettings(hold_max_s=1e12))
    assert break_even_s(app, WEIGHTS, UNITS, 15) * 2 == break_even_s(app, WEIGHTS, UNITS, 16) == break_even_s(app, WEIGHTS, UNITS, 17)


def test_the_next_waits_are_as_if_what_is_short_had_returned() -> None:
    """Its weight counts in the price of cost mode, although it has no replica now."""
    app, short = application(), {"sd21-inf2": UnitMemory(NOW - 60, Cause.CAPACITY)}
    made = change(snapshot(), ready=0, endpoints_ready=0, deployment_ready=0)
    assert next_waiting(made, memory(units=short)).hold_s == break_even_s(app, WEIGHTS, UNITS, 0)


def test_the_next_waits_are_those_of_what_is_short_else_of_the_heaviest_unit() -> None:
    """In the order of the file, and only of what is remembered."""
    short = {name: UnitMemory(NOW - 60, Cause.CAPACITY) for name in ("sd21-g5-cuda", "sd21-trn1")}
    assert next_waiting(snapshot(), memory(units=short)).units == ("sd21-trn1", "sd21-g5-cuda")
    assert next_waiting(snapshot(), memory()).units == ("sd21-inf2",)


def test_a_pass_is_due_when_demand_is_old_enough_to_prove_a_shortage() -> None:
    """Age alone proves it then, and no event would wake the loop."""
    made = change(snapshot(), pending=pods(since=NOW - 200), waiting_since=NOW - 200, desired=4)
    decision = decide(memory(), made)[1]
    due = made.application.policy.hard_demand_s - 200
    assert decision.evidence["sd21-inf2"].demand_since == NOW - 200
    assert any(abs(wait - due) < 1e-6 for wait in _waits(made, decision.evidence))
    assert decision.next_check_s is not None
    assert decision.next_check_s <= due


def test_a_pass_is_due_for_each_refusal_too() -> None:
    """A refusal counts once a replacement would have started, one without a cause later; pods that wait change nothing of it."""
    failures = (refused(NOW - 1, seen=NOW - 1), refused(NOW - 20, source="create-error"))
    made = change(snapshot(), pending=pods(since=NOW - 100), waiting_since=NOW - 100, desired=4, pool_failures=failures)
    policy = made.application.policy
    waits = _waits(made, decide(memory(), made)[1].evidence)
    for due in (policy.replacement_hold_s - 1, policy.create_error_s - 20, policy.hard_demand_s - 100):
        assert any(abs(wait - due) < 1e-6 for wait in waits), (due, waits)
