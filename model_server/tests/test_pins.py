"""An installation of the wheel gets the releases that the tests run with."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PINNED = ("diffusers", "torch", "torchvision", "transformers", "uvicorn")
"""Whose next minor release may break us: their internals are used, or answers depend on them."""


def _parsed(name: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / name).read_text())


@pytest.mark.parametrize("name", PINNED)
def test_no_newer_minor_release_is_resolved_than_the_locked_one(name: str) -> None:
    """Every requirement of it that users install allows the locked release and not the next minor one."""
    locked = max(Version(package["version"]) for package in _parsed("uv.lock")["package"] if package["name"] == name)
    project = _parsed("pyproject.toml")["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    ranges = [requirement.specifier for line in lines if (requirement := Requirement(line)).name == name]
    assert ranges
    assert all(locked in allowed for allowed in ranges)
    assert not any(Version(f"{locked.major}.{locked.minor + 1}") in allowed for allowed in ranges)


def test_uvicorn_is_pinned_to_one_minor_release() -> None:
    """Connections and door build on its private classes."""
    (allowed,) = [
        requirement.specifier
        for line in _parsed("pyproject.toml")["project"]["dependencies"]
        if (requirement := Requirement(line)).name == "uvicorn"
    ]
    locked = next(Version(package["version"]) for package in _parsed("uv.lock")["package"] if package["name"] == "uvicorn")
    assert Version(f"{locked.major}.{locked.minor - 1}.999") not in allowed
