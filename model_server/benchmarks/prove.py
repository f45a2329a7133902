"""Proof on hardware: compile, serve, ask everything once, find the rate at a limit of the latency, and write a row of the matrix.

``benchmarks/prove.sh KIND`` prepares the environment on the machine that has the accelerator, and runs this. The row is for a pull request
to ``setup/failover_setup/matrix.yaml``. ``--dry-run`` proves a tiny model on the processor: that shows that the command works, and its row
is refused as a row of the matrix.
"""

import argparse
import base64
import io
import json
import math
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import grpc
from failover_model_server.rpc.messages import MESSAGES

from benchmarks.waiting import ROOT, get, ready

KINDS = ("cuda", "triton", "neuron", "vllm", "cpu")
ENGINES = {"cuda": "server-cuda", "triton": "server-triton", "neuron": "server-neuron"}
TEXTS = {"text-classification": "/sentiment", "text-to-image": "/genimage", "text-generation": "/gentext"}
IMAGES = {"image-classification": "/imgcls", "object-detection": "/detectobj"}
PROMPT = "The lake was calm, and the boats were back before the storm."
LIBRARIES = ("torch", "transformers", "diffusers", "vllm", "optimum-neuron", "neuronx-cc", "torch-neuronx")
MOST_CLIENTS, DRY_CLIENTS = 256, 4
ANSWER_SECONDS = 600.0
COMPILE_SECONDS = 7200.0


