"""What is remembered from pass to pass: adopts the mode that the routing object shows, and notes what was observed and applied."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from controller.policy.account import FLAP_WINDOW_S, level_after_failover
from controller.policy.floors import made_due, noticed
from controller.policy.model import (
    NEVER,
    Decision,
    Memory,
    Mode,
    ModeChange,
    RoutingObservation,
    Snapshot,
    Target,
    UnitEvidence,
    UnitMemory,
    Verb,
    Verdict,
    none_ahead,
)
from controller.policy.reasons import RESTORED, Reason

KEPT_MODE_CHANGES: Final = 50  # history for people; the flip budget needs an hour, the flap window two
CONTROLLER: Final = "the controller"
"""Who made a mode change that no person asked for."""
HOUR_S: Final = 3600.0
CHANGES_PER_HOUR: Final = 12
"""Most changes of the routing in an hour, see `controller.policy.decision.gate`: CloudWatch shows the effect of each after five minutes."""
REWRITTEN: Final = "a mutating webhook (or another user of the controller's field manager)"
"""Who is said to have changed a routing action that the controller has sent, and that names the controller as its writer."""
_MOST_DOLLARS: Final = 1e9  # of an hour: beyond it prices, or the demand, are in error, and what is stored must stay readable
_FINGERPRINT: Final = 16  # hexadecimal digits: two actions of one routing object never share them by chance


def of_units(memory: Memory, units: Iterable[str]) -> Memory:
    """Forgets the units that are gone from the application file: removed, or renamed.

    Every pass begins with it, also one that may note nothing: a replica that does not lead reads what the leader remembered of other units,
    and so does a leader whose sources became stale before the file changed.

    Args:
        memory: What is remembered.
        units: The names of the application's units.

    Returns:
        The same object where nothing is remembered of other units.
    """
    known = frozenset(units)
    if known.issuperset(memory.units):
        return memory
    return replace(memory, units={name: unit for name, unit in memory.units.items() if name in known})


def adopt(memory: Memory, mode: Mode | None, now: float, writer: str = "", scaled_objects: Iterable[str] = ()) -> Memory:
    """Makes the memory agree with the mode that the routing object shows.

    The routing object is the truth about the mode, because one patch writes it and the routing action. A difference means that the process
    died before it saved its memory, that the memory was lost, or that a person changed the mode by hand. Each counts as a mode change
    made now.

    Times in the future become now: the clock was set back, and a dwell or a hold must not last until it has caught up.

    Args:
        memory: As it was stored.
        mode: What the routing object shows; None where that is unknown, and then the mode stays as remembered.
        now: Seconds since the Unix epoch.
        writer: Who wrote the routing action last; "" where that is not known.
        scaled_objects: The units' ScaledObjects. Which floors were raised before the process died is not known: all are due.
    """
    memory = none_ahead(memory, now)
    if mode is None or memory.mode is mode:
        return memory
    if memory.mode is None:
        # Cost mode at the first pass may have lasted for years; capacity mode starts its dwell now, which only delays a fallback.
        # Where the memory was lost, the last change may be seconds old: it must be verified and drained before anything is lowered.
        return replace(memory, mode=mode, mode_since=now if mode is Mode.CAPACITY else 0.0, changed_at=now)
    level = 0 if mode is Mode.CAPACITY else memory.hold_level  # a failover of somebody else is no flap
    # Like a change of our own, it must be verified and drained before anything is lowered.
    changed = _changed(memory, now, 0)
    found = ModeChange(now, mode, Reason.ROUTING_DRIFTED, "found so", writer)
    # A process that died may have sent another action since.
    return replace(_mode_changed(changed, found, level, scaled_objects), sent="", unseen=False)


def standing_mode(memory: Memory, decision: Decision) -> Mode | None:
    """The mode that the application is in, which a decision changes only once its routing action is written.

    Args:
        memory: What is remembered after the decision, and after what has been written of it.
        decision: The decision.

    Returns:
        None where the routing is not understood.
    """
    return None if decision.mode is None else memory.mode


def _changed(memory: Memory, now: float, sticky_s: int) -> Memory:
    """The memory after a change of the routing action that the load balancer has not shown yet.

    Args:
        memory: Before it.
        now: Seconds since the Unix epoch.
        sticky_s: How long clients may stick to the targets that lost traffic, seconds. A longer rest of an earlier change counts instead.
    """
    running = memory.sticky_s if memory.changed_at is not None and now - memory.changed_at < memory.sticky_s else 0
    since = now if memory.unverified_since is None else memory.unverified_since
    return replace(
        memory,
        changed_at=now,
        verified_at=None,
        unverified_since=since,
        sticky_s=max(sticky_s, running),
    )


def _noticed(memory: Memory, routing: RoutingObservation, now: float) -> Memory:
    """The memory after observing the routing action of the routing object.

    An action that differs from the remembered one, or the same one on a routing object that was created anew, counts as changed now.
    Somebody else changed it, or this controller did, and the answer got lost or the process died before it was remembered. The change
    must be verified and drained before anything is lowered.
    """
    seen = fingerprint(routing.action)
    if memory.unseen and sent_as(routing.targets, routing.stickiness_s) == memory.sent:
        memory = replace(memory, unseen=False)
    if not seen or (memory.action, memory.routed_by) == (seen, routing.uid):
        return memory
    changed = memory.action not in {"", seen} or memory.routed_by not in {"", routing.uid}
    return replace(_changed(memory, now, 0) if changed else memory, action=seen, routed_by=routing.uid)


def fingerprint(action: str) -> str:
    """What is remembered instead of an action's text, which others may write and make long; "" without an action."""
    return hashlib.sha256(action.encode()).hexdigest()[:_FINGERPRINT] if action else ""


