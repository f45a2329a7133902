"""The result of a run: sums, mode changes, a timeline, and a digest that is equal for equal runs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

from controller.policy.account import Ledger
from controller.policy.model import Mode
from failover_analysis.simulation.measures import Measured
from failover_analysis.simulation.traffic import Flow

MOST_ROWS: Final = 200_000
"""Bound of the timeline. A run that would have more rows takes longer steps."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A violation of an invariant.

    Attributes:
        name: The invariant.
        at: Seconds since the Unix epoch.
        text: What was found.
    """

    name: str
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class SimulatedChange:
    """A mode change that took effect.

    Attributes:
        at: Seconds since the Unix epoch.
        to: The new mode.
        verb: The decision's verb.
        reason: The reason code.
        sentence: The reason as a sentence.
        needless: Of a failover: whether EC2 had capacity for every unit that it was about.
    """

    at: float
    to: Mode
    verb: str
    reason: str
    sentence: str
    needless: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """The state of the world at one moment, and the traffic since the row before.

    Attributes:
        at: Seconds since the Unix epoch.
        mode: The Ingress's mode.
        demand: Mean requests per metric period since the last row.
        failed: Requests that failed since the last row.
        served: Requests per metric period by unit.
        latency_s: Mean latency by unit, seconds; 0 if it served nothing.
        ready: Ready replicas by unit.
        desired: Desired replicas by unit.
        pending: Replicas without a node by unit.
        wanted: Weights that the Ingress asks for, by Service.
        live: Weights of the live rule, by Service.
        dollars_per_hour: Cost of the instances.
        out: Instance types that cannot grow: EC2 has no capacity in any zone, or the NodePool is at its limit.
        faults: Names of the active faults.
    """

    at: float
    mode: str
    demand: float
    failed: float
    served: dict[str, float]
    latency_s: dict[str, float]
    ready: dict[str, int]
    desired: dict[str, int]
    pending: dict[str, int]
    wanted: dict[str, int]
    live: dict[str, int]
    dollars_per_hour: float
    out: tuple[str, ...]
    faults: tuple[str, ...]


@dataclass(slots=True)
class Totals:
    """Sums over a run.

    Attributes:
        flow: Requests.
        dollars: Cost of the instances: node-hours at their prices.
        seconds: Time in each mode.
        exposed_s: Time in cost mode during which pods of a unit with weight waited for capacity that EC2 did not have.
        passes: Number of decisions.
        writes: Actions that took effect, by kind.
        refused: Number of actions that did not take effect.
        harm: Requests that failed soon after one of our changes and that the old routing would have served.
    """

    flow: Flow = field(default_factory=Flow)
    dollars: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)
    exposed_s: float = 0.0
    passes: int = 0
    writes: dict[str, int] = field(default_factory=dict)
    refused: int = 0
    harm: float = 0.0


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a run.

    Attributes:
        name: The setup's name.
        seed: The run's seed.
        seconds: Length of the run.
        totals: Sums over the run.
        mode_changes: Mode changes.
        rows: The timeline.
        faults: How often each fault was injected.
        violations: Violations of invariants.
        ledger: The account that the controller itself would have kept.
        digest: Equal for equal runs.
        measured: What a report shows besides; None if the run was not measured.
    """

    name: str
    seed: int
    seconds: float
    totals: Totals
    mode_changes: tuple[SimulatedChange, ...]
    rows: tuple[Row, ...]
    faults: dict[str, int]
    violations: tuple[Violation, ...]
    ledger: Ledger
    digest: str
    measured: Measured | None = None


class Digest:
    """A hash over every decision, action and observation, in order."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, *parts: object) -> None:
        """Adds one entry. Its parts must have a `repr` that is equal in every run: no sets, no object addresses."""
        self._hash.update(repr(parts).encode())

    def hexdigest(self) -> str:
        """The digest so far."""
        return self._hash.hexdigest()
