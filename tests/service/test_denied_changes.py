"""Every change of the Ingress is denied: metrics, status and messages name the mode that stands, not the one that is wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controller.errors import Rejected
from controller.policy.model import Mode
from controller.service.telemetry import exposition
from failover_harness.waiting import wait_for
from failover_testbed.clocks import AcceleratedClock
from tests.support.cluster import Cluster, Collector, make_service, running

KEY = "shop/sd21"


@pytest.mark.parametrize("dry_run", [False, True], ids=["denied", "dry-run"])
def test_a_failover_that_is_not_written_changes_no_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dry_run: bool) -> None:
    """The time is booked to cost mode, in which the unit that is short is exposed."""
    cluster, collector = Cluster(AcceleratedClock(20)), Collector()
    try:
        made = make_service(cluster, tmp_path, dry_run=dry_run, sinks=(collector,))
        request = made._session.request

        def denying(method: str, path: str, **rest: Any) -> dict[str, Any]:
            if method == "PATCH" and "/ingresses/" in path:
                raise Rejected('admission webhook "vingress.elbv2.k8s.aws" denied the request')
            return request(method, path, **rest)

        monkeypatch.setattr(made._session, "request", denying)
        with running(made) as service:
            wait_for("the first decision", lambda: bool(service.controller.views()))
            cluster.pend("sd21-inf2", 2)
            cluster.refuse("inf2", "inf2.xlarge")
            wait_for("the exposure", lambda: service.controller.views()[0].ledger.exposed_s > 0)
            if not dry_run:
                wait_for("the alert", lambda: any(one.reason == "ActionFailed" and one.mode == "cost" for one in collector.messages))
            (view,) = service.controller.views()
            assert (view.decision.mode, view.mode, cluster.mode()) == (Mode.CAPACITY, Mode.COST, "")
            assert Mode.CAPACITY not in view.ledger.seconds
            lines = exposition(service._telemetry.registry).decode().splitlines()
            assert f'failoverctl_mode{{application="{KEY}",mode="capacity"}} 0.0' in lines
            assert service.status()["applications"][KEY]["mode"] == "cost"
    finally:
        cluster.close()
