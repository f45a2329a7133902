"""Prompts as tokens: lengths that they are padded to, and texts of such lengths for warming."""

from pathlib import Path
from typing import Any

from failover_model_server.errors import InputTooLarge
from failover_model_server.settings import Settings
from failover_model_server.tasks.loading import from_directory

SMALLEST_BUCKET = 32
GROWTH = 4


def buckets_up_to(limit: int, wanted: tuple[int, ...], smallest: int = SMALLEST_BUCKET) -> tuple[int, ...]:
    """Sizes in ascending order, the last of them `limit`: those wanted that are below it, else `smallest` times powers of 4.

    Few sizes, since each is a compilation at each batch size; no prompt is padded to more than four times its length, short ones apart.
    """
    if not wanted:
        size, sizes = smallest, []
        while size < limit:
            sizes.append(size)
            size *= GROWTH
        wanted = tuple(sizes)
    return (*(size for size in wanted if size < limit), limit)


def bucket_of(count: int, buckets: tuple[int, ...]) -> int:
    """The smallest bucket that holds `count`.

    Raises:
        InputTooLarge: none does.
    """
    for size in buckets:
        if count <= size:
            return size
    raise InputTooLarge(f"prompt: {count} tokens; at most {buckets[-1]}")


class Tokenizer:
    """A tokenizer that threads may share. It never pads or truncates, because fast tokenizers keep those settings as shared state."""

    def __init__(self, model: Path) -> None:
        """Load it.

        Raises:
            LoadError: its files are missing.
        """
        from transformers import AutoTokenizer

        self.wrapped: Any = from_directory("the tokenizer", AutoTokenizer, model)
        self.encode("warm")  # sets the shared state before threads do

    @property
    def limit(self) -> int:
        """Tokens that the tokenizer's own configuration allows; huge if it does not say."""
        return int(self.wrapped.model_max_length)

    @property
    def padding(self) -> int:
        """The token that fills up; masked, so that any would do where the tokenizer has none."""
        return int(self.wrapped.pad_token_id or 0)

    def encode(self, text: str) -> dict[str, list[int]]:
        """The model's inputs for a text, by name: input_ids, attention_mask, and token_type_ids where the model has them."""
        encoded = self.wrapped(text, verbose=False)
        return {name: list(values) for name, values in encoded.items()}

    def text_of(self, length: int) -> str:
        """The longest text of "a a a …" that has at most `length` tokens.

        Raises:
            InputTooLarge: not even one word has so few.
        """
        low, high = 0, length
        while low < high:
            middle = (low + high + 1) // 2
            if len(self.encode("a " * middle)["input_ids"]) <= length:
                low = middle
            else:
                high = middle - 1
        if low == 0:
            raise InputTooLarge(f"sequence_buckets: {length} tokens are too few for one word")
        return "a " * low


def input_limit(settings: Settings, *limits: int | None) -> int:
    """The fewest tokens of: the setting, and what model and tokenizer allow (None: no limit)."""
    return min(settings.max_input_tokens, *(limit for limit in limits if limit is not None))
