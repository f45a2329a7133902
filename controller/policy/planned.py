"""What strategy `planned` would run: the cheapest fleet for the expected demand, from what is observed and proven.

An accelerator family is the part of an instance type before its dot (``inf2``, ``g5``). Units that may use instance types of the same
family count as one family: whichever of them vanishes, all its units are taken to vanish.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from controller.policy import text
from controller.policy.cost import dollars
from controller.policy.demand import ceiling, probing
from controller.policy.expected_demand import expected_demand
from controller.policy.figures import Figures
from controller.policy.fleet import Needs, Offer, cheapest_fleet
from controller.policy.ledger import placed
from controller.policy.model import DemandHistory, PlannedFleet, Shortage, Snapshot, Strategy, Unit, UnitEvidence, UnitObservation
from controller.policy.reservations import usable_types
from controller.policy.weights import cost_per_request

PAYS_OFF_S: Final = 3600.0
"""Within which time a replica that takes the place of another must pay for its start, seconds. An hour, so that a replica with a cold start
of ten minutes replaces one only where it is at least a seventh cheaper for the same throughput."""


def planned(
    snapshot: Snapshot, figures: Figures, evidence: Mapping[str, UnitEvidence], history: DemandHistory | None
) -> PlannedFleet | None:
    """The fleet that strategy `planned` would run now.

    Args:
        snapshot: What is observed.
        figures: For the demand.
        evidence: What is proven, by unit.
        history: The demands so far, for what is expected one cold start ahead, that of the slowest unit.

    Returns:
        None with another strategy, and where the demand is not known: missing metrics plan nothing.
    """
    policy, units = snapshot.application.policy, snapshot.application.units
    if policy.strategy is not Strategy.PLANNED or figures.demand is None:
        return None
    ahead_s = max(unit.cold_start_s for unit in units)
    expected = expected_demand(history, snapshot.now, figures.demand, ahead_s)
    offers = offered(snapshot, evidence)
    needs = Needs(expected.demand * (1 + policy.planned_headroom), expected.demand * policy.resilience_share)
    present = sum(unit.price_per_hour * placed(snapshot.units[unit.name]) for unit in units)
    return PlannedFleet(expected.demand, expected.shortfall, needs, cheapest_fleet(offers, needs), present)


def offered(snapshot: Snapshot, evidence: Mapping[str, UnitEvidence]) -> tuple[Offer, ...]:
    """What each unit offers to a fleet.

    Args:
        snapshot: What is observed.
        evidence: What is proven, by unit.

    Returns:
        In the order of the application file. A unit that is short, or whose return is not proven, has no more than its ready replicas; one
        that may be short, or whose NodePool is at its limit, no more than were requested. A unit that nothing scales, because it has no
        ScaledObject or a person paused it, keeps what it has, and a floor that a person set is its least.
    """
    families, paid = _families(snapshot), _paid(snapshot)
    return tuple(
        _offer(unit, snapshot.units[unit.name], evidence[unit.name], families[unit.name], paid[unit.name])
        for unit in snapshot.application.units
    )


def planned_words(shown: PlannedFleet, evidence: Mapping[str, UnitEvidence]) -> str:
    """What strategy `planned` would run, for people: replicas, price, and what is left after a loss.

    Args:
        shown: The fleet.
        evidence: For the ready replicas, by unit.
    """
    counts = ", ".join(f"{count} {name}" + _instead(count, evidence[name].ready) for name, count in shown.fleet.replicas.items())
    price = dollars(shown.present, shown.fleet.price)
    errors = "" if shown.shortfall is None else f" (nine forecasts of ten lately fell short by at most {shown.shortfall:.0%})"
    words = f"{counts} for {shown.expected:,.0f} requests a period{errors}: {price}"
    if shown.fleet.carried < shown.needs.demand * (1 - 1e-9):
        words += f"; no more may be had, and it carries {shown.fleet.carried:,.0f} of {shown.needs.demand:,.0f} with headroom"
    if shown.exposed:
        return words + "".join(f"; without {name} it carries {share:.0%} of the demand" for name, share in shown.exposed.items())
    least = min(shown.fleet.left.values(), default=0.0)
    return words + (f"; without any one family it carries at least {least / shown.expected:.0%} of the demand" if shown.expected else "")


def _instead(count: int, ready: int) -> str:
    return "" if count == ready else f" ({ready} ready)"


def _offer(unit: Unit, observed: UnitObservation, judged: UnitEvidence, family: str, paid: int) -> Offer:
    present = max(judged.lasting, (observed.desired or 0) - judged.leaving)
    most, least, scaler = ceiling(unit, observed), unit.min_replicas, observed.scaler
    if judged.short or probing(judged):
        most = min(most, judged.lasting)
    elif judged.shortage is Shortage.SUSPECTED or observed.pool.at_limit:
        most = min(most, present)
    if scaler is None or scaler.paused:
        most = least = min(most, present)
    elif not scaler.floor_ours:
        least = max(least, scaler.min_replicas)
    start = unit.cold_start_s / PAYS_OFF_S
    return Offer(unit.name, family, unit.throughput, unit.price_per_hour, min(least, most), most, present, paid, start)


def _families(snapshot: Snapshot) -> dict[str, str]:
    """The accelerator family of each unit by name; families that one unit may use both of are one, named after both."""
    groups: list[set[str]] = []
    used = {
        unit.name: {kind.partition(".")[0] for kind in usable_types(unit, snapshot.units[unit.name])} for unit in snapshot.application.units
    }
    for kinds in used.values():
        joined = set(kinds).union(*(group for group in groups if group & kinds))
        groups = [group for group in groups if not group & kinds] + [joined]
    return {name: next(text.listing(sorted(group)) for group in groups if group & kinds) for name, kinds in used.items()}


def _paid(snapshot: Snapshot) -> dict[str, int]:
    """Replicas that run, or could run, in a capacity reservation, by unit.

    Where several units may use the same reservation, the one with the cheapest throughput counts as the one that fills it.
    """
    counted: set[str] = set()
    paid = {}
    for unit in sorted(snapshot.application.units, key=cost_per_request):
        observed = snapshot.units[unit.name]
        types, room = usable_types(unit, observed), 0
        inside = {one.reservation: one.count for one in observed.pool.held if one.reservation and one.instance_type in types}
        free = {one.id: one.free for one in observed.reservations or () if one.id in inside or not (one.targeted or one.block)}
        for name in (inside.keys() | free.keys()) - counted:
            room += inside.get(name, 0) + free.get(name, 0)
        counted |= inside.keys() | free.keys()
        paid[unit.name] = room
    return paid
