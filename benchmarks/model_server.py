"""The model server's overhead over a bare pipeline, on this machine's processor. See docs/laboratory/benchmarks.md.

``make bench-model-server``; ``ARGS="--quick"`` is a smoke test that writes nothing. The model runs on one thread, so the server has the
other core; with an accelerator it would have the whole processor.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks import beside, overload
from benchmarks.closed_loop import load
from benchmarks.markdown import markdown, put
from failover_harness.model_servers.own_model_server import QUIET, run, serving
from failover_harness.model_servers.own_model_server import ROOT as SERVER

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = ROOT / "benchmarks" / "results"
DOCS: Final = ROOT / "docs" / "laboratory" / "benchmarks.md"
BEGIN: Final = "<!-- model-server: written by `make bench-model-server` -->"
END: Final = "<!-- end of model-server -->"
BESIDE_BEGIN: Final = "<!-- beside: written by `make bench-model-server` -->"
BESIDE_END: Final = "<!-- end of beside -->"

_BATCH: Final = 8
_CLIENTS: Final = 16
_CASES: Final = ((3.0, 1.0), (20.0, 1.0))
"""Factor of the load and deadline, seconds."""
_SHARES: Final = {3.0: 0.9, 10.0: 0.8, 20.0: 0.8}
"""Goals: goodput as a part of the capacity, by the factor of the load, with a deadline of a second."""
_REFUSED_MS: Final = 100.0
"""Goal: 99th percentile of the latency of refusals."""
_RECOVERY_S: Final = 2.0
_FAILED: Final = "requests failed: the figures are not valid"
_MIXED_GAIN, _MIXED_CPU_MS = 1.5, 19.0
"""Goals for texts of mixed lengths: our throughput in relation to LitServe's, and our processor time for a request."""
_MORE_MIB: Final = 100.0
"""Goal: most memory that our server may take above LitServe's."""
_PROMPT: Final = " ".join(
    ["the film was not very good ,"] * 4 + ["the film"]
)  # 32 tokens: both pad to this length, so both compute the same


_BODY: Final = json.dumps({"prompt": _PROMPT}).encode()


def main() -> None:
    """Measures and prints; writes the results and the document unless the run is a quick one."""
    wanted = argparse.ArgumentParser(description=__doc__)
    wanted.add_argument("--quick", action="store_true", help="some minutes: a smoke test")
    wanted.add_argument("--only", choices=["alone", "beside"], help="alone: without LitServe; beside: only beside it")
    given = wanted.parse_args()
    python = SERVER / ".venv-libraries-5" / "bin" / "python"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(python, "-m", "benchmarks.bare", "models", str(folder))
        if given.only != "beside":
            _alone(python, folder, quick=given.quick)
        if given.only != "alone":
            _beside(python, folder, quick=given.quick)


def _beside(python: Path, folder: Path, *, quick: bool) -> None:
    """Measures our server beside LitServe.

    Raises:
        SystemExit: A request failed.
    """
    theirs, started = SERVER / ".venv-beside" / "bin" / "python", time.monotonic()
    compared = beside.measure(python, theirs, folder, rounds=1 if quick else 5, requests=2 if quick else 12)
    if sum(one.load.failed for servers in compared.values() for one in servers.values()):
        raise SystemExit(_FAILED)
    found: dict[str, Any] = {work: {name: asdict(one) for name, one in servers.items()} for work, servers in compared.items()}
    loads = beside.under_overload(python, theirs, folder, seconds=4 if quick else 8)
    found["overload"] = {name: [asdict(one) for one in rows] for name, rows in loads.items()}
    tables = [_beside_table(compared), _goodput_table(loads)]
    _show("model-server-beside", found, tables, (BESIDE_BEGIN, BESIDE_END), started, quick=quick)


def _alone(python: Path, folder: Path, *, quick: bool) -> None:
    """Measures our server beside the bare pipeline, and under overload.

    Raises:
        SystemExit: A request failed.
    """
    started = time.monotonic()
    overhead = _overhead(python, folder, rounds=2 if quick else 10)
    with serving(python, "text-classification", folder / "bert") as url:
        loads = overload.measure(
            f"{url}/sentiment", [_BODY], _CASES, rounds=1 if quick else 3, seconds=4 if quick else 12, clients=_CLIENTS
        )
    if overhead["failed"]:
        raise SystemExit(_FAILED)
    found = {
        "overhead": overhead,
        "overload": [asdict(one) for one in loads],
    }
    _show(
        "model-server",
        found,
        [_overhead_table(overhead), _overload_table(loads)],
        (BEGIN, END),
        started,
        quick=quick,
    )


