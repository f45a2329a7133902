"""The guards: each checks one condition and passes, or holds with a reason and with the time at which time alone may open it.

Guards are ordered: the first that holds gives the decision its reason, and all are shown. They are asymmetric on purpose. A failover needs
a proven shortage and a side that can serve; a fallback needs proof of everything that it relies on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from controller.policy import text
from controller.policy.absorption import Absorption
from controller.policy.availability import HEALTHY_SHARE, known_targets
from controller.policy.breach import breach
from controller.policy.case import Case, soonest
from controller.policy.emptiness import empty, endpoints
from controller.policy.forward_action import MAX_TARGET_GROUPS, action_problem
from controller.policy.karpenter_times import HARD_DEMAND_S
from controller.policy.memory import HOUR_S, changes_within_an_hour
from controller.policy.model import Cause, GuardResult, Mode, Return, Shortage, Snapshot, Target, Verdict
from controller.policy.reasons import Reason
from controller.policy.reservations import ending_details
from controller.policy.weights import carries, follows_ready

Guard = Callable[[Case], GuardResult]

# Shortest stay in cost mode, seconds. Short, because a failover protects users.
DWELL_COST_S: Final = 60.0

_SHARED: Final = 1024  # answers that are kept to be shared; the times in their words make new ones all the time


@lru_cache(maxsize=_SHARED)
def _pass(guard: str, words: str) -> GuardResult:
    """The answer of a guard that passes: one object for all applications, most of which get the same ones."""
    return GuardResult(guard, None, words)


def _hold(guard: str, reason: Reason, case: Case, *, opens_at: float | None = None, **details: str) -> GuardResult:
    """The answer of a guard that holds; `opens_at` is when time alone may open it, seconds since the Unix epoch."""
    reopens_s = None if opens_at is None else soonest(case.remaining(opens_at))
    return GuardResult(guard, reason, details={**case.details, **details}, reopens_s=reopens_s)


def until_text(until: float | None, now: float) -> str:
    """When an override ends, in words."""
    return "it is lifted" if until is None or math.isinf(until) else f"{text.duration(until - now)} from now"


def reason_text(why: str, by: str) -> str:
    """An operator's reason and name, in words."""
    return f"{why or 'no reason given'}{f' ({by})' if by else ''}"


def leader(case: Case) -> GuardResult:
    """Only the leader acts."""
    if not case.snapshot.leader:
        return _hold("leader", Reason.NOT_LEADER, case)
    return _pass("leader", f"leads, epoch {case.snapshot.epoch}")


def ingress(case: Case) -> GuardResult:
    """There must be an Ingress."""
    application = case.snapshot.application
    if not case.snapshot.routing.exists:
        return _hold("ingress", Reason.INGRESS_MISSING, case, ingress=application.key)
    return _pass("ingress", "exists")


def routing(case: Case) -> GuardResult:
    """The routing action must be one that the controller understands; any other is left alone."""
    if case.mode is None:
        return _hold("routing", Reason.ROUTING_UNKNOWN, case, ingress=case.snapshot.application.key, problem=case.mode_problem)
    return _pass("routing", f"mode {case.mode}")


def paused(case: Case) -> GuardResult:
    """A person's pause stops everything; an override that cannot be read counts as a pause."""
    override, now = case.snapshot.routing.override, case.snapshot.now
    if override.problem:
        return _hold("paused", Reason.OVERRIDE_UNREADABLE, case, problem=override.problem)
    if override.pauses(now):
        why = reason_text(override.paused_why, override.paused_by)
        return _hold("paused", Reason.PAUSED, case, opens_at=override.paused_until, until=until_text(override.paused_until, now), why=why)
    return _pass("paused", "not paused")


def fresh(case: Case) -> GuardResult:
    """Every required source must have been heard within its budget: stale evidence counts as no evidence."""
    stale = [source.name for source in case.snapshot.sources if source.required and source.stale(case.snapshot.now)]
    if stale:
        return _hold("fresh", Reason.SIGNALS_STALE, case, sources=text.listing(stale))
    return _pass("fresh", f"{sum(not source.absent for source in case.snapshot.sources)} source(s) fresh")


