"""The cluster's components as objects, as their charts render them with the values of deploy/cluster.

The objects contain only what `failoverctl doctor` reads. Fakes do the components' work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from failover_testbed.cluster.world import Object

SYSTEM: Final = "kube-system"
_READINESS_LABEL: Final = "elbv2.k8s.aws/pod-readiness-gate-inject"
_EVERY_TAINT: Final = [{"operator": "Exists"}]
AUTHENTICATION: Final = "keda-aws"
NODE_CLASS: Final = "default"
"""The EC2NodeClass of every NodePool."""


def _labels(name: str, version: str = "") -> dict[str, str]:
    return {"app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": "Helm"} | (
        {"app.kubernetes.io/version": version} if version else {}
    )


def _workload(kind: str, namespace: str, name: str, image: str, spec: Mapping[str, Any], container: Mapping[str, Any]) -> Object:
    selector = {"app.kubernetes.io/name": name}
    containers = [{"name": name, "image": image, **container}]
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "labels": _labels(name)},
        "spec": {
            **({"replicas": 2} if kind == "Deployment" else {}),
            "selector": {"matchLabels": selector},
            "template": {"metadata": {"labels": selector}, "spec": {**spec, "containers": containers}},
        },
    }


def _deployment(namespace: str, name: str, image: str, **container: object) -> Object:
    return _workload("Deployment", namespace, name, image, {}, container)


def _daemon_set(namespace: str, name: str, image: str, **spec: object) -> Object:
    return _workload("DaemonSet", namespace, name, image, spec, {})


def _environment(**values: str) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def _nodes(key: str, *values: str) -> dict[str, Any]:
    """An affinity to nodes whose label has one of these values."""
    terms = [{"matchExpressions": [{"key": key, "operator": "In", "values": list(values)}]}]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}


def workloads(cluster: str = "demo") -> Iterator[Object]:
    """The Deployments and DaemonSets."""
    gates = "ReservedCapacity=false,SpotToSpotConsolidation=false,NodeRepair=false"
    yield _deployment(
        SYSTEM,
        "karpenter",
        "public.ecr.aws/karpenter/controller:1.14.1",
        env=_environment(CLUSTER_NAME=cluster, INTERRUPTION_QUEUE=cluster, FEATURE_GATES=gates),
    )
    yield _deployment(
        SYSTEM,
        "aws-load-balancer-controller",
        "public.ecr.aws/eks/aws-load-balancer-controller:v3.5.0",
        args=[
            f"--cluster-name={cluster}",
            "--ingress-class=alb",
            "--enable-pod-readiness-gate-inject=true",
            "--tolerate-non-existent-backend-service=false",
            "--tolerate-non-existent-backend-action=false",
        ],
    )
    yield _deployment("keda", "keda-operator", "ghcr.io/kedacore/keda:2.20.2", env=_environment(WATCH_NAMESPACE=""))
    yield _deployment("keda", "keda-operator-metrics-apiserver", "ghcr.io/kedacore/keda-metrics-apiserver:2.20.2")
    yield _daemon_set(
        SYSTEM,
        "nvidia-device-plugin",
        "nvcr.io/nvidia/k8s-device-plugin:v0.20.0",
        tolerations=_EVERY_TAINT,
        affinity=_nodes("karpenter.k8s.aws/instance-gpu-manufacturer", "nvidia"),
    )
    yield _daemon_set(
        SYSTEM,
        "neuron-device-plugin",
        "public.ecr.aws/neuron/neuron-device-plugin:2.31.0.0",
        tolerations=_EVERY_TAINT,
        affinity=_nodes("node.kubernetes.io/instance-type", "inf2.xlarge", "inf2.8xlarge", "trn1.2xlarge", "trn1.32xlarge"),
    )
    insights = "amazon-cloudwatch"
    agent = "public.ecr.aws/cloudwatch-agent"
    name = "amazon-cloudwatch-observability-controller-manager"
    yield _deployment(insights, name, f"{agent}/cloudwatch-agent-operator:3.6.0")
    yield _daemon_set(insights, "cloudwatch-agent", f"{agent}/cloudwatch-agent:1.300070.0b1586", tolerations=_EVERY_TAINT)


def cluster_scoped() -> Iterator[Object]:
    """The components' cluster-scoped objects, except their custom resource definitions."""
    yield {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": "alb"},
        "spec": {"controller": "ingress.k8s.aws/alb"},
    }
    yield {
        "apiVersion": "karpenter.k8s.aws/v1",
        "kind": "EC2NodeClass",
        "metadata": {"name": NODE_CLASS},
        "spec": {
            "amiSelectorTerms": [{"alias": "al2023@latest"}],
            "role": "KarpenterNodeRole",
            "subnetSelectorTerms": [{"tags": {"karpenter.sh/discovery": "demo"}}],
            "securityGroupSelectorTerms": [{"tags": {"karpenter.sh/discovery": "demo"}}],
        },
    }
    yield {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1beta1.external.metrics.k8s.io"},
        "spec": {
            "group": "external.metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
            "service": {"name": "keda-operator-metrics-apiserver", "namespace": "keda", "port": 443},
        },
    }


def namespace(name: str, *, gated: bool = False) -> Object:
    """A namespace.

    Args:
        name: Its name.
        gated: Whether pods in it get readiness gates.
    """
    labels = {"kubernetes.io/metadata.name": name} | ({_READINESS_LABEL: "enabled"} if gated else {})
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def trigger_authentication(where: str) -> Object:
    """The TriggerAuthentication that lets KEDA's triggers in one namespace use the operator's AWS role."""
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "TriggerAuthentication",
        "metadata": {"name": AUTHENTICATION, "namespace": where},
        "spec": {"podIdentity": {"provider": "aws"}},
    }


def all_well(workload: Object, nodes: int = 1) -> Object:
    """The status of a workload whose pods are all ready.

    Args:
        workload: A Deployment or DaemonSet.
        nodes: How many nodes run a pod of a DaemonSet.
    """
    if workload["kind"] == "DaemonSet":
        counts = dict.fromkeys(("currentNumberScheduled", "desiredNumberScheduled", "numberAvailable", "numberReady"), nodes)
        return {"observedGeneration": 1, "numberMisscheduled": 0, **counts}
    replicas = workload["spec"]["replicas"]
    return {"observedGeneration": 1, **dict.fromkeys(("replicas", "readyReplicas", "availableReplicas", "updatedReplicas"), replicas)}
