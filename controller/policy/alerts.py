"""Alerts: what a person should know because the controller cannot settle it alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from controller.policy import text
from controller.policy.availability import healthy_targets, known_targets
from controller.policy.case import Case
from controller.policy.contested import contested
from controller.policy.demand import fixed
from controller.policy.karpenter_times import HARD_DEMAND_S, ICE_WINDOW_S
from controller.policy.left_floors import left
from controller.policy.metric_times import fresh_s
from controller.policy.missing_metrics import held_replicas, held_until
from controller.policy.model import (
    CRITICAL,
    OFFERINGS_SOURCE,
    Alert,
    Cause,
    Decision,
    Memory,
    Return,
    RoutingObservation,
    Shortage,
    Snapshot,
    Unit,
    UnitEvidence,
    UnitObservation,
    Verb,
    Verdict,
)
from controller.policy.quota import only_spot, quota_words
from controller.policy.reasons import Reason
from controller.policy.reservation_alerts import reservation_alerts
from controller.policy.standby import existence, lacking, needed
from controller.policy.stuck import lost_launches, stuck, unusable_launches

CLOCKS_APART_S: Final = 30.0
"""Clocks that differ by more than this are worth an alert."""

UNHEALTHY_AFTER_S: Final = 60.0
"""How long ready replicas may be unhealthy at the load balancer without an alert, seconds. Registering takes the load-balancer controller
5 to 30 s, and two checks at its default interval of 15 s make a target healthy (docs/research/alb.md)."""

_FIGHTING = 3  # re-assertions after which an alert says that two writers fight

_HELD_ALERTS = {
    Reason.SIGNALS_STALE: "warning",
    Reason.OVERRIDE_UNREADABLE: "critical",
    Reason.SIGNALS_CONTRADICT: "warning",
    Reason.ROUTING_UNKNOWN: "critical",
    Reason.INGRESS_MISSING: "critical",
    Reason.OTHER_SIDE_SHORT: "critical",
    Reason.STANDBY_NOT_READY: "critical",
    Reason.UNSAFE_SWITCH: "critical",
    Reason.ACTION_REFUSED: "critical",
    Reason.ROUTING_BLOCKED: "critical",
    Reason.FLIP_BUDGET_SPENT: "critical",
    Reason.ROUTING_BUDGET_SPENT: "warning",
    Reason.CAUSE_NOT_ALLOWED: "warning",
    Reason.SHORTAGE_ABSORBED: "warning",
}

_CAUSE_ALERTS = {
    Cause.NETWORK: "subnets have no free addresses; pools that share them cannot grow either: {codes}",
    Cause.CONFIG: "the launch configuration is wrong; waiting does not help: {codes}",
}


def alerts(case: Case, decision: Decision) -> tuple[Alert, ...]:
    """Everything worth an alert now. The keys are stable while the condition lasts.

    Args:
        case: What is observed, remembered and proven.
        decision: What was decided.
    """
    snapshot, evidence = case.snapshot, case.evidence
    found = [
        *_absent(snapshot),
        *_unreadable_metrics(snapshot),
        *_clocks(snapshot),
        *_held(decision),
        *_unprepared(snapshot, decision),
        *_causes(snapshot, evidence),
        *_waiting_unexplained(snapshot, evidence),
        *_missing_metrics(snapshot, case.memory),
        *_maxima(case),
        *_fixed(case, decision),
        *_unhealthy(case),
        *_unscaled(snapshot),
        *left(case.memory, snapshot),
        *reservation_alerts(snapshot),
        *stuck(snapshot, case.memory, evidence),
        *contested(case.memory, snapshot),
        *_routing(snapshot, case.memory),
    ]
    return tuple(found)


def _absent(snapshot: Snapshot) -> Iterator[Alert]:
    """A required source that cannot be observed at all: as long as it is absent, no shortage can be proven."""
    for source in snapshot.sources:
        if source.required and source.absent:
            yield Alert(f"absent/{source.name}", "critical", f"{source.name} cannot be observed, so no shortage is seen: {source.why}")


def _unreadable_metrics(snapshot: Snapshot) -> Iterator[Alert]:
    """Karpenter's metrics, which somebody configured, give no usable answer. Nothing is decided by that: a proof takes longer."""
    for source in snapshot.sources:
        if source.name == OFFERINGS_SOURCE and source.stale(snapshot.now) and source.problem:
            words = "Karpenter's metrics cannot be read, so refusals alone prove a shortage"
            yield Alert(OFFERINGS_SOURCE, "warning", f"{words}: {source.problem}; correct or remove karpenter.metrics_url")


