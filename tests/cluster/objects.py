"""The objects of one application as its operators write them. Both upstream's and the minimal definitions accept them."""

from __future__ import annotations

from typing import Any, Final

from controller.policy.model import Unit
from controller.routing.ingress.action import format_action
from controller.routing.names import action_key
from failover_harness.controllers.karpenter import NODE_CLASS
from tests.support.applications import COST_TARGETS, SERVICES

Object = dict[str, Any]

ACTION: Final = action_key("weighted-routing")
CAPACITY: Final = "sd21-all"
ZONE: Final = "us-west-2b"
TAINT: Final = {"key": "accelerator", "value": "yes", "effect": "NoSchedule"}
"""The taint that keeps other pods, such as the controller's, off the units' nodes."""


def requirements(pool: str, instance_type: str, zones: tuple[str, ...] = ()) -> list[Object]:
    """The requirements of a pool's NodeClaim."""
    found = [
        {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]},
        {"key": "karpenter.sh/nodepool", "operator": "In", "values": [pool]},
        {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": [instance_type]},
    ]
    return found + ([{"key": "topology.kubernetes.io/zone", "operator": "In", "values": list(zones)}] if zones else [])


def ingress(namespace: str) -> Object:
    """The live rule with its action in cost mode, and a standby rule for every Service."""
    rules = [_rule("weighted-routing", {"name": "use-annotation"})]
    rules += [{"host": f"{name}.standby.invalid", **_rule(name, {"number": 80})} for name in (*SERVICES, CAPACITY)]
    annotations = {ACTION: format_action(COST_TARGETS, 0), "alb.ingress.kubernetes.io/target-type": "ip"}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "sd21", "namespace": namespace, "annotations": annotations},
        "spec": {"ingressClassName": "alb", "rules": rules},
    }


def _rule(service: str, port: Object) -> Object:
    return {"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {"service": {"name": service, "port": port}}}]}}


def deployment(unit: Unit, pool: str, replicas: int) -> Object:
    """A unit's Deployment; each pod fills a node."""
    container = {
        "name": "server",
        "image": "server:1",
        "ports": [{"containerPort": 8000}],
        "resources": {"requests": {"cpu": "3"}},
    }
    spec = {
        "nodeSelector": {"karpenter.sh/nodepool": pool},
        "tolerations": [{"key": TAINT["key"], "operator": "Exists"}],
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
    }
    labels = {"app": unit.name, "model": "sd21"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": unit.deployment},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": unit.name}},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def service(name: str, selector: dict[str, str]) -> Object:
    """A Service of port 80."""
    ports = [{"name": "http", "port": 80, "targetPort": 8000}]
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"selector": selector, "ports": ports}}


def scaled_object(unit: Unit) -> Object:
    """A unit's ScaledObject, with a setting in its trigger that the controller must not lose."""
    metadata = {
        "namespace": "hw-agnostic-infer",
        "expression": f'SELECT SUM("{unit.counter_metric}") FROM SCHEMA("hw-agnostic-infer")',
        "metricName": unit.counter_metric,
        "minMetricValue": "1",
        "targetMetricValue": f"{unit.throughput:g}",
        "awsRegion": "us-west-2",
    }
    trigger = {"type": "aws-cloudwatch", "metadata": metadata, "authenticationRef": {"name": "keda-aws"}}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": unit.scaled_object},
        "spec": {"scaleTargetRef": {"name": unit.deployment}, "minReplicaCount": 1, "maxReplicaCount": 20, "triggers": [trigger]},
    }


def binding(name: str, namespace: str) -> Object:
    """The TargetGroupBinding that the load-balancer controller makes for a Service in an Ingress."""
    return {
        "apiVersion": "elbv2.k8s.aws/v1beta1",
        "kind": "TargetGroupBinding",
        "metadata": {
            "name": f"k8s-{name}",
            "labels": {"ingress.k8s.aws/stack-namespace": namespace, "ingress.k8s.aws/stack-name": "sd21"},
        },
        "spec": {
            "serviceRef": {"name": name, "port": 80},
            "targetGroupARN": f"arn:aws:elasticloadbalancing:us-west-2:123456789012:targetgroup/{name}/0123456789abcdef",
            "targetType": "ip",
        },
    }


def node_pool(pool: str, instance_type: str) -> Object:
    """A NodePool of one instance type, on demand."""
    template = {"nodeClassRef": NODE_CLASS, "requirements": _pool_requirements(instance_type), "taints": [TAINT]}
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": pool},
        "spec": {"template": {"spec": template}},
    }


def _pool_requirements(instance_type: str) -> list[Object]:
    return [one for one in requirements("", instance_type) if one["key"] != "karpenter.sh/nodepool"]


def node_claim(name: str, pool: Object, instance_type: str, zones: tuple[str, ...]) -> Object:
    """A NodeClaim as Karpenter makes it for a pending pod."""
    owner = {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "name": pool["metadata"]["name"],
        "uid": pool["metadata"]["uid"],
        "blockOwnerDeletion": True,
    }
    metadata = {
        "name": name,
        "labels": {"karpenter.sh/nodepool": owner["name"]},
        "ownerReferences": [owner],
        "finalizers": ["karpenter.sh/termination"],
    }
    spec = {
        "expireAfter": "720h",
        "nodeClassRef": NODE_CLASS,
        "requirements": requirements(owner["name"], instance_type, zones),
        "resources": {"requests": {"cpu": "3", "pods": "1"}},
    }
    return {"apiVersion": "karpenter.sh/v1", "kind": "NodeClaim", "metadata": metadata, "spec": spec}


def refusal(claim: Object, instance_type: str, name: str, now: str) -> Object:
    """Karpenter's Event about a refusal for lack of capacity; Karpenter cuts the detail after 300 characters."""
    detail = (
        f"creating instance, insufficient capacity, with fleet error(s), InsufficientInstanceCapacity: We currently do not have sufficient "
        f"{instance_type} capacity in the Availability Zone you requested (us-west-2a). Our system will be working on provisioning "
        f"additional capacity. You can currently get {instance_type} capacity by not specifying an Availability Zone in your request"
    )
    message = f"NodeClaim {claim['metadata']['name']} event: {detail[:300]}..."
    return _karpenter_event("NodeClaim", claim, "InsufficientCapacityError", message, name, now)


def saturation(pool: Object, name: str, now: str) -> Object:
    """Karpenter's Event about a NodePool of which nothing is available any more."""
    message = "NodePool requirements filtered out all compatible available instance types"
    return _karpenter_event("NodePool", pool, "NoCompatibleInstanceTypes", message, name, now)


def _karpenter_event(kind: str, about: Object, reason: str, message: str, name: str, now: str) -> Object:
    metadata = about["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": "default"},
        "involvedObject": {
            "kind": kind,
            "apiVersion": "karpenter.sh/v1",
            "name": metadata["name"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        },
        "reason": reason,
        "message": message,
        "type": "Warning",
        "source": {"component": "karpenter"},
        "reportingComponent": "karpenter",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
