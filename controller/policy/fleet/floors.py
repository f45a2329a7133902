"""The floors that follow the cheapest fleet, with `plannedMode: live`.

A floor rises at once. It sinks only where the demand is known, the load balancer can be read, and the replicas that stay carry what the
fleet must carry. Each of its replicas then goes once it was not planned for its break-even time: until then keeping it has cost as much as
another start would (ski rental, Karlin et al. 1988), which is paid from its request to its first request, so that this time is the cold
start, and no shorter than the scaler's own window. Where the HPA never removes replicas, floors stay: without them the replicas would, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from controller.policy.account import canary, ceiling, known_everywhere, placed
from controller.policy.fleet.offers import refused, vanishing
from controller.policy.floors import as_stored, found, kept, remembered
from controller.policy.model import Claim, FloorMemory, Memory, PlannedFleet, Scaler, SinkingFloor, Snapshot, Unit, UnitEvidence, Verdict
from controller.policy.reasons import ClaimReason

SCALE_OUT_S: Final = 180
"""How long an HPA should wait before it adds replicas beyond planned floors, seconds.

Until CloudWatch has shown the controller what it has shown KEDA, and the floors have followed. Else every unit would grow for what the
cheapest one is to carry (docs/decisions/0016-planned-fleet.md).
"""

_NEAR: Final = 1e-9  # relative: what binary fractions leave of equal numbers


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
    unsunk, floors = as_stored(memory), dict[str, FloorMemory]()
    if fleet is None or not fleet.followed or not known_everywhere(snapshot):
        return unsunk
    for unit in snapshot.application.units:
        scaler, known = snapshot.units[unit.name].scaler, remembered(memory, unit)
        if scaler is not None and scaler.floor_ours and scaler.scale_in_s is not None and unit.scaled_object is not None:
            wanted = _wanted(unit, snapshot, memory, fleet)
            floors[unit.scaled_object] = replace(known, sinking=_noted(known.sinking, wanted, scaler.min_replicas, snapshot.now))
    return kept(memory, {**unsunk.floors, **floors})


def _noted(times: tuple[SinkingFloor, ...], wanted: int, floor: int, now: float) -> tuple[SinkingFloor, ...]:
    """A unit's times after a pass; () where its floor is not above what is planned."""
    below = [one for one in times if one.highest < floor]
    above = tuple(one for one in below if one.highest > wanted)
    since = below[len(above)].since if len(above) < len(below) else now
    return (*above, SinkingFloor(since, wanted)) if wanted < floor else ()


def _sunk(scaler: Scaler, known: FloorMemory, window: float, now: float) -> tuple[int, float | None]:
    """How far a floor may sink now, and when it may sink further, seconds since the Unix epoch; None where it has sunk to what is planned.

    No two steps down follow each other within the scaler's window: each is a write, and the HPA waits as long.
    """
    last_s = now - known.floor.at if known.floor is not None else math.inf
    ends = [(one.since + window, one.highest) for one in known.sinking]
    if scaler.scale_in_s is not None and last_s < scaler.scale_in_s:
        ends = [(max(end, now - last_s + scaler.scale_in_s), highest) for end, highest in ends]
    over = [highest for end, highest in ends if end <= now]
    return min((scaler.min_replicas, *over)), next((end for end, _ in ends if end > now), None)


def sinks_in_s(memory: Memory, snapshot: Snapshot) -> Iterator[float]:
    """Seconds until each floor may sink, or sink further."""
    for unit in snapshot.application.units:
        scaler, known = snapshot.units[unit.name].scaler, remembered(memory, unit)
        if scaler is not None and known.sinking:
            most, until = _sunk(scaler, known, window_s(unit, scaler), snapshot.now)
            if most < scaler.min_replicas:
                yield 0.0
            if until is not None:
                yield until - snapshot.now


