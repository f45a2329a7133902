"""The part of a strategy in a decision: it may see something in the snapshot, claim replicas in cost mode, and choose the weights there."""

# ruff: noqa: ARG002 - the part that adds nothing needs no argument

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from controller.policy.case import Case
from controller.policy.figures import Figures
from controller.policy.fleet import PlannedFleet
from controller.policy.floors import as_stored
from controller.policy.model import Claim, Decision, Memory, PolicySettings, Snapshot, UnitEvidence


class StrategyPart:
    """The part of a strategy that leaves all to the modes. Other strategies override some of it."""

    def observed(
        self, memory: Memory, snapshot: Snapshot, figures: Figures, evidence: Mapping[str, UnitEvidence], *, remembers: bool
    ) -> tuple[Memory, PlannedFleet | None]:
        """The memory after an observation, and what the strategy shows; this one forgets what another strategy remembered.

        Args:
            memory: What is remembered.
            snapshot: What is observed.
            figures: What follows from it.
            evidence: What is proven, by unit.
            remembers: Whether the observation may change the memory.
        """
        memory = as_stored(memory) if remembers else memory
        return (replace(memory, demand_history=None) if remembers and memory.demand_history else memory), None

    def weights(self, snapshot: Snapshot, figures: Figures, shown: PlannedFleet | None) -> Mapping[str, int]:
        """The weights of cost mode, by unit."""
        return figures.cost

    def claims(self, case: Case) -> Iterable[Claim]:
        """The claims that say in cost mode how far the raised floors of some units sink."""
        return ()

    def saved(self, case: Case, old: Mapping[str, int], new: Mapping[str, int]) -> tuple[float, float] | None:
        """What other weights save, and what is paid, US dollars per hour; None where the price of a request says it."""
        return None

    def waits_s(self, memory: Memory, snapshot: Snapshot) -> Iterable[float]:
        """Seconds until each moment at which time alone may change a claim."""
        return ()

    def scale_out_s(self, policy: PolicySettings) -> int:
        """How long the HPAs of an application should wait before they add replicas, seconds."""
        return 0

    def sentence(self, decision: Decision, snapshot: Snapshot) -> str:
        """What the strategy does now, for people; "" where it does nothing of its own."""
        return ""

    def document(self, decision: Decision) -> Mapping[str, Any]:
        """The same as a part of a JSON document."""
        return {}
