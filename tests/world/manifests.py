"""Manifests of the AWS sample's stack: as published, and of the same shape made here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from controller.routing.names import action_key
from tests.support import hand_built
from tests.support.applications import seed_units

VARIABLE: Final = "FAILOVER_TEST_SAMPLE"
"""Names a checkout of the AWS sample's public repository."""

CLUSTER: Final = "kub316"
"""The cluster's name in the published node classes: part of their role and of the tags by which they find the network."""

_FILES: Final = (
    "nodepools/amd-neuron-inf2-nodepool.yaml",
    "nodepools/amd-neuron-trn1-nodepool.yaml",
    "nodepools/amd-nvidia-a10g-nodepool.yaml",
    "nodepools/amd-nvidia-l4-nodepool.yaml",
    "sd21-inf2-deploy.yaml",
    "sd21-trn1-deploy.yaml",
    "sd21-a10g-triton-deploy.yaml",
    "sd21-a10g-cuda-deploy.yaml",
    "sd21-l4-triton-deploy.yaml",
    "sd21-equal-routing-ing.yaml",  # its first document is the Service over all pods; its Ingress is the other mode's
    "sd21-weighted-routing-ing.yaml",
    "sd21-scaledobject.yaml",
)
_CLUSTER_SCOPED: Final = ("NodePool", "EC2NodeClass")
_TYPES: Final = {"inf2": "inf2.xlarge", "trn1": "trn1.2xlarge", "a10g": "g5.xlarge", "l4": "g6.xlarge"}

Object = dict[str, Any]


class Missing(Exception):
    """The published manifests are not at hand; the message says how to name them."""


@dataclass(frozen=True, slots=True)
class Manifests:
    """One stack.

    Attributes:
        objects: In order of application. Names of cluster-scoped objects are as written.
        ingress: The name of its Ingress.
        capacity: The Service over all pods.
        pools: The NodePool of each unit.
        counters: The counter metric of each unit.
        targets: What one pod of each unit serves in a period.
    """

    objects: tuple[Object, ...]
    ingress: str
    capacity: str
    pools: dict[str, str]
    counters: dict[str, str]
    targets: dict[str, float]

    @property
    def units(self) -> tuple[str, ...]:
        """The Services of the units."""
        return tuple(sorted(self.pools))

    def the_ingress(self) -> Object:
        """A copy of its Ingress as it is written."""
        return deepcopy(next(one for one in self.objects if one["kind"] == "Ingress"))

    def action(self) -> str:
        """The routing action that is written in it."""
        return str(self.the_ingress()["metadata"]["annotations"][action_key("weighted-routing")])


def of_the_same_shape(namespace: str) -> Manifests:
    """Five units on four NodePools that allow a family each, KEDA's default period, stickiness, and no standby rules.

    Args:
        namespace: Its namespace.
    """
    units = seed_units()
    return Manifests(
        (*_node_classes(), *(_adapted(one, namespace) for one in hand_built.stack(namespace))),
        hand_built.INGRESS,
        hand_built.CAPACITY,
        dict(hand_built.POOLS),
        {unit.name: unit.counter_metric for unit in units},
        {unit.name: unit.throughput for unit in units},
    )


def published(namespace: str) -> Manifests:
    """What the repository that `VARIABLE` names publishes for Stable Diffusion, changed as little as the API server demands.

    Args:
        namespace: Its namespace.

    Raises:
        Missing: The variable names no checkout.
    """
    given = os.environ.get(VARIABLE, "")
    root = Path(given)
    if not given or not (root / _FILES[0]).is_file():
        raise Missing(f"{VARIABLE}={given!r} names no checkout of aws-samples/scalable-hw-agnostic-inference")
    found = [one for name in _FILES for one in _documents(root / name)]
    others = [one for one in found if one["kind"] not in {"Ingress", *_CLUSTER_SCOPED}]
    pools = {one["metadata"]["name"]: _adapted(one, namespace) for one in found if one["kind"] == "NodePool"}
    ingress = [one for one in found if one["kind"] == "Ingress"][-1]  # the last file's is cost mode's
    placed = {
        one["metadata"]["name"]: one["spec"]["template"]["spec"]["nodeSelector"]["karpenter.sh/nodepool"]
        for one in others
        if one["kind"] == "Deployment"
    }
    triggers = {one["metadata"]["name"]: one["spec"]["triggers"][0]["metadata"] for one in others if one["kind"] == "ScaledObject"}
    return Manifests(
        (*_node_classes(), *pools.values(), *(_adapted(one, namespace) for one in (*others, ingress))),
        ingress["metadata"]["name"],
        "sd21",
        placed,
        {name: trigger["metricName"] for name, trigger in triggers.items()},
        {name: float(trigger["targetMetricValue"]) for name, trigger in triggers.items()},
    )


def first_type(pool: str) -> str:
    """The smallest instance type of a NodePool, by the accelerator in its name."""
    return _TYPES[pool.rsplit("-", 1)[-1]]


def _documents(path: Path) -> Iterator[Object]:
    yield from (one for one in yaml.safe_load_all(path.read_text()) if one)


def _node_classes() -> Iterator[Object]:
    """The two published node classes in the present version. The image of AL2, which they name, does not exist for this Kubernetes."""
    terms = [{"tags": {"karpenter.sh/discovery": CLUSTER}}]
    for name in ("amd-neuron", "amd-nvidia"):
        spec = {
            "amiSelectorTerms": [{"alias": "al2023@latest"}],
            "role": f"KarpenterNodeRole-{CLUSTER}",
            "subnetSelectorTerms": terms,
            "securityGroupSelectorTerms": terms,
        }
        yield {"apiVersion": "karpenter.k8s.aws/v1", "kind": "EC2NodeClass", "metadata": {"name": name}, "spec": spec}


def _adapted(written: Object, namespace: str) -> Object:
    """An object as this cluster's API server takes it."""
    made = deepcopy(written)
    if made["kind"] == "NodePool":
        return _present_node_pool(made)
    made["metadata"]["namespace"] = namespace
    if made["kind"] == "Deployment":
        pod = made["spec"]["template"]["spec"]
        pod.pop("schedulerName", None)  # a scheduler of the sample's own account
        pod["terminationGracePeriodSeconds"] = 0  # the fake kubelet has nothing to wait for
        pod["volumes"] = list({volume["name"]: volume for volume in pod.get("volumes", ())}.values())  # one is written twice
        # The published service account holds credentials of AWS, which no pod here uses.
        pod.pop("serviceAccountName", None)
    if made["kind"] == "ScaledObject":
        for trigger in made["spec"]["triggers"]:
            trigger["authenticationRef"] = {"name": "keda-aws"}  # the published Secret holds keys of a person's account
    return made


def _present_node_pool(pool: Object) -> Object:
    """A NodePool in version v1, which moved and renamed what the published version v1beta1 has."""
    template = pool["spec"]["template"]["spec"]
    template["nodeClassRef"] = {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": template["nodeClassRef"]["name"]}
    disruption = pool["spec"].get("disruption", {})
    if "expireAfter" in disruption:
        template["expireAfter"] = disruption.pop("expireAfter")
    if disruption.get("consolidationPolicy") == "WhenUnderutilized":
        disruption |= {"consolidationPolicy": "WhenEmptyOrUnderutilized", "consolidateAfter": "0s"}
    return {**pool, "apiVersion": "karpenter.sh/v1"}
