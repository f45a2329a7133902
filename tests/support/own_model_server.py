"""Our own model server on the CPU, as a process: a tiny BERT with random weights, from the environment of its own tests."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import urllib3

ROOT: Final = Path(__file__).parents[2] / "model_server"
MODEL: Final = "bert"
BODY: Final = '{"prompt": "the film was not very good"}'
ROUTE: Final = "/sentiment"

_MAKE: Final = "import sys; from pathlib import Path; from tests.pipelines import models; models.bert(Path(sys.argv[1]))"
_START_S: Final = 300.0
_EVERY_S: Final = 0.5


def python() -> Path | None:
    """The interpreter with the libraries of the model server; None where `make test-model-server` has not made it."""
    found = sorted(ROOT.glob(".venv-libraries-*/bin/python"))
    return found[-1] if found else None


@contextmanager
def serving(interpreter: Path, max_queue: int = 64) -> Iterator[str]:
    """The server, ready; yields the URL of its route.

    Args:
        interpreter: See `python`.
        max_queue: Requests that may wait; more get 429.

    Raises:
        RuntimeError: It did not become ready.
    """
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / MODEL
        # One thread: the load tool shares the processor, and threads of torch that wait for each other spin.
        quiet = {**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        subprocess.run([str(interpreter), "-c", _MAKE, str(model)], cwd=ROOT, env=quiet, check=True, timeout=_START_S, capture_output=True)
        port = _free_port()
        settings = {
            "APP": "bert", "TASK": "text-classification", "BACKEND": "cpu", "MODEL": str(model), "HOST": "127.0.0.1", "PORT": str(port),
            "GRPC_PORT": "0", "MAX_QUEUE": str(max_queue), "DRAIN_SECONDS": "0", "CACHE_DIR": folder,
        }  # fmt: skip
        environment = quiet | {f"MODEL_SERVER_{name}": value for name, value in settings.items()}
        log = (Path(folder) / "log").open("w")
        process = subprocess.Popen(
            [str(interpreter), "-m", "failover_model_server", "serve"], cwd=folder, env=environment, stdout=log, stderr=log
        )
        try:
            _wait(process, f"http://127.0.0.1:{port}/readiness", Path(folder) / "log")
            yield f"http://127.0.0.1:{port}{ROUTE}"
        finally:
            process.kill()
            process.wait()
            log.close()


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
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
    raise RuntimeError(f"the model server did not become ready:\n{log.read_text()[-4000:]}")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
