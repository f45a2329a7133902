"""Each guard both ways: when it passes, when it holds, and in which words."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from controller.policy.account import Figures
from controller.policy.case import Case
from controller.policy.model import (
    CRITICAL,
    Cause,
    Mode,
    ModeChange,
    Override,
    PolicySettings,
    Return,
    RoutingObservation,
    RoutingStyle,
    Shortage,
    Snapshot,
    Source,
    Target,
    UnitMemory,
    Verdict,
    Verification,
)
from controller.policy.model.modes import Repeats
from controller.policy.modes import guards
from controller.policy.reasons import Reason
from controller.policy.routing import capacity_targets, cost_targets
from tests.policy.guard_cases import guard_case
from tests.policy.support import INF2, TRN1, change, decide, launched, pods, proven, refused, shortage
from tests.support.applications import NOW, SERVICES, application, healthy_units, memory, routing, snapshot

PASS = None


def _asks(guard: guards.Guard, case: Case, expected: Reason | None, words: str = "") -> None:
    result = guard(case)
    assert result.reason is expected, result.text
    assert result.passed is (expected is None)
    assert words in result.text
    assert "?>" not in result.text, "a person reads a placeholder instead of the reason"


@pytest.mark.parametrize(("leads", "expected"), [(True, PASS), (False, Reason.NOT_LEADER)])
def test_leader(leads: bool, expected: Reason | None) -> None:
    """Two replicas that both act would fight over the Ingress."""
    _asks(guards.leader, guard_case(snapshot(leader=leads)), expected)


@pytest.mark.parametrize(("exists", "expected"), [(True, PASS), (False, Reason.ROUTING_OBJECT_MISSING)])
def test_ingress(exists: bool, expected: Reason | None) -> None:
    """There is nothing to route without one."""
    _asks(guards.routing_object, guard_case(snapshot(routing=routing(exists=exists))), expected)


@pytest.mark.parametrize(("mode", "expected"), [(Mode.COST, PASS), (Mode.CAPACITY, PASS), (None, Reason.ROUTING_UNKNOWN)])
def test_routing(mode: Mode | None, expected: Reason | None) -> None:
    """An action that the controller does not understand is left alone."""
    _asks(guards.routing, guard_case(mode=mode), expected)


@pytest.mark.parametrize(
    ("override", "expected", "words"),
    [
        pytest.param(Override(), PASS, "not paused", id="none"),
        pytest.param(Override(paused_until=NOW), PASS, "not paused", id="just expired"),
        pytest.param(Override(paused_until=NOW + 90), Reason.PAUSED, "until 1 min 30 s from now: no reason given", id="without a reason"),
        pytest.param(
            Override(paused_until=math.inf, paused_why="launch day"), Reason.PAUSED, "until it is lifted: launch day", id="for ever"
        ),
        pytest.param(
            Override(problem="until is no time"), Reason.OVERRIDE_UNREADABLE, "counts as a pause (until is no time)", id="malformed"
        ),
    ],
)
def test_paused(override: Override, expected: Reason | None, words: str) -> None:
    """A pause that cannot be read counts as a pause: the person who wrote it meant one."""
    _asks(guards.paused, guard_case(snapshot(routing=routing(override=override))), expected, words)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param(Source("karpenter", True, NOW - 180, 180), PASS, id="at its budget"),
        pytest.param(Source("karpenter", True, NOW - 181, 180), Reason.SIGNALS_STALE, id="beyond it"),
        pytest.param(Source("karpenter", True, None, 180), Reason.SIGNALS_STALE, id="never heard from"),
        pytest.param(Source("karpenter", True, NOW + 181, 180), Reason.SIGNALS_STALE, id="dated ahead: its age is unknown"),
        pytest.param(Source("karpenter", True, math.nan, 180), Reason.SIGNALS_STALE, id="dated by no number"),
        pytest.param(Source("karpenter", True, None, 180, absent=True), PASS, id="absent: named as a degradation"),
        pytest.param(Source("cloudwatch", False, NOW - 9000, 180), PASS, id="optional"),
    ],
)
def test_fresh(source: Source, expected: Reason | None) -> None:
    """Evidence that is stale is absent, never fine."""
    _asks(guards.fresh, guard_case(snapshot(sources=(source,))), expected)


@pytest.mark.parametrize(
    ("override", "expected", "words"),
    [
        pytest.param(Override(), PASS, "", id="none"),
        pytest.param(Override(pinned_mode=Mode.COST), Reason.PINNED, "until it is lifted: no reason given", id="to the present mode"),
        pytest.param(
            Override(pinned_mode=Mode.COST, pinned_until=NOW + 60, pinned_why="test"),
            Reason.PINNED,
            "1 min from now: test",
            id="for a time",
        ),
        pytest.param(Override(pinned_mode=Mode.COST, pinned_until=NOW), PASS, "", id="expired"),
        pytest.param(Override(pinned_mode=Mode.CAPACITY), PASS, "", id="to the other mode: that is a trigger, not a guard"),
    ],
)
def test_pinned(override: Override, expected: Reason | None, words: str) -> None:
    """A pin to the present mode stops automatic changes of it."""
    _asks(guards.pinned, guard_case(snapshot(routing=routing(override=override))), expected, words)


@pytest.mark.parametrize(
    ("deployment", "endpoints", "expected"),
    [(2, 2, PASS), (2, 0, Reason.SIGNALS_CONTRADICT), (0, 0, PASS), (None, 0, PASS), (2, None, PASS)],
)
def test_consistent(deployment: int | None, endpoints: int | None, expected: Reason | None) -> None:
    """Ready replicas without one ready endpoint mean that the Service selects something else."""
    made = change(snapshot(), deployment_ready=deployment, endpoints_ready=endpoints)
    _asks(guards.consistent, guard_case(made), expected)


@pytest.mark.parametrize(
    ("judged", "expected"),
    [
        pytest.param({"cause": Cause.CAPACITY}, PASS, id="capacity"),
        pytest.param({"cause": Cause.QUOTA}, PASS, id="quota"),
        pytest.param({"cause": Cause.CONFIG, "demand_since": NOW - 239}, Reason.CAUSE_NOT_ALLOWED, id="misconfiguration"),
        pytest.param({"cause": Cause.CONFIG, "demand_since": None}, Reason.CAUSE_NOT_ALLOWED, id="misconfiguration without demand"),
        pytest.param({"cause": Cause.CONFIG, "demand_since": NOW - 240}, PASS, id="misconfiguration that has lasted"),
    ],
)
def test_cause(judged: dict[str, Any], expected: Reason | None) -> None:
    """A mistake in the launch configuration may switch only once users have waited a whole cycle."""
    _asks(guards.cause, guard_case(evidence={INF2: judged}), expected)


def test_cause_of_an_operator_who_allows_capacity_only() -> None:
    """Waiting never ends a quota, and some operators prefer an alert to a mode change."""
    made = snapshot(application(policy=PolicySettings(trip_causes=frozenset({Cause.CAPACITY}))))
    case = guard_case(made, evidence={INF2: {"cause": Cause.QUOTA, "codes": ("VcpuLimitExceeded",)}})
    _asks(guards.cause, case, Reason.CAUSE_NOT_ALLOWED, "may not lead to a failover: VcpuLimitExceeded")


@pytest.mark.parametrize(
    ("judged", "reopens_s"),
    [
        pytest.param({"cause": Cause.CONFIG, "demand_since": NOW - 239}, 1.0, id="a misconfiguration opens by age"),
        pytest.param({"cause": Cause.CONFIG, "demand_since": None}, None, id="without demand nothing ages"),
        pytest.param({"cause": Cause.QUOTA, "demand_since": NOW - 10}, None, id="age opens no other cause"),
    ],
)
def test_when_a_cause_opens(judged: dict[str, Any], reopens_s: float | None) -> None:
    """The pass that would act is scheduled for that moment, and for none where no age helps."""
    made = snapshot(application(policy=PolicySettings(trip_causes=frozenset({Cause.CAPACITY}))))
    assert guards.cause(guard_case(made, evidence={INF2: judged})).reopens_s == reopens_s


def test_cause_of_one_unit_is_enough() -> None:
    """One of two short units may switch: the other must not hold it back."""
    case = guard_case(subject=(TRN1, INF2), evidence={TRN1: {"cause": Cause.CONFIG}})
    _asks(guards.cause, case, PASS)


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        pytest.param({}, Reason.PATIENCE, id="proven this moment"),
        pytest.param(proven(NOW - 9), Reason.PATIENCE, id="not long enough"),
        pytest.param(proven(NOW - 10), PASS, id="long enough"),
        pytest.param(proven(NOW - 30, proven_at=None), Reason.PATIENCE, id="remembered without a proof"),
    ],
)
def test_patience(units: Any, expected: Reason | None) -> None:
    """Counts from the proof."""
    _asks(guards.patience, guard_case(memory=memory(units=units)), expected)


@pytest.mark.parametrize(
    ("able", "expected"),
    [
        pytest.param((TRN1,), PASS, id="another unit"),
        pytest.param((INF2,), Reason.OTHER_SIDE_SHORT, id="only the short one itself"),
        pytest.param((), Reason.OTHER_SIDE_SHORT, id="nobody"),
    ],
)
def test_other_side(able: tuple[str, ...], expected: Reason | None) -> None:
    """A mode change to a side that cannot serve gains nothing."""
    case = guard_case(evidence={name: {"can_serve": name in able} for name in SERVICES})
    _asks(guards.other_side, case, expected)


@pytest.mark.parametrize(
    ("changes", "expected", "words"),
    [
        pytest.param({}, PASS, "", id="ready"),
        pytest.param({"capacity_exists": None}, PASS, "", id="existence not known, but endpoints are"),
        pytest.param({"capacity_exists": False}, Reason.STANDBY_NOT_READY, "sd21-all (port 80) does not exist", id="missing"),
        pytest.param({"capacity_ready": 0}, Reason.STANDBY_NOT_READY, "has no ready endpoint", id="empty"),
        pytest.param({"capacity_ready": None}, Reason.STANDBY_NOT_READY, "are not known", id="unknown is not ready"),
    ],
)
def test_standby_of_the_capacity_service(changes: dict[str, Any], expected: Reason | None, words: str) -> None:
    """A Service that is missing or empty is a 503 for everybody."""
    made = snapshot(routing=routing(**changes))
    _asks(guards.standby, guard_case(made, receiving=capacity_targets(made.application, Figures.of(made).serving)), expected, words)


@pytest.mark.parametrize(
    ("changes", "weight", "expected"),
    [
        pytest.param({"ready": 0}, 40, Reason.STANDBY_NOT_READY, id="empty and receiving"),
        pytest.param({"ready": 0}, 0, PASS, id="empty, but it gets nothing"),
        pytest.param({"service_exists": False}, 40, Reason.STANDBY_NOT_READY, id="missing"),
        pytest.param({"ready": None}, 40, Reason.STANDBY_NOT_READY, id="not known"),
    ],
)
def test_standby_of_the_units(changes: dict[str, Any], weight: int, expected: Reason | None) -> None:
    """Every unit that is to receive traffic must be able to."""
    made = change(snapshot(mode=Mode.CAPACITY), **changes)
    receiving = cost_targets(made.application, {INF2: weight, TRN1: 60})
    _asks(guards.standby, guard_case(made, Mode.CAPACITY, receiving=receiving), expected)


def test_standby_in_place_asks_the_units_even_for_the_capacity_service() -> None:
    """In place, capacity mode forwards to the units' own Services."""
    app = application(routing_style=RoutingStyle.IN_PLACE)
    made = snapshot(app, routing=routing(capacity_exists=False, capacity_ready=0))
    _asks(guards.standby, guard_case(made, receiving=capacity_targets(made.application, Figures.of(made).serving)), PASS)


