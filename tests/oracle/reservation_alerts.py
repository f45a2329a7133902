# ruff: noqa
"""Alerts about capacity reservations: one that ends, one whose end is not known, and a NodePool that has nothing else and got none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from controller.policy import text
from controller.policy.model import Snapshot, Unit, UnitObservation
from controller.policy.reservations import awaited, endings, unknown_ends
from tests.oracle.alert import Alert

NOTICE_S: Final = 86_400.0
"""How long before the traffic moves a person is warned, seconds: time to buy another block or to extend this one."""


def reservation_alerts(snapshot: Snapshot) -> Iterator[Alert]:
    """What a person should know about the reservations of each unit. The texts change only with the facts."""
    for unit in snapshot.application.units:
        observed = snapshot.units[unit.name]
        yield from _ending(snapshot, unit, observed)
        if not awaited(snapshot):
            yield from _unknown(unit, observed)
        yield from _exhausted(snapshot, unit, observed)


def _ending(snapshot: Snapshot, unit: Unit, observed: UnitObservation) -> Iterator[Alert]:
    for one in endings(snapshot.application, unit, observed):
        if not one.moves_at - NOTICE_S <= snapshot.now < one.ends_at:
            continue
        words = (
            f"{unit.name}: Capacity Block {one.reservation} ends at {text.date_time(one.ends_at)}; {one.nodes} of its {one.of_nodes} "
            f"node(s) run in it. Karpenter drains them from {text.date_time(one.drained_at)} on, and traffic moves at "
            f"{text.date_time(one.moves_at)}; extend the block, or let NodePool {observed.pool.name} launch something else by then"
        )
        yield Alert(f"reservation/{unit.name}/{one.reservation}", "warning", words)


def _unknown(unit: Unit, observed: UnitObservation) -> Iterator[Alert]:
    """Nodes that go at a time which nobody said. Nothing is moved on a guess."""
    unknown = unknown_ends(unit, observed)
    if unknown:
        words = (
            f"{unit.name}: nodes run in Capacity Block {text.listing(unknown)}, and EC2 has not said when it ends: no traffic moves before"
        )
        yield Alert(f"reservation-end/{unit.name}", "warning", f"{words}. Allow ec2:DescribeCapacityReservations (docs/aws.md)")


def _exhausted(snapshot: Snapshot, unit: Unit, observed: UnitObservation) -> Iterator[Alert]:
    """A NodePool that launches only into reservations, none of which has room, and pods that wait for it."""
    pool = observed.pool
    if pool.capacity_types != ("reserved",) or not observed.pending or observed.reservations is None:
        return
    types = unit.instance_types or pool.instance_types or (unit.instance_type,)
    zones = unit.zones or pool.zones
    if any(one.free and one.instance_type in types and (not zones or one.zone in zones) for one in observed.reservations):
        return
    ended = [f"{one.id} ended at {text.date_time(one.ends_at)}" for one in observed.blocks if one.ends_at and one.ends_at <= snapshot.now]
    why = f" ({text.listing(ended)})" if ended else ""
    words = (
        f"{unit.name}: pods wait, NodePool {pool.name} launches only into reservations, and no active one has a free instance{why}: buy or "
    )
    words += (
        "extend a reservation and select it in the EC2NodeClass (capacityReservationSelectorTerms), or add on-demand to the NodePool's "
    )
    words += "requirement karpenter.sh/capacity-type"
    yield Alert(f"reserved/{unit.name}", "critical" if not observed.ready else "warning", words)
