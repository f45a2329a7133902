"""The view that all watches feed: who is woken by what, what an own write is worth, and what becomes of what can no longer be seen."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.clients.kube import (
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    EVENTS,
    HTTP_ROUTES,
    INGRESSES,
    NODE_CLAIMS,
    NODE_POOLS,
    PODS,
    REFERENCE_GRANTS,
    RESOURCES,
    SCALED_OBJECTS,
    SERVICES,
    TARGET_GROUP_BINDINGS,
    Resource,
    connect,
)
from controller.clock import SystemClock, format_rfc3339
from controller.policy.model import Application, Route, Source, WorkloadKind
from controller.signals.cluster import ClusterView, Group
from controller.signals.dirty import Dirty
from controller.signals.snapshots import ExternalSignals, SnapshotBuilder
from controller.signals.watch import WatchHealth
from controller.signals.watches import Wanted, Watches, source_of, sources_of, wanted_lists
from failover_harness.waiting import wait_for
from failover_testbed.clocks import AcceleratedClock, ManualClock
from failover_testbed.kube_api import EmulatedKubeApi, Identity
from tests.signals.samples import KINDS, ice_event, moment, node_claim, sample, waiting_pod
from tests.support.applications import application, seed_units

T0 = moment("2026-08-25T10:00:03Z")


class Cluster:
    """A view that counts how often it wakes somebody."""

    def __init__(self) -> None:
        self.wakes = 0
        self.clock = ManualClock(T0)
        self.view = ClusterView(self.clock, self._woken)

    def _woken(self) -> None:
        self.wakes += 1

    def give(self, kind: str, obj: dict[str, Any], change: str = "ADDED") -> None:
        self.view.changed(KINDS[kind], None, change, obj)

    def take(self, *applications: Application) -> list[str]:
        return [one.key for one in self.view.dirty.take(applications)]


@pytest.fixture
def cluster() -> Cluster:
    """An empty view."""
    return Cluster()


def fleet(count: int) -> list[Application]:
    """Applications in their own namespaces, each on its own five NodePools but the last, which all share."""
    made = []
    for number in range(count):
        app = application(namespace=f"shop-{number:04d}")
        units = tuple(
            replace(unit, node_pool="shared" if unit.name == "sd21-g5-cuda" else f"{unit.name}-{number:04d}") for unit in app.units
        )
        made.append(replace(app, units=units))
    return made


# --- who is woken ---

NOISE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("Event", sample("E15")),
    ("Event", sample("E7")),
    ("Event", sample("E14")),
    ("Event", {"involvedObject": {"kind": "Node", "name": "n"}, "reason": "NodeReady", "lastTimestamp": "2026-08-25T10:00:00Z"}),
    ("Event", {"involvedObject": {}, "reason": "InsufficientCapacityError", "lastTimestamp": "2026-08-25T10:00:00Z"}),
    ("Event", {"involvedObject": None, "reason": None}),
    ("Event", ice_event("inf2-aaaaa", T0 - 7200)),
    ("Pod", waiting_pod("p", namespace="kube-system", nodeName="n")),
    ("Pod", {}),
    ("NodeClaim", {}),
    ("NodePool", {}),
    ("Ingress", {}),
)


@pytest.mark.parametrize(("kind", "obj"), NOISE)
@pytest.mark.parametrize("change", ["ADDED", "MODIFIED", "DELETED"])
def test_noise_wakes_nobody_and_marks_nothing(kind: str, obj: dict[str, Any], change: str, cluster: Cluster) -> None:
    """Events of other reasons, old ones, running pods, empty objects."""
    cluster.give(kind, obj, change)
    assert (cluster.wakes, cluster.take(*fleet(3))) == (0, [])


def test_the_same_again_wakes_nobody(cluster: Cluster) -> None:
    """A Deployment's heartbeat, a slice's new version, KEDA's status: nothing that decisions need is different."""
    deployment: dict[str, Any] = {
        "metadata": {"name": "sd21-inf2", "namespace": "shop"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "sd21-inf2"}}},
        "status": {"readyReplicas": 2},
    }
    scaled: dict[str, Any] = {"metadata": {"name": "sd21-inf2-hpa", "namespace": "shop"}, "spec": {"minReplicaCount": 1}}
    for kind, obj in (("Deployment", deployment), ("ScaledObject", scaled)):
        cluster.give(kind, obj)
        assert cluster.take(application()) == ["shop/sd21"]
        cluster.wakes = 0
        again = copy.deepcopy(obj)
        again["metadata"]["resourceVersion"] = "99"
        again.setdefault("status", {})["lastActiveTime"] = "2026-08-25T10:00:00Z"
        cluster.give(kind, again, "MODIFIED")
        assert (cluster.wakes, cluster.take(application())) == (0, [])


def test_a_refusal_marks_its_pool(cluster: Cluster) -> None:
    """Only the applications on that NodePool are decided upon again."""
    apps = fleet(4)
    cluster.give("Event", ice_event("sd21-inf2-0002-aaaaa", T0))
    assert (cluster.wakes, cluster.take(*apps)) == (1, ["shop-0002/sd21"])
    assert cluster.take(*apps) == [], "taken once"
    cluster.give("Event", ice_event("shared-aaaaa", T0))
    assert len(cluster.take(*apps)) == 4


def test_a_claim_marks_its_pool_however_that_is_known(cluster: Cluster) -> None:
    """By label, by owner, or by name alone."""
    apps = fleet(3)
    labelled = node_claim("x-aaaaa", "sd21-inf2-0000", T0)
    owned = {"metadata": {"name": "x-bbbbb", "ownerReferences": [{"kind": "NodePool", "name": "sd21-inf2-0001"}]}}
    named = {"metadata": {"name": "sd21-inf2-0002-aaaaa"}}
    for number, obj in enumerate((labelled, owned, named)):
        launched = {**obj, "status": {"conditions": [condition_of("Launched")]}}
        for change in ("ADDED", "DELETED"):
            cluster.give("NodeClaim", launched, change)
            assert cluster.take(*apps) == [f"shop-{number:04d}/sd21"]