def sent_as(targets: Iterable[Target], stickiness_s: int) -> str:
    """The fingerprint of a routing action by its values, however it is written."""
    return fingerprint(repr((tuple((target.service, target.port, target.weight) for target in targets), stickiness_s)))


def observe(memory: Memory, snapshot: Snapshot, evidence: Mapping[str, UnitEvidence], demand: float | None) -> Memory:
    """Notes what must outlive the signals: refusals, the first verification of a change, missing metrics.

    The API server keeps events for an hour only.

    Args:
        memory: What is remembered.
        snapshot: What is observed.
        evidence: What it proves, by unit.
        demand: Requests per metric period over all units, None where it is not known.
    """
    memory = noticed(_noticed(memory, snapshot.routing, snapshot.now), snapshot, demand)
    units = dict(memory.units)
    for name, judged in evidence.items():
        known = units.get(name)
        if judged.short and judged.last_refusal_at is not None:
            proven_at = known.proven_at if known and known.proven_at is not None else snapshot.now
            ready_then = known.ready_then if known and known.proven_at is not None else judged.ready
            units[name] = UnitMemory(judged.last_refusal_at, judged.cause, ready_then, proven_at)
        elif known is not None and judged.last_refusal_at is not None and judged.last_refusal_at > known.last_failure_at:
            units[name] = replace(known, last_failure_at=judged.last_refusal_at, cause=judged.cause)
        elif known is not None and memory.mode is Mode.COST and judged.proof is None:
            del units[name]  # the shortage ended before anything was done about it; a pod that is replaced does not end it
        if name in units and judged.returned.proven:
            units[name] = replace(units[name], returned=judged.returned, returned_at=judged.returned_at)
    return _calmed(replace(_verified(memory, snapshot), units=units), snapshot)


def _verified(memory: Memory, snapshot: Snapshot) -> Memory:
    """Notes when the load balancer first shows a change, and when it no longer shows what it had shown.

    In the second case somebody changed the rule behind the back of the load-balancer controller, which would notice only hours later. It
    counts as a change made now: an alert is raised, a nudge makes that controller reconcile, and nothing is lowered before the rule is back
    and drained.
    """
    seen = snapshot.routing.verification
    if seen is None or seen.action != snapshot.routing.action:
        return memory
    settled = memory.unverified_since is None
    if seen.verdict is Verdict.NOT_YET and not seen.applied and settled:
        return _changed(memory, snapshot.now, 0)
    if seen.verdict is Verdict.YES and memory.changed_at is not None and memory.verified_at is None and seen.at >= memory.changed_at:
        changes = _shown(memory.mode_changes, seen.at)
        return replace(memory, verified_at=seen.at, unverified_since=None, nudged=NEVER, mode_changes=changes)
    return memory


