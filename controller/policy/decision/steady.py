"""What is done within a mode: keeps its routing and replicas as they should be, also while a guard holds a trigger back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from controller.policy import floors, text
from controller.policy.account import empty, keda_targets, unmade
from controller.policy.case import Case, soonest
from controller.policy.decision.gate import Passage, gate
from controller.policy.model import CRITICAL, Decision, Mode, Shortage, Target, Verb, Verdict
from controller.policy.modes import guards, shortage_details
from controller.policy.reasons import Reason
from controller.policy.routing import capacity_targets, cost_targets, ending_details, existing, stickiness
from controller.policy.strategies import part_of

NUDGE_S: Final = 120.0
"""How long the load balancer's rules may differ from the action before an annotation makes the load-balancer controller reconcile again,
seconds: twice as long as before the alert, so that a controller that is merely throttled is left alone."""

DRAIN_S: Final = 120.0
"""From verification until the other side may scale down, seconds: it avoided the 503s that were reported with 30 (docs/research/alb.md)."""

MAX_NUDGES: Final = 5
"""Most nudges of one change. Their pauses double; after these the load-balancer controller retries at its own longest pause anyway."""

_NOBODY_ASKED: Final = guards.Answers()


def steady(mode: Mode, case: Case) -> Decision:
    """The decision that keeps the present mode, with its routing and replicas as they should be."""
    application, figures, otherwise = case.snapshot.application, case.figures, _steady_reason(case)
    capacity = mode is Mode.CAPACITY
    wanted = capacity_targets(application, figures.serving) if capacity else cost_targets(application, figures.cost) if figures.cost else ()
    if not wanted:
        return made(mode, Verb.HOLD, *otherwise, case, ())
    passage = gate(mode, case, existing(wanted, case.snapshot))
    if passage.changes or passage.writer is not None:
        decision = _rewritten(mode, case, passage, otherwise)
    elif _nudge_in_s(case) == 0:
        decision = _nudged(mode, case, passage.targets)
    else:
        decision = checked_within(made(mode, Verb.HOLD, *otherwise, case, passage.targets), _nudge_in_s(case))
    return checked_within(replace(decision, kept=passage.held), passage.reopens_s)


def checked_within(decision: Decision, *seconds: float | None) -> Decision:
    """The decision, with its next check after the shortest of these waits at the latest; see `soonest` for those that count."""
    check_s = soonest(decision.next_check_s, *seconds)
    return decision if check_s == decision.next_check_s else replace(decision, next_check_s=check_s)


def _nudged(mode: Mode, case: Case, targets: tuple[Target, ...]) -> Decision:
    """The decision to write the same action once more, because the load-balancer controller has not carried it out for too long."""
    now, seen = case.snapshot.now, case.snapshot.routing.verification
    if gone := unmade(case.snapshot, case.memory.last_routed):
        problem = f"the TargetGroupBinding of {text.listing(gone)} is gone"
    elif seen is not None and seen.problem.startswith(CRITICAL):
        problem = seen.problem.removeprefix(CRITICAL)
    else:
        waited = text.duration(now - (case.memory.unverified_since or now))
        why = seen.why if seen is not None else "it was not observed since"
        problem = f"the load balancer has not shown the routing action for {waited} ({why})"
    return made(mode, Verb.NUDGE, Reason.NUDGED, {"problem": problem}, case, targets)


def _rewritten(mode: Mode, case: Case, passage: Passage, otherwise: tuple[Reason, Mapping[str, str]]) -> Decision:
    """The decision to write the mode's action: other weights, or what somebody else changed. A marker that is wrong needs no guard."""
    routing, targets = case.snapshot.routing, passage.targets
    sticks_s = stickiness(case.snapshot.application, mode, routing)
    answers = guards.ask(guards.REROUTE, replace(case, receiving=targets, sticks_s=sticks_s)) if passage.changes else _NOBODY_ASKED
    if answers.held is not None:
        return held_back(made(mode, Verb.HOLD, *otherwise, case, ()), Verb.REWEIGHT, answers, case)
    if passage.paused is not None and passage.paused.reason is not None:
        return made(mode, Verb.HOLD, passage.paused.reason, passage.paused.details, case, (), answers)
    if passage.writer is not None:
        reason = Reason.ROUTING_DRIFTED if routing.action else Reason.ROUTING_MISSING
        return made(mode, Verb.REWEIGHT, reason, {"mode": str(mode), "writer": passage.writer}, case, targets, answers)
    details = {"change": _change(routing.targets, targets), **ending_details(case.snapshot)}
    reason = Reason.RESERVATION_ENDS if "reservation" in details else Reason.AVAILABILITY_CHANGED
    reason = Reason.ROUTING_TAKEN_OVER if routing.foreign and not routing.marker else reason
    return made(mode, Verb.REWEIGHT, reason, details, case, targets, answers)


