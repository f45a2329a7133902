"""How much there is to serve, and how many replicas that takes.

Demand is the sum of the units' request counters over one metric period; a unit's throughput is what one replica serves in the same period.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from controller.policy.model import Application, CapacityWeights, Cause, Scaler, Snapshot, Unit, UnitEvidence, UnitObservation
from controller.policy.weights import adjusted_throughputs

FRESH_S: Final = 600.0  # a counter sample older than this says nothing of the present: CloudWatch alone may lag by several minutes


ROOM: Final = 0.9
"""Share of what the ready replicas carry below which demand leaves enough room to let floors go; KEDA's HPA tolerates a tenth as well."""


def total_demand(snapshot: Snapshot) -> float | None:
    """Requests per metric period over all units.

    Returns:
        None where no unit has a fresh sample. A unit without one, beside others that have one, counts as 0: it publishes nothing because it
        serves nothing. A value that cannot be a count (negative, infinite, not a number) is no sample.
    """
    fresh = [
        observed.demand.value
        for observed in snapshot.units.values()
        if observed.demand is not None and abs(snapshot.now - observed.demand.at) <= FRESH_S and 0 <= observed.demand.value < math.inf
    ]
    total = sum(fresh)
    return total if fresh and total < math.inf else None


def capacity_throughputs(application: Application) -> dict[str, float]:
    """Requests per metric period that capacity mode means one replica of each unit to get.

    Where replicas get alike (round robin), the source's Table 2: no more than the mean. Where each gets what it can, its throughput: with
    the lower targets of Table 2 the scalers would grow the fastest unit beyond what is asked for, and let the others go.
    """
    if application.policy.capacity_weights is CapacityWeights.READY:
        return adjusted_throughputs(application.units)
    return {unit.name: unit.throughput for unit in application.units}


def assumed_demand(snapshot: Snapshot) -> float:
    """An upper bound where demand is not known: every ready replica is fully used."""
    throughputs = capacity_throughputs(snapshot.application)
    return sum((snapshot.units[name].ready or 0) * throughput for name, throughput in throughputs.items())


def needed_replicas(snapshot: Snapshot, weights: Mapping[str, int], measured: float | None) -> dict[str, int]:
    """The ready replicas that cost mode needs at the present demand.

    Args:
        snapshot: What is observed.
        weights: The weights of cost mode by unit.
        measured: Requests per metric period over all units, see `total_demand`; None where it is not known.

    Returns:
        By unit: ``ceil(demand * weight share / throughput)``, at least the unit's `min_replicas`, and one where it carries weight: traffic
        needs an endpoint. Where demand is unknown full use is assumed, rounded down: rounded up, every replica raised for the assumption
        would raise the assumption. A unit without a scaler then needs what its Deployment asks for, because nobody would ever raise it.
    """
    demand = assumed_demand(snapshot) if measured is None else measured
    total = sum(weights.values()) or 1
    needed = {}
    for unit in snapshot.application.units:
        exact = demand * weights.get(unit.name, 0) / total / unit.throughput
        share = math.ceil(exact - 1e-9) if measured is not None else math.floor(exact + 1e-9)
        observed = snapshot.units[unit.name]
        if measured is None and observed.scaler is None and observed.desired is not None:
            share = min(share, observed.desired)
        needed[unit.name] = max(unit.min_replicas, share, 1 if weights.get(unit.name, 0) else 0)
    return needed


def scaler_replicas(snapshot: Snapshot, unit: Unit) -> int:
    """What the unit's scaler asks for by its own requests, ``ceil(requests / target)``: 0 without a fresh sample or a usable target."""
    observed = snapshot.units[unit.name]
    sample, scaler = observed.demand, observed.scaler
    try:
        target = float(scaler.target) if scaler is not None else 0.0
    except ValueError:
        return 0
    if sample is None or abs(snapshot.now - sample.at) > FRESH_S or not 0 <= sample.value < math.inf or not 0 < target < math.inf:
        return 0
    return math.ceil(sample.value / target - 1e-9)


