"""A whole application as the API server sends it, and the same with what a stranger may write into any field of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

from controller.clients.kube import RESOURCES, Resource
from controller.clock import format_rfc3339
from controller.foreign import decode
from controller.policy.model import Application, Snapshot, Source
from controller.routing.annotations import (
    MARKER,
    PAUSE_REASON,
    PAUSED_BY,
    PAUSED_UNTIL,
    PIN_REASON,
    PINNED_BY,
    PINNED_MODE,
    PINNED_UNTIL,
)
from controller.routing.ingress.action import format_action
from controller.routing.names import action_key
from controller.signals.cluster import ClusterView
from controller.signals.snapshots import ExternalSignals, SnapshotBuilder
from failover_testbed.clocks import ManualClock
from tests.signals.samples import ice_event, node_claim, requirement, waiting_pod
from tests.support.applications import COST_TARGETS, NOW, application

Place = tuple[str | int, ...]
Entry = tuple[str, dict[str, Any]]

APP: Final = application()
SOURCES: Final = tuple(
    Source(name, required, NOW, 180.0)
    for name, required in (
        ("karpenter", True),
        ("workloads", True),
        ("routing", True),
        ("services", False),
        ("target-group-bindings", False),
    )
)
ACTION: Final = action_key(APP.route.part)

TEXT: Final = "\x1b]0;owned\x07\x9b31m\u202e\u200b\u2028\r\n" + "eyJhbGciOi" * 20_480
"""200 KiB that begin with what a terminal obeys and that look like the beginning of a token everywhere."""

_STAMP: Final = format_rfc3339(NOW - 60)


def _condition(kind: str, status: str, reason: str = "Reason", message: str = "message") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": _STAMP}


def _event(kind: str, name: str, reason: str, message: str, *, namespace: str = "default", component: str = "karpenter") -> dict[str, Any]:
    return {
        "metadata": {"name": f"{name}.{reason}", "namespace": namespace, "creationTimestamp": _STAMP, "resourceVersion": "41"},
        "involvedObject": {"kind": kind, "name": name, "namespace": namespace, "uid": "uid-1"},
        "reason": reason,
        "message": message,
        "source": {"component": component},
        "firstTimestamp": _STAMP,
        "lastTimestamp": _STAMP,
    }


def _ingress() -> dict[str, Any]:
    owned: dict[str, Any] = {"f:metadata": {"f:annotations": {f"f:{ACTION}": {}}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": {"service": {"name": APP.route.part, "port": {"name": "use-annotation"}}}}]
    annotations = {
        ACTION: format_action(COST_TARGETS, 0),
        MARKER: "cost",
        PAUSED_UNTIL: _STAMP,
        PINNED_MODE: "cost",
        PINNED_UNTIL: _STAMP,
        PAUSE_REASON: "a reason",
        PAUSED_BY: "somebody",
        PIN_REASON: "a reason",
        PINNED_BY: "somebody",
        "alb.ingress.kubernetes.io/conditions.weighted-routing": "[]",
    }
    return {
        "metadata": {
            "name": "sd21", "namespace": "shop", "uid": "uid-1", "resourceVersion": "40", "annotations": annotations,
            "managedFields": [{"manager": "argocd", "operation": "Update", "time": _STAMP, "fieldsV1": owned}],
        },
        "spec": {"ingressClassName": "alb", "rules": [{"host": "shop.example.org", "http": {"paths": paths}}]},
        "status": {"loadBalancer": {"ingress": [{"hostname": "k8s-shop-1.elb.amazonaws.com"}]}},
    }  # fmt: skip


def _of_unit(name: str, pool: str, instance: str) -> Iterator[Entry]:
    selector = {"karpenter.sh/nodepool": pool}
    trigger = {"metricName": f"{name}-counter", "expression": "SELECT 1", "targetMetricValue": "105"}
    requirements = [requirement("node.kubernetes.io/instance-type", instance), requirement("topology.kubernetes.io/zone", "us-west-2a")]
    yield (
        "NodePool",
        {
            "metadata": {"name": pool, "creationTimestamp": _STAMP},
            "spec": {"limits": {"cpu": "100"}, "template": {"spec": {"requirements": requirements}}},
            "status": {"resources": {"cpu": "50"}, "conditions": [_condition("Ready", "False", "NodeClassNotReady")]},
        },
    )
    yield (
        "Deployment",
        {
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": name}}, "template": {"spec": {"nodeSelector": selector}}},
            "status": {"readyReplicas": 2},
        },
    )
    endpoint = {"addresses": ["10.0.0.1"], "conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": f"{name}-1"}}
    yield (
        "EndpointSlice",
        {
            "metadata": {"name": f"{name}-x", "namespace": "shop", "labels": {"kubernetes.io/service-name": name}},
            "endpoints": [endpoint],
        },
    )
    yield "Service", {"metadata": {"name": name, "namespace": "shop"}, "spec": {"ports": [{"port": 80, "name": "http"}]}}
    yield "ScaledObject", {
        "metadata": {
            "name": f"{name}-hpa", "namespace": "shop", "resourceVersion": "9", "annotations": {"autoscaling.keda.sh/paused": "false"},
            "managedFields": [{"manager": "keda", "time": _STAMP, "fieldsV1": {"f:spec": {"f:minReplicaCount": {}}}}],
        },
        "spec": {"minReplicaCount": 1, "maxReplicaCount": 9, "triggers": [{"type": "aws-cloudwatch", "metadata": trigger}]},
        "status": {"conditions": [_condition("Ready", "False", "ScaledObjectCheckFailed"), _condition("HPAActive", "False")]},
    }  # fmt: skip
    yield (
        "TargetGroupBinding",
        {
            "metadata": {"name": f"k8s-{name}", "namespace": "shop", "labels": {"ingress.k8s.aws/stack-name": "sd21"}},
            "spec": {"serviceRef": {"name": name, "port": 80}, "targetGroupARN": f"arn:aws:elasticloadbalancing:::targetgroup/{name}/1"},
        },
    )
    yield "Pod", waiting_pod(f"{name}-5655-a", labels={"app": name}, owner=f"{name}-5655", pools=(pool,), since=_STAMP)
    yield "NodeClaim", node_claim(f"{pool}-aaaaa", pool, NOW - 50, zones=("us-west-2a",), types=(instance,))
    stuck = node_claim(f"{pool}-bbbbb", pool, NOW - 50, types=(instance,))
    stuck["status"]["conditions"] = [_condition("Launched", "Unknown", "LaunchFailed")]
    yield "NodeClaim", stuck
    launched = node_claim(f"{pool}-ccccc", pool, NOW - 50, types=(instance,), Launched=_STAMP, Registered=_STAMP)
    launched["metadata"]["labels"] |= {"node.kubernetes.io/instance-type": instance, "topology.kubernetes.io/zone": "us-west-2b"}
    yield "NodeClaim", launched
    yield "Event", ice_event(f"{pool}-aaaaa", NOW - 40)
    yield "Event", _event("NodePool", pool, "NoCompatibleInstanceTypes", "filtered out")
    said = f'all available instance types exceed limits for nodepool: "{pool}"'
    yield "Event", _event("Pod", f"{name}-5655-a", "FailedScheduling", said, namespace="shop")


def objects() -> list[Entry]:
    """Kind and body of everything that one application depends on."""
    made: list[Entry] = [entry for unit in APP.units for entry in _of_unit(unit.name, unit.node_pool, unit.instance_type)]
    made += [("Service", {"metadata": {"name": "sd21-all", "namespace": "shop"}, "spec": {"ports": [{"port": 80}]}})]
    made += [
        ("Event", _event("Ingress", "sd21", "FailedBuildModel", "cannot", namespace="shop", component="ingress")),
        ("Ingress", _ingress()),
    ]
    return made


def places(value: object, place: Place = ()) -> Iterator[Place]:
    """Where the scalars of an object are."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*place, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from places(item, (*place, index))
    else:
        yield place


