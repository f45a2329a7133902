"""Where models come from: what a name means, and what each kind of source can do."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from failover_model_server.download.files import Checksum, Listing, RemoteFile
from failover_model_server.errors import LoadError

COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class Transient(Exception):
    """A try that failed for a reason that may pass: a connection, a timeout, a busy or broken server, bytes that arrived wrong."""


class Source(Protocol):
    """One model at its source. All calls block, each with timeouts of its own, and may run on several threads."""

    @property
    def name(self) -> str:
        """As hf://ORG/REPO: for the manifest and for people."""

    def listing(self) -> Listing:
        """All files, with the revision that they are of.

        Raises:
            LoadError: there is no such model, or we may not read it.
            Transient: another try may succeed.
        """

    def read(self, file: RemoteFile) -> bytes:
        """The content of a small file. Raises as `listing` does."""

    def checksum(self, file: RemoteFile) -> Checksum | None:
        """What the source says about the content; None where it says nothing. Raises as `listing` does."""

    def download(self, file: RemoteFile, directory: Path) -> None:
        """Put a file at its path in the directory; goes on where an earlier try stopped. Raises as `listing` does."""


@dataclass(frozen=True, slots=True)
class Location:
    """A model's name, understood."""

    scheme: str
    """hf, s3 or file."""
    path: str
    """ORG/REPO, BUCKET/PREFIX, or a path of this machine."""
    revision: str
    """As written after an @ of a hub name, else what the setting says."""

    @property
    def name(self) -> str:
        """As scheme://path."""
        return f"{self.scheme}://{self.path}"


def locate(field: str, value: str, revision: str) -> Location:
    """Understand a model's name: hf://ORG/REPO[@COMMIT], s3://BUCKET/PREFIX, file:///PATH, a path, or ORG/REPO.

    Args:
        field: the setting, for messages.
        value: what it says.
        revision: the setting `revision`, for a name that holds none.

    Raises:
        LoadError: it is none of these.
    """
    scheme, separator, rest = value.partition("://")
    if not separator:
        # As transformers does it: what is a directory here is meant.
        scheme, rest = ("file", value) if value.startswith(("/", ".", "~")) or _is_directory(value) else ("hf", value)
    match scheme:
        case "file":
            return Location("file", _expanded(field, rest), revision)
        case "s3":
            bucket, _, prefix = rest.partition("/")
            if not _BUCKET.fullmatch(bucket) or not prefix.strip("/"):
                raise LoadError(f"{field}: {value!r} is not s3://BUCKET/PREFIX")
            return Location("s3", f"{bucket}/{prefix.strip('/')}", revision)
        case "hf":
            repository, _, own = rest.partition("@")
            if not _HUB_ID.fullmatch(repository):
                raise LoadError(f"{field}: {value!r} is no directory here and not ORG/REPO of the hub")
            return Location("hf", repository, own or revision)
        case _:
            raise LoadError(f"{field}: {scheme}:// is not known; use hf://ORG/REPO, s3://BUCKET/PREFIX, file:///PATH or a path")


def _expanded(field: str, path: str) -> str:
    try:
        return str(Path(path).expanduser())
    except (RuntimeError, ValueError) as error:  # no such user; a zero byte
        raise LoadError(f"{field}: {path!r} is no path here: {error}") from error


def _is_directory(value: str) -> bool:
    try:
        return Path(value).is_dir()
    except OSError:  # a name that is too long for one
        return False