def test_a_nodepool_and_its_blocking_mark_the_pool(cluster: Cluster) -> None:
    """Limits and readiness are the pool's; so is `NoCompatibleInstanceTypes`."""
    apps = fleet(3)
    cluster.give("NodePool", {"metadata": {"name": "sd21-g6-triton-0001"}, "spec": {}})
    assert cluster.take(*apps) == ["shop-0001/sd21"]
    blocked = sample("E4")
    blocked["involvedObject"]["name"] = "sd21-g6-triton-0002"
    blocked["lastTimestamp"] = "2026-08-25T10:00:00Z"
    cluster.give("Event", blocked)
    assert cluster.take(*apps) == ["shop-0002/sd21"]


@pytest.mark.parametrize("pinned", [True, False])
def test_what_karpenter_says_of_a_pod_marks_the_pools_that_it_names(pinned: bool, cluster: Cluster) -> None:
    """Also where the pod may use any NodePool. What is said of a pod before it is seen counts from then on."""
    pod = waiting_pod("pod-1", pools=("sd21-inf2-0001",) if pinned else ())
    if pinned:
        cluster.give("Pod", pod)
        cluster.take(*fleet(3))
    event = {
        "metadata": {"name": "pod-1.1", "namespace": "shop"},
        "involvedObject": {"kind": "Pod", "name": "pod-1", "namespace": "shop"},
        "reason": "FailedScheduling",
        "message": "no instance type has the required offering, requirements=karpenter.sh/nodepool In [sd21-inf2-0001]",
        "source": {"component": "karpenter"},
        "lastTimestamp": "2026-08-25T10:00:00Z",
    }
    cluster.give("Event", event)
    if not pinned:
        assert cluster.take(*fleet(3)) == []
        cluster.give("Pod", pod)
    assert cluster.take(*fleet(3)) == ["shop-0001/sd21"]
    assert cluster.view.karpenter.unavailable("shop", "pod-1") != ()


def test_that_karpenter_has_no_place_for_a_pod_wakes_its_own_application_once(cluster: Cluster) -> None:
    """In a shortage of a thousand applications on one NodePool it is said of every pod: each must not wake all of them."""
    apps = [replace(one, units=tuple(replace(unit, node_pool="all") for unit in one.units)) for one in fleet(3)]
    pod = waiting_pod("pod-1", namespace="shop-0001", owner="sd21-inf2-abc", labels={"pod-template-hash": "abc"}, pools=("all",))
    cluster.give("Pod", pod)
    cluster.take(*apps)
    event = {
        "metadata": {"name": "pod-1.1", "namespace": "shop-0001"},
        "involvedObject": {"kind": "Pod", "name": "pod-1", "namespace": "shop-0001"},
        "reason": "FailedScheduling",
        "message": "Failed to schedule pod, did not tolerate taint (taint=a=b:NoSchedule)",
        "source": {"component": "karpenter"},
        "lastTimestamp": "2026-08-25T10:00:00Z",
    }
    cluster.give("Event", event)
    assert cluster.take(*apps) == ["shop-0001/sd21"]
    cluster.give("Event", event, "MODIFIED")
    assert cluster.take(*apps) == []


SERVED = {"kubernetes.io/service-name": "sd21-inf2"}
# One object of each kind that shop-0001/sd21 depends on: name, and what else says whose it is.
WORKLOADS: dict[str, tuple[str, dict[str, Any]]] = {
    "Deployment": ("sd21-inf2", {}),
    "EndpointSlice": ("sd21-inf2-x7", {"labels": SERVED}),
    "Service": ("sd21-all", {}),
    "ScaledObject": ("sd21-inf2-hpa", {}),
    "TargetGroupBinding": ("k8s-x7", {}),
    "Ingress": ("sd21", {}),
}


@pytest.mark.parametrize("kind", WORKLOADS)
def test_a_workload_marks_the_applications_that_name_it(kind: str, cluster: Cluster) -> None:
    """Added and deleted. Others of its namespace and those of other namespaces are left alone."""
    apps = fleet(3)
    neighbour = replace(apps[1], route=Route("other", "live"), capacity=replace(apps[1].capacity, service="other"), units=())
    name, more = WORKLOADS[kind]
    for wanted, expected in ((name, ["shop-0001/sd21"]), ("stranger", [])):
        labels = {key: wanted if wanted == "stranger" else value for key, value in more.get("labels", {}).items()}
        obj = {
            "metadata": {"name": wanted, "namespace": "shop-0001", "labels": labels},
            "spec": {"serviceRef": {"name": "sd21-inf2" if wanted == name else wanted}},
        }
        for change in ("ADDED", "DELETED"):
            cluster.give(kind, obj, change)
            assert cluster.take(*apps, neighbour) == expected


def test_a_slice_that_changes_its_service_marks_both(cluster: Cluster) -> None:
    """So does a target group binding."""
    app = application(namespace="shop-0001")
    first, second = (replace(app, route=Route(name, "live"), units=(), capacity=replace(app.capacity, service=name)) for name in ("a", "b"))
    for kind in ("EndpointSlice", "TargetGroupBinding"):
        for name, expected in (("a", {"shop-0001/a"}), ("b", {"shop-0001/a", "shop-0001/b"})):
            labels = {"kubernetes.io/service-name": name}
            obj = {"metadata": {"name": "x", "namespace": "shop-0001", "labels": labels}, "spec": {"serviceRef": {"name": name}}}
            cluster.give(kind, obj, "MODIFIED")
            assert set(cluster.take(first, second)) == expected


