"""Measures what an image holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from failover_harness.images import engine


@dataclass(frozen=True, slots=True)
class Measured:
    """What is in an image.

    Attributes:
        image_mb: All of it, base included, MB (10⁶ bytes).
        added_mb: What the Dockerfile's steps added to the base, MB.
        distributions: Python distributions that the steps added.
        packages: Packages of the base's system, by dpkg's list.
    """

    image_mb: int
    added_mb: int
    distributions: int
    packages: int


def measure(tag: str, base: str) -> Measured:
    """Measures an image and what it adds to its base."""
    image, before = engine.size(tag), engine.size(base)
    with engine.mounted(tag) as files, engine.mounted(base) as original:
        distributions = _distributions(files) - _distributions(original)
        packages = _packages(files)
    return Measured(round(image / 1e6), round((image - before) / 1e6), distributions, packages)


def folder_mb(tag: str, folder: str) -> int:
    """The size of a folder of an image, MB (10⁶ bytes)."""
    with engine.mounted(tag) as files:
        return round(sum(path.lstat().st_size for path in (files / folder.lstrip("/")).rglob("*")) / 1e6)


def _distributions(files: Path) -> int:
    return sum(1 for root in ("opt", "usr/local/lib") for _ in (files / root).glob("**/*.dist-info/METADATA"))


def _packages(files: Path) -> int:
    status = files / "var/lib/dpkg/status"
    return status.read_text().count("\nStatus: install ok installed") if status.is_file() else 0
