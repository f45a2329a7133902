"""Verification against a scripted ELBv2: every pitfall that other controllers fell into is one test."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, NoCredentialsError

from controller.clients.aws import AwsClients
from controller.clock import ManualClock
from controller.policy.model import CRITICAL, Target, Verdict
from controller.signals.budget import CallBudget
from controller.signals.load_balancer.verifier import (
    LiveRule,
    VerificationRequest,
    Verifier,
    load_balancer_dimension,
    load_balancer_name,
)
from failover_analysis.simulation.engine import Simulation
from failover_analysis.simulation.simulated_view import AUDIT_S, BALANCER_S, LISTENERS_S
from tests.analysis.simulation.support import setup

NOW = 1_800_000_000.0
LB = "arn:aws:elasticloadbalancing:us-west-2:123456789012:loadbalancer/app/K8s-sd21/0123456789abcdef"
DNS = "K8s-sd21-1234567890.us-west-2.elb.amazonaws.com"
ANY_PATH: frozenset[tuple[str, frozenset[str]]] = frozenset({("path-pattern", frozenset({"/*"}))})
LIVE = LiveRule(ANY_PATH, "/*")
COST = (Target("inf2", 80, 40), Target("trn1", 80, 60))
CAPACITY = (Target("all", 80, 1),)


def arn(service: str) -> str:
    return f"arn:aws:elasticloadbalancing:us-west-2:123456789012:targetgroup/k8s-default-{service}/0123456789abcdef"


def forward(weights: Mapping[str, int], *, stickiness_s: int = 0) -> dict[str, Any]:
    sticky: dict[str, Any] = {"Enabled": stickiness_s > 0}
    if stickiness_s:
        sticky["DurationSeconds"] = stickiness_s
    tuples = [{"TargetGroupArn": arn(service), "Weight": weight} for service, weight in weights.items()]
    return {"Type": "forward", "Order": 1, "ForwardConfig": {"TargetGroups": tuples, "TargetGroupStickinessConfig": sticky}}


def rule(*actions: dict[str, Any], host: str = "", path: str = "/*", priority: str = "1", default: bool = False) -> dict[str, Any]:
    conditions: list[dict[str, Any]] = [{"Field": "path-pattern", "Values": [path], "PathPatternConfig": {"Values": [path]}}]
    if host:
        conditions.append({"Field": "host-header", "HostHeaderConfig": {"Values": [host]}})
    return {"Priority": priority, "IsDefault": default, "Conditions": [] if default else conditions, "Actions": list(actions)}


DEFAULT = rule({"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}, priority="default", default=True)
REDIRECT = rule({"Type": "redirect", "RedirectConfig": {"StatusCode": "HTTP_301"}}, priority="default", default=True)


@dataclass
class Elb:
    """An ELBv2 that answers what the test wrote into it, a page at a time."""

    load_balancers: list[dict[str, Any]] = field(
        default_factory=lambda: [{"LoadBalancerArn": LB, "LoadBalancerName": "K8s-sd21", "DNSName": DNS, "Type": "application"}]
    )
    listeners: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    rules: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    health: dict[str, list[str]] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)
    target_prefix: str = "10.0.0."
    page: int = 400
    retries: int = 0
    calls: list[str] = field(default_factory=list)

    def listen(self, port: int, rules: list[dict[str, Any]], *, protocol: str = "HTTP") -> None:
        listener = f"{LB.replace(':loadbalancer/', ':listener/')}/{port}"
        self.listeners.setdefault(LB, []).append({"ListenerArn": listener, "Port": port, "Protocol": protocol})
        self.rules[listener] = rules

    def only_rules(self) -> list[dict[str, Any]]:
        (rules,) = self.rules.values()
        return rules

    def _called(self, operation: str) -> None:
        self.calls.append(operation)
        if operation in self.errors:
            raise self.errors[operation]

    def _paged(self, key: str, entries: list[dict[str, Any]], marker: str) -> dict[str, Any]:
        start = int(marker or 0)
        answer: dict[str, Any] = {key: deepcopy(entries[start : start + self.page]), "ResponseMetadata": {"RetryAttempts": self.retries}}
        if start + self.page < len(entries):
            answer["NextMarker"] = str(start + self.page)
        return answer

    def describe_load_balancers(self, Names: list[str] | None = None, Marker: str = "", **_: Any) -> dict[str, Any]:  # noqa: N803
        self._called("DescribeLoadBalancers")
        found = [entry for entry in self.load_balancers if Names is None or entry["LoadBalancerName"] in Names]
        if Names and not found:
            raise refusal("LoadBalancerNotFound", 400)
        return self._paged("LoadBalancers", found, Marker)

    def describe_listeners(self, LoadBalancerArn: str, Marker: str = "", **_: Any) -> dict[str, Any]:  # noqa: N803
        self._called("DescribeListeners")
        return self._paged("Listeners", self.listeners.get(LoadBalancerArn, []), Marker)

    def describe_rules(self, ListenerArn: str, Marker: str = "", **_: Any) -> dict[str, Any]:  # noqa: N803
        self._called("DescribeRules")
        return self._paged("Rules", self.rules[ListenerArn], Marker)

    def describe_target_health(self, TargetGroupArn: str) -> dict[str, Any]:  # noqa: N803
        self._called("DescribeTargetHealth")
        states = self.health.get(TargetGroupArn, [])
        return {
            "TargetHealthDescriptions": [
                {"Target": {"Id": f"{self.target_prefix}{number}", "Port": 8000}, "TargetHealth": {"State": state}}
                for number, state in enumerate(states)
            ]
        }


class Clients(AwsClients):
    def __init__(self, elb: object) -> None:
        self._elb = elb  # and nothing of the real factory: a session takes longer than most tests here

    def client(self, service: str) -> Any:
        assert service == "elbv2"
        return self._elb


def refusal(code: str, status: int = 400) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Describe")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def elb() -> Elb:
    elb = Elb()
    elb.listen(80, [rule(forward({"inf2": 40, "trn1": 60})), DEFAULT])
    for service in ("inf2", "trn1", "all"):
        elb.health[arn(service)] = ["healthy", "healthy"]
    return elb


@pytest.fixture
def verifier(elb: Elb, clock: ManualClock) -> Verifier:
    return Verifier(Clients(elb), clock, CallBudget(1, 40, clock))


def ask(**changes: Any) -> VerificationRequest:
    base = VerificationRequest(
        application="default/sd21",
        hostnames=(DNS.lower(),),
        action="cost",
        targets=COST,
        stickiness_s=0,
        rules=(LIVE,),
        target_groups={(service, 80): (arn(service),) for service in ("inf2", "trn1", "all")},
        ready={"inf2": 2, "trn1": 2},
    )
    return replace(base, **changes)


def test_rules_and_targets_that_agree_are_verified(verifier: Verifier) -> None:
    """The ordinary yes, with what was seen."""
    result = verifier.verify(ask())
    assert (result.verdict, result.problem, result.action, result.at) == (Verdict.YES, "", "cost", NOW)
    assert result.weights == {"inf2": 40, "trn1": 60}
    assert result.healthy == {"inf2": 2, "trn1": 2}


# --- the pitfalls -----------------------------------------------------------------------------------------------------------------------


def test_a_standby_rule_with_the_same_target_groups_does_not_hide_the_live_rule(elb: Elb, verifier: Verifier) -> None:
    """Weights kept by target group would be overwritten by whichever rule is read last."""
    elb.only_rules().insert(1, rule(forward({"inf2": 1, "trn1": 1}), host="standby-cost.invalid", priority="2"))
    assert verifier.verify(ask()).verdict is Verdict.YES
    elb.only_rules()[0]["Actions"] = [forward({"all": 1})]
    elb.only_rules()[1]["Actions"] = [forward({"inf2": 40, "trn1": 60})]
    assert verifier.verify(ask(action="again")).verdict is Verdict.NOT_YET


def test_the_live_rule_is_found_at_any_priority(elb: Elb, verifier: Verifier) -> None:
    """Other Ingresses of the group move our priorities."""
    elb.only_rules().insert(0, rule(forward({"all": 1}), path="/other/*", priority="1"))
    elb.only_rules()[1]["Priority"] = "37"
    assert verifier.verify(ask()).verdict is Verdict.YES


def test_a_rule_on_the_second_page_is_found(elb: Elb, verifier: Verifier) -> None:
    """Argo Rollouts read the first page only."""
    elb.page = 1
    elb.load_balancers.insert(0, {"LoadBalancerArn": "x", "LoadBalancerName": "other", "DNSName": "other.example", "Type": "application"})
    elb.listen(443, [rule(forward({"all": 1}), path="/other/*"), rule(forward({"inf2": 40, "trn1": 60})), DEFAULT], protocol="HTTPS")
    assert verifier.verify(ask(ports=frozenset({80, 443}))).verdict is Verdict.YES
    assert elb.calls.count("DescribeRules") == 5


def test_pages_that_never_end_are_given_up(elb: Elb, verifier: Verifier) -> None:
    """A listing that repeats its marker, or has more pages than there can be, must not hold the tick."""
    elb.describe_rules = lambda **_: {"Rules": [], "NextMarker": "same"}  # type: ignore[method-assign]
    result = verifier.verify(ask())
    assert (result.verdict, result.problem) == (Verdict.CANNOT_TELL, "the pages of DescribeRules go round in a circle")
    numbers = iter(range(10_000))
    elb.describe_rules = lambda **_: {"Rules": [], "NextMarker": str(next(numbers))}  # type: ignore[method-assign]
    result = verifier.verify(ask(action="again"))
    assert (result.verdict, result.problem) == (Verdict.CANNOT_TELL, "DescribeRules has more than 20 pages")
    assert next(numbers) == 20


@pytest.mark.parametrize(
    "hostname",
    [DNS, DNS.lower(), DNS.lower() + ".", "dualstack." + DNS.lower()],
)
def test_the_dns_name_is_compared_without_regard_to_case(hostname: str, verifier: Verifier) -> None:
    """The load-balancer controller writes it in lower case, AWS keeps the case of the name."""
    assert verifier.verify(ask(hostnames=(hostname,))).verdict is Verdict.YES


def test_the_load_balancer_is_looked_up_by_name_first(elb: Elb, verifier: Verifier) -> None:
    """Paging through every load balancer of the account is the fallback."""
    verifier.verify(ask(hostnames=(DNS,)))
    assert elb.calls.count("DescribeLoadBalancers") == 1


def test_a_network_load_balancer_in_front_is_passed_over(elb: Elb, verifier: Verifier) -> None:
    """The Ingress's status may hold a second host name, of the frontend NLB."""
    front = "front-0123456789abcdef.elb.us-west-2.amazonaws.com"
    elb.load_balancers.append({"LoadBalancerArn": "nlb", "LoadBalancerName": "front", "DNSName": front, "Type": "network"})
    assert verifier.verify(ask(hostnames=(front, DNS))).verdict is Verdict.YES
    assert verifier.dimension("default/sd21") == "app/K8s-sd21/0123456789abcdef"


