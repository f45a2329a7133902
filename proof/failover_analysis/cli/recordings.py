"""The recordings that a command line names: which decisions it asks for, and what cannot be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click

from controller.errors import ConfigError
from controller.recording.lines import Recorded
from failover_analysis.replay.reader import Unread, read

_MILLISECOND_S: Final = 0.001  # times are shown to the millisecond: a copied one must find its moment
_MOST_UNREAD: Final = 5  # unreadable lines of one file that are named; further ones are counted


@dataclass(slots=True)
class Recordings:
    """The decisions that a command line asks for.

    Attributes:
        files: The recordings, or their folders.
        application: The application, by its key or its name; None for all.
        begin: Where to begin, seconds since the Unix epoch; None: at the first decision.
        end: Where to end.
        keys: The only applications that count, by their keys; None for all.
        there: The applications of all decisions that were read.
    """

    files: tuple[Path, ...]
    application: str | None = None
    begin: float | None = None
    end: float | None = None
    keys: Collection[str] | None = None
    there: set[str] = field(default_factory=set)
    _unread: Counter[str] = field(default_factory=Counter)

    def decisions(self, watched: Callable[[float], None]) -> Iterator[Recorded]:
        """The decisions in order of time. Of the others only the application is noted; what cannot be read is named on standard error.

        Args:
            watched: Called from time to time with the share of the files that is read.

        Raises:
            ConfigError: There is no file, or there are too many.
        """
        for recorded in read(self.files, self._name, watched):
            application, now = recorded.snapshot.application, recorded.snapshot.now
            self.there.add(application.key)
            if self.application is not None and self.application not in {application.key, application.name}:
                continue
            if self.keys is not None and application.key not in self.keys:
                continue
            if (self.begin is None or self.begin <= now) and (self.end is None or now < self.end + _MILLISECOND_S):
                yield recorded

    def ended(self, *, found: bool) -> None:
        """Counts the unreadable lines that were not named.

        Args:
            found: Whether there was a decision.

        Raises:
            ConfigError: There was none.
        """
        for file, count in self._unread.items():
            if count > _MOST_UNREAD:
                click.echo(f"{file}: {count - _MOST_UNREAD} more unreadable lines", err=True)
        if not found and not self.there:
            raise ConfigError("no recorded decision could be read")
        if not found:
            raise ConfigError(f"no recorded decision matches; there are decisions about: {', '.join(sorted(self.there))}")

    def _name(self, one: Unread) -> None:
        self._unread[one.file] += 1
        if self._unread[one.file] <= _MOST_UNREAD:
            click.echo(str(one), err=True)
