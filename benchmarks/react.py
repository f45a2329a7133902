"""Measures the time from a refusal to the patched Ingress, and the controller's resource usage.

Everything except Karpenter is real: etcd, kube-apiserver, and `failoverctl run` as a separate process. See docs/laboratory/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks import fleet, installation, report
from benchmarks.aws_process import CALLS_PER_S, AwsProcess
from benchmarks.aws_sample import CheckerLatency
from benchmarks.churn import Churn
from benchmarks.fleet import ACTION, STATE_NAMESPACE, Member
from benchmarks.installation import SPACE
from benchmarks.process import MIB, ControllerProcess, Usage, cpu_s
from benchmarks.progress import progress
from benchmarks.requests_seen import Seen, await_quiet, read
from controller.clients.kube import APPLY_PATCH, CONFIG_MAPS, EVENTS, HTTP_ROUTES, INGRESSES, NODE_CLAIMS, KubeSession, Object, Resource
from controller.errors import NotFound, RemoteError
from controller.objects import mapping, name_of, namespace_of, text
from controller.routing.annotations import MARKER
from controller.routing.names import action_key
from controller.service.controller import PASSES_PER_S
from controller.service.store import record_name
from controller.signals.load_balancer.turns import Load
from failover_harness.control_plane import crds
from failover_harness.control_plane.binaries import Unavailable
from failover_harness.control_plane.control_plane import ControlPlane, subject

ROOT: Final = Path(__file__).parents[1]
_START_S: Final = 240.0
_SAMPLE_S: Final = 20.0
_MASS_S: Final = 180.0
_REFUSING: Final = 4  # Karpenter launches several NodeClaims at a time
_CYCLES: Final = 3  # passes over all applications in which the idle controller is measured
_GAP_S: Final = (0.03, 0.15)  # between two samples, uniform, so that they hit every phase of the controller's timers
_CHURN_S: Final = 0.2  # between two rounds of changes: five pods and five NodeClaims come and go each second
_CHURN_NODES: Final = 1000
_CALLS_EACH: Final = 8.0  # ELBv2 calls of one verification: the listeners, their rules, six target groups


@dataclass(frozen=True, slots=True)
class Scenario:
    """A row of the table.

    Attributes:
        applications: How many applications are configured at once.
        samples: How many refusals. Each application gets at most one, so the set is replaced as often as needed.
        shared: Whether all applications share one NodePool: one refusal fails all of them over.
        aws: Whether ELBv2, CloudWatch and EC2 are on, answered by `benchmarks.aws_answers`.
        churn: Whether pods and NodeClaims of a thousand nodes come and go meanwhile.
        each: With `shared`: whether every application's NodeClaim is refused, and deleted, instead of the first one's alone.
        routes: Whether every second application has an HTTPRoute in the place of an Ingress.
    """

    applications: int
    samples: int
    shared: bool = False
    aws: bool = False
    churn: bool = False
    each: bool = False
    routes: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure. `window_s` is the shortest interval, seconds."""

    scenarios: tuple[Scenario, ...]
    window_s: float
    settle_s: float
    trips: int


_ROWS: Final = (
    Scenario(1, 200),
    Scenario(100, 200),
    Scenario(1000, 300),
    Scenario(1000, 300, aws=True),
    Scenario(1000, 300, churn=True),
    Scenario(1000, 300, aws=True, churn=True),
    Scenario(1000, 1000, shared=True),
    Scenario(1000, 1000, shared=True, aws=True),
    Scenario(1000, 1000, shared=True, each=True),
)
FULL: Final = Plan(_ROWS, window_s=60.0, settle_s=4.0, trips=60)
QUICK: Final = Plan((Scenario(20, 40),), window_s=15.0, settle_s=2.0, trips=30)