def test_a_default_rule_is_never_taken_for_the_live_one(elb: Elb, verifier: Verifier) -> None:
    """It has no conditions, and its action is not ours."""
    elb.only_rules()[:] = [rule(forward({"inf2": 40, "trn1": 60}), default=True, priority="default")]
    result = verifier.verify(ask())
    assert (result.verdict, result.problem) == (Verdict.NOT_YET, "no listener has a rule for /* yet")


@pytest.mark.parametrize("live", [{"Type": "forward", "TargetGroupArn": arn("all")}, forward({"all": 1}), forward({"all": 999})])
def test_a_single_target_group_is_accepted_in_every_form_and_at_any_weight(live: dict[str, Any], elb: Elb, verifier: Verifier) -> None:
    """It gets all the traffic; AWS shows it with and without a ForwardConfig."""
    elb.only_rules()[0]["Actions"] = [live]
    assert verifier.verify(ask(targets=CAPACITY)).verdict is Verdict.YES


def test_the_order_of_the_target_groups_does_not_matter(elb: Elb, verifier: Verifier) -> None:
    """The load-balancer controller compares them sorted."""
    elb.only_rules()[0]["Actions"] = [forward({"trn1": 60, "inf2": 40})]
    assert verifier.verify(ask()).verdict is Verdict.YES


