"""The account that the running controller keeps: in its status and its metrics, and only where it leads."""

from __future__ import annotations

import urllib.request
from pathlib import Path

from controller.policy.model import Mode
from controller.service.wiring import Service
from failover_harness.waiting import wait_for
from failover_testbed.clocks import AcceleratedClock
from tests.support.cluster import Cluster, make_service, running


def metrics(service: Service) -> dict[str, float]:
    """What the service counts, by name and labels."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{service.http_port}/metrics").read().decode()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith("failoverctl_")}


def test_the_account_is_in_status_and_metrics(tmp_path: Path) -> None:
    """Ten replicas for some minutes of the cluster's time, and one mode change."""
    cluster, capacity = Cluster(AcceleratedClock(60)), 'failoverctl_mode_seconds_total{application="shop/sd21",mode="capacity"}'
    try:
        with running(make_service(cluster, tmp_path)) as service:
            wait_for("the first decision", lambda: bool(service.controller.views()))
            wait_for("some time in cost mode", lambda: service.controller.views()[0].ledger.spend > 0.1)
            cluster.pend("sd21-inf2", 2)
            cluster.refuse("inf2", "inf2.xlarge")
            wait_for("the mode change", lambda: service.controller.views()[0].ledger.mode_changes == 1)
            wait_for("time in capacity mode", lambda: service.controller.views()[0].ledger.seconds.get(Mode.CAPACITY, 0.0) > 0)
            status = service.status()
            account, everything = status["applications"]["shop/sd21"]["ledger"], status["calls"]
            # The counters follow the page's view of a pass.
            wait_for("time in capacity mode in the metrics", lambda: metrics(service)[capacity] > 0)
            lines = metrics(service)
        assert account["spendDollars"] > 0
        assert account["switches"] == 1
        assert account["calls"]["kubernetes"] >= account["switches"] + 1, "the mode change, and the memory of it"
        assert everything["kubernetes"] > account["calls"]["kubernetes"], "watches and the Lease are nobody's"
        assert lines['failoverctl_spend_dollars_total{application="shop/sd21"}'] > 0
        assert lines['failoverctl_application_api_calls_total{application="shop/sd21",service="kubernetes"}'] >= 2
        assert lines['failoverctl_api_calls_total{service="kubernetes"}'] >= everything["kubernetes"]
        assert lines['failoverctl_probe_dollars_total{application="shop/sd21"}'] >= 0
        assert lines[capacity] > 0
    finally:
        cluster.close()
