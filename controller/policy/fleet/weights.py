"""The weights of cost mode while floors follow the cheapest fleet.

Each replica of the fleet is paid whether it gets requests or not, so all of them get the same share of their throughput. Merit order would
fill the cheapest units instead: their scalers would then keep more replicas than planned, and the fleet would lose more with their family.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from controller.policy.model import Application, PlannedFleet
from controller.policy.routing import least_overload


def planned_weights(application: Application, serving: Mapping[str, int], demand: float | None, shown: PlannedFleet) -> dict[str, int]:
    """The weights that share the demand among the fleet's replicas that can serve.

    Where these do not carry the demand, the others that can serve carry the rest, each with the same share of its throughput.

    Args:
        application: The application.
        serving: Replicas that can serve, by unit.
        demand: Requests per metric period; None where they may be more than is known: then all that can serve carry them.
        shown: The fleet.

    Returns:
        By unit; empty where nothing can serve.
    """
    ready = {unit.name: serving.get(unit.name, 0) * unit.throughput for unit in application.units}
    own = {unit.name: min(ready[unit.name], shown.fleet.replicas[unit.name] * unit.throughput) for unit in application.units}
    carried, together = sum(own.values()), sum(ready.values())
    if together <= 0:
        return {}
    rest = math.inf if demand is None else max(0.0, demand - carried)
    part = min(1.0, rest / (together - carried)) if together > carried else 0.0
    shares = {name: own[name] + part * (ready[name] - own[name]) for name in ready}
    return least_overload(shares if any(shares.values()) else ready)


def beyond(application: Application, weights: Mapping[str, int], demand: float, shown: PlannedFleet) -> float:
    """The price of the replicas that the scalers would keep beyond the fleet with some weights, US dollars per hour.

    Args:
        application: The application.
        weights: By unit, of every unit.
        demand: Requests per metric period.
        shown: The fleet.
    """
    whole, price = sum(weights.values()) or 1, 0.0
    for unit in application.units:
        kept = math.ceil(demand * weights[unit.name] / whole / unit.throughput - 1e-9)
        price += unit.price_per_hour * max(0, kept - shown.fleet.replicas[unit.name])
    return price