@dataclass(frozen=True)
class Proof:
    """What was found.

    Attributes:
        asked: what answered as it should, each a probe or a protocol.
        start_s: seconds until it was ready.
        rate: requests a second at most, with the latency below the limit; 0 where one client alone exceeds it.
        p95_s: the 95th percentile of the latency there, seconds.
        clients: that asked at the same time there.
    """

    asked: Sequence[str]
    start_s: float
    rate: float
    p95_s: float
    clients: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Prove, and write the row."""
    given = _given(arguments)
    with tempfile.TemporaryDirectory() as folder:
        if given.dry_run:
            _dry(given, Path(folder))
        if given.kind == "neuron" and not given.compiled_model:
            given.compiled_model = str(compiled(given, Path(folder) / "compiled"))
        found = prove(given, Path(folder))
    text = row(given, found)
    given.out.write_text(text)
    print(f"{', '.join(found.asked)}: answered\n{text}")


def _given(arguments: Sequence[str] | None) -> argparse.Namespace:
    wanted = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    wanted.add_argument("kind", choices=KINDS)
    wanted.add_argument("--task", default="text-generation", choices=[*TEXTS, *IMAGES])
    wanted.add_argument("--model", default="", help="as MODEL_SERVER_MODEL; with vllm the name for the row")
    wanted.add_argument("--revision", default="")
    wanted.add_argument("--name", default="", help="the model's name in the matrix")
    wanted.add_argument("--device", default="", help="instance family, such as inf2")
    wanted.add_argument("--compiled-model", default="", help="with neuron; without it, it is compiled here with optimum-cli")
    wanted.add_argument("--shape", action="append", default=[], help="of that compilation, such as sequence_length=128; repeat")
    wanted.add_argument("--url", default="http://127.0.0.1:8001", help="of the vLLM that runs, with vllm")
    wanted.add_argument("--engine", default="vllm-cuda", help="its name in the matrix")
    wanted.add_argument("--image", default="", help="the image that runs, with its digest")
    wanted.add_argument("--latency-limit", type=float, default=1.0, help="seconds, of the 95th percentile")
    wanted.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    wanted.add_argument("--dry-run", action="store_true", help="a tiny model on the processor")
    wanted.add_argument("--out", type=Path, default=Path("row.yaml"))
    given = wanted.parse_args(arguments)
    if not given.dry_run and not (given.model and given.device and given.name):
        wanted.error("--model, --name and --device are needed")
    return given


def _dry(given: argparse.Namespace, folder: Path) -> None:
    """Turn what is asked into a tiny model on the processor."""
    if given.kind != "vllm":
        from tests.pipelines import models

        given.kind, given.task, given.model = "cpu", "text-classification", str(folder / "model")
        models.bert(Path(given.model))
    given.name, given.device = "tiny", "cpu"


def compiled(given: argparse.Namespace, out: Path) -> Path:
    """Compile with optimum-neuron's own command, and say what for; the folder.

    Raises:
        subprocess.CalledProcessError: it does not compile.
    """
    shapes = dict(one.split("=", 1) for one in ("batch_size=1", *given.shape))
    options = [word for name, value in shapes.items() for word in (f"--{name}", value)]
    command = ["optimum-cli", "export", "neuron", "--model", given.model, "--task", given.task, "--instance_type", given.device, *options]
    subprocess.run([*command, str(out)], timeout=COMPILE_SECONDS, check=True)
    described = [word for name, value in shapes.items() for word in ("--shape", f"{name}={value}")]
    command = [sys.executable, "-m", "failover_model_server", "artifact", str(out), "--model", given.model, "--task", given.task]
    subprocess.run([*command, "--revision", given.revision, "--instance", given.device, *described], timeout=600, check=True)
    return out


def prove(given: argparse.Namespace, folder: Path) -> Proof:
    """Serve, ask, measure."""
    ports = {"PORT": _free(), "GRPC_PORT": _free()}
    begin = time.monotonic()
    with _serving(given, folder, ports) as url:
        start_s = time.monotonic() - begin
        body = json.dumps(_body(given.task)).encode()
        route = (TEXTS | IMAGES)[given.task]
        asked = list(_ask(given, url, ports["GRPC_PORT"], route, body))
        best = _best(f"{url}{route}", body, given)
    return Proof(asked, start_s, *best)


def _best(url: str, body: bytes, given: argparse.Namespace) -> tuple[float, float, int]:
    """The highest rate within the limit, its 95th percentile and its clients, doubling the clients. What refuses more is full.

    Raises:
        RuntimeError: one client alone gets no answer.
    """
    best, clients = (0.0, math.nan, 1), 1
    while clients <= (DRY_CLIENTS if given.dry_run else MOST_CLIENTS):
        try:
            rate, p95 = _measure(url, body, clients, given.seconds)
        except RuntimeError:
            if clients == 1:
                raise
            break
        if p95 > given.latency_limit or rate <= best[0]:
            break
        best, clients = (rate, p95, clients), clients * 2
    return best


@contextmanager
def _serving(given: argparse.Namespace, folder: Path, ports: Mapping[str, int]) -> Iterator[str]:
    """The server, or the adapter before a vLLM that runs.

    Raises:
        RuntimeError: it did not become ready.
    """
    vllm = given.kind == "vllm"
    settings = {"HOST": "127.0.0.1", "DRAIN_SECONDS": "0", "FINISH_SECONDS": "0", "CACHE_DIR": str(folder / "cache"), "MAX_QUEUE": "512"}
    settings |= {name: str(port) for name, port in ports.items()} | {"REQUEST_TIMEOUT": str(ANSWER_SECONDS)}
    if vllm:
        settings["ENGINE_URL"] = given.url
    else:
        settings |= {"TASK": given.task, "BACKEND": given.kind, "MODEL": given.model, "REVISION": given.revision}
        settings["COMPILED_MODEL"] = given.compiled_model
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MODEL_SERVER_")}
    environment = {**clean, **{f"MODEL_SERVER_{name}": value for name, value in settings.items() if value}}
    command = [sys.executable, "-m", "failover_model_server", "adapter" if vllm else "serve"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{ports['PORT']}"
            if not ready(process, url):
                log.seek(0)
                raise RuntimeError(f"it did not become ready:\n{log.read()[-4000:].decode(errors='replace')}")
            yield url
        finally:
            process.kill()
            process.wait()


def _ask(given: argparse.Namespace, url: str, grpc_port: int, route: str, body: bytes) -> Iterator[str]:
    """Every probe, and a request of each protocol that serves the task; the name of each that answered.

    Raises:
        OSError, grpc.RpcError, RuntimeError: one did not answer as it should.
    """
    for probe in ("/health", "/readiness", "/ping", "/metrics"):
        get(f"{url}{probe}", ANSWER_SECONDS)
        yield probe
    _post(f"{url}{route}", body)
    yield route
    if given.kind == "vllm":
        (model, *_) = json.loads(get(f"{url}/v1/models", ANSWER_SECONDS))["data"]
        chat = {"model": model["id"], "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 8}
        _post(f"{url}/v1/chat/completions", json.dumps(chat).encode())
        yield "/v1/chat/completions"
        _post(f"{url}/v1/completions", json.dumps({"model": model["id"], "prompt": PROMPT, "max_tokens": 8}).encode())
        yield "/v1/completions"
        return
    described = json.loads(get(f"{url}/v2/models/model", ANSWER_SECONDS))
    (field, value) = next(iter(_body(given.task).items()))
    tensor = {"name": described["inputs"][0]["name"], "datatype": "BYTES", "shape": [1], "data": [value]}
    _post(f"{url}/v2/models/model/infer", json.dumps({"inputs": [tensor]}).encode())
    yield f"/v2 ({field})"
    with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
        for name, request in (("ServerReady", {}), ("ModelInfer", _call(tensor))):
            made = channel.unary_unary(
                f"/inference.GRPCInferenceService/{name}",
                request_serializer=lambda one: one.SerializeToString(),
                response_deserializer=MESSAGES[f"{name}Response"].FromString,
            )
            answer = made(MESSAGES[f"{name}Request"](**request), timeout=ANSWER_SECONDS)
            if name == "ServerReady" and not answer.ready:
                raise RuntimeError("gRPC says that the server is not ready")
            yield f"gRPC {name}"


def _call(tensor: Mapping[str, Any]) -> dict[str, Any]:
    contents = {"bytes_contents": [one.encode() for one in tensor["data"]]}
    return {"model_name": "model", "inputs": [{"name": tensor["name"], "datatype": "BYTES", "shape": [1], "contents": contents}]}


def _body(task: str) -> dict[str, Any]:
    if task not in IMAGES:
        return {"prompt": PROMPT}
    from PIL import Image

    drawn = io.BytesIO()
    Image.new("RGB", (224, 224), (90, 120, 200)).save(drawn, "PNG")
    return {"image": base64.b64encode(drawn.getvalue()).decode()}


def _measure(url: str, body: bytes, clients: int, seconds: float) -> tuple[float, float]:
    """Clients that send the next request when the last one is answered: answers a second, and the 95th percentile of the latency.

    Raises:
        RuntimeError: a request failed.
    """
    took: list[float] = []
    failed: list[str] = []
    begin = time.monotonic()
    work = _client(url, body, begin + seconds, took, failed)
    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise RuntimeError(f"{len(failed)} requests failed, such as: {failed[0]}")
    p95 = statistics.quantiles(took, n=20)[-1] if len(took) > 1 else took[0]
    return len(took) / (time.monotonic() - begin), p95


def _client(url: str, body: bytes, end: float, took: list[float], failed: list[str]) -> Callable[[], None]:
    def work() -> None:
        while time.monotonic() < end and not failed:
            sent = time.monotonic()
            try:
                _post(url, body)
            except OSError as error:
                failed.append(str(error))
            took.append(time.monotonic() - sent)

    return work


def row(given: argparse.Namespace, found: Proof) -> str:
    """The row of the matrix, as YAML; JSON is YAML too."""
    rate = f"{found.rate:.2f} requests/s at a p95 of {found.p95_s:.3f} s with {found.clients} clients" if found.rate else "no rate"
    asked = f"ready in {found.start_s:.0f} s, {len(found.asked)} probes and protocols answered"
    made = {
        "models": [given.name],
        "devices": [given.device],
        "engine": given.engine if given.kind == "vllm" else ENGINES.get(given.kind, given.kind),
        "status": "works",
        "by": "dry run" if given.dry_run else "run",
        "date": datetime.now(UTC).date().isoformat(),
        "source": "model_server/benchmarks/prove.sh",
        "why": f"{rate} (limit {given.latency_limit:g} s); {asked}",
        "versions": _versions(given),
    }
    lines = [f"{name}: {value if name == 'date' else json.dumps(value)}" for name, value in made.items()]
    return "".join(f"{'  - ' if not index else '    '}{line}\n" for index, line in enumerate(lines))


def _versions(given: argparse.Namespace) -> dict[str, str]:
    """Libraries, driver, SDK or CUDA, and the image, as far as they can be read here."""
    found: dict[str, str] = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    found |= {name: value for name, value in (("driver", _driver()), ("image", given.image)) if value}
    if sdk := re.search(r"sdk(\d+(?:\.\d+)+)", given.image):
        found["neuron-sdk"] = sdk[1]
    if "torch" in found and given.kind in {"cuda", "triton"}:
        import torch

        found["cuda"] = str(torch.version.cuda)
    return found


def _driver() -> str:
    for command in (["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], ["modinfo", "-F", "version", "neuron"]):
        if shutil.which(command[0]):
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
            if done.returncode == 0 and done.stdout.strip():
                return done.stdout.split()[0]
    return ""


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _post(url: str, body: bytes) -> None:
    with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"}), timeout=ANSWER_SECONDS) as answer:
        answer.read()


if __name__ == "__main__":
    main()
