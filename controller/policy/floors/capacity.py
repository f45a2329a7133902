"""The claims of capacity mode: a share of the demand that nobody carries yet, a probe for capacity, and the replicas in use.

The units that can grow share evenly what the ready replicas cannot carry, because their scalers' metrics lag by minutes. What is beyond
the maximum of one unit goes to the others. Replicas that a Capacity Block takes away soon carry nothing here. A unit whose capacity has
not returned asks for one replica more than are ready, or than cost mode needs (the canary rule). While that replica is pending, Karpenter
asks again every three minutes, for free. A higher floor would keep the unit from scaling in.

A raised floor sinks to the replicas that demand keeps in use, and stays while demand is only just carried. A lower floor would remove
replicas that carry the demand, because round robin sends fast units less than their scalers aim at. Where demand is not known, each floor
rises once after a change to capacity mode, by what the short units lack. If every pass added that to what is ready, floors would rise for
ever.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Final

from controller.policy.account import canary, capacity_throughputs, ceiling, probing, refusing
from controller.policy.model import Cause, Claim, Return, Scaler, Snapshot, UnitEvidence
from controller.policy.reasons import ClaimReason

ROOM: Final = 0.9
"""Floors may sink while demand is below this share of what the ready replicas carry; the HPA of KEDA tolerates a tenth as well."""


def capacity_claims(
    snapshot: Snapshot, evidence: Mapping[str, UnitEvidence], measured: float | None, *, due: Collection[str]
) -> tuple[Claim, ...]:
    """The claims that capacity mode adds to those of every mode.

    Args:
        snapshot: What is observed.
        evidence: What it proves.
        measured: Requests per metric period over all units, see `total_demand`; None where it is not known.
        due: The units whose floor has not risen since the mode changed to capacity mode; see `FloorMemory.due`.
    """
    throughputs = capacity_throughputs(snapshot.application)
    carried = sum(evidence[name].lasting * throughput for name, throughput in throughputs.items())
    if measured is None:
        gap = sum(evidence[unit.name].demand * unit.throughput for unit in snapshot.application.units if evidence[unit.name].short)
    else:
        gap = max(0.0, measured - carried)
    keep = 1.0 if measured is None or carried <= 0 else min(1.0, measured / (ROOM * carried))
    shares = _shares(gap, _rooms(snapshot, evidence, throughputs))
    claims: list[Claim] = []
    for name, judged in evidence.items():
        observed, unit = snapshot.units[name], snapshot.application.unit(name)
        if observed.scaler is not None and observed.scaler.floor_ours:
            claims.append(Claim(name, _sunk(observed.scaler, observed.desired, keep), ClaimReason.IN_USE))
        if name in shares and gap > 0 and (measured is not None or name in due):
            claims.append(Claim(name, judged.ready + math.ceil(shares[name] / throughputs[name] - 1e-9), ClaimReason.MISSING))
        elif (probing(judged) and canary(unit, observed, snapshot.now)) or judged.returned is Return.RESERVED:
            enough = judged.cause is Cause.QUOTA and judged.ready >= judged.needed  # beyond a ceiling nothing needs to be probed
            claims.append(Claim(name, min(judged.ready + (not enough), judged.needed + 1), ClaimReason.PROBE))
    return tuple(claims)


def _sunk(scaler: Scaler, desired: int | None, keep: float) -> int:
    """The replicas that a raised floor sinks to.

    It is a part of the replicas, which follow a floor within minutes. A part of the floor itself, taken in every pass, would reach 0 within
    seconds.

    Args:
        scaler: Whose floor.
        desired: The workload's spec.replicas, None where it is not known; below the floor until the scaler has followed.
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
        if judged.can_serve and scaled and not (probing(judged) and refusing(unit, observed, snapshot.now)):
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
