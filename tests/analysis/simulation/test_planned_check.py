"""The invariants of planned floors, on plans that were made up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from controller.policy.model import Action, ActionKind, PlannedMode, PolicySettings, Sample, Scaler, Snapshot, Strategy
from failover_analysis.simulation.planned_check import PlannedCheck
from tests.policy.support import decide
from tests.support.applications import NOW, application, memory, snapshot

INF2, TRN1 = "sd21-inf2", "sd21-trn1"  # 105 and 130 requests a replica


def _seen(demand: float, floors: dict[str, int], ready: dict[str, int]) -> Snapshot:
    """Units with these floors and ready replicas; the others have none and no floor."""
    seen = snapshot(application(policy=PolicySettings(strategy=Strategy.PLANNED, planned_mode=PlannedMode.LIVE)))
    counted = Sample(demand / len(seen.units), NOW)
    units = {
        name: replace(
            one,
            ready=ready.get(name, 0),
            desired=max(ready.get(name, 0), floors.get(name, 0)),
            demand=counted,
            scaler=Scaler(f"{name}-hpa", "1", floors.get(name, 0), 100, "100", 0),
        )
        for name, one in seen.units.items()
    }
    return replace(seen, units=units)


@pytest.mark.parametrize(
    ("demand", "floors", "ready", "lowered", "wrong"),
    [
        pytest.param(300.0, {INF2: 4}, {INF2: 4}, 3, None, id="those that stay carry it"),
        pytest.param(320.0, {INF2: 4}, {INF2: 4}, 3, (315, 320, 420), id="they do not"),
        pytest.param(500.0, {INF2: 4}, {INF2: 4}, 3, (315, 500, 420), id="nor did all"),
        pytest.param(500.0, {INF2: 8}, {INF2: 4}, 4, None, id="only replicas without a node go"),
        pytest.param(900.0, {INF2: 8, TRN1: 1}, {INF2: 4, TRN1: 5}, 4, None, id="nothing that a floor kept goes; a scaler keeps the rest"),
        pytest.param(
            900.0,
            {INF2: 8, TRN1: 1},
            {INF2: 4, TRN1: 5},
            3,
            (445, 900, 1070),
            id="one that a floor kept goes",
        ),
    ],
)
def test_a_floor_lets_no_replica_go_that_the_demand_needs(
    demand: float, floors: dict[str, int], ready: dict[str, int], lowered: int, wrong: tuple[int, int, int] | None
) -> None:
    """In one pass the floor of inf2 sinks. Of five simulated years, one had a floor sink to its ready replicas after a failover."""
    seen = _seen(demand, floors, ready)
    decision = replace(decide(memory(), seen)[1], floors={})
    before, after = str(floors[INF2]), str(lowered)
    action = Action(ActionKind.LOWER_FLOOR, "shop", f"{INF2}-hpa", before, after, "scaledobjects.keda.sh", unit=INF2)
    check = PlannedCheck(cast("Any", None), cast("Any", None))
    words = "floors keep replicas for {} of {} requests, and {} could be served".format(*wrong) if wrong else ""
    assert check.below_need(memory(), seen, decision, [action]) == words
