"""The download as operators see it: a server process in DOWNLOADING, its progress, its end, SIGTERM in the middle of it."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from failover_model_server.download import manifest

from tests.support import hub, models
from tests.support.process import running


def _until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


@contextmanager
def _server(hub_url: str, root: Path) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    environment = {
        **os.environ,
        "MODEL_SERVER_TASK": "echo",
        "MODEL_SERVER_BACKEND": "echo",
        "MODEL_SERVER_MODEL": "hf://org/model",
        "MODEL_SERVER_REVISION": hub.COMMIT,
        "MODEL_SERVER_HUB_ENDPOINT": hub_url,
        "MODEL_SERVER_CACHE_DIR": str(root),
        "MODEL_SERVER_HOST": "127.0.0.1",
        "MODEL_SERVER_PORT": str(port),
        "MODEL_SERVER_GRPC_PORT": "0",
        "MODEL_SERVER_DRAIN_SECONDS": "0",
    }
    process = subprocess.Popen([sys.executable, "-m", "failover_model_server", "serve"], env=environment)
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _state(url: str) -> dict[str, str]:
    try:
        answer: dict[str, str] = httpx.get(f"{url}/readiness", trust_env=False, timeout=2).json()
    except httpx.HTTPError:
        return {"state": "", "reason": ""}
    return answer


@pytest.mark.slow
def test_progress_is_reported_while_downloading_and_the_server_becomes_ready(tmp_path: Path) -> None:
    """`/readiness` says 503 with the bytes that are here, `/health` 200, the gauge counts; then READY with a whole directory."""
    with hub.serve("org/model", models.transformers() | {"model.safetensors": models.safetensors(4_000_000)}) as running:
        running.hold = threading.Event()
        with _server(running.url, tmp_path) as (_, url):
            _until(lambda: "of 4 MB" in _state(url)["reason"])
            assert _state(url)["state"] == "DOWNLOADING"
            assert httpx.get(f"{url}/health", trust_env=False).status_code == 200
            running.hold.set()
            _until(lambda: _state(url)["state"] == "READY")
            assert "model_server_download_bytes 4.0" in httpx.get(f"{url}/metrics", trust_env=False).text
    assert len(list(tmp_path.rglob(manifest.FILE))) == 1


@pytest.mark.slow
def test_sigterm_in_the_middle_ends_soon_and_leaves_no_model(tmp_path: Path) -> None:
    """A pod that is taken away while it downloads does not wait for the line; the next one goes on with what is there."""
    content = models.transformers() | {"model.safetensors": models.safetensors(4_000_000)}
    with hub.serve("org/model", content) as running:
        running.hold = threading.Event()
        try:
            with _server(running.url, tmp_path) as (process, url):
                _until(lambda: _state(url)["state"] == "DOWNLOADING" and bool(running.gets("model.safetensors")))
                process.send_signal(signal.SIGTERM)
                process.wait(20)
        finally:
            running.hold.set()
        assert not list(tmp_path.rglob(manifest.FILE))
        with _server(running.url, tmp_path) as (_, url):
            _until(lambda: _state(url)["state"] == "READY")


@pytest.mark.slow
def test_a_model_that_cannot_be_had_ends_the_process_with_its_reason(tmp_path: Path) -> None:
    """CrashLoopBackOff shows it; the exit code is not 0."""
    content = {path: data for path, data in models.transformers().items() if path != "model.safetensors"}
    with hub.serve("org/model", content) as running, _server(running.url, tmp_path) as (process, _):
        assert process.wait(30) == 1


def test_a_load_that_takes_too_long_ends_the_process_in_the_middle_of_a_download(tmp_path: Path) -> None:
    """The thread that fetches cannot be ended. The process does not wait for it: for this hub that would be a minute."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment = {
            "MODEL_SERVER_MODEL": "hf://org/model",
            "MODEL_SERVER_REVISION": hub.COMMIT,
            "MODEL_SERVER_HUB_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "MODEL_SERVER_CACHE_DIR": str(tmp_path),
            "MODEL_SERVER_LOAD_TIMEOUT": "2",
        }
        with running(**environment) as server:
            assert server.ended() == 1
            assert server.logged("failed")["reason"] == "not ready after 2 s (load_timeout), while fetching hf://org/model"
