"""Measures the CPU time and the memory of each command of `failoverctl` as a process, against the demo's servers on the same machine.

``make bench-commands`` writes docs/laboratory/benchmarks.md; ``ARGS="--baseline PYTHON"`` runs each command also with the installation
of another version, in turns with this one, and adds its figures. It leaves out the way to a cluster: the servers answer from loopback.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from benchmarks.markdown import markdown, put
from controller.cli.main import main as failoverctl

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "laboratory" / "benchmarks.md"
BEGIN, END = "<!-- commands: written by `make bench-commands` -->", "<!-- end of commands -->"

_START_LINES: Final = 100
_TIMEOUT_S: Final = 60.0

FILE: Final = "application.yaml"  # stands for the demo's
LOCAL, CLUSTER = "the machine alone", "the demo's servers"
HELPS: Final = tuple((name, "--help") for name in failoverctl.list_commands(click.Context(failoverctl)))
"""The help of every command; the table has that of the slowest."""
HELP_GOAL_S: Final = 0.3
COMMANDS: Final[Mapping[tuple[str, ...], tuple[str, float]]] = {
    ("--help",): (LOCAL, HELP_GOAL_S),
    ("plan", "--help"): (LOCAL, HELP_GOAL_S),
    ("version",): (LOCAL, 0.8),
    ("weights", FILE): (LOCAL, 0.8),
    ("config", "check"): (LOCAL, 0.8),
    ("plan",): (CLUSTER, 1.5),
    ("explain",): (CLUSTER, 1.5),
    ("status",): (CLUSTER, 1.5),
    ("history",): (CLUSTER, 1.5),
    ("doctor",): (CLUSTER, 1.5),
}
"""By command: what it reads, and the goal, seconds of CPU time."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a command: seconds of CPU time, user and system, and the largest resident set, MiB."""

    cpu_s: float
    rss_mib: float


def measured(python: str, arguments: Sequence[str], environment: Mapping[str, str]) -> Run | None:
    """Runs a command once.

    Returns:
        What it took; None where this version has no such command.

    Raises:
        AssertionError: It ended with a code that means an error: 0 and 2 are answers.
    """
    given = [environment["FAILOVERCTL_APPLICATIONS"] if one == FILE else one for one in arguments]
    command = [str(Path(python).parent / "failoverctl"), *given]
    process = subprocess.Popen(command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if b"No such command" in said:
        return None
    assert process.returncode in {0, 2}, f"{' '.join(arguments)} ended with {process.returncode}: {said.decode(errors='replace')[-500:]}"
    return Run(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


@contextmanager
def served() -> Iterator[dict[str, str]]:
    """The demo's servers, and the variables that point at them."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FAILOVERCTL_", "AWS_", "PYTHONDONTWRITE"))}
    command = [str(Path(sys.executable).parent / "failoverctl"), "demo", "--serve"]
    process = subprocess.Popen(command, env=kept, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        for _, line in zip(range(_START_LINES), process.stdout, strict=False):
            if line.startswith("export "):
                name, _, value = line.removeprefix("export ").strip().partition("=")
                kept[name] = value
            elif "playing for" in line:
                break
        yield kept
    finally:
        process.terminate()
        process.wait(_TIMEOUT_S)


def main() -> None:
    """Runs every command in turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=9, help="of each command (%(default)s)")
    parser.add_argument("--baseline", help="the python of another version's environment, which is measured in turns with this one")
    parser.add_argument("--write", action="store_true", help="write the table into docs/laboratory/benchmarks.md")
    given = parser.parse_args()
    pythons = [sys.executable, *([given.baseline] if given.baseline else [])]
    found: dict[tuple[str, tuple[str, ...]], list[Run]] = {}
    with served() as environment:
        for arguments in dict.fromkeys((*COMMANDS, *HELPS)):
            for python in pythons:
                measured(python, arguments, environment)  # compiles what is not compiled yet
            for _ in range(given.runs):
                for python in pythons:
                    run = measured(python, arguments, environment)
                    found.setdefault((python, arguments), []).extend([run] if run is not None else [])
    table = _table(found, given.baseline)
    Console().print(table)
    note = f"Median of {given.runs} runs; an exclamation mark shows a missed goal."
    if given.write:
        put(PAGE, BEGIN, END, [markdown(table), note])


def _medians(found: Mapping[tuple[str, tuple[str, ...]], Sequence[Run]], python: str | None) -> dict[tuple[str, ...], float]:
    """The medians of one version's CPU times by command, seconds."""
    return {of: statistics.median(run.cpu_s for run in runs) for (by, of), runs in found.items() if by == python and runs}


def _table(found: Mapping[tuple[str, tuple[str, ...]], Sequence[Run]], baseline: str | None) -> Table:
    made = Table(title="CPU time of the commands")
    made.add_column("command")
    made.add_column("reads")
    for name in (*(("before",) if baseline else ()), "CPU time", "goal", "memory"):
        made.add_column(name, justify="right")
    own, former = _medians(found, sys.executable), _medians(found, baseline)

    def add(name: str, arguments: tuple[str, ...], former_s: float | None) -> None:
        reads, goal = COMMANDS.get(arguments, (LOCAL, HELP_GOAL_S))
        before = ("-" if former_s is None else f"{former_s:.2f} s",) if baseline else ()
        mark = "" if own[arguments] <= goal else " !"
        memory = max(run.rss_mib for run in found[sys.executable, arguments])
        made.add_row(name, reads, *before, f"{own[arguments]:.2f} s{mark}", f"{goal:g} s", f"{memory:.0f} MiB")

    slowest = max(HELPS, key=own.__getitem__)
    slowest_before = max((former[arguments] for arguments in HELPS if arguments in former), default=None)
    add(f"`failoverctl {slowest[0]} --help`, the slowest help", slowest, slowest_before)
    for arguments in COMMANDS:
        add(f"`failoverctl {' '.join(arguments)}`", arguments, former.get(arguments))
    return made


if __name__ == "__main__":
    main()
