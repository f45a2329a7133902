"""The part of a strategy in a decision: it may see something in the snapshot, claim replicas in cost mode, and choose the weights there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from controller.policy.account import Figures
from controller.policy.case import Case
from controller.policy.model import Claim, Decision, Memory, PlannedFleet, PolicySettings, Snapshot, UnitEvidence

Weights = Mapping[str, int]
"""By unit."""


@dataclass(frozen=True, slots=True)
class StrategyPart:
    """The functions of a strategy; the defaults leave all to the modes.

    Attributes:
        observed: The memory after an observation, and what the strategy shows; the last argument says whether the memory may change.
        weights: The weights of cost mode.
        claims: Claims that say in cost mode how far the raised floors of some units sink.
        saved: What other weights save beside the present, and what is paid, US dollars per hour; None where the price of a request says it.
        waits_s: Seconds until each moment at which time alone may change a claim.
        scale_out_s: How long HPAs should wait before they add replicas, seconds.
        sentence: What the strategy does now, for people; "" where it does nothing of its own.
        document: The same as a part of a JSON document.
    """

    observed: Callable[[Memory, Snapshot, Figures, Mapping[str, UnitEvidence], bool], tuple[Memory, PlannedFleet | None]]
    weights: Callable[[Snapshot, Figures, PlannedFleet | None], Weights] = lambda _, figures, __: figures.cost
    claims: Callable[[Case], Iterable[Claim]] = lambda _: ()
    saved: Callable[[Case, Weights, Weights], tuple[float, float] | None] = lambda *_: None
    waits_s: Callable[[Memory, Snapshot], Iterable[float]] = lambda *_: ()
    scale_out_s: Callable[[PolicySettings], int] = lambda _: 0
    sentence: Callable[[Decision, Snapshot], str] = lambda *_: ""
    document: Callable[[Decision], Mapping[str, Any]] = lambda _: {}
