"""How soon a return of capacity is found beside the real Karpenter: a canary and a reservation for the same offerings, at the same time.

``python -m benchmarks.returns --karpenter`` starts etcd, kube-apiserver, Karpenter and the production controller on an emulated EC2. Each
application has two units of one instance type, each with its own NodePool: a canary finds the return of one, reservations that of the
other. In each round some instance types run out in every zone, and return one after the other within Karpenter's three minutes.

A return is found at the first decision for which it is proven. Left out: KEDA, whose part a loop plays that sets a Deployment's replicas to
the decided floor at once; the load balancer; a machine's real start (three seconds here, and the canary waits for it); and the time that
EC2 takes to answer.
"""

from __future__ import annotations

import json
import logging
import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog

from benchmarks import installation
from benchmarks.fleet import STATE_NAMESPACE
from benchmarks.progress import progress
from controller.clients.kube import (
    DEPLOYMENTS,
    INGRESSES,
    MERGE_PATCH,
    NODE_CLAIMS,
    NODE_POOLS,
    SCALED_OBJECTS,
    SERVICES,
    TARGET_GROUP_BINDINGS,
    KubeSession,
    Object,
    connect,
)
from controller.clock import SystemClock
from controller.errors import RemoteError
from controller.policy.model import Decision, Mode, Target
from controller.routing.ingress.action import format_action
from controller.routing.names import action_key
from controller.service.wiring import Service
from controller.settings import Settings
from failover_harness.control_plane import crds
from failover_harness.control_plane.binaries import KARPENTER, tool
from failover_harness.control_plane.control_plane import ControlPlane
from failover_harness.control_plane.kubelet import Kubelet
from failover_harness.control_plane.rounds import Rounds
from failover_harness.controllers import karpenter
from failover_harness.controllers.fleets import Capacity, Ec2Front
from failover_harness.controllers.machines import Machines
from failover_harness.waiting import wait_for
from failover_testbed.aws.server import REGION, EmulatedAws
from failover_testbed.running import running

PROBES: Final = ("canary", "reservation")
TYPES: Final = (
    *("g5.xlarge", "g6.xlarge", "inf2.xlarge", "g5.2xlarge", "g6.2xlarge", "inf2.8xlarge"),
    *("g5.4xlarge", "g6.4xlarge", "g4dn.xlarge", "g5.8xlarge", "g6.8xlarge", "g4dn.2xlarge"),
)
"""An application each; all are sold in every zone of the emulated network."""
A_ROUND: Final = 6
"""Instance types that are short at once. A refused request of EC2 counts as three calls, and all probes share one call a second: six types
in three zones are 54 calls a minute."""
_SPACE: Final = "returns"
_STEADY: Final = "steady"
_STEADY_TYPE: Final = "m5.2xlarge"
_ACTION: Final = "weighted-routing"
_CACHE_S: Final = 180.0  # how long Karpenter leaves a refused offering alone
_READY_S: Final = 240.0
_SHORT_S: Final = 180.0
_FOUND_S: Final = 420.0  # two of Karpenter's three minutes, and some
_POLL_S: Final = 0.1
_DEMAND: Final = {"canary": 120.0, "reservation": 120.0, _STEADY: 60.0}  # requests a minute: two replicas, two, and one in cost mode
_FLOOR: Final = {"canary": 1, "reservation": 1, _STEADY: 4}  # so much that no other replica is needed in capacity mode
_THROUGHPUT: Final = {"canary": 100.0, "reservation": 100.0, _STEADY: 400.0}
_WEIGHT: Final = {"canary": 40, "reservation": 40, _STEADY: 20}


@dataclass(slots=True)
class Found:
    """How one return was found.

    Attributes:
        instance_type: What returned.
        round: The round, from 1.
        ended_s: How long after the shortage of its round had been proven it ended, seconds.
        after_s: From the end of the shortage to its proof, seconds, by probe.
        proof: What proved it, by probe.
        launched: NodeClaims of the reservation's NodePool at that proof beyond those from before the shortage.
    """

    instance_type: str
    round: int
    ended_s: float
    after_s: dict[str, float] = field(default_factory=dict)
    proof: dict[str, str] = field(default_factory=dict)
    launched: int = 0


