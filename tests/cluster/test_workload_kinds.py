"""Units of each kind of workload on the real API server, scheduler and controllers: what the controller sees of their pods."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from controller.clients.kube import LEADER_WORKER_SETS, ROLLOUTS, STATEFUL_SETS, KubeSession, Resource
from controller.clock import SystemClock
from controller.policy.model import Application, UnitObservation, WorkloadKind
from controller.signals.cluster import ClusterView
from controller.signals.once import observe_once
from controller.signals.snapshots import ExternalSignals, SnapshotBuilder
from controller.signals.workload_kinds import WORKLOADS
from failover_harness.control_plane import crds
from failover_harness.control_plane.control_plane import ControlPlane
from failover_harness.waiting import wait_for
from tests.support.applications import application

_REPLICA_SETS = Resource("apps", "v1", "replicasets", "ReplicaSet")
_LWS = "leaderworkerset.sigs.k8s.io"
_ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def _definition(resource: Resource, counted: str, selector: str) -> dict[str, Any]:
    """A definition of a kind with its scale, and any other field."""
    scale = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": counted, "labelSelectorPath": selector}
    version = {
        "name": resource.version,
        "served": True,
        "storage": True,
        "subresources": {"status": {}, "scale": scale},
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": _ANYTHING, "status": _ANYTHING}}},
    }
    names = {"plural": resource.plural, "singular": resource.kind.lower(), "kind": resource.kind, "listKind": f"{resource.kind}List"}
    spec = {"group": resource.group, "scope": "Namespaced", "names": names, "versions": [version]}
    annotations = {"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/lws"} if "k8s.io" in resource.group else {}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": resource.name, "annotations": annotations},
        "spec": spec,
    }


def _create(session: KubeSession, resource: Resource, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
    whole = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
    return session.request("POST", resource.path(namespace), body=json.dumps(whole))


def _owned(name: str, owner: dict[str, Any], replicas: int, labels: dict[str, str], **more: Any) -> dict[str, Any]:
    """What another kind's controller makes: an object that creates its pods."""
    reference = {key: owner[key] for key in ("apiVersion", "kind")} | {key: owner["metadata"][key] for key in ("name", "uid")}
    metadata = {"name": name, "labels": labels, "ownerReferences": [{**reference, "controller": True}]}
    return {
        "metadata": metadata,
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": _template(labels), **more},
    }


def _template(labels: dict[str, str]) -> dict[str, Any]:
    """Pods for which there is no node."""
    return {
        "metadata": {"labels": labels},
        "spec": {"nodeSelector": {"karpenter.sh/nodepool": "inf2"}, "containers": [{"name": "server", "image": "server:1"}]},
    }


def _make(session: KubeSession, kind: WorkloadKind, namespace: str, name: str) -> None:
    """The workload, and what its controller makes of it where the control plane has none."""
    labels = {"app": name}
    spec: dict[str, Any] = {"replicas": 2, "selector": {"matchLabels": labels}, "template": _template(labels)}
    if kind is WorkloadKind.LEADER_WORKER_SET:
        spec = {"replicas": 2, "leaderWorkerTemplate": {"size": 2, "workerTemplate": _template(labels)}}
    elif kind is WorkloadKind.STATEFUL_SET:
        spec["serviceName"] = name
    made = _create(session, WORKLOADS[kind], namespace, {"metadata": {"name": name}, "spec": spec})
    if kind is WorkloadKind.ROLLOUT:
        body = _owned(f"{name}-7f", made, 2, {**labels, "rollouts-pod-template-hash": "7f"})
        _create(session, _REPLICA_SETS, namespace, body)
    elif kind is WorkloadKind.LEADER_WORKER_SET:
        group = {f"{_LWS}/name": name, f"{_LWS}/group-index": "0"}
        parallel = {"serviceName": name, "podManagementPolicy": "Parallel"}
        _create(session, STATEFUL_SETS, namespace, _owned(name, made, 1, {**group, f"{_LWS}/worker-index": "0"}, **parallel))
        _create(session, STATEFUL_SETS, namespace, _owned(f"{name}-0", made, 1, {**group, f"{_LWS}/worker-index": "1"}, **parallel))


def _observed(session: KubeSession, app: Application) -> UnitObservation:
    clock = SystemClock()
    view = ClusterView(clock, lambda: None)
    observe_once(session, view, clock, [app], cluster_wide=False)
    builder = SnapshotBuilder(view, [app])
    return builder.build(app, clock.now(), (), ExternalSignals(), leader=True, epoch=1).units[app.units[0].name]


@pytest.mark.parametrize(
    ("kind", "waiting", "unplaced"),
    [
        (WorkloadKind.DEPLOYMENT, 2, 2),
        (WorkloadKind.ROLLOUT, 2, 2),
        (WorkloadKind.STATEFUL_SET, 1, 2),  # the second one is created once the first is ready
        (WorkloadKind.LEADER_WORKER_SET, 2, 1),  # a leader and a worker of one group
    ],
)
def test_the_waiting_pods_of_every_kind_are_its_units(
    plane: ControlPlane, namespace: str, kind: WorkloadKind, waiting: int, unplaced: int
) -> None:
    """Names, labels and owners are those that the real ReplicaSet and StatefulSet controllers write, the condition is the scheduler's."""
    session = plane.session()
    crds.install(
        session,
        [
            _definition(ROLLOUTS, ".status.HPAReplicas", ".status.selector"),
            _definition(LEADER_WORKER_SETS, ".status.replicas", ".status.hpaPodSelector"),
        ],
    )
    unit = replace(application().units[0], node_pool="inf2", workload_kind=kind)
    app = application(namespace=namespace, units=(unit,))
    _make(session, kind, namespace, unit.deployment)
    wait_for("the pods that wait", lambda: len(_observed(session, app).pending) == waiting)
    seen = _observed(session, app)
    assert (seen.desired, seen.ready, seen.unplaced) == (2, 0, unplaced)
    if kind is not WorkloadKind.DEPLOYMENT:
        scale = session.request("GET", f"{WORKLOADS[kind].path(namespace, unit.deployment)}/scale")
        assert scale["spec"]["replicas"] == 2
