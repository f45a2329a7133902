"""Models of the Hugging Face hub, through its own client."""

import os
from pathlib import Path
from typing import Any

from failover_model_server.download.files import Algorithm, Checksum, Listing, RemoteFile
from failover_model_server.download.source import COMMIT, Location, Transient
from failover_model_server.errors import LoadError

TIMEOUT = 10.0
"""Seconds that one question to the hub may take; the client's own, for a read that stands still, is the same."""
_TOO_MANY = 429
_SERVER_ERROR = 500


class HubSource:
    """One repository of the hub at one commit."""

    def __init__(self, location: Location, *, token: str | None = None, endpoint: str | None = None) -> None:
        # Read by the client when it is imported: no bars in the log, no telemetry, and as fast as the line is.
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        os.environ.setdefault("HF_XET_HIGH_PERFORMANCE", "1")
        try:
            import huggingface_hub
        except ImportError as error:
            raise LoadError("model: to fetch from the hub, install failover-model-server[hub]") from error
        self._location = location
        self._token = token
        self._endpoint = endpoint
        self._hub = huggingface_hub
        self._api = huggingface_hub.HfApi(endpoint=endpoint, token=token or None)

    @property
    def name(self) -> str:
        """As hf://ORG/REPO."""
        return self._location.name

    def listing(self) -> Listing:
        """All files at the pinned commit."""
        revision = self._location.revision
        info = self._ask(revision)
        if not COMMIT.fullmatch(revision):
            asked = f"{revision!r} is a branch or a tag, which can move" if revision else "a model of the hub needs one"
            raise LoadError(f"revision: {asked}; pin the commit it is today: {info.sha}")
        if info.sha != revision:
            raise LoadError(f"revision: the hub answered for {info.sha} instead of {revision}")
        files = []
        for sibling in info.siblings or ():
            if sibling.size is None:
                raise Transient(f"the hub did not say how large {sibling.rfilename} is")
            checksum = Checksum(Algorithm.SHA256, sibling.lfs.sha256) if sibling.lfs else None
            if checksum is None and sibling.blob_id:
                checksum = Checksum(Algorithm.GIT_BLOB, sibling.blob_id)
            files.append(RemoteFile(sibling.rfilename, sibling.size, checksum))
        return Listing(revision, tuple(files))

    def read(self, file: RemoteFile) -> bytes:
        """The content of a small file, through a cache of the client's own that is thrown away."""
        import tempfile

        with tempfile.TemporaryDirectory() as directory:
            self.download(file, Path(directory))
            return (Path(directory) / file.path).read_bytes()

    def checksum(self, file: RemoteFile) -> Checksum | None:
        """The SHA-256 of LFS, else git's."""
        return file.checksum

    def download(self, file: RemoteFile, directory: Path) -> None:
        """Fetch a file; the client goes on where it stopped."""
        try:
            self._hub.hf_hub_download(
                self._location.path,
                file.path,
                revision=self._location.revision,
                local_dir=directory,
                token=self._token or None,
                endpoint=self._endpoint,
                etag_timeout=TIMEOUT,
            )
        except Exception as error:
            raise self._understood(error, file.path) from error

    def _ask(self, revision: str) -> Any:  # noqa: ANN401 - of a library that is not always there
        try:
            return self._api.model_info(self._location.path, revision=revision or None, files_metadata=True, timeout=TIMEOUT)
        except Exception as error:
            raise self._understood(error, "its list of files") from error

    def _understood(self, error: Exception, what: str) -> Exception:
        """The client's error as one of ours. Its own texts stay out: they hold request headers and addresses."""
        errors = self._hub.errors
        where = f"{self.name}@{self._location.revision or 'main'}"
        if isinstance(error, errors.GatedRepoError):
            return LoadError(f"model: {where} is gated: accept its licence on the hub and set HF_TOKEN to a token of that account")
        if isinstance(error, errors.RevisionNotFoundError):
            return LoadError(f"revision: {self.name} has no revision {self._location.revision}")
        if isinstance(error, errors.RepositoryNotFoundError):
            return LoadError(f"model: {self.name} is not on the hub, or is private and HF_TOKEN does not open it")
        if isinstance(error, errors.EntryNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError):
            return LoadError(f"model: {where} has no {what}")
        if isinstance(error, errors.OfflineModeIsEnabled):
            return LoadError("model: it is not here, and HF_HUB_OFFLINE forbids to fetch it")
        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(status, int) and status < _SERVER_ERROR and status != _TOO_MANY:
            return LoadError(f"model: the hub answered {status} for {what} of {where}")
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError | TimeoutError):
            return error  # of the disk, not of the line: no space left, read-only
        return Transient(f"{what} of {where}: {type(error).__name__}" + (f", status {status}" if status else ""))
