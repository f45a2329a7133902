"""The multi-unit optimum, and what production's weights are compared with."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.policy.model import PlannedMode, PolicySettings, Strategy
from controller.policy.routing import cost_per_request
from research.split import Fleet, cheapest, compared, most_replicas, without_a_family
from research.traces import Trace
from tests.support.applications import application, seed_units

pytest.importorskip("scipy", reason="scipy is of the bench group")

UNITS = seed_units()
LIMITS = st.fixed_dictionaries({unit.name: st.integers(0, 12) for unit in UNITS})


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 3_000), LIMITS)
def test_linear_program_is_the_merit_order(demand: float, most: dict[str, int]) -> None:
    """With nothing but capacities in the way, filling the cheapest first is the optimum: the solver finds the same."""
    left, cost = demand, 0.0
    for unit in sorted(UNITS, key=cost_per_request):
        served = min(left, most[unit.name] * unit.throughput)
        cost, left = cost + served * cost_per_request(unit), left - served
    found = cheapest(UNITS, demand, most)
    assert found.cost == pytest.approx(cost, abs=1e-6)
    assert found.unserved == pytest.approx(left, abs=1e-6)


@settings(max_examples=12, deadline=None)
@given(st.floats(0, 3_000), LIMITS)
def test_whole_replicas_cost_no_less(demand: float, most: dict[str, int]) -> None:
    """Rounding and the one replica that every unit keeps are paid for."""
    whole, linear = cheapest(UNITS, demand, most, whole=True), cheapest(UNITS, demand, most)
    assert whole.cost >= linear.cost - 1e-6
    assert all(count == pytest.approx(round(count)) for count in whole.replicas.values())


def test_the_last_request_is_worth_a_whole_replica() -> None:
    """Else the optimum would leave a request unserved that everything it is compared with must serve."""
    limits = {**dict.fromkeys((unit.name for unit in UNITS), 0), "sd21-inf2": 7, "sd21-g5-triton": 3, "sd21-g5-cuda": 9}
    found = cheapest(UNITS, 1_486.0, limits, whole=True)
    assert found.unserved == 0
    assert found.replicas["sd21-g5-cuda"] == 9
    assert cheapest(UNITS, 1_546.0, limits, whole=True).unserved == pytest.approx(1.0), "more than there is"


def fleet(strategy: Strategy, **policy: float) -> Fleet:
    made = PolicySettings(strategy=strategy, planned_mode=PlannedMode.LIVE, **policy)  # type: ignore[arg-type]  # floats only
    return Fleet(application(policy=made), 300.0)


def test_adaptive_keeps_expensive_replicas() -> None:
    """Ready replicas are filled, the cheapest first: after demand rose, expensive replicas stay and the cheap unit does not grow."""
    most = {unit.name: 100 for unit in UNITS}
    adaptive, planned = fleet(Strategy.ADAPTIVE), fleet(Strategy.PLANNED, resilience_share=0.0)
    last = [adaptive.step(2_000.0, most).paid for _ in range(60)][-1]
    better = [planned.step(2_000.0, most).paid for _ in range(60)][-1]
    best = cheapest(UNITS, 2_000.0, most, whole=True).cost
    assert best < better < 0.95 * last
    assert adaptive.ready["sd21-inf2"] < planned.ready["sd21-inf2"] / 2


def test_planned_still_carries_its_share_when_a_family_vanishes() -> None:
    """At a steady demand, once its replicas are ready: whichever pool loses its capacity, four fifths of the demand are served at once."""
    most = {unit.name: 100 for unit in UNITS}
    for pool in sorted({unit.node_pool for unit in UNITS}):
        planned = fleet(Strategy.PLANNED)
        for _ in range(12):
            planned.step(2_000.0, most)
        done = planned.step(2_000.0, {unit.name: 0 if unit.node_pool == pool else 100 for unit in UNITS})
        assert done.late <= 0.2 * 2_000.0 + 1e-6


def test_a_unit_without_capacity_gets_no_traffic() -> None:
    """Its replicas are gone at once, and the others carry what they can."""
    two_mode, pools = fleet(Strategy.TWO_MODE), {unit.node_pool: Trace(unit.node_pool, b"\0\1", 300.0) for unit in UNITS}
    pools = {**{name: Trace(name, b"\1\1", 300.0) for name in pools}, "inf2": Trace("inf2", b"\0\1", 300.0)}
    done = two_mode.step(100.0, most_replicas(two_mode.application, pools, 0, 10))
    assert done.sent["sd21-inf2"] == 0
    assert sum(done.sent.values()) == pytest.approx(100.0)


def test_a_floor_stays_for_a_cold_start_after_the_demand_fell() -> None:
    """As production's floors do, and no longer: then the HPA lets the replicas go within its own window."""
    most = {unit.name: 100 for unit in UNITS}
    planned = fleet(Strategy.PLANNED, resilience_share=0.0)
    before = [planned.step(1_000.0, most).paid for _ in range(6)][-1]
    after = [planned.step(100.0, most).paid for _ in range(6)]
    assert after[0] == after[1] == before
    assert after[-1] < before


