"""The control plane of the tests is what it claims to be: real components, and gone when the run is gone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from controller.errors import NotFound
from tests.control_plane.binaries import kubernetes_version
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.kubelet import Kubelet
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[2]


def test_it_is_the_version_that_the_module_pins(plane: ControlPlane) -> None:
    if "KUBEBUILDER_ASSETS" in os.environ:
        pytest.skip("KUBEBUILDER_ASSETS brings its own version")
    assert plane.session().request("GET", "/version")["gitVersion"] == kubernetes_version()


def test_a_deployment_gets_nodes_pods_and_endpoints(plane: ControlPlane, namespace: str) -> None:
    """Scheduler, ReplicaSet and EndpointSlice controllers are real; nodes and readiness are the kubelet double's."""
    session = plane.session()
    template = {
        "metadata": {"labels": {"app": "a"}},
        "spec": {
            "nodeSelector": {"pool": namespace},
            "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}],
        },
    }
    deployment = {"metadata": {"name": "a"}, "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "a"}}, "template": template}}
    service = {"metadata": {"name": "a"}, "spec": {"selector": {"app": "a"}, "ports": [{"port": 80}]}}
    session.request("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", body=json.dumps(deployment))
    session.request("POST", f"/api/v1/namespaces/{namespace}/services", body=json.dumps(service))

    def conditions() -> list[tuple[str, str]]:
        pods = session.request("GET", f"/api/v1/namespaces/{namespace}/pods")["items"]
        return [(one["type"], one.get("reason", "")) for pod in pods for one in pod["status"].get("conditions", ())]

    wait_for("the scheduler's verdict", lambda: ("PodScheduled", "Unschedulable") in conditions())
    with Kubelet(plane.session()) as kubelet:
        kubelet.register(f"node-{namespace}", {"pool": namespace}, {"cpu": "4", "memory": "8Gi", "pods": "10"})

        def endpoints() -> list[dict[str, object]]:
            slices = session.request("GET", f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices")["items"]
            return [one for each in slices for one in each.get("endpoints") or () if one["conditions"]["ready"]]

        wait_for("a ready endpoint", lambda: len(endpoints()) == 1)
        kubelet.remove(f"node-{namespace}")


def test_it_is_gone_when_the_run_is_killed() -> None:
    """A test process that gets SIGKILL leaves neither processes nor files."""
    script = (
        "import json, time\n"
        "from tests.control_plane.control_plane import ControlPlane\n"
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
    plane.stop_api()
    plane.start_api()
    assert session.request("GET", f"{path}/kept")["metadata"]["name"] == "kept"
    with pytest.raises(NotFound):
        session.request("GET", f"{path}/never")
