"""A mode change under load: requests fail without standby rules, and do not with them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.catalog.loader import load_application_file
from controller.clients.kube import INGRESSES, MERGE_PATCH, connect
from controller.policy.model import Application, Target
from controller.routing.ingress.action import format_action
from controller.routing.names import action_key
from failover_harness.dataplane.applications import application_file
from failover_harness.dataplane.cluster import Cluster, Member
from failover_harness.dataplane.envoy import NotThereError, binary
from failover_harness.dataplane.load import Load, Stream, rate
from failover_harness.waiting import wait_for

SECONDS = 8.0
TWO_CHECKS_S = 45.0


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Two applications that differ only in their standby rules."""
    try:
        binary()
    except NotThereError as error:
        pytest.skip(str(error))
    members = []
    for name in ("naive", "standby"):
        path = tmp_path / f"{name}.yaml"
        path.write_text(application_file(name, "shop", style="single-service", cold_start_s=1, units=2))
        members.append(Member(load_application_file(path)[0], standby=name == "standby"))
    with Cluster(members, first_check_s=1.0, latency=0.5) as running:
        yield running


def change_mode(cluster: Cluster, application: Application) -> None:
    """One patch, from the units' Services to the one over all pods."""
    action = format_action([Target(application.capacity.service, application.capacity.port, 1)], 0)
    session = connect(kubeconfig=str(cluster.kubeconfig("admin")))
    session.request(
        "PATCH",
        INGRESSES.path(application.namespace, application.route.name),
        query=(("fieldManager", "test"),),
        body=json.dumps({"metadata": {"annotations": {action_key(application.route.part): action}}}),
        content_type=MERGE_PATCH,
    )
    session.close()


@pytest.mark.timeout(120)
def test_only_standby_rules_make_a_mode_change_that_loses_nothing(cluster: Cluster, tmp_path: Path) -> None:
    """The same patch under the same load at the same time: one answers 503s, the other none. Both end on the new side."""
    keys = {name: f"shop/{name}" for name in ("naive", "standby")}
    streams = [Stream(name, cluster.url(key), 30.0) for name, key in keys.items()]
    with Load(streams, SECONDS, tmp_path / "records.csv") as load:
        wait_for("requests", (tmp_path / "records.csv").exists)
        for key in keys.values():
            change_mode(cluster, cluster.members[key].application)
        records = load.wait()
    failed = {name: [one for one in records if one.stream == name and one.failed] for name in keys}
    assert rate(records, streams, SECONDS).unsent == 0
    assert failed["standby"] == []
    assert {one.status for one in failed["naive"]} >= {503}
    writes = [write.action for write in cluster.load_balancer_controller("shop").writes() if write.action.startswith(("Modify", "Delete"))]
    assert writes.count("ModifyRule") == 2
    assert "DeleteTargetGroup" in writes


@pytest.mark.timeout(240)
def test_pods_follow_the_cluster(cluster: Cluster) -> None:
    """New replicas are served and become healthy, removed ones leave; a crashed one refuses until it is replaced."""
    key = "shop/standby"
    unit = cluster.members[key].application.units[0]

    def healthy() -> int:
        groups = [group for group in cluster.plane.state().groups if "standbyi" in group.arn]
        states = [cluster.plane.health(group.arn, target.address, target.port)[0] for group in groups for target in group.targets]
        return states.count("healthy")

    # A pod that misses its first health check on a busy machine is checked again only 15 s later.
    wait_for("one", lambda: healthy() == 1, TWO_CHECKS_S)
    cluster.scale(key, unit.name, 3)
    wait_for("three", lambda: healthy() == 3, TWO_CHECKS_S)
    cluster.scale(key, unit.name, 2)
    wait_for("two", lambda: healthy() == 2, TWO_CHECKS_S)
    assert cluster.crash(key, unit.name)
    wait_for("a new one in its place", lambda: healthy() == 2 and cluster.plane.calm(), TWO_CHECKS_S)
