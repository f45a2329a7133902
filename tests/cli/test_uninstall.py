"""`uninstall --check` as a person runs it: what is left, what it does, and the commands that remove it."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from click.testing import CliRunner, Result

from controller.cli.main import main
from controller.clients.kube import NAMESPACES, connect
from controller.clock import SystemClock
from controller.policy.model import FloorMemory, Memory, Mode
from controller.policy.plan import FIELD_MANAGER
from controller.ports import StoredMemory
from controller.routing.annotations import MARKER, PAUSED_UNTIL, WRITTEN_BY
from controller.service.store import ConfigMapStore
from failover_setup.doctor.left.observe import MADE
from failover_testbed.kube_api import READ_ONLY, EmulatedKubeApi, Identity, KubeStore
from tests.support.applications import application
from tests.support.cluster import NAMESPACE, application_document, write_application
from tests.support.healthy import Healthy
from tools.permissions import ROOT

KUBECTL: Final = str(Path(sys.executable).parent / "kubectl")
STATE: Final = "failover-system"
APP: Final = application()
FLOOR: Final = {"spec": {"minReplicaCount": 7}}
UNIT: Final = APP.units[0]
SCALER: Final = str(UNIT.scaled_object)


@pytest.fixture
def api() -> Iterator[EmulatedKubeApi]:
    """A cluster with the application, and with nothing of the controller."""
    tokens = {"admin": Identity("admin"), "reader": Identity("reader", READ_ONLY), "nobody": Identity("nobody", ())}
    with EmulatedKubeApi(SystemClock(), tokens=tokens, tls=True) as made:
        Healthy(APP).create(made.store)
        yield made


def check(api: EmulatedKubeApi, folder: Path, *words: str, token: str = "reader", applications: bool = True) -> Result:
    """Runs the command."""
    file = write_application(folder) if applications else folder / "none"
    common = ["--kubeconfig", str(api.kubeconfig(token, folder / f"{token}.kubeconfig")), "--applications", str(file)]
    return CliRunner().invoke(main, ["uninstall", "--check", *common, *words], catch_exceptions=False)


def document(api: EmulatedKubeApi, folder: Path, **how: Any) -> dict[str, Any]:
    """What it says to machines."""
    made: dict[str, Any] = json.loads(check(api, folder, "-o", "json", **how).stdout)
    return made


def installed(store: KubeStore) -> None:
    """Everything that kustomize installs, and an application."""
    for folder in ("base", "application"):
        words = [KUBECTL, "kustomize", str(ROOT / "deploy" / "kustomize" / folder)]
        text = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True).stdout
        for one in sorted(yaml.safe_load_all(text), key=lambda two: two["kind"] != "Namespace"):
            store.create(one["kind"], one)
    store.create("FailoverApplication", application_document())


def used(api: EmulatedKubeApi, folder: Path) -> None:
    """What a controller leaves that was removed in capacity mode: marks, a raised floor, a target, its memory."""
    change = {"metadata": {"annotations": {MARKER: str(Mode.CAPACITY), WRITTEN_BY: STATE, PAUSED_UNTIL: "2099-01-01T00:00:00Z"}}}
    api.store.patch("Ingress", APP.route.name, change, namespace=NAMESPACE, manager=FIELD_MANAGER)
    api.store.patch("ScaledObject", SCALER, FLOOR, namespace=NAMESPACE, manager=FIELD_MANAGER)
    session = connect(kubeconfig=str(api.kubeconfig("admin", folder / "admin.kubeconfig")))
    memory = Memory(floors={SCALER: FloorMemory(found=3, raised_from=1)})
    ConfigMapStore(session, STATE).save(APP.key, memory, over=StoredMemory(Memory(), "", 0), epoch=1)
    session.close()


def carry_out(kubeconfig: Path, command: str) -> None:
    """Runs a printed command with a real kubectl.

    The manifest from Git is a person's part, and the emulated API deletes no namespaces.
    """
    program, *words = shlex.split(command, comments=True)
    assert program == "kubectl"
    if "apply" in words or NAMESPACES.name in words:
        return
    done = subprocess.run([KUBECTL, f"--kubeconfig={kubeconfig}", *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"


def test_nothing_is_left_where_nothing_was(api: EmulatedKubeApi, tmp_path: Path) -> None:
    """With and without an application file; that is the end of an uninstallation."""
    for applications in (True, False):
        done = check(api, tmp_path, applications=applications)
        assert (done.exit_code, "Nothing is left." in done.output) == (0, True), done.output


def test_each_thing_has_its_effect_and_the_commands_remove_all(api: EmulatedKubeApi, tmp_path: Path) -> None:
    """After they were carried out, nothing but the manifest of Git is missing."""
    installed(api.store)
    used(api, tmp_path)
    done = check(api, tmp_path)
    assert done.exit_code == 2
    text = " ".join(done.output.split())
    assert "all requests go to the ready pods of every unit, at what those cost, and nobody returns it" in text
    assert "minReplicaCount 7 is the controller's; it was 3. KEDA keeps 7 replicas, and their nodes cost money" in text
    assert "a new installation would obey the pause" in text
    found = document(api, tmp_path)
    kinds = {one["what"].partition(" ")[0] for one in found["left"]}
    assert kinds == {"Ingress", "ScaledObject", *(one.kind for one in MADE)} - {"PrometheusRule", "ServiceMonitor", "Lease"}
    assert found["notChecked"] == []
    kubeconfig = api.kubeconfig("admin", tmp_path / "admin.kubeconfig")
    for one in found["left"]:
        carry_out(kubeconfig, one["command"])
    assert [one["what"] for one in document(api, tmp_path)["left"]] == [f"Namespace {STATE}"]
    assert api.store.get("ScaledObject", SCALER, namespace=NAMESPACE)["spec"]["minReplicaCount"] == 3


def test_a_floor_that_nobody_remembers_is_said_to_be_unknown(api: EmulatedKubeApi, tmp_path: Path) -> None:
    """Without memory and application file the command cannot know what was there before, and makes up no number."""
    api.store.patch("ScaledObject", SCALER, FLOOR, namespace=NAMESPACE, manager=FIELD_MANAGER)
    (left,) = document(api, tmp_path, applications=False)["left"]
    assert "what it was before is not known" in left["effect"]
    assert f"-f {SCALER}.yaml" in left["command"]
    (left,) = document(api, tmp_path)["left"]
    assert '{"spec":{"minReplicaCount":1}}' in left["command"], "the application file says it"


def test_a_target_of_capacity_mode_is_put_back(api: EmulatedKubeApi, tmp_path: Path) -> None:
    """KEDA would scale by it for as long as nobody notices."""
    change = api.store.get("ScaledObject", SCALER, namespace=NAMESPACE)["spec"]["triggers"]
    change[0]["metadata"]["targetMetricValue"] = "42"
    api.store.patch("ScaledObject", SCALER, {"spec": {"triggers": change}}, namespace=NAMESPACE, manager=FIELD_MANAGER)
    (left,) = document(api, tmp_path)["left"]
    assert "its target is 42, and cost mode's is" in left["effect"]
    assert "/spec/triggers/0/metadata/targetMetricValue" in left["command"]


def test_what_cannot_be_read_is_not_called_nothing(api: EmulatedKubeApi, tmp_path: Path) -> None:
    """With no permission at all each kind is named, and the exit code is not that of a clean cluster."""
    done = check(api, tmp_path, token="nobody")
    assert done.exit_code == 2
    text = " ".join(done.output.split())
    for kind in (*(one.name for one in MADE), "scaledobjects.keda.sh", "ingresses.networking.k8s.io"):
        if "monitoring" not in kind:
            assert kind in text
    assert "Nothing found" in text


def test_without_its_flag_it_says_that_it_removes_nothing(tmp_path: Path) -> None:
    """Nobody must take it for a removal."""
    done = CliRunner().invoke(main, ["uninstall", "--applications", str(tmp_path)])
    assert done.exit_code == 1
    assert "uninstall removes nothing itself; allowed: --check" in done.output


def test_weights_of_cost_mode_are_nobody_s_either(api: EmulatedKubeApi, tmp_path: Path) -> None:
    """The controller was removed in cost mode; its last weights stay, whatever happens to a unit."""
    change = {"metadata": {"annotations": {MARKER: str(Mode.COST)}}}
    api.store.patch("Ingress", APP.route.name, change, namespace=NAMESPACE, manager=FIELD_MANAGER)
    effects = [one["effect"] for one in document(api, tmp_path, applications=False)["left"]]
    assert any("weights that the controller wrote last" in one for one in effects)
