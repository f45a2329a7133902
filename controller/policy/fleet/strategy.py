"""The part of strategy `planned` in a decision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from controller.policy.case import Case
from controller.policy.figures import Figures
from controller.policy.fleet.expected import noted_demand
from controller.policy.fleet.floors import SCALE_OUT_S, followed, held, planned_claims, sinks_in_s
from controller.policy.fleet.planned import planned
from controller.policy.fleet.values import PlannedFleet
from controller.policy.fleet.weights import beyond, planned_weights
from controller.policy.fleet.words import document, planned_sentence
from controller.policy.model import Claim, Decision, Memory, PolicySettings, Snapshot, UnitEvidence
from controller.policy.strategy import StrategyPart


class Planned(StrategyPart):
    """See `StrategyPart`; in cost mode floors and weights follow the cheapest fleet, with `plannedMode: live`."""

    def observed(
        self, memory: Memory, snapshot: Snapshot, figures: Figures, evidence: Mapping[str, UnitEvidence], *, remembers: bool
    ) -> tuple[Memory, PlannedFleet | None]:
        """Notes the demand where all of it is known, a part would be learned as a fall, and the windows of floors that may sink."""
        if remembers and figures.whole_demand is not None:
            memory = replace(memory, demand_history=noted_demand(memory.demand_history, snapshot.now, figures.whole_demand))
        fleet = planned(snapshot, figures, evidence, memory)
        fleet = replace(fleet, held=held(snapshot)) if fleet is not None and fleet.live else fleet
        return (followed(memory, snapshot, fleet) if remembers else memory), fleet

    def weights(self, snapshot: Snapshot, figures: Figures, shown: PlannedFleet | None) -> Mapping[str, int]:
        """Each replica of the fleet gets the same share of its throughput."""
        if shown is None or not shown.followed:
            return figures.cost
        return planned_weights(snapshot.application, figures.serving, figures.whole_demand, shown)

    def claims(self, case: Case) -> Iterable[Claim]:
        """The replicas of the fleet, and those that may not go yet."""
        return planned_claims(case.snapshot, case.memory, case.evidence, case.planned)

    def saved(self, case: Case, old: Mapping[str, int], new: Mapping[str, int]) -> tuple[float, float] | None:
        """Each replica of the fleet is paid whether it gets requests or not: only those beyond it are saved."""
        application, shown, demand = case.snapshot.application, case.planned, case.figures.demand
        if shown is None or not shown.followed or demand is None:
            return None
        return beyond(application, old, demand, shown) - beyond(application, new, demand, shown), shown.fleet.price

    def waits_s(self, memory: Memory, snapshot: Snapshot) -> Iterable[float]:
        """Until floors sink."""
        return sinks_in_s(memory, snapshot)

    def scale_out_s(self, policy: PolicySettings) -> int:
        """Until floors have followed the demand."""
        return SCALE_OUT_S if policy.plans_floors else 0

    def sentence(self, decision: Decision, snapshot: Snapshot) -> str:
        """The fleet, and whether floors follow it."""
        return planned_sentence(decision, snapshot)

    def document(self, decision: Decision) -> Mapping[str, Any]:
        """The fleet."""
        return document(decision.planned)
