"""A stack built by hand after the AWS sample: one action over five Services, a shared label, `/health`, no standby rules.

There is a second Ingress manifest for capacity mode. Deployments and Services have different names, and KEDA's period is its default.
"""

from __future__ import annotations

from typing import Any, Final

from controller.policy.model import Target
from controller.routing.ingress.action import format_action
from tests.support.applications import COST_TARGETS, seed_units

Object = dict[str, Any]

INGRESS: Final = "gradio-mix-ing"
CAPACITY: Final = "gradio-mix-svc"
LABEL: Final = "gradio-mix-alb"
STICKY_S: Final = 200
POOLS: Final = {
    "sd21-inf2": "amd-neuron-inf2",
    "sd21-trn1": "amd-neuron-trn1",
    "sd21-g5-triton": "amd-nvidia-a10g",
    "sd21-g6-triton": "amd-nvidia-l4",
    "sd21-g5-cuda": "amd-nvidia-a10g",
}
"""The units' NodePools, with the AWS sample's names."""
_DEVICES: Final = {"inf2": "xla", "trn1": "xla", "triton": "triton", "cuda": "cuda"}


def stack(namespace: str, *, suffix: str = "", capacity_service: bool = True) -> list[Object]:
    """All objects, in order of creation.

    Args:
        namespace: Their namespace.
        suffix: Suffix of the NodePools' names, which are cluster-scoped.
        capacity_service: Whether to include the Service over all pods.
    """
    pools = [_node_pool(pool, suffix) for pool in sorted(set(POOLS.values()))]
    units = [one for unit in seed_units() for one in _unit(namespace, unit.name, f"{POOLS[unit.name]}{suffix}", unit.throughput)]
    over_all = [_service(namespace, CAPACITY, {"albapp": LABEL})] if capacity_service else []
    return [*pools, *units, *over_all, ingress(namespace)]


def deployment_name(unit: str) -> str:
    """The name of a unit's Deployment, which differs from its Service's."""
    return unit.replace("sd21", "stable-diffusion")


def _node_pool(pool: str, suffix: str) -> Object:
    _, maker, device = pool.split("-")
    key = "instance-family" if maker == "neuron" else "instance-gpu-name"
    requirements = [
        {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]},
        {"key": f"karpenter.k8s.aws/{key}", "operator": "In", "values": [device]},
        {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]},
    ]
    reference = {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": f"amd-{maker}"}
    spec = {"template": {"spec": {"requirements": requirements, "nodeClassRef": reference}}, "limits": {"cpu": "1000"}}
    return {"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": f"{pool}{suffix}"}, "spec": spec}


def _unit(namespace: str, name: str, pool: str, throughput: float) -> list[Object]:
    resource = "aws.amazon.com/neuron" if "neuron" in pool else "nvidia.com/gpu"
    deployment = deployment_name(name)
    container = {
        "name": "app",
        "image": "registry.example/stable-diffusion:amd64",
        "env": [
            {"name": "APP", "value": name},
            {"name": "NODEPOOL", "value": pool},
            {"name": "DEVICE", "value": next(value for key, value in _DEVICES.items() if name.endswith(key))},
            {"name": "MODEL_ID", "value": "stabilityai/stable-diffusion-2-1"},
            {"name": "HUGGINGFACE_TOKEN", "value": "hf_not-to-be-shown"},
        ],
        "ports": [{"containerPort": 8000}],
        "resources": {"limits": {resource: "1"}, "requests": {resource: "1"}},
        "readinessProbe": {"httpGet": {"path": "/readiness", "port": 8000}, "initialDelaySeconds": 60, "periodSeconds": 10},
    }
    template = {
        "metadata": {"labels": {"app": deployment, "albapp": LABEL}},
        "spec": {
            "nodeSelector": {"karpenter.sh/nodepool": pool},
            "tolerations": [{"key": resource, "operator": "Exists", "effect": "NoSchedule"}],
            "containers": [container],
            "terminationGracePeriodSeconds": 0,
        },
    }
    trigger = {
        "type": "aws-cloudwatch",
        "metadata": {
            "namespace": "hw-agnostic-infer",
            "expression": f'SELECT SUM("{name}-counter") FROM SCHEMA("hw-agnostic-infer")',
            "metricName": f"{name}-counter",
            "minMetricValue": "1",
            "targetMetricValue": f"{throughput:g}",
            "metricUnit": "Count",
            "awsRegion": "us-west-2",
        },
    }
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": deployment, "namespace": namespace},
            "spec": {"selector": {"matchLabels": {"app": deployment}}, "template": template},
        },
        _service(namespace, name, {"app": deployment}),
        {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "ScaledObject",
            "metadata": {"name": f"{deployment}-hpa", "namespace": namespace},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment},
                "minReplicaCount": 1,
                "triggers": [trigger],
            },
        },
    ]


def _service(namespace: str, name: str, selector: dict[str, str]) -> Object:
    spec = {"type": "NodePort", "selector": selector, "ports": [{"port": 80, "targetPort": 8000, "protocol": "TCP"}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def ingress(namespace: str, *, capacity: bool = False) -> Object:
    """The Ingress of cost mode, or the second one for capacity mode."""
    action = format_action([Target(CAPACITY, 80, 1)] if capacity else COST_TARGETS, STICKY_S)
    prefix = "alb.ingress.kubernetes.io"
    annotations = {
        "kubernetes.io/ingress.class": "alb",
        f"{prefix}/scheme": "internet-facing",
        f"{prefix}/target-type": "ip",
        f"{prefix}/healthcheck-path": "/health",
        f"{prefix}/healthcheck-interval-seconds": "10",
        f"{prefix}/healthcheck-timeout-seconds": "9",
        f"{prefix}/healthy-threshold-count": "2",
        f"{prefix}/unhealthy-threshold-count": "10",
        f"{prefix}/success-codes": "200-301",
        f"{prefix}/actions.weighted-routing": action,
    }
    backend = {"service": {"name": "weighted-routing", "port": {"name": "use-annotation"}}}
    rules = [{"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]
    metadata = {"name": INGRESS, "namespace": namespace, "annotations": annotations}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": {"rules": rules}}


def application_document(namespace: str, *, suffix: str = "") -> Object:
    """The application file that a person who knows this stack writes by hand."""
    units = [
        {
            "name": unit.name,
            "service": {"name": unit.name, "port": 80},
            "deployment": deployment_name(unit.name),
            "nodePool": f"{POOLS[unit.name]}{suffix}",
            "instanceType": unit.instance_type,
            "pricePerHour": unit.price_per_hour,
            "throughput": unit.throughput,
            "latencySeconds": unit.latency_s,
            **({"latencyLimitSeconds": round(unit.latency_s * 1.25, 2)} if unit.latency_s >= 0.9 else {}),
            "weight": unit.weight,
            "scaledObject": f"{deployment_name(unit.name)}-hpa",
            "counterMetric": unit.counter_metric,
            "latencyMetric": unit.latency_metric,
        }
        for unit in seed_units()
    ]
    return {
        "apiVersion": "failoverctl.dev/v1alpha1",
        "kind": "FailoverApplication",
        "metadata": {"name": INGRESS, "namespace": namespace},
        "spec": {
            "ingress": INGRESS,
            "action": "weighted-routing",
            "capacityService": {"name": CAPACITY, "port": 80},
            "metrics": {"namespace": "hw-agnostic-infer", "periodSeconds": 300},
            "units": units,
            "policy": {"stickinessCostSeconds": STICKY_S},
        },
    }
