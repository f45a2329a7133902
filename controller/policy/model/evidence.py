"""What Karpenter and the scheduler say of capacity, what it proves, and what is remembered of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from controller.policy.model.account import Held
from controller.policy.model.application import Cause
from controller.policy.names import MOMENT

Offerings = tuple[tuple[str, str], ...]
"""What EC2 sells: pairs of instance type and zone."""


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
    offerings: Offerings = ()
    stamp: float | None = None  # None: as `at`
    created: float | None = None
    order: int = 0
    replacement: bool = False  # launched by consolidation or drift: the old node still serves
    source: str = "event"  # or "create-error", "interrupted", "unlaunched": see the properties
    stood_until: float | None = None  # of a create error: when it was last there, which is now while its NodeClaim exists; None: at `at`
    inexact: tuple[str, ...] = ()
    pool_capacity_types: tuple[str, ...] = ()  # what its NodePool may launch; () where that is not known

    def says(self, *fields: str) -> bool:
        """Whether these of its fields are all that its NodeClaim allowed."""
        return self.requirements_known and not any(one in self.inexact for one in fields)

    @property
    def ages(self) -> bool:
        """Whether age may prove what it is a part of: EC2 answered a launch for pods that wait.

        A replacement is for none. What was interrupted was no launch, and a NodeClaim that ended without one may have ended for any reason.
        """
        return not self.replacement and self.source in {"event", "create-error"}

    @property
    def cached(self) -> bool:
        """Whether Karpenter caches what was refused. It repeats a launch that failed with a create error."""
        return self.source != "create-error"

    @property
    def types(self) -> tuple[str, ...]:
        """The instance types that it is about: those that it names, else all that its NodeClaim allowed; () where neither is known."""
        named = (*(instance_type for instance_type, _ in self.offerings), self.named_type)
        return tuple(dict.fromkeys(one for one in named if one)) or self.instance_types

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
    `replica` is the group of pods that serve only together, "" where the pod is a replica of its own.
    """

    name: str
    since: float
    pools: tuple[str, ...] = ()
    instance_types: tuple[str, ...] = ()
    unavailable: tuple[tuple[str, float], ...] = ()
    devices: int = 0
    unplaced_at: float | None = None
    uid: str = ""
    replica: str = ""


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """A signal: how EC2 answered requests for a capacity reservation of one instance for a unit.

    Attributes:
        at: When it was asked, seconds since the Unix epoch.
        instance_type: Of the reservation that it made; "" where it refused every offering.
        zone: Likewise.
    """

    at: float
    instance_type: str = ""
    zone: str = ""

    @property
    def granted(self) -> bool:
        """Whether it made one."""
        return bool(self.instance_type)

    @property
    def words(self) -> str:
        """What EC2 did, for people."""
        return f"made a reservation of {self.instance_type} in {self.zone}" if self.granted else "refused a reservation of every offering"


class Return(StrEnum):
    """What the signals prove about the return of a unit's capacity."""

    NONE = "none"
    LAUNCHED = "launched"
    RESERVED = "reserved"  # EC2 made a capacity reservation, which was cancelled
    REGISTERED = "registered"
    REPLICAS_READY = "silent"  # the replicas that waited run now, without a new node

    @property
    def proven(self) -> bool:
        """Whether it proves that an instance can be had."""
        return self not in {Return.NONE, Return.LAUNCHED}


@dataclass(frozen=True, slots=True)
class UnitMemory:
    """What must survive a restart about a unit that was short."""

    last_failure_at: float = field(metadata=MOMENT)  # of the last refusal; recordings and the stored memory have this name
    cause: Cause
    ready_then: int = 0  # ready replicas when it was proven short
    proven_at: float | None = field(default=None, metadata=MOMENT)
    returned: Return = Return.NONE  # only what proves it is remembered
    returned_at: float | None = field(default=None, metadata=MOMENT)


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
