"""Measures applications as objects, beside the same applications as files: ``python -m benchmarks.objects --applications 2000``.

etcd, kube-apiserver and `failoverctl run` are real, as are all objects of the applications; Karpenter, the other controllers and AWS are
not there. See docs/laboratory/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks import fleet, installation, report
from benchmarks.controller_log import first_decisions, logged, seconds
from benchmarks.fleet import Member
from benchmarks.markdown import markdown, put
from benchmarks.process import MIB, ControllerProcess
from benchmarks.progress import progress
from benchmarks.react import RoutingWatch, routes
from benchmarks.requests_seen import Seen, await_quiet, read
from controller.clients.kube import EVENTS, FAILOVER_APPLICATIONS, INGRESSES
from failover_harness.control_plane import crds
from failover_harness.control_plane.control_plane import ControlPlane, subject
from tools.crd import custom_resource_definition

DOCS: Final = Path(__file__).parents[1] / "docs" / "laboratory" / "benchmarks.md"
_BEGIN: Final = "<!-- objects: written by `make bench-objects` -->"
_END: Final = "<!-- end of objects -->"
_LIMIT_S: Final = 300.0
_SAMPLE_S: Final = 20.0
_POLL_S: Final = 2.0  # all times come from the logs of the controller and the API server
_GAP_S: Final = 0.1  # between two refusals
_HOUR_S: Final = 3600.0
_SETTLED_S: Final = 12.0  # twice the time between two polls of the catalog: without a change in it, the last one was the last
_EDITED_S: Final = 301  # what the edits set
_ERROR: Final = 300


@dataclass(slots=True)
class Leg:
    """The applications in one form.

    Attributes:
        start_s: From the start of the process to the last application's first decision.
        idle_mib: Largest resident set while nothing happens, MiB.
        idle_cpu: Share of one core meanwhile.
        reaction: From the arrival of each refusal at the API server to its answer to the patch of the Ingress, ms.
        lost: Refusals without a patch in time.
    """

    start_s: float
    idle_mib: float
    idle_cpu: float
    reaction: list[float]
    lost: int


@dataclass(slots=True)
class Storm:
    """An edit of every application at once.

    Attributes:
        sent_s: From the first edit to the last one's answer.
        in_force_s: From the first edit until the controller has taken over the last.
        mib: Largest resident set until then and in the window after it, MiB.
        writes: Statuses that it wrote in that time.
    """

    sent_s: float
    in_force_s: float
    mib: float
    writes: int


@dataclass(slots=True)
class Result:
    """What was measured of one number of applications.

    Attributes:
        applications: How many.
        window_s: How long it was idle, seconds.
        files: As files.
        objects: As objects.
        statuses_s: From the start of the process until each object has a status.
        first_writes: Status writes until then, and until all was quiet.
        idle_writes: Status writes in the window.
        closest_s: The shortest time between two writes of one object's status in the whole run; infinite if none had two.
        storm: All edited at once.
        bare: Median size of an object without a status, bytes of its JSON.
        full: With its status.
        db_mib: Size of etcd's file: before the objects, with them, with their statuses, after the storm.
        load: The machine's load at the end.
    """

    applications: int
    window_s: float
    files: Leg
    objects: Leg
    statuses_s: float
    first_writes: int
    idle_writes: int
    closest_s: float
    storm: Storm
    bare: int
    full: int
    db_mib: list[float]
    load: float


class Bench:
    """A control plane with the objects of a fleet.

    Args:
        plane: A running control plane.
        members: The applications.
        folder: Of files and logs.
        samples: Refusals in each form.
        window_s: How long the idle controller is measured, seconds.
        say: Prints progress.
    """

    def __init__(
        self, plane: ControlPlane, members: Sequence[Member], folder: Path, samples: int, window_s: float, say: Callable[[str], None]
    ) -> None:
        self._plane, self._members, self._folder, self._samples = plane, members, folder, samples
        self._window_s, self._say = window_s, say
        self._admin = plane.session()
        crds.install(self._admin)
        crds.install(self._admin, [custom_resource_definition()])
        installation.prepare(plane)
        self._users = {name: installation.identity(plane, name) for name in ("failoverctl", "bench")}
        self._events = plane.session(self._users["bench"])
        self._watch = RoutingWatch(plane.session(), (INGRESSES,))
        say(f"creating {len(members)} applications with all their objects")
        fleet.create(plane.kubeconfig(), members)

    def run(self) -> Result:
        """Measures both forms: first the objects, because the first start alone stores all memory anew."""
        db_mib = [self._db_mib()]
        fleet.apply_objects(self._plane.kubeconfig(), self._members)
        db_mib.append(self._db_mib())
        bare = self._size()
        with self._controller(None) as (controller, log, begun):
            objects, (idle_from, idle_to) = self._leg(controller, log, begun, self._members[: self._samples], as_objects=True)
            statuses = self._writes(begun, time.time())
            statuses_s = max(_first(statuses).values()) - begun
            db_mib.append(self._db_mib())
            full = self._size()
            storm = self._storm(controller, log)
        db_mib.append(self._db_mib())
        (files := self._folder / "applications").mkdir()
        fleet.write_applications(files, self._members)
        with self._controller(files) as (controller, log, begun):
            beside, _ = self._leg(controller, log, begun, self._members[self._samples : 2 * self._samples], as_objects=False)
        return Result(
            applications=len(self._members),
            window_s=self._window_s,
            files=beside,
            objects=objects,
            statuses_s=statuses_s,
            first_writes=sum(one.received < idle_from for one in statuses),
            idle_writes=sum(idle_from <= one.received <= idle_to for one in statuses),
            closest_s=_closest(self._writes(0.0, time.time())),
            storm=storm,
            bare=bare,
            full=full,
            db_mib=db_mib,
            load=os.getloadavg()[0],
        )

    # --- the controller -----------------------------------------------------------------------------------------------------------------

    @contextmanager
    def _controller(self, files: Path | None) -> Iterator[tuple[ControllerProcess, Path, float]]:
        """The controller on files, or on the objects: its process, its log, and when it was started."""
        settings = installation.settings(self._plane, self._users["failoverctl"], files or self._folder, wide=fleet.wide(self._members))
        if files is None:
            del settings["FAILOVERCTL_APPLICATIONS"]
        name = "objects" if files is None else "files"
        self._say(f"starting on {name}")
        log, begun = self._folder / f"{name}.log", time.time()
        with ControllerProcess(settings, log) as controller:
            yield controller, log, begun

    def _leg(
        self, controller: ControllerProcess, log: Path, begun: float, members: Sequence[Member], *, as_objects: bool
    ) -> tuple[Leg, tuple[float, float]]:
        """Start, idle and refusals; and from when to when it was idle."""
        self._await(controller, lambda: len(first_decisions(log)) >= len(self._members), "a decision on each application")
        start_s = max(first_decisions(log).values()) - begun
        if as_objects:
            self._await(controller, lambda: len(_first(self._writes(begun, time.time()))) >= len(self._members), "a status of each object")
        self._say("waiting until it is quiet")
        await_quiet(lambda: len(self._ours()), _LIMIT_S)
        self._say(f"idle for {self._window_s:.0f} s")
        usage = controller.usage(self._window_s)
        self._say(f"{len(members)} refusals")
        reaction = self._reactions(controller, members)
        return Leg(start_s, usage.rss_mib, usage.cpu, reaction, len(members) - len(reaction)), (usage.start, usage.end)

    def _await(self, controller: ControllerProcess, reached: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + _LIMIT_S
        while not reached():
            controller.check()
            assert time.monotonic() < end, f"not within {_LIMIT_S:.0f} s: {what}\n{controller.log()}"
            time.sleep(_POLL_S)

    def _reactions(self, controller: ControllerProcess, members: Sequence[Member]) -> list[float]:
        for member in members:
            controller.check()
            self._events.create(EVENTS, "default", fleet.refusal(member), field_manager="karpenter")
            self._watch.wait(member.key, _SAMPLE_S)
            time.sleep(_GAP_S)
        seen, bench = self._seen(), subject(self._users["bench"])
        ours = self._ours(seen)
        posted = {one.name: one.received for one in seen if one.user == bench and one.resource == "events"}
        found = []
        for member in members:
            event = posted[f"{member.claim}.18a1"]
            patch = next((one for one in ours if routes(one, member) and one.received >= event), None)
            if patch is not None:
                found.append((patch.answered - event) * 1000)
        return found

    def _storm(self, controller: ControllerProcess, log: Path) -> Storm:
        """Every application gets another policy, as fast as the API server takes the edits."""
        self._say("a storm of edits")
        stretch, begun = controller.stretch(), time.time()
        fleet.apply_objects(self._plane.kubeconfig(), self._members, dwellCapacitySeconds=_EDITED_S)
        sent = time.time()

        def taken() -> float:
            return max((seconds(one) for one in logged(log, "config.reloaded")), default=begun)

        self._await(
            controller, lambda: begun < taken() < time.time() - _SETTLED_S and time.time() > sent + _SETTLED_S, "every edit in force"
        )
        usage = stretch.end(after_s=self._window_s)
        return Storm(sent - begun, taken() - begun, usage.rss_mib, len(self._writes(begun, usage.end)))

    # --- what the servers hold and saw --------------------------------------------------------------------------------------------------

    def _seen(self) -> list[Seen]:
        return read(self._plane.folder / "audit.log")

    def _ours(self, seen: Sequence[Seen] | None = None) -> list[Seen]:
        """The controller's requests."""
        user = subject(self._users["failoverctl"])
        return [one for one in (self._seen() if seen is None else seen) if one.user == user]

    def _writes(self, start: float, end: float) -> list[Seen]:
        """The statuses of objects that the controller wrote."""
        resource = f"{FAILOVER_APPLICATIONS.plural}/status"
        return [one for one in self._ours() if one.resource == resource and start <= one.received <= end and one.code < _ERROR]

    def _size(self) -> int:
        """Median size of an object, bytes of JSON; that is how etcd has it."""
        sizes = (
            len(json.dumps(self._admin.get(FAILOVER_APPLICATIONS, one.namespace, one.name), separators=(",", ":")).encode())
            for one in self._members
        )
        return round(statistics.median(sizes))

    def _db_mib(self) -> float:
        return round((self._plane.folder / "etcd" / "member" / "snap" / "db").stat().st_size / MIB, 1)


