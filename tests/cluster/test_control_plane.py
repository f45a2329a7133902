"""The control plane of the tests has real components, and ends with the test run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from controller.errors import NotFound, Unavailable
from failover_harness.control_plane.binaries import kubernetes_version
from failover_harness.control_plane.canary import await_controllers
from failover_harness.control_plane.control_plane import ControlPlane
from failover_harness.control_plane.describe import describe
from failover_harness.waiting import wait_for

ROOT = Path(__file__).parents[2]


def test_it_is_the_version_that_the_module_pins(plane: ControlPlane) -> None:
    if "KUBEBUILDER_ASSETS" in os.environ:
        pytest.skip("KUBEBUILDER_ASSETS brings its own version")
    assert plane.session().request("GET", "/version")["gitVersion"] == kubernetes_version()


def test_a_deployment_gets_nodes_pods_and_endpoints(plane: ControlPlane) -> None:
    """Scheduler, ReplicaSet and EndpointSlice controllers are real; nodes and readiness come from the fake kubelet."""
    await_controllers(plane.session())


def test_a_wait_in_vain_says_what_is_missing(plane: ControlPlane, namespace: str) -> None:
    """The message names unfinished objects and running programs, because a failed run elsewhere leaves only its log."""
    session = plane.session()
    template = {
        "metadata": {"labels": {"app": "a"}},
        "spec": {"nodeSelector": {"no": "where"}, "containers": [{"name": "c", "image": "i"}]},
    }
    deployment = {"metadata": {"name": "a"}, "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "a"}}, "template": template}}
    session.request("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", body=json.dumps(deployment))
    wait_for("the scheduler's verdict", lambda: "Unschedulable" in describe(session, namespace))
    with pytest.raises(AssertionError, match="what never comes") as failure:
        wait_for("what never comes", lambda: False, 0.1, lambda: f"{describe(session, namespace)}\n{plane.report()}")
    said = str(failure.value)
    assert re.search(r"Deployment a: 0 ready of 1\nReplicaSet a-\w+: 1 pods of 1\nPod a-\S+: Pending, no node \(Unschedulable\)", said)
    assert "kube-scheduler runs" in said


def test_it_is_gone_when_the_run_is_killed() -> None:
    """A test process that gets SIGKILL leaves neither processes nor files."""
    script = (
        "import json, time\n"
        "from failover_harness.control_plane.control_plane import ControlPlane\n"
        "plane = ControlPlane(controllers=False).__enter__()\n"
        "print(json.dumps([str(plane.folder), plane.port]), flush=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    folder, _ = json.loads(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)
    process.stdout.close()
    wait_for("the folder is gone", lambda: not Path(folder).exists())
    wait_for("the processes are gone", lambda: not any(folder in _read(one) for one in Path("/proc").glob("[0-9]*/cmdline")))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def test_a_stopped_api_server_comes_back_with_everything(plane: ControlPlane, namespace: str) -> None:
    session = plane.session()
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    session.request("POST", path, body=json.dumps({"metadata": {"name": "kept"}}))
    with plane.killed(), pytest.raises(Unavailable):
        session.request("GET", f"{path}/kept")
    assert session.request("GET", f"{path}/kept")["metadata"]["name"] == "kept"
    with pytest.raises(NotFound):
        session.request("GET", f"{path}/never")