def test_without_hindsight_the_optimum_comes_a_cold_start_too_late() -> None:
    """Two steps of a demand that lasts; its bill is that of the optimum with hindsight."""
    pools = {unit.node_pool: Trace(unit.node_pool, bytes([1]) * 6, 300.0) for unit in UNITS}
    bill = compared(application(), [100.0, 100.0, 2_000.0, 2_000.0, 2_000.0, 2_000.0], pools, 100)
    few = sum(unit.throughput for unit in UNITS)
    assert bill.unforeseen == pytest.approx(2 * (2_000.0 - few) / 8_200.0)


def test_what_is_left_of_the_demand_without_a_family_is_what_the_policy_says() -> None:
    """At the end of a steady demand, whichever family vanishes. Weights in percents cost half a percent at most."""
    found = without_a_family(application(), [2_000.0] * 20, 300.0)
    families = [name for name in found if name]
    assert len(families) == 4
    for share in (0.5, 0.8, 1.0):
        assert all(found[family][f"planned, {share:.0%}"] <= 1 - share + 0.005 for family in families)
    assert found[""]["planned, 0%"] < found[""]["planned, 80%"] < found[""]["planned, 100%"]


def test_bills_need_capacities_for_the_whole_demand() -> None:
    """A demand that is longer than what is known of the capacities is refused."""
    pools = {unit.node_pool: Trace(unit.node_pool, b"\1", 300.0) for unit in UNITS}
    with pytest.raises(ValueError, match="longer"):
        compared(application(), [1.0, 2.0], pools, 10)


def test_a_bill_names_every_strategy() -> None:
    """Nothing served for the price of the optimum is cheaper than it."""
    pools = {unit.node_pool: Trace(unit.node_pool, bytes([1]) * 30, 300.0) for unit in UNITS}
    bill = compared(application(), [500.0] * 30, pools, 100)
    assert (
        set(bill.at_once) == set(bill.delayed) == {"two-mode", "adaptive", "planned, no loss, no forecast", "planned, no loss", "planned"}
    )
    assert bill.linear <= bill.whole
    assert bill.unserved == pytest.approx(0.0, abs=1e-9)


def test_with_late_metrics_everything_follows_what_was_asked_before() -> None:
    """Weights, floors and the HPA's replicas alike."""
    most = {unit.name: 100 for unit in UNITS}
    for strategy in (Strategy.ADAPTIVE, Strategy.PLANNED):
        at_once, late = fleet(strategy), replace(fleet(strategy), delay=2)
        for demand in (500.0, 500.0, 500.0, 900.0, 2_000.0):
            at_once.step(demand, most)
            late.step(demand, most)
        before = fleet(strategy)
        for demand in (500.0, 500.0, 500.0):
            before.step(demand, most)
        assert late.stock.starting == before.stock.starting != at_once.stock.starting, strategy
        assert (late.floors, late.weights) == (before.floors, before.weights)
        last = [late.step(2_000.0, most), late.step(2_000.0, most)][-1]
        assert sum(last.sent.values()) == pytest.approx(2_000.0), "what is asked now is what is sent"
        assert late.stock.starting != before.stock.starting
