"""The shapes that a model was compiled for, from the files that optimum-neuron writes beside a compiled model."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from failover_model_server.errors import LoadError

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CompiledShapes:
    """The one size of everything that a Neuron artifact runs."""

    batch_size: int
    sequence_length: int | None = None
    """Tokens of the input, of encoders."""


def compiled_shapes(model: Path) -> CompiledShapes | None:
    """The shapes a directory was compiled for; None if it holds an ordinary model.

    As optimum-neuron 0.4 writes them: a `neuron` object in `config.json`. Stable Diffusion has one in each part, and the batch size of its
    text encoder is the number of prompts.

    Raises:
        LoadError: the file does not say for which batch size.
    """
    for file in (model / "config.json", model / "text_encoder" / "config.json"):
        neuron = (_read(file) or {}).get("neuron")
        if isinstance(neuron, dict):
            return CompiledShapes(_batch(neuron, file), neuron.get("static_sequence_length"))
    return None


def _batch(values: Object, file: Path) -> int:
    key = "static_batch_size"
    size = values.get(key)
    if not isinstance(size, int) or size < 1:
        raise LoadError(f"{file}: {key} is {size!r}; export the model again with a batch size")
    return size


def _read(file: Path) -> Object | None:
    try:
        value = json.loads(file.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise LoadError(f"{file}: {error}") from error
    return value if isinstance(value, dict) else None
