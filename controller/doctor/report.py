"""What a check says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is."""

    PROBLEM = "problem"  # a switch is refused, or requests fail now
    WARNING = "warning"  # works, and may harm
    UNKNOWN = "unknown"  # it cannot be told from here
    OK = "ok"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check found.

    Attributes:
        level: How bad it is.
        seen: What was seen, in words.
        fix: What to do about it, "" where there is nothing to do.
    """

    level: Level
    seen: str
    fix: str = ""


def ok(seen: str) -> Finding:
    """As it should be."""
    return Finding(Level.OK, seen)


def unknown(seen: str, fix: str = "") -> Finding:
    """It cannot be told from here."""
    return Finding(Level.UNKNOWN, seen, fix)


def warning(seen: str, fix: str) -> Finding:
    """It works, and may harm."""
    return Finding(Level.WARNING, seen, fix)


def problem(seen: str, fix: str) -> Finding:
    """It stops a switch, or makes requests fail now."""
    return Finding(Level.PROBLEM, seen, fix)
