"""The floors as they were computed before they were claims: beside the claims for one commit, to compare with."""

# ruff: noqa: ANN401

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from controller.policy.case import Case
from controller.policy.demand import capacity_throughputs, ceiling, probing
from controller.policy.fleet.floors import window_s
from controller.policy.fleet.offers import families, refused
from controller.policy.fleet.values import PlannedFleet
from controller.policy.floors.account import remembered
from controller.policy.floors.metrics import held_until, missing_for_long
from controller.policy.ledger import placed
from controller.policy.model import Cause, Claim, Mode, Scaler, Snapshot, Unit, UnitEvidence, UnitObservation

ROOM = 0.9
_NEAR = 1e-9


@dataclass(frozen=True)
class _Before:
    """The memory under its former keys."""

    found_floors: Mapping[str, int]
    floors_due: Collection[str]
    sinking: Mapping[str, Any]
    demand_known_since: float | None
    demand_missing_since: float | None


def agree(mode: Mode, case: Case, step: int, claims: Mapping[str, Claim]) -> bool:
    """Whether the claims give the same floors, but for what somebody else set above the unit's ceiling: nothing is written then."""
    units = case.snapshot.application.units
    told = {unit.name: remembered(case.memory, unit) for unit in units}
    before = _Before(
        {name: one.found for name, one in told.items() if one.found},
        {name for name, one in told.items() if one.due},
        {name: one.sinking for name, one in told.items() if one.sinking is not None},
        case.memory.demand_known_since,
        case.memory.demand_missing_since,
    )
    floors = _floors(mode, case, before, step)
    return claims.keys() == floors.keys() and all(
        claims[unit.name].replicas == min(floors[unit.name], ceiling(unit, case.snapshot.units[unit.name])) for unit in units
    )


def _floors(mode: Mode, case: Case, memory: Any, step: int) -> dict[str, int]:
    """Replica floors.

    The floor of a unit whose weight was cut for want of replicas stays at what its full weight needs: its own counter shows only the
    traffic that it still gets, and its scaler would stop there. A floor that the controller raised sinks only to what the weights need at
    the present demand: a scaler may have no metric, or still that of the time before a mode change. While no counter has a value, no unit
    loses replicas. Before a Capacity Block ends, the floors of the other units rise to what they will have to carry. With planned floors
    those of cost mode follow the cheapest fleet; where metrics are missing for long, they are as with the other strategies.
    """
    snapshot, held = case.snapshot, held_replicas(case.snapshot, memory)
    return {
        name: max(floor, held.get(name, 0), least(memory, snapshot, snapshot.application.unit(name)))
        for name, floor in _known_floors(mode, case, memory, step).items()
    }


def _known_floors(mode: Mode, case: Case, memory: Any, step: int) -> dict[str, int]:
    """The floors without those that hold replicas while metrics are missing; see `_floors`."""
    snapshot, evidence = case.snapshot, case.evidence
    if mode is Mode.CAPACITY:
        due = memory.floors_due if case.mode is Mode.CAPACITY else evidence.keys()
        floors = capacity_floors(snapshot, evidence, case.figures.demand, due=due)
        return {name: max(floor, evidence[name].needed) for name, floor in floors.items()} if step else floors
    forgotten, floors = missing_for_long(snapshot, memory), {}
    planned = {} if forgotten else planned_floors(snapshot, memory, evidence, case.planned)
    for unit in snapshot.application.units:
        observed, needed = snapshot.units[unit.name], evidence[unit.name].needed
        scaler = observed.scaler
        raised = scaler.min_replicas if scaler is not None and scaler.floor_ours and not forgotten else 0
        grows = unit.name in case.figures.cut or bool(case.figures.ending)
        kept = planned.get(unit.name, min(needed, raised))
        kept = max(kept, raised) if case.figures.ending else kept  # until its nodes are gone, a block's end only raises floors
        floor = max(unit.min_replicas, needed if grows else 0, kept)
        floors[unit.name] = min(floor, ceiling(unit, observed))
    return floors