def _change(present: tuple[Target, ...], wanted: tuple[Target, ...]) -> str:
    """What a write changes, in words: each weight that differs, each Service that comes without a weight or goes, else the stickiness."""
    old, new = ({target.service: target.weight for target in targets} for targets in (present, wanted))
    weights = [f"{service} {old.get(service, 0)} to {weight}" for service, weight in new.items() if old.get(service, 0) != weight]
    added = [f"{service} added with weight 0" for service, weight in new.items() if service not in old and not weight]
    removed = [f"{service} removed" for service in old if service not in new]
    return ", ".join((*weights, *added, *removed)) or "stickiness"


def _nudge_in_s(case: Case) -> float:
    """How long the load-balancer controller still has before a nudge makes it reconcile our last change, seconds.

    It has no time where something that it had made is gone: it would notice only hours later, and requests are lost meanwhile, or would be
    after a mode change.

    Returns:
        0 where its time is over; infinite where no nudge is due.
    """
    routing, memory = case.snapshot.routing, case.memory
    seen = routing.verification
    if memory.nudged.times >= MAX_NUDGES or routing.blocked or routing.ungranted or not routing.action:
        return math.inf
    lags = seen is not None and seen.verdict is Verdict.NOT_YET and not seen.applied and seen.action == routing.action
    # Without a Service that the action names, the load-balancer controller could not make it right.
    broken = lags and seen is not None and seen.problem.startswith(CRITICAL) and not empty(case.snapshot, {}, memory.last_routed)
    # What we have never written is perhaps new: its target groups are on their way, and others own its action.
    if memory.sent and (broken or unmade(case.snapshot, memory.last_routed)):
        since = -math.inf
    elif lags and memory.unverified_since is not None and not routing.foreign:
        since = memory.unverified_since
    else:
        return math.inf
    return case.remaining((memory.nudged.at or since) + NUDGE_S * 2.0**memory.nudged.times)


def _steady_reason(case: Case) -> tuple[Reason, dict[str, str]]:
    evidence = case.evidence
    waiting = {name: len(observed.pending) for name, observed in case.snapshot.units.items() if observed.pending}
    suspected = [name for name, judged in evidence.items() if judged.shortage is Shortage.SUSPECTED]
    short = tuple(name for name, judged in evidence.items() if judged.short)
    if short:
        return Reason.SHORTAGE_ABSORBED, {**shortage_details(case, short), "instead": "cost mode sends no traffic there"}
    waiting_suspects = [name for name in suspected if evidence[name].demand]
    if waiting_suspects:
        part = "refused" if any(evidence[name].attempts for name in waiting_suspects) else "beyond the limit of its NodePool"
        return Reason.SHORTAGE_SUSPECTED, {"units": text.listing(waiting_suspects), "part": part}
    unwanted = [name for name in suspected if name not in waiting]
    if unwanted:
        return Reason.EVIDENCE_WITHOUT_DEMAND, {"units": text.listing(unwanted)}
    if waiting:
        return Reason.WAITING_IS_NORMAL, {"units": text.listing(waiting), "pending": str(sum(waiting.values()))}
    serving = case.figures.serving
    return (Reason.NOTHING_SERVES if serving and not any(serving.values()) else Reason.DEMAND_MET), {}


