"""What is remembered from tick to tick: adopting what the Ingress shows, and noting what was done."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from controller.policy.hold import level_after_failover
from controller.policy.missing_metrics import noticed
from controller.policy.model import (
    Decision,
    Memory,
    Mode,
    ModeChange,
    Return,
    RoutingObservation,
    Snapshot,
    UnitEvidence,
    UnitMemory,
    Verb,
    Verdict,
)
from controller.policy.moments import none_ahead
from controller.policy.outage_history import noted
from controller.policy.reasons import Reason
from controller.policy.routing import format_action

KEPT_MODE_CHANGES: Final = 50  # history for people; the flip budget needs an hour, the flap window two
_FINGERPRINT: Final = 16  # hexadecimal digits: two actions of one Ingress never share them by chance


def adopt(memory: Memory, mode: Mode | None, now: float) -> Memory:
    """Makes the memory agree with the mode that the Ingress shows.

    The Ingress is the truth about the mode: it and the routing action are written in one patch. A difference means that this process died
    between the patch and saving its memory, that the memory was lost, or that a person changed it by hand; all count
    as a mode change made now.

    Times that lie ahead become now: the clock was set back, and a dwell or a hold must not last until it has caught up.

    Args:
        memory: As it was stored.
        mode: What the Ingress shows, None where that is unknown: nothing is changed then.
        now: Seconds since the Unix epoch.
    """
    memory = none_ahead(memory, now)
    if mode is None or memory.mode is mode:
        return memory
    if memory.mode is None:
        # Cost mode found at the first sight may have lasted for years; capacity mode starts its dwell now, which only makes us patient.
        # Where the memory was lost, the last change may be seconds old: it must be seen, and drained, before anything is lowered.
        return replace(memory, mode=mode, mode_since=now if mode is Mode.CAPACITY else 0.0, changed_at=now)
    level = level_after_failover(memory, now, 0.0) if mode is Mode.CAPACITY else memory.hold_level
    # Like a change of our own it must be seen on the load balancer, and clients must have left, before anything is lowered behind it.
    changed = _changed(memory, now, 0)
    return _mode_changed(changed, mode, Reason.ROUTING_DRIFTED, "found so on the Ingress", now, level)


def _changed(memory: Memory, now: float, sticky_s: int) -> Memory:
    """The memory after a change of the routing action that the load balancer has not shown yet.

    Args:
        memory: Before it.
        now: Seconds since the Unix epoch.
        sticky_s: How long clients may stick to what traffic was moved from. What is left of an earlier change's time counts as well.
    """
    running = memory.sticky_s if memory.changed_at is not None and now - memory.changed_at < memory.sticky_s else 0
    since = now if memory.unverified_since is None else memory.unverified_since
    return replace(
        memory,
        changed_at=now,
        verified_at=None,
        unverified_since=since,
        sticky_s=max(sticky_s, running),
        nudges=memory.nudges if memory.unverified_since is not None else 0,
        nudged_at=memory.nudged_at if memory.unverified_since is not None else None,
    )


def _noticed(memory: Memory, routing: RoutingObservation, now: float) -> Memory:
    """The memory after a look at the routing action of the Ingress.

    Another one than is remembered, or the same on an Ingress that was created anew, counts as changed now, whoever changed it: somebody
    else, or this controller, whose answer got lost or whose process died before it was remembered. The load balancer must show it, and
    clients must leave, before anything is lowered.
    """
    seen = fingerprint(routing.action)
    if not seen or (memory.action, memory.ingress) == (seen, routing.uid):
        return memory
    changed = memory.action not in {"", seen} or memory.ingress not in {"", routing.uid}
    return replace(_changed(memory, now, 0) if changed else memory, action=seen, ingress=routing.uid)


def fingerprint(action: str) -> str:
    """What is remembered of an action's text, which anybody may write and make long; "" of none."""
    return hashlib.sha256(action.encode()).hexdigest()[:_FINGERPRINT] if action else ""


