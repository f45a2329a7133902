"""Text generation without torch: a tokenizer of characters, and a backend that makes a letter of the alphabet a step."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from failover_model_server.backends.base import Backend, Loaded
from failover_model_server.run import Run
from failover_model_server.tasks.base import Item, Task
from failover_model_server.tasks.payloads import Completion, Prompt
from failover_model_server.tasks.text_generation import TextGeneration

MOST_TOKENS = 100_000
"""New tokens that no test waits for."""


class _Characters:
    chat_template = "the contents, one after the other"

    def apply_chat_template(self, messages: Sequence[dict[str, str]], **_: object) -> str:
        return "".join(message["content"] for message in messages)


class _Tokenizer:
    wrapped = _Characters()

    def encode(self, text: str, **_: object) -> dict[str, list[int]]:
        return {"input_ids": [ord(character) for character in text]}

    def decode(self, tokens: Sequence[int]) -> str:
        return "".join(map(chr, tokens))

    def text_of(self, count: int) -> str:
        return "a" * count


class Spelling(TextGeneration):
    """A token is a character."""

    def load(self, model: Path) -> None:
        self.tokenizer: Any = _Tokenizer()
        self.compiled = None
        self.context = 2 * MOST_TOKENS
        self.buckets = (32, 2048)
        self.output_buckets = (self.settings.max_new_tokens,)


class Alphabet(Backend):
    """Continues each prompt with the alphabet, a letter a millisecond; remembers in `ran` what it was asked to continue."""

    name = "alphabet"
    ran: ClassVar[list[str]] = []

    def load(self, model: Path, task: Task[Any, Any]) -> Loaded:
        return Loaded("none")

    def run(self, items: Sequence[Item], run: Run) -> Sequence[object]:
        prompts = [item.payload for item in items if isinstance(item.payload, Prompt)]
        self.ran.extend("".join(map(chr, prompt.tokens)) for prompt in prompts)
        made: list[list[int]] = [[] for _ in prompts]
        going = set(range(len(prompts)))
        for step in range(max(prompt.max_new_tokens for prompt in prompts)):
            time.sleep(0.001)
            for place, prompt in enumerate(prompts):
                if step < prompt.max_new_tokens and not run.over[place]:
                    made[place].append(ord("a") + step % 26)
                    if prompt.stream:
                        run.emit(place, made[place][-1])
            run.step()
            ended = [place for place in going if run.over[place] or step + 1 >= prompts[place].max_new_tokens]
            going.difference_update(ended)
            if not going:
                break
            for place in ended:
                run.finish(place, Completion(tuple(made[place]), stopped=False))
        return [Completion(tuple(tokens), stopped=False) for tokens in made]

    def warmed(self) -> None:
        self.ran.clear()
