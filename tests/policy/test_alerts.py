"""Alerts: the whole text that a person reads, and exactly when it comes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.policy.account import Figures, fresh_s
from controller.policy.alert_kinds import AlertKind
from controller.policy.alerts import alerts
from controller.policy.case import Case
from controller.policy.evidence import assess
from controller.policy.floors import HELD_S
from controller.policy.model import (
    OFFERINGS_SOURCE,
    QUEUE_SOURCE,
    Alert,
    Cause,
    Decision,
    GuardResult,
    Memory,
    Mode,
    Override,
    PolicySettings,
    Return,
    Sample,
    Shortage,
    Snapshot,
    Source,
    Verb,
    Verdict,
    Verification,
)
from controller.policy.model.modes import Repeats
from controller.policy.reasons import Reason, fill
from tests.policy.support import G6, INF2, TRN1, change, launched, pods, scaler, shortage, with_scalers
from tests.support.applications import NOW, SERVICES, alert_of, application, memory, routing, snapshot

NO_CHANGE = "so the controller would not change the mode and requests would fail in a shortage"

HOLD = Decision(Verb.HOLD, Mode.COST, Reason.DEMAND_MET, {}, {}, ())


def _alerts(
    made: Snapshot, remembered: Memory | None = None, decision: Decision = HOLD, mode: Mode | None = Mode.COST, **judged: Any
) -> tuple[Alert, ...]:
    """The alerts of a snapshot; `judged` changes what is proven of inf2."""
    kept, figures = remembered or memory(), Figures.of(made)
    evidence = assess(made, kept, figures.needed)
    evidence[INF2] = replace(evidence[INF2], **judged)
    return alerts(Case(made, kept, mode, "", evidence, figures), decision)


def test_a_quiet_application_raises_none() -> None:
    """An alert that is always there is read by nobody."""
    assert _alerts(snapshot()) == ()


@pytest.mark.parametrize(
    ("skew", "words"),
    [
        (30.0, None),
        (-30.0, None),
        (31.0, "this node's clock is 31 s ahead of the cluster's"),
        (-90.0, "this node's clock is 1 min 30 s behind the cluster's"),
    ],
)
def test_clocks_that_differ_by_more_than_half_a_minute(skew: float, words: str | None) -> None:
    """People compare times of logs from two clocks, and correct the wrong one where the words name it wrongly."""
    hint = "check the time synchronization (chrony) of the node that the controller runs on"
    rest = "Decisions follow the cluster's; times in logs do not match"
    expected = () if words is None else (alert_of("clocks", "warning", f"{words}. {rest}: {hint}"),)
    assert _alerts(replace(snapshot(), clock_skew_s=skew)) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param(
            Source("karpenter", True, None, 180.0, absent=True, problem="no such kind"),
            alert_of(
                "absent/karpenter",
                "critical",
                "karpenter cannot be observed, so no shortage is seen and no failover comes: no such kind. Repair it: `failoverctl doctor` "
                "says how",
            ),
            id="a required source that is absent",
        ),
        pytest.param(Source("ec2", False, None, 180.0, absent=True), None, id="another one that is absent"),
        pytest.param(Source("karpenter", True, None, 180.0, problem="timeout"), None, id="a required one that does not answer now"),
        pytest.param(
            Source(OFFERINGS_SOURCE, False, NOW - 181, 180.0, problem="HTTP 404"),
            alert_of(
                OFFERINGS_SOURCE,
                "warning",
                "Karpenter's metrics cannot be read (HTTP 404), so refusals alone prove a shortage and a failover can come later: correct "
                "or remove karpenter.metrics_url",
            ),
            id="Karpenter's metrics for too long",
        ),
        pytest.param(Source(OFFERINGS_SOURCE, False, NOW - 180, 180.0, problem="HTTP 404"), None, id="one answer of them is missing"),
        pytest.param(Source(OFFERINGS_SOURCE, False, NOW - 181, 180.0), None, id="they were not asked yet"),
        pytest.param(
            Source(QUEUE_SOURCE, False, NOW - 91, 90.0, problem="IAM does not allow it"),
            alert_of(
                QUEUE_SOURCE,
                "warning",
                "the queue of EC2's refusals cannot be read (IAM does not allow it), so Karpenter's events alone name what is refused and "
                "a failover can come later: correct or remove aws.refusal_queue_url",
            ),
            id="the queue of refusals for too long",
        ),
        pytest.param(Source(QUEUE_SOURCE, False, NOW - 90, 90.0, problem="HTTP 503"), None, id="it failed a moment ago"),
        pytest.param(Source("ec2", False, NOW - 181, 180.0, problem="HTTP 404"), None, id="another source"),
    ],
)
def test_sources_without_which_a_shortage_is_seen_late_or_never(source: Source, expected: Alert | None) -> None:
    """Nothing else shows it: nothing goes wrong as long as nobody needs capacity."""
    assert _alerts(replace(snapshot(), sources=(source,))) == (() if expected is None else (expected,))


def _answers(*reasons: Reason | None) -> tuple[GuardResult, ...]:
    return tuple(GuardResult(f"guard {place}", reason, "passes", {"problem": str(place)}) for place, reason in enumerate(reasons))


@pytest.mark.parametrize(
    ("reasons", "held_back", "expected"),
    [
        pytest.param((), None, None, id="no guard was asked"),
        pytest.param((None, None), None, None, id="all pass"),
        pytest.param((None, Reason.UNSAFE_SWITCH), Verb.FAILOVER, ("critical", 1, Reason.UNSAFE_SWITCH), id="a failover"),
        pytest.param((None, Reason.UNSAFE_SWITCH), Verb.FALLBACK, ("warning", 1, Reason.UNSAFE_SWITCH), id="a fallback costs only money"),
        pytest.param((Reason.SIGNALS_STALE, Reason.UNSAFE_SWITCH), None, ("warning", 0, Reason.SIGNALS_STALE), id="the first counts"),
        pytest.param((Reason.PATIENCE, Reason.UNSAFE_SWITCH), Verb.FAILOVER, None, id="the first only waits"),
    ],
)
def test_the_first_guard_that_holds_gives_the_alert(
    reasons: tuple[Reason | None, ...], held_back: Verb | None, expected: tuple[str, int, Reason] | None
) -> None:
    """People act on it; it must not change its key with every pass in which another guard holds too."""
    decision = replace(HOLD, guards=_answers(*reasons), held_back=held_back)
    found = _alerts(snapshot(), decision=decision)
    if expected is None:
        assert found == ()
    else:
        severity, place, reason = expected
        assert found == (alert_of(f"held/{reason}", severity, fill(reason, {"problem": str(place)})),)


@pytest.mark.parametrize(
    ("changes", "policy", "mode", "raised"),
    [
        pytest.param({"standby": ()}, {}, Mode.COST, True, id="no rule"),
        pytest.param({"standby": (), "targets": ()}, {}, Mode.COST, False, id="nothing is routed yet"),
        pytest.param({"standby": ()}, {}, None, False, id="the mode is not known, which has an alert of its own"),
        pytest.param({"standby": ()}, {"allow_unsafe_switch": True}, Mode.COST, False, id="an operator allows it"),
    ],
)
def test_missing_standby_rules_are_reported_before_they_are_needed(
    changes: dict[str, Any], policy: dict[str, Any], mode: Mode | None, *, raised: bool
) -> None:
    """In the night of the outage nobody wants to add rules to an Ingress."""
    made = snapshot(application(policy=PolicySettings(**policy)), routing=routing(**changes))
    names = "sd21-all, sd21-inf2, sd21-trn1, sd21-g5-triton, sd21-g6-triton, sd21-g5-cuda"
    words = f"no standby rule keeps {names} registered with the load balancer, {NO_CHANGE}"
    expected = alert_of("unprepared", "warning", f"{words}: `failoverctl doctor` prints what to add")
    assert _alerts(made, mode=mode) == ((expected,) if raised else ())


@pytest.mark.parametrize(
    ("verdict", "healthy", "policy", "unseen"),
    [
        (Verdict.CANNOT_TELL, {}, {}, ["sd21-all", *SERVICES]),
        (Verdict.CANNOT_TELL, dict.fromkeys(SERVICES, 2), {}, ["sd21-all"]),
        (Verdict.CANNOT_TELL, {}, {"allow_unsafe_switch": True}, []),
        (Verdict.CANNOT_TELL, dict.fromkeys((*SERVICES, "sd21-all"), 2), {}, []),
        (Verdict.NOT_YET, {}, {}, []),
    ],
)
def test_targets_whose_health_nobody_can_say_are_reported_before_they_are_needed(
    verdict: Verdict, healthy: dict[str, int], policy: dict[str, Any], unseen: list[str]
) -> None:
    """The controller would refuse the failover; a person can give it eyes only before the outage."""
    seen = Verification(verdict, NOW, "no permission", routing().action, healthy=healthy)
    words = f"nothing shows whether targets of {', '.join(unseen)} are healthy (no permission), {NO_CHANGE}"
    fix = "let it ask ELBv2, give pods the readiness gates of the load-balancer controller, or set allowUnsafeSwitch"
    found = _alerts(snapshot(application(policy=PolicySettings(**policy)), routing=routing(verification=seen)))
    assert found == ((alert_of("unprepared/health", "warning", f"{words}: {fix}"),) if unseen else ())


@pytest.mark.parametrize(
    ("changes", "policy", "raised"),
    [
        pytest.param({"bound": SERVICES}, {}, True, id="gone"),
        pytest.param({"bound": SERVICES}, {"allow_unsafe_switch": True}, False, id="nobody minds"),
        pytest.param({"bound": None}, {}, False, id="bindings cannot be listed"),
        pytest.param({"bound": SERVICES, "verification": None}, {}, False, id="the load balancer does not show the Ingress yet"),
    ],
)
def test_a_target_group_binding_that_is_gone_is_reported_before_it_is_needed(
    changes: dict[str, Any], policy: dict[str, Any], *, raised: bool
) -> None:
    """The load-balancer controller does not make it again by itself (its issue 4880), and the failover was held for as long."""
    found = _alerts(snapshot(application(policy=PolicySettings(**policy)), routing=routing(**changes)))
    assert [one.key for one in found] == (["unprepared/bindings"] if raised else [])
    if raised:
        assert found[0].text.startswith(f"the TargetGroupBinding of sd21-all is gone, {NO_CHANGE}")


NO_ADDRESS = "sd21-inf2: subnets have no free addresses; NodePools that share them cannot grow either"


@pytest.mark.parametrize(
    ("cause", "changes", "expected"),
    [
        (Cause.NETWORK, {}, "sd21-inf2: subnets have no free addresses; NodePools that share them cannot grow either: Code"),
        (
            Cause.NETWORK,
            {"truncated": True},
            "sd21-inf2: subnets have no free addresses; NodePools that share them cannot grow either: at least Code",
        ),
        (Cause.CONFIG, {"shortage": Shortage.SUSPECTED}, "sd21-inf2: the launch configuration is wrong, and waiting does not help: Code"),
        (Cause.CONFIG, {"shortage": Shortage.NONE}, None),
        (Cause.CONFIG, {"codes": ()}, None),
        (Cause.QUOTA, {"shortage": Shortage.NONE}, None),
        (Cause.QUOTA, {"codes": ()}, None),
        (Cause.QUOTA, {"codes": ("SpotQuotaExceeded",), "shortage": Shortage.SUSPECTED}, None),
        (Cause.CAPACITY, {}, None),
    ],
)
def test_a_cause_that_does_not_pass_by_waiting_is_reported(cause: Cause, changes: dict[str, Any], expected: str | None) -> None:
    """A person must correct it; what passes by waiting is reported by the failover alone."""
    found = _alerts(snapshot(), **{"cause": cause, "codes": ("Code",), "shortage": Shortage.PROVEN, **changes})
    assert found == (() if expected is None else (alert_of(f"cause/{INF2}/{cause}", "critical", expected),))


def _waiting(**changes: Any) -> Snapshot:
    return change(snapshot(), INF2, **{"pending": pods(since=NOW - 240), "desired": 4, **changes})


UNSEEN = "Nothing proves a shortage, so requests meant for them wait and no failover comes"
SILENT = f"sd21-inf2: pods wait 4 min, and Karpenter says nothing about NodePool inf2. {UNSEEN}: check that it runs"
UNPLACED = (
    f"sd21-inf2: pods wait 4 min, and Karpenter has no place for pod-0, and EC2 refused none. {UNSEEN}: its event FailedScheduling says why"
)
CONFIG = (
    "sd21-inf2: pods wait 4 min because NodePool inf2 has no compatible instance type. EC2 refused none, so no failover comes: correct the "
    "NodePool's requirements"
)


@pytest.mark.parametrize(
    ("changes", "judged", "expected"),
    [
        pytest.param({}, {}, ("silent", SILENT), id="Karpenter is silent"),
        pytest.param({"pending": pods(since=NOW - 239)}, {}, None, id="not for long"),
        pytest.param({}, {"shortage": Shortage.SUSPECTED, "age_at": NOW + 9}, None, id="something was refused, and age will prove it"),
        pytest.param(
            {"pool_blocked_at": NOW - 50},
            {"shortage": Shortage.SUSPECTED, "codes": ("NotLaunched",)},
            (
                "silent",
                f"sd21-inf2: pods wait 4 min, and its launches do not come, or do not last (NotLaunched). {UNSEEN}: failoverctl plan says "
                "what would prove it",
            ),
            id="age proves nothing of what was refused",
        ),
        pytest.param({}, {"returned": Return.LAUNCHED}, None, id="an instance was launched"),
        pytest.param({}, {"returned": Return.REGISTERED}, None, id="a node has joined"),
        pytest.param({}, {"returned": Return.REPLICAS_READY}, ("silent", SILENT), id="replicas that ran say nothing of these"),
        pytest.param({"pool_launches": (launched(NOW - 601),)}, {}, None, id="launched lately"),
        pytest.param(
            {"pending": tuple(replace(pod, unplaced_at=NOW - 360) for pod in pods(since=NOW - 240))},
            {},
            ("silent", f"{UNPLACED} (kubectl describe pod)"),
            id="it says of the pods why they wait, such as a taint",
        ),
        pytest.param(
            {"pending": tuple(replace(pod, unplaced_at=NOW - 361) for pod in pods(since=NOW - 240))},
            {},
            ("silent", SILENT),
            id="it said so of the pods, and nothing since",
        ),
        pytest.param({"pool_blocked_at": NOW - 360}, {}, ("config", CONFIG), id="no compatible type"),
        pytest.param({"pool_blocked_at": NOW - 361}, {}, ("silent", SILENT), id="no compatible type, long ago"),
    ],
)
def test_pods_that_wait_without_a_word_of_karpenter(
    changes: dict[str, Any], judged: dict[str, Any], expected: tuple[str, str] | None
) -> None:
    """No failover comes of it, so nobody else notices that users wait."""
    demand = {"demand_since": min(pod.since for pod in changes.get("pending", pods(since=NOW - 240)))}
    found = _alerts(_waiting(**changes), **demand, **judged)
    assert found == (() if expected is None else (alert_of(f"{expected[0]}/{INF2}", "warning", expected[1]),))
    gone = replace(_waiting(**changes), sources=(Source("karpenter", True, None, 180.0, absent=True),))
    assert [one.key for one in _alerts(gone, **demand, **judged)] == ["absent/karpenter"]
    other = replace(_waiting(**changes), sources=(Source("karpenter", True, NOW, 180.0), Source("ec2", False, None, 1.0, absent=True)))
    assert _alerts(other, **demand, **judged) == found


def test_what_is_known_of_a_nodepool_is_said_instead_of_a_question() -> None:
    """It was deleted, or is not ready: whether Karpenter runs is no question then."""
    made = _waiting()
    made = change(made, INF2, pool_problem="it is not ready: NodeClassReady")
    (found,) = [one for one in _alerts(made, demand_since=NOW - 240) if one.key == "silent/sd21-inf2"]
    assert "and Karpenter launches nothing through NodePool inf2: it is not ready: NodeClassReady. Nothing proves" in found.text
    assert found.text.endswith("repair the NodePool")


@pytest.mark.parametrize(
    ("changes", "judged"),
    [
        pytest.param({"pending": (), "desired": 2}, {"demand_since": None}, id="nobody waits for it"),
        pytest.param({}, {"returned": Return.LAUNCHED}, id="its instance was launched"),
        pytest.param({"pool_launches": (launched(NOW - 2000),)}, {}, id="its instance never became a node"),
    ],
)
def test_a_unit_that_is_explained_hides_no_other_one(changes: dict[str, Any], judged: dict[str, Any]) -> None:
    """Users of the second unit wait as well: nobody would hear of it where the first one needs no alert of this kind."""
    made = change(_waiting(**changes), TRN1, pending=pods(since=NOW - 240), desired=4)
    keys = [one.key for one in _alerts(made, **{"demand_since": NOW - 240, **judged})]
    assert "silent/sd21-trn1" in keys
    assert "silent/sd21-inf2" not in keys


LATE_S = fresh_s(60) + 60


@pytest.mark.parametrize(
    ("newest", "missing", "known", "desired", "words"),
    [
        pytest.param(NOW - LATE_S, NOW - 100, None, 6, ("11 min", "1 h 58 min"), id="the newest value is too old"),
        pytest.param(NOW - LATE_S + 1, NOW - 100, None, 6, None, id="one late period"),
        pytest.param(None, NOW - 60, None, 6, ("11 min", "1 h 59 min"), id="no value at all, for a period"),
        pytest.param(None, NOW - 59, None, 6, None, id="no value at all, for less"),
        pytest.param(None, NOW - 7140, None, 6, ("2 h 9 min", "1 min"), id="a minute before the hold ends"),
        pytest.param(None, NOW - HELD_S, None, 6, None, id="the hold is over"),
        pytest.param(None, NOW - 100, NOW - 50, 6, None, id="known again"),
        pytest.param(None, None, None, 6, None, id="never missing"),
        pytest.param(None, NOW - 100, None, 1, None, id="all units are at their minimum"),
        pytest.param(None, NOW - 100, None, 2, ("11 min 40 s", "1 h 58 min"), id="one more than the minimum"),
    ],
)
def test_replicas_that_are_held_for_want_of_metrics(
    newest: float | None, missing: float | None, known: float | None, desired: int, words: tuple[str, str] | None
) -> None:
    """They are paid for, for two hours at most: a person must ask CloudWatch before they are removed at noon."""
    made = with_scalers(snapshot())
    for name in SERVICES:
        made = change(made, name, desired=1)
    made = change(made, INF2, desired=desired)
    if newest is not None:
        made = change(change(made, INF2, demand=Sample(4.0, newest)), G6, demand=Sample(4.0, newest - 500))
    found = _alerts(made, memory(demand_missing_since=missing, demand_known_since=known))
    if words is None:
        assert found == ()
    else:
        said = f"no counter of any unit has a value from the last {words[0]}. KEDA takes that for no demand"
        held = f"{said}, so the replicas are held, and paid for, for {words[1]}: check that CloudWatch answers"
        assert found == (alert_of("counters", "warning", held),)


@pytest.mark.parametrize(
    ("changes", "named", "words"),
    [
        pytest.param({"scaler": scaler(paused=True)}, True, "ScaledObject sd21-inf2-hpa is paused", id="paused"),
        pytest.param({"scaler": None}, False, "the application file names no ScaledObject", id="none is named"),
        pytest.param({"scaler": scaler()}, True, "", id="KEDA and the controller add some"),
        pytest.param({"scaler": None}, True, "", id="it is not there, perhaps for a moment"),
        pytest.param({"scaler": scaler(paused=True), "desired": 4}, True, "", id="they are on their way"),
    ],
)
def test_replicas_that_nothing_adds_and_a_fallback_waits_for(changes: dict[str, Any], words: str, *, named: bool) -> None:
    """It waited for ever, without a word."""
    app = application()
    first, *others = app.units
    app = app if named else replace(app, units=(replace(first, scaled_object=None), *others))
    made = change(snapshot(app), **{"desired": 3, **changes})
    held = replace(HOLD, held_back=Verb.FALLBACK, guards=(GuardResult("ready", Reason.WAITING_FOR_READY),))
    found = [one for one in _alerts(made, decision=held, needed=4, ready=3) if one.row is AlertKind.FIXED]
    why = f"its Deployment asks for 3, and {words}. Capacity mode, and its price, go on: set them by hand"
    said = f"sd21-inf2: the way back to cost mode waits for 4 replicas, {why}"
    assert found == ([alert_of("fixed/sd21-inf2", "warning", said)] if words else [])
    assert not [one for one in _alerts(made, needed=4, ready=3) if one.row is AlertKind.FIXED], "nothing waits for them"


@pytest.mark.parametrize(
    ("source", "changes", "words"),
    [
        pytest.param(
            Source("keda", False, NOW, 180.0),
            {"desired": 3},
            ", its Deployment asks for 3, and ScaledObject sd21-inf2-hpa does not exist. Capacity mode, and its price, go on: set them "
            "by hand",
            id="its ScaledObject is gone",
        ),
        pytest.param(Source("keda", False, NOW, 180.0), {"desired": 4}, "", id="and its replicas are on their way"),
        pytest.param(Source("keda", False, None, 180.0), {"desired": 3}, "", id="nobody has listed any yet"),
        pytest.param(Source("keda", False, NOW, 180.0, absent=True), {"desired": 3}, "", id="nobody may list any"),
    ],
)
def test_what_a_fallback_waits_for_and_is_not_there(source: Source, changes: dict[str, Any], words: str) -> None:
    """Nothing adds the replicas, so capacity mode would go on for ever."""
    made = change(snapshot(), scaler=None, **changes)
    made = replace(made, sources=(*made.sources, source))
    held = replace(HOLD, held_back=Verb.FALLBACK, guards=(GuardResult("ready", Reason.WAITING_FOR_READY),))
    found = [one for one in _alerts(made, decision=held, needed=4, ready=3) if one.row is AlertKind.FIXED]
    said = f"sd21-inf2: the way back to cost mode waits for 4 replicas{words}"
    assert found == ([alert_of("fixed/sd21-inf2", "warning", said)] if words else [])


_STAYS = "Karpenter launches nothing for it: pods that wait go on waiting, and no return of its capacity can be proven"


@pytest.mark.parametrize(
    ("source", "changes", "found"),
    [
        pytest.param("karpenter", {"pool_exists": False}, ("NodePool", "inf2", _STAYS, "nodePool"), id="its NodePool"),
        pytest.param("karpenter", {"pool_exists": True}, None, id="its NodePool is there"),
        pytest.param(
            "workloads",
            {"desired": None},
            (
                "Deployment",
                "sd21-inf2",
                "its replicas are not counted, and none can be added: a way back to cost mode waits for them",
                "deployment",
            ),
            id="its Deployment was renamed",
        ),
        pytest.param("ec2", {"desired": None}, None, id="nobody has listed any Deployment yet"),
        pytest.param(
            "workloads",
            {"service_exists": False},
            ("Service", "sd21-inf2", "it gets no requests, and its pods cost money", "service"),
            id="its Service",
        ),
        pytest.param(
            "keda",
            {"scaler": None},
            ("ScaledObject", "sd21-inf2-hpa", "its replicas follow no demand, and a mode change raises none", "scaledObject"),
            id="its ScaledObject",
        ),
        pytest.param("ec2", {"scaler": None}, None, id="nobody may list ScaledObjects"),
    ],
)
def test_what_the_file_names_and_is_not_there(source: str, changes: dict[str, Any], found: tuple[str, ...] | None) -> None:
    """The unit was short and its NodePool deleted, or its Deployment renamed: no alert came, and the status said "short"."""
    made = with_scalers(snapshot())
    for name in SERVICES:
        made = change(made, name, desired=1)
    made = replace(change(made, **changes), sources=(Source(source, False, NOW, 180.0),))
    shown = [one for one in _alerts(made) if one.row is AlertKind.MISSING]
    assert [one.key for one in shown] == ([f"missing/sd21-inf2/{found[0]}"] if found else [])
    if found:
        kind, name, means, field = found
        said = f"sd21-inf2: {kind} {name} does not exist, so {means}. Create it, or correct {field} in the application file"
        assert shown == [alert_of(f"missing/sd21-inf2/{kind}", "warning", said)]


def test_karpenter_is_not_blamed_for_a_node_pool_that_is_gone() -> None:
    """Of pods that wait for a NodePool that does not exist Karpenter has nothing to say."""
    made = change(snapshot(), pending=pods(1, since=NOW - 1000), pool_exists=False)
    assert {one.key for one in _alerts(made, demand_since=NOW - 1000)} == {"missing/sd21-inf2/NodePool"}


@pytest.mark.parametrize(
    ("ours", "written_by", "rival"),
    [("here", "there", "there"), ("here", "here", ""), ("here", "", ""), ("", "there", "")],
)
def test_another_installation_over_the_same_routing(ours: str, written_by: str, rival: str) -> None:
    """Its change of the mode was said to be made by hand. A dry run beside an installation that acts is none."""
    made = replace(snapshot(), installation=ours, routing=replace(routing(), written_by=written_by))
    said = (
        "the controller in namespace there wrote the routing action last, and this one is in here: two of them move the same requests, "
        "each by its own memory. Remove the application file from one of them. If the other is gone, remove the annotation "
        "failoverctl.dev/written-by"
    )
    assert made.rival == rival
    assert _alerts(made) == ((alert_of("rival", "warning", said),) if rival else ())


@pytest.mark.parametrize(("demand", "beyond", "raised"), [(9.0, 1, True), (9.0, 0, False), (None, 1, False)])
def test_a_maximum_below_what_the_demand_needs(demand: float | None, beyond: int, *, raised: bool) -> None:
    """Nothing else shows it: the application neither fails over nor waits for it."""
    made = snapshot()
    for name in SERVICES:
        made = change(made, name, demand=None if demand is None else Sample(demand, NOW))
    words = (
        "sd21-inf2: cost mode needs 5 replicas at the present demand, and its maximum is 4. Requests beyond that wait: raise maxReplicas"
    )
    assert _alerts(made, needed=4, beyond_max=beyond) == ((alert_of(f"max/{INF2}", "warning", words),) if raised else ())


@pytest.mark.parametrize(
    ("since", "healthy", "ready", "raised"),
    [
        (NOW - 60, 0, 3, True),
        (NOW - 59, 0, 3, False),
        (NOW - 60, 1, 3, False),
        (NOW - 60, None, 3, False),
        (NOW - 60, 0, 0, False),
        (None, 0, 3, False),
    ],
)
def test_ready_replicas_that_the_load_balancer_calls_unhealthy(
    since: float | None, healthy: int | None, ready: int, *, raised: bool
) -> None:
    """They are paid for and get no traffic; Kubernetes calls everything fine."""
    counts = {} if healthy is None else {INF2: healthy}
    ill = {} if since is None else {INF2: since}
    seen = Verification(Verdict.YES, NOW, "", routing().action, healthy=counts, ill_since=ill)
    words = "sd21-inf2: the load balancer calls none of 3 ready replica(s) healthy, so they cost money and get no traffic"
    expected = alert_of(f"unhealthy/{INF2}", "warning", f"{words}: compare the target group's health check with the readiness probe")
    assert _alerts(snapshot(routing=routing(verification=seen)), ready=ready) == ((expected,) if raised else ())
    assert _alerts(snapshot(routing=routing(verification=None)), ready=ready) == ()


@pytest.mark.parametrize(
    ("override", "requests", "harm"),
    [
        pytest.param(Override(pinned_mode=Mode.COST), 100.0, "the pin to cost mode does harm: no failover comes for sd21-inf2", id="pin"),
        pytest.param(Override(paused_until=NOW + 60), 100.0, "the pause does harm: no failover comes for sd21-inf2", id="pause"),
        pytest.param(Override(pinned_mode=Mode.CAPACITY), 100.0, None, id="a pin to where it should be"),
        pytest.param(Override(paused_until=NOW - 60), 100.0, None, id="a pause that has ended"),
        pytest.param(Override(), 1000.0, None, id="without an override the policy decides"),
    ],
)
def test_an_override_that_does_harm(override: Override, requests: float, harm: str | None) -> None:
    """It is obeyed; the person who set it may not know what has happened since."""
    made = change(shortage(), INF2, demand=Sample(requests, NOW - 60))
    made = replace(made, routing=replace(made.routing, override=override))
    kept, figures = memory(), Figures.of(made)
    found = alerts(Case(made, kept, Mode.COST, "", assess(made, kept, figures.needed), figures), HOLD)
    texts = [one.text for one in found if one.key == "harmful-override"]
    fix = "If that is not wanted, run: failoverctl resume shop/sd21"
    assert texts == ([] if harm is None else [f"{harm}. {fix}"])


def test_an_override_that_leaves_a_unit_overloaded() -> None:
    """Also where nothing is short: of 600 requests inf2 gets 240, and serves 210. Of 2,000 all get too much, whatever the override."""
    quiet = snapshot()
    quiet = replace(quiet, routing=replace(quiet.routing, override=Override(paused_until=NOW + 60)))
    (found,) = [one for one in _alerts(change(quiet, INF2, demand=Sample(600.0, NOW - 60))) if one.key == "harmful-override"]
    assert found.severity == "critical"
    assert "the pause does harm: sd21-inf2 gets more than its replicas can serve" in found.text
    assert not [one for one in _alerts(change(quiet, INF2, demand=Sample(2000.0, NOW - 60))) if one.key == "harmful-override"]


@pytest.mark.parametrize(("lasting", "paused", "raised"), [(True, False, True), (False, False, False), (True, True, False)])
def test_a_scaler_that_does_not_follow_the_demand(*, lasting: bool, paused: bool, raised: bool) -> None:
    """A single failed query passes; a scaler that a person paused is no news."""
    made = change(snapshot(), INF2, scaler=scaler(trouble="no metric", lasting=lasting, paused=paused))
    why = "so requests wait or idle replicas cost money. Repair ScaledObject sd21-inf2-hpa: no metric"
    words = f"sd21-inf2: its replicas do not follow the demand, {why}"
    assert _alerts(made) == ((alert_of(f"scaler/{INF2}", "warning", words),) if raised else ())


@pytest.mark.parametrize(
    ("ago", "seen", "undone", "nudges", "words"),
    [
        (29.0, Verification(Verdict.NOT_YET, NOW, "rule 7"), "", 0, None),
        (30.0, Verification(Verdict.NOT_YET, NOW, "rule 7"), "", 0, "does not show the routing action written 30 s ago: rule 7"),
        (30.0, None, "", 0, "is not known to show the routing action written 30 s ago: it was not observed since"),
        (
            30.0,
            Verification(Verdict.CANNOT_TELL, NOW),
            "no IAM role",
            2,
            "is not known to show the routing action written 30 s ago: it was not observed since; "
            "its controller says: no IAM role (nudged 2 times)",
        ),
    ],
)
def test_a_change_that_the_load_balancer_does_not_show(
    ago: float, seen: Verification | None, undone: str, nudges: int, words: str | None
) -> None:
    """Users are still where they were: people read for how long, why, and what was tried."""
    made = snapshot(application(policy=PolicySettings(verify_alert_s=30.0)), routing=routing(verification=seen, undone=undone))
    found = [one for one in _alerts(made, memory(unverified_since=NOW - ago, nudged=Repeats(nudges))) if one.key == "unverified"]
    read = "read the events of the Ingress or the Gateway, and the load-balancer controller's log"
    still = f"Requests may still go where they went before: {read}"
    assert found == ([] if words is None else [alert_of("unverified", "critical", f"the load balancer {words}. {still}")])
    assert not [one for one in _alerts(made, memory(nudged=Repeats(nudges))) if one.key == "unverified"]


@pytest.mark.parametrize(
    ("seen", "ago", "raised"),
    [
        pytest.param(None, 720.0, True, id="its turn has not come for longer than it may take"),
        pytest.param(None, 719.0, False, id="its turn has not come"),
        pytest.param(Verification(Verdict.YES, NOW, action="another"), 719.0, False, id="what was asked was about the action before"),
        pytest.param(Verification(Verdict.NOT_YET, NOW - 720, "rule 7"), 719.0, False, id="what was asked was before the change"),
        pytest.param(Verification(Verdict.NOT_YET, NOW, "rule 7"), 60.0, True, id="the load balancer does not show it"),
        pytest.param(Verification(Verdict.CANNOT_TELL, NOW, "throttled"), 60.0, True, id="the load balancer was asked and did not say"),
    ],
)
def test_a_change_that_the_budget_of_calls_has_not_reached_raises_no_alert(seen: Verification | None, ago: float, *, raised: bool) -> None:
    """Of a thousand mode changes at once most are verified after minutes. An alert for each would say nothing of the load balancer."""
    if seen is not None and not seen.action:
        seen = replace(seen, action=routing().action)
    made = snapshot(routing=routing(verification=seen, asked_within_s=720.0))
    assert [one.key for one in _alerts(made, memory(unverified_since=NOW - ago)) if one.key == "unverified"] == ["unverified"] * raised


@pytest.mark.parametrize(
    ("times", "against", "who"), [(2, "argocd", None), (3, "argocd", "argocd"), (3, "", "somebody"), (4, "", "somebody")]
)
def test_two_writers_that_fight_over_the_routing_action(times: int, against: str, who: str | None) -> None:
    """The person must learn whom to stop."""
    fix = "exempt the annotation there (`failoverctl doctor --gitops`), or pause the controller"
    words = f"the controller restored the routing action {times} times; {who} keeps changing it, and requests follow the last writer: {fix}"
    expected = () if who is None else (alert_of("fighting", "critical", words),)
    assert _alerts(snapshot(), memory(reasserted=Repeats(times, None, against))) == expected


@pytest.mark.parametrize("problem", ["critical: fixed 503", "fixed 503"])
def test_a_rule_that_answers_requests_itself(problem: str) -> None:
    """Every user gets its answer: page someone."""
    seen = Verification(Verdict.YES, NOW, problem, routing().action)
    fix = "Restore the action or the Service that is missing: `failoverctl doctor` names it"
    words = f"all requests get errors now: fixed 503. {fix}"
    expected = (alert_of("blackhole", "critical", words),)
    assert _alerts(snapshot(routing=routing(verification=seen))) == (expected if problem.startswith("critical") else ())
    why = "so a mode change would move no request: other/broken. Correct what it names"
    blocked = f"the load-balancer controller cannot carry out any change now, {why}"
    assert _alerts(snapshot(routing=routing(blocked="other/broken"))) == (alert_of("blocked", "warning", blocked),)