@pytest.mark.parametrize(
    ("labels", "owner", "expected"),
    [
        ({"pod-template-hash": "5655dd594d"}, "sd21-inf2-5655dd594d", ["shop-0001/sd21"]),  # before its Deployment was seen
        ({"app": "mine"}, "whatever", ["shop-0001/sd21"]),  # the Deployment selects it
        ({"app": "theirs", "pod-template-hash": "5655dd594d"}, "stranger-5655dd594d", []),
        ({}, "", ["shop-0001/sd21", "shop-0001/other"]),  # nobody's: any unit of the namespace may claim it
    ],
)
def test_a_waiting_pod_marks_the_applications_whose_it_may_be(
    labels: dict[str, str], owner: str, expected: list[str], cluster: Cluster
) -> None:
    """When it begins to wait and when it ends."""
    app = fleet(2)[1]
    neighbour = replace(app, route=Route("other", "live"), units=())
    cluster.give(
        "Deployment", {"metadata": {"name": "sd21-trn1", "namespace": "shop-0001"}, "spec": {"selector": {"matchLabels": {"app": "mine"}}}}
    )
    cluster.take(app, neighbour)
    for change in ("ADDED", "DELETED"):
        cluster.give("Pod", waiting_pod("p", namespace="shop-0001", labels=labels, owner=owner, pools=("inf2",)), change)
        assert cluster.take(app, neighbour) == expected


