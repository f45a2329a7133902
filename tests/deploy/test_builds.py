"""Two builds of the same files are the same bytes, and each distribution has a bill of its materials with their hashes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tomllib
import zipfile
from pathlib import Path
from typing import Any, Final

import pytest

from tests.deploy.test_wheels import ROOT, succeeds, uv

pytestmark = pytest.mark.timeout(240)

DISTRIBUTIONS: Final = {
    "mixed-accelerator-failover": ROOT / "uv.lock",
    "mixed-accelerator-failover-setup": ROOT / "uv.lock",
    "mixed-accelerator-failover-proof": ROOT / "uv.lock",
    "failover-model-server": ROOT / "model_server" / "uv.lock",
}


def copied(folder: Path) -> Path:
    """The files of the repository, with other times and permissions."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30).stdout
    for name in listed.rstrip("\0").split("\0"):
        source, copy = ROOT / name, folder / name
        if source.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
            copy.chmod(0o600)
            os.utime(copy, (1_000_000_000, 1_000_000_000))
    return folder


def _built(tree: Path, out: Path) -> Path:
    succeeds("make", "-s", "build", f"UV={uv()}", f"DIST={out}", cwd=tree)
    return out


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What two builds make, of two copies in different folders."""
    folders = [tmp_path_factory.mktemp("build") for _ in range(2)]
    first, second = (_built(copied(folder / name), folder / "dist") for folder, name in zip(folders, ("a", "another"), strict=True))
    return first, second


def _artefacts(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.name.endswith((".whl", ".tar.gz"))
    }


def test_two_builds_are_the_same_bytes(builds: tuple[Path, Path]) -> None:
    """Else nobody can check that a release was built from the sources that it names."""
    first, second = map(_artefacts, builds)
    assert len(first) == 2 * len(DISTRIBUTIONS)
    assert first == second


def test_the_wheels_hold_their_packages(builds: tuple[Path, Path]) -> None:
    """Two empty wheels would be equal too."""
    for path in builds[0].glob("*.whl"):
        assert sum(name.endswith(".py") for name in zipfile.ZipFile(path).namelist()) > 50, path.name


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_each_distribution_has_a_bill_of_materials(name: str, builds: tuple[Path, Path]) -> None:
    """CycloneDX, with the version and the hashes of the lock file for each component."""
    found: dict[str, Any] = json.loads((builds[0] / f"{name}.cdx.json").read_text())
    locked = tomllib.loads(DISTRIBUTIONS[name].read_text())["package"]
    hashes = {
        (package["name"], file["hash"].removeprefix("sha256:"))
        for package in locked
        for file in (*package.get("wheels", ()), *([package["sdist"]] if "hash" in package.get("sdist", {}) else []))
    }
    assert (found["bomFormat"], found["metadata"]["component"]["name"]) == ("CycloneDX", name)
    bought = [one for one in found["components"] if "purl" in one]
    assert len(bought) > 10
    for one in bought:
        contents = [listed["content"] for reference in one["externalReferences"] for listed in reference["hashes"]]
        assert contents
        assert all((one["name"], content) in hashes for content in contents)


@pytest.mark.parametrize("folder", ["", "model_server", "model_server/tests/vllm"], ids=["controller", "model server", "vLLM"])
def test_young_releases_are_not_locked(folder: str) -> None:
    """The lock file was made with the cool-down, so that the next `uv lock` keeps it."""
    project = ROOT / folder
    settings = tomllib.loads((project / "pyproject.toml").read_text())["tool"]["uv"]
    assert settings["exclude-newer"] == "7 days"
    assert tomllib.loads((project / "uv.lock").read_text())["options"]["exclude-newer-span"] == "P7D"
