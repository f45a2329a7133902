"""Models staged in S3, fetched by boto3's own transfer: parts of an object side by side, all of the same object."""

import hashlib
from pathlib import Path
from typing import Any

from failover_model_server.download import manifest
from failover_model_server.download.files import Algorithm, Checksum, Listing, RemoteFile
from failover_model_server.download.source import Location, Transient
from failover_model_server.errors import LoadError

PART = 32 * 1024 * 1024
"""Bytes of one request."""
SIDE_BY_SIDE = 4
"""Parts of one file at a time: one connection to S3 gives some 80 MB/s."""
CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 20.0
LARGEST_LISTING = 10_000
_DENIED = frozenset({"AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"})
_GONE = frozenset({"NoSuchBucket", "NoSuchKey", "404", "NotFound"})
_CHANGED = frozenset({"PreconditionFailed", "412"})
REPLACED = "was replaced while it was being fetched; start again"


class S3Source:
    """The objects under one prefix.

    Where the prefix holds a manifest (it was filled from a directory that `failover-model-server download` made), its SHA-256 of each
    file are what is checked, and its revision is the model's. Else the ETags are what there is: MD5s, unless the objects are encrypted with
    KMS or a customer's key; then only size and structure are checked.
    """

    def __init__(self, location: Location) -> None:
        try:
            import boto3
            from botocore.config import Config
        except ImportError as error:
            raise LoadError("model: to fetch from S3, install failover-model-server[aws]") from error
        self._location = location
        self._bucket, _, self._prefix = location.path.partition("/")
        config = Config(
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            retries={"mode": "standard", "max_attempts": 3},
            max_pool_connections=32,
        )
        self._client: Any = boto3.session.Session().client("s3", config=config)

    @property
    def name(self) -> str:
        """As s3://BUCKET/PREFIX."""
        return self._location.name

    def listing(self) -> Listing:
        """All objects under the prefix; the revision is the manifest's, else a digest over paths, sizes and ETags."""
        objects = self._objects()
        if not objects:
            raise LoadError(f"model: there is nothing under {self.name}")
        recorded = self._manifest(objects)
        if recorded is None:
            text = "\n".join(f"{path}\t{size}\t{etag}" for path, (size, etag) in sorted(objects.items()))
            revision = hashlib.sha256(text.encode()).hexdigest()[:40]
            files = tuple(RemoteFile(path, size, version=etag) for path, (size, etag) in objects.items())
        else:
            revision = recorded.revision
            files = tuple(self._by_manifest(file, objects) for file in recorded.files)
        pinned = self._location.revision
        if pinned and pinned != revision:
            raise LoadError(f"revision: {self.name} holds {revision}, the setting says {pinned}")
        return Listing(revision, files)

    def read(self, file: RemoteFile) -> bytes:
        """The content of a small object."""
        return self._body(file.path, file.version)

    def checksum(self, file: RemoteFile) -> Checksum | None:
        """The SHA-256 of the manifest, else the ETag with the size of its parts; None where the ETag is no MD5."""
        if file.checksum is not None:
            return file.checksum
        value = file.version.strip('"').lower()
        in_parts = "-" in value
        head = self._head(file.path, **({"PartNumber": 1} if in_parts else {}))
        if self._encrypted_by_key(head):
            return None
        return Checksum(Algorithm.S3_ETAG, value, int(head["ContentLength"]) if in_parts else 0)

    def download(self, file: RemoteFile, directory: Path) -> None:
        """Fetch an object, all or nothing; an object that was replaced since it was listed is refused."""
        from boto3.s3.transfer import TransferConfig

        place = directory / file.path
        place.parent.mkdir(parents=True, exist_ok=True)
        config = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=SIDE_BY_SIDE)
        with _errors(f"{self.name}/{file.path}"):
            self._client.download_file(self._bucket, f"{self._prefix}/{file.path}", str(place), Config=config)
        if self._head(file.path)["ETag"] != file.version:
            raise LoadError(f"model: {self.name}/{file.path} {REPLACED}")

    def _objects(self) -> dict[str, tuple[int, str]]:
        """Size and ETag of each object, by its path under the prefix."""
        found: dict[str, tuple[int, str]] = {}
        with _errors(self.name):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=f"{self._prefix}/"):
                for item in page.get("Contents", ()):
                    path = item["Key"][len(self._prefix) + 1 :]
                    if path and not path.endswith("/"):
                        found[path] = (int(item["Size"]), str(item["ETag"]))
                if len(found) > LARGEST_LISTING:
                    raise LoadError(f"model: {self.name} holds more than {LARGEST_LISTING} objects, so it is no model's prefix")
        return found

    def _manifest(self, objects: dict[str, tuple[int, str]]) -> manifest.Manifest | None:
        if manifest.FILE not in objects:
            return None
        return manifest.parse(self._body(manifest.FILE, objects[manifest.FILE][1]), f"{self.name}/{manifest.FILE}")

    def _by_manifest(self, file: manifest.Entry, objects: dict[str, tuple[int, str]]) -> RemoteFile:
        if file.path not in objects:
            raise LoadError(f"model: {self.name}/{file.path} is missing, which {manifest.FILE} names: the upload is not whole")
        size, etag = objects[file.path]
        if size != file.size:
            raise LoadError(f"model: {self.name}/{file.path} has {size} bytes, {manifest.FILE} says {file.size}")
        return RemoteFile(file.path, size, Checksum(Algorithm.SHA256, file.sha256), etag)

    @staticmethod
    def _encrypted_by_key(head: dict[str, Any]) -> bool:
        return str(head.get("ServerSideEncryption", "")).startswith("aws:kms") or "SSECustomerAlgorithm" in head

    def _head(self, path: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - passed on to the client
        with _errors(f"{self.name}/{path}"):
            head: dict[str, Any] = self._client.head_object(Bucket=self._bucket, Key=f"{self._prefix}/{path}", **more)
        return head

    def _body(self, path: str, etag: str) -> bytes:
        with _errors(f"{self.name}/{path}"):
            content: bytes = self._client.get_object(Bucket=self._bucket, Key=f"{self._prefix}/{path}", IfMatch=etag)["Body"].read()
        return content


class _errors:  # noqa: N801 - reads as a statement
    """Turns the client's errors into ours."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

        if isinstance(error, ClientError):
            code = str(error.response.get("Error", {}).get("Code", ""))
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            if code in _CHANGED:
                raise LoadError(f"model: {self._what} {REPLACED}") from error
            if code in _GONE:
                raise LoadError(f"model: {self._what} is not there") from error
            if code in _DENIED:
                raise LoadError(f"model: {self._what} may not be read ({code}); grant s3:ListBucket and s3:GetObject") from error
            if status < 500 and code not in {"SlowDown", "RequestTimeout", "Throttling"}:  # noqa: PLR2004 - a server's fault
                raise LoadError(f"model: S3 answered {code or status} for {self._what}") from error
            raise Transient(f"{self._what}: {code or status}") from error
        if isinstance(error, NoCredentialsError | NoRegionError):
            raise LoadError(f"model: {self._what}: {error}") from error
        # An interrupted body raises what urllib3 raises, wrapped or not.
        if isinstance(error, BotoCoreError) or type(error).__module__.startswith(("urllib3", "boto3", "s3transfer")):
            raise Transient(f"{self._what}: {type(error).__name__}") from error
