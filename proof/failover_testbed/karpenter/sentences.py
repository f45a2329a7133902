"""Karpenter's sentences about NodePools and pods (v1.14.1)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from failover_testbed.cluster.world import CAPACITY_LABEL, POOL_LABEL, TYPE_LABEL, Pod, machine
from failover_testbed.karpenter.pools import Pool

_ALL_FILTERED: Final = "nodepool requirements filtered out all available instance types"


def no_place(
    pod: Pod, pools: Mapping[str, Pool], open_types: Mapping[str, Sequence[str]], used: Mapping[str, Mapping[str, Decimal]]
) -> str:
    """The message of `FailedScheduling`: why no NodePool has a place for a pod.

    A NodePool of which nothing is available is missing from it, and the limits of NodePools that the pod cannot use are in it.

    Args:
        pod: The pod.
        pools: All NodePools by name.
        open_types: The types that each of them may launch now.
        used: What each of them uses.
    """
    reasons = []
    for name, pool in pools.items():
        if not open_types[name]:
            continue
        limit = pool.exceeded(used[name])
        if limit == "nodes":
            reasons.append(f"node limits have been exhausted for nodepool (NodePool={name})")
        elif limit:
            reasons.append(f"all available instance types exceed limits for nodepool (NodePool={name})")
        elif name == pod.unit.node_pool:
            reasons.append(_no_type(pod, pool))
        else:
            reasons.append(_incompatible(pod, pool, open_types[name]))
    return f"Failed to schedule pod, {'; '.join(reasons) or _ALL_FILTERED}"


def _incompatible(pod: Pod, pool: Pool, types: Sequence[str]) -> str:
    keys = [f"key {POOL_LABEL}, {POOL_LABEL} In [{pod.unit.node_pool}] not in {POOL_LABEL} In [{pool.name}]"]
    if pod.types and set(pod.types).isdisjoint(types):
        keys.append(f"key {TYPE_LABEL}, {TYPE_LABEL} In [{' '.join(pod.types)}] not in {TYPE_LABEL} In [{' '.join(sorted(types))}]")
    return f"incompatible requirements, {'; '.join(keys)}"


def _no_type(pod: Pod, pool: Pool) -> str:
    """Of a NodePool that has types available, but none for the pod."""
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
    resources = json.dumps({machine(pool.types[0]).accelerator: "1", "pods": "1"}, separators=(",", ":"))
    return f"no instance type met all requirements, requirements={requirements}, resources={resources}"