def planned_claims(
    snapshot: Snapshot, memory: Memory, evidence: Mapping[str, UnitEvidence], fleet: PlannedFleet | None
) -> tuple[Claim, ...]:
    """The claims of cost mode that follow the cheapest fleet.

    Args:
        snapshot: What is observed.
        memory: For the windows and the floors that were found.
        evidence: What is proven, by unit.
        fleet: What is planned; None where the demand is not known: no floor changes then.

    Returns:
        Of the units with a scaler that nobody paused; () unless floors follow the fleet.
    """
    if not snapshot.application.policy.plans_floors:
        return ()
    seen = ((unit, snapshot.units[unit.name].scaler) for unit in snapshot.application.units)
    scaled = [(unit, scaler) for unit, scaler in seen if scaler is not None and not scaler.paused]
    present = {unit.name: Claim(unit.name, scaler.min_replicas, ClaimReason.FLEET_WAITS) for unit, scaler in scaled}
    if fleet is None or fleet.held:
        return tuple(present.values())
    claims = [_claim(unit, scaler, snapshot, memory, evidence[unit.name], fleet) for unit, scaler in scaled]
    if not _carried({claim.unit: claim.replicas for claim in claims}, snapshot, evidence, fleet):
        # What would take over is not ready: nothing that serves may go.
        serving = {name: min(one.replicas, placed(snapshot.units[name])) for name, one in present.items()}
        claims = [
            claim if claim.replicas >= serving[claim.unit] else replace(present[claim.unit], replicas=serving[claim.unit])
            for claim in claims
        ]
    return tuple(claims)


def _wanted(unit: Unit, snapshot: Snapshot, memory: Memory, fleet: PlannedFleet) -> int:
    """The floor that the fleet asks for.

    Of a unit that is short one replica more than are ready is requested, if the fleet misses it: while its pod waits, Karpenter asks again
    for free (the canary rule of capacity mode). Else the refusals would grow old, and the whole part of the fleet would be asked for again.
    """
    probe = unit.name in fleet.missed and canary(unit, snapshot.units[unit.name], snapshot.now)
    wanted = max(fleet.fleet.replicas[unit.name] + probe, unit.min_replicas, found(memory, snapshot, unit))
    return min(wanted, ceiling(unit, snapshot.units[unit.name]))


def _claim(unit: Unit, scaler: Scaler, snapshot: Snapshot, memory: Memory, judged: UnitEvidence, fleet: PlannedFleet) -> Claim:
    wanted = _wanted(unit, snapshot, memory, fleet)
    known, observed = remembered(memory, unit), snapshot.units[unit.name]
    kept_now = Claim(unit.name, scaler.min_replicas, ClaimReason.FLEET_WAITS)
    if wanted >= scaler.min_replicas:
        # A floor of somebody else is replaced once it would be known after a crash right behind that: remembered in an earlier pass.
        return Claim(unit.name, wanted, ClaimReason.FLEET) if scaler.floor_ours or known.found == scaler.min_replicas else kept_now
    if not known.sinking:
        return kept_now
    most, until = _sunk(scaler, known, window_s(unit, scaler), snapshot.now)
    if refused(judged) or observed.pool.at_limit:
        most = min(most, placed(observed))  # where no node can be had, those that have one: pods that wait are no reason to wait
    return Claim(unit.name, wanted, ClaimReason.FLEET) if wanted >= most else Claim(unit.name, most, ClaimReason.FLEET_WAITS, until)


def _carried(floors: Mapping[str, int], snapshot: Snapshot, evidence: Mapping[str, UnitEvidence], fleet: PlannedFleet) -> bool:
    """Whether the ready replicas that the floors keep carry what the fleet carries of its needs, or all that the ready ones carry now."""
    ready, stays = dict[str, float](), dict[str, float]()
    for unit in snapshot.application.units:
        count, name = evidence[unit.name].lasting, unit.name
        ready[name], stays[name] = count * unit.throughput, min(count, floors.get(name, count)) * unit.throughput
    had, kept = sum(ready.values()), sum(stays.values())
    slack = _NEAR * had
    if kept < min(fleet.needs.demand, fleet.fleet.carried, had) - slack:
        return False
    vanish = vanishing(snapshot)
    for name, left in fleet.fleet.left.items():
        before, after = (sum(of[unit] for unit in vanish.get(name, ())) for of in (ready, stays))
        if kept - after < min(fleet.needs.without_any, left, had - before) - slack:
            return False
    return True
