"""The values that the policy reads and returns.

All times are seconds since the Unix epoch, all durations seconds, all prices US dollars per hour. Throughput and demand are in
requests per metric period (what the AWS sample calls RPS: the sum of a unit's counter over one CloudWatch period).
Tuples, not lists: what a decision was made from cannot change afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, NamedTuple

from controller.policy.fleet import DemandHistory, PlannedFleet
from controller.policy.names import MOMENT as MOMENT  # noqa: PLC0414 - as Mode
from controller.policy.names import Mode as Mode  # noqa: PLC0414 - given on: the policy's values are imported from here
from controller.policy.names import Strategy as Strategy  # noqa: PLC0414 - as Mode
from controller.policy.reasons import CLAIMS, ClaimReason, Reason, Row, fill


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


class WeightStrategy(StrEnum):
    """Where a unit's base weight in cost mode comes from."""

    EXPLICIT = "explicit"
    INVERSE_COST = "inverse-cost"
    THROUGHPUT_PER_COST_LATENCY = "throughput-per-cost-latency"
    MERIT_ORDER = "merit-order"
    READY_PROPORTIONAL = "ready-proportional"


# --- what the application file says -----------------------------------------------------------------------------------------------------


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
    deployment: str
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
    counter_metric: str = ""
    latency_metric: str = ""


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
    canary: bool = True
    stickiness_cost_s: int = 0
    stickiness_capacity_s: int = 0
    capacity_weights: CapacityWeights = CapacityWeights.READY
    verify_alert_s: float = 60.0
    rollback_s: float = 0.0
    allow_unsafe_switch: bool = False
    resilience_share: float = field(default=0.8, metadata=OF_PLANNED)
    planned_mode: PlannedMode = field(default=PlannedMode.SHADOW, metadata=OF_PLANNED)

    @property
    def plans_floors(self) -> bool:
        """Whether the floors of cost mode follow the cheapest fleet."""
        return self.strategy is Strategy.PLANNED and self.planned_mode is PlannedMode.LIVE


class Route(NamedTuple):
    """An application's routing object: its kind, as `controller.routing.kinds` lists it, and its name."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Application:
    """One Ingress and its deployment units."""

    name: str
    namespace: str
    ingress: str
    action: str
    capacity: Backend
    units: tuple[Unit, ...]
    routing_style: RoutingStyle = RoutingStyle.SINGLE_SERVICE
    policy: PolicySettings = field(default_factory=PolicySettings)
    metric_namespace: str = ""
    metric_period_s: int = 60

    @property
    def key(self) -> str:
        """``namespace/ingress``: unique over all applications."""
        return f"{self.namespace}/{self.ingress}"

    @property
    def route(self) -> Route:
        """The object that routes its requests."""
        return Route("ingress", self.ingress)

    @property
    def services(self) -> tuple[str, ...]:
        """The Services that its actions name: the one over all pods, then the units'."""
        return (self.capacity.service, *(unit.backend.service for unit in self.units))

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


# --- what is observed -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Refusal:
    """A signal: Karpenter's launch of one NodeClaim failed.

    `instance_types`, `zones` and `capacity_types` are those that the NodeClaim allowed; an empty tuple means that it did not restrict them.
    `inexact` lists those of these fields that do not say everything (`NotIn`, `Exists`); `says` is to be asked. `named_type`
    and `named_zone` are those that the (truncated) message names first, `offerings` all pairs of type and zone that it names. `attempt`
    is equal for the claims of one batch, which share one fleet call. `stamp` and `created` (of the NodeClaim; None where it was never
    observed) are of the cluster's clock, `at` and `seen` are of ours.
    `order` counts what the watches delivered; it is 0 for what came in a list, whose order is not known.
    """

    claim: str
    pool: str
    at: float
    cause: Cause
    codes: tuple[str, ...]
    attempt: str
    seen: float = 0.0  # when we first observed it; `at` is cut to whole seconds, too coarse to order it with a replacement's mark
    instance_types: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    capacity_types: tuple[str, ...] = ()
    requirements_known: bool = True  # False: its NodeClaim was never observed
    truncated: bool = False  # the message was cut: there may be more codes than `codes`
    named_type: str = ""
    named_zone: str = ""
    offerings: tuple[tuple[str, str], ...] = ()
    stamp: float | None = None  # None: as `at`
    created: float | None = None
    order: int = 0
    replacement: bool = False  # launched by consolidation or drift: the old node still serves
    source: str = "event"  # or "create-error": from a condition of the NodeClaim, without an event
    stood_until: float | None = None  # of a create error: when it was last there, which is now while its NodeClaim exists; None: at `at`
    inexact: tuple[str, ...] = ()
    pool_capacity_types: tuple[str, ...] = ()  # what its NodePool may launch; () where that is not known

    def says(self, *fields: str) -> bool:
        """Whether these of its fields are all that its NodeClaim allowed."""
        return self.requirements_known and not any(one in self.inexact for one in fields)

    @property
    def open_capacity_types(self) -> tuple[str, ...]:
        """The capacity types that the launch may have asked for, as its NodeClaim says, else its NodePool; () where neither does."""
        said = self.requirements_known and "capacity_types" not in self.inexact
        return (self.capacity_types if said else ()) or self.pool_capacity_types

    @property
    def last_at(self) -> float:
        """When it was last there, seconds since the Unix epoch."""
        return self.at if self.stood_until is None else max(self.at, self.stood_until)


