"""The versions and wheels in the model server's lock file."""

import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

PROJECT: Final = Path(__file__).parents[2] / "model_server"


def _packages(project: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tomllib.loads((project / "uv.lock").read_text(encoding="utf-8"))["package"]
    return found


def wheels(project: Path = PROJECT) -> dict[tuple[str, str], list[str]]:
    """File names of the wheels of each locked distribution, by name and version; none where there is a source distribution alone."""
    return {
        (package["name"], package["version"]): [unquote(wheel["url"].rpartition("/")[2]) for wheel in package.get("wheels", ())]
        for package in _packages(project)
        if "version" in package
    }


def locked(project: Path = PROJECT) -> dict[str, set[str]]:
    """Versions of each locked distribution, by name; several if dependency groups differ."""
    versions: dict[str, set[str]] = defaultdict(set)
    for package in _packages(project):
        if "version" in package:
            versions[package["name"]].add(package["version"])
    return dict(versions)
