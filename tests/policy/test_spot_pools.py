"""Units that have nothing but spot instances: what EC2 takes back at once, and what then still carries the demand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.policy.account import Figures
from controller.policy.fleet import planned, planned_claims, spot_pools, vanishing
from controller.policy.fleet.offers import offered
from controller.policy.fleet.words import document, planned_words
from controller.policy.model import (
    Fleet,
    FloorMemory,
    Memory,
    Needs,
    PlannedFleet,
    Scaler,
    Shortage,
    SinkingFloor,
    Snapshot,
    UnitEvidence,
)
from tests.policy.support import INF2, change
from tests.support.applications import NOW, snapshot
from tests.support.spot import with_spot

A, B = f"{INF2}-us-east-1a", f"{INF2}-us-east-1b"


def _seen(kinds: tuple[str, ...] = ("spot",)) -> Snapshot:
    """Everything has two ready replicas."""
    seen = snapshot(with_spot("us-east-1a", "us-east-1b"))
    for unit in seen.application.units:
        allowed = kinds if unit.name in {A, B} else ("on-demand",)
        scaler = Scaler(f"{unit.name}-hpa", "1", 0, 100, "100", 0)
        seen = change(seen, unit.name, ready=2, desired=2, pool_capacity_types=allowed, scaler=scaler)
    return seen


def _evidence(seen: Snapshot) -> dict[str, UnitEvidence]:
    return {unit.name: UnitEvidence(unit.name, Shortage.NONE, ready=2) for unit in seen.application.units}


def _fleet(seen: Snapshot) -> PlannedFleet:
    found = planned(seen, replace(Figures.of(seen), demand=1_000.0), _evidence(seen), Memory())
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("kinds", "pools"),
    [
        pytest.param(("spot",), {A: "inf2 spot in us-east-1a", B: "inf2 spot in us-east-1b"}, id="only spot"),
        pytest.param(("spot", "on-demand"), {}, id="Karpenter takes on-demand ones where spot is out"),
        pytest.param(("on-demand",), {}, id="only on-demand"),
        pytest.param((), {}, id="not known"),
    ],
)
def test_a_pool_is_a_family_in_a_zone(kinds: tuple[str, ...], pools: dict[str, str]) -> None:
    """Only units that can have nothing else are in one."""
    assert spot_pools(_seen(kinds)) == pools


def _with(seen: Snapshot, **zones: tuple[str, ...]) -> Snapshot:
    """The same with other zones of A and B."""
    by_unit = {A: zones["a"], B: zones["b"]}
    units = tuple(replace(unit, zones=by_unit.get(unit.name, unit.zones)) for unit in seen.application.units)
    return replace(seen, application=replace(seen.application, units=units))


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        pytest.param(("us-east-1a",), ("us-east-1a",), "inf2 spot in us-east-1a", id="the same zone"),
        pytest.param(("us-east-1a", "us-east-1b"), ("us-east-1b",), "inf2 spot in us-east-1a/us-east-1b", id="a common zone"),
        pytest.param((), ("us-east-1b",), "inf2 spot", id="one names no zone"),
        pytest.param((), (), "inf2 spot", id="none names a zone"),
    ],
)
def test_units_that_may_use_the_same_pool_vanish_together(first: tuple[str, ...], second: tuple[str, ...], name: str) -> None:
    """Whichever of the pools EC2 takes back."""
    seen = _with(_seen(), a=first, b=second)
    assert spot_pools(seen) == {A: name, B: name}
    assert vanishing(seen)[name] == {A, B}
    assert vanishing(seen)["inf2"] == {A, B, INF2}


def test_the_fleet_survives_the_loss_of_a_pool_though_a_family_may_start_in_time() -> None:
    """Without either zone four fifths are carried at once; for the loss of the family nothing has to run."""
    shown = _fleet(_seen())
    names = set(spot_pools(_seen()).values())
    assert shown.fleet.left.keys() == names | {"inf2", "trn1"}
    assert all(shown.fleet.left[name] >= 0.8 * shown.needs.demand - 1e-6 for name in names)
    assert "inf2" in shown.fleet.made_good
    assert shown.exposed == {}
    words = planned_words(shown, _evidence(_seen()))
    least = min(shown.fleet.left[name] for name in names) / shown.expected
    assert f"without any one other family or spot pool it carries at least {least:.0%}" in words
    assert set(document(shown)["planned"]["carriedWithout"]) == set(shown.fleet.left)


def test_spot_instances_do_not_start_in_time() -> None:
    """Nobody can know that EC2 has some after it took others back."""
    seen = _seen()
    soon = {offer.name: offer.soon for offer in offered(seen, 1_000.0, _evidence(seen), Memory())}
    assert soon[A] == soon[B] == 0
    assert soon[INF2] > 0


def test_no_floor_sinks_while_the_loss_of_a_pool_would_not_be_survived() -> None:
    """The floor of one zone sinks only once the on-demand replica is ready that carries four fifths with the rest of it."""
    seen, wanted = _seen(), {A: 4, B: 5, INF2: 1}
    left = {"inf2": 0.0, "inf2 spot in us-east-1a": 630.0, "inf2 spot in us-east-1b": 525.0}
    replicas = {name: wanted.get(name, 0) for name in seen.units}
    fleet = Fleet(replicas, 1.0, 1.0, 1.0, 1_050.0, left, short=False, made_good={"inf2": 2_000.0})
    shown = PlannedFleet(650.0, None, Needs(650.0, 520.0), fleet, 1.0, live=True)
    assert _floor_of_a(seen, shown, on_demand=0) == 10
    assert _floor_of_a(seen, shown, on_demand=1) == 4


def _floor_of_a(seen: Snapshot, shown: PlannedFleet, on_demand: int) -> int:
    """The claim of A, whose floor of 10 replicas may sink to 4, with that many ready on-demand replicas of inf2."""
    ready = {A: 10, B: 5, INF2: on_demand}
    evidence = {name: UnitEvidence(name, Shortage.NONE, ready=ready.get(name, 0)) for name in seen.units}
    for name in seen.units:
        count, floor = ready.get(name, 0), {A: 10, B: 5, INF2: 1}.get(name, 0)
        seen = change(seen, name, ready=count, desired=max(count, floor), scaler=Scaler(f"{name}-hpa", "1", floor, 100, "100", 0))
    memory = Memory(floors={f"{A}-hpa": FloorMemory(found=0, sinking=(SinkingFloor(NOW - 3_600, 4),))})
    return next(claim.replicas for claim in planned_claims(seen, memory, evidence, shown) if claim.unit == A)