def capacity_floors(
    snapshot: Snapshot, evidence: Mapping[str, UnitEvidence], measured: float | None, *, due: Collection[str]
) -> dict[str, int]:
    """The replica floors of capacity mode.

    The units that can grow share evenly what the ready replicas cannot carry, because their scalers' metrics lag by minutes. What is beyond
    the maximum of one goes to the others. Replicas that
    a Capacity Block takes away soon carry nothing here. A unit whose capacity has not returned keeps one replica more than are ready, or
    than cost mode needs (the canary rule). While that replica is pending, Karpenter asks again every three minutes, for free. A higher
    floor would keep the unit from scaling in.

    A raised floor sinks to the replicas that demand keeps in use, and stays while demand is only just carried. A lower one would remove
    replicas that carry the demand, because round robin sends fast units less than their scalers aim at. Where demand is not known, each
    floor rises once after a change to capacity mode, by what the short units lack. If every pass added that to what is ready, floors would
    rise for ever.

    Args:
        snapshot: What is observed.
        evidence: What it proves.
        measured: Requests per metric period over all units, see `total_demand`; None where it is not known.
        due: The units whose floor has not risen since the mode changed to capacity mode; see `Memory.floors_due`.

    Returns:
        Wanted minReplicaCount by unit.
    """
    application = snapshot.application
    throughputs = capacity_throughputs(application)
    carried = sum(evidence[name].lasting * throughput for name, throughput in throughputs.items())
    if measured is None:
        short = [unit for unit in application.units if evidence[unit.name].short]
        gap = sum(evidence[unit.name].demand * unit.throughput for unit in short)
    else:
        gap = max(0.0, measured - carried)
    keep = 1.0 if measured is None or carried <= 0 else min(1.0, measured / (ROOM * carried))
    shares = _shares(gap, _rooms(snapshot, evidence, throughputs))
    floors = {}
    for unit in application.units:
        judged, floor, observed = evidence[unit.name], unit.min_replicas, snapshot.units[unit.name]
        if observed.scaler is not None and observed.scaler.floor_ours:
            floor = max(floor, _sunk(observed.scaler, observed.desired, keep))
        if unit.name in shares and gap > 0 and (measured is not None or unit.name in due):
            floor = max(floor, judged.ready + math.ceil(shares[unit.name] / throughputs[unit.name] - 1e-9))
        elif application.policy.canary and probing(judged):
            enough = judged.cause is Cause.QUOTA and judged.ready >= judged.needed  # beyond a ceiling nothing needs to be probed
            floor = max(floor, min(judged.ready + (not enough), judged.needed + 1))
        floors[unit.name] = min(floor, ceiling(unit, observed))
    return floors


def _sunk(scaler: Scaler, desired: int | None, keep: float) -> int:
    """What a raised floor sinks to.

    It is a part of the replicas, which follow a floor within minutes. A part of the floor itself, taken in every pass, would reach 0 within
    seconds.

    Args:
        scaler: Whose floor.
        desired: The Deployment's spec.replicas, None where it is not known; below the floor until the scaler has followed.
        keep: The part of the replicas that is in use.
    """
    if desired is None or desired < scaler.min_replicas:
        return scaler.min_replicas
    return min(scaler.min_replicas, math.ceil(keep * desired - 1e-9))


def _rooms(snapshot: Snapshot, evidence: Mapping[str, UnitEvidence], throughputs: Mapping[str, float]) -> dict[str, float]:
    """What each unit whose replicas can be raised may carry beyond its ready ones, requests per metric period.

    A floor is only of use where there is a ScaledObject, as far as any is known, and one that an operator paused is left alone.
    """
    known, found = any(observed.scaler is not None for observed in snapshot.units.values()), {}
    for unit in snapshot.application.units:
        judged, observed = evidence[unit.name], snapshot.units[unit.name]
        scaled = not observed.scaler.paused if observed.scaler is not None else not known
        if judged.can_serve and scaled:
            found[unit.name] = max(0, ceiling(unit, observed) - judged.ready) * throughputs[unit.name]
    return found


def _shares(gap: float, rooms: Mapping[str, float]) -> dict[str, float]:
    """The gap in equal parts, none beyond a unit's room as long as another has some. What nobody has room for is left out."""
    shares: dict[str, float] = {}
    left, open_ = gap, dict(rooms)
    while open_:
        even = left / len(open_)
        full = {name: room for name, room in open_.items() if room <= even}
        if not full:
            return {**shares, **dict.fromkeys(open_, even)}
        shares |= full
        left -= sum(full.values())
        open_ = {name: room for name, room in open_.items() if name not in full}
    return shares


def planned_floors(snapshot: Snapshot, memory: Any, evidence: Mapping[str, UnitEvidence], fleet: PlannedFleet | None) -> dict[str, int]:
    """The floors of cost mode that follow the cheapest fleet.

    Args:
        snapshot: What is observed.
        memory: For the windows and the floors that were found.
        evidence: What is proven, by unit.
        fleet: What is planned; None where the demand is not known: no floor changes then.

    Returns:
        By unit, for units with a scaler that nobody paused; empty unless floors follow the fleet.
    """
    if not snapshot.application.policy.plans_floors:
        return {}
    scalers = {
        unit.name: scaler
        for unit in snapshot.application.units
        if (scaler := snapshot.units[unit.name].scaler) is not None and not scaler.paused
    }
    present = {name: scaler.min_replicas for name, scaler in scalers.items()}
    if fleet is None or fleet.held:
        return present
    units = {name: snapshot.application.unit(name) for name in scalers}
    floors = {name: _floor(unit, scalers[name], snapshot, memory, evidence[name], fleet) for name, unit in units.items()}
    if not _carried(floors, snapshot, evidence, fleet):
        # What would take over is not ready: nothing that serves may go.
        floors = {name: max(floor, min(present[name], placed(snapshot.units[name]))) for name, floor in floors.items()}
    return floors


