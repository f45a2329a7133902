"""Everything that one decision is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from controller.policy.model.account import Price, Reservation, Sample
from controller.policy.model.application import Application
from controller.policy.model.evidence import PendingPod, PoolObservation, ProbeAnswer
from controller.policy.model.floors import Scaler
from controller.policy.model.routing import RoutingObservation


@dataclass(frozen=True, slots=True)
class UnitObservation:
    """What is known of one deployment unit."""

    unit: str
    pool: PoolObservation
    pending: tuple[PendingPod, ...] = ()
    waiting_since: float | None = None  # since when pods have waited without a break or a launch, also ones that were replaced meanwhile
    desired: int | None = None  # its workload's spec.replicas
    uncreated: int = 0  # of these those without a pod: a StatefulSet creates each replica when the one before it is ready
    ready: int | None = None  # ready replicas; the smaller of workload and EndpointSlices where both are known
    deployment_ready: int | None = None
    endpoints_ready: int | None = None
    service_exists: bool | None = None
    pod_zones: tuple[str, ...] = ()  # zones, types and capacity types that the workload's own template pins
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
    probed: ProbeAnswer | None = None  # EC2's last answer to a probe of it
    price: Price | None = None  # where the price of its replicas comes from; the application of the snapshot has the price itself

    @property
    def unplaced(self) -> int:
        """How many replicas lack a node: those of which a pod waits, and those that have no pod yet."""
        return self.uncreated + len({pod.replica or pod.name for pod in self.pending})


OFFERINGS_SOURCE: Final = "karpenter-metrics"
"""The name of the source of `UnitObservation.unavailable`."""

QUEUE_SOURCE: Final = "refusal-queue"
"""The name under which the queue of EC2's answers is a source."""


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
