"""Language models: a batch of prompts, continued together."""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch

from failover_model_server.errors import LoadError
from failover_model_server.pipelines.base import Compile, Pipeline, Placement
from failover_model_server.pipelines.sampling import RowLimits, RowSampler
from failover_model_server.pipelines.weights import load_model
from failover_model_server.run import Run
from failover_model_server.tasks.base import Item
from failover_model_server.tasks.payloads import Prompt
from failover_model_server.tasks.text_generation import TextGeneration


class GenerationPipeline(Pipeline):
    """Continues prompts with `generate`.

    Prompts are padded to the longest of the batch, to the length in the key with static shapes: on the left, so that all continue in the
    same column, or on the right where the device's library asks for that. The attention mask and the positions made from it keep padding
    out of the answer.

    Args:
        model: with the `generate` of transformers.
        placement: device, type and shapes.
        longest: tokens of prompt and output together, for a cache of one length.
        padding: the side that prompts are padded on.
        greedy: further sampling parameters of `generate`, for a library that uses them in greedy mode too.
    """

    def __init__(
        self,
        model: Any,
        placement: Placement,
        longest: int,
        padding: Literal["left", "right"] = "left",
        greedy: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        from transformers import GenerationConfig

        self.model = model
        self.placement = placement
        self.longest = longest
        self.padding = padding
        self.cache_option = "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"  # since transformers 5
        ends = model.generation_config.eos_token_id
        self.ends: list[int] = [ends] if isinstance(ends, int) else list(ends or ())
        fill = model.generation_config.pad_token_id
        self.fill: int = fill if fill is not None else (self.ends or [0])[0]
        # The checkpoint's own sampling parameters must not apply to rows that ask for others.
        model.generation_config = GenerationConfig(
            bos_token_id=model.generation_config.bos_token_id,
            eos_token_id=self.ends or None,
            pad_token_id=self.fill,
            do_sample=False,
            **greedy,
        )

    def run(self, items: Sequence[Item], run: Run) -> Sequence[object]:
        """A Completion for each item; None where the logits were no numbers."""
        prompts = [item.payload for item in items if isinstance(item.payload, Prompt)]
        width = _padded_length(items[0]) if self.placement.static_shapes else max(len(prompt.tokens) for prompt in prompts)
        ids, mask = self._pad(prompts, width)
        sampler = RowSampler(prompts, ids.device)
        limits = RowLimits(prompts, width, self.ends, run, sampler.broken)
        with torch.inference_mode():
            output = self.model.generate(
                ids,
                attention_mask=mask,
                do_sample=False,
                max_new_tokens=max(prompt.max_new_tokens for prompt in prompts),
                logits_processor=[sampler],
                stopping_criteria=[limits],
                **self._cache(),
            )
        limits.end(output)
        return limits.completions

    def _pad(self, prompts: Sequence[Prompt], width: int) -> tuple[torch.Tensor, torch.Tensor]:
        ids = torch.full((len(prompts), width), self.fill, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            count = len(prompt.tokens)
            place = slice(width - count, width) if self.padding == "left" else slice(0, count)
            ids[row, place] = torch.tensor(prompt.tokens)
            mask[row, place] = 1
        return ids.to(self.placement.device), mask.to(self.placement.device)

    def _cache(self) -> dict[str, Any]:
        """With static shapes a cache of the one length that holds everything: one graph for the steps, whatever the prompt."""
        if not self.placement.static_shapes:
            return {}
        from transformers import StaticCache

        return {self.cache_option: StaticCache(config=self.model.config, max_cache_len=self.longest)}

    def compile(self, compiled: Compile) -> None:
        """One graph for each length of prompts, and one for the steps after them, at each batch size."""
        self.model.forward = compiled(self.model.forward)


def _padded_length(item: Item) -> int:
    if not isinstance(item.key, tuple):
        raise TypeError(f"the key {item.key!r} has no length")
    return int(item.key[0])


def text_generation(directory: Path, placement: Placement, task: object) -> GenerationPipeline:
    """Llama, Mistral and other decoders that transformers knows without code of the checkpoint's own."""
    from transformers import AutoModelForCausalLM

    model = load_model(AutoModelForCausalLM, directory, placement)
    if not model.can_generate():
        raise LoadError(f"the model of {directory}: it cannot generate text")
    return GenerationPipeline(model, placement, task.longest if isinstance(task, TextGeneration) else 0)