@dataclass(frozen=True, slots=True)
class Launch:
    """A signal: a NodeClaim that got an instance.

    `created` is the cluster's clock, `asked_at` the same moment by ours, never after it was first seen (None: as `created`).
    `order` counts as in `Refusal`. `devices` is the number of accelerators that its pods request together, 0 where that is not known.
    `gone` says that the NodeClaim does not exist any more, or is being deleted; `unjoined_at` is when its deletion began, of one whose
    instance has never joined.
    """

    claim: str
    pool: str
    created: float
    launched: float
    registered: float | None = None
    initialized: float | None = None
    instance_type: str = ""
    zone: str = ""
    capacity_type: str = ""
    order: int = 0
    devices: int = 0
    gone: bool = False
    asked_at: float | None = None
    unjoined_at: float | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """Instances of a NodePool that exist now, by what they run in.

    `reservation` is the id of a capacity reservation, "" outside any. `block` says that it is a Capacity Block.
    """

    instance_type: str
    reservation: str
    count: int
    block: bool = False


@dataclass(frozen=True, slots=True)
class PoolObservation:
    """What is known of one NodePool within the windows of the policy."""

    name: str
    exists: bool = True  # False: the NodePools are known, and it is not among them
    failures: tuple[Refusal, ...] = ()
    launches: tuple[Launch, ...] = ()
    elsewhere: tuple[Refusal, ...] = ()  # refusals through other NodePools of types that this one may launch
    blocked_at: float | None = None  # last NoCompatibleInstanceTypes: proves a shortage with a refusal before it, never alone
    instance_types: tuple[str, ...] = ()  # from its requirements; (): not restricted there
    zones: tuple[str, ...] = ()
    capacity_types: tuple[str, ...] = ()
    at_limit: str = ""  # a sentence about the limit that is reached; "" below it
    ready: bool = True
    problem: str = ""
    launchable: tuple[str, ...] = ()  # the types that it may launch for the unit's pods, as far as they are known; (): not known
    open_family: bool = False  # it allows types of which nobody knows, as those of a family that the catalog lacks: not in `launchable`
    beyond_limit: tuple[str, ...] = ()  # those of them that no longer fit under its limits
    held: tuple[Held, ...] = ()  # all its instances, where some of them run in a reservation; else ()


