"""Standby rules that are added while a mode change waits for them, under load."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks.switch.drivers import Driving, LateRules, Log
from benchmarks.switch.plan import SINGLE, Lane
from controller.catalog.loader import load_application_file
from controller.clients.kube import connect
from controller.clock import SystemClock
from controller.routing.annotations import MARKER
from controller.service.wiring import Service
from failover_harness.dataplane.applications import application_file
from failover_harness.dataplane.cluster import STATE_NAMESPACE, Cluster, Member
from failover_harness.dataplane.envoy import NotThereError, binary
from failover_harness.dataplane.load import Load, Stream, rate
from failover_harness.waiting import wait_for
from failover_testbed.aws.server import REGION
from tests.support.cluster import running, settings_for
from tests.support.constants import set_constant

SECONDS = 40.0


@pytest.mark.timeout(180)
def test_a_mode_change_waits_until_the_new_target_groups_have_healthy_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The load-balancer controller makes the target group first and registers its targets later: what goes out in between answers 503."""
    try:
        binary()
    except NotThereError as error:
        pytest.skip(str(error))
    lane = Lane("late", SINGLE, driver="late-rules", pause_s=(60.0, 60.0))
    path = tmp_path / "application.yaml"
    path.write_text(application_file("late-0", lane.name, style=lane.style, cold_start_s=1, units=2))
    application, log = load_application_file(path)[0], Log()
    with Cluster([Member(application, standby=False)], first_check_s=5.0, latency=0.5) as cluster:
        for name, value in cluster.aws.environment().items():
            monkeypatch.setenv(name, value)
        aws = {"apis": ["elbv2"], "region": REGION}
        set_constant(monkeypatch, "VERIFICATION_S", 1.0)
        polls = {"elbv2_calls_per_s": 20}
        session = connect(kubeconfig=str(cluster.kubeconfig("controller")))
        operator = connect(kubeconfig=str(cluster.kubeconfig("admin")))
        settings = settings_for(path, aws=aws, polls=polls, kubernetes={"state_namespace": STATE_NAMESPACE})
        streams = [Stream("late", cluster.url(application.key), 20.0)]
        with (
            running(Service(settings, session, SystemClock())),
            Load(streams, SECONDS, tmp_path / "records.csv") as load,
            Driving([LateRules(cluster, application, lane, operator, log, random.Random(1))], log),
        ):
            wait_for(
                "capacity mode",
                lambda: (
                    cluster.api.store.get("Ingress", application.route.name, namespace=lane.name)["metadata"]["annotations"].get(MARKER)
                    == "capacity"
                ),
                SECONDS,
            )
            records = load.wait()
        operator.close()
    assert log.problems == []
    assert rate(records, streams, SECONDS).unsent == 0
    assert [one for one in records if one.failed] == []
