"""Plays a world through the production view and decision, and compares what is decided with what EC2 really had."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from controller.clients.kube import RESOURCES
from controller.policy.decision import Conclusion
from controller.policy.model import (
    Application,
    Backend,
    Decision,
    Memory,
    PolicySettings,
    Reservation,
    Route,
    Sample,
    Source,
    Unit,
    Verb,
    Verification,
)
from controller.policy.model import Verdict as Compared
from controller.routing.conclusion import conclude
from controller.routing.names import action_key
from controller.signals.cluster import ClusterView
from controller.signals.snapshots import ExternalSignals, SnapshotBuilder
from failover_analysis.fuzz.karpenter import Cluster
from failover_analysis.fuzz.objects import START
from failover_analysis.fuzz.world import NAMESPACE, UnitPlan, World, draw
from failover_analysis.real_shortage import NEAR_S, ShortageHistory
from failover_testbed.clocks import ManualClock

_TICK_S: Final = 60.0  # as rarely as in a large installation: what age alone decides must ask for its own passes
_LEAST_S: Final = 0.02
_ROUNDING_S: Final = 1e-6  # the clock adds up what passes, and may be ahead of the world by an error of rounding
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
        missed: Units that were short for `OVERDUE_S` without a failover, while the others could not serve what was missing.
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

    def reservations(self, _instance_types: Collection[str]) -> tuple[Reservation, ...] | None:
        """The Capacity Blocks, where there are any; else what is reserved is not known."""
        return self.blocks(()) or None

    def blocks(self, _instance_types: Collection[str]) -> tuple[Reservation, ...]:
        """Those that have not ended."""
        world, ec2, now = self._world, self._cluster.ec2, self._cluster.now
        return tuple(
            Reservation(f"cr-{one.zone}", one.instance_type, one.zone, ec2.room(one), count, block=True, targeted=True, ends_at=START + end)
            for one, (count, end) in world.blocks.items()
            if now < end
        )

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
        self._cluster, self._units = cluster, {unit.name: unit for unit in cluster.world.units}
        self.history = ShortageHistory(0.0)
        self.waiting: dict[str, bool] = {}
        """The units whose pods wait now without an instance, and whether each is short."""

    def observe(self) -> None:
        """Notes which units are short at this moment; until the next one they count as such."""
        cluster = self._cluster
        self.waiting = {unit.name: self._short(unit) for unit in cluster.world.units if cluster.unmet(unit)}
        absorbed = self._absorbed([name for name, short in self.waiting.items() if short])
        self.history.observe(cluster.now, self.waiting, absorbed=absorbed)

    def out(self, name: str) -> bool:
        """Whether pods of a unit wait without an instance, and EC2 has none that they may use: a NodePool's limit is another matter."""
        buyable = self._cluster.buyable(self._units[name])
        return name in self.waiting and bool(buyable) and not any(self._cluster.ec2.room(one) > 0 for one in buyable)

    def asked_out(self, name: str) -> bool:
        """Whether pods of a unit wait without an instance, and Karpenter has nothing left to ask for them."""
        return name in self.waiting and not self._cluster.asks(self._units[name])

    def _absorbed(self, short: Collection[str]) -> bool:
        """Whether the other units, which get equal parts of the demand, can serve what the short ones cannot."""
        pods = self._cluster.pods
        part = sum(_demand(self._cluster, name) for name in pods) / len(pods)
        most = PolicySettings().failover_utilization * _THROUGHPUT
        left = {name: most * sum(pod.ready for pod in of) - part for name, of in pods.items()}
        unmet = -sum(min(0.0, left[name]) for name in short)
        return unmet <= sum(max(0.0, room) for name, room in left.items() if name not in short)

    def _short(self, unit: UnitPlan) -> bool:
        """Whether there is nothing that Karpenter could launch for its pods: EC2 is out of it, or refused it within the cache.

        Where EC2 is out of a part and Karpenter does not run, nobody gets the rest: pods that wait so for a cycle prove a shortage by age.
        """
        cluster = self._cluster
        stuck = cluster.idle_until() is not None or cluster.throttled_until() is not None
        return (stuck and any(cluster.ec2.room(one) <= 0 for one in cluster.buyable(unit))) or not any(
            cluster.ec2.room(one) > 0 for one in cluster.asks(unit)
        )


def judge(seed: int) -> Verdict:
    """Plays the world of one seed, up to the first failover."""
    return play(draw(seed))


def play(world: World) -> Verdict:
    """Plays a world, up to the first failover."""
    missed: dict[str, float] = {}  # by unit, when it was last overdue
    proofs: dict[str, None] = {}  # in order
    since: dict[str, float] = {}  # since when each unit has been proven short without a break
    truth = None
    for t, decision, truth in passes(world):
        for name, judged in decision.evidence.items():
            if judged.short:
                proofs[f"{name}: {judged.proof}"] = None
                since.setdefault(name, t)
            else:
                since.pop(name, None)
        missed.update(dict.fromkeys(truth.history.overdue(), t))
        if decision.verb is Verb.FAILOVER:
            return _failed_over(world, truth, t, since, missed, proofs)
    short = tuple(truth.history.last) if truth is not None else ()
    return Verdict(world.seed, None, (), False, tuple(missed), short, tuple(proofs))


