"""The workflow example: safe by zizmor's audits, and complete."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml

from deploy.images.catalog import load
from deploy.images.dockerfiles import ROOT, dockerfiles

WORKFLOW = ROOT / "docs" / "examples" / "release-images.yaml"


def test_zizmor_finds_nothing() -> None:
    """No injected expressions, no actions by tag, no permissions that a job does not need."""
    zizmor = Path(sys.executable).parent / "zizmor"
    done = subprocess.run(
        [zizmor, "--offline", "--quiet", "--no-progress", WORKFLOW], capture_output=True, text=True, timeout=60, check=False
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
    assert all(jobs[job]["needs"] == first for job in others)
    assert "--build-arg RELEASE=true" in WORKFLOW.read_text()
