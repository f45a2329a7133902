"""The application file: one routing object, its deployment units and the policy, as a person writes them.

Keys are camelCase, as in every Kubernetes manifest. The description of each field states its unit and the reason for its default;
What only commands of setting up read is a `Section`: they check it, and the controller does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from enum import StrEnum
from typing import Any, Final, Literal, Self, TypeVar

from pydantic import Field, model_validator

from controller.catalog.fields import (
    ActionName,
    DnsLabel,
    DnsName,
    FileModel,
    InstanceType,
    MetricName,
    NodePoolName,
    Port,
    RuleName,
    Section,
    ServiceName,
    ShortText,
    Zone,
)
from controller.documents import Fault, Place, cross_field_error, describe_value
from controller.policy.model import (
    Application,
    Backend,
    CapacityWeights,
    Cause,
    PlannedMode,
    PolicySettings,
    ReturnProbe,
    Route,
    RoutingStyle,
    Strategy,
    Unit,
    WeightStrategy,
    WorkloadKind,
)
from controller.policy.routing import MAX_TARGET_GROUPS, strategy_used

API_VERSION: Final = "failoverctl.dev/v1alpha1"

_DEFAULTS: Final = PolicySettings()
_Choice = TypeVar("_Choice", bound=StrEnum)
_WEEK_S: Final = 604_800


class ServiceFile(FileModel):
    """A Service and its port, as the forward action names them."""

    name: ServiceName = Field(description="Service in metadata.namespace.")
    port: Port = Field(
        description="Port, written exactly as in every action and standby rule: 80 and http are two different target "
        "groups, and only a group that is already registered can take traffic at once. Do not quote a number."
    )

    def to_policy(self) -> Backend:
        """Converts it to the policy's value."""
        return Backend(self.name, self.port)


class WorkloadFile(FileModel):
    """A workload that is not a Deployment."""

    kind: WorkloadKind = Field(
        description="Its kind: Rollout of Argo Rollouts (argoproj.io), StatefulSet (apps), LeaderWorkerSet (leaderworkerset.x-k8s.io), or "
        "Deployment. A replica of a LeaderWorkerSet is a group: pricePerHour and throughput are those of all its pods together."
    )
    name: DnsName = Field(description="Its name, in metadata.namespace; unique among the workloads of the application.")


