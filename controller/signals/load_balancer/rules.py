"""Compares the rules and targets that ELBv2 describes with a verification request. Pure: from answers to findings."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from controller.foreign import shown
from controller.objects import entries, integer, mapping, service_port, text
from controller.policy.model import CRITICAL
from controller.policy.routing import HEALTHY_SHARE
from controller.routing.conditions import Condition, conditions_of, merged
from controller.signals.load_balancer.request import CannotTellError, ServicePort, VerificationRequest


@dataclass(slots=True)
class Findings:
    """The findings of one check so far, kept if a later call fails.

    Attributes:
        weights: Live weight by Service; of several rules, the one that differs.
        healthy: Healthy targets by Service.
        ill: Services with ready endpoints and no healthy target.
        problems: One sentence each.
        serving: Service by target group ARN, for target groups with traffic.
        applied: Whether every rule is as the request says.
        unbound: Whether a target of the action has no target group.
    """

    weights: dict[str, int] = field(default_factory=dict)
    healthy: dict[str, int] = field(default_factory=dict)
    ill: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    serving: dict[str, str] = field(default_factory=dict)
    applied: bool = False
    unbound: bool = False

    @property
    def broken(self) -> bool:
        """Whether requests are lost now or soon: a target group is missing, or a rule answers by itself."""
        return self.unbound or any(problem.startswith(CRITICAL) for problem in self.problems)


def owners_of(request: VerificationRequest, findings: Findings) -> dict[str, ServicePort]:
    """Service and port by target group ARN. `findings` gets a problem for each target of the action that has no target group.

    The target groups of other Services are included, so that a finding can name where the rule still sends its requests.

    Raises:
        CannotTellError: The request cannot be answered.
    """
    if not request.rules:
        raise CannotTellError("no rule uses the action")
    if not request.targets or all(target.weight <= 0 for target in request.targets):
        raise CannotTellError("the action sends no traffic to any Service")
    if request.target_groups is None:
        raise CannotTellError("the TargetGroupBindings cannot be read")
    owners: dict[str, ServicePort] = {}
    for target in request.targets:
        key = (target.service, service_port(target.port) or 0)
        arns = request.target_groups.get(key, ())
        if not arns:
            findings.unbound = True
            findings.problems.append(f"Service {target.service}:{target.port} has no target group yet")
        for arn in arns:
            if owners.setdefault(arn, key) != key:
                raise CannotTellError(f"{owners[arn][0]} and {target.service} share a target group")
    for key, arns in request.target_groups.items():
        for arn in arns:
            owners.setdefault(arn, key)
    return owners


def rules_by_conditions(described: list[dict[str, Any]]) -> dict[frozenset[Condition], list[Mapping[str, Any]]]:
    """Groups the ``Rules`` of DescribeRules by their conditions, without the listener's default rule; of equal ones the first wins."""
    found: dict[frozenset[Condition], list[Mapping[str, Any]]] = {}
    for rule in sorted(described, key=_priority):
        if not _is_default(rule):
            found.setdefault(merged(conditions_of(rule.get("Conditions"))), []).append(rule)
    return found


def that_count(rules: Sequence[Mapping[str, Any]], owners: Mapping[str, ServicePort]) -> Sequence[Mapping[str, Any]]:
    """Of rules with equal conditions those that must be right: the first, and what is ours.

    While the load-balancer controller orders its rules anew, another of them may win. One of another object that never does is not ours.

    Args:
        rules: The one that wins first.
        owners: See `owners_of`.
    """
    return [*rules[:1], *(rule for rule in rules[1:] if any(text(one, "TargetGroupArn") in owners for one in _groups(_last_action(rule))))]


def only_redirects(described: list[dict[str, Any]]) -> bool:
    """Whether a listener does nothing but send everyone to HTTPS, as ``ssl-redirect`` of anything on it makes it."""
    return bool(described) and all(_is_default(rule) and redirects(rule) for rule in described)


def redirects(rule: Mapping[str, Any]) -> bool:
    """Whether a rule sends its requests to HTTPS."""
    action = _last_action(rule)
    return text(action, "Type") == "redirect" and text(action, "RedirectConfig", "Protocol") == "HTTPS"


def _priority(rule: Mapping[str, Any]) -> int:
    said = text(rule, "Priority")
    return int(said) if said.isascii() and said.isdigit() else sys.maxsize


def _is_default(rule: Mapping[str, Any]) -> bool:
    return bool(rule.get("IsDefault")) or rule.get("Priority") == "default"


