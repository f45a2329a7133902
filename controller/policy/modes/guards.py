"""The guards: each checks one condition and passes, or holds with a reason and with the time at which time alone may open it.

Guards are ordered: the first that holds gives the decision its reason, and all are shown. They are asymmetric on purpose. A failover needs
a proven shortage and a side that can serve; a fallback needs proof of everything that it relies on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from controller.policy import text
from controller.policy.account import Absorption, breach, empty, endpoints
from controller.policy.case import Case, soonest
from controller.policy.karpenter_times import HARD_DEMAND_S
from controller.policy.memory import HOUR_S, changes_within_an_hour
from controller.policy.model import Backend, Cause, GuardResult, Mode, Shortage, Snapshot, Target, Verdict
from controller.policy.reasons import Reason
from controller.policy.routing import (
    HEALTHY_SHARE,
    MAX_TARGET_GROUPS,
    action_problem,
    carrying,
    ending_details,
    existence,
    follows_ready,
    grant_problem,
    known_targets,
)

DWELL_COST_S: Final = 60.0
"""Shortest stay in cost mode, seconds. Short, because a failover protects users."""

_SHARED: Final = 1024  # answers that are kept to be shared; the times in their words make new ones all the time


@dataclass(frozen=True, slots=True)
class Held:
    """What a guard holds a change with.

    Attributes:
        details: For the reason's sentence, beside those of the trigger.
        opens_at: When time alone may open it, seconds since the Unix epoch; None: time alone never does.
        reason: Where it is another than the guard's first.
    """

    details: Mapping[str, str] = field(default_factory=dict)
    opens_at: float | None = None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Passed:
    """Why a guard passes. `known` and `allowed`: see `GuardResult`."""

    words: str
    known: bool = True
    allowed: bool = False


Check = Callable[[Case], str | Passed | Held]
"""What a guard checks: why it passes, or what it holds a change with. Words alone are a `Passed` of them."""


@lru_cache(maxsize=_SHARED)
def _answer(guard: str, found: Passed) -> GuardResult:
    """The answer of a guard that passes: one object for all applications, most of which get the same ones."""
    return GuardResult(guard, None, found.words, known=found.known, allowed=found.allowed)


@dataclass(frozen=True, slots=True, eq=False)
class Guard:
    """A row of the table of guards. Whether people are alerted while it holds, its reason says.

    Attributes:
        name: For people.
        check: The condition.
        reasons: Why it holds; the first, unless the check names another.
        waits: Whether time alone opens it. A preview of what comes next leaves it out.
        preparing: Whether it may hold while a fallback raises the replicas that it needs. While another one holds, raising them would be
            pointless.
    """

    name: str
    check: Check
    reasons: tuple[Reason, ...]
    waits: bool
    preparing: bool

    def __call__(self, case: Case) -> GuardResult:
        """The guard's answer."""
        found = self.check(case)
        if not isinstance(found, Held):
            return _answer(self.name, Passed(found) if isinstance(found, str) else found)
        reopens_s = None if found.opens_at is None else soonest(case.remaining(found.opens_at))
        return GuardResult(self.name, found.reason or self.reasons[0], details={**case.details, **found.details}, reopens_s=reopens_s)


def row(*reasons: Reason, waits: bool = False, preparing: bool = False) -> Callable[[Check], Guard]:
    """Makes a check a row of the table of guards; arguments as the attributes of `Guard`."""
    return lambda check: Guard(check.__name__.replace("_", " "), check, reasons, waits, preparing)


def _until(until: float, case: Case, passes: str, **details: str) -> str | Held:
    """The answer of a guard that waits.

    Args:
        until: When its wait is over, seconds since the Unix epoch.
        case: What is judged.
        passes: What it says from then on.
        details: For the reason's sentence, which names what remains.
    """
    left = case.remaining(until)
    return Held({**details, "remaining": text.duration(left)}, until) if left > 0 else passes


