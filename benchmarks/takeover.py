"""How long a takeover takes: from the Lease until the new leader has passed over every application. See docs/laboratory/benchmarks.md.

``make bench-takeover``; ``ARGS="--applications 100"`` for fewer. Two `failoverctl run` are real processes, as are etcd and the API server.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks import installation
from benchmarks.controller_log import first_decisions, logged
from benchmarks.markdown import markdown, put
from benchmarks.process import ControllerProcess, cpu_s
from benchmarks.progress import progress
from benchmarks.requests_seen import await_quiet, read
from failover_harness.control_plane.control_plane import ControlPlane, subject

DOCS: Final = Path(__file__).parents[1] / "docs" / "laboratory" / "benchmarks.md"
_BEGIN: Final = "<!-- takeover: written by `make bench-takeover` -->"
_END: Final = "<!-- end of takeover -->"
GOAL_S: Final = 5.0
"""From the Lease to the last application's first pass, with 1,000 applications."""

_LIMIT_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Taken:
    """One takeover.

    Attributes:
        seconds: From the Lease to the last application's first pass, as the new leader logs it.
        cpu_s: Processor seconds of the new leader, the API server and etcd, from the signal to the old leader on.
        writes: Requests of the controllers that change something other than the Lease, in the same time.
    """

    seconds: float
    cpu_s: dict[str, float]
    writes: int


def measure(applications: int, times: int, say: Callable[[str], None]) -> list[Taken]:
    """Lets one of two controllers take over from the other, in turns.

    Args:
        applications: How many applications.
        times: How many takeovers.
        say: Prints progress.

    Raises:
        AssertionError: A process ended, or a takeover did not.
    """
    with (
        ControlPlane(controllers=False) as plane,
        tempfile.TemporaryDirectory(prefix="failoverctl-takeover-") as scratch,
        ExitStack() as stack,
    ):
        say(f"creating {applications} applications")
        _, token, settings = installation.of_a_fleet(plane, Path(scratch) / "applications", applications)

        def started(number: int) -> tuple[ControllerProcess, Path]:
            log = Path(scratch) / f"controller-{number}.log"
            controller = stack.enter_context(ControllerProcess(settings, log))
            problem = f"controller {number} has not passed over every application"
            _await(controller, lambda: len(first_decisions(log)) >= applications, problem)
            return controller, log

        def requests() -> int:
            return sum(one.user == subject(token) and one.resource != "leases" for one in read(plane.folder / "audit.log"))

        leader, log = started(0)
        _await(leader, lambda: bool(logged(log, "election.leading")), "the first controller does not lead")
        taken = []
        for number in range(1, times + 1):
            standby, log = started(number)
            say("waiting until both are quiet")
            await_quiet(requests, _LIMIT_S)
            before, begun = cpu_s(standby), time.time()
            leader.end()
            _await(standby, lambda log=log: _seconds(log) is not None, "the takeover has not finished")  # type: ignore[misc]
            used_s = {name: round(used - before[name], 2) for name, used in cpu_s(standby).items()}
            seconds = _seconds(log)
            assert seconds is not None
            ours = [one for one in read(plane.folder / "audit.log") if one.user == subject(token) and one.received >= begun]
            writes = sum(one.verb in {"create", "update", "patch"} and one.resource != "leases" for one in ours)
            taken.append(Taken(seconds, used_s, writes))
            say(f"takeover {number}: {seconds:.2f} s, processor seconds {used_s}, {writes} writes, load {os.getloadavg()[0]:.1f}")
            leader = standby
    return taken


def _await(controller: ControllerProcess, reached: Callable[[], bool], problem: str) -> None:
    end = time.monotonic() + _LIMIT_S
    while not reached():
        controller.check()
        if time.monotonic() > end:
            raise AssertionError(f"{problem} after {_LIMIT_S:.0f} s:\n{controller.log()}")
        time.sleep(0.2)


def _seconds(log: Path) -> float | None:
    """How long its takeover took; None before it has ended."""
    return next((float(one["seconds"]) for one in logged(log, "takeover.finished")), None)


def _table(applications: int, taken: list[Taken]) -> Table:
    table = Table(title=f"Takeovers with {applications:,} applications")
    for name in ("times", "median", "longest", "goal", "CPU: leader", "API server", "etcd", "writes"):
        table.add_column(name, justify="right")
    seconds = [one.seconds for one in taken]
    cpu = [f"{statistics.median(one.cpu_s[name] for one in taken):.1f} s" for name in ("controller", "kube-apiserver", "etcd")]
    mark = "" if max(seconds) <= GOAL_S else " !"
    writes = f"{statistics.median(one.writes for one in taken):.0f}"
    table.add_row(str(len(taken)), f"{statistics.median(seconds):.1f} s", f"{max(seconds):.1f} s{mark}", f"{GOAL_S:g} s", *cpu, writes)
    return table


def main() -> None:
    """Measures, and prints the table; ``--write`` puts it into the docs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--applications", type=int, default=1000)
    parser.add_argument("--times", type=int, default=3, help="takeovers (%(default)s)")
    parser.add_argument("--write", action="store_true", help="put the table into the docs")
    options = parser.parse_args()
    taken = measure(options.applications, options.times, progress())
    table = _table(options.applications, taken)
    Console().print(table)
    made: dict[str, Any] = {"applications": options.applications, "taken": [asdict(one) for one in taken]}
    print(json.dumps(made))
    if options.write:
        put(DOCS, _BEGIN, _END, [markdown(table)])


if __name__ == "__main__":
    main()
