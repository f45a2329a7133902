"""Paths that the breaking-point benchmarks write to."""

from __future__ import annotations

from typing import Final

from benchmarks.report import ROOT

DOCS: Final = ROOT / "docs" / "laboratory" / "breaking-point.md"
IMAGES: Final = ROOT / "docs" / "images"
