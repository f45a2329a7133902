"""From the chart that took application files to objects and back, as docs/from-files.md says, in both modes, on a real API server."""

from __future__ import annotations

import re
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
import yaml

from controller.clients.kube import FAILOVER_APPLICATIONS, INGRESSES
from controller.clock import SystemClock
from controller.policy.model import Mode
from controller.service.wiring import Service
from failover_harness.control_plane.control_plane import ControlPlane
from failover_harness.waiting import wait_for
from tests.cluster.charts import CHART, Helm
from tests.cluster.manifests import Installation, kubectl
from tests.cluster.stack import Stack
from tests.support.cluster import running, settings_for
from tools.crd import CRD_FILE

_ROOT: Final = CHART.parents[1]
_FORMER: Final = "7cfa4d9b867c"
"""The last commit whose chart takes application files."""
_INSTALLATION: Final = Installation("failover-from-files", "failoverctl")
_PLACES: Final = {"deploy/chart": str(CHART), "deploy/crds/failoverapplication.yaml": str(_ROOT / CRD_FILE)}


@pytest.fixture(scope="session")
def former(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart of that commit."""
    folder = tmp_path_factory.mktemp("former")
    with (folder / "chart.tar").open("wb") as archive:
        done = subprocess.run(["git", "archive", _FORMER, "deploy/chart"], cwd=_ROOT, stdout=archive, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        pytest.skip(f"the history of this checkout does not reach {_FORMER}: {done.stderr.decode().strip()}")
    with tarfile.open(folder / "chart.tar") as archived:
        archived.extractall(folder, filter="data")
    return folder / "deploy" / "chart"


class Upgraded(Stack):
    """An application whose controller was installed with its file in the values."""

    client: Helm
    former: Path

    def grant(self) -> None:
        """Installs the former chart; it grants the namespace that the file names."""
        file = self.application_file()
        chart, anew = ("failoverctl", str(self.former), "-n", self.installation.namespace), ("--take-ownership", "--force-conflicts")
        self.client("install", *chart, *anew, "--set-file", f"applications.files.sd21\\.yaml={file}")

    def by_the_page(self) -> None:
        """Runs the commands of the page, with the places of this checkout and of this installation."""
        commands = re.findall(r"^(?:kubectl|helm) .*$", (_ROOT / "docs" / "from-files.md").read_text(), re.MULTILINE)
        applied = [one for one in commands if one.startswith("kubectl apply")]
        (upgrade,) = [one for one in commands if one.startswith("helm upgrade")]
        assert len(applied) == 2
        for command in applied:
            kubectl(self.plane, *self._here(command))
        kubectl(self.plane, "-n", self.namespace, "wait", "--for=create", "failoverapplication/sd21", "--timeout=30s")
        self.client(*self._here(upgrade))

    def _here(self, command: str) -> list[str]:
        for written, here in {**_PLACES, "my-application.yaml": str(self.application_file()), "{shop}": f"{{{self.namespace}}}"}.items():
            command = command.replace(written, here)
        return [one.strip("'") for one in command.replace("failover-system", self.installation.namespace).split()[1:]]

    def _decided(self, service: Service) -> bool:
        """Applications of other tests may be there, whose namespaces are being deleted."""
        return self.key in {one.application.key for one in service.controller.views()}

    def run(self, files: Path | None, until: Callable[[Service], bool]) -> None:
        """Runs a controller under the account of the installation."""
        session = self.controller_session()
        settings = settings_for(files, kubernetes={"state_namespace": self.installation.namespace})
        with running(Service(settings, session, SystemClock())) as service:
            wait_for("what the controller was to do", lambda: self._decided(service) and until(service), deadline_s=60)
        session.close()


@pytest.fixture
def stack(helm: Path, former: Path, plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Upgraded]:
    """The application, installed by the former chart."""
    space = _INSTALLATION.namespace
    kubectl(plane, "create", "namespace", space)
    made = Upgraded(plane, namespace, tmp_path, _INSTALLATION)
    made.client, made.former = Helm(helm, tmp_path, plane), former
    try:
        with made:
            yield made
    finally:
        made.client.run("uninstall", "failoverctl", "-n", space)
        kubectl(plane, "delete", "namespace", space)


@pytest.mark.parametrize("mode", list(Mode))
def test_the_upgrade_and_the_way_back_leave_the_routing_alone(stack: Upgraded, mode: Mode) -> None:
    """The mode, and when it began, go on; nothing is written to the Ingress by either."""
    file, since = stack.application_file(), list[float]()

    def stands(service: Service) -> bool:
        view = next(one for one in service.controller.views() if one.application.key == stack.key)
        since.append(view.memory.mode_since)
        return view.mode is mode and view.snapshot.routing.action == stack.action()

    if mode is Mode.CAPACITY:
        stack.shortage()
    stack.run(file, lambda service: stands(service) and bool(stack.memory()))
    begun, written = since[-1], len(stack.writes(INGRESSES.plural))
    assert bool(written) is (mode is Mode.CAPACITY)

    refused = stack.client.run("upgrade", "failoverctl", str(CHART), "-n", stack.installation.namespace, "--reset-then-reuse-values")
    assert "apply the files, then set applications.files=null" in refused.stderr
    stack.by_the_page()

    def shown() -> str:
        found = stack.session.get(FAILOVER_APPLICATIONS, stack.namespace, "sd21")
        return str(found.get("status", {}).get("mode", ""))

    stack.run(None, lambda service: stands(service) and shown() == mode)
    assert since[-1] == begun
    stack.client("rollback", "failoverctl", "-n", stack.installation.namespace)
    stack.run(file, stands)
    assert since[-1] == begun
    assert len(stack.writes(INGRESSES.plural)) == written
    mounted = yaml.safe_load(kubectl(stack.plane, "-n", stack.installation.namespace, "get", "deployment", "failoverctl", "-o", "yaml"))
    assert "failoverctl-applications" in str(mounted["spec"]["template"]["spec"]["volumes"])
    assert shown() == mode, "the object stays"