@dataclass(frozen=True, slots=True)
class PendingPod:
    """A pod that the scheduler calls Unschedulable, and since when.

    `pools` and `instance_types` are the NodePools and types that it may use, () where it names none. `unavailable` lists the NodePools in
    which Karpenter found no available offering for it, and when. `devices` is the number of accelerators that it requests. `unplaced_at` is
    when Karpenter last found no place for it at all, which includes every instance that was on its way by then; None: it has said nothing.
    """

    name: str
    since: float
    pools: tuple[str, ...] = ()
    instance_types: tuple[str, ...] = ()
    unavailable: tuple[tuple[str, float], ...] = ()
    devices: int = 0
    unplaced_at: float | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured value and the end of the period that it belongs to."""

    value: float
    at: float


SCALE_IN_S: Final = 300.0
"""Default ``behavior.scaleDown.stabilizationWindowSeconds`` of a HorizontalPodAutoscaler, seconds."""


@dataclass(frozen=True, slots=True)
class ScalerMetric:
    """What the trigger of a ScaledObject counts, as far as it says.

    Attributes:
        period_s: ``metricStatPeriod``, seconds; None where it says nothing.
        statistic: ``metricStat``, or the function of the expression: ``Sum``, ``SUM``; "" where an expression has none that is understood.
        namespace: CloudWatch's namespace; "" where it says none, as with an expression.
        kind: ``metricType``; "" where it says nothing.
    """

    period_s: int | None = None
    statistic: str = ""
    namespace: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Scaler:
    """A unit's KEDA ScaledObject as observed."""

    name: str
    resource_version: str
    min_replicas: int
    max_replicas: int
    target: str = ""  # targetMetricValue of the trigger, a string as in YAML
    trigger_index: int | None = None  # None: no trigger of the unit's metric was found
    floor_ours: bool = True  # we set min_replicas; a floor that somebody else set is never lowered
    paused: bool = False
    trouble: str = ""  # why KEDA does not scale the unit by its metric, as its conditions say; "" where it does
    lasting: bool = False  # the trouble is more than a single failed query
    uid: str = ""  # "" only in recordings of versions that did not note it
    idle_replicas: int | None = None  # what KEDA scales to while no trigger is active, whatever the floor; None: the floor
    formula: bool = False  # the target of scalingModifiers.formula counts, and none of a trigger
    metric: ScalerMetric | None = None  # what the trigger counts; None: no trigger was found, or a recording did not note it
    scales: str = ""  # the Deployment that it scales; "" where it says none, or something else than a Deployment
    scale_in_s: float | None = SCALE_IN_S  # how long fewer replicas must suffice before its HPA removes some; None: it never does
    scale_out_s: float = 0.0  # how long more replicas must be asked for before its HPA adds some


@dataclass(frozen=True, slots=True)
class Reservation:
    """A signal: an active capacity reservation of the account, as EC2 described it last.

    `total` counts instances, `free` those that may be launched now. `block` says that it is a Capacity Block: EC2 terminates its
    instances before `ends_at`. When any other reservation ends, its instances go on as on-demand ones. `targeted` says that only launches
    that name it may use it. `ends_at` is None where it has no end.
    """

    id: str
    instance_type: str
    zone: str
    free: int = 0
    total: int = 0
    block: bool = False
    targeted: bool = False
    ends_at: float | None = None


class PriceSource(StrEnum):
    """Where a price comes from."""

    FILE = "file"
    KARPENTER = "karpenter"
    PRICE_LIST = "price-list"

    @property
    def named(self) -> str:
        """For people."""
        return _PRICE_SOURCES[self]


_PRICE_SOURCES: Final[Mapping[PriceSource, str]] = {
    PriceSource.FILE: "the application file",
    PriceSource.KARPENTER: "Karpenter's gauge",
    PriceSource.PRICE_LIST: "AWS's price list",
}


@dataclass(frozen=True, slots=True)
class Price:
    """What a replica of a unit costs now, and who says so.

    `dollars` are US dollars per hour, the average over the nodes that run. `at` is when it was read, None for the application file.
    `problem` says which price of a source was not plausible, so that the application file's counts; "" where there was none.
    """

    dollars: float
    source: PriceSource
    at: float | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class UnitObservation:
    """What is known of one deployment unit."""

    unit: str
    pool: PoolObservation
    pending: tuple[PendingPod, ...] = ()
    waiting_since: float | None = None  # since when pods have waited without a break or a launch, also ones that were replaced meanwhile
    desired: int | None = None  # the Deployment's spec.replicas
    ready: int | None = None  # ready replicas; the smaller of Deployment and EndpointSlices where both are known
    deployment_ready: int | None = None
    endpoints_ready: int | None = None
    service_exists: bool | None = None
    pod_zones: tuple[str, ...] = ()  # zones, types and capacity types that the Deployment's own template pins
    pod_instance_types: tuple[str, ...] = ()
    pod_capacity_types: tuple[str, ...] = ()
    demand: Sample | None = None
    latency: Sample | None = None
    scaler: Scaler | None = None
    offered_zones: tuple[str, ...] = ()  # zones in which EC2 sells the type at all
    alternatives: tuple[PoolObservation, ...] = ()  # further NodePools that its waiting pods may use
    reservations: tuple[Reservation, ...] | None = None  # active ones of its instance types; None: not known
    blocks: tuple[Reservation, ...] = ()  # Capacity Blocks whose end is known, also ones that ended within a day
    notes: tuple[str, ...] = ()  # quota headroom, reservations: shown to people, not used by decisions
    unavailable: tuple[tuple[str, str, str], ...] = ()  # type, zone, capacity type that Karpenter's metrics call unavailable, while fresh
    price: Price | None = None  # where the price of its replicas comes from; the application of the snapshot has the price itself


