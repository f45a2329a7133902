"""What a replica of the controller can observe: snapshots as the signals would build them, with their ages and lags.

Watches deliver at once unless one stalls; CloudWatch and the load balancer are polled. A replica that has just started has never seen the
deleted NodeClaims: of their refusals it knows only the events.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from controller.clock import Clock
from controller.policy.model import (
    Application,
    Launch,
    PendingPod,
    PoolObservation,
    Refusal,
    RoutingObservation,
    Sample,
    Scaler,
    Snapshot,
    Source,
    Unit,
    UnitObservation,
    Verdict,
    Verification,
)
from controller.policy.plan import FIELD_MANAGER
from controller.policy.routing import HEALTHY_SHARE, of_these_groups, same_routing, with_known_health
from controller.signals.cluster_clock import ClusterClock, by_our_clock, pool_by_our_clock
from controller.signals.refusals import not_ended, summed_up
from controller.signals.reservation_probe import ReservationProbe, probed
from controller.signals.snapshots import overlooked
from failover_analysis.simulation.api import KubeApi
from failover_analysis.simulation.balancer import Balancer
from failover_analysis.simulation.cluster import Claim, Pod, types_of
from failover_analysis.simulation.event_queue import EventQueue
from failover_analysis.simulation.fault_state import FaultState
from failover_analysis.simulation.karpenter import Karpenter, Pool
from failover_analysis.simulation.metrics import CloudWatch
from failover_analysis.simulation.signals import launch_of
from failover_analysis.simulation.workloads import Workloads
from failover_testbed.capacity.reservations import Reservations

KARPENTER, WORKLOADS, ROUTING, KEDA = "karpenter", "workloads", "routing", "keda"
INSTALLATION: Final = "failover-system"
"""The namespace of the controller."""

KINDS: Final = (KARPENTER, WORKLOADS, ROUTING, KEDA)
"""The watched sources whose watch may stall. Those of target group bindings and of Services never do."""

WATCH_BUDGET_S: Final = 180.0
"""The default of ``freshness.watch_s``."""
CLOUDWATCH_BUDGET_S: Final = 300.0
"""The default of ``freshness.cloudwatch_s``."""
CLOUDWATCH_S: Final = 60.0
"""The default of ``polls.cloudwatch_interval_s``."""
PERIODS: Final = 6
"""How many whole periods a poll of CloudWatch covers: the newest one, which is left out, and ``lookback`` (5) more. Older values are not
returned, so that nothing is known (`controller.signals.cloudwatch.Window`)."""
PROBES_S: Final = 5.0
"""Between two calls that ask for the probes that are due (`controller.service.pollers`)."""
VERIFY_S: Final = 5.0
"""The default of ``polls.verification_interval_s``: between two checks of a change that is not verified yet."""
AUDIT_S: Final = 60.0
"""Between two checks of a verified routing (`controller.signals.load_balancer.verifier`)."""
HEARTBEAT_S: Final = 60.0
"""API servers send a bookmark about once a minute. It shows that a quiet watch is alive."""

LISTENERS_S: Final = 300.0
"""How long the verification caches the listeners (`_LISTENER_TTL_S` there)."""
BALANCER_S: Final = 3600.0
"""How long it caches the load balancer of a host name (`_LOAD_BALANCER_TTL_S` there)."""

_ATTEMPTS: Final = 3  # of a throttled call (`controller.clients.aws.ATTEMPTS`)
_REQUIRED: Final = {KARPENTER: True, WORKLOADS: True, ROUTING: True, KEDA: False}


@dataclass(frozen=True, slots=True)
class World:
    """The parts of the world that a replica can observe."""

    event_queue: EventQueue
    karpenter: Karpenter
    workloads: Workloads
    api: KubeApi
    balancer: Balancer
    cloudwatch: CloudWatch
    fault_state: FaultState
    zones: tuple[str, ...]
    reservations: Reservations
    calls: Counter[str] = field(default_factory=Counter)
    """Number of AWS API calls by service, as `controller.signals.load_balancer.verifier` and `controller.signals.cloudwatch` make them."""


@dataclass(frozen=True, slots=True)
class _Pods:
    """What the replica knows of a unit's pods and Deployment."""

    desired: int
    ready: int
    pending: tuple[PendingPod, ...]


