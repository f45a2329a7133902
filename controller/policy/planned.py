"""What strategy `planned` runs, or would run: the cheapest fleet for the expected demand, from what is observed and proven.

An accelerator family is the part of an instance type before its dot (``inf2``, ``g5``). Units that may use instance types of the same
family count as one family: whichever of them vanishes, all its units are taken to vanish.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from controller.policy import text
from controller.policy.cost import dollars
from controller.policy.demand import ceiling, demand_age_s, needed_replicas, probing, scaler_replicas
from controller.policy.expected_demand import expected_demand
from controller.policy.figures import Figures
from controller.policy.fleet import Needs, Offer, cheapest_fleet
from controller.policy.ledger import placed
from controller.policy.metric_times import shown_s
from controller.policy.model import (
    DemandHistory,
    PlannedFleet,
    Reservation,
    Scaler,
    Shortage,
    Snapshot,
    Strategy,
    Unit,
    UnitEvidence,
    UnitObservation,
    WeightStrategy,
)
from controller.policy.offerings import allowed_offerings
from controller.policy.reservations import usable_types
from controller.policy.weights import base_weights, cost_per_request

# How far planned floors may be above what KEDA itself asks for, as a share of the present demand: a unit's floor is at most that share
# of the demand above its scaler's replicas, and the expected demand counts up to that share above the present one.
MAX_ABOVE_SCALER: Final = 0.5

PAYS_OFF_S: Final = 3600.0
"""Within which time a replica that takes the place of another must pay for its start and for the time until the other has gone, seconds.
An hour, so that with ten minutes for either it replaces one only where it is at least 29 % cheaper for the same throughput."""

_SPOT: Final = "spot"
_RESERVED: Final = "reserved"


def planned(
    snapshot: Snapshot,
    figures: Figures,
    evidence: Mapping[str, UnitEvidence],
    history: DemandHistory | None,
    found: Mapping[str, int] | None = None,
) -> PlannedFleet | None:
    """The fleet that strategy `planned` runs, or would run now.

    Args:
        snapshot: What is observed.
        figures: For the demand.
        evidence: What is proven, by unit.
        history: The demands so far, for what is expected one cold start from now, that of the slowest unit, however old the metrics are.
        found: Floors that others set last, by unit.

    Returns:
        None with another strategy, and where the demand is not known: missing metrics plan nothing.
    """
    policy, units = snapshot.application.policy, snapshot.application.units
    if policy.strategy is not Strategy.PLANNED or figures.demand is None:
        return None
    ahead_s = max(unit.cold_start_s for unit in units) + demand_age_s(snapshot)
    served = sum((snapshot.units[unit.name].ready or 0) * unit.throughput for unit in units)
    expected = expected_demand(history, snapshot.now, figures.demand, ahead_s, served)
    most = figures.demand * (1 + MAX_ABOVE_SCALER)
    demand = min(expected.demand, most)
    needs = Needs(demand, demand * policy.resilience_share)
    offers = offered(snapshot, figures.demand, evidence, found or {})
    present = _bill(units, {unit.name: placed(snapshot.units[unit.name]) for unit in units}, _paid(snapshot, free=False))
    fleet = cheapest_fleet(offers, needs)
    missed = _missed(snapshot, figures.demand, evidence, found or {}, needs) if policy.plans_floors else frozenset()
    return PlannedFleet(
        expected=demand,
        shortfall=expected.shortfall,
        needs=needs,
        fleet=fleet,
        present=present,
        weighted=_bill(units, _weighted(snapshot, figures.demand), _paid(snapshot)),
        least=_least(snapshot, figures.demand, evidence, found or {}),
        live=policy.plans_floors,
        missed=missed,
    )


def offered(
    snapshot: Snapshot, demand: float | None, evidence: Mapping[str, UnitEvidence], found: Mapping[str, int], *, refusals: bool = True
) -> tuple[Offer, ...]:
    """What each unit offers to a fleet.

    Args:
        snapshot: What is observed.
        demand: The present demand, requests per metric period: it bounds how far a unit may be above its scaler; None: no bound.
        evidence: What is proven, by unit.
        found: Floors that others set last, by unit.
        refusals: Whether units that are short are held to what they have; False: as if they could grow.

    Returns:
        In the order of the application file. A unit that is short, or whose return is not proven, has no more than its ready replicas; one
        that may be short no more than were requested, and one whose NodePool is at its limit no more than have a node. A unit that nothing
        scales, because it has no ScaledObject or a person paused it, keeps what it has, and a floor that a person set is its least.
        Where the HPA never removes replicas, those that exist are the least.
    """
    grouped, paid = families(snapshot), _paid(snapshot)
    above = None if demand is None else MAX_ABOVE_SCALER * demand
    offers = []
    for unit in snapshot.application.units:
        observed, judged = snapshot.units[unit.name], evidence[unit.name]
        least, most = max(unit.min_replicas, found.get(unit.name, 0)), _had(unit, observed, judged, refusals=refusals)
        scaler = observed.scaler
        if scaler is None or scaler.paused:
            most = least = min(most, _present(observed, judged))
        else:
            least = least if scaler.floor_ours else max(least, scaler.min_replicas)
            if scaler.scale_in_s is None:
                least = max(least, _present(observed, judged))
            if above is not None:
                most = min(most, max(least, scaler_replicas(snapshot, unit)) + math.ceil(above / unit.throughput - 1e-9))
        offers.append(
            Offer(
                name=unit.name,
                family=grouped[unit.name],
                throughput=unit.throughput,
                price=unit.price_per_hour,
                least=min(least, most),
                most=most,
                present=_present(observed, judged),
                paid=paid[unit.name],
                start=unit.cold_start_s / PAYS_OFF_S,
                stop=_stop(snapshot, scaler),
            )
        )
    return tuple(offers)


def _stop(snapshot: Snapshot, scaler: Scaler | None) -> float:
    """The price of a replica after it is needed no more, as a share of its price per hour.

    Its scaler removes it once the metric shows that the requests have gone elsewhere, and after its own window.
    """
    if scaler is None or scaler.scale_in_s is None:
        return 0.0  # it stays, whatever is planned
    return min(1.0, (shown_s(snapshot.application.metric_period_s) + scaler.scale_in_s) / PAYS_OFF_S)


def planned_words(shown: PlannedFleet, evidence: Mapping[str, UnitEvidence]) -> str:
    """What strategy `planned` runs, or would run, for people: replicas, price, and what is left after a loss.

    Args:
        shown: The fleet.
        evidence: For the ready replicas, by unit.
    """
    counts = ", ".join(f"{count} {name}" + _instead(count, evidence[name].ready) for name, count in shown.fleet.replicas.items())
    price = dollars(shown.present, shown.fleet.price)
    words = f"{counts} for {shown.expected:,.0f} requests a period{_errors(shown.shortfall)}: {price}"
    if shown.fleet.carried < shown.needs.demand * (1 - 1e-9):
        words += (
            f"; no more may be had within the limits, and it carries {shown.fleet.carried:,.0f} of {shown.needs.demand:,.0f} with headroom"
        )
    if shown.exposed:
        return words + "".join(f"; without {name} it carries {share:.0%} of the demand" for name, share in shown.exposed.items())
    least = min(shown.fleet.left.values())
    return words + (f"; without any one family it carries at least {least / shown.expected:.0%} of the demand" if shown.expected else "")


def _errors(shortfall: float | None) -> str:
    if shortfall is None:
        return ""
    were = f"were too high by at least {-shortfall:.0%}" if shortfall < 0 else f"fell short by at most {shortfall:.0%}"
    return f" (nine of ten such forecasts lately {were})"


def planned_verb(shown: PlannedFleet) -> str:
    """How the words about a fleet begin: whether its floors are followed, and if not, why."""
    if not shown.live:
        return "would run"
    return f"does not change floors, because {shown.held}; would run" if shown.held else "runs"


def _instead(count: int, ready: int) -> str:
    return "" if count == ready else f" ({ready} ready)"


def _present(observed: UnitObservation, judged: UnitEvidence) -> int:
    """The replicas that exist or were requested, without those that a Capacity Block takes away soon."""
    return max(judged.lasting, (observed.desired or 0) - judged.leaving)


def _had(unit: Unit, observed: UnitObservation, judged: UnitEvidence, *, refusals: bool) -> int:
    """Most replicas that may be had, as far as it is known."""
    most = ceiling(unit, observed)
    if refused(judged):
        return min(most, judged.lasting) if refusals else most
    if observed.pool.at_limit:
        # Not those that wait: they may wait because of a floor that followed a fleet before the limit was known.
        return min(most, max(judged.lasting, placed(observed) - judged.leaving))
    return min(most, _present(observed, judged)) if judged.shortage is Shortage.SUSPECTED else most


def refused(judged: UnitEvidence) -> bool:
    """Whether a unit gets no new replica: it is proven short, or its return is still to be proven."""
    return judged.short or probing(judged)


def _least(snapshot: Snapshot, demand: float, evidence: Mapping[str, UnitEvidence], found: Mapping[str, int]) -> float:
    """The price of the cheapest whole replicas for a demand, US dollars per hour. None of them needs a start."""
    offers = offered(snapshot, None, evidence, found)
    return cheapest_fleet([replace(offer, start=0.0, stop=0.0) for offer in offers], Needs(demand, 0.0)).price


def _bill(units: Sequence[Unit], replicas: Mapping[str, int], paid: Mapping[str, int]) -> float:
    """The price of replicas as that of a fleet is counted, US dollars per hour: without what a reservation pays already."""
    return sum(unit.price_per_hour * max(0, replicas[unit.name] - paid[unit.name]) for unit in units)


def _weighted(snapshot: Snapshot, demand: float) -> dict[str, int]:
    """The whole replicas that the weights of the application file need at a demand, by unit.

    Weights that depend on what is ready are those of units that have all their replicas. Where a weight is missing, merit order counts.
    """
    application = snapshot.application
    units, strategy = application.units, application.policy.weight_strategy
    if strategy is WeightStrategy.EXPLICIT and any(unit.weight is None for unit in units):
        strategy = WeightStrategy.MERIT_ORDER
    weights = base_weights(units, strategy, demand, {unit.name: unit.max_replicas for unit in units})
    return needed_replicas(snapshot, weights, demand)


def _missed(
    snapshot: Snapshot, demand: float, evidence: Mapping[str, UnitEvidence], found: Mapping[str, int], needs: Needs
) -> frozenset[str]:
    """Units that get no new replica, and of which the cheapest fleet would have more than are ready if they did."""
    short = [name for name, judged in evidence.items() if refused(judged)]
    if not short:
        return frozenset()
    replicas = cheapest_fleet(offered(snapshot, demand, evidence, found, refusals=False), needs).replicas
    return frozenset(name for name in short if replicas[name] > evidence[name].lasting)


def families(snapshot: Snapshot) -> dict[str, str]:
    """The accelerator family of each unit by name; families that one unit may use both of are one, named after both."""
    groups: list[set[str]] = []
    used = {
        unit.name: {kind.partition(".")[0] for kind in usable_types(unit, snapshot.units[unit.name])} for unit in snapshot.application.units
    }
    for kinds in used.values():
        joined = set(kinds).union(*(group for group in groups if group & kinds))
        groups = [group for group in groups if not group & kinds] + [joined]
    return {name: next(text.listing(sorted(group)) for group in groups if group & kinds) for name, kinds in used.items()}


def _open_to(unit: Unit, observed: UnitObservation) -> list[Reservation]:
    """The reservations that take launches for a unit without being named: EC2 fills them with on-demand instances of their type and zone.

    Where spot instances are allowed Karpenter asks for one first, unless it may ask for a reserved one.
    """
    types, allowed = usable_types(unit, observed), allowed_offerings(unit, observed)
    if _SPOT in allowed.capacity_types and _RESERVED not in allowed.capacity_types:
        return []
    known = (one for one in observed.reservations or () if one.instance_type in types and not (one.targeted or one.block))
    return [one for one in known if allowed.concerns((one.instance_type,), (one.zone,))]


def _paid(snapshot: Snapshot, *, free: bool = True) -> dict[str, int]:
    """Replicas that run in a capacity reservation, and with `free` those that could, by unit.

    Where several units may use the same reservation, the one with the cheapest throughput counts as the one that fills it.
    """
    counted: set[str] = set()
    paid = {}
    for unit in sorted(snapshot.application.units, key=cost_per_request):
        observed = snapshot.units[unit.name]
        types, room = usable_types(unit, observed), 0
        inside = {one.reservation: one.count for one in observed.pool.held if one.reservation and one.instance_type in types}
        known = observed.reservations or () if free else ()
        open_ = _open_to(unit, observed) if known else ()
        left = {one.id: one.free for one in known if one.id in inside or one in open_}
        for name in (inside.keys() | left.keys()) - counted:
            room += inside.get(name, 0) + left.get(name, 0)
        counted |= inside.keys() | left.keys()
        paid[unit.name] = room
    return paid