@pytest.mark.parametrize(
    ("changes", "unsafe", "expected", "words"),
    [
        pytest.param({}, False, PASS, "", id="a standby rule keeps it registered"),
        pytest.param({"standby": ()}, False, Reason.UNSAFE_SWITCH, "no standby rule keeps sd21-all registered", id="nothing does"),
        pytest.param(
            {"standby": (), "targets": (Target("sd21-all", "http", 1),)},
            False,
            Reason.UNSAFE_SWITCH,
            "no standby rule keeps port 80 of sd21-all (the action names http, another target group) registered with the load balancer",
            id="the action does, by another port",
        ),
        pytest.param({"standby": (), "targets": (Target("sd21-all", 80, 1),)}, False, PASS, "", id="the action does"),
        pytest.param({"standby": ()}, True, PASS, "allowed by allowUnsafeSwitch", id="nothing does, and the operator accepts it"),
        pytest.param({"bound": None}, False, PASS, "", id="bindings cannot be seen"),
        pytest.param({"bound": SERVICES}, False, Reason.UNSAFE_SWITCH, "has no target group for sd21-all yet", id="not bound yet"),
        pytest.param({"bound": SERVICES}, True, PASS, "allowed", id="not bound yet, accepted"),
    ],
)
def test_safe(changes: dict[str, Any], unsafe: bool, expected: Reason | None, words: str) -> None:
    """A target group that is registered only with the mode change is empty for 5 to 30 seconds."""
    made = snapshot(application(policy=PolicySettings(allow_unsafe_switch=unsafe)), routing=routing(**changes))
    _asks(guards.safe, guard_case(made, receiving=capacity_targets(made.application, Figures.of(made).serving)), expected, words)


