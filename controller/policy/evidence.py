"""What the signals prove about each deployment unit.

The rules come from recordings of a real Karpenter. It asks EC2 for every offering that a NodeClaim leaves open and that is not in its
3-minute cache, in one call, and emits no event at all when any of them had room. Therefore:

- one refusal of a claim as wide as the unit's allowed offerings proves the unit short, at once (`Proof.WIDE`);
- a refusal of a narrowed claim proves only that part. Parts add up to a proof within one cache cycle (`Proof.PARTS`), or with demand that
  has waited longer than a cycle (`Proof.AGE`): had another part had room, something would have launched;
- a launch of the pool after the last refusal ends the shortage; `NoCompatibleInstanceTypes` supports and never proves;
- a refusal counts only after `replacement_hold_s`, so that the event marking a consolidation's claim can arrive first;
- silence proves nothing, in either direction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from controller.policy import text
from controller.policy.demand import ceiling
from controller.policy.model import (
    CAUSE_PRECEDENCE,
    Application,
    Cause,
    Launch,
    LaunchFailure,
    Memory,
    PendingPod,
    PoolObservation,
    Proof,
    Return,
    Shortage,
    Snapshot,
    Unit,
    UnitEvidence,
    UnitObservation,
)

_Asked = tuple[tuple[str, ...], tuple[str, ...]]  # instance types and zones that a claim left open

POOL_LIMIT_CODE: Final = "NodePoolLimit"


@dataclass(frozen=True, slots=True)
class Offerings:
    """What a unit may be launched as. An empty tuple means: not restricted, or not known."""

    instance_types: tuple[str, ...]
    zones: tuple[str, ...]
    capacity_types: tuple[str, ...] = ()

    def concerns(self, instance_types: Sequence[str], zones: Sequence[str]) -> bool:
        """Whether something with these types and zones (empty = any) could have served the unit."""
        return _meet(self.instance_types, instance_types) and _meet(self.zones, zones)


def _meet(allowed: Sequence[str], asked: Sequence[str]) -> bool:
    return not allowed or not asked or not set(allowed).isdisjoint(asked)


def allowed_offerings(unit: Unit, observed: UnitObservation) -> Offerings:
    """What the unit may be launched as: the application file, else its NodePool, narrowed by the Deployment's own pins.

    Where neither says which instance types, it is the unit's priced type: a claim that leaves that one open is wide enough.
    """
    types = unit.instance_types or observed.pool.instance_types or (unit.instance_type,)
    zones = unit.zones or observed.pool.zones
    if observed.pod_instance_types:
        types = tuple(t for t in types if t in observed.pod_instance_types) or observed.pod_instance_types
    if observed.pod_zones:
        zones = tuple(z for z in zones if z in observed.pod_zones) or observed.pod_zones
    return Offerings(types, zones or observed.offered_zones, observed.pool.capacity_types)


def assess(snapshot: Snapshot, memory: Memory, needed: Mapping[str, int]) -> dict[str, UnitEvidence]:
    """Judges every unit of the application.

    Args:
        snapshot: What is observed now.
        memory: What is remembered of earlier shortages.
        needed: The ready replicas that cost mode needs at the present demand, by unit.

    Returns:
        Evidence by unit name, in the application's order.
    """
    application = snapshot.application
    found = {
        unit.name: _judge(unit, snapshot.units[unit.name], snapshot, memory, needed.get(unit.name, unit.min_replicas))
        for unit in application.units
    }
    network = any(evidence.short and evidence.cause is Cause.NETWORK for evidence in found.values())
    return {name: _with_ability(evidence, snapshot, application, network=network) for name, evidence in found.items()}


def _judge(unit: Unit, observed: UnitObservation, snapshot: Snapshot, memory: Memory, needed: int) -> UnitEvidence:
    now, policy = snapshot.now, snapshot.application.policy
    allowed = allowed_offerings(unit, observed)
    refusals = _standing_refusals(observed.pool, allowed, snapshot)
    waiting = _unmet(observed)
    since = min((pod.since for pod in waiting), default=None)
    aged = since is not None and now - since >= policy.hard_demand_s
    remembered = memory.units.get(unit.name)
    proof = _proof(refusals, allowed, policy.ice_cache_s, config_counts=Cause.CONFIG in policy.trip_causes)
    if proof is None and remembered is not None and remembered.proven_at is not None:
        # Judged before a restart, while the NodeClaims could still be seen; the events alone would no longer tell.
        proof = Proof.WIDE if any(f.at <= remembered.last_failure_at for f in refusals if not f.requirements_known) else None
    at_limit = bool(observed.pool.at_limit)
    if proof is None and aged and (refusals or at_limit):
        proof = Proof.AGE
    shortage = Shortage.NONE
    if waiting and proof is not None:
        shortage = Shortage.PROVEN
    elif refusals or (waiting and at_limit):
        shortage = Shortage.SUSPECTED
    causes = [failure.cause for failure in refusals] + ([Cause.QUOTA] if at_limit else [])
    codes = dict.fromkeys([code for failure in refusals for code in failure.codes] + ([POOL_LIMIT_CODE] if at_limit else []))
    last_failure = max((f.at for f in refusals), default=None) if proof is not None else None
    if proof is not None and waiting and at_limit:
        last_failure = now  # a limit refuses without an event, for as long as it stands
    if remembered is not None:
        last_failure = max(remembered.last_failure_at, last_failure or 0.0)
    returned, returned_at = _returned(unit, observed, allowed, last_failure, snapshot, memory)
    return UnitEvidence(
        unit=unit.name,
        shortage=shortage,
        demand=len(waiting),
        demand_since=since,
        cause=min(causes, key=CAUSE_PRECEDENCE.index, default=remembered.cause if remembered else Cause.UNKNOWN),
        codes=tuple(codes),
        truncated=any(failure.truncated for failure in refusals),
        proof=proof,
        since=min((f.at for f in refusals), default=None),
        last_failure_at=last_failure,
        attempts=len({failure.attempt for failure in refusals}),
        returned=returned,
        returned_at=returned_at,
        ready=observed.ready or 0,
        needed=min(needed, ceiling(unit, observed)),  # more than it may ever have can never be waited for
        beyond_max=max(0, needed - ceiling(unit, observed)),
        facts=_facts(unit, observed, refusals, waiting, now),
    )


def _standing_refusals(pool: PoolObservation, allowed: Offerings, snapshot: Snapshot) -> tuple[LaunchFailure, ...]:
    """The refusals that still say something about the unit: recent, its own offerings, and nothing launched since."""
    now, policy = snapshot.now, snapshot.application.policy
    last_launch = max(
        (launch.launched for launch in pool.launches if allowed.concerns(_one(launch.instance_type), _one(launch.zone))), default=0.0
    )
    return tuple(
        failure
        for failure in pool.failures
        if not failure.replacement
        and _judged(failure, snapshot)
        and now - failure.at <= policy.ice_window_s
        and failure.at > last_launch
        and allowed.concerns(failure.instance_types, failure.zones)
    )


def _one(value: str) -> tuple[str, ...]:
    return (value,) if value else ()


def _judged(failure: LaunchFailure, snapshot: Snapshot) -> bool:
    """Whether it is time to judge it.

    A create error may yet succeed on Karpenter's own retry; an event is final, but the one that marks its claim as a consolidation's
    replacement may follow it.
    """
    policy = snapshot.application.policy
    if failure.source == "create-error":
        return snapshot.now - failure.at >= policy.create_error_s
    return snapshot.now - failure.seen >= policy.replacement_hold_s


def _proof(refusals: Sequence[LaunchFailure], allowed: Offerings, cache_s: float, *, config_counts: bool) -> Proof | None:
    """Whether the refusals cover every allowed offering, alone or together within one cycle of Karpenter's cache."""
    counting = [f for f in refusals if f.requirements_known and (config_counts or f.cause is not Cause.CONFIG)]
    if not counting:
        return None
    newest = max(failure.at for failure in counting)
    # Claims of one scale-up look alike and thousands may be refused at once: what was asked for is judged, with its first and last refusal.
    asked: dict[_Asked, tuple[float, float]] = {}
    for failure in counting:
        every_kind = not failure.capacity_types or set(allowed.capacity_types) <= set(failure.capacity_types)
        if every_kind and newest - failure.at <= cache_s:
            first, last = asked.get((failure.instance_types, failure.zones), (failure.at, failure.at))
            asked[failure.instance_types, failure.zones] = (min(first, failure.at), max(last, failure.at))
    for shape, (_, last) in asked.items():
        # Types that are in Karpenter's cache are missing from the claim because they were refused already, not because the pod is choosy.
        cached = {t for (types, zones), (first, _) in asked.items() if first <= last and not zones for t in types}
        if _covers([shape], allowed, cached):
            return Proof.WIDE
    return Proof.PARTS if _covers(list(asked), allowed, frozenset()) else None


