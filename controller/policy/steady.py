"""What is done within a mode: keeps its routing and replicas as they should be, also while a guard holds a trigger back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from controller.policy import guards, text
from controller.policy.availability import alike, carry, close
from controller.policy.case import Case, soonest
from controller.policy.demand import capacity_floors, ceiling
from controller.policy.found_floors import least
from controller.policy.known_demand import metrics_awaited
from controller.policy.memory import REWRITTEN, fingerprint
from controller.policy.metric_times import shown_s
from controller.policy.missing_metrics import held_replicas, held_until, missing_for_long
from controller.policy.model import Application, Decision, Mode, Shortage, Target, Verb, Verdict
from controller.policy.planned_floors import planned_floors
from controller.policy.planned_weights import beyond
from controller.policy.reasons import Reason
from controller.policy.reservations import awaited, ending_details, unknown_ends
from controller.policy.routing import format_action, same_routing
from controller.policy.targets import capacity_targets, cost_targets, keda_targets, stickiness
from controller.policy.triggers import shortage_details
from controller.policy.weights import blended_cost, follows_ready

MAX_NUDGES: Final = 5
"""Most nudges of one change. Their pauses double; after these the load-balancer controller retries at its own longest pause anyway."""

_NOBODY_ASKED: Final = guards.Answers()
_TOO_MUCH: Final = 1.05  # of what an absorbed unit can serve
_WORTH: Final = 0.05  # of the price of a request: weights that follow the ready replicas do not change to save less


def steady(mode: Mode, case: Case) -> Decision:
    """The decision that keeps the present mode, with its routing and replicas as they should be."""
    snapshot = case.snapshot
    wanted = _wanted(mode, case)
    routing, reason, details = snapshot.routing, *_steady_reason(case)
    sticks = routing.stickiness_s == stickiness(snapshot.application, mode)
    if wanted.targets and not (same_routing(routing.targets, wanted.targets) and sticks):
        decision = _rerouted(mode, case, wanted.targets, (reason, details))
    elif wanted.targets and not routing.marks(mode):
        decision = _reasserted(mode, case, wanted.targets, _NOBODY_ASKED, routing.marked_by)
    elif wanted.targets and (nudge_s := _nudge_in_s(case)) < math.inf:
        decision = _nudged(mode, case, wanted.targets) if nudge_s == 0 else made(mode, Verb.HOLD, reason, details, case, wanted.targets)
        decision = checked_within(decision, nudge_s)
    else:
        decision = made(mode, Verb.HOLD, reason, details, case, wanted.targets)
    return checked_within(decision, wanted.settles_s)


def checked_within(decision: Decision, *seconds: float | None) -> Decision:
    """The decision, with its next check after the shortest of these waits at the latest; see `soonest` for those that count."""
    check_s = soonest(decision.next_check_s, *seconds)
    return decision if check_s == decision.next_check_s else replace(decision, next_check_s=check_s)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The routing action that a mode is to have.

    Attributes:
        targets: The action; () where nothing could serve, and the present one is left as it is.
        settles_s: How long the present action is kept because the last change is too young to judge, seconds; 0: for another reason.
    """

    targets: tuple[Target, ...]
    settles_s: float = 0.0


def _wanted(mode: Mode, case: Case) -> _Wanted:
    """The mode's routing action now."""
    application, figures, routing = case.snapshot.application, case.figures, case.snapshot.routing
    if mode is Mode.CAPACITY:
        targets = capacity_targets(application, figures.serving)
    else:
        if not figures.cost:
            return _Wanted(())
        targets = cost_targets(application, figures.cost)
        if _end_awaited(targets, case) or _only_unknown(targets, case):
            return _Wanted(routing.targets)
        if _young_s(case) > 0 and (_only_gives_back(targets, case) or _follows_noise(targets, case)):
            return _Wanted(routing.targets, _young_s(case))
        if follows_ready(application) and _carried(targets, case) and (_young_s(case) > 0 or not _worthwhile(targets, case)):
            return _Wanted(routing.targets, _young_s(case))
        if _as_written(application, figures.cost):
            return _Wanted(targets)
    kept = not routing.foreign and close(routing.targets, targets) and not (mode is Mode.COST and _overloads(targets, case))
    return _Wanted(routing.targets if kept else targets)


