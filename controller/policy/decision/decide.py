"""The decision: memory and snapshot in, memory and decision out.

How it reads: take the mode from the routing object; compute the figures; judge the evidence; ask the guards that always apply; find the
trigger that applies; ask its guards; otherwise keep the present mode's routing and replicas as they should be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from controller.policy import floors, text
from controller.policy.account import Figures, absorption, break_even_s
from controller.policy.alerts import alerts
from controller.policy.case import Case, soonest
from controller.policy.decision.steady import checked_within, held_back, made, steady
from controller.policy.evidence import Ages, assess
from controller.policy.karpenter_times import HARD_DEMAND_S
from controller.policy.memory import adopt, observe, of_units, sent_as
from controller.policy.model import Decision, Memory, Mode, RoutingObservation, Snapshot, UnitEvidence, Verb
from controller.policy.modes import Trigger, Triggered, guards, rollback_in_s, transition, triggered
from controller.policy.reasons import Reason
from controller.policy.routing import capacity_targets, cost_targets, existing, mode_of, moments, stickiness
from controller.policy.strategies import part_of

_ROUNDS: Final = 3  # one where nothing changes, a second after a unit was remembered or forgotten, and one in reserve


def decide(memory: Memory, snapshot: Snapshot, *, preview: bool = False) -> tuple[Memory, Decision]:
    """Decides what to do now.

    Args:
        memory: What was remembered after the last decision.
        snapshot: Everything observed, at `snapshot.now`.
        preview: Whether to decide as if every guard that only waits had opened: for showing what comes next, never for acting.

    Returns:
        The memory to keep, and the decision. The caller that applies the decision's routing patch notes it with `memory.applied`.
    """
    mode, problem = observed_mode(snapshot, memory)
    application, remembers = snapshot.application, _observing(snapshot)
    memory = adopt(of_units(memory, snapshot.units), mode, snapshot.now, snapshot.writer, application.scaled_objects)
    ages = Ages(snapshot.now)
    memory, figures, evidence = _judged(memory, snapshot, ages)
    strategy = part_of(application.policy)
    memory, shown = strategy.observed(memory, snapshot, figures, evidence, remembers)
    figures = replace(figures, cost=strategy.weights(snapshot, figures, shown))
    absorbed = absorption(snapshot, figures, evidence) if mode is Mode.COST else None
    if absorbed is not None and absorbed.fits:
        figures = replace(figures, cost=absorbed.weights, cut=figures.cut | absorbed.cut)
    case = Case(snapshot, memory, mode, problem, evidence, figures, absorbed, shown, preview)
    always = guards.ask(guards.ALWAYS, case)
    if mode is None or always.held is not None:
        decision = _left_alone(case, always)
    else:
        decision = _decide_in_mode(mode, case)
        decision = replace(decision, guards=(*always.results, *decision.guards))
    check_s = soonest(decision.next_check_s, always.next_check_s, *_waits(snapshot, evidence, ages.changes_at))
    check_s = soonest(check_s, *strategy.waits_s(memory, snapshot))
    memory = floors.noted(memory, snapshot) if remembers else memory
    return memory, replace(decision, alerts=alerts(case, decision), degraded=_degraded(snapshot), next_check_s=check_s, planned=shown)


def _judged(memory: Memory, snapshot: Snapshot, ages: Ages, rounds: int = _ROUNDS) -> tuple[Memory, Figures, dict[str, UnitEvidence]]:
    """The memory after this observation, and the figures and the evidence that go with it.

    The figures count a unit that is remembered as short as coming back, so they are computed anew where the observation changed which
    units these are. Else a pass that is repeated, after a crash before anything was sent, would decide on other figures.
    """
    figures = Figures.of(snapshot, memory.units)
    evidence = assess(snapshot, memory, figures.needed, ages)
    if not _observing(snapshot):
        return memory, figures, evidence
    after = observe(memory, snapshot, evidence, figures.demand)
    if after.units.keys() == memory.units.keys() or rounds == 1:
        return after, figures, evidence
    return _judged(after, snapshot, ages, rounds - 1)


def _observing(snapshot: Snapshot) -> bool:
    """Whether what the snapshot shows is to be remembered: by the leader, and while no required source is stale."""
    return snapshot.leader and not any(source.required and source.stale(snapshot.now) for source in snapshot.sources)


def observed_mode(snapshot: Snapshot, memory: Memory | None) -> tuple[Mode | None, str]:
    """The mode that the routing object shows, or None and why it is unknown.

    The controller writes the marker together with the action, so the marker holds the mode even after somebody else changed the action.
    Without a marker the controller has never changed the mode, and the action alone shows it. Where both were deleted, nothing is routed,
    and the remembered mode is the one to write again. See `_standing` for what somebody else did to a marker that was there.

    An action that no rule uses is left alone, although others are used: a name that was mistyped in the application file is the likely
    cause. To write it would remove the former action, which the rule still uses, and every request would get a 503.

    Args:
        snapshot: What is observed.
        memory: What is remembered; None: nothing.
    """
    routing, application, remembered = snapshot.routing, snapshot.application, memory.mode if memory is not None else None
    if not routing.exists:
        return None, "the routing object does not exist"
    if routing.unused:
        return None, routing.unused
    if routing.problem and routing.action:
        return None, routing.problem
    standing = _standing(routing, memory)
    if standing is not None:
        return standing, ""
    if routing.marker:
        marked = {str(mode): mode for mode in Mode}.get(routing.marker)
        return marked, "" if marked else f"the mode annotation says {routing.marker!r}"
    if routing.problem:
        return (remembered, "") if remembered is not None and not routing.action else (None, routing.problem)
    shown = mode_of(application, routing.targets)
    return shown, "" if shown else f"it forwards to {text.listing(target.service for target in routing.targets)}"


def _standing(routing: RoutingObservation, memory: Memory | None) -> Mode | None:
    """The remembered mode of a routing object on which somebody else wrote no mode, or nothing but a mode; else None.

    Nobody chooses a mode by that. Who replaces the whole object by one from Git or Terraform knows no mode. Who writes the marker alone,
    because the marker is in Git and the action is ignored there, does not move the traffic.

    Args:
        routing: The routing object.
        memory: What is remembered. Only of a routing object that the controller has written it says what was there.
    """
    if memory is None or not memory.sent or memory.routed_by != routing.uid:
        return None
    alone = routing.marked_by and not routing.foreign and sent_as(routing.targets, routing.stickiness_s) == memory.sent
    return memory.mode if not routing.marker or (alone and routing.marker in set(Mode)) else None


def _left_alone(case: Case, answers: guards.Answers) -> Decision:
    """A decision that changes nothing: no target, no floor, no weight."""
    held = answers.held or answers.results[-1]
    return Decision(Verb.HOLD, case.mode, held.reason or Reason.ROUTING_UNKNOWN, held.details, case.evidence, answers.results)


def _decide_in_mode(mode: Mode, case: Case) -> Decision:
    rollback_s, found = rollback_in_s(mode, case), triggered(mode, case)
    if found is None:
        return checked_within(steady(mode, case), rollback_s)
    target, verb = transition(mode, found.trigger)
    asked = _asked(target, found, case)
    answers = guards.ask(found.guards, asked)
    if answers.held is not None:
        return checked_within(held_back(steady(mode, case), verb, answers, case), rollback_s)
    return made(target, verb, found.reason, found.details, case, asked.receiving, answers)


def _asked(target: Mode, found: Triggered, case: Case) -> Case:
    """The case that the guards of a trigger judge: what it is about, what would receive the traffic, and the waits before it."""
    application, figures, weights = case.snapshot.application, case.figures, case.figures.intended
    if target is Mode.COST and (found.trigger is not Trigger.RETURN or guards.lasting_shortages(case)):
        weights = figures.cost or weights  # what is not waited for gets the weight of what it has: with a pin, of every unit
    if target is Mode.CAPACITY:
        receiving = capacity_targets(application, figures.serving)
    else:
        followed = case.planned is not None and case.planned.followed  # then cost mode would leave any other weights again
        receiving = cost_targets(application, (figures.cost if followed else {}) or weights)
        receiving = receiving if found.trigger is Trigger.RETURN else existing(receiving, case.snapshot)  # a return can wait for a Service
    return replace(
        case,
        subject=found.subject,
        details=found.details,
        receiving=receiving,
        sticks_s=stickiness(application, target, case.snapshot.routing),
        saves=found.trigger in {Trigger.RETURN, Trigger.PIN_COST},
        hold_s=break_even_s(application, weights, found.subject, case.memory.hold_level) if guards.hold in found.guards else 0.0,
    )


def _degraded(snapshot: Snapshot) -> tuple[str, ...]:
    named = []
    for source in snapshot.sources:
        if source.degraded(snapshot.now):
            state = "absent" if source.absent else "stale"
            named.append(f"{source.name} {state}" + (f": {source.problem}" if source.problem else ""))
    return tuple(named)


def _waits(snapshot: Snapshot, evidence: Mapping[str, UnitEvidence], until: float) -> list[float]:
    """Until when evidence stays as it is, if nothing else changes, and what alerts and guards find in it: seconds from now."""
    times = [*moments(snapshot), *(one.demand_since + HARD_DEMAND_S for one in evidence.values() if one.demand_since is not None), until]
    return [at - snapshot.now for at in times]
