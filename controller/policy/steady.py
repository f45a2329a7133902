"""What is done within a mode: its routing and replicas as they should be, whatever trigger a guard holds back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from controller.policy import guards, text
from controller.policy.availability import alike, carry, close
from controller.policy.case import Case, soonest
from controller.policy.demand import capacity_floors, ceiling
from controller.policy.missing_metrics import held_replicas, held_until, missing_for_long
from controller.policy.model import Application, Decision, Mode, Shortage, Target, Verb, Verdict
from controller.policy.reasons import Reason
from controller.policy.routing import same_routing
from controller.policy.targets import capacity_targets, cost_targets, keda_targets, return_targets, stickiness
from controller.policy.triggers import breach, shortage_details
from controller.policy.weights import blended_cost, carries, follows_ready

MAX_NUDGES: Final = 5
"""Nudges of one change, after pauses that double: from then on the load-balancer controller is at its own longest pause anyway."""

_NOBODY_ASKED: Final = guards.Answers()
_WORTH: Final = 0.05  # of the price of a request: to save less, weights that follow what is ready do not change


def steady(mode: Mode, case: Case) -> Decision:
    """The present mode, with its routing and replicas as they should be."""
    snapshot = case.snapshot
    problem = _spoilt(case) if present_step(mode, case) else ""
    if problem:
        return _reversed(case, problem)
    wanted = _wanted(mode, case)
    routing, reason, details = snapshot.routing, *_steady_reason(case)
    sticks = routing.stickiness_s == stickiness(snapshot.application, mode)
    if wanted.targets and not (same_routing(routing.targets, wanted.targets) and sticks):
        decision = _rerouted(mode, case, wanted.targets, (reason, details))
    elif wanted.targets and (nudge_s := _nudge_in_s(case)) < math.inf:
        decision = _nudged(mode, case, wanted.targets) if nudge_s == 0 else made(mode, Verb.HOLD, reason, details, case, wanted.targets)
        decision = checked_within(decision, nudge_s)
    else:
        decision = made(mode, Verb.HOLD, reason, details, case, wanted.targets)
    return checked_within(decision, wanted.settles_s)


def checked_within(decision: Decision, *seconds: float | None) -> Decision:
    """The decision, to be made anew after the shortest of these waits at the latest; see `soonest` for those that count."""
    return replace(decision, next_check_s=soonest(decision.next_check_s, *seconds))


def present_step(mode: Mode, case: Case) -> int:
    """The step of a gradual fallback that is under way, 0 where none is; the application file may have got fewer steps meanwhile."""
    if mode is not Mode.CAPACITY:
        return 0
    return min(case.snapshot.routing.return_step, case.snapshot.application.policy.return_steps - 1)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The routing action that a mode is to have.

    Attributes:
        targets: The action; () where nothing could serve, and the present one is left as it is.
        settles_s: How long the present action is kept only because the last change is too young to judge, seconds; 0: it is not.
    """

    targets: tuple[Target, ...]
    settles_s: float = 0.0


def _wanted(mode: Mode, case: Case) -> _Wanted:
    """The mode's routing action now."""
    application, figures, routing, step = case.snapshot.application, case.figures, case.snapshot.routing, present_step(mode, case)
    if mode is Mode.CAPACITY:
        targets = return_targets(application, figures, step) if step else capacity_targets(application, figures.serving)
    else:
        if not figures.cost:
            return _Wanted(())
        targets = cost_targets(application, figures.cost)
        if _young_s(case) > 0 and _only_gives_back(targets, case):
            return _Wanted(routing.targets, _young_s(case))
        if follows_ready(application) and _carried(targets, case) and (_young_s(case) > 0 or not _worthwhile(targets, case)):
            return _Wanted(routing.targets, _young_s(case))
        if _as_written(application, figures.cost):
            return _Wanted(targets)
    return _Wanted(routing.targets if not routing.foreign and close(routing.targets, targets) else targets)


def _young_s(case: Case) -> float:
    """How long it takes until CloudWatch shows what the last change of the routing action did, seconds; 0 once it does."""
    changed_at = case.memory.changed_at
    return 0.0 if changed_at is None else case.remaining(changed_at + guards.METRIC_LAG_S)


