"""Turns decisions and alerts into messages for people: what happened, why, what it costs and what happens next."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from controller.policy import text
from controller.policy.account import Figures, effect, spend_per_hour
from controller.policy.alert_kinds import AlertKind
from controller.policy.floors import lowered, raised
from controller.policy.memory import author
from controller.policy.model import Alert, Application, Decision, Memory, Mode, ModeChange, Override, Snapshot, UnitEvidence, Verb
from controller.policy.modes import reason_text
from controller.policy.reasons import RESTORED, Reason
from controller.ports import Message, MessageKind, Severity
from controller.service.explanation import allowed
from controller.service.override_words import until_when
from controller.signals.load_balancer.turns import Load

AGAIN_S: Final = 600.0
"""After how long an alert that is still on is offered to the sinks again, seconds: one that was down when it began learns of it then."""
ENDED_S: Final = 60.0
"""For how long an alert must have been off before people learn that it ended, seconds: one that comes and goes does not page each time."""
RECALLED_S: Final = 600.0
"""The same for an alert that an earlier leader reported, seconds: this process cannot know yet what the load balancer and AWS say."""


def routed(snapshot: Snapshot, decision: Decision) -> Message | None:
    """The message about a routing action that was just written; None if people need none."""
    if decision.verb.changes_mode:
        return _mode_changed(snapshot, decision)
    return _rerouted(snapshot, decision) if decision.reason in RESTORED else None


_TITLES: Final = {
    (Verb.FAILOVER, Mode.CAPACITY): "failed over to capacity mode",
    (Verb.FALLBACK, Mode.COST): "fell back to cost mode",
    (Verb.ROLLBACK, Mode.CAPACITY): "rolled back to capacity mode",
    (Verb.ROLLBACK, Mode.COST): "rolled back to cost mode",
}


def _title(decision: Decision, mode: Mode) -> str:
    """What happened. A mode change by a pin is a person's, and neither a failover nor a fallback."""
    if decision.reason is Reason.PINNED_TO_MODE:
        return f"pinned to {mode} mode by an operator"
    return _TITLES[decision.verb, mode]


def _mode_changed(snapshot: Snapshot, decision: Decision) -> Message:
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
        title=f"{application.name}: {_title(decision, mode)}",
        why=f"{decision.sentence}{allowed(decision)}",
        cost=effect(snapshot, Figures.of(snapshot, decision.evidence), mode),
        next=_next(snapshot, decision),
        at=snapshot.now,
        fields=fields,
        mode=str(mode),
        pods=short_pods(snapshot, decision.evidence) if decision.verb is Verb.FAILOVER else (),
        by=author(decision),
        incident=_mode_incident(application.key),
    )


def short_pods(snapshot: Snapshot, evidence: Mapping[str, UnitEvidence]) -> tuple[tuple[str, str, str], ...]:
    """Waiting pods by namespace, name and uid: the one that has waited longest of each unit that is proven short."""
    waiting = [snapshot.units[name].pending for name, judged in evidence.items() if judged.short]
    oldest = [min(pods, key=lambda one: one.since) for pods in waiting if pods]
    return tuple((snapshot.application.namespace, pod.name, pod.uid) for pod in oldest)


def _mode_incident(application: str) -> str:
    """What a failover begins and a fallback ends, of an application's key."""
    return f"{application}/mode"


def adopted(snapshot: Snapshot, change: ModeChange) -> Message:
    """The message about a mode on the routing object that differs from the memory."""
    application = snapshot.application
    writer = f"last written by {snapshot.writer}" if snapshot.writer else "writer unknown"
    made = "that controller made it" if snapshot.rival else "it was made by hand, or just before a restart"
    return Message(
        kind=MessageKind.FAILOVER if change.to is Mode.CAPACITY else MessageKind.FALLBACK,
        severity=Severity.WARNING,
        application=application.key,
        reason=str(change.reason),
        title=f"{application.name}: found in {change.to} mode",
        why=f"the mode on {snapshot.application.routing_object} changed, {writer}, and no such decision is remembered: {made}",
        cost=effect(snapshot, Figures.of(snapshot), change.to),
        next="it counts as a mode change made now; the guards decide again",
        at=snapshot.now,
        mode=str(change.to),
        by=snapshot.writer,
        incident=_mode_incident(application.key),
    )


def _next(snapshot: Snapshot, decision: Decision) -> str:
    policy = snapshot.application.policy
    if decision.verb is Verb.ROLLBACK:
        return "the guards decide again; the flip budget limits the attempts"
    if decision.reason is Reason.PINNED_TO_MODE:
        return f"stays {until_when(snapshot.routing.override.pinned_until)}; then the guards decide again"
    if decision.verb is Verb.FALLBACK:
        return "once the load balancer is verified, the replicas of capacity mode are lowered"
    least, most = text.duration(policy.hold_min_s), text.duration(policy.hold_max_s)
    hold = least if least == most else f"{least} to {most}"
    return (
        f"back to cost mode once a node requested after the last refusal has joined, {text.duration(policy.quiet_s)} have passed without "
        f"a refusal, a hold of {hold} since that return is over, and the replicas are ready"
    )


