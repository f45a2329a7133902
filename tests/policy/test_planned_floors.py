"""Floors that follow the cheapest fleet: up at once, down slowly, and never against a person, a shortage or missing metrics."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.policy.decision import Conclusion
from controller.policy.fleet.floors import window_s
from controller.policy.fleet.words import planned_verb
from controller.policy.model import (
    SCALE_IN_S,
    ActionKind,
    Application,
    Cause,
    FloorMemory,
    Memory,
    Mode,
    PendingPod,
    PlannedMode,
    PolicySettings,
    ReturnProbe,
    Sample,
    Scaler,
    SinkingFloor,
    Snapshot,
    Strategy,
    UnitObservation,
    Verb,
    Verdict,
)
from controller.recording.stored import decode, encode
from controller.routing.conclusion import conclude
from tests.policy.support import above_scaler, change, decide, shortage
from tests.support.applications import NOW, application, memory, probed_by, routing, snapshot

INF2, TRN1, G5, G6, CUDA = "sd21-inf2", "sd21-trn1", "sd21-g5-triton", "sd21-g6-triton", "sd21-g5-cuda"
MANY = 5_000.0  # more than can be carried by two replicas each


def live(**policy: Any) -> Application:
    """An application whose floors follow the cheapest fleet."""
    return application(policy=PolicySettings(strategy=Strategy.PLANNED, planned_mode=PlannedMode.LIVE, **policy))


def observed(app: Application, demand: float, *, now: float = NOW, ready: int = 2, floor: int = 1, ours: bool = True) -> Snapshot:
    """Every unit with a ScaledObject, equally many ready replicas, and a fifth of the demand."""
    seen = snapshot(app, now=now)
    units = {name: _scaled(one, demand / len(seen.units), now, ready, floor, ours=ours) for name, one in seen.units.items()}
    sources = tuple(replace(source, last_ok=now) for source in seen.sources)
    verification = replace(seen.routing.verification, at=now)  # type: ignore[type-var]  # it has one
    return replace(seen, units=units, sources=sources, routing=replace(seen.routing, verification=verification))


def _scaled(one: UnitObservation, demand: float, now: float, ready: int, floor: int, *, ours: bool) -> UnitObservation:
    scaler = Scaler(f"{one.unit}-hpa", "1", floor, 100, "100", 0, floor_ours=ours)
    return replace(one, ready=ready, desired=ready, demand=Sample(demand, now - 60), scaler=scaler)


def sinking(remembered: Memory) -> dict[str, SinkingFloor]:
    """The longest of the times of each floor that sinks, by unit."""
    return {name.removesuffix("-hpa"): one.sinking[0] for name, one in remembered.floors.items() if one.sinking}


def written(made: Conclusion) -> dict[str, int]:
    """The floors that the plan writes now, by unit."""
    kinds = {ActionKind.RAISE_FLOOR, ActionKind.LOWER_FLOOR}
    return {action.unit: int(action.after) for action in made.plan.due if action.kind in kinds}


def settled(app: Application, demand: float, **changes: Any) -> Memory:
    """The memory after a first pass."""
    return conclude(memory(), observed(app, demand, **changes)).memory


def test_floors_rise_to_the_fleet_at_once() -> None:
    """By the same path as the floors of capacity mode: one apply each, before anything else."""
    made = conclude(memory(), observed(live(), MANY))
    shown = made.decision.planned
    assert shown is not None
    assert shown.live
    assert written(made) == {name: count for name, count in shown.fleet.replicas.items() if count > 1}
    assert made.plan.due[0].kind is ActionKind.RAISE_FLOOR
    assert planned_verb(shown) == "runs"


def test_a_shadow_writes_nothing() -> None:
    """The default."""
    app = application(policy=PolicySettings(strategy=Strategy.PLANNED))
    made = conclude(memory(), observed(app, MANY))
    assert made.decision.planned is not None
    assert written(made) == {}
    assert planned_verb(made.decision.planned) == "would run"


def test_no_unit_is_far_above_its_scaler(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the demand here; the expected demand counts up to that as well."""
    app = live(resilience_share=0.0)
    free = conclude(memory(), observed(app, 1_000.0)).decision.planned
    above_scaler(monkeypatch, 0.1)
    made = conclude(memory(), observed(app, 1_000.0))
    assert made.decision.planned is not None
    # Each scaler asks for 2 replicas, and a tenth of the demand is one more, or two of the slower ones.
    most = {INF2: 3, TRN1: 3, G5: 4, G6: 4, CUDA: 4}
    assert all(count <= most[name] for name, count in made.decision.planned.fleet.replicas.items())
    assert free is not None
    assert free.fleet.replicas[INF2] > most[INF2]