def _clocks(snapshot: Snapshot) -> Iterator[Alert]:
    """Clocks that differ. Evidence is judged by the cluster's stamps all the same; what other people compare is not."""
    skew = snapshot.clock_skew_s
    if abs(skew) > CLOCKS_APART_S:
        where = "ahead of" if skew > 0 else "behind"
        words = f"this node's clock is {text.duration(abs(skew))} {where} the cluster's"
        yield Alert("clocks", "warning", f"{words}: check the time synchronization (chrony) of the node that the controller runs on")


def _held(decision: Decision) -> Iterator[Alert]:
    """The first guard that holds. The decision's reason would not do: it changes with the weights, and the alert would come and go."""
    held = next((result for result in decision.answers if result.reason is not None), None)
    severity = _HELD_ALERTS.get(held.reason) if held is not None and held.reason is not None else None
    if held is None or severity is None:
        return
    # A fallback that is held back costs money; a failover that is held back fails users.
    yield Alert(f"held/{held.reason}", "warning" if decision.held_back is Verb.FALLBACK else severity, held.text, held.reason)


def _unprepared(snapshot: Snapshot, decision: Decision) -> Iterator[Alert]:
    """What would make the guards refuse a mode change, reported before one is needed."""
    application, routing = snapshot.application, snapshot.routing
    cold = lacking(application, routing)
    if cold and routing.targets and decision.mode is not None and not application.policy.allow_unsafe_switch:
        names = text.listing(backend.service for backend in cold)
        words = f"no standby rule keeps {names} registered with the load balancer, so the controller would not change the mode"
        yield Alert("unprepared", "warning", f"{words}: `failoverctl doctor` prints what to add")
    elif routing.targets and not application.policy.allow_unsafe_switch:
        yield from _blind(snapshot)
    if not cold and decision.mode is not None and not application.policy.allow_unsafe_switch:
        yield from _unbound(snapshot)
    exists = existence(snapshot)
    absent = [f"{one.service}:{one.port}" for one in needed(application) if exists[one] is False]
    if absent:
        words = f"there is no Service with the port {text.listing(absent)}, so the controller would not route to it"
        yield Alert("unprepared/services", "warning", words)


def _unbound(snapshot: Snapshot) -> Iterator[Alert]:
    """Target groups that are gone although a rule names them: the load-balancer controller makes none again before the Ingress changes."""
    routing = snapshot.routing
    seen = routing.present_verification
    if routing.bound is None or seen is None or seen.verdict is not Verdict.YES:
        return  # it has perhaps not come to this Ingress yet
    gone = [one.service for one in needed(snapshot.application) if one.service in routing.standby and one.service not in routing.bound]
    if gone:
        words = f"the TargetGroupBinding of {text.listing(gone)} is gone, so the controller would not change the mode"
        yield Alert("unprepared/bindings", "warning", f"{words}: annotate the Ingress, so that the load-balancer controller makes it again")


def _blind(snapshot: Snapshot) -> Iterator[Alert]:
    """Target groups whose health nobody can say: ELBv2 cannot be asked, and pods have no readiness gates."""
    seen = snapshot.routing.verification
    if seen is None or seen.verdict is not Verdict.CANNOT_TELL:
        return
    known = known_targets(snapshot, healthy_targets(snapshot))
    unseen = [one.service for one in needed(snapshot.application) if one.service not in known]
    if unseen:
        words = f"nothing shows whether targets of {text.listing(unseen)} are healthy ({seen.why}), so the controller would not"
        fix = "let it ask ELBv2, give pods the readiness gates of the load-balancer controller, or set allowUnsafeSwitch"
        yield Alert("unprepared/health", "warning", f"{words} change the mode: {fix}")


def _causes(snapshot: Snapshot, evidence: Mapping[str, UnitEvidence]) -> Iterator[Alert]:
    for name, judged in evidence.items():
        if judged.cause is Cause.QUOTA and judged.shortage is not Shortage.NONE and judged.codes and not only_spot(judged):
            yield Alert(f"cause/{name}/quota", "critical", f"{name}: {quota_words(judged, snapshot.units[name])}")
        words = _CAUSE_ALERTS.get(judged.cause)
        if words and judged.shortage is not Shortage.NONE and judged.codes:
            least = "at least " if judged.truncated else ""
            yield Alert(f"cause/{name}/{judged.cause}", "critical", f"{name}: " + words.format(codes=least + text.listing(judged.codes)))