def until_text(until: float | None, now: float) -> str:
    """When an override ends, in words."""
    return "it is lifted" if until is None or math.isinf(until) else f"{text.duration(until - now)} from now"


def reason_text(why: str, by: str) -> str:
    """An operator's reason and name, in words."""
    return f"{why or 'no reason given'}{f' ({by})' if by else ''}"


@row(Reason.NOT_LEADER)
def leader(case: Case) -> str | Held:
    """Only the leader acts."""
    return f"leads, epoch {case.snapshot.epoch}" if case.snapshot.leader else Held()


@row(Reason.ROUTING_OBJECT_MISSING)
def routing_object(case: Case) -> str | Held:
    """The routing object must exist."""
    return "exists" if case.snapshot.routing.exists else Held({"object": case.snapshot.application.routing_object})


@row(Reason.ROUTING_UNKNOWN)
def routing(case: Case) -> str | Held:
    """The routing action must be one that the controller understands; any other is left alone."""
    return f"mode {case.mode}" if case.mode else Held({"object": case.snapshot.application.routing_object, "problem": case.mode_problem})


@row(Reason.PAUSED, Reason.OVERRIDE_UNREADABLE)
def paused(case: Case) -> str | Held:
    """A person's pause stops everything; an override that cannot be read counts as a pause."""
    override, now = case.snapshot.routing.override, case.snapshot.now
    if override.problem:
        return Held({"problem": override.problem}, reason=Reason.OVERRIDE_UNREADABLE)
    why = reason_text(override.paused_why, override.paused_by)
    return Held(_standing(override.paused_until, why, now), override.paused_until) if override.pauses(now) else "not paused"


def _standing(until: float | None, why: str, now: float) -> dict[str, str]:
    return {"until": until_text(until, now), "why": why}


@row(Reason.SIGNALS_STALE)
def fresh(case: Case) -> str | Held:
    """Every required source must have been heard within its budget: stale evidence counts as no evidence."""
    stale = [source.name for source in case.snapshot.sources if source.required and source.stale(case.snapshot.now)]
    known = sum(not source.absent for source in case.snapshot.sources)
    return Held({"sources": text.listing(stale)}) if stale else f"{known} source(s) fresh"


@row(Reason.PINNED)
def pinned(case: Case) -> str | Held:
    """A pin to the present mode stops automatic mode changes."""
    override, now = case.snapshot.routing.override, case.snapshot.now
    if override.pinned_mode is None or override.pin(now) is not case.mode:
        return "not pinned"
    why = reason_text(override.pinned_why, override.pinned_by)
    return Held({"mode": str(override.pinned_mode), **_standing(override.pinned_until, why, now)}, override.pinned_until)


@row(Reason.SIGNALS_CONTRADICT)
def consistent(case: Case) -> str | Held:
    """Workload and EndpointSlices must not contradict each other on a unit that the trigger relies on."""
    for name in case.subject:
        observed = case.snapshot.units[name]
        if observed.deployment_ready and observed.endpoints_ready == 0:
            kind = case.snapshot.application.unit(name).workload_kind
            problem = f"{kind} of {name} has {observed.deployment_ready} ready replica(s), its Service has no ready endpoint"
            return Held({"problem": problem})
    return "signals agree"


@row(Reason.CAUSE_NOT_ALLOWED)
def cause(case: Case) -> str | Held:
    """The cause must be one of `tripCauses`. A misconfiguration also counts once demand has waited a whole cache cycle."""
    for name in case.subject:
        if _may_trip(case, case.evidence[name].cause, name):
            return str(case.evidence[name].cause)
    judged = case.evidence[case.subject[0]]
    ages = judged.cause is Cause.CONFIG and judged.demand_since is not None
    old_at = (judged.demand_since or 0.0) + HARD_DEMAND_S if ages else None
    return Held({"cause": str(judged.cause), "codes": text.listing(judged.codes)}, old_at)


