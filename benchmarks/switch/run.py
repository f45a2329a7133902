"""Runs a plan: real requests through a real proxy to real pods, while the production controller changes modes."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks.process import ControllerProcess
from benchmarks.switch.drivers import Driving, Log, drivers, remembered
from benchmarks.switch.history import histories
from benchmarks.switch.plan import COLD_START_S, REPLICAS, Plan
from benchmarks.switch.requests import outcomes, windows
from benchmarks.switch.result import Result
from controller.catalog.loader import load_directory
from controller.clients.kube import connect
from controller.policy.model import Application
from controller.service.logs import configure_logging
from controller.settings import LogFormat, LogLevel, LogSettings
from failover_harness.dataplane.applications import application_file
from failover_harness.dataplane.cluster import STATE_NAMESPACE, Cluster, Member
from failover_harness.dataplane.load import Load, Stream, rate
from failover_testbed.aws.server import REGION
from failover_testbed.lbc.faults import Faults

_DECIDED_S: Final = 60.0
_MORE: Final = {"FAILOVERCTL_POLLS__ELBV2_CALLS_PER_S": "20", "FAILOVERCTL_POLLS__VERIFICATION_INTERVAL_S": "1"}
"""For applications that change modes every few seconds: the default of one call per second verifies one mode change in ten seconds."""


def run(plan: Plan, folder: Path, begun: float) -> Result:
    """Runs a plan: the lanes of each controller on its own site, in parallel, each in a process.

    A site has its own Kubernetes API, AWS, Envoy, pods and load; in one process they would compete for the interpreter.

    Args:
        plan: The plan.
        folder: Folder of application files, logs and records.
        begun: When the benchmark began (monotonic seconds), for progress messages.
    """
    budgets = list(dict.fromkeys(lane.budget for lane in plan.lanes))
    parts = [replace(plan, lanes=tuple(lane for lane in plan.lanes if lane.budget == budget)) for budget in budgets]
    places = [folder / budget for budget in budgets]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    busy, started = _busy_s(), time.time()
    with ProcessPoolExecutor(len(parts), mp_context=multiprocessing.get_context("spawn")) as pool:
        results = list(pool.map(_site, parts, places, [begun] * len(parts)))
    return Result(
        plan,
        {key: one for result in results for key, one in result.histories.items()},
        {key: one for result in results for key, one in result.outcomes.items()},
        [window for result in results for window in result.windows],
        [one for result in results for one in result.rates],
        Log(*([item for result in results for item in getattr(result.log, name)] for name in ("orders", "deaths", "problems"))),
        min(result.began for result in results),
        (_busy_s() - busy) / (time.time() - started),
    )


def _site(plan: Plan, folder: Path, begun: float) -> Result:
    """Runs the lanes of one controller; the body of a process."""
    configure_logging(LogSettings(level=LogLevel.WARNING, format=LogFormat.CONSOLE))
    # The load-balancer controllers share a client, which opens new connections if they need more than it keeps.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    budget = plan.lanes[0].budget

    def say(what: str) -> None:
        print(f"[{time.monotonic() - begun:5.0f} s] {budget}: {what}", file=sys.stderr, flush=True)

    applications = _application_files(plan, folder)
    members = [
        Member(applications[key], REPLICAS, standby=lane.driver not in {"patch", "late-rules"}) for lane in plan.lanes for key in lane.keys
    ]
    faults = {lane.name: lane.faults for lane in plan.lanes if lane.faults != Faults()}
    say(f"starting a cluster with {len(members)} applications")
    with ExitStack() as stack:
        cluster = stack.enter_context(Cluster(members, faults=faults, first_check_s=plan.first_check_s))
        process = stack.enter_context(_controller(cluster, budget, folder))
        _await_decided(cluster, plan)
        log = Log()
        session = connect(kubeconfig=str(cluster.kubeconfig("admin")))
        stack.callback(session.close)
        streams = [Stream(key, cluster.url(key), lane.rate, lane.clients) for lane in plan.lanes for key in lane.keys]
        say(f"{sum(stream.rate for stream in streams):.0f} requests/s for {plan.seconds:.0f} s")
        began = time.time()
        with Load(streams, plan.seconds, folder / "records.csv") as load:
            with Driving(drivers(cluster, plan, session, log), log):
                _progress(plan.seconds, log, say)
            records = load.wait()
        cluster.plane.check()
        process.check()
        writes = {lane.name: cluster.load_balancer_controller(lane.name).writes() for lane in plan.lanes}
        say(f"{len(records)} requests: reading what happened")
        seen = histories(applications.values(), cluster.api.audit.records(), writes)
    found = outcomes(records, log.deaths, {key: one.modified for key, one in seen.items()})
    naive = [window for lane in plan.lanes if lane.driver == "patch" for key in lane.keys for window in windows(log.orders, key, records)]
    return Result(plan, seen, found, naive, [rate(records, streams, plan.seconds)], log, began, 0.0)


def _application_files(plan: Plan, folder: Path) -> dict[str, Application]:
    """Writes the application files; the controller does not get those of lanes that it does not drive."""
    found: dict[str, Application] = {}
    for lane in plan.lanes:
        place = folder / ("naive" if lane.driver == "patch" else "applications")
        place.mkdir(exist_ok=True)
        for key in lane.keys:
            name = key.partition("/")[2]
            text = application_file(name, lane.name, style=lane.style, cold_start_s=COLD_START_S, units=lane.units, policy=lane.policy)
            (place / f"{name}.yaml").write_text(text)
        found |= load_directory(place)
    return found


@contextmanager
def _controller(cluster: Cluster, budget: str, folder: Path) -> Iterator[ControllerProcess]:
    """`failoverctl run` with production settings, except that CloudWatch and EC2 are off.

    Leader election is off: a first leader waits 15 s.
    """
    environment = {
        **cluster.aws.environment(),
        "FAILOVERCTL_APPLICATIONS": str(folder / "applications"),
        "FAILOVERCTL_KUBERNETES__KUBECONFIG": str(cluster.kubeconfig("controller")),
        "FAILOVERCTL_KUBERNETES__STATE_NAMESPACE": STATE_NAMESPACE,
        "FAILOVERCTL_LEADER_ELECTION__ENABLED": "false",
        "FAILOVERCTL_AWS__REGION": REGION,
        "FAILOVERCTL_AWS__APIS": '["elbv2"]',
        "FAILOVERCTL_CLOUDWATCH__ENABLED": "false",
        "FAILOVERCTL_HTTP__HOST": "127.0.0.1",
        "FAILOVERCTL_HTTP__PORT": "0",
        **({} if budget == "shipped" else _MORE),
    }
    with ControllerProcess(environment, folder / "controller.log") as process:
        yield process


def _await_decided(cluster: Cluster, plan: Plan) -> None:
    """Waits until every controller has decided about all its applications.

    Raises:
        RuntimeError: It took too long.
    """
    keys = [key for lane in plan.lanes if lane.driver != "patch" for key in lane.keys]
    pause = threading.Event()
    end = time.monotonic() + _DECIDED_S
    while missing := [key for key in keys if remembered(cluster, key) is None]:
        if time.monotonic() > end:
            raise RuntimeError(f"no decision within {_DECIDED_S:.0f} s about {', '.join(missing)}")
        pause.wait(0.2)


def _progress(seconds: float, log: Log, say: Callable[[str], None]) -> None:
    """Waits for the end of the load and prints progress every minute."""
    end, pause = time.monotonic() + seconds, threading.Event()
    while (left := end - time.monotonic()) > 0:
        pause.wait(min(60.0, left))
        say(f"{len(log.orders)} mode changes requested, {len(log.deaths)} pods crashed")


def _busy_s() -> float:
    """Busy processor seconds of all cores of the machine."""
    with Path("/proc/stat").open() as file:
        user, nice, system, *_ = (int(value) for value in file.readline().split()[1:])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")
