"""Whether anything of the controller grows: an hour with churn, an API server that restarts and one that hangs. See docs/benchmarks.md.

``make bench-soak``; ``ARGS="--minutes 12 --applications 100"`` for a shorter one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks import installation
from benchmarks.churn import Churn
from benchmarks.fleet import STATE_NAMESPACE
from benchmarks.markdown import markdown, put
from benchmarks.process import MIB, ControllerProcess
from benchmarks.progress import progress
from benchmarks.requests_seen import read
from controller.clients.kube import CONFIG_MAPS
from failover_harness.control_plane.control_plane import ControlPlane, subject

RESULT: Final = Path(__file__).parent / "results" / "soak.json"
DOCS: Final = Path(__file__).parents[1] / "docs" / "benchmarks.md"
_BEGIN: Final = "<!-- soak: written by `make bench-soak` -->"
_END: Final = "<!-- end of soak -->"
GOAL: Final = 0.03
"""How far the end may be from the beginning."""

_SAMPLE_S: Final = 5.0
_WARM: Final = 0.25  # of the time, before the beginning is measured: caches fill, and each status is written once more
_PART: Final = 0.15  # of the time, of which the beginning and the end are the medians
_AWAY_S: Final = 20.0  # the API server is killed, and hangs, for that long


@dataclass(frozen=True, slots=True)
class Sample:
    """The process at one moment.

    Attributes:
        at: Seconds since the Unix epoch.
        rss_mib: Resident memory.
        threads: Its threads.
        descriptors: Its open files and connections.
    """

    at: float
    rss_mib: float
    threads: int
    descriptors: int


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the table: the same figure at the beginning and at the end."""

    what: str
    unit: str
    begin: float
    end: float

    @property
    def change(self) -> float:
        """By how much the end differs, as a share of the beginning."""
        return (self.end - self.begin) / self.begin if self.begin else 0.0


def soak(applications: int, minutes: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Runs it.

    Args:
        applications: How many applications.
        minutes: How long it is observed.
        say: Prints progress.

    Returns:
        The result as plain JSON values.
    """
    with ControlPlane(controllers=False) as plane, tempfile.TemporaryDirectory(prefix="failoverctl-soak-") as scratch:
        say(f"creating {applications} applications")
        members, token, settings = installation.of_a_fleet(plane, Path(scratch) / "applications", applications)
        with ControllerProcess(settings, Path(scratch) / "controller.log") as controller, Churn(plane.patient_session(), members) as churn:
            begun = time.time()
            samples, sizes = _observed(plane, controller, minutes * 60, say)
            changes = churn.changes
        audit = [one for one in read(plane.folder / "audit.log") if one.user == subject(token)]
    writes = [one.received for one in audit if one.verb in {"create", "update", "patch"} and one.resource != "leases" and one.code < 300]
    spans = _spans(begun, minutes * 60)
    lines = [
        _line("resident memory", "MiB", samples, lambda one: one.rss_mib, spans),
        _line("threads", "", samples, lambda one: float(one.threads), spans),
        _line("file descriptors", "", samples, lambda one: float(one.descriptors), spans),
        Line("stored memory and status of all applications", "KiB", sizes[0] / 1024, sizes[-1] / 1024),
        Line("writes other than of the Lease", "an hour", *(3600 * _within(writes, span) / (span[1] - span[0]) for span in spans)),
    ]
    return {
        "applications": applications,
        "minutes": minutes,
        "changes": changes,
        "load": [round(one, 1) for one in os.getloadavg()],
        "lines": [{**asdict(one), "change": round(one.change, 4)} for one in lines],
    }


def _observed(
    plane: ControlPlane, controller: ControllerProcess, seconds: float, say: Callable[[str], None]
) -> tuple[list[Sample], list[int]]:
    """Samples to the end, while the API server is killed and hangs once; and the sizes of the state."""
    process, begun = psutil.Process(controller.pid), time.time()
    samples: list[Sample] = []
    sizes: list[int] = []
    first, second = _spans(begun, seconds)
    faults = [(begun + 0.45 * seconds, "killed", plane.killed), (begun + 0.6 * seconds, "hangs", plane.frozen)]
    while (now := time.time()) < begun + seconds:
        controller.check()
        samples.append(Sample(now, process.memory_info().rss / MIB, process.num_threads(), process.num_fds()))
        if faults and now >= faults[0][0]:
            _, words, fault = faults.pop(0)
            say(f"the API server {words} for {_AWAY_S:.0f} s")
            with fault():
                time.sleep(_AWAY_S)
        if len(sizes) < 2 and now >= (first, second)[len(sizes)][0]:
            sizes.append(_stored(plane))
        time.sleep(_SAMPLE_S)
    return samples, sizes


def _stored(plane: ControlPlane) -> int:
    """The bytes of all ConfigMaps of the controller."""
    found = plane.patient_session().request("GET", CONFIG_MAPS.path(STATE_NAMESPACE))
    return sum(len(value) for one in found["items"] for value in (one.get("data") or {}).values())


def _spans(begun: float, seconds: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """The times that count as the beginning and as the end."""
    return (begun + _WARM * seconds, begun + (_WARM + _PART) * seconds), (begun + (1 - _PART) * seconds, begun + seconds)


def _within(times: Sequence[float], span: tuple[float, float]) -> int:
    return sum(span[0] <= at < span[1] for at in times)


def _line(what: str, unit: str, samples: Sequence[Sample], value: Callable[[Sample], float], spans: Sequence[tuple[float, float]]) -> Line:
    begin, end = (statistics.median(value(one) for one in samples if start <= one.at < stop) for start, stop in spans)
    return Line(what, unit, begin, end)


def _table(made: dict[str, Any]) -> Table:
    table = Table(title=f"{made['applications']:,} applications, {made['minutes']:g} minutes, {made['changes']:,} changes")
    table.add_column("")
    for name in ("beginning", "end", "change"):
        table.add_column(name, justify="right")
    for one in made["lines"]:
        unit = f" {one['unit']}" if one["unit"] else ""
        mark = " !" if abs(one["change"]) > GOAL else ""
        table.add_row(one["what"], f"{one['begin']:,.0f}{unit}", f"{one['end']:,.0f}{unit}", f"{one['change']:+.1%}{mark}")
    return table


def main() -> None:
    """Runs the soak and prints the table; ``--write`` keeps it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--applications", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--write", action="store_true", help="keep the result, and put the table into the docs")
    options = parser.parse_args()
    made = soak(options.applications, options.minutes, progress())
    table = _table(made)
    Console().print(table)
    if options.write:
        RESULT.write_text(json.dumps(made, indent=1) + "\n")
        put(DOCS, _BEGIN, _END, [markdown(table)])


if __name__ == "__main__":
    main()
