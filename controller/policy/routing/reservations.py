"""Capacity Blocks: replicas that go at a known time, and what is done before.

EC2 terminates the instances of a Capacity Block from 30 minutes before its end, those of an UltraServer from 60 minutes before. Karpenter
drains their nodes 10 minutes earlier. No instance is lost when any other reservation ends: it goes on as an on-demand one.

Three times follow from the end of a block:

- *drained*: Karpenter drains the nodes;
- *moved*: the traffic must have left them, at least 10 minutes earlier. From a little before that the replicas do not count as serving;
- *prepared*: the other units begin to grow, one and a half cold starts earlier. From then on no replica is planned on the block.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from controller.policy import text
from controller.policy.model import Application, Reservation, Snapshot, Unit, UnitObservation
from controller.policy.routing.weights import carrying

RECLAIMED_S: Final = 1_800.0
"""How long before the end of a block EC2 begins to terminate its instances, seconds (EC2 User Guide, Capacity Blocks for ML)."""

ULTRA_RECLAIMED_S: Final = 3_600.0
"""The same of an UltraServer."""

DRAINED_S: Final = 600.0
"""How long before that Karpenter begins to drain the nodes, seconds (its design of Capacity Blocks)."""

MOVED_S: Final = 600.0
"""How long before that the traffic must have left them, seconds."""

SHOWN_S: Final = 420.0
"""How long the load balancer may take to show a change, seconds: the traffic is moved that much earlier. Most reconciles of the
load-balancer controller take seconds, the slowest known one took 6 min 15 s (its issue 2070)."""

COLD_STARTS: Final = 1.5
"""How many cold starts of the slowest other unit its replicas get, because image pulls and nodes differ and some launches are retried."""

LAUNCHED_S: Final = 120.0
"""What comes on top: KEDA and the scheduler react, Karpenter batches pods, and the load balancer registers the new targets."""

_ULTRA: Final = ("p6e-", "trn2u.", "u-")  # instance families of UltraServers
_AFTER_S: Final = 3_600.0  # how long nodes may still count as those of a block that ended


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of a Capacity Block that replicas of a unit depend on. Times are seconds since the Unix epoch.

    Attributes:
        reservation: Its id.
        ends_at: When it ends.
        drained_at: When Karpenter drains its nodes.
        moves_at: When the traffic leaves them.
        prepared_at: When the others begin to grow.
        nodes: Nodes of the unit's instance types that run in it.
        of_nodes: All nodes of these types in the NodePool.
    """

    reservation: str
    ends_at: float
    drained_at: float
    moves_at: float
    prepared_at: float
    nodes: int
    of_nodes: int


def drained_at(block: Reservation) -> float:
    """When Karpenter drains the nodes of a Capacity Block and launches nothing into it any more; infinite for any other reservation."""
    if not block.block or block.ends_at is None:
        return math.inf
    return block.ends_at - (ULTRA_RECLAIMED_S if block.instance_type.startswith(_ULTRA) else RECLAIMED_S) - DRAINED_S


def endings(application: Application, unit: Unit, observed: UnitObservation) -> tuple[Ending, ...]:
    """The Capacity Blocks that the unit's nodes run in, the first to end first; only those whose end is known."""
    if not observed.pool.held:
        return ()
    held = [one for one in observed.pool.held if one.instance_type in usable_types(unit, observed)]
    whole, ends = sum(one.count for one in held), {one.id: one for one in observed.blocks if one.ends_at is not None}
    cold_s = max((one.cold_start_s for one in application.units if one.name != unit.name), default=0.0)
    found = [
        _ending(ends[one.reservation], cold_s, one.count, whole) for one in held if one.reservation in ends and ends[one.reservation].block
    ]
    return tuple(sorted(found, key=lambda one: (one.ends_at, one.reservation)))


def usable_types(unit: Unit, observed: UnitObservation) -> frozenset[str]:
    """The instance types that the unit's pods may run on: those that the pods name, else those of the application file."""
    return frozenset(observed.pod_instance_types or unit.instance_types or (unit.instance_type,))