def held_back(decision: Decision, verb: Verb, answers: guards.Answers, case: Case) -> Decision:
    """The steady decision, with what is held back and by which guard. A fallback that waits only for replicas prepares them.

    A decision that acts meanwhile keeps its own reason: it re-weights, or undoes a foreign edit. In capacity mode a held change of the
    present routing keeps its reason too: a fallback is always wanted there, and its reason would hide the other one.

    Args:
        decision: The steady decision.
        verb: What is held back.
        answers: Those of its guards; one of them holds.
        case: What it is decided from.
    """
    decision, held = checked_within(decision, answers.next_check_s), answers.held
    if held is None or (verb is Verb.FALLBACK and (decision.held_back is not None or decision.reason is Reason.REASSERT_BACKOFF)):
        return decision
    waits_for_replicas = held.reason is Reason.WAITING_FOR_READY and answers.prepares
    preparing = verb is Verb.FALLBACK and waits_for_replicas
    wanted = floors.highest(case.snapshot, (*decision.floors.values(), *floors.needed(case))) if preparing else decision.floors
    decision = replace(decision, guards=answers.results, held_back=verb, floors=wanted)
    if decision.verb is not Verb.HOLD:
        return decision
    if preparing:
        reason = Reason.PREPARING_RETURN if _raises(decision, case) else Reason.WAITING_FOR_READY
        return replace(decision, verb=Verb.PREPARE, reason=reason, details=held.details)
    return replace(decision, reason=held.reason or decision.reason, details=held.details)


def _raises(decision: Decision, case: Case) -> bool:
    """Whether a floor must still be raised, and can be."""
    scalers = {
        name: observed.scaler
        for name, observed in case.snapshot.units.items()
        if observed.scaler is not None and not observed.scaler.paused
    }
    return any(decision.floors[name].replicas > scaler.min_replicas for name, scaler in scalers.items())


def made(
    mode: Mode,
    verb: Verb,
    reason: Reason,
    details: Mapping[str, str],
    case: Case,
    targets: tuple[Target, ...],
    answers: guards.Answers = _NOBODY_ASKED,
) -> Decision:
    """A decision with everything that follows from the mode that it leads to.

    Args:
        mode: The mode to be in after it.
        verb: What it asks for.
        reason: Why.
        details: For the reason's sentence.
        case: What it is decided from.
        targets: The routing action; () where it is left alone.
        answers: Those of the guards that were asked.
    """
    application, routing = case.snapshot.application, case.snapshot.routing
    lowering_s = math.inf if verb.changes_mode else _lowering_in_s(case)
    return Decision(
        verb=verb,
        mode=mode,
        reason=reason,
        details=details,
        evidence=case.evidence,
        guards=answers.results,
        targets=targets,
        stickiness_s=stickiness(application, mode, routing),
        sticky_s=routing.stickiness_s,
        floors=floors.floors(mode, case, part_of(application.policy).claims(case)),
        keda_targets=keda_targets(application, mode),
        probes=floors.probes(mode, case),
        lowering_allowed=lowering_s == 0,
        next_check_s=soonest(lowering_s, case.remaining(floors.held_until(case.snapshot, case.memory))),
    )


def _lowering_in_s(case: Case) -> float:
    """How long until floors may sink, seconds: clients that stick to the previous routing action must have time to leave.

    Returns:
        0 where they may sink now; infinite while the load balancer does not show the present action.
    """
    snapshot, memory = case.snapshot, case.memory
    seen, policy = snapshot.routing.verification, snapshot.application.policy
    if seen is None or seen.verdict is not Verdict.YES or seen.action != snapshot.routing.action:
        return math.inf
    if memory.changed_at is None:
        return 0.0
    drain = max(DRAIN_S, policy.stickiness_cost_s, policy.stickiness_capacity_s, memory.sticky_s)
    return math.inf if memory.verified_at is None else case.remaining(memory.verified_at + drain)