def test_a_floor_sinks_after_a_window_to_the_most_that_was_planned() -> None:
    """The window is the unit's cold start here. What was planned for a moment within it counts."""
    app = live(resilience_share=0.0)
    before = settled(app, 200.0, ready=12, floor=8)
    assert sinking(before).keys() == {unit.name for unit in app.units}
    later = conclude(before, observed(app, 200.0, now=NOW + 599, ready=12, floor=8))
    assert not any(action.kind is ActionKind.LOWER_FLOOR for action in later.plan.due)
    peak = conclude(before, observed(app, 600.0, now=NOW + 300, ready=12, floor=8))
    highest = {name: one.highest for name, one in sinking(peak.memory).items()}
    sunk = conclude(peak.memory, observed(app, 200.0, now=NOW + 600, ready=12, floor=8))
    assert sunk.decision.lowering_allowed
    assert written(sunk) == highest
    assert highest[INF2] > 1


def test_the_window_is_no_shorter_than_the_scalers_own() -> None:
    """However fast a unit starts. 300 s where its ScaledObject says nothing."""
    unit, scaler = live().units[0], Scaler("x", "1", 1, 100)
    assert window_s(replace(unit, cold_start_s=10.0), scaler) == SCALE_IN_S == 300.0
    assert window_s(replace(unit, cold_start_s=900.0), scaler) == 900.0
    assert window_s(replace(unit, cold_start_s=900.0), replace(scaler, scale_in_s=3600.0)) == 3600.0
    assert window_s(replace(unit, cold_start_s=10.0), replace(scaler, scale_in_s=0.0)) == 10.0


def _scaling_in(seen: Snapshot, seconds: float | None) -> Snapshot:
    """Every ScaledObject with that window."""
    units = {
        name: replace(one, scaler=replace(one.scaler, scale_in_s=seconds))  # type: ignore[type-var]  # it has one
        for name, one in seen.units.items()
    }
    return replace(seen, units=units)


def test_a_floor_sinks_no_sooner_than_its_scaled_object_says() -> None:
    """Half an hour here, three cold starts; the next pass is due then."""
    app = live(resilience_share=0.0)
    seen = _scaling_in(observed(app, 200.0, ready=12, floor=8), 1800.0)
    before = conclude(memory(), seen).memory
    early = conclude(before, _scaling_in(observed(app, 200.0, now=NOW + 1790, ready=12, floor=8), 1800.0))
    assert written(early) == {}
    assert early.decision.next_check_s is not None
    assert early.decision.next_check_s <= 10
    assert written(conclude(before, _scaling_in(observed(app, 200.0, now=NOW + 1800, ready=12, floor=8), 1800.0)))[INF2] < 8


def test_where_replicas_never_go_neither_do_floors() -> None:
    """`selectPolicy: Disabled`: without the floor the replicas would stay too, so the fleet is made of what exists."""
    app = live(resilience_share=0.0)
    before = conclude(memory(), _scaling_in(observed(app, 200.0, ready=12, floor=8), None)).memory
    assert sinking(before) == {}
    later = conclude(before, _scaling_in(observed(app, 200.0, now=NOW + 7200, ready=12, floor=8), None))
    assert written(later) == dict.fromkeys((unit.name for unit in app.units), 12)
    assert later.decision.planned is not None
    assert later.decision.planned.fleet.replicas[INF2] == 12


def test_a_restart_begins_the_windows_anew() -> None:
    """They are not stored: that only delays what sinks."""
    app = live(resilience_share=0.0)
    before = settled(app, 200.0, ready=12, floor=8)
    restarted = conclude(decode(encode(before)), observed(app, 200.0, now=NOW + 600, ready=12, floor=8))
    assert written(restarted) == {}
    assert all(one.since == NOW + 600 for one in sinking(restarted.memory).values())


def _without_counters(seen: Snapshot, *names: str) -> Snapshot:
    return replace(seen, units={name: replace(one, demand=None) if name in names else one for name, one in seen.units.items()})


