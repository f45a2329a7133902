"""Finding the load balancer and its listeners behind a host name."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from controller.policy.model import Verdict
from controller.signals.load_balancer.calls import Calls
from controller.signals.load_balancer.directory import Directory, load_balancer_dimension, load_balancer_name
from controller.signals.load_balancer.verifier import Verifier
from failover_testbed.clocks import ManualClock
from tests.signals.load_balancer.scripted_elb import (
    DNS,
    LB,
    NOW,
    Clients,
    Elb,
    ask,
    refusal,
)


@pytest.mark.parametrize(
    "hostname",
    [DNS, DNS.lower(), DNS.lower() + ".", "dualstack." + DNS.lower()],
)
def test_the_dns_name_is_compared_without_regard_to_case(hostname: str, verifier: Verifier) -> None:
    """The load-balancer controller writes it in lower case, AWS keeps the case of the name."""
    assert verifier.verify(ask(hostnames=(hostname,))).verdict is Verdict.YES


def test_the_load_balancer_is_found_by_name_first(elb: Elb, verifier: Verifier) -> None:
    """Paging through every load balancer of the account is the fallback."""
    verifier.verify(ask(hostnames=(DNS,)))
    assert elb.calls.count("DescribeLoadBalancers") == 1


def test_a_network_load_balancer_in_front_is_passed_over(elb: Elb, verifier: Verifier) -> None:
    """The Ingress's status may hold a second host name, of the frontend NLB."""
    front = "front-0123456789abcdef.elb.us-west-2.amazonaws.com"
    elb.load_balancers.append({"LoadBalancerArn": "nlb", "LoadBalancerName": "front", "DNSName": front, "Type": "network"})
    assert verifier.verify(ask(hostnames=(front, DNS))).verdict is Verdict.YES
    assert verifier.dimensions() == {"default/sd21": "app/K8s-sd21/0123456789abcdef"}


def test_a_listener_of_another_protocol_is_not_ours(elb: Elb, verifier: Verifier) -> None:
    """Only HTTP and HTTPS listeners have rules."""
    elb.listen(9000, [], protocol="TCP")
    assert verifier.verify(ask()).verdict is Verdict.YES
    assert elb.calls.count("DescribeRules") == 1


def test_a_load_balancer_that_was_replaced_is_found_again(elb: Elb, verifier: Verifier, clock: ManualClock) -> None:
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


def test_a_load_balancer_that_is_missing_is_not_searched_for_on_every_tick(elb: Elb, verifier: Verifier, clock: ManualClock) -> None:
    """The search pages through the whole account."""
    for _ in range(6):
        verifier.verify(ask(hostnames=("gone.example",)))
        clock.advance(6)
    assert elb.calls == ["DescribeLoadBalancers"] * 2


def many(elb: Elb, count: int) -> Directory:
    """A directory over an account with these load balancers, `lb-0` and so on, and two to a page."""
    elb.page = 2
    elb.load_balancers = [
        {"LoadBalancerArn": f"arn-{n}", "LoadBalancerName": f"lb-{n}", "DNSName": host(n), "Type": "application"} for n in range(count)
    ]
    return Directory(ManualClock(NOW))


def host(number: int) -> str:
    """The host name of the load balancer with this number."""
    return f"lb-{number}-1.us-west-2.elb.amazonaws.com"


def test_several_that_are_searched_for_within_a_minute_share_a_list(elb: Elb) -> None:
    """After a restart each of a thousand would be a call, which took the first round of verifications beyond ten minutes."""
    directory, calls = many(elb, 5), Calls(Clients(elb))
    assert directory.calls_needed([host(4)]) == 3, "itself, its listeners and the rules of one"
    assert [directory.load_balancer(host(n), calls) for n in range(5)] == [f"arn-{n}" for n in range(5)]
    assert elb.calls == ["DescribeLoadBalancers"] * (1 + 3), "the first by its name, the others from three pages"
    assert directory.load_balancer("front-1.us-west-2.elb.amazonaws.com", calls) == ""
    assert len(elb.calls) == 5, "one that is not in the list may be new: it is searched for by its name"


def test_a_list_serves_for_a_minute(elb: Elb) -> None:
    """Then the first is searched for alone again; what was found stays known for an hour."""
    clock = ManualClock(NOW)
    many(elb, 5)
    directory, calls = Directory(clock), Calls(Clients(elb))
    for n in range(3):
        directory.load_balancer(host(n), calls)
    assert directory.calls_needed([host(3)]) == 2
    clock.advance(61)
    assert directory.calls_needed([host(3)]) == 3
    elb.calls.clear()
    assert directory.load_balancer(host(3), calls) == "arn-3"
    assert [directory.load_balancer(host(n), calls) for n in range(3)] == ["arn-0", "arn-1", "arn-2"]
    assert elb.calls == ["DescribeLoadBalancers"]


def test_a_load_balancer_that_is_forgotten_is_not_found_in_an_older_list(elb: Elb) -> None:
    """AWS said that it is gone; one with the same DNS name may take its place."""
    directory, calls = many(elb, 3), Calls(Clients(elb))
    for n in range(3):
        directory.load_balancer(host(n), calls)
    elb.load_balancers[2]["LoadBalancerArn"] = "arn-new"
    assert directory.load_balancer(host(2), calls) == "arn-2"
    directory.forget([host(2)])
    assert directory.load_balancer(host(2), calls) == "arn-new"


def test_threads_that_search_at_the_same_time_list_once(elb: Elb) -> None:
    """One lists, and the others wait for its answer."""
    directory, calls = many(elb, 8), Calls(Clients(elb))
    directory.load_balancer(host(0), calls)
    elb.calls.clear()
    with ThreadPoolExecutor(7) as pool:
        assert [*pool.map(lambda n: directory.load_balancer(host(n), Calls(Clients(elb))), range(1, 8))] == [
            f"arn-{n}" for n in range(1, 8)
        ]
    assert elb.calls == ["DescribeLoadBalancers"] * 4


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
