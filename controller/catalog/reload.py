"""Detects changed application files. An invalid file never stops the running applications."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from controller.catalog.loader import Parsed, Source, parse_sound, read_sources
from controller.clock import Clock
from controller.errors import ConfigError
from controller.policy.model import Application

_STABLE_READS: Final = 3
_APART_S: Final = 0.5
"""Time between two of these reads while a set runs, seconds: what an editor or a copy has written in part is the same at once, not then."""


@dataclass(frozen=True, slots=True)
class CatalogChange:
    """The result of one poll.

    Attributes:
        applications: The set to run now: the new one, or after an error the last one that ran.
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
    write files in different ways. A read during a swap could mix old and new files, or end in the middle of one, so a new state counts once
    two reads agree on it, half a second apart. A file of several documents that ends between two of them is valid, and lacks applications.

    All or nothing: if one file of a directory is invalid, the whole new set is refused and the old one keeps running. Taking only the
    valid files would drop the application of the invalid one, and nothing would control its routing. It could also apply half of a change
    across files, such as an application moved from one file to another.

    Where no set runs yet, as after a restart, there is nothing to keep: the applications without a fault run, so that the fault of one
    leaves no other without a controller.

    Args:
        path: File or directory, see `controller.catalog.loader.load_directory`.
        clock: For `CatalogChange.at`, and to wait between two reads.
    """

    things: Final = "application files"
    """What the applications are, in words."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._applications: Mapping[str, Application] = {}
        self._digest = ""
        self._error = ""
        self._partial = False
        self._never = threading.Event()
        # digest, applications, error and whether they are partial, before the last change
        self._before: tuple[str, Mapping[str, Application], str, bool] = ("", {}, "", False)

    @property
    def applications(self) -> Mapping[str, Application]:
        """The set that runs; empty before the first."""
        return self._applications

    @property
    def error(self) -> str:
        """Why the present files are not in use, or not all of them; "" if they are."""
        return self._error

    @property
    def partial(self) -> bool:
        """Whether the set that runs lacks the applications that had a fault when there was no earlier set."""
        return self._partial

    def start(self) -> Mapping[str, Application]:
        """Reads the applications for the first time. `error` then says what is wrong with those that are left out.

        Raises:
            ConfigError: No application is without a fault. It lists every fault.
        """
        self.poll()
        if self._error and not self._applications:
            raise ConfigError(self._error)
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
        self._before = (self._digest, self._applications, self._error, self._partial)
        self._digest = content.digest
        found = Parsed({}, content.problem) if content.problem else parse_sound(content.sources)
        new = found.sound
        if found.error:
            self._error = found.error
            first = () if self._applications else tuple(new)
            if first:
                self._applications, self._partial = new, True
            return CatalogChange(self._applications, found.error, self._clock.now(), added=first)
        old, recovered = self._applications, bool(self._error)
        self._applications, self._error, self._partial = new, "", False
        if new == old and not recovered:
            return None
        return CatalogChange(new, "", self._clock.now(), *differences(old, new))

    def stop(self) -> None:
        """Nothing runs between two polls."""

    def undo(self) -> None:
        """Forgets the last change: it could not be taken over, and the next poll finds it again."""
        self._digest, self._applications, self._error, self._partial = self._before

    def _changed(self) -> _Content | None:
        """The content, where it is another; None where it is the same, or keeps changing."""
        last = self._read(keep=False).digest  # mostly it is the same: the files are read one after the other, and none is kept
        for _ in range(_STABLE_READS - 1):
            if last == self._digest:
                return None
            if self._applications:
                self._clock.wait(self._never, _APART_S)
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


def differences(old: Mapping[str, Application], new: Mapping[str, Application]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """The keys that are added, removed and changed."""
    added, removed = (tuple(key for key in one if key not in other) for one, other in ((new, old), (old, new)))
    return added, removed, tuple(key for key in new if key in old and new[key] != old[key])
