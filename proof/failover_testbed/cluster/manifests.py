"""The objects of an application's manifests, made from its application file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from controller.policy.model import Application, Mode, Target, Unit, WorkloadKind
from controller.policy.strategies import part_of
from controller.routing.annotations import MARKER
from controller.routing.ingress.action import format_action
from controller.routing.ingress.standby import live_rule, standby_rule
from controller.routing.names import PREFIX, action_key
from controller.signals.workload_kinds import WORKLOADS
from failover_testbed.cluster.components import AUTHENTICATION, NODE_CLASS
from failover_testbed.cluster.world import CAPACITY_LABEL, GPU, NEURON, POOL_LABEL, TYPE_LABEL, Object, machine

CONTAINER_PORT: Final = 8000
MANAGER: Final = "kubectl-client-side-apply"
GROUP_SIZE: Final = 2
"""The pods of a group of a LeaderWorkerSet."""


def ingress(application: Application, mode: Mode, annotations: Mapping[str, str], *, standby: bool = True) -> Object:
    """The Ingress: the live rule first, then one standby rule for each Service, which no request matches.

    Args:
        application: The application.
        mode: The mode that its action shows.
        annotations: Additional annotations, e.g. an operator's override.
        standby: Whether it has standby rules.
    """
    if mode is Mode.CAPACITY:
        targets = [Target(application.capacity.service, application.capacity.port, 1)]
        stickiness_s = application.policy.stickiness_capacity_s
    else:
        targets = [Target(unit.backend.service, unit.backend.port, unit.weight or 0) for unit in application.units]
        stickiness_s = application.policy.stickiness_cost_s
    rules = [live_rule(application.route.part)]
    if standby:
        rules += [standby_rule(backend) for backend in (*(unit.backend for unit in application.units), application.capacity)]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": application.route.name,
            "namespace": application.namespace,
            "annotations": {
                action_key(application.route.part): format_action(targets, stickiness_s),
                f"{PREFIX}/healthcheck-path": "/readiness",
                f"{PREFIX}/scheme": "internet-facing",
                f"{PREFIX}/target-type": "ip",
                **({MARKER: str(mode)} if mode is Mode.CAPACITY else {}),
                **annotations,
            },
        },
        "spec": {"ingressClassName": "alb", "rules": rules},
    }


def services(application: Application) -> list[Object]:
    """One Service for each unit, and one over all pods."""
    backends = [(unit.backend, {"app": unit.deployment}) for unit in application.units]
    backends.append((application.capacity, {"model": application.name}))
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": backend.service, "namespace": application.namespace},
            "spec": {
                "type": "ClusterIP",
                "selector": selector,
                "ports": [
                    {
                        "name": "http" if isinstance(backend.port, int) else backend.port,
                        "port": backend.port if isinstance(backend.port, int) else 80,
                        "targetPort": CONTAINER_PORT,
                        "protocol": "TCP",
                    }
                ],
            },
        }
        for backend, selector in backends
    ]


def unit_types(unit: Unit) -> tuple[str, ...]:
    """The instance types that a unit may run on."""
    return tuple(dict.fromkeys((unit.instance_type, *unit.instance_types)))


def pinned_types(application: Application, unit: Unit) -> tuple[str, ...]:
    """The instance types that a unit's pods pin: its own where its NodePool has others for another unit, else ()."""
    own = unit_types(unit)
    shared = {one for other in application.units if other.node_pool == unit.node_pool for one in unit_types(other)}
    return own if shared - set(own) else ()


def workload(application: Application, unit: Unit, replicas: int) -> Object:
    """The workload of a unit: each pod takes a whole node of the unit's NodePool."""
    accelerator = machine(unit.instance_type).accelerator
    pinned = pinned_types(application, unit)
    template = {
        "metadata": {"labels": {"app": unit.deployment, "model": application.name}},
        "spec": {
            "nodeSelector": {POOL_LABEL: unit.node_pool, **({TYPE_LABEL: pinned[0]} if len(pinned) == 1 else {})},
            **({"affinity": _affinity(pinned)} if len(pinned) > 1 else {}),
            "containers": [
                {
                    "name": "server",
                    "image": "server:1",
                    "ports": [{"containerPort": CONTAINER_PORT, "protocol": "TCP"}],
                    "resources": {"limits": {accelerator: "1"}, "requests": {accelerator: "1"}},
                }
            ],
        },
    }
    spec: Object = {"replicas": replicas, "selector": {"matchLabels": {"app": unit.deployment}}, "template": template}
    if unit.workload_kind is WorkloadKind.LEADER_WORKER_SET:  # the Services select the leaders alone
        groups = {"size": GROUP_SIZE, "leaderTemplate": template, "workerTemplate": {"spec": template["spec"]}}
        spec = {"replicas": replicas, "leaderWorkerTemplate": groups}
    elif unit.workload_kind is WorkloadKind.STATEFUL_SET:
        spec |= {"serviceName": unit.backend.service, "podManagementPolicy": "Parallel"}
    return {
        "apiVersion": WORKLOADS[unit.workload_kind].api_version,
        "kind": str(unit.workload_kind),
        "metadata": {"name": unit.deployment, "namespace": application.namespace},
        "spec": spec,
    }


