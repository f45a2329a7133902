"""Alerts: what a person should know because the controller cannot settle it alone.

They are found by walking two tables: `ROWS` about an application, and `unit_alerts.ROWS` about each of its units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from controller.policy import text
from controller.policy.account import endpoints, fresh_s, overloaded, unit_loads
from controller.policy.alert_kinds import AlertKind, Found
from controller.policy.alerts import unit_alerts
from controller.policy.case import Case
from controller.policy.floors import contested, held_claims, held_until, highest, left
from controller.policy.model import CRITICAL, OFFERINGS_SOURCE, QUEUE_SOURCE, Alert, Decision, Mode, RoutingObservation, Verb, Verdict
from controller.policy.reasons import WARNING
from controller.policy.routing import (
    capacity_targets,
    carrying,
    cost_targets,
    existence,
    grant_problem,
    healthy_targets,
    known_targets,
    lacking,
    needed,
)

CLOCKS_APART_S: Final = 30.0
"""Clocks that differ by more than this are worth an alert."""

_FIGHTING = 3  # re-assertions after which an alert says that two writers fight


def alerts(case: Case, decision: Decision) -> tuple[Alert, ...]:
    """Everything worth an alert now. The keys are stable while the condition lasts.

    Args:
        case: What is observed, remembered and proven.
        decision: What was decided.
    """
    return (*_held(decision), *_of_application(case), *_of_units(case, decision))


def _held(decision: Decision) -> Iterator[Alert]:
    """The first guard that holds. The decision's reason would not do: it changes with the weights, and the alert would come and go."""
    held = next((result for result in decision.answers if result.reason is not None), None)
    if held is not None and held.reason is not None and held.reason.severity:
        # A fallback that is held back costs money; a failover that is held back fails users.
        yield Alert.of(held.reason, held.details, severity=WARNING if decision.held_back is Verb.FALLBACK else "")


def _of_application(case: Case) -> Iterator[Alert]:
    for row, find in ROWS:
        for found in find(case):
            yield Alert.of(row, found.details, found.subject, found.severity)


def _of_units(case: Case, decision: Decision) -> Iterator[Alert]:
    units = case.snapshot.application.units
    seen = [unit_alerts.Seen(unit, case.snapshot.units[unit.name], case.evidence[unit.name], case, decision) for unit in units]
    for row, find in unit_alerts.ROWS:
        for one in seen:
            for found in find(one):
                yield Alert.of(row, {"unit": one.unit.name, **found.details}, (one.unit.name, *found.subject), found.severity)


def _absent(case: Case) -> Iterable[Found]:
    """As long as a required source is absent, no shortage can be proven."""
    missing = [source for source in case.snapshot.sources if source.required and source.absent]
    return [Found({"source": source.name, "why": source.why}, (source.name,)) for source in missing]


def _unreadable(name: str) -> Callable[[Case], Iterable[Found]]:
    """Finds that a source cannot be read without which a proof takes longer."""

    def found(case: Case) -> Iterable[Found]:
        stale = [source for source in case.snapshot.sources if source.name == name and source.stale(case.snapshot.now)]
        return [Found({"problem": source.problem}) for source in stale if source.problem]

    return found


def _clocks(case: Case) -> Iterable[Found]:
    """Evidence is judged by the cluster's stamps all the same; what other people compare is not."""
    skew = case.snapshot.clock_skew_s
    details = {"skew": text.duration(abs(skew)), "where": "ahead of" if skew > 0 else "behind"}
    return [Found(details)] if abs(skew) > CLOCKS_APART_S else []


