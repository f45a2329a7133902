"""Rules and targets against a scripted ELBv2: every pitfall that other controllers fell into is one test."""

from __future__ import annotations

from typing import Any

import pytest

from controller.policy.model import CRITICAL, Target, Verdict
from controller.routing.port import LiveRule
from controller.signals.load_balancer.verifier import Verifier
from tests.signals.load_balancer.scripted_elb import (
    CAPACITY,
    DEFAULT,
    LIVE,
    NOW,
    REDIRECT,
    Elb,
    arn,
    ask,
    forward,
    rule,
)


def test_rules_and_targets_that_agree_are_verified(verifier: Verifier) -> None:
    """The ordinary yes, with what was seen."""
    result = verifier.verify(ask())
    assert (result.verdict, result.problem, result.action, result.at) == (Verdict.YES, "", "cost", NOW)
    assert result.weights == {"inf2": 40, "trn1": 60}
    assert result.healthy == {"inf2": 2, "trn1": 2}


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
    assert (result.verdict, result.problem) == (Verdict.CANNOT_TELL, "the pages of DescribeRules repeat")
    numbers = iter(range(10_000))
    elb.describe_rules = lambda **_: {"Rules": [], "NextMarker": str(next(numbers))}  # type: ignore[method-assign]
    result = verifier.verify(ask(action="again"))
    assert (result.verdict, result.problem) == (Verdict.CANNOT_TELL, "DescribeRules has more than 20 pages")
    assert next(numbers) == 20


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


def test_a_rule_of_another_ingress_that_never_wins_is_not_ours(elb: Elb, verifier: Verifier) -> None:
    """The lower priority gets every request. What wins must be right, whosever it is."""
    elb.only_rules().append(rule(forward({"grafana": 1}), priority="9"))
    assert verifier.verify(ask()).verdict is Verdict.YES
    elb.only_rules()[-1]["Priority"] = "0"
    assert "unknown target group" in verifier.verify(ask(action="again")).problem


def test_equal_conditions_on_a_listener_that_the_ingress_does_not_name_are_another_s(elb: Elb, verifier: Verifier) -> None:
    """`listen-ports`: the rules of an Ingress are on its own listeners only."""
    elb.listen(8443, [rule(forward({"grafana": 1})), DEFAULT], protocol="HTTPS")
    assert verifier.verify(ask(ports=frozenset({80}))).verdict is Verdict.YES
    assert verifier.verify(ask(ports=frozenset({80, 8443}))).verdict is Verdict.NOT_YET
    assert verifier.verify(ask()).verdict is Verdict.NOT_YET, "nobody knows whose listeners these are"


def test_a_listener_that_is_not_named_hides_none_behind_it(elb: Elb, verifier: Verifier) -> None:
    """Wherever it stands in the list."""
    elb.only_rules()[:] = [rule(forward({"grafana": 1})), DEFAULT]
    elb.listen(443, [rule(forward({"inf2": 40, "trn1": 60})), DEFAULT], protocol="HTTPS")
    result = verifier.verify(ask(ports=frozenset({443})))
    assert (result.verdict, result.problem) == (Verdict.YES, "")


@pytest.mark.parametrize(
    ("ports", "more"), [((81, 82, 83), ""), ((81, 82, 83, 84), "; and 1 more"), ((81, 82, 83, 84, 85), "; and 2 more")]
)
def test_of_many_problems_the_first_are_shown_and_the_others_counted(ports: tuple[int, ...], more: str, verifier: Verifier) -> None:
    """A line of a page holds three of them."""
    shown = "; ".join(f"there is no listener on port {port} yet" for port in (81, 82, 83))
    assert verifier.verify(ask(ports=frozenset({80, *ports}))).problem == f"{shown}{more}"


def test_a_service_has_as_many_healthy_targets_as_its_poorest_target_group(elb: Elb, verifier: Verifier) -> None:
    """With traffic, each of them must serve; what stands by counts by its best one, and hides nothing of what has traffic."""
    elb.listen(8080, [rule(forward({"poor": 40, "trn1": 60})), DEFAULT])
    elb.health |= {arn("poor"): ["healthy"], arn("one"): ["healthy"], arn("named"): []}
    groups = {
        ("inf2", 80): (arn("inf2"), arn("poor")), ("trn1", 80): (arn("trn1"),), ("all", 80): (arn("one"), arn("all"), arn("one")),
        ("inf2", "http"): (arn("named"),),
    }  # fmt: skip
    result = verifier.verify(ask(target_groups=groups, standby=(("all", 80), ("inf2", "http"))))
    assert result.healthy == {"inf2": 1, "trn1": 2, "all": 2}


