"""The benchmark for a GPU, where there is none: the command, on a tiny model and the processor."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


def benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.gpu", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)


@pytest.mark.compiles
@pytest.mark.timeout(520)
def test_a_dry_run_measures_everything(tmp_path: Path) -> None:
    """Starts by phase, single pictures and batches; and it says that the figures mean nothing."""
    done = benchmark("--dry-run", "--out", str(tmp_path / "gpu.json"))
    assert done.returncode == 0, done.stderr
    assert "a dry run, whose figures mean nothing" in done.stdout
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["dry_run"]
    assert set(found["starts"]) == {"eager", "torch.compile, empty cache", "torch.compile, filled cache"}
    assert all({"process", "LOADING", "WARMING"} <= set(start) for start in found["starts"].values())
    assert set(found["single_s"]) == {"bare pipeline", "server", "server, torch.compile"}
    assert all(value > 0 for kind in ("single_s", "per_second") for value in found[kind].values())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so() -> None:
    done = benchmark()
    assert (done.returncode, done.stdout) == (1, "")
    assert "sees no CUDA device; --dry-run measures a tiny model" in done.stderr