def _may_trip(case: Case, why: Cause, name: str) -> bool:
    """Whether a cause may lead to a failover now: a misconfiguration may once pods have waited for a whole cache cycle."""
    policy, since = case.snapshot.application.policy, case.evidence[name].demand_since
    old = since is not None and case.snapshot.now - since >= HARD_DEMAND_S
    return why in policy.trip_causes or (why is Cause.CONFIG and old)


@row(Reason.SHORTAGE_ABSORBED)
def absorbed(case: Case) -> str | Held:
    """The ready rest must be unable to serve what the short units cannot, up to `failoverUtilization`, or a limit must be passed."""
    found, limit = case.absorption, case.snapshot.application.policy.failover_utilization
    if found is None:
        return "what the short units cannot serve is not known"
    if not found.fits:
        rest = f"the others could take {_rate(found.spare, case)} more at {_percent(limit)} of their throughput"
        return f"{_rate(found.unmet, case)} cannot be served; {rest}"
    suffering = breach(case.snapshot, case.subject)
    return f"the ready replicas could serve the demand, but {suffering}" if suffering else Held({"instead": _instead(found, case)})


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


@row(Reason.PATIENCE, waits=True)
def patience(case: Case) -> str | Held:
    """How long a proven shortage is observed before it is acted on."""
    remembered = [case.memory.units[name].proven_at for name in case.subject if name in case.memory.units]
    proven_at = min((at for at in remembered if at is not None), default=case.snapshot.now)
    return _until(
        proven_at + case.snapshot.application.policy.patience_s, case, f"proven for {text.duration(case.snapshot.now - proven_at)}"
    )


@row(Reason.OTHER_SIDE_SHORT)
def other_side(case: Case) -> str | Held:
    """Another unit must be able to take the traffic; otherwise a mode change gains nothing."""
    able = [name for name, judged in case.evidence.items() if judged.can_serve and name not in case.subject]
    return f"{text.listing(able)} can serve" if able else Held()


@row(Reason.STANDBY_NOT_READY, preparing=True)
def standby(case: Case) -> str | Held:
    """Every Service that is to receive traffic must exist and have a ready endpoint; otherwise its requests get a 503."""
    for target in case.receiving:
        exists, ready = endpoints(case.snapshot, target.service)
        problem = f"Service {target.service} has no ready endpoint" if ready == 0 else f"endpoints of {target.service} are not known"
        if exists is False:
            problem = f"Service {target.service} (port {target.port}) does not exist"
        if target.weight > 0 and (exists is False or not ready):
            return Held({"problem": problem})
    return "every receiving Service has ready endpoints"


@row(Reason.ROUTING_BLOCKED)
def permitted(case: Case) -> str | Held:
    """The routing object must be permitted to name every receiving Service that is in another namespace: a ReferenceGrant says so."""
    ungranted = [target.service for target in case.receiving if target.service in case.snapshot.routing.ungranted]
    problem = grant_problem(case.snapshot.application, ungranted)
    return Held({"problem": problem}) if problem else "the routing object may name every receiving Service"


@row(Reason.ACTION_REFUSED, preparing=True)
def legal(case: Case) -> str | Held:
    """AWS must accept the action: at most five target groups, each once, weights 0 to 999 and one above 0, and stickiness if one has it."""
    problem = action_problem(case.receiving, case.sticks_s, case.snapshot.routing.sticky)
    return Held({"problem": problem}) if problem else f"{len(case.receiving)} target group(s), {MAX_TARGET_GROUPS} are allowed"


@row(Reason.UNSAFE_SWITCH)
def safe(case: Case) -> str | Passed | Held:
    """The receiving target groups must be registered and healthy, and those that the action no longer names must stay registered."""
    problem = _unsafe(case)
    if problem and not case.snapshot.application.policy.allow_unsafe_switch:
        return Held({"problem": problem})
    if problem:
        return Passed(f"{problem}: 503s for 5 to 30 s, allowed by allowUnsafeSwitch", allowed=True)
    return "every target group is registered before and after"


