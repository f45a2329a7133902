"""The proof kit, where there is no accelerator: the command, on a tiny model and the processor, and before a fake of vLLM."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks.prove import _given, compiled

from tests.support import vllm

ROOT = Path(__file__).parents[2]


def prove(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.prove", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)


def row(path: Path) -> dict[str, Any]:
    """The row: an entry of a list, a line for each key, whose value is JSON, or a date."""
    text = path.read_text()
    assert text.startswith("  - models: ")
    pairs = (line[4:].split(": ", 1) for line in text.splitlines())
    return {name: value if name == "date" else json.loads(value) for name, value in pairs}


@pytest.mark.timeout(520)
def test_a_dry_run_asks_everything_and_writes_a_row(tmp_path: Path) -> None:
    """Probes, the task's route, the Open Inference Protocol over HTTP and gRPC; the row cannot pass for a run."""
    done = prove("cuda", "--dry-run", "--seconds", "0.5", "--latency-limit", "30", "--out", str(tmp_path / "row.yaml"))
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()[0]
    for name in ("/health", "/readiness", "/ping", "/metrics", "/sentiment", "/v2", "gRPC ServerReady", "gRPC ModelInfer"):
        assert name in said
    found = row(tmp_path / "row.yaml")
    assert (found["models"], found["devices"], found["by"]) == (["tiny"], ["cpu"], "dry run")
    assert "requests/s at a p95 of" in found["why"]
    assert {"torch", "transformers"} <= set(found["versions"])


@pytest.mark.timeout(520)
def test_a_vllm_that_runs_is_asked_through_the_adapter(tmp_path: Path) -> None:
    """With OpenAI's routes in place of the Open Inference Protocol."""
    with vllm.serve() as engine:
        engine.health = 200
        options = ("--url", engine.url, "--engine", "vllm-plugin", "--seconds", "0.3", "--out", str(tmp_path / "row.yaml"))
        done = prove("vllm", "--dry-run", "--image", f"x/y:0.24.0-sdk2.32.0-z@sha256:{'a' * 64}", *options)
    assert done.returncode == 0, done.stderr
    assert "/gentext, /v1/chat/completions, /v1/completions: answered" in done.stdout
    found = row(tmp_path / "row.yaml")
    assert found["engine"] == "vllm-plugin"
    assert found["versions"]["neuron-sdk"] == "2.32.0"
    assert found["versions"]["image"].endswith("a" * 64)


def test_neuron_compiles_first_and_describes_what_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With optimum-neuron's command; the shapes of the compilation are those of the description."""
    commands: list[str] = []
    monkeypatch.setattr("benchmarks.prove.subprocess.run", lambda command, **_: commands.append(" ".join(command)))
    given = ["neuron", "--model", "org/repo", "--revision", "c" * 40, "--task", "text-classification", "--device", "inf2", "--name", "bert"]
    found = compiled(_given([*given, "--shape", "sequence_length=128"]), tmp_path / "compiled")
    assert found == tmp_path / "compiled"
    export, describe = commands
    assert export.startswith("optimum-cli export neuron --model org/repo --task text-classification --instance_type inf2")
    assert "--batch_size 1 --sequence_length 128" in export
    assert "--shape batch_size=1 --shape sequence_length=128" in describe
    assert f"--revision {'c' * 40}" in describe


def test_a_row_needs_model_name_and_device() -> None:
    done = prove("neuron", "--model", "org/repo")
    assert (done.returncode, "--model, --name and --device are needed" in done.stderr) == (2, True)