class _Known:
    """Refusals that were summed up already: Karpenter says something every ten seconds, mostly about one NodePool."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[list[object], tuple[Refusal, ...]]] = {}

    def get(self, name: str, read: Iterable[Sequence[object]], make: Callable[[], tuple[Refusal, ...]]) -> tuple[Refusal, ...]:
        """What `make` returns, or returned when what it reads was the same: those lists only grow at one end and shrink at the other."""
        ends: list[object] = [(len(some), some[0], some[-1]) if some else None for some in read]
        known = self._of.get(name)
        if known is not None and known[0] == ends:
            return known[1]
        made = make()
        self._of[name] = (ends, made)
        return made


@dataclass(slots=True)
class _View:
    """What the watch of each kind delivered last."""

    pools: Mapping[str, PoolObservation] = field(default_factory=dict)
    pods: Mapping[str, _Pods] = field(default_factory=dict)
    routing: RoutingObservation = field(default_factory=lambda: RoutingObservation(exists=False))
    overlooked: float | None = None  # see `controller.routing.port.Asked.overlooked`
    scalers: Mapping[str, Scaler] = field(default_factory=dict)


class SimulatedView:
    """One replica's view.

    Args:
        world: The world to observe.
        application: As the replica's file describes it; it may be replaced.
        clock: This replica's wall clock.
    """

    def __init__(self, world: World, application: Application, clock: Clock) -> None:
        self._world, self.application, self._clock = world, application, clock
        self.woken: Callable[[], None] = lambda: None
        """Called when a poll has something new that a pass should see at once."""
        self._time = ClusterClock(clock)
        self._newest_stamp = -math.inf  # of what was delivered
        self._to_list = set(KINDS)  # kinds whose watch has just begun or stalls: what comes next comes in a list
        self._since = world.event_queue.now
        self._view, self._known = _View(), _Known()
        self._last: dict[str, float] = {}
        self._read_at: dict[str, float] = {}
        self._seen_karpenter = self._seen_workloads = -1
        self._stopped = False
        self._metrics_at: float | None = None
        self._demand: dict[str, Sample] = {}
        self._latency: dict[str, Sample] = {}
        self._errors: Sample | None = None
        self.verification: Verification | None = None
        self._listeners_until = self._balancer_until = -math.inf
        for kind in KINDS:
            self._read(kind)
        self._beat()
        self._poll_metrics()
        self._verify()
        self._probe = ReservationProbe(world.reservations, clock, INSTALLATION)
        if any(map(probed, application.units)):
            self._poll_probes()

    def stop(self) -> None:
        """Stops all polls: the process has ended."""
        self._stopped = True

    # --- watches ------------------------------------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        """Delivers bookmarks, which show that a quiet watch is alive."""
        if self._stopped:
            return
        for kind in KINDS:
            if kind not in self._world.fault_state.stalled:
                self._last[kind] = self._clock.now()
        self._world.event_queue.after(HEARTBEAT_S, self._beat)

    def wrote(self, kind: str) -> None:
        """Takes the API server's answer to an own write into the view at once, even while the watch of the kind stalls."""
        self._read(kind)

    def _read(self, kind: str) -> None:
        world = self._world
        listed = kind in self._to_list
        self._to_list.discard(kind)
        self._last[kind], self._read_at[kind] = self._clock.now(), world.event_queue.now
        if kind == KARPENTER and self._seen_karpenter != world.karpenter.version:
            self._seen_karpenter = world.karpenter.version
            self._delivered((stamp for pool in world.karpenter.pools.values() for stamp in _stamps(pool)), listed=listed)
            self._view.pools = {name: self._pool(pool) for name, pool in world.karpenter.pools.items()}
        elif kind == WORKLOADS and self._seen_workloads != world.workloads.version:
            self._seen_workloads = world.workloads.version
            created = (float(int(pod.created)) for pods in world.workloads.units.values() for pod in pods.pods)
            self._delivered(created, listed=listed)
            self._view.pods = {
                name: _Pods(
                    pods.desired,
                    pods.ready,
                    tuple(_pending(pod) for pod in pods.pods if pod.node is None),
                )
                for name, pods in world.workloads.units.items()
            }
        elif kind == ROUTING:
            self._view.routing, self._view.overlooked = world.api.routing.observed, world.api.routing.overlooked
        elif kind == KEDA:
            self._view.scalers = {
                name: Scaler(
                    name=one.name,
                    resource_version=str(one.version),
                    min_replicas=one.floor,
                    max_replicas=one.most,
                    target=one.target,
                    trigger_index=0,
                    floor_ours=one.floor_owner == FIELD_MANAGER,
                    paused=one.paused,
                    uid=one.uid,
                    scale_in_s=one.scale_in_s,
                    scale_out_s=one.scale_out_s,
                )
                for name, one in world.api.scalers.items()
                if one.exists
            }

    def _delivered(self, stamps: Iterable[float], *, listed: bool) -> None:
        """Learns the cluster's clock from what is new, as `controller.signals.cluster.ClusterView` does from what its watches deliver."""
        new = sorted(stamp for stamp in stamps if stamp > self._newest_stamp)
        for stamp in new[-1:] if listed else new:
            self._time.delivered(stamp, listed=listed)
            self._newest_stamp = stamp

    def _pool(self, pool: Pool) -> PoolObservation:
        used = len(pool.alive)
        limited = f"limit of nodes reached: {used} of {pool.limit}" if pool.full() else ""
        return PoolObservation(
            name=pool.name,
            exists=pool.name not in self._world.fault_state.pools_deleted,
            failures=self._known.get(f"{pool.name}/own", (pool.failures,), lambda: summed_up(map(self._failure, pool.failures))),
            launches=tuple(self._launch(claim) for claim in pool.launches),
            elsewhere=self._elsewhere(pool),
            blocked_at=pool.blocked_at,
            instance_types=pool.types,
            capacity_types=pool.capacity_types,
            at_limit=limited,
            ready=pool.name not in self._world.fault_state.pools_unready,
            problem="not ready: NodeClassNotFound" if pool.name in self._world.fault_state.pools_unready else "",
        )

    def _failure(self, failure: Refusal) -> Refusal:
        """A refusal as this replica sees it: of one from before its start, the first list has the event and no NodeClaim."""
        if failure.at >= self._since:
            return failure
        return replace(failure, seen=failure.at, instance_types=(), capacity_types=(), requirements_known=False, order=0)

    def _launch(self, claim: Claim) -> Launch:
        """A launch as this replica sees it: one from before its start came in a list, without an order."""
        launch = replace(launch_of(claim), asked_at=claim.created)
        return launch if claim.created >= self._since else replace(launch, order=0)

    def _elsewhere(self, pool: Pool) -> tuple[Refusal, ...]:
        """As `controller.signals.karpenter.KarpenterView` has it: what failed through other NodePools of what this one may buy."""
        others = [one for one in self._world.karpenter.pools.values() if one is not pool and not set(one.types).isdisjoint(pool.types)]

        def found() -> tuple[Refusal, ...]:
            every: list[Refusal] = []
            for other in others:
                named = [self._failure(one) for one in other.failures if one.named_type in pool.types]
                every += summed_up(not_ended(named, [self._launch(claim) for claim in other.launches]))
            return tuple(sorted(every, key=lambda one: (one.at, one.claim)))

        return self._known.get(f"{pool.name}/others", [seq for one in others for seq in (one.failures, one.launches)], found)

    # --- polls --------------------------------------------------------------------------------------------------------------------------

    def _poll_metrics(self) -> None:
        """Polls the newest settled period of CloudWatch."""
        if self._stopped:
            return
        self._world.event_queue.after(CLOUDWATCH_S, self._poll_metrics)
        throttled = self._world.fault_state.cloudwatch_throttled
        self._world.calls["cloudwatch"] += _ATTEMPTS if throttled else 1
        if throttled:
            return
        self._metrics_at = self._clock.now()
        period, asked = self._world.cloudwatch.newest, self._time.now()
        period_s = self.application.metric_period_s
        if period is not None and period.end > asked:
            return  # of a time that has not come yet by the clock that asks
        if period is None or period.end <= asked // period_s * period_s - PERIODS * period_s:
            self._demand, self._latency, self._errors = {}, {}, None
            return
        flows = period.flow.units
        self._demand = {name: Sample(flow.requests, period.end) for name, flow in flows.items() if flow.requests > 0}
        self._latency = {name: Sample(flow.latency / flow.requests, period.end) for name, flow in flows.items() if flow.requests > 0}
        self._errors = Sample(period.flow.lost / period.flow.demand, period.end) if period.flow.demand > 0 else None

    def _poll_probes(self) -> None:
        """Asks EC2 for the reservations that decisions want."""
        if self._stopped:
            return
        self._world.event_queue.after(PROBES_S, self._poll_probes)
        if self._probe.poll(self.application.units):
            self.woken()

    def ask(self, application: str, probes: Mapping[str, tuple[tuple[str, str], ...]]) -> None:
        """See `controller.service.application_pass.Observer.ask`."""
        self._probe.ask(application, probes)

    def _verify(self) -> None:
        """Checks the load balancer, and again soon while it does not show what the routing object asks for."""
        if self._stopped:
            return
        before, self.verification = self.verification, self._checked()
        seen = self.verification
        pause = AUDIT_S if seen is not None and seen.verdict is Verdict.YES else VERIFY_S
        self._world.event_queue.after(pause, self._verify)
        old = (before.verdict, before.action) if before is not None else None
        if seen is not None and (seen.verdict, seen.action) != old:
            self.woken()

    def check_soon(self) -> None:
        """Schedules an early check: the routing was changed."""
        self._world.event_queue.after(VERIFY_S, self._verify_once)

    def _verify_once(self) -> None:
        if self._stopped or self._view.routing.action == (self.verification.action if self.verification else ""):
            return
        self.verification = self._checked()
        self.woken()

    def _checked(self) -> Verification | None:
        """Checks the load balancer, and keeps the last known targets if this check did not count them."""
        seen = self._check()
        return None if seen is None else with_known_health(seen, self.verification)

    def _check(self) -> Verification | None:
        """What `controller.signals.load_balancer.verifier` finds: whether the live rule is applied, then whether it is healthy."""
        world, routing, now = self._world, self._view.routing, self._clock.now()
        if not routing.targets:
            return None
        world.calls["elbv2"] += self._asked_first()
        if world.fault_state.elbv2_throttled:
            world.calls["elbv2"] += _ATTEMPTS
            return Verification(Verdict.CANNOT_TELL, now, "no answer to DescribeRules (Throttling)", routing.action)
        world.calls["elbv2"] += 1  # DescribeRules of the one listener
        live = world.balancer.live
        weights = {target.service: target.weight for target in live.targets}
        if not world.balancer.exists:
            return Verification(Verdict.NOT_YET, now, "critical: the load balancer no longer exists", routing.action)
        if live.answer:
            problem = f"critical: HTTP:80 /* answers every request with a fixed {live.answer}"
            return replace(self._health(routing, weights, now), verdict=Verdict.NOT_YET, problem=problem, applied=False)
        if unbound := [target.service for target in routing.targets if target.service not in self._groups()]:
            problem = f"Service {unbound[0]} has no target group yet"
            return replace(self._health(routing, weights, now), verdict=Verdict.NOT_YET, problem=problem, applied=False)
        if not same_routing(live.targets, routing.targets) or live.stickiness_s != routing.stickiness_s:
            return Verification(Verdict.NOT_YET, now, "HTTP:80 /* has other weights", routing.action, weights=weights)
        return self._health(routing, weights, now)

    def _asked_first(self) -> int:
        """Number of calls for what is cached for a while: the load balancer and its listeners."""
        now, calls = self._world.event_queue.now, 0
        if now >= self._balancer_until:
            self._balancer_until, calls = now + BALANCER_S, calls + 1
        if now >= self._listeners_until:
            self._listeners_until, calls = now + LISTENERS_S, calls + 1
        return calls

    def _health(self, routing: RoutingObservation, weights: Mapping[str, int], now: float) -> Verification:
        balancer = self._world.balancer
        groups = self._groups()
        services = list(groups)
        healthy = {service: balancer.healthy(service) for service in services}
        self._world.calls["elbv2"] += len(services)  # DescribeTargetHealth of the groups with traffic and of the standby groups
        problems = []
        for target in routing.targets:
            needed = max(1, math.ceil(HEALTHY_SHARE * balancer.ready(target.service)))
            if target.weight > 0 and healthy.get(target.service, 0) < needed:
                problems.append(f"Service {target.service} has {healthy.get(target.service, 0)} healthy targets, {needed} are needed")
        gone = [service for service in services if balancer.group(service) is None]
        problems += [f"the target group of Service {service} no longer exists" for service in gone]
        verdict = Verdict.NOT_YET if problems else Verdict.YES
        ill = {service: now for service, count in healthy.items() if count == 0 and balancer.ready(service) > 0}
        return Verification(
            verdict,
            now,
            "; ".join(problems),
            routing.action,
            applied=not gone,
            weights=weights,
            healthy=healthy,
            groups={service: tuple(arns) for service, arns in groups.items()},
            ill_since=ill,
        )

    def _groups(self) -> dict[str, frozenset[str]]:
        """The target group of each Service that has one, as the target group bindings show it."""
        return {service: frozenset({arn}) for service, arn in self._world.balancer.bound().items()}

    # --- snapshots ----------------------------------------------------------------------------------------------------------------------

    def snapshot(self, application: Application, *, leader: bool, epoch: int, further: tuple[Source, ...] = ()) -> Snapshot:
        """See `controller.service.application_pass.Observer.snapshot`."""
        world, fault_state = self._world, self._world.fault_state
        for kind in KINDS:
            behind = world.event_queue.now - self._read_at[kind] < fault_state.stale_s
            if kind in fault_state.stalled:
                self._to_list.add(kind)
            elif not behind:
                self._read(kind)
        skew = self._time.skew_s
        sources = [Source(kind, _REQUIRED[kind], self._last.get(kind), WATCH_BUDGET_S) for kind in KINDS]
        sources.append(Source("cloudwatch", False, self._metrics_at, CLOUDWATCH_BUDGET_S))
        return Snapshot(
            now=self._clock.now(),
            application=application,
            routing=self._whole_routing(),
            units={unit.name: self._unit(unit, skew) for unit in application.units},
            sources=(*sources, *further),
            error_ratio=by_our_clock(self._errors, skew),
            leader=leader,
            epoch=epoch,
            clock_skew_s=skew,
            installation=INSTALLATION,
        )

    def _whole_routing(self) -> RoutingObservation:
        groups, exists = self._groups(), self.application.capacity.service not in self._world.fault_state.deleted
        return replace(
            self._view.routing,
            bound=tuple(groups),
            capacity_ready=sum(pods.ready for pods in self._view.pods.values()) if exists else None,
            capacity_exists=exists,
            verification=of_these_groups(self.verification, groups),
            blocked=self._view.routing.blocked or self._world.balancer.blocked or overlooked(self._view.overlooked, self._time.now()),
        )

    def _unit(self, unit: Unit, skew: float) -> UnitObservation:
        pods, pool = self._view.pods[unit.name], self._view.pools[unit.node_pool]
        fault_state, deleted = self._world.fault_state, self._world.workloads.deleted
        exists, named = unit.backend.service not in fault_state.deleted, unit.name not in {*fault_state.renamed, *deleted}
        return UnitObservation(
            unit=unit.name,
            pool=pool_by_our_clock(pool, skew) if skew else pool,
            pending=tuple(_later(pod, skew) for pod in pods.pending) if skew else pods.pending,
            desired=pods.desired if named else None,
            ready=pods.ready,
            deployment_ready=pods.ready if named else None,
            endpoints_ready=pods.ready if exists else None,
            service_exists=exists,
            demand=by_our_clock(self._demand.get(unit.name), skew),
            latency=by_our_clock(self._latency.get(unit.name), skew),
            scaler=self._view.scalers.get(unit.name),
            pod_instance_types=_pins(unit, self._view.pools[unit.node_pool].instance_types),
            offered_zones=self._world.zones,
            probed=self._probe.answer(self.application.key, unit.name),
        )


def _stamps(pool: Pool) -> Iterator[float]:
    """When the events of a NodePool happened and its claims were made, in whole seconds of the cluster's clock."""
    yield from (failure.at for failure in pool.failures)
    yield from (float(int(claim.created)) for claim in pool.alive)


def _pins(unit: Unit, types: tuple[str, ...]) -> tuple[str, ...]:
    """The instance types that the unit's Deployment is pinned to: none if its NodePool has no others."""
    own = types_of(unit)
    return () if set(types) <= set(own) else own


def _pending(pod: Pod) -> PendingPod:
    """A waiting pod, and when Karpenter said that its part of the NodePool has no offering."""
    said = () if pod.unavailable_at is None else ((pod.unit.node_pool, pod.unavailable_at),)
    return PendingPod(pod.name, pod.unschedulable_since or pod.created, unavailable=said)


def _later(pod: PendingPod, skew_s: float) -> PendingPod:
    """A waiting pod with its times by a clock that is ahead by `skew_s`."""
    return replace(pod, since=pod.since + skew_s, unavailable=tuple((pool, at + skew_s) for pool, at in pod.unavailable))
