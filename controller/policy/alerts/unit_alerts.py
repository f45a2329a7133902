"""The alerts about one deployment unit: each function finds what the row beside it in `ROWS` is about.

Most of them are about states that would go on unnoticed: nothing is decided about them, and nothing changes until a person acts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from controller.policy import text
from controller.policy.account import fixed
from controller.policy.alert_kinds import AlertKind, Found
from controller.policy.case import Case
from controller.policy.evidence import allowed_offerings, only_spot, quota_words
from controller.policy.karpenter_times import HARD_DEMAND_S, ICE_WINDOW_S
from controller.policy.model import (
    Cause,
    Decision,
    Launch,
    Mode,
    Return,
    Shortage,
    Snapshot,
    Unit,
    UnitEvidence,
    UnitObservation,
    Verb,
    WorkloadKind,
)
from controller.policy.reasons import WARNING, Reason
from controller.policy.routing import awaited, endings, unknown_ends

UNHEALTHY_AFTER_S: Final = 60.0
"""How long ready replicas may be unhealthy at the load balancer without an alert, seconds. Registering takes the load-balancer controller
5 to 30 s, and two checks at its default interval of 15 s make a target healthy (docs/research/alb.md)."""

UNPROVEN_S: Final = 3600.0
"""How long a return may be neither proven nor refused. With the canary Karpenter asks EC2 every three minutes."""

JOINS_S: Final = 600.0
"""How long an instance may take to join, and its node to become usable then. The slowest accelerated images take half of it; Karpenter
gives up after 15 minutes on one that does not join, and never on one that has joined."""

NOTICE_S: Final = 86_400.0
"""How long before the traffic moves a person is warned, seconds: time to buy another block or to extend this one."""

_REMEMBERED_S: Final = 3600.0

_REPEATED: Final = 2
"""How many instances must be gone before they could join, while pods wait for them, to mean something: EC2 ends each at its start where it
may not use the key of its disk. One may have been interrupted, or was needed no more."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A unit, and everything that an alert about it may consider."""

    unit: Unit
    observed: UnitObservation
    judged: UnitEvidence
    case: Case
    decision: Decision

    @property
    def now(self) -> float:
        """The snapshot's time, seconds since the Unix epoch."""
        return self.case.snapshot.now


def _cause(seen: Seen) -> Iterable[Found]:
    """A cause that does not pass by waiting. What passes by waiting is reported by the failover alone."""
    judged = seen.judged
    if not judged.codes or judged.shortage is Shortage.NONE:
        return []
    codes = ("at least " if judged.truncated else "") + text.listing(judged.codes)
    problems = {
        Cause.NETWORK: f"subnets have no free addresses; NodePools that share them cannot grow either: {codes}",
        Cause.CONFIG: f"the launch configuration is wrong, and waiting does not help: {codes}",
        Cause.QUOTA: "" if only_spot(judged) else quota_words(judged, seen.observed),
    }
    problem = problems.get(judged.cause)
    return [Found({"problem": problem}, (str(judged.cause),))] if problem else []


def _unexplained(seen: Seen) -> Iterable[Found]:
    """Pods that have waited long although Karpenter reports nothing, or only what alone proves nothing."""
    judged, pool, policy, now = seen.judged, seen.observed.pool, seen.case.snapshot.application.policy, seen.now
    if judged.demand_since is None or now - judged.demand_since < HARD_DEMAND_S or judged.short or judged.age_at is not None:
        return []
    unheard = any(source.name == "karpenter" and source.absent for source in seen.case.snapshot.sources)
    found = judged.returned in {Return.LAUNCHED, Return.RESERVED, Return.REGISTERED}
    launched = found or any(now - one.launched < policy.quiet_s for one in pool.launches)
    # Where instances are lost or unusable, Karpenter launches, and another alert says what is wrong with it.
    explained = unheard or launched or lost_launches(seen.observed, now) or unusable_launches(seen.unit, seen.observed, now)
    return [] if explained or not pool.exists else [Found({"waited": text.duration(now - judged.demand_since), "pool": pool.name})]