@pytest.mark.parametrize(
    ("mode", "since", "expected"),
    [
        (Mode.COST, NOW - 59, Reason.DWELL),
        (Mode.COST, NOW - 60, PASS),
        (Mode.CAPACITY, NOW - 599, Reason.DWELL),
        (Mode.CAPACITY, NOW - 600, PASS),
    ],
)
def test_dwell(mode: Mode, since: float, expected: Reason | None) -> None:
    """Each mode has its own least time."""
    _asks(guards.dwell, guard_case(mode=mode, memory=memory(mode, mode_since=since)), expected)


@pytest.mark.parametrize(
    ("ages", "expected"),
    [
        pytest.param((), PASS, id="none"),
        pytest.param((10, 20, 30), PASS, id="one left"),
        pytest.param((10, 20, 30, 3599), Reason.FLIP_BUDGET_SPENT, id="spent"),
        pytest.param((10, 20, 30, 3600), PASS, id="the oldest is an hour ago"),
    ],
)
def test_flip_budget(ages: tuple[float, ...], expected: Reason | None) -> None:
    """Beyond four changes an hour something is wrong that switching does not cure."""
    changes = tuple(ModeChange(NOW - age, Mode.COST, Reason.RETURN_PROVEN) for age in sorted(ages, reverse=True))
    case = guard_case(memory=memory(mode_changes=changes))
    _asks(guards.flip_budget, case, expected)
    assert guards.flip_budget(case).reopens_s == (1.0 if expected else None)


