"""Stable Diffusion 2.1 on a GPU, with random weights: overhead, batching, gain of torch.compile, cold start by phase.

``benchmarks/gpu.sh`` prepares the environment on a machine that has a GPU and PyTorch, and runs this. ``--dry-run`` measures a tiny model
on the processor instead, where the figures mean nothing: it shows that the command works. Needs this distribution and its extra `cuda`.
"""

import argparse
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import diffusion_model
from benchmarks.waiting import ROOT, get, ready

PROMPT = "a photo of a house by a lake"
ANSWER_SECONDS = 600.0


@dataclass(frozen=True)
class Size:
    """How much is measured, and on what.

    Attributes:
        device: of torch.
        eager: settings of the server without torch.compile.
        compiled: settings with it.
        steps: denoising steps of a picture.
        rounds: of each measurement, in turns.
        requests: single requests of a round.
        clients: that draw at the same time, where batches are measured.
        buckets: batch sizes.
    """

    device: str
    eager: Mapping[str, str]
    compiled: Mapping[str, str]
    steps: int
    rounds: int
    requests: int
    clients: int
    buckets: str


GPU = Size("cuda", {"BACKEND": "cuda"}, {"BACKEND": "triton"}, steps=25, rounds=5, requests=4, clients=8, buckets="1,2,4,8")
DRY = Size(
    "cpu",
    {"BACKEND": "cpu"},
    {"BACKEND": "triton", "TORCH_DEVICE": "cpu", "COMPILE_BACKEND": "aot_eager"},
    steps=2,
    rounds=1,
    requests=2,
    clients=2,
    buckets="1,2",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, and write the figures where that is wanted."""
    wanted = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    wanted.add_argument("--dry-run", action="store_true", help="a tiny model on the processor")
    wanted.add_argument("--out", type=Path, help="file for the figures, as JSON")
    given = wanted.parse_args(arguments)
    device = _device(dry=given.dry_run)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        diffusion_model.make(model, tiny=given.dry_run)
        found = measure(DRY if given.dry_run else GPU, model)
    found["machine"] = {"device": device, "python": platform.python_version(), **{name: version(name) for name in ("torch", "diffusers")}}
    found["dry_run"] = given.dry_run
    print(text(found))
    if given.out is not None:
        given.out.write_text(json.dumps(found, indent=1) + "\n")


def _device(*, dry: bool) -> str:
    """The device's name.

    Raises:
        SystemExit: there is none, and this is no dry run.
    """
    import torch

    if dry:
        return f"CPU, {torch.get_num_threads()} threads: a dry run, whose figures mean nothing"
    if not torch.cuda.is_available():
        raise SystemExit(f"torch {torch.__version__} sees no CUDA device; --dry-run measures a tiny model on the processor")
    return str(torch.cuda.get_device_name())


def measure(size: Size, model: Path) -> dict[str, Any]:
    """The figures: seconds of starts by phase, seconds of single pictures, pictures a second with and without batches."""
    starts: dict[str, dict[str, float]] = {}
    cache = {"COMPILE_CACHE": str(model.parent / "compiled"), "COMPILE_CACHE_SAVE": "true"}
    with serving(model, {**size.compiled, **cache}) as (_, start):
        starts["torch.compile, empty cache"] = start
    single: dict[str, list[float]] = {"bare pipeline": [], "server": [], "server, torch.compile": []}
    rates: dict[str, list[float]] = {"one at a time": [], f"batches of {size.buckets}": []}
    with serving(model, size.eager) as (eager, starts["eager"]):
        with serving(model, {**size.compiled, **cache}) as (compiled, start), _bare(model, size) as bare:
            starts["torch.compile, filled cache"] = start
            for count in range(size.rounds + 1):
                took = {
                    "bare pipeline": bare(size.requests),
                    "server": _draw(eager, size, clients=1, requests=size.requests)[0],
                    "server, torch.compile": _draw(compiled, size, clients=1, requests=size.requests)[0],
                }
                if count:  # the first round has cold caches
                    for name, seconds in took.items():
                        single[name] += seconds
        with serving(model, {**size.eager, "BATCH_BUCKETS": size.buckets}) as (batched, _):
            for _ in range(size.rounds):
                for name, url in zip(rates, (eager, batched), strict=True):
                    seconds, whole = _draw(url, size, clients=size.clients, requests=2)
                    rates[name].append(len(seconds) / whole)
    return {
        "starts": starts,
        "single_s": {name: statistics.median(values) for name, values in single.items()},
        "per_second": {name: statistics.median(values) for name, values in rates.items()},
        "rounds": {"single_s": single, "per_second": rates},
    }


def _phases(url: str, whole: float) -> dict[str, float]:
    """Seconds of a start: of the process before it has a state, and in each state until it was ready."""
    found = {}
    for line in get(f"{url}/metrics").decode().splitlines():
        if line.startswith("model_server_start_seconds{"):
            name, _, value = line.partition(" ")
            found[name.split('"')[1]] = float(value)
    return {"process": max(0.0, whole - sum(found.values())), **found}


@contextmanager
def serving(model: Path, settings: Mapping[str, str]) -> Iterator[tuple[str, dict[str, float]]]:
    """Run the server; its URL and its start once it is ready.

    Raises:
        RuntimeError: it did not become ready.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    chosen = {
        "TASK": "text-to-image",
        "MODEL": str(model),
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "GRPC_PORT": "0",
        "DRAIN_SECONDS": "0",
        "FINISH_SECONDS": "0",
        "REQUEST_TIMEOUT": str(ANSWER_SECONDS),
        "CACHE_DIR": str(model.parent / "cache"),
        **settings,
    }
    environment = {**_quiet(), **{f"MODEL_SERVER_{name}": value for name, value in chosen.items()}}
    with tempfile.TemporaryFile() as log:
        begin = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "failover_model_server", "serve"], env=environment, cwd=ROOT, stdout=log, stderr=log
        )
        try:
            url = f"http://127.0.0.1:{port}"
            if not ready(process, url):
                log.seek(0)
                raise RuntimeError(f"the server did not become ready:\n{log.read()[-4000:].decode(errors='replace')}")
            yield url, _phases(url, time.monotonic() - begin)
        finally:
            process.kill()
            process.wait()


