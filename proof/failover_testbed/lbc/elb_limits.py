"""Calls that AWS refuses and moto accepts. Pure.

Cases in which AWS's behaviour is unknown (a target group twice, no weight above 0) are refused too, so that nothing can depend on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

MAX_TARGET_GROUPS: Final = 5
MAX_WEIGHT: Final = 999

_MAX_STICKINESS_S: Final = 604_800
_MAX_CONDITION_VALUES: Final = 5
_RANGES: Final = {
    "HealthCheckIntervalSeconds": (5, 300),
    "HealthCheckTimeoutSeconds": (2, 120),
    "HealthyThresholdCount": (2, 10),
    "UnhealthyThresholdCount": (2, 10),
}


def refusal(arguments: Mapping[str, Any]) -> str:
    """Why AWS would refuse a call, "" if it would not. AWS's own text is known only for a weight out of range.

    Args:
        arguments: Arguments of the call.
    """
    for name, (least, most) in _RANGES.items():
        if not least <= arguments.get(name, least) <= most:
            return f"{name} must be between {least} and {most}"
    if sum(len(_values(condition)) for condition in arguments.get("Conditions", ())) > _MAX_CONDITION_VALUES:
        return f"A rule may have {_MAX_CONDITION_VALUES} condition values"
    for action in arguments.get("Actions", ()):
        if action["Type"] == "forward" and (why := _forward(action["ForwardConfig"])):
            return why
    return ""


def _values(condition: Mapping[str, Any]) -> Sequence[str]:
    return next((value["Values"] for name, value in condition.items() if name != "Field"), ())


def _forward(config: Mapping[str, Any]) -> str:
    groups = config["TargetGroups"]
    weights = [group["Weight"] for group in groups if "Weight" in group]
    if not groups:
        return "An action needs a target group"
    if len(groups) > MAX_TARGET_GROUPS:
        return f"An action may have {MAX_TARGET_GROUPS} target groups"
    if len({group["TargetGroupArn"] for group in groups}) < len(groups):
        return "A target group may be in an action once"
    if any(not 0 <= weight <= MAX_WEIGHT for weight in weights):
        return f"The weight for each target group must be between 0 and {MAX_WEIGHT}, inclusive"
    if len(groups) > 1 and not any(weights):
        return "A target group needs a weight above 0"
    sticky = config.get("TargetGroupStickinessConfig") or {}
    if sticky.get("Enabled") and not 1 <= sticky.get("DurationSeconds", 0) <= _MAX_STICKINESS_S:
        return f"The stickiness duration must be between 1 and {_MAX_STICKINESS_S} seconds"
    return ""
