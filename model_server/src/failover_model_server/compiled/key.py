"""What a compile cache depends on, from what torch and the model's directory say: with any of it different, it is another cache."""

import hashlib
import json
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from failover_model_server.download import manifest
from failover_model_server.settings import Settings

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class CacheKey:
    """Of torch's caches. Every field is a text, for logs."""

    torch: str
    """Version, with its build: 2.13.0+cu133."""
    triton: str
    """Version; empty on a CPU."""
    device: str
    """Name and compute capability, as "NVIDIA A10G 8.6": kernels are tuned on one and wrong on another."""
    libraries: str
    """Versions of transformers and diffusers, whose code is what is compiled."""
    model: str
    """MODEL@REVISION."""
    task: str
    shapes: str
    """Batch buckets and sizes that are compiled."""
    options: str
    """Mode and backend of torch.compile."""

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits, the same for equal keys: names the cache."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def make_key(settings: Settings, model: Path, task: str, device: "torch.device", dtype: str) -> CacheKey:
    """The key for what this server is about to compile."""
    import torch

    name = "cpu"
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        name = f"{torch.cuda.get_device_name(device)} {major}.{minor}"
    sizes = {"batch": settings.batch_buckets, "tokens": settings.sequence_buckets, "input": (settings.max_input_tokens,)}
    return CacheKey(
        torch=str(torch.__version__),
        triton=_version("triton"),
        device=name,
        libraries=f"transformers {_version('transformers')}, diffusers {_version('diffusers')}",
        model=identity(model),
        task=task,
        shapes=", ".join(f"{what} {','.join(map(str, size))}" for what, size in sizes.items()),
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