def pinned(case: Case) -> GuardResult:
    """A pin to the present mode stops automatic mode changes."""
    override, now = case.snapshot.routing.override, case.snapshot.now
    if override.pin(now) is case.mode and override.pinned_mode is not None:
        until, why = override.pinned_until, reason_text(override.pinned_why, override.pinned_by)
        return _hold("pinned", Reason.PINNED, case, opens_at=until, mode=str(override.pinned_mode), until=until_text(until, now), why=why)
    return _pass("pinned", "not pinned")


def consistent(case: Case) -> GuardResult:
    """Deployment and EndpointSlices must not contradict each other on a unit that the trigger relies on."""
    for name in case.subject:
        observed = case.snapshot.units[name]
        if observed.deployment_ready and observed.endpoints_ready == 0:
            problem = f"Deployment of {name} has {observed.deployment_ready} ready replica(s), its Service has no ready endpoint"
            return _hold("consistent", Reason.SIGNALS_CONTRADICT, case, problem=problem)
    return _pass("consistent", "signals agree")


def cause(case: Case) -> GuardResult:
    """The cause must be one of `tripCauses`. A misconfiguration also counts once demand has waited a whole cache cycle."""
    policy, now = case.snapshot.application.policy, case.snapshot.now
    for name in case.subject:
        judged = case.evidence[name]
        old = judged.demand_since is not None and now - judged.demand_since >= HARD_DEMAND_S
        if judged.cause in policy.trip_causes or (judged.cause is Cause.CONFIG and old):
            return _pass("cause", str(judged.cause))
    judged = case.evidence[case.subject[0]]
    ages = judged.cause is Cause.CONFIG and judged.demand_since is not None
    old_at = (judged.demand_since or 0.0) + HARD_DEMAND_S if ages else None
    return _hold("cause", Reason.CAUSE_NOT_ALLOWED, case, opens_at=old_at, cause=str(judged.cause), codes=text.listing(judged.codes))


def absorbed(case: Case) -> GuardResult:
    """The ready rest must be unable to serve what the short units cannot, up to `failoverUtilization`, or a limit must be passed."""
    found, limit = case.absorption, case.snapshot.application.policy.failover_utilization
    if found is None:
        return _pass("absorbed", "what the short units cannot serve is not known")
    if not found.fits:
        rest = f"the others could take {_rate(found.spare, case)} more at {_percent(limit)} of their throughput"
        return _pass("absorbed", f"{_rate(found.unmet, case)} cannot be served; {rest}")
    if suffering := breach(case.snapshot, case.subject):
        return _pass("absorbed", f"the ready replicas could serve the demand, but {suffering}")
    return _hold("absorbed", Reason.SHORTAGE_ABSORBED, case, instead=_instead(found, case))


def _instead(found: Absorption, case: Case) -> str:
    """Who serves what the short units cannot."""
    most = f"(at most {_percent(case.snapshot.application.policy.failover_utilization)})"
    if follows_ready(case.snapshot.application):
        if math.isinf(found.utilization):
            return "no replica is ready, and the demand is 0"
        return f"the ready replicas carry the whole demand, at {_percent(found.utilization)} of their throughput {most}"
    ready = sum(case.evidence[name].ready for name in case.subject)
    wanted = ready + sum(case.evidence[name].demand for name in case.subject)
    have = f"{ready} of {wanted} replicas"
    if found.unmet <= 0:
        return f"{have} carry their part of the demand"
    unmet, used = _rate(found.unmet, case), _percent(found.utilization)
    return f"the rest can serve the {unmet} that {have} cannot, at {used} of its throughput {most}"


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %"


