"""Where the emulated ELBv2 behaves like AWS and moto does not: the health of targets, and moving rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from controller.clients.aws import translated
from controller.errors import Rejected
from failover_testbed.aws.server import EmulatedAws
from failover_testbed.clocks import ManualClock

FIXED = [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}]


class Account:
    """A load balancer with a listener, and a target group that nothing refers to, checked every ten seconds."""

    def __init__(self, aws: EmulatedAws, clock: ManualClock) -> None:
        self.aws, self.clock, self.elb = aws, clock, aws.client("elbv2")
        balancer = self.elb.create_load_balancer(Name="x", Subnets=list(aws.network.subnets.values()))["LoadBalancers"][0]
        place = {"LoadBalancerArn": balancer["LoadBalancerArn"], "Protocol": "HTTP", "Port": 80}
        self.listener = self.elb.create_listener(DefaultActions=FIXED, **place)["Listeners"][0]["ListenerArn"]
        place = {"Name": "x", "Protocol": "HTTP", "Port": 80, "VpcId": aws.network.vpc, "TargetType": "ip"}
        self.group = self.elb.create_target_group(HealthCheckIntervalSeconds=10, **place)["TargetGroups"][0]["TargetGroupArn"]

    def rule(self, host: str, priority: int, action: list[dict[str, Any]]) -> str:
        conditions = [{"Field": "host-header", "HostHeaderConfig": {"Values": [host]}}]
        made = self.elb.create_rule(ListenerArn=self.listener, Priority=priority, Conditions=conditions, Actions=action)
        arn: str = made["Rules"][0]["RuleArn"]
        return arn

    def forward(self) -> list[dict[str, Any]]:
        return [{"Type": "forward", "ForwardConfig": {"TargetGroups": [{"TargetGroupArn": self.group, "Weight": 0}]}}]

    def register(self, *addresses: str) -> None:
        self.elb.register_targets(TargetGroupArn=self.group, Targets=[{"Id": one, "Port": 8000} for one in addresses])

    def health(self, *addresses: str) -> dict[str, tuple[str, str]]:
        asked = {"Targets": [{"Id": one, "Port": 8000} for one in addresses]} if addresses else {}
        described = self.elb.describe_target_health(TargetGroupArn=self.group, **asked)["TargetHealthDescriptions"]
        return {one["Target"]["Id"]: (one["TargetHealth"]["State"], one["TargetHealth"].get("Reason", "")) for one in described}

    def priorities(self) -> dict[str, str]:
        rules = self.elb.describe_rules(ListenerArn=self.listener)["Rules"]
        return {rule["RuleArn"]: rule["Priority"] for rule in rules if rule["Priority"] != "default"}


@pytest.fixture
def account() -> Iterator[Account]:
    clock = ManualClock(0.0)
    with EmulatedAws(clock) as aws:
        yield Account(aws, clock)


def test_a_target_is_healthy_once_it_was_checked_and_is_checked_once_a_rule_refers_to_its_group(account: Account) -> None:
    """A reference with weight 0 is enough."""
    account.register("10.0.0.1")
    account.clock.advance(100)
    assert account.health() == {"10.0.0.1": ("unused", "Target.NotInUse")}
    rule = account.rule("a", 1, account.forward())
    assert account.health() == {"10.0.0.1": ("initial", "Elb.InitialHealthChecking")}
    account.clock.advance(9)
    assert account.health() == {"10.0.0.1": ("initial", "Elb.InitialHealthChecking")}
    account.clock.advance(1)
    assert account.health() == {"10.0.0.1": ("healthy", "")}
    account.register("10.0.0.1", "10.0.0.2")  # a target registered before gets no new first check
    assert account.health() == {"10.0.0.1": ("healthy", ""), "10.0.0.2": ("initial", "Elb.InitialHealthChecking")}
    account.elb.modify_rule(RuleArn=rule, Actions=FIXED)
    assert set(account.health().values()) == {("unused", "Target.NotInUse")}
    account.elb.modify_rule(RuleArn=rule, Actions=account.forward())
    assert set(account.health().values()) == {("initial", "Elb.InitialHealthChecking")}
    account.aws.checks.pass_all()
    assert set(account.health().values()) == {("healthy", "")}


def test_what_is_not_registered_is_unused(account: Account) -> None:
    account.register("10.0.0.1")
    account.rule("a", 1, account.forward())
    assert account.health("10.0.0.9") == {"10.0.0.9": ("unused", "Target.NotRegistered")}
    account.elb.deregister_targets(TargetGroupArn=account.group, Targets=[{"Id": "10.0.0.1"}])
    assert account.health() == {}
    assert account.health("10.0.0.1") == {"10.0.0.1": ("unused", "Target.NotRegistered")}
    account.clock.advance(100)
    account.register("10.0.0.1")  # a new registration, a new first check
    assert account.health() == {"10.0.0.1": ("initial", "Elb.InitialHealthChecking")}


def test_a_data_plane_can_say_what_is_healthy(account: Account) -> None:
    account.register("10.0.0.1")
    asked = []

    def source(group: str, address: str, port: int) -> tuple[str, str]:
        asked.append((group, address, port))
        return "unhealthy", "Target.Timeout"

    account.aws.target_health = source
    assert account.health() == {"10.0.0.1": ("unhealthy", "Target.Timeout")}
    assert asked == [(account.group, "10.0.0.1", 8000)]
    assert account.health("10.0.0.9") == {"10.0.0.9": ("unused", "Target.NotRegistered")}  # not called for those
    account.aws.target_health = None
    assert account.health() == {"10.0.0.1": ("unused", "Target.NotInUse")}


def test_rules_change_places_in_one_call(account: Account) -> None:
    first, second = account.rule("a", 1, FIXED), account.rule("b", 2, FIXED)
    account.elb.set_rule_priorities(RulePriorities=[{"RuleArn": first, "Priority": 2}, {"RuleArn": second, "Priority": 1}])
    assert account.priorities() == {first: "2", second: "1"}
    with pytest.raises(Rejected, match="PriorityInUse"), translated("elbv2", "SetRulePriorities"):
        account.elb.set_rule_priorities(RulePriorities=[{"RuleArn": first, "Priority": 1}])
    assert account.priorities() == {first: "2", second: "1"}


def test_moto_is_what_it_was_afterwards() -> None:
    # It reads the models of all services: nobody who collects the tests needs to wait for that.
    from moto.elbv2.models import ELBv2Backend, FakeTargetGroup

    names = [(FakeTargetGroup, "health_for"), (FakeTargetGroup, "register"), (ELBv2Backend, "modify_rule")]
    before = [getattr(owner, name) for owner, name in names]
    with EmulatedAws():
        assert [getattr(owner, name) for owner, name in names] != before
    assert [getattr(owner, name) for owner, name in names] == before
