"""The applications of a benchmark: each has the AWS sample's five units, is in cost mode, and fails over at the next refusal.

Each application has its own NodePool for its inf2 unit, so that a refusal affects one application, or all share one. The other four units
share three NodePools over the whole fleet. The NodeClaim and an unschedulable pod already exist.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.wire import Wire
from controller.catalog.application import ApplicationFile
from controller.clients.kube import (
    APPLY_PATCH,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    FAILOVER_APPLICATIONS,
    GATEWAYS,
    HTTP_ROUTES,
    INGRESSES,
    JSON,
    MERGE_PATCH,
    NODE_CLAIMS,
    NODE_POOLS,
    PODS,
    SCALED_OBJECTS,
    SERVICES,
    TARGET_GROUP_BINDINGS,
    Object,
    Resource,
)
from controller.clock import format_rfc3339
from controller.policy.model import Target
from controller.routing.gateway.backends import backends_of
from controller.routing.gateway.standby import standby_rule
from controller.routing.ingress.action import format_action
from controller.routing.names import action_key

STATE_NAMESPACE: Final = "failover-system"
ACTION: Final = "weighted-routing"
_MAIN: Final = "main"

_WRITERS: Final = 6
_PER_NAMESPACE: Final = 100
_FILE: Final = 50  # applications per file: the loader accepts 256 KiB
READY: Final = 2
"""Ready replicas of each unit."""
# Unit, NodePool ("" = its own), instance type, price, throughput, latency, weight: the AWS sample's Table 1 and weights.
_UNITS: Final = (
    ("inf2", "", "inf2.xlarge", 0.7582, 105, 0.67, 40),
    ("trn1", "trn1", "trn1.2xlarge", 1.3438, 130, 0.51, 20),
    ("g5-triton", "g5", "g5.xlarge", 1.0060, 90, 0.68, 15),
    ("g6-triton", "g6", "g6.xlarge", 0.8048, 61, 0.96, 10),
    ("g5-cuda", "g5", "g5.xlarge", 1.0060, 60, 0.92, 15),
)
UNITS: Final = len(_UNITS)
_NODE_CLASS: Final = {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"}


@dataclass(frozen=True, slots=True)
class Member:
    """An application of the fleet.

    Attributes:
        number: Number, unique in the benchmark.
        namespace: Its namespace.
        shared: Whether its inf2 unit has its NodePool with all others: one refusal concerns them all.
        routed: Whether an HTTPRoute routes it, and not an Ingress.
    """

    number: int
    namespace: str
    shared: bool = False
    routed: bool = False

    @property
    def name(self) -> str:
        """The name of the routing object and the application."""
        return f"app-{self.number:04d}"

    @property
    def key(self) -> str:
        """The controller's key, ``namespace/name``."""
        return f"{self.namespace}/{self.name}"

    @property
    def pool(self) -> str:
        """The NodePool of its inf2 unit."""
        return "inf2" if self.shared else f"inf2-{self.number:04d}"

    @property
    def instance_type(self) -> str:
        """What its inf2 unit asks EC2 for. Each NodePool has another size, because a refusal concerns all that wait for one type."""
        return _UNITS[0][2] if self.shared else f"inf2.{self.number + 1}xlarge"

    @property
    def claim(self) -> str:
        """The NodeClaim that EC2 will refuse."""
        return f"{self.pool}-{self.number:05d}" if self.shared else f"{self.pool}-7xk2p"

    @property
    def services(self) -> tuple[str, ...]:
        """The units' Services, then the one over all pods."""
        return (*(f"{self.name}-{unit[0]}" for unit in _UNITS), f"{self.name}-all")


def members(count: int, *, shared: bool = False, routes: bool = False) -> list[Member]:
    """That many applications, `_PER_NAMESPACE` to a namespace; see `Member`. With `routes` every second one has an HTTPRoute."""
    return [Member(number, f"apps-{number // _PER_NAMESPACE:02d}", shared, routes and number % 2 == 1) for number in range(count)]


def wide(members: Sequence[Member]) -> bool:
    """Whether they are in several namespaces, so that a controller of all watches the whole cluster."""
    return len({member.namespace for member in members}) > 1


Request = tuple[str, str, str, str]  # method, path, body, content type


def account_arn(resource: str) -> str:
    """The ARN of a resource of ELBv2 in the fleet's account."""
    return f"arn:aws:elasticloadbalancing:us-west-2:123456789012:{resource}"


def hostname(name: str) -> str:
    """The DNS name of the load balancer of the application with this name."""
    return f"{name}-1234567890.us-west-2.elb.amazonaws.com"


