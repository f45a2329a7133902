"""Texts of several lengths in one pass without padding: they follow each other in one row, and each attends to itself alone.

A processor spends as much on a token of padding as on one of text. In an encoder all but the attention treats each token by itself, so that
the texts of a batch can be one row. Embeddings and the head still see one text a row, as the model was written for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
import torch

log = structlog.get_logger(__name__)

NAME = "packed"
"""Of the attention here, in transformers' registry. It builds no mask for an attention that it does not know."""
ENCODERS = ("encoder", "transformer")
"""What models call the module between embeddings and head: BERT and its kin; DistilBERT."""
TRIED = (3, 7, 5)
"""Lengths of the texts on which packing is tried."""
TOLERANCE = 0.01
"""Largest difference from the answers to single texts, as a part of the largest of these: sums in another order differ by far less."""


@dataclass(frozen=True, slots=True)
class Row:
    """Where the texts of a batch are: what the model hands on to its encoder and to its attention."""

    kept: torch.Tensor
    """Of bool, texts by width: what is not padding."""
    lengths: list[int]

    @classmethod
    def of(cls, mask: torch.Tensor) -> "Row | None":
        """The row of a batch with this attention mask, padded on the right; None where there is no padding to leave out."""
        kept = mask.bool()
        return None if bool(kept.all()) else cls(kept, kept.sum(dim=1).tolist())


def pack(model: Any, outputs: Sequence[str]) -> bool:
    """Make a model take `packed`, a `Row` or None, instead of an attention mask that it heeds.

    Whether a model can is tried, not known by its name: answers to packed texts must be those to each text alone.

    Args:
        model: of transformers.
        outputs: names of the outputs that are compared.

    Returns:
        Whether it can. It is as it was where it cannot, as with transformers 4, whose BERT has attention of its own.
    """
    encoder = next((found for name in ENCODERS if isinstance(found := getattr(model.base_model, name, None), torch.nn.Module)), None)
    if encoder is None:
        return False
    texts = _texts(model)
    alone = [_answer(model, text, outputs) for text in texts]
    before = model.config._attn_implementation  # noqa: SLF001 - it has no public name
    hooks = [encoder.register_forward_pre_hook(_into_a_row, with_kwargs=True), encoder.register_forward_hook(_out_of_it, with_kwargs=True)]
    try:
        _register()
        model.set_attn_implementation(NAME)
        together = _answer_packed(model, texts, outputs)
    except Exception as error:  # noqa: BLE001 - a model that was not written for it may raise anything
        reason = f"{type(error).__name__}: {error}"
    else:
        largest = max(float(one.abs().max()) for one in alone)
        apart = max(float((one - other).abs().max()) for one, other in zip(alone, together, strict=True))
        if apart <= TOLERANCE * largest:
            return True
        reason = f"answers differ by {apart:.3g}, of {largest:.3g}"
    for hook in hooks:
        hook.remove()
    model.set_attn_implementation(before)
    log.info("texts are padded", reason=reason[:200])
    return False


def _register() -> None:
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, _attend)


def _texts(model: Any) -> list[torch.Tensor]:
    """Texts of the tokens of the vocabulary, without that for padding."""
    tokens = [token for token in range(min(64, model.config.vocab_size)) if token != model.config.pad_token_id]
    return [torch.tensor([tokens[-length:]], device=model.device) for length in TRIED]


def _answer(model: Any, text: torch.Tensor, outputs: Sequence[str]) -> torch.Tensor:
    with torch.inference_mode():
        result = model(input_ids=text, attention_mask=torch.ones_like(text))
    return torch.cat([result[name].flatten() for name in outputs])


def _answer_packed(model: Any, texts: Sequence[torch.Tensor], outputs: Sequence[str]) -> list[torch.Tensor]:
    together = torch.nn.utils.rnn.pad_sequence([text[0] for text in texts], batch_first=True, padding_value=model.config.pad_token_id or 0)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(text[0]) for text in texts], batch_first=True)
    with torch.inference_mode():
        result = model(input_ids=together, attention_mask=mask, packed=Row.of(mask))
    return [torch.cat([result[name][row].flatten() for name in outputs]) for row in range(len(texts))]


def _into_a_row(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Before the encoder: one row of all tokens, without a mask."""
    row = kwargs.get("packed")
    if row is None:
        return None
    hidden, *others = args or (kwargs["hidden_states"],)
    packed = hidden[row.kept].unsqueeze(0)
    kwargs = {**kwargs, "attention_mask": None}
    return ((packed, *others), kwargs) if args else ((), {**kwargs, "hidden_states": packed})


def _out_of_it(_: torch.nn.Module, __: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
    """After it: one text a row again, with zeros for padding."""
    row = kwargs.get("packed")
    if row is not None:
        packed = output.last_hidden_state[0]
        padded = packed.new_zeros(*row.kept.shape, packed.shape[-1])
        padded[row.kept] = packed
        output.last_hidden_state = padded
    return output


def _attend(
    _: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    __: torch.Tensor | None,
    scaling: float | None = None,
    packed: Row | None = None,
    **___: Any,
) -> tuple[torch.Tensor, None]:
    """Attention within each text: (1, heads, tokens, size) where texts are packed, else (texts, heads, tokens, size) without padding."""
    attend = torch.nn.functional.scaled_dot_product_attention
    if packed is None:
        return attend(query, key, value, scale=scaling).transpose(1, 2).contiguous(), None
    parts = zip(*(whole.split(packed.lengths, dim=2) for whole in (query, key, value)), strict=True)
    return torch.cat([attend(*part, scale=scaling) for part in parts], dim=2).transpose(1, 2).contiguous(), None
