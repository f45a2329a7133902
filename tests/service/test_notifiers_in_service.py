"""A Slack that hangs, fails or is not there: the mode change happens, the trouble is visible, and the webhook's address appears nowhere."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from controller.clock import SystemClock
from controller.notifiers.slack import SlackNotifier
from failover_harness.waiting import wait_for
from failover_testbed.clocks import AcceleratedClock
from tests.support.cluster import Cluster, Collector, make_service, running
from tests.support.constants import set_constant

SECRET = "T0SECRET0/B0SECRET0/averysecretpath"


@contextmanager
def slack(status: int | None) -> Iterator[tuple[str, list[int], threading.Event]]:
    """A receiver that answers every request with one status, or never (None) until it is released."""
    seen: list[int] = []
    release = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(1)
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if status is None:
                release.wait(30)
                return
            self.send_response(status)
            if status == 429:
                self.send_header("Retry-After", "1")
            self.end_headers()
            self.wfile.write(b"no")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/services/{SECRET}", seen, release
    finally:
        release.set()
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("status", [pytest.param(None, id="hangs"), 500, 429])
def test_the_mode_change_does_not_wait_for_a_broken_slack(tmp_path: Path, capfd: pytest.CaptureFixture[str], status: int | None) -> None:
    """Ingress and the other sinks are served; status and metrics name the sink that fails."""
    cluster, collector = Cluster(AcceleratedClock(20)), Collector()
    try:
        with slack(status) as (url, seen, release):
            sinks = (SlackNotifier(url, 1.0), collector)
            with running(make_service(cluster, tmp_path, sinks=sinks)) as service:
                wait_for("a decision", lambda: bool(service.controller.views()))
                cluster.pend("sd21-inf2", 2)
                cluster.refuse("inf2", "inf2.xlarge")
                wait_for("capacity mode", lambda: cluster.mode() == "capacity")
                wait_for("the other sink", lambda: any(m.reason == "ShortageProven" for m in collector.messages))
                wait_for("an attempt", lambda: bool(seen))
                wait_for("the trouble in the status", lambda: not _sink(service.status())["ok"])
                metrics = urllib.request.urlopen(f"http://127.0.0.1:{service.http_port}/metrics").read().decode()
                wait_for("the trouble in the metrics", lambda: 'failoverctl_notifier_up{sink="slack"} 0.0' in _metrics(service.http_port))
                shown = json.dumps(service.status()) + metrics
                release.set()
    finally:
        cluster.close()
    out, err = capfd.readouterr()
    texts = [shown, out, err, *(event["message"] for event in cluster.store.list("Event"))]
    assert not [text for text in texts if "averysecretpath" in text]


def test_a_slack_that_cannot_be_resolved_delays_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A name without an address fails like any other sink."""
    cluster = Cluster(AcceleratedClock(20))
    sink = SlackNotifier(f"http://slack.invalid/services/{SECRET}", 1.0)
    try:
        with running(make_service(cluster, tmp_path, sinks=(sink,))) as service:
            wait_for("a decision", lambda: bool(service.controller.views()))
            cluster.pend("sd21-inf2", 2)
            cluster.refuse("inf2", "inf2.xlarge")
            wait_for("capacity mode", lambda: cluster.mode() == "capacity")
            wait_for("the trouble in the status", lambda: not _sink(service.status())["ok"])
            shown = json.dumps(service.status())
    finally:
        cluster.close()
    out, err = capfd.readouterr()
    assert "averysecretpath" not in shown + out + err


def _metrics(port: int) -> str:
    text: str = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    return text


def test_metrics_that_cloudwatch_does_not_take_show_in_the_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tick beside the sink would stay until a message comes, which may take months."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    cluster, collector = Cluster(SystemClock()), Collector()
    try:
        set_constant(monkeypatch, "_PUBLISH_S", 1.0)
        with running(make_service(cluster, tmp_path, sinks=(collector,), cloudwatch={"enabled": True})) as service:
            wait_for("the trouble in the status", lambda: not _sink(service.status(), "cloudwatch")["ok"])
            shown = _sink(service.status(), "cloudwatch")
            wait_for("the other sink", lambda: any(m.title == "notifications: cloudwatch does not deliver" for m in collector.messages))
    finally:
        cluster.close()
    assert (shown["sent"], shown["failed"]) == (0, 0)
    assert "no AWS credentials" in str(shown["lastError"])


def _sink(status: dict[str, object], name: str = "slack") -> dict[str, object]:
    sinks = status["notifiers"]
    assert isinstance(sinks, list)
    found: dict[str, object] = next(one for one in sinks if one["name"] == name)
    return found
