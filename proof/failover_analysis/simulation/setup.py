"""What a run is given: plain values, however they came about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from controller.policy.model import Application, Mode, Override
from failover_analysis.simulation.outages import Outage

ZONES: Final = ("us-west-2a", "us-west-2b", "us-west-2c")
"""The zones of the source's cluster."""

INTERVAL_S: Final = 15.0
"""``polls.tick_interval_s``, the default: longest time between two passes, seconds."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A NodePool's limit from some moment on: most nodes, None for none."""

    at_s: float
    node_pool: str
    nodes: int | None


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """A fault that is to happen.

    Attributes:
        at_s: When, seconds from the start.
        name: Which, see `failover_analysis.simulation.faults`.
        seconds: How long it lasts.
        unit: The unit that it is about, "" where it is about none.
        value: What else it is given: a number between 0 and 1, which it scales as it likes.
    """

    at_s: float
    name: str
    seconds: float
    unit: str = ""
    value: float = 0.5


class Algorithm(StrEnum):
    """How the target groups choose a target (``load_balancing.algorithm.type``)."""

    ROUND_ROBIN = "round_robin"  # the default, and the source's
    LEAST_OUTSTANDING = "least_outstanding_requests"


@dataclass(frozen=True, slots=True)
class Setup:
    """One run.

    Attributes:
        name: For people.
        application: As its file describes it.
        start: The first moment, seconds since the Unix epoch.
        seconds: How long it lasts.
        demand: Requests per metric period by seconds from the start.
        noise: Standard deviation of the demand in a step, as a share of it.
        mode: At the start.
        zones: Of the region.
        outages: When EC2 has no room.
        limits: Of NodePools.
        faults: What else goes wrong.
        override: What an operator wrote on the Ingress before the start.
        interval_s: Longest time between two passes, seconds.
        algorithm: How the target groups choose a target.
        row_s: Seconds of one row of the timeline; 0: none is kept.
    """

    name: str
    application: Application
    start: float
    seconds: float
    demand: Callable[[float], float]
    noise: float = 0.0
    mode: Mode = Mode.COST
    zones: tuple[str, ...] = ZONES
    outages: tuple[Outage, ...] = ()
    limits: tuple[Limit, ...] = ()
    faults: tuple[FaultPlan, ...] = ()
    override: Override = field(default_factory=Override)
    interval_s: float = INTERVAL_S
    algorithm: Algorithm = Algorithm.ROUND_ROBIN
    row_s: float = 0.0
