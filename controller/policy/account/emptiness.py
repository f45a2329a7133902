"""Whether traffic goes to a Service with nothing behind it: the Service, its endpoints or its target group is gone.

Where that holds of all traffic, a mode change can lose no request. It then needs no proof, no dwell and no flip budget, only a healthy
other side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from controller.policy.account.figures import Figures
from controller.policy.model import Mode, RoutingStyle, Snapshot

GROUP_MADE_S: Final = 60.0
"""How long after a change of the routing the load-balancer controller may still be making a target group, seconds: a group of its own is
made within 2 s of the patch (docs/research/alb.md), a throttled controller needs longer."""


def empty(snapshot: Snapshot, healthy: Mapping[str, int], changed_at: float | None) -> Mapping[str, str]:
    """The Services that get traffic and have nothing behind them.

    Args:
        snapshot: What is observed.
        healthy: Healthy targets by Service, see `Figures.healthy`.
        changed_at: When the routing action changed last, seconds since the Unix epoch; None: not while anybody watched.

    Returns:
        By Service, what is gone, in words. What is not known is not gone.
    """
    found = {}
    for target in snapshot.routing.targets:
        why = _gone(target.service, snapshot, changed_at, healthy.get(target.service)) if target.weight > 0 else ""
        if why:
            found[target.service] = why
    return found


def _gone(service: str, snapshot: Snapshot, changed_at: float | None, healthy: int | None) -> str:
    """What is gone. Endpoints alone may be late: the load balancer must have no healthy target either."""
    exists, ready = endpoints(snapshot, service)
    if exists is False:
        return f"Service {service} does not exist"
    if ready == 0 and healthy == 0:
        return f"Service {service} has no ready endpoint"
    settled = changed_at is None or snapshot.now - changed_at >= GROUP_MADE_S
    unbound = ready is not None and snapshot.routing.bound is not None and service not in snapshot.routing.bound
    return f"Service {service} has no target group" if unbound and settled else ""


def endpoints(snapshot: Snapshot, service: str) -> tuple[bool | None, int | None]:
    """Whether a Service exists, and how many ready endpoints it has; None where that is not known, as of a foreign one."""
    if service == snapshot.application.capacity.service:
        return snapshot.routing.capacity_exists, snapshot.routing.capacity_ready
    name = next((unit.name for unit in snapshot.application.units if unit.backend.service == service), None)
    return (snapshot.units[name].service_exists, snapshot.units[name].ready) if name is not None else (None, None)


def nothing_answers(mode: Mode, snapshot: Snapshot, figures: Figures, changed_at: float | None) -> str:
    """What is gone, in words, where no request is answered in the present mode and the other mode has replicas that serve; else "".

    Within cost mode the weights follow what serves, and with the in-place style they do so in both modes: that is no mode change.
    """
    if snapshot.application.routing_style is RoutingStyle.IN_PLACE:
        return ""
    live = [target.service for target in snapshot.routing.targets if target.weight > 0]
    found = empty(snapshot, figures.healthy, changed_at)
    if not live or len(found) < len(live):
        return ""
    if mode is Mode.COST:
        exists, ready = endpoints(snapshot, snapshot.application.capacity.service)
        pods = any(observed.deployment_ready for observed in snapshot.units.values())  # whose own Services may be gone
        able = exists is not False and bool(ready) and pods and not any(figures.cost.values())
    else:
        able = any(figures.cost.values()) and any(figures.serving.values())
    return "; ".join(dict.fromkeys(found.values())) if able else ""
