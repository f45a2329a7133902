"""The whole answer of each guard: its name, its words, its details, and when time alone may open it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.policy.account import Absorption
from controller.policy.case import Case
from controller.policy.karpenter_times import HARD_DEMAND_S
from controller.policy.model import (
    Cause,
    GuardResult,
    Mode,
    ModeChange,
    Override,
    Return,
    RoutingObservation,
    Sample,
    Shortage,
    Source,
    Verdict,
    Verification,
)
from controller.policy.modes import guards
from controller.policy.reasons import Reason
from tests.policy.guard_cases import guard_case
from tests.policy.support import INF2, TRN1, change, proven
from tests.policy.test_reservations import MOVES_AT, on_block
from tests.support.applications import CAPACITY_TARGETS, COST_TARGETS, NOW, SERVICES, application, memory, routing, snapshot

Answer = tuple[str, str, dict[str, str], float | None]

CLOUDWATCH = Source("cloudwatch", False, NOW, 900.0)
OTHERS = "Failed build model due to ingress: other/web: no such secret"
UNGRANTED = (
    "no ReferenceGrant is known in namespace shop that lets Ingress shop/sd21 name sd21-all, so that the load balancer gets no backend of "
    "it. `failoverctl doctor shop/sd21` prints the grant"
)
OURS = "Failed build model due to ingress: shop/sd21: missing actions.weighted-routing configuration"

IN_CAPACITY = snapshot(mode=Mode.CAPACITY)


def _answer(guard: guards.Guard, case: Case) -> Answer:
    """The name, the words, the details beyond the case's own, and when time alone may open it."""
    result = guard(case)
    return (
        result.guard,
        result.text,
        {key: value for key, value in result.details.items() if key != "units" or value != INF2},
        result.reopens_s,
    )


def _found(**changes: Any) -> Absorption:
    return replace(Absorption(600.0, 60.0, 1.25, {}, frozenset()), **changes)


def _overridden(**changes: Any) -> Case:
    return guard_case(snapshot(routing=routing(override=Override(**changes))))


def _blocked(said: str) -> Case:
    return guard_case(snapshot(routing=routing(blocked=said)), receiving=CAPACITY_TARGETS)


def _required(name: str, age_s: float = 0.0, *, absent: bool = False) -> Source:
    return Source(name, True, NOW - age_s, 60.0, absent)


def _heard(*sources: Source) -> Case:
    return guard_case(replace(snapshot(), sources=sources))


def _changed(*ages_s: float) -> Case:
    changes = tuple(ModeChange(NOW - age, Mode.COST, Reason.SHORTAGE_PROVEN) for age in ages_s)
    return guard_case(memory=memory(mode_changes=changes))


