"""What is known to work, by model, accelerator and engine: finds the rows of ``matrix.yaml`` for a pod, and whether it fits in memory."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict

from controller.catalog.instances import INSTANCES, family_of
from controller.objects import Object, items, mapping, quantity, text
from controller.signals.launchable import needs_of

FILE: Final = Path(__file__).with_name("matrix.yaml")

GIB: Final = 2**30
_RESERVE_GIB: Final = 1.0
"""Memory of an accelerator for activations and captured graphs, an estimate."""
_COMPILE_GIB: Final = 4.0
_COMPILE_COPIES: Final = 2
"""Host memory of a compilation for Neuron: two copies of the weights and 4 GiB. An estimate from two reports: a model of 8 thousand million
parameters was killed on 32 GiB (aws-neuron-sdk#1222), one of 1.2 is served on 16 (helixml/helix#2663)."""
_BYTES: Final[Mapping[str, int]] = {"float32": 4, "float": 4}
_TWO_BYTES: Final = 2
_MODEL_VARIABLES: Final = ("MODEL_SERVER_MODEL", "MODEL_ID")


class Status(StrEnum):
    """What is known, the strongest first: of several rows that match, the first counts."""

    FAILS = "fails"
    WORKS = "works"
    UNKNOWN = "unknown"


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Accelerator(_Data):
    """An accelerator: its memory in GiB, and its NeuronCores."""

    name: str
    memory: float
    cores: int = 0


class Model(_Data):
    """A model: what finds it in a location, its parameters in thousands of millions, and the shape of a language model's KV cache."""

    pattern: str
    parameters: float
    layers: int = 0
    kv_heads: int = 0
    head: int = 0


class Engine(_Data):
    """How a framework serves; with `image` it is vLLM."""

    framework: str
    image: str = ""
    pattern: str = ""
    devices: tuple[str, ...] = ()
    versions: Mapping[str, str] = {}
    flags: tuple[str, ...] = ()
    environment: Mapping[str, str] = {}
    cache: str = ""
    load: int = 0
    frozen: str = ""
    ignored: str = ""


class Row(_Data):
    """What is known of models (() for all) on devices with an engine, of images that a pattern finds, with some flags."""

    models: tuple[str, ...]
    devices: tuple[str, ...]
    engine: str
    image: str = ""
    flags: tuple[str, ...] = ()
    status: Status
    by: Literal["run", "report", "listed", ""] = ""
    date: date
    source: str
    why: str
    versions: Mapping[str, str] = {}


class Matrix(_Data):
    """The whole file."""

    accelerators: Mapping[str, Accelerator]
    quantized: str
    models: Mapping[str, Model]
    engines: Mapping[str, Engine]
    rows: tuple[Row, ...]


@cache
def matrix() -> Matrix:
    """The matrix."""
    return Matrix.model_validate(yaml.safe_load(FILE.read_text(encoding="utf-8")))


@dataclass(frozen=True, slots=True)
class Case:
    """What a pod runs.

    Attributes:
        model: The model's location.
        types: The instance types that it may run on.
        framework: The unit's framework.
        image: vLLM's image; "" where the model server itself serves.
        flags: vLLM's arguments, each ``--name=value``; the last one of a name counts.
        accelerators: Its accelerators.
        memory_gib: The memory limit of the container that serves, GiB; 0 if unknown.
    """

    model: str
    types: tuple[str, ...]
    framework: str
    image: str = ""
    flags: tuple[str, ...] = ()
    accelerators: int = 1
    memory_gib: float = 0.0

    @property
    def given(self) -> dict[str, str]:
        """The value of each flag by its name; as in vLLM the last one counts."""
        return dict(one.split("=", 1) for one in self.flags)

    @property
    def families(self) -> tuple[str, ...]:
        """The families of its instance types."""
        return tuple(sorted(set(map(family_of, self.types))))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of a case on one device: its status, the case in words, why, and what the engine's maker gave up, "" if nothing."""

    status: Status
    what: str
    why: str
    frozen: str = ""
    instead: str = ""

    @property
    def warning(self) -> str:
        """What a person should know of a case that is not known to fail, "" if nothing."""
        said = f"{self.what} is not known to work: {self.why}" if self.status is Status.UNKNOWN else self.what if self.frozen else ""
        return "; ".join(filter(None, (said, self.frozen)))


def engine_of(framework: str, family: str, image: str = "", *, vllm: bool) -> tuple[str, Engine] | None:
    """The engine of a framework on a device, by name: that of an image, else the default. None if there is none."""
    made = [(name, one) for name, one in matrix().engines.items() if one.framework == framework and bool(one.image) is vllm]
    if image or not vllm:
        return next((one for one in made if re.search(one[1].pattern, image)), None)
    return next((one for one in made if family in one[1].devices), None)


def model_named(location: str) -> str:
    """The model in a location, "" if the matrix has none of its name, or the location says that its weights are quantized."""
    other = re.search(matrix().quantized, location, re.IGNORECASE)
    known = {} if other else matrix().models
    return next((name for name, one in known.items() if re.search(one.pattern, location, re.IGNORECASE)), "")


def verdicts(case: Case) -> Iterator[Verdict]:
    """What is known of a case, on each of its devices; nothing where model or framework is not stated."""
    model = model_named(case.model)
    for family in case.families if case.model and case.framework else ():
        found = engine_of(case.framework, family, case.image, vllm=bool(case.image))
        name, engine = found or ("", Engine(framework=case.framework))
        what = f"{model or case.model} on {family} with {_short(case.image) or name}"
        rows = [one for one in matrix().rows if _matches(one, model, family, name, case)]
        row = min(rows, key=lambda one: list(Status).index(one.status), default=None)
        if row is None:
            yield Verdict(Status.UNKNOWN, what, "no run of it is reported", engine.frozen)
        else:
            yield Verdict(row.status, what, f"{row.why} ({row.source}, {row.date})", engine.frozen, _instead(model, family))


def _matches(row: Row, model: str, family: str, engine: str, case: Case) -> bool:
    named = (not row.models or model in row.models) and family in row.devices and row.engine == engine
    flags = {tuple(one.split("=", 1)) for one in row.flags}
    return named and re.search(row.image, case.image) is not None and flags <= case.given.items()


def _short(image: str) -> str:
    return image.partition("@")[0].rpartition("/")[2]


def _instead(model: str, family: str) -> str:
    """What works for a model: on the same device, else elsewhere."""
    good = [one for one in matrix().rows if one.status is Status.WORKS and model in one.models]
    good = [one for one in good if family in one.devices] or good
    engines = matrix().engines
    said = dict.fromkeys(f"{_short(engines[one.engine].image) or one.engine} on {', '.join(one.devices)}" for one in good)
    return "; or ".join(said) or "another device: nothing is known to serve it here"


def shortfalls(case: Case) -> Iterator[tuple[Literal["accelerators", "memory"], str, str]]:
    """Where a case does not fit, as far as model and devices are known.

    Weights and KV cache count at the configured context. On Neuron the cache is compiled for the whole batch; vLLM on a GPU starts with
    room for one sequence.

    Yields:
        Of what there is too little, how much there is, and what is needed.
    """
    given, model = case.given, matrix().models.get(model_named(case.model))
    if model is None or "--quantization" in given or not case.accelerators:
        return
    weights = model.parameters * 1e9 * _BYTES.get(given.get("--dtype", ""), _TWO_BYTES) / GIB
    neuron = case.framework == "neuron"
    tokens = _number(given, "--max-model-len", 0) * (_number(given, "--max-num-seqs", 1) if neuron else 1)
    kv = 2 * model.layers * model.kv_heads * model.head * _TWO_BYTES * tokens / GIB
    share = _number(given, "--gpu-memory-utilization", 1)
    for family in case.families:
        accelerator = matrix().accelerators.get(family)
        if accelerator is None:
            continue
        have, need = share * case.accelerators * accelerator.memory, weights + kv + _RESERVE_GIB * case.accelerators
        if need > have:
            made = f"weights {weights:.1f}, KV cache {kv:.1f}, reserve {_RESERVE_GIB * case.accelerators:.1f}"
            yield "accelerators", f"{have:.1f} GiB on {case.accelerators} {accelerator.name}", _more(need, have, made)
    need = _COMPILE_COPIES * weights + _COMPILE_GIB
    if neuron and case.image and 0 < case.memory_gib < need:
        made = "an estimate of what the compilation takes: two copies of the weights and 4"
        yield "memory", f"{case.memory_gib:.1f} GiB", _more(need, case.memory_gib, made)


def _number(given: Mapping[str, str], flag: str, default: float) -> float:
    """The value of a flag; the default where it is no plain number, such as vLLM's ``auto``."""
    found = re.fullmatch(r"\d{1,9}(\.\d{1,9})?", given.get(flag, ""))
    return float(found[0]) if found else default


def _more(need: float, have: float, made: str) -> str:
    return f"at least {need:.1f} GiB, {need - have:.1f} more ({made})"


def remarks(case: Case) -> Iterator[tuple[bool, str, str]]:
    """What a person should know of a live case: whether it is known to be wrong, what, and what to do."""
    for one in verdicts(case):
        if one.status is Status.FAILS:
            yield True, f"{one.what} is known not to work: {one.why}", f"move it to what works: {one.instead}"
        elif one.warning:
            yield False, one.warning, "see docs/images.md, what is known to work"
    for field, found, wanted in shortfalls(case):
        yield True, f"{field} of {found}, needed is {wanted}", "give it more, or shorten context or batch"


def case_of_pod(framework: str, types: Sequence[str], template: Object) -> Case:
    """What the pods of a live template run.

    Args:
        framework: The unit's framework.
        types: The instance types that they may run on.
        template: The spec of the pod template.
    """
    containers = items(template, "containers")
    engine: Object = next((one for one in containers if "vllm" in _words(one) or _published(text(one, "image"))), {})
    server = engine or (containers[0] if containers else {})
    needs = needs_of(template)
    known = INSTANCES.get(types[0]) if types else None
    limit = quantity(mapping(server, "resources", "limits").get("memory"))
    return Case(
        model=_model(containers, _words(engine)),
        types=tuple(types),
        framework=framework,
        image=text(engine, "image"),
        flags=flags_of(_words(engine)),
        accelerators=needs.accelerators if known is None else needs.devices_on(known),
        memory_gib=float(limit or 0) / GIB,
    )


def flags_of(words: Sequence[str]) -> tuple[str, ...]:
    """The arguments that have a value, each as ``--name=value``."""
    joined = re.sub(r"(\0--[\w-]+)\0(?!--)", r"\1=", "".join(f"\0{one}" for one in words))
    return tuple(re.findall(r"--[\w-]+=[^\0]*", joined))


def _published(image: str) -> bool:
    """Whether this is the image of an engine."""
    return any(one.image and re.search(one.pattern, image) for one in matrix().engines.values())


def _words(container: Object) -> list[str]:
    return [str(word) for word in (*items(container, "command"), *items(container, "args"))]


def _model(containers: Sequence[Any], words: Sequence[str]) -> str:
    """The model that a variable names, else the argument of ``vllm serve``."""
    values = {text(one, "name"): text(one, "value") for container in containers for one in items(container, "env")}
    after = [word for before, word in pairwise(words) if before == "serve"]
    return next((values[name] for name in _MODEL_VARIABLES if values.get(name)), after[0] if after else "")