LISTED: tuple[tuple[Resource, dict[str, Any], tuple[str, ...]], ...] = (
    (DEPLOYMENTS, {"metadata": {"name": "sd21-inf2", "namespace": "shop-0001"}, "spec": {"replicas": 2}}, ("spec", "replicas")),
    (SERVICES, {"metadata": {"name": "sd21-inf2", "namespace": "shop-0001"}, "spec": {"ports": [{"port": 1}]}}, ("spec", "ports")),
    (SCALED_OBJECTS, {"metadata": {"name": "sd21-inf2-hpa", "namespace": "shop-0001"}, "spec": {"minReplicaCount": 2}},
     ("spec", "minReplicaCount")),
    (INGRESSES, {"metadata": {"name": "sd21", "namespace": "shop-0001", "annotations": {"a": "b"}}}, ("metadata", "annotations")),
    (PODS, {**waiting_pod("p", namespace="shop-0001", pools=("sd21-inf2-0001",))}, ("status", "conditions")),
    (NODE_POOLS, {"metadata": {"name": "sd21-inf2-0001"}, "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "x"}]}},
     ("status", "conditions")),
    (NODE_CLAIMS, node_claim("x-aaaaa", "sd21-inf2-0001", T0, Launched=format_rfc3339(T0)), ()),
    (EVENTS, ice_event("sd21-inf2-0001-aaaaa", T0), ()),
)  # fmt: skip


@pytest.mark.parametrize(("resource", "obj", "what"), LISTED, ids=lambda one: getattr(one, "plural", ""))
def test_a_list_marks_what_differs(resource: Resource, obj: dict[str, Any], what: tuple[str, ...], cluster: Cluster) -> None:
    """The same list once more marks nothing, whatever the versions; nor does one of an unrelated object. What is gone is a difference."""
    apps = fleet(3)
    cluster.view.listed(resource, None, [obj])
    assert cluster.take(*apps) == ["shop-0001/sd21"]
    cluster.wakes = 0
    for _ in range(2):
        cluster.view.listed(resource, None, [copy.deepcopy(obj)])
        assert (cluster.wakes, cluster.take(*apps)) == (0, [])
    if resource is EVENTS:
        return  # an event that expired takes nothing back
    cluster.view.listed(resource, None, [])
    assert cluster.take(*apps) == ["shop-0001/sd21"]
    cluster.view.listed(resource, None, [obj])
    assert cluster.take(*apps) == ["shop-0001/sd21"]
    if what:  # what a claim once reached stays true
        changed = copy.deepcopy(obj)
        del changed[what[0]][what[1]]
        cluster.view.listed(resource, None, [changed])
        assert cluster.take(*apps) == ["shop-0001/sd21"]


def condition_of(kind: str, at: float = T0) -> dict[str, Any]:
    return {"type": kind, "status": "True", "reason": kind, "lastTransitionTime": format_rfc3339(at)}


def test_what_happens_to_a_node_later_marks_nothing(cluster: Cluster) -> None:
    """A launch, and each step of it, is news. That the node could be consolidated is none, nor who wrote the claim."""
    apps = fleet(3)
    claim = node_claim("x-aaaaa", "sd21-inf2-0001", T0)
    cluster.give("NodeClaim", claim)
    assert cluster.take(*apps) == ["shop-0001/sd21"], "it is the first to name this type"
    cluster.give("NodeClaim", node_claim("x-bbbbb", "sd21-inf2-0001", T0))
    assert cluster.take(*apps) == [], "nothing was launched, nothing was refused"
    for kind in ("Launched", "Registered", "Initialized"):
        claim["status"].setdefault("conditions", []).append(condition_of(kind))
        cluster.give("NodeClaim", copy.deepcopy(claim), "MODIFIED")
        assert cluster.take(*apps) == ["shop-0001/sd21"]
    for kind in ("Consolidatable", "Drifted", "PodScheduled"):
        claim["status"]["conditions"].append(condition_of(kind))
        claim["metadata"]["resourceVersion"] = kind
        claim["status"]["lastPodEventTime"] = format_rfc3339(T0 + 5)
        cluster.give("NodeClaim", copy.deepcopy(claim), "MODIFIED")
        assert cluster.take(*apps) == []
    cluster.clock.advance(7200.0)
    cluster.give("NodeClaim", copy.deepcopy(claim), "DELETED")
    assert cluster.take(*apps) == [], "its launch is no evidence any more"


def test_what_a_nodepool_uses_marks_it_only_where_a_type_no_longer_fits(cluster: Cluster) -> None:
    """Its status changes with every node of every application that shares it. The smallest types of the catalog take 4 vCPUs."""
    apps = fleet(3)
    pool: dict[str, Any] = {"metadata": {"name": "sd21-inf2-0001"}, "spec": {}, "status": {"resources": {"cpu": "4"}}}
    cluster.give("NodePool", pool)
    assert cluster.take(*apps) == ["shop-0001/sd21"]
    for used, limits, marked in (
        ("8", {}, False),
        ("8", {"cpu": "16"}, True),
        ("7", {"cpu": "16"}, False),
        ("12", {"cpu": "16"}, True),
        ("13", {"cpu": "16"}, True),
        ("14", {"cpu": "16"}, False),
        ("16", {"cpu": "16"}, True),
    ):
        pool["spec"]["limits"], pool["status"]["resources"]["cpu"] = limits, used
        cluster.give("NodePool", copy.deepcopy(pool), "MODIFIED")
        assert bool(cluster.take(*apps)) is marked, (used, limits)


def test_whatever_is_not_marked_is_observed_the_same(cluster: Cluster) -> None:
    """The contract itself: an observation may differ only after a mark."""
    claim = node_claim("x-aaaaa", "sd21-inf2-0001", T0)
    steps: list[tuple[str, str, dict[str, Any]]] = [("NodeClaim", "ADDED", copy.deepcopy(claim))]
    for kind in ("Launched", "Consolidatable", "Registered", "Drifted", "Initialized"):
        claim["status"].setdefault("conditions", []).append(condition_of(kind))
        steps.append(("NodeClaim", "MODIFIED", copy.deepcopy(claim)))
    steps += [("Event", "ADDED", ice_event("x-bbbbb", T0)), ("NodeClaim", "ADDED", node_claim("x-bbbbb", "sd21-inf2-0001", T0))]
    steps += [("NodeClaim", "DELETED", node_claim("x-bbbbb", "sd21-inf2-0001", T0)), ("NodeClaim", "DELETED", copy.deepcopy(claim))]
    observe, names = cluster.view.karpenter.observation, ("sd21-inf2-0001", "x")
    before = {name: observe(name, T0, 3600.0) for name in names}
    for kind, change, obj in steps:
        cluster.wakes = 0
        cluster.give(kind, obj, change)
        after = {name: observe(name, T0, 3600.0) for name in names}
        assert cluster.wakes or after == before, (kind, change)
        before = after


@pytest.mark.parametrize("seed", range(3))
def test_take_picks_the_right_ones_of_a_thousand(seed: int) -> None:
    """Any mixture of namespaces and pools takes exactly the union of the applications concerned, in order, once."""
    apps = fleet(1000)
    dirty = Dirty(lambda: None)
    namespaces = {f"shop-{number:04d}" for number in range(seed, 1000, 97)}
    pools = {f"sd21-trn1-{number:04d}" for number in range(seed + 3, 1000, 211)}
    for namespace in namespaces:
        dirty.mark(namespace=namespace)
    for pool in pools:
        dirty.mark(pool=pool)
    dirty.mark(namespace="stranger", pool="stranger")
    dirty.mark()
    assert dirty.pending()
    expected = [app.key for app in apps if app.namespace in namespaces or app.units[1].node_pool in pools]
    assert [app.key for app in dirty.take(apps)] == expected
    assert not dirty.pending()
    assert dirty.take(apps) == []
    dirty.mark(everything=True)
    assert dirty.take(apps) == apps


def test_an_ingress_is_read_once_for_each_change(cluster: Cluster) -> None:
    """And for each application that it is read for."""
    app = application()
    assert not cluster.view.routing(app).exists
    cluster.give("Ingress", ingress("9"))
    first = cluster.view.routing(app)
    assert (first.resource_version, cluster.view.routing(app) is first) == ("9", True)
    assert cluster.view.routing(replace(app, route=replace(app.route, part="other"))) is not first
    cluster.give("Ingress", ingress("10"), "MODIFIED")
    assert cluster.view.routing(app).resource_version == "10"
    last = cluster.view.routing(app)
    cluster.view.retain([])
    assert cluster.view.routing(app) is not last


# --- own writes ---


def ingress(version: str, *, uid: str = "u", marker: str = "") -> dict[str, Any]:
    """An Ingress at one version."""
    return {"metadata": {"name": "sd21", "namespace": "shop", "uid": uid, "resourceVersion": version, "annotations": {"m": marker}}}


def version(cluster: Cluster) -> str | None:
    """The version of the Ingress in view."""
    found = cluster.view.routing_object(application())
    return found["metadata"]["resourceVersion"] if found else None


def test_an_older_state_does_not_undo_a_newer_one(cluster: Cluster) -> None:
    """Versions are numbers: 9 is older than 10."""
    cluster.give("Ingress", ingress("9"))
    cluster.give("Ingress", ingress("10"), "MODIFIED")
    cluster.give("Ingress", ingress("9"), "MODIFIED")
    assert version(cluster) == "10"
    cluster.give("Ingress", ingress("11"), "MODIFIED")
    assert version(cluster) == "11"


def test_a_list_from_before_does_not_undo_it_either(cluster: Cluster) -> None:
    """A list may have been read before our own write and taken after it; what it no longer has is gone."""
    cluster.give("Ingress", ingress("10"))
    for namespace in ("shop", None):
        cluster.view.listed(INGRESSES, namespace, [ingress("9")])
        assert version(cluster) == "10"
    cluster.view.listed(INGRESSES, "other", [])
    assert version(cluster) == "10"
    cluster.view.listed(INGRESSES, None, [])
    assert version(cluster) is None


@pytest.mark.parametrize("namespace", ["shop", None])
def test_after_a_restore_from_a_backup_the_list_is_the_present_state(namespace: str | None, cluster: Cluster) -> None:
    """Its versions are lower, and the uids are those of before. The view kept the state that the server had lost, deletions included."""
    identity = {"name": "so", "namespace": "shop", "uid": "s"}
    scaler = {"metadata": {**identity, "resourceVersion": "90"}, "spec": {"minReplicaCount": 7}}
    restored = {"metadata": {**identity, "resourceVersion": "50"}, "spec": {"minReplicaCount": 1}}
    unit = replace(application().units[0], scaled_object="so")
    cluster.view.listed(INGRESSES, namespace, [ingress("90")])
    cluster.view.listed(SCALED_OBJECTS, namespace, [scaler])
    for resource, obj in ((INGRESSES, ingress("50", marker="restored")), (SCALED_OBJECTS, restored)):
        cluster.view.rewound(resource, namespace)
        cluster.view.listed(resource, namespace, [obj])
    assert version(cluster) == "50"
    read = cluster.view.workloads.scaler("shop", unit)
    assert read is not None
    assert (read.resource_version, read.min_replicas) == ("50", 1)
    cluster.give("Ingress", ingress("49"), "MODIFIED")
    assert version(cluster) == "50", "from here on versions count again"
    cluster.give("Ingress", ingress("51"), "DELETED")
    assert version(cluster) is None


def test_another_ingress_of_the_same_name_is_another(cluster: Cluster) -> None:
    """Deleted and created anew in a restored cluster: its version may be smaller."""
    cluster.give("Ingress", ingress("10"))
    cluster.give("Ingress", ingress("3", uid="other"), "MODIFIED")
    assert version(cluster) == "3"


def test_an_answer_that_a_deletion_overtook_brings_nothing_back(cluster: Cluster) -> None:
    """Or an Ingress that is gone would be in view until the next list."""
    cluster.give("Ingress", ingress("9"))
    cluster.give("Ingress", ingress("11"), "DELETED")
    cluster.give("Ingress", ingress("10"), "MODIFIED")
    assert version(cluster) is None


def test_an_answer_that_a_new_ingress_overtook_does_not_replace_it(cluster: Cluster) -> None:
    """Nothing would deliver the new one again before it changes, and each write of ours would be refused: its uid is another."""
    cluster.give("Ingress", ingress("9"))
    cluster.give("Ingress", ingress("11"), "DELETED")
    cluster.give("Ingress", ingress("12", uid="other"))
    cluster.view.wrote(INGRESSES, ingress("10"))
    assert version(cluster) == "12"
    cluster.view.wrote(INGRESSES, ingress("13", uid="other"))
    assert version(cluster) == "13"


@pytest.mark.parametrize("odd", ["", "abc", "²", "1.5", "9" * 5000, None, 7])
def test_versions_that_are_no_numbers_are_taken_as_they_come(odd: Any, cluster: Cluster) -> None:
    """They are opaque by contract."""
    cluster.give("Ingress", ingress("10"))
    cluster.give("Ingress", ingress(odd), "MODIFIED")
    assert version(cluster) == odd


# --- what can no longer be seen ---


def test_absent_is_as_if_it_had_never_been_there(cluster: Cluster) -> None:
    """Pods that waited, scalers: none may be decided upon once nobody can see them; what events said ages by itself.

    Whether a NodePool exists nobody knows then.
    """
    app = application()
    builder = SnapshotBuilder(cluster.view, [app])
    cluster.give("Pod", waiting_pod("p", pools=("inf2",)))
    cluster.give("ScaledObject", {"metadata": {"name": "sd21-inf2-hpa", "namespace": "shop"}, "spec": {}})
    cluster.give("NodePool", {"metadata": {"name": "inf2"}, "spec": {}})
    cluster.give("Ingress", ingress("1"))
    cluster.give("Event", ice_event("inf2-aaaaa", T0))
    cluster.view.listed(TARGET_GROUP_BINDINGS, None, [{"metadata": {"name": "b", "namespace": "shop"}}])
    assert cluster.view.workloads.bindings_known
    for resource in (PODS, SCALED_OBJECTS, NODE_POOLS, INGRESSES, TARGET_GROUP_BINDINGS, EVENTS):
        cluster.view.absent(resource, None)
    snapshot = builder.build(app, T0, (), ExternalSignals(), leader=True, epoch=1)
    unit = snapshot.units["sd21-inf2"]
    assert (unit.pending, unit.scaler, unit.pool.problem, snapshot.routing.exists) == ((), None, "not known", False)
    assert len(unit.pool.failures) == 1
    assert not cluster.view.workloads.bindings_known


@pytest.mark.parametrize(("resource", "obj", "what"), LISTED, ids=lambda one: getattr(one, "plural", ""))
def test_what_is_kept_is_counted_by_kind(resource: Resource, obj: dict[str, Any], what: tuple[str, ...], cluster: Cluster) -> None:
    """And no longer once it is gone. Of a NodeClaim, a tombstone stays; of an event, the NodeClaim that it refused."""
    del what
    cluster.view.listed(resource, None, [obj])
    present = {kind: count for kind, count in cluster.view.kept().items() if count}
    assert present == {"refused nodeclaims" if resource is EVENTS else resource.plural: 1}
    cluster.view.listed(resource, None, [])
    left = {kind: count for kind, count in cluster.view.kept().items() if count}
    assert left == {EVENTS: present, NODE_CLAIMS: {"removed nodeclaims": 1}}.get(resource, {})


# --- NodePools observed together ---


def test_a_pool_is_observed_once_for_all_applications(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The applications of one pass share one observation; noise and changes of other pools do not spoil it; its own, and a second, do."""
    reads: list[str] = []
    observe = cluster.view.karpenter.observation

    def counted(name: str, now: float, window_s: float) -> Any:
        reads.append(name)
        return observe(name, now, window_s)

    monkeypatch.setattr(cluster.view.karpenter, "observation", counted)
    for number in range(100):
        cluster.view.pool("inf2" if number % 2 else "g5", T0 + number / 1000)
        for kind, obj in NOISE:
            cluster.give(kind, obj)
    assert sorted(reads) == ["g5", "inf2"]
    reads.clear()
    cluster.give("Event", ice_event("inf2-aaaaa", T0))
    assert len(cluster.view.pool("inf2", T0 + 0.5).failures) == 1
    cluster.view.pool("g5", T0 + 0.5)
    assert reads == ["inf2"]
    cluster.view.pool("inf2", T0 + 2)
    cluster.view.pool("inf2", T0 + 1)
    assert reads == ["inf2"] * 3, "a clock that went back is another time too"
    app = application()
    cluster.view.retain([replace(app, units=(replace(app.units[0], node_pool="g5"),))])
    cluster.view.pool("g5", T0 + 0.5)
    cluster.view.pool("inf2", T0 + 1)
    assert reads == ["inf2"] * 4


# --- sources ---


def health(resource: Resource, namespace: str | None, **changes: Any) -> WatchHealth:
    """A watch that is well."""
    return replace(WatchHealth(resource.name, namespace, last_ok=T0, relists=1), **changes)


def named(sources: tuple[Source, ...]) -> dict[str, Source]:
    """Sources by name."""
    return {source.name: source for source in sources}


def test_all_sources_of_a_whole_cluster() -> None:
    """Karpenter, workloads and the Ingress are required; the others only degrade."""
    watches = [health(one.resource, one.namespace) for one in wanted_lists([application()], cluster_wide=True)]
    sources = named(sources_of(watches, application(), 180.0))
    assert {name for name, source in sources.items() if source.required} == {"karpenter", "workloads", "routing"}
    assert set(sources) == {"karpenter", "workloads", "routing", "services", "keda", "target-group-bindings", "node-classes"}
    assert not any(source.stale(T0) or source.absent or source.problem for source in sources.values())


def test_a_source_is_as_old_as_its_oldest_watch() -> None:
    """And unknown while one of them has never spoken."""
    well, old, never = health(PODS, None), health(DEPLOYMENTS, None, last_ok=T0 - 500), health(ENDPOINT_SLICES, None, last_ok=None)
    assert source_of(Group("workloads", required=True), [well, old], budget_s=180).last_ok == T0 - 500
    assert source_of(Group("workloads", required=True), [well, old], budget_s=180).stale(T0)
    assert source_of(Group("workloads", required=True), [well, never], budget_s=180).last_ok is None
    assert source_of(Group("workloads", required=True), [], budget_s=180).stale(T0)


def test_an_absent_watch_makes_its_source_absent_with_its_words() -> None:
    """Named once, and cut."""
    missing = health(NODE_CLAIMS, None, last_ok=None, absent=True, problem="GET /apis/karpenter.sh/v1/nodeclaims: 404 " + "x" * 500)
    source = source_of(Group("karpenter", required=True), [health(EVENTS, "default"), missing, missing], budget_s=180)
    assert (source.absent, source.stale(T0), len(source.problem)) == (True, False, 300)
    assert source.problem.count("GET") == 1


def test_another_namespace_does_not_concern_an_application() -> None:
    """With a watch for each namespace: not even the namespace `default`, where Karpenter's events are, if its pods are forbidden."""
    mine = [health(resource, "shop") for resource in (PODS, DEPLOYMENTS, ENDPOINT_SLICES, EVENTS)]
    cluster_scoped = [health(NODE_CLAIMS, None), health(NODE_POOLS, None), health(EVENTS, "default")]
    others = [health(resource, namespace, absent=True) for resource in (PODS, DEPLOYMENTS) for namespace in ("default", "other")]
    sources = named(sources_of([*mine, *cluster_scoped, *others], application(), 180.0))
    assert not sources["workloads"].absent
    sources = named(sources_of([*mine, health(EVENTS, "default", absent=True)], application(), 180.0))
    assert sources["karpenter"].absent


def test_what_is_watched() -> None:
    """One watch a kind for a whole cluster, however many applications; one a kind and namespace otherwise; events of `default` once."""
    apps = [*fleet(50), application(namespace="default")]
    whole = wanted_lists(apps, cluster_wide=True)
    assert len(whole) == len(set(whole)) == 4 + 8 + 2 + 4
    events = [(one.namespace, dict(one.query)["fieldSelector"]) for one in whole if one.resource is EVENTS]
    assert events == [
        (None, "involvedObject.kind=Pod,reason=FailedScheduling,source!=default-scheduler"),
        (None, "involvedObject.kind=Ingress"),
        ("default", "involvedObject.kind=NodeClaim,reason=InsufficientCapacityError"),
        ("default", "involvedObject.kind=NodeClaim,reason=DisruptionLaunching"),
        ("default", "involvedObject.kind=NodeClaim,reason=SpotInterrupted"),
        ("default", "involvedObject.kind=NodePool,reason=NoCompatibleInstanceTypes"),
    ]
    single = wanted_lists(apps, cluster_wide=False)
    assert len(single) == len(set(single)) == 4 + 51 * 10 + 4
    assert [one.namespace for one in single if one.resource is NODE_CLAIMS] == [None]
    assert not [one for one in (*whole, *single) if one.resource is EVENTS and not one.query], "never every event"


def _apart(namespace: str = "shop", **changes: Any) -> Application:
    """An application whose route is in the namespace ``gateways``."""
    return application(namespace=namespace, route=Route("sd21", "main", "HTTPRoute", "gateways"), **changes)


def test_a_route_in_another_namespace_is_watched_there() -> None:
    """With what it is read with and the events about its Gateway. Grants are watched where the Services are, everything else too."""
    watched: dict[str | None, set[str]] = {}
    for one in wanted_lists([_apart(), application(namespace="web")], cluster_wide=False):
        watched.setdefault(one.namespace, set()).add(one.resource.plural)
    ours = {"httproutes", "listenerruleconfigurations"}
    assert watched["gateways"] == {*ours, "targetgroupconfigurations", "events"}
    assert watched["shop"] == (watched["web"] - {"ingresses"}) | {"referencegrants", "targetgroupconfigurations"}
    assert "httproutes" not in watched["shop"]
    wide = [one for one in wanted_lists([_apart()], cluster_wide=True) if one.namespace is None]
    assert len(wide) == len(set(wide))
    assert {*ours, "referencegrants"} <= {one.resource.plural for one in wide}


def test_grants_are_a_source_only_where_one_is_needed() -> None:
    """Without them nothing is decided: whether a write takes the backends away is not known."""
    at_home = application(route=Route("sd21", "main", "HTTPRoute"))
    for app, expected in ((_apart(), {"reference-grants"}), (at_home, set[str]())):
        watches = [health(one.resource, one.namespace) for one in wanted_lists([app], cluster_wide=False)]
        sources = named(sources_of(watches, app, 180.0))
        assert {name for name, one in sources.items() if one.required} == {"karpenter", "workloads", "routing"} | expected
        assert not any(source.stale(T0) for source in sources.values())
    there = [health(HTTP_ROUTES, "gateways", absent=True), health(HTTP_ROUTES, "shop")]
    assert named(sources_of(there, _apart(), 180.0))["routing"].absent


def test_a_change_of_a_grant_wakes_the_applications_whose_route_is_read_with_it() -> None:
    """And the next decision knows it."""
    clock = ManualClock(T0)
    view, apps = ClusterView(clock, lambda: None), [_apart(), application(namespace="web")]
    source = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "gateways"}
    spec = {"from": [source], "to": [{"group": "", "kind": "Service"}]}
    view.changed(HTTP_ROUTES, None, "ADDED", {"metadata": {"name": "sd21", "namespace": "gateways"}, "spec": {"rules": []}})
    assert set(view.routing(apps[0]).ungranted) == {*apps[0].services}
    view.dirty.take(apps)
    view.changed(REFERENCE_GRANTS, None, "ADDED", {"metadata": {"name": "any", "namespace": "shop"}, "spec": spec})
    assert view.dirty.take(apps) == [apps[0]]
    assert view.routing(apps[0]).ungranted == ()


# --- over HTTP ---


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Any]:
    """Starts watches over an emulated server."""
    started: list[Watches] = []

    def begin(api: EmulatedKubeApi, token: str = "admin", *, cluster_wide: bool = True) -> tuple[ClusterView, Watches]:
        clock = AcceleratedClock(20)
        session = connect(kubeconfig=str(api.kubeconfig(token, tmp_path / f"{len(started)}.kubeconfig")))
        view = ClusterView(clock, lambda: None)
        watches = Watches(session, view, clock, cluster_wide=cluster_wide, timeout_s=300, idle_s=90.0)
        started.append(watches)
        return view, watches

    yield begin
    for watches in started:
        watches.stop()