@pytest.mark.parametrize(
    ("guard", "case", "answer"),
    [
        pytest.param(
            guards.leader,
            guard_case(replace(snapshot(), epoch=7)),
            ("leader", "leads, epoch 7", {}, None),
            id="it leads",
        ),
        pytest.param(
            guards.leader,
            guard_case(snapshot(leader=False)),
            ("leader", "this replica does not hold the lease", {}, None),
            id="another leads",
        ),
        pytest.param(
            guards.routing_object,
            guard_case(),
            ("routing object", "exists", {}, None),
            id="there is an Ingress",
        ),
        pytest.param(
            guards.routing_object,
            guard_case(replace(snapshot(), routing=RoutingObservation(False))),
            ("routing object", "Ingress shop/sd21 does not exist", {"object": "Ingress shop/sd21"}, None),
            id="there is none",
        ),
        pytest.param(
            guards.routing,
            guard_case(),
            ("routing", "mode cost", {}, None),
            id="a routing that is known",
        ),
        pytest.param(
            guards.routing,
            guard_case(mode=None),
            (
                "routing",
                "the routing action of Ingress shop/sd21 is neither cost nor capacity mode: it forwards to elsewhere",
                {"object": "Ingress shop/sd21", "problem": "it forwards to elsewhere"},
                None,
            ),
            id="a routing that is not",
        ),
        pytest.param(
            guards.paused,
            guard_case(),
            ("paused", "not paused", {}, None),
            id="not paused",
        ),
        pytest.param(
            guards.paused,
            _overridden(paused_until=NOW + 600, paused_why="canary", paused_by="ann"),
            (
                "paused",
                "paused by an operator until 10 min from now: canary (ann)",
                {"until": "10 min from now", "why": "canary (ann)"},
                600.0,
            ),
            id="paused",
        ),
        pytest.param(
            guards.paused,
            _overridden(problem="paused-until: not a time"),
            (
                "paused",
                "an override cannot be read and counts as a pause (paused-until: not a time): correct the annotation, or remove it",
                {"problem": "paused-until: not a time"},
                None,
            ),
            id="an override that cannot be read",
        ),
        pytest.param(
            guards.fresh,
            _heard(_required("pods"), _required("keda", 60), _required("nodes", 90, absent=True)),
            ("fresh", "2 source(s) fresh", {}, None),
            id="all sources are fresh",
        ),
        pytest.param(
            guards.fresh,
            _heard(_required("pods"), _required("keda", 61), _required("nodes", 90)),
            ("fresh", "no fresh signals from keda, nodes; the last good state is held", {"sources": "keda, nodes"}, None),
            id="two sources are stale",
        ),
        pytest.param(
            guards.pinned,
            guard_case(),
            ("pinned", "not pinned", {}, None),
            id="not pinned",
        ),
        pytest.param(
            guards.pinned,
            _overridden(pinned_mode=Mode.COST, pinned_until=NOW + 600, pinned_why="test", pinned_by="bob"),
            (
                "pinned",
                "pinned to mode cost by an operator until 10 min from now: test (bob)",
                {"mode": "cost", "until": "10 min from now", "why": "test (bob)"},
                600.0,
            ),
            id="pinned",
        ),
        pytest.param(
            guards.consistent,
            guard_case(),
            ("consistent", "signals agree", {}, None),
            id="signals agree",
        ),
        pytest.param(
            guards.consistent,
            guard_case(change(snapshot(), deployment_ready=2, endpoints_ready=0)),
            (
                "consistent",
                "signals contradict each other: Deployment of sd21-inf2 has 2 ready replica(s), its Service has no ready endpoint",
                {"problem": "Deployment of sd21-inf2 has 2 ready replica(s), its Service has no ready endpoint"},
                None,
            ),
            id="signals contradict each other",
        ),
        pytest.param(
            guards.absorbed,
            guard_case(),
            ("absorbed", "what the short units cannot serve is not known", {}, None),
            id="nothing known to absorb",
        ),
        pytest.param(
            guards.standby,
            guard_case(receiving=CAPACITY_TARGETS),
            ("standby", "every receiving Service has ready endpoints", {}, None),
            id="the receiving side is ready",
        ),
        pytest.param(
            guards.standby,
            guard_case(snapshot(routing=routing(capacity_ready=0)), receiving=CAPACITY_TARGETS),
            (
                "standby",
                "the receiving side is not ready: Service sd21-all has no ready endpoint",
                {"problem": "Service sd21-all has no ready endpoint"},
                None,
            ),
            id="the receiving side is not ready",
        ),
        pytest.param(
            guards.legal,
            guard_case(receiving=CAPACITY_TARGETS),
            ("legal", "1 target group(s), 5 are allowed", {}, None),
            id="an action that AWS accepts",
        ),
        pytest.param(
            guards.legal,
            guard_case(receiving=()),
            (
                "legal",
                "AWS would refuse the routing action: an action needs at least one target group",
                {"problem": "an action needs at least one target group"},
                None,
            ),
            id="an action that AWS refuses",
        ),
        pytest.param(
            guards.permitted,
            guard_case(),
            ("permitted", "the routing object may name every receiving Service", {}, None),
            id="no grant is missing",
        ),
        pytest.param(
            guards.permitted,
            guard_case(snapshot(routing=routing(ungranted=("sd21-all",))), receiving=CAPACITY_TARGETS),
            (
                "permitted",
                f"the load-balancer controller cannot carry out any change now: {UNGRANTED}",
                {"problem": UNGRANTED},
                None,
            ),
            id="a grant is missing",
        ),
        pytest.param(
            guards.permitted,
            guard_case(snapshot(routing=routing(ungranted=("sd21-inf2",))), receiving=CAPACITY_TARGETS),
            ("permitted", "the routing object may name every receiving Service", {}, None),
            id="a grant is missing for a Service that gets nothing",
        ),
        pytest.param(
            guards.unblocked,
            guard_case(),
            ("unblocked", "the load-balancer controller reports nothing that it cannot read", {}, None),
            id="nothing is blocked",
        ),
        pytest.param(
            guards.unblocked,
            _blocked(OTHERS),
            (
                "unblocked",
                f"the load-balancer controller cannot carry out any change now: {OTHERS}",
                {"problem": OTHERS},
                None,
            ),
            id="another Ingress blocks",
        ),
        pytest.param(
            guards.unblocked,
            _blocked(OURS),
            (
                "unblocked",
                f"the new action may fix what the load-balancer controller reports: {OURS}",
                {},
                None,
            ),
            id="the present action blocks",
        ),
        pytest.param(
            guards.dwell,
            guard_case(memory=memory(mode_since=NOW - 10)),
            ("dwell", "mode cost must last 50 s more", {"mode": "cost", "remaining": "50 s"}, 50.0),
            id="the mode has just begun",
        ),
        pytest.param(
            guards.dwell,
            guard_case(memory=memory(mode_since=NOW - 60)),
            ("dwell", "at least 1 min in mode cost", {}, None),
            id="the mode has lasted",
        ),
        pytest.param(
            guards.flip_budget,
            _changed(3000, 2000, 1000, 500, 400, 300),
            ("flip budget", "6 mode changes in the last hour, 4 are allowed", {"changes": "6", "limit": "4"}, 2600.0),
            id="too many mode changes",
        ),
        pytest.param(
            guards.flip_budget,
            _changed(1000),
            ("flip budget", "1 of 4 in the last hour", {}, None),
            id="few mode changes",
        ),
        pytest.param(
            guards.proof,
            guard_case(IN_CAPACITY, Mode.CAPACITY),
            ("proof", "waiting for proof that sd21-inf2 can get capacity again", {}, None),
            id="no proof of a return",
        ),
        pytest.param(
            guards.proof,
            guard_case(
                IN_CAPACITY,
                Mode.CAPACITY,
                evidence={TRN1: {"shortage": Shortage.SUSPECTED, "demand": 1, "cause": Cause.CAPACITY}},
            ),
            (
                "proof",
                "waiting for proof that sd21-inf2, sd21-trn1 can get capacity again",
                {"units": "sd21-inf2, sd21-trn1"},
                None,
            ),
            id="no proof, and another unit is refused",
        ),
        pytest.param(
            guards.proof,
            guard_case(
                IN_CAPACITY,
                Mode.CAPACITY,
                evidence={
                    INF2: {"returned": Return.REGISTERED},
                    TRN1: {"shortage": Shortage.SUSPECTED, "demand": 0, "cause": Cause.CAPACITY},
                },
            ),
            ("proof", "sd21-inf2 proven", {}, None),
            id="a refusal that nothing waits for",
        ),
        pytest.param(
            guards.proof,
            guard_case(IN_CAPACITY, Mode.CAPACITY, subject=()),
            ("proof", "nothing is remembered as short", {}, None),
            id="nothing to prove",
        ),
        pytest.param(
            guards.quiet,
            guard_case(),
            ("quiet", "no refusal is remembered", {}, None),
            id="no refusal",
        ),
        pytest.param(
            guards.ready,
            guard_case(receiving=COST_TARGETS),
            ("ready", "every unit has the ready replicas that cost mode needs", {}, None),
            id="all replicas are ready",
        ),
        pytest.param(
            guards.verified,
            guard_case(),
            ("verified", "nothing was changed yet", {}, None),
            id="nothing to verify",
        ),
        pytest.param(
            guards.verified,
            guard_case(memory=memory(changed_at=NOW - 60, verified_at=NOW - 30)),
            ("verified", "the load balancer shows the routing action", {}, None),
            id="seen at the load balancer",
        ),
        pytest.param(
            guards.verified,
            guard_case(memory=memory(changed_at=NOW - 60)),
            (
                "verified",
                "the load balancer does not show the last change yet (not observed since the change)",
                {"problem": "not observed since the change"},
                None,
            ),
            id="not seen at the load balancer",
        ),
        pytest.param(
            guards.cause,
            guard_case(evidence={INF2: {"cause": Cause.CAPACITY}}),
            ("cause", "capacity", {}, None),
            id="a cause that counts",
        ),
        pytest.param(
            guards.cause,
            guard_case(evidence={INF2: {"cause": Cause.CONFIG, "codes": ("AuthFailure",), "demand_since": NOW - 60}}),
            (
                "cause",
                "sd21-inf2 cannot get capacity, but cause config may not lead to a failover: AuthFailure",
                {"cause": "config", "codes": "AuthFailure"},
                HARD_DEMAND_S - 60,
            ),
            id="a cause that counts later",
        ),
        pytest.param(
            guards.absorbed,
            guard_case(absorption=_found()),
            (
                "absorbed",
                "10.0 requests/s cannot be served; the others could take 1.0 requests/s more at 110 % of their throughput",
                {},
                None,
            ),
            id="too much to absorb",
        ),
        pytest.param(
            guards.absorbed,
            guard_case(absorption=_found(unmet=2.9, spare=2.4)),
            (
                "absorbed",
                "less than 0.1 requests/s cannot be served; "
                "the others could take less than 0.1 requests/s more at 110 % of their throughput",
                {},
                None,
            ),
            id="hardly any request",
        ),
        pytest.param(
            guards.absorbed,
            guard_case(absorption=_found(unmet=3.0, spare=0.0)),
            (
                "absorbed",
                "0.1 requests/s cannot be served; the others could take 0.0 requests/s more at 110 % of their throughput",
                {},
                None,
            ),
            id="what is rounded to a tenth, and nothing",
        ),
        pytest.param(
            guards.patience,
            guard_case(memory=memory(units=proven(NOW - 25))),
            ("patience", "proven for 25 s", {}, None),
            id="proven for long enough",
        ),
        pytest.param(
            guards.patience,
            guard_case(memory=memory(units=proven(NOW - 5))),
            ("patience", "shortage of sd21-inf2 is proven; waiting 5 s more before acting on it", {"remaining": "5 s"}, 5.0),
            id="proven just now",
        ),
        pytest.param(
            guards.quiet,
            guard_case(evidence={INF2: {"last_refusal_at": NOW - 60}, TRN1: {"last_refusal_at": NOW - 300}}),
            (
                "quiet",
                "sd21-inf2 got no capacity 1 min ago; 9 min more without a refusal are needed",
                {"age": "1 min", "remaining": "9 min"},
                540.0,
            ),
            id="the newest of two refusals",
        ),
        pytest.param(
            guards.quiet,
            guard_case(evidence={INF2: {"last_refusal_at": NOW - 900}}),
            ("quiet", "no refusal for 15 min", {}, None),
            id="a refusal long ago",
        ),
        pytest.param(
            guards.hold,
            guard_case(memory=memory(mode_since=NOW - 60), hold_s=300.0),
            ("hold", "a fallback pays off only after 5 min; 4 min left", {"hold": "5 min", "remaining": "4 min"}, 240.0),
            id="the hold has begun",
        ),
        pytest.param(
            guards.hold,
            guard_case(memory=memory(mode_since=NOW - 600), hold_s=300.0),
            ("hold", "5 min since the return are over", {}, None),
            id="the hold is over",
        ),
        pytest.param(
            guards.lasting,
            guard_case(),
            ("lasting", "no Capacity Block that replicas run in ends soon", {}, None),
            id="nothing ends",
        ),
    ],
)
def test_the_whole_answer(guard: guards.Guard, case: Case, answer: Answer) -> None:
    """`plan` and the page show the words, the details go to logs, and the time is when the next pass is due."""
    assert _answer(guard, case) == answer