def _draw(url: str, size: Size, *, clients: int, requests: int) -> tuple[list[float], float]:
    """Clients that send the next request when the last one is answered: the seconds of each picture, and of all together.

    Raises:
        RuntimeError: a request failed.
    """
    body = json.dumps({"prompt": PROMPT, "steps": size.steps, "seed": 7}).encode()
    seconds: list[float] = []
    failed: list[str] = []

    def work() -> None:
        for _ in range(requests):
            begin = time.perf_counter()
            try:
                asked = urllib.request.Request(f"{url}/genimage", body, {"Content-Type": "application/json"})
                with urllib.request.urlopen(asked, timeout=ANSWER_SECONDS) as answer:
                    answer.read()
            except OSError as error:
                failed.append(str(error))
            seconds.append(time.perf_counter() - begin)

    threads = [threading.Thread(target=work) for _ in range(clients)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise RuntimeError(f"{len(failed)} requests failed, such as: {failed[0]}")
    return seconds, time.perf_counter() - begin


class _Bare:
    """diffusers' own pipeline in a process of its own; see `benchmarks.bare`."""

    def __init__(self, process: "subprocess.Popen[str]", steps: int) -> None:
        self._process, self._steps = process, steps

    def __call__(self, repeat: int) -> list[float]:
        """Seconds of each picture."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"prompts": [PROMPT], "steps": self._steps, "repeat": repeat}) + "\n")
        self._process.stdin.flush()
        found: list[float] = json.loads(self._process.stdout.readline())["seconds"]
        return found


@contextmanager
def _bare(model: Path, size: Size) -> Iterator[_Bare]:
    command = [sys.executable, "-m", "benchmarks.bare", "draw", str(model), size.device]
    with subprocess.Popen(
        command, env=_quiet(), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield _Bare(process, size.steps)
        finally:
            process.kill()


def _quiet() -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MODEL_SERVER_")}
    return {**clean, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


def text(found: Mapping[str, Any]) -> str:
    """The figures as Markdown."""
    states = list(dict.fromkeys(state for start in found["starts"].values() for state in start))
    lines = [f"Stable Diffusion 2.1, random weights, on {found['machine']['device']}:", "", f"| start | {' | '.join(states)} |"]
    lines.append(f"|---|{'---:|' * len(states)}")
    for name, start in found["starts"].items():
        lines.append(f"| {name} | {' | '.join(f'{start.get(state, 0):.1f} s' for state in states)} |")
    bare, served, compiled = found["single_s"].values()
    lines += ["", "| one picture at a time | p50 | |", "|---|---:|---|"]
    lines.append(f"| bare pipeline | {bare * 1000:,.0f} ms | |")
    lines.append(f"| our server | {served * 1000:,.0f} ms | {(served - bare) * 1000:+,.0f} ms |")
    lines.append(f"| our server, torch.compile | {compiled * 1000:,.0f} ms | {served / compiled:.2f} times as fast |")
    lines += ["", "| many clients | pictures/s |", "|---|---:|"]
    lines += [f"| {name} | {rate:.2f} |" for name, rate in found["per_second"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
