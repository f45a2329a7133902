"""Units that run nothing while the plan needs none of them: they leave without an error, return by plan, and prove nothing meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from controller.policy.account import known_everywhere
from controller.policy.decision import Conclusion
from controller.policy.evidence.judge import assess
from controller.policy.floors import HELD_S
from controller.policy.model import (
    ActionKind,
    Application,
    Cause,
    FloorMemory,
    Memory,
    PlannedMode,
    PolicySettings,
    Return,
    Sample,
    Scaler,
    Shortage,
    SinkingFloor,
    Snapshot,
    Strategy,
    UnitMemory,
)
from controller.routing.conclusion import conclude
from tests.policy.support import change, shortage
from tests.support.applications import NOW, application, memory, snapshot

INF2, TRN1, G5 = "sd21-inf2", "sd21-trn1", "sd21-g5-cuda"  # 105 and 130 requests a replica
LONG = 10_000.0


def app() -> Application:
    """All units but inf2 may run nothing."""
    made = application(policy=PolicySettings(strategy=Strategy.PLANNED, planned_mode=PlannedMode.LIVE, resilience_share=0.0))
    return replace(made, units=tuple(unit if unit.name == INF2 else replace(unit, min_replicas=0) for unit in made.units))


def seen(demand: float, ready: Mapping[str, int], weights: Mapping[str, int]) -> Snapshot:
    """Floors as high as what is ready. A unit without replicas publishes no count."""
    made = snapshot(app())
    for unit in made.application.units:
        count = ready.get(unit.name, 0)
        share = demand * weights.get(unit.name, 0) / sum(weights.values())
        made = change(
            made,
            unit.name,
            ready=count,
            desired=count,
            demand=Sample(share, NOW - 60) if count else None,
            scaler=Scaler(f"{unit.name}-hpa", "1", count, 100, "100", 0),
        )
    targets = tuple(
        replace(target, weight=next(weights.get(unit.name, 0) for unit in made.application.units if unit.backend.service == target.service))
        for target in made.routing.targets
    )
    return replace(made, routing=replace(made.routing, targets=targets))


def written(made: Conclusion) -> dict[str, int]:
    """The floors that the plan has, by unit."""
    kinds = {ActionKind.RAISE_FLOOR, ActionKind.LOWER_FLOOR}
    return {action.unit: int(action.after) for action in made.plan.actions if action.kind in kinds}


def waited() -> Memory:
    """The window of every unit is over, and nothing was planned in it."""
    return memory(floors={f"{unit.name}-hpa": FloorMemory(sinking=(SinkingFloor(NOW - LONG, 0),)) for unit in app().units})


def test_the_plan_brings_a_unit_back() -> None:
    """Where the units that run may not carry the demand, another one starts; its floor was 0, and its counter has no value."""
    limited = change(seen(1_000.0, {INF2: 2}, {INF2: 1}), INF2, scaler=Scaler(f"{INF2}-hpa", "1", 2, 4, "100", 0))
    made = conclude(memory(), limited)
    assert made.decision.planned is not None
    assert made.decision.planned.fleet.replicas[TRN1] > 0
    assert written(made)[TRN1] == made.decision.planned.fleet.replicas[TRN1]


def test_it_gets_no_weight_before_a_replica_serves() -> None:
    """Its requests would find no target."""
    made = conclude(memory(), seen(400.0, {INF2: 4}, {INF2: 1}))
    weights = {target.service: target.weight for target in made.decision.targets}
    assert [name for name, weight in weights.items() if weight] == [app().unit(INF2).backend.service]


def test_its_missing_count_hides_nothing() -> None:
    """It gets no request: the demand is known without it, and floors may sink."""
    assert known_everywhere(seen(400.0, {INF2: 4}, {INF2: 1}))
    assert not known_everywhere(change(seen(400.0, {INF2: 4, TRN1: 1}, {INF2: 1, TRN1: 1}), TRN1, demand=None))


@pytest.mark.parametrize(("weight", "ready", "floor"), [(0, 1, 0), (1, 1, 1), (1, 0, 0)])
def test_the_last_replica_goes_after_its_weight(weight: int, ready: int, floor: int) -> None:
    """A weight may stay while it costs little; the requests behind it must find a replica. A weight alone raises no floor."""
    made = conclude(waited(), seen(200.0, {INF2: 4, TRN1: ready}, {INF2: 99, TRN1: weight}))
    assert made.decision.floors[TRN1].replicas == floor


def test_the_last_replica_stays_when_metrics_are_missing_for_long() -> None:
    """No floor stays raised then; but the requests behind the weight must find a replica."""
    made = seen(200.0, {INF2: 4, TRN1: 3, G5: 3}, {INF2: 99, TRN1: 1})
    for unit in made.application.units:
        made = change(made, unit.name, demand=None)
    found = conclude(replace(waited(), demand_missing_since=NOW - HELD_S - 1), made).decision.floors
    assert (found[TRN1].replicas, found[G5].replicas) == (1, 0)


def test_nothing_is_refused_to_what_nobody_asks_for() -> None:
    """A unit that was short has not returned because it now wants nothing."""
    before = memory(units={TRN1: UnitMemory(NOW - 900, Cause.CAPACITY, 1, NOW - 900)})
    found = assess(seen(200.0, {INF2: 4}, {INF2: 1}), before, {INF2: 2, TRN1: 0})[TRN1]
    assert (found.shortage, found.returned) == (Shortage.NONE, Return.NONE)


def test_one_pod_asks_whether_a_short_unit_returned() -> None:
    """Where the fleet misses it, one waiting pod makes Karpenter ask again: the answer is the proof, either way."""
    limited = change(seen(1_000.0, {INF2: 2}, {INF2: 1}), INF2, scaler=Scaler(f"{INF2}-hpa", "1", 2, 4, "100", 0))
    made = conclude(memory(), shortage(limited, unit=TRN1, ready=0))
    assert made.decision.planned is not None
    assert made.decision.planned.fleet.replicas[TRN1] == 0
    assert TRN1 in made.decision.planned.missed
    assert written(made)[TRN1] == 1
