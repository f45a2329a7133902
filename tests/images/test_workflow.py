"""The workflow of a release: safe by zizmor's audits, and complete."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from deploy.images.catalog import load
from deploy.images.dockerfiles import ROOT, dockerfiles
from failover_harness.control_plane import binaries
from tools import release

WORKFLOW = ROOT / ".github" / "workflows" / "release.yaml"
PYPI = WORKFLOW.with_name("pypi.yaml")


@pytest.mark.parametrize("workflow", [WORKFLOW, PYPI], ids=lambda path: path.stem)
def test_zizmor_finds_nothing(workflow: Path) -> None:
    """No injected expressions, no actions by tag, no permissions that a job does not need."""
    zizmor = Path(sys.executable).parent / "zizmor"
    done = subprocess.run(
        [zizmor, "--offline", "--quiet", "--no-progress", workflow], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_image_is_released() -> None:
    """A Dockerfile that is added is built; its context is the one that its own first lines name."""
    jobs = yaml.safe_load(WORKFLOW.read_text())["jobs"]
    built = {entry["file"]: entry for entry in jobs["image"]["strategy"]["matrix"]["include"]}
    made = dockerfiles(load())
    assert set(built) == {path.as_posix() for path in made}
    for path, text in made.items():
        entry = built[path.as_posix()]
        named = re.search(r"^#   docker build --file (\S+) --tag (\S+) (\S+)$", text, re.MULTILINE)
        if named is not None:
            assert named.groups() == (entry["file"], entry["name"], entry["context"])


def test_a_release_builds_nothing_before_the_digests_are_known() -> None:
    """The first job refuses, every other one needs it, and the build itself says that it is a release."""
    jobs = yaml.safe_load(WORKFLOW.read_text())["jobs"]
    first, *others = jobs
    assert any("deploy.images release" in step.get("run", "") for step in jobs[first]["steps"])
    assert all(first in jobs[job]["needs"] for job in others)
    assert "--build-arg RELEASE=true" in WORKFLOW.read_text()


def test_images_have_the_tag_that_the_chart_pulls() -> None:
    """The version without the tag's `v`, which is the chart's appVersion; the chart names the registry to which the images go."""
    text = WORKFLOW.read_text()
    assert yaml.safe_load((ROOT / release.CHART / "Chart.yaml").read_text())["appVersion"] == release.version()
    assert '--tag "$IMAGE:$VERSION"' in text
    assert "tools.release check" in text
    assert "GITHUB_REF_NAME" not in re.sub(r'check "\$GITHUB_REF_NAME"|release create "\$GITHUB_REF_NAME"', "", text)
    jobs = yaml.safe_load(text)["jobs"]
    assert jobs["image"]["env"]["IMAGE"] == "${{ needs.refuse-what-is-not-ready.outputs.registry }}/${{ matrix.name }}"
    assert jobs["publish"]["env"]["REGISTRY"] == "${{ needs.refuse-what-is-not-ready.outputs.registry }}"


@pytest.mark.parametrize(("name", "module"), [("CRANE", "github.com/google/go-containerregistry"), ("HELM", "helm.sh/helm/v4")])
def test_the_rehearsal_has_the_programs_of_the_workflow(name: str, module: str) -> None:
    """Else it rehearses another release."""
    wanted = yaml.safe_load(WORKFLOW.read_text())["env"][name].rpartition("@")[2]
    pinned = (Path(binaries.__file__).parent / "binaries" / name.lower() / "go.mod").read_text()
    assert re.findall(rf"^\s*{re.escape(module)} (\S+)", pinned, re.MULTILINE) == [wanted]


def test_wheels_go_out_as_they_were_signed_and_without_a_token() -> None:
    """They are taken from the published release, each signature is verified first, and nothing is built again or authorised by a secret."""
    text = PYPI.read_text()
    uploading = yaml.safe_load(text)
    assert uploading[True] == {"release": {"types": ["published"]}}  # YAML reads `on` as true
    job = uploading["jobs"]["upload"]
    assert job["permissions"] == {"contents": "read", "id-token": "write"}
    steps = [step.get("run", "") for step in job["steps"]]
    verified = next(place for place, run in enumerate(steps) if "verify-blob" in run)
    assert f"{WORKFLOW.name}@$GITHUB_REF" in steps[verified]
    assert next(place for place, run in enumerate(steps) if "publish" in run) > verified
    assert "secrets." not in text
    assert "make build" not in text
    assert uploading["env"]["COSIGN"] == yaml.safe_load(WORKFLOW.read_text())["env"]["COSIGN"]
