"""Each kind of workload is read as a Deployment that says the same."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from controller.clients.kube import DEPLOYMENTS, LEADER_WORKER_SETS, PODS, ROLLOUTS, STATEFUL_SETS, Resource
from controller.policy.model import Application, UnitObservation, WorkloadKind
from controller.signals.cluster import ClusterView
from controller.signals.slim import slim
from controller.signals.snapshots import ExternalSignals, SnapshotBuilder
from controller.signals.watch import WatchHealth
from controller.signals.watches import sources_of, wanted_lists
from controller.signals.workload_kinds import WORKLOADS, Owner, as_deployments, is_part, owner_of
from failover_testbed.clocks import ManualClock
from tests.signals.samples import waiting_pod
from tests.support.applications import NOW, application

NAME, NAMESPACE = "sd21-inf2", "shop"
LWS = "leaderworkerset.sigs.k8s.io"
TEMPLATE = {
    "metadata": {"labels": {"app": NAME}},
    "spec": {
        "nodeSelector": {"topology.kubernetes.io/zone": "us-west-2b", "karpenter.sh/nodepool": "inf2"},
        "containers": [{"name": "server", "resources": {"limits": {"aws.amazon.com/neuron": "1"}}}],
    },
}
SELECTOR = {"matchLabels": {"app": NAME}}


def workload(kind: WorkloadKind, *, name: str = NAME, **spec: Any) -> dict[str, Any]:
    """A workload of four replicas of which one is ready."""
    own: dict[str, Any] = {"selector": SELECTOR, "template": TEMPLATE}
    if kind is WorkloadKind.LEADER_WORKER_SET:
        own = {"leaderWorkerTemplate": {"size": 3, "workerTemplate": {"spec": TEMPLATE["spec"]}, "leaderTemplate": TEMPLATE}}
    return {
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"replicas": 4, **own, **spec},
        "status": {"readyReplicas": 1, "replicas": 2},
    }


def of_kind(kind: WorkloadKind) -> Application:
    """The application, whose first unit has a workload of this kind."""
    app = application()
    return replace(app, units=(replace(app.units[0], workload_kind=kind, deployment=NAME), *app.units[1:]))


def pods_of(kind: WorkloadKind) -> list[dict[str, Any]]:
    """Two waiting pods of the workload, as its controllers write labels and owners. Those of a LeaderWorkerSet are of one group."""
    made = []
    for number in range(2):
        labels, owner, parent = {"app": NAME}, NAME, "StatefulSet"
        if kind is WorkloadKind.DEPLOYMENT:
            labels, owner, parent = {**labels, "pod-template-hash": "7f"}, f"{NAME}-7f", "ReplicaSet"
        elif kind is WorkloadKind.ROLLOUT:
            labels, owner, parent = {**labels, "rollouts-pod-template-hash": "7f"}, f"{NAME}-7f", "ReplicaSet"
        elif kind is WorkloadKind.LEADER_WORKER_SET:
            labels = {f"{LWS}/name": NAME, f"{LWS}/group-index": "1", f"{LWS}/worker-index": str(number)}
            owner = f"{NAME}-1" if number else NAME
        pod = waiting_pod(f"pod-{number}", labels=labels, owner=owner, pools=("inf2",))
        pod["metadata"]["ownerReferences"][0]["kind"] = parent
        made.append(pod)
    return made


def observed(kind: WorkloadKind, *objects: tuple[Resource, dict[str, Any]]) -> UnitObservation:
    """What is known of the unit once these objects were listed, as the watches list them."""
    view, app = ClusterView(ManualClock(NOW), lambda: None), of_kind(kind)
    for resource, obj in objects:
        view.changed(resource, None, "ADDED", slim(resource.plural, obj))
    snapshot = SnapshotBuilder(view, [app]).build(app, NOW, (), ExternalSignals(), leader=True, epoch=1)
    return snapshot.units[app.units[0].name]


@pytest.mark.parametrize("kind", list(WorkloadKind))
def test_every_kind_shows_its_replicas_its_pins_and_its_waiting_pods(kind: WorkloadKind) -> None:
    seen = observed(kind, (WORKLOADS[kind], workload(kind)), *((PODS, pod) for pod in pods_of(kind)))
    assert (seen.desired, seen.ready, seen.pod_zones) == (4, 1, ("us-west-2b",))
    assert [pod.name for pod in seen.pending] == ["pod-0", "pod-1"]


@pytest.mark.parametrize("kind", list(WorkloadKind))
def test_pods_are_found_by_their_owners_while_the_workload_is_not_known(kind: WorkloadKind) -> None:
    assert [pod.name for pod in observed(kind, *((PODS, pod) for pod in pods_of(kind))).pending] == ["pod-0", "pod-1"]


@pytest.mark.parametrize("kind", list(WorkloadKind))
def test_pods_of_another_kind_with_the_same_name_are_another_workloads(kind: WorkloadKind) -> None:
    """A Deployment and a StatefulSet may have one name."""
    others = [other for other in WorkloadKind if other is not kind]
    for other in others:
        assert observed(kind, *((PODS, pod) for pod in pods_of(other))).pending == ()


@pytest.mark.parametrize(
    ("kind", "unplaced"),
    [
        (WorkloadKind.DEPLOYMENT, 2),
        (WorkloadKind.ROLLOUT, 2),
        (WorkloadKind.STATEFUL_SET, 4),  # it creates the other two when these are ready
        (WorkloadKind.LEADER_WORKER_SET, 1),  # both pods are of one group
    ],
)
def test_a_replica_without_a_node_is_counted_once(kind: WorkloadKind, unplaced: int) -> None:
    assert observed(kind, (WORKLOADS[kind], workload(kind)), *((PODS, pod) for pod in pods_of(kind))).unplaced == unplaced


def test_a_rollout_may_have_its_template_from_a_deployment() -> None:
    """`spec.workloadRef`: the Deployment is scaled to 0, and the Rollout has neither selector nor template."""
    rollout = workload(WorkloadKind.ROLLOUT, workloadRef={"apiVersion": "apps/v1", "kind": "Deployment", "name": "old"})
    del rollout["spec"]["selector"], rollout["spec"]["template"]
    deployment = {**workload(WorkloadKind.DEPLOYMENT, name="old", replicas=0), "status": {}}
    pods = pods_of(WorkloadKind.ROLLOUT)
    seen = observed(WorkloadKind.ROLLOUT, (ROLLOUTS, rollout), (DEPLOYMENTS, deployment), *((PODS, pod) for pod in pods))
    assert (seen.desired, seen.ready, seen.pod_zones, len(seen.pending)) == (4, 1, ("us-west-2b",), 2)
    found = as_deployments({ROLLOUTS.name: [rollout], DEPLOYMENTS.name: [deployment]})
    assert [owner for owner, obj in found.items() if is_part(owner, obj, found)] == [Owner("Deployment", "old")]
    assert found[Owner("Rollout", NAME)]["spec"]["template"] == TEMPLATE


def test_a_leaders_statefulset_is_a_part_of_its_set() -> None:
    parent = workload(WorkloadKind.STATEFUL_SET)
    parent["metadata"]["labels"] = {f"{LWS}/name": NAME}
    found = as_deployments({STATEFUL_SETS.name: [parent], LEADER_WORKER_SETS.name: [workload(WorkloadKind.LEADER_WORKER_SET)]})
    assert [owner.kind for owner, obj in found.items() if is_part(owner, obj, found)] == ["StatefulSet"]


def test_a_pod_without_a_controller_has_no_owner() -> None:
    assert owner_of({"metadata": {"labels": {f"{LWS}/name": NAME}}}) == Owner("", "")


def test_a_group_costs_all_its_nodes() -> None:
    """Three nodes are one replica of a group of three."""
    view, app = ClusterView(ManualClock(NOW), lambda: None), of_kind(WorkloadKind.LEADER_WORKER_SET)
    view.changed(LEADER_WORKER_SETS, None, "ADDED", workload(WorkloadKind.LEADER_WORKER_SET))
    known = view.workloads.workload_of(NAMESPACE, app.units[0])
    assert known is not None
    assert (known.placement.needs.pods, known.placement.needs.pods_on("inf2.48xlarge")) == (3, 12)


# --- what is watched ---


def _watched(*apps: Application, cluster_wide: bool) -> Counter[Resource]:
    found = wanted_lists(apps, cluster_wide=cluster_wide)
    return Counter(one.resource for one in found if one.resource in WORKLOADS.values())


@pytest.mark.parametrize("cluster_wide", [True, False])
def test_a_kind_that_no_application_uses_is_not_watched(cluster_wide: bool) -> None:
    """It needs no permission, and its CRD need not exist. A Rollout may name a Deployment."""
    plain, rollout = application(), of_kind(WorkloadKind.ROLLOUT)
    assert _watched(plain, cluster_wide=cluster_wide) == {DEPLOYMENTS: 1}
    assert _watched(rollout, cluster_wide=cluster_wide) == {DEPLOYMENTS: 1, ROLLOUTS: 1}
    alone = replace(plain, units=(replace(plain.units[0], workload_kind=WorkloadKind.STATEFUL_SET),))
    assert _watched(alone, cluster_wide=cluster_wide) == {STATEFUL_SETS: 1}


def test_only_the_applications_that_use_a_kind_depend_on_it() -> None:
    """A cluster without its CRD: the others go on."""
    health = [WatchHealth(DEPLOYMENTS.name, None, last_ok=NOW), WatchHealth(ROLLOUTS.name, None, absent=True, problem="not served: 404")]
    absent = {}
    for kind in (WorkloadKind.DEPLOYMENT, WorkloadKind.ROLLOUT):
        (source,) = (one for one in sources_of(health, of_kind(kind), 60.0) if one.name == "workloads")
        absent[kind] = (source.absent, source.problem)
    assert absent == {WorkloadKind.DEPLOYMENT: (False, ""), WorkloadKind.ROLLOUT: (True, "not served: 404")}