def _unsafe(case: Case) -> str:
    """What would drop requests; "" where nothing is known to."""
    observed, application = case.snapshot.routing, case.snapshot.application
    if not observed.action:
        return ""  # nothing is routed now: the load balancer answers every request with a 503
    standby_of, named = observed.standby, {target.service for target in case.receiving}
    ours = set(application.services) - empty(case.snapshot, case.figures.healthy, case.memory.last_routed).keys()
    warm = {(target.service, target.port) for target in observed.targets}
    # What has traffic now may keep it: no change of weights makes that worse.
    present = {target.service for target in observed.targets if target.weight > 0}
    receiving = [target for target in case.receiving if target.weight > 0]
    serving, healthy = [target.service for target in receiving], known_targets(case.snapshot, case.figures.healthy)
    problems: tuple[tuple[str, list[str], str], ...] = (
        (
            "no standby rule keeps ",
            [
                _target_group(one, observed.targets)
                for one in receiving
                if one.service not in standby_of and (one.service, one.port) not in warm
            ],
            " registered with the load balancer",
        ),
        (
            "no standby rule keeps ",
            [one.service for one in observed.targets if one.service in ours and one.service not in {*named, *standby_of}],
            " registered afterwards: requests in flight would be cut",
        ),
        (
            "the load balancer has no target group for ",
            [service for service in serving if observed.bound is not None and service not in observed.bound],
            " yet",
        ),
        ("no target of ", [service for service in serving if healthy.get(service) == 0], " is healthy at the load balancer"),
        (
            "no target of ",
            [service for service in serving if service not in healthy and service not in present],
            f" has been seen healthy at the load balancer yet{_not_asked(case.snapshot)}",
        ),
        ("", _too_few(case, serving, healthy)[:1], ""),
    )
    return next((f"{before}{text.listing(names)}{after}" for before, names, after in problems if names), "")


def _too_few(case: Case, serving: Sequence[str], healthy: Mapping[str, int]) -> list[str]:
    """The Services of which a fallback waits for more healthy targets: it only saves money. Users wait for a failover."""
    share = HEALTHY_SHARE if case.saves else 0.0
    wanted = {service: math.ceil(share * (endpoints(case.snapshot, service)[1] or 0)) for service in serving}
    few = {service: needed for service, needed in wanted.items() if healthy.get(service, needed) < needed}
    return [f"{healthy[name]} target(s) of {name} are healthy at the load balancer, {needed} are needed" for name, needed in few.items()]


def _target_group(wanted: Target, present: Sequence[Target]) -> str:
    """A target group in words: by its Service, and by its port where the present action names another: 80 and "http" are two groups."""
    port = next((target.port for target in present if target.service == wanted.service), wanted.port)
    if port == wanted.port:
        return wanted.service
    return f"port {wanted.port} of {wanted.service} (the action names {port}, another target group)"


def _not_asked(snapshot: Snapshot) -> str:
    """What to do where ELBv2 cannot be asked; "" where it answers."""
    seen = snapshot.routing.verification
    if seen is None or seen.verdict is not Verdict.CANNOT_TELL:
        return ""
    return f" ({seen.why}): without ELBv2, pods need readiness gates of its controller, or the policy allowUnsafeSwitch"


@row(Reason.ROUTING_BLOCKED)
def unblocked(case: Case) -> str | Held:
    """The load-balancer controller must be able to act: one broken object blocks every change of a load balancer."""
    said = case.snapshot.routing.blocked
    if said and not may_fix(said, case.snapshot, case.receiving):
        return Held({"problem": said})
    fixes = f"the new action may fix what the load-balancer controller reports: {said}"
    return fixes if said else "the load-balancer controller reports nothing that it cannot read"


