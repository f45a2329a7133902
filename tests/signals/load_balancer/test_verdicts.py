"""What the verifier makes of calls that fail and of requests that it cannot answer."""

from __future__ import annotations

import math
from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError, NoCredentialsError

from controller.clients.aws import ATTEMPTS
from controller.policy.model import Target, Verdict
from controller.signals.budget import CallBudget
from controller.signals.load_balancer.turns import Load
from controller.signals.load_balancer.verifier import AUDIT_S, Verifier
from failover_testbed.clocks import ManualClock
from tests.signals.load_balancer.scripted_elb import (
    CAPACITY,
    DEFAULT,
    Clients,
    Elb,
    arn,
    ask,
    forward,
    refusal,
    rule,
)


@pytest.mark.parametrize("operation", ["DescribeLoadBalancers", "DescribeListeners", "DescribeRules", "DescribeTargetHealth"])
@pytest.mark.parametrize("code", ["AccessDenied", "AccessDeniedException", "UnauthorizedOperation"])
def test_a_missing_permission_is_named(operation: str, code: str, elb: Elb, verifier: Verifier) -> None:
    """So that it can be granted without reading code."""
    elb.errors[operation] = refusal(code, 403)
    result = verifier.verify(ask())
    assert (result.verdict, result.problem) == (Verdict.CANNOT_TELL, f"IAM does not allow elasticloadbalancing:{operation}")


def test_without_the_targets_health_the_weights_are_still_reported(elb: Elb, verifier: Verifier) -> None:
    """What is known is kept when a later call fails."""
    elb.errors["DescribeTargetHealth"] = refusal("AccessDenied", 403)
    assert verifier.verify(ask()).weights == {"inf2": 40, "trn1": 60}


def test_an_answer_without_a_list_of_targets_is_not_one_without_targets(elb: Elb, verifier: Verifier) -> None:
    """Taken for none, it would take the traffic from a unit whose targets are healthy."""
    elb.silent = {arn("inf2")}
    result = verifier.verify(ask())
    assert (result.verdict, result.healthy) == (Verdict.CANNOT_TELL, {})
    assert result.problem == "the answer of DescribeTargetHealth cannot be read: no TargetHealthDescriptions"


def test_a_standby_service_of_which_no_targets_are_listed_stays_unknown(elb: Elb, verifier: Verifier) -> None:
    """The verdict does not need it."""
    elb.silent = {arn("all")}
    result = verifier.verify(ask(standby=(("all", 80),)))
    assert (result.verdict, sorted(result.healthy)) == (Verdict.YES, ["inf2", "trn1"])


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (refusal("ExpiredToken", 403), "AWS does not accept our credentials (ExpiredToken)"),
        (NoCredentialsError(), "no AWS credentials: set AWS_PROFILE, or give the pods a role (NoCredentials)"),
        (refusal("Throttling", 400), "no answer to DescribeRules (Throttling); trying again in 5 s"),
        (refusal("ServiceUnavailable", 503), "no answer to DescribeRules (ServiceUnavailable); trying again in 5 s"),
        (ConnectTimeoutError(endpoint_url="x"), "no answer to DescribeRules (ConnectTimeoutError); trying again in 5 s"),
        (refusal("ListenerNotFound", 400), "the load balancer changed while it was checked (ListenerNotFound); trying again"),
        (refusal("ValidationError", 400), "DescribeRules was refused: elbv2 DescribeRules: ValidationError no"),
    ],
)
def test_a_call_that_fails_is_no_verdict(error: Exception, says: str, elb: Elb, verifier: Verifier) -> None:
    """Never an exception, never a premature success (Argo Rollouts took throttling for success)."""
    elb.errors["DescribeRules"] = error
    result = verifier.verify(ask())
    assert (result.verdict, result.problem) == (Verdict.CANNOT_TELL, says)


