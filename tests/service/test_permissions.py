"""The manifests of `deploy/` grant what the controller uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from failover_harness.waiting import wait_for
from failover_testbed.clocks import AcceleratedClock
from failover_testbed.kube_api import Identity, rules_of
from tests.support.cluster import Cluster, make_service, running

BASE = Path(__file__).parents[2] / "deploy" / "kustomize" / "base"


def _rules() -> list[Any]:
    documents = [
        doc for name in ("cluster-role.yaml", "role.yaml", "objects.yaml") for doc in yaml.safe_load_all((BASE / name).read_text())
    ]
    return [rule for doc in documents if doc["kind"] in {"Role", "ClusterRole"} for rule in rules_of(doc)]


def test_a_failover_needs_no_permission_that_the_manifests_do_not_grant(tmp_path: Path) -> None:
    """Under exactly these rules nothing that the controller does is refused."""
    cluster = Cluster(AcceleratedClock(20), identity=Identity("controller", tuple(_rules())))
    try:
        with running(make_service(cluster, tmp_path)) as service:
            wait_for("a decision", lambda: bool(service.controller.views()))
            cluster.pend("sd21-inf2", 2)
            cluster.refuse("inf2", "inf2.xlarge")
            wait_for("capacity mode", lambda: cluster.mode() == "capacity")
            wait_for("the event", lambda: "ShortageProven" in cluster.events())
            wait_for("the state", lambda: len(cluster.store.list("ConfigMap", namespace="failover-system")) >= 2)
    finally:
        cluster.close()
    records = [record for record in cluster.api.audit.records() if record.user == "controller"]
    assert sorted({f"{r.access.verb} {r.access.resource}" for r in records if r.code == 403}) == []