def _unprepared(case: Case) -> Iterable[Found]:
    """What would make the guards refuse a mode change, reported before one is needed."""
    snapshot, application, routing = case.snapshot, case.snapshot.application, case.snapshot.routing
    services, exists, careful = needed(application), existence(snapshot), not application.policy.allow_unsafe_switch
    cold = lacking(application, routing) if careful and case.mode is not None else ()
    seen, shown = routing.verification, routing.present_verification
    blind = careful and routing.targets and not cold and seen is not None and seen.verdict is Verdict.CANNOT_TELL
    known = known_targets(snapshot, healthy_targets(snapshot)) if blind else {}
    serving = {target.service for target in routing.targets if target.weight > 0}  # of these `blackhole` says more
    # Until the load balancer shows a new action, the load-balancer controller has perhaps not come to it yet.
    come = shown is not None and (shown.verdict is Verdict.YES or shown.problem.startswith(CRITICAL))
    bound = routing.bound if careful and case.mode is not None and not cold and come else None
    problems: tuple[tuple[tuple[str, ...], str, list[str], str, str], ...] = (
        (
            ("services",),
            "there is no Service with the port ",
            [f"{one.service}:{one.port}" for one in services if exists[one] is False and one.service not in serving],
            "",
            "create it",
        ),
        (
            (),
            "no standby rule keeps ",
            [one.service for one in cold if routing.targets],
            " registered with the load balancer",
            "`failoverctl doctor` prints what to add",
        ),
        (
            ("health",),
            "nothing shows whether targets of ",
            [one.service for one in services if blind and one.service not in known],
            f" are healthy ({seen.why if seen is not None else ''})",
            "let it ask ELBv2, give pods the readiness gates of the load-balancer controller, or set allowUnsafeSwitch",
        ),
        (
            ("bindings",),
            "the TargetGroupBinding of ",
            [one.service for one in services if bound is not None and one.service in routing.standby and one.service not in bound],
            " is gone",
            f"annotate {application.routing_object}, so that the load-balancer controller makes it again",
        ),
    )
    return [
        Found({"problem": f"{before}{text.listing(names)}{after}", "fix": fix}, aspect)
        for aspect, before, names, after, fix in problems
        if names
    ]


def _harmful_override(case: Case) -> Iterable[Found]:
    """An override that holds back a failover, or another action under which a unit would not get more than it can serve."""
    snapshot, application, override = case.snapshot, case.snapshot.application, case.snapshot.routing.override
    paused, pin = override.pauses(snapshot.now), override.pin(snapshot.now)
    if not paused and pin is None:
        return []
    what = "the pause" if paused else f"the pin to {pin} mode"
    stays = case.mode is Mode.COST and (paused or pin is Mode.COST) and not (case.absorption is not None and case.absorption.fits)
    short = [name for name, judged in case.evidence.items() if stays and judged.short and name in carrying(application)]
    figures = case.figures
    actions = (snapshot.routing.targets, cost_targets(application, figures.cost), capacity_targets(application, figures.serving))
    now, *instead = (overloaded(application, unit_loads(application, figures, targets)) for targets in actions)
    over = [name for name in now if any(name not in each for each in instead)]
    harm = [f"no failover comes for {text.listing(short)}"] if short else []
    many = "gets more than its" if len(over) == 1 else "get more than their"
    harm += [f"{text.listing(over)} {many} replicas can serve"] if over else []
    return [Found({"what": what, "harm": "; ".join(harm), "application": application.key})] if harm else []


def _counters(case: Case) -> Iterable[Found]:
    """No counter has a value any more, and replicas above their minimum are held. A single late period raises no alert."""
    snapshot, memory = case.snapshot, case.memory
    since, period_s = memory.demand_missing_since, snapshot.application.metric_period_s
    if since is None or memory.demand_known_since is not None:
        return
    # Values that come late are missing for moments only, again and again: what counts is how old the newest is now.
    newest = max((one.demand.at for one in snapshot.units.values() if one.demand is not None), default=since - fresh_s(period_s))
    held = highest(snapshot, held_claims(snapshot, memory))
    lasts = snapshot.now - newest >= fresh_s(period_s) + period_s
    if lasts and any(claim.replicas > snapshot.application.unit(name).min_replicas for name, claim in held.items()):
        left_s = held_until(snapshot, memory) - snapshot.now
        yield Found({"waited": text.duration(snapshot.now - newest), "left": text.duration(left_s)})


def _mostly_short(case: Case) -> Iterable[Found]:
    """Capacity mode in which most units cannot grow: what is left carries everything, and no mode change helps."""
    carried = carrying(case.snapshot.application)
    names = [unit.name for unit in case.snapshot.application.units if unit.name in carried]
    short, able = [name for name in names if case.evidence[name].short], [name for name in names if not case.evidence[name].short]
    ready = sum(case.evidence[name].ready for name in able)
    rest = f"only {text.listing(able)} can grow, with {ready} ready replica(s)" if able else "no unit can grow"
    found = Found({"count": str(len(short)), "units": str(len(names)), "short": text.listing(short), "rest": rest})
    return [found] if case.memory.mode is Mode.CAPACITY and len(short) > max(1, len(able)) else []


