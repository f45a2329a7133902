"""A release, rehearsed: from a tag to the controller that the chart of a registry installs; `-n 0 -o log_cli=true` shows its commands.

What the workflow does and this does not: build on the real base for two architectures, sign, and attest (docs/releasing.md).
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
import urllib3

from failover_harness.control_plane.control_plane import ControlPlane, free_ports
from failover_harness.control_plane.kubelet import Kubelet
from failover_harness.waiting import wait_for
from tests.cluster.charts import Helm, forget_definition
from tests.cluster.manifests import kubectl
from tests.cluster.processes import run_controller
from tests.cluster.stack import Stack
from tests.deploy.test_builds import copied
from tests.deploy.test_wheels import HOME, built_image, succeeds, uv
from tools import release

LOG: Final = logging.getLogger(__name__)
RELEASE: Final = "failoverctl"
SPACE: Final = "failover-system-released"


@dataclass(frozen=True)
class Registry:
    """A registry on this machine, and crane to ask it."""

    crane: Path
    folder: Path
    address: str

    def __call__(self, *words: str) -> str:
        """Runs a crane command and returns what it prints."""
        LOG.info("$ crane %s", " ".join(words))
        variables = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "DOCKER_CONFIG": str(self.folder)}
        done = subprocess.run([self.crane, *words], env=variables, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def push(self, environment: Path, name: str) -> str:
        """Makes an image of an installed environment, as the Dockerfile lays it out, without a base; returns its digest."""
        layer = self.folder / "layer.tar"
        with tarfile.open(layer, "w") as tar:
            tar.add(environment, HOME.lstrip("/"))
        self("append", "--insecure", "--oci-empty-base", "--new_layer", str(layer), "--new_tag", name)
        settings = ("--user", "65532:65532", "--entrypoint", f"{HOME}/bin/failoverctl", "--cmd", "run", "--set-platform", "linux/amd64")
        self("mutate", "--insecure", *settings, "--tag", name, name)
        return self("digest", "--insecure", name).strip()

    def pull(self, name: str, to: Path) -> Path:
        """Unpacks the file system of an image."""
        self("export", "--insecure", name, str(to.with_suffix(".tar")))
        with tarfile.open(to.with_suffix(".tar")) as tar:
            tar.extractall(to, filter="tar")
        return to


@pytest.fixture
def registry(crane: Path, tmp_path: Path) -> Iterator[Registry]:
    """An empty one."""
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    folder = tmp_path / "registry"
    folder.mkdir()
    command = [str(crane), "registry", "serve", "--address", address, "--disk", str(folder)]
    with (tmp_path / "registry.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        wait_for("the registry", lambda: _answers(f"http://{address}/v2/"))
        yield Registry(crane, tmp_path, address)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _answers(url: str) -> bool:
    try:
        return urllib3.request("GET", url, timeout=5, retries=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def _checkout(folder: Path) -> Path:
    """The files of the repository, with the changelog as a maintainer leaves it before the tag."""
    tree = copied(folder)
    changelog = tree / "CHANGELOG.md"
    changelog.write_text(changelog.read_text().replace("## [Unreleased]", f"## [Unreleased]\n\n## [{release.version()}]", 1))
    return tree


def test_from_a_tag_to_a_controller_that_decides(registry: Registry, helm: Path, plane: ControlPlane, stack: Stack, tmp_path: Path) -> None:
    """What the chart names is what was pushed; the program out of it makes its first decision on the same API server."""
    tree = _checkout(tmp_path / "tree")
    version = release.check(f"v{release.version()}", tree)
    assert release.notes((tree / "CHANGELOG.md").read_text()).strip()

    release.distributions("https://github.com/somebody/failoverctl", tree)
    succeeds("make", "-s", "build", "check-build", f"UV={uv()}", f"DIST={tmp_path / 'dist'}", cwd=tree)
    made = {path.name for path in (tmp_path / "dist").iterdir()}
    assert sum(name.endswith(".whl") for name in made) == sum(name.endswith(".cdx.json") for name in made) == len(release.PROJECTS)

    (tmp_path / "image").mkdir()
    built_image(tmp_path / "image")
    pushed = registry.push(tmp_path / "image" / "failoverctl", f"{registry.address}/failoverctl:{version}")

    release.chart(registry.address, tmp_path / "chart" / "failoverctl", tree)
    client = Helm(helm, tmp_path, plane)
    client("package", str(tmp_path / "chart" / "failoverctl"), "--destination", str(tmp_path))
    LOG.info("%s", client("push", str(tmp_path / f"failoverctl-{version}.tgz"), f"oci://{registry.address}/charts", "--plain-http"))

    with _installed(client, plane, f"oci://{registry.address}/charts/failoverctl", version) as image:
        assert image == f"{registry.address}/failoverctl:{version}"
        assert registry("digest", "--insecure", image).strip() == pushed
        config = json.loads(registry("config", "--insecure", image))
        assert (config["config"]["User"], config["config"]["Cmd"]) == ("65532:65532", ["run"])
        home = registry.pull(image, tmp_path / "pulled") / HOME.lstrip("/")
    program = (str(home / "bin" / "python"), str(home / "bin" / "failoverctl"))
    assert version in succeeds(*program, "version", cwd=tmp_path)
    with run_controller(stack, program=program) as controller:
        assert controller.application()["mode"] == "cost"


@contextmanager
def _installed(client: Helm, plane: ControlPlane, chart: str, version: str) -> Iterator[str]:
    """The chart of the registry, installed with no value set; the image that its pods name once both are ready."""
    kubectl(plane, "create", "namespace", SPACE)
    forget_definition(plane)
    session = plane.patient_session()
    with Kubelet(session) as kubelet:
        kubelet.register("released-node", {}, {"cpu": "4", "memory": "8Gi", "pods": "20"})
        try:
            shown = ("install", RELEASE, chart, "--version", version, "-n", SPACE, "--plain-http", "--wait", "--timeout", "60s")
            LOG.info("$ helm %s", " ".join(shown))
            LOG.info("%s", client(*shown))
            deployment = json.loads(kubectl(plane, "-n", SPACE, "get", "deployment", RELEASE, "-o", "json"))
            assert deployment["status"]["readyReplicas"] == 2
            yield deployment["spec"]["template"]["spec"]["containers"][0]["image"]
        finally:
            client.run("uninstall", RELEASE, "-n", SPACE, "--wait")
            forget_definition(plane)
            kubelet.remove("released-node")
            kubectl(plane, "delete", "namespace", SPACE)
    session.close()