@pytest.mark.parametrize(
    ("judged", "other", "expected"),
    [
        pytest.param({"returned": Return.REGISTERED}, {}, PASS, id="a node joined"),
        pytest.param({"returned": Return.REPLICAS_READY}, {}, PASS, id="the replicas run"),
        pytest.param({"returned": Return.LAUNCHED}, {}, Reason.RETURN_UNPROVEN, id="launched only"),
        pytest.param({"returned": Return.NONE}, {}, Reason.RETURN_UNPROVEN, id="no signal"),
        pytest.param({"returned": Return.REGISTERED}, {"shortage": "proven"}, Reason.RETURN_UNPROVEN, id="another unit is short now"),
    ],
)
def test_proof(judged: dict[str, Any], other: dict[str, Any], expected: Reason | None) -> None:
    """A missing signal proves nothing, and one unit's return is not another's."""
    altered = {key: Shortage(value) for key, value in other.items()}
    _asks(guards.proof, guard_case(mode=Mode.CAPACITY, evidence={INF2: judged, TRN1: altered}), expected)


def test_proof_without_a_subject() -> None:
    """An application that was pinned to capacity mode has nothing to prove."""
    _asks(guards.proof, guard_case(mode=Mode.CAPACITY, subject=()), PASS, "nothing is remembered")


