"""The controller's image, run as its Deployment runs it, against a real API server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import urllib3

from failover_harness.control_plane.control_plane import free_ports
from failover_harness.images import engine, measure
from failover_harness.images.engine import Container
from failover_harness.waiting import wait_for
from tests.cluster.life import forget_everything
from tests.cluster.stack import Stack
from tests.images.built import pod
from tests.images.built.builder import CONTROLLER, Built

GOAL_MB = 150
"""What the controller's environment may take."""


@contextmanager
def _running(stack: Stack, built: Built, folder: Path, port: int) -> Iterator[Container]:
    """A replica of the Deployment; enters the context when its readiness probe succeeds."""
    words, setting = pod.controller(stack, folder, {"FAILOVERCTL_HTTP__PORT": str(port)})
    with engine.running(built.tag, *words, setting=setting, log=folder / "log") as container:
        wait_for("readiness", lambda: _answers(container, port, "/readyz"), deadline_s=60, state=container.log)
        yield container


def _answers(container: Container, port: int, path: str) -> bool:
    assert container.process.poll() is None, container.log()
    try:
        return urllib3.request("GET", f"http://127.0.0.1:{port}{path}", timeout=5, retries=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def test_it_runs_a_whole_failover_as_shipped(build: Callable[[str], Built], stack: Stack, tmp_path: Path) -> None:
    """Elected leader under its ServiceAccount, it fails over on a proven shortage, falls back on the proven return, and ends on SIGTERM."""
    built = build(CONTROLLER)
    forget_everything(stack)
    (port,) = free_ports(1)
    with _running(stack, built, tmp_path, port) as container:
        restrictions = pod.restrictions(container)
        stack.shortage()
        wait_for("capacity mode", lambda: stack.mode() == "capacity", state=container.log)
        wait_for("KEDA's targets of capacity mode", lambda: stack.scaled("sd21-inf2")[1] == "89.2")
        wait_for("the event", lambda: "ShortageProven" in dict(stack.events()))
        stack.launch("sd21-inf2")
        wait_for("cost mode", lambda: stack.mode() == "cost", state=container.log)
        wait_for("the memory", lambda: len(stack.memory().get("mode_changes", [])) == 2)
        probes = {path: _answers(container, port, path) for path in ("/healthz", "/readyz", "/metrics", "/status", "/")}
        refused = [one for one in stack.audit() if one.code in {401, 403}]
        printed = container.execute("failoverctl", "status", "--json")  # it also asks for the replicas' pods, which a person may list
        code = container.end()
    assert restrictions == pod.RESTRICTED
    assert all(probes.values()), probes
    assert printed.returncode == 0, printed.stderr
    assert "sd21" in json.dumps(json.loads(printed.stdout))
    assert code == 0, container.log()
    assert [one.code for one in stack.writes("ingresses")] == [200, 200]
    assert refused == []


def test_what_it_installs_is_small(build: Callable[[str], Built]) -> None:
    """The environment of the controller, with compiled code."""
    assert measure.folder_mb(build(CONTROLLER).tag, "/opt/failoverctl") <= GOAL_MB


def test_without_a_cluster_it_says_what_to_do(build: Callable[[str], Built]) -> None:
    """As somebody who tries the image at home meets it."""
    done = engine.output(build(CONTROLLER).tag)
    assert (done.returncode, "no Kubernetes API server" in done.stderr) == (1, True), done.stdout + done.stderr