@dataclass(frozen=True, slots=True)
class Target:
    """One weighted Service of a forward action."""

    service: str
    port: int | str
    weight: int


CRITICAL: Final = "critical: "
"""Starts the problem of a verification whose live rule answers requests itself and does not forward them: page someone."""


class Verdict(StrEnum):
    """What the load balancer shows of the routing that the Ingress asks for."""

    YES = "yes"
    NOT_YET = "not-yet"
    CANNOT_TELL = "cannot-tell"


@dataclass(frozen=True, slots=True)
class Verification:
    """A signal: the load balancer's rules compared with one action. It counts for that action only."""

    verdict: Verdict
    at: float
    problem: str = ""
    action: str = ""  # `RoutingObservation.action` that was compared; "" where nothing can be compared
    applied: bool = False  # the rules are as the action says, whatever the health of the targets
    weights: Mapping[str, int] = field(default_factory=dict)  # live weights by Service, as far as known
    healthy: Mapping[str, int] = field(default_factory=dict)  # healthy targets by Service, as far as known
    healthy_at: float | None = None  # when those were counted; None: at `at`
    healthy_for_s: float | None = None  # how long they stay valid, where that is longer than usual
    counted: Mapping[str, int] = field(default_factory=dict)  # the last count of each Service, however old, of target groups it still has
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # the ARNs of each Service's target groups at `at`
    ill_since: Mapping[str, float] = field(default_factory=dict)  # Services with ready endpoints and no healthy target, and since when

    @property
    def why(self) -> str:
        """`problem`, or that nobody said one: never empty, so that it can follow a colon."""
        return self.problem or "no reason is known"

    @property
    def counted_at(self) -> float:
        """When the healthy targets were counted, seconds since the Unix epoch."""
        return self.at if self.healthy_at is None else self.healthy_at


@dataclass(frozen=True, slots=True)
class OpenGates:
    """A signal: ready pods of a Service whose readiness gate of the load-balancer controller is true.

    It sets a gate once the pod is a healthy target of the gate's target group. `count` has the gates that became true since that target
    group exists, `lately` those of them that did so after the load balancer's targets were counted last.
    """

    count: int
    lately: int = 0


@dataclass(frozen=True, slots=True)
class Override:
    """What operators asked for through annotations on the Ingress: a pause, a pin, or both. The controller reads it and never writes it.

    Each has an end, a reason and an author of its own, "" where none is stated. The author is who the annotation says.
    """

    paused_until: float | None = None
    paused_why: str = ""
    paused_by: str = ""
    pinned_mode: Mode | None = None
    pinned_until: float | None = None
    pinned_why: str = ""
    pinned_by: str = ""
    problem: str = ""  # an annotation that cannot be read: counts as paused

    def pauses(self, now: float) -> bool:
        """Whether a pause that can be read has not ended, at `now` (seconds since the Unix epoch)."""
        return self.paused_until is not None and now < self.paused_until

    def pin(self, now: float) -> Mode | None:
        """The mode that a pin asks for at `now` (seconds since the Unix epoch); None without one, or after its end."""
        return None if self.pinned_until is not None and now >= self.pinned_until else self.pinned_mode

    def standing(self, now: float) -> Override:
        """The same without a pause and a pin that have ended at `now` (seconds since the Unix epoch): their annotations may stay."""
        left = self if self.pauses(now) else replace(self, paused_until=None, paused_why="", paused_by="")
        if self.pin(now) is None:
            left = replace(left, pinned_mode=None, pinned_until=None, pinned_why="", pinned_by="")
        return left


