"""The key of a compile cache, from what torch and the model's directory say."""

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from failover_model_server.compiled.key import CacheKey
from failover_model_server.download import manifest
from failover_model_server.settings import Settings

if TYPE_CHECKING:
    import torch


def make_key(settings: Settings, model: Path, task: str, device: "torch.device", dtype: str) -> CacheKey:
    """The key for what this server is about to compile."""
    import torch

    name = "cpu"
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        name = f"{torch.cuda.get_device_name(device)} {major}.{minor}"
    shapes = {
        "batch": settings.batch_buckets,
        "tokens": settings.sequence_buckets,
        "input": settings.max_input_tokens,
    }
    return CacheKey(
        torch=str(torch.__version__),
        triton=_version("triton"),
        device=name,
        libraries=f"transformers {_version('transformers')}, diffusers {_version('diffusers')}",
        model=identity(model),
        task=task,
        shapes=", ".join(f"{what} {','.join(map(str, size)) if isinstance(size, tuple) else size}" for what, size in shapes.items()),
        options=f"{settings.compile_backend} {settings.compile_mode} {dtype}",
    )


def identity(model: Path) -> str:
    """Source and revision of a model that was fetched; of another directory a digest over names and sizes of its files.

    The weights' values do not matter for what is compiled; the configuration does, so its content is in the digest.
    """
    recorded = manifest.read(model)
    if recorded is not None:
        return f"{recorded.source}@{recorded.revision}"
    digest = hashlib.sha256()
    for path in sorted(model.rglob("*")):
        if path.is_file() and path.suffix in {".json", ".safetensors"}:
            digest.update(f"{path.relative_to(model).as_posix()} {path.stat().st_size}\n".encode())
        if path.name in {"config.json", "model_index.json"}:
            digest.update(path.read_bytes())
    return f"directory {digest.hexdigest()[:16]}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
