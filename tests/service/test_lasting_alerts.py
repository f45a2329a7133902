"""Alerts outlive the process that raised them, and one that comes and goes is one alert."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from controller.clock import AcceleratedClock
from controller.policy.model import Alert
from controller.policy.reasons import Reason
from controller.ports import Message, MessageKind
from controller.service.application_status import ALERTS, alerts_text, stored_alerts
from controller.service.store import record_name
from failover_harness.waiting import wait_for
from tests.support.cluster import NAMESPACE, Cluster, Collector, make_service, running

PAUSED = "failoverctl.dev/paused-until"
KEY = "held/OverrideUnreadable"


def _pause_until(cluster: Cluster, when: str | None) -> None:
    cluster.store.patch("Ingress", "sd21", {"metadata": {"annotations": {PAUSED: when}}}, namespace=NAMESPACE)


def _about(collector: Collector, kind: MessageKind) -> list[Message]:
    return [one for one in collector.messages if one.kind is kind and one.dedup_key == f"{NAMESPACE}/sd21/{KEY}"]


def _stored(cluster: Cluster) -> dict[str, Any]:
    found = cluster.store.list("ConfigMap", namespace="failover-system")
    records = [one for one in found if one["metadata"]["name"] == record_name(f"{NAMESPACE}/sd21")]
    return dict(json.loads(records[0]["data"][ALERTS])) if records else {}


def test_an_alert_that_ends_while_no_controller_runs_is_resolved_by_the_next(tmp_path: Path) -> None:
    """Otherwise an incident stays open wherever the alert was sent. While it lasts, the next controller sends it, and nothing else."""
    cluster = Cluster(AcceleratedClock(20))
    try:
        _pause_until(cluster, "tomorrow")
        first, second, third = Collector(), Collector(), Collector()
        with running(make_service(cluster, tmp_path, sinks=(first,))):
            wait_for("the alert", lambda: bool(_about(first, MessageKind.ALERT)))
            wait_for("the stored alert", lambda: KEY in _stored(cluster))
        with running(make_service(cluster, tmp_path, sinks=(second,))):
            wait_for("the same alert", lambda: bool(_about(second, MessageKind.ALERT)))
        assert not _about(first, MessageKind.RESOLVED) + _about(second, MessageKind.RESOLVED)
        _pause_until(cluster, None)
        with running(make_service(cluster, tmp_path, sinks=(third,))):
            wait_for("its end", lambda: bool(_about(third, MessageKind.RESOLVED)))
            wait_for("the stored end", lambda: KEY not in _stored(cluster))
        assert not _about(third, MessageKind.ALERT)
    finally:
        cluster.close()


TWO = (Alert("held/Dwell", "warning", "words", Reason.DWELL), Alert("max/sd21-inf2", "critical", "others"))


def test_stored_alerts_are_read_as_they_were() -> None:
    assert stored_alerts(alerts_text(TWO)) == TWO
    assert stored_alerts("") == ()


@pytest.mark.parametrize(
    ("found", "read"),
    [
        pytest.param("[]", (), id="another kind"),
        pytest.param("{", (), id="no JSON"),
        pytest.param("[" * 100_000, (), id="nested too deeply"),
        pytest.param({"a": 1, "b": {}, "c": {"severity": "loud", "text": "x"}}, (), id="other fields"),
        pytest.param({"a": {"severity": "warning", "text": "x", "reason": "New"}}, (Alert("a", "warning", "x"),), id="an unknown reason"),
        pytest.param({"a\n": {"severity": "warning", "text": "x" * 9000}}, (Alert("a ", "warning", "x" * 999 + "…"),), id="long and odd"),
        pytest.param({str(n): {"severity": "warning"} for n in range(9)}, tuple(Alert(str(n), "warning", "") for n in range(9)), id="many"),
    ],
)
def test_whatever_is_stored_is_bounded(found: object, read: tuple[Alert, ...]) -> None:
    """Anyone who may edit the ConfigMap may write anything."""
    assert stored_alerts(found if isinstance(found, str) else json.dumps(found)) == read


def test_too_many_stored_alerts_are_cut() -> None:
    assert len(stored_alerts(json.dumps({str(n): {"severity": "warning"} for n in range(5000)}))) == 100
