"""The demo, and the production command line against emulated servers that were started separately."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.clients.kube import MERGE_PATCH, SCALED_OBJECTS, connect
from failover_harness.waiting import wait_for
from tests.testbed.demo.shell import short_scenario

pytestmark = pytest.mark.timeout(400)

COMMAND = [sys.executable, "-m", "controller.cli.main"]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Emulated servers in a separate process; yields the environment variables for them."""
    server = subprocess.Popen(
        [*COMMAND, "demo", "--serve", "--scenario", str(short_scenario(tmp_path))], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    variables: dict[str, str] = {}
    read_only = ""
    assert server.stdout is not None
    try:
        for line in server.stdout:
            if line.startswith("export "):
                name, _, value = shlex.split(line)[1].partition("=")
                variables[name] = value
            elif line.startswith("# read-only kubeconfig: "):
                read_only = line.removeprefix("# read-only kubeconfig: ").strip()
            else:
                break
        yield {**variables, "READ_ONLY_KUBECONFIG": read_only}
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=30)
        server.stdout.close()


def _environment(served: dict[str, str], kubeconfig: str) -> dict[str, str]:
    return {
        **os.environ,
        **{name: value for name, value in served.items() if name != "READ_ONLY_KUBECONFIG"},
        "KUBECONFIG": kubeconfig,
        "FAILOVERCTL_HTTP__PORT": "0",
        "FAILOVERCTL_HTTP__HOST": "127.0.0.1",
        "FAILOVERCTL_AWS__LATENCY_STAT": "Average",
    }


def _reasons(log: Path) -> set[str]:
    """The reasons of `run`'s decisions so far."""
    entries = [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return {entry["reason"] for entry in entries if entry["event"] == "decision.changed"}


def _demand(kubeconfig: str) -> None:
    """A person raises the floor of inf2, once the controller watches: an earlier refusal would be gone and prove nothing."""
    session = connect(kubeconfig=kubeconfig)
    path, query = SCALED_OBJECTS.path("default", "sd21-inf2-hpa"), (("fieldManager", "kubectl-edit"),)
    session.request("PATCH", path, query=query, body=json.dumps({"spec": {"minReplicaCount": 14}}), content_type=MERGE_PATCH)
    session.close()


def test_run_and_plan_work_against_servers_given_by_environment_variables(served: dict[str, str], tmp_path: Path) -> None:
    """Only the kubeconfig and the AWS endpoint distinguish emulated servers from real ones; SIGTERM ends the run cleanly."""
    reading = _environment(served, served["READ_ONLY_KUBECONFIG"])
    log = tmp_path / "log"
    with log.open("w") as sink:
        run = subprocess.Popen([*COMMAND, "run"], env=_environment(served, served["KUBECONFIG"]), stderr=sink)
        try:
            wait_for("a leader that watches", lambda: _reasons(log) >= {"DemandMet"}, 120, log.read_text)
            _demand(served["KUBECONFIG"])
            wait_for("the failover", lambda: "ShortageProven" in _reasons(log) and "action.applied" in log.read_text(), 120, log.read_text)
            plan = subprocess.run([*COMMAND, "plan", "--json"], env=reading, capture_output=True, text=True, check=False, timeout=60)
            status = subprocess.run([*COMMAND, "status", "--json"], env=reading, capture_output=True, text=True, check=False, timeout=60)
        finally:
            run.send_signal(signal.SIGTERM)
            code = run.wait(timeout=30)
    assert code == 0, log.read_text()
    assert plan.returncode in {0, 2}, plan.stderr
    assert json.loads(plan.stdout)["mode"] == "capacity"
    assert json.loads(status.stdout)["weights"] == {"sd21-all": 1}
    assert json.loads(log.read_text().splitlines()[-1])["event"] == "service.stopped"