def _follows_noise(targets: tuple[Target, ...], case: Case) -> bool:
    """Whether an action shifts a shortage that is absorbed among the same units before the last change can be judged.

    Of a light unit the noise of one sample is more than the weights may be off, so they would follow every sample of the demand.
    """
    routing = case.snapshot.routing
    return case.absorption is not None and not routing.foreign and alike(routing.targets, targets)


def _overloads(targets: tuple[Target, ...], case: Case) -> bool:
    """Whether the present weights send a unit more than it can serve, and those of another action would not.

    Of a light unit a point of a percent may be a third of its share, so weights that are close may be far too much.
    """
    application, figures = case.snapshot.application, case.figures
    if not follows_ready(application):
        return _overloads_short(case)
    return not _carried(targets, case) and carry(application, _by_unit(application, targets), figures.serving, figures.demand)


def _overloads_short(case: Case) -> bool:
    """Whether the present weights send an absorbed unit more than it can serve."""
    found, application = case.absorption, case.snapshot.application
    if found is None or not found.fits or not found.cut:
        return False
    present = _by_unit(application, case.snapshot.routing.targets)
    whole = sum(present.values())
    return whole > 0 and any(present[name] > _TOO_MUCH * found.most[name] * whole for name in found.cut)


def _end_awaited(targets: tuple[Target, ...], case: Case) -> bool:
    """Whether an action gives traffic back to a unit in a Capacity Block whose end is about to be known.

    A process that has just started has not heard EC2 yet, and the one before may have moved the traffic away.
    """
    snapshot, routing = case.snapshot, case.snapshot.routing
    if routing.foreign or not awaited(snapshot):
        return False
    present = {target.service: target.weight for target in routing.targets}
    idle = [unit for unit in snapshot.application.units if present.get(unit.backend.service, 0) == 0]
    back = {target.service for target in targets if target.weight > 0}
    return any(unit.backend.service in back and unknown_ends(unit, snapshot.units[unit.name]) for unit in idle)


def _demand_awaited(case: Case) -> bool:
    """Whether the demand is about to be known: a process that has just started has not heard CloudWatch yet."""
    return case.figures.demand is None and metrics_awaited(case.snapshot)


def _only_unknown(targets: tuple[Target, ...], case: Case) -> bool:
    """Whether nothing is wrong with the present action but that the demand is not known yet.

    Without a demand all that is ready would get a part, also what is expensive, until the next change is due.
    """
    routing, application = case.snapshot.routing, case.snapshot.application
    if not follows_ready(application) or routing.foreign or not _demand_awaited(case):
        return False
    if not _same_services(routing.targets, targets):
        return False
    return carry(application, _by_unit(application, routing.targets), case.figures.serving, 0.0)


def _same_services(one: Iterable[Target], other: Iterable[Target]) -> bool:
    """Whether two actions name the same Services and ports. The application file may have another port by now."""
    return {(target.service, target.port) for target in one} == {(target.service, target.port) for target in other}


def _young_s(case: Case) -> float:
    """How long until CloudWatch shows the effect of the last change of the routing action, seconds; 0 once it does."""
    changed_at = case.memory.changed_at
    return 0.0 if changed_at is None else case.remaining(changed_at + shown_s(case.snapshot.application.metric_period_s))


def _only_gives_back(targets: tuple[Target, ...], case: Case) -> bool:
    """Whether an action only restores weight that units had lost, which must wait until the last change can be judged.

    Less weight for an overloaded unit is urgent; more weight is not. Without the pause, weights would follow every sample of a demand that
    is close to a limit, or that is known in one pass and too old in the next.
    """
    routing = case.snapshot.routing
    whole = not follows_ready(case.snapshot.application) and not case.figures.cut
    return whole and not routing.foreign and alike(routing.targets, targets) and not same_routing(routing.targets, targets)


