"""Plays a world through the production view and decision, and compares what is decided with what EC2 really had."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from controller.clients.kube import RESOURCES
from controller.clock import ManualClock
from controller.policy.conclusion import conclude
from controller.policy.model import Application, Backend, Decision, Memory, PolicySettings, Sample, Source, Unit, Verb
from controller.policy.proof import Offering
from controller.policy.routing import action_key
from controller.signals.cluster import ClusterView
from controller.signals.snapshots import ExternalSignals, SnapshotBuilder
from failover_analysis.fuzz.karpenter import Cluster
from failover_analysis.fuzz.objects import START
from failover_analysis.fuzz.world import LENGTH_S, NAMESPACE, UnitPlan, World, draw

MISSED_S: Final = 600.0
"""How long a unit may be short, with pods that wait all the time, before a controller that did nothing was wrong."""

_MOST: Final = 0.8
_NEAR_S: Final = 10.0
"""How long before its proof a unit may have been short last: a refusal stands until Karpenter asks again."""

_TICK_S: Final = 15.0
_THROUGHPUT: Final = 100.0
_KINDS: Final = {resource.kind: resource for resource in RESOURCES.values()}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a world.

    Attributes:
        seed: Which.
        failover_at: When the controller failed over, seconds since the world's start; None where it did not.
        units: For which units.
        false: Whether none of them was short, at that moment or since its proof. Of units that use one NodePool and type alike nobody can
            tell whose pod a node is for, so that of these any counts.
        missed: Units that were short for `MISSED_S` without a failover, while the others could not serve what was missing.
        short: Units that were really short at some time.
        proofs: How the units were proven short.
    """

    seed: int
    failover_at: float | None
    units: tuple[str, ...]
    false: bool
    missed: tuple[str, ...]
    short: tuple[str, ...]
    proofs: tuple[str, ...]


class Figures:
    """What CloudWatch and EC2 say of a world."""

    def __init__(self, world: World, cluster: Cluster) -> None:
        self._world, self._cluster = world, cluster
        self._units = {unit.name: unit for unit in world.units}

    def demand(self, _application: str, unit: str) -> Sample | None:
        """As much as the requested replicas can serve."""
        return Sample(_demand(self._cluster, unit), START + self._cluster.now)

    def latency(self, _application: str, unit: str) -> Sample | None:
        """Beyond its limit while the world says so."""
        return Sample(2.0 if _within(self._units[unit].slow, self._cluster.now) else 0.3, START + self._cluster.now)

    def error_ratio(self, _application: str) -> Sample | None:
        """Beyond its limit while the world says so."""
        return Sample(0.05 if _within(self._world.errors, self._cluster.now) else 0.0, START + self._cluster.now)

    def offered_zones(self, instance_type: str) -> tuple[str, ...]:
        """Where a type is sold, where the controller may know."""
        return self._world.sold[instance_type] if self._world.zones_known else ()

    def notes(self, _instance_type: str) -> tuple[str, ...]:
        """Nothing."""
        return ()


def _demand(cluster: Cluster, unit: str) -> float:
    """Requests per metric period that a unit's counter shows."""
    return 0.9 * _THROUGHPUT * len(cluster.pods[unit])


def _within(times: tuple[tuple[float, float], ...], t: float) -> bool:
    return any(start <= t < end for start, end in times)