def test_a_cluster_without_any_of_the_crds_is_named_degradation(watched: Any) -> None:
    """Karpenter, KEDA and the load-balancer controller's kinds are missing: each source says so, the others are fresh."""
    app = application()
    with EmulatedKubeApi(without_groups=["karpenter.sh", "keda.sh", "elbv2.k8s.aws"], bookmark_interval_s=0.05) as api:
        view, watches = watched(api)
        watches.ensure([app])
        wait_for("word from all", lambda: all(one.absent or one.last_ok for one in watches.health()))
        sources = named(sources_of(watches.health(), app, 180.0))
        assert {name for name, source in sources.items() if source.absent} == {"karpenter", "keda", "target-group-bindings"}
        assert all("404" in source.problem for source in sources.values() if source.absent)
        snapshot = SnapshotBuilder(view, [app]).build(
            app, view.time.now(), tuple(sources.values()), ExternalSignals(), leader=True, epoch=1
        )
        assert (snapshot.routing.exists, snapshot.routing.bound) == (False, None)


def test_a_cluster_without_the_crd_of_a_workload_stops_only_the_applications_that_name_it(watched: Any) -> None:
    """Its problem names the missing kind; the watch asks again, and nothing crashes."""
    plain, rollout = application(), application(namespace="other", units=(replace(seed_units()[0], workload_kind=WorkloadKind.ROLLOUT),))
    with EmulatedKubeApi(without_groups=["argoproj.io"], bookmark_interval_s=0.05) as api:
        _, watches = watched(api)
        watches.ensure([plain, rollout])
        wait_for("word from all", lambda: all(one.absent or one.last_ok for one in watches.health()))
        found = {one.key: named(sources_of(watches.health(), one, 180.0))["workloads"] for one in (plain, rollout)}
        assert not found[plain.key].absent
        assert found[rollout.key].absent
        assert "rollouts.argoproj.io" in found[rollout.key].problem
        watches.ensure([plain])
        assert "rollouts.argoproj.io" not in {one.resource for one in watches.health()}