@dataclass(frozen=True, slots=True)
class RoutingObservation:
    """The Ingress as observed."""

    exists: bool
    resource_version: str = ""
    uid: str = ""
    marker: str = ""  # value of our mode annotation, "" where absent
    action: str = ""  # the routing action as it is written there, byte for byte: only the routing port reads it
    targets: tuple[Target, ...] = ()
    stickiness_s: int = 0  # 0 = disabled
    problem: str = ""  # why the action could not be read
    instead: tuple[str, ...] = ()  # the actions that the rules use, where none uses the application's; () where one does, or none uses any
    kept: tuple[tuple[str, str], ...] = ()  # further fields that we wrote and rules use: a write without them removes them
    writer: str = ""  # field manager that last wrote the action
    foreign: bool = False  # that manager is known and is not us
    marked_by: str = ""  # field manager that last wrote the mode annotation, "" where that is us or is not known
    written_by: str = ""  # the installation of the controller that wrote the action last, as it says; "" where none does
    override: Override = field(default_factory=Override)
    blocked: str = ""  # why the load-balancer controller cannot make rules of its Ingresses, in its words; "" where it can
    undone: str = ""  # why it could not write the rules to AWS, in its words; "" where it could
    standby: tuple[str, ...] = ()  # Services that a permanent standby rule keeps registered
    bound: tuple[str, ...] | None = None  # Services that have a target group; None: cannot tell
    capacity_ready: int | None = None  # ready endpoints of the capacity Service
    capacity_exists: bool | None = None
    verification: Verification | None = None
    asked_within_s: float = 0.0  # how long after a change the budget of ELBv2 calls may take to reach it, where that is more than a minute
    gates: Mapping[str, OpenGates] = field(default_factory=dict)  # by Service, of those that have any
    sticky: tuple[str, ...] = ()  # Services whose target groups keep each client on one target

    def marks(self, mode: Mode) -> bool:
        """Whether the mode annotation says a mode, or is absent: before its first write the controller has not put it there."""
        return self.marker in {"", str(mode)}

    @property
    def present_verification(self) -> Verification | None:
        """The verification of the present action; None where the load balancer has not been asked about it yet."""
        seen = self.verification
        return None if seen is None or seen.action not in {"", self.action} else seen


OFFERINGS_SOURCE: Final = "karpenter-metrics"
"""The name of the source of `UnitObservation.unavailable`."""


@dataclass(frozen=True, slots=True)
class Source:
    """How fresh one source of signals is."""

    name: str
    required: bool  # stale: hold. An optional source that is stale or absent is only a named degradation
    last_ok: float | None  # None: never yet
    budget_s: float
    absent: bool = False  # does not exist here (no CRD, no permission, not configured)
    problem: str = ""
    disabled: bool = False  # absent because the settings say so: named, and nothing to be alerted of

    @property
    def why(self) -> str:
        """`problem`, or that nobody said one: never empty, so that it can follow a colon."""
        return self.problem or "no reason is known"

    def degraded(self, now: float) -> bool:
        """Whether decisions go on without it."""
        return self.absent or (not self.required and self.stale(now))

    def stale(self, now: float) -> bool:
        """Whether its last success is older than its budget, or so far in the future that a clock must have jumped."""
        return not self.absent and (self.last_ok is None or not abs(now - self.last_ok) <= self.budget_s)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that one decision is made from."""

    now: float
    application: Application
    routing: RoutingObservation
    units: Mapping[str, UnitObservation]
    sources: tuple[Source, ...] = ()
    error_ratio: Sample | None = None  # the load balancer's and targets' 5xx, share of requests
    leader: bool = True
    epoch: int = 0
    clock_skew_s: float = 0.0  # how far our clock is ahead of the cluster's; the times above are by ours
    left: Mapping[str, int] | None = None  # floors of ours on ScaledObjects that no application names, by name; None: not known
    installation: str = ""  # which installation of the controller this is, by its namespace; "" where it writes nothing

    @property
    def rival(self) -> str:
        """The namespace of another installation of the controller that wrote the routing action last; "" where none did."""
        other = self.routing.written_by
        return other if self.installation and other != self.installation else ""

    @property
    def writer(self) -> str:
        """Who wrote the routing action last, in words; "" where that is not known."""
        return f"the controller in namespace {self.rival}" if self.rival else self.routing.writer


# --- what is remembered -----------------------------------------------------------------------------------------------------------------


class Return(StrEnum):
    """What the signals prove about the return of a unit's capacity."""

    NONE = "none"
    LAUNCHED = "launched"
    REGISTERED = "registered"
    REPLICAS_READY = "silent"  # the replicas that waited run now, without a new node


