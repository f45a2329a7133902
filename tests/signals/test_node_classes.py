"""A node class says in which zones a NodePool has subnets: EC2 is asked in no other, so none of them must be named for a proof."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controller.clients.kube import AUTO_NODE_CLASSES, NODE_CLASSES, NODE_POOLS, Resource
from controller.signals.cluster import ClusterView
from controller.signals.once import observe_once
from controller.signals.watches import sources_of
from failover_testbed.clocks import ManualClock
from failover_testbed.kube_api import Identity
from tests.signals.samples import moment, requirement
from tests.support.applications import NOW, application
from tests.support.cluster import Cluster

T0 = moment("2026-08-25T10:00:00Z")
A, B, C = ("us-west-2a", "us-west-2b", "us-west-2c")


def node_class(name: str, *zones: str) -> dict[str, Any]:
    """A node class with one subnet in each zone."""
    return {"metadata": {"name": name}, "status": {"subnets": [{"id": f"subnet-{zone}", "zone": zone} for zone in zones]}}


def node_pool(kind: Resource, *zones: str) -> dict[str, Any]:
    """NodePool `inf2` of node class `default`, which asks for these zones; for none where there are none."""
    reference = {"group": kind.group, "kind": kind.kind, "name": "default"}
    requirements = [requirement("topology.kubernetes.io/zone", *zones)] if zones else []
    return {"metadata": {"name": "inf2"}, "spec": {"template": {"spec": {"nodeClassRef": reference, "requirements": requirements}}}}


def view() -> ClusterView:
    """An empty one."""
    return ClusterView(ManualClock(T0), lambda: None)


@pytest.mark.parametrize("kind", [NODE_CLASSES, AUTO_NODE_CLASSES], ids=lambda kind: kind.kind)
@pytest.mark.parametrize(
    ("asked", "subnets", "zones"),
    [
        ((), (A, B), (A, B)),
        ((A, B, C), (A, B), (A, B)),
        ((A,), (A, B), (A,)),
        ((C,), (A, B), (C,)),
        ((A, B), (), (A, B)),
        ((), (), ()),
    ],
)
def test_the_zones_of_a_node_pool(kind: Resource, asked: tuple[str, ...], subnets: tuple[str, ...], zones: tuple[str, ...]) -> None:
    """Those that it asks for, without those that have no subnet; where the two have none in common, something is wrong and all count."""
    made = view()
    made.changed(NODE_POOLS, None, "ADDED", node_pool(kind, *asked))
    made.changed(kind, None, "ADDED", node_class("default", *subnets))
    made.changed(kind, None, "ADDED", node_class("other", C))
    assert made.pool("inf2", T0).zones == zones


def test_a_node_class_of_the_other_kind_is_another() -> None:
    """Karpenter of one's own and EKS Auto Mode each may have one of the same name."""
    made = view()
    made.changed(NODE_POOLS, None, "ADDED", node_pool(NODE_CLASSES, A, B))
    made.changed(AUTO_NODE_CLASSES, None, "ADDED", node_class("default", A))
    assert made.pool("inf2", T0).zones == (A, B)
    made.listed(NODE_CLASSES, None, [node_class("default", B)])
    made.listed(AUTO_NODE_CLASSES, None, [])
    assert made.pool("inf2", T0).zones == (B,)


@pytest.mark.parametrize("end", ["deleted", "not listed", "absent", "without status"])
def test_a_node_class_that_says_nothing_leaves_all_zones(end: str) -> None:
    """Unknown is not none."""
    made = view()
    made.changed(NODE_POOLS, None, "ADDED", node_pool(NODE_CLASSES, A, B))
    made.changed(NODE_CLASSES, None, "ADDED", node_class("default", A))
    match end:
        case "deleted":
            made.changed(NODE_CLASSES, None, "DELETED", node_class("default", A))
        case "not listed":
            made.listed(NODE_CLASSES, None, [])
        case "absent":
            made.absent(NODE_CLASSES, None)
        case _:
            made.changed(NODE_CLASSES, None, "MODIFIED", {"metadata": {"name": "default"}, "status": {"subnets": [None, {"zone": 5}]}})
    assert made.pool("inf2", T0).zones == (A, B)


def test_a_change_of_subnets_concerns_the_applications_of_the_node_pool() -> None:
    """A repetition concerns nobody."""
    made = view()
    made.changed(NODE_POOLS, None, "ADDED", node_pool(NODE_CLASSES))
    made.dirty.take([application()])
    made.changed(NODE_CLASSES, None, "ADDED", node_class("default", A))
    assert made.dirty.take([application()])
    made.changed(NODE_CLASSES, None, "MODIFIED", node_class("default", A))
    assert not made.dirty.take([application()])


@pytest.mark.parametrize(("denied", "zones"), [(False, (A, B)), (True, ())])
def test_it_is_read_from_an_api_server(tmp_path: Path, *, denied: bool, zones: tuple[str, ...]) -> None:
    """Without the permission all zones count, and the source is absent, which `status` names."""
    identity = Identity("controller", deny=lambda access: denied and access.resource == "ec2nodeclasses")
    cluster = Cluster(ManualClock(NOW), identity=identity)
    try:
        cluster.store.create(
            "EC2NodeClass", {"apiVersion": NODE_CLASSES.api_version, "kind": "EC2NodeClass", "metadata": {"name": "default"}}
        )
        cluster.store.update_status("EC2NodeClass", "default", node_class("default", A, B)["status"])
        cluster.store.patch("NodePool", "inf2", {"spec": node_pool(NODE_CLASSES)["spec"]})
        seen = view()
        health = observe_once(cluster.session(tmp_path), seen, ManualClock(NOW), [application()], cluster_wide=True)
        assert seen.pool("inf2", NOW).zones == zones
        (source,) = [one for one in sources_of(health, application(), 180.0) if one.name == "node-classes"]
        assert (source.absent, source.required) == (denied, False)
        assert ("ec2nodeclasses" in source.problem) is denied
    finally:
        cluster.close()