def test_each_forbidden_kind_is_named_degradation(watched: Any) -> None:
    """Whatever permission is missing, its source is absent and nothing crashes."""
    denied = {"pods", "services", "nodepools"}
    tokens = {"me": Identity("me", deny=lambda access: access.resource in denied)}
    with EmulatedKubeApi(tokens=tokens, bookmark_interval_s=0.05) as api:
        _, watches = watched(api, "me")
        watches.ensure([application()])
        wait_for("word from all", lambda: all(one.absent or one.last_ok for one in watches.health()))
        sources = named(sources_of(watches.health(), application(), 180.0))
        assert {name for name, source in sources.items() if source.absent} == {"karpenter", "workloads", "services"}


def test_watches_follow_the_applications(watched: Any) -> None:
    """Those that nobody needs any more are ended, new ones begun, the others left alone."""
    with EmulatedKubeApi(bookmark_interval_s=0.05) as api:
        _, watches = watched(api, cluster_wide=False)
        first, second = application(), application(namespace="other")
        watches.ensure([first])
        wait_for("word from all", lambda: all(one.last_ok for one in watches.health() if one.served))
        before = dict(watches._watches)
        watches.ensure([second])
        assert {one.namespace for one in watches.health()} == {None, "default", "other"}
        assert watches._watches[Wanted(NODE_CLAIMS, None)] is before[Wanted(NODE_CLAIMS, None)]
        old = before[Wanted(PODS, "shop")]
        wait_for("the end of the old watch", lambda: not old._thread.is_alive())
        watches.ensure([])
        assert {one.namespace for one in watches.health()} == {None, "default"}


