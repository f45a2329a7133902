"""How much a routing action asks of each unit, beside what its serving replicas can serve."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from controller.policy.account.figures import Figures
from controller.policy.model import Application, Target
from controller.policy.routing import shares_of


def unit_loads(application: Application, figures: Figures, targets: Iterable[Target]) -> dict[str, float]:
    """What an action asks of each unit to which it gives traffic, as a share of what its serving replicas can serve.

    Args:
        application: Its units, and how capacity mode shares the requests among them.
        figures: Demand and serving replicas.
        targets: The action.

    Returns:
        By unit, of those where it is known. Infinite where nothing serves; 0 where the demand is not known.
    """
    weights, demand = {target.service: target.weight for target in targets}, figures.demand or 0.0
    shares = shares_of(application, weights, {unit.name: figures.serving.get(unit.name) for unit in application.units})
    found = {}
    for unit in application.units:
        count, share = figures.serving.get(unit.name), shares[unit.name]
        if share and count is not None:
            found[unit.name] = demand * share / (count * unit.throughput) if count else float("inf")
    return found


def overloaded(application: Application, loads: Mapping[str, float]) -> tuple[str, ...]:
    """The units with more than their throughput and more than the policy allows of it, by their `unit_loads`."""
    most = max(1.0, application.policy.failover_utilization)
    return tuple(name for name, load in loads.items() if load > most)
