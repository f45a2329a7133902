"""Computes which rules of a listener the load-balancer controller keeps, moves, modifies, creates and deletes. Pure.

It first finds rules with the wanted content, at any priority. It matches the others by priority and modifies them in place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from failover_testbed.lbc.model import Condition, Fixed, RuleModel, TargetKey

CONFIGS: Final = {
    "host-header": "HostHeaderConfig",
    "http-header": "HttpHeaderConfig",
    "http-request-method": "HttpRequestMethodConfig",
    "path-pattern": "PathPatternConfig",
    "source-ip": "SourceIpConfig",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A rule as it is sent to ELBv2."""

    priority: int
    conditions: list[dict[str, Any]]
    actions: list[dict[str, Any]]
    model: RuleModel


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes to make, in this order.

    Attributes:
        priorities: New priority by rule ARN: of rules with the right content in the wrong place, and of those to delete in their way.
        modify: ARN and new content of rules to change in place.
        create: New rules.
        delete: ARNs of rules to delete.
    """

    priorities: Mapping[str, int]
    modify: Sequence[tuple[str, Wanted]]
    create: Sequence[Wanted]
    delete: Sequence[str]


_LOWEST: Final = 50_000  # the last priority that ELBv2 accepts


def rendered(rule: RuleModel, priority: int, arns: Mapping[TargetKey, str]) -> Wanted:
    """A rule as it is sent to ELBv2.

    Args:
        rule: The rule of the model.
        priority: Its priority.
        arns: ARNs of the target groups.
    """
    conditions = [_condition(one) for one in rule.conditions]
    if isinstance(rule.action, Fixed):
        fixed = {"StatusCode": rule.action.status, "ContentType": "text/plain", "MessageBody": rule.action.body}
        return Wanted(priority, conditions, [{"Type": "fixed-response", "FixedResponseConfig": fixed}], rule)
    tuples = [{"TargetGroupArn": arns[key]} | ({} if weight is None else {"Weight": weight}) for key, weight in rule.action.targets]
    config: dict[str, Any] = {"TargetGroups": tuples}
    if rule.action.stickiness is not None:
        enabled, duration = rule.action.stickiness
        config["TargetGroupStickinessConfig"] = {"Enabled": enabled} | ({"DurationSeconds": duration} if duration else {})
    return Wanted(priority, conditions, [{"Type": "forward", "ForwardConfig": config}], rule)


def _condition(condition: Condition) -> dict[str, Any]:
    (field, _, header), values = condition[0].partition(":"), list(condition[1])
    return {"Field": field, CONFIGS[field]: ({"HttpHeaderName": header} if header else {}) | {"Values": values}}


def changes(wanted: Sequence[Wanted], found: Sequence[Mapping[str, Any]]) -> Changes:
    """Compares the wanted rules with those of a listener.

    Args:
        wanted: All rules that the listener must have.
        found: All rules that it has, as ELBv2 describes them; the default rule is ignored.
    """
    left = [rule for rule in found if rule["Priority"] != "default"]
    priorities: dict[str, int] = {}
    missing: dict[int, Wanted] = {}
    for rule in wanted:
        same = next((one for one in left if _same(one, rule)), None)
        if same is None:
            missing[rule.priority] = rule
            continue
        left.remove(same)
        if int(same["Priority"]) != rule.priority:
            priorities[str(same["RuleArn"])] = rule.priority
    present = {int(rule["Priority"]): str(rule["RuleArn"]) for rule in left}
    gone = [present[priority] for priority in sorted(present.keys() - missing.keys())]
    if priorities:  # rules to delete make room
        priorities |= {arn: _LOWEST - index for index, arn in enumerate(reversed(gone))}
    return Changes(
        priorities=priorities,
        modify=[(present[priority], missing[priority]) for priority in sorted(missing.keys() & present.keys())],
        create=[missing[priority] for priority in sorted(missing.keys() - present.keys())],
        delete=gone,
    )


def _same(rule: Mapping[str, Any], wanted: Wanted) -> bool:
    """Whether a rule in AWS has the wanted content. Stickiness counts only if it is set, weights only with several target groups."""
    if _conditions(rule.get("Conditions", [])) != _conditions(wanted.conditions):
        return False
    live, action = rule["Actions"][-1], wanted.actions[-1]
    if live["Type"] != action["Type"]:
        return False
    if action["Type"] == "fixed-response":
        mine, theirs = action["FixedResponseConfig"], live.get("FixedResponseConfig", {})
        return all((mine.get(name) or "") == (theirs.get(name) or "") for name in ("StatusCode", "MessageBody"))
    config, asked = live.get("ForwardConfig", {}), action["ForwardConfig"]
    if _tuples(config.get("TargetGroups", [])) != _tuples(asked["TargetGroups"]):
        return False
    sticky = asked.get("TargetGroupStickinessConfig")
    return sticky is None or _stickiness(config.get("TargetGroupStickinessConfig") or {}) == _stickiness(sticky)


def _conditions(entries: Sequence[Mapping[str, Any]]) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for entry in entries:
        field = str(entry["Field"])
        config = entry.get(CONFIGS.get(field, "")) or {}
        values = config.get("Values") or entry.get("Values") or []
        field = f"{field}:{config['HttpHeaderName']}" if "HttpHeaderName" in config else field
        found[field] = found.get(field, frozenset()) | frozenset(values)
    return found


def _tuples(groups: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    if len(groups) == 1:
        return [(str(groups[0]["TargetGroupArn"]), 0)]
    return sorted((str(group["TargetGroupArn"]), int(group.get("Weight", 1))) for group in groups)


def _stickiness(config: Mapping[str, Any]) -> tuple[bool, int]:
    enabled = config.get("Enabled") is True
    return enabled, int(config.get("DurationSeconds") or 0) if enabled else 0
