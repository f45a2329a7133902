"""The record of a whole, verified model directory. It is written last: a directory without one is never taken for a model."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from failover_model_server.download.files import RemoteFile, digests
from failover_model_server.errors import LoadError

FILE = "failover-manifest.json"
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One file that is there."""

    path: str
    size: int
    """Bytes."""
    sha256: str
    mtime_ns: int
    """When the file was last written, as the file system says it: a file with another time is hashed again."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a directory holds and where it came from."""

    source: str
    revision: str
    variant: str
    compiled: bool
    bytes_total: int
    """Bytes of the whole model at its source, of which the files here are the part that is needed."""
    files: tuple[Entry, ...]


def entry(directory: Path, file: RemoteFile, sha256: str) -> Entry:
    """The entry of a file that has just been verified."""
    status = (directory / file.path).stat()
    return Entry(file.path, status.st_size, sha256, status.st_mtime_ns)


def write(directory: Path, manifest: Manifest) -> None:
    """Write the manifest, all or nothing: it is on the disk under its name only when all of it is."""
    temporary = directory / f".{FILE}.part"
    with temporary.open("w", encoding="utf-8") as stream:
        json.dump({"schema": SCHEMA, **asdict(manifest)}, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(directory / FILE)
    _sync(directory)


def parse(content: bytes, where: str) -> Manifest:
    """Read a manifest.

    Raises:
        LoadError: it is none, or of another schema.
    """
    try:
        raw = json.loads(content)
        if raw["schema"] != SCHEMA:
            raise LoadError(f"{where}: has schema {raw['schema']}, this server reads {SCHEMA}; fetch the model again")
        files = tuple(Entry(str(f["path"]), int(f["size"]), str(f["sha256"]), int(f["mtime_ns"])) for f in raw["files"])
        return Manifest(
            str(raw["source"]), str(raw["revision"]), str(raw["variant"]), bool(raw["compiled"]), int(raw["bytes_total"]), files
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise LoadError(f"{where}: is no manifest of a model ({type(error).__name__}: {error})") from error


def read(directory: Path) -> Manifest | None:
    """The manifest of a directory; None where there is none."""
    path = directory / FILE
    try:
        return parse(path.read_bytes(), str(path))
    except FileNotFoundError:
        return None


def first_fault(directory: Path, files: Iterable[Entry]) -> str | None:
    """What is wrong with the files of a manifest, naming the first; None if all are as they were.

    Only a file whose time of writing differs is hashed again: a start on a whole directory costs no reading of gigabytes.
    """
    for file in files:
        path = directory / file.path
        try:
            status = path.stat()
        except OSError as error:
            return f"{file.path} is gone ({error.strerror})"
        if status.st_size != file.size:
            return f"{file.path} has {status.st_size} bytes instead of {file.size}"
        if status.st_mtime_ns != file.mtime_ns and digests(path, None)[0] != file.sha256:
            return f"{file.path} has changed: its SHA-256 is not that of the manifest"
    return None


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