@dataclass(frozen=True, slots=True)
class Sample:
    """A refusal and the reaction to it, milliseconds.

    Attributes:
        reaction: From the arrival of the event's POST at the API server to its answer to the routing object's PATCH, from the audit log.
        first_call: Until the arrival of the controller's first write.
        writes: The controller's writes until then, including that of the routing object.
        seen: From before the POST was sent to the change on the benchmark's watch, by the benchmark's clock.
        trip: A bare patch of an Ingress right after it.
        routed: Whether the application has an HTTPRoute.
    """

    reaction: float
    first_call: float
    writes: int
    seen: float
    trip: float
    routed: bool = False


@dataclass(slots=True)
class Result:
    """The results of a row.

    Attributes:
        scenario: What was measured.
        samples: All refusals.
        failed: Refusals without a patch in time, and why.
        quiet_trips: Bare patches without noise, ms.
        idle: Usage without noise and refusals.
        noisy: Usage under noise without refusals.
        busy: Usage under noise and refusals.
        calls: The controller's requests per second in the same intervals.
        noise: What the generator sent.
        start_s: From the start of the process to the last application's first decision.
        mass: With one shared NodePool: from the refusal to each application's patched Ingress, ms, in ascending order.
        aws: With AWS on: see `benchmarks.aws_process.AwsUse`.
        rest: What was written besides the Ingresses after that refusal: distinct objects by resource.
        rest_s: From the refusal to the last of these writes, seconds.
        cpu_s: With one shared NodePool: processor seconds of the controller, the API server and etcd until all that is written.
    """

    scenario: Scenario
    samples: list[Sample] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    quiet_trips: list[float] = field(default_factory=list)
    idle: Usage | None = None
    noisy: Usage | None = None
    busy: Usage | None = None
    calls: dict[str, float] = field(default_factory=dict)
    noise: dict[str, Any] = field(default_factory=dict)
    start_s: float = 0.0
    mass: list[float] = field(default_factory=list)
    aws: dict[str, Any] = field(default_factory=dict)
    rest: dict[str, int] = field(default_factory=dict)
    rest_s: float = 0.0
    cpu_s: dict[str, float] = field(default_factory=dict)


class RoutingWatch:
    """Reports when a routing object shows capacity mode, from watches of its own.

    Args:
        session: Not shared with the measured requests.
        resources: The kinds.
    """

    def __init__(self, session: KubeSession, resources: Sequence[Resource]) -> None:
        self._session = session
        self._condition = threading.Condition()
        self._changed: dict[str, float] = {}
        self._stop = threading.Event()
        for resource in resources:
            threading.Thread(target=self._run, args=(resource,), daemon=True).start()

    def wait(self, key: str, timeout_s: float) -> float | None:
        """When the change was seen, on the monotonic clock; None if not in time."""
        with self._condition:
            self._condition.wait_for(lambda: key in self._changed, timeout_s)
            return self._changed.get(key)

    def close(self) -> None:
        """Ends the watch at its next change or timeout."""
        self._stop.set()

    def _run(self, resource: Resource) -> None:
        while not self._stop.is_set():
            try:
                version = text(self._session.request("GET", resource.path(), query=(("limit", "1"),)), "metadata", "resourceVersion")
                query = (("watch", "true"), ("resourceVersion", version), ("timeoutSeconds", "600"))
                with self._session.stream(resource.path(), query, idle_s=600) as changes:
                    for change in changes:
                        if self._stop.is_set():
                            return
                        self._take(change)
            except RemoteError:
                continue

    def _take(self, change: Object) -> None:
        now, obj = time.monotonic(), mapping(change, "object")
        if mapping(obj, "metadata", "annotations").get(MARKER) == "capacity":
            with self._condition:
                self._changed.setdefault(f"{namespace_of(obj)}/{name_of(obj)}", now)
                self._condition.notify_all()