class UnitFile(FileModel):
    """A deployment unit: one model on one device with one framework."""

    name: DnsLabel = Field(description="Name of the unit in decisions, logs and metrics; unique in the application.")
    model: ShortText = Field(default="", description="The model it serves, such as sd21. For information only.")
    device: ShortText = Field(default="", description="The device it runs on, such as inf2. For information only.")
    framework: ShortText = Field(default="", description="The framework it uses, such as neuron. `failoverctl render` needs it.")
    service: ServiceFile = Field(description="The unit's own Service, its target group in cost mode.")
    deployment: DnsName | None = Field(
        default=None,
        description="The unit's Deployment, in metadata.namespace; unique in the application. Required unless workload names another.",
    )
    workload: WorkloadFile | None = Field(default=None, description="What runs the unit's pods if it is not a Deployment.")
    node_pool: NodePoolName = Field(description="The Karpenter NodePool that launches the unit's nodes. Units may share one.")
    instance_type: InstanceType = Field(description="EC2 instance type to which price and throughput apply.")
    instance_types: tuple[InstanceType, ...] = Field(
        default=(),
        max_length=100,
        description="Every instance type that the NodePool may launch for the unit. Empty: all that the NodePool allows. Refusals prove a "
        "shortage of the unit only if they cover all of these types.",
    )
    zones: tuple[Zone, ...] = Field(
        default=(),
        max_length=20,
        description="Every zone in which the unit may run. Empty: all that NodePool and workload allow. A shortage in one zone is not a "
        "shortage of the unit.",
    )
    price_per_hour: float = Field(
        ge=0.0001,
        le=10_000,
        description="Price of one replica on `instanceType`, US dollars per hour: the on-demand price of its share of a node. Replicas on "
        "nodes of another type cost more or less in proportion to EC2's on-demand prices, where these are known.",
    )
    throughput: float = Field(
        ge=0.001,
        le=1e9,
        description="Requests that one replica serves per metric period at its breaking point. (The AWS sample calls it RPS, but it is "
        "the sum of the counter over one CloudWatch period.) It becomes KEDA's targetMetricValue in cost mode.",
    )
    latency_s: float = Field(
        gt=0, le=3600, description="Latency at that throughput, seconds; `failoverctl breaking-point` writes the 95th percentile."
    )
    latency_limit_s: float = Field(
        default=0.9,
        gt=0,
        le=3600,
        description="Limit of the p95 latency, seconds. A unit above it is failing its users. Must exceed latencySeconds, or the unit "
        "would always be above it. The AWS sample's breaking point is 0.9 s.",
    )
    cold_start_s: float = Field(
        default=600,
        gt=0,
        le=86_400,
        description="Time from a pending pod to a ready one, including its node, seconds. The AWS sample reports 5 to 15 minutes. "
        "Measure yours: the break-even hold depends on it.",
    )
    weight: int | None = Field(
        default=None,
        ge=0,
        le=999,
        description="Explicit weight in cost mode, in AWS's range. Required for every unit if strategy is two-mode and weightStrategy "
        "explicit.",
    )
    scaled_object: DnsName | None = Field(
        default=None, description="The unit's KEDA ScaledObject, whose floor and target follow the mode. Unset: its scaling is left alone."
    )
    min_replicas: int = Field(
        default=1,
        ge=0,
        le=10_000,
        description="Normal floor, replicas: minReplicaCount in the unit's own mode. 1 in the AWS sample. At most maxReplicas. 0 lets the "
        "unit run nothing while a plan (plannedMode live) needs none of it; at least one unit needs 1.",
    )
    max_replicas: int = Field(default=100, ge=1, le=10_000, description="Upper limit of any raised floor, replicas.")
    probe: ReturnProbe = Field(
        default=ReturnProbe.CANARY,
        description="How the return of the unit's capacity is found out in capacity mode, where Karpenter stops asking without demand. "
        "canary: one replica more than are ready is requested, and Karpenter asks for it about every three minutes, for free. reservation: "
        "a capacity reservation of one instance is made every minute and cancelled at once, which needs the permissions of docs/aws.md; a "
        "canary where EC2 does not answer. none: nothing asks, and a return may go unnoticed.",
    )
    counter_metric: MetricName = Field(
        default="", description="CloudWatch metric that counts the unit's requests. Empty: its demand is unknown."
    )
    latency_metric: MetricName = Field(
        default="", description="CloudWatch metric of the unit's latency, seconds. Empty: its latency is unknown."
    )
    stack: Section = Field(default={}, description="Fields of the unit that only `failoverctl render` reads.")

    @model_validator(mode="after")
    def _together(self) -> Self:
        faults: list[Fault] = []
        if (self.deployment is None) == (self.workload is None):
            found = "nothing" if self.workload is None else "both deployment and workload"
            faults.append((("deployment",), found, "the name of a Deployment, or instead workload with kind and name"))
        if self.min_replicas > self.max_replicas:
            faults.append((("minReplicas",), str(self.min_replicas), f"at most maxReplicas ({self.max_replicas})"))
        if self.latency_limit_s <= self.latency_s:
            allowed = f"more than latencySeconds ({self.latency_s:g}), or the unit would always exceed it"
            faults.append((("latencyLimitSeconds",), f"{self.latency_limit_s:g}", allowed))
        if self.instance_types and self.instance_type not in self.instance_types:
            faults.append((("instanceTypes",), "a list without instanceType", f"a list with {self.instance_type}"))
        if faults:
            raise cross_field_error(faults)
        return self

    @property
    def runs(self) -> WorkloadFile:
        """The workload, also where it is a Deployment."""
        return self.workload or WorkloadFile(kind=WorkloadKind.DEPLOYMENT, name=self.deployment or "")

    def to_policy(self) -> Unit:
        """Converts it to the policy's value."""
        other: dict[str, Any] = {"backend": self.service.to_policy(), "deployment": self.runs.name, "workload_kind": self.runs.kind}
        return Unit(**other, **{one.name: getattr(self, one.name) for one in fields(Unit) if one.name not in other})