def _rate(requests: float, case: Case) -> str:
    rate = requests / case.snapshot.application.metric_period_s
    return f"{rate:.1f} requests/s" if rate >= 0.05 or rate == 0 else "less than 0.1 requests/s"  # noqa: PLR2004 - what is rounded to 0


def patience(case: Case) -> GuardResult:
    """How long a proven shortage is observed before it is acted on."""
    remembered = [case.memory.units[name] for name in case.subject if name in case.memory.units]
    proven_at = min((unit.proven_at for unit in remembered if unit.proven_at is not None), default=case.snapshot.now)
    until = proven_at + case.snapshot.application.policy.patience_s
    if (left := case.remaining(until)) > 0:
        return _hold("patience", Reason.PATIENCE, case, opens_at=until, remaining=text.duration(left))
    return _pass("patience", f"proven for {text.duration(case.snapshot.now - proven_at)}")


def other_side(case: Case) -> GuardResult:
    """Another unit must be able to take the traffic; otherwise a mode change gains nothing."""
    able = [name for name, judged in case.evidence.items() if judged.can_serve and name not in case.subject]
    if not able:
        return _hold("other side", Reason.OTHER_SIDE_SHORT, case)
    return _pass("other side", f"{text.listing(able)} can serve")


def standby(case: Case) -> GuardResult:
    """Every Service that is to receive traffic must exist and have a ready endpoint; otherwise its requests get a 503."""
    for target in case.receiving:
        if target.weight == 0:
            continue
        exists, ready = endpoints(case.snapshot, target.service)
        if exists is False:
            return _hold("standby", Reason.STANDBY_NOT_READY, case, problem=f"Service {target.service} (port {target.port}) does not exist")
        if not ready:
            problem = f"Service {target.service} has no ready endpoint" if ready == 0 else f"endpoints of {target.service} are not known"
            return _hold("standby", Reason.STANDBY_NOT_READY, case, problem=problem)
    return _pass("standby", "every receiving Service has ready endpoints")


def legal(case: Case) -> GuardResult:
    """AWS must accept the action: at most five target groups, each once, weights 0 to 999 and one above 0, and stickiness if one has it."""
    problem = action_problem(case.receiving, case.sticks_s, case.snapshot.routing.sticky)
    if problem:
        return _hold("legal", Reason.ACTION_REFUSED, case, problem=problem)
    return _pass("legal", f"{len(case.receiving)} target group(s), {MAX_TARGET_GROUPS} are allowed")


def safe(case: Case) -> GuardResult:
    """The receiving target groups must be registered and healthy, and those that the action no longer names must stay registered."""
    problem = _unsafe(case)
    if not problem:
        return _pass("safe", "every target group is registered before and after")
    if case.snapshot.application.policy.allow_unsafe_switch:
        return _pass("safe", f"{problem}; allowed by allowUnsafeSwitch")
    return _hold("safe", Reason.UNSAFE_SWITCH, case, problem=problem)


def _unsafe(case: Case) -> str:
    """What would drop requests; "" where nothing is known to."""
    observed = case.snapshot.routing
    if not observed.action:
        return ""  # nothing is routed now: the load balancer answers every request with a 503
    receiving = [target for target in case.receiving if target.weight > 0]
    warm = {(target.service, target.port) for target in observed.targets}
    cold = [one for one in receiving if one.service not in observed.standby and (one.service, one.port) not in warm]
    if cold:
        groups = text.listing(_target_group(one, observed.targets) for one in cold)
        return f"no standby rule keeps {groups} registered with the load balancer"
    serving = [target.service for target in receiving]
    named, application = {target.service for target in case.receiving}, case.snapshot.application
    ours, gone = set(application.services), empty(case.snapshot, case.memory.changed_at).keys()
    left = [
        one.service
        for one in observed.targets
        if one.service in ours - gone and one.service not in named and one.service not in observed.standby
    ]
    if left:
        return f"no standby rule keeps {text.listing(left)} registered afterwards: requests in flight would be cut"
    unbound = [service for service in serving if observed.bound is not None and service not in observed.bound]
    if unbound:
        return f"the load balancer has no target group for {text.listing(unbound)} yet"
    return _unhealthy(case, serving)