def _last_action(rule: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a rule does with a request; authentication comes before it."""
    actions = sorted(entries(rule, "Actions"), key=lambda action: integer(action, "Order") or 0)
    return actions[-1] if actions else {}


def compare(
    rule: Mapping[str, Any], where: str, request: VerificationRequest, owners: Mapping[str, ServicePort], findings: Findings
) -> None:
    """Compares one live rule with the action, into `findings`.

    Args:
        rule: An entry of DescribeRules.
        where: Its listener and label, for people.
        request: What the rule should do.
        owners: See `owners_of`.
        findings: Gets the problems, the live weights and the target groups with traffic.
    """
    action = _last_action(rule)
    kind = text(action, "Type")
    if kind == "fixed-response":
        fixed = mapping(action, "FixedResponseConfig")
        body = f" ({shown(text(fixed, 'MessageBody'))})" if fixed.get("MessageBody") else ""
        findings.problems.append(f"{CRITICAL}{where} answers every request with a fixed {fixed.get('StatusCode', '5xx')}{body}")
        return
    if kind != "forward":
        findings.problems.append(f"{where} does not forward ({shown(kind) or 'no action'})")
        return
    _compare_weights(action, where, request, owners, findings)
    stickiness = _stickiness(action)
    if stickiness != request.stickiness_s:
        findings.problems.append(f"{where} has stickiness {_seconds(stickiness)}, asked for {_seconds(request.stickiness_s)}")


def _compare_weights(
    action: Mapping[str, Any], where: str, request: VerificationRequest, owners: Mapping[str, ServicePort], findings: Findings
) -> None:
    groups = _groups(action)
    live, unknown = _live(groups, owners)
    asked = {(target.service, service_port(target.port) or 0): target.weight for target in request.targets}
    same = live.keys() == asked.keys() if len(asked) == 1 else live == asked  # a single target group gets everything, whatever its weight
    same = same and not unknown
    if not same:
        forwarded = _shown(live) + "".join(f", unknown target group {shown(name)}" for name in unknown)
        findings.problems.append(f"{where} forwards to {forwarded.removeprefix(', ') or 'nothing'}, asked for {_shown(asked)}")
    arns = [text(group, "TargetGroupArn") for group in groups]
    findings.serving.update({arn: key[0] for arn in arns if (key := owners.get(arn)) and asked.get(key, 0) > 0})
    weights: dict[str, int] = {}
    for (service, _), weight in live.items():
        weights[service] = weights.get(service, 0) + weight
    if not same or not findings.weights:
        findings.weights = weights  # of several rules, show the one that differs


def _groups(action: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The target groups of a forward action. AWS returns both forms for a single group, emulators only one of them."""
    groups = entries(action, "ForwardConfig", "TargetGroups")
    if not groups and text(action, "TargetGroupArn"):
        return [{"TargetGroupArn": action["TargetGroupArn"]}]
    return groups


def _live(groups: list[dict[str, Any]], owners: Mapping[str, ServicePort]) -> tuple[dict[ServicePort, int], list[str]]:
    """Live weights by Service and port, and the names of the target groups that belong to no Service."""
    live: dict[ServicePort, int] = {}
    unknown: list[str] = []
    for group in groups:
        arn, weight = text(group, "TargetGroupArn"), integer(group.get("Weight", 1))
        if arn not in owners or weight is None or owners[arn] in live:
            unknown.append(arn.rpartition("targetgroup/")[2] or "?")
        else:
            live[owners[arn]] = weight
    return live, unknown


def count_healthy(described: list[dict[str, Any]], service: str, request: VerificationRequest) -> tuple[int, str]:
    """Counts the healthy targets of one target group.

    A registered target is not enough: a target group without healthy targets fails open, and an empty one answers 503.

    Args:
        described: ``TargetHealthDescriptions`` of DescribeTargetHealth.
        service: The Service of the target group.
        request: Says how many targets must be healthy.

    Returns:
        The number of healthy targets, and the problem with it ("" if it is enough).
    """
    states: dict[str, int] = {}
    instances = False
    for entry in described:
        state = shown(text(entry, "TargetHealth", "State")) or "unknown"
        states[state] = states.get(state, 0) + 1
        instances = instances or text(entry, "Target", "Id").startswith("i-")
    healthy = states.get("healthy", 0)
    ready = 0 if instances else request.ready.get(service, 0)  # an instance target is a node and says nothing about the number of pods
    needed = max(1, request.min_healthy, math.ceil(HEALTHY_SHARE * ready))
    if healthy >= needed:
        # Healthy nodes say nothing about the number of pods: the ready pods behind them are the best figure.
        return (max(healthy, request.ready.get(service, 0)) if instances else healthy), ""
    others = ", ".join(f"{count} {state}" for state, count in sorted(states.items()) if state != "healthy") or "no others"
    return healthy, f"{service} has {healthy} healthy target(s) of the {needed} needed ({others})"


def ill(request: VerificationRequest, findings: Findings) -> set[str]:
    """The Services with ready endpoints and no healthy target yet: nothing can be routed there."""
    return {service for service, count in findings.healthy.items() if count == 0 and request.ready.get(service, 0) > 0}


def _stickiness(action: Mapping[str, Any]) -> int:
    """Seconds of target group stickiness; 0 = disabled, -1 = enabled for an unknown time."""
    stickiness = mapping(action, "ForwardConfig", "TargetGroupStickinessConfig")
    if stickiness.get("Enabled") is not True:
        return 0
    return integer(stickiness, "DurationSeconds") or -1


def _shown(weights: Mapping[ServicePort, int]) -> str:
    return ", ".join(f"{service} {weight}" for (service, _), weight in sorted(weights.items(), key=lambda item: str(item[0])))


def _seconds(stickiness: int) -> str:
    return "off" if stickiness == 0 else "on" if stickiness < 0 else f"{stickiness} s"