@dataclass(frozen=True, slots=True)
class UnitMemory:
    """What must survive a restart about a unit that was short."""

    last_failure_at: float = field(metadata=MOMENT)  # of the last refusal; recordings and the stored memory have this name
    cause: Cause
    ready_then: int = 0  # ready replicas when it was proven short
    proven_at: float | None = field(default=None, metadata=MOMENT)
    returned: Return = Return.NONE  # only REGISTERED or REPLICAS_READY are remembered
    returned_at: float | None = field(default=None, metadata=MOMENT)


@dataclass(frozen=True, slots=True)
class ModeChange:
    """A mode change that was made."""

    at: float = field(metadata=MOMENT)
    to: Mode
    reason: Reason
    detail: str = ""
    by: str = ""  # who made it, in words: the controller, a person with a name, or the writer that was found; "" where not known
    verified_at: float | None = field(default=None, metadata=MOMENT)  # when the load balancer first showed it
    dollars_before: float | None = None  # per hour for the demand of that moment, in the mode before and in the mode after
    dollars_after: float | None = None


@dataclass(frozen=True, slots=True)
class ScalerWrite:
    """Our last write of a floor or a target: what it replaced, and how often it had been put back before."""

    at: float = field(metadata=MOMENT)
    before: str
    after: str
    repeats: int = 0


@dataclass(frozen=True, slots=True)
class SinkingFloor:
    """A floor above the planned replicas: since when, and the most replicas that were planned since then."""

    since: float = field(metadata=MOMENT)
    highest: int


@dataclass(frozen=True, slots=True)
class FloorMemory:
    """What is remembered of a ScaledObject.

    Attributes:
        found: The floor that somebody else set last; 0: none.
        raised_from: The application file's floor while a floor of ours is above what was there before; None while none is.
        due: Whether its floor has not been raised since the mode changed to capacity mode. It is due until it is written, or until a plan
            finds it high enough. So a floor that could not be written, that the next pass was to write, or whose ScaledObject was not
            there is planned again, and a floor that another writer lowers afterwards is not.
        floor: Our last write of the floor; None where there was none lately.
        target: Likewise of the target.
        sinking: How long it has been above the planned replicas. Not stored: after a restart these times begin anew.
    """

    found: int = 0
    raised_from: int | None = None
    due: bool = False
    floor: ScalerWrite | None = None
    target: ScalerWrite | None = None
    sinking: SinkingFloor | None = None

    @property
    def before(self) -> int:
        """The replicas that a raised floor is to sink to again: the application file's, or those of somebody else."""
        return max(self.raised_from or 0, self.found)


NOTHING_REMEMBERED: Final = FloorMemory()
"""Of a ScaledObject that nothing is remembered of."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What the policy remembers between passes. It is stored by compare-and-swap, with the leader's epoch."""

    mode: Mode | None = None  # None: nothing is known yet, adopt what the Ingress shows
    mode_since: float = field(default=0.0, metadata=MOMENT)
    mode_changes: tuple[ModeChange, ...] = ()
    hold_level: int = 0  # how often the hold was doubled
    units: Mapping[str, UnitMemory] = field(default_factory=dict)
    action: str = ""  # fingerprint of the routing action that the times below belong to, as it is written; "": none observed yet
    sent: str = ""  # fingerprint of the targets and the stickiness that we last wrote; "": none, or not known
    unseen: bool = False  # whether the Ingress has not shown that since
    routed_at: tuple[float, ...] = field(default=(), metadata=MOMENT)  # changes of the routing that we made within an hour, the newest last
    ingress: str = ""  # uid of the Ingress that had it; "": none observed yet
    changed_at: float | None = field(default=None, metadata=MOMENT)  # last change of the routing action
    verified_at: float | None = field(default=None, metadata=MOMENT)  # when the load balancer first showed it
    unverified_since: float | None = field(default=None, metadata=MOMENT)  # first change of ours that the load balancer has not shown since
    sticky_s: int = 0  # how long clients may stick to the targets that lost traffic with the last change
    nudges: int = 0  # how often the load-balancer controller was nudged since then
    nudged_at: float | None = field(default=None, metadata=MOMENT)
    reasserts: int = 0
    reasserted_at: float | None = field(default=None, metadata=MOMENT)
    reasserted_against: str = ""  # who had changed the routing action before the last re-assertion
    demand_known_since: float | None = field(default=None, metadata=MOMENT)  # since when the demand is known; None while it is not
    # When it became unknown; None where it was never known, or has been known again for a while.
    demand_missing_since: float | None = field(default=None, metadata=MOMENT)
    demand_history: DemandHistory | None = None  # with strategy planned only
    floors: Mapping[str, FloorMemory] = field(default_factory=dict)  # by ScaledObject