def test_a_watch_that_was_stopped_delivers_nothing_any_more() -> None:
    """A namespace leaves the application files and comes back. The old list, which took long, overwrote the new one."""
    served, late, name = threading.Event(), threading.Event(), application().units[0].deployment

    class Session(Mock):
        lists = 0

        def request(self, _method: str, path: str, *, each: Any = None, **_: Any) -> Any:
            if path.endswith("/deployments"):
                Session.lists += 1
                old = Session.lists == 1
                if old:
                    served.set()
                    late.wait(20)
                status = {"readyReplicas": 5 if old else 0}
                each({"metadata": {"namespace": "shop", "name": name}, "spec": {"replicas": 5}, "status": status})
            return {"metadata": {"resourceVersion": "99"}}

        def stream(self, *_: Any, **__: Any) -> Any:
            return nullcontext(iter(()))

    view = ClusterView(SystemClock(), lambda: None)
    watches = Watches(Session(), view, SystemClock(), cluster_wide=False, timeout_s=300, idle_s=90)
    try:
        watches.ensure([application()])
        assert served.wait(10)
        (old,) = (watch for wanted, watch in watches._watches.items() if wanted.resource.plural == "deployments")
        watches.ensure([])
        watches.ensure([application()])
        wait_for("the new list", lambda: view.workloads.workload_of("shop", application().units[0]) is not None)
        late.set()
        old._thread.join(10)
        assert not old._thread.is_alive()
        found = view.workloads.workload_of("shop", application().units[0])
        assert found is not None
        assert found.ready == 0
    finally:
        late.set()
        watches.stop()


