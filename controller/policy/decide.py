"""The decision: memory and snapshot in, memory and decision out.

How it reads: take the mode from the Ingress; judge the evidence; ask the guards that always apply; see what asks for a change; ask the
guards of that change; otherwise keep the present mode's routing and replicas as they should be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from controller.policy import guards, text
from controller.policy.alerts import alerts
from controller.policy.demand import capacity_floors, ceiling, total_demand
from controller.policy.evidence import assess
from controller.policy.hold import break_even_s
from controller.policy.memory import adopt, observe
from controller.policy.model import (
    Application,
    Decision,
    GuardResult,
    Memory,
    Mode,
    Shortage,
    Snapshot,
    Strategy,
    Target,
    UnitEvidence,
    Verb,
    Verdict,
    WeightStrategy,
)
from controller.policy.modes import Trigger, transition
from controller.policy.reasons import Reason
from controller.policy.routing import mode_of, same_routing
from controller.policy.targets import capacity_targets, cost_targets, cost_weights, intended_weights, stickiness, weight_strategy
from controller.policy.weights import adjusted_throughputs


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


@dataclass(frozen=True, slots=True)
class _Wish:
    """What asks for a change, before any guard was asked."""

    trigger: Trigger
    reason: Reason
    subject: tuple[str, ...]
    details: Mapping[str, str]
    guards: tuple[guards.Guard, ...]


def _decide_in_mode(mode: Mode, case: guards.Case, weights: Mapping[str, int]) -> Decision:
    wish = _wish(mode, case)
    if wish is None:
        return _steady(mode, case)
    wanted, verb = transition(mode, wish.trigger)
    case.subject, case.details = wish.subject, wish.details
    if wanted is Mode.COST and wish.trigger is Trigger.PIN_COST:
        weights = cost_weights(case.snapshot) or weights  # a pin waits for nobody: what is not back yet gets no weight
    case.receiving = capacity_targets(case.snapshot) if wanted is Mode.CAPACITY else cost_targets(case.snapshot.application, weights)
    if guards.hold in wish.guards:
        case.hold_s = break_even_s(case.snapshot.application, weights, wish.subject, case.memory.hold_level)
    results = guards.run(wish.guards, case)
    held = guards.first_held(results)
    if held is not None:
        steady = _steady(mode, case)
        return _held_back(steady, verb, held, results, case)
    made = _with_routing(wanted, verb, wish.reason, wish.details, case, case.receiving, _floors(wanted, case), results)
    return replace(made, flap_window_s=case.snapshot.application.policy.flap_window_s)


def _wish(mode: Mode, case: guards.Case) -> _Wish | None:
    snapshot = case.snapshot
    pin = guards.active_pin(snapshot)
    if pin is not None and pin is not mode:
        trigger = Trigger.PIN_CAPACITY if pin is Mode.CAPACITY else Trigger.PIN_COST
        why = snapshot.routing.override.why or "no reason given"
        chosen = guards.FAILOVER_PINNED if pin is Mode.CAPACITY else guards.FALLBACK_PINNED
        return _Wish(trigger, Reason.PINNED_TO_MODE, (), {"mode": str(pin), "why": why, "units": ""}, tuple(chosen))
    return _failover_wish(case) if mode is Mode.COST else _fallback_wish(case)


def _failover_wish(case: guards.Case) -> _Wish | None:
    short = tuple(name for name, judged in case.evidence.items() if judged.short and _carries(case.snapshot.application, name))
    hurried = tuple(guard for guard in guards.FAILOVER if guard is not guards.patience)  # users suffer already
    if short and not _absorbed(case, short):
        chosen = hurried if _slo_breach(case, short) else tuple(guards.FAILOVER)
        return _Wish(Trigger.SHORTAGE, Reason.SHORTAGE_PROVEN, short, _shortage_details(case, short), chosen)
    suspected = tuple(
        name for name, judged in case.evidence.items() if judged.shortage is not Shortage.NONE and judged.demand and name not in short
    )
    breach = _slo_breach(case, suspected)
    if suspected and breach:
        details = {**_shortage_details(case, suspected), "breach": breach}
        return _Wish(Trigger.SHORTAGE, Reason.SLO_BREACHED, suspected, details, hurried)
    return None


def _carries(application: Application, name: str) -> bool:
    """Whether cost mode sends traffic to the unit at all: the shortage of one with an explicit weight of 0 harms nobody."""
    return weight_strategy(application) is not WeightStrategy.EXPLICIT or application.unit(name).weight != 0


def _fallback_wish(case: guards.Case) -> _Wish:
    """Capacity mode always wants to end; the guards tell what is missing."""
    subject = tuple(name for name in case.memory.units if name in case.evidence)
    proof = ", ".join(f"{name} {case.evidence[name].returned}" for name in subject)
    details = {"units": text.listing(subject) if subject else "every unit", "proof": proof or "no unit is remembered as short"}
    return _Wish(Trigger.RETURN, Reason.RETURN_PROVEN, subject, details, tuple(guards.FALLBACK))


def _shortage_details(case: guards.Case, names: tuple[str, ...]) -> dict[str, str]:
    judged = [case.evidence[name] for name in names]
    codes = dict.fromkeys(code for one in judged for code in one.codes)
    return {
        "units": text.listing(names),
        "cause": text.listing(dict.fromkeys(str(one.cause) for one in judged)),
        "codes": text.listing(codes),
        "pending": str(sum(one.demand for one in judged)),
    }


def _absorbed(case: guards.Case, short: tuple[str, ...]) -> bool:
    """With the adaptive strategy: whether the ready replicas carry the whole demand, so that re-weighting is enough."""
    snapshot = case.snapshot
    demand = total_demand(snapshot)
    if snapshot.application.policy.strategy is not Strategy.ADAPTIVE or demand is None:
        return False
    able = [name for name, judged in case.evidence.items() if judged.can_serve and name not in short]
    ready = sum(case.evidence[unit.name].ready * unit.throughput for unit in snapshot.application.units)
    return bool(able) and ready >= demand


def _slo_breach(case: guards.Case, names: tuple[str, ...]) -> str:
    snapshot = case.snapshot
    policy = snapshot.application.policy
    for name in names:
        sample, limit = snapshot.units[name].latency, snapshot.application.unit(name).latency_limit_s
        if sample is not None and abs(snapshot.now - sample.at) <= policy.ice_window_s and limit < sample.value < math.inf:
            return f"latency {sample.value:.2f} s over {limit:.2f} s"
    errors = snapshot.error_ratio
    if errors is not None and abs(snapshot.now - errors.at) <= policy.ice_window_s and policy.error_ratio_limit < errors.value <= 1:
        return f"{errors.value * 100:.1f} % errors over {policy.error_ratio_limit * 100:.1f} %"
    return ""


def _steady(mode: Mode, case: guards.Case) -> Decision:
    """The present mode, with its routing and replicas as they should be."""
    application, snapshot = case.snapshot.application, case.snapshot
    if mode is Mode.CAPACITY:
        targets = capacity_targets(snapshot)
    else:
        wanted = cost_weights(snapshot)
        targets = cost_targets(application, wanted) if wanted else ()
    floors = _floors(mode, case)
    reason, details = _steady_reason(case)
    routing = snapshot.routing
    current = same_routing(routing.targets, targets) and routing.stickiness_s == stickiness(application, mode)
    if not targets or current:
        return _with_routing(mode, Verb.HOLD, reason, details, case, targets, floors, ())
    return _rerouted(mode, case, targets, floors, (reason, details))


def _rerouted(
    mode: Mode, case: guards.Case, targets: tuple[Target, ...], floors: Mapping[str, int], fallback: tuple[Reason, Mapping[str, str]]
) -> Decision:
    """Another action is wanted in the same mode: because replicas changed, or because somebody else wrote it."""
    routing, policy, memory = case.snapshot.routing, case.snapshot.application.policy, case.memory
    case.receiving, case.subject = targets, ()
    results = guards.run((guards.standby, guards.safe), case)
    held = guards.first_held(results)
    if held is not None:
        kept = _with_routing(mode, Verb.HOLD, fallback[0], fallback[1], case, (), floors, results)
        return _held_back(kept, Verb.REWEIGHT, held, results, case)
    if routing.foreign or not routing.action:
        details = {"mode": str(mode), "writer": routing.writer or "nobody known"}
        pause = min(policy.reassert_max_s, policy.reassert_base_s * 2.0 ** min(memory.reasserts, 16)) if memory.reasserts else 0.0
        left = case.remaining((memory.reasserted_at or 0.0) + pause)
        if left > 0:
            details["remaining"] = text.duration(left)
            return _with_routing(mode, Verb.HOLD, Reason.REASSERT_BACKOFF, details, case, (), floors, results)
        return _with_routing(mode, Verb.REWEIGHT, Reason.ROUTING_DRIFTED, details, case, targets, floors, results)
    old = {target.service: target.weight for target in routing.targets}
    change = ", ".join(f"{t.service} {old.get(t.service, 0)} to {t.weight}" for t in targets if old.get(t.service, 0) != t.weight)
    details = {"change": change or "stickiness"}
    return _with_routing(mode, Verb.REWEIGHT, Reason.AVAILABILITY_CHANGED, details, case, targets, floors, results)


def _steady_reason(case: guards.Case) -> tuple[Reason, dict[str, str]]:
    evidence = case.evidence
    waiting = {name: judged for name, judged in evidence.items() if judged.demand}
    suspected = [name for name, judged in evidence.items() if judged.shortage is Shortage.SUSPECTED]
    short = tuple(name for name, judged in evidence.items() if judged.short)
    if short:
        return Reason.SHORTAGE_ABSORBED, _shortage_details(case, short)
    if any(name in waiting for name in suspected):
        return Reason.SHORTAGE_SUSPECTED, {"units": text.listing(name for name in suspected if name in waiting)}
    if suspected:
        return Reason.EVIDENCE_WITHOUT_DEMAND, {"units": text.listing(suspected)}
    if waiting:
        pending = str(sum(judged.demand for judged in waiting.values()))
        return Reason.WAITING_IS_NORMAL, {"units": text.listing(waiting), "pending": pending}
    return Reason.DEMAND_MET, {}


def _held_back(steady: Decision, verb: Verb, held: GuardResult, results: tuple[GuardResult, ...], case: guards.Case) -> Decision:
    """The steady decision, telling what is held back and by which guard. A fallback that only waits for replicas prepares them.

    What is done meanwhile keeps its own reason: the weights follow the ready replicas, a foreign edit is undone. So does, in capacity mode,
    what is held up about the present routing, because a fallback is always wanted there and would hide it.
    """
    if verb is Verb.FALLBACK and (steady.wanted is not None or steady.reason is Reason.REASSERT_BACKOFF):
        return steady
    decision = replace(steady, guards=results, wanted=verb)
    only_ready = all(result.passed or result.guard in {"ready", "standby", "verified"} for result in results)
    preparing = verb is Verb.FALLBACK and only_ready and held.reason is Reason.WAITING_FOR_READY
    if preparing:
        decision = replace(decision, floors={name: max(floor, case.evidence[name].needed) for name, floor in steady.floors.items()})
    if steady.verb is not Verb.HOLD:
        return decision
    if preparing:
        reason = Reason.PREPARING_RETURN if _raises(decision, case.snapshot) else Reason.WAITING_FOR_READY
        return replace(decision, verb=Verb.PREPARE, reason=reason, details=held.details)
    return replace(decision, reason=held.reason or steady.reason, details=held.details)


def _raises(decision: Decision, snapshot: Snapshot) -> bool:
    """Whether a floor is still to be raised, or all that can be is."""
    scalers = {
        name: observed.scaler for name, observed in snapshot.units.items() if observed.scaler is not None and not observed.scaler.paused
    }
    return any(decision.floors[name] > scaler.min_replicas for name, scaler in scalers.items())


def _floors(mode: Mode, case: guards.Case) -> dict[str, int]:
    if mode is Mode.CAPACITY:
        return capacity_floors(case.snapshot, case.evidence)
    units = case.snapshot.units
    return {unit.name: min(unit.min_replicas, ceiling(unit, units[unit.name])) for unit in case.snapshot.application.units}


def _with_routing(
    mode: Mode,
    verb: Verb,
    reason: Reason,
    details: Mapping[str, str],
    case: guards.Case,
    targets: tuple[Target, ...],
    floors: Mapping[str, int],
    results: tuple[GuardResult, ...],
) -> Decision:
    application = case.snapshot.application
    moving = verb in {Verb.FAILOVER, Verb.FALLBACK}
    return Decision(
        verb=verb,
        mode=mode,
        reason=reason,
        details=details,
        evidence=case.evidence,
        guards=results,
        targets=targets,
        stickiness_s=stickiness(application, mode),
        floors=floors,
        keda_targets=_keda_targets(application, mode),
        lowering_allowed=not moving and _settled(case),
    )


def _keda_targets(application: Application, mode: Mode) -> dict[str, str]:
    if mode is Mode.CAPACITY:
        return {name: text.number(value) for name, value in adjusted_throughputs(application.units).items()}
    return {unit.name: text.number(unit.throughput) for unit in application.units}


def _settled(case: guards.Case) -> bool:
    """Whether the load balancer shows the present action and clients that stuck to the old one have had time to leave."""
    snapshot, memory = case.snapshot, case.memory
    seen, policy = snapshot.routing.verification, snapshot.application.policy
    if seen is None or seen.verdict is not Verdict.YES or seen.action != snapshot.routing.action:
        return False
    if memory.changed_at is None:
        return True
    drain = max(policy.drain_s, float(policy.stickiness_cost_s), float(policy.stickiness_capacity_s))
    return memory.verified_at is not None and case.remaining(memory.verified_at + drain) <= 0


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
