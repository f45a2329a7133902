"""An application file as values: the units, the Services that they share, and the settings of the policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from controller.policy.names import Strategy


class Cause(StrEnum):
    """Why a unit cannot get capacity. Each has its own evidence and alert: only CAPACITY passes by waiting."""

    CAPACITY = "capacity"
    QUOTA = "quota"
    NETWORK = "network"
    CONFIG = "config"
    UNKNOWN = "unknown"


CAUSE_PRECEDENCE: Final = (Cause.CAPACITY, Cause.UNKNOWN, Cause.QUOTA, Cause.NETWORK, Cause.CONFIG)
"""Which cause is reported where several are observed: the first of these."""


class RoutingStyle(StrEnum):
    """How capacity mode is routed: a Service over all pods, or the cost units' target groups weighted by their ready pods."""

    SINGLE_SERVICE = "single-service"
    IN_PLACE = "in-place"


class CapacityWeights(StrEnum):
    """How capacity mode shares the requests among ready replicas: by weights with the in-place style, else within one target group."""

    READY = "ready"  # the same share each (round robin): the slowest replicas limit the whole
    READY_THROUGHPUT = "ready-throughput"  # in proportion to throughput (least outstanding requests)


class PlannedMode(StrEnum):
    """What strategy planned does with the cheapest fleet."""

    SHADOW = "shadow"  # it is shown, and nothing follows from it
    LIVE = "live"  # the floors of cost mode follow it


OF_PLANNED: Final[Mapping[str, Strategy]] = {"strategy": Strategy.PLANNED}
"""Metadata of a setting that no other strategy uses."""


class ReturnProbe(StrEnum):
    """How it is found out whether a unit's capacity has returned, while nobody else asks EC2 for it."""

    CANARY = "canary"  # a pod that waits: Karpenter asks about every three minutes
    RESERVATION = "reservation"  # a capacity reservation that is made and cancelled at once; the canary where EC2 does not answer
    NONE = "none"


class WeightStrategy(StrEnum):
    """Where a unit's base weight in cost mode comes from."""

    EXPLICIT = "explicit"
    INVERSE_COST = "inverse-cost"
    THROUGHPUT_PER_COST_LATENCY = "throughput-per-cost-latency"
    MERIT_ORDER = "merit-order"
    READY_PROPORTIONAL = "ready-proportional"


class WorkloadKind(StrEnum):
    """What keeps a unit's pods, as its object's `kind` says."""

    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"
    ROLLOUT = "Rollout"
    LEADER_WORKER_SET = "LeaderWorkerSet"


@dataclass(frozen=True, slots=True)
class Backend:
    """A Service as an action names it. `port` is the literal: 80 and "http" make two different target groups."""

    service: str
    port: int | str


@dataclass(frozen=True, slots=True)
class Unit:
    """A deployment unit: one model on one device with one framework."""

    name: str
    backend: Backend
    deployment: str  # the name of its workload, a Deployment unless `workload_kind` says otherwise
    node_pool: str
    instance_type: str
    price_per_hour: float
    throughput: float
    latency_s: float
    model: str = ""
    device: str = ""
    framework: str = ""
    weight: int | None = None
    instance_types: tuple[str, ...] = ()  # every type that its NodePool may launch for it; (): as the NodePool says
    zones: tuple[str, ...] = ()  # every zone that it may run in; (): as the NodePool and the Deployment say
    latency_limit_s: float = 0.9
    cold_start_s: float = 600.0
    scaled_object: str | None = None
    min_replicas: int = 1
    max_replicas: int = 100
    probe: ReturnProbe = ReturnProbe.CANARY
    counter_metric: str = ""
    latency_metric: str = ""
    workload_kind: WorkloadKind = WorkloadKind.DEPLOYMENT  # of what `deployment` names

    @property
    def workload(self) -> str:
        """The kind and the name of its workload, for people."""
        return f"{self.workload_kind} {self.deployment}"


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """Everything that a person may tune about the decision. `controller.catalog.application.PolicyFile` explains the defaults."""

    strategy: Strategy = Strategy.TWO_MODE
    weight_strategy: WeightStrategy = WeightStrategy.EXPLICIT
    trip_causes: frozenset[Cause] = frozenset({Cause.CAPACITY, Cause.QUOTA, Cause.NETWORK, Cause.UNKNOWN})
    failover_utilization: float = 1.1
    patience_s: float = 10.0
    quiet_s: float = 600.0
    dwell_capacity_s: float = 600.0
    flips_per_hour: int = 4
    hold_min_s: float = 300.0
    hold_max_s: float = 14_400.0
    stickiness_cost_s: int = 0
    stickiness_capacity_s: int = 0
    capacity_weights: CapacityWeights = CapacityWeights.READY
    verify_alert_s: float = 60.0
    rollback_s: float = 0.0
    allow_unsafe_switch: bool = False
    resilience_share: float = field(default=0.8, metadata=OF_PLANNED)
    resilience_s: float = field(default=0.0, metadata=OF_PLANNED)
    planned_mode: PlannedMode = field(default=PlannedMode.SHADOW, metadata=OF_PLANNED)

    @property
    def plans_floors(self) -> bool:
        """Whether the floors of cost mode follow the cheapest fleet."""
        return self.strategy is Strategy.PLANNED and self.planned_mode is PlannedMode.LIVE


@dataclass(frozen=True, slots=True)
class Route:
    """The object that routes an application's requests, and which part of it.

    Attributes:
        name: Its name.
        part: What of it carries the application's targets: of an Ingress the name of its action; of an HTTPRoute or a GRPCRoute the name of
            its rule, or the rule's index where none has such a name.
        kind: As `controller.routing.kinds` lists it.
        namespace: Its namespace; "" for the application's.
    """

    name: str
    part: str
    kind: str = "Ingress"
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Application:
    """One routing object and its deployment units.

    Attributes:
        namespace: Of the Services, the workloads and the ScaledObjects.
    """

    name: str
    namespace: str
    route: Route
    capacity: Backend
    units: tuple[Unit, ...]
    routing_style: RoutingStyle = RoutingStyle.SINGLE_SERVICE
    policy: PolicySettings = field(default_factory=PolicySettings)
    metric_namespace: str = ""
    metric_period_s: int = 60

    @property
    def key(self) -> str:
        """``namespace/name`` of the routing object: unique over all applications, whatever its kind."""
        return f"{self.routing_namespace}/{self.route.name}"

    @property
    def routing_namespace(self) -> str:
        """The namespace of the routing object."""
        return self.route.namespace or self.namespace

    @property
    def services(self) -> tuple[str, ...]:
        """The Services that its actions name: the one over all pods, then the units'."""
        return (self.capacity.service, *(unit.backend.service for unit in self.units))

    @property
    def routing_object(self) -> str:
        """Kind, namespace and name of the routing object, for people."""
        return f"{self.route.kind} {self.key}"

    @property
    def ports(self) -> dict[str, int | str]:
        """The port of each of them, as the application file writes it."""
        return {one.service: one.port for one in (self.capacity, *(unit.backend for unit in self.units))}

    @property
    def scaled_objects(self) -> tuple[str, ...]:
        """The names of the units' ScaledObjects."""
        return tuple(unit.scaled_object for unit in self.units if unit.scaled_object is not None)

    def unit(self, name: str) -> Unit:
        """The unit of that name.

        Raises:
            KeyError: If there is none.
        """
        for unit in self.units:
            if unit.name == name:
                return unit
        raise KeyError(name)
