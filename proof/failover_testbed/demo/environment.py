"""The environment of the production controller in the demo: an emulated Kubernetes API and AWS, fakes, and a scenario.

::

    with Environment(scenario, clock) as environment:
        os.environ.update(environment.environment())
        Service(settings, connect(kubeconfig=str(environment.kubeconfig("controller"))), clock).run()

The controller contains no code for it: it sends HTTP requests to the addresses in its settings.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

import structlog

from controller.clients.kube import KubeSession, connect
from controller.clock import Clock
from controller.policy.account import capacity_throughputs
from controller.policy.model import Application, Mode
from failover_testbed.aws.server import ZONES, EmulatedAws
from failover_testbed.capacity.ec2 import Ec2
from failover_testbed.capacity.reservations import Reservations
from failover_testbed.cluster import components, manifests, routes
from failover_testbed.cluster.events import Recorder
from failover_testbed.cluster.roles import CONTROLLER, LOAD_BALANCER_CONTROLLER
from failover_testbed.cluster.workloads import Workloads
from failover_testbed.cluster.world import World
from failover_testbed.demo.clock import PacedClock
from failover_testbed.demo.player import Facts, Player, Progress
from failover_testbed.demo.scenario import Scenario
from failover_testbed.karpenter.controller import Karpenter
from failover_testbed.kube_api import READ_ONLY, EmulatedKubeApi, Identity
from failover_testbed.lbc.controller import LoadBalancerController
from failover_testbed.lbc.model import Tolerance
from failover_testbed.traffic.keda import Keda
from failover_testbed.traffic.metrics import MetricsPublisher
from failover_testbed.traffic.requests import LiveRouting, Traffic

Role = Literal["controller", "read-only", "admin"]

STATE_NAMESPACE: Final = "failover-system"

_TOKENS: Final[Mapping[str, Identity]] = {
    "controller": Identity("system:serviceaccount:failover-system:failoverctl", CONTROLLER),
    "read-only": Identity("viewer", READ_ONLY),
    "admin": Identity("admin"),
    "lbc": Identity("system:serviceaccount:kube-system:aws-load-balancer-controller", LOAD_BALANCER_CONTROLLER),
}
_READY_S: Final = 30.0  # real seconds
_POLL_S: Final = 0.02
_BACKFILL_PERIODS: Final = 5

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Parts:
    """The parts of a running environment."""

    session: KubeSession
    lbc: LoadBalancerController
    player: Player


class Environment:
    """Plays a scenario. Use it as a context manager, or call `start` and `stop`.

    Args:
        scenario: The scenario to play.
        clock: The scenario's time; `PacedClock(scenario.file.factor)` in the demo.
        lag_s: Seconds of the clock before the load-balancer controller acts on a change.
        routing: The kind of the object that routes requests; None: as the application files say.
        tls: Whether the emulated API serves TLS, for kubectl.
    """

    def __init__(
        self, scenario: Scenario, clock: Clock, *, lag_s: float = 0.8, routing: routes.Routing | None = None, tls: bool = False
    ) -> None:
        self.scenario, self._clock, self._lag_s = scenario, clock, lag_s
        self._applications = tuple(routes.routed_by(one, routing) for one in scenario.applications.values())
        self._gateways = any(one.route.kind != "Ingress" for one in self._applications)
        seed = scenario.file.seed
        # Bookmarks keep quiet watches fresh. They follow real time, of which a second is up to a minute of the scenario.
        self.api = EmulatedKubeApi(clock, tokens=_TOKENS, seed=seed, bookmark_interval_s=1.0, tls=tls)
        self.aws = EmulatedAws(clock)
        self._folder: Path | None = None
        self._parts: _Parts | None = None
        self.finished = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    # --- life ---------------------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the servers, creates a cluster in a steady state, and begins to play.

        Raises:
            ConfigError: moto is not installed.
            RuntimeError: It was started before, or does not become ready.
        """
        if self._folder is not None:
            raise RuntimeError("the environment was already started")
        self._folder = Path(tempfile.mkdtemp(prefix="failoverctl-demo-"))
        try:
            self.aws.start()
            self.api.start()
            self._parts = self._build()
        except BaseException:
            self.stop()
            raise
        self._parts.player.start()

    def stop(self) -> None:
        """Stops everything within bounded time. Safe to call twice."""
        parts, self._parts = self._parts, None
        if parts is not None:
            parts.player.stop()
            parts.lbc.stop()
        self.api.stop()
        if parts is not None:
            parts.session.close()
        self.aws.stop()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _build(self) -> _Parts:
        applications = self._applications
        world = World(self._clock, self.api.store, applications, ZONES, self.scenario.file.seed)
        recorder = Recorder(world)
        workloads = Workloads(world, recorder)
        karpenter = Karpenter(world, recorder, Ec2(ZONES, world.random, answer=self.scenario.file.fleet))
        karpenter.ec2.injected = self.aws.fis.zones
        self.aws.reservations = Reservations(karpenter.ec2.refused, self._clock.now)
        replicas = {application.key: self._replicas(application) for application in applications}
        self._create(world, workloads, karpenter, replicas)
        session = connect(kubeconfig=str(self.kubeconfig("lbc")), read_s=10)
        namespaces = tuple(sorted({space for one in applications for space in (one.namespace, one.routing_namespace)}))
        lbc = LoadBalancerController(
            session,
            self._clock,
            self.aws,
            namespaces,
            lag_s=self._lag_s,
            tolerance=Tolerance(service=False, action=False),
            gateways=self._gateways,
        )
        lbc.start()
        try:
            self._await(lbc, applications)
            self.aws.checks.pass_all()  # the cluster starts in a steady state
            traffic = {one.key: Traffic(world, one, LiveRouting(self.aws, lbc, one.key, self._clock), lbc) for one in applications}
            demand = self.scenario.file.demand.at(0)
            publishers = []
            for key, each in traffic.items():
                each.warm(demand)
                publisher = MetricsPublisher(self.aws, each, lbc.load_balancer(key), world.now())
                publisher.backfill(world.now(), _BACKFILL_PERIODS)
                publishers.append(publisher)
            keda = Keda(world, traffic)
            for application in applications:
                for unit in application.units:
                    keda.remember(application, unit, replicas[application.key][unit.name])
        except BaseException:
            lbc.stop()
            raise
        paced = self._clock if isinstance(self._clock, PacedClock) else None
        player = Player(self.scenario.file, world, workloads, karpenter, traffic, publishers, keda, lbc, self.finished, paced)
        return _Parts(session, lbc, player)

    def _create(self, world: World, workloads: Workloads, karpenter: Karpenter, replicas: Mapping[str, Mapping[str, int]]) -> None:
        """Creates all objects that exist before the scenario begins."""
        file, store = self.scenario.file, world.store
        self._create_components(world)
        for one in self.scenario.objects():
            store.create(one["kind"], one, manager=manifests.MANAGER)
        if self._gateways:
            store.create("GatewayClass", routes.gateway_class(), manager=manifests.MANAGER)
        pools: dict[str, tuple[str, ...]] = {}
        for _, unit in world.units():
            pools[unit.node_pool] = tuple(dict.fromkeys((*pools.get(unit.node_pool, ()), *manifests.unit_types(unit))))
        for name, types in pools.items():
            limits = {limit.resource: limit.value for limit in file.limits if limit.node_pool == name and limit.value is not None}
            pool = manifests.node_pool(name, types, limits, file.capacity_types.get(name, ("on-demand",)))
            store.create("NodePool", pool, manager=manifests.MANAGER)
        for application in world.applications:
            for service in manifests.services(application):
                store.create("Service", service, manager=manifests.MANAGER)
            throughputs = capacity_throughputs(application)
            for unit in application.units:
                count = replicas[application.key][unit.name]
                store.create(unit.workload_kind, manifests.workload(application, unit, count), manager=manifests.MANAGER)
                if unit.scaled_object:
                    target = throughputs[unit.name] if file.mode is Mode.CAPACITY else unit.throughput
                    store.create("ScaledObject", manifests.scaled_object(application, unit, target), manager=manifests.MANAGER)
                workloads.adopt(application, unit)
                for _ in range(count):
                    workloads.start_ready(application, unit, partial(karpenter.start_node, unit.node_pool, unit.instance_type))
            override = file.override.annotations(world.now()) if file.override is not None else {}
            annotations = {name: value for name, value in override.items() if value is not None}
            for one in routes.objects(application, file.mode, annotations):
                store.create(one["kind"], one, manager=manifests.MANAGER)
        workloads.publish_all()
        karpenter.publish_pools()

    @staticmethod
    def _create_components(world: World) -> None:
        """Creates the namespaces, and the objects of the components that the fakes stand in for."""
        store, spaces = world.store, sorted({application.namespace for application in world.applications})
        routed_in = {application.routing_namespace for application in world.applications} - {*spaces}
        namespaces = [components.namespace(name) for name in (STATE_NAMESPACE, "keda", "amazon-cloudwatch", *sorted(routed_in))]
        for one in (*namespaces, *(components.namespace(name, gated=True) for name in spaces)):
            name, labels = one["metadata"]["name"], one["metadata"]["labels"]
            if world.find("Namespace", name) is None:
                store.create("Namespace", one, manager=manifests.MANAGER)
            else:
                store.patch("Namespace", name, {"metadata": {"labels": labels}}, manager=manifests.MANAGER)
        for one in (*components.cluster_scoped(), *map(components.trigger_authentication, spaces)):
            store.create(one["kind"], one, manager=manifests.MANAGER)
        subnets = [{"id": f"subnet-{number}", "zone": zone} for number, zone in enumerate(world.zones)]
        store.update_status("EC2NodeClass", components.NODE_CLASS, {"subnets": subnets}, manager="karpenter")
        for one in components.workloads():
            metadata = store.create(one["kind"], one, manager=manifests.MANAGER)["metadata"]
            status = components.all_well(one)
            store.update_status(one["kind"], metadata["name"], status, namespace=metadata["namespace"], manager="kube-controller-manager")

    def _replicas(self, application: Application) -> dict[str, int]:
        """Ready replicas at the start: from the file, or else as many as the demand at the start needs."""
        file = self.scenario.file
        demand = file.demand.at(0)
        weights = {unit.name: unit.weight or 0 for unit in application.units}
        total = sum(weights.values()) or 1
        throughputs = capacity_throughputs(application)
        together = sum(throughputs.values())
        found = {}
        for unit in application.units:
            if file.mode is Mode.CAPACITY:
                needed = math.ceil(demand / together - 1e-9)
            else:
                needed = math.ceil(demand * weights[unit.name] / total / unit.throughput - 1e-9)
            found[unit.name] = file.replicas.get(unit.name, max(needed, unit.min_replicas))
        return found

    def _await(self, lbc: LoadBalancerController, applications: tuple[Application, ...]) -> None:
        """Waits until every application has its load balancer and every target is registered.

        Raises:
            RuntimeError: It took too long.
        """
        pause = threading.Event()
        for _ in range(int(_READY_S / _POLL_S)):
            if all(lbc.load_balancer(one.key) for one in applications) and lbc.settled():
                return
            pause.wait(_POLL_S)
        raise RuntimeError(f"the emulated load balancer was not ready within {_READY_S:.0f} s")

    # --- what the controller under test is given ----------------------------------------------------------------------------------------

    def kubeconfig(self, role: Role | Literal["lbc"] = "controller") -> Path:
        """A kubeconfig of one identity.

        Args:
            role: ``controller`` may do what the manifests grant, ``read-only`` may only read, ``admin`` may do everything.

        Returns:
            Its path; `stop` deletes the file.
        """
        if self._folder is None:
            raise RuntimeError("the environment is not running")
        return self.api.kubeconfig(role, self._folder / f"{role}.kubeconfig")

    def environment(self) -> dict[str, str]:
        """Environment variables for the controller: AWS and the kubeconfig. The caller must also remove ``AWS_PROFILE``."""
        return self.aws.environment() | {"KUBECONFIG": str(self.kubeconfig("controller"))}

    # --- what happens -------------------------------------------------------------------------------------------------------------------

    def progress(self) -> Progress:
        """The present state, for display."""
        return self._player().progress()

    def facts(self) -> Facts:
        """What has happened so far; complete once `finished` is set."""
        return self._player().facts()

    def _player(self) -> Player:
        if self._parts is None:
            raise RuntimeError("the environment is not running")
        return self._parts.player
