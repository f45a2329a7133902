"""What a run leaves: sums, switches, a timeline, and a digest that is equal for equal runs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

from controller.policy.ledger import Ledger
from controller.policy.model import Mode
from failover_analysis.simulation.measures import Measured
from failover_analysis.simulation.traffic import Flow

MOST_ROWS: Final = 200_000
"""Bound of the timeline; a run that would have more takes longer steps."""


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that did not hold.

    Attributes:
        name: Which.
        at: Seconds since the Unix epoch.
        text: What was found.
    """

    name: str
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Switch:
    """A mode change that was made.

    Attributes:
        at: Seconds since the Unix epoch.
        to: The mode it led to.
        verb: What the decision was.
        reason: Why, the machine name.
        sentence: Why, in words.
        needless: Of a failover: whether EC2 had room for every unit it was about.
    """

    at: float
    to: Mode
    verb: str
    reason: str
    sentence: str
    needless: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """The state of the world at one moment, and what flowed since the row before.

    Attributes:
        at: Seconds since the Unix epoch.
        mode: As the Ingress says.
        demand: Requests per metric period, mean since the last row.
        failed: Requests that failed since the last row.
        served: Requests per metric period by unit.
        latency_s: Mean latency by unit, seconds; 0 where it served nothing.
        ready: Ready replicas by unit.
        desired: Replicas asked for by unit.
        pending: Replicas without a node by unit.
        wanted: Weights that the Ingress asks for, by Service.
        live: Weights that the load balancer has, by Service.
        dollars_per_hour: Of the instances.
        out: Instance types that cannot grow: EC2 has no room in any zone, or the NodePool is at its limit.
        faults: Names of the faults that last.
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
        dollars: Of the instances: node-hours by their prices.
        seconds: By mode.
        exposed_s: Time in cost mode in which pods of a unit that carries weight waited and EC2 had no room for them.
        passes: How often it was decided.
        writes: Actions that took effect, by kind.
        refused: Actions that did not.
        harm: Requests that failed soon after a change of ours and would not have, had the routing been left alone.
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
    """What came of a run.

    Attributes:
        name: The setup's.
        seed: Of its chances.
        seconds: How long it lasted.
        totals: Sums.
        switches: Mode changes.
        rows: The timeline.
        faults: How often each fault was injected.
        violations: Invariants that did not hold.
        ledger: The account that the controller itself would have kept.
        digest: Equal for equal runs.
        measured: What a report wants to know besides; None where nobody asked.
    """

    name: str
    seed: int
    seconds: float
    totals: Totals
    switches: tuple[Switch, ...]
    rows: tuple[Row, ...]
    faults: dict[str, int]
    violations: tuple[Violation, ...]
    ledger: Ledger
    digest: str
    measured: Measured | None = None


class Digest:
    """A hash over everything that was decided, done and seen, in its order."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, *parts: object) -> None:
        """Takes one entry. Its parts must have a `repr` that is equal in every run: no sets, no object addresses."""
        self._hash.update(repr(parts).encode())

    def hexdigest(self) -> str:
        """The digest so far."""
        return self._hash.hexdigest()