def _none_compatible(seen: Seen) -> bool:
    """Whether Karpenter said lately that no instance type of the NodePool suits a pod, and nothing was refused."""
    at = seen.observed.pool.blocked_at
    return at is not None and seen.now - at <= ICE_WINDOW_S and not seen.judged.codes


def _config(seen: Seen) -> Iterable[Found]:
    return _unexplained(seen) if _none_compatible(seen) else []


def _silent(seen: Seen) -> Iterable[Found]:
    """Karpenter says of each pod that it has no place for it, whatever the reason: a taint, a volume's zone, an affinity."""
    pool = seen.observed.pool
    said = [pod.name for pod in seen.observed.pending if pod.unplaced_at is not None and seen.now - pod.unplaced_at <= ICE_WINDOW_S]
    why, fix = f"Karpenter says nothing about NodePool {pool.name}", "check that it runs"
    if pool.problem:
        why, fix = f"Karpenter launches nothing through NodePool {pool.name}: {pool.problem}", "repair the NodePool"
    elif seen.judged.codes:
        why = f"its launches do not come, or do not last ({text.listing(seen.judged.codes)})"
        fix = "failoverctl plan says what would prove it"
    elif said:
        why = f"Karpenter has no place for {said[0]}, and EC2 refused none"
        fix = "its event FailedScheduling says why (kubectl describe pod)"
    return [] if _none_compatible(seen) else [Found({**one.details, "why": why, "fix": fix}) for one in _unexplained(seen)]


def _max(seen: Seen) -> Iterable[Found]:
    """It does not keep an application in capacity mode, so only the alert shows it."""
    needed, beyond = seen.judged.needed, seen.judged.beyond_max
    above = seen.case.figures.demand is not None and beyond > 0
    return [Found({"wanted": str(needed + beyond), "most": str(needed)})] if above else []


def _fixed(seen: Seen) -> Iterable[Found]:
    """Replicas that a fallback waits for and that nothing adds: it would wait for ever, and nobody would hear of it."""
    needed, asked, decision = seen.judged.needed, seen.observed.desired, seen.decision
    waits = decision.held_back is Verb.FALLBACK and any(one.reason is Reason.WAITING_FOR_READY for one in decision.guards)
    if not waits or seen.judged.ready >= needed or (asked is not None and asked >= needed):
        return []
    stuck = _unscalable(seen.unit, seen.observed, seen.case.snapshot) if asked is not None else ""
    return [Found({"needed": str(needed), "asked": str(asked), "kind": seen.unit.workload_kind, "why": stuck})] if stuck else []


def _unscalable(unit: Unit, observed: UnitObservation, snapshot: Snapshot) -> str:
    """Why nothing changes the number of a unit's replicas, in words; "" where something does, or nobody knows."""
    if fixed(unit, observed):
        return f"ScaledObject {unit.scaled_object} is paused" if observed.scaler else "the application file names no ScaledObject"
    missing = observed.scaler is None and _listed(snapshot, "keda")
    return f"ScaledObject {unit.scaled_object} does not exist" if missing else ""


def _listed(snapshot: Snapshot, name: str) -> bool:
    """Whether what a source does not show is known not to exist: it has been listed."""
    return any(one.name == name and one.last_ok is not None and not one.absent for one in snapshot.sources)