def _target_group(wanted: Target, present: Sequence[Target]) -> str:
    """A target group in words: by its Service, and by its port where the present action names another: 80 and "http" are two groups."""
    port = next((target.port for target in present if target.service == wanted.service), wanted.port)
    if port == wanted.port:
        return wanted.service
    return f"port {wanted.port} of {wanted.service} (the action names {port}, another target group)"


def _unhealthy(case: Case, serving: Sequence[str]) -> str:
    """Why the load balancer could not serve from these Services; "" where it was seen that it can."""
    healthy = known_targets(case.snapshot, case.figures.healthy)
    sick = [service for service in serving if healthy.get(service) == 0]
    if sick:
        return f"no target of {text.listing(sick)} is healthy at the load balancer"
    # What has traffic now may keep it: no change of weights makes that worse.
    present = {target.service for target in case.snapshot.routing.targets if target.weight > 0}
    unseen = [service for service in serving if service not in healthy and service not in present]
    if unseen:
        return f"no target of {text.listing(unseen)} has been seen healthy at the load balancer yet{_not_asked(case.snapshot)}"
    # Users wait for a failover, and one healthy target is better than none. A fallback only saves money: it waits for most of them.
    for service in serving if case.saves else ():
        _, ready = endpoints(case.snapshot, service)
        needed = math.ceil(HEALTHY_SHARE * (ready or 0))
        if healthy.get(service, needed) < needed:
            return f"{healthy[service]} target(s) of {service} are healthy at the load balancer, {needed} are needed"
    return ""


def _not_asked(snapshot: Snapshot) -> str:
    """What to do where ELBv2 cannot be asked; "" where it answers."""
    seen = snapshot.routing.verification
    if seen is None or seen.verdict is not Verdict.CANNOT_TELL:
        return ""
    return f" ({seen.why}): without ELBv2, pods need readiness gates of its controller, or the policy allowUnsafeSwitch"


def unblocked(case: Case) -> GuardResult:
    """The load-balancer controller must be able to act: one broken Ingress of a group blocks every change of its load balancer."""
    said = case.snapshot.routing.blocked
    if not said:
        return _pass("unblocked", "the load-balancer controller reports no Ingress that it cannot read")
    if may_fix(said, case.snapshot, case.receiving):
        return _pass("unblocked", f"the new action may fix what the load-balancer controller reports: {said}")
    return _hold("unblocked", Reason.ROUTING_BLOCKED, case, problem=said)


def may_fix(said: str, snapshot: Snapshot, receiving: Sequence[Target]) -> bool:
    """Whether another action may fix the problem that the load-balancer controller reports: it concerns this Ingress' present action.

    Args:
        said: Its message, ``Failed build model due to ingress: NAMESPACE/NAME: WHY``.
        snapshot: For the Ingress and its present action.
        receiving: The other action.
    """
    application = snapshot.application
    if f"ingress: {application.key}:" not in said:
        return False
    # Named with the prefix where it is unreadable, without it where it is missing.
    if re.search(rf"\bactions\.{re.escape(application.action)}(?=[:\s])", said):
        return True
    left = {target.service for target in snapshot.routing.targets} - {target.service for target in receiving}
    return any(f'"{service}"' in said or f"/{service}" in said for service in left)


def dwell(case: Case) -> GuardResult:
    """The present mode must have lasted its minimum time."""
    policy = case.snapshot.application.policy
    least = policy.dwell_capacity_s if case.mode is Mode.CAPACITY else DWELL_COST_S
    until = case.memory.mode_since + least
    if (left := case.remaining(until)) > 0:
        return _hold("dwell", Reason.DWELL, case, opens_at=until, mode=str(case.mode), remaining=text.duration(left))
    return _pass("dwell", f"at least {text.duration(least)} in mode {case.mode}")


