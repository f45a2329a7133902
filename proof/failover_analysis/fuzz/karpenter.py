"""A small Karpenter, scheduler and kubelet: what they write to the API server in one world."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from random import Random
from typing import Any, Final

from failover_analysis.fuzz import objects
from failover_analysis.fuzz.claims import Claim, Pod
from failover_analysis.fuzz.world import LENGTH_S, ZONES, Closed, PoolPlan, UnitPlan, World
from failover_testbed.capacity.ec2 import Code, Ec2, FleetAnswer, FleetError, Offering, Shortage
from failover_testbed.capacity.karpenter import (
    BATCH_IDLE_S,
    BLOCKED_DEDUPE_S,
    CACHE_S,
    CREATE_ERROR_LIFE_S,
    EMPTY_S,
    IGNORED,
    POD_DEDUPE_S,
    RECLAIMED_S,
    REFUSED_S,
    REQUEUE_S,
)
from failover_testbed.capacity.offerings import Offerings, asked_first

_BATCH_S: Final = (BATCH_IDLE_S, BATCH_IDLE_S + 0.6)  # the first pod alone opens a batch: those of one moment come together
_CALL_S: Final = (0.1, 0.3)
_START_S: Final = (10.0, 40.0)
_AGAIN_S: Final = (5.0, 30.0)  # between two tries of a launch that was throttled
_BUDGETED_S: Final = 300.0

Emit = Callable[[str, str, dict[str, Any]], None]


def _until(times: Iterable[tuple[float, float]], now: float) -> float | None:
    return max((end for start, end in times if start <= now < end), default=None)


class Cluster:
    """The cluster of one world.

    Args:
        world: What happens.
        emit: Takes each change: kind, watch type, object.
    """

    def __init__(self, world: World, emit: Emit) -> None:
        self.world, self._take, self._shown = world, emit, 0
        self.now = 0.0
        self.pods: dict[str, list[Pod]] = {unit.name: [] for unit in world.units}
        self._chance = Random(world.seed + 1)
        self._losing = Random(f"events lost in {world.seed}")  # of its own: what is lost changes nothing in the cluster
        self.ec2 = Ec2(ZONES, self._chance, answer=FleetAnswer.ONE_ZONE if world.one_zone else FleetAnswer.ALL_ZONES)
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._cache = Offerings(ZONES)
        self._claims: dict[str, Claim] = {}
        self._empty: list[Claim] = []  # usable nodes that a disruption budget keeps although they have no pod
        self._blocked: dict[str, float] = {}
        self._loop_at: float | None = None
        for offering, closings in world.closed.items():
            for closing in closings:
                self._at(closing.start, partial(self._close, offering, closing))
        for unit in world.units:
            for t, replicas in unit.replicas:
                self._at(t, partial(self._scale, unit, replicas))
        for pool in world.pools:
            self._at(0.0, partial(self._show_pool, pool))
            for number in range(int(world.length_s / _BUDGETED_S) if world.budgets else 0):
                self._at(_BUDGETED_S * number, partial(self._say_budgeted, pool.name))
        for offering, (instances, end) in world.blocks.items():
            self.ec2.begin(Shortage((offering.instance_type,), (offering.zone,), capacity_types=("reserved",), left=instances))
            self._at(end - RECLAIMED_S, partial(self._take_back, offering))

    def until(self, t: float) -> Iterator[float]:
        """Plays what happens up to `t`; yields after each moment at which something was shown."""
        while self._queue and self._queue[0][0] <= t:
            self.now, shown = self._queue[0][0], self._shown
            while self._queue and self._queue[0][0] <= self.now:
                heapq.heappop(self._queue)[2]()
            if self._shown > shown:
                yield self.now
        self.now = t

    def _emit(self, kind: str, change: str, obj: dict[str, Any]) -> None:
        if kind == "Event" and self._losing.random() < self.world.lost.get(obj["reason"], 0.0):
            return
        if kind == "NodeClaim" and self.world.claims_late_s:
            self._at(self.now + self.world.claims_late_s, partial(self._show_at_once, kind, change, obj))
        else:
            self._show_at_once(kind, change, obj)

    def _show_at_once(self, kind: str, change: str, obj: dict[str, Any]) -> None:
        self._shown += 1
        self._take(kind, change, obj)

    # --- what the judge reads ---

    def unmet(self, unit: UnitPlan) -> list[Pod]:
        """The pods of a unit that have no node and none that was launched for them."""
        return [pod for pod in self.pods[unit.name] if not pod.bound and not self._coming(pod)]

    def asks(self, unit: UnitPlan) -> list[Offering]:
        """What Karpenter would ask EC2 for now for the unit's pods."""
        pools = (pool for pool in self._pools_of(unit) if not self.full(pool) and not self._too_few(pool))
        return [one for pool in pools for one in self._offerings(unit, pool) if not self.cached(one)]

    def buyable(self, unit: UnitPlan) -> list[Offering]:
        """Everything that the unit's pods may be launched as, in NodePools that are not at their limit."""
        return [one for pool in self._pools_of(unit) if not self.full(pool) for one in self._offerings(unit, pool)]

    def cached(self, offering: Offering) -> bool:
        """Whether Karpenter does not ask for it now."""
        return self._cache.refused(offering, self.now)

    def idle_until(self) -> float | None:
        """Until when Karpenter does not run, None where it runs."""
        return _until(self.world.idle, self.now)

    def throttled_until(self) -> float | None:
        """Until when EC2 answers no launch, None where it does."""
        return _until(self.world.throttled, self.now)

    def full(self, pool: PoolPlan) -> bool:
        """Whether a NodePool is at its limit."""
        return pool.limit is not None and sum(one.pool is pool for one in self._claims.values()) >= pool.limit

    def _coming(self, pod: Pod) -> bool:
        claim = self._claims.get(pod.claim)
        return claim is not None and claim.offering is not None

    def _pools_of(self, unit: UnitPlan) -> list[PoolPlan]:
        return [pool for pool in self.world.pools if pool.name in unit.pools and not pool.static]

    def _too_few(self, pool: PoolPlan) -> bool:
        """Whether fewer types of a NodePool are available than its `minValues` ask for; at least one must be."""
        types = {one.instance_type for one in self._all_offerings(pool) if not self.cached(one)}
        return len(types) < max(1, pool.min_types)

    def _offerings(self, unit: UnitPlan, pool: PoolPlan) -> list[Offering]:
        types = [one for one in unit.types if not pool.overlaid or one in pool.overlaid]
        return [one for one in self._all_offerings(pool) if one.instance_type in types]

    # --- capacity ---

    def _close(self, offering: Offering, closing: Closed) -> None:
        shortage = Shortage((offering.instance_type,), (offering.zone,), capacity_types=(offering.capacity_type,), left=closing.left)
        self.ec2.begin(shortage)
        if closing.interrupts:
            self._interrupt(offering)
        self._at(closing.end, partial(self.ec2.end, shortage))
        end = min(closing.end, self.world.length_s)
        more = itertools.takewhile(lambda t: t < end, itertools.count(closing.start + closing.every_s, closing.every_s))
        for t in more:
            self._at(t, partial(self.ec2.give_more, shortage, offering))

    def _interrupt(self, offering: Offering) -> None:
        """EC2 takes its instances back. Karpenter caches it as refused, and drains the nodes, whose pods begin to wait anew."""
        taken = [one for one in self._claims.values() if one.offering == offering and one.pod.bound]
        if taken:
            self._cache.remember([FleetError(offering, Code.CAPACITY, "")], self.now + CACHE_S)
        for claim in taken:
            self._emit("Event", "ADDED", objects.interrupted(claim.name, self.now))
        self._drain(taken)

    def _take_back(self, offering: Offering) -> None:
        """A Capacity Block is about to end: Karpenter drains its nodes, and asks for no more."""
        self._drain([one for one in self._claims.values() if one.offering == offering and one.pod.bound])

    def _drain(self, taken: list[Claim]) -> None:
        self._empty = [one for one in self._empty if one not in taken]
        for claim in taken:
            self._emit("NodeClaim", "MODIFIED", objects.node_claim(claim, self.now, deleting=True))
            self._at(self.now + EMPTY_S, partial(self._end, claim))
            unit, pods = claim.pod.unit, self.pods[claim.pod.unit.name]
            if claim.pod in pods:
                pods.remove(claim.pod)
                claim.pod.gone = True
                self._emit("Pod", "DELETED", objects.pod(claim.pod.name, unit, claim.pod.since, node=claim.name))
                self._scale(unit, len(pods) + 1)

    # --- demand ---

    def _scale(self, unit: UnitPlan, replicas: int) -> None:
        pods = self.pods[unit.name]
        first = self.now == 0.0
        while len(pods) < replicas:
            pod = Pod(f"{unit.name}-{next(self._numbers)}", unit, self.now, bound=first, ready=first)
            pods.append(pod)
            kept = next((one for one in self._empty if self._suits(one, pod)), None)
            if kept is not None:
                self._empty.remove(kept)
                self._settle(pod, kept, "ADDED")
            elif not first:
                self._emit("Pod", "ADDED", objects.pod(pod.name, unit, self.now))
                self._wake(self._chance.uniform(*_BATCH_S))
        for pod in sorted(pods, key=lambda one: (one.ready, one.bound, -one.since))[: len(pods) - replicas]:
            pods.remove(pod)
            pod.gone = True
            if not pod.bound:
                self._emit("Pod", "DELETED", objects.pod(pod.name, unit, self.now))
            claim = self._claims.get(pod.claim)
            if claim is not None and claim.offering is not None:
                self._left(claim)
        self._show(unit)

    def _left(self, claim: Claim) -> None:
        """The pod of a NodeClaim is gone. Karpenter removes the empty node, unless a disruption budget blocks it."""
        if not self.world.budgets:
            self._at(self.now + EMPTY_S, partial(self._end, claim))
        elif claim.pod.bound:
            self._empty.append(claim)

    def _suits(self, claim: Claim, pod: Pod) -> bool:
        return claim.pool in self._pools_of(pod.unit) and claim.offering is not None and claim.offering.instance_type in pod.unit.types

    def _show(self, unit: UnitPlan) -> None:
        pods = self.pods[unit.name]
        ready = [pod.name for pod in pods if pod.ready]
        self._emit("Deployment", "MODIFIED", objects.deployment(unit, len(pods), len(ready)))
        self._emit("EndpointSlice", "MODIFIED", objects.endpoints(unit.name, ready))
        everybody = [pod.name for all_pods in self.pods.values() for pod in all_pods if pod.ready]
        self._emit("EndpointSlice", "MODIFIED", objects.endpoints("all", everybody))

    def _show_pool(self, pool: PoolPlan) -> None:
        nodes = sum(one.pool is pool and one.offering is not None for one in self._claims.values())
        self._emit("NodePool", "MODIFIED", objects.node_pool(pool, nodes))

    # --- provisioning ---

    def _at(self, t: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (t, next(self._numbers), do))

    def _wake(self, after: float) -> None:
        if self._loop_at is None or self._loop_at > self.now + after:
            self._loop_at = self.now + after
            self._at(self._loop_at, self._loop)

    def _loop(self) -> None:
        if self._loop_at != self.now:
            return
        self._loop_at = None
        idle_until = self.idle_until()
        if idle_until is not None:
            self._wake(idle_until - self.now)
            return
        waiting = [pod for pods in self.pods.values() for pod in pods if not pod.bound and not pod.claim]
        if not waiting:
            return
        saturated = {pool.name: pool for pool in self.world.pools if self._too_few(pool) and not pool.static}
        for name, pool in sorted(saturated.items()):
            if self.now - self._blocked.get(name, -LENGTH_S) >= BLOCKED_DEDUPE_S:
                self._blocked[name] = self.now
                too_few = not all(map(self.cached, self._all_offerings(pool)))
                self._emit("Event", "ADDED", objects.blocked(name, self.now, too_few=too_few))
        made: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[Claim]] = {}
        for pod in waiting:
            claim = self._claim_for(pod, saturated.keys())
            if claim is not None:
                made.setdefault((claim.pool.name, claim.types, claim.kinds), []).append(claim)
        for batch in made.values():
            self._at(self.now + self._chance.uniform(*_CALL_S), partial(self._call, batch))
        self._wake(REQUEUE_S)

    def _all_offerings(self, pool: PoolPlan) -> list[Offering]:
        every = (Offering(one, zone, kind) for one in pool.types for zone in self.world.sold[one] for kind in pool.capacity_types)
        return [one for one in every if one.capacity_type != "reserved" or self._in_block(one)]

    def _in_block(self, offering: Offering) -> bool:
        """Whether a Capacity Block has a free instance: Karpenter counts them, and asks for no other."""
        _, end = self.world.blocks.get(offering, (0, 0.0))
        return self.now < end - RECLAIMED_S and self.ec2.room(offering) > 0

    def _claim_for(self, pod: Pod, saturated: Collection[str]) -> Claim | None:
        """A NodeClaim in the first NodePool that has something for the pod; else Karpenter says of each why not."""
        if pod.unit.ignored:
            self._say(pod, [IGNORED])
            return None
        why = []
        for pool in self._pools_of(pod.unit):
            open_ = [one for one in self._offerings(pod.unit, pool) if not self.cached(one)]
            if self.full(pool):
                why.append(objects.limited(pool.name))
            elif open_ and pool.name not in saturated:
                types = tuple(dict.fromkeys(one[0] for one in open_))
                kinds = tuple(sorted({one[2] for one in open_}))
                claim = Claim(f"{pool.name}-{next(self._numbers):05d}", pool, pod, types, kinds, self.now)
                pod.claim = claim.name
                self._claims[claim.name] = claim
                self._emit("NodeClaim", "ADDED", objects.node_claim(claim, self.now))
                return claim
            elif pool.name not in saturated:
                why.append(objects.unavailable(pool.name, overlaid=bool(pool.overlaid)))
        others = (pool.name for pool in self.world.pools if pool.name not in (*pod.unit.pools, *saturated) and not pool.static)
        self._say(pod, [*why, *(objects.foreign(pod.unit.pools, name) for name in others)])
        return None

    def _say(self, pod: Pod, why: list[str]) -> None:
        if self.now - pod.said_at >= POD_DEDUPE_S:
            pod.said_at = self.now
            self._emit("Event", "ADDED", objects.unschedulable(pod.name, why, self.now))

    def _call(self, batch: list[Claim]) -> None:
        """One fleet call for claims alike: of the capacity types that they leave open it asks for one."""
        first = batch[0]
        if self.throttled_until() is not None:
            self._throttle(batch)
            return
        allowed = [one for one in self._offerings(first.pod.unit, first.pool) if one[0] in first.types and one[2] in first.kinds]
        asked = asked_first([one for one in allowed if not self.cached(one)])
        preferred = [one for one in asked if one.instance_type == first.pool.prefers]
        fleet = self.ec2.create_fleet(preferred or asked, len(batch))
        given, refused = list(fleet.launched), [error.offering for error in fleet.errors]
        for claim in batch:
            if given:
                self._launched(claim, given.pop())
            else:
                self._refused(claim, refused)
        self._cache.remember(fleet.errors, self.now + CACHE_S)

    def _throttle(self, batch: list[Claim]) -> None:
        """EC2 answers that it is asked too much. Karpenter asks again for each NodeClaim, and gives it up after five minutes."""
        for claim in batch:
            if claim.pod.gone or self.now - claim.created >= CREATE_ERROR_LIFE_S:
                self._end(claim)
                self._wake(REQUEUE_S)
            else:
                self._emit("NodeClaim", "MODIFIED", objects.throttled(claim, self.now, claim.created))
                self._at(self.now + self._chance.uniform(*_AGAIN_S), partial(self._call, [claim]))

    def _say_budgeted(self, pool: str) -> None:
        self._emit("Event", "ADDED", objects.budgeted(pool, self.now))

    def _refused(self, claim: Claim, offerings: list[Offering]) -> None:
        self._emit("Event", "ADDED", objects.refused(claim.name, offerings, self.now))
        self._emit("NodeClaim", "MODIFIED", objects.node_claim(claim, self.now, deleting=True))
        self._at(self.now + REFUSED_S, partial(self._end, claim))
        self._wake(REQUEUE_S)

    def _launched(self, claim: Claim, offering: Offering) -> None:
        claim.offering = offering
        self._step(claim, "Launched")
        self._at(self.now + 2.0, partial(self._show_pool, claim.pool))
        boot = self._chance.uniform(*self.world.boot_s)
        self._at(self.now + boot * 0.8, partial(self._step, claim, "Registered"))
        self._at(self.now + boot, partial(self._step, claim, "Initialized"))
        self._at(self.now + boot + 1.0, partial(self._bind, claim))

    def _step(self, claim: Claim, condition: str) -> None:
        if claim.name in self._claims:
            claim.steps[condition] = self.now
            self._emit("NodeClaim", "MODIFIED", objects.node_claim(claim, self.now))

    def _bind(self, claim: Claim) -> None:
        """Its node is usable. One that was for a pod that is gone, and that a disruption budget keeps, is for the next that suits."""
        if not claim.pod.gone:
            self._settle(claim.pod, claim)
        elif self.world.budgets and claim.name in self._claims:
            waiting = (pod for pods in self.pods.values() for pod in pods if not pod.bound and not pod.claim)
            pod = next((pod for pod in waiting if self._suits(claim, pod)), None)
            if pod is None:
                self._empty.append(claim)
            else:
                self._settle(pod, claim)

    def _settle(self, pod: Pod, claim: Claim, change: str = "MODIFIED") -> None:
        pod.claim, pod.bound, claim.pod = claim.name, True, pod
        self._emit("Pod", change, objects.pod(pod.name, pod.unit, pod.since, node=claim.name))
        self._at(self.now + self._chance.uniform(*_START_S), partial(self._ready, pod))

    def _ready(self, pod: Pod) -> None:
        if not pod.gone:
            pod.ready = True
            self._show(pod.unit)

    def _end(self, claim: Claim) -> None:
        if self._claims.pop(claim.name, None) is not None:
            if claim.offering is None:
                claim.pod.claim = ""
            self._emit("NodeClaim", "DELETED", objects.node_claim(claim, self.now, deleting=True))
            self._show_pool(claim.pool)