@pytest.mark.parametrize(
    ("live", "says"),
    [
        (forward({"inf2": 60, "trn1": 40}), "HTTP:80 /* forwards to inf2 60, trn1 40, asked for inf2 40, trn1 60"),
        (forward({"inf2": 40}), "HTTP:80 /* forwards to inf2 40, asked for inf2 40, trn1 60"),
        (forward({"inf2": 40, "trn1": 60, "old": 0}), "unknown target group k8s-default-old/0123456789abcdef"),
        (forward({}), "HTTP:80 /* forwards to nothing, asked for inf2 40, trn1 60"),
        ({"Type": "redirect"}, "HTTP:80 /* does not forward (redirect)"),
        (forward({"inf2": 40, "trn1": 60}, stickiness_s=200), "HTTP:80 /* has stickiness 200 s, asked for off"),
    ],
)
def test_a_rule_that_differs_is_not_verified_yet_and_the_difference_is_named(
    live: dict[str, Any], says: str, elb: Elb, verifier: Verifier
) -> None:
    """Including a target group too many at weight 0: the action is compared whole."""
    elb.only_rules()[0]["Actions"] = [live]
    result = verifier.verify(ask())
    assert result.verdict is Verdict.NOT_YET
    assert says in result.problem


@pytest.mark.parametrize(("asked", "live", "verdict"), [(200, 200, Verdict.YES), (200, 0, Verdict.NOT_YET), (200, 60, Verdict.NOT_YET)])
def test_stickiness_is_part_of_the_comparison(asked: int, live: int, verdict: Verdict, elb: Elb, verifier: Verifier) -> None:
    """Sticky clients ignore weights, so it matters for the drain."""
    elb.only_rules()[0]["Actions"] = [forward({"inf2": 40, "trn1": 60}, stickiness_s=live)]
    assert verifier.verify(ask(stickiness_s=asked)).verdict is verdict


