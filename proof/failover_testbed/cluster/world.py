"""What all fakes of the emulated cluster share: time, randomness, the API's objects, and the nodes that pods run on.

The fakes keep their state in Python and write to the API what a watcher would see. Whatever others may write (replicas, ScaledObjects,
limits) they read from the API each time. One thread runs them step by step; none of them blocks.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from controller.clock import Clock, format_rfc3339
from controller.policy.model import Application, Unit
from failover_testbed.kube_api import ApiError, KubeStore

Object = dict[str, Any]

POOL_LABEL: Final = "karpenter.sh/nodepool"
TYPE_LABEL: Final = "node.kubernetes.io/instance-type"
ZONE_LABEL: Final = "topology.kubernetes.io/zone"
CAPACITY_LABEL: Final = "karpenter.sh/capacity-type"
NEURON: Final = "aws.amazon.com/neuron"
GPU: Final = "nvidia.com/gpu"

SUFFIX_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"  # as Kubernetes makes names

_NEURON_FAMILIES: Final = ("inf", "trn")
_NOT_FOUND: Final = 404


@dataclass(frozen=True, slots=True)
class Machine:
    """Resources of an instance type, as Karpenter reports them for the smallest size of each family."""

    cpu: int
    memory_mib: int
    accelerator: str

    def capacity(self) -> dict[str, str]:
        """Its `status.capacity`."""
        return {"cpu": str(self.cpu), "memory": f"{self.memory_mib}Mi", "pods": "58", "ephemeral-storage": "20Gi", self.accelerator: "1"}


def machine(instance_type: str) -> Machine:
    """Resources of an instance type. Every type counts as one accelerator, so it fits one replica."""
    accelerator = NEURON if instance_type.startswith(_NEURON_FAMILIES) else GPU
    return Machine(8, 30_310, accelerator) if instance_type.endswith(".2xlarge") else Machine(4, 15_155, accelerator)


@dataclass(slots=True, eq=False)
class Node:
    """A node that joined the cluster. `usable` is set once no taint keeps pods away."""

    name: str
    pool: str
    zone: str
    instance_type: str
    usable: bool = False
    pod: Pod | None = None
    empty_since: float = 0.0
    more: tuple[str, ...] = ()  # the resources that it has beyond its machine's


@dataclass(slots=True, eq=False)
class Pod:
    """A pod of a deployment unit. Times are seconds since the Unix epoch.

    `replica` names the replica that it is, or is part of. Of the pods of a LeaderWorkerSet's group only the leader answers requests.
    `more` are the resources that it requests beyond its accelerator, and `claims_devices` says that it has claims of Dynamic Resource
    Allocation.
    """

    name: str
    uid: str
    namespace: str
    unit: Unit
    created: float
    types: tuple[str, ...] = ()  # the instance types that it pins; () for any of its NodePool
    unschedulable_since: float | None = None
    nominated: str = ""  # the NodeClaim launched for it
    node: Node | None = None
    ip: str = ""
    bound_at: float = 0.0
    ready: bool = False
    gone_at: float | None = None  # when a terminating pod has ended
    replica: str = ""
    leads: bool = True
    pools: tuple[str, ...] = ()  # the NodePools that it names; () for its unit's
    more: tuple[str, ...] = ()
    claims_devices: bool = False

    @property
    def node_pools(self) -> tuple[str, ...]:
        """The NodePools whose nodes it may use."""
        return self.pools or (self.unit.node_pool,)

    def fits(self, node: Node) -> bool:
        """Whether it may run on a node, and the node has what it requests."""
        typed = not self.types or node.instance_type in self.types
        return typed and node.pool in self.node_pools and set(self.more) <= set(node.more) and not self.claims_devices

    @property
    def serving(self) -> bool:
        """Whether it answers requests; a terminating pod still does."""
        return self.ready


@dataclass(slots=True)
class World:
    """The state that the fakes share.

    Args:
        clock: Gives every timestamp.
        store: The emulated API's objects.
        applications: The applications in the cluster.
        zones: Zones of the node class.
        seed: Makes names, addresses and choices repeatable.
    """

    clock: Clock
    store: KubeStore
    applications: tuple[Application, ...]
    zones: tuple[str, ...]
    seed: int = 0
    nodes: dict[str, Node] = field(default_factory=dict)
    pods: dict[tuple[str, str], Pod] = field(default_factory=dict)  # by namespace and name
    random: random.Random = field(init=False)
    _addresses: int = 10

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def now(self) -> float:
        """Seconds since the Unix epoch."""
        return self.clock.now()

    def stamp(self, at: float | None = None) -> str:
        """A Kubernetes timestamp of `at`, or of now with None."""
        return format_rfc3339(self.clock.now() if at is None else at)

    def suffix(self, length: int = 5) -> str:
        """The random end of a generated name."""
        return "".join(self.random.choice(SUFFIX_ALPHABET) for _ in range(length))

    def address(self) -> str:
        """A new pod address."""
        self._addresses += 1
        return f"10.1.{self._addresses // 250 % 256}.{self._addresses % 250 + 1}"

    def units(self) -> list[tuple[Application, Unit]]:
        """Every deployment unit of every application."""
        return [(application, unit) for application in self.applications for unit in application.units]

    def pods_of(self, application: Application, unit: Unit) -> list[Pod]:
        """The pods of a unit, including terminating ones, oldest first."""
        return [pod for pod in self.pods.values() if pod.namespace == application.namespace and pod.unit.name == unit.name]

    def find(self, kind: str, name: str, namespace: str = "default") -> Object | None:
        """One object, or None if it does not exist."""
        try:
            return self.store.get(kind, name, namespace=namespace)
        except ApiError as error:
            if error.code != _NOT_FOUND:
                raise
            return None


def condition(kind: str, status: str, at: str, *, reason: str = "", message: str = "", **more: object) -> Object:
    """A status condition as the built-in kinds have them."""
    made = {"type": kind, "status": status, "lastTransitionTime": at, **more}
    return made | ({"reason": reason} if reason else {}) | ({"message": message} if message else {})


def stable_hash(*parts: object, length: int = 10) -> str:
    """A hash that is the same in every run, for names."""
    return hashlib.sha256("\0".join(str(part) for part in parts).encode()).hexdigest()[:length]


def owner(obj: Mapping[str, Any], *, controller: bool = True) -> Object:
    """An owner reference to an object."""
    metadata = obj["metadata"]
    made = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": metadata["name"], "uid": metadata["uid"]}
    return made | ({"controller": True} if controller else {}) | {"blockOwnerDeletion": True}
