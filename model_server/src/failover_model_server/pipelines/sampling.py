"""Sampling with a seed, a temperature and a top_p for each row of a batch, which `generate` has for the batch alone.

Gumbel-max: argmax of logits / temperature plus Gumbel noise is distributed as softmax(logits / temperature) (Gumbel 1954; Maddison et al.
2014, "A* Sampling"). The noise comes from a generator of the row's own, so that a row's answer depends neither on the other rows nor on
its place. `generate` runs in greedy mode; the argmax is its own.
"""

from collections.abc import Sequence

import torch
from transformers import LogitsProcessor, StoppingCriteria

from failover_model_server.run import Run
from failover_model_server.tasks.payloads import Completion, Prompt

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
    """Ends each row at its own end: a token that ends the text, its limit of new tokens, or that it needs no more. Reports each step.

    It hands on the tokens of rows that are streamed, and each row as a whole that has ended before the others: `generate` goes on until all
    have ended.

    Args:
        prompts: of the rows.
        width: that they are padded to.
        ends: tokens that end a text; they are not handed on.
        run: of the batch.
        broken: whether each row has had logits that were no numbers; another writes it.
    """

    def __init__(self, prompts: Sequence[Prompt], width: int, ends: Sequence[int], run: Run, broken: torch.Tensor) -> None:
        self.prompts = prompts
        self.width = width
        self.ends = frozenset(ends)
        self.run = run
        self.broken = broken
        self.going = set(range(len(prompts)))
        self.completions: list[Completion | None] = [None] * len(prompts)
        """Of the rows that have ended; None where the logits were no numbers."""

    def __call__(self, input_ids: torch.Tensor, scores: object, **_: object) -> torch.Tensor:
        """Whether each row has ended; input_ids has shape (rows, prompt and output so far).

        Raises:
            Abandoned: nobody waits for any row.
        """
        newest, over, ended = input_ids[:, -1].tolist(), list(self.run.over), list[int]()
        for row in self.going:
            if self.prompts[row].stream and not (newest[row] in self.ends or over[row]):
                self.run.emit(row, newest[row])
        self.run.step()
        count = input_ids.shape[1] - self.width
        for row in sorted(self.going):
            if newest[row] in self.ends or over[row] or count >= self.prompts[row].max_new_tokens:
                self._end(row, input_ids)
                ended.append(row)
        for row in ended if self.going else ():  # else the batch ends with them
            self.run.finish(row, self.completions[row])
        return torch.tensor([row not in self.going for row in range(len(self.prompts))], device=input_ids.device)

    def end(self, output: torch.Tensor) -> None:
        """The batch has ended, and with it the rows that were going on."""
        for row in sorted(self.going):
            self._end(row, output)

    def _end(self, row: int, ids: torch.Tensor) -> None:
        self.going.discard(row)
        tokens = ids[row, self.width :].tolist()
        stopped = bool(tokens) and tokens[-1] in self.ends
        self.completions[row] = None if self.broken[row] else Completion(tuple(tokens[:-1] if stopped else tokens), stopped)