def _ending(block: Reservation, cold_s: float, nodes: int, of_nodes: int) -> Ending:
    assert block.ends_at is not None  # noqa: S101 - the caller checked
    drained = drained_at(block)
    moves_at = drained - MOVED_S - SHOWN_S
    return Ending(block.id, block.ends_at, drained, moves_at, moves_at - COLD_STARTS * cold_s - LAUNCHED_S, nodes, of_nodes)


def unknown_ends(unit: Unit, observed: UnitObservation) -> tuple[str, ...]:
    """The Capacity Blocks that the unit's nodes run in and whose end is not known."""
    known, types = {one.id for one in observed.blocks}, usable_types(unit, observed)
    return tuple(one.reservation for one in observed.pool.held if one.block and one.instance_type in types and one.reservation not in known)


def held_words(observed: UnitObservation) -> tuple[str, ...]:
    """What the instances of the unit's NodePool run in, one sentence for each reservation."""
    ends = {one.id: one.ends_at for one in (*observed.blocks, *(observed.reservations or ()))}
    found = []
    for one in (one for one in observed.pool.held if one.reservation):
        end = ends.get(one.reservation)
        when = f", which ends at {text.date_time(end)}" if end is not None else ""
        kind = "Capacity Block" if one.block else "reservation"
        found.append(f"NodePool {observed.pool.name}: {one.count} instance(s) in {kind} {one.reservation}{when}")
    return tuple(found)


def awaited(snapshot: Snapshot) -> bool:
    """Whether EC2 has not answered yet, as in the first seconds of a process: its answer will say when blocks end."""
    return any(one.name == "ec2" and not one.absent and one.last_ok is None and not one.problem for one in snapshot.sources)


def leaving(snapshot: Snapshot, name: str, *, planned: bool = False) -> int:
    """The ready replicas of a unit that count no more, because their Capacity Block ends.

    Nobody knows which replica runs on which node, so it is the part of the nodes, rounded up. It counts until the nodes are gone.

    Args:
        snapshot: What is observed.
        name: Which unit.
        planned: Whether replicas are planned (from `Ending.prepared_at` on) or traffic is routed (from `Ending.moves_at` on).
    """
    application, observed = snapshot.application, snapshot.units[name]
    if not observed.ready or not observed.pool.held:
        return 0
    gone = [
        one
        for one in endings(application, application.unit(name), observed)
        if (one.prepared_at if planned else one.moves_at) <= snapshot.now < one.ends_at + _AFTER_S
    ]
    nodes = sum(one.nodes for one in gone)
    return math.ceil(observed.ready * nodes / max(1, *(one.of_nodes for one in gone)) - 1e-9) if gone else 0


def moments(snapshot: Snapshot) -> Iterator[float]:
    """When time alone changes what `leaving` says, seconds since the Unix epoch."""
    for unit in snapshot.application.units:
        for one in endings(snapshot.application, unit, snapshot.units[unit.name]):
            yield from (one.prepared_at, one.moves_at)


def ending_details(snapshot: Snapshot, *, planned: bool = False) -> dict[str, str]:
    """What a sentence about the first end that counts now contains: units, reservation, end and the drain; {} where none does.

    A unit to which cost mode sends nothing does not count.
    """
    application = snapshot.application
    held = [unit.name for unit in application.units if snapshot.units[unit.name].pool.held]
    carried = carrying(application) if held else frozenset[str]()
    names = [name for name in held if name in carried and leaving(snapshot, name, planned=planned)]
    if not names:
        return {}
    first = min(
        (one for name in names for one in endings(application, application.unit(name), snapshot.units[name])), key=lambda one: one.ends_at
    )
    return {
        "units": text.listing(names),
        "replicas": str(sum(leaving(snapshot, name, planned=planned) for name in names)),
        "reservation": first.reservation,
        "end": text.date_time(first.ends_at),
        "drain": text.date_time(first.drained_at),
    }
