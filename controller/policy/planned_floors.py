"""The floors that follow the cheapest fleet, with `plannedMode: live`.

A floor rises at once. It sinks only where the demand is known, the load balancer can be read, and the replicas that stay carry what the
fleet must carry. It then sinks to the most replicas that were planned within a window. The window is the scaler's own, and at least the
unit's cold start: a replica that is needed again within that time would have cost as much to start as to keep (the break-even time of the
ski-rental problem, Karlin et al. 1988). Where the HPA never removes replicas, floors stay: without them the replicas would, too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from controller.policy.demand import ceiling
from controller.policy.found_floors import least, replaceable
from controller.policy.known_demand import known_everywhere
from controller.policy.ledger import placed
from controller.policy.model import (
    Memory,
    PlannedFleet,
    PolicySettings,
    Scaler,
    SinkingFloor,
    Snapshot,
    Unit,
    UnitEvidence,
    Verdict,
)
from controller.policy.planned import families, refused

SCALE_OUT_S: Final = 180
"""How long an HPA should wait before it adds replicas beyond planned floors, seconds.

Until CloudWatch has shown the controller what it has shown KEDA, and the floors have followed. Else every unit would grow for what the
cheapest one is to carry (docs/decisions/0016-planned-fleet.md).
"""

_NEAR: Final = 1e-9  # relative: what binary fractions leave of equal numbers


def scale_out_s(policy: PolicySettings) -> int:
    """How long the HPAs of an application should wait before they add replicas, seconds; 0 where floors are not planned."""
    return SCALE_OUT_S if policy.plans_floors else 0


def window_s(unit: Unit, scaler: Scaler) -> float:
    """How long fewer replicas must be planned before a unit's floor sinks, seconds; infinite where its HPA never removes replicas."""
    return math.inf if scaler.scale_in_s is None else max(scaler.scale_in_s, unit.cold_start_s)


def held(snapshot: Snapshot) -> str:
    """Why planned floors change nothing now, in words; "" where they do.

    Nothing may be lowered before the load balancer shows the routing, so where it cannot be read, floors would rise and never sink.
    """
    seen = snapshot.routing.verification
    if seen is None or seen.verdict is Verdict.CANNOT_TELL:
        return "the load balancer cannot be read, and no floor could sink again" + (f" ({seen.why})" if seen is not None else "")
    return ""


def followed(memory: Memory, snapshot: Snapshot, fleet: PlannedFleet | None) -> Memory:
    """The memory with the windows of the floors that are above the planned replicas.

    Args:
        memory: What is remembered.
        snapshot: What is observed.
        fleet: What is planned; None where the demand is not known.
    """
    if fleet is None or not fleet.followed or not known_everywhere(snapshot):
        return replace(memory, sinking={}) if memory.sinking else memory
    sinking = {}
    for unit in snapshot.application.units:
        scaler = snapshot.units[unit.name].scaler
        if scaler is not None and scaler.floor_ours and scaler.scale_in_s is not None:
            wanted, window = _wanted(unit, snapshot, memory, fleet), memory.sinking.get(unit.name)
            noted = _noted(window, wanted, scaler.min_replicas, snapshot.now, window_s(unit, scaler))
            if noted is not None:
                sinking[unit.name] = noted
    return memory if sinking == memory.sinking else replace(memory, sinking=sinking)


def _noted(window: SinkingFloor | None, wanted: int, floor: int, now: float, length_s: float) -> SinkingFloor | None:
    """A unit's window after a pass; None where its floor is not above what is planned."""
    over = window is not None and now - window.since >= length_s and window.highest >= floor
    if window is None or over:
        return SinkingFloor(now, wanted) if wanted < floor else None
    return replace(window, highest=max(window.highest, wanted))


def sinks_in_s(memory: Memory, snapshot: Snapshot) -> list[float]:
    """Seconds until each window is over."""
    return [
        one.since + window_s(snapshot.application.unit(name), scaler) - snapshot.now
        for name, one in memory.sinking.items()
        if (scaler := snapshot.units[name].scaler) is not None
    ]


def planned_floors(snapshot: Snapshot, memory: Memory, evidence: Mapping[str, UnitEvidence], fleet: PlannedFleet | None) -> dict[str, int]:
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


def _wanted(unit: Unit, snapshot: Snapshot, memory: Memory, fleet: PlannedFleet) -> int:
    """The floor that the fleet asks for.

    Of a unit that is short one replica more than are ready is requested, if the fleet misses it: while its pod waits, Karpenter asks again
    for free (the canary rule of capacity mode). Else the refusals would grow old, and the whole part of the fleet would be asked for again.
    """
    probe = unit.name in fleet.missed and snapshot.application.policy.canary
    wanted = max(fleet.fleet.replicas[unit.name] + probe, unit.min_replicas, least(memory, snapshot, unit))
    return min(wanted, ceiling(unit, snapshot.units[unit.name]))


def _floor(unit: Unit, scaler: Scaler, snapshot: Snapshot, memory: Memory, judged: UnitEvidence, fleet: PlannedFleet) -> int:
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