class MetricsFile(FileModel):
    """The units' metrics in CloudWatch."""

    namespace: MetricName = Field(default="", description="CloudWatch namespace of the units' metrics. Empty: no metric is read.")
    period_s: int = Field(
        default=60,
        ge=60,
        le=3600,
        multiple_of=60,
        json_schema_extra={"x-allowed": "a multiple of 60, 60 to 3600"},
        description="Period over which counters are summed, seconds; throughput is per this period. CloudWatch's standard resolution is "
        "60 s.",
    )


class PolicyFile(FileModel):
    """Settings of the decisions. Some defaults follow from Karpenter's cache of refused offerings, which lasts 180 s."""

    strategy: Strategy = Field(
        default=_DEFAULTS.strategy,
        description="two-mode: fail over to capacity mode, as in the AWS sample. adaptive: merit order over ready capacity, and a mode "
        "change only if needed. planned: acts as adaptive, and computes the cheapest replicas that carry the demand, also without any one "
        "accelerator family; plannedMode says whether it only shows them or asks for them.",
    )
    weight_strategy: WeightStrategy = Field(
        default=_DEFAULTS.weight_strategy,
        description="How the weights of cost mode are determined. explicit by default, because no published formula yields the weights of "
        "the AWS sample. Strategies adaptive and planned ignore it and use merit order.",
    )
    trip_causes: tuple[Cause, ...] = Field(
        default=tuple(cause for cause in Cause if cause in _DEFAULTS.trip_causes),
        min_length=1,
        max_length=len(Cause),
        description="Causes of a shortage that may trigger a failover. config is excluded by default: a broken NodePool needs a person, "
        "and a mode change would hide it.",
    )
    failover_utilization: float = Field(
        default=_DEFAULTS.failover_utilization,
        ge=0,
        le=2,
        description="A shortage leads to a failover only if ready replicas would have to serve more than this share of their throughput "
        "in cost mode. Below it the weights move only what the short unit cannot serve. 1.1 is the tolerance of KEDA's HPA. 0: every "
        "shortage leads to a failover, as in the AWS sample.",
    )
    patience_s: float = Field(
        default=_DEFAULTS.patience_s,
        ge=0,
        le=3600,
        description="How long a proven shortage must last before a failover, seconds. The default lets a false proof end "
        "(docs/decisions/0008-defaults-of-the-waits.md).",
    )
    quiet_s: float = Field(
        default=_DEFAULTS.quiet_s,
        ge=0,
        le=86_400,
        description="Time without a refusal that a fallback needs, seconds. At least three of Karpenter's retry cycles.",
    )
    dwell_capacity_s: float = Field(
        default=_DEFAULTS.dwell_capacity_s,
        ge=0,
        le=86_400,
        description="Shortest stay in capacity mode, seconds. Long, because a fallback only saves money, and three retry cycles must pass.",
    )
    flips_per_hour: int = Field(
        default=_DEFAULTS.flips_per_hour,
        ge=1,
        le=60,
        description="Most mode changes in an hour. More would indicate a fault that mode changes do not fix.",
    )
    hold_min_s: float = Field(
        default=_DEFAULTS.hold_min_s,
        ge=0,
        le=604_800,
        description="Lower bound of the break-even hold before a fallback, seconds. At most holdMaxSeconds.",
    )
    hold_max_s: float = Field(
        default=_DEFAULTS.hold_max_s,
        ge=0,
        le=604_800,
        description="Upper bound of the hold after any number of doublings, seconds. Four hours: longer than most outages in the traces.",
    )
    stickiness_cost_s: int = Field(
        default=_DEFAULTS.stickiness_cost_s,
        ge=0,
        le=_WEEK_S,
        description="Target-group stickiness in cost mode, seconds; 0: off. Shorter is better: a sticky client stays on a target group "
        "whose weight is 0 until its cookie expires.",
    )
    stickiness_capacity_s: int = Field(
        default=_DEFAULTS.stickiness_capacity_s,
        ge=0,
        le=_WEEK_S,
        description="Target-group stickiness in capacity mode, seconds; 0: off, which releases the sticky clients of cost mode at once.",
    )
    capacity_weights: CapacityWeights = Field(
        default=_DEFAULTS.capacity_weights,
        description="How capacity mode distributes requests over ready replicas. ready: equally, as round robin does. ready-throughput: in "
        "proportion to throughput; round robin is limited by the slowest replicas, and KEDA then scales up the most expensive units. With "
        "routingStyle single-service it requires load_balancing.algorithm.type=least_outstanding_requests on the capacity Service's "
        "target group.",
    )
    verify_alert_s: float = Field(
        default=_DEFAULTS.verify_alert_s,
        ge=5,
        le=3600,
        description="How long the load balancer may take to show a change before an alert, seconds. It normally takes seconds, but minutes "
        "when throttled.",
    )
    rollback_s: float = Field(
        default=_DEFAULTS.rollback_s,
        ge=0,
        le=86_400,
        description="How long the load balancer may fail to show a mode change, or report its targets unhealthy, before the change is "
        "rolled back, seconds. 0: never; the alert leaves the decision to people. Otherwise more than verifyAlertSeconds.",
    )
    allow_unsafe_switch: bool = Field(
        default=_DEFAULTS.allow_unsafe_switch,
        description="Whether to change the mode although the receiving target group is not registered and healthy, or not known to be: 5 "
        "to 30 s of 503 each way. Off: such a mode change is refused with a reason.",
    )
    resilience_share: float = Field(
        default=_DEFAULTS.resilience_share,
        ge=0,
        le=1,
        description="With strategy planned: the share of the expected demand that the other replicas still carry where any one accelerator "
        "family vanishes, 0 to 1. 0: no loss is planned for. Families are the parts of instance types before the dot; units that may "
        "use the same one count as one family.",
    )
    resilience_s: float = Field(
        default=_DEFAULTS.resilience_s,
        ge=0,
        le=86_400,
        description="With strategy planned: how long less than resilienceShare may be carried after the loss of a family, seconds. Units "
        "whose coldStartSeconds are no longer count with all that they may have, also where nothing has proven that EC2 has it. 0: only "
        "what runs counts.",
    )
    planned_mode: PlannedMode = Field(
        default=_DEFAULTS.planned_mode,
        description="With strategy planned: shadow shows the cheapest replicas, live makes the floors (minReplicaCount) of cost mode "
        "follow them. Compare what shadow shows with what runs before you choose live.",
    )

    @model_validator(mode="after")
    def _together(self) -> Self:
        faults: list[Fault] = []
        if self.hold_min_s > self.hold_max_s:
            faults.append((("holdMinSeconds",), f"{self.hold_min_s:g}", f"at most holdMaxSeconds ({self.hold_max_s:g})"))
        if 0 < self.rollback_s <= self.verify_alert_s:
            allowed = f"0, or more than verifyAlertSeconds ({self.verify_alert_s:g}): the alert must precede the rollback"
            faults.append((("rollbackSeconds",), f"{self.rollback_s:g}", allowed))
        live = self.strategy is Strategy.PLANNED and self.planned_mode is PlannedMode.LIVE
        if live and self.failover_utilization == 0:
            allowed = "more than 0 with plannedMode live: else each replica that is planned and refused would lead to a failover"
            faults.append((("failoverUtilization",), "0", allowed))
        if faults:
            raise cross_field_error(faults)
        return self

    def to_policy(self) -> PolicySettings:
        """Converts it to the policy's value."""
        same = {field.name: getattr(self, field.name) for field in fields(PolicySettings) if field.name != "trip_causes"}
        return PolicySettings(trip_causes=frozenset(self.trip_causes), **same)