def _late(seen: Snapshot, name: str, seconds: float) -> Snapshot:
    sample = seen.units[name].demand
    assert sample is not None
    return change(seen, name, demand=replace(sample, at=seen.now - seconds))


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda seen: _without_counters(seen, *seen.units), id="all missing"),
        pytest.param(lambda seen: _without_counters(seen, INF2), id="one missing"),
        pytest.param(lambda seen: _late(seen, INF2, 400.0), id="one late"),
    ],
)
def test_missing_and_late_metrics_lower_nothing(spoil: Any) -> None:
    """Also where the other counters have values: their sum would be too small."""
    app = live(resilience_share=0.0)
    before = settled(app, 200.0, ready=12, floor=8)
    spoilt = conclude(before, spoil(observed(app, 200.0, now=NOW + 600, ready=12, floor=8)))
    assert not any(action.kind is ActionKind.LOWER_FLOOR for action in spoilt.plan.actions)
    assert sinking(spoilt.memory) == {}  # and the windows begin anew


def test_a_unit_that_serves_nothing_has_no_missing_metric() -> None:
    """Of so few requests that none may come in a period, no counter is nothing unusual."""
    app = live(resilience_share=0.0)
    before = conclude(memory(), _without_counters(observed(app, 20.0, ready=12, floor=8), CUDA)).memory
    sunk = conclude(before, _without_counters(observed(app, 20.0, now=NOW + 600, ready=12, floor=8), CUDA))
    assert written(sunk)[INF2] < 8


def test_a_floor_of_a_person_is_stored_before_it_is_replaced() -> None:
    """In the next pass, after a save: a crash between the two loses it not."""
    app = live()
    first = conclude(memory(), observed(app, MANY, ours=False, floor=3))
    assert written(first) == {}
    assert {name: one.found for name, one in first.memory.floors.items()} == dict.fromkeys(app.scaled_objects, 3)
    stored = decode(encode(first.memory))
    assert stored.floors == first.memory.floors
    second = conclude(stored, observed(app, MANY, ours=False, floor=3))
    assert written(second)[INF2] > 3


@pytest.mark.parametrize("strategy", [Strategy.PLANNED, Strategy.ADAPTIVE, Strategy.TWO_MODE])
def test_floors_return_to_what_they_were_once_it_is_switched_off(strategy: Strategy) -> None:
    """In shadow, or with another strategy: the floors that others had set, else those of the application file."""
    off = application(policy=PolicySettings(strategy=strategy))
    before = memory(floors={f"{INF2}-hpa": FloorMemory(found=3)})
    assert written(conclude(before, observed(off, 0.1, ready=12, floor=8))) == {INF2: 3, TRN1: 1, G5: 1, G6: 1, CUDA: 1}


def test_a_person_who_sets_a_floor_again_has_the_last_word() -> None:
    """That one counts then, with any strategy."""
    known = memory(floors={f"{INF2}-hpa": FloorMemory(found=3)})
    theirs = observed(live(), 200.0, floor=5, ours=False)
    assert conclude(known, theirs).memory.floors[f"{INF2}-hpa"].found == 5
    off = observed(application(), 200.0, floor=5, ours=False)
    assert conclude(known, off).memory.floors[f"{INF2}-hpa"].found == 5


def test_a_paused_scaled_object_is_left_alone() -> None:
    """And the plan does not count on it."""
    seen = observed(live(), MANY)
    paused = change(seen, INF2, scaler=replace(seen.units[INF2].scaler, paused=True))  # type: ignore[type-var]  # it has one
    made = conclude(memory(), paused)
    assert INF2 not in written(made)
    assert made.decision.planned is not None
    assert made.decision.planned.fleet.replicas[INF2] == 2


def test_a_short_unit_gets_no_new_replica_but_a_probe() -> None:
    """One pod keeps waiting, so that Karpenter asks again for free; the others grow instead."""
    seen = shortage(observed(live(), MANY))
    made = conclude(memory(), seen)
    assert made.decision.evidence[INF2].short
    assert written(made)[INF2] == 3
    assert written(made)[TRN1] > 2
    without = shortage(observed(probed_by(ReturnProbe.NONE, live()), MANY))
    assert written(conclude(memory(), without))[INF2] == 2
    unwanted = shortage(observed(live(), 100.0), unit=CUDA)
    assert written(conclude(memory(), unwanted)).get(CUDA, 1) <= 2


def test_pods_that_are_refused_are_let_go_at_once() -> None:
    """There is nothing to wait for: no replica ends with them."""
    app = live()
    seen = shortage(observed(app, MANY, floor=2))
    waiting = change(seen, INF2, desired=9, pending=tuple(PendingPod(f"p-{i}", NOW - 90) for i in range(7)))
    high = change(waiting, INF2, scaler=replace(waiting.units[INF2].scaler, min_replicas=9))  # type: ignore[type-var]  # it has one
    assert written(conclude(memory(), high))[INF2] == 3


