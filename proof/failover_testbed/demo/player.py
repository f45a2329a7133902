"""The thread that plays a scenario: it runs every fake step by step and counts what happens."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from controller.policy.model import Application
from controller.routing.names import action_key
from failover_testbed.capacity.ec2 import FleetAnswer
from failover_testbed.cluster import manifests
from failover_testbed.cluster.workloads import Workloads
from failover_testbed.cluster.world import Node, World
from failover_testbed.demo.clock import PacedClock
from failover_testbed.demo.scenario import EventFile, InterruptionFile, LimitFile, ScenarioFile
from failover_testbed.karpenter.controller import Karpenter
from failover_testbed.lbc.controller import LoadBalancerController
from failover_testbed.lbc.elb_calls import Write
from failover_testbed.traffic.keda import Keda
from failover_testbed.traffic.metrics import MetricsPublisher
from failover_testbed.traffic.requests import STEP_S, Traffic

TICK_S: Final = 0.5
"""Seconds of the clock between two steps: 25 ms of real time at the usual factor."""

_STOP_S: Final = 10.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class UnitProgress:
    """How one unit stands now.

    Attributes:
        application: ``namespace/ingress``.
        unit: The unit's name.
        ready: Ready replicas.
        desired: Replicas of the Deployment's spec.
        pending: Replicas without a node.
        share: Percent of the application's served requests in the last minute.
        requests: Requests that it served in the last minute.
        load: Load of one replica; 1 is its throughput.
        latency_s: Latency, seconds.
    """

    application: str
    unit: str
    ready: int
    desired: int
    pending: int
    share: int
    requests: float
    load: float
    latency_s: float


@dataclass(frozen=True, slots=True)
class Progress:
    """How a scenario stands now.

    Attributes:
        elapsed_s: Seconds of its clock since it began.
        duration_s: How long the scenario lasts.
        now: Wall-clock time of its clock, seconds since the Unix epoch.
        demand: Requests per metric period.
        units: All units.
        weights: Live weights in the load balancer by Service and application; empty for a fixed response.
        faults: The faults that are active now, in words.
        served: Requests served since it began.
        failed: Requests that failed since it began.
    """

    elapsed_s: float
    duration_s: float
    now: float
    demand: float
    units: tuple[UnitProgress, ...]
    weights: Mapping[str, Mapping[str, int]]
    faults: tuple[str, ...]
    served: float
    failed: float


@dataclass(frozen=True, slots=True)
class RoutingChange:
    """The load balancer's routing from a moment on.

    Attributes:
        at_s: Seconds since the scenario began; 0 for the routing at the start.
        application: ``namespace/ingress``.
        weights: Weights by Service; empty for a fixed response.
        answer: The fixed response, "" if it forwards.
    """

    at_s: float
    application: str
    weights: Mapping[str, int]
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Happening:
    """An event of the scenario, in words."""

    at_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What has happened in a scenario.

    Attributes:
        elapsed_s: Seconds since the scenario began.
        served: Requests served.
        failed: Requests that failed.
        failures: Failed requests by cause.
        worst_latency_s: Highest latency by unit, seconds.
        routing: The load balancer's routing, in order of time.
        happenings: The scenario's events, in order of time.
        writes: Calls of the load-balancer controller that changed AWS since the scenario began.
        problem: Why the player ended early, "" if it did not.
    """

    elapsed_s: float
    served: float
    failed: float
    failures: Mapping[str, float]
    worst_latency_s: Mapping[str, float]
    routing: tuple[RoutingChange, ...]
    happenings: tuple[Happening, ...]
    writes: tuple[Write, ...]
    problem: str = ""