class RouteFile(FileModel):
    """A route of the Gateway API, and which of its rules the controller writes."""

    kind: Literal["HTTPRoute", "GRPCRoute"] = Field(default="HTTPRoute", description="Kind of route.")
    name: DnsName = Field(description="Its name.")
    namespace: DnsLabel | None = Field(
        default=None,
        description="Its namespace; metadata.namespace if omitted. In another one it needs a ReferenceGrant in metadata.namespace.",
    )
    rule: RuleName = Field(
        default="0",
        description="The rule whose backends a mode change rewrites: its name, or its index from 0. By its name it is found in any place.",
    )


def routed_name(spec: Mapping[str, Any]) -> str:
    """The name of the routing object in a ``spec`` as it is written, for what must not lose its comments."""
    return str(spec["route"]["name"] if "route" in spec else spec["ingress"])


class SpecFile(FileModel):
    """The objects to control, and the policy."""

    ingress: DnsName | None = Field(default=None, description="The Ingress, in metadata.namespace. It and action, or route, is required.")
    action: ActionName | None = Field(
        default=None,
        description="Name of the Ingress's forward action. A mode change rewrites the annotation alb.ingress.kubernetes.io/actions.NAME. "
        "At most 55 characters, because the name of an annotation has at most 63.",
    )
    route: RouteFile | None = Field(default=None, description="A route of the Gateway API in the place of an Ingress and its action.")
    capacity_service: ServiceFile = Field(
        description="The Service over the pods of all units, for capacity mode. Must not be the Service of a unit."
    )
    routing_style: RoutingStyle = Field(
        default=RoutingStyle.SINGLE_SERVICE,
        description="single-service: capacity mode forwards to capacityService, as in the AWS sample; safe only with standby rules. "
        "in-place: capacity mode keeps the units' target groups and weighs them by ready pods; it needs no other target group.",
    )
    metrics: MetricsFile = Field(default=MetricsFile(), description="The units' metrics in CloudWatch.")
    units: tuple[UnitFile, ...] = Field(
        min_length=1,
        max_length=MAX_TARGET_GROUPS,
        description="The deployment units. At most 5 with either routing style: in cost mode each has a target group, and AWS allows 5 in "
        "an action.",
    )
    policy: PolicyFile = Field(default=PolicyFile(), description="Settings of the decisions.")
    stack: Section | None = Field(
        default=None,
        description="Fields that only `failoverctl render` reads: images, models, node classes. Omit it if you build the stack otherwise.",
    )

    @property
    def routed(self) -> Route:
        """The routing object, and which part of it."""
        if self.route is not None:
            return Route(self.route.name, self.route.rule, self.route.kind, self.route.namespace or "")
        return Route(self.ingress or "", self.action or "")

    @property
    def routed_at(self) -> Place:
        """The field that names the routing object."""
        return ("ingress",) if self.route is None else ("route", "name")

    @model_validator(mode="after")
    def _together(self) -> Self:
        faults = list(spec_faults(self.model_dump(mode="json", by_alias=True)))
        if faults:
            raise cross_field_error(faults)
        return self