def _only_gives_back(targets: tuple[Target, ...], case: Case) -> bool:
    """Whether an action only gives units the weight back that they lost: while the last change cannot be judged that would be a guess.

    Less weight for a unit that is overloaded is urgent, more is not. Without a pause weights would follow every sample of a demand that is
    just at the edge, or that is known in one pass and too old in the next.
    """
    routing = case.snapshot.routing
    whole = not follows_ready(case.snapshot.application) and not case.figures.cut
    return whole and not routing.foreign and alike(routing.targets, targets) and not same_routing(routing.targets, targets)


def _carried(targets: tuple[Target, ...], case: Case) -> bool:
    """Whether the present weights carry the demand as well as others of the same units would.

    For weights that follow what is ready and asked for, with every sample: they would go on changing, and the unit that takes the rest of
    the demand would get traffic in one pass and none in the next. Urgent is what overloads a unit, or sends requests to one without any
    replica that serves.
    """
    routing, application, figures = case.snapshot.routing, case.snapshot.application, case.figures
    present = {target.service: target.weight for target in routing.targets}
    if routing.foreign or present.keys() != {target.service for target in targets}:
        return False
    return carry(application, _by_unit(application, routing.targets), figures.serving, figures.demand)


def _worthwhile(targets: tuple[Target, ...], case: Case) -> bool:
    """Whether an action of the same units saves enough to be worth a change."""
    application = case.snapshot.application
    old, new = _by_unit(application, case.snapshot.routing.targets), _by_unit(application, targets)
    return blended_cost(old, application.units) > (1 + _WORTH) * blended_cost(new, application.units)


def _by_unit(application: Application, targets: tuple[Target, ...]) -> dict[str, int]:
    weights = {target.service: target.weight for target in targets}
    return {unit.name: weights[unit.backend.service] for unit in application.units}


def _as_written(application: Application, weights: Mapping[str, int]) -> bool:
    """Whether weights are exactly those of the application file: then they are applied exactly."""
    return all(unit.weight == weights.get(unit.name) for unit in application.units)


def _nudged(mode: Mode, case: Case, targets: tuple[Target, ...]) -> Decision:
    """The same action once more, because the load-balancer controller has left it alone for too long."""
    now, seen = case.snapshot.now, case.snapshot.routing.verification
    waited = text.duration(now - (case.memory.unverified_since or now))
    details = {"waited": waited, "problem": seen.problem if seen is not None else ""}
    return made(mode, Verb.NUDGE, Reason.NUDGED, details, case, targets)


def _rerouted(mode: Mode, case: Case, targets: tuple[Target, ...], otherwise: tuple[Reason, Mapping[str, str]]) -> Decision:
    """Another action is due in the same mode: because replicas changed, or because somebody else wrote it."""
    routing = case.snapshot.routing
    answers = guards.ask(guards.REROUTE, replace(case, receiving=targets))
    if answers.held is not None:
        return held_back(made(mode, Verb.HOLD, *otherwise, case, (), answers), Verb.REWEIGHT, answers, case)
    if routing.foreign or not routing.action:
        return _reasserted(mode, case, targets, answers)
    old = {target.service: target.weight for target in routing.targets}
    change = ", ".join(f"{t.service} {old.get(t.service, 0)} to {t.weight}" for t in targets if old.get(t.service, 0) != t.weight)
    return made(mode, Verb.REWEIGHT, Reason.AVAILABILITY_CHANGED, {"change": change or "stickiness"}, case, targets, answers)


def _reasserted(mode: Mode, case: Case, targets: tuple[Target, ...], answers: guards.Answers) -> Decision:
    """The action that somebody else changed is put right, after a pause that grows each time."""
    routing, policy, memory = case.snapshot.routing, case.snapshot.application.policy, case.memory
    details = {"mode": str(mode), "writer": routing.writer or "nobody known"}
    pause = min(policy.reassert_max_s, policy.reassert_base_s * 2.0 ** min(memory.reasserts, 16)) if memory.reasserts else 0.0
    left = case.remaining((memory.reasserted_at or 0.0) + pause)
    if left > 0:
        details["remaining"] = text.duration(left)
        return checked_within(made(mode, Verb.HOLD, Reason.REASSERT_BACKOFF, details, case, (), answers), left)
    return made(mode, Verb.REWEIGHT, Reason.ROUTING_DRIFTED, details, case, targets, answers)