def named_pools(spec: Object) -> tuple[str, ...]:
    """The NodePools that the affinity of a pod's spec names, () where it names none."""
    required = spec.get("affinity", {}).get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution", {})
    terms = (one for term in required.get("nodeSelectorTerms", []) for one in term["matchExpressions"])
    return next((tuple(one["values"]) for one in terms if one["key"] == POOL_LABEL), ())


def more(spec: Object) -> tuple[str, ...]:
    """The resources that a pod's spec requests beyond those that machines have."""
    requests = {name for one in spec["containers"] for name in one.get("resources", {}).get("requests", {})}
    return tuple(sorted(requests - {GPU, NEURON, "cpu", "memory"}))


def _affinity(types: tuple[str, ...]) -> Object:
    """Node affinity to some instance types."""
    terms = [{"matchExpressions": [{"key": TYPE_LABEL, "operator": "In", "values": list(types)}]}]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}


def scaled_object(application: Application, unit: Unit, target: float) -> Object:
    """The ScaledObject of a unit, with one trigger on its counter.

    Args:
        application: The application.
        unit: The unit; it must name a ScaledObject.
        target: Requests per pod and metric period.
    """
    trigger = {
        "type": "aws-cloudwatch",
        "metadata": {
            "namespace": application.metric_namespace,
            "metricName": unit.counter_metric,
            "targetMetricValue": json.dumps(int(target) if float(target).is_integer() else target),
            "minMetricValue": "0",
            "metricStat": "Sum",
            "metricStatPeriod": str(application.metric_period_s),
            "metricCollectionTime": "300",
            "awsRegion": "us-west-2",
        },
        "authenticationRef": {"name": AUTHENTICATION},
    }
    spec = {
        "scaleTargetRef": {
            "apiVersion": WORKLOADS[unit.workload_kind].api_version,
            "kind": str(unit.workload_kind),
            "name": unit.deployment,
        },
        "minReplicaCount": unit.min_replicas,
        "maxReplicaCount": unit.max_replicas,
        "pollingInterval": 15,
        "triggers": [trigger],
    }
    if waits_s := part_of(application.policy).scale_out_s(application.policy):  # as `render` writes it
        behavior = {"scaleUp": {"stabilizationWindowSeconds": waits_s}}
        spec["advanced"] = {"horizontalPodAutoscalerConfig": {"behavior": behavior}}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": unit.scaled_object, "namespace": application.namespace},
        "spec": spec,
    }


def node_pool(
    name: str, instance_types: tuple[str, ...], limits: Mapping[str, str], capacity_types: tuple[str, ...] = ("on-demand",)
) -> Object:
    """A NodePool in every zone of the node class.

    Args:
        name: Its name.
        instance_types: What it may launch.
        limits: Quantities by resource; none if empty.
        capacity_types: Any of ``reserved``, ``spot`` and ``on-demand``.
    """
    requirements = [
        {"key": TYPE_LABEL, "operator": "In", "values": list(instance_types)},
        {"key": CAPACITY_LABEL, "operator": "In", "values": list(capacity_types)},
    ]
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": name},
        "spec": {
            **({"limits": dict(limits)} if limits else {}),
            "disruption": {"consolidateAfter": "60s", "consolidationPolicy": "WhenEmpty", "budgets": [{"nodes": "10%"}]},
            "template": {
                "metadata": {"labels": {"pool": name}},
                "spec": {
                    "expireAfter": "720h",
                    "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": NODE_CLASS},
                    "requirements": requirements,
                },
            },
        },
    }
