"""A stand-in for optimum-neuron: its classes' names and manners, with the model itself run by torch, and only in the compiled shapes.

What it checks for real: that no batch, length or size reaches the device but the compiled one, on which side prompts are padded, which
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
CONTEXT = 96


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


class NeuronModelForCausalLM:
    """As NxD's: at most the compiled batch and length, no padding at the left, no cache and no scores from outside."""

    @classmethod
    def from_pretrained(cls, directory: str) -> "NeuronModelForCausalLM":
        from transformers import AutoModelForCausalLM

        made = cls()
        made.model = AutoModelForCausalLM.from_pretrained(directory)
        config = json.loads((Path(directory) / "neuron_config.json").read_text())
        made.neuron_config = SimpleNamespace(on_device_sampling=False, **config)
        made.calls = OneAtATime()
        return made

    model: Any
    neuron_config: SimpleNamespace
    calls: OneAtATime

    @property
    def generation_config(self) -> Any:
        return self.model.generation_config

    @generation_config.setter
    def generation_config(self, value: Any) -> None:
        self.model.generation_config = value

    def forward(self, input_ids: Any, position_ids: Any, seq_ids: Any, sampling_params: Any) -> None:
        """Only its signature is read."""

    def generate(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **options: Any) -> torch.Tensor:
        batch, length = input_ids.shape
        if batch != self.neuron_config.batch_size:
            raise ValueError(f"compiled for a batch of {self.neuron_config.batch_size}, called with {batch}")
        if length + options["max_new_tokens"] > self.neuron_config.sequence_length:
            raise ValueError(
                f"compiled for {self.neuron_config.sequence_length} tokens, called with {length} and {options['max_new_tokens']}"
            )
        if (attention_mask[:, 0] == 0).any():
            raise ValueError("Left padding is not supported for Neuron models.")
        unknown = set(options) - {"max_new_tokens", "do_sample", "logits_processor", "stopping_criteria"}
        if unknown or options["do_sample"]:
            raise ValueError(f"not supported: {unknown or 'do_sample'}")
        with self.calls():
            return self._rows(input_ids, attention_mask, options)

    def _rows(self, ids: torch.Tensor, mask: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        """The loop of NxD's `_sample`: new tokens go behind the padding, positions count real tokens; the device masks what is between."""
        (sampler,), (limits,) = options["logits_processor"], options["stopping_criteria"]
        lengths, width = mask.sum(dim=1), ids.shape[1]
        ended = torch.zeros(len(ids), dtype=torch.bool)
        ends, fill = self.generation_config.eos_token_id, self.generation_config.pad_token_id
        for _ in range(options["max_new_tokens"]):
            logits = torch.stack([self._last(torch.cat([row[:count], row[width:]])) for row, count in zip(ids, lengths, strict=True)])
            scores, indices = self._warped(sampler(ids, logits))
            tokens = torch.gather(indices, 1, scores.argmax(dim=-1, keepdim=True)).squeeze(1).masked_fill(ended, fill)
            ids = torch.cat([ids, tokens[:, None]], dim=1)
            ended |= torch.isin(tokens, torch.tensor(ends)) | limits(ids, None)
            if ended.all():
                break
        return ids

    def _warped(self, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """As its FusedLogitsWarper, which is also used in greedy mode: where it cuts nothing, the indices are missing, and gather fails."""
        top_k, top_p = self.generation_config.top_k, self.generation_config.top_p
        if not 0 < top_k < scores.shape[-1] or top_p != 1.0:
            raise TypeError(f"top_k {top_k}, top_p {top_p}: no indices")
        best = torch.topk(scores / self.generation_config.temperature, top_k)
        return best.values, best.indices

    def _last(self, tokens: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.model(tokens[None]).logits[0, -1])


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
            NeuronModelForCausalLM,
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
    config = json.loads((directory / "config.json").read_text())
    if config["model_type"] in {"llama", "mistral"}:
        (directory / "neuron_config.json").write_text(json.dumps({"batch_size": BATCH, "sequence_length": CONTEXT}))
    else:
        _add(directory / "config.json", {"static_batch_size": BATCH, "static_sequence_length": LENGTH})


def _add(file: Path, neuron: dict[str, int]) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), "neuron": neuron}))