@pytest.mark.parametrize(("at", "expected"), [(None, PASS), (NOW - 599, Reason.NOT_QUIET), (NOW - 600, PASS), (NOW + 5, Reason.NOT_QUIET)])
def test_quiet(at: float | None, expected: Reason | None) -> None:
    """Ten minutes are more than three of Karpenter's cycles."""
    _asks(guards.quiet, guard_case(mode=Mode.CAPACITY, evidence={INF2: {"last_refusal_at": at}}), expected)


@pytest.mark.parametrize(
    ("returned_at", "since", "expected"),
    [
        pytest.param(NOW - 99, 0.0, Reason.HOLD_RUNNING, id="returned a moment ago"),
        pytest.param(NOW - 100, NOW, PASS, id="returned long enough ago"),
        pytest.param(None, NOW - 99, Reason.HOLD_RUNNING, id="without a return it counts from the mode change"),
        pytest.param(None, NOW - 100, PASS, id="long enough in capacity mode"),
    ],
)
def test_hold(returned_at: float | None, since: float, expected: Reason | None) -> None:
    """It counts from the return of capacity, not from the mode change: after an outage of hours it still applies."""
    remembered = memory(Mode.CAPACITY, mode_since=since)
    _asks(
        guards.hold,
        guard_case(mode=Mode.CAPACITY, memory=remembered, hold_s=100.0, evidence={INF2: {"returned_at": returned_at}}),
        expected,
    )


@pytest.mark.parametrize(
    ("ready", "weight", "expected"),
    [(3, 40, PASS), (2, 40, Reason.WAITING_FOR_READY), (2, 0, PASS)],
)
def test_ready(ready: int, weight: int, expected: Reason | None) -> None:
    """Traffic moves to a unit only when it can carry its share."""
    receiving = cost_targets(application(), {INF2: weight, TRN1: 60})
    case = guard_case(mode=Mode.CAPACITY, receiving=receiving, evidence={INF2: {"ready": ready, "needed": 3}})
    _asks(guards.ready, case, expected)


def _seen(verdict: Verdict, problem: str = "") -> Verification:
    return Verification(verdict, NOW, problem, "")


@pytest.mark.parametrize(
    ("changed", "verified", "seen", "expected", "words"),
    [
        pytest.param(None, None, None, PASS, "nothing was changed yet", id="nothing changed"),
        pytest.param(NOW - 9, NOW - 5, None, PASS, "shows the routing action", id="verified"),
        pytest.param(NOW - 9, None, None, PASS, "cannot tell: not observed yet", id="never observed"),
        pytest.param(NOW - 9, None, _seen(Verdict.CANNOT_TELL, "denied"), PASS, "cannot tell: denied", id="cannot tell"),
        pytest.param(NOW - 9, None, _seen(Verdict.NOT_YET, "rule 7"), Reason.ROUTING_UNVERIFIED, "rule 7", id="not yet"),
        pytest.param(NOW - 9, None, _seen(Verdict.YES), Reason.ROUTING_UNVERIFIED, "not observed since", id="about an older action"),
    ],
)
def test_verified(changed: float | None, verified: float | None, seen: Verification | None, expected: Reason | None, words: str) -> None:
    """Traffic must not move back before it has been seen to have moved."""
    made = snapshot(mode=Mode.CAPACITY, routing=routing(Mode.CAPACITY, verification=seen))
    remembered = memory(Mode.CAPACITY, changed_at=changed, verified_at=verified)
    _asks(guards.verified, guard_case(made, Mode.CAPACITY, memory=remembered), expected, words)


