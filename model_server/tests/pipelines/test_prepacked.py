"""Linear layers whose weights are laid out for oneDNN: what they make is what the others make."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from failover_model_server.pipelines import prepacked
from failover_model_server.pipelines.prepacked import Prepacked, prepack
from structlog.testing import capture_logs

from tests.pipelines.serving import REQUESTS, Serving
from tests.pipelines.test_answers import assert_same

Model = Callable[[str], Path]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(33,), (1, 33), (8, 33), (2, 5, 33), (1, 200, 33), (3, 0, 33)])
def test_a_prepacked_layer_is_the_layer(shape: tuple[int, ...], bias: bool) -> None:
    """For inputs of all shapes, also those that are no block of memory, and of no row."""
    torch.manual_seed(1)
    linear = torch.nn.Linear(33, 48, bias=bias)
    layer = Prepacked(linear)
    with torch.inference_mode():
        for values in (torch.randn(shape), torch.randn(*shape[:-1], 66)[..., ::2]):
            torch.testing.assert_close(layer(values), linear(values), atol=1e-5, rtol=1e-5)
    assert torch.equal(layer.weight, linear.weight)
    assert (layer.in_features, layer.out_features) == (33, 48)


class Tied(torch.nn.Module):  # type: ignore[misc]
    """A head that has the embedding's weights, and two layers that share theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.inner, self.head = torch.nn.Embedding(10, 8), torch.nn.Linear(8, 8), torch.nn.Linear(8, 10)
        self.one, self.other = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)
        self.head.weight, self.other.weight = self.embedding.weight, self.one.weight
        self.heads = torch.nn.MultiheadAttention(8, 2)


def test_shared_weights_stay_as_they_are() -> None:
    """A copy of them would be a second one. So do layers of other classes, whose owners read their weights."""
    model = Tied()
    assert prepack(model) == ""
    found = {name for name, module in model.named_modules() if isinstance(module, Prepacked)}
    assert found == {"inner"}


@pytest.mark.parametrize("name", ["bert", "vit", "yolos"])
def test_models_answer_as_without(name: str, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone and in a batch; most of their layers are prepacked."""
    serving = Serving(name, model(name))
    pipeline: Any = vars(serving.backend)["pipeline"]
    layers = [module for module in pipeline.model.modules() if isinstance(module, (Prepacked, torch.nn.Linear))]
    assert sum(isinstance(layer, Prepacked) for layer in layers) >= 0.8 * len(layers)
    monkeypatch.setattr(prepacked, "_tried", lambda: "not wanted")
    with capture_logs() as logs:
        plain = Serving(name, model(name))
    assert [line["reason"] for line in logs if line["event"] == "weights_not_prepacked"] == ["not wanted"]
    for one, other in zip(serving.answer(*REQUESTS[name]), plain.answer(*REQUESTS[name]), strict=True):
        assert_same(one, other)


def test_the_others_are_used_where_they_do_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operators are not there, or make something else: nothing is replaced."""

    class Wrong(Prepacked):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return super().forward(values) + 0.01

    class Gone(Prepacked):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            made: torch.Tensor = torch.ops.mkldnn.no_such_operator(values)
            return made

    for layer, says in ((Wrong, "the outputs differ by 1.0e-02"), (Gone, "no_such_operator")):
        monkeypatch.setattr(prepacked, "Prepacked", layer)
        model = torch.nn.Sequential(torch.nn.Linear(4, 4))
        assert says in prepack(model)
        assert type(model[0]) is torch.nn.Linear


@pytest.mark.parametrize("settings", [{"dtype": "bfloat16"}, {"static_shapes": True}])
def test_only_float32_that_is_not_compiled_is_prepacked(settings: dict[str, Any], model: Model) -> None:
    """Static shapes are those of a compiled graph."""
    pipeline: Any = vars(Serving("bert", model("bert"), **settings).backend)["pipeline"]
    assert not any(isinstance(module, Prepacked) for module in pipeline.model.modules())