# --- application files ------------------------------------------------------------------------------------------------------------------


def write_applications(folder: Path, members: Sequence[Member]) -> None:
    """Replaces the application files. Each is replaced atomically, so that the controller never reads half a file."""
    wanted = {}
    for start in range(0, len(members), _FILE):
        documents = [json.dumps(document(member)) for member in members[start : start + _FILE]]
        wanted[f"{start // _FILE:03d}.yaml"] = "\n---\n".join(documents)
    for path in folder.glob("*.yaml"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        scratch = folder / f".{name}"
        scratch.write_text(text)
        scratch.replace(folder / name)


def document(member: Member) -> Object:
    """The application file of one, which is its object too."""
    units = [
        {
            "name": unit,
            "service": {"name": f"{member.name}-{unit}", "port": 80},
            "deployment": f"{member.name}-{unit}",
            "nodePool": pool or member.pool,
            "instanceType": instance if pool else member.instance_type,
            "pricePerHour": price,
            "throughput": throughput,
            "latencySeconds": latency,
            "latencyLimitSeconds": 1.2,
            "weight": weight,
            "scaledObject": f"{member.name}-{unit}",
            "counterMetric": f"{member.name}-{unit}-counter",
            "latencyMetric": f"{member.name}-{unit}-latency",
        }
        for unit, pool, instance, price, throughput, latency, weight in _UNITS
    ]
    return {
        "apiVersion": "failoverctl.dev/v1alpha1",
        "kind": "FailoverApplication",
        "metadata": {"name": member.name, "namespace": member.namespace},
        "spec": {
            **({"route": {"name": member.name, "rule": _MAIN}} if member.routed else {"ingress": member.name, "action": ACTION}),
            "capacityService": {"name": f"{member.name}-all", "port": 80},
            "metrics": {"namespace": "bench", "periodSeconds": 60},
            "units": units,
            # The benchmark measures the machinery, so the policy does not wait. No ELBv2 knows which targets are healthy.
            # With AWS on the demand is known, and the ready replicas would carry it: every shortage counts.
            # The pods stay pending until the benchmark uses them; alerts about that would disturb the measurement.
            "policy": {
                "patienceSeconds": 0,
                "allowUnsafeSwitch": True,
                "failoverUtilization": 0,
            },
        },
    }


# --- what is in the cluster -------------------------------------------------------------------------------------------------------------


def create(kubeconfig: Path, members: Sequence[Member]) -> None:
    """Creates all objects of these applications.

    Args:
        kubeconfig: The administrator's kubeconfig.
        members: The applications.

    Raises:
        Refused: Something could not be created.
    """
    with Wire(kubeconfig) as wire:
        for request in _shared(members):
            wire.send(*request)

    def write(part: Sequence[Member]) -> None:
        with Wire(kubeconfig) as wire:
            for member in part:
                for request in _requests(member):
                    wire.send(*request)

    with ThreadPoolExecutor(_WRITERS) as pool:
        for _ in pool.map(write, [members[start::_WRITERS] for start in range(_WRITERS)]):
            pass


def apply_objects(kubeconfig: Path, members: Sequence[Member], **policy: float) -> None:
    """Creates the applications as objects, or changes them, as `kubectl apply --server-side` does.

    Args:
        kubeconfig: The administrator's kubeconfig.
        members: The applications.
        policy: Changes of the policy.
    """

    def write(part: Sequence[Member]) -> None:
        with Wire(kubeconfig) as wire:
            for member in part:
                made = document(member)
                made["spec"]["policy"] |= policy
                path = f"{FAILOVER_APPLICATIONS.path(member.namespace, member.name)}?fieldManager=bench&force=true"
                wire.send("PATCH", path, json.dumps(made), APPLY_PATCH)

    with ThreadPoolExecutor(_WRITERS) as pool:
        for _ in pool.map(write, [members[start::_WRITERS] for start in range(_WRITERS)]):
            pass


def _shared(members: Sequence[Member]) -> Iterator[Request]:
    for namespace in sorted({member.namespace for member in members}):
        yield "POST", "/api/v1/namespaces", json.dumps({"metadata": {"name": namespace}}), JSON
        # Without its controller the API server admits no pod.
        yield "POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", json.dumps({"metadata": {"name": "default"}}), JSON
    common = {(unit[1], unit[2]) for unit in _UNITS if unit[1]} | {(member.pool, _UNITS[0][2]) for member in members if member.shared}
    for name, instance in sorted(common):
        yield _post(NODE_POOLS, _node_pool(name, instance))


def _post(resource: Resource, body: Object) -> Request:
    return "POST", resource.path(body["metadata"].get("namespace")), json.dumps(body), JSON


def _requests(member: Member) -> Iterator[Request]:
    if not member.shared:
        yield _post(NODE_POOLS, _node_pool(member.pool, member.instance_type))
    yield _post(NODE_CLAIMS, _node_claim(member))
    for service in member.services:
        # No cluster IP: the test plane has only 254.
        spec = {"clusterIP": "None", "ports": [{"name": "http", "port": 80, "targetPort": 8000}]}
        yield _post(SERVICES, {"metadata": _meta(member, service), "spec": spec})
        yield _post(ENDPOINT_SLICES, _slice(member, service, READY * (UNITS if service.endswith("-all") else 1)))
        yield _post(TARGET_GROUP_BINDINGS, _binding(member, service))
    for number, unit in enumerate(_UNITS):
        name, waiting = f"{member.name}-{unit[0]}", 1 if number == 0 else 0
        yield _post(DEPLOYMENTS, _deployment(member, name, unit[1] or member.pool, READY + waiting))
        status = {"status": {"replicas": READY + waiting, "readyReplicas": READY}}
        yield "PATCH", f"{DEPLOYMENTS.path(member.namespace, name)}/status", json.dumps(status), MERGE_PATCH
        yield _post(SCALED_OBJECTS, _scaled_object(member, name, unit[4]))
    pod = f"{member.name}-inf2-5655dd594d-p0001"
    yield _post(PODS, _pod(member, pod))
    yield "PATCH", f"{PODS.path(member.namespace, pod)}/status", json.dumps({"status": _unschedulable()}), MERGE_PATCH
    if member.routed:
        yield _post(GATEWAYS, _gateway(member))
        addresses = {"status": {"addresses": [{"type": "Hostname", "value": hostname(member.name)}]}}
        yield "PATCH", f"{GATEWAYS.path(member.namespace, member.name)}/status", json.dumps(addresses), MERGE_PATCH
        yield _post(HTTP_ROUTES, _route(member))
        return
    yield _post(INGRESSES, _ingress(member))
    balancer = {"status": {"loadBalancer": {"ingress": [{"hostname": hostname(member.name)}]}}}
    yield "PATCH", f"{INGRESSES.path(member.namespace, member.name)}/status", json.dumps(balancer), MERGE_PATCH


def _meta(member: Member, name: str, **labels: str) -> Object:
    return {"name": name, "namespace": member.namespace, "labels": {"app": name, **labels}}


def _requirement(key: str, value: str) -> Object:
    return {"key": key, "operator": "In", "values": [value]}


def _node_pool(name: str, instance_type: str) -> Object:
    requirements = [
        _requirement("node.kubernetes.io/instance-type", instance_type),
        _requirement("karpenter.sh/capacity-type", "on-demand"),
    ]
    spec = {"template": {"spec": {"nodeClassRef": _NODE_CLASS, "requirements": requirements}}}
    return {"apiVersion": NODE_POOLS.api_version, "kind": NODE_POOLS.kind, "metadata": {"name": name}, "spec": spec}


def _node_claim(member: Member) -> Object:
    return {
        "apiVersion": NODE_CLAIMS.api_version,
        "kind": NODE_CLAIMS.kind,
        "metadata": {"name": member.claim, "labels": {"karpenter.sh/nodepool": member.pool}},
        "spec": {"nodeClassRef": _NODE_CLASS, "requirements": [_requirement("node.kubernetes.io/instance-type", member.instance_type)]},
    }


def _slice(member: Member, service: str, count: int) -> Object:
    endpoints = [{"addresses": [f"10.1.0.{i + 1}"], "conditions": {"ready": True}} for i in range(count)]
    return {
        "metadata": _meta(member, service, **{"kubernetes.io/service-name": service}),
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "http", "port": 8000, "protocol": "TCP"}],
    }