def passes(world: World, *, acting: bool = False) -> Iterator[tuple[float, Decision, Truth]]:
    """Plays a world and yields each pass: when, what is decided, and what is true.

    Args:
        world: What happens.
        acting: Whether the routing that is decided is written, and shown by the load balancer at once; else nothing is done.
    """
    clock = ManualClock(START + world.ahead_s)
    view = ClusterView(clock, lambda: None)

    def emit(kind: str, change: str, obj: dict[str, Any]) -> None:
        _until(clock, world, cluster.now)
        view.changed(_KINDS[kind], None, change, {"kind": kind, **obj})

    cluster = Cluster(world, emit)
    application = application_of(world)
    ingress = _Ingress(view, application)
    builder = SnapshotBuilder(view, [application])
    figures, truth, memory = Figures(world, cluster), Truth(cluster), Memory()
    moments = _Moments(cluster)
    for t in moments:
        truth.observe()
        _until(clock, world, t)
        now = clock.now()
        sources = tuple(Source(name, True, now, 180.0) for name in ("karpenter", "workloads", "routing"))
        shown = Verification(Compared.YES, now, "", ingress.action, applied=True) if acting else None
        external = ExternalSignals(metrics=figures, capacity=figures, verification=shown)
        made = conclude(memory, builder.build(application, now, sources, external, leader=True, epoch=1))
        memory, decision = _acted(made, ingress, now) if acting else made.memory, made.decision
        moments.due(t, decision.next_check_s)
        yield t, decision, truth


def _acted(made: Conclusion, ingress: _Ingress, now: float) -> Memory:
    """The memory after the routing was written, where that is due."""
    action = made.plan.routing
    if action is None or action not in made.plan.due:
        return made.memory
    ingress.write(json.loads(action.body)["metadata"]["annotations"])
    return made.routed(now)


def _until(clock: ManualClock, world: World, t: float) -> None:
    """Moves the controller's clock to a moment of the world, with the steps that it makes on the way."""
    for at, seconds in world.steps:
        if clock.monotonic() < at <= t:
            clock.step(seconds)
    passed = t - clock.monotonic()
    clock.advance(0.0 if abs(passed) < _ROUNDING_S else passed)


class _Moments:
    """When passes are made: at each change, when the last one asked for the next, and some time after it at the latest."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self._next = cluster, _TICK_S

    def due(self, t: float, wait_s: float | None) -> None:
        """Has the next pass made after some seconds at the latest."""
        self._next = t + min(_TICK_S, max(_LEAST_S, math.inf if wait_s is None else wait_s + _LEAST_S))

    def __iter__(self) -> Iterator[float]:
        end = self._cluster.world.length_s
        while self._next <= end:
            tick = self._next
            for t in self._cluster.until(tick):
                yield t
                if self._next < tick:
                    break
            else:
                yield tick


def _failed_over(world: World, truth: Truth, t: float, since: Mapping[str, float], missed: Iterable[str], proofs: Iterable[str]) -> Verdict:
    units, proven = tuple(since), min(since.values(), default=t)
    false = not any(truth.history.last.get(name, -1.0) >= proven - NEAR_S for name in alike(world, units))
    return Verdict(world.seed, t, units, false, tuple(missed), tuple(truth.history.last), tuple(proofs))


def alike(world: World, names: Iterable[str]) -> tuple[str, ...]:
    """Some units, and those that use the same NodePools and types: nobody can tell whose pod a node is for."""
    uses = {(unit.pools, unit.types) for unit in world.units if unit.name in set(names)}
    return tuple(unit.name for unit in world.units if (unit.pools, unit.types) in uses)


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
    return Application(
        "fuzz", NAMESPACE, Route("fuzz", "routing"), Backend("all", 80), units, policy=PolicySettings(allow_unsafe_switch=True)
    )


class _Ingress:
    """The Ingress of a world, as the view sees it."""

    def __init__(self, view: ClusterView, application: Application) -> None:
        self._view, self._application, self._versions = view, application, itertools.count(1)
        groups = [{"serviceName": unit.name, "servicePort": 80, "weight": unit.weight} for unit in application.units]
        self.write({action_key(application.route.part): json.dumps({"type": "forward", "forwardConfig": {"targetGroups": groups}})})
        for service in (*(unit.name for unit in application.units), application.capacity.service):
            port = {"metadata": {"name": service, "namespace": NAMESPACE}, "spec": {"ports": [{"port": 80}]}}
            view.changed(_KINDS["Service"], None, "ADDED", port)

    def write(self, annotations: Mapping[str, str]) -> None:
        """Writes the routing action and what stands beside it."""
        self.action = annotations[action_key(self._application.route.part)]
        metadata = {"name": self._application.route.name, "namespace": NAMESPACE, "resourceVersion": str(next(self._versions))}
        shown = {"metadata": {**metadata, "annotations": dict(annotations)}, "spec": {"rules": []}}
        self._view.changed(_KINDS["Ingress"], None, "ADDED", shown)