def _shown(changes: tuple[ModeChange, ...], at: float) -> tuple[ModeChange, ...]:
    """The mode changes, the last of them as first shown by the load balancer then, unless it was shown before."""
    if not changes or changes[-1].verified_at is not None:
        return changes
    return (*changes[:-1], replace(changes[-1], verified_at=at))


def _calmed(memory: Memory, snapshot: Snapshot) -> Memory:
    """Forgets the re-assertions once nobody has changed the routing action for a flap window."""
    if memory.reasserted.at is None or snapshot.now - memory.reasserted.at < FLAP_WINDOW_S:
        return memory
    return replace(memory, reasserted=NEVER)


def applied(memory: Memory, decision: Decision, now: float, action: str, scaled_objects: Iterable[str] = ()) -> Memory:
    """Notes that the decision's routing patch was accepted by the API server.

    Args:
        memory: The memory that the decision was made with.
        decision: What was applied.
        now: When, seconds since the Unix epoch.
        action: The routing action as it was written, see `Action.after`.
        scaled_objects: Those whose floors a change to capacity mode makes due.
    """
    if decision.verb is Verb.NUDGE:
        return replace(memory, nudged=memory.nudged.again(now))
    written = fingerprint(action)
    if decision.reason in RESTORED and decision.details.get("writer") == memory.reasserted.against == REWRITTEN:
        # The last restored action became what the routing object shows, and so did this one, as far as is known: nothing has changed.
        # If it has, the next pass notices. Else no change would ever be old enough to be verified and drained, and floors would never sink
        # again.
        changed = memory
    else:
        changed = replace(_changed(memory, now, decision.sticky_s), action=written)
    sent = sent_as(decision.targets, decision.stickiness_s)
    routed = (*(at for at in memory.routed_at if now - at < HOUR_S), now)[-CHANGES_PER_HOUR:]
    changed = replace(changed, sent=sent, unseen=True, routed_at=routed)
    if decision.verb.changes_mode and decision.mode is not None:
        return _in_new_mode(changed, decision, decision.mode, now, scaled_objects)
    if decision.reason in RESTORED:
        return replace(changed, reasserted=memory.reasserted.again(now, decision.details.get("writer", "")))
    return changed


def _in_new_mode(changed: Memory, decision: Decision, mode: Mode, now: float, scaled_objects: Iterable[str]) -> Memory:
    level = changed.hold_level
    if decision.verb is Verb.FAILOVER:
        level = level_after_failover(changed, now)
    elif decision.verb is Verb.ROLLBACK and mode is Mode.CAPACITY:
        level += 1
    # A mode change starts its own time: nothing waits for the previous one any more.
    fresh = replace(changed, unverified_since=now, nudged=NEVER)
    made = _mode_changed(fresh, ModeChange(now, mode, decision.reason, decision.sentence, author(decision)), level, scaled_objects)
    return replace(made, units={}) if decision.verb is Verb.FALLBACK else made


def changes_within_an_hour(memory: Memory, now: float) -> list[float]:
    """When the mode changes were made that count against the flip budget, seconds since the Unix epoch, the oldest first."""
    return [change.at for change in memory.mode_changes if now - change.at < HOUR_S]


def author(decision: Decision) -> str:
    """Who makes a mode change: the person who pinned the mode, or the controller."""
    return decision.details.get("by") or "a person" if decision.reason is Reason.PINNED_TO_MODE else CONTROLLER


def _mode_changed(memory: Memory, change: ModeChange, level: int, scaled_objects: Iterable[str]) -> Memory:
    changes = (*memory.mode_changes, change)[-KEPT_MODE_CHANGES:]
    settled = replace(memory, hold_level=level, reasserted=NEVER)
    settled = made_due(settled, scaled_objects if change.to is Mode.CAPACITY else ())
    return replace(settled, mode=change.to, mode_since=change.at, mode_changes=changes)


def priced(memory: Memory, before: float, after: float) -> Memory:
    """Notes what the last mode change does to the price, US dollars per hour."""
    changes = memory.mode_changes
    shown = replace(changes[-1], dollars_before=min(before, _MOST_DOLLARS), dollars_after=min(after, _MOST_DOLLARS))
    return replace(memory, mode_changes=(*changes[:-1], shown))