def _show(name: str, found: Mapping[str, Any], tables: Sequence[Table], markers: tuple[str, str], started: float, *, quick: bool) -> None:
    """Prints the tables, and writes results and document unless the run is a quick one."""
    for table in tables:
        Console().print(table)
    if quick:
        return
    minutes = round((time.monotonic() - started) / 60, 1)
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "minutes": minutes}
    (RESULTS / f"{name}.json").write_text(json.dumps({**found, "machine": machine}, indent=1) + "\n")
    note = f"{os.cpu_count()} cores, Python {platform.python_version()}, the model on one thread; {minutes} minutes."
    put(DOCS, *markers, [*map(markdown, tables), note])


def _overhead(python: Path, folder: Path, rounds: int) -> dict[str, Any]:
    """Measures the server and the library's pipeline in turns, so that both run under the same conditions.

    Single requests use a tiny model: the variance of a real one would hide two milliseconds. Throughput uses a real model.
    """
    single, failed = _in_turns(python, folder / "tiny", rounds, _one_after_the_other)
    full, more = _in_turns(python, folder / "bert", rounds, _as_fast_as_it_goes)
    p50 = {name: statistics.median(values) for name, values in single.items()}
    throughput = {name: statistics.median(values) for name, values in full.items()}
    return {"p50_ms": p50, "per_second": throughput, "rounds": {"p50_ms": single, "per_second": full}, "failed": failed + more}


def _in_turns(
    python: Path, model: Path, rounds: int, measure: Callable[[_Bare, str], tuple[float, float, int]]
) -> tuple[dict[str, list[float]], int]:
    found: dict[str, list[float]] = {"bare": [], "server": []}
    failed = 0
    with serving(python, "text-classification", model) as url, _bare(python, model) as bare:
        for count in range(rounds + 1):
            theirs, ours, wrong = measure(bare, f"{url}/sentiment")
            failed += wrong
            if count:  # the first round has cold caches
                found["bare"].append(theirs)
                found["server"].append(ours)
    return found, failed


def _one_after_the_other(bare: _Bare, url: str) -> tuple[float, float, int]:
    """Median milliseconds."""
    theirs = bare([_PROMPT], batch=1, repeat=200)
    ours = load(url, [json.dumps({"prompt": _PROMPT}).encode()], clients=1, requests=200)
    return statistics.median(theirs) * 1000, ours.p50_ms, ours.failed


def _as_fast_as_it_goes(bare: _Bare, url: str) -> tuple[float, float, int]:
    """Texts a second."""
    theirs = bare([_PROMPT] * _BATCH * 4, batch=_BATCH, repeat=2)
    ours = load(url, [json.dumps({"prompt": _PROMPT}).encode()], clients=_CLIENTS, requests=4 * _BATCH * 2 // _CLIENTS)
    return _BATCH * 4 * len(theirs) / sum(theirs), ours.per_second, ours.failed


class _Bare:
    """The library's pipeline in a separate process; see ``model_server/benchmarks/bare.py``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, prompts: list[str], *, batch: int, repeat: int) -> list[float]:
        """Duration of each repetition, seconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"prompts": prompts, "batch": batch, "repeat": repeat}) + "\n")
        self._process.stdin.flush()
        found: list[float] = json.loads(self._process.stdout.readline())["seconds"]
        return found


