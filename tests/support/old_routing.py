"""The routing action of the Ingress: reads it, writes it, and finds the mode that it shows.

Reading follows what the load-balancer controller does with the same text (Go's encoding/json): keys are case-insensitive, weights are JSON
integers, unknown keys are ignored, the last of duplicate keys wins. Writing is deterministic: the same action always gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from controller.policy.model import Application, Mode, RoutingStyle, Target
from controller.policy.text import listing

PREFIX: Final = "alb.ingress.kubernetes.io"
USE_ANNOTATION: Final = "use-annotation"
"""In the place of a port's name: the backend is the action of the Service's name."""
ALGORITHM: Final = "load_balancing.algorithm.type"
"""The attribute of a target group that decides which target gets a request."""
LEAST_OUTSTANDING: Final = "least_outstanding_requests"
_ROUND_ROBIN: Final = "round_robin"
ATTRIBUTES: Final = f"{PREFIX}/target-group-attributes"
"""The annotation of an Ingress, or of one Service, with attributes of target groups. That of the Service replaces the Ingress's."""
_STICKS: Final = "stickiness.enabled"
MAX_TARGET_GROUPS: Final = 5  # AWS: target groups per action on an Application Load Balancer, not adjustable
MAX_WEIGHT: Final = 999
_PORT_DIGITS: Final = 5
_NAME: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-.")
_LONGEST_NAME: Final = 253
MOST_STICKINESS_S: Final = 604_800
"""The longest stickiness that ELBv2 takes, seconds: a week. No client sticks for longer, whatever an action says."""
_LIMIT: Final = 2**31
_SHOWN: Final = 60  # characters of a value that cannot be used


def action_key(action: str) -> str:
    """The annotation that holds the action."""
    return f"{PREFIX}/actions.{action}"


def unused_action(action: str, instead: Sequence[str]) -> str:
    """What is wrong where the rules of an Ingress use other actions, and how to correct it; "" where they do not.

    Args:
        action: That of the application file.
        instead: See `RoutingObservation.instead`.
    """
    if not instead:
        return ""
    fix = "correct spec.action of the application file, or the backend of the rule"
    return f"no rule of the Ingress uses the action {action}, its rules use {listing(instead)}: {fix}"


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


def action_problem(targets: Sequence[Target], stickiness_s: int = 0, sticky: Collection[str] = ()) -> str:
    """Why AWS or the load-balancer controller would refuse a forward action.

    Args:
        targets: What it forwards to.
        stickiness_s: Its target-group stickiness in seconds, 0 for none.
        sticky: The Services whose target groups have stickiness of their own. AWS takes none in an action with several target groups and
            no stickiness (issue 2734 of the load-balancer controller quotes its error).

    Returns:
        "" where they would not.
    """
    if not targets:
        return "an action needs at least one target group"
    if len(targets) > MAX_TARGET_GROUPS:
        return f"an action may have {MAX_TARGET_GROUPS} target groups, this one has {len(targets)}"
    if len({(t.service, t.port) for t in targets}) != len(targets):
        return "a Service appears twice in the action"
    for target in targets:
        if type(target.weight) is not int or not 0 <= target.weight <= MAX_WEIGHT:
            return f"weight of {target.service}: found {target.weight!r}, allowed are integers 0 to {MAX_WEIGHT}"
    if not any(target.weight for target in targets):
        return "no target group has a weight above 0"
    stuck = sorted(target.service for target in targets if target.service in sticky)
    if stuck and len(targets) > 1 and stickiness_s <= 0:
        return (
            f"the target group of {stuck[0]} has stickiness.enabled=true, which an action with several target groups needs stickiness for: "
            f"state stickiness.enabled=false in {ATTRIBUTES} (AWS keeps an attribute that is merely removed there)"
        )
    return ""


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
    service, port, weight = group.get("servicename"), group.get("serviceport"), group.get("weight")
    if not isinstance(service, str) or not service:
        return None, "a target group names no Service (targetGroupARN and targetGroupName are not managed by this controller)"
    if not _is_name(service):
        return None, f"a target group names {service[:_SHOWN]!a}, which cannot be the name of a Service"
    if isinstance(port, str) and len(port) <= _PORT_DIGITS and port.isascii() and port.isdigit():
        port = int(port)
    if (
        isinstance(port, bool)
        or not isinstance(port, int | str)
        or port == ""
        or not (_is_name(port) if isinstance(port, str) else _fits(port))
    ):
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


def same_routing(left: Iterable[Target], right: Iterable[Target]) -> bool:
    """Whether two actions route alike: order does not matter, and a single target's weight does not either."""
    a, b = list(left), list(right)
    if len(a) == len(b) == 1:
        return (a[0].service, a[0].port) == (b[0].service, b[0].port)
    return {(t.service, t.port, t.weight) for t in a} == {(t.service, t.port, t.weight) for t in b} and len(a) == len(b)


def mode_of(application: Application, targets: Iterable[Target]) -> Mode | None:
    """The mode that an action shows by itself, without the marker.

    Args:
        application: Whose Services are known.
        targets: The action's targets.

    Returns:
        CAPACITY for the capacity Service alone, COST for any of the units' Services, None for anything else. With the in-place style both
        modes use the units' Services: an action alone then always counts as COST, and only the marker can say CAPACITY.
    """
    services = [target.service for target in targets]
    if services == [application.capacity.service]:
        return Mode.CAPACITY if application.routing_style is RoutingStyle.SINGLE_SERVICE else None
    if services and set(services) <= {unit.backend.service for unit in application.units}:
        return Mode.COST
    return None


def algorithm_of(attributes: str) -> str:
    """The algorithm that a ``target-group-attributes`` annotation asks for.

    Args:
        attributes: Its value, ``NAME=VALUE,…``; "" where there is none.
    """
    return _attribute(attributes, ALGORITHM) or _ROUND_ROBIN


def keeps_clients(attributes: str) -> bool:
    """Whether a ``target-group-attributes`` annotation keeps each client on one target: stickiness within the target group."""
    return _attribute(attributes, _STICKS) == "true"


def _attribute(attributes: str, name: str) -> str:
    pairs = (one.partition("=") for one in attributes.split(","))
    return {key.strip(): value.strip() for key, _, value in pairs}.get(name, "")  # the last one counts, as with the controller's parser
