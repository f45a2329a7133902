"""The text of a forward action: reads it and writes it.

Reading follows what the load-balancer controller does with the same text (Go's encoding/json): keys are case-insensitive, weights are JSON
integers, unknown keys are ignored, the last of duplicate keys wins. Writing is deterministic: the same action always gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from controller.objects import service_port
from controller.policy.model import Target
from controller.policy.routing import action_problem

_NAME: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-.")
_LONGEST_NAME: Final = 253
MOST_STICKINESS_S: Final = 604_800
"""The longest stickiness that ELBv2 takes, seconds: a week. No client sticks for longer, whatever an action says."""
_LIMIT: Final = 2**31
_SHOWN: Final = 60  # characters of a value that cannot be used


def format_action(targets: Iterable[Target], stickiness_s: int) -> str:
    """Writes a forward action.

    Args:
        targets: In the order in which they are to be written.
        stickiness_s: Target-group stickiness in seconds, 0 for none. It is always written, because the load-balancer controller does not
            take a missing setting for "off" when it compares with AWS.

    Returns:
        JSON without spaces.

    Raises:
        ValueError: If AWS or the load-balancer controller would refuse it: no target or more than five, a Service twice, a weight that is
            not an integer 0 to 999, no weight above 0.
    """
    written = list(targets)
    problem = action_problem(written)
    if problem:
        raise ValueError(problem)
    stickiness: dict[str, Any] = {"enabled": stickiness_s > 0}
    if stickiness_s > 0:
        stickiness["durationSeconds"] = stickiness_s
    action = {
        "type": "forward",
        "forwardConfig": {
            "targetGroups": [{"serviceName": t.service, "servicePort": t.port, "weight": t.weight} for t in written],
            "targetGroupStickinessConfig": stickiness,
        },
    }
    return json.dumps(action, separators=(",", ":"))


def parse_action(text: str) -> tuple[tuple[Target, ...], int, str]:
    """Reads a forward action.

    Args:
        text: The annotation's value.

    Returns:
        The targets, the stickiness in seconds (0: disabled or not stated), and the problem that kept the action from being read, "" for
        none. With a problem the targets are empty.
    """
    try:
        action = json.loads(text, object_pairs_hook=_folded)
    except (ValueError, RecursionError):
        return (), 0, "the action is not JSON"
    if not isinstance(action, Mapping):
        return (), 0, "the action is not a JSON object"
    if action.get("type") != "forward":
        return (), 0, f"the action's type is {repr(action.get('type'))[:_SHOWN]}, not 'forward'"
    config = action.get("forwardconfig")
    groups = config.get("targetgroups") if isinstance(config, Mapping) else None
    if not isinstance(groups, list) or not groups:
        return (), 0, "the action has no forwardConfig.targetGroups"
    targets = []
    for group in groups:
        target, problem = _target(group, single=len(groups) == 1)
        if target is None:
            return (), 0, problem
        targets.append(target)
    stickiness = config.get("targetgroupstickinessconfig") if isinstance(config, Mapping) else None
    seconds = 0
    if isinstance(stickiness, Mapping) and stickiness.get("enabled") is True:
        duration = stickiness.get("durationseconds")
        if isinstance(duration, int) and not isinstance(duration, bool) and duration > 0 and _fits(duration):
            seconds = min(duration, MOST_STICKINESS_S)
    return tuple(targets), seconds, ""


def states_stickiness(text: str) -> bool:
    """Whether an action that `parse_action` understands states its stickiness. A missing setting does not mean "off"."""
    config = json.loads(text, object_pairs_hook=_folded)["forwardconfig"]
    return isinstance(config.get("targetgroupstickinessconfig"), Mapping)


def _folded(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object with its keys in lower case. Of equal keys the last one in the text wins, as with Go's decoder."""
    return {key.lower(): item for key, item in pairs}


def _target(group: object, *, single: bool) -> tuple[Target | None, str]:
    if not isinstance(group, Mapping):
        return None, "a target group is not an object"
    service, port, weight = group.get("servicename"), service_port(group.get("serviceport")), group.get("weight")
    if not isinstance(service, str) or not service:
        return None, "a target group names no Service (targetGroupARN and targetGroupName are not managed by this controller)"
    if not _is_name(service):
        return None, f"a target group names {service[:_SHOWN]!a}, which cannot be the name of a Service"
    if port is None or not (_is_name(port) if isinstance(port, str) else _fits(port)):
        return None, f"target group {service} has no servicePort that can exist"
    if weight is None and single:
        weight = 1
    if isinstance(weight, bool) or not isinstance(weight, int):
        return None, f"target group {service} has weight {repr(weight)[:_SHOWN]}, which is not an integer"
    if not _fits(weight):
        return None, f"target group {service} has a weight of {weight.bit_length()} bits, which is none"
    return Target(service, port, weight), ""


def _is_name(value: str) -> bool:
    """Whether it can be the name of a Service or of its port. Anybody may write the annotation, and what it says is shown."""
    return 0 < len(value) <= _LONGEST_NAME and _NAME.issuperset(value)


def _fits(value: int) -> bool:
    """Whether an integer fits into 32 bits. Python's have no limit, and one beyond that of a float stops whatever divides it."""
    return abs(value) < _LIMIT
