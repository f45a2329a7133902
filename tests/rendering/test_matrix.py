"""The matrix: what is known not to work is refused by name, what is unknown or frozen is said, and what ships passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from controller.catalog.instances import INSTANCES, family_of
from controller.cli.main import main
from failover_setup.matrix import Case, Row, Status, case_of_pod, flags_of, matrix, model_named, shortfalls, verdicts
from tests.support.stacks import NAMES, application_file, document, example

NXDI = "public.ecr.aws/neuron/pytorch-inference-vllm-neuronx"
LLAMA, MISTRAL = "hf://meta-llama/Llama-3.2-1B-Instruct", "hf://mistralai/Mistral-7B-Instruct-v0.3"


def _run(command: list[str], values: dict[str, Any], tmp_path: Path) -> tuple[int, str]:
    path = tmp_path / "app.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    result = CliRunner().invoke(main, [*command, str(path)])
    return result.exit_code, result.output


def _llama(index: int, **stack: Any) -> dict[str, Any]:
    values = document("llama")
    values["spec"]["units"][index]["stack"]["vllm"] |= stack
    return values


@pytest.mark.parametrize("command", [["render"], ["config", "check"]], ids=["render", "config check"])
@pytest.mark.parametrize("tag", ["0.16.0-neuronx-py312-sdk2.31.1-ubuntu24.04", "0.13.0-neuronx-py312-sdk2.28.0-ubuntu24.04"])
@pytest.mark.parametrize(("index", "device"), [(0, "inf2"), (1, "trn1")])
def test_llama_3_2_1b_with_awss_vllm_is_refused(index: int, device: str, tag: str, command: list[str], tmp_path: Path) -> None:
    """By name, with what works instead, since Neuron SDK 2.27."""
    code, output = _run(command, _llama(index, image=f"{NXDI}:{tag}"), tmp_path)
    assert code == 1
    found = f"spec.units[{index}].stack.vllm.image: found llama-3.2-1b on {device} with pytorch-inference-vllm-neuronx:{tag}"
    assert f"{found}, which is known not to work: the compiler ends with NCC_ITEN404" in output
    assert "allowed: huggingface-vllm-inference-neuronx:0.11.0-optimum0.4.5" in output


def test_the_same_image_before_that_sdk_is_not_refused(tmp_path: Path) -> None:
    """Nobody says that it fails there; it is a warning that nobody says it works."""
    code, output = _run(["render"], _llama(0, image=f"{NXDI}:0.9.1-neuronx-py311-sdk2.26.1-ubuntu22.04"), tmp_path)
    assert code == 0
    assert "llama-3.2-1b on inf2 with pytorch-inference-vllm-neuronx:0.9.1" in output
    assert "is not known to work" in output


@pytest.mark.parametrize("index", [0, 1], ids=["inf2", "trn1"])
def test_the_plugin_on_inferentia2_and_trainium1_is_refused(index: int, tmp_path: Path) -> None:
    """It is for Trainium2 and Trainium3 alone."""
    code, output = _run(["render"], _llama(index, image=matrix().engines["vllm-plugin"].image), tmp_path)
    assert code == 1
    assert "which is known not to work: the vLLM Neuron plugin is for Trainium2 and Trainium3 alone" in output


def test_mistral_with_optimum_neuron_is_refused(tmp_path: Path) -> None:
    """What works instead is another device."""
    values = document("llama")
    values["spec"]["stack"] |= {"model": MISTRAL, "revision": "a" * 40}
    values["spec"]["units"][0] |= {"instanceType": "inf2.8xlarge"}
    code, output = _run(["render"], values, tmp_path)
    assert code == 1
    assert "mistral-7b on inf2 with huggingface-vllm-inference-neuronx" in output
    assert "allowed: vllm:server-cuda-v2.3 on g5, g6" in output


def test_bfloat16_on_a_t4_is_refused_and_half_is_not(tmp_path: Path) -> None:
    """The last of equal flags counts, as in vLLM."""
    values = _llama(2)
    values["spec"]["units"][2] |= {"instanceType": "g4dn.xlarge", "device": "g4dn"}
    code, output = _run(["render"], values, tmp_path)
    assert (code, "a T4 has no bfloat16" in output) == (1, True)
    values["spec"]["units"][2]["stack"]["vllm"]["args"] = ["--dtype", "half"]
    assert _run(["render"], values, tmp_path)[0] == 0


def test_7b_in_fp16_on_16_gb_is_refused_with_by_how_much(tmp_path: Path) -> None:
    """Weights of 13.5 GiB, the cache of one sequence and the reserve exceed 0.9 of a T4's 16."""
    values = document("mistral")
    values["spec"]["units"][0] |= {"instanceType": "g4dn.xlarge", "device": "g4dn"}
    values["spec"]["units"][0]["stack"]["vllm"] = {"args": ["--dtype=half"]}
    code, output = _run(["render"], values, tmp_path)
    assert code == 1
    assert "spec.units[0].stack.accelerators: found 14.4 GiB on 1 T4; allowed: at least 15.0 GiB, 0.6 more" in output
    assert "weights 13.5, KV cache 0.5, reserve 1.0" in output


