"""A stand-in for optimum-neuron: its classes' names and manners, with the model itself run by torch, and only in the compiled shapes.

What it checks for real: that no batch, length or size reaches the device but the compiled one, which
arguments are passed, and that one call runs at a time. What it cannot: the compiler, the runtime and the numbers of the device.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

BATCH = 2
LENGTH = 32


class OneAtATime:
    """Raises where two calls overlap: a device context runs one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        if not self._lock.acquire(blocking=False):
            raise RuntimeError("two calls at once on one Neuron context")
        try:
            yield
        finally:
            self._lock.release()


class _Traced:
    """A traced encoder: takes the inputs it was traced with, in the shapes it was traced with."""

    auto: str
    shapes: Callable[[Any], Mapping[str, tuple[int, ...]]]

    @classmethod
    def from_pretrained(cls, directory: str) -> "_Traced":
        import transformers

        made = cls()
        made.model = getattr(transformers, cls.auto).from_pretrained(directory)
        made.expected = dict(cls.shapes(made.model.config))
        made.calls = OneAtATime()
        return made

    model: Any
    expected: dict[str, tuple[int, ...]]
    calls: OneAtATime

    def __call__(self, **inputs: torch.Tensor) -> Any:
        shapes = {name: tuple(value.shape) for name, value in inputs.items()}
        if shapes != self.expected:
            raise ValueError(f"compiled for {self.expected}, called with {shapes}")
        if any(value.is_floating_point() and value.dtype != torch.float32 for value in inputs.values()):
            raise ValueError("traced with float32 inputs")
        with self.calls():
            return self.model(**inputs)


class NeuronModelForSequenceClassification(_Traced):
    auto = "AutoModelForSequenceClassification"
    shapes = staticmethod(lambda _: dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), (BATCH, LENGTH)))


class NeuronModelForImageClassification(_Traced):
    auto = "AutoModelForImageClassification"
    shapes = staticmethod(lambda config: {"pixel_values": (BATCH, 3, config.image_size, config.image_size)})


class NeuronModelForObjectDetection(_Traced):
    auto = "AutoModelForObjectDetection"
    shapes = staticmethod(lambda config: {"pixel_values": (BATCH, 3, *config.image_size)})


class NeuronStableDiffusionPipeline:
    """As optimum-neuron's: the number of prompts is the compiled batch, the size that of the artifact."""

    @classmethod
    def from_pretrained(cls, directory: str) -> "NeuronStableDiffusionPipeline":
        from diffusers import StableDiffusionPipeline

        made = cls()
        made.pipe = StableDiffusionPipeline.from_pretrained(directory, safety_checker=None)
        made.calls = OneAtATime()
        return made

    pipe: Any
    calls: OneAtATime

    def set_progress_bar_config(self, **options: Any) -> None:
        self.pipe.set_progress_bar_config(**options)

    def __call__(self, **options: Any) -> Any:
        if len(options["prompt"]) != BATCH:
            raise ValueError(f"compiled for {BATCH} prompts, called with {len(options['prompt'])}")
        with self.calls():
            return self.pipe(**options)


NAMESPACE = SimpleNamespace(
    **{
        made.__name__: made
        for made in (
            NeuronModelForImageClassification,
            NeuronModelForObjectDetection,
            NeuronModelForSequenceClassification,
            NeuronStableDiffusionPipeline,
        )
    }
)


def mark_compiled(directory: Path) -> None:
    """Write into a model's directory what optimum-neuron writes about the shapes."""
    if (directory / "model_index.json").exists():
        _add(directory / "text_encoder" / "config.json", {"static_batch_size": BATCH})
        return
    _add(directory / "config.json", {"static_batch_size": BATCH, "static_sequence_length": LENGTH})


def _add(file: Path, neuron: dict[str, int]) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), "neuron": neuron}))
