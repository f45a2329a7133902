"""The versions in the model server's lock file."""

import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).parents[2] / "model_server"


def locked(project: Path = PROJECT) -> dict[str, set[str]]:
    """Versions of each locked distribution, by name; several if dependency groups differ."""
    versions: dict[str, set[str]] = defaultdict(set)
    for package in tomllib.loads((project / "uv.lock").read_text(encoding="utf-8"))["package"]:
        if "version" in package:
            versions[package["name"]].add(package["version"])
    return dict(versions)
