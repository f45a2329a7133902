"""The decision: memory and snapshot in, memory and decision out.

How it reads: take the mode from the Ingress; judge the evidence; ask the guards that always apply; see what asks for a change; ask the
guards of that change; otherwise keep the present mode's routing and replicas as they should be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from controller.policy import guards, text
from controller.policy.alerts import alerts
from controller.policy.evidence import assess
from controller.policy.hold import hold_s, patience_s
from controller.policy.memory import adopt, observe
from controller.policy.model import Decision, GuardResult, Memory, Mode, Snapshot, UnitEvidence, Verb
from controller.policy.modes import Trigger, transition
from controller.policy.reasons import Reason
from controller.policy.routing import mode_of
from controller.policy.steady import held_back, made, present_step, steady
from controller.policy.targets import capacity_targets, cost_targets, cost_weights, intended_weights, return_targets
from controller.policy.triggers import Wish, wish


def decide(memory: Memory, snapshot: Snapshot, *, preview: bool = False) -> tuple[Memory, Decision]:
    """Decides what to do now.

    Args:
        memory: What was remembered after the last decision.
        snapshot: Everything observed, at `snapshot.now`.
        preview: What would be decided if every guard that only waits had opened: for showing what is coming, never for acting.

    Returns:
        The memory to keep, and the decision. Whoever applies the decision's routing patch notes it with `memory.applied`.
    """
    mode, problem = observed_mode(snapshot)
    memory = adopt(memory, mode, snapshot.now)
    weights = intended_weights(snapshot, memory.units)
    evidence = assess(snapshot, memory, weights)
    if snapshot.leader and not any(source.required and source.stale(snapshot.now) for source in snapshot.sources):
        memory = observe(memory, snapshot, evidence)
    case = guards.Case(snapshot, memory, mode, problem, evidence, preview=preview)
    always = guards.run(guards.ALWAYS, case)
    held = guards.first_held(always)
    if mode is None or held is not None:
        decision = _left_alone(mode, held or always[-1], evidence, always)
    else:
        decision = _decide_in_mode(mode, case, weights)
        decision = replace(decision, guards=(*always, *decision.guards))
    waits = [*case.waits, *_waits(snapshot, evidence)]
    return memory, replace(
        decision,
        alerts=alerts(snapshot, memory, evidence, decision),
        degraded=_degraded(snapshot),
        next_check_s=min((wait for wait in waits if wait > 0), default=None),
    )


def observed_mode(snapshot: Snapshot) -> tuple[Mode | None, str]:
    """The mode that the Ingress shows, or None and why it is unknown.

    The marker is written together with the action, so it tells the mode even where somebody changed the action since. Without a marker
    the Ingress was never switched by us, and the action alone must tell.
    """
    routing, application = snapshot.routing, snapshot.application
    if not routing.exists:
        return None, "the Ingress does not exist"
    if routing.problem and routing.action:
        return None, routing.problem
    if routing.marker:
        marked = {str(mode): mode for mode in Mode}.get(routing.marker)
        return marked, "" if marked else f"the mode annotation says {routing.marker!r}"
    if routing.problem:
        return None, routing.problem
    shown = mode_of(application, routing.targets)
    return shown, "" if shown else f"it forwards to {text.listing(target.service for target in routing.targets)}"


def _left_alone(mode: Mode | None, held: GuardResult, evidence: Mapping[str, UnitEvidence], results: tuple[GuardResult, ...]) -> Decision:
    """Nothing is touched: no target, no floor, no weight."""
    return Decision(Verb.HOLD, mode, held.reason or Reason.ROUTING_UNKNOWN, held.details, evidence, results)


def _decide_in_mode(mode: Mode, case: guards.Case, weights: Mapping[str, int]) -> Decision:
    wanted = wish(mode, case)
    if wanted is None:
        return steady(mode, case)
    target, verb = transition(mode, wanted.trigger)
    case.subject, case.details = wanted.subject, wanted.details
    if target is Mode.COST and wanted.trigger is not Trigger.RETURN:
        weights = cost_weights(case.snapshot) or weights  # waits for nobody: what is not back yet gets no weight
    case.receiving = capacity_targets(case.snapshot) if target is Mode.CAPACITY else cost_targets(case.snapshot.application, weights)
    if guards.hold in wanted.guards:
        case.hold_s = hold_s(case.snapshot.application, weights, wanted.subject, case.memory)
    if guards.patience in wanted.guards:
        case.patience_s = patience_s(case.snapshot.application, weights, wanted.subject, case.memory)
    results = guards.run(wanted.guards, case)
    held = guards.first_held(results)
    if held is not None:
        return held_back(steady(mode, case), verb, held, results, case)
    step = present_step(mode, case) + 1
    if wanted.trigger is Trigger.RETURN and step < case.snapshot.application.policy.return_steps:
        return _advanced(step, wanted, case, results)
    switched = made(target, verb, wanted.reason, wanted.details, case, case.receiving, results, step=0)
    return replace(switched, flap_window_s=case.snapshot.application.policy.flap_window_s)


def _advanced(step: int, wanted: Wish, case: guards.Case, results: tuple[GuardResult, ...]) -> Decision:
    """One more step of the way back to cost mode; the mode stays until the last one, so that capacity mode is what a trouble leads to."""
    details = {**wanted.details, "step": str(step), "steps": str(case.snapshot.application.policy.return_steps)}
    targets = return_targets(case.snapshot, step)
    return made(Mode.CAPACITY, Verb.ADVANCE, Reason.RETURN_STEP, details, case, targets, results, step=step)


def _degraded(snapshot: Snapshot) -> tuple[str, ...]:
    named = []
    for source in snapshot.sources:
        if source.absent or (not source.required and source.stale(snapshot.now)):
            state = "absent" if source.absent else "stale"
            named.append(f"{source.name} {state}" + (f": {source.problem}" if source.problem else ""))
    return tuple(named)


def _waits(snapshot: Snapshot, evidence: Mapping[str, UnitEvidence]) -> list[float]:
    """Times at which evidence changes by age alone."""
    policy, now = snapshot.application.policy, snapshot.now
    waits = []
    for observed in snapshot.units.values():
        for failure in observed.pool.failures:
            create_error = failure.source == "create-error"
            waits.append((failure.at + policy.create_error_s if create_error else failure.seen + policy.replacement_hold_s) - now)
    waits += [judged.demand_since + policy.hard_demand_s - now for judged in evidence.values() if judged.demand_since is not None]
    return waits
