"""Texts of several lengths in one pass without padding: they follow each other in one row, and each attends to itself alone.

A processor spends as much on a token of padding as on one of text. In an encoder all but the attention treats each token by itself, so that
the texts of a batch can be one row. Embeddings and the head still see one text a row, as the model was written for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

NAME = "packed"
"""Of the attention here, in transformers' registry. It builds no mask for an attention that it does not know."""
ENCODERS = ("encoder", "transformer")
"""What models call the module between embeddings and head: BERT and its kin; DistilBERT."""
TRIED = (3, 7, 5)
"""Lengths of the texts on which packing is tried."""
TOLERANCE = 0.05
"""Largest difference of the states of a text from those of the text alone, as a part of these: more than bfloat16 loses."""
LONGEST_REASON = 200
"""Characters of why a model cannot, which may be another library's words."""


@dataclass(frozen=True, slots=True)
class Row:
    """Where the texts of a batch are: what the model hands on to its encoder and to its attention."""

    kept: torch.Tensor
    """Of bool, texts by width: what is not padding."""
    lengths: list[int]

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device) -> "Row | None":
        """The row of texts of these lengths, padded on the right to the longest; None where there is no padding to leave out."""
        width = max(lengths)
        if min(lengths) == width:
            return None
        return cls(torch.arange(width, device=device) < torch.tensor(lengths, device=device)[:, None], list(lengths))


def pack(model: Any) -> str:
    """Make a model take `packed`, a `Row` or None, instead of an attention mask that it heeds.

    Whether a model can is tried, not known by its name: each layer's attention must be given the row, and the states of packed texts must
    be those of each text alone.

    Args:
        model: of transformers.

    Returns:
        "" where it can; else why not, and it is as it was: with transformers 4 BERT has attention of its own.
    """
    encoder = next((found for name in ENCODERS if isinstance(found := getattr(model.base_model, name, None), torch.nn.Module)), None)
    if encoder is None:
        return "it has no encoder"
    before = model.config._attn_implementation  # noqa: SLF001 - it has no public name
    hooks = [encoder.register_forward_pre_hook(_into_a_row, with_kwargs=True), encoder.register_forward_hook(_out_of_it, with_kwargs=True)]
    try:
        reason = _tried(model, encoder)
    except Exception as error:  # noqa: BLE001 - a model that was not written for it may raise anything
        reason = f"{type(error).__name__}: {error}"
    if reason:
        for hook in hooks:
            hook.remove()
        if model.config._attn_implementation != before:  # noqa: SLF001
            model.set_attn_implementation(before)
    return reason[:LONGEST_REASON]


def _tried(model: Any, encoder: torch.nn.Module) -> str:
    """Why the model does not take packed texts; "" where it does."""
    from transformers import AttentionInterface

    texts = _texts(model)
    alone = [_states(model, encoder, [text], {})[0] for text in texts]
    row, given = Row.of(TRIED, model.device), list[bool]()

    def noticed(*args: Any, **kwargs: Any) -> tuple[torch.Tensor, None]:
        given.append(kwargs.get("packed") is row)
        return _attend(*args, **kwargs)

    _states(model, encoder, texts[:1], {"packed": None})  # raises in a model that takes no such argument, before anything is changed
    AttentionInterface.register(NAME, noticed)
    model.set_attn_implementation(NAME)
    together = _states(model, encoder, texts, {"packed": row})
    AttentionInterface.register(NAME, _attend)
    if len(given) != model.config.num_hidden_layers or not all(given):
        return f"{sum(given)} of {model.config.num_hidden_layers} layers were given the row"
    apart = [float((one - own[: len(one)]).norm() / one.norm()) for one, own in zip(alone, together, strict=True)]
    return "" if all(each <= TOLERANCE for each in apart) else f"the states differ by {', '.join(f'{each:.1%}' for each in apart)}"


def _texts(model: Any) -> list[torch.Tensor]:
    """Texts of tokens from all over the vocabulary, without that for padding."""
    tokens = [token for token in range(model.config.vocab_size) if token != model.config.pad_token_id]
    return [torch.tensor(tokens[length :: max(1, len(tokens) // length)][:length], device=model.device) for length in TRIED]


def _states(model: Any, encoder: torch.nn.Module, texts: Sequence[torch.Tensor], packed: dict[str, Any]) -> torch.Tensor:
    """What the encoder makes of texts: (texts, longest, size)."""
    seen: list[torch.Tensor] = []
    ids = torch.nn.utils.rnn.pad_sequence(list(texts), batch_first=True, padding_value=model.config.pad_token_id or 0)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(text) for text in texts], batch_first=True)
    hook = encoder.register_forward_hook(lambda _, __, output: seen.append(output.last_hidden_state))
    try:
        with torch.inference_mode():
            model(input_ids=ids, attention_mask=mask, **packed)
    finally:
        hook.remove()
    return seen[0].float()


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