def ceiling(unit: Unit, observed: UnitObservation) -> int:
    """The most replicas that the unit may have: the application file's maximum, or its ScaledObject's where that is lower."""
    return min(unit.max_replicas, observed.scaler.max_replicas) if observed.scaler is not None else unit.max_replicas


def capacity_floors(snapshot: Snapshot, evidence: Mapping[str, UnitEvidence], measured: float | None, *, switching: bool) -> dict[str, int]:
    """The replica floors of capacity mode.

    What the ready replicas cannot carry is spread evenly over the units that can grow, until their scalers' metrics have caught up: those
    lag by minutes. A unit whose capacity has not returned keeps one replica more than are ready, or than cost mode needs: pending, it makes
    Karpenter ask again every three minutes for free (the canary rule). Above what is needed it would forbid to scale in.

    A raised floor sinks to the part of the replicas that demand leaves in use, and not at all while demand is just carried: lower, it
    would take away what makes the room, for the scalers of fast units are content with less where round robin gives all replicas alike.
    Where demand is not known, what the units that are short miss is added once, with the switch: added to what became ready since, it had
    no end.

    Args:
        snapshot: What is observed.
        evidence: What it proves.
        measured: Requests per metric period over all units, see `total_demand`; None where it is not known.
        switching: Whether these are the floors of the switch to capacity mode, and not those within it.

    Returns:
        Wanted minReplicaCount by unit.
    """
    application = snapshot.application
    throughputs = capacity_throughputs(application)
    carried = sum(evidence[name].ready * throughput for name, throughput in throughputs.items())
    if measured is None:
        short = [unit for unit in application.units if evidence[unit.name].short] if switching else []
        gap = sum(evidence[unit.name].demand * unit.throughput for unit in short)
    else:
        gap = max(0.0, measured - carried)
    keep = 1.0 if measured is None or carried <= 0 else min(1.0, measured / (ROOM * carried))
    able = [unit.name for unit in application.units if evidence[unit.name].can_serve and not _paused(snapshot.units[unit.name])]
    floors = {}
    for unit in application.units:
        judged, floor, observed = evidence[unit.name], unit.min_replicas, snapshot.units[unit.name]
        if observed.scaler is not None and observed.scaler.floor_ours:
            floor = max(floor, _sunk(observed.scaler, observed.desired, keep))
        if unit.name in able and gap > 0:
            floor = max(floor, judged.ready + math.ceil(gap / len(able) / throughputs[unit.name] - 1e-9))
        elif application.policy.canary and probing(judged):
            enough = judged.cause is Cause.QUOTA and judged.ready >= judged.needed  # beyond a ceiling nothing needs to be probed
            floor = max(floor, min(judged.ready + (not enough), judged.needed + 1))
        floors[unit.name] = min(floor, ceiling(unit, observed))
    return floors


def _sunk(scaler: Scaler, desired: int | None, keep: float) -> int:
    """What a raised floor sinks to.

    It follows the replicas, which go minutes after it: a part of itself, taken anew with each look, would be nothing within seconds.

    Args:
        scaler: Whose floor.
        desired: Replicas that the Deployment asks for, None where that is not known; fewer than the floor before the scaler has followed.
        keep: The part of the replicas that is in use.
    """
    if desired is None or desired < scaler.min_replicas:
        return scaler.min_replicas
    return min(scaler.min_replicas, math.ceil(keep * desired - 1e-9))


def _paused(observed: UnitObservation) -> bool:
    """Whether an operator keeps KEDA from adding replicas: a floor there would be refused, and its part of a gap be missing."""
    return observed.scaler is not None and observed.scaler.paused


def probing(evidence: UnitEvidence) -> bool:
    """Whether a unit's return is still to be proven."""
    return evidence.last_failure_at is not None and evidence.returned.value in {"none", "launched"}
