"""Neuron artifacts: what they were compiled for, checked in seconds, before the libraries that would find out in minutes are imported."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from failover_model_server.compiled.cores import visible_cores
from failover_model_server.download.plan import ARTIFACT
from failover_model_server.errors import LoadError
from failover_model_server.settings import Settings

SCHEMA = 1
_INSTANCE = Path("/sys/devices/virtual/dmi/id/product_name")
# One compiled model serves Inf2 and Trn1 alike: optimum-neuron 0.4.5, utils/instance.py.
_TARGETS = {"inf2": "trn1", "trn1": "trn1", "trn1n": "trn1", "trn2": "trn2"}
PACKAGES = {"compiler": "neuronx-cc", "torch_neuronx": "torch-neuronx"}
"""Field of the artifact to the distribution whose version it holds."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """What compiled artifacts were compiled from, with, and for."""

    model: str
    """As the hub names it."""
    revision: str
    """Commit of the model."""
    task: str
    compiler: str
    """Version of neuronx-cc: another one refuses to load what this one made."""
    torch_neuronx: str
    target: str
    """trn1 (Inf2 too) or trn2."""
    tensor_parallel: int
    """NeuronCores that run one copy together."""
    shapes: Mapping[str, int]
    """batch_size, and sequence_length or height and width: the only ones that run."""
    files: Mapping[str, int]
    """Bytes of each compiled file."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What this machine can run."""

    versions: Mapping[str, str | None]
    """By field of `PACKAGES`; None: not installed."""
    target: str | None
    """None: not known, as outside EC2."""
    cores: int
    """NeuronCores that this process may use."""

    @classmethod
    def here(cls) -> "Runtime":
        """Of this machine, without importing what is asked about."""
        return cls({field: _installed(package) for field, package in PACKAGES.items()}, _target(), len(visible_cores()))


def read(directory: Path) -> Artifact:
    """What the artifacts of a directory say.

    Raises:
        LoadError: there is no artifact.json, or it is not one; names the field.
    """
    path = directory / ARTIFACT
    try:
        raw = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise LoadError(f"compiled_model: {path} is missing; write it where it was compiled: failover-model-server artifact") from error
    except (ValueError, RecursionError) as error:
        raise LoadError(f"compiled_model: {path} is no JSON: {error}") from error
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
        raise LoadError(f"compiled_model: {path}: schema is not {SCHEMA}; write it again with this version of failover-model-server")
    return Artifact(
        **{field: _text(raw, field, path) for field in ("model", "revision", "task", "compiler", "torch_neuronx", "target")},
        tensor_parallel=_number(raw, "tensor_parallel", path),
        shapes=_numbers(raw, "shapes", path),
        files=_numbers(raw, "files", path),
    )


def write(directory: Path, artifact: Artifact) -> None:
    """Write artifact.json beside the artifacts."""
    path = directory / ARTIFACT
    temporary = path.with_name(f".{ARTIFACT}.part")
    temporary.write_text(json.dumps({"schema": SCHEMA, **asdict(artifact)}, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def compiled_files(directory: Path) -> dict[str, int]:
    """Sizes of the compiled files of a directory, by path in it."""
    found = [path for pattern in ("**/*.neuron", "model.pt") for path in directory.glob(pattern)]
    return {path.relative_to(directory).as_posix(): path.stat().st_size for path in sorted(found)}


def check(directory: Path, settings: Settings, runtime: Runtime) -> Artifact:
    """Whether this server can run these artifacts.

    Raises:
        LoadError: it cannot; names the field that differs, both values, and what to do.
    """
    artifact = read(directory)
    here = f"compiled_model: {ARTIFACT}"
    if artifact.task != settings.task:
        raise LoadError(f"{here}: task is {artifact.task}, MODEL_SERVER_TASK is {settings.task}")
    asked = settings.model.removeprefix("hf://").partition("@")[0]
    if asked and "://" not in asked and not asked.startswith(("/", ".")) and asked != artifact.model:
        raise LoadError(f"{here}: model is {artifact.model}, MODEL_SERVER_MODEL is {asked}")
    if settings.revision and settings.revision != artifact.revision:
        raise LoadError(f"{here}: revision is {artifact.revision}, MODEL_SERVER_REVISION is {settings.revision}; compile that one")
    for field, package in PACKAGES.items():
        wanted, found = getattr(artifact, field), runtime.versions[field]
        if found is None:
            raise LoadError(f"{here}: {field} is {wanted}, and {package} is not installed here; serve this model from the Neuron image")
        if found != wanted:
            raise LoadError(f"{here}: {field} is {wanted}, here is {package} {found}; compile with this image, or serve with that one")
    if runtime.target is not None and runtime.target != artifact.target:
        raise LoadError(f"{here}: target is {artifact.target}, this instance is a {runtime.target}")
    if runtime.cores < artifact.tensor_parallel:
        raise LoadError(f"{here}: tensor_parallel is {artifact.tensor_parallel}, this pod has {runtime.cores} NeuronCores")
    batch = artifact.shapes.get("batch_size")
    if settings.batch_buckets and settings.batch_buckets != (batch,):
        raise LoadError(f"{here}: shapes.batch_size is {batch}, MODEL_SERVER_BATCH_BUCKETS is {settings.batch_buckets}; leave that unset")
    _check_files(directory, artifact, here)
    return artifact


def _check_files(directory: Path, artifact: Artifact, here: str) -> None:
    found = compiled_files(directory)
    for path, size in artifact.files.items():
        if path not in found:
            raise LoadError(f"{here}: files names {path}, which is missing")
        if found[path] != size:
            raise LoadError(f"{here}: files says that {path} has {size} bytes; it has {found[path]}")
    if more := sorted(found.keys() - artifact.files.keys()):
        raise LoadError(f"{here}: files does not name {more[0]}; it is of another compilation")


def target_of(instance_type: str) -> str | None:
    """The compiler's target for an EC2 instance type or family, as inf2.xlarge or inf2; None if it has no NeuronCores."""
    return _TARGETS.get(instance_type.strip().partition(".")[0].lower())


def _target() -> str | None:
    try:
        return target_of(_INSTANCE.read_text(encoding="ascii", errors="replace"))
    except OSError:
        return None


def _installed(package: str) -> str | None:
    try:
        # 2.21.33363.0+82129205 and 2.21.33363.0 are one compiler: the local part names the build.
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return None


def _text(raw: dict[str, Any], field: str, path: Path) -> str:
    value = raw.get(field)
    if not isinstance(value, str) or not value:
        raise LoadError(f"compiled_model: {path}: {field} is {value!r} and should be a text")
    return value


def _number(raw: dict[str, Any], field: str, path: Path) -> int:
    value = raw.get(field)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise LoadError(f"compiled_model: {path}: {field} is {value!r} and should be a number from 1")
    return value


def _numbers(raw: dict[str, Any], field: str, path: Path) -> dict[str, int]:
    value = raw.get(field)
    if not isinstance(value, dict) or not value:
        raise LoadError(f"compiled_model: {path}: {field} is {value!r} and should map names to numbers")
    return {str(name): _number(value, name, path) for name in value}
