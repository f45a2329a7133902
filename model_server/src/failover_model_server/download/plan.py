"""Which files of a model are needed to serve it. Pure: a list of files in, the chosen ones out.

A repository of Stable Diffusion 2.1 holds its weights up to six times (two precisions, two formats, and checkpoints for other programs).
One copy serves: safetensors, in the variant asked for where there is one.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from failover_model_server.download import manifest, weights
from failover_model_server.download.files import RemoteFile
from failover_model_server.errors import LoadError

MODEL_INDEX = "model_index.json"
ARTIFACT = "artifact.json"
"""Beside Neuron artifacts: what they were compiled for."""
# Loaded with safety_checker=None: 1.2 GB of weights in older repositories that the seed did not use either.
_DROPPED = frozenset({"safety_checker"})
_SMALL = re.compile(r".+\.json|.+\.jinja|.+\.tiktoken|merges\.txt|vocab\.txt|(?:tokenizer|spiece|sentencepiece[.\w]*)\.model")
_COMPILED = re.compile(r".+\.neuron|model\.pt")


class Kind(StrEnum):
    """How the files of a model are laid out."""

    DIFFUSERS = "diffusers"
    """`model_index.json` and a folder for each component."""
    TRANSFORMERS = "transformers"
    """`config.json` and weights at the top."""
    COMPILED = "compiled"
    """Artifacts for Neuron: `*.neuron`, or `model.pt` with its `neuron_config.json`."""


class Reason(StrEnum):
    """Why a file is left out."""

    PICKLED = "pickled weights: can run code when they are read"
    OTHER_WEIGHTS = "the same weights in another precision, format or layout"
    COMPONENT = "of a component that is not used"
    NOT_NEEDED = "not needed to serve"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to fetch and what to leave."""

    kind: Kind
    chosen: tuple[RemoteFile, ...]
    left: tuple[tuple[RemoteFile, Reason], ...]

    @property
    def bytes_chosen(self) -> int:
        """Bytes to fetch."""
        return sum(file.size for file in self.chosen)

    @property
    def bytes_total(self) -> int:
        """Bytes of all files of the model."""
        return self.bytes_chosen + sum(file.size for file, _ in self.left)


def make_plan(
    files: Iterable[RemoteFile], *, variant: str, compiled: bool = False, model_index: Mapping[str, object] | None = None
) -> Plan:
    """Choose the files that are needed.

    Args:
        files: all files of the model.
        variant: precision to prefer, as fp16; empty for the default one.
        compiled: the model is compiled artifacts.
        model_index: content of `model_index.json`, which says which components the pipeline has; without it every folder with a
            configuration is one.

    Raises:
        LoadError: a file that is needed is not there; names it.
    """
    files = tuple(sorted(files, key=lambda file: file.path))
    # Our own record of a directory came with a copy of it. As a file of the model it would stand in the place of the record of this one.
    offered = tuple(file for file in files if file.name != manifest.FILE)
    names = {file.path for file in offered}
    if compiled:
        kind, chosen = Kind.COMPILED, _compiled(offered)
    elif MODEL_INDEX in names:
        kind, chosen = Kind.DIFFUSERS, _diffusers(offered, variant, model_index)
    elif "config.json" in names:
        kind, chosen = Kind.TRANSFORMERS, _transformers(offered, variant)
    else:
        raise LoadError("model: neither config.json nor model_index.json is there, so this is no model of transformers or diffusers")
    left = tuple((file, _why(file, kind)) for file in files if file not in chosen)
    return Plan(kind, tuple(file for file in files if file in chosen), left)


def read_model_index(content: bytes) -> Mapping[str, object]:
    """`model_index.json` as a mapping.

    Raises:
        LoadError: it is none.
    """
    try:
        index = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise LoadError(f"model: {MODEL_INDEX} is no JSON: {error}") from error
    if not isinstance(index, dict):
        raise LoadError(f"model: {MODEL_INDEX} is no JSON object")
    return index


def _transformers(files: tuple[RemoteFile, ...], variant: str) -> set[RemoteFile]:
    top = [file for file in files if not file.folder]
    return _small(top) | set(weights.choose("", top, variant))


def _diffusers(files: tuple[RemoteFile, ...], variant: str, index: Mapping[str, object] | None) -> set[RemoteFile]:
    folders = {
        folder: list(members) for folder, members in groupby(sorted(files, key=lambda file: file.folder), key=lambda file: file.folder)
    }
    chosen = {file for file in files if file.path == MODEL_INDEX}
    for component in _components(folders, index):
        members = folders.get(component)
        if members is None:
            raise LoadError(f"model: {MODEL_INDEX} names the component {component}, and there is no folder of this name")
        chosen |= _small(members)
        # Schedulers, tokenizers and image processors have a configuration by another name, and no weights.
        if any(file.name == "config.json" for file in members):
            chosen |= set(weights.choose(component, members, variant))
    return chosen


def _components(folders: Mapping[str, list[RemoteFile]], index: Mapping[str, object] | None) -> list[str]:
    if index is None:
        found = {folder for folder, members in folders.items() if folder and "/" not in folder and _small(members)}
    else:
        # A component is [library, class]; [null, null] says that the pipeline does without.
        found = {name for name, value in index.items() if isinstance(value, list) and len(value) == 2 and value[0] is not None}  # noqa: PLR2004
    return sorted(found - _DROPPED)


def _compiled(files: tuple[RemoteFile, ...]) -> set[RemoteFile]:
    names = {file.path for file in files}
    if ARTIFACT not in names:
        raise LoadError(
            f"compiled_model: {ARTIFACT} is missing, so nothing says what the artifacts were compiled for; write it where they were "
            "compiled, with `failover-model-server artifact`"
        )
    chosen = {file for file in files if file.path.count("/") <= 1 and (_SMALL.fullmatch(file.name) or _COMPILED.fullmatch(file.name))}
    chosen |= {file for file in files if file.folder == "checkpoint" and file.name.endswith(".safetensors")}
    traced = {file for file in chosen if _COMPILED.fullmatch(file.name)}
    if not traced:
        raise LoadError("compiled_model: no compiled model is there: neither a .neuron file nor model.pt")
    if "model.pt" in {file.path for file in traced} and "neuron_config.json" not in names:
        raise LoadError("compiled_model: neuron_config.json is missing, without which model.pt is not loaded")
    return chosen


def _small(files: Iterable[RemoteFile]) -> set[RemoteFile]:
    return {file for file in files if _SMALL.fullmatch(file.name) and not weights.is_index(file.name)}


def _why(file: RemoteFile, kind: Kind) -> Reason:
    if file.folder.split("/")[0] in _DROPPED:
        return Reason.COMPONENT
    if file.name.endswith(weights.PICKLED):
        return Reason.PICKLED
    if file.name.endswith((".safetensors", ".msgpack", ".h5", ".onnx", ".gguf", ".onnx_data")) or weights.is_index(file.name):
        return Reason.OTHER_WEIGHTS
    if kind is Kind.DIFFUSERS and file.folder:
        return Reason.COMPONENT
    return Reason.NOT_NEEDED