def _waiting_unexplained(snapshot: Snapshot, evidence: Mapping[str, UnitEvidence]) -> Iterator[Alert]:
    """Pods that wait long although Karpenter reports nothing, or only what alone proves nothing."""
    policy, now = snapshot.application.policy, snapshot.now
    if any(source.name == "karpenter" and source.absent for source in snapshot.sources):
        return  # whatever Karpenter says, it is not heard
    for name, judged in evidence.items():
        pool = snapshot.units[name].pool
        if judged.demand_since is None or now - judged.demand_since < HARD_DEMAND_S or judged.shortage is not Shortage.NONE:
            continue
        if judged.returned in {Return.LAUNCHED, Return.REGISTERED} or any(now - item.launched < policy.quiet_s for item in pool.launches):
            continue
        if lost_launches(snapshot.units[name], now) or unusable_launches(snapshot.application.unit(name), snapshot.units[name], now):
            continue  # Karpenter launches, and another alert says what is wrong with it
        waited = text.duration(now - judged.demand_since)
        if pool.blocked_at is not None and now - pool.blocked_at <= ICE_WINDOW_S:
            yield Alert(
                f"config/{name}",
                "warning",
                f"{name}: pods wait {waited}, NodePool {pool.name} has no compatible instance type, and EC2 refused none: check it",
            )
        else:
            yield Alert(f"silent/{name}", "warning", f"{name}: pods wait {waited} and {_why_nothing(snapshot, name)}")


def _why_nothing(snapshot: Snapshot, name: str) -> str:
    """Why nothing is launched for the pods of a unit, in words, as far as Karpenter says it.

    It says of each pod that it has no place for, whatever the reason: a taint, a volume's zone, an affinity.
    """
    observed = snapshot.units[name]
    pool = observed.pool
    if pool.problem:
        return f"Karpenter launches nothing through NodePool {pool.name}: {pool.problem}"
    said = [pod for pod in observed.pending if pod.unplaced_at is not None and snapshot.now - pod.unplaced_at <= ICE_WINDOW_S]
    if said:
        why = "its event FailedScheduling says why (kubectl describe pod)"
        return f"Karpenter has no place for {said[0].name}, and EC2 refused none: {why}"
    return f"Karpenter says nothing about NodePool {pool.name}: is it running?"


def _missing_metrics(snapshot: Snapshot, memory: Memory) -> Iterator[Alert]:
    """No counter has a value any more, and replicas above their minimum are held. A single late period raises no alert."""
    since, period_s = memory.demand_missing_since, snapshot.application.metric_period_s
    if since is None or memory.demand_known_since is not None:
        return
    # Values that come late are missing for moments only, again and again: what counts is how old the newest is now.
    newest = max((one.demand.at for one in snapshot.units.values() if one.demand is not None), default=since - fresh_s(period_s))
    if snapshot.now - newest < fresh_s(period_s) + period_s:
        return
    held = held_replicas(snapshot, memory)
    if any(held.get(unit.name, 0) > unit.min_replicas for unit in snapshot.application.units):
        waited, left = text.duration(snapshot.now - newest), text.duration(held_until(snapshot, memory) - snapshot.now)
        words = f"no counter of any unit has a value from the last {waited}; KEDA takes that for no demand, so replicas are held for {left}"
        yield Alert("silent/counters", "warning", f"{words}: does CloudWatch answer?")


def _maxima(case: Case) -> Iterator[Alert]:
    """Maxima below what the measured demand needs. They do not keep an application in capacity mode, so only the alert shows them."""
    if case.figures.demand is None:
        return
    for name, judged in case.evidence.items():
        if judged.beyond_max > 0:
            wanted = judged.needed + judged.beyond_max
            words = f"{name}: cost mode needs {wanted} replicas at the present demand, its maximum is {judged.needed}: raise maxReplicas"
            yield Alert(f"max/{name}", "warning", words)


def _fixed(case: Case, decision: Decision) -> Iterator[Alert]:
    """Replicas that a fallback waits for and that nothing adds: it would wait for ever, and nobody would hear of it."""
    if decision.held_back is not Verb.FALLBACK or not any(one.reason is Reason.WAITING_FOR_READY for one in decision.guards):
        return
    for unit in case.snapshot.application.units:
        judged, observed = case.evidence[unit.name], case.snapshot.units[unit.name]
        why, asked = _unscalable(unit, observed, case.snapshot), observed.desired
        if judged.ready >= judged.needed or (asked is not None and asked >= judged.needed):
            continue
        words = f"{unit.name}: the way back to cost mode waits for {judged.needed} replicas"
        if why and asked is not None:
            yield Alert(f"fixed/{unit.name}", "warning", f"{words}, its Deployment asks for {asked}, and {why}: set them by hand")
        elif asked is None and _seen(case.snapshot, "workloads"):
            words += f", and Deployment {unit.deployment} does not exist"
            yield Alert(f"fixed/{unit.name}", "warning", f"{words}: create it, or remove the unit from the application file")