def test_throttling_stops_the_calls_of_all_applications_for_a_while(elb: Elb, verifier: Verifier, clock: ManualClock) -> None:
    """And the pause doubles up to a bound; the next success ends it."""
    elb.errors["DescribeRules"] = refusal("Throttling")
    pauses = []
    for _ in range(7):
        problem = verifier.verify(ask()).problem
        pauses.append(int(problem.rsplit(" ", 2)[1]))
        made = len(elb.calls)
        other = verifier.verify(ask(application="default/other"))
        assert (other.verdict, len(elb.calls)) == (Verdict.CANNOT_TELL, made)
        clock.advance(pauses[-1] + 0.1)
    assert pauses == [5, 10, 20, 40, 80, 120, 120]
    elb.errors.clear()
    assert verifier.verify(ask()).verdict is Verdict.YES
    elb.errors["DescribeRules"] = refusal("Throttling")
    assert verifier.verify(ask(action="again")).problem.endswith("in 5 s")


def test_a_target_group_that_is_gone_is_not_yet(elb: Elb, verifier: Verifier) -> None:
    """It was deleted between two calls; the rule will follow."""
    elb.errors["DescribeTargetHealth"] = refusal("TargetGroupNotFound")
    result = verifier.verify(ask())
    assert (result.verdict, result.applied) == (Verdict.NOT_YET, False)
    assert result.problem == "the target group of Service inf2 no longer exists; the target group of Service trn1 no longer exists"


def test_another_thing_that_is_gone_is_no_target_group(elb: Elb, verifier: Verifier) -> None:
    """The load balancer itself is being replaced: nothing is known of the targets."""
    elb.errors["DescribeTargetHealth"] = refusal("LoadBalancerNotFound")
    result = verifier.verify(ask())
    assert (result.verdict, result.healthy) == (Verdict.CANNOT_TELL, {})
    assert result.problem == "the load balancer changed while it was checked (LoadBalancerNotFound); trying again"


def test_a_standby_target_group_that_is_gone_has_no_healthy_target(elb: Elb, verifier: Verifier) -> None:
    """Its last count would let a mode change go there."""
    elb.errors["DescribeTargetHealth"] = refusal("TargetGroupNotFound")
    assert verifier.verify(ask(standby=(("all", 80),))).healthy == {"inf2": 0, "trn1": 0, "all": 0}


def test_a_load_balancer_that_was_there_is_gone(elb: Elb, verifier: Verifier, clock: ManualClock) -> None:
    """Every request is lost until its controller makes another one, which it does only when it reconciles."""
    assert verifier.verify(ask()).verdict is Verdict.YES
    elb.errors["DescribeRules"] = refusal("ListenerNotFound")
    elb.load_balancers = []
    clock.advance(3600)
    verifier.verify(ask())
    clock.advance(120)
    result = verifier.verify(ask())
    assert (result.verdict, result.applied) == (Verdict.NOT_YET, False)
    assert result.problem.startswith("critical: the load balancer ")
    assert result.problem.endswith(" no longer exists")


@pytest.mark.parametrize(
    ("changes", "verdict", "says"),
    [
        ({"hostnames": ()}, Verdict.NOT_YET, "there is no load balancer yet"),
        ({"hostnames": ("other.example",)}, Verdict.CANNOT_TELL, "no application load balancer with DNS name other.example"),
        ({"rules": ()}, Verdict.CANNOT_TELL, "no rule uses the action"),
        ({"targets": ()}, Verdict.CANNOT_TELL, "the action sends no traffic"),
        ({"targets": (Target("inf2", 80, 0),)}, Verdict.CANNOT_TELL, "the action sends no traffic"),
        ({"target_groups": None}, Verdict.CANNOT_TELL, "the TargetGroupBindings cannot be read"),
        ({"target_groups": {}}, Verdict.NOT_YET, "Service inf2:80 has no target group yet; Service trn1:80 has no target group yet"),
        ({"target_groups": {("inf2", 80): ("x",), ("trn1", 80): ("x",)}}, Verdict.CANNOT_TELL, "inf2 and trn1 share a target group"),
        ({"targets": (Target("inf2", "http", 40), Target("trn1", 80, 60))}, Verdict.NOT_YET, "Service inf2:http has no target group yet"),
    ],
)
def test_a_question_without_an_answer_says_why(changes: dict[str, Any], verdict: Verdict, says: str, verifier: Verifier) -> None:
    """80 and "http" are different target groups, even where they are the same port."""
    result = verifier.verify(ask(**changes))
    assert result.verdict is verdict
    assert says in result.problem


