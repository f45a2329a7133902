"""Two whole controllers on one cluster: one switches, saves and tells, the other is ready to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.clock import SystemClock
from controller.service.leadership import LEASE_NAME
from controller.service.wiring import Service
from failover_harness.waiting import wait_for
from failover_testbed.kube_api import Access
from tests.support.cluster import KIND, NAMESPACE, Cluster, Collector, edit, make_service, running

SYSTEM = "failover-system"
QUICK = {"holdMinSeconds": 1, "holdMaxSeconds": 1}
SOON = {"tick_interval_s": 6.0}
"""The shortest: what one replica learns of the other by time alone, it learns at a tick."""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A healthy application, and a Lease that was released, so that nobody waits for one that is absent."""
    made = Cluster(SystemClock())
    made.store.create("Lease", {"metadata": {"name": LEASE_NAME, "namespace": SYSTEM}, "spec": {"leaseTransitions": 0}})
    yield made
    made.close()


def _replica(cluster: Cluster, folder: Path, collector: Collector) -> Service:
    folder.mkdir()
    return make_service(cluster, folder, policy=QUICK, sinks=(collector,), leader_election={"enabled": True}, polls=SOON)


def _leads(service: Service) -> bool:
    return service._leadership.leads() and bool(service.controller.views()) and service.controller.views()[0].decision.reason != "NotLeader"


def _reasons(service: Service) -> list[str]:
    """Why the modes changed, as its page shows it."""
    return [str(one.reason) for one in service.controller.views()[0].memory.mode_changes]


def _epochs(cluster: Cluster) -> list[str]:
    maps = cluster.store.list("ConfigMap", namespace=SYSTEM)
    return [one["data"]["epoch"] for one in maps if "epoch" in one["data"]]


def test_one_acts_and_the_other_takes_over_where_it_stopped(cluster: Cluster, tmp_path: Path) -> None:
    """One mode change, reported once; the second leader keeps the mode and the memory, in the next epoch."""
    first, second = Collector(), Collector()
    with running(_replica(cluster, tmp_path / "b", second)) as standby:
        wait_for("a leader", lambda: _leads(standby))
        with running(_replica(cluster, tmp_path / "a", first)) as other:
            wait_for("a standby", lambda: bool(other.controller.views()))
            assert other._ready() == "", "a standby is ready"
            cluster.pend("sd21-inf2", 2)
            cluster.refuse("inf2", "inf2.xlarge")
            wait_for("capacity mode", lambda: cluster.mode() == "capacity")
            wait_for("the message", lambda: any(one.reason == "ShortageProven" for one in second.messages))
            wait_for("the standby sees it", lambda: str(other.controller.views()[0].decision.mode) == "capacity")
            assert str(other.controller.views()[0].decision.reason) == "NotLeader"
            wait_for("why, as the leader remembers it", lambda: _reasons(other) == ["ShortageProven"])
            assert first.messages == [], "the standby is silent"
            patches = len(cluster.patches())
            standby.stop()
            wait_for("the other leads", lambda: _leads(other))
            wait_for("its stamp", lambda: _epochs(cluster) == ["2"])
            wait_for("its status", lambda: _published(cluster).get("epoch") == 2)
            assert len(cluster.patches()) == patches
            assert [change.to for change in other.controller.views()[0].memory.mode_changes] == ["capacity"]
            assert _published(cluster)["leader"] == other._leadership.identity
            wait_for("the mode in the object", lambda: _shown(cluster) == "capacity")
            assert "applications" not in _published(cluster), "a thousand would not fit"
            taken = other._telemetry.registry.get_sample_value("failoverctl_takeover_seconds")
            assert taken is not None
            assert taken > 0, "its first pass is over"


def _shown(cluster: Cluster) -> str:
    """The mode that the application's object shows."""
    mode: str = cluster.store.get(KIND, "sd21", namespace=NAMESPACE).get("status", {}).get("mode", "")
    return mode


def test_a_replica_that_begins_to_lead_polls_at_once_and_once(cluster: Cluster, tmp_path: Path) -> None:
    """CloudWatch is due once a minute. A second job for the first poll of a term ran beside the periodic one."""
    polls: list[bool] = []
    with running(_replica(cluster, tmp_path / "a", Collector())) as first:
        wait_for("a leader", lambda: _leads(first))
        second = _replica(cluster, tmp_path / "b", Collector())
        second._external.poll = lambda name, _: polls.extend([second._leadership.leads()] * (name == "cloudwatch"))  # type: ignore[method-assign,assignment]
        with running(second):
            wait_for("a standby", lambda: bool(second.controller.views()))
            assert polls == [], "AWS bills and throttles each call"
            first.stop()
            wait_for("the other leads", lambda: _leads(second))
            wait_for("a poll", lambda: bool(polls))
            wait_for("its status", lambda: _published(cluster).get("epoch") == 2)
    assert polls == [True]


def test_a_changed_object_is_reported_once(cluster: Cluster, tmp_path: Path) -> None:
    """Both replicas read it, and the one that leads says so."""
    leading, standing = Collector(), Collector()
    with running(_replica(cluster, tmp_path / "a", leading)) as leader:
        wait_for("a leader", lambda: _leads(leader))
        with running(_replica(cluster, tmp_path / "b", standing)) as standby:
            wait_for("a standby", lambda: bool(standby.controller.views()))
            edit(cluster, "patienceSeconds: 0", "patienceSeconds: 1")
            for one in (leader, standby):
                wait_for("the new generation", lambda one=one: one.controller.applications()[0].policy.patience_s == 1)  # type: ignore[misc]
            wait_for("the message", lambda: any(one.reason == "ConfigReloaded" for one in leading.messages))
            leader.stop()
            wait_for("the other leads", lambda: _leads(standby))
    assert [one.reason for one in standing.messages if one.reason == "ConfigReloaded"] == []


def _published(cluster: Cluster) -> dict[str, object]:
    for one in cluster.store.list("ConfigMap", namespace=SYSTEM):
        if one["metadata"]["name"] == "failoverctl-status":
            loaded: dict[str, object] = json.loads(one["data"]["status"])
            return loaded
    return {}


def test_that_nobody_can_lead_is_reported_by_the_last_leader(cluster: Cluster, tmp_path: Path) -> None:
    """The Lease cannot be renewed: nothing is decided, somebody hears of it, and it ends by itself."""
    collector = Collector()
    with running(_replica(cluster, tmp_path / "a", collector)) as service:
        wait_for("it leads", lambda: _leads(service))
        cluster.api.fail_next(10_000, status=500, matcher=_is_lease)
        wait_for("the alert", lambda: any(one.reason == "LeaseLost" for one in collector.messages))
        wait_for("nothing is decided", lambda: service.controller.views()[0].decision.reason == "NotLeader")
        cluster.pend("sd21-inf2", 2)
        cluster.refuse("inf2", "inf2.xlarge")
        assert cluster.patches() == []
        cluster.api.clear_failures()
        wait_for("the mode change", lambda: cluster.mode() == "capacity")
        wait_for(
            "the end of the alert",
            lambda: [str(one.kind) for one in collector.messages if one.reason == "LeaseLost"] == ["alert", "resolved"],
        )


def _is_lease(access: Access) -> bool:
    return access.resource == "leases"
