"""EKS Auto Mode: Karpenter's other name, other target group bindings, and clusters that lack either kind or have both."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from controller.clients.kube import AUTO_TARGET_GROUP_BINDINGS, TARGET_GROUP_BINDINGS, KubeSession, Object, connect
from controller.clock import format_rfc3339
from controller.errors import NotFound, Unavailable
from controller.signals.cluster import ClusterView
from controller.signals.discovery import Discovery
from controller.signals.external import verification_request
from controller.signals.once import observe_once
from controller.signals.watches import Watches, sources_of
from failover_harness.waiting import wait_for
from failover_testbed.clocks import AcceleratedClock, ManualClock
from failover_testbed.kube_api import EmulatedKubeApi, Identity
from tests.support.applications import NOW, application
from tests.support.cluster import NAMESPACE, Cluster, auto_binding

DISCOVERY = "/apis/eks.amazonaws.com/v1"
ONLY_AUTO = frozenset({"elbv2.k8s.aws", "karpenter.k8s.aws"})
Begin = Callable[..., tuple[ClusterView, Watches]]


def create(session: KubeSession, binding: dict[str, Any]) -> Object:
    """Creates a binding of EKS Auto Mode."""
    return session.request("POST", AUTO_TARGET_GROUP_BINDINGS.path(NAMESPACE), body=json.dumps(binding))


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Starts watches over a session."""
    started: list[Watches] = []

    def start(session: KubeSession, *, cluster_wide: bool = True, namespaces: int = 1) -> tuple[ClusterView, Watches]:
        clock = AcceleratedClock(20)
        view = ClusterView(clock, lambda: None)
        watches = Watches(session, view, clock, cluster_wide=cluster_wide, timeout_s=300, idle_s=90.0)
        started.append(watches)
        watches.ensure([application(), *(application(namespace=f"shop-{number}") for number in range(namespaces - 1))])
        wait_for("word from all", lambda: all(one.absent or one.last_ok for one in watches.health()))
        return view, watches

    yield start
    for watches in started:
        watches.stop()


def source(watches: Watches) -> Any:
    """The source of the target group bindings."""
    return next(one for one in sources_of(watches.health(), application(), 180.0) if one.name == "target-group-bindings")


# --- which kinds a cluster has ---


def test_a_cluster_without_auto_mode_asks_for_it_once(begin: Begin, tmp_path: Path) -> None:
    """One question to discovery for all namespaces, no list, no line in the log, and no degradation."""
    cluster = Cluster(ManualClock(NOW))
    try:
        with capture_logs() as logs:
            _, watches = begin(cluster.session(tmp_path), cluster_wide=False, namespaces=8)
        paths = [record.access.path for record in cluster.api.audit.records()]
        assert sum(path.startswith(DISCOVERY) for path in paths) == paths.count(DISCOVERY) == 1
        assert not [entry for entry in logs if entry["event"] == "watch.refused"]
        assert (source(watches).absent, source(watches).problem, source(watches).last_ok is None) == (False, "", False)
    finally:
        cluster.close()


def test_a_cluster_of_auto_mode_alone(begin: Begin, tmp_path: Path) -> None:
    """Its bindings are read and attributed to the Ingress; that the load-balancer controller's kind is missing degrades nothing."""
    cluster = Cluster(ManualClock(NOW), without_groups=ONLY_AUTO, auto_mode=True)
    try:
        session = cluster.session(tmp_path)
        create(session, auto_binding("sd21-inf2"))
        view, watches = begin(session)
        assert (source(watches).absent, source(watches).problem) == (False, "")
        assert tuple(view.workloads.bound(NAMESPACE)) == ("sd21-inf2",)
        request = verification_request(application(), view)
        assert request is not None
        assert request.target_groups is not None
        assert list(request.target_groups) == [("sd21-inf2", 80)]
        create(session, auto_binding("sd21-all"))
        wait_for("the change", lambda: tuple(view.workloads.bound(NAMESPACE)) == ("sd21-all", "sd21-inf2"))
        assert view.dirty.take([application()])
    finally:
        cluster.close()


def test_a_cluster_with_both(begin: Begin, tmp_path: Path) -> None:
    """As during a migration: the bindings of both kinds count, also where two have one name."""
    cluster = Cluster(ManualClock(NOW), auto_mode=True)
    try:
        session = cluster.session(tmp_path)
        own = session.request("GET", TARGET_GROUP_BINDINGS.path(NAMESPACE))["items"][0]
        service = own["spec"]["serviceRef"]["name"]
        create(session, auto_binding(service, own["metadata"]["name"]))
        view, watches = begin(session)
        assert not source(watches).absent
        assert len([one for one in view.workloads.bindings(NAMESPACE) if one["spec"]["serviceRef"]["name"] == service]) == 2
        session.request("DELETE", AUTO_TARGET_GROUP_BINDINGS.path(NAMESPACE, own["metadata"]["name"]))
        wait_for("the end of one", lambda: len(view.workloads.bindings(NAMESPACE)) == 6)
        assert service in view.workloads.bound(NAMESPACE)
    finally:
        cluster.close()


