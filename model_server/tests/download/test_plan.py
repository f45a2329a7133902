"""The plan of a download: which files, how many bytes, and what is said when one is missing."""

import json
import random
from pathlib import Path

import pytest
from failover_model_server.download.files import RemoteFile
from failover_model_server.download.plan import Kind, Plan, Reason, make_plan, read_model_index
from failover_model_server.errors import LoadError
from hypothesis import given
from hypothesis import strategies as st

from tests.support import models

DATA = Path(__file__).parents[1] / "data"


def _files(content: dict[str, bytes]) -> list[RemoteFile]:
    return [RemoteFile(path, len(data)) for path, data in content.items()]


def _plan(content: dict[str, bytes], **more: object) -> Plan:
    index = read_model_index(content["model_index.json"]) if "model_index.json" in content else None
    return make_plan(_files(content), **{"variant": "fp16", "model_index": index, **more})  # type: ignore[arg-type]


def _paths(plan: Plan) -> list[str]:
    return [file.path for file in plan.chosen]


def test_stable_diffusion_is_fetched_once_and_in_half_precision() -> None:
    """Of Stable Diffusion 2.1 the fp16 safetensors, configurations and tokenizer are chosen: at most 11 % of the repository's bytes."""
    listed = json.loads((DATA / "stable-diffusion-2-1.json").read_text())["files"]
    plan = make_plan((RemoteFile(f["path"], f.get("size") or f["at_least"]) for f in listed), variant="fp16")
    assert plan.kind is Kind.DIFFUSERS
    assert _paths(plan) == [
        "feature_extractor/preprocessor_config.json",
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.fp16.safetensors",
        "tokenizer/merges.txt",
        "tokenizer/special_tokens_map.json",
        "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.fp16.safetensors",
    ]
    assert plan.bytes_chosen / plan.bytes_total <= 0.11


def test_the_default_precision_is_chosen_when_asked_for() -> None:
    """An empty variant means the weights without one."""
    chosen = _paths(_plan(models.diffusers(), variant=""))
    assert "unet/diffusion_pytorch_model.safetensors" in chosen
    assert not any("fp16" in path for path in chosen)


def test_a_component_without_the_variant_is_taken_in_the_default_precision() -> None:
    """Repositories often have fp16 for the large components only."""
    content = models.diffusers()
    del content["text_encoder/model.fp16.safetensors"]
    chosen = _paths(_plan(content))
    assert "text_encoder/model.safetensors" in chosen
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in chosen
    assert "unet/diffusion_pytorch_model.safetensors" not in chosen


def test_components_that_the_pipeline_does_without_are_left() -> None:
    """The safety checker is not fetched, nor a folder that model_index.json does not name."""
    content = models.diffusers() | {"safety_checker/config.json": b"{}", "safety_checker/model.safetensors": models.safetensors(9)}
    content |= {"other/config.json": b"{}", "other/model.safetensors": models.safetensors(9)}
    plan = _plan(content)
    assert not any(path.startswith(("safety_checker/", "other/")) for path in _paths(plan))
    assert {file.path: why for file, why in plan.left}["safety_checker/model.safetensors"] is Reason.COMPONENT