class _Scaler(Rounds):
    """Sets each Deployment to the floor that is decided for it, or to what is wanted if that is more.

    The ScaledObjects' floors do not sink here: the controller lowers none before a load balancer shows the present routing action. So the
    one that the failover raises does not count for a unit while the controller wants reservations for it.
    """

    def __init__(self, session: KubeSession, service: Service) -> None:
        super().__init__("scaler", 0.5)
        self._session, self._service = session, service
        self.wanted: dict[str, int] = {}

    def round(self) -> None:
        """See the base class."""
        with suppress(RemoteError):  # the next round tries again
            now = self._session.request("GET", DEPLOYMENTS.path(_SPACE))["items"]
            has = {one["metadata"]["name"]: one["spec"]["replicas"] for one in now}
            decisions = [view.decision for view in self._service.controller.views()]
            floors = [(name, 1 if name in one.probes else claim.replicas) for one in decisions for name, claim in one.floors.items()]
            for name, floor in floors:
                wanted = max(floor, _FLOOR[_kind(name)], self.wanted.get(name, 1))
                if has.get(name) != wanted:
                    body = json.dumps({"spec": {"replicas": wanted}})
                    self._session.request("PATCH", DEPLOYMENTS.path(_SPACE, name), body=body, content_type=MERGE_PATCH)


class _Demand(Rounds):
    """Publishes each unit's requests of the last two hours, and then those of each minute."""

    def __init__(self, aws: EmulatedAws, units: Sequence[str]) -> None:
        super().__init__("demand", 5.0)
        self._aws, self._units, self._last = aws, units, time.time() // 60 * 60 - 7200
        self.round()

    def round(self) -> None:
        """See the base class."""
        now = time.time() // 60 * 60
        while self._last < now:
            data: list[dict[str, Any]] = []
            for unit in self._units:
                data.append({"MetricName": f"{unit}-counter", "Value": _DEMAND[_kind(unit)], "Timestamp": self._last})
                data.append({"MetricName": f"{unit}-latency", "Value": 0.5, "Timestamp": self._last})
            self._aws.client("cloudwatch").put_metric_data(Namespace="bench", MetricData=data)
            self._last += 60


@dataclass(frozen=True, slots=True)
class _World:
    """What runs."""

    session: KubeSession
    capacity: Capacity
    zones: tuple[str, ...]
    scaler: _Scaler
    service: Service

    def decision(self, instance_type: str) -> Decision:
        """The last one about an application."""
        return next(one.decision for one in self.service.controller.views() if one.application.name == _name(instance_type))

    def failed_over(self, instance_type: str) -> bool:
        """Whether an application is in capacity mode because of both units, and the canary waits."""
        decision, (canary, reservation, _) = self.decision(instance_type), _units(instance_type)
        refused = all(decision.evidence[one].last_refusal_at for one in (canary, reservation))
        return decision.mode is Mode.CAPACITY and refused and decision.floors[canary].replicas > 1

    def claims(self, instance_type: str) -> int:
        """The NodeClaims of the unit with reservations."""
        query = (("labelSelector", f"karpenter.sh/nodepool=reservation-{_name(instance_type)}"),)
        return len(self.session.request("GET", NODE_CLAIMS.path(None), query=query)["items"])

    def waiting(self, instance_type: str) -> bool:
        """Whether a pod of the unit with reservations waits."""
        found = self.session.get(DEPLOYMENTS, _SPACE, f"reservation-{_name(instance_type)}")["status"]
        return int(found.get("unavailableReplicas", 0)) > 0

    def ready(self) -> bool:
        """Whether every replica runs, and every application is decided."""
        found = self.session.request("GET", DEPLOYMENTS.path(_SPACE))["items"]
        return all(one["status"].get("readyReplicas", 0) == one["spec"]["replicas"] for one in found)