def test_what_is_watched_is_not_searched_for_in_all_that_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 200 namespaces that took half a second, after every check of the files, and no pass could be made meanwhile."""
    monkeypatch.setattr("controller.signals.watches.Watch", Mock())
    watches = Watches(Mock(), ClusterView(SystemClock(), lambda: None), SystemClock(), cluster_wide=False, timeout_s=300, idle_s=90)
    applications = [application(namespace=f"team-{number}") for number in range(50)]
    compared = 0

    def equal(self: Wanted, other: object) -> bool:
        nonlocal compared
        compared += 1
        mine, others = ((one.resource, one.namespace, one.query) for one in (self, other) if isinstance(one, Wanted))
        return mine == others

    watches.ensure(applications)
    monkeypatch.setattr(Wanted, "__eq__", equal)
    watches.ensure(applications)
    assert len(watches.health()) < compared < 5 * len(watches.health())


def test_nothing_is_left_of_a_namespace_that_nobody_needs(watched: Any) -> None:
    """Its watches end, so that nobody would ever say that its objects are gone."""
    with EmulatedKubeApi(bookmark_interval_s=0.05) as api:
        api.store.create("Namespace", {"metadata": {"name": "shop"}})
        api.store.create("Ingress", {"metadata": {"name": "sd21", "namespace": "shop"}, "spec": {}})
        api.store.create("Pod", waiting_pod("p", namespace="shop", pools=("inf2",)))
        view, watches = watched(api, cluster_wide=False)
        watches.ensure([application()])
        wait_for("the Ingress", lambda: view.routing_object(application()) is not None)
        wait_for("the pod", lambda: view.workloads.waiting("shop", "p") is not None)
        watches.ensure([application(namespace="other")])
        assert view.routing_object(application()) is None
        assert view.workloads.waiting("shop", "p") is None


def test_what_is_no_longer_watched_is_not_known_to_be_none(watched: Any) -> None:
    """Bindings that cannot be listed are unknown. Once their namespace was not needed any more, they counted as listed, and as none."""
    with EmulatedKubeApi(without_groups=["elbv2.k8s.aws"], bookmark_interval_s=0.05) as api:
        view, watches = watched(api, cluster_wide=False)
        watches.ensure([application()])
        wait_for("word from all", lambda: all(one.absent or one.last_ok for one in watches.health()))
        assert not view.workloads.bindings_known
        watches.ensure([])
        assert not view.workloads.bindings_known


def test_watches_of_events_end_before_missing_lines_are_trouble(watched: Any) -> None:
    """The API server sends no bookmarks for events; for everything else it does."""
    with EmulatedKubeApi(bookmark_interval_s=0.05) as api:
        _, watches = watched(api)
        watches.ensure([application()])
        wait_for("word from all", lambda: all(one.last_ok for one in watches.health() if one.served))
        lasting = {wanted.resource.name: (watch._timeout_s, watch._idle_s) for wanted, watch in watches._watches.items()}
    assert lasting.pop(EVENTS.name) == (60, 90.0)
    assert set(lasting.values()) == {(300, 90.0)}


# --- objects of any shape ---

NAMES = st.sampled_from(["sd21", "sd21-inf2", "inf2", "inf2-aaaaa", "shop", "default", "", "Pod", "NodeClaim", "NodePool", "karpenter"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | NAMES
WORDS = """
metadata spec status name namespace labels annotations uid resourceVersion ownerReferences kind requirements key operator values
conditions type reason message lastTransitionTime lastTimestamp involvedObject source component limits resources cpu endpoints
addresses ready targetRef ports port number selector matchLabels template nodeSelector affinity nodeAffinity triggers rules http
paths backend service serviceRef replicas readyReplicas providerID managedFields minReplicaCount karpenter.sh/nodepool
kubernetes.io/service-name series eventTime creationTimestamp nodeSelectorTerms requiredDuringSchedulingIgnoredDuringExecution
"""
KEYS = st.sampled_from(WORDS.split())
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=20)
SHAPED = st.fixed_dictionaries(
    {"metadata": st.fixed_dictionaries({"name": NAMES, "namespace": st.just("shop")}, optional={"labels": JSON, "annotations": JSON})},
    optional={"spec": JSON, "status": JSON, "endpoints": JSON, "involvedObject": JSON, "message": JSON, "reason": JSON},
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(RESOURCES)),
            st.sampled_from(["ADDED", "MODIFIED", "DELETED", "?", ""]),
            st.dictionaries(KEYS, JSON) | SHAPED,
        ),
        max_size=6,
    )
)
def test_objects_of_any_shape_never_raise(changes: list[tuple[str, str, dict[str, Any]]]) -> None:
    """As changes and as lists, of every kind that is watched; and the snapshot of what is left can always be taken."""
    cluster, app = Cluster(), application()
    builder = SnapshotBuilder(cluster.view, [app])
    sources = tuple(Source(name, True, T0, 180.0) for name in ("services", "target-group-bindings"))
    watched = {one.resource.name for one in wanted_lists([app], cluster_wide=True)}
    for name, kind, obj in changes:
        if name in watched:
            cluster.view.changed(RESOURCES[name], None, kind, copy.deepcopy(obj))
            builder.build(app, T0, sources, ExternalSignals(), leader=True, epoch=1)
            cluster.view.listed(RESOURCES[name], None, [obj, copy.deepcopy(obj)])
            builder.build(app, T0, sources, ExternalSignals(), leader=True, epoch=1)
    cluster.take(app)


def test_services_are_a_source_of_their_own(cluster: Cluster) -> None:
    """See `SnapshotBuilder`: without them it is not known whether the capacity Service exists."""
    cluster.view.listed(SERVICES, None, [])
    snapshot = SnapshotBuilder(cluster.view, [application()]).build(application(), T0, (), ExternalSignals(), leader=True, epoch=1)
    assert snapshot.routing.capacity_exists is None