@pytest.mark.parametrize(("kind", "needed"), [("trn1.2xlarge", "9.9 more"), ("inf2.xlarge", "21.9 more")])
def test_a_compilation_that_its_pod_has_no_memory_for_is_refused(kind: str, needed: str) -> None:
    """An 8B model was killed on trn1.2xlarge."""
    pod = {"trn1.2xlarge": 24.0, "inf2.xlarge": 12.0}[kind]
    case = Case(
        "meta-llama/Llama-3.1-8B-Instruct", (kind,), "neuron", "huggingface-vllm-inference-neuronx:x", ("--max-model-len=4096",), 1, pod
    )
    ((field, found, wanted),) = shortfalls(case)
    assert (field, found) == ("memory", f"{pod} GiB")
    assert needed in wanted


def test_the_cache_counts_with_context_and_batch() -> None:
    """On Neuron for the whole batch, on a GPU for a sequence; float32 doubles the weights."""

    def short(framework: str, kind: str, *flags: str) -> list[str]:
        return [field for field, _, _ in shortfalls(Case(LLAMA.replace("2-1B", "1-8B"), (kind,), framework, "vllm:server-cuda", flags))]

    assert short("cuda", "g6.xlarge", "--max-model-len=8192") == []
    assert short("cuda", "g6.xlarge", "--max-model-len=131072") == ["accelerators"]
    assert short("cuda", "g6.xlarge", "--max-model-len=8192", "--dtype=float32") == ["accelerators"]
    assert short("neuron", "inf2.8xlarge", "--max-model-len=8192", "--max-num-seqs=4") == []
    assert short("neuron", "inf2.8xlarge", "--max-model-len=8192", "--max-num-seqs=32") == ["accelerators"]


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_stack_passes(name: str) -> None:
    """Nothing of it is known not to work, and everything fits; what is unknown or frozen is said."""
    result = CliRunner().invoke(main, ["config", "check", str(application_file(name))])
    assert result.exit_code == 0, result.output
    assert "known not to work" not in result.output


def test_the_live_pods_of_a_rendered_stack_give_the_same_verdicts() -> None:
    """What `doctor` and `init` read from a cluster is what `render` judged."""
    for name in NAMES:
        values = document(name)
        units = {one["deployment"]: one for one in values["spec"]["units"]}
        for one in example(name):
            if one["kind"] == "Deployment":
                unit = units[one["metadata"]["name"]]
                case = case_of_pod(unit["framework"], (unit["instanceType"],), one["spec"]["template"]["spec"])
                assert model_named(case.model) or name in case.model
                assert all(verdict.status is not Status.FAILS for verdict in verdicts(case))
                assert list(shortfalls(case)) == []