def observe(memory: Memory, snapshot: Snapshot, evidence: Mapping[str, UnitEvidence], demand: float | None) -> Memory:
    """Notes what must outlive the signals: refusals, the first sight of a verified switch, missing metrics.

    The API server keeps events for an hour only.

    Args:
        memory: What is remembered.
        snapshot: What is observed.
        evidence: What it proves, by unit.
        demand: Requests per metric period over all units, None where it is not known.
    """
    memory = noticed(_noticed(memory, snapshot.routing, snapshot.now), snapshot, demand)
    units = {name: unit for name, unit in memory.units.items() if name in evidence}  # the application file may have lost a unit
    for name, judged in evidence.items():
        known = units.get(name)
        if judged.short and judged.last_failure_at is not None:
            proven_at = known.proven_at if known and known.proven_at is not None else snapshot.now
            ready_then = known.ready_then if known and known.proven_at is not None else judged.ready
            units[name] = UnitMemory(judged.last_failure_at, judged.cause, ready_then, proven_at)
        elif known is not None and judged.last_failure_at is not None and judged.last_failure_at > known.last_failure_at:
            units[name] = replace(known, last_failure_at=judged.last_failure_at, cause=judged.cause)
        elif known is not None and memory.mode is Mode.COST and judged.proof is None:
            del units[name]  # the shortage ended before anything was done about it; a pod that is replaced does not end it
        if name in units and judged.returned in {Return.REGISTERED, Return.REPLICAS_READY}:
            units[name] = replace(units[name], returned=judged.returned, returned_at=judged.returned_at)
    history = noted(memory.outage_history, units, snapshot.now)
    return _calmed(replace(_verified(memory, snapshot), units=units, outage_history=history), snapshot)


def _verified(memory: Memory, snapshot: Snapshot) -> Memory:
    """Notes what the load balancer shows: the first sight of a change, and that it ceased to show what it had shown.

    Its rule was then changed behind the back of its controller, which would look at it again after hours. That counts as a change of now:
    people are told, the controller is made to look, and nothing is lowered until the rule is back and the clients are, too.
    """
    seen = snapshot.routing.verification
    if seen is None or seen.action != snapshot.routing.action:
        return memory
    settled = memory.unverified_since is None
    if seen.verdict is Verdict.NOT_YET and not seen.applied and settled:
        return _changed(memory, snapshot.now, 0)
    if seen.verdict is Verdict.YES and memory.changed_at is not None and memory.verified_at is None and seen.at >= memory.changed_at:
        return replace(memory, verified_at=seen.at, unverified_since=None, nudges=0, nudged_at=None)
    return memory


def _calmed(memory: Memory, snapshot: Snapshot) -> Memory:
    """Forgets the re-assertions once nobody has changed the routing action for as long as a flap counts."""
    if memory.reasserted_at is None or snapshot.now - memory.reasserted_at < snapshot.application.policy.flap_window_s:
        return memory
    return replace(memory, reasserts=0, reasserted_at=None, reasserted_against="")


def applied(memory: Memory, decision: Decision, now: float) -> Memory:
    """Notes that the decision's routing patch was accepted by the API server.

    Args:
        memory: The memory that the decision was made with.
        decision: What was applied.
        now: When, seconds since the Unix epoch.
    """
    if decision.verb is Verb.NUDGE:
        return replace(memory, nudges=memory.nudges + 1, nudged_at=now)
    written = fingerprint(format_action(decision.targets, decision.stickiness_s))
    changed = replace(_changed(memory, now, decision.sticky_s), action=written)
    if decision.verb.switches and decision.mode is not None:
        return _switched(changed, decision, decision.mode, now)
    if decision.verb is Verb.REVERSE:
        return replace(changed, reversed_at=now, hold_level=memory.hold_level + 1)  # as a flap: the next attempt waits twice as long
    if decision.reason is Reason.ROUTING_DRIFTED:
        return replace(changed, reasserts=memory.reasserts + 1, reasserted_at=now, reasserted_against=decision.details.get("writer", ""))
    return changed


def _switched(changed: Memory, decision: Decision, mode: Mode, now: float) -> Memory:
    level = changed.hold_level
    if decision.verb is Verb.FAILOVER:
        level = level_after_failover(changed, now, decision.flap_window_s)
    elif decision.verb is Verb.ROLLBACK and mode is Mode.CAPACITY:
        level += 1
    # A switch starts its own time: of the one before nothing is waited for any more.
    fresh = replace(changed, unverified_since=now, nudges=0, nudged_at=None, reversed_at=None)
    made = _mode_changed(fresh, mode, decision.reason, decision.sentence, now, level)
    return replace(made, units={}) if decision.verb is Verb.FALLBACK else made


def _mode_changed(memory: Memory, mode: Mode, reason: Reason, detail: str, now: float, level: int) -> Memory:
    changes = (*memory.mode_changes, ModeChange(now, mode, reason, detail))[-KEPT_MODE_CHANGES:]
    return replace(
        memory, mode=mode, mode_since=now, mode_changes=changes, hold_level=level, reasserts=0, reasserted_at=None, reasserted_against=""
    )
