"""Notices changed application files and never lets a broken one stop what runs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from controller.catalog.loader import Source, parse_applications, read_sources
from controller.clock import Clock
from controller.errors import ConfigError
from controller.policy.model import Application

_STABLE_READS: Final = 3


@dataclass(frozen=True, slots=True)
class CatalogChange:
    """What one poll found.

    Attributes:
        applications: What is to run now: the new set, or the last good one where there is an error.
        error: Everything that is wrong with the new files, "" where nothing is.
        at: When it was found, seconds since the Unix epoch.
        added: Keys that are new.
        removed: Keys that are gone.
        changed: Keys whose application differs.
    """

    applications: Mapping[str, Application]
    error: str
    at: float
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


class CatalogWatcher:
    """Watches one file or directory by content.

    By content, not by time stamps or inotify: a mounted ConfigMap is swapped by one symbolic link, and copies and editors write in their
    own ways. A read that overlaps a swap could mix old and new files, so a new state counts once two reads agree on it.

    All or nothing: where one file of a directory is bad, the whole new set is refused and the old one keeps running. Taking over the good
    files alone would drop the application of the bad one, or run half of a change that was meant as a whole (an Ingress moved from one
    file to another), and dropping an application leaves its Ingress to nobody.

    Args:
        path: File or directory, see `controller.catalog.loader.load_directory`.
        clock: For `CatalogChange.at`.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._applications: Mapping[str, Application] = {}
        self._digest = ""
        self._error = ""

    @property
    def applications(self) -> Mapping[str, Application]:
        """The last good set; empty before the first."""
        return self._applications

    @property
    def error(self) -> str:
        """Why the present files are not what runs, "" where they are."""
        return self._error

    def start(self) -> Mapping[str, Application]:
        """Reads the applications for the first time. There is nothing to fall back on yet, so a broken file is an error.

        Raises:
            ConfigError: Lists everything that is wrong.
        """
        change = self.poll()
        if change is not None and change.error:
            raise ConfigError(change.error)
        return self._applications

    def poll(self) -> CatalogChange | None:
        """Looks for a change. To be called from one thread.

        Returns:
            None where the content is what it was, or means the same, or is being changed right now. An error is returned once for each
            content; the return to a good content after an error is a change even where it is the old one.
        """
        state = self._read()
        if state is None or state[1] == self._digest:
            return None
        sources, self._digest, problem = state
        new: Mapping[str, Application] = {}
        if not problem:
            try:
                new = parse_applications(sources)
            except ConfigError as error:
                problem = str(error)
        if problem:
            self._error = problem
            return CatalogChange(self._applications, problem, self._clock.now())
        old, recovered = self._applications, bool(self._error)
        self._applications, self._error = new, ""
        if new == old and not recovered:
            return None
        return CatalogChange(
            applications=new,
            error="",
            at=self._clock.now(),
            added=tuple(key for key in new if key not in old),
            removed=tuple(key for key in old if key not in new),
            changed=tuple(key for key in new if key in old and new[key] != old[key]),
        )

    def _read(self) -> tuple[Sequence[Source], str, str] | None:
        """The sources, their digest and why there are none; None where they do not hold still."""
        last = ""
        for _ in range(_STABLE_READS):
            sources: Sequence[Source] = ()
            problem = ""
            try:
                sources = read_sources(self._path)
            except ConfigError as error:
                problem = str(error)
            digest = _digest(sources, problem)
            if digest in {last, self._digest}:
                return sources, digest, problem
            last = digest
        return None


def _digest(sources: Sequence[Source], problem: str) -> str:
    total = hashlib.sha256(problem.encode(errors="surrogateescape"))
    for source in sources:
        for part in (source.file.encode(errors="surrogateescape"), source.content, source.problem.encode(errors="surrogateescape")):
            total.update(len(part).to_bytes(8, "big"))
            total.update(part)
    return total.hexdigest()
