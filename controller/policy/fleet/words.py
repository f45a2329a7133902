"""What strategy `planned` does now, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controller.policy import text
from controller.policy.account import dollars, without_counter
from controller.policy.model import Decision, Mode, PlannedFleet, Snapshot, UnitEvidence


def planned_sentence(decision: Decision, snapshot: Snapshot) -> str:
    """Whether floors follow the cheapest fleet and if not, why, what the fleet is, and what keeps floors from sinking.

    Args:
        decision: The decision.
        snapshot: What it was made from.

    Returns:
        "" where nothing is planned.
    """
    shown = decision.planned
    if shown is None:
        return ""
    words = planned_words(shown, decision.evidence)
    if shown.followed and decision.mode is not Mode.COST:
        return f"would run in cost mode {words}"
    if shown.followed and not decision.floors:
        return f"changes no floor now; would run {words}"
    missing = without_counter(snapshot) if shown.followed and not decision.verb.changes_mode else ()
    if missing is None:
        words += "; no floor sinks while no counter has a recent value"
    elif missing:
        words += f"; no floor sinks while {text.listing(missing)} has no recent count of its requests"
    return f"{planned_verb(shown)} {words}"


def planned_words(shown: PlannedFleet, evidence: Mapping[str, UnitEvidence]) -> str:
    """What strategy `planned` runs, or would run, for people: replicas, price, and what is left after a loss.

    Args:
        shown: The fleet.
        evidence: For the ready replicas, by unit.
    """
    counts = ", ".join(f"{count} {name}" + _instead(count, evidence[name].ready) for name, count in shown.fleet.replicas.items())
    price = dollars(shown.present, shown.fleet.price)
    words = f"{counts} for {shown.expected:,.0f} requests a period{_errors(shown)}: {price}"
    if shown.fleet.carried < shown.needs.demand * (1 - 1e-9):
        words += (
            f"; no more may be had within the limits, and it carries {shown.fleet.carried:,.0f} of {shown.needs.demand:,.0f} with headroom"
        )
    if shown.exposed:
        return words + "".join(f"; without {name} it carries {share:.0%} of the demand" for name, share in shown.exposed.items())
    lost = "family"
    if shown.fleet.made_good:
        words += f"; what may start in time makes up for the loss of {text.listing(shown.fleet.made_good)}"
        lost = "other family or spot pool"
    left = [left for name, left in shown.fleet.left.items() if name not in shown.fleet.made_good]
    if not left or not shown.expected:
        return words
    return words + f"; without any one {lost} it carries at least {min(left) / shown.expected:.0%} of the demand"


def _errors(shown: PlannedFleet) -> str:
    if shown.shortfall is None:
        return ""
    short = shown.shortfall
    were = f"were too high by at least {-short:.0%}" if short < 0 else f"fell short by at most {short:.0%}"
    return f" (by {shown.forecast}, lately with a weighted error of {shown.loss:,.0f}; nine of ten such forecasts {were})"


def planned_verb(shown: PlannedFleet) -> str:
    """How the words about a fleet begin: whether its floors are followed, and if not, why."""
    if not shown.live:
        return "would run"
    return f"does not change floors, because {shown.held}; would run" if shown.held else "runs"


def _instead(count: int, ready: int) -> str:
    return "" if count == ready else f" ({ready} ready)"


def document(shown: PlannedFleet | None) -> dict[str, Any]:
    """What strategy `planned` runs, or would run, as a part of a JSON document: the key ``planned``; nothing where nothing is planned."""
    if shown is None:
        return {}
    fleet = shown.fleet
    return {
        "planned": {
            "live": shown.live,
            "heldBecause": shown.held,
            "expectedDemand": round(shown.expected, 1),
            "forecastShortfall": None if shown.shortfall is None else round(shown.shortfall, 4),
            "forecastBy": shown.forecast,
            "forecastLoss": round(shown.loss, 1),
            "replicas": dict(fleet.replicas),
            "dollarsPerHour": round(fleet.price, 4),
            "presentDollarsPerHour": round(shown.present, 4),
            "carried": round(fleet.carried, 1),
            "carriedWithout": {name: round(left, 1) for name, left in fleet.left.items()},
            "startedInTimeWithout": {name: round(left, 1) for name, left in fleet.made_good.items()},
            "needed": round(shown.needs.demand, 1),
            "neededWithout": round(shown.needs.without_any, 1),
        }
    }
