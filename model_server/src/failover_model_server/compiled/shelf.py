"""Where compile caches are kept: a directory that pods share, or an S3 prefix."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from failover_model_server.download.source import locate
from failover_model_server.errors import LoadError

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 20.0


class Shelf(Protocol):
    """Named files. Each call raises LoadError where the place cannot be used."""

    def read(self, name: str) -> bytes | None:
        """The content of a file; None if there is none."""

    def write(self, name: str, content: bytes) -> None:
        """Keep a file, whole or not at all."""


def open_shelf(place: str) -> Shelf:
    """The shelf at s3://BUCKET/PREFIX or a path.

    Raises:
        LoadError: it is neither.
    """
    location = locate("compile_cache", place, "")
    match location.scheme:
        case "s3":
            return S3Shelf(location.path)
        case "file":
            return DirectoryShelf(Path(location.path))
        case _:
            raise LoadError(f"compile_cache: {place!r} is neither s3://BUCKET/PREFIX nor a path that begins with /")


class DirectoryShelf:
    """A directory: a volume that pods share, or one of the node."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def read(self, name: str) -> bytes | None:
        """Read a file."""
        with _errors(str(self._directory / name)):
            return (self._directory / name).read_bytes() if (self._directory / name).exists() else None

    def write(self, name: str, content: bytes) -> None:
        """Write a file: pods of one scale-up may do so at once, and the last one wins."""
        with _errors(str(self._directory / name)):
            self._directory.mkdir(parents=True, exist_ok=True)
            part = self._directory / f".{name}.{os.getpid()}.part"
            try:
                part.write_bytes(content)
                part.replace(self._directory / name)
            finally:
                part.unlink(missing_ok=True)  # else every start would leave one more on a volume that is full


class S3Shelf:
    """An S3 prefix."""

    def __init__(self, path: str) -> None:
        try:
            import boto3
            from botocore.config import Config
        except ImportError as error:
            raise LoadError("compile_cache: for S3, install failover-model-server[aws]") from error
        self._bucket, _, self._prefix = path.partition("/")
        config = Config(connect_timeout=CONNECT_TIMEOUT, read_timeout=READ_TIMEOUT, retries={"mode": "standard", "max_attempts": 4})
        self._client: Any = boto3.session.Session().client("s3", config=config)

    def read(self, name: str) -> bytes | None:
        """Read an object."""
        with _errors(f"s3://{self._bucket}/{self._prefix}/{name}"):
            try:
                content: bytes = self._client.get_object(Bucket=self._bucket, Key=f"{self._prefix}/{name}")["Body"].read()
            except self._client.exceptions.NoSuchKey:
                return None
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write an object."""
        with _errors(f"s3://{self._bucket}/{self._prefix}/{name}"):
            self._client.put_object(Bucket=self._bucket, Key=f"{self._prefix}/{name}", Body=content)


@contextmanager
def _errors(what: str) -> Iterator[None]:
    """Turn what the disk or the client raises into an error that names the file."""
    try:
        yield
    except OSError as error:
        raise LoadError(f"compile_cache: {what}: {error.strerror or error}") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in {"boto3", "botocore"}:
            raise
        code = getattr(error, "response", {}).get("Error", {}).get("Code") or type(error).__name__
        raise LoadError(f"compile_cache: {what}: {code}") from error