def flip_budget(case: Case) -> GuardResult:
    """The number of mode changes within an hour is limited."""
    now, limit = case.snapshot.now, case.snapshot.application.policy.flips_per_hour
    recent = changes_within_an_hour(case.memory, now)
    if len(recent) >= limit:
        opens_at = recent[-limit] + HOUR_S
        return _hold("flips", Reason.FLIP_BUDGET_SPENT, case, opens_at=opens_at, changes=str(len(recent)), limit=str(limit))
    return _pass("flips", f"{len(recent)} of {limit} in the last hour")


def could_trip(case: Case, name: str) -> bool:
    """Whether a shortage of the unit may cause a failover. One that may not neither holds a fallback nor sets its waits.

    A misconfiguration may once pods have waited for a whole cache cycle. It may also have caused the failover that is to end.
    """
    known, judged, policy = case.memory.units.get(name), case.evidence[name], case.snapshot.application.policy
    if not carries(case.snapshot.application, name):
        return False
    why = known.cause if known is not None else judged.cause
    if why in policy.trip_causes or why is not Cause.CONFIG:
        return why in policy.trip_causes
    caused = known is not None and known.proven_at is not None and known.proven_at <= case.memory.mode_since
    return caused or (judged.demand_since is not None and case.snapshot.now - judged.demand_since >= HARD_DEMAND_S)


def lasting_shortages(case: Case) -> frozenset[str]:
    """The units that are short and may cause no failover: a fallback does not wait for them, and their weight follows what they have."""
    return frozenset(name for name, judged in case.evidence.items() if judged.short and not could_trip(case, name))


def proof(case: Case) -> GuardResult:
    """Every unit that was short must have capacity again, and no refused unit may wait for it: a missing signal proves nothing."""
    unproven = [name for name in case.subject if case.evidence[name].returned not in {Return.REGISTERED, Return.REPLICAS_READY}]
    refused = [
        name
        for name, judged in case.evidence.items()
        if (judged.short or (judged.shortage is Shortage.SUSPECTED and judged.demand)) and could_trip(case, name)
    ]
    open_ = list(dict.fromkeys(unproven + refused))
    if open_:
        return _hold("proof", Reason.RETURN_UNPROVEN, case, units=text.listing(open_))
    return _pass("proof", f"{text.listing(case.subject)} proven" if case.subject else "nothing is remembered as short")


def quiet(case: Case) -> GuardResult:
    """No refusal must have proven a shortage for a while."""
    now, least = case.snapshot.now, case.snapshot.application.policy.quiet_s
    last = {
        name: judged.last_refusal_at
        for name, judged in case.evidence.items()
        if judged.last_refusal_at is not None and could_trip(case, name)
    }
    if not last:
        return _pass("quiet", "no refusal is remembered")
    name = max(last, key=lambda key: last[key] or 0.0)
    at = last[name] or 0.0
    if (left := case.remaining(at + least)) > 0:
        age, remaining = text.duration(now - at), text.duration(left)
        return _hold("quiet", Reason.NOT_QUIET, case, opens_at=at + least, units=name, age=age, remaining=remaining)
    return _pass("quiet", f"no refusal for {text.duration(now - at)}")


def hold(case: Case) -> GuardResult:
    """The break-even time of a mode change must be over, counted from the return of capacity."""
    back = [case.evidence[name].returned_at for name in case.subject]
    start = max((at for at in back if at is not None), default=case.memory.mode_since)
    until = start + case.hold_s
    if (left := case.remaining(until)) > 0:
        return _hold("hold", Reason.HOLD_RUNNING, case, opens_at=until, hold=text.duration(case.hold_s), remaining=text.duration(left))
    return _pass("hold", f"{text.duration(case.hold_s)} since the return are over")