def test_a_floor_that_a_nodepool_cannot_hold_sinks_to_what_has_a_node() -> None:
    """A floor beyond the limit of a NodePool would make a shortage of its own."""
    seen = change(observed(live(), MANY, floor=2), INF2, desired=9, pool_at_limit="limit of 8 cpu is reached")
    waiting = change(seen, INF2, pending=tuple(PendingPod(f"p-{i}", NOW - 90) for i in range(5)))
    high = change(waiting, INF2, scaler=replace(waiting.units[INF2].scaler, min_replicas=9))  # type: ignore[type-var]  # it has one
    made = conclude(memory(), high)
    assert written(made)[INF2] == 4
    assert not made.decision.verb.changes_mode


def test_nothing_sinks_before_what_replaces_it_is_ready() -> None:
    """Up before down: the floor of what serves stays while the cheaper replicas start."""
    app = live(resilience_share=0.0)

    def seen(now: float, ready: int) -> Snapshot:
        made = observed(app, 1_000.0, now=now, ready=2, floor=2)
        expensive = replace(made.units[CUDA].scaler, min_replicas=12)  # type: ignore[type-var]  # it has one
        return change(change(made, CUDA, ready=12, desired=12, scaler=expensive), INF2, ready=ready, desired=9)

    before = conclude(memory(), seen(NOW, 2)).memory
    assert CUDA not in written(conclude(before, seen(NOW + 600, 2)))
    assert written(conclude(before, seen(NOW + 600, 9)))[CUDA] < 12


def test_it_changes_nothing_while_the_load_balancer_cannot_be_read() -> None:
    """Floors would rise, and never sink again."""
    seen = observed(live(), MANY)
    for verification in (None, replace(seen.routing.verification, verdict=Verdict.CANNOT_TELL)):  # type: ignore[type-var]  # it has one
        made = conclude(memory(), replace(seen, routing=replace(seen.routing, verification=verification)))
        assert written(made) == {}
        assert made.decision.planned is not None
        assert "the load balancer cannot be read" in planned_verb(made.decision.planned)


def test_capacity_mode_has_its_own_floors() -> None:
    """What the fleet would be is shown, and the floors are those of that mode."""
    seen = replace(observed(live(), MANY), routing=routing(Mode.CAPACITY))
    other = replace(seen, application=application(policy=PolicySettings(strategy=Strategy.ADAPTIVE)))
    made, adaptive = decide(memory(Mode.CAPACITY), seen)[1], decide(memory(Mode.CAPACITY), other)[1]
    assert made.planned is not None
    assert made.floors == adaptive.floors


def test_a_stale_source_holds_everything() -> None:
    """Fail static."""
    seen = observed(live(), MANY)
    stale = replace(seen, sources=tuple(replace(source, last_ok=NOW - 10_000) for source in seen.sources))
    assert conclude(memory(), stale).plan.due == ()


def test_the_replicas_of_the_fleet_get_the_same_load() -> None:
    """Merit order would fill the cheapest; its scaler would then keep more than planned, and its loss would cost more."""
    seen = observed(live(), 800.0, ready=4)
    made = conclude(memory(), seen)
    shown = made.decision.planned
    assert shown is not None
    weights = {target.service: target.weight for target in made.decision.targets}
    own = {unit.name: shown.fleet.replicas[unit.name] * unit.throughput for unit in seen.application.units}
    for name, weight in weights.items():
        assert weight == pytest.approx(100 * own[name] / sum(own.values()), abs=1.0)


def test_a_fallback_leads_to_the_weights_that_cost_mode_keeps() -> None:
    """Else the next pass might leave merit order in place, because it carries the demand: the cheapest replicas would be full for hours."""
    seen = replace(observed(live(), 800.0, ready=4), routing=routing(Mode.CAPACITY))
    back, stays = conclude(memory(Mode.CAPACITY), seen).decision, conclude(memory(), observed(live(), 800.0, ready=4)).decision
    assert back.verb is Verb.FALLBACK
    assert back.targets == stays.targets


def test_a_quota_is_no_reason_for_a_failover_by_a_floor() -> None:
    """What waits only for a planned floor is carried by the others."""
    seen = shortage(observed(live(), 500.0, ready=4), cause=Cause.QUOTA, ready=4)
    made = conclude(memory(), seen)
    assert made.decision.mode is Mode.COST
    assert not made.decision.verb.changes_mode