class MetadataFile(FileModel):
    """The application's name and namespace."""

    name: DnsLabel = Field(description="Name of the application in messages; unique in its namespace.")
    namespace: DnsLabel = Field(description="Namespace of the Services, the workloads, the ScaledObjects, and of an Ingress.")


class ApplicationFile(FileModel):
    """One document of an application file."""

    api_version: Literal["failoverctl.dev/v1alpha1"] = Field(description="Version of this format.")
    kind: Literal["FailoverApplication", "Application"] = Field(
        description="Kind of document. Application is what older files say; kubectl apply takes FailoverApplication alone."
    )
    metadata: MetadataFile = Field(description="The application's name and namespace.")
    spec: SpecFile = Field(description="The objects to control, and the policy.")

    @property
    def key(self) -> str:
        """``namespace/name``, as `controller.policy.model.Application.key`."""
        routed = self.spec.routed
        return f"{routed.namespace or self.metadata.namespace}/{routed.name}"

    def to_policy(self) -> Application:
        """Converts it to the policy's value."""
        spec = self.spec
        return Application(
            name=self.metadata.name,
            namespace=self.metadata.namespace,
            route=spec.routed,
            capacity=spec.capacity_service.to_policy(),
            units=tuple(unit.to_policy() for unit in spec.units),
            routing_style=spec.routing_style,
            policy=spec.policy.to_policy(),
            metric_namespace=spec.metrics.namespace,
            metric_period_s=spec.metrics.period_s,
        )


# --- checks across units ----------------------------------------------------------------------------------------------------------------

_UNIQUE: Final[tuple[tuple[Place, str], ...]] = (
    (("name",), "a name that no other unit has"),
    (("service", "name"), "a Service that no other unit has: each target group belongs to one unit"),
    (("deployment",), "a Deployment that no other unit has"),
    (("workload", "name"), "a workload that no other unit has"),
    (("scaledObject",), "a ScaledObject that no other unit has: two units would fight over its floor"),
    (("counterMetric",), "a metric that no other unit has: its demand would be counted twice"),
)