def test_what_other_units_can_do_is_named() -> None:
    """A person sees who would take the traffic."""
    case = guard_case(evidence={name: {"can_serve": name == TRN1} for name in snapshot().units})
    assert _answer(guards.other_side, case)[:2] == ("other side", f"{TRN1} can serve")
    alone = guard_case(evidence={name: {"can_serve": False} for name in snapshot().units})
    assert _answer(guards.other_side, alone)[0] == "other side"
    assert guards.other_side(alone).reason is Reason.OTHER_SIDE_SHORT


@pytest.mark.parametrize(
    ("unmet", "words"),
    [
        (0.0, "2 of 2 replicas carry their part of the demand"),
        (0.5, "the rest can serve the less than 0.1 requests/s that 2 of 2 replicas cannot, at 80 % of its throughput (at most 110 %)"),
        (60.0, "the rest can serve the 1.0 requests/s that 2 of 2 replicas cannot, at 80 % of its throughput (at most 110 %)"),
    ],
)
def test_who_serves_what_a_short_unit_cannot(unmet: float, words: str) -> None:
    """However little that is."""
    name, text, details, opens = _answer(guards.absorbed, guard_case(absorption=_found(unmet=unmet, spare=600.0, utilization=0.8)))
    assert (name, details, opens) == ("absorbed", {"instead": words}, None)
    assert text.endswith(words)