class Player:
    """Plays one scenario on a thread of its own.

    Args:
        file: The scenario.
        world: State that the fakes share.
        workloads: Fakes of Kubernetes' built-in controllers.
        karpenter: The fake Karpenter.
        traffic: Traffic by application key.
        publishers: Metrics publishers of all applications.
        keda: The fake KEDA.
        lbc: The fake load-balancer controller, whose writes are counted.
        finished: Set when the scenario is over or cannot continue.
        paced: The clock of `world` if it waits for the player; None if time goes on without it.
    """

    def __init__(
        self,
        file: ScenarioFile,
        world: World,
        workloads: Workloads,
        karpenter: Karpenter,
        traffic: Mapping[str, Traffic],
        publishers: Sequence[MetricsPublisher],
        keda: Keda,
        lbc: LoadBalancerController,
        finished: threading.Event,
        paced: PacedClock | None = None,
    ) -> None:
        self._file, self._world, self._workloads, self._karpenter = file, world, workloads, karpenter
        self._traffic, self._publishers, self._keda, self._lbc = dict(traffic), list(publishers), keda, lbc
        self._finished, self._paced = finished, paced
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._events = sorted(file.events, key=lambda event: event.at_s)
        self._limits: dict[tuple[str, str], str] = {}
        self._happenings: list[Happening] = []
        self._routing: list[RoutingChange] = []
        self._writes_before = len(lbc.writes())
        self._problem = ""
        self._started = self._world.now()
        self._traffic_at = self._started
        self._progress = self._snapshot(0.0)
        self._thread = threading.Thread(target=self._run, name="scenario", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._started = self._traffic_at = self._world.now()
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread, and waits a few real seconds at most."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_S)

    def progress(self) -> Progress:
        """The state after the last step."""
        with self._lock:
            return self._progress

    def facts(self) -> Facts:
        """What has happened so far."""
        with self._lock:
            balancers = [traffic.balancer for traffic in self._traffic.values()]
            failures: dict[str, float] = {}
            for balancer in balancers:
                for why, count in balancer.failures.items():
                    failures[why] = failures.get(why, 0.0) + count
            units = {name: unit for traffic in self._traffic.values() for name, unit in traffic.units.items()}
            return Facts(
                elapsed_s=self._progress.elapsed_s,
                served=sum(balancer.served for balancer in balancers),
                failed=sum(balancer.failed for balancer in balancers),
                failures=failures,
                worst_latency_s={name: unit.worst_latency_s for name, unit in units.items()},
                routing=tuple(self._routing),
                happenings=tuple(self._happenings),
                writes=tuple(self._lbc.writes()[self._writes_before :]),
                problem=self._problem,
            )

    # --- the thread ---------------------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                elapsed = self._world.now() - self._started
                self._step(min(elapsed, self._file.duration_s))
                if elapsed >= self._file.duration_s:
                    break
                if self._paced is not None:
                    self._paced.stepped()
                self._world.clock.wait(self._stop, TICK_S)
        except Exception as error:  # a bug in the player must end the demo with a message, not hang it
            log.exception("scenario.failed", scenario=self._file.name)
            self._problem = f"{type(error).__name__}: {error}"
        finally:
            if self._paced is not None:
                self._paced.release()
            self._finished.set()

    def _step(self, elapsed: float) -> None:
        while self._events and self._events[0].at_s <= elapsed:
            self._happen(self._events.pop(0), elapsed)
        self._workloads.step()
        self._evict(self._karpenter.step(self._workloads.waiting()))
        self._send(elapsed)
        self._keda.step()
        now = self._world.now()
        for publisher in self._publishers:
            publisher.step(now)
        progress = self._snapshot(elapsed)
        with self._lock:
            self._progress = progress

    def _send(self, elapsed: float) -> None:
        """Sends the requests since the last step; a late step is divided, so that each part has the demand of its time."""
        now = self._world.now()
        while now - self._traffic_at > 1e-6:  # noqa: PLR2004 - seconds
            part = min(STEP_S, now - self._traffic_at)
            self._traffic_at += part
            demand = self._file.demand.at(min(self._traffic_at - self._started, self._file.duration_s))
            for traffic in self._traffic.values():
                traffic.step(demand, part)
        for key, traffic in self._traffic.items():
            last = next((change for change in reversed(self._routing) if change.application == key), None)
            weights, answer = dict(traffic.shown), traffic.split.answer
            if last is None or (last.weights, last.answer) != (weights, answer):
                with self._lock:
                    self._routing.append(RoutingChange(0.0 if last is None else elapsed, key, weights, answer))

    # --- what the scenario does ---------------------------------------------------------------------------------------------------------

    def _happen(self, event: EventFile, elapsed: float) -> None:
        text = ""
        ec2 = self._karpenter.ec2
        if event.shortage is not None:
            shortage = event.shortage.to_shortage()
            ec2.begin(shortage)
            several = self._file.fleet is FleetAnswer.ONE_ZONE and len(shortage.zones) != 1
            text = f"no capacity: {shortage}{', refused one zone a launch' if several else ''}"
        elif event.returned is not None:
            shortage = event.returned.to_shortage()
            if shortage in ec2.shortages:
                ec2.end(shortage)
            text = f"capacity is back: {shortage}"
        elif event.interrupted is not None:
            text = self._interrupt(event.interrupted)
        elif event.limit is not None:
            text = self._limit(event.limit)
        elif event.scale is not None:
            text = f"minReplicaCount of {event.scale.unit} is set to {event.scale.min_replicas}"
            self._scale(event.scale.unit, event.scale.min_replicas)
        elif event.override is not None:
            text = "an operator changes the override"
            self._annotate(event.override.annotations(self._world.now()))
        elif event.action is not None:
            text = "another writer changes the routing action"
            for application in self._world.applications:
                self._patch_route(application, self._action(application, event.action))
        with self._lock:
            self._happenings.append(Happening(elapsed, text))

    def _interrupt(self, interruption: InterruptionFile) -> str:
        nodes = self._karpenter.interrupt(interruption.node_pool, interruption.nodes)
        self._evict(nodes)
        return f"EC2 takes back {len(nodes)} spot instance(s) of NodePool {interruption.node_pool}"

    def _evict(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            if node.pod is not None:
                self._workloads.evict(node.pod)

    def _limit(self, limit: LimitFile) -> str:
        change = {"spec": {"limits": {limit.resource: limit.value}}}
        self._world.store.patch("NodePool", limit.node_pool, change, manager=manifests.MANAGER)
        if limit.value is None:
            self._limits.pop((limit.node_pool, limit.resource), None)
            return f"NodePool {limit.node_pool} no longer has a limit of {limit.resource}"
        self._limits[limit.node_pool, limit.resource] = limit.value
        return f"NodePool {limit.node_pool} is limited to {limit.value} of {limit.resource}"

    def _scale(self, name: str, replicas: int) -> None:
        for application, unit in self._world.units():
            if unit.name == name and unit.scaled_object:
                change = {"spec": {"minReplicaCount": replicas}}
                self._world.store.patch(
                    "ScaledObject", unit.scaled_object, change, namespace=application.namespace, manager=manifests.MANAGER
                )

    def _annotate(self, annotations: Mapping[str, str | None]) -> None:
        for application in self._world.applications:
            self._patch_route(application, {"metadata": {"annotations": dict(annotations)}})

    def _action(self, application: Application, text: str) -> Mapping[str, Any]:
        """The change that writes a routing action: an Ingress' annotation, or the backends of a route's main rule as JSON."""
        route = application.route
        if route.kind == "Ingress":
            return {"metadata": {"annotations": {action_key(route.part): text}}}
        rules = self._world.store.get(route.kind, route.name, namespace=application.routing_namespace)["spec"]["rules"]
        changed = [{**one, "backendRefs": json.loads(text)} if one.get("name") == route.part else one for one in rules]
        return {"spec": {"rules": changed}}

    def _patch_route(self, application: Application, change: Mapping[str, Any]) -> None:
        route = application.route
        self._world.store.patch(route.kind, route.name, change, namespace=application.routing_namespace, manager="kubectl-edit")

    # --- the display --------------------------------------------------------------------------------------------------------------------

    def _snapshot(self, elapsed: float) -> Progress:
        units = []
        for application, unit in self._world.units():
            traffic = self._traffic[application.key]
            pods = [pod for pod in self._world.pods_of(application, unit) if pod.gone_at is None and pod.leads]
            recent = traffic.units[unit.name]
            units.append(
                UnitProgress(
                    application=application.key,
                    unit=unit.name,
                    ready=sum(pod.ready for pod in pods),
                    desired=len(pods),
                    pending=sum(pod.node is None for pod in pods),
                    share=traffic.shares()[unit.name],
                    requests=traffic.counter(unit.name),
                    load=recent.load,
                    latency_s=recent.latency_s,
                )
            )
        faults = [f"no capacity for {shortage}" for shortage in self._karpenter.ec2.shortages]
        faults += [f"NodePool {pool} limited to {value} of {resource}" for (pool, resource), value in self._limits.items()]
        balancers = [traffic.balancer for traffic in self._traffic.values()]
        return Progress(
            elapsed_s=elapsed,
            duration_s=self._file.duration_s,
            now=self._world.now(),
            demand=self._file.demand.at(elapsed),
            units=tuple(units),
            weights={key: dict(traffic.shown) for key, traffic in self._traffic.items()},
            faults=tuple(faults),
            served=sum(balancer.served for balancer in balancers),
            failed=sum(balancer.failed for balancer in balancers),
        )
