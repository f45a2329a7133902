"""What a compile cache depends on: with any of it different, its entries are not found at best."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True, slots=True)
class CacheKey:
    """Of Inductor's and Triton's caches. Every field is a text, so that two keys are compared and shown field by field."""

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
        """Sixteen hexadecimal digits, the same for equal keys: names the cache's directory and archive."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def differences(self, other: "CacheKey") -> list[str]:
        """Each field that differs, as "torch is 2.12.1, here 2.13.0"."""
        pairs = ((field.name, getattr(other, field.name), getattr(self, field.name)) for field in fields(self))
        return [f"{name} is {theirs or 'none'}, here {ours or 'none'}" for name, theirs, ours in pairs if ours != theirs]

    def to_json(self) -> str:
        """For a file beside the cache."""
        return json.dumps(asdict(self), indent=1) + "\n"


def from_json(content: bytes, where: str) -> CacheKey:
    """Read a key.

    Raises:
        ValueError: it is none.
    """
    try:
        raw = json.loads(content)
    except RecursionError as error:
        raise ValueError(f"{where}: is no key of a compile cache") from error
    if not isinstance(raw, Mapping) or set(raw) != {field.name for field in fields(CacheKey)}:
        raise ValueError(f"{where}: is no key of a compile cache")
    return CacheKey(**{name: str(value) for name, value in raw.items()})
