"""What strategy `planned` runs, and that in shadow nothing else follows from it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.policy.fleet import noted_demand
from controller.policy.fleet.expected import SLOT_S
from controller.policy.fleet.words import planned_words
from controller.policy.model import (
    Application,
    Damping,
    Held,
    Mode,
    PlannedFleet,
    PolicySettings,
    Reservation,
    Sample,
    Scaler,
    Snapshot,
    Strategy,
    UnitObservation,
)
from controller.routing.conclusion import conclude
from tests.policy.support import above_scaler, change, decide, shortage
from tests.support.applications import NOW, application, memory, snapshot

INF2, TRN1, G5, G6, CUDA = "sd21-inf2", "sd21-trn1", "sd21-g5-triton", "sd21-g6-triton", "sd21-g5-cuda"


def _application(strategy: Strategy = Strategy.PLANNED, **policy: float) -> Application:
    return application(policy=PolicySettings(strategy=strategy, **policy))  # type: ignore[arg-type]  # floats only


def _observed(app: Application, demand: float = 1_000.0) -> Snapshot:
    """Every unit with a scaler and two ready replicas, and a fifth of the demand each."""
    seen = snapshot(app)
    units = {name: _scaled(one, demand / len(seen.units)) for name, one in seen.units.items()}
    return replace(seen, units=units)


def _scaled(one: UnitObservation, demand: float) -> UnitObservation:
    scaler = Scaler(name=f"{one.unit}-hpa", resource_version="1", min_replicas=1, max_replicas=100, target="90")
    return replace(one, demand=Sample(demand, NOW), scaler=scaler)


def _planned(seen: Snapshot) -> PlannedFleet:
    found = decide(memory(), seen)[1].planned
    assert found is not None
    return found


def test_it_acts_as_adaptive() -> None:
    """The decision and the plan are those of `adaptive`, byte for byte; only what it would run comes beside."""
    for seen in (_observed(_application()), shortage(_observed(_application()))):
        policy = replace(seen.application.policy, strategy=Strategy.ADAPTIVE)
        other = replace(seen, application=replace(seen.application, policy=policy))
        planned, adaptive = conclude(memory(), seen), conclude(memory(), other)
        assert planned.decision.planned is not None
        assert replace(planned.decision, planned=None) == adaptive.decision
        assert planned.plan.actions == adaptive.plan.actions
        assert planned.memory.demand_history is not None
        assert replace(planned.memory, demand_history=None) == adaptive.memory


def test_a_rising_demand_replaces_no_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit that shrinks for a moment would grow again soon, and what took its place for that moment would be paid until it is gone."""
    above_scaler(monkeypatch, 10.0)
    app = _application(resilience_share=0.0)
    present = dict.fromkeys((unit.name for unit in app.units), 1)
    for demand in range(300, 2_700, 10):
        seen = _observed(app, float(demand))
        units = {name: replace(one, ready=present[name], desired=present[name]) for name, one in seen.units.items()}
        found = _planned(replace(seen, units=units)).fleet.replicas
        assert all(found[name] >= count for name, count in present.items())
        present = dict(found)


@pytest.mark.parametrize("strategy", [Strategy.TWO_MODE, Strategy.ADAPTIVE])
def test_other_strategies_plan_nothing(strategy: Strategy) -> None:
    """Nor do they compute it."""
    assert decide(memory(), _observed(_application(strategy)))[1].planned is None


