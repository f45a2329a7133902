"""Stickiness of target groups beside that of the rules that forward to them, as ELBv2 ties one to the other and moto does not.

A target group that keeps each client on one of its targets may only be in an action with several target groups if that action keeps clients
on their target groups too. Field report: issue 2734 of the load-balancer controller, with the text of ELBv2's error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

CODE: Final = "InvalidConfigurationRequest"
_STICKS: Final = "stickiness.enabled"


class TargetStickiness:
    """What the calls so far have made of target groups and rules."""

    def __init__(self) -> None:
        self._sticky: set[str] = set()
        self._loose: dict[str, frozenset[str]] = {}  # by rule: the target groups of an action that has several and no stickiness

    def refusal(self, arguments: Mapping[str, Any]) -> str:
        """Why ELBv2 would refuse a call, "" if it would not.

        Args:
            arguments: Arguments of the call.
        """
        behind = set[str]().union(*self._loose.values())
        for group in sorted(self._sticky & _loose(arguments)) or sorted(behind & _sticky(arguments)):
            return (
                f"This target group appears behind a rule with group stickiness disabled ({group}). "
                "You must enable group stickiness before enabling target stickiness"
            )
        return ""

    def made(self, arguments: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Takes a call that succeeded.

        Args:
            arguments: Arguments of the call.
            answer: What it returned.
        """
        if "Attributes" in arguments and "TargetGroupArn" in arguments:
            stated = {one["Key"]: one["Value"] for one in arguments["Attributes"]}
            if stated.get(_STICKS) == "false":
                self._sticky.discard(arguments["TargetGroupArn"])
            self._sticky |= _sticky(arguments)
        elif "Actions" in arguments:
            for rule in answer.get("Rules", ()):
                self._loose[rule["RuleArn"]] = _loose(arguments)
        elif set(arguments) == {"RuleArn"}:
            self._loose.pop(arguments["RuleArn"], None)


def _sticky(arguments: Mapping[str, Any]) -> frozenset[str]:
    """The target group that a call makes sticky, if it does."""
    stated = {one["Key"]: one["Value"] for one in arguments.get("Attributes", ())}
    return frozenset({arguments["TargetGroupArn"]} if stated.get(_STICKS) == "true" else ())


def _loose(arguments: Mapping[str, Any]) -> frozenset[str]:
    """The target groups of a call's actions that have several and no stickiness."""
    configs = [action["ForwardConfig"] for action in arguments.get("Actions", ()) if action["Type"] == "forward"]
    several = [one for one in configs if len(one["TargetGroups"]) > 1 and not (one.get("TargetGroupStickinessConfig") or {}).get("Enabled")]
    return frozenset(group["TargetGroupArn"] for config in several for group in config["TargetGroups"])