def may_fix(said: str, snapshot: Snapshot, receiving: Sequence[Target]) -> bool:
    """Whether another action may fix the problem that the load-balancer controller reports: it concerns the present action.

    Args:
        said: Its message. Of an Ingress: ``Failed build model due to ingress: NAMESPACE/NAME: WHY``; of a route: the false condition.
        snapshot: For the routing object and its present action.
        receiving: The other action.
    """
    application = snapshot.application
    if snapshot.routing.settings_elsewhere:  # a weight that it refuses, or a backend that is not there
        exists = existence(snapshot)
        unresolved = said.startswith("ResolvedRefs") and all(exists.get(Backend(one.service, one.port)) for one in receiving)
        return unresolved or bool(action_problem(snapshot.routing.targets))
    if f"ingress: {application.key}:" not in said:
        return False
    # Named with the prefix where it is unreadable, without it where it is missing.
    if re.search(rf"\bactions\.{re.escape(application.route.part)}(?=[:\s])", said):
        return True
    left = {target.service for target in snapshot.routing.targets} - {target.service for target in receiving}
    return any(f'"{service}"' in said or f"/{service}" in said for service in left)


@row(Reason.DWELL, waits=True)
def dwell(case: Case) -> str | Held:
    """The present mode must have lasted its minimum time."""
    policy = case.snapshot.application.policy
    least = policy.dwell_capacity_s if case.mode is Mode.CAPACITY else DWELL_COST_S
    passes = f"at least {text.duration(least)} in mode {case.mode}"
    return _until(case.memory.mode_since + least, case, passes, mode=str(case.mode))


@row(Reason.FLIP_BUDGET_SPENT)
def flip_budget(case: Case) -> str | Held:
    """The number of mode changes within an hour is limited."""
    limit, recent = case.snapshot.application.policy.flips_per_hour, changes_within_an_hour(case.memory, case.snapshot.now)
    if len(recent) < limit:
        return f"{len(recent)} of {limit} in the last hour"
    return Held({"changes": str(len(recent)), "limit": str(limit)}, recent[-limit] + HOUR_S)


def could_trip(case: Case, name: str) -> bool:
    """Whether a shortage of the unit may cause a failover. One that may not neither holds a fallback nor sets its waits.

    A misconfiguration may also have caused the failover that is to end.
    """
    known = case.memory.units.get(name)
    why = known.cause if known is not None else case.evidence[name].cause
    caused = known is not None and known.proven_at is not None and known.proven_at <= case.memory.mode_since
    return name in carrying(case.snapshot.application) and (_may_trip(case, why, name) or (why is Cause.CONFIG and caused))


def lasting_shortages(case: Case) -> frozenset[str]:
    """The units that are short and may cause no failover: a fallback does not wait for them, and their weight follows what they have."""
    return frozenset(name for name, judged in case.evidence.items() if judged.short and not could_trip(case, name))


@row(Reason.RETURN_UNPROVEN)
def proof(case: Case) -> str | Held:
    """Every unit that was short must have capacity again, and no refused unit may wait for it: a missing signal proves nothing."""
    unproven = [name for name in case.subject if not case.evidence[name].returned.proven]
    refused = [
        name
        for name, judged in case.evidence.items()
        if (judged.short or (judged.shortage is Shortage.SUSPECTED and judged.demand)) and could_trip(case, name)
    ]
    if unproven or refused:
        return Held({"units": text.listing(dict.fromkeys(unproven + refused))})
    return f"{text.listing(case.subject)} proven" if case.subject else "nothing is remembered as short"