# --- what is decided --------------------------------------------------------------------------------------------------------------------


class Shortage(StrEnum):
    """What the signals prove about a unit."""

    NONE = "none"
    SUSPECTED = "suspected"
    PROVEN = "proven"


class Proof(StrEnum):
    """How a shortage was proven, the strongest first. A single refusal proves none, however many offerings its NodeClaim allowed."""

    SATURATED = "saturated"  # a refusal, after which Karpenter found no available offering that the unit may use
    NAMED = "named"  # refusals within one cycle of Karpenter's cache that together name every allowed offering
    AGE = "age"  # some offerings refused, and demand older than a whole cycle, with no launch since


@dataclass(frozen=True, slots=True)
class UnitEvidence:
    """What the signals prove about one unit."""

    unit: str
    shortage: Shortage
    demand: int = 0  # pods that wait
    demand_since: float | None = None
    cause: Cause = Cause.UNKNOWN
    codes: tuple[str, ...] = ()
    truncated: bool = False
    proof: Proof | None = None
    refused: tuple[str, ...] = ()  # offerings that standing refusals name
    missing: tuple[str, ...] = ()  # offerings that refusals must name as well for a proof
    unavailable: tuple[str, ...] = ()  # offerings that no refusal names, and that Karpenter's own metrics call unavailable
    age_at: float | None = None  # when age alone proves it, if nothing changes; None where nothing was refused or nobody waits
    since: float | None = None  # first refusal of the present shortage
    last_refusal_at: float | None = None
    attempts: int = 0
    returned: Return = Return.NONE
    returned_at: float | None = None
    can_serve: bool = False  # could take traffic of other units
    ready: int = 0
    leaving: int = 0  # of the ready replicas, those that a Capacity Block takes away soon
    needed: int = 0  # ready replicas that cost mode needs at the present demand, no more than the unit may have
    beyond_max: int = 0  # replicas that it would need above its maximum
    facts: tuple[str, ...] = ()  # sentences with ages, for people

    @property
    def short(self) -> bool:
        """Whether the shortage is proven."""
        return self.shortage is Shortage.PROVEN

    @property
    def lasting(self) -> int:
        """The ready replicas that replicas are planned with."""
        return max(0, self.ready - self.leaving)


@dataclass(frozen=True, slots=True)
class GuardResult:
    """One guard's answer. `reason` is why it holds, None where it passes; `known` is false where it passes for want of an answer."""

    guard: str
    reason: Reason | None
    passes: str = ""  # why it passes, in words; "" of one that holds
    details: Mapping[str, str] = field(default_factory=dict)  # of the reason
    reopens_s: float | None = None  # of a guard that holds: when time alone may open it, seconds from now; None: time alone never does
    known: bool = True

    @property
    def passed(self) -> bool:
        """Whether the guard passes."""
        return self.reason is None

    @property
    def text(self) -> str:
        """Why it passes, or the reason's sentence, filled in."""
        return self.passes if self.reason is None else fill(self.reason, self.details)