def test_the_calls_that_are_made_are_those_of_the_policy_document(elb: Elb, verifier: Verifier) -> None:
    """Least privilege, from this side."""
    verifier.verify(ask())
    assert set(elb.calls) == {"DescribeLoadBalancers", "DescribeListeners", "DescribeRules", "DescribeTargetHealth"}


@pytest.mark.parametrize("tolerant", [True, False])
def test_a_missing_target_group_hides_neither_the_rule_nor_the_other_side(tolerant: bool, elb: Elb, verifier: Verifier) -> None:
    """The capacity Service was deleted. The rule answers 503, or has the emptied target group, and the units' targets say where to go."""
    fixed = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "503", "MessageBody": "Backend service does not exist"}}
    elb.only_rules()[:] = [rule(fixed if tolerant else forward({"all": 1})), DEFAULT]
    units = {("inf2", 80): (arn("inf2"),), ("trn1", 80): (arn("trn1"),)}
    result = verifier.verify(ask(targets=CAPACITY, target_groups=units, standby=tuple(units)))
    assert result.verdict is Verdict.NOT_YET
    assert result.problem.startswith("critical: " if tolerant else "Service all:80 has no target group")
    assert result.healthy == {"inf2": 2, "trn1": 2}


def test_what_was_never_checked_comes_first_and_costs_are_known_after_it(elb: Elb, verifier: Verifier, clock: ManualClock) -> None:
    """The order of the checks, and how long a round takes, rest on these."""
    ready = {"inf2": 2, "trn1": 2}
    assert (verifier.due("default/sd21", ready), verifier.cost("default/sd21")) == (-math.inf, 0.0)
    assert verifier.load() == Load(0, 0.0, 1)
    request = ask(ready=ready)
    assert verifier.verify(request).verdict is Verdict.YES
    made = len(elb.calls)
    assert verifier.cost(request.application) == made > 1
    assert verifier.due(request.application, ready) == clock.monotonic() + AUDIT_S
    assert verifier.due(request.application, {**ready, "inf2": 3}) == clock.monotonic() + 5.0, "a pod that became ready has to be counted"
    assert verifier.due(request.application, {**ready, "new": 1}) == clock.monotonic() + 5.0
    elb.calls.clear()
    verifier.verify(ask(application="default/other"))
    assert verifier.load() == Load(2, (made + len(elb.calls)) / 2, 1)


def test_a_call_that_times_out_is_charged_with_its_retries(elb: Elb, clock: ManualClock) -> None:
    """AWS has counted each of them: a budget that does not would prolong the throttling."""
    budget = CallBudget(0.001, 40, clock)
    verifier = Verifier(Clients(elb), clock, budget)
    elb.errors["DescribeRules"] = refusal("Throttling")
    verifier.verify(ask())
    assert 40 - budget.available() == pytest.approx(len(elb.calls) + ATTEMPTS - 1)


@pytest.mark.parametrize("ports", [(80, 8080), (8080, 80)])
def test_another_port_of_a_service_does_not_stand_for_the_one_with_traffic(ports: tuple[int, int], elb: Elb, verifier: Verifier) -> None:
    """Another path of the Ingress may use it: the counts would be dropped, or kept, for the wrong target group."""
    groups = {("inf2", port): (arn("inf2") if port == 80 else arn("metrics"),) for port in ports}
    assert verifier.verify(ask(target_groups={**groups, ("trn1", 80): (arn("trn1"),)})).groups["inf2"] == (arn("inf2"),)
