"""Files of a model where they come from: path, size, checksum."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

from failover_model_server.errors import LoadError

BLOCK = 4 * 1024 * 1024
"""Bytes read at a time when a file is hashed."""


class Algorithm(StrEnum):
    """How a source says what a file holds."""

    SHA256 = "sha256"
    GIT_BLOB = "git-blob"
    """SHA-1 over `blob SIZE NUL CONTENT`: what git, and so the hub, stores for files that are not in LFS."""
    S3_ETAG = "s3-etag"
    """MD5 of the object, or MD5 over the MD5s of its parts and their number."""


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a source says about the content of a file."""

    algorithm: Algorithm
    value: str
    """Hexadecimal, lower case; an S3 ETag of several parts ends with -NUMBER."""
    part_size: int = 0
    """Bytes of all parts but the last, for an S3 ETag of several parts."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a model."""

    path: str
    """Relative to the model, with slashes."""
    size: int
    """Bytes."""
    checksum: Checksum | None = None
    """None: the source does not say; then size and structure are all that can be checked."""
    version: str = ""
    """What makes the source answer with these very bytes: the ETag in S3."""

    def __post_init__(self) -> None:
        path = PurePosixPath(self.path)
        if not self.path or path.is_absolute() or ".." in path.parts or "\\" in self.path or "\0" in self.path:
            raise LoadError(f"model: {self.path!r} is no path inside a model")

    @property
    def folder(self) -> str:
        """The folder in the model; empty at the top."""
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        """Without the folder."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Listing:
    """All files of a model at one revision."""

    revision: str
    """What the files were: a commit of the hub, a digest over an S3 prefix."""
    files: tuple[RemoteFile, ...]


def digests(path: Path, expected: Checksum | None) -> tuple[str, str | None]:
    """SHA-256 of a file, and its checksum by the algorithm of `expected` (None without one), in one pass over the file."""
    sha256 = hashlib.sha256()
    other = _hasher(expected, path)
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            sha256.update(block)
            if other is not None:
                other.update(block)
    if expected is None:
        return sha256.hexdigest(), None
    return sha256.hexdigest(), sha256.hexdigest() if other is None else other.hexdigest()


def _hasher(expected: Checksum | None, path: Path) -> Any:  # noqa: ANN401 - hashlib's objects have no public type
    match expected:
        case Checksum(algorithm=Algorithm.GIT_BLOB):
            # git's own choice of hash; it tells an accident from the file, which is all that is asked of it
            return hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
        case Checksum(algorithm=Algorithm.S3_ETAG):
            return _Etag(expected.part_size)
        case _:
            return None


class _Etag:
    """S3's ETag: MD5 of a simple object; of one in parts the MD5 over the MD5s of the parts, and how many there were."""

    def __init__(self, part_size: int) -> None:
        self._part_size = part_size
        self._parts = b""
        self._part = hashlib.md5(usedforsecurity=False)
        self._filled = 0

    def update(self, block: bytes) -> None:
        while self._part_size and self._filled + len(block) >= self._part_size:
            head, block = block[: self._part_size - self._filled], block[self._part_size - self._filled :]
            self._part.update(head)
            self._close_part()
        self._part.update(block)
        self._filled += len(block)

    def hexdigest(self) -> str:
        if not self._part_size:
            return self._part.hexdigest()
        if self._filled:
            self._close_part()
        return f"{hashlib.md5(self._parts, usedforsecurity=False).hexdigest()}-{len(self._parts) // 16}"

    def _close_part(self) -> None:
        self._parts += self._part.digest()
        self._part, self._filled = hashlib.md5(usedforsecurity=False), 0