def _wanted(unit: Unit, snapshot: Snapshot, memory: Any, fleet: PlannedFleet) -> int:
    """The floor that the fleet asks for.

    Of a unit that is short one replica more than are ready is requested, if the fleet misses it: while its pod waits, Karpenter asks again
    for free (the canary rule of capacity mode). Else the refusals would grow old, and the whole part of the fleet would be asked for again.
    """
    probe = unit.name in fleet.missed and snapshot.application.policy.canary
    wanted = max(fleet.fleet.replicas[unit.name] + probe, unit.min_replicas, least(memory, snapshot, unit))
    return min(wanted, ceiling(unit, snapshot.units[unit.name]))


def _floor(unit: Unit, scaler: Scaler, snapshot: Snapshot, memory: Any, judged: UnitEvidence, fleet: PlannedFleet) -> int:
    wanted, present = _wanted(unit, snapshot, memory, fleet), scaler.min_replicas
    if wanted >= present:
        return wanted if replaceable(memory, scaler, unit) else present
    observed, window = snapshot.units[unit.name], memory.sinking.get(unit.name)
    if window is None:
        return present
    sunk = snapshot.now - window.since >= window_s(unit, scaler)
    most = min(present, window.highest) if sunk else present
    if refused(judged) or observed.pool.at_limit:
        most = min(most, placed(observed))  # where no node can be had, those that have one: pods that wait are no reason to wait
    return max(wanted, most)


def _carried(floors: Mapping[str, int], snapshot: Snapshot, evidence: Mapping[str, UnitEvidence], fleet: PlannedFleet) -> bool:
    """Whether the ready replicas that the floors keep carry what the fleet carries of its needs, or all that the ready ones carry now."""
    family, before, after = families(snapshot), dict[str, float](), dict[str, float]()
    for unit in snapshot.application.units:
        ready, name = evidence[unit.name].lasting, family[unit.name]
        before[name] = before.get(name, 0.0) + ready * unit.throughput
        after[name] = after.get(name, 0.0) + min(ready, floors.get(unit.name, ready)) * unit.throughput
    had, kept = sum(before.values()), sum(after.values())
    slack = _NEAR * had
    if kept < min(fleet.needs.demand, fleet.fleet.carried, had) - slack:
        return False
    rest = {name: min(fleet.needs.without_any, left, had - before[name]) for name, left in fleet.fleet.left.items()}
    return all(kept - after[name] >= left - slack for name, left in rest.items())


def held_replicas(snapshot: Snapshot, memory: Any) -> dict[str, int]:
    """The fewest replicas that each unit must keep while the demand is unknown.

    Args:
        snapshot: What is observed.
        memory: Since when the metrics are missing.

    Returns:
        By unit, for units with a scaler; empty without a hold (`held_until`). See `_held`.
    """
    if held_until(snapshot, memory) <= snapshot.now:
        return {}
    known = memory.demand_known_since is not None
    held = {}
    for unit in snapshot.application.units:
        observed = snapshot.units[unit.name]
        if observed.scaler is not None:
            held[unit.name] = min(_held(observed, observed.scaler, known=known), ceiling(unit, observed))
    return held


def _held(observed: UnitObservation, scaler: Scaler, *, known: bool) -> int:
    """How many replicas of a unit are held.

    It is the Deployment's spec.replicas, less the pods for which there is no capacity: a floor that counted them would be the only reason
    why they wait. Once the demand is known again, the floor that was raised stays and rises no more: the scaler adds replicas by its metric
    again, and they need no floor.
    """
    desired = observed.desired or 0
    if known:
        return min(desired, scaler.min_replicas)
    refused = observed.pool.failures or observed.pool.at_limit
    return max(0, desired - len(observed.pending)) if refused else desired


def least(memory: Any, snapshot: Snapshot, unit: Unit) -> int:
    """The least replicas that others want of a unit: the floor that is theirs now, or else the one that ours has replaced.

    The application file's maximum bounds what the controller writes, and not what others have written.
    """
    observed = snapshot.units[unit.name]
    if observed.scaler is not None and not observed.scaler.floor_ours:
        return observed.scaler.min_replicas
    return min(memory.found_floors.get(unit.name, 0), ceiling(unit, observed))


def replaceable(memory: Any, scaler: Scaler, unit: Unit) -> bool:
    """Whether the present floor would be known after a crash right behind its replacement: it was remembered in an earlier pass."""
    return scaler.floor_ours or memory.found_floors.get(unit.name, 0) == scaler.min_replicas