def lasting(case: Case) -> GuardResult:
    """No unit may be about to lose replicas with a Capacity Block: traffic that moved back would have to move again."""
    details = ending_details(case.snapshot, planned=True)
    if details:
        return _hold("lasting", Reason.RESERVATION_ENDING, replace(case, details={**case.details, **details}))
    return _pass("lasting", "no Capacity Block that replicas run in ends soon")


def ready(case: Case) -> GuardResult:
    """Every unit that is to receive traffic must have the ready replicas that it needs at the present demand."""
    receiving = {target.service for target in case.receiving if target.weight > 0}
    without = lasting_shortages(case)
    for unit in case.snapshot.application.units:
        judged = case.evidence[unit.name]
        if unit.backend.service in receiving and unit.name not in without and judged.lasting < judged.needed:
            return _hold("ready", Reason.WAITING_FOR_READY, case, units=unit.name, ready=str(judged.lasting), needed=str(judged.needed))
    return _pass("ready", "every unit has the ready replicas that cost mode needs")


def verified(case: Case) -> GuardResult:
    """The last change must have reached the load balancer before traffic moves back."""
    seen, changed = case.snapshot.routing.verification, case.memory.changed_at
    if changed is None or case.memory.verified_at is not None:
        return _pass("verified", "the load balancer shows the routing action" if changed else "nothing was changed yet")
    if seen is None or seen.verdict is Verdict.CANNOT_TELL:
        return GuardResult("verified", None, f"cannot tell: {seen.why if seen else 'not observed yet'}", known=False)
    return _hold("verified", Reason.ROUTING_UNVERIFIED, case, problem=seen.problem or "not observed since the change")


# Freshness comes first: before the watches have delivered anything, "does not exist" only means "not seen yet".
ALWAYS: Sequence[Guard] = (leader, fresh, ingress, routing, paused)
MODE_CHANGE: Sequence[Guard] = (legal, standby, safe, unblocked)
FAILOVER: Sequence[Guard] = (pinned, cause, absorbed, patience, other_side, *MODE_CHANGE, dwell, flip_budget)
FALLBACK: Sequence[Guard] = (pinned, proof, quiet, hold, dwell, flip_budget, consistent, lasting, ready, *MODE_CHANGE, verified)
ROLLBACK: Sequence[Guard] = (pinned, *MODE_CHANGE)
NOTHING_BEHIND: Sequence[Guard] = (pinned, *MODE_CHANGE)
"""Nothing can be lost: neither proof nor dwell nor budget."""
REROUTE: Sequence[Guard] = (legal, standby, safe)
"""Within a mode. `unblocked` is not among them: the load-balancer controller carries out new weights once it is unblocked."""


WAITING: Final = frozenset({patience, dwell, hold, quiet})
"""Guards that time alone will open."""

WHILE_PREPARING: Final = frozenset({ready, legal, standby, verified})
"""Guards that may hold while a fallback raises the replicas that it needs. While another one holds, raising them would be pointless."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Guards that were asked, and what they answered.

    Attributes:
        guards: The guards, in order.
        results: The answer of each.
    """

    guards: tuple[Guard, ...] = ()
    results: tuple[GuardResult, ...] = ()

    @property
    def held(self) -> GuardResult | None:
        """The first that holds: it gives the decision its reason. None where all let pass."""
        return next((result for result in self.results if not result.passed), None)

    @property
    def next_check_s(self) -> float | None:
        """When time alone may open the first of those that hold, seconds from now; None where it opens none."""
        return soonest(*(result.reopens_s for result in self.results))

    def held_only_by(self, guards: Collection[Guard]) -> bool:
        """Whether every guard that holds is one of these."""
        return all(result.passed or guard in guards for guard, result in zip(self.guards, self.results, strict=True))


def ask(guards: Sequence[Guard], case: Case) -> Answers:
    """Asks every guard, in order; a preview leaves out those that only wait."""
    asked = tuple(guard for guard in guards if not (case.preview and guard in WAITING))
    return Answers(asked, tuple(guard(case) for guard in asked))
