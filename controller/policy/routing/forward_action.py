"""The routing action as values: the limits of an Application Load Balancer, which two actions route alike, and which mode one shows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from controller.policy.model import Application, Mode, RoutingStyle, Target

MAX_TARGET_GROUPS: Final = 5  # AWS: target groups per action on an Application Load Balancer, not adjustable
MAX_WEIGHT: Final = 999


def action_problem(targets: Sequence[Target], stickiness_s: int = 0, sticky: Collection[str] = ()) -> str:
    """Why AWS or the load-balancer controller would refuse a forward action.

    Args:
        targets: Its target groups.
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
            "state stickiness.enabled=false in its target-group-attributes (AWS keeps an attribute that is merely removed there)"
        )
    return ""


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