def replaced(value: Any, place: Place, new: object) -> Any:
    """A copy with another scalar at one place."""
    if not place:
        return new
    step, *rest = place
    if isinstance(value, dict):
        return {key: replaced(item, tuple(rest), new) if key == step else item for key, item in value.items()}
    return [replaced(item, tuple(rest), new) if index == step else item for index, item in enumerate(value)]


def everywhere(value: Any, new: Callable[[object], object], place: Place = ()) -> Any:
    """A copy with every scalar replaced but those by which an object is found: its name, namespace and whom it is about."""
    if isinstance(value, dict):
        return {key: everywhere(item, new, (*place, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [everywhere(item, new, place) for item in value]
    return value if place[0] == "involvedObject" or place in _FOUND_BY or place[-1] in _CHOOSES else new(value)


_FOUND_BY: Final = {("metadata", "name"), ("metadata", "namespace"), ("metadata", "labels", "kubernetes.io/service-name")}
_CHOOSES: Final = frozenset({"type", "status", "key", "operator", "component", "lastTimestamp", "kind"})


class World:
    """The view of the watches, filled through the boundary."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW)
        self.view = ClusterView(self.clock, lambda: None)

    def give(self, kind: str, obj: Any, event: str = "ADDED") -> None:
        """Delivers one object as the API server would send it."""
        line = decode(json.dumps({"type": event, "object": obj}, ensure_ascii=False).encode(errors="surrogatepass"))
        self.view.changed(_resource(kind), None, event, line["object"])

    def snapshot(self, app: Application = APP) -> Snapshot:
        """What a pass decides from; every source has just been heard of."""
        now = self.clock.now()
        sources = tuple(replace(one, last_ok=now) for one in SOURCES)
        return SnapshotBuilder(self.view, [app]).build(app, now, sources, ExternalSignals(), leader=True, epoch=1)


def _resource(kind: str) -> Resource:
    return next(one for one in RESOURCES.values() if one.kind == kind)