@row(Reason.NOT_QUIET, waits=True)
def quiet(case: Case) -> str | Held:
    """No refusal must have proven a shortage for a while."""
    refused = [(judged.last_refusal_at, name) for name, judged in case.evidence.items() if could_trip(case, name)]
    last = max(((at, name) for at, name in refused if at is not None), key=lambda refusal: refusal[0], default=None)
    if last is None:
        return "no refusal is remembered"
    age = text.duration(case.snapshot.now - last[0])
    return _until(last[0] + case.snapshot.application.policy.quiet_s, case, f"no refusal for {age}", units=last[1], age=age)


@row(Reason.HOLD_RUNNING, waits=True)
def hold(case: Case) -> str | Held:
    """The break-even time of a mode change must be over, counted from the return of capacity."""
    back = [case.evidence[name].returned_at for name in case.subject]
    start = max((at for at in back if at is not None), default=case.memory.mode_since)
    length = text.duration(case.hold_s)
    return _until(start + case.hold_s, case, f"{length} since the return are over", hold=length)


@row(Reason.RESERVATION_ENDING)
def lasting(case: Case) -> str | Held:
    """No unit may be about to lose replicas with a Capacity Block: traffic that moved back would have to move again."""
    details = ending_details(case.snapshot, planned=True)
    return Held(details) if details else "no Capacity Block that replicas run in ends soon"


@row(Reason.WAITING_FOR_READY, preparing=True)
def ready(case: Case) -> str | Held:
    """Every unit that is to receive traffic must have the ready replicas that it needs at the present demand."""
    receiving = {target.service for target in case.receiving if target.weight > 0}
    without = lasting_shortages(case)
    for unit in case.snapshot.application.units:
        judged = case.evidence[unit.name]
        if unit.backend.service in receiving and unit.name not in without and judged.lasting < judged.needed:
            return Held({"units": unit.name, "ready": str(judged.lasting), "needed": str(judged.needed)})
    return "every unit has the ready replicas that cost mode needs"


@row(Reason.ROUTING_UNVERIFIED, preparing=True)
def verified(case: Case) -> str | Passed | Held:
    """The last change must have reached the load balancer before traffic moves back."""
    seen, changed = case.snapshot.routing.verification, case.memory.changed_at
    if changed is None or case.memory.verified_at is not None:
        return "the load balancer shows the routing action" if changed else "nothing was changed yet"
    if seen is None or seen.verdict is Verdict.CANNOT_TELL:
        return Passed(f"cannot tell: {seen.why if seen else 'not observed yet'}", known=False)
    return Held({"problem": seen.problem or "not observed since the change"})


# Freshness comes first: before the watches have delivered anything, "does not exist" only means "not seen yet".
ALWAYS: Sequence[Guard] = (leader, fresh, routing_object, routing, paused)
MODE_CHANGE: Sequence[Guard] = (permitted, legal, standby, safe, unblocked)
FAILOVER: Sequence[Guard] = (pinned, cause, absorbed, patience, other_side, *MODE_CHANGE, dwell, flip_budget)
FALLBACK: Sequence[Guard] = (pinned, proof, quiet, hold, dwell, flip_budget, consistent, lasting, ready, *MODE_CHANGE, verified)
NOTHING_BEHIND: Sequence[Guard] = (pinned, *MODE_CHANGE)
"""Nothing can be lost: neither proof nor dwell nor budget."""
ROLLBACK: Sequence[Guard] = (pinned, *MODE_CHANGE)
REROUTE: Sequence[Guard] = (permitted, legal, standby, safe)
"""Within a mode. `unblocked` is not among them: the load-balancer controller carries out new weights once it is unblocked."""


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

    @property
    def prepares(self) -> bool:
        """Whether every guard that holds may hold while a fallback raises the replicas that it needs."""
        return all(result.passed or guard.preparing for guard, result in zip(self.guards, self.results, strict=True))


def ask(guards: Sequence[Guard], case: Case) -> Answers:
    """Asks every guard, in order; a preview leaves out those that only wait."""
    asked = tuple(guard for guard in guards if not (case.preview and guard.waits))
    return Answers(asked, tuple(guard(case) for guard in asked))