def _spoilt(case: Case) -> str:
    """Why the steps of a gradual fallback are to be taken back, "" where they are not."""
    if guards.active_pin(case.snapshot) is Mode.CAPACITY:
        return f"an operator pinned capacity mode: {case.snapshot.routing.override.why or 'no reason given'}"
    short = [name for name, judged in case.evidence.items() if judged.short]
    if short:
        return f"{text.listing(short)} cannot get capacity"
    receiving = tuple(name for name, weight in case.figures.cost.items() if weight > 0)
    return breach(case, receiving, since=case.memory.changed_at or case.memory.mode_since)


def _reversed(case: Case, problem: str) -> Decision:
    policy, step = case.snapshot.application.policy, case.snapshot.routing.return_step
    targets = capacity_targets(case.snapshot.application, case.figures.serving)
    answers = guards.ask(guards.REROUTE, replace(case, receiving=targets))
    if answers.held is not None:
        kept = made(Mode.CAPACITY, Verb.HOLD, *_steady_reason(case), case, (), answers)
        return held_back(kept, Verb.REVERSE, answers, case)
    details = {"step": str(step), "steps": str(policy.return_steps), "problem": problem}
    return made(Mode.CAPACITY, Verb.REVERSE, Reason.RETURN_REVERSED, details, case, targets, answers, step=0)


def _nudge_in_s(case: Case) -> float:
    """How long the load-balancer controller still has before it is made to reconcile our last change, seconds.

    Returns:
        0 where its time is over; infinite where it is not to be nudged.
    """
    routing, memory, pause = case.snapshot.routing, case.memory, case.snapshot.application.policy.nudge_s
    seen = routing.verification
    if pause <= 0 or memory.unverified_since is None or memory.nudges >= MAX_NUDGES or routing.foreign or routing.blocked:
        return math.inf
    if seen is None or seen.verdict is not Verdict.NOT_YET or seen.applied or seen.action != routing.action:
        return math.inf
    return case.remaining((memory.nudged_at or memory.unverified_since) + pause * 2.0**memory.nudges)


def _steady_reason(case: Case) -> tuple[Reason, dict[str, str]]:
    evidence = case.evidence
    waiting = {name: judged for name, judged in evidence.items() if judged.demand}
    suspected = [name for name, judged in evidence.items() if judged.shortage is Shortage.SUSPECTED]
    short = tuple(name for name, judged in evidence.items() if judged.short)
    if short:
        idle = not any(carries(case.snapshot.application, name) for name in short)
        instead = "cost mode sends it no traffic" if idle else "the ready replicas carry the whole demand"
        return Reason.SHORTAGE_ABSORBED, {**shortage_details(case, short), "instead": instead}
    waiting_suspects = [name for name in suspected if name in waiting]
    if waiting_suspects:
        part = "refused" if any(evidence[name].attempts for name in waiting_suspects) else "beyond the limit of its NodePool"
        return Reason.SHORTAGE_SUSPECTED, {"units": text.listing(waiting_suspects), "part": part}
    if suspected:
        return Reason.EVIDENCE_WITHOUT_DEMAND, {"units": text.listing(suspected)}
    if waiting:
        pending = str(sum(judged.demand for judged in waiting.values()))
        return Reason.WAITING_IS_NORMAL, {"units": text.listing(waiting), "pending": pending}
    return Reason.DEMAND_MET, {}


def held_back(decision: Decision, verb: Verb, answers: guards.Answers, case: Case) -> Decision:
    """The steady decision, naming what is held back and by which guard. A fallback that only waits for replicas prepares them.

    What is done meanwhile keeps its own reason: the weights follow what can serve, a foreign edit is undone. So does, in capacity mode,
    what is held up about the present routing, because a fallback is always wanted there and would hide it.

    Args:
        decision: The steady decision.
        verb: What is held back.
        answers: The guards of that; one of them holds.
        case: What it is decided from.
    """
    decision, held = checked_within(decision, answers.next_check_s), answers.held
    if held is None or (verb is Verb.FALLBACK and (decision.held_back is not None or decision.reason is Reason.REASSERT_BACKOFF)):
        return decision
    waits_for_replicas = held.reason is Reason.WAITING_FOR_READY and answers.held_only_by(guards.WHILE_PREPARING)
    preparing = verb is Verb.FALLBACK and waits_for_replicas
    floors = {name: max(floor, case.evidence[name].needed) for name, floor in decision.floors.items()} if preparing else decision.floors
    decision = replace(decision, guards=answers.results, held_back=verb, floors=floors)
    if decision.verb is not Verb.HOLD:
        return decision
    if preparing:
        reason = Reason.PREPARING_RETURN if _raises(decision, case) else Reason.WAITING_FOR_READY
        return replace(decision, verb=Verb.PREPARE, reason=reason, details=held.details)
    return replace(decision, reason=held.reason or decision.reason, details=held.details)


