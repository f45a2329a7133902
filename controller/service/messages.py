"""Decisions and alerts as messages to people: what, why, what it costs, what happens next."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from controller.policy import text
from controller.policy.cost import effect, spend_per_hour
from controller.policy.figures import Figures
from controller.policy.model import Alert, Application, Decision, Mode, ModeChange, Snapshot, Verb
from controller.policy.reasons import Reason
from controller.ports import Message, MessageKind, Severity


def routed(snapshot: Snapshot, decision: Decision) -> Message | None:
    """The message about a routing action that was just written to the Ingress; None where nobody needs one."""
    if decision.verb.changes_mode:
        return _switched(snapshot, decision)
    if decision.verb in {Verb.ADVANCE, Verb.REVERSE}:
        return _stepped(snapshot, decision)
    return _rerouted(snapshot, decision) if decision.reason is Reason.ROUTING_DRIFTED else None


_TITLES: Final = {
    (Verb.FAILOVER, Mode.CAPACITY): "failed over to capacity mode",
    (Verb.FALLBACK, Mode.COST): "fell back to cost mode",
    (Verb.ROLLBACK, Mode.CAPACITY): "rolled back to capacity mode",
    (Verb.ROLLBACK, Mode.COST): "rolled back to cost mode",
}


def _switched(snapshot: Snapshot, decision: Decision) -> Message:
    application = snapshot.application
    mode = Mode.COST if decision.mode is Mode.COST else Mode.CAPACITY
    cause = next((judged.cause for judged in decision.evidence.values() if judged.short), None)
    fields = {"spend of the ready replicas": f"${spend_per_hour(application, decision.evidence):.2f}/h"}
    if decision.verb is Verb.FAILOVER and cause is not None:
        fields["cause"] = str(cause)
    return Message(
        kind=MessageKind.FAILOVER if mode is Mode.CAPACITY else MessageKind.FALLBACK,
        severity=Severity.INFO if decision.verb is Verb.FALLBACK else Severity.WARNING,
        application=application.key,
        reason=str(decision.reason),
        title=f"{application.name}: {_TITLES[decision.verb, mode]}",
        why=decision.sentence,
        cost=effect(application, Figures.of(snapshot, decision.evidence).intended, mode),
        next=_next(application, decision),
        at=snapshot.now,
        fields=fields,
        mode=str(mode),
    )


def adopted(snapshot: Snapshot, change: ModeChange) -> Message:
    """The message about a mode that was found on the Ingress and is another one than is remembered."""
    application, routing = snapshot.application, snapshot.routing
    writer = f"last written by {routing.writer}" if routing.writer else "by whom is not known"
    return Message(
        kind=MessageKind.FAILOVER if change.to is Mode.CAPACITY else MessageKind.FALLBACK,
        severity=Severity.WARNING,
        application=application.key,
        reason=str(change.reason),
        title=f"{application.name}: found in {change.to} mode",
        why=f"the Ingress was switched, {writer}, and no such decision is remembered: it was made by hand, or just before a restart",
        cost=effect(application, Figures.of(snapshot).intended, change.to),
        next="it counts as a switch made now; the guards decide anew",
        at=snapshot.now,
        mode=str(change.to),
    )


def _next(application: Application, decision: Decision) -> str:
    policy = application.policy
    if decision.verb is Verb.ROLLBACK:
        return "the guards decide anew; the flip budget bounds how often it is tried"
    if decision.verb is Verb.FALLBACK:
        return "the load balancer is verified, then the replicas of capacity mode are lowered"
    if decision.reason is Reason.PINNED_TO_MODE:
        return "stays until the pin is lifted"
    return (
        f"back to cost mode once a node asked for after the last refusal has joined, {text.duration(policy.quiet_s)} passed without a "
        "refusal, and the replicas are ready"
    )


def _stepped(snapshot: Snapshot, decision: Decision) -> Message:
    """A step of the way back to cost mode, or all of them taken back."""
    application, taken_back = snapshot.application, decision.verb is Verb.REVERSE
    step, steps = decision.details.get("step", "?"), decision.details.get("steps", "?")
    healthy = f"the next step, once this one was healthy for {text.duration(application.policy.return_step_s)}"
    return Message(
        kind=MessageKind.ALERT if taken_back else MessageKind.CONTROL,
        severity=Severity.WARNING if taken_back else Severity.INFO,
        application=application.key,
        reason=str(decision.reason),
        title=f"{application.name}: the way back to cost mode {'is taken back' if taken_back else f'is at step {step} of {steps}'}",
        why=decision.sentence,
        next="capacity mode stays; the hold before the next attempt is doubled" if taken_back else healthy,
        at=snapshot.now,
        mode=str(Mode.CAPACITY),
    )


def _rerouted(snapshot: Snapshot, decision: Decision) -> Message:
    """The message about a routing action that was put right because somebody else had changed it."""
    application = snapshot.application
    return Message(
        kind=MessageKind.ALERT,
        severity=Severity.WARNING,
        application=application.key,
        reason=str(decision.reason),
        title=f"{application.name}: the routing action was put right",
        why=decision.sentence,
        next="it is put right again after a growing pause; exempt the annotation in your GitOps tool, or pause the controller",
        at=snapshot.now,
        dedup_key=f"{application.key}/drift",
        mode=str(decision.mode or ""),
    )


def alert_changes(
    snapshot: Snapshot, before: Mapping[str, Alert], now: Iterable[Alert], mode: Mode | None
) -> tuple[dict[str, Alert], list[Message]]:
    """What is to be told when the set of alerts changes.

    Args:
        snapshot: For the application and the time.
        before: The alerts that were on, by key.
        now: The alerts that are on now.
        mode: The present mode.

    Returns:
        The alerts that are on, by key, and the messages about those that came or went.
    """
    on = {alert.key: alert for alert in now}
    messages = [_alert(snapshot, alert, mode, resolved=False) for key, alert in on.items() if key not in before]
    messages += [_alert(snapshot, alert, mode, resolved=True) for key, alert in before.items() if key not in on]
    return on, messages


def _alert(snapshot: Snapshot, alert: Alert, mode: Mode | None, *, resolved: bool) -> Message:
    application = snapshot.application
    subject = alert.key.replace("/", " ") if alert.reason is None else str(alert.reason)
    return Message(
        kind=MessageKind.RESOLVED if resolved else MessageKind.ALERT,
        severity=Severity.INFO if resolved else Severity(alert.severity),
        application=application.key,
        reason=str(alert.reason or _code(alert.key)),
        title=f"{application.name}: {'resolved' if resolved else 'alert'}: {subject}",
        why=alert.text,
        at=snapshot.now,
        dedup_key=f"{application.key}/{alert.key}",
        mode=str(mode or ""),
    )


def _code(key: str) -> str:
    """An alert's key as a machine name like those of the reasons: ``max/sd21-inf2`` is ``MaxSd21Inf2``."""
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[/ -]+", key))


def control(application: str, reason: str, title: str, why: str, at: float, severity: Severity = Severity.INFO) -> Message:
    """A message about what a person did: an override, a configuration."""
    return Message(MessageKind.CONTROL, severity, application, reason, title, why, at)


def leadership(at: float, *, lost: bool) -> Message:
    """That no replica can renew the Lease, or that one leads again."""
    title = "nobody leads: the Lease cannot be renewed" if lost else "resolved: there is a leader again"
    why = "nothing is decided or switched until a replica can renew it; traffic stays as it is" if lost else ""
    kind, severity = (MessageKind.ALERT, Severity.CRITICAL) if lost else (MessageKind.RESOLVED, Severity.INFO)
    return Message(kind, severity, "", "LeaseLost", title, why, at, dedup_key="lease")
