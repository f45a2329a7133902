"""Detects changed application files. An invalid file never stops the running applications."""

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
    """The result of one poll.

    Attributes:
        applications: The set to run now: the new one, or after an error the last valid one.
        error: Every fault in the new files, "" if there is none.
        at: When it was found, seconds since the Unix epoch.
        added: Keys of new applications.
        removed: Keys of removed applications.
        changed: Keys of changed applications.
    """

    applications: Mapping[str, Application]
    error: str
    at: float
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Content:
    """The content of the files: their digest, the sources where they are kept, and why they could not be read ("" where they were)."""

    digest: str
    sources: Sequence[Source]
    problem: str


class CatalogWatcher:
    """Watches one file or directory by content.

    It compares content, not time stamps, and does not use inotify: Kubernetes swaps a mounted ConfigMap by one symbolic link, and editors
    write files in different ways. A read during a swap could mix old and new files, so a new state counts once two reads agree on it.

    All or nothing: if one file of a directory is invalid, the whole new set is refused and the old one keeps running. Taking only the
    valid files would drop the application of the invalid one, and nothing would control its Ingress. It could also apply half of a change
    across files, such as an Ingress moved from one file to another.

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
        self._before: tuple[str, Mapping[str, Application], str] = ("", {}, "")  # digest, applications and error before the last change

    @property
    def applications(self) -> Mapping[str, Application]:
        """The last valid set; empty before the first."""
        return self._applications

    @property
    def error(self) -> str:
        """Why the present files are not in use, "" if they are."""
        return self._error

    def start(self) -> Mapping[str, Application]:
        """Reads the applications for the first time. No earlier set exists yet, so an invalid file is an error.

        Raises:
            ConfigError: Lists every fault.
        """
        change = self.poll()
        if change is not None and change.error:
            raise ConfigError(change.error)
        return self._applications

    def poll(self) -> CatalogChange | None:
        """Checks for a change. Call it from one thread only.

        Returns:
            None if the content is the same, has the same meaning, or is changing right now. Each invalid content is reported once. A valid
            content after an error is a change even if it equals the set that runs.
        """
        content = self._changed()
        if content is None:
            return None
        self._before = (self._digest, self._applications, self._error)
        self._digest, problem = content.digest, content.problem
        new: Mapping[str, Application] = {}
        if not problem:
            try:
                new = parse_applications(content.sources)
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

    def undo(self) -> None:
        """Forgets the last change: it could not be taken over, and the next poll finds it again."""
        self._digest, self._applications, self._error = self._before

    def _changed(self) -> _Content | None:
        """The content, where it is another; None where it is the same, or keeps changing."""
        last = self._read(keep=False).digest  # mostly it is the same: the files are read one after the other, and none is kept
        for _ in range(_STABLE_READS - 1):
            if last == self._digest:
                return None
            content = self._read(keep=True)
            if content.digest == last:
                return content
            last = content.digest
        return None

    def _read(self, *, keep: bool) -> _Content:
        total, sources, problem = hashlib.sha256(), list[Source](), ""
        try:
            for source in read_sources(self._path):
                parts = (source.file.encode(errors="surrogateescape"), source.content, source.problem.encode(errors="surrogateescape"))
                for part in parts:
                    total.update(len(part).to_bytes(8, "big"))
                    total.update(part)
                if keep:
                    sources.append(source)
        except ConfigError as error:
            problem = str(error)
        total.update(problem.encode(errors="surrogateescape"))
        return _Content(total.hexdigest(), sources, problem)
