"""Whether anything of the controller grows: two hours with churn, and an API server that fails. See docs/laboratory/benchmarks.md.

``make bench-soak``; ``ARGS="--minutes 12 --applications 100"`` for a shorter one; ``--quiet`` for a time in which nothing happens.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final

import psutil
from prometheus_client.parser import text_string_to_metric_families
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
from failover_harness.control_plane.control_plane import ControlPlane, free_ports, subject

RESULTS: Final = Path(__file__).parent / "results"
DOCS: Final = Path(__file__).parents[1] / "docs" / "laboratory" / "benchmarks.md"
Fault = tuple[float, str, Callable[[], AbstractContextManager[None]]]
"""A fault of the API server: after which share of the time, in words, and what it does."""
GOAL: Final = 0.03
"""How far the end may be from the beginning."""

_SAMPLE_S: Final = 5.0
_SCRAPE_S: Final = 60.0  # between two scrapes of the metrics, as Prometheus' default
_ROUNDS: Final = 10  # of the churn, twice a second: a NodeClaim comes and goes every 5 s. Those that are gone are remembered for an hour.
_FIRST_PROBE_S: Final = 30.0  # as the Deployment's liveness probe
_ANSWER_S: Final = 1.0  # its limit
_SCRAPE_ANSWER_S: Final = 10.0  # Prometheus' limit
_LEVELS: Final = ((0.51, 0.59), (0.92, 1.0))
"""The parts of the time of which the beginning and the end are the medians. NodeClaims that are gone are remembered for an hour, so that
of two hours the first one fills what is kept."""
_WRITES: Final = ((0.28, 0.48), (0.78, 0.98))
"""Those in which writes are counted. The account of each application is written once an hour, at a moment of its own: of two hours these
parts are an hour apart, and have the same ones. Neither has the minutes after a fault: a new term would stamp each memory."""
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
class Scrape:
    """What the controller's metrics said at one moment.

    Attributes:
        at: Seconds since the Unix epoch.
        kept: Objects of the cluster in memory, by kind.
    """

    at: float
    kept: Mapping[str, float]


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
        return (self.end - self.begin) / self.begin if self.begin else float(self.end > 0)


@dataclass(slots=True)
class Observed:
    """What was observed to the end.

    Attributes:
        samples: The process, every 5 s.
        scrapes: Its metrics, every minute.
        sizes: Bytes of the stored state, at the beginning and at the end.
        asked: How often `/healthz` was asked.
        unhealthy: When and what it answered where that was not 200.
        without_answer: When the metrics could not be read, and why.
    """

    samples: list[Sample] = field(default_factory=list)
    scrapes: list[Scrape] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    asked: int = 0
    unhealthy: list[str] = field(default_factory=list)
    without_answer: list[str] = field(default_factory=list)


def soak(applications: int, minutes: float, say: Callable[[str], None], *, quiet: bool = False) -> dict[str, Any]:
    """Runs it.

    Args:
        applications: How many applications.
        minutes: How long it is observed.
        say: Prints progress.
        quiet: Whether nothing changes, and the API server stays.

    Returns:
        The result as plain JSON values.
    """
    with ControlPlane(controllers=False) as plane, tempfile.TemporaryDirectory(prefix="failoverctl-soak-") as scratch:
        say(f"creating {applications} applications")
        members, token, settings = installation.of_a_fleet(plane, Path(scratch) / "applications", applications)
        (port,) = free_ports(1)
        settings, site = settings | {"FAILOVERCTL_HTTP__PORT": str(port)}, f"http://127.0.0.1:{port}"
        churn = Churn(plane.patient_session(), members, rounds=_ROUNDS)
        with ControllerProcess(settings, Path(scratch) / "controller.log") as controller, nullcontext() if quiet else churn:
            begun = time.time()
            faults = () if quiet else ((0.6, "is killed", plane.killed), (0.75, "hangs", plane.frozen))
            seen = _observed(plane, controller, site, minutes * 60, faults, say)
        audit = [one for one in read(plane.folder / "audit.log") if one.user == subject(token)]
    writes = [one.received for one in audit if one.verb in {"create", "update", "patch"} and one.resource != "leases" and one.code < 300]
    spans, counted = _spans(begun, minutes * 60, _LEVELS), _spans(begun, minutes * 60, _WRITES)
    lines = [
        _line("resident memory", "MiB", [(one.at, one.rss_mib) for one in seen.samples], spans),
        _line("threads", "", [(one.at, one.threads) for one in seen.samples], spans),
        _line("file descriptors", "", [(one.at, one.descriptors) for one in seen.samples], spans),
        *_kept(seen.scrapes, spans),
        Line("stored memory and status of all applications", "KiB", seen.sizes[0] / 1024, seen.sizes[-1] / 1024),
        Line("writes other than of the Lease", "an hour", *(3600 * _within(writes, span) / (span[1] - span[0]) for span in counted)),
    ]
    return {
        "applications": applications,
        "minutes": minutes,
        "changes": churn.changes,
        "asked": seen.asked,
        "unhealthy": seen.unhealthy,
        "scraped": len(seen.scrapes) + len(seen.without_answer),
        "without_answer": seen.without_answer,
        "memory_mib": [round(one.rss_mib, 1) for one in seen.samples[:: round(_SCRAPE_S / _SAMPLE_S)]],
        "load": [round(one, 1) for one in os.getloadavg()],
        "lines": [{**asdict(one), "change": round(one.change, 4)} for one in lines],
    }


def _observed(
    plane: ControlPlane, controller: ControllerProcess, site: str, seconds: float, faults: Sequence[Fault], say: Callable[[str], None]
) -> Observed:
    """Observes to the end, while the faults of the API server come."""
    process, begun, seen = psutil.Process(controller.pid), time.time(), Observed()
    first, second = _spans(begun, seconds, _LEVELS)
    left = [(begun + share * seconds, words, fault) for share, words, fault in faults]
    scraped_at = begun
    while (now := time.time()) < begun + seconds:
        controller.check()
        seen.samples.append(Sample(now, process.memory_info().rss / MIB, process.num_threads(), process.num_fds()))
        if now >= begun + _FIRST_PROBE_S:
            seen.asked += 1
            if problem := _unhealthy(f"{site}/healthz"):
                seen.unhealthy.append(f"after {now - begun:.0f} s: {problem}")
        if now >= scraped_at + _SCRAPE_S:
            scraped_at = now
            try:
                seen.scrapes.append(_scrape(f"{site}/metrics"))
            except (OSError, HTTPException) as error:  # as Prometheus, which notes a gap and goes on
                seen.without_answer.append(f"after {now - begun:.0f} s: {error}")
        if left and now >= left[0][0]:
            _, words, fault = left.pop(0)
            say(f"the API server {words} for {_AWAY_S:.0f} s")
            with fault():
                time.sleep(_AWAY_S)
        if len(seen.sizes) < 2 and now >= (first, second)[len(seen.sizes)][0]:
            seen.sizes.append(_stored(plane))
        time.sleep(_SAMPLE_S)
    return seen


def _unhealthy(url: str) -> str:
    """Why the controller is not healthy; "" if it is."""
    try:
        with urllib.request.urlopen(url, timeout=_ANSWER_S) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read(200).decode(errors='replace')}"
    except OSError as error:
        return str(error)
    return ""


def _scrape(url: str) -> Scrape:
    """What the metrics say.

    Raises:
        OSError: There was no answer within Prometheus' limit.
    """
    with urllib.request.urlopen(url, timeout=_SCRAPE_ANSWER_S) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    kept = {one.labels["kind"]: one.value for family in families if family.name == "failoverctl_kept_objects" for one in family.samples}
    return Scrape(time.time(), kept)


def _stored(plane: ControlPlane) -> int:
    """The bytes of all ConfigMaps of the controller."""
    found = plane.patient_session().request("GET", CONFIG_MAPS.path(STATE_NAMESPACE))
    return sum(len(value) for one in found["items"] for value in (one.get("data") or {}).values())


def _spans(begun: float, seconds: float, parts: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The times of parts of the whole, each a share of it."""
    return [(begun + start * seconds, begun + end * seconds) for start, end in parts]


