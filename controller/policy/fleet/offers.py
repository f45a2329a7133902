"""What each unit offers to a fleet, from what is observed and proven.

An accelerator family is the part of an instance type before its dot (``inf2``, ``g5``). Units that may use instance types of the same
family count as one family: whichever of them vanishes, all its units are taken to vanish. A spot pool is what EC2 takes back at once: the
spot instances of a family in a zone. Units that may have nothing but spot instances of the same family in the same zone are in one pool.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Final, TypeVar

from controller.policy import text
from controller.policy.account import ceiling, placed, probing, scaler_replicas, shown_s
from controller.policy.evidence import allowed_offerings
from controller.policy.fleet.search import Offer
from controller.policy.floors import remembered
from controller.policy.model import Memory, Reservation, Scaler, Shortage, Snapshot, Unit, UnitEvidence, UnitObservation
from controller.policy.routing import cost_per_request, usable_types

PAYS_OFF_S: Final = 3600.0
"""Within which time a replica that takes the place of another must pay for its start and for the time until the other has gone, seconds.
An hour, so that with ten minutes for either it replaces one only where it is at least 29 % cheaper for the same throughput."""

MAX_ABOVE_SCALER: Final = 0.5
"""How far planned floors may be above what KEDA itself asks for, as a share of the present demand: a unit's floor is at most that share
of the demand above its scaler's replicas, and the expected demand counts up to that share above the present one."""

_SPOT: Final = "spot"
_RESERVED: Final = "reserved"
_ANY: Final = ""  # a zone that is not named

_Shared = TypeVar("_Shared")


def offered(
    snapshot: Snapshot, demand: float | None, evidence: Mapping[str, UnitEvidence], memory: Memory, *, refusals: bool = True
) -> tuple[Offer, ...]:
    """What each unit offers to a fleet.

    Args:
        snapshot: What is observed.
        demand: The present demand, requests per metric period: it bounds how far a unit may be above its scaler; None: no bound.
        evidence: What is proven, by unit.
        memory: For the floors that others set last.
        refusals: Whether units that are short are held to what they have; False: as if they could grow.

    Returns:
        In the order of the application file. A unit that is short, or whose return is not proven, has no more than its ready replicas; one
        that may be short no more than were requested, and one whose NodePool is at its limit no more than have a node. A unit that nothing
        scales, because it has no ScaledObject or a person paused it, keeps what it has, and a floor that a person set is its least.
        Where the HPA never removes replicas, those that exist are the least.
    """
    grouped, pools, covered = families(snapshot), spot_pools(snapshot), paid(snapshot)
    above = None if demand is None else MAX_ABOVE_SCALER * demand
    offers = []
    for unit in snapshot.application.units:
        observed, judged = snapshot.units[unit.name], evidence[unit.name]
        least, most = max(unit.min_replicas, remembered(memory, unit).found), _had(unit, observed, judged, refusals=refusals)
        scaler = observed.scaler
        soon = most if unit.name not in pools and _in_time(snapshot, unit, judged) else 0
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
                paid=covered[unit.name],
                start=unit.cold_start_s / PAYS_OFF_S,
                stop=_stop(snapshot, scaler),
                soon=soon,
                pool=pools.get(unit.name, ""),
            )
        )
    return tuple(offers)


def _in_time(snapshot: Snapshot, unit: Unit, judged: UnitEvidence) -> bool:
    """Whether new replicas of a unit count after the loss of a family. Of one that may be short a replica that goes may not come back."""
    scaler, within_s = snapshot.units[unit.name].scaler, snapshot.application.policy.resilience_s
    grows = scaler is not None and not scaler.paused and judged.shortage is Shortage.NONE and not refused(judged)
    return grows and 0 < within_s >= unit.cold_start_s


def _stop(snapshot: Snapshot, scaler: Scaler | None) -> float:
    """The price of a replica after it is needed no more, as a share of its price per hour.

    Its scaler removes it once the metric shows that the requests have gone elsewhere, and after its own window.
    """
    if scaler is None or scaler.scale_in_s is None:
        return 0.0  # it stays, whatever is planned
    return min(1.0, (shown_s(snapshot.application.metric_period_s) + scaler.scale_in_s) / PAYS_OFF_S)


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


def families(snapshot: Snapshot) -> dict[str, str]:
    """The accelerator family of each unit by name; families that one unit may use both of are one, named after both."""
    used = {
        unit.name: {kind.partition(".")[0] for kind in usable_types(unit, snapshot.units[unit.name])} for unit in snapshot.application.units
    }
    return {name: text.listing(sorted(kinds)) for name, kinds in _joined(used).items()}


def spot_pools(snapshot: Snapshot) -> dict[str, str]:
    """The spot pool of each unit that may have nothing but spot instances, by name.

    Of a unit that names no zone, each zone is taken to be lost at once. Pools that one unit may use both of are one, named after both.
    """
    zones = dict[str, set[str]]()
    for unit in snapshot.application.units:
        allowed = allowed_offerings(unit, snapshot.units[unit.name])
        if set(allowed.capacity_types) == {_SPOT}:
            zones[unit.name] = {zone for named in allowed.zones for zone in named or (_ANY,)}
    if not zones:
        return {}
    grouped = families(snapshot)
    anywhere = {grouped[name] for name, named in zones.items() if _ANY in named}
    used = {name: {(grouped[name], _ANY if grouped[name] in anywhere else zone) for zone in named} for name, named in zones.items()}
    return {name: _pool_name(grouped[name], {zone for _, zone in pool}) for name, pool in _joined(used).items()}


def _pool_name(family: str, zones: AbstractSet[str]) -> str:
    return f"{family} spot" if _ANY in zones else f"{family} spot in {'/'.join(sorted(zones))}"


def _joined(used: Mapping[str, AbstractSet[_Shared]]) -> dict[str, AbstractSet[_Shared]]:
    """Each unit's set, united with all that share a member with it."""
    groups = list[AbstractSet[_Shared]]()
    for one in used.values():
        joined = set(one).union(*(group for group in groups if group & one))
        groups = [group for group in groups if not group & one] + [joined]
    return {name: next(group for group in groups if group & one) for name, one in used.items()}


def vanishing(snapshot: Snapshot) -> dict[str, frozenset[str]]:
    """The units that may vanish at once: those of each family, and those of each spot pool."""
    found = dict[str, set[str]]()
    for grouped in (families(snapshot), spot_pools(snapshot)):
        for unit, name in grouped.items():
            found.setdefault(name, set()).add(unit)
    return {name: frozenset(units) for name, units in found.items()}


def _open_to(unit: Unit, observed: UnitObservation) -> list[Reservation]:
    """The reservations that take launches for a unit without being named: EC2 fills them with on-demand instances of their type and zone.

    Where spot instances are allowed Karpenter asks for one first, unless it may ask for a reserved one.
    """
    types, allowed = usable_types(unit, observed), allowed_offerings(unit, observed)
    if _SPOT in allowed.capacity_types and _RESERVED not in allowed.capacity_types:
        return []
    known = (one for one in observed.reservations or () if one.instance_type in types and not (one.targeted or one.block))
    return [one for one in known if allowed.concerns((one.instance_type,), (one.zone,))]


def paid(snapshot: Snapshot, *, free: bool = True) -> dict[str, int]:
    """Replicas that run in a capacity reservation, and with `free` those that could, by unit.

    Where several units may use the same reservation, the one with the cheapest throughput counts as the one that fills it.
    """
    counted: set[str] = set()
    found = {}
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
        found[unit.name] = room
    return found