def _carried(targets: tuple[Target, ...], case: Case) -> bool:
    """Whether the present weights carry the demand as well as others of the same units would.

    Without this check, weights that follow the ready replicas and the demand would change with every sample, and the unit that takes the
    rest of the demand would get traffic in one pass and none in the next. Only a change away from an overloaded unit, or from one without
    a serving replica, is urgent.
    """
    routing, application, figures = case.snapshot.routing, case.snapshot.application, case.figures
    if routing.foreign or not _same_services(routing.targets, targets):
        return False
    return carry(application, _by_unit(application, routing.targets), figures.serving, figures.demand)


def _worthwhile(targets: tuple[Target, ...], case: Case) -> bool:
    """Whether an action for the same units saves enough to be worth a change."""
    application, shown, demand = case.snapshot.application, case.planned, case.figures.demand
    old, new = _by_unit(application, case.snapshot.routing.targets), _by_unit(application, targets)
    if shown is not None and shown.followed and demand is not None:
        saved = beyond(application, old, demand, shown) - beyond(application, new, demand, shown)
        return saved > _WORTH * shown.fleet.price
    return blended_cost(old, application.units) > (1 + _WORTH) * blended_cost(new, application.units)


def _by_unit(application: Application, targets: tuple[Target, ...]) -> dict[str, int]:
    weights = {target.service: target.weight for target in targets}
    return {unit.name: weights[unit.backend.service] for unit in application.units}


def _as_written(application: Application, weights: Mapping[str, int]) -> bool:
    """Whether weights are exactly those of the application file. Then they are applied, however close the present ones are."""
    return all(unit.weight == weights.get(unit.name) for unit in application.units)


def _nudged(mode: Mode, case: Case, targets: tuple[Target, ...]) -> Decision:
    """The decision to write the same action once more, because the load-balancer controller has not carried it out for too long."""
    now, seen = case.snapshot.now, case.snapshot.routing.verification
    waited = text.duration(now - (case.memory.unverified_since or now))
    details = {"waited": waited, "problem": seen.why if seen is not None else "it was not observed since"}
    return made(mode, Verb.NUDGE, Reason.NUDGED, details, case, targets)


def _rerouted(mode: Mode, case: Case, targets: tuple[Target, ...], otherwise: tuple[Reason, Mapping[str, str]]) -> Decision:
    """The decision to write another action in the same mode, because replicas changed or somebody else wrote the present one.

    Somebody has changed an action that was sent just so and that the Ingress does not show, also where the field is ours: a mutating
    webhook changes it in our own request.
    """
    routing = case.snapshot.routing
    answers = guards.ask(guards.REROUTE, replace(case, receiving=targets, sticks_s=stickiness(case.snapshot.application, mode)))
    if answers.held is not None:
        return held_back(made(mode, Verb.HOLD, *otherwise, case, ()), Verb.REWEIGHT, answers, case)
    old = {target.service: target.weight for target in routing.targets}
    change = ", ".join(f"{t.service} {old.get(t.service, 0)} to {t.weight}" for t in targets if old.get(t.service, 0) != t.weight)
    details = {"change": change or "stickiness", **ending_details(case.snapshot)}
    if _never_written(case):
        return made(mode, Verb.REWEIGHT, Reason.ROUTING_TAKEN_OVER, details, case, targets, answers)
    if routing.foreign or not routing.action:
        return _reasserted(mode, case, targets, answers, routing.writer or "somebody")
    same_again = case.memory.sent == fingerprint(format_action(targets, stickiness(case.snapshot.application, mode)))
    if same_again or _without_effect(case):
        return _reasserted(mode, case, targets, answers, REWRITTEN)
    reason = Reason.RESERVATION_ENDS if "reservation" in details else Reason.AVAILABILITY_CHANGED
    return made(mode, Verb.REWEIGHT, reason, details, case, targets, answers)


def _without_effect(case: Case) -> bool:
    """Whether the Ingress still shows the action that the last one was to replace.

    Weights that follow the demand differ with every sample. None would ever be sent again just so, and each would be written in vain.
    """
    shown, memory = fingerprint(case.snapshot.routing.action), case.memory
    return memory.replaced == shown != memory.sent