class Bench:
    """A control plane for one measurement.

    Args:
        plane: A running control plane with the custom resource definitions.
        plan: How much to measure.
        per_minute: Events of noise per minute.
        folder: Folder of settings, application files and logs.
        say: Prints progress.
        kinds: The kinds of routing object.
    """

    def __init__(
        self, plane: ControlPlane, plan: Plan, per_minute: float, folder: Path, say: Callable[[str], None], kinds: Sequence[Resource]
    ) -> None:
        self._plane, self._plan, self._per_minute, self._folder, self._say = plane, plan, per_minute, folder, say
        self._admin = plane.session()
        installation.prepare(plane)
        self._tokens = {name: installation.identity(plane, name) for name in ("failoverctl", "bench")}
        self._bench = plane.session(self._tokens["bench"])
        self._watch = RoutingWatch(plane.session(), kinds)
        self._rng = random.Random(20260801)
        self._trips = 0
        self._trip()  # creates the Ingress and opens the connection

    # --- one scenario -------------------------------------------------------------------------------------------------------------------

    def run(self, scenario: Scenario) -> Result:
        """Measures one row."""
        result = Result(scenario)
        size = scenario.applications
        count = -(-scenario.samples // size) * size
        members = fleet.members(count, shared=scenario.shared, routes=scenario.routes)
        sets = [members[start : start + size] for start in range(0, len(members), size)]
        self._say(f"{size} application(s): creating {len(members)} with all their objects")
        fleet.create(self._plane.kubeconfig(), members)
        folder = self._folder / "applications"
        folder.mkdir()
        fleet.write_applications(folder, sets[0])
        aws = AwsProcess(self._plane.kubeconfig()) if scenario.aws else None
        began = time.time()
        try:
            with ExitStack() as stack:
                settings = self._settings(folder, members, frequent=len(sets) > 1)
                if aws is not None:
                    settings |= _aws_settings(stack.enter_context(aws))
                begun = time.monotonic()
                controller = stack.enter_context(ControllerProcess(settings, self._folder / "controller.log"))
                self._await_decided(sets[0], controller)
                result.start_s = time.monotonic() - begun
                if scenario.shared:
                    self._measure_mass(result, members, controller)
                else:
                    self._measure(result, sets, folder, controller)
        finally:
            self._watch.close()
        if aws is not None:
            result.aws = asdict(aws.use(began, result.idle.end if result.idle is not None else time.time()))
        return result

    def _settings(self, folder: Path, members: Sequence[Member], *, frequent: bool) -> dict[str, str]:
        """Those of `benchmarks.installation`; the files are read more often if they are replaced."""
        settings = installation.settings(self._plane, self._tokens["failoverctl"], folder, wide=fleet.wide(members))
        # Saves the benchmark 5 s whenever it replaces the application files.
        return {**settings, **({"FAILOVERCTL_POLLS__CATALOG_INTERVAL_S": "1"} if frequent else {})}

    def _await_decided(self, members: Sequence[Member], controller: ControllerProcess) -> None:
        """Waits for a decision about every application: a leader's first decision stores its memory."""
        end = time.monotonic() + _START_S
        for member in members:
            while True:
                controller.check()
                try:
                    self._admin.get(CONFIG_MAPS, STATE_NAMESPACE, record_name(member.key))
                    break
                except NotFound:
                    assert time.monotonic() < end, f"no decision about {member.key}:\n{controller.log()}"
                    time.sleep(0.02)

    def _measure(self, result: Result, sets: Sequence[Sequence[Member]], folder: Path, controller: ControllerProcess) -> None:
        size, left = result.scenario.applications, result.scenario.samples
        load = self._await_quiet(result.scenario)
        self._say(f"{size} application(s): idle")
        result.idle = controller.usage(max(self._plan.window_s, _CYCLES * size / PASSES_PER_S, load.cycle_s))
        result.quiet_trips = [self._trip() for _ in range(self._plan.trips)]
        namespaces = sorted({member.namespace for one in sets for member in one})
        timed: list[tuple[Member, float | None, float]] = []
        churn = Churn(self._plane.patient_session(), sets[0], _CHURN_S, _CHURN_NODES) if result.scenario.churn else nullcontext()
        with churn, self._noise(namespaces, result):
            time.sleep(self._plan.settle_s)
            self._say(f"{size} application(s): under noise")
            result.noisy = controller.usage(self._plan.window_s)
            self._say(f"{size} application(s): {left} refusals under noise")
            stretch = controller.stretch()
            for index, members in enumerate(sets):
                if index:
                    fleet.write_applications(folder, members)
                    self._await_decided(members, controller)
                    time.sleep(0.1 if size == 1 else self._plan.settle_s)
                for member in members[:left]:
                    controller.check()
                    timed.append((member, *self._sample(member)))
                    time.sleep(self._rng.uniform(*_GAP_S))
                left -= len(members)
                if left <= 0:
                    break
            result.busy = stretch.end()
        self._collect(result, timed)

    def _measure_mass(self, result: Result, members: Sequence[Member], controller: ControllerProcess) -> None:
        """A refusal of the NodePool that all share, or one for each."""
        load = self._await_quiet(result.scenario)
        refused = members if result.scenario.each else members[:1]
        self._say(f"{len(members)} application(s): {len(refused)} refusal(s)")
        stretch, before = controller.stretch(), cpu_s(controller)
        self._refuse(refused)
        end = time.monotonic() + _MASS_S
        for member in members:
            if self._watch.wait(member.key, max(0.0, end - time.monotonic())) is None:
                result.failed.append(f"{member.key}: no patch within {_MASS_S:.0f} s")
        # Floors, memory and Events come last; with AWS on, the memory of what was verified.
        await_quiet(self._calls, _MASS_S + load.change_s)
        result.busy = stretch.end()
        result.cpu_s = {name: seconds - before[name] for name, seconds in cpu_s(controller).items()}
        seen = read(self._plane.folder / "audit.log")
        users = {name: subject(token) for name, token in self._tokens.items()}
        event = next(one for one in seen if one.user == users["bench"] and one.verb == "create" and one.resource == "events")
        first: dict[tuple[str, str], float] = {}
        rest: dict[str, set[tuple[str, str]]] = {resource: set() for resource in ("scaledobjects", "configmaps", "events")}
        for one in seen:
            if one.user != users["failoverctl"] or one.received < event.received or one.code >= 300:
                continue
            if one.verb == "patch" and one.resource == "ingresses":
                first.setdefault((one.namespace, one.name), (one.answered - event.received) * 1000)
            elif one.verb in {"create", "patch", "update"} and one.resource in rest:
                rest[one.resource].add((one.namespace, one.name))
                result.rest_s = one.answered - event.received
        result.mass = sorted(first.values())
        result.rest = {resource: len(names) for resource, names in rest.items()}

    def _refuse(self, members: Sequence[Member]) -> None:
        """Karpenter's event about each application's NodeClaim, and where there are several, the end of the NodeClaim."""

        def refuse(some: Sequence[Member]) -> None:
            events, claims = self._plane.session(self._tokens["bench"]), self._plane.session()
            for member in some:
                events.create(EVENTS, "default", fleet.refusal(member), field_manager="karpenter")
                if len(members) > 1:
                    claims.request("DELETE", NODE_CLAIMS.path(None, member.claim))
            events.close()
            claims.close()

        with ThreadPoolExecutor(_REFUSING) as pool:
            for _ in pool.map(refuse, [members[start::_REFUSING] for start in range(_REFUSING)]):
                pass

    def _await_quiet(self, scenario: Scenario) -> Load:
        """Waits until the controller has nothing to write: the first verification of each application is remembered, a write each.

        Returns:
            What the verifications need; nothing without AWS.
        """
        load = Load(scenario.applications if scenario.aws else 0, _CALLS_EACH, CALLS_PER_S)
        await_quiet(self._calls, _START_S + load.cycle_s)
        return load

    def _calls(self) -> int:
        user = subject(self._tokens["failoverctl"])
        return sum(one.user == user for one in read(self._plane.folder / "audit.log"))

    def _sample(self, member: Member) -> tuple[float | None, float]:
        """A refusal and a bare round trip, milliseconds. The first is None if there was no reaction in time."""
        body = fleet.refusal(member)
        begun = time.monotonic()
        self._bench.create(EVENTS, "default", body, field_manager="karpenter")
        changed = self._watch.wait(member.key, _SAMPLE_S)
        return (None if changed is None else (changed - begun) * 1000), self._trip()

    def _trip(self) -> float:
        """Times a bare server-side apply of an Ingress, milliseconds."""
        self._trips += 1
        action = fleet.cost_action(Member(self._trips % 7, SPACE))
        body: Object = {
            "apiVersion": INGRESSES.api_version,
            "kind": INGRESSES.kind,
            "metadata": {"name": "bare", "namespace": SPACE, "annotations": {action_key(ACTION): action, "bench/number": str(self._trips)}},
            "spec": {"defaultBackend": {"service": {"name": "bare", "port": {"number": 80}}}},
        }
        path, query = INGRESSES.path(SPACE, "bare"), (("fieldManager", "bench"), ("force", "true"))
        written = json.dumps(body)
        begun = time.monotonic()
        self._bench.request("PATCH", path, query=query, body=written, content_type=APPLY_PATCH)
        return (time.monotonic() - begun) * 1000

    @contextmanager
    def _noise(self, namespaces: Sequence[str], result: Result) -> Iterator[None]:
        command = [sys.executable, "-m", "benchmarks.noise", "--kubeconfig", str(self._plane.kubeconfig())]
        command += ["--namespaces", ",".join(namespaces), "--per-minute", str(self._per_minute), "--seconds", "900"]
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            yield
        finally:
            output, _ = process.communicate(timeout=30)  # the end of its input ends it
        result.noise = json.loads(output)
        result.noise["per_minute"] = round(result.noise["sent"] / result.noise["seconds"] * 60)

    # --- what the API server saw --------------------------------------------------------------------------------------------------------

    def _collect(self, result: Result, timed: Sequence[tuple[Member, float | None, float]]) -> None:
        seen = read(self._plane.folder / "audit.log")
        users = {name: subject(token) for name, token in self._tokens.items()}
        ours = [one for one in seen if one.user == users["failoverctl"]]
        posted = {one.name: one for one in seen if one.user == users["bench"] and one.verb == "create" and one.resource == "events"}
        for member, seen_ms, trip_ms in timed:
            event = posted.get(f"{member.claim}.18a1")
            patch = next((one for one in ours if routes(one, member) and event and one.received >= event.received), None)
            if event is None or patch is None or seen_ms is None:
                result.failed.append(f"{member.key}: no patch within {_SAMPLE_S:.0f} s")
                continue
            own = [one for one in ours if _belongs(one, member) and event.received <= one.received <= patch.received]
            result.samples.append(
                Sample(
                    reaction=(patch.answered - event.received) * 1000,
                    first_call=(own[0].received - event.received) * 1000,
                    writes=len(own),
                    seen=seen_ms,
                    trip=trip_ms,
                    routed=member.routed,
                )
            )
        for name, usage in (("idle", result.idle), ("noisy", result.noisy), ("busy", result.busy)):
            if usage is not None:
                count = sum(usage.start <= one.received <= usage.end for one in ours)
                result.calls[name] = count / (usage.end - usage.start)


def _aws_settings(aws: AwsProcess) -> dict[str, str]:
    """ELBv2, CloudWatch and EC2 on, answered by the benchmark's AWS."""
    return {
        **aws.environment,
        "FAILOVERCTL_AWS__APIS": '["elbv2", "cloudwatch", "ec2", "reservations", "quotas"]',
        "FAILOVERCTL_POLLS__ELBV2_CALLS_PER_S": f"{CALLS_PER_S:g}",
    }


def _belongs(one: Seen, member: Member) -> bool:
    return one.verb == "patch" and one.namespace == member.namespace and (one.name == member.name or one.name.startswith(f"{member.name}-"))


def routes(one: Seen, member: Member) -> bool:
    """Whether a request changed the routing object of an application."""
    accepted = one.verb == "patch" and one.resource == (HTTP_ROUTES if member.routed else INGRESSES).plural and one.code < 300
    return accepted and (one.namespace, one.name) == (member.namespace, member.name)


def machine() -> dict[str, Any]:
    """The machine's size, without names."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / MIB / 1024, 1),
        "python": platform.python_version(),
        "load_before": [round(value, 2) for value in os.getloadavg()],
    }


def _measured(scenario: Scenario, plan: Plan, noise: float, say: Callable[[str], None]) -> Result:
    """Measures a row on a new control plane."""
    try:
        plane = ControlPlane(controllers=False)
    except Unavailable as error:
        raise SystemExit(f"no control plane: {error}") from error
    with plane, tempfile.TemporaryDirectory(prefix="failoverctl-bench-") as folder:
        session = plane.session()
        crds.install(session)
        if scenario.routes:
            crds.install(session, crds.upstream(crds.GATEWAY))
        session.close()
        kinds = (INGRESSES, HTTP_ROUTES) if scenario.routes else (INGRESSES,)
        result = Bench(plane, plan, noise, Path(folder), say, kinds).run(scenario)
    if scenario.routes:
        say(_side_by_side(result))
    return result


def _side_by_side(result: Result) -> str:
    """The reaction for each kind of routing object, whose refusals alternate."""
    times = {routed: [one.reaction for one in result.samples if one.routed is routed] for routed in (False, True)}
    medians = {routed: report.percentile(found, 0.5) for routed, found in times.items()}
    each = ", ".join(
        f"{kind.kind} p50 {medians[routed]:.1f} ms p99 {report.percentile(times[routed], 0.99):.1f} ms of {len(times[routed])}"
        for kind, routed in ((INGRESSES, False), (HTTP_ROUTES, True))
    )
    return f"{each}: ratio of the medians {medians[True] / medians[False]:.2f}"


def main() -> None:
    """Runs the benchmark and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two minutes, for a smoke test; writes no docs")
    parser.add_argument("--noise", type=float, default=10_000, help="events a minute (10000)")
    parser.add_argument("--applications", type=int, help="measure only one row with this many applications; writes no docs")
    parser.add_argument("--shared", action="store_true", help="with --applications: all share one NodePool, and one refusal is for all")
    parser.add_argument("--each", action="store_true", help="with --shared: every application's NodeClaim is refused")
    parser.add_argument("--aws", action="store_true", help="with --applications: ELBv2, CloudWatch and EC2 are on, and answer after 0.2 s")
    parser.add_argument("--churn", action="store_true", help="with --applications: pods and NodeClaims of a thousand nodes come and go")
    parser.add_argument(
        "--routes", action="store_true", help="with --applications: every second one has an HTTPRoute; prints both side by side"
    )
    parser.add_argument("--samples", type=int, default=60, help="with --applications: refusals (60)")
    parser.add_argument(
        "--replace", action="store_true", help="with --applications: put the row into the docs, in place of one that measured the same"
    )
    options = parser.parse_args()
    plan = QUICK if options.quick else FULL
    if options.applications:
        samples = options.applications if options.shared else options.samples
        chosen = (Scenario(options.applications, samples, options.shared, options.aws, options.churn, options.each, options.routes),)
        plan = Plan(chosen, plan.window_s, plan.settle_s, plan.trips)
    begun, say = time.monotonic(), progress()
    size = machine()
    results, failed = [], list[str]()
    for scenario in plan.scenarios:
        try:
            results.append(_measured(scenario, plan, options.noise, say))
        except Exception as error:  # noqa: BLE001 - an hour of other rows is not lost with it
            failed.append(f"{scenario}: {error}")
            say(f"a row failed: {failed[-1]}")
    took = time.monotonic() - begun
    document = report.document([asdict(one) for one in results], size, asdict(CheckerLatency.computed()), options.noise, took)
    whole = not (options.quick or options.applications or failed)
    report.write(document, docs=whole, replace=options.replace and not failed)
    if failed:
        sys.exit("\n".join(("The docs stay as they are; rows that failed can be measured with --applications … --replace.", *failed)))


if __name__ == "__main__":
    main()
