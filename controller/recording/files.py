"""The files of a recording: one that is being written, and a bounded number of older, compressed ones.

Each file contains the definitions of its applications, so that the oldest can be deleted at any time. A process always begins a new file:
an earlier process or a full disk may have left a half-written line in the old one.
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
        folder: Their folder; created if it is missing.
        clock: For their names.
        max_bytes: Size of a file before it is compressed, bytes.
        max_files: How many are kept in addition to the one being written; the oldest is deleted first.
    """

    def __init__(self, folder: Path, clock: Clock, *, max_bytes: int = 1 << 24, max_files: int = 50) -> None:
        self._folder, self._clock = folder, clock
        self._max_bytes, self._max_files = max_bytes, max_files
        self._file: FileIO | None = None
        self._path = folder
        self._size = 0
        self._defined: set[str] = set()

    def write(self, application: Definition, line: bytes) -> None:
        """Adds a line, preceded by the definition of its application if the file has none yet.

        Raises:
            OSError: It cannot be written. The next line goes to a new file.
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
        with suppress(OSError):  # on a file system without locks, only separate folders keep two processes apart
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
        """Compresses complete files and deletes the oldest. Leaves a file alone that another process still writes."""
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
    """Opens a file that only its owner can read."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


@contextmanager
def _unused(path: Path) -> Iterator[bool]:
    """Whether no process writes the file. None begins to within the block, because a process never opens an existing file."""
    with ExitStack() as opened:
        try:
            fcntl.flock(opened.enter_context(path.open("rb")), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # another process writes it, or we lack permission
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
    except OSError:  # a full disk: the file stays uncompressed and counts as one of the kept files
        with suppress(OSError):
            half.unlink(missing_ok=True)


def _compress(plain: IO[bytes], packed: IO[bytes]) -> None:
    with gzip.GzipFile(filename="", fileobj=packed, mode="wb") as file:
        shutil.copyfileobj(plain, file)
