"""Karpenter in virtual time: it batches pending pods, launches nodes, remembers refusals and removes empty nodes.

It leaves the same signals as the recordings of a real one (v1.14.1, facts on Karpenter): a claim allows every zone; claims of one batch
share one fleet call, for one capacity type, which may grant some of them; a refusal is an event of that claim, which is deleted; the
refused offerings are not requested again for three minutes. Once nothing is left to request, only `NoCompatibleInstanceTypes` repeats, or,
for the pods of a unit that may use a part of a shared NodePool, `FailedScheduling`.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, Protocol

from controller.policy.model import Refusal, Unit
from failover_analysis.simulation.cluster import Claim, Node, Pod, types_of
from failover_analysis.simulation.event_queue import EventQueue
from failover_analysis.simulation.fault_state import FaultState
from failover_analysis.simulation.signals import LAUNCH_FAILED, create_error, refusals
from failover_testbed.capacity.batcher import Batcher
from failover_testbed.capacity.ec2 import Ec2, Offering
from failover_testbed.capacity.karpenter import (
    BLOCKED_DEDUPE_S,
    CACHE_S,
    CREATE_ERROR_LIFE_S,
    EMPTY_S,
    NEVER_JOINED_LIFE_S,
    POD_DEDUPE_S,
    REFUSED_S,
    REQUEUE_S,
    SWEEP_S,
    TERMINATE_S,
)
from failover_testbed.capacity.offerings import Offerings, asked_first

_LAUNCH_S: Final = (1.0, 3.0)  # one CreateFleet call; facts on Karpenter, 2.2
_REGISTER_S: Final = (25.0, 75.0)  # boot and join; the sample objects of the facts (E10) took 45 s
_INITIALIZE_S: Final = (5.0, 50.0)  # device plugins; E10 took 47 s
_KEPT_S: Final = 3600.0  # as long as the API server keeps events
_MOST_KEPT: Final = 2000
DRAIN_S: Final = 30.0
"""How long a terminating pod still finishes requests, seconds: Kubernetes' default grace period."""

_NOTICE_S: Final = 120.0  # from a spot interruption's notice to the end of the instance


class Pods(Protocol):
    """What Karpenter needs to know of the pods."""

    def waiting(self, pool: str) -> list[Pod]:
        """Pods of a pool that are unschedulable, oldest first."""

    def joined(self, node: Node) -> None:
        """A node accepts pods from now on."""

    def evict(self, node: Node) -> None:
        """A node is drained."""

    def said(self) -> None:
        """An event about a pod was written."""


@dataclass(slots=True)
class Pool:
    """One NodePool and its state.

    Attributes:
        name: Its name.
        types: The instance types of its requirements.
        capacity_types: The capacity types of its requirements.
        zones: The zones of its requirements; () for all of the node class.
        limit: Most nodes; None: no limit.
        nodes: Nodes that accept pods.
        alive: Claims that still exist.
        failures: Refusals, oldest first, kept as long as events are.
        launches: Claims with an instance, oldest first, kept as long.
        blocked_at: Time of the last `NoCompatibleInstanceTypes`.
    """

    name: str
    types: tuple[str, ...]
    capacity_types: tuple[str, ...] = ("on-demand",)
    zones: tuple[str, ...] = ()
    limit: int | None = None
    nodes: list[Node] = field(default_factory=list)
    alive: list[Claim] = field(default_factory=list)
    failures: deque[Refusal] = field(default_factory=lambda: deque(maxlen=_MOST_KEPT))
    launches: deque[Claim] = field(default_factory=lambda: deque(maxlen=_MOST_KEPT))
    blocked_at: float | None = None

    def full(self) -> bool:
        """Whether its limit allows no further node."""
        return self.limit is not None and len(self.alive) >= self.limit