def play(rounds: int, seed: int) -> tuple[list[Found], dict[str, int]]:
    """Plays the rounds in one world.

    Returns:
        The returns; and the calls about reservations, how many were made, and how many are left.
    """
    say, found = progress(), list[Found]()
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder, _world(Path(folder), TYPES[: rounds * A_ROUND]) as world:
        say("every replica is ready")
        for number in range(rounds):
            found += _round(world, TYPES[number * A_ROUND : (number + 1) * A_ROUND], number + 1, chance)
            for one in found[-A_ROUND:]:
                say(f"{one.instance_type}: ended after {one.ended_s:.0f} s, found {one.after_s} by {one.proof}")
        reservations = world.capacity.reservations
        return found, {"calls": reservations.calls, "made": len(reservations.made), "left": len(reservations.left)}


def _round(world: _World, types: Sequence[str], number: int, chance: random.Random) -> list[Found]:
    before = {one: world.claims(one) for one in types}
    for one in types:
        world.capacity.refuse(one, world.zones)
    world.scaler.wanted = {f"{probe}-{_name(one)}": 2 for one in types for probe in PROBES}
    wait_for("every application is in capacity mode", lambda: all(map(world.failed_over, types)), _SHORT_S)
    world.scaler.wanted = {}
    wait_for("no replica waits where reservations ask", lambda: not any(map(world.waiting, types)), _SHORT_S)
    begun = time.time()
    order = chance.sample(types, len(types))
    due = {one: begun + _CACHE_S * (place + chance.random()) / len(types) for place, one in enumerate(order)}
    ended: dict[str, float] = {}
    found = {one: Found(one, number, 0.0) for one in types}
    while time.time() < begun + _FOUND_S and not all(len(one.after_s) == len(PROBES) for one in found.values()):
        for one in types:
            if one not in ended and time.time() >= due[one]:
                world.capacity.restore(one)
                ended[one] = time.time()
                found[one].ended_s = round(ended[one] - begun, 1)
        for one, at in ended.items():
            _note(world, found[one], at, before[one])
        time.sleep(_POLL_S)
    return [found[one] for one in order]


def _note(world: _World, found: Found, ended: float, before: int) -> None:
    """Notes what is proven by now and was not."""
    for probe in PROBES:
        judged = world.decision(found.instance_type).evidence[f"{probe}-{_name(found.instance_type)}"]
        if probe not in found.after_s and judged.returned.proven:
            found.after_s[probe], found.proof[probe] = round(time.time() - ended, 1), str(judged.returned)
            if probe == "reservation":
                found.launched = world.claims(found.instance_type) - before


@contextmanager
def _world(folder: Path, types: Sequence[str]) -> Iterator[_World]:
    with ExitStack() as stack:
        plane = stack.enter_context(ControlPlane())
        session = plane.patient_session()
        crds.install(session)
        installation.prepare(plane)
        token = installation.identity(plane, "failoverctl")
        aws, capacity = stack.enter_context(EmulatedAws(machine_images=True)), Capacity()
        front = stack.enter_context(Ec2Front(aws, capacity))
        stack.enter_context(karpenter.node_class(plane, aws))
        environment = {**aws.environment(), "AWS_ENDPOINT_URL": front.endpoint}
        stack.enter_context(karpenter.running(tool(KARPENTER), plane, environment, folder))
        stack.enter_context(Machines(plane.patient_session()))
        stack.enter_context(Kubelet(plane.patient_session()))
        for path, body in _objects(types):
            session.request("POST", path, body=json.dumps(body))
        stack.enter_context(_Demand(aws, [unit for one in types for unit in _units(one)]))
        os.environ.update(aws.environment())
        service = stack.enter_context(_controlling(plane, token, folder, types))
        scaler = stack.enter_context(_Scaler(plane.patient_session(), service))
        world = _World(session, capacity, tuple(sorted(aws.network.subnets)), scaler, service)
        wait_for("every replica is ready", lambda: world.ready() and len(service.controller.views()) == len(types), _READY_S)
        yield world