def _never_written(case: Case) -> bool:
    """Whether the action is still the one that the controller found on an Ingress that it has never written."""
    routing, memory = case.snapshot.routing, case.memory
    changed_now = memory.unverified_since is not None and memory.changed_at == case.snapshot.now
    return bool(routing.action) and routing.foreign and not (routing.marker or memory.sent or memory.reasserts or changed_now)


def _reasserted(mode: Mode, case: Case, targets: tuple[Target, ...], answers: guards.Answers, writer: str) -> Decision:
    """The decision to restore an action that somebody else changed or deleted, after a pause that grows each time."""
    routing, policy, memory = case.snapshot.routing, case.snapshot.application.policy, case.memory
    details = {"mode": str(mode), "writer": writer}
    pause = min(policy.reassert_max_s, policy.reassert_base_s * 2.0 ** min(memory.reasserts, 16))
    left = 0.0 if memory.reasserted_at is None else case.remaining(memory.reasserted_at + pause)
    if left > 0:
        details["remaining"] = text.duration(left)
        return checked_within(made(mode, Verb.HOLD, Reason.REASSERT_BACKOFF, details, case, (), answers), left)
    reason = Reason.ROUTING_DRIFTED if routing.action else Reason.ROUTING_MISSING
    return made(mode, Verb.REWEIGHT, reason, details, case, targets, answers)


def _nudge_in_s(case: Case) -> float:
    """How long the load-balancer controller still has before a nudge makes it reconcile our last change, seconds.

    Returns:
        0 where its time is over; infinite where no nudge is due.
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
    """Whether a floor must still be raised, and can be."""
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
        stickiness_s=stickiness(application, mode),
        sticky_s=routing.stickiness_s,
        floors=_floors(mode, case),
        keda_targets=keda_targets(application, mode),
        lowering_allowed=lowering_s == 0,
        next_check_s=soonest(lowering_s, case.remaining(held_until(case.snapshot, case.memory))),
    )


def _floors(mode: Mode, case: Case) -> dict[str, int]:
    """Replica floors.

    The floor of a unit whose weight was cut for want of replicas stays at what its full weight needs: its own counter shows only the
    traffic that it still gets, and its scaler would stop there. A floor that the controller raised sinks only to what the weights need at
    the present demand: a scaler may have no metric, or still that of the time before a mode change. While no counter has a value, no unit
    loses replicas. Before a Capacity Block ends, the floors of the other units rise to what they will have to carry. With planned floors
    those of cost mode follow the cheapest fleet; where metrics are missing for long, they are as with the other strategies.
    """
    snapshot, memory, held = case.snapshot, case.memory, held_replicas(case.snapshot, case.memory)
    return {
        name: max(floor, held.get(name, 0), least(memory, snapshot, snapshot.application.unit(name)))
        for name, floor in _known_floors(mode, case).items()
    }


def _known_floors(mode: Mode, case: Case) -> dict[str, int]:
    """The floors without those that hold replicas while metrics are missing; see `_floors`."""
    snapshot, evidence = case.snapshot, case.evidence
    if mode is Mode.CAPACITY:
        due = case.memory.floors_due if case.mode is Mode.CAPACITY else evidence.keys()
        return capacity_floors(snapshot, evidence, case.figures.demand, due=due)
    forgotten, floors = missing_for_long(snapshot, case.memory), {}
    planned = {} if forgotten else planned_floors(snapshot, case.memory, evidence, case.planned)
    for unit in snapshot.application.units:
        observed, needed = snapshot.units[unit.name], evidence[unit.name].needed
        scaler = observed.scaler
        raised = scaler.min_replicas if scaler is not None and scaler.floor_ours and not forgotten else 0
        grows = unit.name in case.figures.cut or bool(case.figures.ending)
        kept = planned.get(unit.name, min(needed, raised))
        kept = max(kept, raised) if case.figures.ending else kept  # until its nodes are gone, a block's end only raises floors
        floor = max(unit.min_replicas, needed if grows else 0, kept)
        floors[unit.name] = min(floor, ceiling(unit, observed))
    return floors


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
    drain = max(policy.drain_s, policy.stickiness_cost_s, policy.stickiness_capacity_s, memory.sticky_s)
    return math.inf if memory.verified_at is None else case.remaining(memory.verified_at + drain)
