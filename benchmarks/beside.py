"""The model server beside LitServe, BentoML and plain FastAPI: the same models on the same machine, in turns.

Part of ``make bench-model-server``. Each runs as its documentation shows it (``model_server/benchmarks/``). All servers of a workload run
at once, and one of them is loaded at a time; under overload each runs alone, anew for each case: some would work on their backlog for
minutes.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from benchmarks import overload
from benchmarks.closed_loop import Load, load, middle
from failover_harness.control_plane.control_plane import free_ports
from failover_harness.model_servers.own_model_server import QUIET, served, wait_for
from failover_harness.model_servers.own_model_server import ROOT as SERVER

OURS: Final = "our server"
BATCHED: Final = "LitServe, batches of up to 8"
SINGLE: Final = "LitServe, no batches"
CLIENTS: Final = 32
_BATCH: Final = 8  # the largest of our server's default
_WORDS: Final = ("the", "film", "was", "not", "very", "good", "is", "a", "great", "bad")
_FIXED_TOKENS: Final = 32
_SHORTEST, _LONGEST = 6, 200
MIXED: Final = f"texts of {_SHORTEST} to {_LONGEST} tokens"
_TEXTS: Final = 256
_SEED: Final = 7
_MIB: Final = 1024 * 1024
BENTO: Final = "BentoML"
PLAIN: Final = "plain FastAPI"
CASES: Final = tuple((factor, deadline) for factor in (1.5, 3.0, 10.0) for deadline in (0.3, 1.0, 5.0))
"""Factor of the load and deadline, seconds."""
_FEWEST_WORDS, _MOST_WORDS = 4, 500


@dataclass(frozen=True, slots=True)
class Workload:
    """What is asked.

    Attributes:
        name: In the table.
        task: Of our server.
        kind: Of LitServe's program.
        model: Its folder.
        route: Of our server.
        bodies: JSON, taken in turns.
    """

    name: str
    task: str
    kind: str
    model: str
    route: str
    bodies: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Beside:
    """Results of one server with one workload.

    Attributes:
        load: Throughput and latency, medians of the rounds.
        cpu_ms: Processor time of all of its processes for a request, the median of the rounds.
        mib: Memory of all of its processes after the load, what they share counted once, MiB.
    """

    load: Load
    cpu_ms: float
    mib: float


def workloads(folder: Path) -> list[Workload]:
    """Texts of one length, texts of mixed lengths, pictures.

    The mixed lengths are between 6 and 200 tokens, the logarithm uniform: half of the texts have fewer than 35 tokens.
    """
    drawn = random.Random(_SEED)
    lengths = [round(_SHORTEST * (_LONGEST / _SHORTEST) ** drawn.random()) for _ in range(_TEXTS)]
    text = ("text-classification", "texts", "minilm", "/sentiment")
    fixed, mixed = (_text(drawn, _FIXED_TOKENS),), tuple(_text(drawn, length) for length in lengths)
    picture = json.dumps({"image": (folder / "picture.txt").read_text()}).encode()
    return [
        Workload(f"texts of {_FIXED_TOKENS} tokens", *text, fixed),
        Workload(MIXED, *text, mixed),
        Workload("pictures of 640 x 480 pixels", "image-classification", "pictures", "vit", "/imgcls", (picture,)),
    ]


def _text(drawn: random.Random, tokens: int) -> bytes:
    """A request with a text of that length, with the two tokens that the tokenizer adds."""
    return json.dumps({"prompt": " ".join(drawn.choices(_WORDS, k=tokens - 2))}).encode()


def measure(ours: Path, theirs: Path, folder: Path, *, rounds: int, requests: int) -> dict[str, dict[str, Beside]]:
    """Measures every workload.

    Args:
        ours: The interpreter of our server.
        theirs: That of LitServe.
        folder: With the models.
        rounds: Of each server, in turns, after one that does not count.
        requests: Of each client in a round.

    Returns:
        The results by workload and server.
    """
    return {one.name: _measure(ours, theirs, folder, one, rounds, requests) for one in workloads(folder)}


def _measure(ours: Path, theirs: Path, folder: Path, work: Workload, rounds: int, requests: int) -> dict[str, Beside]:
    with ExitStack() as stack:
        model = folder / work.model
        own = stack.enter_context(served(ours, work.task, model, MAX_QUEUE=str(CLIENTS * 2)))
        servers = {OURS: (f"{own.url}{work.route}", psutil.Process(own.pid))}
        for name, batch in ((BATCHED, _BATCH), (SINGLE, 1)):
            servers[name] = stack.enter_context(_lit(theirs, work.kind, model, batch))
        loads: dict[str, list[Load]] = {name: [] for name in servers}
        cpu_ms: dict[str, list[float]] = {name: [] for name in servers}
        for count in range(rounds + 1):
            for name, (url, process) in servers.items():
                before = _cpu_s(process)
                found = load(url, work.bodies, clients=CLIENTS, requests=requests)
                if count:  # the first round has cold caches
                    loads[name].append(found)
                    cpu_ms[name].append((_cpu_s(process) - before) * 1000 / (CLIENTS * requests))
        return {name: Beside(middle(loads[name]), statistics.median(cpu_ms[name]), _mib(servers[name][1])) for name in servers}


def under_overload(ours: Path, theirs: Path, folder: Path, *, seconds: float) -> dict[str, list[overload.Overload]]:
    """Goodput, refusals, recovery and fairness of each server in each of `CASES`, with texts of 4 to 500 words.

    Args:
        ours: The interpreter of our server.
        theirs: That of the others.
        folder: With the models.
        seconds: Of each load.
    """
    drawn, model = random.Random(_SEED), folder / "minilm"
    ratio = _MOST_WORDS / _FEWEST_WORDS
    bodies = [_text(drawn, round(_FEWEST_WORDS * ratio ** drawn.random()) + 2) for _ in range(_TEXTS)]
    found: dict[str, list[overload.Overload]] = {}
    for case in CASES:
        for name in (OURS, BATCHED, BENTO, PLAIN):
            with _any(name, ours, theirs, model) as url:
                sent = [json.dumps({"prompt": [json.loads(body)["prompt"]]}).encode() for body in bodies] if name == BENTO else bodies
                found.setdefault(name, []).extend(overload.measure(url, sent, [case], rounds=1, seconds=seconds, clients=CLIENTS))
    return found


@contextmanager
def _any(name: str, ours: Path, theirs: Path, model: Path) -> Iterator[str]:
    if name == OURS:
        with served(ours, "text-classification", model) as own:
            yield f"{own.url}/sentiment"
        return
    (port,) = free_ports(1)
    commands = {
        BATCHED: ["-m", "benchmarks.lit", "texts", str(model), str(port), str(_BATCH)],
        BENTO: ["-m", "bentoml", "serve", "benchmarks.bento:Texts", "--host", "127.0.0.1", "--port", str(port)],
        PLAIN: ["-m", "benchmarks.plain", str(model), str(port)],
    }
    health = "/readyz" if name == BENTO else "/health"
    with _run(theirs, commands[name], port, health, model) as (url, _):
        yield url


@contextmanager
def _lit(interpreter: Path, kind: str, model: Path, batch: int) -> Iterator[tuple[str, psutil.Process]]:
    (port,) = free_ports(1)
    with _run(interpreter, ["-m", "benchmarks.lit", kind, str(model), str(port), str(batch)], port, "/health", model) as running:
        yield running


@contextmanager
def _run(interpreter: Path, command: Sequence[str], port: int, health: str, model: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Runs a server of others: the URL that answers requests, and its first process.

    Raises:
        RuntimeError: It did not become ready.
    """
    log = model.parent / "others.log"
    environment = {**os.environ, **QUIET, "BENTO_MODEL": str(model), "BENTOML_DO_NOT_TRACK": "True"}
    with log.open("w") as out:
        started = subprocess.Popen([str(interpreter), *command], cwd=SERVER, env=environment, stdout=out, stderr=out)
    process = psutil.Process(started.pid)
    try:
        wait_for(started, f"http://127.0.0.1:{port}{health}", log)
        yield f"http://127.0.0.1:{port}/predict", process
    finally:
        for one in (*process.children(recursive=True), process):  # its children survive it
            one.kill()
        started.wait()


def _all(process: psutil.Process) -> Sequence[psutil.Process]:
    return [process, *process.children(recursive=True)]


def _cpu_s(process: psutil.Process) -> float:
    """Processor time of a process and its children, user and system, seconds."""
    return sum(sum(one.cpu_times()[:2]) for one in _all(process))


def _mib(process: psutil.Process) -> float:
    return float(sum(one.memory_full_info().pss for one in _all(process)) / _MIB)