def _unscalable(unit: Unit, observed: UnitObservation, snapshot: Snapshot) -> str:
    """Why nothing changes the number of a unit's replicas, in words; "" where something does, or nobody knows."""
    if fixed(unit, observed):
        return f"ScaledObject {unit.scaled_object} is paused" if observed.scaler else "the application file names no ScaledObject"
    missing = observed.scaler is None and _seen(snapshot, "keda")
    return f"ScaledObject {unit.scaled_object} does not exist" if missing else ""


def _seen(snapshot: Snapshot, name: str) -> bool:
    """Whether what a source does not show is known not to exist: it has been listed."""
    return any(one.name == name and one.last_ok is not None and not one.absent for one in snapshot.sources)


def _unhealthy(case: Case) -> Iterator[Alert]:
    """Replicas that are ready in Kubernetes and unhealthy at the load balancer: they cost money and get no traffic.

    New pods are: the load balancer registers them and checks their health first.
    """
    seen = case.snapshot.routing.verification
    for unit in case.snapshot.application.units:
        ready = case.evidence[unit.name].ready
        since = seen.ill_since.get(unit.backend.service) if seen is not None else None
        lasts = since is not None and case.snapshot.now - since >= UNHEALTHY_AFTER_S
        if ready and lasts and case.figures.healthy.get(unit.backend.service) == 0:
            words = f"{unit.name}: {ready} ready replica(s), none of which the load balancer calls healthy, so it gets no traffic"
            yield Alert(f"unhealthy/{unit.name}", "warning", f"{words}: compare the target group's health check with the readiness probe")


def _unscaled(snapshot: Snapshot) -> Iterator[Alert]:
    """Units whose replicas do not follow the demand. A single failed query of KEDA raises no alert."""
    for name, observed in snapshot.units.items():
        scaler = observed.scaler
        if scaler is not None and scaler.lasting and not scaler.paused:
            words = f"{name}: its replicas do not follow the demand. ScaledObject {scaler.name}: {scaler.trouble}"
            yield Alert(f"scaler/{name}", "warning", words)


def _in_line_s(routing: RoutingObservation, since: float) -> float:
    """How long a change may wait for its turn to be verified, seconds; 0 once the load balancer was asked about it.

    Where a thousand applications change their mode at once, the budget of ELBv2 calls reaches most of them after minutes.
    """
    seen = routing.present_verification
    return routing.asked_within_s if seen is None or seen.at < since else 0.0


def _routing(snapshot: Snapshot, memory: Memory) -> Iterator[Alert]:
    policy, now = snapshot.application.policy, snapshot.now
    seen = snapshot.routing.verification
    if seen is not None and seen.problem.startswith(CRITICAL):
        yield Alert("blackhole", "critical", f"the load balancer answers requests itself: {seen.problem.removeprefix(CRITICAL)}")
    since = memory.unverified_since
    if since is not None and now - since >= max(policy.verify_alert_s, _in_line_s(snapshot.routing, since)):
        problem = (seen.problem if seen is not None else "") or "it was not observed since"
        verdict = "does not show" if seen is not None and seen.verdict is Verdict.NOT_YET else "is not known to show"
        words = f"the load balancer {verdict} the routing action written {text.duration(now - since)} ago: {problem}"
        words += f"; its controller says: {snapshot.routing.undone}" if snapshot.routing.undone else ""
        yield Alert("unverified", "critical", words + (f" (nudged {memory.nudges} times)" if memory.nudges else ""))
    if snapshot.routing.blocked:
        words = f"the load-balancer controller cannot carry out any change now: {snapshot.routing.blocked}"
        yield Alert("blocked", "warning", words)
    if memory.reasserts >= _FIGHTING:
        # Right after our own write the Ingress names us as the writer, so the memory names who wrote before us.
        who = memory.reasserted_against or "somebody"
        yield Alert("fighting", "critical", f"the controller restored the routing action {memory.reasserts} times; {who} keeps changing it")
