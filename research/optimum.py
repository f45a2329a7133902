"""The cheapest whole replicas for a demand that is known, with production's exact search. No unit has to keep any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controller.policy.fleet import Offer, cheapest_fleet
from controller.policy.model import Fleet, Needs, Unit


def least(units: Sequence[Unit], demand: float, most: Mapping[str, int]) -> Fleet:
    """The cheapest whole replicas.

    Args:
        units: The units, with price and throughput.
        demand: Requests per period.
        most: Most replicas by unit name.
    """
    offers = [Offer(unit.name, unit.name, unit.throughput, unit.price_per_hour, 0, most[unit.name]) for unit in units]
    return cheapest_fleet(offers, Needs(demand, 0.0))
