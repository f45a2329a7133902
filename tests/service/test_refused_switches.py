"""Switches that would blackhole traffic: refused by the running controller, and said in `plan`, in the log and as an Event."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from controller.cli.main import main
from controller.clock import SystemClock, format_rfc3339
from controller.routing.annotations import NUDGED_AT
from controller.routing.names import action_key
from failover_harness.waiting import wait_for
from tests.support.cluster import ACTION, NAMESPACE, Cluster, make_service, running, write_application

_WITHOUT_AWS = {f"FAILOVERCTL_AWS__{name}_ENABLED": "false" for name in ("ELBV2", "CLOUDWATCH", "EC2")} | {
    "FAILOVERCTL_AWS__REGION": "us-west-2"
}


def _no_service(cluster: Cluster) -> None:
    cluster.store.delete("Service", "sd21-all", namespace=NAMESPACE)


def _no_endpoint(cluster: Cluster) -> None:
    cluster._slice("sd21-all", 0)


def _no_standby_rule(cluster: Cluster) -> None:
    rules = cluster.ingress()["spec"]["rules"]
    cluster.store.patch("Ingress", "sd21", {"spec": {"rules": rules[:1]}}, namespace=NAMESPACE)


def _no_target_group(cluster: Cluster) -> None:
    cluster.store.delete("TargetGroupBinding", "k8s-sd21-all", namespace=NAMESPACE)


def report(cluster: Cluster, reason: str, message: str) -> None:
    """The load-balancer controller reports an attempt on our Ingress."""
    now = format_rfc3339(cluster.clock.now())
    event = {
        "metadata": {"name": f"sd21.{reason.lower()}", "namespace": NAMESPACE},
        "involvedObject": {"kind": "Ingress", "namespace": NAMESPACE, "name": "sd21", "uid": cluster.ingress()["metadata"]["uid"]},
        "reason": reason,
        "message": message,
        "source": {"component": "ingress"},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    cluster.store.create("Event", event)


def _broken_neighbour(cluster: Cluster) -> None:
    report(cluster, "FailedBuildModel", "Failed build model due to ingress: other/broken: missing servicePort")


@pytest.mark.parametrize(
    ("spoil", "reason", "words"),
    [
        pytest.param(_no_service, "StandbyNotReady", "Service sd21-all (port 80) does not exist", id="missing Service"),
        pytest.param(_no_endpoint, "StandbyNotReady", "Service sd21-all has no ready endpoint", id="no ready endpoint"),
        pytest.param(_no_standby_rule, "UnsafeSwitch", "no standby rule keeps sd21-all registered", id="no standby rule"),
        pytest.param(_no_target_group, "UnsafeSwitch", "no target group for sd21-all yet", id="no target group"),
        pytest.param(_broken_neighbour, "RoutingBlocked", "due to ingress: other/broken", id="blocked group"),
    ],
)
def test_a_refused_failover_is_said_everywhere(tmp_path: Path, spoil: Callable[[Cluster], None], reason: str, words: str) -> None:
    """Proven, patient enough, and still refused: nothing is written to the Ingress, and everybody can read why."""
    cluster = Cluster(SystemClock())
    try:
        spoil(cluster)
        with capture_logs() as logs, running(make_service(cluster, tmp_path)) as service:
            wait_for("the first decision", lambda: bool(service.controller.views()))
            cluster.pend("sd21-inf2", 2)
            cluster.refuse("inf2", "inf2.xlarge")
            wait_for("the refusal", lambda: service.controller.views()[0].decision.reason == reason)
            wait_for("its Event", lambda: reason in cluster.events())
            kubeconfig = cluster.api.kubeconfig("reader", tmp_path / "cli.kubeconfig")
            where = ["--kubeconfig", str(kubeconfig), "--applications", str(write_application(tmp_path))]
            shown = CliRunner().invoke(main, ["plan", *where, "--json"], env=_WITHOUT_AWS, catch_exceptions=False)
        assert [one for one in cluster.patches() if NUDGED_AT not in one] == [], "only the load-balancer controller is nudged"
        document = json.loads(shown.stdout)
        assert (document["reason"], document["wanted"]) == (reason, "failover")
        assert words in document["why"]
        assert any(entry.get("reason") == reason and words in str(entry) for entry in logs)
        said = [one["message"] for one in cluster.store.list("Event", namespace=NAMESPACE) if one["reason"] == reason]
        assert any(words in message for message in said)
    finally:
        cluster.close()


def test_it_changes_the_mode_once_the_neighbour_is_fixed(tmp_path: Path) -> None:
    """The load-balancer controller reports its next attempt, and the watch of it wakes the decision at once."""
    cluster = Cluster(SystemClock())
    try:
        _broken_neighbour(cluster)
        with running(make_service(cluster, tmp_path)) as service:
            wait_for("the first decision", lambda: bool(service.controller.views()))
            cluster.pend("sd21-inf2", 2)
            cluster.refuse("inf2", "inf2.xlarge")
            wait_for("the refusal", lambda: service.controller.views()[0].decision.reason == "RoutingBlocked")
            report(cluster, "SuccessfullyReconciled", "Successfully reconciled")
            wait_for("capacity mode", lambda: cluster.mode() == "capacity")
    finally:
        cluster.close()


def test_a_broken_action_of_our_own_is_left_by_the_weights(tmp_path: Path) -> None:
    """A unit's Service was deleted while it has weight: the weights leave it out, and a failover is possible once the action is read."""
    cluster = Cluster(SystemClock())
    try:
        cluster.store.delete("Service", "sd21-g5-cuda", namespace=NAMESPACE)
        report(cluster, "FailedBuildModel", f'Failed build model due to ingress: {NAMESPACE}/sd21: Service "sd21-g5-cuda" not found')
        with running(make_service(cluster, tmp_path)) as service:
            wait_for("the first decision", lambda: bool(service.controller.views()))
            wait_for("weights without it", lambda: "sd21-g5-cuda" not in cluster.ingress()["metadata"]["annotations"][ACTION])
            assert cluster.mode() == "cost"
            report(cluster, "SuccessfullyReconciled", "Successfully reconciled")
            cluster.pend("sd21-inf2", 2)
            cluster.refuse("inf2", "inf2.xlarge")
            wait_for("capacity mode", lambda: cluster.mode() == "capacity")
        assert "sd21-g5-cuda" not in cluster.ingress()["metadata"]["annotations"][ACTION]
        assert action_key("weighted-routing") == ACTION
    finally:
        cluster.close()
