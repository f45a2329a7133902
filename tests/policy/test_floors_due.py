"""Floors that rise once after a change to capacity mode, at an unknown demand: none is lost, and none rises twice."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pytest

from controller.policy.decision import Conclusion
from controller.policy.memory import adopt
from controller.policy.model import ActionKind, FloorMemory, Memory, Mode, Override, PolicySettings, Sample, Snapshot, Verb
from controller.routing.conclusion import conclude
from tests.policy.support import G6, INF2, TRN1, change, proven, scaler, shortage, with_scalers
from tests.support.applications import NOW, SERVICES, application, memory, routing, snapshot

HASTY = application(policy=PolicySettings(patience_s=0.0))
RAISED = 3
"""Two ready replicas of each unit, and one more for a quarter of inf2's two pods that wait."""
ABLE = frozenset(SERVICES) - {INF2}
SCALED = tuple(f"{name}-hpa" for name in SERVICES)


def _short(mode: Mode = Mode.COST, floor: int = 1) -> Snapshot:
    """inf2 is short; nobody knows the demand."""
    return shortage(with_scalers(snapshot(HASTY, mode), min_replicas=floor))


def _remembered(due: Collection[str] = ()) -> Memory:
    return memory(Mode.CAPACITY, units=proven(), floors={f"{name}-hpa": FloorMemory(due=True) for name in due})


def _due(remembered: Memory) -> set[str]:
    """The units whose floor is due."""
    return {name.removesuffix("-hpa") for name, one in remembered.floors.items() if one.due}


def _raises(made: Conclusion) -> dict[str, int]:
    return {one.unit: int(one.after) for one in made.plan.actions if one.kind is ActionKind.RAISE_FLOOR and one.unit != INF2}


def _written(made: Conclusion, *units: str, routed: bool = False) -> Memory:
    """The memory after the routing action, or none, and these units' floors were written."""
    done = [one for one in made.plan.actions if one.unit in units or (routed and one.kind is ActionKind.ROUTE)]
    return made.written(done, NOW)


def test_what_a_failover_did_not_write_the_next_pass_plans() -> None:
    """In a mass event the routing action goes alone; otherwise a floor may conflict, or its webhook may refuse it."""
    failover = conclude(memory(units=proven()), _short())
    assert failover.decision.verb is Verb.FAILOVER
    assert _raises(failover) == dict.fromkeys(ABLE, RAISED)
    alone = _written(failover, routed=True)
    assert _due(alone) >= ABLE
    assert _raises(conclude(alone, _short(Mode.CAPACITY))) == dict.fromkeys(ABLE, RAISED)
    partly = _written(failover, TRN1, routed=True)
    assert _due(partly) >= ABLE - {TRN1}
    assert TRN1 not in _due(partly)
    later = conclude(partly, _short(Mode.CAPACITY))
    assert _raises(later) == dict.fromkeys(ABLE - {TRN1}, RAISED)
    assert _due(_written(later, *ABLE, INF2)) == set()


def test_nothing_is_due_where_the_failover_wrote_everything() -> None:
    failover = conclude(memory(units=proven()), _short())
    assert _due(_written(failover, *SERVICES, routed=True)) == set()


def test_a_floor_that_was_raised_rises_no_further() -> None:
    """Not with the replicas that became ready meanwhile, and not against a person who lowers it again."""
    grown = change(_short(Mode.CAPACITY), TRN1, ready=9, desired=9, scaler=scaler(TRN1, min_replicas=RAISED, floor_ours=True))
    lowered = change(_short(Mode.CAPACITY), TRN1, scaler=scaler(TRN1, min_replicas=1, floor_ours=False))
    due = _remembered(ABLE - {TRN1})
    assert _raises(conclude(due, grown)) == dict.fromkeys(ABLE - {TRN1}, RAISED)
    assert _raises(conclude(due, lowered)) == dict.fromkeys(ABLE - {TRN1}, RAISED)


def test_a_floor_that_is_high_enough_is_due_no_longer() -> None:
    """Else it would rise above more replicas later, although nothing more is missing."""
    high = change(_short(Mode.CAPACITY), G6, scaler=scaler(G6, min_replicas=8, floor_ours=False))
    made = conclude(_remembered(ABLE), high)
    assert G6 not in _raises(made)
    assert _due(_written(made)) == ABLE - {G6}


def test_a_floor_stays_due_while_its_scaled_object_is_not_there() -> None:
    """Somebody deletes it and applies it again from Git."""
    gone = change(_short(Mode.CAPACITY), G6, scaler=None)
    made = conclude(_remembered(ABLE), gone)
    assert G6 not in _raises(made)
    after = _written(made, *ABLE)
    assert _due(after) == {G6}
    assert _raises(conclude(after, _short(Mode.CAPACITY))) == {G6: RAISED}


def test_floors_stay_due_while_nothing_is_decided_about_them() -> None:
    """A source that is stale holds everything back; the floors are as necessary afterwards."""
    stale = _short(Mode.CAPACITY)
    stale = replace(stale, sources=tuple(replace(source, last_ok=NOW - 9000) for source in stale.sources))
    held = conclude(_remembered(ABLE), stale)
    assert not held.plan.actions
    assert _due(_written(held)) == ABLE


@pytest.mark.parametrize("known", [True, False], ids=["demand known", "demand not known"])
def test_a_demand_that_is_known_needs_no_memory(known: bool) -> None:
    """What is missing is measured in every pass then."""
    made = _short(Mode.CAPACITY)
    for name in SERVICES if known else ():
        made = change(made, name, demand=Sample(1000.0, NOW))
    assert bool(_raises(conclude(_remembered(), made))) is known


def test_a_mode_change_that_was_not_remembered_makes_all_floors_due() -> None:
    """The process died between the routing action and its save. Floors that it had raised need no second write."""
    before = memory(units=proven())
    floors = change(_short(Mode.CAPACITY), TRN1, scaler=scaler(TRN1, min_replicas=RAISED, floor_ours=True))
    assert _raises(conclude(before, floors)) == dict.fromkeys(ABLE - {TRN1}, RAISED)
    assert _due(adopt(before, Mode.CAPACITY, NOW, scaled_objects=SCALED)) == set(SERVICES)
    assert _due(adopt(Memory(), Mode.CAPACITY, NOW, scaled_objects=SCALED)) == set(), "capacity mode, perhaps for years"


def test_a_change_to_cost_mode_ends_it() -> None:
    pin = Override(pinned_mode=Mode.COST, pinned_by="ann")
    pinned = replace(_short(Mode.CAPACITY), routing=routing(Mode.CAPACITY, override=pin))
    change_back = conclude(_remembered(ABLE), pinned)
    assert change_back.decision.mode is Mode.COST
    assert _due(_written(change_back, routed=True)) == set()
    assert _due(adopt(_remembered(ABLE), Mode.COST, NOW, scaled_objects=SCALED)) == set()