def _rerouted(snapshot: Snapshot, decision: Decision) -> Message:
    """The message about a routing action that was restored after somebody else had changed it."""
    application = snapshot.application
    return Message(
        kind=MessageKind.ALERT,
        severity=Severity.WARNING,
        application=application.key,
        reason=str(decision.reason),
        title=f"{application.name}: the routing action was restored",
        why=decision.sentence,
        next="it is restored again after growing pauses; exempt the annotation in your GitOps tool, or pause the controller",
        at=snapshot.now,
        dedup_key=f"{application.key}/drift",
        mode=str(decision.mode or ""),
        over=True,
    )


@dataclass(frozen=True, slots=True)
class Raised:
    """An alert that people know of.

    Attributes:
        alert: The alert, as it was found last.
        offered_at: When a message about it was last offered to the sinks, seconds since the Unix epoch; -infinity: by an earlier leader.
        ended_at: Since when it has been off, seconds since the Unix epoch; None while it is on.
    """

    alert: Alert
    offered_at: float
    ended_at: float | None = None

    def due(self, now: float) -> bool:
        """Whether it is to be offered again; also after the clock was set back."""
        return not 0 <= now - self.offered_at < AGAIN_S

    def off(self, now: float) -> Raised:
        """The same alert where it is off; the clock may have been set back since it ended."""
        return self if self.ended_at is not None and self.ended_at <= now else replace(self, ended_at=now)

    def over(self, now: float) -> bool:
        """Whether it has been off for so long that people are to learn of it."""
        return self.ended_at is not None and now - self.ended_at >= (RECALLED_S if self.recalled else ENDED_S)

    @property
    def recalled(self) -> bool:
        """Whether only an earlier leader has reported it."""
        return self.offered_at == -math.inf


def raised_before(alerts: Iterable[Alert]) -> dict[str, Raised]:
    """The alerts, by key, that were on when the application's memory was stored. Those that still are, are offered at once."""
    return {alert.key: Raised(alert, offered_at=-math.inf) for alert in alerts}


def alert_changes(
    snapshot: Snapshot,
    before: Mapping[str, Raised],
    now: Iterable[Alert],
    mode: Mode | None,
    then: Callable[[], str] = lambda: "",
    pods: tuple[tuple[str, str, str], ...] = (),
) -> tuple[dict[str, Raised], list[Message]]:
    """The messages about a change of the set of alerts, and about alerts that have been on for long.

    Args:
        snapshot: The application and the time.
        before: The alerts that people know of, by key.
        now: The alerts that are on now.
        mode: The present mode.
        then: Says what comes next; called only where an alert is to be reported.
        pods: See `short_pods`: an alert that says why no failover follows a shortage concerns them.

    Returns:
        The alerts that people know of now, by key, and the messages about new ones, about those that ended, and about those that are to
        be offered again.
    """
    at = snapshot.now
    on = {alert.key: alert for alert in now}
    said = [alert for key, alert in on.items() if key not in before or before[key].due(at)]
    coming = then() if said else ""
    messages = []
    for alert in said:
        then_ = _without(coming, alert.text)
        again = alert.key in before and not before[alert.key].recalled
        messages.append(replace(_alert(snapshot, alert, mode), next=then_, again=again, pods=pods if isinstance(alert.row, Reason) else ()))
    off = {key: one.off(at) for key, one in before.items() if key not in on}
    messages += [_alert(snapshot, one.alert, mode, MessageKind.RESOLVED) for one in off.values() if one.over(at)]
    offered = {alert.key for alert in said}
    lasting = {key: Raised(alert, at if key in offered else before[key].offered_at) for key, alert in on.items()}
    return {**{key: one for key, one in off.items() if not one.over(at)}, **lasting}, messages


def _without(coming: str, said: str) -> str:
    """What comes next, without what the alert says already: why it comes, or what holds it."""
    comes, held, guard = coming.partition(f", but {said}")
    if held:
        return f"{comes}, but {f'the guard {name}' if (name := guard.strip(' ()')) else 'this'} holds it back"
    return coming.partition(f": {said}")[0]


def alerts_of_removed(snapshot: Snapshot, before: Iterable[Raised], mode: Mode | None, at: float) -> Iterator[Message]:
    """The messages that resolve the alerts of an application that was removed, and its failover.

    Args:
        snapshot: The last one of it.
        before: The alerts that people know of.
        mode: Its last mode.
        at: When it was removed, seconds since the Unix epoch.
    """
    for one in before:
        words = f"the application is not configured any more; the alert said: {one.alert.text}"
        yield replace(_alert(snapshot, one.alert, mode, MessageKind.RESOLVED), why=words, at=at)
    if mode is Mode.CAPACITY:
        key, removed = snapshot.application.key, Alert.of(AlertKind.REMOVED, {})
        made = Message.about(removed, MessageKind.RESOLVED, f"{snapshot.application.name}: no longer configured", at, key)
        yield replace(made, why=removed.text, dedup_key="", incident=_mode_incident(key))


