"""An ELBv2 that answers what a test wrote into it, and a request that it satisfies."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

from botocore.exceptions import ClientError

from controller.clients.aws import AwsClients
from controller.policy.model import Target
from controller.routing.port import LiveRule
from controller.signals.load_balancer.request import VerificationRequest

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
    silent: set[str] = field(default_factory=set)  # target groups of which the answer has no list of targets
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
        if TargetGroupArn in self.silent:
            return {}
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

    def client(self, service: str, region: str | None = None) -> Any:
        assert service == "elbv2"
        return self._elb


def refusal(code: str, status: int = 400) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Describe")


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