def _missing(seen: Seen) -> Iterable[Found]:
    """What the application file names of the unit and does not exist: deleted, renamed, or not there yet.

    A Service that is missing gets no traffic in cost mode, so that nothing else shows it.
    """
    unit, observed, snapshot = seen.unit, seen.observed, seen.case.snapshot
    stays = "Karpenter launches nothing for it: pods that wait go on waiting, and no return of its capacity can be proven"
    rows = (
        ("NodePool", unit.node_pool, not observed.pool.exists, stays, "nodePool"),
        (
            unit.workload_kind,
            unit.deployment,
            observed.desired is None and _listed(snapshot, "workloads"),
            "its replicas are not counted, and none can be added: a way back to cost mode waits for them",
            "deployment" if unit.workload_kind is WorkloadKind.DEPLOYMENT else "workload",
        ),
        ("Service", unit.backend.service, observed.service_exists is False, "it gets no requests, and its pods cost money", "service"),
        (
            "ScaledObject",
            unit.scaled_object or "",
            bool(unit.scaled_object) and observed.scaler is None and _listed(snapshot, "keda"),
            "its replicas follow no demand, and a mode change raises none",
            "scaledObject",
        ),
    )
    for kind, name, gone, means, field in rows:
        if gone:
            yield Found({"kind": kind, "name": name, "means": means, "field": field}, (kind,))


def _unhealthy(seen: Seen) -> Iterable[Found]:
    """New pods are unhealthy for a while: the load balancer registers them and checks their health first."""
    shown, service, ready = seen.case.snapshot.routing.verification, seen.unit.backend.service, seen.judged.ready
    since = shown.ill_since.get(service) if shown is not None else None
    lasts = since is not None and seen.now - since >= UNHEALTHY_AFTER_S
    return [Found({"ready": str(ready)})] if ready and lasts and seen.case.figures.healthy.get(service) == 0 else []


def _scaler(seen: Seen) -> Iterable[Found]:
    """A single failed query of KEDA raises no alert."""
    scaler = seen.observed.scaler
    stuck = scaler is not None and scaler.lasting and not scaler.paused
    return [Found({"scaler": scaler.name, "trouble": scaler.trouble})] if scaler is not None and stuck else []


def _reservation(seen: Seen) -> Iterable[Found]:
    """Capacity Blocks that end soon. The texts change only with the facts."""
    for one in endings(seen.case.snapshot.application, seen.unit, seen.observed) if seen.observed.pool.held else ():
        if one.moves_at - NOTICE_S <= seen.now < one.ends_at:
            end, drained, moves = map(text.date_time, (one.ends_at, one.drained_at, one.moves_at))
            nodes = {"nodes": str(one.nodes), "of": str(one.of_nodes), "reservation": one.reservation, "pool": seen.observed.pool.name}
            yield Found({**nodes, "end": end, "drained": drained, "moves": moves}, (one.reservation,))


def _reservation_end(seen: Seen) -> Iterable[Found]:
    """Nothing is moved on a guess."""
    asked = seen.observed.pool.held and not awaited(seen.case.snapshot)
    unknown = unknown_ends(seen.unit, seen.observed) if asked else ()
    return [Found({"reservations": text.listing(unknown)})] if unknown else []


def _reserved(seen: Seen) -> Iterable[Found]:
    """A NodePool that launches only into reservations, none of which has room, and pods that wait for it."""
    unit, observed, pool = seen.unit, seen.observed, seen.observed.pool
    types, zones = unit.instance_types or pool.instance_types or (unit.instance_type,), unit.zones or pool.zones
    room = [one for one in observed.reservations or () if one.free and one.instance_type in types and (not zones or one.zone in zones)]
    waits = pool.capacity_types == ("reserved",) and observed.pending and observed.reservations is not None
    ended = [f"{one.id} ended at {text.date_time(one.ends_at)}" for one in observed.blocks if one.ends_at and one.ends_at <= seen.now]
    details = {"pool": pool.name, "ended": f" ({text.listing(ended)})" if ended else ""}
    return [Found(details, severity=WARNING if observed.ready else "")] if waits and not room else []


