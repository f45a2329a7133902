"""`doctor` reads a cluster of EKS Auto Mode from an API server."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.clients.kube import AUTO_NODE_CLASSES, AUTO_TARGET_GROUP_BINDINGS, TARGET_GROUP_BINDINGS
from failover_setup.doctor.cluster.observe import observe_cluster
from failover_setup.doctor.observe import observe
from failover_testbed.clocks import ManualClock
from failover_testbed.kube_api import Identity
from tests.support.applications import NOW, application
from tests.support.cluster import NAMESPACE, Cluster, auto_binding

ONLY_AUTO = frozenset({"elbv2.k8s.aws", "karpenter.k8s.aws"})


@pytest.mark.parametrize(
    ("without", "auto_mode", "bindings"),
    [
        pytest.param(ONLY_AUTO, True, 1, id="Auto Mode alone"),
        pytest.param(frozenset(), True, 7, id="beside installed controllers"),
        pytest.param(frozenset(), False, 6, id="no Auto Mode"),
    ],
)
def test_what_is_served_is_read(tmp_path: Path, without: frozenset[str], bindings: int, *, auto_mode: bool) -> None:
    """Bindings of either kind, node classes, and nothing unreadable."""
    cluster = Cluster(ManualClock(NOW), without_groups=without, auto_mode=auto_mode)
    try:
        session = cluster.session(tmp_path, "admin")
        if auto_mode:
            session.create(AUTO_TARGET_GROUP_BINDINGS, NAMESPACE, auto_binding("sd21-inf2"), field_manager="test")
            session.create(AUTO_NODE_CLASSES, None, {**_META, "metadata": {"name": "default"}}, field_manager="test")
        observed = observe(session, [application()], NOW)[application().key]
        assert (len(observed.bindings), TARGET_GROUP_BINDINGS.name in observed.unreadable) == (bindings, False)
        seen = observe_cluster(session, [application()], NOW)
        assert (seen.auto_mode, len(seen.objects(AUTO_NODE_CLASSES))) == (auto_mode, int(auto_mode))
    finally:
        cluster.close()


def test_bindings_that_may_not_be_listed_are_unreadable(tmp_path: Path) -> None:
    """Those of the other kind do not stand in for them."""
    denied = Identity("controller", deny=lambda access: access.group == "eks.amazonaws.com" and access.resource == "targetgroupbindings")
    cluster = Cluster(ManualClock(NOW), auto_mode=True, identity=denied)
    try:
        observed = observe(cluster.session(tmp_path), [application()], NOW)[application().key]
        assert "eks.amazonaws.com" in observed.unreadable[TARGET_GROUP_BINDINGS.name]
    finally:
        cluster.close()


_META = {"apiVersion": AUTO_NODE_CLASSES.api_version, "kind": AUTO_NODE_CLASSES.kind}