@pytest.mark.parametrize("age_s", [0.0, 180.0, -5.0])
def test_a_forecast_reaches_a_cold_start_beyond_now_however_old_the_metrics_are(age_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """CloudWatch shows the demand of minutes ago: what is requested now serves a cold start from now, not from then."""
    above_scaler(monkeypatch, 10.0)
    app, per_s, history = _application(resilience_share=0.0), 0.1, None
    for at in range(-3 * int(SLOT_S), 0, int(SLOT_S)):
        history = noted_demand(history, NOW + at, 1_000.0 + per_s * at)
    assert history is not None
    history = replace(history, damping=Damping(1e9, 1e9))  # trends have always gone on
    seen = _observed(app, 1_000.0)
    units = {name: replace(one, demand=Sample(200.0, NOW - age_s)) for name, one in seen.units.items()}
    found = decide(replace(memory(), demand_history=history), replace(seen, units=units))[1].planned
    assert found is not None
    ahead_s = max(unit.cold_start_s for unit in app.units) + max(0.0, age_s)
    assert found.expected == pytest.approx(1_000.0 + per_s * ahead_s, rel=0.001)


def test_missing_metrics_plan_nothing() -> None:
    """No demand is not a demand of 0."""
    seen = _observed(_application())
    unknown = replace(seen, units={name: replace(one, demand=None) for name, one in seen.units.items()})
    assert decide(memory(), unknown)[1].planned is None


def test_the_fleet_carries_the_demand_without_any_one_family() -> None:
    """With the share of the settings."""
    found = _planned(_observed(_application(resilience_share=0.9)))
    assert found.expected == pytest.approx(1_000)
    assert found.fleet.carried >= 1_000
    assert set(found.fleet.left) == {"inf2", "trn1", "g5", "g6"}
    assert min(found.fleet.left.values()) >= 900
    assert not found.exposed


def test_a_unit_that_is_proven_short_keeps_what_is_ready() -> None:
    """EC2 refuses it, so the others grow."""
    seen = shortage(_observed(_application(), 2_000.0))
    found = _planned(seen)
    assert found.fleet.replicas[INF2] <= seen.units[INF2].ready  # type: ignore[operator]  # known here
    assert found.fleet.carried >= 2_100


def test_a_pool_at_its_limit_gets_no_more_than_is_requested() -> None:
    """Karpenter would launch nothing."""
    seen = change(_observed(_application(), 2_000.0), INF2, desired=4)
    limited = change(seen, INF2, pool_at_limit="limit of 8 cpu is reached")
    assert _planned(seen).fleet.replicas[INF2] > 4
    assert _planned(limited).fleet.replicas[INF2] <= 4


@pytest.mark.parametrize("scaler", [None, Scaler("x", "1", 1, 100, paused=True)])
def test_what_nothing_scales_stays(scaler: Scaler | None) -> None:
    """A person paused the ScaledObject, or there is none: its replicas are taken as they are."""
    found = _planned(change(_observed(_application(), 2_000.0), INF2, scaler=scaler))
    assert found.fleet.replicas[INF2] == 2


def test_a_floor_of_a_person_stands() -> None:
    """However expensive the unit."""
    seen = _observed(_application())
    theirs = replace(seen.units[CUDA].scaler, min_replicas=7, floor_ours=False)  # type: ignore[type-var]  # it has one
    assert _planned(seen).fleet.replicas[CUDA] < 7
    assert _planned(change(seen, CUDA, scaler=theirs)).fleet.replicas[CUDA] == 7


def test_units_of_one_family_vanish_together() -> None:
    """Instance types decide; a unit that may use two families joins them."""
    app = _application()
    units = tuple(replace(unit, instance_types=("trn1.2xlarge", "inf2.8xlarge")) if unit.name == TRN1 else unit for unit in app.units)
    found = _planned(_observed(replace(app, units=units)))
    assert set(found.fleet.left) == {"inf2, trn1", "g5", "g6"}


def test_a_reservation_costs_nothing_until_it_is_full() -> None:
    """What runs in it and what is free in it: the unit is used first, and is not part of the price."""
    seen = _observed(_application(resilience_share=0.0))
    held = (Held("trn1.2xlarge", "cr-1", 2), Held("trn1.2xlarge", "", 1))
    reserved = change(seen, TRN1, pool_held=held, reservations=(Reservation("cr-1", "trn1.2xlarge", "us-west-2a", free=4, total=6),))
    assert _planned(seen).fleet.replicas[TRN1] == 1
    found = _planned(reserved)
    assert found.fleet.replicas[TRN1] >= 6
    assert found.fleet.price == pytest.approx(
        sum(unit.price_per_hour * found.fleet.replicas[unit.name] for unit in seen.application.units if unit.name != TRN1)
        + 1.3438 * (found.fleet.replicas[TRN1] - 6)
    )


def test_bills_are_compared_without_what_a_reservation_pays() -> None:
    """Two replicas in a reservation that carry the demand: the fleet is what runs, so nothing is to be saved."""
    seen = _observed(_application(resilience_share=0.0), 180.0)
    app = replace(seen.application, units=tuple(replace(unit, min_replicas=0) for unit in seen.application.units))
    units = {
        name: replace(one, ready=2, desired=2) if name == TRN1 else replace(one, ready=0, desired=0) for name, one in seen.units.items()
    }
    units = {name: replace(one, scaler=Scaler(name, "1", 0, 100, target="90")) for name, one in units.items()}
    inside = (Held("trn1.2xlarge", "cr-1", 2),)
    full = (Reservation("cr-1", "trn1.2xlarge", "us-west-2a", free=0, total=2),)
    seen = change(replace(seen, application=app, units=units), TRN1, pool_held=inside, reservations=full)
    found = _planned(seen)
    assert {name: count for name, count in found.fleet.replicas.items() if count} == {TRN1: 2}
    assert (found.present, found.fleet.price, found.least) == (0.0, 0.0, 0.0)
    free = _planned(change(seen, TRN1, pool_held=(), reservations=()))
    assert free.present == pytest.approx(2 * 1.3438)
    assert found.weighted == pytest.approx(free.weighted - 1.3438), "the weights of the file need one of them"
    beside = change(seen, TRN1, pool_held=(), reservations=(replace(full[0], free=2),))
    assert _planned(beside).present == free.present, "what is free pays nothing that runs elsewhere"


def test_capacity_mode_shows_it_too() -> None:
    """What it would run does not depend on the mode."""
    assert decide(memory(Mode.CAPACITY), replace(_observed(_application()), routing=snapshot(mode=Mode.CAPACITY).routing))[1].planned


def test_words() -> None:
    """Replicas, price and what a loss would leave, also where it is too little."""
    seen = _observed(_application())
    found = decide(memory(), seen)[1]
    assert found.planned is not None
    words = planned_words(found.planned, found.evidence)
    assert "(2 ready)" in words
    assert "for 1,000 requests a period: $" in words
    assert "without any one family it carries at least 8" in words
    few = replace(seen, application=replace(seen.application, units=tuple(replace(u, max_replicas=2) for u in seen.application.units)))
    short = decide(memory(), few)[1]
    assert short.planned is not None
    words = planned_words(short.planned, short.evidence)
    assert "no more may be had within the limits, and it carries 892 of 1,000 with headroom" in words
    assert "without g5 it carries 59% of the demand" in words