def spec_faults(spec: object) -> Iterator[Fault]:
    """Finds contradictions across units.

    Works on plain values as a file has them, valid or not, so that a loader can report these faults together with those of single fields.

    Args:
        spec: The value of ``spec``.
    """
    if not isinstance(spec, Mapping):
        return
    found = spec.get("units")
    units: Sequence[object] = found if isinstance(found, list | tuple) else ()
    for place, allowed in _UNIQUE:
        yield from _duplicates(units, place, allowed)
    capacity = _dig(spec, ("capacityService", "name"))
    for index, unit in enumerate(units):
        if isinstance(capacity, str) and _dig(unit, ("service", "name")) == capacity:
            allowed = f"a Service other than that of units[{index}]: capacity mode needs one over all pods"
            yield ("capacityService", "name"), describe_value(capacity), allowed
    yield from _weight_faults(spec, units)
    yield from _routing_faults(spec, units)


ROUTED_BY: Final = ("ingress", "action")
"""The fields of a routing object that is not a route."""
_STICKINESS: Final = ("stickinessCostSeconds", "stickinessCapacitySeconds")


def _routing_faults(spec: Mapping[str, object], units: Sequence[object]) -> Iterator[Fault]:
    """An application has one routing object, and a route has numbers for ports and no stickiness of its own."""
    stated = [name for name in ROUTED_BY if spec.get(name) is not None]
    if spec.get("route") is None:
        yield from (((name,), "nothing", "ingress and action, or route") for name in ROUTED_BY if name not in stated)
        return
    yield from (((name,), describe_value(spec[name]), "nothing beside route") for name in stated)
    places: list[Place] = [("capacityService", "port"), *(("units", index, "service", "port") for index in range(len(units)))]
    for place in places:
        port = _dig(units[int(place[1])], place[2:]) if place[0] == "units" else _dig(spec, place)
        if isinstance(port, str):
            yield place, describe_value(port), "a number: the backends of a route name no port otherwise"
    for name in _STICKINESS:
        if seconds := _dig(spec, ("policy", name)):
            yield ("policy", name), describe_value(seconds), "0 with route: the rule's ListenerRuleConfiguration states the stickiness"


def _duplicates(units: Sequence[object], place: Place, allowed: str) -> Iterator[Fault]:
    first: dict[str, int] = {}
    for index, unit in enumerate(units):
        value = _dig(unit, place)
        if not isinstance(value, str) or not value:
            continue
        if value in first:
            yield ("units", index, *place), f"{describe_value(value)}, which units[{first[value]}] has too", allowed
        else:
            first[value] = index


def _weight_faults(spec: Mapping[str, object], units: Sequence[object]) -> Iterator[Fault]:
    weights = [_dig(unit, ("weight",)) for unit in units]
    strategy = _setting(Strategy, _dig(spec, ("policy", "strategy")), _DEFAULTS.strategy)
    stated = _setting(WeightStrategy, _dig(spec, ("policy", "weightStrategy")), _DEFAULTS.weight_strategy)
    if strategy and stated and strategy_used(strategy, stated) is WeightStrategy.EXPLICIT:
        for index, weight in enumerate(weights):
            if weight is None and isinstance(units[index], Mapping):
                allowed = "an integer 0 to 999 for every unit, because policy.weightStrategy is explicit"
                yield ("units", index, "weight"), "nothing", allowed
    if weights and all(type(weight) is int and weight == 0 for weight in weights):
        yield ("units",), "weights that are all 0", "weights of which at least one is above 0"
    fewest = [_dig(unit, ("minReplicas",)) for unit in units]
    if fewest and all(type(least) is int and least == 0 for least in fewest):
        allowed = "minReplicas of at least 1 for one unit: where no replica is left, no request is counted, and nothing starts one"
        yield ("units",), "minReplicas that are all 0", allowed


def _setting(choices: type[_Choice], value: object, default: _Choice) -> _Choice | None:
    """A setting as a file has it: the default where there is none, and None where it is no choice, which is a fault of its own."""
    return default if value is None else next((one for one in choices if one.value == value), None)


def _dig(value: object, place: Place) -> object:
    for step in place:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value
