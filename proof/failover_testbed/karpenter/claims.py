"""NodeClaims, Nodes and NodePool statuses as Karpenter writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from failover_testbed.capacity.ec2 import Offering
from failover_testbed.cluster.events import Recorder
from failover_testbed.cluster.world import CAPACITY_LABEL, POOL_LABEL, TYPE_LABEL, ZONE_LABEL, Node, Object, World, machine, owner
from failover_testbed.karpenter.pools import Pool
from failover_testbed.karpenter.sentences import CreateError

_MANAGER: Final = "karpenter"
_FINALIZER: Final = "karpenter.sh/termination"
_CLASS_LABEL: Final = "karpenter.k8s.aws/ec2nodeclass"

_AWAITING: Final = ("Unknown", "AwaitingReconciliation", "object is awaiting reconciliation")
_NOT_FOUND: Final = ("Unknown", "NodeNotFound", "Node not registered with cluster")


@dataclass(slots=True, eq=False)
class Claim:
    """A NodeClaim. Times are seconds since the Unix epoch."""

    name: str
    pool: str
    obj: Object
    types: tuple[str, ...]
    capacity_types: tuple[str, ...]
    created: float
    offering: Offering | None = None  # what was launched
    provider_id: str = ""
    launched_at: float | None = None
    node: Node | None = None
    registered_at: float = 0.0
    remove_at: float | None = None
    more: Mapping[str, str] = field(default_factory=dict)  # the resources that NodeOverlays add to its node
    due: float = 0.0  # when its launch is tried
    pause: float = 0.0  # until the next try, where one has failed
    conditions: dict[str, tuple[str, str, str, str]] = field(default_factory=dict)  # type -> status, reason, message, since


class ClaimWriter:
    """Writes a claim through its life.

    Args:
        world: State that the fakes share.
        recorder: Records the events of condition transitions.
    """

    def __init__(self, world: World, recorder: Recorder) -> None:
        self._world, self._recorder = world, recorder

    def create(self, pool: Pool, types: tuple[str, ...], capacity_types: tuple[str, ...], resources: Iterable[str] = ()) -> Claim:
        """Creates a claim that allows every zone.

        Args:
            pool: The NodePool.
            types: The allowed instance types.
            capacity_types: The allowed capacity types.
            resources: What the pod requests one of each; () without a pod.
        """
        world, name = self._world, f"{pool.name}-{self._world.suffix()}"
        template = pool.obj["spec"]["template"]
        labels = dict(template.get("metadata", {}).get("labels", {}))
        allowed = {
            "pool": [labels["pool"]] if "pool" in labels else [],
            _CLASS_LABEL: ["default"],
            POOL_LABEL: [pool.name],
            CAPACITY_LABEL: sorted(capacity_types),
            TYPE_LABEL: list(types),
        }
        requirements: list[Object] = [{"key": key, "operator": "In", "values": values} for key, values in allowed.items() if values]
        if pool.min_types > 1:
            requirements = [one | ({"minValues": pool.min_types} if one["key"] == TYPE_LABEL else {}) for one in requirements]
        requests = {"pods": "1"} | dict.fromkeys(resources, "1")
        body = {
            "metadata": {
                "name": name,
                "generateName": f"{pool.name}-",
                "labels": labels | {_CLASS_LABEL: "default", POOL_LABEL: pool.name},
                "annotations": {"karpenter.sh/nodeclaim-min-values-relaxed": "false", "karpenter.sh/nodepool-hash-version": "v3"},
                "finalizers": [_FINALIZER],
                "ownerReferences": [owner(pool.obj, controller=False)],
            },
            "spec": {
                "expireAfter": template["spec"].get("expireAfter", "720h"),
                "nodeClassRef": template["spec"]["nodeClassRef"],
                "requirements": requirements,
                "resources": {"requests": requests},
            },
        }
        made = world.store.create("NodeClaim", body, manager=_MANAGER)
        claim = Claim(name, pool.name, made, types, capacity_types, world.now())
        for kind in ("Launched", "Registered", "Initialized"):
            self._set(claim, kind, *_AWAITING)
        self._write(claim)
        return claim

    def failed(self, claim: Claim, error: CreateError) -> None:
        """Writes that the claim's launch failed with an error that Karpenter tries again after."""
        self._set(claim, "Launched", "Unknown", error, error.message)
        self._write(claim)

    def launched(self, claim: Claim, offering: Offering, more: Mapping[str, str]) -> None:
        """Writes that the claim has an instance.

        Args:
            claim: Which.
            offering: What was launched.
            more: The resources that NodeOverlays add to it.
        """
        claim.offering, claim.launched_at, claim.more = offering, self._world.now(), more
        self._world.store.patch("NodeClaim", claim.name, {"metadata": {"labels": _labels(offering)}}, manager=_MANAGER)
        self._set(claim, "Launched", "True", "Launched", "")
        self._set(claim, "Registered", *_NOT_FOUND)
        claim.provider_id = f"aws:///{offering.zone}/i-{self._world.random.getrandbits(64):017x}"
        self._write(claim)
        self._transition(claim, "Launched")

    def registered(self, claim: Claim) -> Node:
        """Writes that the claim's node joined; a taint still keeps pods away."""
        assert claim.offering is not None  # noqa: S101 - the caller checked
        world, offering = self._world, claim.offering
        name = f"ip-{world.address().replace('.', '-')}.us-west-2.compute.internal"
        node = Node(name, claim.pool, offering.zone, offering.instance_type, empty_since=world.now(), more=tuple(claim.more))
        world.nodes[name] = node
        claim.node, claim.registered_at = node, world.now()
        capacity = machine(offering.instance_type).capacity() | dict(claim.more)
        labels = {POOL_LABEL: claim.pool, "kubernetes.io/hostname": name} | _labels(offering)
        body = {
            "metadata": {"name": name, "labels": labels},
            "spec": {"providerID": claim.provider_id, "taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]},
            "status": {"capacity": capacity, "allocatable": capacity},
        }
        world.store.create("Node", body, manager="kubelet")
        self._set(claim, "Registered", "True", "Registered", "")
        message = 'KnownEphemeralTaint "node.kubernetes.io/not-ready:NoSchedule" still exists'
        self._set(claim, "Initialized", "Unknown", "KnownEphemeralTaintsExist", message)
        self._write(claim)
        self._transition(claim, "Registered")
        return node

    def initialized(self, claim: Claim) -> None:
        """Writes that the claim's node accepts pods."""
        assert claim.node is not None  # noqa: S101 - the caller checked
        claim.node.usable, claim.node.empty_since = True, self._world.now()
        self._world.store.patch("Node", claim.node.name, {"spec": {"taints": None}}, manager="kube-controller-manager")
        self._set(claim, "Initialized", "True", "Initialized", "")
        self._write(claim)
        self._transition(claim, "Initialized")

    def delete(self, claim: Claim) -> None:
        """Requests the claim's deletion; its finalizer keeps it until `remove`."""
        self._world.store.delete("NodeClaim", claim.name)

    def remove(self, claim: Claim) -> None:
        """Removes the claim and its node."""
        if claim.node is not None:
            self._world.nodes.pop(claim.node.name, None)
            self._world.store.delete("Node", claim.node.name)
        self._world.store.patch("NodeClaim", claim.name, {"metadata": {"finalizers": None}}, manager=_MANAGER)

    def pool_status(self, pool: Mapping[str, Any], resources: Mapping[str, str]) -> None:
        """Writes the sum of a NodePool's nodes to its status."""
        at, name = self._world.stamp(), pool["metadata"]["name"]
        known = {entry["type"]: entry for entry in (pool.get("status") or {}).get("conditions", [])}
        kinds = ("ValidationSucceeded", "NodeClassReady", "NodeRegistrationHealthy", "Ready")
        conditions = [
            known.get(kind) or {"type": kind, "status": "True", "reason": kind, "message": "", "lastTransitionTime": at} for kind in kinds
        ]
        status = {"conditions": conditions, "resources": dict(resources), "nodes": int(resources.get("nodes", "0"))}
        self._world.store.update_status("NodePool", name, status, manager=_MANAGER)

    def _set(self, claim: Claim, kind: str, status: str, reason: str, message: str) -> None:
        before = claim.conditions.get(kind)
        since = before[3] if before is not None and before[0] == status else self._world.stamp()
        claim.conditions[kind] = (status, reason, message, since)

    def _write(self, claim: Claim) -> None:
        open_ = [kind for kind in ("Launched", "Registered", "Initialized") if claim.conditions[kind][0] != "True"]
        if open_:
            self._set(
                claim, "Ready", "Unknown", "ReconcilingDependents", ", ".join(f"{kind}={claim.conditions[kind][0]}" for kind in open_)
            )
        else:
            self._set(claim, "Ready", "True", "Ready", "")
        status: Object = {
            "conditions": [
                {"type": kind, "status": state, "reason": reason, "message": message, "lastTransitionTime": since, "observedGeneration": 1}
                for kind, (state, reason, message, since) in claim.conditions.items()
            ]
        }
        if claim.offering is not None:
            capacity = machine(claim.offering.instance_type).capacity() | dict(claim.more)
            status |= {"providerID": claim.provider_id, "imageID": "ami-03cf127a", "capacity": capacity, "allocatable": capacity}
        if claim.node is not None:
            status["nodeName"] = claim.node.name
        self._world.store.update_status("NodeClaim", claim.name, status, manager=_MANAGER)

    def _transition(self, claim: Claim, kind: str) -> None:
        text = f"Status condition transitioned, Type: {kind}, Status: Unknown -> True, Reason: {kind}"
        self._recorder.karpenter(claim.obj, "Normal", kind, text)


def _labels(offering: Offering) -> dict[str, str]:
    """The labels that a launch adds to its NodeClaim, and that its Node has."""
    return {TYPE_LABEL: offering.instance_type, ZONE_LABEL: offering.zone, CAPACITY_LABEL: offering.capacity_type}
