"""What a mode costs an hour, as a figure and in words for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controller.policy import text
from controller.policy.account.demand import assumed_demand
from controller.policy.account.figures import Figures
from controller.policy.model import Application, Mode, Price, Snapshot, UnitEvidence
from controller.policy.routing import blended_cost, price_ratio


@dataclass(frozen=True, slots=True)
class Hourly:
    """US dollars per hour for the present demand, in each mode, at the prices of the nodes that run (else the application file's).

    Attributes:
        cost: In cost mode, by its weights.
        capacity: In capacity mode, by the shares that it gives equally many replicas of every unit.
        measured: Whether the demand was measured; else every ready replica is taken to be fully used.
    """

    cost: float
    capacity: float
    measured: bool

    def change(self, to: Mode) -> tuple[float, float]:
        """The price before and after a change to a mode."""
        return (self.cost, self.capacity) if to is Mode.CAPACITY else (self.capacity, self.cost)


def hourly(snapshot: Snapshot, figures: Figures) -> Hourly | None:
    """What serving the present demand costs in each mode; None where there is no demand, or no weight, to compute it from.

    A replica of a unit serves its throughput, so a request costs the unit's price divided by it. Replicas that are idle are not counted.
    """
    weights, units = figures.intended, snapshot.application.units
    demand = assumed_demand(snapshot) if figures.demand is None else figures.demand
    if not any(weights.values()) or demand <= 0:
        return None
    cost = blended_cost(weights, units) * demand
    return Hourly(cost, cost * price_ratio(snapshot.application, weights), figures.demand is not None)


def spend_per_hour(application: Application, evidence: Mapping[str, UnitEvidence]) -> float:
    """US dollars per hour of the ready replicas.

    Args:
        application: As its snapshot has it, with the prices of the nodes that run; with those of the application file otherwise.
        evidence: For the ready replicas.
    """
    return sum(evidence[unit.name].ready * unit.price_per_hour for unit in application.units if unit.name in evidence)


def effect(snapshot: Snapshot, figures: Figures, to: Mode) -> str:
    """What a change to mode `to` does to the price of the present demand.

    Returns:
        For example ``$3.10/h → $4.85/h (+56 %)``; "" where prices give no answer.
    """
    prices = hourly(snapshot, figures)
    if prices is None:
        return ""
    return dollars(*prices.change(to)) + ("" if prices.measured else ", at full use of the ready replicas")


def dollars(before: float, after: float) -> str:
    """A change of price in words: ``$3.10/h → $4.85/h (+56 %)``."""
    percent = round((after / before - 1) * 100) if before > 0 else None
    share = "" if percent is None else f" ({percent:+d} %)" if percent else " (0 %)"
    return f"${before:,.2f}/h → ${after:,.2f}/h{share}"


def price_words(price: Price, now: float) -> tuple[str, ...]:
    """Where a unit's price comes from and how old it is, for people; () where it is the application file's."""
    words = []
    if price.at is not None:
        words.append(f"a replica costs ${price.dollars:.4g}/h: {price.source.named}, read {text.duration(max(0.0, now - price.at))} ago")
    if price.problem:
        words.append(f"the application file's price counts: {price.problem}")
    return tuple(words)
