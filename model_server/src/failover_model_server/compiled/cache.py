"""Torch's compile caches, kept for the next pod.

A new pod compiles for minutes what another has compiled before. With what `torch.compiler.save_cache_artifacts` gave there (graphs,
kernels, what was tuned) it finds them instead. It is kept as one file for each key, in a directory or under an S3 prefix.
"""

import os
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog

from failover_model_server.compiled.key import CacheKey
from failover_model_server.compiled.shelf import open_shelf
from failover_model_server.errors import LoadError
from failover_model_server.settings import Settings

WHOLE = "whole"
"""A file in a directory whose compilations have all ended."""
SUBDIRECTORIES = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}
"""Variable that torch or Triton reads to its directory. Both read it when they compile, not when they are imported."""

log = structlog.get_logger("compile_cache")


@dataclass(frozen=True, slots=True)
class CompileCache:
    """The caches of one key on this machine."""

    key: CacheKey
    directory: Path
    warm: bool
    """Whether there was something for this key before this start."""


def prepare(settings: Settings, key: CacheKey) -> CompileCache:
    """Point torch and Triton to the directory of this key, and fill its caches from where they are kept if it is empty.

    Raises:
        LoadError: a cache is required (`compile_cache_required`), and there is none of this key or it cannot be read.
    """
    directory = settings.cache_dir / "compiled" / key.digest
    for variable, name in SUBDIRECTORIES.items():
        (directory / name).mkdir(parents=True, exist_ok=True)
        os.environ[variable] = str(directory / name)
    warm = (directory / WHOLE).exists()
    if not warm:
        try:
            _fetch(settings.compile_cache, key)
            warm = True
        except LoadError as error:
            if settings.compile_cache_required:
                raise
            if settings.compile_cache:  # it is a cache: without it the server compiles. What is wrong is said all the same
                log.warning("compile_cache.not_used", key=key.digest, of=asdict(key), cause=str(error))
    log.info("compile_cache.prepared", key=key.digest, directory=str(directory), warm=warm)
    return CompileCache(key, directory, warm)


def keep(settings: Settings, cache: CompileCache) -> None:
    """After warming: mark the directory as whole and, with `compile_cache_save`, put what was compiled where caches are kept.

    A cache that cannot be kept does not stop a server that is ready: it is logged.
    """
    from torch.compiler import save_cache_artifacts

    try:
        (cache.directory / WHOLE).touch()
        if settings.compile_cache and settings.compile_cache_save and not cache.warm:
            saved = save_cache_artifacts()
            content = saved[0] if saved else b""  # as good as none
            open_shelf(settings.compile_cache).write(_name(cache.key), content)
            log.info("compile_cache.kept", key=cache.key.digest, at=settings.compile_cache, size=len(content))
    except (LoadError, OSError) as error:
        log.warning("compile_cache.not_kept", key=cache.key.digest, at=settings.compile_cache, cause=str(error))


def _fetch(place: str, key: CacheKey) -> None:
    from torch.compiler import load_cache_artifacts

    if not place:
        raise LoadError("compile_cache: MODEL_SERVER_COMPILE_CACHE names no place")
    content = open_shelf(place).read(_name(key))
    if not content:
        raise LoadError(f"compile_cache: {place} has none for the key {key.digest}, which is {', '.join(asdict(key).values())}")
    try:
        loaded = load_cache_artifacts(content)
    except Exception as error:  # as on a full disk
        raise LoadError(f"compile_cache: {place}/{_name(key)} cannot be read: {type(error).__name__}") from error
    if loaded is None:
        raise LoadError(f"compile_cache: {place}/{_name(key)} cannot be read by this torch")


def _name(key: CacheKey) -> str:
    return f"{key.digest}.torch"
