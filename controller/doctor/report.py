"""What a check is, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from controller.clients.kube import Resource

S = TypeVar("S")


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


@dataclass(frozen=True, slots=True)
class Check(Generic[S]):
    """One check. Its function's docstring begins with a line that says what it asks for.

    Attributes:
        examine: What it does with what was seen.
        why: Why it matters, one sentence.
        needs: What must have been listed; without it the answer is "cannot tell".
        of_ingress: Whether there is nothing to ask without the Ingress of an application.
    """

    examine: Callable[[S], Iterator[Finding]]
    why: str
    needs: tuple[Resource, ...] = ()
    of_ingress: bool = True

    @property
    def name(self) -> str:
        """As reports and docs write it."""
        return self.examine.__name__.replace("_", "-")

    @property
    def asks(self) -> str:
        """What it asks for."""
        return (self.examine.__doc__ or "").splitlines()[0]

    def findings(self, seen: S, unreadable: Mapping[str, str]) -> Iterator[Finding]:
        """What it finds.

        Args:
            seen: What was seen.
            unreadable: Why a kind could not be listed, by the resource's name.
        """
        reasons = dict.fromkeys(unreadable[one.name] for one in self.needs if one.name in unreadable)
        if reasons:
            yield unknown("; ".join(reasons), "install it, or grant `list` on it: docs/permissions.md says what for")
        else:
            yield from self.examine(seen)


@dataclass(frozen=True, slots=True)
class Result:
    """One finding and the check that it is of."""

    check: Check[Any]
    finding: Finding