def _first(writes: Sequence[Seen]) -> dict[tuple[str, str], float]:
    """When each object's status was first written."""
    found: dict[tuple[str, str], float] = {}
    for one in writes:
        found.setdefault((one.namespace, one.name), one.answered)
    return found


def _closest(writes: Sequence[Seen]) -> float:
    """The shortest time between two writes of one object, seconds; infinite if none had two."""
    times: dict[tuple[str, str], list[float]] = {}
    for one in writes:
        times.setdefault((one.namespace, one.name), []).append(one.received)
    return min((later - earlier for found in times.values() for earlier, later in pairwise(found)), default=math.inf)


def measure(applications: int, samples: int, window_s: float, say: Callable[[str], None]) -> Result:
    """Measures on a new control plane.

    Args:
        applications: How many; at least twice the samples.
        samples: Refusals in each form.
        window_s: How long the idle controller is measured, and how long it is after the storm, seconds.
        say: Prints progress.

    Raises:
        AssertionError: The controller ended, or did not do what was waited for.
    """
    with ControlPlane(controllers=False) as plane, tempfile.TemporaryDirectory(prefix="failoverctl-objects-") as folder:
        return Bench(plane, fleet.members(applications), Path(folder), samples, window_s, say).run()


def tables(result: Result) -> list[Table]:
    """The figures for people."""
    forms = Table(title=f"{result.applications:,} applications as objects, beside the same as files")
    for name in ("applications as", "first decision on all", "memory idle", "CPU idle", "refusals", "reaction p50", "p99"):
        forms.add_column(name, justify="left" if name == "applications as" else "right")
    for name, leg in (("objects", result.objects), ("files", result.files)):
        lost = f" ({leg.lost} lost !)" if leg.lost else ""
        times = [f"{report.percentile(leg.reaction, share):.1f} ms" for share in (0.5, 0.99)] if leg.reaction else ["-", "-"]
        forms.add_row(name, f"{leg.start_s:.1f} s", f"{leg.idle_mib:.0f} MiB", f"{leg.idle_cpu:.1%}", f"{len(leg.reaction)}{lost}", *times)
    rows = (
        ("every object has a status, after the start", f"{result.statuses_s:.1f} s"),
        ("status writes until it is quiet", f"{result.first_writes:,}"),
        (f"status writes in {result.window_s:.0f} s of idle time", f"{result.idle_writes:,}"),
        ("an hour, extrapolated from that", f"{result.idle_writes * _HOUR_S / result.window_s:,.0f}"),
        ("shortest time between two writes of one status", "-" if math.isinf(result.closest_s) else f"{result.closest_s:.0f} s"),
        ("all edited at once: edits sent within", f"{result.storm.sent_s:.1f} s"),
        ("all edits in force, after the first", f"{result.storm.in_force_s:.1f} s"),
        ("memory meanwhile", f"{result.storm.mib:.0f} MiB"),
        (f"status writes meanwhile and in {result.window_s:.0f} s after the last", f"{result.storm.writes:,}"),
        ("an object, without and with its status", f"{result.bare:,} and {result.full:,} bytes"),
        ("etcd's file: before, with the objects, with statuses, after the edits", ", ".join(f"{one:g}" for one in result.db_mib) + " MiB"),
    )
    rest = Table(title="What the objects cost")
    rest.add_column("figure")
    rest.add_column("measured", justify="right")
    for row in rows:
        rest.add_row(*row)
    return [forms, rest]


def main() -> None:
    """Measures, and prints the tables; ``--write`` puts them into the docs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--applications", type=int, default=2000, help="(%(default)s)")
    parser.add_argument("--samples", type=int, default=100, help="refusals in each form (%(default)s)")
    parser.add_argument("--window", type=float, default=120.0, help="seconds of idle time (%(default)s)")
    parser.add_argument("--write", action="store_true", help="put the tables into the docs")
    options = parser.parse_args()
    begun = time.monotonic()
    result = measure(options.applications, options.samples, options.window, progress())
    made = tables(result)
    for table in made:
        Console().print(table)
    print(json.dumps(asdict(result)))
    if options.write:
        minutes = (time.monotonic() - begun) / 60
        size = f"{len(os.sched_getaffinity(0))} cores, {minutes:.0f} minutes; the load at the end was {result.load:.1f}."
        put(DOCS, _BEGIN, _END, [*(markdown(table) for table in made), size])


if __name__ == "__main__":
    main()
