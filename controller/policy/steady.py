"""What is done within a mode: its routing and replicas as they should be, whatever else is wanted or held back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from controller.policy import guards, text
from controller.policy.availability import alike, carry, close
from controller.policy.demand import capacity_floors, ceiling
from controller.policy.missing_metrics import held_replicas, held_until, silent_for_long
from controller.policy.model import (
    Application,
    Decision,
    GuardResult,
    Mode,
    Shortage,
    Target,
    Verb,
    Verdict,
)
from controller.policy.reasons import Reason
from controller.policy.routing import same_routing
from controller.policy.targets import (
    capacity_targets,
    carries,
    cost_targets,
    cost_weights,
    cut_units,
    follows_ready,
    keda_targets,
    return_targets,
    stickiness,
    uncut,
)
from controller.policy.triggers import breach, shortage_details
from controller.policy.weights import blended_cost

MAX_NUDGES: Final = 5
"""Nudges of one change, after pauses that double: from then on the load-balancer controller is at its own longest pause anyway."""

_WORTH: Final = 0.05  # of the price of a request: to save less, weights that follow what is ready do not change


def steady(mode: Mode, case: guards.Case) -> Decision:
    """The present mode, with its routing and replicas as they should be."""
    snapshot = case.snapshot
    problem = _spoilt(case) if present_step(mode, case) else ""
    if problem:
        return _reversed(case, problem)
    targets = _wanted(mode, case)
    routing, reason, details = snapshot.routing, *_steady_reason(case)
    sticks = routing.stickiness_s == stickiness(snapshot.application, mode)
    if targets and not (same_routing(routing.targets, targets) and sticks):
        return _rerouted(mode, case, targets, (reason, details))
    if targets and _nudge_due(case):
        waited = text.duration(snapshot.now - (case.memory.unverified_since or snapshot.now))
        seen = routing.verification
        words = {"waited": waited, "problem": seen.problem if seen is not None else ""}
        return made(mode, Verb.NUDGE, Reason.NUDGED, words, case, targets, ())
    return made(mode, Verb.HOLD, reason, details, case, targets, ())


def present_step(mode: Mode, case: guards.Case) -> int:
    """The step of a gradual fallback that is under way, 0 where none is; the application file may have got fewer steps meanwhile."""
    if mode is not Mode.CAPACITY:
        return 0
    return min(case.snapshot.routing.return_step, case.snapshot.application.policy.return_steps - 1)


def _wanted(mode: Mode, case: guards.Case) -> tuple[Target, ...]:
    """The mode's routing action now; () where nothing could serve, and it is left as it is."""
    snapshot = case.snapshot
    routing, step = snapshot.routing, present_step(mode, case)
    if mode is Mode.CAPACITY:
        targets = return_targets(snapshot, step) if step else capacity_targets(snapshot)
    else:
        weights = cost_weights(snapshot)
        if not weights:
            return ()
        targets = cost_targets(snapshot.application, weights)
        if uncut(snapshot) and _too_soon(targets, case):
            return routing.targets
        if follows_ready(snapshot.application) and _suffices(targets, case):
            return routing.targets
        if _as_written(snapshot.application, weights):
            return targets
    return routing.targets if not routing.foreign and close(routing.targets, targets) else targets


def _too_soon(targets: tuple[Target, ...], case: guards.Case) -> bool:
    """Whether what the last change did cannot be known yet, so that giving back what it took would be a guess.

    Less weight for a unit that is overloaded is urgent, more is not. Without a pause weights would follow every sample of a demand that is
    just at the edge, or that is known in one pass and too old in the next.
    """
    routing, changed_at = case.snapshot.routing, case.memory.changed_at
    if routing.foreign or changed_at is None or not alike(routing.targets, targets) or same_routing(routing.targets, targets):
        return False
    return case.remaining(changed_at + guards.METRIC_LAG_S) > 0


def _suffices(targets: tuple[Target, ...], case: guards.Case) -> bool:
    """Whether the present weights carry the demand, and others would only save a little, or it is too soon to tell.

    For weights that follow what is ready and asked for, with every sample: they would go on changing, and the unit that takes the rest of
    the demand would get traffic in one pass and none in the next. Urgent is what overloads a unit, or sends requests to one without any
    replica that serves.
    """
    routing, units, changed_at = case.snapshot.routing, case.snapshot.application.units, case.memory.changed_at
    present, wanted = ({target.service: target.weight for target in some} for some in (routing.targets, targets))
    if routing.foreign or present.keys() != wanted.keys():
        return False
    old, new = ({unit.name: weights[unit.backend.service] for unit in units} for weights in (present, wanted))
    if not carry(case.snapshot, old):
        return False
    soon = changed_at is not None and case.remaining(changed_at + guards.METRIC_LAG_S) > 0
    return soon or blended_cost(old, units) <= (1 + _WORTH) * blended_cost(new, units)