def _binding(member: Member, service: str) -> Object:
    prefix = "gateway.k8s.aws.alb" if member.routed else "ingress.k8s.aws"
    stack = {f"{prefix}/stack-namespace": member.namespace, f"{prefix}/stack-name": member.name}
    return {
        "apiVersion": TARGET_GROUP_BINDINGS.api_version,
        "kind": TARGET_GROUP_BINDINGS.kind,
        "metadata": _meta(member, service, **stack),
        "spec": {
            "serviceRef": {"name": service, "port": 80},
            "targetGroupARN": account_arn(f"targetgroup/{service}/0123456789abcdef"),
            "targetType": "ip",
        },
    }


def _deployment(member: Member, name: str, pool: str, replicas: int) -> Object:
    container = {"name": "server", "image": "server:1", "ports": [{"containerPort": 8000}]}
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"nodeSelector": {"karpenter.sh/nodepool": pool}, "containers": [container]},
    }
    return {
        "metadata": _meta(member, name),
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
    }


def _scaled_object(member: Member, name: str, throughput: float) -> Object:
    metadata = {
        "namespace": "bench",
        "expression": f'SELECT SUM("{name}-counter") FROM SCHEMA("bench")',
        "metricName": f"{name}-counter",
        "minMetricValue": "1",
        "targetMetricValue": f"{throughput:g}",
        "awsRegion": "us-west-2",
    }
    return {
        "apiVersion": SCALED_OBJECTS.api_version,
        "kind": SCALED_OBJECTS.kind,
        "metadata": _meta(member, name),
        "spec": {
            "scaleTargetRef": {"name": name},
            "minReplicaCount": 1,
            "maxReplicaCount": 20,
            "triggers": [{"type": "aws-cloudwatch", "metadata": metadata}],
        },
    }