def _in_line_s(routing: RoutingObservation, since: float) -> float:
    """How long a change may wait for its turn to be verified, seconds; 0 once the load balancer was asked about it.

    Where a thousand applications change their mode at once, the budget of ELBv2 calls reaches most of them after minutes.
    """
    seen = routing.present_verification
    return routing.asked_within_s if seen is None or seen.at < since else 0.0


def _blackhole(case: Case) -> Iterable[Found]:
    """The load balancer answers by itself, or a Service that gets traffic does not exist."""
    seen, targets = case.snapshot.routing.verification, case.snapshot.routing.targets
    if seen is not None and seen.problem.startswith(CRITICAL):
        return [Found({"share": "all", "problem": seen.problem.removeprefix(CRITICAL)})]
    gone = [one for one in targets if one.weight > 0 and endpoints(case.snapshot, one.service)[0] is False]
    share = sum(one.weight for one in gone) / max(1, sum(one.weight for one in targets))
    problem = f"there is no Service {text.listing(one.service for one in gone)}"
    return [Found({"share": f"{share:.0%} of the", "problem": problem})] if gone else []


def _unverified(case: Case) -> Iterable[Found]:
    """A change that the load balancer does not show: users are still where they were."""
    routing, memory, now = case.snapshot.routing, case.memory, case.snapshot.now
    since, seen = memory.unverified_since, routing.verification
    if since is None or now - since < max(case.snapshot.application.policy.verify_alert_s, _in_line_s(routing, since)):
        return []
    problem = (seen.problem if seen is not None else "") or "it was not observed since"
    problem += f"; its controller says: {routing.undone}" if routing.undone else ""
    problem += f" (nudged {memory.nudged.times} times)" if memory.nudged.times else ""
    verdict = "does not show" if seen is not None and seen.verdict is Verdict.NOT_YET else "is not known to show"
    return [Found({"verdict": verdict, "ago": text.duration(now - since), "problem": problem})]


def _blocked(case: Case) -> Iterable[Found]:
    routing = case.snapshot.routing
    said = grant_problem(case.snapshot.application, routing.ungranted) or routing.blocked
    return [Found({"problem": said})] if said else []


def _fighting(case: Case) -> Iterable[Found]:
    """Right after our own write the object names us as the writer, so the memory names who wrote before us."""
    times, who = case.memory.reasserted.times, case.memory.reasserted.against or "somebody"
    return [Found({"times": str(times), "who": who})] if times >= _FIGHTING else []


def _rival(case: Case) -> Iterable[Found]:
    """Two installations with the same application: each takes the other's changes for those of a stranger."""
    return [Found({"other": other, "ours": case.snapshot.installation})] if (other := case.snapshot.rival) else []


ROWS: Final[tuple[tuple[AlertKind, Callable[[Case], Iterable[Found]]], ...]] = (
    (AlertKind.BLACKHOLE, _blackhole),
    (AlertKind.HARMFUL_OVERRIDE, _harmful_override),
    (AlertKind.ABSENT, _absent),
    (AlertKind.KARPENTER_METRICS, _unreadable(OFFERINGS_SOURCE)),
    (AlertKind.REFUSAL_QUEUE, _unreadable(QUEUE_SOURCE)),
    (AlertKind.CLOCKS, _clocks),
    (AlertKind.UNPREPARED, _unprepared),
    (AlertKind.COUNTERS, _counters),
    (AlertKind.MOSTLY_SHORT, _mostly_short),
    (AlertKind.UNVERIFIED, _unverified),
    (AlertKind.BLOCKED, _blocked),
    (AlertKind.FIGHTING, _fighting),
    (AlertKind.RIVAL, _rival),
    (AlertKind.LEFT, lambda case: left(case.memory, case.snapshot)),
    (AlertKind.CONTESTED, lambda case: contested(case.memory, case.snapshot)),
)
"""What people are alerted of in an application, and the function that finds it."""