def test_a_preview_leaves_out_the_guards_that_only_wait() -> None:
    """It shows what is coming; it must never be acted on."""
    made = shortage()
    held, shown = decide(memory(), made)[1], decide(memory(), made, preview=True)[1]
    assert held.reason is Reason.PATIENCE
    assert shown.reason is Reason.SHORTAGE_PROVEN
    assert "patience" not in {result.guard for result in shown.guards}


@pytest.mark.parametrize(
    ("made", "words"),
    [
        pytest.param(snapshot(leader=False), {"leader"}, id="not leader"),
        pytest.param(shortage(), {"patience"}, id="patience"),
        pytest.param(replace(shortage(), routing=routing(standby=())), {"patience", "safe"}, id="every guard that holds is shown"),
    ],
)
def test_all_guards_are_shown_not_only_the_first(made: Snapshot, words: set[str]) -> None:
    """A person who lifts one obstacle wants to know of the next."""
    decision = decide(memory(), made)[1]
    assert {result.guard for result in decision.guards if not result.passed} == words


ALERTS = [
    pytest.param(replace(snapshot(), sources=(Source("karpenter", True, None, 9),)), {"held/SignalsStale": "warning"}, id="stale"),
    pytest.param(replace(snapshot(), routing=RoutingObservation(exists=False)), {"held/RoutingObjectMissing": "critical"}, id="no Ingress"),
    pytest.param(replace(snapshot(), routing=routing(marker="other")), {"held/RoutingUnknown": "critical"}, id="a mode that nobody knows"),
    pytest.param(
        replace(shortage(), units={name: shortage(unit=name).units[name] for name in SERVICES}),
        {"held/OtherSideShort": "critical"},
        id="all units short",
    ),
    pytest.param(
        replace(shortage(), routing=routing(capacity_ready=0)), {"held/StandbyNotReady": "critical"}, id="the other side is not ready"
    ),
    pytest.param(
        replace(shortage(), routing=routing(standby=())),
        {"held/UnsafeSwitch": "critical", "unprepared": "warning"},
        id="the mode change is not safe",
    ),
    pytest.param(
        replace(snapshot(), routing=routing(standby=())),
        {"unprepared": "warning"},
        id="a mode change would be held back, reported early",
    ),
    pytest.param(
        replace(snapshot(), routing=routing(capacity_exists=False)), {"unprepared/services": "warning"}, id="a Service that is missing"
    ),
    pytest.param(
        replace(snapshot(application(routing_style=RoutingStyle.IN_PLACE)), routing=routing(capacity_exists=False)),
        {},
        id="a Service that is not needed",
    ),
    pytest.param(
        replace(shortage(), routing=routing(blocked="Failed build model due to ingress: other/broken: nope")),
        {"held/RoutingBlocked": "critical", "blocked": "warning"},
        id="another Ingress of the group is broken",
    ),
    pytest.param(shortage(cause=Cause.QUOTA), {"cause/sd21-inf2/quota": "critical"}, id="quota"),
    pytest.param(shortage(cause=Cause.NETWORK, truncated=True), {"cause/sd21-inf2/network": "critical"}, id="network"),
    pytest.param(
        shortage(cause=Cause.CONFIG), {"cause/sd21-inf2/config": "critical"}, id="a misconfiguration is reported before its failover"
    ),
    pytest.param(shortage(), {}, id="a capacity shortage is reported by its failover"),
    pytest.param(change(snapshot(), pending=pods(since=NOW - 239), desired=4), {}, id="pods that wait a while"),
    pytest.param(change(snapshot(), pending=pods(since=NOW - 240), desired=4), {"silent/sd21-inf2": "warning"}, id="Karpenter is silent"),
    pytest.param(
        change(snapshot(), pending=pods(since=NOW - 240), desired=4, pool_blocked_at=NOW - 9),
        {"config/sd21-inf2": "warning"},
        id="no compatible type, none refused",
    ),
    pytest.param(
        replace(snapshot(), routing=routing(verification=_seen(Verdict.NOT_YET, CRITICAL + "fixed 503"))),
        {"blackhole": "critical"},
        id="the rule answers itself",
    ),
]