def _pod(member: Member, name: str) -> Object:
    unit = f"{member.name}-inf2"
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{unit}-5655dd594d", "uid": "u-1", "controller": True}
    return {
        "metadata": {
            "name": name,
            "namespace": member.namespace,
            "labels": {"app": unit, "pod-template-hash": "5655dd594d"},
            "ownerReferences": [owner],
        },
        "spec": {"nodeSelector": {"karpenter.sh/nodepool": member.pool}, "containers": [{"name": "server", "image": "server:1"}]},
    }


def _unschedulable() -> Object:
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/12 nodes are available: 12 node(s) didn't match Pod's node affinity/selector.",
        "lastTransitionTime": format_rfc3339(time.time()),
    }
    return {"phase": "Pending", "conditions": [condition]}


def cost_action(member: Member) -> str:
    """The routing action of cost mode."""
    return format_action(_targets(member), 0)


def _targets(member: Member) -> tuple[Target, ...]:
    return tuple(Target(service, 80, unit[6]) for service, unit in zip(member.services, _UNITS, strict=False))


def _gateway(member: Member) -> Object:
    listener = {"name": "http", "port": 80, "protocol": "HTTP"}
    return {
        "apiVersion": GATEWAYS.api_version,
        "kind": GATEWAYS.kind,
        "metadata": _meta(member, member.name),
        "spec": {"gatewayClassName": "alb", "listeners": [listener]},
    }


def _route(member: Member) -> Object:
    """The application's rule, and the two that keep the target groups of both modes."""
    application = ApplicationFile.model_validate_json(json.dumps(document(member))).to_policy()
    rules = [
        {"name": _MAIN, "backendRefs": backends_of(_targets(member), application)},
        standby_rule(application, "capacity", [application.capacity], paths=True),
        standby_rule(application, "units", [unit.backend for unit in application.units], paths=True),
    ]
    return {
        "apiVersion": HTTP_ROUTES.api_version,
        "kind": HTTP_ROUTES.kind,
        "metadata": _meta(member, member.name),
        "spec": {"parentRefs": [{"name": member.name}], "rules": rules},
    }


def _ingress(member: Member) -> Object:
    def rule(service: str, port: dict[str, Any], host: str = "") -> Object:
        path = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": service, "port": port}}}
        return ({"host": host} if host else {}) | {"http": {"paths": [path]}}

    standby = [rule(name, {"number": 80}, f"{name}.standby.invalid") for name in member.services]
    annotations = {action_key(ACTION): cost_action(member), "alb.ingress.kubernetes.io/target-type": "ip"}
    return {
        "metadata": {**_meta(member, member.name), "annotations": annotations},
        "spec": {"ingressClassName": "alb", "rules": [rule(ACTION, {"name": "use-annotation"}), *standby]},
    }


# --- the one event ----------------------------------------------------------------------------------------------------------------------


def refusal(member: Member) -> Object:
    """Karpenter's event about the application's NodeClaim for which nothing is left: the one refusal that proves a shortage by itself."""
    now = format_rfc3339(time.time())
    message = (
        f"NodeClaim {member.claim} event: creating instance, insufficient capacity, "
        "all requested instance types were unavailable during launch"
    )
    return {
        "metadata": {"name": f"{member.claim}.18a1", "namespace": "default"},
        "involvedObject": {"kind": "NodeClaim", "apiVersion": "karpenter.sh/v1", "name": member.claim},
        "reason": "InsufficientCapacityError",
        "type": "Warning",
        "message": message,
        "source": {"component": "karpenter"},
        "reportingComponent": "karpenter",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
