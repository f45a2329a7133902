"""Checkpoints that are refused, and items of a batch that fail alone."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from failover_model_server.errors import InferenceFailed, LoadError
from failover_model_server.run import Run
from safetensors.torch import load_file, save_file

from tests.pipelines.models import MAKERS
from tests.pipelines.serving import REQUESTS, Serving
from tests.pipelines.test_answers import assert_same

Model = Callable[[str], Path]
WEIGHTS = {"sd": "unet/diffusion_pytorch_model.safetensors"}
"""Of the others: model.safetensors."""
MISSING = {
    "bert": "classifier.weight",
    "vit": "classifier.weight",
    "yolos": "class_labels_classifier.layers.0.weight",
    "sd": "conv_norm_out.weight",
}
"""Called the same in the file and, in both generations of the libraries, in the model."""
REMOTE = "from pathlib import Path\nPath(__file__).with_name('RAN').write_text('')\n"


def copy(model: Model, name: str, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(model(name), tmp_path / name))


def weights_of(name: str) -> str:
    return WEIGHTS.get(name, "model.safetensors")


def change(file: Path, by: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Change the weights in a file."""
    weights = load_file(file)
    by(weights)
    save_file(weights, file, metadata={"format": "pt"})


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_a_missing_weight_is_named(name: str, model: Model, tmp_path: Path) -> None:
    """A model with a random weight would answer, wrongly: it is refused, with the name of the weight and the directory."""
    directory = copy(model, name, tmp_path)
    missing = MISSING.get(name) or next(key for key in load_file(directory / weights_of(name)) if key.endswith("norm.weight"))
    change(directory / weights_of(name), lambda weights: weights.pop(missing))
    with pytest.raises(LoadError) as error:
        Serving(name, directory)
    assert missing in str(error.value)
    assert str(directory) in str(error.value)


def test_a_weight_of_another_shape_is_refused(model: Model, tmp_path: Path) -> None:
    """The head of a model with another number of labels is not one of this model; the library's log names it."""
    directory = copy(model, "bert", tmp_path)
    change(directory / "model.safetensors", lambda weights: weights.update({"classifier.weight": torch.zeros(7, 32)}))
    with pytest.raises(LoadError, match="mismatch") as error:
        Serving("bert", directory)
    assert str(directory) in str(error.value)


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_pickled_weights_are_not_read(name: str, model: Model, tmp_path: Path) -> None:
    """A directory with a .bin alone is refused by name: unpickling runs code."""
    directory = copy(model, name, tmp_path)
    file = directory / weights_of(name)
    pickled = file.with_name("diffusion_pytorch_model.bin" if name == "sd" else "pytorch_model.bin")
    torch.save(load_file(file), pickled)
    file.unlink()
    with pytest.raises(LoadError) as error:
        Serving(name, directory)
    assert str(directory) in str(error.value)
    assert "safetensors" in str(error.value)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("name", ["bert", "vit", "yolos"])
def test_code_of_a_checkpoint_is_never_run(name: str, known: bool, model: Model, tmp_path: Path) -> None:
    """A model that needs its own code is refused by name; one that transformers knows loads without the code that lies beside it."""
    directory = copy(model, name, tmp_path)
    (directory / "theirs.py").write_text(REMOTE)
    config = json.loads((directory / "config.json").read_text())
    autos = ("AutoModelForSequenceClassification", "AutoModelForCausalLM", "AutoModelForImageClassification", "AutoModelForObjectDetection")
    config["auto_map"] = {"AutoConfig": "theirs.Config", **dict.fromkeys(autos, "theirs.Model")}
    config["model_type"] = config["model_type"] if known else "their_own"
    (directory / "config.json").write_text(json.dumps(config))
    if known:
        Serving(name, directory)
    else:
        with pytest.raises(LoadError) as error:
            Serving(name, directory)
        assert str(directory) in str(error.value)
    assert not list(tmp_path.rglob("RAN"))


def _poison_row(file: Path, key: str, row: int) -> None:
    def poison(weights: dict[str, torch.Tensor]) -> None:
        weights[key][row] = float("nan")

    change(file, poison)


def _poison(directory: Path) -> None:
    """Make the embedding of a token that only the second request of REQUESTS has not a number."""
    row = (directory / "vocab.txt").read_text().split("\n").index("great")
    _poison_row(directory / "model.safetensors", "bert.embeddings.word_embeddings.weight", row)


@pytest.mark.parametrize("static", [False, True])
def test_an_item_that_is_not_a_number_fails_alone(static: bool, model: Model, tmp_path: Path) -> None:
    """The others of its batch are answered as without it."""
    good = [request for request in REQUESTS["bert"] if "great" not in request["prompt"]][:2]
    alone = [Serving("bert", model("bert"), static_shapes=static).answer(request)[0] for request in good]
    directory = copy(model, "bert", tmp_path)
    _poison(directory)
    serving = Serving("bert", directory, static_shapes=static)
    requests = [good[0], {"prompt": "great"}, good[1]]
    _fails_alone(serving, requests, serving.prepare(requests), alone)


@pytest.mark.parametrize("name", ["vit", "yolos"])
def test_pixels_that_are_not_numbers_fail_alone(name: str, model: Model) -> None:
    """The same for images, whose pixels are poisoned here."""
    serving = Serving(name, model(name))
    requests = REQUESTS[name]
    alone = [serving.answer(requests[0])[0], serving.answer(requests[2])[0]]
    items = serving.prepare(requests)
    payload: Any = items[1].payload
    payload.values["pixel_values"][...] = float("nan")
    _fails_alone(serving, requests, items, alone)


def _fails_alone(serving: Serving, requests: list[dict[str, Any]], items: list[Any], alone: list[Any]) -> None:
    first, bad, last = serving.backend.run(items, Run(len(items), len(items)))
    asked = [serving.task.request(**request) for request in requests]
    with pytest.raises(InferenceFailed, match="not finite"):
        serving.task.finish(asked[1], items[1], bad)
    assert_same(serving.task.finish(asked[0], items[0], first), alone[0])
    assert_same(serving.task.finish(asked[2], items[2], last), alone[1])


def test_a_text_model_does_not_import_diffusers(model: Model) -> None:
    """It takes 70 MB and seconds, and only pictures need it."""
    code = "import sys; from tests.pipelines.serving import Serving; from pathlib import Path; Serving('bert', Path(sys.argv[1])); "
    child = [sys.executable, "-c", code + "print('diffusers' in sys.modules)", str(model("bert"))]
    assert subprocess.run(child, capture_output=True, text=True, check=True, timeout=50).stdout == "False\n"
