"""The input of a run as plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from controller.policy.model import Application, Mode, Override
from failover_analysis.simulation.outages import Outage
from failover_testbed.capacity.ec2 import FleetAnswer

ZONES: Final = ("us-west-2a", "us-west-2b", "us-west-2c")
"""The zones of the AWS sample's cluster."""

INTERVAL_S: Final = 15.0
"""Longest time between two passes, seconds: the default of ``polls.tick_interval_s``."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A NodePool's limit from a time on: the maximum number of nodes, None for no limit."""

    at_s: float
    node_pool: str
    nodes: int | None


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """A planned fault.

    Attributes:
        at_s: Begin, seconds from the start.
        name: The fault, see `failover_analysis.simulation.faults`.
        seconds: How long it lasts.
        unit: The unit that it is about; "" if none.
        value: A number from 0 to 1 that the fault scales as it needs.
    """

    at_s: float
    name: str
    seconds: float
    unit: str = ""
    value: float = 0.5


class Algorithm(StrEnum):
    """How the target groups choose a target (``load_balancing.algorithm.type``)."""

    ROUND_ROBIN = "round_robin"  # the default, and the AWS sample's
    LEAST_OUTSTANDING = "least_outstanding_requests"


class Installed(StrEnum):
    """What may change the routing and the scalers in a run."""

    CONTROLLER = "controller"
    AWS_SAMPLE = "aws-sample"  # its checker alone, see `failover_analysis.simulation.aws_sample`
    PRIORITY_LIST = "priority-list"  # one fleet over all types, the cheapest first, see `failover_analysis.simulation.priority_list`
    NOTHING = "nothing"  # static weights and KEDA: no mode change, no new weights, no floors, and nobody repairs a foreign edit


@dataclass(frozen=True, slots=True)
class Setup:
    """One run.

    Attributes:
        name: The name for people.
        application: As its file describes it.
        start: Start time, seconds since the Unix epoch.
        seconds: Length of the run.
        demand: Requests per metric period by seconds from the start.
        noise: Standard deviation of the demand in a step, as a share of it.
        mode: The mode at the start.
        zones: Zones of the region.
        fleet: How EC2 answers a fleet request that it cannot fill.
        scale_in_s: How long the HPA of a unit waits before it removes replicas, by unit; None: it never does. One that is missing waits as
            long as by default.
        capacity_types: What each NodePool may launch; one that is missing launches on-demand instances.
        outages: When EC2 has no capacity.
        limits: NodePool limits.
        faults: Faults besides capacity.
        override: The override that an operator set before the start.
        installed: What may change the routing and the scalers.
        interval_s: Longest time between two passes, seconds.
        algorithm: How the target groups choose a target.
        row_s: Seconds per row of the timeline; 0: no timeline.
    """

    name: str
    application: Application
    start: float
    seconds: float
    demand: Callable[[float], float]
    noise: float = 0.0
    mode: Mode = Mode.COST
    zones: tuple[str, ...] = ZONES
    fleet: FleetAnswer = FleetAnswer.ONE_ZONE
    scale_in_s: Mapping[str, float | None] = field(default_factory=dict)
    capacity_types: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    outages: tuple[Outage, ...] = ()
    limits: tuple[Limit, ...] = ()
    faults: tuple[FaultPlan, ...] = ()
    override: Override = field(default_factory=Override)
    installed: Installed = Installed.CONTROLLER
    interval_s: float = INTERVAL_S
    algorithm: Algorithm = Algorithm.ROUND_ROBIN
    row_s: float = 0.0