def _raises(decision: Decision, case: Case) -> bool:
    """Whether a floor is still to be raised, or all that can be is."""
    scalers = {
        name: observed.scaler
        for name, observed in case.snapshot.units.items()
        if observed.scaler is not None and not observed.scaler.paused
    }
    return any(decision.floors[name] > scaler.min_replicas for name, scaler in scalers.items())


def made(
    mode: Mode,
    verb: Verb,
    reason: Reason,
    details: Mapping[str, str],
    case: Case,
    targets: tuple[Target, ...],
    answers: guards.Answers = _NOBODY_ASKED,
    *,
    step: int | None = None,
) -> Decision:
    """A decision with everything that follows from the mode that it leads to.

    Args:
        mode: The mode to be in after it.
        verb: What it asks for.
        reason: Why.
        details: For the reason's sentence.
        case: What it is decided from.
        targets: The routing action; () where it is left alone.
        answers: The guards that were asked, all of which let pass or hold something else back.
        step: The step of a gradual fallback that it leads to; None: the present one.
    """
    application, routing = case.snapshot.application, case.snapshot.routing
    step = present_step(mode, case) if step is None else step
    lowering_s = math.inf if verb.switches or verb in {Verb.ADVANCE, Verb.REVERSE} else _lowering_in_s(case)
    return Decision(
        verb=verb,
        mode=mode,
        reason=reason,
        details=details,
        evidence=case.evidence,
        guards=answers.results,
        targets=targets,
        stickiness_s=stickiness(application, mode),
        return_step=step,
        sticky_s=routing.stickiness_s,
        floors=_floors(mode, case, step),
        keda_targets=keda_targets(application, mode),
        lowering_allowed=lowering_s == 0,
        next_check_s=soonest(lowering_s, case.remaining(held_until(case.memory))),
    )


def _floors(mode: Mode, case: Case, step: int) -> dict[str, int]:
    """Replica floors.

    A unit whose weight was cut for want of replicas keeps being asked for all that its full weight needs: its own counter shows only the
    traffic that it still gets, and its scaler would be content with that. A floor of ours that was raised sinks no further than to what the
    weights need at the present demand: where a scaler sees no metric, or still the traffic before a switch, the floor is all that holds.
    While no counter says anything, no unit is to have fewer replicas than it has.
    """
    held = held_replicas(case.snapshot, case.memory)
    return {name: max(floor, held.get(name, 0)) for name, floor in _known_floors(mode, case, step).items()}


def _known_floors(mode: Mode, case: Case, step: int) -> dict[str, int]:
    """See `_floors`: those that follow from what is known."""
    snapshot, evidence = case.snapshot, case.evidence
    if mode is Mode.CAPACITY:
        floors = capacity_floors(snapshot, evidence, case.figures.demand, switching=case.mode is not Mode.CAPACITY)
        return {name: max(floor, evidence[name].needed) for name, floor in floors.items()} if step else floors
    forgotten = missing_for_long(snapshot, case.memory)
    floors = {}
    for unit in snapshot.application.units:
        observed, needed = snapshot.units[unit.name], evidence[unit.name].needed
        scaler = observed.scaler
        raised = scaler.min_replicas if scaler is not None and scaler.floor_ours and not forgotten else 0
        floor = max(unit.min_replicas, needed if unit.name in case.figures.cut else min(needed, raised))
        floors[unit.name] = min(floor, ceiling(unit, observed))
    return floors


def _lowering_in_s(case: Case) -> float:
    """How long nothing may be lowered yet, seconds: clients that stuck to the routing action before must have time to leave.

    Returns:
        0 where floors may sink; infinite while the load balancer does not show the present action.
    """
    snapshot, memory = case.snapshot, case.memory
    seen, policy = snapshot.routing.verification, snapshot.application.policy
    if seen is None or seen.verdict is not Verdict.YES or seen.action != snapshot.routing.action:
        return math.inf
    if memory.changed_at is None:
        return 0.0
    drain = max(policy.drain_s, policy.stickiness_cost_s, policy.stickiness_capacity_s, memory.sticky_s)
    return math.inf if memory.verified_at is None else case.remaining(memory.verified_at + drain)