def _covers(asked: Sequence[_Asked], allowed: Offerings, cached: Collection[str]) -> bool:
    """Whether every allowed type was asked for, and refused, in every allowed zone."""
    for instance_type in allowed.instance_types:
        if instance_type in cached:
            continue
        hits = [zones for types, zones in asked if not types or instance_type in types]
        if any(not zones for zones in hits):
            continue
        refused = {zone for zones in hits for zone in zones}
        if not allowed.zones or not set(allowed.zones) <= refused:
            return False
    return True


def _unmet(observed: UnitObservation) -> tuple[PendingPod, ...]:
    """Pods that wait although replicas are missing. A surge pod of a rollout waits too, but nobody misses it."""
    if observed.desired is not None and observed.ready is not None and observed.ready >= observed.desired:
        return ()
    return observed.pending


def _returned(
    unit: Unit, observed: UnitObservation, allowed: Offerings, last_failure: float | None, snapshot: Snapshot, memory: Memory
) -> tuple[Return, float | None]:
    """What proves that capacity is back: a node that was asked for after the last refusal and joined, or the missing replicas running."""
    if last_failure is None:
        return Return.NONE, None
    remembered = memory.units.get(unit.name)
    if remembered is not None and remembered.returned_at is not None and remembered.returned_at > last_failure:
        return remembered.returned, remembered.returned_at
    later = [
        launch
        for launch in observed.pool.launches
        if launch.created > last_failure and allowed.concerns(_one(launch.instance_type), _one(launch.zone))
    ]
    joined = [_joined(launch, initialized=snapshot.application.policy.require_initialized) for launch in later]
    proven = [at for at in joined if at is not None]
    if proven:
        return Return.REGISTERED, min(proven)
    if (
        remembered is not None
        and observed.desired is not None
        and observed.ready is not None
        and not observed.pending
        and observed.ready >= observed.desired
        and observed.ready > remembered.ready_then
    ):
        return Return.REPLICAS_READY, snapshot.now
    return (Return.LAUNCHED, None) if later else (Return.NONE, None)