class Karpenter:
    """Launches nodes for pending pods and removes empty ones.

    Args:
        event_queue: Virtual time.
        ec2: Launches instances.
        zones: Zones of the node class.
        pools: The NodePools.
        fault_state: The faults in force.
        chance: A random stream of its own.
        changed: Called after each change that a watch would deliver.
    """

    def __init__(
        self,
        event_queue: EventQueue,
        ec2: Ec2,
        zones: tuple[str, ...],
        pools: Iterable[Pool],
        fault_state: FaultState,
        chance: random.Random,
        changed: Callable[[], None],
    ) -> None:
        self._event_queue, self.ec2, self._zones, self._fault_state, self._chance, self._tell = (
            event_queue,
            ec2,
            zones,
            fault_state,
            chance,
            changed,
        )
        self.version = 0
        """Counts the changes that a watch would deliver."""
        self.pools = {pool.name: pool for pool in pools}
        self._pods: Pods | None = None
        self._offerings = Offerings(zones)
        self._batchers = {name: Batcher() for name in self.pools}
        self._requeued: set[str] = set()
        self._made = self._delivered = 0

    def _changed(self) -> None:
        self.version += 1
        self._tell()

    def set_limit(self, pool: str, nodes: int | None) -> None:
        """Sets or removes a NodePool's limit."""
        self.pools[pool].limit = nodes
        self._changed()

    def delete(self, pool: str) -> None:
        """Somebody deletes a NodePool: its NodeClaims go with it, and their nodes are drained."""
        self._fault_state.pools_deleted.add(pool)
        for claim in list(self.pools[pool].alive):
            self._take(claim, drained_s=DRAIN_S + TERMINATE_S)
        self._changed()

    def create(self, pool: str) -> None:
        """Somebody creates a deleted NodePool again."""
        self._fault_state.pools_deleted.discard(pool)
        self._changed()

    def delete_class(self, pool: str) -> None:
        """Somebody deletes a NodePool's node class. Its finalizer keeps it while nodes use it: they stay, and the NodePool is not ready."""
        self._fault_state.pools_unready.add(pool)
        self._changed()

    def create_class(self, pool: str) -> None:
        """Somebody creates a deleted node class again."""
        self._fault_state.pools_unready.discard(pool)
        self._changed()

    def attach(self, pods: Pods) -> None:
        """Connects the pods."""
        self._pods = pods

    # --- provisioning -------------------------------------------------------------------------------------------------------------------

    def wanted(self, pool: str) -> None:
        """A pod of the pool has become unschedulable."""
        batcher = self._batchers[pool]
        batcher.add(self._event_queue.now)
        self._event_queue.at(batcher.due_at, lambda: self._close(pool))

    def _close(self, pool: str) -> None:
        """Ends a batch, unless a later pod has scheduled its own end of the batch."""
        batcher = self._batchers[pool]
        if self._event_queue.now >= batcher.due_at:
            batcher.close()
            self._provision(self.pools[pool])

    def _free(self, pool: str) -> list[Pod]:
        """Pods for which no node is being launched."""
        assert self._pods is not None  # noqa: S101 - attached before the start
        return [pod for pod in self._pods.waiting(pool) if pod.claim is None or pod.claim.gone]

    def _provision(self, pool: Pool) -> None:
        """Runs one scheduling loop over a pool: makes a claim for each pod that has a place, and retries the others in ten seconds."""
        pods, now = self._free(pool.name), self._event_queue.now
        if not pods:
            return
        fault_state = self._fault_state
        if fault_state.karpenter_silent or pool.name in fault_state.pools_deleted | fault_state.pools_unready:
            self._requeue(pool)
            return
        self._mark_saturated(now)
        saturated = not self._offerings.available_types(pool.types, now, pool.capacity_types, pool.zones)
        batches: dict[tuple[str, ...], list[Claim]] = {}  # by instance types: equal claims share one fleet call
        for pod in pods:
            types = self._offerings.available_types(types_of(pod.unit), now, pool.capacity_types, pool.zones)
            if types and not pool.full():
                pod.claim = self._claim(pool, types, now)
                batches.setdefault(types, []).append(pod.claim)
            else:
                self._say(pod, now, part=not types and not saturated)
        if pool.full():
            self._changed()
        for claims in batches.values():
            self.version += 1
            self._event_queue.after(self._chance.uniform(*_LAUNCH_S), partial(self._launch, pool, claims))
        if sum(map(len, batches.values())) < len(pods):
            self._requeue(pool)

    def _claim(self, pool: Pool, types: tuple[str, ...], now: float) -> Claim:
        self._made += 1
        self._delivered += 1
        left = self._offerings.available(types, now, pool.capacity_types, pool.zones)
        kinds = tuple(kind for kind in pool.capacity_types if any(offering.capacity_type == kind for offering in left))
        claim = Claim(f"{pool.name}-{self._made:05d}", pool.name, types, kinds, now, self._delivered)
        pool.alive.append(claim)
        return claim

    def _mark_saturated(self, now: float) -> None:
        """`NoCompatibleInstanceTypes`, for every pool whose offerings are all in the cache, wanted or not; once a minute."""
        for pool in self.pools.values():
            if pool.blocked_at is not None and now - pool.blocked_at < BLOCKED_DEDUPE_S:
                continue
            if not self._offerings.available_types(pool.types, now, pool.capacity_types, pool.zones):
                pool.blocked_at = now
                self._changed()

    def _say(self, pod: Pod, now: float, *, part: bool) -> None:
        """`FailedScheduling`, at most once in five minutes a pod. It omits a pool that is saturated altogether."""
        if now - pod.said_at >= POD_DEDUPE_S:
            pod.said_at, pod.unavailable_at = now, now if part else None
            assert self._pods is not None  # noqa: S101 - attached before the start
            self._pods.said()

    def _requeue(self, pool: Pool) -> None:
        if pool.name not in self._requeued:
            self._requeued.add(pool.name)
            self._event_queue.after(REQUEUE_S, lambda: self._again(pool))

    def _again(self, pool: Pool) -> None:
        self._requeued.discard(pool.name)
        self._provision(pool)

    # --- launching ----------------------------------------------------------------------------------------------------------------------

    def _launch(self, pool: Pool, claims: list[Claim]) -> None:
        """Makes one fleet call for claims with equal requirements."""
        if self._fault_state.create_errors:
            self._stuck(pool, claims)
            return
        now, first = self._event_queue.now, claims[0]
        asked = asked_first(self._offerings.available(first.types, now, first.capacity_types, pool.zones))
        fleet = self.ec2.create_fleet(asked, len(claims))
        self._offerings.remember(fleet.errors, now + CACHE_S + self._chance.uniform(0.0, SWEEP_S))
        for claim, offering in zip(claims, fleet.launched, strict=False):
            self._launched(pool, claim, offering)
        refused = claims[len(fleet.launched) :]
        if refused:
            self._refused(pool, refused, refusals(refused, fleet.errors, now, self._delivered + 1, self._chance))
            self._delivered += len(refused)
        self._changed()

    def _launched(self, pool: Pool, claim: Claim, offering: Offering) -> None:
        claim.instance_type, claim.zone, claim.capacity_type = offering
        claim.launched = self._event_queue.now
        pool.launches.append(claim)
        life = NEVER_JOINED_LIFE_S if self._fault_state.never_joins else self._chance.uniform(*_REGISTER_S)
        self._event_queue.after(life, partial(self._join, pool, claim))

    def _refused(self, pool: Pool, claims: list[Claim], events: list[Refusal]) -> None:
        """Records one event for each claim and deletes it."""
        pool.failures.extend(replace(event, pool_capacity_types=pool.capacity_types) for event in events)
        for claim in claims:
            self._event_queue.after(REFUSED_S, partial(self._end, pool, claim))

    def _stuck(self, pool: Pool, claims: list[Claim]) -> None:
        """A launch failed for another reason than capacity: the claim lingers with a condition, and there is no event."""
        for claim in claims:
            error = create_error(claim, claims[0].name, self._event_queue.now)
            pool.failures.append(replace(error, pool_capacity_types=pool.capacity_types))
            self._event_queue.after(CREATE_ERROR_LIFE_S, partial(self._end, pool, claim))
        self._changed()

    def _end(self, pool: Pool, claim: Claim) -> None:
        """Deletes a claim. The next loop makes another one for its pod."""
        claim.gone = True
        pool.alive.remove(claim)
        if claim.node is not None:
            pool.nodes.remove(claim.node)
        self._changed()
        self._requeue(pool)

    def _join(self, pool: Pool, claim: Claim) -> None:
        if claim.gone:  # interrupted
            return
        if self._fault_state.never_joins:
            self._end(pool, claim)
            return
        claim.registered = self._event_queue.now
        self._changed()
        self._event_queue.after(self._chance.uniform(*_INITIALIZE_S), lambda: self._ready(pool, claim))

    def _ready(self, pool: Pool, claim: Claim) -> None:
        if claim.gone:
            return
        claim.initialized = self._event_queue.now
        self._changed()
        self.place(pool, claim)

    def place(self, pool: Pool, claim: Claim) -> Node:
        """Lets a claim's node accept pods. At the start of a run the node counts as long joined."""
        assert self._pods is not None  # noqa: S101 - attached before the start
        node = Node(claim)
        claim.node = node
        pool.nodes.append(node)
        self._pods.joined(node)
        self.emptied(node)
        return node

    def start(self, pool: Pool, instance_type: str, number: int) -> Node:
        """Adds a node that joined long ago; `number` chooses its zone."""
        self._made += 1
        long_ago = self._event_queue.now - _KEPT_S
        claim = Claim(f"{pool.name}-{self._made:05d}", pool.name, pool.types, pool.capacity_types, long_ago)
        zones = pool.zones or self._zones
        zone = zones[number % len(zones)]
        claim.instance_type, claim.zone, claim.capacity_type = asked_first(
            [Offering(instance_type, zone, kind) for kind in pool.capacity_types]
        )[0]
        claim.launched = claim.registered = claim.initialized = long_ago
        pool.alive.append(claim)
        return self.place(pool, claim)

    # --- consolidation ------------------------------------------------------------------------------------------------------------------

    def emptied(self, node: Node) -> None:
        """A node has no pod. It is removed if that lasts."""
        if node.pod is None and not node.claim.gone:
            node.empty_since = self._event_queue.now
            self._event_queue.after(EMPTY_S, lambda: self._consolidate(node, node.empty_since))

    def _consolidate(self, node: Node, since: float) -> None:
        if node.pod is not None or node.claim.gone or node.empty_since != since:
            return
        if self._fault_state.karpenter_silent:
            self._event_queue.after(EMPTY_S, lambda: self._consolidate(node, since))
            return
        pool = self.pools[node.claim.pool]
        node.claim.gone = True  # it accepts no pod any more
        pool.nodes.remove(node)
        self._event_queue.after(TERMINATE_S, lambda: self._terminated(pool, node.claim))

    def _terminated(self, pool: Pool, claim: Claim) -> None:
        pool.alive.remove(claim)
        self._changed()

    # --- spot -----------------------------------------------------------------------------------------------------------------------------

    def interrupt(self, claim: Claim) -> None:
        """EC2 takes an instance back in two minutes. Karpenter drains the node at the notice, and ends the instance when it is empty."""
        if claim.gone or claim.launched is None:
            return
        if not self._fault_state.karpenter_silent:
            self._take(claim, drained_s=TERMINATE_S if claim.node is None or claim.node.pod is None else DRAIN_S + TERMINATE_S)
        else:
            self._event_queue.after(_NOTICE_S, lambda: self._take(claim, drained_s=0.0))

    def _take(self, claim: Claim, drained_s: float) -> None:
        """Evicts the pod of a node whose instance ends in some seconds. The next loop makes another claim for its pod."""
        if claim.gone:
            return
        pool = self.pools[claim.pool]
        claim.gone = True
        if claim.node is not None:
            pool.nodes.remove(claim.node)
            assert self._pods is not None  # noqa: S101 - attached before the start
            self._pods.evict(claim.node)
        self._event_queue.after(drained_s, lambda: self._terminated(pool, claim))
        self._requeue(pool)

    # --- observations -------------------------------------------------------------------------------------------------------------------

    def askable(self, unit: Unit) -> list[Offering]:
        """What it may ask EC2 for now for a unit: everything that the unit may use but what is in its cache."""
        pool = self.pools[unit.node_pool]
        return self._offerings.available(types_of(unit), self._event_queue.now, pool.capacity_types, pool.zones)

    def refused_since(self, since: float) -> bool:
        """Whether any NodePool was refused capacity since a time, seconds since the Unix epoch: what a query of its log finds."""
        return any(one.seen >= since and LAUNCH_FAILED not in one.codes for pool in self.pools.values() for one in pool.failures)

    def forget_old(self) -> None:
        """Drops events that the API server would no longer keep."""
        oldest = self._event_queue.now - _KEPT_S
        for pool in self.pools.values():
            while pool.failures and pool.failures[0].at < oldest:
                pool.failures.popleft()
            while pool.launches and (pool.launches[0].launched or 0.0) < oldest:
                pool.launches.popleft()
        self.version += 1

    def offerings(self, pool: Pool, types: Iterable[str]) -> list[Offering]:
        """Everything that EC2 could launch through a NodePool, of some of its instance types."""
        return [Offering(one, zone, kind) for one in types for zone in pool.zones or self._zones for kind in pool.capacity_types]

    def offerings_of(self, unit: Unit) -> list[Offering]:
        """Everything that EC2 could launch for a unit."""
        return self.offerings(self.pools[unit.node_pool], types_of(unit))

    def running(self, offering: Offering) -> list[Claim]:
        """The instances of an offering, oldest first."""
        return [
            claim
            for pool in self.pools.values()
            for claim in pool.alive
            if claim.launched is not None and (claim.instance_type, claim.zone, claim.capacity_type) == offering
        ]

    def nodes(self) -> dict[str, int]:
        """Running instances by type: those that cost money."""
        found: dict[str, int] = {}
        for pool in self.pools.values():
            for claim in pool.alive:
                if claim.launched is not None:
                    found[claim.instance_type] = found.get(claim.instance_type, 0) + 1
        return found
