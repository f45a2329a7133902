"""The neuron backend: through a stand-in that refuses every shape but the compiled one, and against the real optimum-neuron's interface."""

import ast
import shutil
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from failover_model_server.backends import neuron as backend
from failover_model_server.errors import InputTooLarge, LoadError
from failover_model_server.settings import Settings

from tests.pipelines import neuron
from tests.pipelines.models import MAKERS
from tests.pipelines.serving import REQUESTS, Serving
from tests.pipelines.test_answers import assert_same

Model = Callable[[str], Path]


@pytest.fixture
def compiled(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """The directory of a model as if compiled for Neuron, and the stand-in in place of the library."""
    monkeypatch.setattr(backend, "optimum_neuron", lambda: neuron.NAMESPACE)

    def get(name: str) -> Path:
        shutil.copytree(model(name), tmp_path / name)
        neuron.mark_compiled(tmp_path / name)
        return tmp_path / name

    return get


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_only_compiled_shapes_reach_the_device(name: str, compiled: Model, model: Model) -> None:
    """Batches are filled to the compiled size, prompts padded to the compiled length, and the answers are those of the processor."""
    serving = Serving(name, compiled(name), "neuron")
    assert serving.loaded.batch_buckets == (neuron.BATCH,)
    assert serving.loaded.static_shapes
    serving.warm(serving.loaded.batch_buckets)
    eager = Serving(name, model(name))
    for request in REQUESTS[name]:
        assert_same(serving.answer(request, padded_to=neuron.BATCH)[0], eager.answer(request)[0])
    for answer, request in zip(serving.answer(*REQUESTS[name][:2]), REQUESTS[name], strict=False):
        assert_same(answer, eager.answer(request)[0])


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_the_stand_in_refuses_other_shapes(name: str, compiled: Model) -> None:
    """The tests above would fail if a batch were not filled."""
    serving = Serving(name, compiled(name), "neuron")
    with pytest.raises(ValueError, match="compiled for"):
        serving.answer(REQUESTS[name][0])


def test_what_does_not_fit_into_the_artifact_is_refused(compiled: Model) -> None:
    """More tokens than were compiled for are the client's mistake; the error states the numbers."""
    with pytest.raises(InputTooLarge, match=r"prompt: \d+ tokens; at most 32"):
        Serving("bert", compiled("bert"), "neuron").prepare([{"prompt": "film " * 40}])


def test_a_model_that_is_not_compiled_is_refused(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights in place of an artifact end in words, before the library is imported."""
    monkeypatch.setattr(backend, "optimum_neuron", lambda: pytest.fail("imported"))
    with pytest.raises(LoadError, match=r"not compiled for Neuron.*COMPILED_MODEL_ID"):
        Serving("bert", model("bert"), "neuron")


@pytest.mark.filterwarnings("ignore")  # whatever the library says while it fails to be imported
def test_without_the_library_the_reason_is_said(compiled: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """No optimum-neuron, or no torch_neuronx under it: a LoadError that names what is missing."""
    directory = compiled("bert")
    monkeypatch.undo()
    with pytest.raises(LoadError, match=r"the compiled model of .*: (No module named|[Cc]ould not import|cannot import|Failed to import)"):
        Serving("bert", directory, "neuron")


@pytest.mark.parametrize(
    ("visible", "task", "expected"),
    [
        ("0-1", "text-classification", ["0", "1"]),
        ("4,6", "object-detection", ["4", "6"]),
        ("0", "image-classification", [None]),
        ("0-1", "text-to-image", [None]),
    ],
)
def test_each_core_gets_a_process_where_a_model_uses_one(
    visible: str, task: str, expected: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encoders are loaded onto one core, so two cores are two contexts; Stable Diffusion uses both itself."""
    monkeypatch.setenv("NEURON_RT_VISIBLE_CORES", visible)
    contexts = backend.NeuronBackend.contexts(Settings(), task)
    assert [context.environment.get("NEURON_RT_VISIBLE_CORES") for context in contexts] == expected


def source(path: str) -> ast.Module:
    """A module of the installed optimum-neuron, parsed: importing it needs Neuron's runtime."""
    try:
        installed = distribution("optimum-neuron")
    except PackageNotFoundError:
        pytest.skip("OPTIMUM-NEURON IS NOT INSTALLED: it goes with transformers 4.57; make test-pipelines tries it there")
    return ast.parse(Path(str(installed.locate_file(path))).read_text())


def function(tree: ast.Module, owner: str, name: str) -> ast.FunctionDef:
    """A method of a class."""
    (found,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == owner)
    (method,) = (node for node in found.body if isinstance(node, ast.FunctionDef) and node.name == name)
    return method


def test_the_real_library_exports_the_classes_we_use() -> None:
    """Every class of the stand-in is exported by optimum-neuron under that name."""
    tree = source("optimum/neuron/__init__.py")
    exported = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert set(vars(neuron.NAMESPACE)) <= exported


def test_the_real_models_take_what_we_pass() -> None:
    """Names of arguments: of encoders' forward, of the outputs we read."""
    tree = source("optimum/neuron/modeling.py")
    for owner, inputs in {
        "NeuronModelForSequenceClassification": ["input_ids", "attention_mask", "token_type_ids"],
        "NeuronModelForImageClassification": ["pixel_values"],
        "NeuronModelForObjectDetection": ["pixel_values"],
    }.items():
        assert [argument.arg for argument in function(tree, owner, "forward").args.args[1:]] == inputs
    outputs = [
        keyword.arg
        for node in ast.walk(function(tree, "NeuronModelForObjectDetection", "forward"))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
    ]
    assert {"logits", "pred_boxes"} <= set(outputs)


def test_the_real_library_writes_the_shapes_where_we_read_them() -> None:
    """`config.neuron` with `static_…` names."""
    shapes = ast.unparse(source("optimum/neuron/utils/argument_utils.py"))
    assert "f'static_{axis}'" in shapes
    assert "update_func('neuron', config_args)" in shapes