@contextmanager
def _controlling(plane: ControlPlane, token: str, folder: Path, types: Sequence[str]) -> Iterator[Service]:
    """Runs the production service in this process: its decisions are read as they are made."""
    files = folder / "applications"
    files.mkdir()
    for one in types:
        (files / f"{_name(one)}.yaml").write_text(json.dumps(_document(one)))
    settings: dict[str, Any] = {
        "applications": files,
        "aws": {"apis": ["cloudwatch", "ec2"], "region": REGION, "latency_stat": "Average"},
        "cloudwatch": {"enabled": False},
        "http": {"host": "127.0.0.1", "port": 0},
        "leader_election": {"enabled": False},
        "kubernetes": {"state_namespace": STATE_NAMESPACE},
    }
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    service = Service(Settings(**settings), connect(kubeconfig=str(plane.kubeconfig(token=token))), SystemClock())
    with running(service):
        yield service


# --- the objects ------------------------------------------------------------------------------------------------------------------------


def _name(instance_type: str) -> str:
    return instance_type.replace(".", "-")


def _kind(unit: str) -> str:
    """``canary``, ``reservation`` or ``steady``."""
    return unit.partition("-")[0]


def _units(instance_type: str) -> list[str]:
    return [f"{kind}-{_name(instance_type)}" for kind in _DEMAND]


def _document(instance_type: str) -> Object:
    """The application file."""
    name = _name(instance_type)
    units = [
        {
            "name": unit,
            "service": {"name": unit, "port": 80},
            "deployment": unit,
            "nodePool": _STEADY if kind == _STEADY else unit,
            "instanceType": _STEADY_TYPE if kind == _STEADY else instance_type,
            "pricePerHour": 2.0 if kind == _STEADY else 1.0,
            "throughput": _THROUGHPUT[kind],
            "latencySeconds": 0.5,
            "latencyLimitSeconds": 1.2,
            "weight": _WEIGHT[kind],
            "scaledObject": unit,
            "counterMetric": f"{unit}-counter",
            "latencyMetric": f"{unit}-latency",
            "probe": "reservation" if kind == "reservation" else "canary",
        }
        for kind, unit in zip(_DEMAND, _units(instance_type), strict=True)
    ]
    return {
        "apiVersion": "failoverctl.dev/v1alpha1",
        "kind": "FailoverApplication",
        "metadata": {"name": name, "namespace": _SPACE},
        "spec": {
            "ingress": name,
            "action": _ACTION,
            "capacityService": {"name": f"{name}-all", "port": 80},
            "metrics": {"namespace": "bench", "periodSeconds": 60},
            "units": units,
            # Every shortage counts, and nothing says which targets are healthy.
            "policy": {"patienceSeconds": 0, "allowUnsafeSwitch": True, "failoverUtilization": 0},
        },
    }


def _objects(types: Sequence[str]) -> Iterator[tuple[str, Object]]:
    """Paths and bodies, in order of creation."""
    yield "/api/v1/namespaces", {"metadata": {"name": _SPACE}}
    yield NODE_POOLS.path(None), _node_pool(_STEADY, _STEADY_TYPE)
    for instance_type in types:
        name = _name(instance_type)
        for unit in _units(instance_type):
            steady = unit.startswith(_STEADY)
            if not steady:
                yield NODE_POOLS.path(None), _node_pool(unit, instance_type)
            yield DEPLOYMENTS.path(_SPACE), _deployment(unit, name, _STEADY if steady else unit)
            yield SCALED_OBJECTS.path(_SPACE), _scaled_object(unit)
        for service, selector in (*((unit, {"app": unit}) for unit in _units(instance_type)), (f"{name}-all", {"model": name})):
            spec = {"clusterIP": "None", "selector": selector, "ports": [{"name": "http", "port": 80, "targetPort": 8000}]}
            yield SERVICES.path(_SPACE), {"metadata": {"name": service}, "spec": spec}
            yield TARGET_GROUP_BINDINGS.path(_SPACE), _binding(name, service)
        yield INGRESSES.path(_SPACE), _ingress(instance_type)