def test_authentication_before_the_forward_action_is_skipped(elb: Elb, verifier: Verifier) -> None:
    """On HTTPS listeners the forward action is the last by order, wherever it stands in the list."""
    elb.only_rules()[0]["Actions"] = [{**forward({"inf2": 40, "trn1": 60}), "Order": 2}, {"Type": "authenticate-oidc", "Order": 1}]
    assert verifier.verify(ask()).verdict is Verdict.YES


def test_a_live_rule_that_answers_503_itself_is_critical(elb: Elb, verifier: Verifier) -> None:
    """The load-balancer controller does this for a missing Service and reports success: all traffic is lost."""
    fixed = {"StatusCode": "503", "MessageBody": "Backend service does not exist"}
    elb.only_rules()[0]["Actions"] = [{"Type": "fixed-response", "FixedResponseConfig": fixed}]
    elb.listen(8080, [rule(forward({"all": 1}))])
    result = verifier.verify(ask())
    assert result.verdict is Verdict.NOT_YET
    assert result.problem.startswith(f"{CRITICAL}HTTP:80 /* answers every request with a fixed 503 (Backend service does not exist)")


def test_every_listener_that_has_the_rule_must_have_it_right(elb: Elb, verifier: Verifier) -> None:
    """HTTP and HTTPS are modified one after the other."""
    elb.listen(443, [rule(forward({"all": 1})), DEFAULT], protocol="HTTPS")
    result = verifier.verify(ask())
    assert result.verdict is Verdict.NOT_YET
    assert result.problem.startswith("HTTPS:443 /*")
    assert result.weights == {"all": 1}  # of the listener that differs


def test_a_listener_that_only_redirects_is_skipped(elb: Elb, verifier: Verifier) -> None:
    """With ssl-redirect the HTTP listener gets no rules at all."""
    elb.listen(8080, [REDIRECT])
    assert verifier.verify(ask()).verdict is Verdict.YES


def test_a_listener_that_must_have_the_rule_and_lacks_it_is_reported(elb: Elb, verifier: Verifier) -> None:
    """Known from the Ingress's listen-ports."""
    elb.listen(443, [DEFAULT], protocol="HTTPS")
    result = verifier.verify(ask(ports=frozenset({80, 443, 8443})))
    assert result.verdict is Verdict.NOT_YET
    assert result.problem == "HTTPS:443 /*: no such rule yet; there is no listener on port 8443 yet"


def test_a_listener_of_another_protocol_is_not_ours(elb: Elb, verifier: Verifier) -> None:
    """Only HTTP and HTTPS listeners have rules."""
    elb.listen(9000, [], protocol="TCP")
    assert verifier.verify(ask()).verdict is Verdict.YES
    assert elb.calls.count("DescribeRules") == 1


def test_all_rules_of_the_ingress_must_be_there_on_a_listener_that_has_one(elb: Elb, verifier: Verifier) -> None:
    """Two paths are two rules; one may have been made and the other not."""
    second = LiveRule(frozenset({("path-pattern", frozenset({"/v2/*"}))}), "/v2/*")
    result = verifier.verify(ask(rules=(LIVE, second)))
    assert result.verdict is Verdict.NOT_YET
    assert "HTTP:80 /v2/*: no such rule yet" in result.problem