def _within(times: Sequence[float], span: tuple[float, float]) -> int:
    return sum(span[0] <= at < span[1] for at in times)


def _kept(scrapes: Sequence[Scrape], spans: Sequence[tuple[float, float]]) -> list[Line]:
    """The objects in memory, of each kind of which there were any."""
    kinds = {kind: None for one in scrapes for kind, count in one.kept.items() if count}
    return [_line(f"{kind} in memory", "", [(one.at, one.kept[kind]) for one in scrapes], spans) for kind in kinds]


def _line(what: str, unit: str, values: Sequence[tuple[float, float]], spans: Sequence[tuple[float, float]]) -> Line:
    """The medians of the values in both spans; each value is with its time."""
    begin, end = (statistics.median(value for at, value in values if start <= at < stop) for start, stop in spans)
    return Line(what, unit, begin, end)


def _table(made: dict[str, Any]) -> Table:
    what = f"{made['applications']:,} applications, {made['minutes']:g} minutes, {made['changes']:,} changes"
    bad = f"{len(made['unhealthy'])} of {made['asked']:,} answers of /healthz were bad"
    table = Table(title=f"{what}; {bad}, {len(made['without_answer'])} of {made['scraped']:,} scrapes had no answer")
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
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--quiet", action="store_true", help="nothing changes, and the API server stays")
    parser.add_argument("--write", action="store_true", help="keep the result, and put the table into the docs")
    options = parser.parse_args()
    made = soak(options.applications, options.minutes, progress(), quiet=options.quiet)
    table = _table(made)
    Console().print(table)
    if options.write:
        name, arguments = ("quiet", ' ARGS="--quiet --applications 2000"') if options.quiet else ("soak", "")
        (RESULTS / f"{name}.json").write_text(json.dumps(made, indent=1) + "\n")
        put(DOCS, f"<!-- {name}: written by `make bench-soak{arguments}` -->", f"<!-- end of {name} -->", [markdown(table)])


if __name__ == "__main__":
    main()
