"""Each missing permission is a named degradation, never a crash, and is always reported. tests/cluster has some on a real server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from controller.clients.kube import AUTO_TARGET_GROUP_BINDINGS
from controller.routing.annotations import PAUSED_UNTIL
from failover_harness.waiting import wait_for
from failover_testbed.clocks import AcceleratedClock
from failover_testbed.kube_api import Identity, rules_of
from tests.support.cluster import NAMESPACE, Cluster, Collector, make_service, running
from tests.support.observed import CRASHES, Observed
from tools import permissions
from tools.permissions import DOCUMENT, Permission, granted, row_of, rows, rules


def test_every_permission_of_the_manifests_is_documented_and_no_other() -> None:
    """`make docs` writes the document."""
    assert {(one.place, one.resource, one.verb) for one in granted()} == rows()
    assert DOCUMENT.read_text() == permissions.document(), "make docs"


@pytest.mark.parametrize("missing", granted(), ids=str)
def test_a_missing_permission_is_a_named_degradation(missing: Permission, tmp_path: Path) -> None:
    """The controller keeps running, with the effects that docs/permissions.md states."""
    row = row_of(missing)
    assert row is not None, "no row in tools/permissions.py"
    collector = Collector()
    others = rules((one for one in granted() if one != missing), NAMESPACE)
    (own, *_) = permissions.granted_on_objects()
    identity = Identity("controller", (*others, *rules_of(own)))
    cluster = Cluster(AcceleratedClock(20), identity=identity, auto_mode=missing.group == AUTO_TARGET_GROUP_BINDINGS.group)
    leads: dict[str, Any] = {"leader_election": {"enabled": missing.resource == "leases"}}
    try:
        with capture_logs() as logs, running(make_service(cluster, tmp_path, sinks=(collector,), **leads)) as service:
            observed = Observed(service, logs)
            wait_for("a decision", lambda: bool(service.controller.views()))
            cluster.pend("sd21-inf2", 2)
            cluster.refuse("inf2", "inf2.xlarge")
            toggled = 0

            def seen() -> bool:
                nonlocal toggled
                if (missing.resource, missing.verb) == ("events", "patch") and observed.overrides(collector) == toggled:
                    toggled += 1
                    _pause(cluster, on=toggled % 2 == 1)
                return set(row.seen) <= observed.observe() and observed.names(missing)

            try:
                wait_for("what the document says", seen)
            except AssertionError:
                raise AssertionError(f"{missing}: expected {row.seen}, seen {sorted(observed.seen)}") from None
            assert service._healthy() == ""
    finally:
        cluster.close()
    assert not CRASHES & {entry["event"] for entry in logs}


def _pause(cluster: Cluster, *, on: bool) -> None:
    annotations = {PAUSED_UNTIL: "forever" if on else None}
    cluster.store.patch("Ingress", "sd21", {"metadata": {"annotations": annotations}}, namespace=NAMESPACE)
