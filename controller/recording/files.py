"""The files of a recording: one that is written, and a bounded number of compressed ones before it.

A file holds the definitions of its applications itself, so that the oldest can go at any time. No line is ever added to a file that an
earlier process, or a full disk, may have left with a half-written one: there is always a new file.
"""

from __future__ import annotations

import fcntl
import gzip
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import IO, Final

from controller.clock import Clock, format_rfc3339
from controller.recording.lines import Definition

PLAIN: Final = ".jsonl"
PACKED: Final = ".jsonl.gz"
_PREFIX: Final = "decisions-"
_HALF: Final = ".half"  # a compressed file that is not complete yet
_SAME_SECOND: Final = 1000


class RecordingFiles:
    """Writes lines into files of bounded size and number. Not thread-safe: one thread writes.

    Args:
        folder: Where they are; made where it is missing.
        clock: For their names.
        max_bytes: Size of a file before it is compressed, bytes.
        max_files: How many are kept besides the one that is written; the oldest goes first.
    """

    def __init__(self, folder: Path, clock: Clock, *, max_bytes: int, max_files: int) -> None:
        self._folder, self._clock = folder, clock
        self._max_bytes, self._max_files = max_bytes, max_files
        self._file: FileIO | None = None
        self._path = folder
        self._size = 0
        self._defined: set[str] = set()

    def write(self, application: Definition, line: bytes) -> None:
        """Adds a line, and the definition of its application where the file has none yet.

        Raises:
            OSError: It cannot be written. The next line tries a new file.
        """
        try:
            file = self._file
            if file is None or self._size + len(application.line) + len(line) > self._max_bytes:
                file = self._next()
            if application.ref not in self._defined:
                self._put(file, application.line)
                self._defined.add(application.ref)
            self._put(file, line)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Closes the file; the next process compresses it."""
        file, self._file = self._file, None
        if file is None:
            return
        with suppress(OSError):
            file.close()
        if not self._size:
            with suppress(OSError):
                self._path.unlink()

    def _put(self, file: FileIO, content: bytes) -> None:
        rest = memoryview(content)
        while rest:
            written = file.write(rest)
            self._size += written
            rest = rest[written:]

    def _next(self) -> FileIO:
        self.close()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._tidy()
        self._path, self._file = self._open()
        self._size, self._defined = 0, set()
        with suppress(OSError):  # a file system without locks: then only the folder's name keeps two processes apart
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return self._file

    def _open(self) -> tuple[Path, FileIO]:
        stamp = format_rfc3339(self._clock.now()).replace("-", "").replace(":", "")
        for number in range(_SAME_SECOND):
            path = self._folder / f"{_PREFIX}{stamp}-{number:03d}{PLAIN}"
            if path.with_name(path.name + ".gz").exists():
                continue
            with suppress(FileExistsError):
                return path, FileIO(path, "xb", opener=_private)
        raise FileExistsError(f"{self._folder} has {_SAME_SECOND} files of {stamp}")

    def _tidy(self) -> None:
        """Compresses what is complete and lets go of the oldest. What another process still writes is left alone."""
        for half in self._folder.glob(f"{_PREFIX}*{_HALF}"):
            with suppress(OSError):
                half.unlink()
        for path in sorted(self._folder.glob(f"{_PREFIX}*{PLAIN}")):
            with _unused(path) as unused:
                if unused:
                    _pack(path)
        kept = recording_files(self._folder)
        for path in kept[: max(0, len(kept) - self._max_files)]:
            with _unused(path) as unused:
                if unused:
                    with suppress(OSError):
                        path.unlink()


def recording_files(folder: Path) -> list[Path]:
    """The files of a recording, the oldest first."""
    return sorted(path for path in folder.glob(f"{_PREFIX}*") if path.name.endswith((PLAIN, PACKED)))


def _private(path: str, flags: int) -> int:
    """Opens a file that nobody else can read."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


@contextmanager
def _unused(path: Path) -> Iterator[bool]:
    """Whether the file is ours to take away; no process begins to write it meanwhile, for nobody opens a file that is there."""
    with ExitStack() as opened:
        try:
            fcntl.flock(opened.enter_context(path.open("rb")), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # another process writes it, or it is not ours at all
            yield False
        else:
            yield True


def _pack(path: Path) -> None:
    half = path.with_name(path.name + _HALF)
    try:
        with path.open("rb") as plain, open(half, "xb", opener=_private) as packed:
            _compress(plain, packed)
        half.rename(path.with_name(path.name + ".gz"))
        path.unlink()
    except OSError:  # a full disk: it stays as it is, and counts as one of those that are kept
        with suppress(OSError):
            half.unlink(missing_ok=True)


def _compress(plain: IO[bytes], packed: IO[bytes]) -> None:
    with gzip.GzipFile(filename="", fileobj=packed, mode="wb") as file:
        shutil.copyfileobj(plain, file)
