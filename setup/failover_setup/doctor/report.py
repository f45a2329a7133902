"""Checks and their findings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

from controller.clients.kube import Resource
from controller.routing.kinds import KINDS

S = TypeVar("S")

NOT_INSTALLED: Final = "is not installed"
"""How the reason ends why a kind could not be listed that the API server does not know."""


class Level(StrEnum):
    """How bad a finding is."""

    PROBLEM = "problem"  # a mode change is refused, or requests fail now
    WARNING = "warning"  # works, but may cause harm
    UNKNOWN = "unknown"  # the cluster does not show it
    OK = "ok"


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check.

    Attributes:
        level: How bad it is.
        seen: What the check observed, in words.
        fix: What to do about it, "" if there is nothing to do.
    """

    level: Level
    seen: str
    fix: str = ""


def ok(seen: str) -> Finding:
    """A finding that all is well."""
    return Finding(Level.OK, seen)


def unknown(seen: str, fix: str = "") -> Finding:
    """A finding that the cluster does not show the answer."""
    return Finding(Level.UNKNOWN, seen, fix)


def warning(seen: str, fix: str) -> Finding:
    """A finding that works, but may cause harm."""
    return Finding(Level.WARNING, seen, fix)


def problem(seen: str, fix: str) -> Finding:
    """A finding that blocks a mode change, or makes requests fail now."""
    return Finding(Level.PROBLEM, seen, fix)


@dataclass(frozen=True, slots=True)
class Check(Generic[S]):
    """One check of an observation of type `S`. The first line of its function's docstring states what it requires.

    Attributes:
        examine: Returns the findings about an observation.
        why: Why it matters, in a sentence or two.
        needs: The kinds that must have been listed; without them the result is "cannot tell".
        of: The kinds of routing object that it is about; () for each application, also where its routing object does not exist.
        missing: Whether it applies although the routing object does not exist.
    """

    examine: Callable[[S], Iterator[Finding]]
    why: str
    needs: tuple[Resource, ...] = ()
    of: Collection[str] = tuple(KINDS)
    missing: bool = False

    def applies(self, kind: str, *, exists: bool) -> bool:
        """Whether it applies to an application with a routing object of a kind."""
        return not self.of or ((exists or self.missing) and kind in self.of)

    @property
    def name(self) -> str:
        """The name in reports and docs."""
        return self.examine.__name__.replace("_", "-")

    @property
    def requires(self) -> str:
        """What the check requires, one sentence."""
        return (self.examine.__doc__ or "").splitlines()[0]

    def findings(self, observed: S, unreadable: Mapping[str, str]) -> Iterator[Finding]:
        """Runs the check; a kind that it needs but that could not be listed makes the result "cannot tell".

        Args:
            observed: What to examine.
            unreadable: Why a kind could not be listed, by the resource's name.
        """
        reasons = dict.fromkeys(unreadable[one.name] for one in self.needs if one.name in unreadable)
        if reasons:
            yield unknown("; ".join(reasons), _readable(reasons))
        else:
            yield from self.examine(observed)


def _readable(reasons: Collection[str]) -> str:
    """What makes kinds readable: nobody can install what exists and may not be listed."""
    absent = [reason for reason in reasons if reason.endswith(NOT_INSTALLED)]
    install, grant = "install it: see docs/install.md", "grant `list` on it: see docs/permissions.md"
    if absent and len(absent) < len(reasons):
        return f"{install}; for the rest {grant}"
    return install if absent else grant


@dataclass(frozen=True, slots=True)
class Result:
    """A finding with its check."""

    check: Check[Any]
    finding: Finding
