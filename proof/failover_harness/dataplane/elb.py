"""The state of ELBv2 as plain values, and how to read it from moto."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from failover_testbed.aws.server import ACCOUNT, REGION

CONDITIONS: Final = {
    "host-header": "HostHeaderConfig",
    "http-header": "HttpHeaderConfig",
    "path-pattern": "PathPatternConfig",
    "source-ip": "SourceIpConfig",
}
"""The supported condition fields, and the keys of their values."""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """Health check of a target group. Times are seconds; `codes` is as in AWS, e.g. ``200-399,404``."""

    path: str = "/"
    interval_s: float = 15.0
    timeout_s: float = 5.0
    healthy_after: int = 2
    unhealthy_after: int = 2
    codes: str = "200"


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """A registered pod: its address in the VPC and its port."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Group:
    """A target group. `algorithm` is ``round_robin`` or ``least_outstanding_requests``."""

    arn: str
    targets: tuple[Target, ...] = ()
    check: HealthCheck = HealthCheck()
    algorithm: str = "round_robin"


@dataclass(frozen=True, slots=True)
class Forward:
    """A forward action: weight by target group ARN, and the duration of stickiness, seconds, 0 for none."""

    weights: tuple[tuple[str, int], ...]
    stickiness_s: int = 0


@dataclass(frozen=True, slots=True)
class Fixed:
    """A fixed response."""

    status: int
    body: str = ""


Action = Forward | Fixed


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. All conditions must match; each matches with any of its values. The field of a header ends with a colon and its name."""

    priority: int
    conditions: tuple[tuple[str, tuple[str, ...]], ...]
    action: Action


@dataclass(frozen=True, slots=True)
class Listener:
    """A listener, its rules in any order, and the action for requests that match none of them."""

    arn: str
    rules: tuple[Rule, ...]
    default: Action


@dataclass(frozen=True, slots=True)
class State:
    """The state that the data plane follows."""

    listeners: tuple[Listener, ...] = ()
    groups: tuple[Group, ...] = ()

    def used(self) -> frozenset[str]:
        """The target groups that rules forward to, at any weight; ELBv2 checks the health of these only."""
        actions = [rule.action for listener in self.listeners for rule in listener.rules]
        actions += [listener.default for listener in self.listeners]
        return frozenset(arn for action in actions if isinstance(action, Forward) for arn, _ in action.weights)


def read() -> State:
    """The present state of ELBv2, from moto's models in this process; API calls for each object would take over a second.

    Raises:
        ValueError: It contains something that the data plane does not support.
    """
    from moto.elbv2.models import elbv2_backends

    backend = elbv2_backends[ACCOUNT][REGION]
    balancers = list(backend.load_balancers.values())
    listeners = [_listener(one) for balancer in balancers for one in list(balancer.listeners.values())]
    return State(tuple(listeners), tuple(_group(one) for one in list(backend.target_groups.values())))


def _listener(found: Any) -> Listener:
    rules = sorted(list(found._non_default_rules.values()), key=lambda rule: int(rule.priority))  # noqa: C414 - it changes meanwhile
    made = tuple(Rule(int(rule.priority), _conditions(rule.conditions), _action(rule.actions[-1].data)) for rule in rules)
    return Listener(str(found.arn), made, _action(found.default_actions[-1].data))


def _conditions(entries: Iterable[Mapping[str, Any]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    found = []
    for entry in entries:
        name = str(entry["Field"])
        if name not in CONDITIONS:
            raise ValueError(f"the data plane does not support conditions on {name}")
        config = entry.get(CONDITIONS[name]) or {}
        values = config.get("Values") or entry.get("Values") or []
        name = f"{name}:{config['HttpHeaderName']}" if "HttpHeaderName" in config else name
        found.append((name, tuple(str(value) for value in values)))
    return tuple(found)


def _action(data: Mapping[str, Any]) -> Action:
    match data["Type"]:
        case "fixed-response":
            config = data.get("FixedResponseConfig") or {}
            return Fixed(int(config.get("StatusCode", 503)), str(config.get("MessageBody", "")))
        case "forward":
            config = data.get("ForwardConfig") or {"TargetGroups": [{"TargetGroupArn": data["TargetGroupArn"], "Weight": 1}]}
            weights = tuple((str(one["TargetGroupArn"]), int(one.get("Weight", 1))) for one in config.get("TargetGroups") or [])
            sticky = config.get("TargetGroupStickinessConfig") or {}
            on = str(sticky.get("Enabled")).lower() == "true"
            return Forward(weights, int(sticky.get("DurationSeconds") or 0) if on else 0)
        case kind:
            raise ValueError(f"the data plane does not support actions of type {kind}")


def _group(found: Any) -> Group:
    targets = tuple(sorted(Target(str(one["Id"]), int(one["Port"])) for one in list(found.targets.values())))
    check = HealthCheck(
        path=str(found.health_check_path or "/"),
        interval_s=float(found.health_check_interval_seconds),
        timeout_s=float(found.health_check_timeout_seconds),
        healthy_after=int(found.healthy_threshold_count),
        unhealthy_after=int(found.unhealthy_threshold_count),
        codes=str((found.matcher or {}).get("HttpCode") or "200"),
    )
    return Group(str(found.arn), targets, check, str(found.attributes.get("load_balancing.algorithm.type", "round_robin")))
