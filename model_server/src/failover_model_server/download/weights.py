"""Which files hold the weights of one folder: safetensors, one precision, whole or in all its shards."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from failover_model_server.download.files import RemoteFile
from failover_model_server.errors import LoadError

# transformers writes model, diffusers diffusion_pytorch_model. The variant (fp16) stands before or after the shard's number, by the age
# of the library that wrote it: model.fp16-00001-of-00002.safetensors, model-00001-of-00002.fp16.safetensors.
_WEIGHTS = re.compile(
    r"(?P<base>model|diffusion_pytorch_model)"
    r"(?:\.(?P<before>[A-Za-z0-9_]+))?(?:-(?P<shard>\d{5})-of-(?P<of>\d{5}))?(?:\.(?P<after>[A-Za-z0-9_]+))?\.safetensors"
)
_INDEX = re.compile(r"(?P<base>model|diffusion_pytorch_model)\.safetensors\.index(?:\.(?P<variant>[A-Za-z0-9_]+))?\.json")
PICKLED = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
"""Suffixes of weights that run code when they are read: never loaded."""


@dataclass(slots=True)
class _Set:
    """The files of one base name in one precision."""

    whole: RemoteFile | None = None
    index: RemoteFile | None = None
    shards: dict[int, RemoteFile] = field(default_factory=dict)
    of: int = 0
    stem: str = ""
    """Name of a shard with {} for its number."""


def is_index(name: str) -> bool:
    """Whether a file lists the shards of weights."""
    return ".index." in name and name.endswith(".json")


def choose(folder: str, files: Iterable[RemoteFile], variant: str) -> tuple[RemoteFile, ...]:
    """The weights of a folder: in the variant where it has them, else in its default precision; with the index where they are sharded.

    Args:
        folder: for messages.
        files: the files directly in the folder.
        variant: as fp16; empty for the default precision alone.

    Raises:
        LoadError: no weights, only pickled ones, only other variants, or not all shards. Names the file.
    """
    files = tuple(files)
    sets = _sets(files)
    where = folder or "the model"
    for wanted in dict.fromkeys((variant, "")):
        for (_, found), candidate in sorted(sets.items()):
            if found == wanted:
                return _complete(folder, candidate)
    others = sorted({found for _, found in sets})
    if others:
        raise LoadError(f"variant: {where} has weights only in the variants {', '.join(others)}; set MODEL_SERVER_VARIANT to one of them")
    pickled = sorted(file.path for file in files if file.name.endswith(PICKLED))
    if pickled:
        raise LoadError(
            f"model: {where} has its weights only as {pickled[0]}, which can run code when it is read; convert it to safetensors "
            "(save_pretrained of transformers and diffusers writes it)"
        )
    raise LoadError(f"model: {where} has no weights: neither model.safetensors nor diffusion_pytorch_model.safetensors is there")


def _sets(files: Iterable[RemoteFile]) -> dict[tuple[str, str], _Set]:
    sets: dict[tuple[str, str], _Set] = {}
    for file in files:
        if index := _INDEX.fullmatch(file.name):
            sets.setdefault((index["base"], index["variant"] or ""), _Set()).index = file
        elif found := _WEIGHTS.fullmatch(file.name):
            candidate = sets.setdefault((found["base"], found["before"] or found["after"] or ""), _Set())
            if found["shard"] is None:
                candidate.whole = file
            else:
                candidate.shards[int(found["shard"])] = file
                candidate.of = max(candidate.of, int(found["of"]))
                candidate.stem = file.name.replace(f"-{found['shard']}-of-", "-{:05d}-of-")
    return sets


def _complete(folder: str, candidate: _Set) -> tuple[RemoteFile, ...]:
    if candidate.whole is not None:
        return (candidate.whole,)
    prefix = f"{folder}/" if folder else ""
    missing = [number for number in range(1, candidate.of + 1) if number not in candidate.shards]
    if missing:
        raise LoadError(f"model: {prefix}{candidate.stem.format(missing[0])} is missing ({len(missing)} of {candidate.of} shards)")
    if candidate.index is None:
        raise LoadError(f"model: the shards of {prefix}{candidate.stem.format(1)} have no .safetensors.index.json beside them")
    if not candidate.shards:
        raise LoadError(f"model: {candidate.index.path} is there, the shards that it lists are not")
    return (candidate.index, *(candidate.shards[number] for number in sorted(candidate.shards)))
