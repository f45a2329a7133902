"""Karpenter's sentences about NodePools and pods (v1.14.1)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Final

from failover_testbed.capacity.karpenter import IGNORED
from failover_testbed.cluster.world import CAPACITY_LABEL, POOL_LABEL, TYPE_LABEL, Pod, machine
from failover_testbed.karpenter.pools import Pool

Fits = Callable[[Pool, Pod], Sequence[str]]

_ALL_FILTERED: Final = "nodepool requirements filtered out all available instance types"

BUDGETED: Final = "No allowed disruptions for disruption reason Empty due to blocking budget"
"""The message of `DisruptionBlocked` about a NodePool whose empty nodes a disruption budget keeps."""


class CreateError(StrEnum):
    """Why a launch failed that is repeated: the reason of `Launched`, `Unknown`, while its NodeClaim lives. No event says it."""

    LAUNCH_FAILED = "LaunchFailed"
    THROTTLED = "RequestLimitExceeded"
    INTERNAL = "InternalError"
    QUOTA = "VCPULimitExceeded"
    PENDING_VERIFICATION = "AccountPendingVerification"

    @property
    def message(self) -> str:
        """Of the same condition."""
        return _CREATE_ERRORS[self]


_CREATE_ERRORS: Final = {
    CreateError.LAUNCH_FAILED: "Instance launch failed",
    CreateError.THROTTLED: "Request limit exceeded",
    CreateError.INTERNAL: "An internal error has occurred",
    CreateError.QUOTA: "An instance was requested that would exceed your VCPU quota",
    CreateError.PENDING_VERIFICATION: (
        "An instance launch was requested but the request for launching resources in this region is still being verified"
    ),
}

INTERRUPTIONS: Final = {
    "spot": ("SpotInterrupted", "Spot interruption warning was triggered"),
    "reserved": ("CapacityReservationInstanceInterrupted", "Capacity Reservation interruption warning was triggered"),
}
"""The event about an instance that EC2 takes back, by capacity type: reason and message."""


def no_place(
    pod: Pod, pools: Mapping[str, Pool], open_types: Mapping[str, Sequence[str]], used: Mapping[str, Mapping[str, Decimal]], fits: Fits
) -> str:
    """The message of `FailedScheduling`: why no NodePool has a place for a pod.

    A NodePool of which nothing is available is missing from it, and the limits of NodePools that the pod cannot use are in it.

    Args:
        pod: The pod.
        pools: All NodePools that launch nodes for pods, by name.
        open_types: The types that each of them may launch now.
        used: What each of them uses.
        fits: The types of a NodePool that have what a pod requests, available or not.
    """
    if pod.claims_devices:
        return f"Failed to schedule pod, {IGNORED}"
    reasons = []
    for name, pool in pools.items():
        if not open_types[name]:
            continue
        limit = pool.exceeded(used[name])
        if limit == "nodes":
            reasons.append(f"node limits have been exhausted for nodepool (NodePool={name})")
        elif limit:
            reasons.append(f"all available instance types exceed limits for nodepool (NodePool={name})")
        elif name in pod.node_pools:
            reasons.append(_no_type(pod, pool, open_types[name], fits(pool, pod)))
        else:
            reasons.append(_incompatible(pod, pool, open_types[name]))
    return f"Failed to schedule pod, {'; '.join(reasons) or _ALL_FILTERED}"


def _incompatible(pod: Pod, pool: Pool, types: Sequence[str]) -> str:
    keys = [f"key {POOL_LABEL}, {POOL_LABEL} In [{' '.join(pod.node_pools)}] not in {POOL_LABEL} In [{pool.name}]"]
    if pod.types and set(pod.types).isdisjoint(types):
        keys.append(f"key {TYPE_LABEL}, {TYPE_LABEL} In [{' '.join(pod.types)}] not in {TYPE_LABEL} In [{' '.join(sorted(types))}]")
    return f"incompatible requirements, {'; '.join(keys)}"


def _no_type(pod: Pod, pool: Pool, available: Sequence[str], fitting: Sequence[str]) -> str:
    """Of a NodePool that has types available, but none, or too few, for the pod."""
    labels = {
        "karpenter.k8s.aws/ec2nodeclass": "default",
        CAPACITY_LABEL: " ".join(sorted(pool.capacity_types)),
        "karpenter.sh/initialized": "true",
        POOL_LABEL: pool.name,
        "karpenter.sh/registered": "true",
        TYPE_LABEL: " ".join(pod.types or pool.types),
        "pool": pool.obj["spec"]["template"].get("metadata", {}).get("labels", {}).get("pool", ""),
    }
    requirements = ", ".join(f"{key} In [{value}]" for key, value in labels.items() if value)
    requests = {machine(pool.types[0]).accelerator: "1", "pods": "1"} | dict.fromkeys(pod.more, "1")
    resources = json.dumps(dict(sorted(requests.items())), separators=(",", ":"))
    return f"{_why(pod, pool, available, fitting)}, requirements={requirements}, resources={resources}"


def _why(pod: Pod, pool: Pool, available: Sequence[str], fitting: Sequence[str]) -> str:
    """Karpenter judges the types that are available; those that are refused are no longer among them."""
    asked = set(pool.suits(pod.types)).intersection(available)
    if len(asked.intersection(fitting)) in range(1, pool.min_types):
        return f"minValues requirement is not met for label(s) (label(s)=[{TYPE_LABEL}])"
    if not asked:
        return "no instance type met all requirements"
    return "no instance type has enough resources"
