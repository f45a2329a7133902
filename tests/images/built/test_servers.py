"""The model servers' images, run with a read-only root file system: what of them needs no accelerator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import urllib3

from deploy.images.catalog import load
from deploy.images.lock import PROJECT
from failover_harness.control_plane.control_plane import free_ports
from failover_harness.images import engine
from failover_harness.images.engine import Container, Setting
from failover_harness.model_servers.own_model_server import BODY, QUIET, ROUTE
from failover_harness.waiting import wait_for
from tests.images.built import pod
from tests.images.built.builder import Built

CACHE: Final = "/var/cache/model-server"
ON_A_PROCESSOR: Final = {
    "cpu": {},
    "cuda": {"TORCH_DEVICE": "cpu"},
    "triton": {"TORCH_DEVICE": "cpu", "COMPILE_BACKEND": "aot_eager"},
}
"""Settings with which an image serves without its accelerator; AOTAutograd traces as Inductor does, and needs no compiler."""
LACKING: Final = {
    "cuda": "CUDA",
    "triton": "CUDA",
    "neuron": "not compiled for Neuron",
}
"""What an image says of what is missing here, with its own settings."""

_START_S: Final = 300.0
_MAKE: Final = "import sys; from pathlib import Path; from tests.pipelines import models; models.bert(Path(sys.argv[1]))"


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """The volume that a pod has at `CACHE`."""
    return pod.owned(tmp_path / "cache")


def _given(volume: Path, **settings: str) -> Setting:
    named = {f"MODEL_SERVER_{name}": value for name, value in settings.items()}
    return Setting(environment={**QUIET, **named}, folders={CACHE: volume}, memory={"/tmp": "64m"})


def _bert(built: Built, name: str, volume: Path) -> str:
    """Makes a tiny model with the image's own libraries; returns its path there."""
    given = _given(volume)
    setting = Setting(given.environment, {"/src": PROJECT}, given.folders, given.memory)
    script = f"import sys; sys.path.insert(0, '/src'); {_MAKE}"
    done = engine.output(built.tag, "-c", script, f"{CACHE}/bert", setting=setting, entrypoint=load().servers[name].interpreter)
    assert done.returncode == 0, done.stderr
    return f"{CACHE}/bert"


@contextmanager
def _serving(built: Built, volume: Path, log: Path, **settings: str) -> Iterator[tuple[Container, str]]:
    """The image with its own command; yields it with its address once it listens."""
    port, rpc = free_ports(2)
    chosen = {"HOST": "127.0.0.1", "PORT": str(port), "GRPC_PORT": str(rpc), "DRAIN_SECONDS": "0", **settings}
    url = f"http://127.0.0.1:{port}"
    with engine.running(built.tag, setting=_given(volume, **chosen), log=log) as container:
        wait_for("liveness", lambda: _status(container, f"{url}/health") == 200, deadline_s=_START_S, state=container.log)
        yield container, url


def _status(container: Container, url: str) -> int:
    assert container.process.poll() is None, container.log()
    try:
        return urllib3.request("GET", url, timeout=5, retries=False).status
    except urllib3.exceptions.HTTPError:
        return 0


@pytest.mark.parametrize("name", ON_A_PROCESSOR)
def test_it_answers_probes_and_a_request_and_ends_on_sigterm(
    name: str, build: Callable[[str], Built], volume: Path, tmp_path: Path
) -> None:
    """As shipped but for the device: user, entry point, read-only root, and a volume for the model."""
    built = build(name)
    settings: Mapping[str, str] = ON_A_PROCESSOR[name]
    model = _bert(built, name, volume)
    with _serving(built, volume, tmp_path / "log", TASK="text-classification", MODEL=model, **settings) as (container, url):
        wait_for("readiness", lambda: _status(container, f"{url}/readiness") == 200, deadline_s=_START_S, state=container.log)
        restrictions = pod.restrictions(container)
        answer = urllib3.request(
            "POST", f"{url}{ROUTE}", body=BODY, headers={"Content-Type": "application/json"}, timeout=60, retries=False
        )
        code = container.end()
    said: dict[str, Any] = answer.json()
    assert restrictions == pod.RESTRICTED
    assert answer.status == 200, said
    assert {"NEGATIVE", "POSITIVE"} & set(str(said).replace("'", " ").split()), said
    assert code == 0, container.log()


@pytest.mark.parametrize("name", LACKING)
def test_without_its_accelerator_it_says_what_is_missing(name: str, build: Callable[[str], Built], volume: Path) -> None:
    """With the image's own settings it does not serve from the processor without a word: it ends, and names what it lacks."""
    built = build(name)
    given = _given(volume, TASK="text-classification", MODEL=_bert(built, name, volume), GRPC_PORT="0", PORT="0")
    done = engine.output(built.tag, setting=given)
    assert done.returncode == 1, done.stdout + done.stderr
    assert LACKING[name] in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["cuda", "triton"])
def test_the_libraries_for_older_drivers_come_first(name: str, build: Callable[[str], Built]) -> None:
    """The entry point reads the base's script, and becomes the command."""
    shown = engine.output(build(name).tag, "/usr/bin/env", entrypoint="/usr/local/bin/with-cuda-compat")
    assert "LD_LIBRARY_PATH=/usr/local/cuda/compat" in shown.stdout, shown.stderr


def test_the_adapter_is_alive_and_not_ready_without_its_engine(build: Callable[[str], Built], volume: Path, tmp_path: Path) -> None:
    """No vLLM runs beside it: the probe keeps traffic away, and the pod is not restarted for it."""
    (unused,) = free_ports(1)
    with _serving(build("adapter"), volume, tmp_path / "log", ENGINE_URL=f"http://127.0.0.1:{unused}") as (container, url):
        ready = _status(container, f"{url}/readiness")
        restrictions = pod.restrictions(container)
        code = container.end()
    assert ready == 503
    assert restrictions == pod.RESTRICTED
    assert code == 0, container.log()