def test_since_when_a_service_with_ready_pods_has_no_healthy_target(elb: Elb, verifier: Verifier) -> None:
    """An alert counts from then; a Service without ready pods is not ill."""
    elb.health |= {arn("inf2"): ["unhealthy"], arn("trn1"): ["unhealthy"]}
    result = verifier.verify(ask(ready={"inf2": 1}))
    assert result.ill_since == {"inf2": NOW}
    assert result.groups == {service: (arn(service),) for service in ("inf2", "trn1", "all")}, "a count is that of these target groups"


TO_HTTPS: dict[str, Any] = {"Type": "redirect", "Order": 1, "RedirectConfig": {"Protocol": "HTTPS", "StatusCode": "HTTP_301"}}


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param([rule(TO_HTTPS, priority="default", default=True)], id="ssl-redirect of another Ingress of the group"),
        pytest.param([rule(TO_HTTPS), DEFAULT], id="a path of the Ingress that redirects, before the live one"),
    ],
)
def test_a_listener_that_sends_everyone_to_https_needs_no_rule(rules: list[dict[str, Any]], elb: Elb, verifier: Verifier) -> None:
    """The load-balancer controller leaves out what a redirect gets first. On the HTTPS listener it must be right."""
    (listener,) = [one["ListenerArn"] for one in next(iter(elb.listeners.values()))]
    elb.rules[listener] = rules
    elb.listen(
        443, [rule(TO_HTTPS, path="/other/*", priority="1"), rule(forward({"inf2": 40, "trn1": 60}), priority="2")], protocol="HTTPS"
    )
    ports = frozenset({80, 443})
    assert verifier.verify(ask(ports=ports)).verdict is Verdict.YES
    elb.rules[next(iter(elb.listeners.values()))[1]["ListenerArn"]] = [DEFAULT]
    assert verifier.verify(ask(ports=ports, action="again")).verdict is Verdict.NOT_YET


def test_a_redirect_that_never_wins_leaves_the_rule_before_it_in_force(elb: Elb, verifier: Verifier) -> None:
    """The first of equal rules gets every request, so that it must be right."""
    elb.only_rules().insert(1, rule(TO_HTTPS, priority="2"))
    assert verifier.verify(ask()).verdict is Verdict.YES


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


def test_the_shortfall_is_given_in_numbers(elb: Elb, verifier: Verifier) -> None:
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
    assert seen.healthy == {"inf2": 10, "trn1": 10}, "weights follow pods: a few nodes must not make a unit seem nearly gone"


@pytest.mark.parametrize(
    ("live", "health", "applied"),
    [
        pytest.param({"inf2": 40, "trn1": 60}, ["healthy"], True, id="verified"),
        pytest.param({"inf2": 40, "trn1": 60}, ["unhealthy"], True, id="applied, and the targets are not healthy"),
        pytest.param({"all": 1}, ["healthy"], False, id="not applied"),
    ],
)
def test_whether_the_rules_follow_is_kept_apart_from_health(
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


def test_port_80_in_quotes_is_the_port_80(verifier: Verifier) -> None:
    """The load-balancer controller reads numeric strings as numbers."""
    assert verifier.verify(ask(targets=(Target("inf2", "80", 40), Target("trn1", 80, 60)))).verdict is Verdict.YES


def test_either_target_group_of_a_service_will_do_in_a_group_of_ingresses(verifier: Verifier) -> None:
    """The rule is ours by its conditions; both target groups lead to the same pods."""
    groups = {("inf2", 80): ("another", arn("inf2")), ("trn1", 80): (arn("trn1"),)}
    assert verifier.verify(ask(target_groups=groups)).verdict is Verdict.YES


def test_the_targets_of_what_stands_by_are_counted_and_decide_nothing(elb: Elb, verifier: Verifier) -> None:
    """A mode change must know whether the receiving target group has a healthy target; the present routing is right either way."""
    result = verifier.verify(ask(standby=(("all", 80), ("nowhere", 80))))
    assert result.verdict is Verdict.YES
    assert set(result.healthy) == {"inf2", "trn1", "all"}


def test_targets_that_cannot_be_counted_stay_unknown(elb: Elb, verifier: Verifier) -> None:
    """A standby Service without a target group is no fault of the present routing."""
    result = verifier.verify(ask(standby=(("nowhere", 80),)))
    assert (result.verdict, set(result.healthy)) == (Verdict.YES, {"inf2", "trn1"})
