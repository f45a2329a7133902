"""Sampling with a seed, a temperature and a top_p for each row of a batch, which `generate` has for the batch alone.

Gumbel-max: argmax of logits / temperature plus Gumbel noise is distributed as softmax(logits / temperature) (Gumbel 1954; Maddison et al.
2014, "A* Sampling"). The noise comes from a generator of the row's own, so that a row's answer depends neither on the other rows nor on
its place. `generate` runs in greedy mode; the argmax is its own.
"""

from collections.abc import Sequence

import torch
from transformers import LogitsProcessor, StoppingCriteria

from failover_model_server.run import Run
from failover_model_server.tasks.payloads import Prompt

SMALLEST = torch.finfo(torch.float32).tiny
"""Instead of the 0 that `rand` may give, whose logarithm is infinite."""


class RowSampler(LogitsProcessor):  # type: ignore[misc]  # transformers is not typed
    """Makes the largest score of each row the sampled token, and remembers rows whose logits were no numbers."""

    def __init__(self, prompts: Sequence[Prompt], device: torch.device) -> None:
        self.prompts = prompts
        self.generators = [torch.Generator(device).manual_seed(prompt.seed) for prompt in prompts]
        self.broken = torch.zeros(len(prompts), dtype=torch.bool, device=device)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores of shape (rows, vocabulary) to scores of the same shape."""
        scores = scores.float()
        self.broken |= scores.isnan().any(dim=-1)
        sampled = [row for row, prompt in enumerate(self.prompts) if prompt.temperature > 0]
        if not sampled:
            return scores
        scores = scores.clone()
        for row in sampled:
            prompt = self.prompts[row]
            logits = nucleus(scores[row] / prompt.temperature, prompt.top_p)
            uniform = torch.rand(logits.shape, generator=self.generators[row], device=logits.device).clamp_min(SMALLEST)
            scores[row] = logits - torch.log(-torch.log(uniform))
        return scores


def nucleus(logits: torch.Tensor, top_p: float) -> torch.Tensor:
    """Logits (vocabulary,) with all but the likeliest tokens, which have the probability `top_p` together, at minus infinity.

    The likeliest is always kept (Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration").
    """
    if top_p >= 1:
        return logits
    ordered, order = logits.sort(descending=True)
    probabilities = ordered.softmax(dim=-1)
    beyond = probabilities.cumsum(dim=-1) - probabilities >= top_p
    return logits.masked_fill(torch.zeros_like(beyond).scatter(0, order, beyond), float("-inf"))


class RowLimits(StoppingCriteria):  # type: ignore[misc]  # transformers is not typed
    """Ends each row at its own limit of new tokens, or when it needs no more; reports each step and hands on its tokens.

    Args:
        prompts: of the rows.
        width: that they are padded to.
        ends: tokens that end a text; they are not handed on.
        run: of the batch.
        device: of the limits.
    """

    def __init__(self, prompts: Sequence[Prompt], width: int, ends: Sequence[int], run: Run, device: torch.device) -> None:
        self.width = width
        self.ends = ends
        self.run = run
        self.most = [prompt.max_new_tokens for prompt in prompts]
        self.limits = torch.tensor(self.most, device=device)
        self.streamed = {row for row, prompt in enumerate(prompts) if prompt.stream}
        self.lengths = list(self.most)
        """New tokens of each row before those with which `generate` fills it up while others of the batch go on."""

    def __call__(self, input_ids: torch.Tensor, scores: object, **_: object) -> torch.Tensor:
        """Whether each row has ended; input_ids has shape (rows, prompt and output so far).

        Raises:
            Abandoned: nobody waits for any row.
        """
        count = input_ids.shape[1] - self.width
        for row in list(self.streamed):
            token = int(input_ids[row, -1])
            if token in self.ends or self.run.over[row]:
                self.streamed.discard(row)
                continue
            self.run.emit(row, token)
            if count >= self.most[row]:
                self.streamed.discard(row)
        self.run.step()
        ended, over = self.limits <= count, list(self.run.over)
        if any(over):
            ended |= torch.tensor(over, device=ended.device)
            self.lengths = [min(length, count) if done else length for length, done in zip(self.lengths, over, strict=True)]
        return ended