def test_equal_conditions_twice_must_both_be_right(elb: Elb, verifier: Verifier) -> None:
    """While the controller re-orders, which of them wins is a matter of priorities."""
    elb.only_rules().insert(0, rule(forward({"all": 1}), priority="9"))
    assert verifier.verify(ask()).verdict is Verdict.NOT_YET


# --- health -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("states", "ready", "verdict"),
    [
        (["healthy"], 1, Verdict.YES),
        (["healthy", "initial"], 2, Verdict.YES),
        (["healthy", "initial", "initial"], 3, Verdict.NOT_YET),
        (["initial", "initial"], 2, Verdict.NOT_YET),
        (["unhealthy"], 0, Verdict.NOT_YET),
        (["unused"], 0, Verdict.NOT_YET),
        (["draining", "unhealthy.draining"], 0, Verdict.NOT_YET),
        (["unavailable"], 0, Verdict.NOT_YET),
        ([], 0, Verdict.NOT_YET),
    ],
)
def test_registered_is_not_enough_targets_must_be_healthy(
    states: list[str], ready: int, verdict: Verdict, elb: Elb, verifier: Verifier
) -> None:
    """Argo Rollouts ignores the health on purpose; an empty target group answers 503."""
    elb.health[arn("inf2")] = states
    result = verifier.verify(ask(ready={"inf2": ready}))
    assert result.verdict is verdict
    assert result.weights == {"inf2": 40, "trn1": 60}  # the rule is right, and the caller can see that it is
    assert result.healthy["inf2"] == states.count("healthy")


def test_the_shortfall_is_told_with_numbers(elb: Elb, verifier: Verifier) -> None:
    """What a person needs to go on."""
    elb.health[arn("inf2")] = ["healthy", "initial", "unhealthy", "unhealthy"]
    problem = verifier.verify(ask(ready={"inf2": 4})).problem
    assert problem == "inf2 has 1 healthy target(s) of the 2 needed (1 initial, 2 unhealthy)"


def test_a_target_group_at_weight_zero_needs_no_healthy_target(elb: Elb, verifier: Verifier) -> None:
    """It gets no traffic, and its calls are saved."""
    elb.only_rules()[0]["Actions"] = [forward({"inf2": 0, "trn1": 60})]
    elb.health[arn("inf2")] = []
    assert verifier.verify(ask(targets=(Target("inf2", 80, 0), Target("trn1", 80, 60)))).verdict is Verdict.YES
    assert elb.calls.count("DescribeTargetHealth") == 1


def test_instance_targets_are_nodes_and_are_not_counted_against_pods(elb: Elb, verifier: Verifier) -> None:
    """Ten ready pods may stand on two nodes."""
    elb.target_prefix = "i-0"
    seen = verifier.verify(ask(ready={"inf2": 10, "trn1": 10}))
    assert seen.verdict is Verdict.YES
    assert seen.healthy == {"inf2": 10, "trn1": 10}, "weights follow pods: a few nodes must not make a unit look nearly gone"


@pytest.mark.parametrize(
    ("live", "health", "applied"),
    [
        pytest.param({"inf2": 40, "trn1": 60}, ["healthy"], True, id="verified"),
        pytest.param({"inf2": 40, "trn1": 60}, ["unhealthy"], True, id="applied, and the targets are not healthy"),
        pytest.param({"all": 1}, ["healthy"], False, id="not applied"),
    ],
)
def test_whether_the_rules_follow_is_told_apart_from_health(
    live: dict[str, int], health: list[str], applied: bool, elb: Elb, verifier: Verifier
) -> None:  # fmt: skip
    """A nudge helps against rules that do not follow, and against nothing else."""
    elb.only_rules()[0]["Actions"] = [forward(live)]
    elb.health[arn("inf2")] = health
    assert verifier.verify(ask()).applied is applied


def test_the_targets_of_a_rule_that_differs_are_not_asked_for(elb: Elb, verifier: Verifier) -> None:
    """The answer is no already, and calls are shared with the load-balancer controller."""
    elb.only_rules()[0]["Actions"] = [forward({"all": 1})]
    verifier.verify(ask())
    assert "DescribeTargetHealth" not in elb.calls


