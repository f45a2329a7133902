"""A route on several Gateways is on several load balancers: each must show it, at the ports of its own listeners."""

from __future__ import annotations

import pytest

from controller.policy.model import Verdict
from controller.routing.port import LiveRule
from controller.signals.load_balancer.verifier import Verifier
from tests.signals.load_balancer.scripted_elb import ANY_PATH, COST, DEFAULT, DNS, LB, Elb, ask, forward, rule

INNER_DNS = "inner-1234567890.us-west-2.elb.amazonaws.com"
INNER = LB.replace("K8s-sd21", "inner")
COST_RULE = rule(forward({one.service: one.weight for one in COST}))
HOSTNAMES = (DNS.lower(), INNER_DNS)
AT_BOTH = LiveRule(ANY_PATH, "/*", frozenset({(DNS.lower(), 80), (INNER_DNS, 8080)}))


@pytest.fixture
def both(elb: Elb) -> Elb:
    """A second load balancer, whose listener has another port."""
    elb.load_balancers.append({"LoadBalancerArn": INNER, "LoadBalancerName": "inner", "DNSName": INNER_DNS, "Type": "application"})
    listener = f"{INNER.replace(':loadbalancer/', ':listener/')}/8080"
    elb.listeners[INNER] = [{"ListenerArn": listener, "Port": 8080, "Protocol": "HTTP"}]
    elb.rules[listener] = [COST_RULE, DEFAULT]
    return elb


def _verdict(verifier: Verifier) -> tuple[Verdict, str]:
    seen = verifier.verify(ask(hostnames=HOSTNAMES, rules=(AT_BOTH,)))
    return seen.verdict, seen.problem


def test_both_show_it(both: Elb, verifier: Verifier) -> None:
    """The port of one need not be a listener of the other."""
    assert _verdict(verifier) == (Verdict.YES, "")


def test_one_that_does_not_follow_is_named(both: Elb, verifier: Verifier) -> None:
    """By its port: the change is not verified, whatever the other shows."""
    both.rules[both.listeners[INNER][0]["ListenerArn"]][0] = rule(forward({"all": 1}))
    verdict, problem = _verdict(verifier)
    assert (verdict, "8080" in problem) == (Verdict.NOT_YET, True)


def test_one_without_the_listener_is_not_verified(both: Elb, verifier: Verifier) -> None:
    """A Gateway that was changed, and whose load balancer follows later."""
    both.listeners[INNER].clear()
    assert "there is no listener on port 8080 yet" in _verdict(verifier)[1]


def test_one_that_is_gone_is_critical(both: Elb, verifier: Verifier) -> None:
    """Its clients get nothing."""
    del both.load_balancers[1]
    verdict, problem = _verdict(verifier)
    assert verdict is Verdict.NOT_YET
    assert problem.startswith("critical: ")
    assert INNER_DNS in problem