def _unproven(seen: Seen) -> Iterable[Found]:
    """A unit that was short, and of which nothing has been heard since."""
    memory, judged, observed = seen.case.memory, seen.judged, seen.observed
    if memory.mode is not Mode.CAPACITY or seen.unit.name not in memory.units or judged.last_refusal_at is None:
        return []
    quiet_s = seen.now - max(judged.last_refusal_at, memory.mode_since)
    why = f"Nothing requests a replica: scale its {seen.unit.workload_kind} up by one"
    if observed.pending:
        why = f"{len(observed.pending)} pod(s) wait and Karpenter launches nothing: check its log and NodePool {observed.pool.name}"
    elif observed.scaler is not None and observed.scaler.paused:
        why = f"ScaledObject {observed.scaler.name} is paused, so that KEDA requests no replica: unpause it"
    quiet = quiet_s >= UNPROVEN_S and not judged.returned.proven
    return [Found({"quiet": text.duration(quiet_s), "why": why})] if quiet else []


def _unjoined(seen: Seen) -> Iterable[Found]:
    lost = sorted(lost_launches(seen.observed, seen.now), key=lambda launch: -launch.launched)
    count = f"{len(lost)} instance(s) were" if len(lost) > 1 else "an instance was"
    details = (
        {"count": count, "ago": text.duration(seen.now - last.launched), "claim": last.claim, "pool": last.pool} for last in lost[:1]
    )
    return map(Found, details)


def _unusable(seen: Seen) -> Iterable[Found]:
    found = sorted(unusable_launches(seen.unit, seen.observed, seen.now), key=lambda launch: -(launch.registered or 0.0))
    count = f"{len(found)} nodes have joined and are" if len(found) > 1 else "a node has joined and is"
    for last in found[:1]:
        ago, pending = text.duration(seen.now - (last.registered or seen.now)), str(len(seen.observed.pending))
        yield Found({"count": count, "ago": ago, "claim": last.claim, "pending": pending, "pool": last.pool})


def unusable_launches(unit: Unit, observed: UnitObservation, now: float) -> list[Launch]:
    """The instances whose nodes joined and should have become usable by now, while pods of a unit wait that could run on them.

    Args:
        unit: The unit.
        observed: What is known of it.
        now: Seconds since the Unix epoch.
    """
    if not observed.pending:
        return []
    return [
        one
        for pool in (observed.pool, *observed.alternatives)
        for one in pool.launches
        if one.registered is not None
        and one.initialized is None
        and not one.gone
        and now - one.registered >= JOINS_S
        and allowed_offerings(unit, observed, pool).suits(one)
    ]


def lost_launches(observed: UnitObservation, now: float) -> list[Launch]:
    """The instances of the last hour that should have become nodes by now and did not; none where a later one did.

    Args:
        observed: The unit whose NodePools launched them.
        now: Seconds since the Unix epoch.
    """
    launches = [launch for pool in (observed.pool, *observed.alternatives) for launch in pool.launches]
    due = [one for one in launches if one.registered is None and one.initialized is None and JOINS_S <= now - one.launched <= _REMEMBERED_S]
    means = observed.pending and sum(map(_cut_short, due)) >= _REPEATED
    lost = [one for one in due if means or not _cut_short(one)]
    last = max((one.launched for one in lost), default=0.0)
    return [] if any(one.registered is not None and one.launched > last for one in launches) else lost


def _cut_short(launch: Launch) -> bool:
    """Whether an instance was gone before it had to have joined."""
    return launch.unjoined_at is not None and launch.unjoined_at - launch.launched < JOINS_S


ROWS: Final[tuple[tuple[AlertKind, Callable[[Seen], Iterable[Found]]], ...]] = (
    (AlertKind.CAUSE, _cause),
    (AlertKind.CONFIG, _config),
    (AlertKind.SILENT, _silent),
    (AlertKind.MAX, _max),
    (AlertKind.FIXED, _fixed),
    (AlertKind.MISSING, _missing),
    (AlertKind.UNHEALTHY, _unhealthy),
    (AlertKind.SCALER, _scaler),
    (AlertKind.RESERVATION, _reservation),
    (AlertKind.RESERVATION_END, _reservation_end),
    (AlertKind.RESERVED, _reserved),
    (AlertKind.UNJOINED, _unjoined),
    (AlertKind.UNUSABLE, _unusable),
    (AlertKind.UNPROVEN, _unproven),
)
"""What people are alerted of in each unit, and the function that finds it."""
