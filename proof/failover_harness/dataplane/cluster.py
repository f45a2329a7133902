"""An emulated cluster in real time, whose load balancers and pods answer real requests.

The testbed provides the Kubernetes API, AWS and the load-balancer controller. Envoy implements ELBv2's load balancers, HTTP servers the
pods. Capacity never runs out: every pending pod gets a node.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import structlog

from controller.clients.kube import connect
from controller.clock import SystemClock
from controller.policy.model import Application, Mode, Unit
from failover_harness.dataplane import elb
from failover_harness.dataplane.plane import DataPlane
from failover_harness.dataplane.pods import Pod, PodProcess
from failover_testbed.aws.server import ZONES, EmulatedAws
from failover_testbed.cluster import manifests
from failover_testbed.cluster.events import Recorder
from failover_testbed.cluster.roles import CONTROLLER, LOAD_BALANCER_CONTROLLER
from failover_testbed.cluster.workloads import Workloads
from failover_testbed.cluster.world import Node, World
from failover_testbed.cluster.world import Pod as WorldPod
from failover_testbed.kube_api import EmulatedKubeApi, Identity
from failover_testbed.lbc.controller import LoadBalancerController
from failover_testbed.lbc.faults import Faults

CONTROLLER_USER: Final = "failoverctl"
STATE_NAMESPACE: Final = "failover-system"

_STEP_S: Final = 0.2
_START_S: Final = 60.0
_STOP_S: Final = 5.0
_AUDIT: Final = 400_000
_TOKENS: Final[Mapping[str, Identity]] = {
    "controller": Identity(CONTROLLER_USER, CONTROLLER),
    "lbc": Identity("aws-load-balancer-controller", LOAD_BALANCER_CONTROLLER),
    "admin": Identity("admin"),
}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Member:
    """One application of the cluster.

    Attributes:
        application: The application.
        replicas: Replicas of each unit at the start.
        standby: Whether its Ingress has standby rules.
        annotations: Additional annotations of its Ingress.
    """

    application: Application
    replicas: int = 1
    standby: bool = True
    annotations: Mapping[str, str] = field(default_factory=dict)


class Cluster:
    """The emulated cluster. Use it as a context manager.

    Args:
        members: Its applications; healthy and in cost mode at the start.
        faults: Faults of the load-balancer controller, by namespace; each namespace has its own controller.
        first_check_s: Longest random wait before the first health check of a new target, seconds.
        latency: A pod's latency as a share of the latency in its application file.
    """

    def __init__(
        self,
        members: Sequence[Member],
        *,
        faults: Mapping[str, Faults] | None = None,
        first_check_s: float = 0.0,
        latency: float = 1.0,
    ) -> None:
        self.members = {member.application.key: member for member in members}
        self._clock = SystemClock()
        self.api = EmulatedKubeApi(self._clock, tokens=_TOKENS, seed=1, audit_limit=_AUDIT)
        self.aws = EmulatedAws(self._clock)
        self.pods = PodProcess()
        self.plane = DataPlane(self._elb, first_check_s=first_check_s, deleted=self.pods.cut)
        self._faults, self._latency = dict(faults or {}), latency
        applications = tuple(member.application for member in members)
        self._world = World(self._clock, self.api.store, applications, ZONES, seed=1)
        self._workloads = Workloads(self._world, Recorder(self._world))
        self._controllers: dict[str, LoadBalancerController] = {}
        self._read_at, self._state = -1, elb.State()
        self._replicas = {(key, unit.name): one.replicas for key, one in self.members.items() for unit in one.application.units}
        self._served: tuple[Pod, ...] = ()
        self._orders: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cluster", daemon=True)
        self._stack = ExitStack()
        self.folder = Path()

    # --- life ---------------------------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.folder = Path(tempfile.mkdtemp(prefix="failoverctl-cluster-"))
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            stack.enter_context(self.pods)
            stack.enter_context(self.aws)
            stack.enter_context(self.plane)
            stack.callback(self.api.stop)
            self.api.start()
            self.aws.target_health = self.plane.health
            stack.callback(self._end)
            self._create()
            self._thread.start()
            self._start_controllers()
            self._await_healthy()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def _end(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_S)
        for controller in self._controllers.values():
            controller.stop()

    def _create(self) -> None:
        store = self.api.store
        store.create("Namespace", {"metadata": {"name": STATE_NAMESPACE}}, manager=manifests.MANAGER)
        for namespace in self._namespaces():
            store.create("Namespace", {"metadata": {"name": namespace}}, manager=manifests.MANAGER)
        pools = {unit.node_pool: unit.instance_type for _, unit in self._world.units()}
        for name, instance_type in pools.items():
            store.create("NodePool", manifests.node_pool(name, (instance_type,), {}), manager=manifests.MANAGER)
        for member in self.members.values():
            self._create_application(member)
        self._workloads.publish_all()

    def _create_application(self, member: Member) -> None:
        application, store = member.application, self.api.store
        for service in manifests.services(application):
            store.create("Service", service, manager=manifests.MANAGER)
        for unit in application.units:
            store.create(unit.workload_kind, manifests.workload(application, unit, member.replicas), manager=manifests.MANAGER)
            store.create("ScaledObject", manifests.scaled_object(application, unit, unit.throughput), manager=manifests.MANAGER)
            self._workloads.adopt(application, unit)
            for _ in range(member.replicas):
                self._workloads.start_ready(application, unit, partial(self._node, unit))
        made = manifests.ingress(application, Mode.COST, member.annotations, standby=member.standby)
        store.create("Ingress", made, manager=manifests.MANAGER)

    def _namespaces(self) -> list[str]:
        return sorted({member.application.namespace for member in self.members.values()})

    def _start_controllers(self) -> None:
        for namespace in self._namespaces():
            session = connect(kubeconfig=str(self.kubeconfig("lbc")), read_s=10)
            controller = LoadBalancerController(session, self._clock, self.aws, (namespace,))
            self._controllers[namespace] = controller
            controller.start()

    def _await_healthy(self) -> None:
        """Waits until every load balancer answers and every pod is healthy in both its target groups.

        Raises:
            RuntimeError: It took too long.
        """
        end = self._clock.monotonic() + _START_S
        while self._clock.monotonic() < end:
            self.plane.check()
            there = all(self._controllers[one.application.namespace].listener(key) for key, one in self.members.items())
            if there and all(one.settled() for one in self._controllers.values()) and self.plane.calm():
                for namespace, faults in self._faults.items():
                    self._controllers[namespace].faults = faults
                return
            self._stop.wait(0.1)
        raise RuntimeError(f"the cluster was not healthy within {_START_S:.0f} s; Envoy's log:\n{self.plane.envoy.log()}")

    def _elb(self) -> elb.State:
        """The state of ELBv2, read again only after a change, because there are hundreds of target groups."""
        changes = sum(one.changes for one in list(self._controllers.values()))
        if changes != self._read_at:
            self._read_at, self._state = changes, elb.read()
        return self._state

    # --- what others are given ----------------------------------------------------------------------------------------------------------

    def kubeconfig(self, role: str) -> Path:
        """A kubeconfig of ``controller``, ``lbc`` or ``admin``; the file is deleted on exit."""
        return self.api.kubeconfig(role, self.folder / f"{role}.kubeconfig")

    def url(self, key: str) -> str:
        """The URL of an application's (``namespace/ingress``) load balancer."""
        namespace = key.partition("/")[0]
        return self.plane.url(self._controllers[namespace].listener(key))

    def load_balancer_controller(self, namespace: str) -> LoadBalancerController:
        """The load-balancer controller of a namespace."""
        return self._controllers[namespace]

    # --- what happens -------------------------------------------------------------------------------------------------------------------

    def scale(self, key: str, unit: str, replicas: int) -> None:
        """Sets a unit's replicas, but never below its floor."""
        with self._lock:
            self._replicas[key, unit] = replicas

    def crash(self, key: str, unit: str) -> str:
        """Ends the oldest ready pod of a unit abruptly, as if its node had lost power.

        Returns:
            The loopback address of the pod; "" if no pod was ready.
        """
        application = self.members[key].application
        found = [pod for pod in self._world.pods_of(application, application.unit(unit)) if pod.ready and pod.gone_at is None]
        if not found:
            return ""
        address = self.plane.places.pod(found[0].ip)
        self.pods.kill(address)
        with self._lock:
            self._orders.append(lambda: self._workloads.lose(found[0]))
        return address

    def _run(self) -> None:
        while not self._stop.wait(_STEP_S):
            try:
                self._step()
            except Exception:  # a bug must be visible and must not end the thread
                log.exception("cluster.failed")

    def _step(self) -> None:
        with self._lock:
            wanted, orders, self._orders = dict(self._replicas), self._orders, []
        for order in orders:
            order()
        for (key, name), replicas in wanted.items():
            self._scale(self.members[key].application, name, replicas)
        self._workloads.step()
        for pod in self._workloads.waiting():
            self._node(pod.unit)
        self._serve()

    def _scale(self, application: Application, unit: str, replicas: int) -> None:
        """Sets replicas like KEDA: never below the floor."""
        found, store = application.unit(unit), self.api.store
        floor = int(store.get("ScaledObject", str(found.scaled_object), namespace=application.namespace)["spec"]["minReplicaCount"])
        deployment = store.get(found.workload_kind, found.deployment, namespace=application.namespace)
        if int(deployment["spec"]["replicas"]) != max(floor, replicas):
            change = {"spec": {"replicas": max(floor, replicas)}}
            store.patch(found.workload_kind, found.deployment, change, namespace=application.namespace, manager="keda")

    def _node(self, unit: Unit) -> Node:
        name = f"node-{len(self._world.nodes)}"
        made = Node(name, unit.node_pool, ZONES[len(self._world.nodes) % len(ZONES)], unit.instance_type, usable=True)
        self._world.nodes[name] = made
        return made

    def _serve(self) -> None:
        """Makes the pods' servers match the cluster's pods."""
        pods = tuple(self._server(pod) for pod in self._world.pods.values() if pod.node is not None)
        if pods != self._served:
            self._served = pods
            self.pods.serve(pods)

    def _server(self, pod: WorldPod) -> Pod:
        """The server of a pod. A terminating pod is not ready, but answers until it is gone."""
        address = self.plane.places.pod(pod.ip)
        ready = pod.ready and pod.gone_at is None
        return Pod(address, manifests.CONTAINER_PORT, pod.unit.name, pod.unit.latency_s * self._latency, ready)
