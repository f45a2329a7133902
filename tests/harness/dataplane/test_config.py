"""Envoy's configuration for a state of ELBv2: a pure function."""

from __future__ import annotations

import re
from typing import Any

import pytest

from failover_harness.dataplane import config
from failover_harness.dataplane.elb import Fixed, Forward, Group, HealthCheck, Listener, Rule, State, Target

LISTENER = "arn:aws:elasticloadbalancing:us-west-2:123456789012:listener/app/lb/1/2"
A, B = (f"arn:aws:elasticloadbalancing:us-west-2:123456789012:targetgroup/{name}/0{name}" for name in "ab")
LIVE = (("path-pattern", ("/*",)),)


def made(state: State, *, checked: tuple[str, ...] = (A, B)) -> config.Resources:
    """The resources of a state whose one listener is on 127.9.255.1."""
    return config.resources(state, {LISTENER: ("127.9.255.1", 8080)}, lambda address: f"127.9{address[4:]}", "/files", checked=checked)


def routes(*rules: Rule, checked: tuple[str, ...] = (A, B)) -> list[dict[str, Any]]:
    """The routes of a listener with these rules and a default of 404."""
    state = State((Listener(LISTENER, rules, Fixed(404)),), (Group(A), Group(B)))
    found: list[dict[str, Any]] = made(state, checked=checked).routes[config.name(LISTENER)]["virtual_hosts"][0]["routes"]
    return found


def live(*weights: tuple[str, int], stickiness_s: int = 0) -> Rule:
    """The live rule."""
    return Rule(1, LIVE, Forward(weights, stickiness_s))


def clusters(route: dict[str, Any]) -> list[tuple[str, int]]:
    """Cluster and weight of a weighted route."""
    return [(one["name"], one["weight"]) for one in route["route"]["weighted_clusters"]["clusters"]]


def test_an_empty_state_gives_nothing() -> None:
    """Before the first load balancer there is nothing to serve."""
    assert made(State()) == config.Resources()


def test_a_rule_becomes_a_weighted_choice_and_the_default_comes_last() -> None:
    """Weights are copied, including 0, and nothing is retried."""
    weighted, default = routes(live((A, 40), (B, 0)))
    assert clusters(weighted) == [("a.0a", 40), ("b.0b", 0)]
    assert "retry_policy" not in str(weighted)
    assert default["direct_response"]["status"] == 404


def test_rules_are_in_the_order_of_their_priorities() -> None:
    """Whatever the order in which ELBv2 lists them."""
    found = routes(Rule(7, LIVE, Fixed(507)), Rule(2, LIVE, Fixed(502)))
    assert [route["direct_response"]["status"] for route in found] == [502, 507, 404]


def test_a_group_of_which_nothing_was_checked_gets_nobody() -> None:
    """Envoy would use unchecked targets if there are no others."""
    assert clusters(routes(live((A, 1), (B, 1)), checked=(A,))[0]) == [("a.0a", 1), (config.NOBODY, 1)]


def test_without_any_weight_the_answer_is_503() -> None:
    """Envoy refuses a choice whose weights are all 0, and would keep the old one."""
    assert routes(live((A, 0), (B, 0)))[0]["direct_response"]["status"] == 503


@pytest.mark.parametrize(
    ("cookie", "matches"),
    [
        ("AWSALBTG=a.0a", True),
        ("x=y; AWSALBTG=a.0a", True),
        ("x=y;AWSALBTG=a.0a; z=1", True),
        ("AWSALBTG=a.0ab", False),
        ("NOTAWSALBTG=a.0a", False),
        ("AWSALBTG=aX0a", False),
    ],
)
def test_a_sticky_client_is_known_by_its_cookie(cookie: str, *, matches: bool) -> None:
    """Its group comes before the weights, wherever the cookie is in the header."""
    pinned = routes(live((A, 0), (B, 1), stickiness_s=60))[0]
    assert pinned["route"]["cluster"] == "a.0a"
    expression = pinned["match"]["headers"][-1]["string_match"]["safe_regex"]["regex"]
    assert bool(re.fullmatch(expression, cookie)) is matches