class Truth:
    """What EC2 had for each unit, over the time so far. Times are seconds since the world's start."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._observed = 0.0
        self._unmet: dict[str, float] = {}  # since when pods of a unit have waited without a break
        self._spent: dict[str, float] = {}  # how long of that the unit was short, and the others could not serve what it cannot
        self._harmed: frozenset[str] = frozenset()  # the units of which that is so now
        self.last: dict[str, float] = {}  # when each unit was last short

    def observe(self) -> None:
        """Notes which units are short at this moment; until the next one they count as such."""
        now, passed = self._cluster.now, self._cluster.now - self._observed
        self._observed = now
        short = []
        for unit in self._cluster.world.units:
            name = unit.name
            if name in self._harmed and name in self._unmet:
                self._spent[name] = self._spent.get(name, 0.0) + passed
            if not self._cluster.unmet(unit):
                self._unmet.pop(name, None)
                self._spent.pop(name, None)
                continue
            self._unmet.setdefault(name, now)
            if self._short(unit):
                self.last[name] = now
                short.append(name)
        self._harmed = frozenset() if self._absorbed(short) else frozenset(short)

    def _absorbed(self, short: Collection[str]) -> bool:
        """Whether the other units, which get equal parts of the demand, can serve what the short ones cannot."""
        pods = self._cluster.pods
        part = sum(_demand(self._cluster, name) for name in pods) / len(pods)
        most = PolicySettings().failover_utilization * _THROUGHPUT
        left = {name: most * sum(pod.ready for pod in of) - part for name, of in pods.items()}
        unmet = -sum(min(0.0, left[name]) for name in short)
        return unmet <= sum(max(0.0, room) for name, room in left.items() if name not in short)

    def overdue(self) -> tuple[str, ...]:
        """The units whose pods have waited for `MISSED_S`, because EC2 had nothing for most of it."""
        now = self._cluster.now
        waited = {name: now - since for name, since in self._unmet.items() if now - since > MISSED_S}
        return tuple(name for name, seconds in waited.items() if self._spent.get(name, 0.0) > _MOST * seconds)

    def _short(self, unit: UnitPlan) -> bool:
        """Whether there is nothing that Karpenter could launch for its pods: EC2 is out of it, or refused it within the cache."""
        return not any(self._obtainable(one) for one in self._cluster.buyable(unit))

    def _obtainable(self, offering: Offering) -> bool:
        cluster = self._cluster
        return cluster.ec2.room(offering, cluster.now) > 0 and not cluster.cached(offering)


def judge(seed: int) -> Verdict:
    """Plays the world of one seed, up to the first failover."""
    return play(draw(seed))


def play(world: World) -> Verdict:
    """Plays a world, up to the first failover."""
    clock = ManualClock(START + world.ahead_s)
    view = ClusterView(clock, lambda: None)

    def emit(kind: str, change: str, obj: dict[str, Any]) -> None:
        _until(clock, world, cluster.now)
        view.changed(_KINDS[kind], None, change, {"kind": kind, **obj})

    cluster = Cluster(world, emit)
    application = application_of(world)
    _ingress(view, application)
    builder = SnapshotBuilder(view, [application])
    figures, truth, memory = Figures(world, cluster), Truth(cluster), Memory()
    external = ExternalSignals(metrics=figures, capacity=figures)
    missed: dict[str, float] = {}  # by unit, when it was last overdue
    proofs: dict[str, float] = {}
    for t in _moments(cluster):
        truth.observe()
        _until(clock, world, t)
        sources = tuple(Source(name, True, clock.now(), 180.0) for name in ("karpenter", "workloads", "ingress"))
        made = conclude(memory, builder.build(application, clock.now(), sources, external, leader=True, epoch=1))
        memory, decision = made.memory, made.decision
        for name, judged in decision.evidence.items():
            if judged.short:
                proofs.setdefault(f"{name}: {judged.proof}", t)
        missed.update(dict.fromkeys(truth.overdue(), t))
        if decision.verb is Verb.FAILOVER:
            return _failed_over(world, truth, decision, t, missed, proofs)
    return Verdict(world.seed, None, (), False, tuple(missed), tuple(truth.last), tuple(proofs))


def _until(clock: ManualClock, world: World, t: float) -> None:
    """Moves the controller's clock to a moment of the world, with the steps that it makes on the way."""
    for at, seconds in world.steps:
        if clock.monotonic() < at <= t:
            clock.step(seconds)
    clock.advance(t - clock.monotonic())


def _moments(cluster: Cluster) -> Any:  # noqa: ANN401 - an iterator of seconds
    ticks = itertools.count(_TICK_S, _TICK_S)
    for tick in itertools.takewhile(lambda t: t <= LENGTH_S, ticks):
        yield from cluster.until(tick)
        yield tick


def _failed_over(
    world: World, truth: Truth, decision: Decision, t: float, missed: Mapping[str, float], proofs: Mapping[str, float]
) -> Verdict:
    units = tuple(name for name, judged in decision.evidence.items() if judged.short)
    proven = min((at for words, at in proofs.items() if words.split(":")[0] in units), default=t)
    plans = {unit.name: unit for unit in world.units}
    alike = [unit.name for unit in world.units if any((unit.pools, unit.types) == (plans[name].pools, plans[name].types) for name in units)]
    false = not any(truth.last.get(name, -1.0) >= proven - _NEAR_S for name in alike)
    return Verdict(world.seed, t, units, false, tuple(missed), tuple(truth.last), tuple(proofs))


def application_of(world: World) -> Application:
    """The application of a world: its units by equal weights."""
    units = tuple(
        Unit(
            name=unit.name,
            backend=Backend(unit.name, 80),
            deployment=unit.name,
            node_pool=unit.pools[0],
            instance_type=unit.types[0],
            price_per_hour=1.0 if unit.name != "safe" else 2.0,
            throughput=_THROUGHPUT,
            latency_s=0.3,
            weight=10,
        )
        for unit in world.units
    )
    return Application("fuzz", NAMESPACE, "fuzz", "routing", Backend("all", 80), units, policy=PolicySettings(allow_unsafe_switch=True))


def _ingress(view: ClusterView, application: Application) -> None:
    groups = [{"serviceName": unit.name, "servicePort": 80, "weight": unit.weight} for unit in application.units]
    action = json.dumps({"type": "forward", "forwardConfig": {"targetGroups": groups}})
    metadata = {"name": application.ingress, "namespace": NAMESPACE, "resourceVersion": "1"}
    annotations = {action_key(application.action): action}
    view.changed(_KINDS["Ingress"], None, "ADDED", {"metadata": {**metadata, "annotations": annotations}, "spec": {"rules": []}})
    for service in (*(unit.name for unit in application.units), application.capacity.service):
        port = {"metadata": {"name": service, "namespace": NAMESPACE}, "spec": {"ports": [{"port": 80}]}}
        view.changed(_KINDS["Service"], None, "ADDED", port)
