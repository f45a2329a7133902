"""Whether traffic goes to a Service with nothing behind it: the Service, its endpoints or its target group is gone.

Where that holds of all traffic, a mode change can lose no request. It then needs no proof, no dwell and no flip budget, only a healthy
other side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from controller.policy.account.figures import Figures
from controller.policy.model import Mode, RoutingStyle, Snapshot
from controller.policy.routing import without_group

GROUP_MADE_S: Final = 60.0
"""How long after a change of the routing the load-balancer controller may still be making a target group, seconds: a group of its own is
made within 2 s of the patch (docs/research/alb.md), a throttled controller needs longer."""


def empty(snapshot: Snapshot, healthy: Mapping[str, int], routed_at: float | None) -> Mapping[str, str]:
    """The Services that get traffic and have nothing behind them.

    Args:
        snapshot: What is observed.
        healthy: Healthy targets by Service, see `Figures.healthy`.
        routed_at: When we wrote the routing action last, seconds since the Unix epoch; None: not for an hour.

    Returns:
        By Service, what is gone, in words. What is not known is not gone.
    """
    found = {}
    for target in snapshot.routing.targets:
        why = _gone(target.service, snapshot, routed_at, healthy.get(target.service)) if target.weight > 0 else ""
        if why:
            found[target.service] = why
    return found


def _gone(service: str, snapshot: Snapshot, routed_at: float | None, healthy: int | None) -> str:
    """What is gone. Endpoints alone may be late: the load balancer must have no healthy target either."""
    exists, ready = endpoints(snapshot, service)
    if exists is False:
        return f"Service {service} does not exist"
    if ready == 0 and healthy == 0:
        return f"Service {service} has no ready endpoint"
    return f"Service {service} has no target group" if ready is not None and _unbound(service, snapshot, routed_at) else ""


def _unbound(service: str, snapshot: Snapshot, routed_at: float | None) -> bool:
    """Whether a Service has lost its target group. What a standby rule keeps is never on its way."""
    settled = routed_at is None or snapshot.now - routed_at >= GROUP_MADE_S or service in snapshot.routing.standby
    return settled and service in without_group(snapshot)


def unmade(snapshot: Snapshot, routed_at: float | None) -> tuple[str, ...]:
    """The Services that rules of the routing object name and that have lost their target group.

    The load-balancer controller watches no TargetGroupBindings: it makes one again only when it reconciles (docs/research/alb.md).

    Args:
        snapshot: What is observed.
        routed_at: See `empty`.
    """
    named = dict.fromkeys((*snapshot.routing.standby, *(target.service for target in snapshot.routing.targets)))
    return tuple(one for one in named if _unbound(one, snapshot, routed_at) and endpoints(snapshot, one)[0])


def endpoints(snapshot: Snapshot, service: str) -> tuple[bool | None, int | None]:
    """Whether a Service exists, and how many ready endpoints it has; None where that is not known, as of a foreign one."""
    if service == snapshot.application.capacity.service:
        return snapshot.routing.capacity_exists, snapshot.routing.capacity_ready
    name = next((unit.name for unit in snapshot.application.units if unit.backend.service == service), None)
    return (snapshot.units[name].service_exists, snapshot.units[name].ready) if name is not None else (None, None)


def nothing_answers(mode: Mode, snapshot: Snapshot, figures: Figures, routed_at: float | None) -> str:
    """What is gone, in words, where no request is answered in the present mode and the other mode has replicas that serve; else "".

    Within cost mode the weights follow what serves, and with the in-place style they do so in both modes: that is no mode change.
    """
    if snapshot.application.routing_style is RoutingStyle.IN_PLACE:
        return ""
    live = [target.service for target in snapshot.routing.targets if target.weight > 0]
    found = empty(snapshot, figures.healthy, routed_at)
    if not live or len(found) < len(live):
        return ""
    if mode is Mode.COST:
        exists, ready = endpoints(snapshot, snapshot.application.capacity.service)
        pods = any(observed.deployment_ready for observed in snapshot.units.values())  # whose own Services may be gone
        able = exists is not False and bool(ready) and pods and not any(figures.cost.values())
    else:
        able = any(figures.cost.values()) and any(figures.serving.values())
    return "; ".join(dict.fromkeys(found.values())) if able else ""