# --- what cannot be told ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["DescribeLoadBalancers", "DescribeListeners", "DescribeRules", "DescribeTargetHealth"])
@pytest.mark.parametrize("code", ["AccessDenied", "AccessDeniedException", "UnauthorizedOperation"])
def test_a_missing_permission_is_named(operation: str, code: str, elb: Elb, verifier: Verifier) -> None:
    """So that it can be granted without reading code."""
    elb.errors[operation] = refusal(code, 403)
    result = verifier.verify(ask())
    assert (result.verdict, result.problem) == (Verdict.CANNOT_TELL, f"IAM does not allow elasticloadbalancing:{operation}")


def test_without_the_targets_health_the_weights_are_still_told(elb: Elb, verifier: Verifier) -> None:
    """What is known is kept when a later call fails."""
    elb.errors["DescribeTargetHealth"] = refusal("AccessDenied", 403)
    assert verifier.verify(ask()).weights == {"inf2": 40, "trn1": 60}


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (refusal("ExpiredToken", 403), "AWS does not accept our credentials (ExpiredToken)"),
        (NoCredentialsError(), "AWS does not accept our credentials (NoCredentials)"),
        (refusal("Throttling", 400), "no answer to DescribeRules (Throttling); trying again in 5 s"),
        (refusal("ServiceUnavailable", 503), "no answer to DescribeRules (ServiceUnavailable); trying again in 5 s"),
        (ConnectTimeoutError(endpoint_url="x"), "no answer to DescribeRules (ConnectTimeoutError); trying again in 5 s"),
        (refusal("ListenerNotFound", 400), "the load balancer changed while it was looked at (ListenerNotFound); trying again"),
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


def test_a_load_balancer_that_was_replaced_is_looked_up_again(elb: Elb, verifier: Verifier, clock: ManualClock) -> None:
    """Cached ARNs are dropped when AWS does not know them."""
    assert verifier.verify(ask()).verdict is Verdict.YES
    clock.advance(61)
    elb.errors["DescribeRules"] = refusal("ListenerNotFound")
    verifier.verify(ask())
    elb.errors.clear()
    clock.advance(61)
    elb.calls.clear()
    assert verifier.verify(ask()).verdict is Verdict.YES
    assert elb.calls[:3] == ["DescribeLoadBalancers", "DescribeLoadBalancers", "DescribeListeners"]


def test_a_target_group_that_is_gone_is_not_yet(elb: Elb, verifier: Verifier) -> None:
    """It was deleted between two calls; the rule will follow."""
    elb.errors["DescribeTargetHealth"] = refusal("TargetGroupNotFound")
    result = verifier.verify(ask())
    assert (result.verdict, result.problem) == (Verdict.NOT_YET, "a target group of the rule no longer exists")


