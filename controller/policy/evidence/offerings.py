"""What a unit may be launched as, and which of its pods still wait for a launch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from controller.policy.evidence.age import Ages
from controller.policy.evidence.proof import BATCH_S, Allowed
from controller.policy.model import Launch, Offerings, PendingPod, PoolObservation, Snapshot, Unit, UnitObservation

ON_THE_WAY_S: Final = 900.0
"""How long an instance that is not usable yet counts as on its way. Karpenter itself gives up on one that has not registered by then."""

BINDS_S: Final = 10.0
"""How long the scheduler may take to bind a pod to a node that has become usable: until then the node is still on its way for it."""


def allowed_offerings(unit: Unit, observed: UnitObservation, pool: PoolObservation | None = None) -> Allowed:
    """What the unit may be launched as: the application file, else the NodePool, narrowed by what the Deployment's pods require.

    A NodePool may allow a whole family: then it is every type of it that the pods fit on. Where neither says which instance types, it is
    the unit's priced type and every type that refused NodeClaims of the pool left open. EC2 sells some types in some zones only; that is
    known for the priced type. Types that no longer fit under the NodePool's limits count for what was launched; nobody asks EC2 for them.
    Of a family that the catalog does not know there may be more types than anybody has named.

    Args:
        unit: The unit.
        observed: What is known of it.
        pool: Through which NodePool; None: its own.
    """
    own = pool is None or pool.name == observed.pool.name
    pool = pool or observed.pool
    types = (unit.instance_types if own else ()) or pool.launchable or pool.instance_types or _left_open(unit, pool)
    if observed.pod_instance_types:
        types = tuple(one for one in types if one in observed.pod_instance_types) or observed.pod_instance_types
    zones = (unit.zones if own else ()) or pool.zones
    if observed.pod_zones:
        zones = tuple(one for one in zones if one in observed.pod_zones) or observed.pod_zones
    sold = observed.offered_zones
    by_type = (_narrowed(zones, sold) if one == unit.instance_type else zones for one in types)
    more = pool.open_family and not (own and unit.instance_types) and not observed.pod_instance_types
    kinds = pool.capacity_types
    if observed.pod_capacity_types:
        kinds = tuple(one for one in kinds if one in observed.pod_capacity_types) or observed.pod_capacity_types
    return Allowed(types, tuple(by_type), kinds, observed.unavailable, free_reservations(observed), pool.beyond_limit, more)


MOST_PROBED: Final = 8
"""The most offerings of one unit that a round of probes requests: each is a call from a bucket that Karpenter uses as well."""


def reservable(unit: Unit, observed: UnitObservation) -> Offerings:
    """All that the unit may be launched as, as pairs of type and zone, where EC2 can be asked for a reservation of each.

    A refusal of some of it would say nothing about the rest.

    Args:
        unit: The unit.
        observed: What is known of it.

    Returns:
        () where not everything is known, where some of it is not on-demand, or where it is too much.
    """
    allowed = allowed_offerings(unit, observed)
    if allowed.more or not set(allowed.capacity_types) <= {"on-demand"} or not all(zones for _, zones in allowed.asked_for):
        return ()
    every = tuple((instance_type, zone) for instance_type, zones in allowed.asked_for for zone in zones)
    return every if len(every) <= MOST_PROBED else ()


def free_reservations(observed: UnitObservation) -> frozenset[tuple[str, str]] | None:
    """Where a reservation has a free instance, as pairs of type and zone; None where that is not known."""
    if observed.reservations is None:
        return None
    return frozenset((one.instance_type, one.zone) for one in observed.reservations if one.free > 0)


def _left_open(unit: Unit, pool: PoolObservation) -> tuple[str, ...]:
    return tuple(dict.fromkeys((unit.instance_type, *(one for refusal in pool.failures for one in refusal.instance_types))))


def _narrowed(zones: tuple[str, ...], sold: tuple[str, ...]) -> tuple[str, ...]:
    """The zones that are both asked for and sold; one of the two where the other is not known."""
    return tuple(one for one in zones if one in sold) or zones or sold if sold else zones


def unmet_pods(snapshot: Snapshot, ages: Ages) -> dict[str, tuple[PendingPod, ...]]:
    """The pods that wait although replicas are missing and no instance for them is on its way, by unit.

    A surge pod of a rollout waits too, but nobody misses it. An instance that was launched takes the pods that have waited longest, of any
    unit: several may share a NodePool. It takes none for which Karpenter has found no place since: it is for another application's, then.

    Args:
        snapshot: What is observed.
        ages: Answers about ages now.

    Returns:
        By unit, in the order of the application.
    """
    units = {unit.name: unit for unit in snapshot.application.units}
    missed = {name: snapshot.units[name].pending for name in units if not _complete(snapshot.units[name])}
    queue = sorted(((pod.since, name, pod.name, pod) for name, pods in missed.items() for pod in pods), key=lambda one: one[:3])
    taken: set[tuple[str, str]] = set()
    for launch in _on_their_way(snapshot, ages):
        room = None
        for _, name, _, pod in queue:
            if (name, pod.name) in taken or not _suits(launch, units[name], snapshot.units[name], pod):
                continue
            room = room if room is not None else max(1, launch.devices // pod.devices if pod.devices else 1)
            if room <= 0:
                break
            taken.add((name, pod.name))
            room -= 1
    return {name: tuple(pod for pod in missed.get(name, ()) if (name, pod.name) not in taken) for name in units}


def _complete(observed: UnitObservation) -> bool:
    return observed.desired is not None and observed.ready is not None and observed.ready >= observed.desired


def _on_their_way(snapshot: Snapshot, ages: Ages) -> Sequence[Launch]:
    """The instances that were launched and whose pods are not bound yet, each once, the oldest first."""
    pools: Mapping[str, PoolObservation] = {
        pool.name: pool for observed in snapshot.units.values() for pool in (observed.pool, *observed.alternatives)
    }
    found = {(launch.pool, launch.claim): launch for pool in pools.values() for launch in pool.launches if _coming(launch, ages)}
    return sorted(found.values(), key=lambda launch: (launch.launched, launch.claim))


def _coming(launch: Launch, ages: Ages) -> bool:
    """Whether an instance may still take a pod that waits: it is not usable yet, or so recently that the pod is not bound."""
    if launch.gone:
        return False
    return ages.within(launch.launched, ON_THE_WAY_S) if launch.initialized is None else ages.within(launch.initialized, BINDS_S)


def _suits(launch: Launch, unit: Unit, observed: UnitObservation, pod: PendingPod) -> bool:
    pools = {pool.name: pool for pool in (observed.pool, *observed.alternatives)}
    if launch.pool not in (pod.pools or (unit.node_pool,)) or launch.pool not in pools or _passed_over(launch, pod):
        return False
    return allowed_offerings(unit, observed, pools[launch.pool]).suits(launch)


def _passed_over(launch: Launch, pod: PendingPod) -> bool:
    """Whether Karpenter found no place for a pod when the instance was already on its way, or in the pass that asked for it."""
    asked_at = launch.created if launch.asked_at is None else launch.asked_at
    return pod.unplaced_at is not None and pod.unplaced_at >= asked_at - BATCH_S