def test_a_limit_that_is_passed_opens_the_absorbing_guard() -> None:
    """However little cannot be served: users wait."""
    made = change(snapshot(), latency=Sample(2.0, NOW))
    words = "the ready replicas could serve the demand, but latency 2.00 s over 0.90 s"
    assert _answer(guards.absorbed, guard_case(made, absorption=_found(unmet=0.0, spare=600.0, utilization=0.8))) == (
        "absorbed",
        words,
        {},
        None,
    )


def test_a_service_that_does_not_exist_holds_by_name() -> None:
    """With its port, since that is what somebody must create."""
    case = guard_case(snapshot(routing=routing(capacity_exists=False)), receiving=CAPACITY_TARGETS)
    problem = "Service sd21-all (port 80) does not exist"
    assert _answer(guards.standby, case) == ("standby", f"the receiving side is not ready: {problem}", {"problem": problem}, None)


def test_an_unsafe_change_that_is_allowed_says_what_is_unsafe() -> None:
    """`allowUnsafeSwitch` lets it pass, and a person still reads why it is unsafe."""
    app = application()
    app = replace(app, policy=replace(app.policy, allow_unsafe_switch=True))
    case = guard_case(snapshot(app, routing=routing(standby=())), receiving=CAPACITY_TARGETS)
    words = "no standby rule keeps sd21-all registered with the load balancer: 503s for 5 to 30 s, allowed by allowUnsafeSwitch"
    assert guards.safe(case) == GuardResult("safe", None, words, allowed=True)