def raised_floors_of_removed(application: Application, memory: Memory, named: Collection[str], at: float) -> Iterator[Message]:
    """The message about the raised floors of an application that was removed: nothing lowers them any more.

    Args:
        application: As it was last.
        memory: The last one of it.
        named: The ScaledObjects of its namespace that other applications name: these sink.
        at: When it was removed, seconds since the Unix epoch.
    """
    kept = {name: before for name, before in sorted(raised(memory).items()) if name not in named}
    if not kept:
        return
    floors = text.listing(f"{name} (before: {floor})" for name, floor in kept.items())
    then = "; ".join(lowered(application.namespace, name, floor) for name, floor in kept.items())
    left = Alert.of(AlertKind.LEFT_REMOVED, {"floors": floors})
    made = Message.about(left, MessageKind.CONTROL, f"{application.name}: floors stay raised", at, application.key)
    yield replace(made, next=f"if these pods are not needed, run: {then}")


def _alert(snapshot: Snapshot, alert: Alert, mode: Mode | None, kind: MessageKind = MessageKind.ALERT) -> Message:
    application = snapshot.application
    return replace(
        Message.about(alert, kind, f"{application.name}: {alert.row.headed(alert.subject)}", snapshot.now, application.key),
        mode=str(mode or ""),
    )


def readable_override(snapshot: Snapshot) -> Override | None:
    """The override that stands, without a pause and a pin that have ended; None where it is not known.

    It is not known without a routing object, and where an annotation cannot be read, which counts as a pause and has an alert of its own.
    """
    found = snapshot.routing.override
    return None if found.problem or not snapshot.routing.exists else found.standing(snapshot.now)


def override_changes(snapshot: Snapshot, before: Override, now: Override, mode: Mode | None) -> Iterator[Message]:
    """The messages about a pause and a pin that a person set, changed or removed, or that ended, each on its own.

    Args:
        snapshot: What is observed.
        before: The override that stood when it was readable last, see `readable_override`.
        now: The override that stands now.
        mode: The present mode; None where it is not known.
    """
    key, name = snapshot.application.key, snapshot.application.name
    for was, stands in zip(_orders(before), _orders(now), strict=True):
        if stands is not None and stands != was:
            what, why, then = f"{stands.done} {until_when(stands.until)}", stands.why, f"{stands.then}to end it: failoverctl resume {key}"
        elif was is not None and stands is None:
            went = "has ended" if was.until is not None and was.until <= snapshot.now else "was removed"
            what, why, then = f"{was.name} {went}", f"it said: {was.why}", was.after
        else:
            continue
        made = Message.about(Alert.of(AlertKind.OVERRIDE, {"why": why}), MessageKind.CONTROL, f"{name}: {what}", snapshot.now, key)
        yield replace(made, next=then, mode=str(mode or ""))


class _Order(NamedTuple):
    """A pause or a pin, in words: its name, what it does, until when and why, and what comes next while it stands, and afterwards."""

    name: str
    done: str
    until: float | None
    why: str
    then: str
    after: str


def _orders(found: Override) -> tuple[_Order | None, _Order | None]:
    """The pause and the pin of an override; None for one that does not stand."""
    why, pinned = reason_text(found.paused_why, found.paused_by), f"pinned to {found.pinned_mode} mode"
    then, after = "nothing changes until then; ", "the controller acts again"
    pause = _Order("the pause", "paused", found.paused_until, why, then, after)
    why = reason_text(found.pinned_why, found.pinned_by)
    pin = _Order(f"the pin to {found.pinned_mode} mode", pinned, found.pinned_until, why, "", "the guards decide again")
    return pause if found.paused_until is not None else None, pin if found.pinned_mode is not None else None


def leadership(at: float, *, lost: bool) -> Message:
    """The message that no replica can renew the Lease, or that one leads again."""
    kind, title = (MessageKind.ALERT, "no replica leads") if lost else (MessageKind.RESOLVED, "a replica leads again")
    return Message.about(Alert.of(AlertKind.LEASE_LOST, {}), kind, title, at)


def overloaded(at: float, load: Load) -> Message:
    """The message that the budget of ELBv2 calls cannot verify all applications, or that it can again.

    Args:
        at: Seconds since the Unix epoch.
        load: How the calls that are needed compare with it.
    """
    kind, enough = (MessageKind.ALERT, "not enough") if load.too_much else (MessageKind.RESOLVED, "enough")
    alert = Alert.of(AlertKind.BUDGET_TOO_SMALL, {"load": load.words(), "remedy": load.remedy()})
    made = Message.about(alert, kind, f"the budget of ELBv2 calls is {enough} for all applications", at)
    return made if load.too_much else replace(made, why=load.words())