@pytest.mark.parametrize(
    ("changes", "verdict", "says"),
    [
        ({"hostnames": ()}, Verdict.NOT_YET, "the Ingress has no load balancer yet"),
        ({"hostnames": ("other.example",)}, Verdict.CANNOT_TELL, "no application load balancer with DNS name other.example"),
        ({"rules": ()}, Verdict.CANNOT_TELL, "no rule of the Ingress uses the action"),
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


def test_port_80_in_quotes_is_the_port_80(verifier: Verifier) -> None:
    """The load-balancer controller reads numeric strings as numbers."""
    assert verifier.verify(ask(targets=(Target("inf2", "80", 40), Target("trn1", 80, 60)))).verdict is Verdict.YES


def test_either_target_group_of_a_service_will_do_in_a_group_of_ingresses(verifier: Verifier) -> None:
    """The rule is ours by its conditions; both target groups lead to the same pods."""
    groups = {("inf2", 80): ("another", arn("inf2")), ("trn1", 80): (arn("trn1"),)}
    assert verifier.verify(ask(target_groups=groups)).verdict is Verdict.YES


# --- pacing and budget ------------------------------------------------------------------------------------------------------------------


def test_the_last_word_is_repeated_until_another_look_is_due(elb: Elb, verifier: Verifier, clock: ManualClock) -> None:
    """A tick may ask as often as it likes."""
    first = verifier.verify(ask())
    made = len(elb.calls)
    clock.advance(59)
    assert verifier.verify(ask(ready={"inf2": 3})) is first
    assert len(elb.calls) == made
    clock.advance(1)
    assert verifier.verify(ask()).at == NOW + 60
    assert len(elb.calls) == made + 3  # the load balancer and its listeners are known by now


def test_a_routing_that_is_not_there_yet_is_looked_at_every_five_seconds(elb: Elb, verifier: Verifier, clock: ManualClock) -> None:
    """The load-balancer controller usually needs about one."""
    elb.only_rules()[0]["Actions"] = [forward({"all": 1})]
    assert verifier.verify(ask()).verdict is Verdict.NOT_YET
    elb.only_rules()[0]["Actions"] = [forward({"inf2": 40, "trn1": 60})]
    clock.advance(4.9)
    assert verifier.verify(ask()).verdict is Verdict.NOT_YET
    clock.advance(0.1)
    assert verifier.verify(ask()).verdict is Verdict.YES


def test_another_action_is_looked_at_at_once(elb: Elb, verifier: Verifier) -> None:
    """A verification counts only for the action it names."""
    assert verifier.verify(ask()).verdict is Verdict.YES
    result = verifier.verify(ask(action="capacity", targets=CAPACITY))
    assert (result.verdict, result.action) == (Verdict.NOT_YET, "capacity")


def test_an_old_yes_does_not_come_back_with_the_old_action(elb: Elb, clock: ManualClock) -> None:
    """Cost, capacity, cost again within the budget's drought: the load balancer may still show capacity."""
    verifier = Verifier(Clients(elb), clock, CallBudget(0.01, 5, clock))
    assert verifier.verify(ask()).verdict is Verdict.YES
    assert verifier.verify(ask(action="capacity", targets=CAPACITY)).verdict is Verdict.CANNOT_TELL
    result = verifier.verify(ask())
    assert result.verdict is Verdict.CANNOT_TELL
    assert "call budget" in result.problem


def test_without_budget_the_last_verification_stands(elb: Elb, clock: ManualClock) -> None:
    """With the time at which it was made, so that its age shows."""
    verifier = Verifier(Clients(elb), clock, CallBudget(0.01, 5, clock))
    first = verifier.verify(ask())
    clock.advance(100)
    assert verifier.verify(ask()) is first


def test_many_applications_stay_within_one_call_a_second(clock: ManualClock) -> None:
    """And every one of them gets its turn, those that come last in the tick too."""
    elb = Elb(health={arn(service): ["healthy"] for service in ("inf2", "trn1")})
    elb.listen(80, [rule(forward({"inf2": 40, "trn1": 60})), DEFAULT])
    verifier = Verifier(Clients(elb), clock, CallBudget(1, 20, clock))
    seen: dict[str, float] = {}
    for _ in range(400):
        for number in range(40):
            seen[f"default/app{number}"] = verifier.verify(ask(application=f"default/app{number}", ready={})).at
        clock.advance(5)
    assert len(elb.calls) <= 2000 + 20
    assert min(seen.values()) >= clock.now() - 400


def test_audits_leave_calls_for_changes(elb: Elb, clock: ManualClock) -> None:
    """A switch must be verified although two hundred others are being audited."""
    budget = CallBudget(0.01, 14, clock)
    verifier = Verifier(Clients(elb), clock, budget)
    first = verifier.verify(ask())
    clock.advance(60)
    assert verifier.verify(ask()) is first  # nine calls are left, three are needed, eight are kept
    assert verifier.verify(ask(application="default/changed")).verdict is Verdict.YES


def test_retries_that_botocore_makes_are_booked(elb: Elb, clock: ManualClock) -> None:
    """They are calls, as AWS counts them."""
    budget = CallBudget(1, 40, clock)
    elb.retries = 2
    Verifier(Clients(elb), clock, budget).verify(ask())
    # Load balancer by name (in vain) and by search, listeners, rules, the health of two target groups; three answers told of retries.
    assert budget.available() == 40 - 6 - 3 * 2


def test_what_is_remembered_is_bounded(elb: Elb, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Applications come and go for years."""
    monkeypatch.setattr("controller.signals.load_balancer.verifier._KEPT_APPLICATIONS", 3)
    monkeypatch.setattr("controller.signals.load_balancer.verifier._KEPT_LOAD_BALANCERS", 3)
    verifier = Verifier(Clients(elb), clock, CallBudget(1000, 1000, clock))
    for number in range(9):
        verifier.verify(ask(application=f"default/app{number}", hostnames=(DNS, f"{number}.example")))
        clock.advance(10)
    assert list(verifier.dimensions()) == ["default/app6", "default/app7", "default/app8"]
    assert len(verifier._load_balancers) <= 3
    verifier.retain(["default/app8"])
    assert verifier.dimensions() == {"default/app8": "app/K8s-sd21/0123456789abcdef"}
    assert verifier.dimension("default/app7") is None


def test_a_load_balancer_that_is_missing_is_not_searched_for_on_every_tick(elb: Elb, verifier: Verifier, clock: ManualClock) -> None:
    """The search pages through the whole account."""
    for _ in range(6):
        verifier.verify(ask(hostnames=("gone.example",)))
        clock.advance(6)
    assert elb.calls == ["DescribeLoadBalancers"] * 2


# --- names ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hostname", "name"),
    [
        ("k8s-default-sd21-0a1b2c3d4e-1234567890.us-west-2.elb.amazonaws.com", "k8s-default-sd21-0a1b2c3d4e"),
        ("internal-k8s-default-sd21-0a1b2c3d4e-1234567890.us-west-2.elb.amazonaws.com", "k8s-default-sd21-0a1b2c3d4e"),
        ("K8s-SD21-1.us-west-2.elb.amazonaws.com.", "K8s-SD21"),
        ("dualstack.sd21-12.us-west-2.elb.amazonaws.com", "sd21"),
        ("", ""),
    ],
)
def test_the_name_is_read_from_the_dns_name(hostname: str, name: str) -> None:
    """Without AWS's own prefix and number."""
    assert load_balancer_name(hostname) == name


def test_the_cloudwatch_dimension_keeps_the_app_prefix() -> None:
    """Argo Rollouts strips it, and CloudWatch finds nothing."""
    assert load_balancer_dimension(LB) == "app/K8s-sd21/0123456789abcdef"
    assert load_balancer_dimension("nonsense") == ""


def test_the_calls_that_are_made_are_those_of_the_policy_document(elb: Elb, verifier: Verifier) -> None:
    """Least privilege, from this side."""
    verifier.verify(ask())
    assert set(elb.calls) == {"DescribeLoadBalancers", "DescribeListeners", "DescribeRules", "DescribeTargetHealth"}


def test_the_targets_of_what_stands_by_are_counted_and_decide_nothing(elb: Elb, verifier: Verifier) -> None:
    """Before a switch it must be known whether the receiving target group has a healthy target; the present routing is right either way."""
    result = verifier.verify(ask(standby=(("all", 80), ("nowhere", 80))))
    assert result.verdict is Verdict.YES
    assert set(result.healthy) == {"inf2", "trn1", "all"}


def test_targets_that_cannot_be_counted_stay_unknown(elb: Elb, verifier: Verifier) -> None:
    """A standby Service without a target group is no fault of the present routing."""
    result = verifier.verify(ask(standby=(("nowhere", 80),)))
    assert (result.verdict, set(result.healthy)) == (Verdict.YES, {"inf2", "trn1"})


@pytest.mark.parametrize(
    ("health", "ready", "looks"),
    [
        pytest.param(["initial", "initial"], 2, 2, id="its pods wait for their first check"),
        pytest.param(["healthy"], 2, 1, id="healthy"),
        pytest.param([], 0, 1, id="nothing is ready there"),
    ],
)
def test_what_stands_by_and_is_not_healthy_yet_is_looked_at_again_soon(
    health: list[str], ready: int, looks: int, elb: Elb, verifier: Verifier, clock: ManualClock
) -> None:  # fmt: skip
    """A failover is refused on the word of the last look: it must not be a whole audit old once the first checks have passed."""
    elb.health[arn("all")] = health
    question = ask(standby=(("all", 80),), ready={"all": ready})
    assert verifier.verify(question).verdict is Verdict.YES
    clock.advance(15.1)
    verifier.verify(question)
    assert elb.calls.count("DescribeRules") == looks


def test_an_hour_of_looks_costs_the_calls_that_the_simulation_books(elb: Elb, verifier: Verifier, clock: ManualClock) -> None:
    """Both by one formula, so that the account of a simulated month is that of a real one."""

    def calls(groups: int) -> float:
        return 3600 / AUDIT_S * (1 + groups) + 3600 / LISTENERS_S + 3600 / BALANCER_S

    for _ in range(720):
        verifier.verify(ask(hostnames=(DNS,), standby=(("all", 80),)))  # a name in lower case is searched for twice
        clock.advance(5)
    assert len(elb.calls) == calls(groups=3)
    made = setup(demand=lambda _: 600.0, seconds=3600.0)
    world = Simulation(made, 1)
    world.run(until=made.start + 3599)
    assert world.world.calls["elbv2"] == calls(groups=len(made.application.units) + 1)
