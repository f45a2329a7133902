"""How much a routing action asks of each unit, beside what its serving replicas can serve."""

from __future__ import annotations

from collections.abc import Iterable

from controller.policy.account.figures import Figures
from controller.policy.model import Application, Target
from controller.policy.routing import capacity_shares


def unit_loads(application: Application, figures: Figures, targets: Iterable[Target]) -> dict[str, float]:
    """What an action asks of each unit to which it gives traffic, as a share of what its serving replicas can serve.

    Args:
        application: Its units, and how capacity mode shares the requests among them.
        figures: Demand and serving replicas.
        targets: The action.

    Returns:
        By unit, of those where anything is known. Infinite where nothing serves; 0 where the demand is not known.
    """
    weights = {target.service: target.weight for target in targets}
    demand, whole, pooled = figures.demand or 0.0, sum(weights.values()), weights.get(application.capacity.service, 0)
    parts = capacity_shares(application, figures.serving) if pooled else {}
    together = sum(parts.values())
    found = {}
    for unit in application.units:
        count, weight = figures.serving.get(unit.name), float(weights.get(unit.backend.service, 0))
        weight += pooled * parts[unit.name] / together if together else 0.0
        if weight and count is not None:
            found[unit.name] = demand * weight / whole / (count * unit.throughput) if count else float("inf")
    return found