@contextmanager
def _bare(python: Path, model: Path) -> Iterator[_Bare]:
    command = [str(python), "-m", "benchmarks.bare", "classify", str(model)]
    environment = {**os.environ, **QUIET}
    with subprocess.Popen(
        command, cwd=SERVER, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        yield _Bare(process)
        assert process.stdin is not None
        process.stdin.close()


def _overhead_table(found: Mapping[str, Any]) -> Table:
    table = _table("What the server adds (random weights)", "", "bare pipeline", "our server", "added", "goal")
    p50, throughput = found["p50_ms"], found["per_second"]
    added, share = p50["server"] - p50["bare"], throughput["server"] / throughput["bare"]
    table.add_row(
        "one request, tiny BERT, p50", f"{p50['bare']:.2f} ms", f"{p50['server']:.2f} ms", f"{added:+.2f} ms{_miss(added <= 2)}", "≤ 2 ms"
    )
    values = (f"{throughput['bare']:.1f}/s", f"{throughput['server']:.1f}/s", f"{share:.1%}{_miss(share >= 0.99)}")
    table.add_row(f"batches of {_BATCH}, BERT base, throughput", *values, "≥ 99 %")
    return table


def _beside_table(found: Mapping[str, Mapping[str, beside.Beside]]) -> Table:
    """The servers, and ours in relation to each of the others."""
    table = _table(
        f"Our server beside LitServe, {beside.CLIENTS} clients (MiniLM and ViT-Tiny with random weights)",
        "",
        "server",
        "requests/s",
        "p95",
        "CPU a request",
        "memory",
        "our throughput",
        "our CPU",
        "our memory",
    )
    for work, servers in found.items():
        ours = servers[beside.OURS]
        for name, one in servers.items():
            own, gain = name == beside.OURS, ours.load.per_second / one.load.per_second
            table.add_row(
                work if own else "",
                name,
                f"{one.load.per_second:.1f}",
                f"{one.load.p95_ms:,.0f} ms",
                f"{one.cpu_ms:.1f} ms{_miss(one.cpu_ms <= _MIXED_CPU_MS or work != beside.MIXED or not own)}",
                f"{one.mib:,.0f} MiB",
                "" if own else f"{gain:.2f} x{_miss(gain >= _MIXED_GAIN or work != beside.MIXED)}",
                "" if own else f"{ours.cpu_ms / one.cpu_ms:.2f} x",
                "" if own else f"{ours.mib - one.mib:+,.0f} MiB{_miss(ours.mib - one.mib <= _MORE_MIB)}",
            )
    return table


def _overload_table(loads: list[overload.Overload]) -> Table:
    title = "Overload: BERT base, requests that need their answer within 1 s"
    table = _table(title, "offered", "capacity", "goodput", "share", "goal", "p95 of results", "429", "504", "recovery (goal: ≤ 2 s)")
    for one in loads:
        goal = _SHARES[one.factor]
        table.add_row(
            f"{one.factor:g} x: {one.offered:.0f}/s",
            f"{one.capacity:.1f}/s",
            f"{one.goodput:.1f}/s",
            f"{one.share:.0%}{_miss(one.share >= goal)}",
            f"≥ {goal:.0%}",
            f"{one.p95_ms:,.0f} ms{_miss(one.p95_ms <= one.deadline * 1000)}",
            str(one.statuses.get("429", 0)),
            f"{one.statuses.get('504', 0)}{_miss(not one.statuses.get('504'))}",
            f"{one.recovery_s:.1f} s{_miss(one.recovery_s <= _RECOVERY_S)}",
        )
    return table


def _goodput_table(found: Mapping[str, Sequence[overload.Overload]]) -> Table:
    """The servers beside each other, by load and deadline."""
    title = f"Overload, texts of 4 to 500 words, {beside.CLIENTS} clients for the capacity (MiniLM with random weights)"
    columns = ("server", "capacity", "goodput", "share", "p95 of results", "p99 of refusals", "recovery", "short in time", "long in time")
    table = _table(title, "load, deadline", *columns)
    for rows in zip(*found.values(), strict=True):
        for name, one in zip(found, rows, strict=True):
            own = name == beside.OURS
            reached = not own or one.deadline != 1.0 or one.share >= _SHARES.get(one.factor, 0.0)
            table.add_row(
                f"{one.factor:g} x, {one.deadline:g} s" if own else "",
                name,
                f"{one.capacity:.1f}/s",
                f"{one.goodput:.1f}/s",
                f"{one.share:.2f}{_miss(reached)}",
                f"{one.p95_ms:,.0f} ms",
                f"{one.refused_p99_ms:,.0f} ms{_miss(not own or one.refused_p99_ms <= _REFUSED_MS)}",
                f"{one.recovery_s:.1f} s",
                f"{one.short:.0%}",
                f"{one.long:.0%}",
            )
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    return table


def _miss(reached: bool) -> str:
    return "" if reached else " !"


if __name__ == "__main__":
    main()
