"""How much there is to serve, and how many replicas that takes.

Demand is the sum of the units' request counters over one metric period; a unit's throughput is what one replica serves in the same period.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Final

from controller.policy import text
from controller.policy.account.metric_times import fresh_s
from controller.policy.model import Application, CapacityWeights, Mode, Sample, Snapshot, Unit, UnitObservation
from controller.policy.routing import adjusted_throughputs

MOST_REQUESTS: Final = 1e9
"""More than any unit serves in a period; an application file allows no throughput beyond it. A counter with more counts something else."""


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


def asked_since(snapshot: Snapshot) -> dict[str, float]:
    """What the scalers have found since the newest sample: the least requests per metric period that make them ask for what they ask for.

    A scaler may count in shorter periods, and then it asks for pods on a demand that no sample shows yet. It asks for a replica more than
    ``n`` only beyond ``n`` times the throughput. A replica that a floor asks for says nothing about the demand.

    Returns:
        By unit, of those with pods that have waited for a shorter time than since the end of the newest sample's period.
    """
    ended_at = snapshot.now - demand_age_s(snapshot)
    found = {}
    for unit in snapshot.application.units:
        observed = snapshot.units[unit.name]
        new = any(pod.since > ended_at for pod in observed.pending)
        if new and observed.desired and observed.scaler is not None and not observed.scaler.paused:
            found[unit.name] = (observed.desired - 1) * unit.throughput if observed.desired > observed.scaler.min_replicas else 0.0
    return found


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
        would raise the assumption. A unit without a scaler then needs what its workload asks for, because nobody would ever raise it.
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


def ceilings(snapshot: Snapshot) -> dict[str, int]:
    """The most replicas that each unit may have, see `ceiling`."""
    return {unit.name: ceiling(unit, snapshot.units[unit.name]) for unit in snapshot.application.units}


def ceiling(unit: Unit, observed: UnitObservation) -> int:
    """The most replicas that the unit may have: the application file's maximum, or its ScaledObject's where that is lower."""
    return min(unit.max_replicas, observed.scaler.max_replicas) if observed.scaler is not None else unit.max_replicas


def fixed(unit: Unit, observed: UnitObservation) -> bool:
    """Whether neither the controller nor KEDA changes the replicas: the ScaledObject is paused, or the application file names none."""
    return observed.scaler.paused if observed.scaler is not None else unit.scaled_object is None


def keda_targets(application: Application, mode: Mode) -> dict[str, str]:
    """Requests per replica and period that each scaler aims at: the throughput in cost mode, `capacity_throughputs` in capacity mode."""
    if mode is Mode.CAPACITY:
        return {name: text.number(value) for name, value in capacity_throughputs(application).items()}
    return {unit.name: text.number(unit.throughput) for unit in application.units}
