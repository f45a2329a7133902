"""Where compile caches are kept: a directory that pods share, or an S3 prefix."""

import contextlib
import shutil
from pathlib import Path
from typing import Any, Protocol

from failover_model_server.download.source import locate
from failover_model_server.errors import LoadError

MOST_NAMES = 200
"""Most caches that are compared to name the nearest one."""
CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 20.0


class Shelf(Protocol):
    """Named files. All calls raise LoadError where the place cannot be used."""

    @property
    def name(self) -> str:
        """For people."""

    def names(self, suffix: str) -> list[str]:
        """Names with this suffix, at most MOST_NAMES."""

    def read(self, name: str) -> bytes | None:
        """The content of a small file; None if there is none."""

    def get(self, name: str, to: Path) -> None:
        """Fetch a file."""

    def put(self, name: str, path: Path) -> None:
        """Keep a file under a name, whole or not at all."""

    def put_text(self, name: str, text: str) -> None:
        """Keep a text under a name, whole or not at all."""


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

    @property
    def name(self) -> str:
        """Its path."""
        return str(self._directory)

    def names(self, suffix: str) -> list[str]:
        """Files in it."""
        return sorted(path.name for path in self._directory.glob(f"*{suffix}"))[:MOST_NAMES]

    def read(self, name: str) -> bytes | None:
        """Read a file."""
        try:
            return (self._directory / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LoadError(f"compile_cache: {self._directory / name}: {error.strerror}") from error

    def get(self, name: str, to: Path) -> None:
        """Copy a file from it."""
        try:
            shutil.copyfile(self._directory / name, to)
        except OSError as error:
            raise LoadError(f"compile_cache: {self._directory / name}: {error.strerror}") from error

    def put(self, name: str, path: Path) -> None:
        """Copy a file into it: pods of one scale-up may do so at once, and the last one wins."""
        part = self._directory / f".{name}.{path.stat().st_ino}.part"
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, part)
            part.replace(self._directory / name)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink()  # else every start would leave one more on a volume that is full
            raise LoadError(f"compile_cache: {self._directory / name}: {error.strerror}") from error

    def put_text(self, name: str, text: str) -> None:
        """Write a text into it."""
        import tempfile

        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            self.put(name, Path(stream.name))


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

    @property
    def name(self) -> str:
        """As s3://BUCKET/PREFIX."""
        return f"s3://{self._bucket}/{self._prefix}"

    def names(self, suffix: str) -> list[str]:
        """Objects under the prefix."""
        with _errors(self.name):
            page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=f"{self._prefix}/", MaxKeys=1000)
        keys = (str(item["Key"])[len(self._prefix) + 1 :] for item in page.get("Contents", ()))
        return [key for key in keys if key.endswith(suffix)][:MOST_NAMES]

    def read(self, name: str) -> bytes | None:
        """Read an object."""
        with _errors(f"{self.name}/{name}"):
            try:
                content: bytes = self._client.get_object(Bucket=self._bucket, Key=f"{self._prefix}/{name}")["Body"].read()
            except self._client.exceptions.NoSuchKey:
                return None
        return content

    def get(self, name: str, to: Path) -> None:
        """Fetch an object."""
        with _errors(f"{self.name}/{name}"):
            self._client.download_file(self._bucket, f"{self._prefix}/{name}", str(to))

    def put(self, name: str, path: Path) -> None:
        """Upload a file; an upload that breaks leaves nothing."""
        with _errors(f"{self.name}/{name}"):
            self._client.upload_file(str(path), self._bucket, f"{self._prefix}/{name}")

    def put_text(self, name: str, text: str) -> None:
        """Upload a text."""
        with _errors(f"{self.name}/{name}"):
            self._client.put_object(Bucket=self._bucket, Key=f"{self._prefix}/{name}", Body=text.encode())


class _errors:  # noqa: N801 - reads as a statement
    """Turns the client's errors into ours."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        if isinstance(error, ClientError | BotoCoreError | Boto3Error):
            code = error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else type(error).__name__
            raise LoadError(f"compile_cache: {self._what}: {code}") from error
