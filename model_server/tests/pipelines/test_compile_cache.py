"""Compile caches with the real Inductor: what one process compiled, the next one finds, on a machine of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipelines import models

pytestmark = pytest.mark.compiles

PROGRAM = """
import json, sys
from pathlib import Path
from tests.pipelines.serving import Serving

model, root, shelf = sys.argv[1:]
serving = Serving(
    "bert", Path(model), "triton", torch_device="cpu", compile_mode="default", batch_buckets=(1,), sequence_buckets=(16,),
    max_input_tokens=16, cache_dir=Path(root), compile_cache=shelf, compile_cache_save=True,
)
serving.warm([1])
from torch._dynamo.utils import counters
found = counters["inductor"]
print(json.dumps({"warm": serving.backend.cache.warm, "hits": found["fxgraph_cache_hit"], "misses": found["fxgraph_cache_miss"]}))
"""


def _start(model: Path, root: Path, shelf: Path) -> dict[str, int]:
    command = [sys.executable, "-c", PROGRAM, str(model), str(root), str(shelf)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    answer: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.mark.slow
@pytest.mark.timeout(480)
def test_a_second_pod_compiles_nothing(tmp_path: Path) -> None:
    """The first process finds nothing and compiles; the second, with an empty directory of its own, takes every graph from the cache."""
    models.bert(tmp_path / "bert")
    first = _start(tmp_path / "bert", tmp_path / "first", tmp_path / "shelf")
    assert (first["warm"], first["hits"]) == (False, 0)
    assert first["misses"] > 0
    second = _start(tmp_path / "bert", tmp_path / "second", tmp_path / "shelf")
    assert (second["warm"], second["misses"], second["hits"]) == (True, 0, first["misses"])
