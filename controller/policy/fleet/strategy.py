"""The part of strategy `planned` in a decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from controller.policy.account import Figures
from controller.policy.case import Case
from controller.policy.fleet.expected import noted_demand
from controller.policy.fleet.floors import SCALE_OUT_S, followed, held, planned_claims, sinks_in_s
from controller.policy.fleet.planned import planned
from controller.policy.fleet.weights import beyond, planned_weights
from controller.policy.fleet.words import document, planned_sentence
from controller.policy.model import Memory, PlannedFleet, Snapshot, UnitEvidence
from controller.policy.strategy import StrategyPart, Weights


def _observed(
    memory: Memory, snapshot: Snapshot, figures: Figures, evidence: Mapping[str, UnitEvidence], remembers: bool
) -> tuple[Memory, PlannedFleet | None]:
    """Notes the demand where all of it is known, as a part would be learned as a fall, and how long floors have been sinking."""
    if remembers and figures.whole_demand is not None:
        memory = replace(memory, demand_history=noted_demand(memory.demand_history, snapshot.now, figures.whole_demand))
    fleet = planned(snapshot, figures, evidence, memory)
    fleet = replace(fleet, held=held(snapshot)) if fleet is not None and fleet.live else fleet
    return (followed(memory, snapshot, fleet) if remembers else memory), fleet


def _weights(snapshot: Snapshot, figures: Figures, shown: PlannedFleet | None) -> Weights:
    if shown is None or not shown.followed:
        return figures.cost
    return planned_weights(snapshot.application, figures.serving, figures.whole_demand, shown)


def _saved(case: Case, old: Weights, new: Weights) -> tuple[float, float] | None:
    """Each replica of the fleet is paid whether it gets requests or not: only those beyond it are saved."""
    application, shown, demand = case.snapshot.application, case.planned, case.figures.demand
    if shown is None or not shown.followed or demand is None:
        return None
    return beyond(application, old, demand, shown) - beyond(application, new, demand, shown), shown.fleet.price


PLANNED: Final = StrategyPart(
    observed=_observed,
    weights=_weights,
    claims=lambda case: planned_claims(case.snapshot, case.memory, case.evidence, case.planned),
    saved=_saved,
    waits_s=sinks_in_s,
    scale_out_s=lambda policy: SCALE_OUT_S if policy.plans_floors else 0,
    sentence=planned_sentence,
    document=lambda decision: document(decision.planned),
)
"""With `plannedMode: live` floors and weights of cost mode follow the cheapest fleet."""