def _joined(launch: Launch, *, initialized: bool) -> float | None:
    return launch.initialized if initialized else launch.registered


def _with_ability(evidence: UnitEvidence, snapshot: Snapshot, application: Application, *, network: bool) -> UnitEvidence:
    """Adds whether the unit could take traffic of others. With full subnets a pool that is blocked too cannot grow either."""
    pool = snapshot.units[evidence.unit].pool
    window = application.policy.ice_window_s
    blocked = pool.blocked_at is not None and snapshot.now - pool.blocked_at <= window
    able = evidence.ready > 0 and not evidence.short and not (network and blocked)
    return replace(evidence, can_serve=able)


def _facts(
    unit: Unit, observed: UnitObservation, refusals: Sequence[LaunchFailure], waiting: Sequence[PendingPod], now: float
) -> tuple[str, ...]:
    facts = []
    if refusals:
        last = max(refusals, key=lambda failure: failure.at)
        attempts = len({failure.attempt for failure in refusals})
        codes = text.listing(last.codes) + (" (message cut: at least)" if last.truncated else "")
        where = f" {last.named_type} in {last.named_zone}" if last.named_type and last.named_zone else ""
        scope = "" if last.requirements_known else "; its NodeClaim was never seen"
        facts.append(f"{attempts} refused attempt(s), last {text.duration(now - last.at)} ago: {codes}{where}{scope}")
    if observed.pool.blocked_at is not None:
        facts.append(f"NodePool {observed.pool.name}: no compatible instance type, {text.duration(now - observed.pool.blocked_at)} ago")
    if observed.pool.at_limit:
        facts.append(f"NodePool {observed.pool.name}: {observed.pool.at_limit}")
    if observed.pool.problem:
        facts.append(f"NodePool {observed.pool.name}: {observed.pool.problem}")
    recent = [launch for launch in observed.pool.launches if now - launch.launched <= 3600]  # noqa: PLR2004 - as long as events are kept
    if recent and not refusals:
        newest = recent[-1]
        state = "initialized" if newest.initialized else "registered" if newest.registered else "launched"
        others = f" ({len(recent)} launches in the last hour)" if len(recent) > 1 else ""
        facts.append(f"NodeClaim {newest.claim} {state}, launched {text.duration(now - newest.launched)} ago{others}")
    if waiting:
        facts.append(f"{len(waiting)} pod(s) unschedulable, the oldest for {text.duration(now - min(p.since for p in waiting))}")
    if observed.demand is not None:
        facts.append(f"{observed.demand.value:.0f} requests in the period that ended {text.duration(now - observed.demand.at)} ago")
    if observed.latency is not None:
        facts.append(f"latency {observed.latency.value:.2f} s, limit {unit.latency_limit_s:.2f} s")
    return (*facts, *observed.notes)