def _as_written(application: Application, weights: Mapping[str, int]) -> bool:
    """Whether weights are exactly those of the application file: then they are applied exactly."""
    return all(unit.weight == weights.get(unit.name) for unit in application.units)


def _rerouted(mode: Mode, case: guards.Case, targets: tuple[Target, ...], fallback: tuple[Reason, Mapping[str, str]]) -> Decision:
    """Another action is wanted in the same mode: because replicas changed, or because somebody else wrote it."""
    routing, policy, memory = case.snapshot.routing, case.snapshot.application.policy, case.memory
    case.receiving, case.subject = targets, ()
    results = guards.run(guards.REROUTE, case)
    held = guards.first_held(results)
    if held is not None:
        kept = made(mode, Verb.HOLD, fallback[0], fallback[1], case, (), results)
        return held_back(kept, Verb.REWEIGHT, held, results, case)
    if routing.foreign or not routing.action:
        details = {"mode": str(mode), "writer": routing.writer or "nobody known"}
        pause = min(policy.reassert_max_s, policy.reassert_base_s * 2.0 ** min(memory.reasserts, 16)) if memory.reasserts else 0.0
        left = case.remaining((memory.reasserted_at or 0.0) + pause)
        if left > 0:
            details["remaining"] = text.duration(left)
            return made(mode, Verb.HOLD, Reason.REASSERT_BACKOFF, details, case, (), results)
        return made(mode, Verb.REWEIGHT, Reason.ROUTING_DRIFTED, details, case, targets, results)
    old = {target.service: target.weight for target in routing.targets}
    change = ", ".join(f"{t.service} {old.get(t.service, 0)} to {t.weight}" for t in targets if old.get(t.service, 0) != t.weight)
    return made(mode, Verb.REWEIGHT, Reason.AVAILABILITY_CHANGED, {"change": change or "stickiness"}, case, targets, results)


def _spoilt(case: guards.Case) -> str:
    """Why the steps of a gradual fallback are to be taken back, "" where they are not."""
    if guards.active_pin(case.snapshot) is Mode.CAPACITY:
        return f"an operator pinned capacity mode: {case.snapshot.routing.override.why or 'no reason given'}"
    short = [name for name, judged in case.evidence.items() if judged.short]
    if short:
        return f"{text.listing(short)} cannot get capacity"
    receiving = tuple(name for name, weight in cost_weights(case.snapshot).items() if weight > 0)
    return breach(case, receiving, since=case.memory.changed_at or case.memory.mode_since)


def _reversed(case: guards.Case, problem: str) -> Decision:
    policy, step = case.snapshot.application.policy, case.snapshot.routing.return_step
    targets = capacity_targets(case.snapshot)
    case.receiving, case.subject = targets, ()
    results = guards.run(guards.REROUTE, case)
    held = guards.first_held(results)
    details = {"step": str(step), "steps": str(policy.return_steps), "problem": problem}
    if held is not None:
        return held_back(made(Mode.CAPACITY, Verb.HOLD, *_steady_reason(case), case, (), results), Verb.REVERSE, held, results, case)
    return made(Mode.CAPACITY, Verb.REVERSE, Reason.RETURN_REVERSED, details, case, targets, results, step=0)


def _nudge_due(case: guards.Case) -> bool:
    """Whether the load-balancer controller has left our last change alone for so long that it is to be made to look again."""
    routing, memory, pause = case.snapshot.routing, case.memory, case.snapshot.application.policy.nudge_s
    seen = routing.verification
    if pause <= 0 or memory.unverified_since is None or memory.nudges >= MAX_NUDGES or routing.foreign or routing.blocked:
        return False
    if seen is None or seen.verdict is not Verdict.NOT_YET or seen.applied or seen.action != routing.action:
        return False
    return case.remaining((memory.nudged_at or memory.unverified_since) + pause * 2.0**memory.nudges) <= 0


def _steady_reason(case: guards.Case) -> tuple[Reason, dict[str, str]]:
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