def _node_pool(name: str, instance_type: str) -> Object:
    wanted = {"node.kubernetes.io/instance-type": instance_type, "karpenter.sh/capacity-type": "on-demand"}
    requirements = [{"key": key, "operator": "In", "values": [value]} for key, value in wanted.items()]
    spec = {"nodeClassRef": dict(karpenter.NODE_CLASS), "requirements": requirements}
    # A launched node stays: what is measured is how it comes.
    disruption = {"consolidationPolicy": "WhenEmpty", "consolidateAfter": "Never"}
    return {
        "apiVersion": NODE_POOLS.api_version,
        "kind": NODE_POOLS.kind,
        "metadata": {"name": name},
        "spec": {"template": {"spec": spec}, "disruption": disruption},
    }


def _deployment(unit: str, application: str, pool: str) -> Object:
    """A Deployment of one replica; a unit with its own NodePool has one node for each replica, because of the host's port."""
    port = {"containerPort": 8000} | ({} if pool == _STEADY else {"hostPort": 8000})
    container = {"name": "server", "image": "server:1", "ports": [port], "resources": {"requests": {"cpu": "100m"}}}
    spec = {"nodeSelector": {"karpenter.sh/nodepool": pool}, "terminationGracePeriodSeconds": 0, "containers": [container]}
    template = {"metadata": {"labels": {"app": unit, "model": application}}, "spec": spec}
    return {
        "metadata": {"name": unit},
        "spec": {"replicas": _FLOOR[_kind(unit)], "selector": {"matchLabels": {"app": unit}}, "template": template},
    }


def _scaled_object(unit: str) -> Object:
    metadata = {
        "namespace": "bench",
        "expression": f'SELECT SUM("{unit}-counter") FROM SCHEMA("bench")',
        "metricName": f"{unit}-counter",
        "minMetricValue": "1",
        "targetMetricValue": f"{_THROUGHPUT[_kind(unit)]:g}",
        "awsRegion": REGION,
    }
    triggers = [{"type": "aws-cloudwatch", "metadata": metadata}]
    counts = {"minReplicaCount": _FLOOR[_kind(unit)], "maxReplicaCount": 5}
    spec = {"scaleTargetRef": {"name": unit}, **counts, "triggers": triggers}
    return {"apiVersion": SCALED_OBJECTS.api_version, "kind": SCALED_OBJECTS.kind, "metadata": {"name": unit}, "spec": spec}


def _binding(application: str, service: str) -> Object:
    labels = {"ingress.k8s.aws/stack-namespace": _SPACE, "ingress.k8s.aws/stack-name": application}
    arn = f"arn:aws:elasticloadbalancing:{REGION}:123456789012:targetgroup/{service}/0123456789abcdef"
    return {
        "apiVersion": TARGET_GROUP_BINDINGS.api_version,
        "kind": TARGET_GROUP_BINDINGS.kind,
        "metadata": {"name": service, "labels": labels},
        "spec": {"serviceRef": {"name": service, "port": 80}, "targetGroupARN": arn, "targetType": "ip"},
    }


def _ingress(instance_type: str) -> Object:
    def rule(service: str, port: Object, host: str = "") -> Object:
        path = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": service, "port": port}}}
        return ({"host": host} if host else {}) | {"http": {"paths": [path]}}

    name, units = _name(instance_type), _units(instance_type)
    targets = tuple(Target(unit, 80, weight) for unit, weight in zip(units, _WEIGHT.values(), strict=True))
    annotations = {action_key(_ACTION): format_action(targets, 0), "alb.ingress.kubernetes.io/target-type": "ip"}
    standby = [rule(one, {"number": 80}, f"{one}.standby.invalid") for one in (*units, f"{name}-all")]
    return {
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"ingressClassName": "alb", "rules": [rule(_ACTION, {"name": "use-annotation"}), *standby]},
    }
