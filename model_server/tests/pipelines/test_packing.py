"""Texts without padding: the answers are those to each text alone, and a model that cannot take them so is padded as before."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from failover_model_server.pipelines import packing
from failover_model_server.pipelines.base import Placement
from failover_model_server.pipelines.packing import Row, pack
from failover_model_server.run import Run

from tests.pipelines.serving import Serving
from tests.pipelines.test_answers import assert_same

Model = Callable[[str], Path]
OWN_ATTENTION = transformers.__version__.startswith("4.")
"""Its encoders bring attention of their own, which nothing can replace."""
TEXTS = ["good", "a film a film a film a film, not very good", "the film was bad !", "bad", "a " * 60]
SMALL = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


@pytest.mark.skipif(OWN_ATTENTION, reason="transformers 4")
def test_packed_texts_are_answered_as_each_alone(model: Model) -> None:
    """Of one token to nearly all that the model reads, in any order, and with some twice."""
    serving = Serving("bert", model("bert"))
    assert serving.loaded.packed
    alone = [serving.answer({"prompt": text})[0] for text in TEXTS]
    assert len({str(answer) for answer in alone}) == len(TEXTS)
    for order in ([0, 1, 2, 3, 4], [4, 0, 3, 1, 2], [2, 2], [3, 1, 3]):
        for place, answer in zip(order, together(serving, [TEXTS[place] for place in order]), strict=True):
            assert_same(answer, alone[place])


def together(serving: Serving, texts: list[str]) -> list[Any]:
    """The answers to texts of one batch, as the server runs it: the padded length in their keys does not matter."""
    requests = [{"prompt": text} for text in texts]
    items = serving.prepare(requests)
    outputs = serving.backend.run(items, Run(len(items), len(items)))
    answered = zip(requests, items, outputs, strict=True)
    return [serving.task.finish(serving.task.request(**request), item, output) for request, item, output in answered]


@pytest.mark.skipif(OWN_ATTENTION, reason="transformers 4")
@pytest.mark.parametrize("kind", ["Bert", "Roberta", "XLMRoberta", "Electra", "DistilBert", "Camembert"])
def test_the_kin_of_bert_pack(kind: str) -> None:
    """Also those that count positions in their own way, and DistilBERT, which has other names."""
    made = tiny(kind)
    texts = [torch.randint(5, 60, (1, length)) for length in (9, 2, 30, 9, 17)]
    expected = [answer(made, text) for text in texts]
    assert pack(made) == ""
    padded = torch.nn.utils.rnn.pad_sequence([text[0] for text in texts], batch_first=True, padding_value=made.config.pad_token_id)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(text[0]) for text in texts], batch_first=True)
    with torch.inference_mode():
        logits = made(input_ids=padded, attention_mask=mask, packed=Row.of([text.shape[1] for text in texts], made.device)).logits
    for row, alone in zip(logits, expected, strict=True):
        torch.testing.assert_close(row, alone, rtol=1e-3, atol=1e-4)


def tiny(kind: str) -> Any:
    """A classifier with random weights large enough that every token counts."""
    torch.manual_seed(3)
    sizes: dict[str, Any] = dict(SMALL)
    if kind == "DistilBert":
        sizes = {"vocab_size": 64, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}
    config = getattr(transformers, f"{kind}Config")(**sizes, max_position_embeddings=64, initializer_range=0.5, pad_token_id=1)
    return getattr(transformers, f"{kind}ForSequenceClassification")(config).eval()


def answer(made: Any, text: torch.Tensor) -> torch.Tensor:
    """The logits of one text."""
    with torch.inference_mode():
        logits: torch.Tensor = made(input_ids=text, attention_mask=torch.ones_like(text)).logits[0]
    return logits


def test_a_model_whose_texts_would_see_each_other_is_padded(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attention over the whole row is noticed before the model serves; afterwards nothing of the attempt is left."""

    def over_all(_: Any, query: Any, key: Any, value: Any, *__: Any, scaling: float | None = None, **___: Any) -> tuple[Any, None]:
        attend = torch.nn.functional.scaled_dot_product_attention
        return attend(query, key, value, scale=scaling).transpose(1, 2).contiguous(), None

    expected = [(padded := Serving("bert", model("bert"), static_shapes=True)).answer({"prompt": text})[0] for text in TEXTS]
    assert not padded.loaded.packed
    monkeypatch.setattr(packing, "_attend", over_all)
    serving = Serving("bert", model("bert"))
    assert not serving.loaded.packed
    assert OWN_ATTENTION or "the states differ by" in serving.loaded.details["padded"]
    pipeline: Any = vars(serving.backend)["pipeline"]
    wrapped = pipeline.model
    assert wrapped.config._attn_implementation == "sdpa"
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in wrapped.modules())
    for found, alone in zip(together(serving, TEXTS), expected, strict=True):
        assert_same(found, alone)


@pytest.mark.skipif(OWN_ATTENTION, reason="transformers 4")
def test_a_model_that_does_not_hand_the_row_on_is_padded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where its texts are so short, or its attention so weak, that the states hardly differ."""
    into_a_row = packing._into_a_row

    def lost(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        changed = into_a_row(module, args, kwargs)
        return changed and (changed[0], {**changed[1], "packed": None})

    monkeypatch.setattr(packing, "_into_a_row", lost)
    monkeypatch.setattr(packing, "TOLERANCE", float("inf"))
    assert pack(tiny("Bert")) == "0 of 2 layers were given the row"


@pytest.mark.skipif(not OWN_ATTENTION, reason="transformers 5 packs")
def test_transformers_4_pads(model: Model) -> None:
    """Its BERT has attention of its own."""
    loaded = Serving("bert", model("bert")).loaded
    assert not loaded.packed
    assert loaded.details["padded"]


def test_a_model_without_an_encoder_is_padded() -> None:
    """A decoder, whose tokens see those before them, is left as it is."""
    config = transformers.LlamaConfig(**SMALL, num_key_value_heads=4, pad_token_id=1)
    assert pack(transformers.LlamaForSequenceClassification(config).eval()) == "it has no encoder"


@pytest.mark.parametrize("failure", [ValueError("all texts must end with </s>"), RuntimeError("no kernel")])
def test_a_model_that_fails_on_the_trial_is_served_as_before(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some models want more of a text than that it has tokens; nothing of the attempt is left."""
    made = tiny("Bert")

    def fails(**_: Any) -> None:
        raise failure

    with monkeypatch.context() as patched:
        patched.setattr(made, "forward", fails)
        assert pack(made) == f"{type(failure).__name__}: {failure}"
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in made.modules())
    assert len(answer(made, torch.tensor([[5, 6, 7]]))) == 2


@pytest.mark.parametrize(("device", "static"), [("cpu", True), ("meta", False)])
def test_static_shapes_and_other_devices_pad(device: str, static: bool) -> None:
    """Graphs are compiled for padded texts, and a GPU would start a kernel for each text of each layer."""
    assert not Placement(torch.device(device), torch.float32, static).packs


def test_a_batch_of_one_length_is_no_row() -> None:
    """There is nothing to leave out."""
    assert Row.of([7, 7, 7], torch.device("cpu")) is None
    row = Row.of([2, 3], torch.device("cpu"))
    assert row is not None
    assert row.lengths == [2, 3]
    assert row.kept.tolist() == [[True, True, False], [True, True, True]]