def held_back(decision: Decision, verb: Verb, held: GuardResult, results: tuple[GuardResult, ...], case: guards.Case) -> Decision:
    """The steady decision, telling what is held back and by which guard. A fallback that only waits for replicas prepares them.

    What is done meanwhile keeps its own reason: the weights follow what can serve, a foreign edit is undone. So does, in capacity mode,
    what is held up about the present routing, because a fallback is always wanted there and would hide it.
    """
    if verb is Verb.FALLBACK and (decision.wanted is not None or decision.reason is Reason.REASSERT_BACKOFF):
        return decision
    only_ready = all(result.passed or result.guard in {"ready", "legal", "standby", "verified", "step"} for result in results)
    preparing = verb is Verb.FALLBACK and only_ready and held.reason is Reason.WAITING_FOR_READY
    floors = {name: max(floor, case.evidence[name].needed) for name, floor in decision.floors.items()} if preparing else decision.floors
    decision = replace(decision, guards=results, wanted=verb, floors=floors)
    if decision.verb is not Verb.HOLD:
        return decision
    if preparing:
        reason = Reason.PREPARING_RETURN if _raises(decision, case) else Reason.WAITING_FOR_READY
        return replace(decision, verb=Verb.PREPARE, reason=reason, details=held.details)
    return replace(decision, reason=held.reason or decision.reason, details=held.details)


def _raises(decision: Decision, case: guards.Case) -> bool:
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
    case: guards.Case,
    targets: tuple[Target, ...],
    results: tuple[GuardResult, ...],
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
        results: The guards that were asked.
        step: The step of a gradual fallback that it leads to; None: the present one.
    """
    application, routing = case.snapshot.application, case.snapshot.routing
    step = present_step(mode, case) if step is None else step
    return Decision(
        verb=verb,
        mode=mode,
        reason=reason,
        details=details,
        evidence=case.evidence,
        guards=results,
        targets=targets,
        stickiness_s=stickiness(application, mode),
        return_step=step,
        sticky_s=routing.stickiness_s,
        floors=_floors(mode, case, step),
        keda_targets=keda_targets(application, mode),
        lowering_allowed=verb not in {Verb.ADVANCE, Verb.REVERSE} and not verb.switches and _settled(case),
    )


def _floors(mode: Mode, case: guards.Case, step: int) -> dict[str, int]:
    """Replica floors.

    A unit whose weight was cut for want of replicas keeps being asked for all that its full weight needs: its own counter shows only the
    traffic that it still gets, and its scaler would be content with that. A floor of ours that was raised sinks no further than to what the
    weights need at the present demand: where a scaler sees no metric, or still the traffic before a switch, the floor is all that holds.
    While no counter says anything, no unit is to have fewer replicas than it has.
    """
    held = held_replicas(case.snapshot, case.memory)
    if held:
        case.remaining(held_until(case.memory))  # time alone ends it
    return {name: max(floor, held.get(name, 0)) for name, floor in _known_floors(mode, case, step).items()}


def _known_floors(mode: Mode, case: guards.Case, step: int) -> dict[str, int]:
    """See `_floors`: those that follow from what is known."""
    snapshot, evidence = case.snapshot, case.evidence
    if mode is Mode.CAPACITY:
        floors = capacity_floors(snapshot, evidence, switching=case.mode is not Mode.CAPACITY)
        return {name: max(floor, evidence[name].needed) for name, floor in floors.items()} if step else floors
    cut, forgotten = cut_units(snapshot), silent_for_long(snapshot, case.memory)
    floors = {}
    for unit in snapshot.application.units:
        observed, needed = snapshot.units[unit.name], evidence[unit.name].needed
        scaler = observed.scaler
        raised = scaler.min_replicas if scaler is not None and scaler.floor_ours and not forgotten else 0
        floor = max(unit.min_replicas, needed if unit.name in cut else min(needed, raised))
        floors[unit.name] = min(floor, ceiling(unit, observed))
    return floors


def _settled(case: guards.Case) -> bool:
    """Whether the load balancer shows the present action and clients that stuck to the old one have had time to leave."""
    snapshot, memory = case.snapshot, case.memory
    seen, policy = snapshot.routing.verification, snapshot.application.policy
    if seen is None or seen.verdict is not Verdict.YES or seen.action != snapshot.routing.action:
        return False
    if memory.changed_at is None:
        return True
    drain = max(policy.drain_s, policy.stickiness_cost_s, policy.stickiness_capacity_s, memory.sticky_s)
    return memory.verified_at is not None and case.remaining(memory.verified_at + drain) <= 0