@pytest.mark.parametrize(("made", "expected"), ALERTS)
def test_alerts(made: Snapshot, expected: dict[str, str]) -> None:
    """What a person should know, with a key that makes it one message; patience is over in all of these."""
    units = proven(NOW - 60) if any(observed.pool.failures for observed in made.units.values()) else {}
    decision = decide(memory(units=units), made)[1]
    assert {alert.key: alert.severity for alert in decision.alerts} == expected
    assert all("?>" not in alert.text for alert in decision.alerts)


def test_waiting_pods_raise_no_alert_while_a_node_is_on_its_way() -> None:
    """A Neuron node takes ten minutes; nobody should be woken for it."""
    made = change(snapshot(), pending=pods(since=NOW - 400), desired=4, pool_launches=(launched(NOW - 300),))
    assert decide(memory(), made)[1].alerts == ()
    there = launched(NOW - 3000, NOW - 2900, initialized=NOW - 2890)
    back = change(snapshot(mode=Mode.CAPACITY), pending=pods(since=NOW - 4000), desired=4, pool_launches=(there,))
    assert decide(memory(Mode.CAPACITY, units=proven(NOW - 5000)), back)[1].alerts == ()


@pytest.mark.parametrize(
    ("remembered", "seen", "words"),
    [
        pytest.param(
            {"changed_at": NOW - 60, "unverified_since": NOW - 60},
            _seen(Verdict.NOT_YET, "rule 7"),
            "does not show the routing action written 1 min ago: rule",
            id="not yet",
        ),
        pytest.param({"changed_at": NOW - 60, "unverified_since": NOW - 60}, None, "is not known to show the routing action", id="blind"),
        pytest.param(
            {"reasserted": Repeats(3, NOW - 9, "argocd")},
            None,
            "restored the routing action 3 times; argocd keeps changing it",
            id="two writers: right after our write the Ingress names us as the writer",
        ),
        pytest.param({"reasserted": Repeats(3, NOW - 9)}, None, "somebody keeps changing it", id="memory of an older version"),
    ],
)
def test_alerts_about_the_routing(remembered: dict[str, Any], seen: Verification | None, words: str) -> None:
    """A change that the load balancer never shows, and a change that somebody else keeps undoing."""
    made = replace(snapshot(), routing=routing(verification=seen))
    (alert,) = decide(memory(**remembered), made)[1].alerts
    assert words in alert.text
    assert alert.severity == "critical"


def test_a_refused_canary_does_not_alert_in_capacity_mode() -> None:
    """While a fallback is held back anyway, a side that is not ready needs no alert."""
    made = change(snapshot(mode=Mode.CAPACITY), pool_failures=(refused(),), ready=0, desired=1, pending=pods(1))
    assert decide(memory(Mode.CAPACITY, units=proven()), made)[1].alerts == ()


def test_units_of_the_healthy_snapshot_are_the_applications() -> None:
    """The tests above would prove little with an empty application."""
    assert tuple(healthy_units(application())) == SERVICES


_CAPACITY_ONLY = PolicySettings(trip_causes=frozenset({Cause.CAPACITY}))
_WITH_CONFIG = PolicySettings(trip_causes=frozenset({Cause.CAPACITY, Cause.CONFIG}))
_FAILED_OVER = NOW - 500.0


