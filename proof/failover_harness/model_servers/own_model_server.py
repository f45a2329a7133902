"""Runs the project's model server on the CPU, as a process: a tiny BERT with random weights, in the environment of its tests."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import urllib3
import yaml

from failover_harness.control_plane.control_plane import free_ports

ROOT: Final = Path(__file__).parents[3] / "model_server"
MODEL: Final = "bert"
BODY: Final = '{"prompt": "the film was not very good"}'
ROUTE: Final = "/sentiment"

_MAKE: Final = "import sys; from pathlib import Path; from tests.pipelines import models; models.bert(Path(sys.argv[1]))"
# One thread: the load shares the processor, and torch's threads spin while they wait for each other.
QUIET: Final = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
_IMAGES: Final = ROOT.parent / "deploy" / "images" / "images.yaml"
_START_S: Final = 300.0
_EVERY_S: Final = 0.5


def python() -> Path | None:
    """The interpreter with the model server's libraries; None until `make test-pipelines` has finished making it."""
    complete = sorted(ROOT.glob(".venv-libraries-*/.synced"))
    return complete[-1].parent / "bin" / "python" if complete else None


@contextmanager
def serving_bert(interpreter: Path) -> Iterator[str]:
    """Creates and serves a tiny BERT; yields the URL of its route.

    Args:
        interpreter: See `python`.

    Raises:
        RuntimeError: It did not become ready.
    """
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / MODEL
        run(interpreter, "-c", _MAKE, str(model))
        with serving(interpreter, "text-classification", model) as url:
            yield f"{url}{ROUTE}"


def shipped_environment() -> dict[str, str]:
    """The variables that the server's image for a processor sets."""
    found: dict[str, str] = yaml.safe_load(_IMAGES.read_text(encoding="utf-8"))["servers"]["cpu"]["environment"]
    return found


def run(interpreter: Path, *arguments: str) -> None:
    """Runs Python in the model server's folder, whose tests create the models.

    Raises:
        RuntimeError: The command failed; the message contains its output.
    """
    done = subprocess.run(
        [str(interpreter), *arguments],
        cwd=ROOT,
        env={**os.environ, **QUIET},
        capture_output=True,
        text=True,
        check=False,
        timeout=_START_S,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{done.stderr[-4000:]}")


@dataclass(frozen=True, slots=True)
class Served:
    """A running server: its URL, and the number of its first process."""

    url: str
    pid: int


@contextmanager
def serving(interpreter: Path, task: str, model: Path, **settings: str) -> Iterator[str]:
    """Runs the server as `served` does; yields its URL."""
    with served(interpreter, task, model, **settings) as running:
        yield running.url


@contextmanager
def served(interpreter: Path, task: str, model: Path, **settings: str) -> Iterator[Served]:
    """Runs the server; yields it once it is ready.

    Args:
        interpreter: See `python`.
        task: The server's task.
        model: The model's folder; caches and the log go beside it.
        settings: Additional settings, without their prefix.

    Raises:
        RuntimeError: It did not become ready.
    """
    (port,) = free_ports(1)
    chosen = {
        "TASK": task, "BACKEND": "cpu", "MODEL": str(model), "HOST": "127.0.0.1", "PORT": str(port), "GRPC_PORT": "0",
        "DRAIN_SECONDS": "0", "CACHE_DIR": str(model.parent), **settings,
    }  # fmt: skip
    environment = {**os.environ, **QUIET, **shipped_environment(), **{f"MODEL_SERVER_{name}": value for name, value in chosen.items()}}
    url, log = f"http://127.0.0.1:{port}", model.parent / "server.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [str(interpreter), "-m", "failover_model_server", "serve"], cwd=model.parent, env=environment, stdout=out, stderr=out
        )
    try:
        wait_for(process, f"{url}/readiness", log)
        yield Served(url, process.pid)
    finally:
        process.kill()
        process.wait()


def wait_for(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Waits until a server answers with 200.

    Raises:
        RuntimeError: It ended, or took too long; the message has the end of its log.
    """
    http = urllib3.PoolManager(timeout=2.0, retries=False)
    for _ in range(int(_START_S / _EVERY_S)):
        try:
            if http.request("GET", url).status == 200:
                return
        except urllib3.exceptions.HTTPError:
            pass
        if process.poll() is not None:
            break
        threading.Event().wait(_EVERY_S)
    raise RuntimeError(f"the server did not become ready:\n{log.read_text()[-4000:]}")
