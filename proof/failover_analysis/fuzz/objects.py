"""The Kubernetes objects of a random world, as the API server would show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from controller.clock import format_rfc3339
from controller.signals.instance_labels import DOMAINS, TYPE_LABEL
from controller.signals.node_labels import CAPACITY_LABEL, POOL_LABEL, ZONE_LABEL
from failover_analysis.fuzz.claims import Claim
from failover_analysis.fuzz.world import NAMESPACE, PoolPlan, UnitPlan
from failover_testbed.capacity.ec2 import RESERVATION_FULL, UNAVAILABLE_TEXT, Code, Offering, event_message
from failover_testbed.capacity.karpenter import FEW_TYPES, NO_COMPATIBLE

START: Final = 1_800_000_000.0
_FAMILY_LABEL: Final = f"{DOMAINS[0]}/instance-family"
_HINT: Final = "Our system will be working on provisioning additional capacity. You can currently get"


def _time(t: float) -> str:
    return format_rfc3339(float(int(START + t)))


def _in(key: str, values: Sequence[str]) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": list(values)}


def pod(name: str, unit: UnitPlan, since: float, *, node: str = "") -> dict[str, Any]:
    """A replica that waits, or one that has its node."""
    terms = [_in(POOL_LABEL, unit.pools), *([_in(TYPE_LABEL, unit.types)] if unit.pinned else [])]
    required = {"nodeSelectorTerms": [{"matchExpressions": terms}]}
    waits = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "lastTransitionTime": _time(since)}
    return {
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {"app": unit.name},
            "creationTimestamp": _time(since),
            "ownerReferences": [{"kind": "ReplicaSet", "name": f"{unit.name}-1", "controller": True}],
        },
        "spec": {
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}},
            "containers": [{"resources": {"limits": {"fuzz.example/device": "1"}}}],
            **({"nodeName": node} if node else {}),
        },
        "status": {"phase": "Pending", "conditions": [] if node else [waits]},
    }


def deployment(unit: UnitPlan, desired: int, ready: int) -> dict[str, Any]:
    """A unit's Deployment."""
    selector = [_in(TYPE_LABEL, unit.types)] if unit.pinned else []
    required = {"nodeSelectorTerms": [{"matchExpressions": [_in(POOL_LABEL, unit.pools), *selector]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    return {
        "metadata": {"name": unit.name, "namespace": NAMESPACE},
        "spec": {
            "replicas": desired,
            "selector": {"matchLabels": {"app": unit.name}},
            "template": {"spec": {"affinity": affinity}},
        },
        "status": {"readyReplicas": ready},
    }


def endpoints(service: str, ready: Sequence[str]) -> dict[str, Any]:
    """The ready endpoints of a Service."""
    return {
        "metadata": {"name": service, "namespace": NAMESPACE, "labels": {"kubernetes.io/service-name": service}},
        "endpoints": [
            {"addresses": ["10.0.0.1"], "conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": name}} for name in ready
        ],
    }


def node_pool(pool: PoolPlan, nodes: int) -> dict[str, Any]:
    """A NodePool with the nodes that it has, those that boot included."""
    asked = _in(_FAMILY_LABEL, pool.families) if pool.families else _in(TYPE_LABEL, pool.types)
    requirements = [asked if not pool.min_types else {**asked, "minValues": pool.min_types}, _in(CAPACITY_LABEL, pool.capacity_types)]
    limits = {} if pool.limit is None else {"limits": {"nodes": str(pool.limit)}}
    return {
        "metadata": {"name": pool.name},
        "spec": {"template": {"spec": {"requirements": requirements}}, **limits, **({"replicas": 1} if pool.static else {})},
        "status": {"resources": {"nodes": str(nodes)}},
    }


def node_claim(claim: Claim, now: float, *, deleting: bool = False) -> dict[str, Any]:
    """A NodeClaim as it is now."""
    labels = {POOL_LABEL: claim.pool.name}
    if claim.offering is not None:
        labels |= dict(zip((TYPE_LABEL, ZONE_LABEL, CAPACITY_LABEL), claim.offering, strict=True))
    return {
        "metadata": {
            "name": claim.name,
            "uid": claim.name,
            "labels": labels,
            "creationTimestamp": _time(claim.created),
            **({"deletionTimestamp": _time(now)} if deleting else {}),
        },
        "spec": {
            "requirements": [_in(TYPE_LABEL, claim.types), _in(CAPACITY_LABEL, claim.kinds), _in(POOL_LABEL, [claim.pool.name])],
            "resources": {"requests": {"fuzz.example/device": "1", "pods": "1"}},
        },
        "status": {
            "conditions": [{"type": kind, "status": "True", "lastTransitionTime": _time(t)} for kind, t in claim.steps.items()],
        },
    }


def _event(kind: str, name: str, reason: str, message: str, t: float) -> dict[str, Any]:
    return {
        "metadata": {"name": f"{name}.{t:.3f}", "namespace": NAMESPACE if kind == "Pod" else "default"},
        "involvedObject": {"kind": kind, "name": name, "namespace": NAMESPACE if kind == "Pod" else ""},
        "reason": reason,
        "message": message,
        "type": "Warning",
        "source": {"component": "karpenter"},
        "count": 1,
        "lastTimestamp": _time(t),
    }


def refused(claim: str, offerings: Sequence[Offering], t: float) -> dict[str, Any]:
    """The event of a refused launch: cut, so that it names one offering; none was left to ask for where there are none."""
    if not offerings:
        return _event("NodeClaim", claim, "InsufficientCapacityError", event_message(claim, UNAVAILABLE_TEXT), t)
    start = f"NodeClaim {claim} event: creating instance, insufficient capacity, "
    instance_type, zone, kind = offerings[0]
    missing = f"We currently do not have sufficient {instance_type} capacity in the Availability Zone you requested ({zone}). {_HINT} ..."
    code, said = (Code.RESERVATION, RESERVATION_FULL) if kind == "reserved" else (Code.CAPACITY, missing)
    text = f"{start}with fleet error(s), {code}: {said}"
    return _event("NodeClaim", claim, "InsufficientCapacityError", text, t)


def interrupted(claim: str, t: float) -> dict[str, Any]:
    """EC2 takes a spot instance back."""
    return _event("NodeClaim", claim, "SpotInterrupted", "Spot interruption warning was triggered", t)


def blocked(pool: str, t: float, *, too_few: bool = False) -> dict[str, Any]:
    """Nothing that a NodePool may have is available, or too little for its `minValues`."""
    return _event("NodePool", pool, "NoCompatibleInstanceTypes", FEW_TYPES if too_few else NO_COMPATIBLE, t)


def budgeted(pool: str, t: float) -> dict[str, Any]:
    """A disruption budget lets Karpenter replace nothing."""
    return {
        **_event("NodePool", pool, "DisruptionBlocked", "No allowed disruptions for disruption reason Empty due to blocking budget", t),
        "type": "Normal",
    }


def throttled(claim: Claim, now: float, since: float) -> dict[str, Any]:
    """A NodeClaim whose launch EC2 does not answer, because it is asked too much."""
    obj = node_claim(claim, now)
    failing = {"type": "Launched", "status": "Unknown", "reason": "RequestLimitExceeded", "lastTransitionTime": _time(since)}
    obj["status"]["conditions"].append(failing)
    return obj


def unavailable(pool: str, *, overlaid: bool = False) -> str:
    """What a pod's event says of a NodePool that has something, but nothing for the pod: the others are refused."""
    why = "has enough resources" if overlaid else "met all requirements"
    return f"no instance type {why}, requirements=karpenter.sh/nodepool In [{pool}], resources={{}}"


def foreign(own: Sequence[str], pool: str) -> str:
    """What a pod's event says of a NodePool that the pod may not use."""
    key = POOL_LABEL
    return f"incompatible requirements, key {key}, {key} In [{' '.join(own)}] not in {key} In [{pool}]"


def limited(pool: str) -> str:
    """What a pod's event says of a NodePool at its limit."""
    return f"all available instance types exceed limits for nodepool: (NodePool={pool})"


def unschedulable(name: str, why: Sequence[str], t: float) -> dict[str, Any]:
    """Karpenter's event on a pod that it can place nowhere. A NodePool of which nothing is available is missing among the reasons."""
    why = why or ["nodepool requirements filtered out all available instance types"]
    return _event("Pod", name, "FailedScheduling", "Failed to schedule pod, " + "; ".join(why), t)
