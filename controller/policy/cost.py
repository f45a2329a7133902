"""What a mode costs, in words for people."""

from __future__ import annotations

from collections.abc import Mapping

from controller.policy.model import Application, Mode, UnitEvidence
from controller.policy.weights import blended_cost, price_ratio


def spend_per_hour(application: Application, evidence: Mapping[str, UnitEvidence]) -> float:
    """US dollars per hour of the ready replicas, at the application file's prices (one replica an instance)."""
    return sum(evidence[unit.name].ready * unit.price_per_hour for unit in application.units if unit.name in evidence)


def effect(application: Application, weights: Mapping[str, int], to: Mode) -> str:
    """What a change to mode `to` does to the price of a request.

    Returns:
        For example ``+12.1 % per request ($0.01047 to $0.01174 per hour and request a period)``; "" where prices give no answer.
    """
    if not any(weights.values()):
        return ""
    ratio = price_ratio(application.units, weights)
    cost = blended_cost(weights, application.units)
    capacity = cost * ratio
    before, after = (cost, capacity) if to is Mode.CAPACITY else (capacity, cost)
    return f"{(after / before - 1) * 100:+.1f} % per request ({before:.5f} to {after:.5f} $/h per request a period)"
