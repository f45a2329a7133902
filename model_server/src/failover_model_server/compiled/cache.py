"""Inductor's and Triton's caches: a directory for each key, fetched before the model is compiled and kept for the next pod.

A new pod compiles for minutes what another has compiled before. With its caches it finds the kernels instead. They are kept as one archive
for each key in a directory or under an S3 prefix, with the key and the archive's SHA-256 beside it.
"""

import hashlib
import json
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from failover_model_server.compiled.key import CacheKey, from_json
from failover_model_server.compiled.shelf import Shelf, open_shelf
from failover_model_server.errors import LoadError
from failover_model_server.settings import Settings

KEY = "key.json"
SUBDIRECTORIES = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}
"""Variable that torch or Triton reads to its directory. Both read it when they compile, not when they are imported."""
LARGEST_CACHE = 8 * 1024**3
"""Bytes that an archive may unpack to; that of a diffusion pipeline is some hundred megabytes."""

log = structlog.get_logger("compile_cache")


@dataclass(frozen=True, slots=True)
class CompileCache:
    """The caches of one key on this machine."""

    key: CacheKey
    directory: Path
    warm: bool
    """Whether it held something before this start."""


def prepare(settings: Settings, key: CacheKey) -> CompileCache:
    """Point torch and Triton to the directory of this key, filled from where caches are kept if it is empty.

    Raises:
        LoadError: a cache is required (`compile_cache_required`) and there is none of this key; names the fields in which the nearest
            differs. Or an archive is not what is written beside it.
    """
    directory = settings.cache_dir / "compiled" / key.digest
    warm = _of_this_key(directory, key)
    if not warm and settings.compile_cache:
        warm = _fetch(open_shelf(settings.compile_cache), key, directory, required=settings.compile_cache_required)
    elif not warm and settings.compile_cache_required:
        raise LoadError("compile_cache: MODEL_SERVER_COMPILE_CACHE_REQUIRED is set, and MODEL_SERVER_COMPILE_CACHE names no place")
    for variable, name in SUBDIRECTORIES.items():
        (directory / name).mkdir(parents=True, exist_ok=True)
        os.environ[variable] = str(directory / name)
    log.info("compile_cache.prepared", key=key.digest, directory=str(directory), warm=warm)
    return CompileCache(key, directory, warm)


def keep(settings: Settings, cache: CompileCache) -> None:
    """After warming: mark the directory as whole and, with `compile_cache_save`, put it where caches are kept if it is not there yet.

    A cache that cannot be kept does not stop a server that is ready: it is logged.
    """
    try:
        (cache.directory / KEY).write_text(cache.key.to_json(), encoding="utf-8")
        if not (settings.compile_cache and settings.compile_cache_save) or cache.warm:
            return
        shelf = open_shelf(settings.compile_cache)
        with tempfile.TemporaryDirectory() as temporary:
            archive = Path(temporary) / "cache.tar.gz"
            _pack(cache.directory, archive)
            shelf.put(f"{cache.key.digest}.tar.gz", archive)
            # Last: an archive without it is not there.
            label = {"key": json.loads(cache.key.to_json()), "sha256": _sha256(archive), "bytes": archive.stat().st_size}
            shelf.put_text(f"{cache.key.digest}.json", json.dumps(label, indent=1) + "\n")
        log.info("compile_cache.kept", key=cache.key.digest, at=settings.compile_cache)
    except (LoadError, OSError, tarfile.TarError) as error:
        log.warning("compile_cache.not_kept", key=cache.key.digest, at=settings.compile_cache, cause=str(error))


def _of_this_key(directory: Path, key: CacheKey) -> bool:
    try:
        return from_json((directory / KEY).read_bytes(), str(directory / KEY)) == key
    except (OSError, ValueError):
        return False  # nothing, or what a compilation left that did not end


def _fetch(shelf: Shelf, key: CacheKey, directory: Path, *, required: bool) -> bool:
    try:
        _unpack(shelf, key, _label(shelf, key), directory)
    except (LoadError, OSError) as error:
        if _of_this_key(directory, key):  # such a process was faster by a moment
            return True
        if required:
            raise error if isinstance(error, LoadError) else LoadError(f"compile_cache: {directory}: {error.strerror or error}") from error
        # It is a cache: without it the server compiles. What is wrong is said all the same.
        log.warning("compile_cache.not_used", key=key.digest, at=shelf.name, cause=str(error))
        return False
    return True


def _label(shelf: Shelf, key: CacheKey) -> bytes:
    label = shelf.read(f"{key.digest}.json")
    if label is None:
        raise LoadError(f"compile_cache: {shelf.name} has none for the key {key.digest}; {_nearest(shelf, key)}")
    return label


def _unpack(shelf: Shelf, key: CacheKey, label: bytes, directory: Path) -> None:
    name = f"{key.digest}.tar.gz"
    where = f"compile_cache: {shelf.name}/{name}"
    try:
        written = json.loads(label)
        theirs, sha256 = from_json(json.dumps(written["key"]).encode(), where), str(written["sha256"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise LoadError(f"{where}: what is beside it cannot be read: {error}") from error
    if theirs != key:
        raise LoadError(f"{where}: is of another key: {'; '.join(key.differences(theirs))}")
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent) as temporary:
        archive = Path(temporary) / name
        shelf.get(name, archive)
        if _sha256(archive) != sha256:
            raise LoadError(f"{where}: its SHA-256 is not the one beside it; delete both, and let a pod compile again")
        unpacked = Path(temporary) / "cache"
        _extract(archive, unpacked, where)
        (unpacked / KEY).write_text(key.to_json(), encoding="utf-8")
        if not _of_this_key(directory, key):  # a process that shares it may use the one that it has put there meanwhile
            shutil.rmtree(directory, ignore_errors=True)
            unpacked.replace(directory)


def _extract(archive: Path, into: Path, where: str) -> None:
    try:
        with tarfile.open(archive, "r:gz") as tar:
            if sum(member.size for member in tar.getmembers()) > LARGEST_CACHE:
                raise LoadError(f"{where}: unpacks to more than {LARGEST_CACHE / 1e9:.0f} GB")
            tar.extractall(into, filter="data")  # no links out of it, no devices, no paths above it
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise LoadError(f"{where}: cannot be unpacked: {error}") from error


def _pack(directory: Path, archive: Path) -> None:
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for name in SUBDIRECTORIES.values():
            if (directory / name).is_dir():
                tar.add(directory / name, arcname=name)


def _nearest(shelf: Shelf, key: CacheKey) -> str:
    """In which fields the most similar cache differs, in words."""
    found = sorted((key.differences(other) for other in _keys(shelf)), key=len)
    return f"the nearest differs: {'; '.join(found[0])}" if found else "there are no caches at all"


def _keys(shelf: Shelf) -> Iterator[CacheKey]:
    for name in shelf.names(".json"):
        content = shelf.read(name)
        try:
            yield from_json(json.dumps(json.loads(content or b"")["key"]).encode(), name)
        except (ValueError, KeyError, TypeError, RecursionError):
            continue  # of something else


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