def test_flags_are_read_in_both_spellings() -> None:
    """Of arguments without a value nothing is kept."""
    words = ["vllm", "serve", "/m", "--dtype", "half", "--no-enable-prefix-caching", "--max-model-len=8192", "--swap-space", "0"]
    assert flags_of(words) == ("--dtype=half", "--max-model-len=8192", "--swap-space=0")


@pytest.mark.parametrize(
    ("location", "model"),
    [
        ("hf://meta-llama/Llama-3.2-1B-Instruct", "llama-3.2-1b"),
        ("unsloth/Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("s3://bucket/models/Llama-3-1-8B", "llama-3.1-8b"),
        ("hf://meta-llama/Meta-Llama-3-8B", ""),
        ("hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4", ""),
        ("hf://distilbert/distilbert-base-uncased-finetuned-sst-2-english", "bert"),
        ("FacebookAI/roberta-base", ""),
        ("google/vit-base-patch16-224", "vit"),
        ("an/invitation", ""),
    ],
)
def test_a_model_is_found_by_its_name_and_no_other_passes_for_it(location: str, model: str) -> None:
    """Quantized weights are another model: neither its rows nor its size hold."""
    assert model_named(location) == model


def test_flags_that_are_no_numbers_end_nothing() -> None:
    """They are read from live pods, too."""
    flags = ("--max-model-len=auto", "--max-num-seqs=" + "9" * 400, "--gpu-memory-utilization=x")
    assert list(shortfalls(Case(LLAMA, ("g6.xlarge",), "cuda", "vllm:server-cuda", flags))) == []
    assert list(shortfalls(Case(MISTRAL, ("g4dn.xlarge",), "cuda", "vllm:server-cuda", ("--quantization=bitsandbytes",)))) == []


def test_pods_whose_accelerators_are_not_known_are_not_judged_by_memory() -> None:
    """Such as those that share a GPU under another resource, or none that anybody describes."""
    words = {"image": "x/vllm-openai:1", "command": ["vllm", "serve", MISTRAL]}
    shared = {"containers": [{**words, "resources": {"limits": {"nvidia.com/gpu.shared": "1"}}}]}
    case = case_of_pod("cuda", ("g4dn.xlarge",), shared)
    assert (case.accelerators, list(shortfalls(case))) == (0, [])
    assert list(verdicts(case_of_pod("", (), {}))) == []


def test_rows_name_what_the_file_has() -> None:
    """Models, devices and engines of rows, families of engines; each row has a source, and a finding says who made it."""
    known = matrix()
    for row in known.rows:
        assert set(row.models) <= set(known.models)
        assert set(row.devices) <= set(known.accelerators)
        assert row.engine in known.engines
        assert row.source.startswith("https://") or row.by == "run"
        assert (row.by == "") == (row.status is Status.UNKNOWN)
    for engine in known.engines.values():
        assert set(engine.devices) <= set(known.accelerators)


def test_every_family_of_the_catalog_has_an_accelerator() -> None:
    """Else nothing of its memory would be known."""
    assert {family_of(one) for one in INSTANCES} <= set(matrix().accelerators)


def test_a_row_of_the_proof_kit_is_one_unless_the_run_was_dry() -> None:
    """As `model_server/benchmarks/prove.py` writes it."""
    written = {
        "models": ["llama-3.1-8b"],
        "devices": ["trn2"],
        "engine": "vllm-plugin",
        "status": "works",
        "by": "run",
        "date": "2026-12-01",
        "source": "model_server/benchmarks/prove.sh",
        "why": "1.00 requests/s",
        "versions": {"vllm": "0.24.0", "driver": "2.29.0.0"},
    }
    assert Row.model_validate(written).status is Status.WORKS
    with pytest.raises(ValueError, match="by"):
        Row.model_validate({**written, "by": "dry run"})
