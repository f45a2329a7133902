"""Karpenter in virtual time: it batches pending pods, launches nodes, remembers refusals and removes empty nodes.

It leaves the same signals as the recordings of a real one (v1.14.1, facts on Karpenter): a claim allows every zone; claims of one batch
share one fleet call; a refusal is an event of that claim, which is deleted; the refused offerings are not requested again for three
minutes, in which only `NoCompatibleInstanceTypes` repeats; an exhausted zone next to one with room makes no event at all.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from controller.policy.model import Cause, Launch, Refusal, Unit
from failover_analysis.simulation.cluster import Claim, Node, Pod
from failover_analysis.simulation.event_queue import EventQueue
from failover_analysis.simulation.fault_state import FaultState
from failover_testbed.capacity.batcher import Batcher
from failover_testbed.capacity.ec2 import EVENT_BYTES, Code, Ec2, FleetError, Offering
from failover_testbed.capacity.karpenter import BLOCKED_DEDUPE_S, CACHE_S, EMPTY_S, REFUSED_S, REQUEUE_S, SWEEP_S, TERMINATE_S
from failover_testbed.capacity.offerings import Offerings

_LAUNCH_S: Final = (1.0, 3.0)  # one CreateFleet call; facts on Karpenter, 2.2
_REGISTER_S: Final = (25.0, 75.0)  # boot and join; the sample objects of the facts (E10) took 45 s
_INITIALIZE_S: Final = (5.0, 50.0)  # device plugins; E10 took 47 s
_CREATE_ERROR_LIFE_S: Final = 300.0  # facts on Karpenter, 2.1: the claim is deleted after 5 minutes
_NEVER_JOINED_LIFE_S: Final = 900.0  # facts on Karpenter, 2.1: registration times out after 15 minutes
_KEPT_S: Final = 3600.0  # as long as the API server keeps events
_MOST_KEPT: Final = 2000
_PER_ZONE_BYTES: Final = 250  # about what one zone's InsufficientInstanceCapacity takes of an event's 300 bytes

_CAUSES: Final = {Code.CAPACITY: Cause.CAPACITY, Code.QUOTA: Cause.QUOTA, Code.ADDRESSES: Cause.NETWORK}


class Pods(Protocol):
    """What Karpenter needs to know of the pods."""

    def waiting(self, pool: str) -> list[Pod]:
        """Pods of a pool that are unschedulable, oldest first."""

    def joined(self, node: Node) -> None:
        """A node accepts pods from now on."""


@dataclass(slots=True)
class Pool:
    """One NodePool and its state.

    Attributes:
        name: Its name.
        types: The instance types of its requirements.
        limit: Most nodes; None: no limit.
        nodes: Nodes that accept pods.
        alive: Claims that still exist.
        failures: Refusals, oldest first, kept as long as events are.
        launches: Claims with an instance, oldest first, kept as long.
        blocked_at: Time of the last `NoCompatibleInstanceTypes`.
    """

    name: str
    types: tuple[str, ...]
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
        pools: Instance types by NodePool.
        fault_state: The faults in force.
        chance: A random stream of its own.
        changed: Called after each change that a watch would deliver.
    """

    def __init__(
        self,
        event_queue: EventQueue,
        ec2: Ec2,
        zones: tuple[str, ...],
        pools: Mapping[str, tuple[str, ...]],
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
        self.pools = {name: Pool(name, types) for name, types in pools.items()}
        self._pods: Pods | None = None
        self._offerings = Offerings(zones)
        self._batchers = {name: Batcher() for name in pools}
        self._requeued: set[str] = set()
        self._made = 0

    def _changed(self) -> None:
        self.version += 1
        self._tell()

    def set_limit(self, pool: str, nodes: int | None) -> None:
        """Sets or removes a NodePool's limit."""
        self.pools[pool].limit = nodes
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
        if self._fault_state.karpenter_silent:
            self._requeue(pool)
            return
        types = self._offerings.available_types(pool.types, now)
        if not types and (pool.blocked_at is None or now - pool.blocked_at >= BLOCKED_DEDUPE_S):
            pool.blocked_at = now
            self._changed()
        claims = []
        for pod in pods if types else ():
            if pool.full():
                self._changed()
                break
            self._made += 1
            pod.claim = Claim(f"{pool.name}-{self._made:05d}", pool.name, types, now)
            pool.alive.append(pod.claim)
            claims.append(pod.claim)
        if claims:
            self.version += 1
            self._event_queue.after(self._chance.uniform(*_LAUNCH_S), lambda: self._launch(pool, claims))
        if len(claims) < len(pods):
            self._requeue(pool)

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
        now = self._event_queue.now
        fleet = self.ec2.create_fleet(self._offerings.available(claims[0].types, now))
        self._offerings.remember(fleet.errors, now + CACHE_S + self._chance.uniform(0.0, SWEEP_S))
        if fleet.offering is None:
            self._refused(pool, claims, fleet.errors)
            return
        for claim in claims:
            claim.instance_type, claim.zone = fleet.offering
            claim.launched = now
            pool.launches.append(claim)
            life = _NEVER_JOINED_LIFE_S if self._fault_state.never_joins else self._chance.uniform(*_REGISTER_S)
            self._event_queue.after(life, partial(self._join, pool, claim))
        self._changed()

    def _refused(self, pool: Pool, claims: list[Claim], errors: tuple[FleetError, ...]) -> None:
        """Records one event for each claim and deletes it. The message is cut, so of several zones it usually names one."""
        codes = tuple(dict.fromkeys(str(error.code) for error in errors)) or ("AllOfferingsUnavailable",)
        named = errors[0].offering if errors else ("", "")
        for claim in claims:
            failure = Refusal(
                claim=claim.name,
                pool=pool.name,
                at=float(int(self._event_queue.now)),  # events carry whole seconds
                cause=_CAUSES[errors[0].code] if errors else Cause.CAPACITY,
                codes=codes[:1],
                attempt=claims[0].name,
                seen=self._event_queue.now,
                instance_types=claim.types,
                capacity_types=("on-demand",),
                truncated=len(errors) * _PER_ZONE_BYTES > EVENT_BYTES,
                named_type=named[0],
                named_zone=named[1],
            )
            pool.failures.append(failure)
            self._event_queue.after(REFUSED_S, partial(self._end, pool, claim))
        self._changed()

    def _stuck(self, pool: Pool, claims: list[Claim]) -> None:
        """A launch failed for another reason than capacity: the claim lingers with a condition, and there is no event."""
        for claim in claims:
            failure = Refusal(
                claim=claim.name,
                pool=pool.name,
                at=self._event_queue.now,
                cause=Cause.UNKNOWN,
                codes=("LaunchFailed",),
                attempt=claims[0].name,
                seen=self._event_queue.now,
                instance_types=claim.types,
                capacity_types=("on-demand",),
                source="create-error",
            )
            pool.failures.append(failure)
            self._event_queue.after(_CREATE_ERROR_LIFE_S, partial(self._end, pool, claim))
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
        if self._fault_state.never_joins:
            self._end(pool, claim)
            return
        claim.registered = self._event_queue.now
        self._changed()
        self._event_queue.after(self._chance.uniform(*_INITIALIZE_S), lambda: self._ready(pool, claim))

    def _ready(self, pool: Pool, claim: Claim) -> None:
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
        claim = Claim(
            f"{pool.name}-{self._made:05d}", pool.name, pool.types, long_ago, instance_type, self._zones[number % len(self._zones)]
        )
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

    # --- observations -------------------------------------------------------------------------------------------------------------------

    def askable(self, unit: Unit) -> list[Offering]:
        """What it may ask EC2 for now for a unit: everything that its NodePool allows but what is in the cache."""
        return self._offerings.available(self.pools[unit.node_pool].types, self._event_queue.now)

    def forget_old(self) -> None:
        """Drops events that the API server would no longer keep."""
        oldest = self._event_queue.now - _KEPT_S
        for pool in self.pools.values():
            while pool.failures and pool.failures[0].at < oldest:
                pool.failures.popleft()
            while pool.launches and (pool.launches[0].launched or 0.0) < oldest:
                pool.launches.popleft()
        self.version += 1

    def nodes(self) -> dict[str, int]:
        """Running instances by type: those that cost money."""
        found: dict[str, int] = {}
        for pool in self.pools.values():
            for claim in pool.alive:
                if claim.launched is not None:
                    found[claim.instance_type] = found.get(claim.instance_type, 0) + 1
        return found


def launch_of(claim: Claim) -> Launch:
    """A launched claim as the signals report it."""
    return Launch(
        claim.name, claim.pool, claim.created, claim.launched or 0.0, claim.registered, claim.initialized, claim.instance_type, claim.zone
    )