def test_a_block_that_ends_holds_with_what_a_person_must_know() -> None:
    """Which units, in which reservation, and until when."""
    result = guards.lasting(guard_case(on_block(MOVES_AT)))
    assert (result.guard, result.reason) == ("lasting", Reason.RESERVATION_ENDING)
    assert result.details["reservation"] == "cr-1"


def test_the_unit_of_the_newest_refusal_is_named() -> None:
    """Not the one that the change is about."""
    result = guards.quiet(guard_case(evidence={INF2: {"last_refusal_at": NOW - 300}, TRN1: {"last_refusal_at": NOW - 60}}))
    assert (result.details["units"], result.reopens_s) == (TRN1, 540.0)


def test_an_unknown_verification_lets_pass_and_says_so() -> None:
    """It is shown as not known, not as passed."""
    seen = Verification(Verdict.CANNOT_TELL, NOW, "AccessDenied")
    case = guard_case(snapshot(routing=routing(verification=seen)), memory=memory(changed_at=NOW - 60))
    assert guards.verified(case) == GuardResult("verified", None, "cannot tell: AccessDenied", known=False)


@pytest.mark.parametrize(("weight", "holds"), [(0, True), (1, False)])
def test_a_service_without_traffic_must_be_seen_healthy(weight: int, holds: bool) -> None:
    """Any weight is traffic: a change of weights makes nothing worse for it. Weight 0 is none."""
    service = SERVICES[1]
    present = tuple(replace(one, weight=weight if one.service == service else one.weight) for one in COST_TARGETS)
    observed = routing(targets=present, standby=SERVICES, verification=None)
    result = guards.safe(guard_case(snapshot(routing=observed), receiving=tuple(one for one in COST_TARGETS if one.service == service)))
    assert (result.reason is Reason.UNSAFE_SWITCH) is holds
    assert (f"no target of {service} has been seen healthy" in result.text) is holds


def test_a_unit_that_is_not_short_is_no_lasting_shortage() -> None:
    """Nor one whose shortage may cause a failover."""
    causes = {INF2: {"shortage": Shortage.PROVEN, "cause": Cause.CAPACITY}, TRN1: {"shortage": Shortage.PROVEN, "cause": Cause.QUOTA}}
    app = application()
    app = replace(app, policy=replace(app.policy, trip_causes=frozenset({Cause.CAPACITY})))
    assert guards.lasting_shortages(guard_case(snapshot(app), evidence=causes)) == {TRN1}