def test_a_sticky_rule_gives_the_cookie_with_its_duration() -> None:
    """A cookie for the chosen group; a rule without stickiness neither sets nor reads one."""
    *pinned, weighted, _ = routes(live((A, 1), (B, 1), stickiness_s=60))
    assert len(pinned) == 2
    cookies = [one["response_headers_to_add"][0]["header"]["value"] for one in weighted["route"]["weighted_clusters"]["clusters"]]
    assert cookies == ["AWSALBTG=a.0a; Max-Age=60; Path=/", "AWSALBTG=b.0b; Max-Age=60; Path=/"]
    assert "AWSALBTG" not in str(routes(live((A, 1), (B, 1))))


def test_conditions_on_host_path_and_source() -> None:
    """All of them must match; a host's case and port do not matter."""
    conditions = (("host-header", ("*.Example.com",)), ("path-pattern", ("/a", "/a/*")), ("source-ip", ("192.0.2.1/32", "10.0.0.0/8")))
    match = routes(Rule(1, conditions, Fixed(200)))[0]["match"]
    host, source = (one["string_match"]["safe_regex"]["regex"] for one in match["headers"])
    assert re.fullmatch(host, "www.EXAMPLE.com:8080")
    assert not re.fullmatch(host, "example.com")
    assert re.fullmatch(source, "192.0.2.1")
    assert re.fullmatch(source, "10.200.3.4")
    assert not re.fullmatch(source, "192.0.2.10")
    path = match["safe_regex"]["regex"]
    assert re.fullmatch(path, "/a/b")
    assert not re.fullmatch(path, "/ab")


@pytest.mark.parametrize("condition", [("query-string", ("x",)), ("source-ip", ("10.0.0.0/9",)), ("source-ip", ("2001:db8::/32",))])
def test_what_it_cannot_do_it_refuses(condition: tuple[str, tuple[str, ...]]) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="the data plane does not support"):
        routes(Rule(1, (condition,), Fixed(200)))


def test_only_groups_that_a_rule_names_are_there() -> None:
    """Groups at weight 0 exist and are checked; groups without a rule do not exist."""
    state = State((Listener(LISTENER, (live((A, 0)),), Fixed(404)),), (Group(A), Group(B)))
    assert list(made(state).clusters) == list(made(state).endpoints) == ["a.0a"]


def test_a_group_is_checked_as_it_asks() -> None:
    """Thresholds apply to wrong answers too, and a group without traffic is checked as often."""
    check = HealthCheck("/ready", 15, 5, 3, 2, "200-299,404")
    state = State((Listener(LISTENER, (live((A, 1)),), Fixed(404)),), (Group(A, check=check),))
    wanted = made(state).clusters["a.0a"]["health_checks"][0]
    assert (wanted["interval"], wanted["no_traffic_interval"], wanted["timeout"]) == ("15s", "15s", "5s")
    assert (wanted["healthy_threshold"], wanted["unhealthy_threshold"]) == (3, 2)
    assert wanted["http_health_check"]["path"] == "/ready"
    assert wanted["http_health_check"]["expected_statuses"] == [{"start": 200, "end": 300}, {"start": 404, "end": 405}]


def test_targets_are_where_the_pods_are_served() -> None:
    """An address in the VPC becomes one on loopback."""
    state = State((Listener(LISTENER, (live((A, 1)),), Fixed(404)),), (Group(A, (Target("10.1.2.3", 8000),)),))
    hosts = made(state).endpoints["a.0a"]["endpoints"][0]["lb_endpoints"]
    assert hosts == [{"endpoint": {"address": {"socket_address": {"address": "127.9.2.3", "port_value": 8000}}}}]


def test_an_unknown_algorithm_is_refused() -> None:
    """Like every unknown setting."""
    state = State((Listener(LISTENER, (live((A, 1)),), Fixed(404)),), (Group(A, algorithm="weighted_random"),))
    with pytest.raises(ValueError, match="does not support the algorithm"):
        made(state)