@pytest.mark.parametrize(
    ("policy", "known", "judged", "expected"),
    [
        pytest.param(_CAPACITY_ONLY, Cause.CAPACITY, {}, True, id="a cause that counts"),
        pytest.param(_CAPACITY_ONLY, Cause.QUOTA, {"demand_since": NOW - 9000}, False, id="one that does not, however long pods wait"),
        pytest.param(_CAPACITY_ONLY, Cause.CAPACITY, {"cause": Cause.QUOTA}, True, id="the remembered cause counts, not the present one"),
        pytest.param(_CAPACITY_ONLY, None, {"cause": Cause.CAPACITY}, True, id="the present cause, where none is remembered"),
        pytest.param(_CAPACITY_ONLY, None, {"cause": Cause.QUOTA}, False, id="likewise one that does not count"),
        pytest.param(_WITH_CONFIG, None, {"cause": Cause.CONFIG}, True, id="a misconfiguration that the operator lets count"),
        pytest.param(_CAPACITY_ONLY, None, {"cause": Cause.CONFIG}, False, id="a misconfiguration without demand"),
        pytest.param(_CAPACITY_ONLY, None, {"cause": Cause.CONFIG, "demand_since": NOW - 239}, False, id="with young demand"),
        pytest.param(_CAPACITY_ONLY, None, {"cause": Cause.CONFIG, "demand_since": NOW - 240}, True, id="with demand of a whole cycle"),
    ],
)
def test_which_shortages_may_cause_a_failover(policy: PolicySettings, known: Cause | None, judged: dict[str, Any], expected: bool) -> None:
    """The others neither hold a fallback nor set its waits."""
    units = {INF2: UnitMemory(NOW - 600, known, proven_at=NOW - 400)} if known is not None else {}
    remembered = memory(Mode.CAPACITY, mode_since=_FAILED_OVER, units=units)
    case = guard_case(snapshot(application(policy=policy), Mode.CAPACITY), Mode.CAPACITY, memory=remembered, evidence={INF2: judged})
    assert guards.could_trip(case, INF2) is expected


@pytest.mark.parametrize(
    ("proven_at", "expected"),
    [(_FAILED_OVER, True), (_FAILED_OVER - 1, True), (_FAILED_OVER + 1, False), (None, False)],
    ids=["at once", "before", "after", "never proven"],
)
def test_a_misconfiguration_that_caused_the_failover_counts_until_it_ends(proven_at: float | None, expected: bool) -> None:
    """Proven before the failover, it may be its cause, although no pod waits any more."""
    units = {INF2: UnitMemory(NOW - 600, Cause.CONFIG, proven_at=proven_at)}
    remembered = memory(Mode.CAPACITY, mode_since=_FAILED_OVER, units=units)
    case = guard_case(snapshot(application(policy=_CAPACITY_ONLY), Mode.CAPACITY), Mode.CAPACITY, memory=remembered)
    assert guards.could_trip(replace(case, memory=remembered), INF2) is expected


def test_a_unit_without_weight_causes_no_failover() -> None:
    """Cost mode sends nothing there."""
    app = application()
    app = replace(app, units=tuple(replace(unit, weight=0) if unit.name == INF2 else unit for unit in app.units))
    case = guard_case(snapshot(app), evidence={INF2: {"cause": Cause.CAPACITY}})
    assert not guards.could_trip(case, INF2)
    assert guards.could_trip(replace(case, evidence={**case.evidence, TRN1: replace(case.evidence[TRN1], cause=Cause.CAPACITY)}), TRN1)


def test_a_service_of_the_least_weight_must_be_ready_too() -> None:
    """One request of a hundred is still a request."""
    made = snapshot(mode=Mode.CAPACITY)
    evidence = {INF2: {"ready": 1, "needed": 2}}
    targets = tuple(
        replace(one, weight=1 if number == 0 else one.weight) for number, one in enumerate(cost_targets(application(), {INF2: 1}))
    )
    case = guard_case(made, Mode.CAPACITY, evidence=evidence, receiving=targets)
    assert guards.ready(case).guard == "ready"
    assert guards.ready(case).reason is Reason.WAITING_FOR_READY