def test_a_text_model_is_fetched_without_its_duplicates_and_code() -> None:
    """Consolidated and pickled copies, other formats and Python files are left."""
    plan = _plan(models.transformers())
    assert plan.kind is Kind.TRANSFORMERS
    assert _paths(plan) == [
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    left = {file.path: why for file, why in plan.left}
    assert left["pytorch_model.bin"] is Reason.PICKLED
    assert left["consolidated.safetensors"] is Reason.OTHER_WEIGHTS
    assert left["modeling_custom.py"] is Reason.NOT_NEEDED


def test_all_shards_and_their_index_are_chosen() -> None:
    """A sharded model is its index and every shard."""
    chosen = _paths(_plan(models.transformers(shards=3)))
    assert [path for path in chosen if path.startswith("model")] == [
        "model-00001-of-00003.safetensors",
        "model-00002-of-00003.safetensors",
        "model-00003-of-00003.safetensors",
        "model.safetensors.index.json",
    ]


@pytest.mark.parametrize(
    "names",
    [
        ("model.fp16-00001-of-00002.safetensors", "model.fp16-00002-of-00002.safetensors"),
        ("model-00001-of-00002.fp16.safetensors", "model-00002-of-00002.fp16.safetensors"),
    ],
    ids=["variant before the number", "variant after the number"],
)
def test_shards_of_a_variant_are_found_under_both_spellings(names: tuple[str, str]) -> None:
    """Old and new versions of the libraries place the variant differently."""
    content = models.transformers() | dict.fromkeys(names, b"") | {"model.safetensors.index.fp16.json": b"{}"}
    assert {*names, "model.safetensors.index.fp16.json"} <= set(_paths(_plan(content)))
    assert "model.safetensors" not in _paths(_plan(content))


MISSING = [
    pytest.param(lambda c: c.pop("model-00002-of-00003.safetensors"), "model-00002-of-00003.safetensors is missing", id="a shard"),
    pytest.param(lambda c: c.pop("model.safetensors.index.json"), "have no .safetensors.index.json", id="the index"),
    pytest.param(lambda c: c.pop("config.json"), "neither config.json nor model_index.json", id="the configuration"),
]


@pytest.mark.parametrize(("change", "message"), MISSING)
def test_what_is_missing_is_named(change: object, message: str) -> None:
    """A model that is not whole is refused with the name of the file."""
    content = models.transformers(shards=3)
    change(content)  # type: ignore[operator]
    with pytest.raises(LoadError, match=message):
        _plan(content)


def test_weights_that_can_run_code_are_refused() -> None:
    """A repository with pickles alone is not served, and the message says what to do."""
    content = models.transformers()
    del content["model.safetensors"], content["consolidated.safetensors"]
    with pytest.raises(LoadError, match=r"only as pytorch_model\.bin.*convert it to safetensors"):
        _plan(content)


def test_another_variant_is_not_taken_silently() -> None:
    """Where only bf16 exists, the setting is named."""
    content = models.transformers()
    content["model.bf16.safetensors"] = content.pop("model.safetensors")
    with pytest.raises(LoadError, match="variants bf16; set MODEL_SERVER_VARIANT"):
        _plan(content)
    assert "model.bf16.safetensors" in _paths(_plan(content, variant="bf16"))


def test_a_component_that_is_named_and_absent_is_fatal() -> None:
    """model_index.json is believed: a pipeline without one of its parts is not fetched for ten minutes first."""
    content = {path: data for path, data in models.diffusers().items() if not path.startswith("unet/")}
    with pytest.raises(LoadError, match="component unet"):
        _plan(content)


COMPILED = {"model_index.json": b"{}", "artifact.json": b"{}", "unet/config.json": b"{}", "unet/model.neuron": b"neff", "README.md": b""}


def test_compiled_artifacts_are_fetched_without_weights() -> None:
    """Of compiled artifacts the compiled models, configurations and what says what they are for are chosen."""
    plan = _plan(COMPILED | {"unet/diffusion_pytorch_model.bin": b"x"}, compiled=True)
    assert _paths(plan) == ["artifact.json", "model_index.json", "unet/config.json", "unet/model.neuron"]
    llm = {
        "artifact.json": b"{}",
        "config.json": b"{}",
        "model.pt": b"",
        "neuron_config.json": b"{}",
        "checkpoint/weights/tp0.safetensors": b"",
    }
    llm |= {"checkpoint/model.safetensors": b""}
    assert {"model.pt", "checkpoint/model.safetensors"} <= set(_paths(_plan(llm, compiled=True)))


@pytest.mark.parametrize(
    ("without", "message"), [("artifact.json", "artifact.json is missing"), ("unet/model.neuron", "neither a .neuron file nor model.pt")]
)
def test_compiled_artifacts_that_are_not_whole_are_refused(without: str, message: str) -> None:
    """Artifacts that do not say what they are for, or hold nothing compiled, are refused before they are fetched."""
    with pytest.raises(LoadError, match=message):
        _plan({path: data for path, data in COMPILED.items() if path != without}, compiled=True)


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "", "a\\b", "a\0b"])
def test_a_path_outside_the_model_is_refused(path: str) -> None:
    """A listing cannot make the server write elsewhere."""
    with pytest.raises(LoadError, match="no path inside a model"):
        RemoteFile(path, 1)


NAMES = st.sampled_from(sorted(models.diffusers() | models.transformers(shards=2) | COMPILED))


@given(st.lists(NAMES, unique=True), st.sampled_from(["", "fp16", "bf16"]), st.booleans(), st.randoms())
def test_a_plan_takes_each_file_or_leaves_it_with_a_reason(names: list[str], variant: str, compiled: bool, order: random.Random) -> None:
    """Whatever the list: no file is lost or taken twice, nothing that can run code is taken, and the order of the list does not matter."""
    files = [RemoteFile(name, len(name)) for name in names]
    try:
        plan = make_plan(files, variant=variant, compiled=compiled)
    except LoadError:
        return
    assert sorted([file.path for file in plan.chosen] + [file.path for file, _ in plan.left]) == sorted(names)
    assert not any(file.path.endswith((".py", ".bin", ".ckpt", ".pth")) for file in plan.chosen)
    order.shuffle(files)
    assert make_plan(files, variant=variant, compiled=compiled) == plan
