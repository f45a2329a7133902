"""Models on this machine: each is fetched once, completely or not at all, even with several concurrent processes."""

import fcntl
import hashlib
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from failover_model_server.download import manifest, verify
from failover_model_server.download.deadline import Deadline
from failover_model_server.download.plan import MODEL_INDEX, Plan, make_plan, read_model_index
from failover_model_server.download.source import Location, Source
from failover_model_server.download.transfer import Progress, Transfer, bytes_here
from failover_model_server.errors import LoadError

SPARE = 256 * 1024 * 1024
"""Bytes that stay free on the disk: for logs and compile caches of the same volume."""

_log = structlog.get_logger("download")


@dataclass(frozen=True, slots=True)
class Request:
    """A model that is wanted here."""

    location: Location
    variant: str
    compiled: bool
    root: Path
    """Where models are kept."""
    timeout: float
    """Seconds for all of it, waiting for another process that fetches the same model included."""


def fetch(request: Request, source: Source, progress: Progress) -> Path:
    """The directory with the model, fetched and verified if it is not here yet.

    Args:
        request: what is wanted.
        source: where it comes from.
        progress: called about once a second. It may raise to give up; the files fetched so far stay for the next attempt.

    Raises:
        LoadError: not there, not whole, no space, not in time. Names the file.
    """
    deadline = Deadline(request.timeout)
    if request.location.revision and (directory := _whole(request, request.location.revision, progress)):
        return directory  # pinned and here: nothing is asked
    listing = deadline.attempts("listing the files", source.listing)
    if directory := _whole(request, listing.revision, progress):
        return directory
    index = next((file for file in listing.files if file.path == MODEL_INDEX), None)
    content = read_model_index(deadline.attempts(MODEL_INDEX, lambda: source.read(index))) if index and not request.compiled else None
    plan = make_plan(listing.files, variant=request.variant, compiled=request.compiled, model_index=content)
    directory = _directory(request, listing.revision)
    _prepare(directory)
    with _locked(directory, deadline):
        if found := _whole(request, listing.revision, progress):
            return found
        _check_space(directory, plan)
        _log.info("download.begun", source=source.name, revision=listing.revision, files=len(plan.chosen), bytes=plan.bytes_chosen)
        entries = Transfer(source, plan, directory, deadline).run(progress)
        verify.weights(directory, plan.chosen)
        shutil.rmtree(directory / ".cache", ignore_errors=True)  # what the hub's client notes for resuming
        record = manifest.Manifest(source.name, listing.revision, request.variant, request.compiled, plan.bytes_total, entries)
        manifest.write(directory, record)
        _log.info("download.finished", source=source.name, revision=listing.revision, directory=str(directory))
    return directory


def _directory(request: Request, revision: str) -> Path:
    """A directory for each source, revision and choice of files; readable, and different where any of them is."""
    identity = "\n".join((request.location.name, revision, request.variant, str(request.compiled)))
    readable = request.location.path.strip("/").replace("/", "--")[-80:]
    return request.root / "models" / f"{readable}@{revision[:12]}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"


def _whole(request: Request, revision: str, progress: Progress) -> Path | None:
    directory = _directory(request, revision)
    recorded = manifest.read(directory)
    if recorded is None:
        return None
    if fault := manifest.first_fault(directory, recorded.files):
        _log.warning("download.damaged", directory=str(directory), fault=fault)
        try:
            (directory / manifest.FILE).unlink()
        except OSError as error:
            raise LoadError(f"cache_dir: {directory}: {fault}, and it cannot be repaired: {error.strerror}") from error
        return None
    size = sum(file.size for file in recorded.files)
    progress(size, size)
    return directory


def _prepare(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LoadError(f"cache_dir: cannot make {directory}: {error.strerror}; mount a volume that can be written") from error


def _check_space(directory: Path, plan: Plan) -> None:
    here = bytes_here(directory)
    needed = max(0, plan.bytes_chosen - here) + SPARE
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise LoadError(
            f"cache_dir: {directory} has {free / 1e9:.1f} GB free, and the model needs {needed / 1e9:.1f} GB; mount a larger volume "
            "(for an emptyDir: ephemeral-storage of the pod, or the node's disk)"
        )


@contextmanager
def _locked(directory: Path, deadline: Deadline) -> Iterator[None]:
    """One process at a time fills a directory; pods of one node may share it. The lock ends with the process that holds it."""
    path = directory.with_name(directory.name + ".lock")
    with path.open("w") as handle:
        said = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if deadline.left() <= 0:
                    raise LoadError(f"model: another process holds {path} and has not fetched the model in time") from error
                if not said:
                    _log.info("download.waiting", lock=str(path))
                    said = True
                time.sleep(min(0.5, max(deadline.left(), 0.01)))
        yield