def test_a_kind_that_is_served_and_may_not_be_read_is_named(begin: Begin, tmp_path: Path) -> None:
    """The other kind does not stand in for it: an Ingress of EKS Auto Mode would seem to have no target group."""
    denied = Identity("controller", deny=lambda access: access.group == "eks.amazonaws.com" and access.resource == "targetgroupbindings")
    cluster = Cluster(ManualClock(NOW), auto_mode=True, identity=denied)
    try:
        _, watches = begin(cluster.session(tmp_path))
        assert source(watches).absent
        assert "eks.amazonaws.com" in source(watches).problem
    finally:
        cluster.close()


@pytest.mark.parametrize(("only_auto", "auto_mode", "absent"), [(False, False, False), (True, True, False), (True, False, True)])
def test_one_observation_reads_what_there_is(tmp_path: Path, *, only_auto: bool, auto_mode: bool, absent: bool) -> None:
    """`plan` and `status` list once: either kind suffices, and discovery is asked once, however many namespaces there are."""
    cluster = Cluster(ManualClock(NOW), without_groups=ONLY_AUTO if only_auto else frozenset(), auto_mode=auto_mode)
    try:
        apps = [application(), application(namespace="other")]
        view = ClusterView(ManualClock(NOW), lambda: None)
        health = observe_once(cluster.session(tmp_path, "reader"), view, ManualClock(NOW), apps, cluster_wide=False)
        found = next(one for one in sources_of(health, application(), 180.0) if one.name == "target-group-bindings")
        assert found.absent is absent
        asked = [record.access.path for record in cluster.api.audit.records() if record.access.path.startswith(DISCOVERY)]
        assert len(asked) == (4 if auto_mode else 1)
    finally:
        cluster.close()


# --- Karpenter's other name ---


@pytest.mark.parametrize("where", ["source", "reportingComponent"])
def test_what_auto_mode_says_of_a_pod_is_read(begin: Begin, tmp_path: Path, where: str) -> None:
    """The API server selects by either field; what kube-scheduler says of the same pod is not even sent."""
    cluster = Cluster(ManualClock(NOW), auto_mode=True)
    try:
        cluster.pend("sd21-inf2")
        waiting = [one for one in cluster.store.list("Pod", namespace=NAMESPACE) if "nodeName" not in one["spec"]]
        pod = waiting[0]["metadata"]["name"]
        message = (
            "Failed to schedule pod, no instance type met all requirements, requirements=eks.amazonaws.com/nodeclass In [default], "
            "karpenter.sh/nodepool In [inf2]"
        )
        for number, component in enumerate(("default-scheduler", "eks-auto-mode/compute", "somebody-else")):
            stamp = format_rfc3339(NOW - 2 + number)
            event = {
                "metadata": {"name": f"{pod}.{number}", "namespace": NAMESPACE},
                "involvedObject": {"kind": "Pod", "apiVersion": "v1", "name": pod, "namespace": NAMESPACE},
                "reason": "FailedScheduling",
                "message": message,
                "firstTimestamp": stamp,
                "lastTimestamp": stamp,
                where: {"component": component} if where == "source" else component,
            }
            cluster.store.create("Event", event)
        view, _ = begin(cluster.session(tmp_path))
        assert view.karpenter.unavailable(NAMESPACE, pod) == (("inf2", NOW - 1),)
    finally:
        cluster.close()


# --- discovery ---


def test_discovery_asks_again_at_a_slow_rate(tmp_path: Path) -> None:
    """Threads that ask together get one answer; a kind that is installed later is noticed."""
    clock = ManualClock(NOW)
    with EmulatedKubeApi() as api:
        session = connect(kubeconfig=str(api.kubeconfig("admin", tmp_path / "a")))
        discovery = Discovery(session, clock)

        def asked() -> int:
            return len([record for record in api.audit.records() if record.access.path == DISCOVERY])

        def ask() -> None:
            with pytest.raises(NotFound):
                discovery.served(AUTO_TARGET_GROUP_BINDINGS)

        threads = [threading.Thread(target=ask) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert asked() == 1
        clock.advance(59)
        ask()
        assert asked() == 1
        clock.advance(2)
        ask()
        assert asked() == 2
    with EmulatedKubeApi(auto_mode=True, port=int(api.url.rpartition(":")[2])) as api:
        clock.advance(61)
        discovery.served(AUTO_TARGET_GROUP_BINDINGS)


def test_discovery_that_may_not_be_read_decides_nothing(tmp_path: Path) -> None:
    """The list itself then says what is so. Trouble of the server is no absence."""
    with EmulatedKubeApi() as api:
        session = connect(kubeconfig=str(api.kubeconfig("admin", tmp_path / "a")))
        api.fail_next(1, status=403, matcher=lambda access: access.verb == "get")
        Discovery(session, ManualClock(NOW)).served(AUTO_TARGET_GROUP_BINDINGS)
        api.fail_next(1, status=503, matcher=lambda access: access.verb == "get", retry_after_s=0)
        with pytest.raises(Unavailable):
            Discovery(session, ManualClock(NOW)).served(AUTO_TARGET_GROUP_BINDINGS)