class Verb(StrEnum):
    """What a decision asks for."""

    HOLD = "hold"
    FAILOVER = "failover"
    FALLBACK = "fallback"
    PREPARE = "prepare"  # raise the cost side before a fallback
    ROLLBACK = "rollback"  # undo a mode change that the load balancer did not show
    REWEIGHT = "reweight"  # same mode: other weights, or the right ones again
    NUDGE = "nudge"  # the same action once more, so that the load-balancer controller reconciles

    @property
    def changes_mode(self) -> bool:
        """Whether it changes the mode."""
        return self in {Verb.FAILOVER, Verb.FALLBACK, Verb.ROLLBACK}


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that a person should know because the controller cannot settle it alone.

    Attributes:
        row: What it is about; a reason where the guard holds that has it.
        subject: Which of several alerts of this row it is, such as its unit.
        text: The row's sentence, filled in.
        severity: "warning" or "critical".
    """

    row: Row
    subject: tuple[str, ...]
    text: str
    severity: str

    @property
    def key(self) -> str:
        """What identifies it while it lasts, among those of an application: ``max/sd21-inf2``."""
        return "/".join((self.row.key, *self.subject))

    @classmethod
    def of(cls, row: Row, details: Mapping[str, str], subject: tuple[str, ...] = (), severity: str = "") -> Alert:
        """An alert in its row's words.

        Args:
            row: Its row.
            details: For the sentence.
            subject: Which of several it is.
            severity: Where it is not the row's.
        """
        return cls(row, subject, fill(row, details), severity or row.severity)


@dataclass(frozen=True, slots=True)
class Claim:
    """Replicas that a unit is to have at least. The highest claim is the unit's floor.

    `until` is when time alone ends it, seconds since the Unix epoch; None where time alone does not.
    """

    unit: str
    replicas: int
    reason: ClaimReason
    until: float | None = None

    @property
    def text(self) -> str:
        """The replicas and why, for people: ``13: the cheapest fleet has them``."""
        return f"{self.replicas}: {CLAIMS[self.reason]}"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do and why. Data only: `plan.plan` turns it into patches."""

    verb: Verb
    mode: Mode | None  # the mode to be in after it; None where the routing is unknown
    reason: Reason
    details: Mapping[str, str]
    evidence: Mapping[str, UnitEvidence]
    guards: tuple[GuardResult, ...]
    targets: tuple[Target, ...] = ()  # the wanted routing action; () where it must be left alone
    stickiness_s: int = 0
    sticky_s: int = 0  # how long clients may stick to the targets that are replaced
    floors: Mapping[str, Claim] = field(default_factory=dict)  # the highest claim by unit: its replicas are the wanted minReplicaCount
    keda_targets: Mapping[str, str] = field(default_factory=dict)  # wanted targetMetricValue by unit
    lowering_allowed: bool = False  # verified and drained: floors may sink
    alerts: tuple[Alert, ...] = ()
    degraded: tuple[str, ...] = ()
    next_check_s: float | None = None  # when time alone may change the decision
    kept: GuardResult | None = None  # why another wanted routing action is not written now, within the mode
    held_back: Verb | None = None  # what the present trigger asks for, while a guard holds it back
    planned: PlannedFleet | None = None  # what strategy planned runs, or would run

    @property
    def answers(self) -> tuple[GuardResult, ...]:
        """The answers of the guards, and why the routing stays although another one is wanted within the mode."""
        return self.guards if self.kept is None else (*self.guards, self.kept)

    @property
    def sentence(self) -> str:
        """The reason's sentence, filled in."""
        return fill(self.reason, self.details)


# --- what is planned --------------------------------------------------------------------------------------------------------------------


class ActionKind(StrEnum):
    """What an action does."""

    RAISE_FLOOR = "raise-floor"
    SET_TARGET = "set-target"
    ROUTE = "route"
    LOWER_FLOOR = "lower-floor"


@dataclass(frozen=True, slots=True)
class Action:
    """One change, as a request to the Kubernetes API. Its `body` is sent as it is, or joined to that of another action on the same object.

    `before` and `after` are for people; `deferred` says why it is not due yet ("" where it is). The policy plans a routing action
    without its request, which `controller.routing.conclusion` adds: it writes the values of the decision.
    """

    kind: ActionKind
    namespace: str
    name: str
    before: str
    after: str = ""  # of a routing action: as `RoutingObservation.action` shows it once it is written
    resource: str = ""  # as RBAC names it: "scaledobjects.keda.sh"
    object_kind: str = ""  # as people name it: "ScaledObject"
    content_type: str = ""
    query: tuple[tuple[str, str], ...] = ()
    body: str = ""
    unit: str = ""
    deferred: str = ""
    mode: Mode | None = None  # of a routing action: the mode that the same request writes


@dataclass(frozen=True, slots=True)
class Plan:
    """The ordered actions of one decision. An empty plan is the usual one."""

    application: str
    decision: Decision
    actions: tuple[Action, ...] = ()
    refused: tuple[str, ...] = ()  # what is wanted but left alone, and why (paused ScaledObject, no KEDA)

    @property
    def due(self) -> tuple[Action, ...]:
        """The actions that are to be applied now, in order."""
        return tuple(action for action in self.actions if not action.deferred)

    @property
    def routing(self) -> Action | None:
        """The routing action; None in a plan that leaves the routing as it is."""
        return next((action for action in self.actions if action.kind is ActionKind.ROUTE), None)
