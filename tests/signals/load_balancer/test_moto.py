"""Verification against moto's ELBv2, over the real client: what it sends is valid, and what it reads is what ELBv2 stores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from controller.clients.aws import AwsClients
from controller.policy.model import Target, Verdict
from controller.signals.budget import CallBudget
from controller.signals.load_balancer.request import VerificationRequest
from controller.signals.load_balancer.verifier import Verifier
from failover_testbed.clocks import ManualClock
from tests.signals.load_balancer.scripted_elb import LIVE, NOW
from tests.support.aws import default_network, emulated_account

REGION = "us-west-2"


@dataclass
class Account:
    clients: AwsClients
    groups: dict[str, str]
    listener: str
    rule: str
    hostname: str

    @property
    def elb(self) -> Any:
        return boto3.client("elbv2", region_name=REGION)

    def actions(self, **weights: int) -> list[dict[str, Any]]:
        tuples = [{"TargetGroupArn": self.groups[service], "Weight": weight} for service, weight in weights.items()]
        return [{"Type": "forward", "ForwardConfig": {"TargetGroups": tuples, "TargetGroupStickinessConfig": {"Enabled": False}}}]

    def request(self, **weights: int) -> VerificationRequest:
        return VerificationRequest(
            application="default/sd21",
            hostnames=(self.hostname,),
            action=str(weights),
            targets=tuple(Target(service, 80, weight) for service, weight in weights.items()),
            stickiness_s=0,
            rules=(LIVE,),
            target_groups={(service, 80): (arn,) for service, arn in self.groups.items()},
        )


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    with emulated_account(monkeypatch):
        clients = AwsClients(REGION)
        elb = boto3.client("elbv2", region_name=REGION)  # of an administrator: what it calls is not the controller's
        vpc, subnets = default_network(REGION)
        made = elb.create_load_balancer(Name="K8s-sd21", Subnets=subnets)["LoadBalancers"][0]
        groups = {}
        for service in ("inf2", "trn1", "all"):
            arn = elb.create_target_group(Name=service, Protocol="HTTP", Port=80, VpcId=vpc, TargetType="ip")
            groups[service] = arn["TargetGroups"][0]["TargetGroupArn"]
            elb.register_targets(TargetGroupArn=groups[service], Targets=[{"Id": "10.0.0.1"}, {"Id": "10.0.0.2"}])
        fixed = [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}]
        listener = elb.create_listener(LoadBalancerArn=made["LoadBalancerArn"], Protocol="HTTP", Port=80, DefaultActions=fixed)
        account = Account(clients, groups, listener["Listeners"][0]["ListenerArn"], "", made["DNSName"].lower())
        conditions = [{"Field": "path-pattern", "PathPatternConfig": {"Values": ["/*"]}}]
        account.rule = elb.create_rule(
            ListenerArn=account.listener, Priority=1, Conditions=conditions, Actions=account.actions(inf2=40, trn1=60)
        )["Rules"][0]["RuleArn"]
        yield account


def verifier(account: Account, clock: ManualClock) -> Verifier:
    return Verifier(account.clients, clock, CallBudget(1, 40, clock))


def test_a_mode_change_is_seen_when_the_rule_is_modified(account: Account) -> None:
    """Cost, capacity asked for, capacity applied; and the dimension for CloudWatch falls out of it."""
    clock = ManualClock(NOW)
    subject = verifier(account, clock)
    assert subject.verify(account.request(inf2=40, trn1=60)).verdict is Verdict.YES
    waiting = subject.verify(account.request(all=1))
    assert (waiting.verdict, waiting.problem) == (Verdict.NOT_YET, "HTTP:80 /* forwards to inf2 40, trn1 60, asked for all 1")
    assert waiting.weights == {"inf2": 40, "trn1": 60}
    account.elb.modify_rule(RuleArn=account.rule, Actions=account.actions(all=1))
    clock.advance(10)
    done = subject.verify(account.request(all=1))
    assert (done.verdict, done.weights, done.healthy) == (Verdict.YES, {"all": 1}, {"all": 2})
    assert subject.dimensions()["default/sd21"].startswith("app/K8s-sd21/")


def test_pages_of_one_entry_lead_to_the_same_answer(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """The markers are ELBv2's own."""
    monkeypatch.setattr("controller.signals.load_balancer.calls._PAGE_SIZE", 1)
    standby = [{"Field": "host-header", "HostHeaderConfig": {"Values": ["standby.invalid"]}}]
    account.elb.create_rule(ListenerArn=account.listener, Priority=2, Conditions=standby, Actions=account.actions(all=1))
    account.elb.create_load_balancer(Name="another", Subnets=default_network(REGION)[1])
    assert verifier(account, ManualClock(NOW)).verify(account.request(inf2=40, trn1=60)).verdict is Verdict.YES


def test_a_target_group_without_targets_is_not_verified(account: Account) -> None:
    """Every registered target is healthy to moto, so the test registers none."""
    account.elb.deregister_targets(TargetGroupArn=account.groups["inf2"], Targets=[{"Id": "10.0.0.1"}, {"Id": "10.0.0.2"}])
    result = verifier(account, ManualClock(NOW)).verify(account.request(inf2=40, trn1=60))
    assert (result.verdict, result.problem) == (Verdict.NOT_YET, "inf2 has 0 healthy target(s) of the 1 needed (no others)")
