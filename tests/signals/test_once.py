"""One observation of the cluster: complete, or with a name for each thing that is missing, or an error where nothing could be seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.clients.kube import AUTO_TARGET_GROUP_BINDINGS, KubeSession, connect
from controller.errors import Forbidden, Unavailable
from controller.signals.cluster import ClusterView
from controller.signals.once import observe_once
from controller.signals.snapshots import ExternalSignals, SnapshotBuilder
from controller.signals.watches import sources_of
from failover_testbed.clocks import ManualClock
from failover_testbed.kube_api import EmulatedKubeApi, Identity
from failover_testbed.kube_api.auth import Access
from tests.support.applications import COST_TARGETS, NOW, application
from tests.support.cluster import NAMESPACE, Cluster


def observe(session: KubeSession, *, cluster_wide: bool = True) -> tuple[ClusterView, dict[tuple[str, str | None], str]]:
    """What is found, and how each list went: "ok", "absent" or the problem; for EKS Auto Mode's kinds see test_auto_mode.py."""
    view = ClusterView(ManualClock(NOW), lambda: None)
    health = observe_once(session, view, ManualClock(NOW), [application()], cluster_wide=cluster_wide)
    health = [one for one in health if not one.resource.endswith(f".{AUTO_TARGET_GROUP_BINDINGS.group}")]
    words = {(one.resource, one.namespace): "absent" if one.absent else one.problem or "ok" for one in health}
    for one in health:
        assert (one.last_ok == NOW) == (words[one.resource, one.namespace] == "ok")
    return view, words


@pytest.mark.parametrize("cluster_wide", [True, False])
def test_it_sees_what_the_watches_would(tmp_path: Path, *, cluster_wide: bool) -> None:
    """Pods before events, everything of the application, only lists; with permissions for one namespace or for all."""
    cluster = Cluster(ManualClock(NOW))
    try:
        cluster.pend("sd21-inf2")
        cluster.refuse("inf2", "inf2.xlarge")
        cluster.api.audit.clear()
        view, words = observe(cluster.session(tmp_path, "reader"), cluster_wide=cluster_wide)
        assert set(words.values()) == {"ok"}
        asked = [record.access for record in cluster.api.audit.records() if record.access.resource]  # all but discovery
        assert {access.verb for access in asked} == {"list"}
        order = [access.resource for access in asked]
        assert order.index("pods") < order.index("events")
        app = application()
        snapshot = SnapshotBuilder(view, [app]).build(app, NOW, (), ExternalSignals(), leader=True, epoch=1)
        unit = snapshot.units["sd21-inf2"]
        assert (len(unit.pending), len(unit.pool.failures), unit.ready, unit.desired) == (1, 1, 2, 3)
        assert (snapshot.routing.targets, snapshot.routing.capacity_ready) == (COST_TARGETS, 10)
        assert {record.access.namespace for record in cluster.api.audit.records(resource="pods")} == {"" if cluster_wide else NAMESPACE}
    finally:
        cluster.close()


def test_missing_kinds_are_absent(tmp_path: Path) -> None:
    """Without any CRD: named, and not an error."""
    groups = frozenset({"karpenter.sh", "keda.sh", "elbv2.k8s.aws"})
    cluster = Cluster(ManualClock(NOW), without_groups=groups)
    try:
        view, words = observe(cluster.session(tmp_path))
        assert {key[0] for key, word in words.items() if word == "absent"} == {
            "nodeclaims.karpenter.sh",
            "nodepools.karpenter.sh",
            "scaledobjects.keda.sh",
            "targetgroupbindings.elbv2.k8s.aws",
        }
        health = observe_once(cluster.session(tmp_path), view, ManualClock(NOW), [application()], cluster_wide=True)
        absent = {source.name for source in sources_of(health, application(), 180.0) if source.absent}
        assert absent == {"karpenter", "keda", "target-group-bindings"}
    finally:
        cluster.close()


@pytest.mark.parametrize("resource", ["pods", "events", "ingresses", "nodeclaims", "scaledobjects"])
@pytest.mark.parametrize(("status", "word"), [(403, "absent"), (500, "500"), (429, "429")])
def test_one_list_that_fails_is_named(resource: str, status: int, word: str, tmp_path: Path) -> None:
    """The others are listed all the same."""
    with EmulatedKubeApi() as api:
        api.fail_next(10, status=status, matcher=lambda access: access.resource == resource)
        _, words = observe(connect(kubeconfig=str(api.kubeconfig("admin", tmp_path / "k"))))
        failed = {key: found for key, found in words.items() if found != "ok"}
        assert {key[0].partition(".")[0] for key in failed} == {resource}
        assert all(word in found for found in failed.values())


def test_nothing_seen_is_an_error(tmp_path: Path) -> None:
    """A server that is down, credentials that are refused, or permission for nothing: nothing was observed."""

    def nothing(access: Access) -> bool:
        return True

    with EmulatedKubeApi(tokens={"me": Identity("me", deny=nothing), "admin": Identity("admin")}) as api:
        for token in ("me", "wrong"):
            with pytest.raises(Forbidden):
                observe(connect(kubeconfig=str(api.kubeconfig(token, tmp_path / token))))
        session = connect(kubeconfig=str(api.kubeconfig("admin", tmp_path / "admin")))
    with pytest.raises(Unavailable):
        observe(session)
