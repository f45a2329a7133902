"""How much there is to serve, and how many replicas that takes.

Demand is the sum of the units' request counters over one metric period; a unit's throughput is what one replica serves in the same period.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from fractions import Fraction
from typing import Final

from controller.policy.metric_times import fresh_s
from controller.policy.model import Application, CapacityWeights, Cause, Sample, Scaler, Snapshot, Unit, UnitEvidence, UnitObservation
from controller.policy.weights import adjusted_throughputs

MOST_REQUESTS: Final = 1e9
"""More than any unit serves in a period; an application file allows no throughput beyond it. A counter with more counts something else."""
ROOM: Final = 0.9
"""Floors may sink while demand is below this share of what the ready replicas carry; the HPA of KEDA tolerates a tenth as well."""


def total_demand(snapshot: Snapshot) -> float | None:
    """Requests per metric period over all units.

    Returns:
        None where no unit has a fresh sample. A unit without one, beside others that have one, counts as 0: it publishes nothing because it
        serves nothing. A value that cannot be a count of requests (negative, not a number, as large as a time stamp) is no sample.
    """
    counted = [one.value for one in _counted(snapshot)]
    total = sum(counted)
    return total if counted and total < math.inf else None


def demand_age_s(snapshot: Snapshot) -> float:
    """How old the demand is, seconds since the end of the period that it was counted in; 0 where none is known."""
    return max(0.0, min((snapshot.now - one.at for one in _counted(snapshot)), default=0.0))


def _counted(snapshot: Snapshot) -> list[Sample]:
    """The samples of the units' counters that count."""
    samples = (observed.demand for observed in snapshot.units.values())
    return [one for one in samples if one is not None and counts(snapshot, one)]


def counts(snapshot: Snapshot, sample: Sample) -> bool:
    """Whether a sample of a unit's counter is fresh, and can be a count of requests."""
    fresh = abs(snapshot.now - sample.at) <= fresh_s(snapshot.application.metric_period_s)
    return fresh and 0 <= sample.value < MOST_REQUESTS


def capacity_throughputs(application: Application) -> dict[str, float]:
    """Requests per metric period that one replica of each unit gets in capacity mode.

    With round robin every replica gets the same share: its throughput, but no more than the mean (Table 2 of the AWS sample). With least
    outstanding requests each gets its throughput: the lower targets of Table 2 would make the scalers add replicas of the fastest unit
    beyond the demand, and remove others.
    """
    if application.policy.capacity_weights is CapacityWeights.READY:
        return adjusted_throughputs(application.units)
    return {unit.name: unit.throughput for unit in application.units}


def assumed_demand(snapshot: Snapshot) -> float:
    """An upper bound where demand is not known: every ready replica is fully used."""
    throughputs = capacity_throughputs(snapshot.application)
    return sum((snapshot.units[name].ready or 0) * throughput for name, throughput in throughputs.items())


def needed_replicas(snapshot: Snapshot, shares: Mapping[str, int | Fraction], measured: float | None) -> dict[str, int]:
    """The ready replicas that cost mode needs at the present demand.

    Args:
        snapshot: What is observed.
        shares: What each unit gets in cost mode: its weight, or where weights follow the ready replicas its share before rounding.
        measured: Requests per metric period over all units, see `total_demand`; None where it is not known.

    Returns:
        By unit: ``ceil(demand * share / throughput)``, at least the unit's `min_replicas`, and one where it gets any: traffic
        needs an endpoint. Where demand is unknown full use is assumed, rounded down: rounded up, every replica raised for the assumption
        would raise the assumption. A unit without a scaler then needs what its Deployment asks for, because nobody would ever raise it.
    """
    demand = assumed_demand(snapshot) if measured is None else measured
    total = sum(shares.values()) or 1
    needed = {}
    for unit in snapshot.application.units:
        exact = demand * float(shares.get(unit.name, 0) / total) / unit.throughput
        share = math.ceil(exact - 1e-9) if measured is not None else math.floor(exact + 1e-9)
        observed = snapshot.units[unit.name]
        if measured is None and observed.scaler is None and observed.desired is not None:
            share = min(share, observed.desired)
        needed[unit.name] = max(unit.min_replicas, share, 1 if shares.get(unit.name, 0) else 0)
    return needed


def scaler_replicas(snapshot: Snapshot, unit: Unit) -> int:
    """What the unit's scaler asks for by its own requests, ``ceil(requests / target)``: 0 without a fresh sample or a usable target.

    A trigger that counts in another period than the application file has a target for that period.
    """
    observed = snapshot.units[unit.name]
    sample, scaler = observed.demand, observed.scaler
    try:
        target = float(scaler.target) if scaler is not None and not scaler.formula else 0.0
    except ValueError:
        return 0
    if sample is None or not counts(snapshot, sample) or not 0 < target < math.inf:
        return 0
    own_s = snapshot.application.metric_period_s
    period_s = scaler.metric.period_s if scaler is not None and scaler.metric is not None else None
    asked = sample.value * (period_s or own_s) / own_s / target
    return math.ceil(asked - 1e-9) if asked < math.inf else 0


def ceiling(unit: Unit, observed: UnitObservation) -> int:
    """The most replicas that the unit may have: the application file's maximum, or its ScaledObject's where that is lower."""
    return min(unit.max_replicas, observed.scaler.max_replicas) if observed.scaler is not None else unit.max_replicas


def fixed(unit: Unit, observed: UnitObservation) -> bool:
    """Whether neither the controller nor KEDA changes the replicas: the ScaledObject is paused, or the application file names none."""
    return observed.scaler.paused if observed.scaler is not None else unit.scaled_object is None


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


def probing(evidence: UnitEvidence) -> bool:
    """Whether a unit's return is still to be proven."""
    return evidence.last_refusal_at is not None and evidence.returned.value in {"none", "launched"}
