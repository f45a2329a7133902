"""Limits that the help of a command names."""

from __future__ import annotations

from typing import Final

MOST_RUNS: Final = 100_000
"""Most runs of one simulation: seeds times policies."""
