"""A fake Karpenter: batches pending pods, launches NodeClaims, caches refused offerings, and removes empty nodes.

It writes what recordings of Karpenter v1.14.1 show. A claim allows every zone, and every capacity type of which something is available.
Equal claims of one batch share one fleet call, which asks for one capacity type and may give some of them an instance and refuse the
others. A refused claim gets its event and is deleted about a second later. Every ten seconds Karpenter asks again for what EC2 has not
refused within three minutes; once nothing is left, only `NoCompatibleInstanceTypes` repeats.

What no recording shows is written as its source says: `minValues`, NodeOverlays, static NodePools and disruption budgets of the API's
objects; pods with claims of devices; launches that fail with another error (`create_errors`); Capacity Blocks (`reserve`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import zip_longest
from typing import Final

from failover_testbed.capacity.batcher import Batcher
from failover_testbed.capacity.ec2 import (
    UNAVAILABLE_TEXT,
    Code,
    Ec2,
    FleetAnswer,
    FleetError,
    Offering,
    event_message,
    refusal_text,
)
from failover_testbed.capacity.karpenter import (
    BLOCKED_DEDUPE_S,
    CACHE_S,
    CREATE_ERROR_LIFE_S,
    EMPTY_S,
    FEW_TYPES,
    NO_COMPATIBLE,
    POD_DEDUPE_S,
    RECLAIMED_S,
    REFUSED_S,
    REQUEUE_S,
    SWEEP_S,
    TERMINATE_S,
)
from failover_testbed.capacity.offerings import Offerings, asked_first
from failover_testbed.cluster.events import Recorder
from failover_testbed.cluster.world import Node, Object, Pod, World, machine
from failover_testbed.karpenter.claims import Claim, ClaimWriter
from failover_testbed.karpenter.overlays import Overlays
from failover_testbed.karpenter.pools import Amounts, Pool, add, amounts, read_pools, shown
from failover_testbed.karpenter.sentences import BUDGETED, INTERRUPTIONS, CreateError, no_place

LAUNCH_S: Final = 0.1
"""Duration of a fleet call, seconds."""
REGISTER_S: Final = 20.0
"""From the launch of an instance to the registration of its node, seconds."""
INITIALIZE_S: Final = 2.0
"""From the registration of a node to the removal of its taint, seconds."""
INTERRUPTED_S: Final = 40.0
"""From the notice of a spot interruption to the end of its node, seconds: its pods' grace period and the termination. EC2 gives 120."""

AGAIN_S: Final = (1.0, 60.0)
"""From a launch that failed with a create error to the next, seconds: the first and the longest pause; each is twice the one before."""


class Karpenter:
    """Launches nodes for pending pods, and removes nodes that stay empty.

    Args:
        world: State that the fakes share.
        recorder: Records its events.
        ec2: Grants or refuses capacity.
    """

    def __init__(self, world: World, recorder: Recorder, ec2: Ec2) -> None:
        self._world, self._recorder, self.ec2 = world, recorder, ec2
        self._writer = ClaimWriter(world, recorder)
        self._claims: dict[str, Claim] = {}
        self._offerings = Offerings(world.zones)
        self._handled: dict[str, float | None] = {}  # when each waiting pod was last marked unschedulable, by uid
        self._batcher = Batcher()
        self._requeue_at = float("inf")
        self._resources: dict[str, dict[str, str]] = {}
        self._blocks: dict[Offering, tuple[int, float]] = {}
        self._static_at = 0.0
        self.create_errors: dict[str, CreateError] = {}
        """By NodePool, how each launch through it fails now."""

    # --- the start ----------------------------------------------------------------------------------------------------------------------

    def start_node(self, pool_name: str, instance_type: str) -> Node:
        """Creates a node that is already in use, with its NodeClaim."""
        pool = self._pools()[pool_name]
        zones = pool.zones or self._world.zones
        zone = zones[len(self._world.nodes) % len(zones)]
        offering = asked_first([Offering(instance_type, zone, kind) for kind in pool.capacity_types])[0]
        claim = self._writer.create(pool, (instance_type,), (offering.capacity_type,))
        self._claims[claim.name] = claim
        self._writer.launched(claim, offering, self._overlays().capacity(pool.name, instance_type))
        node = self._writer.registered(claim)
        self._writer.initialized(claim)
        return node

    def publish_pools(self) -> None:
        """Writes the status of every NodePool whose status changed."""
        for pool in self._pools().values():
            resources = shown(self._used(pool.name))
            if self._resources.get(pool.name) != resources:
                self._resources[pool.name] = resources
                self._writer.pool_status(pool.obj, resources)

    # --- a step -------------------------------------------------------------------------------------------------------------------------

    def step(self, waiting: Iterable[Pod]) -> list[Node]:
        """Does everything that is due now.

        Args:
            waiting: The pods that the scheduler marked unschedulable.

        Returns:
            Nodes of Capacity Blocks that end. Their pods must be evicted now.
        """
        now = self._world.now()
        for claim in list(self._claims.values()):
            self._advance(claim, now)
        taken = self._reclaim(now)
        self._keep_static(now)
        self._launch(now)
        self._consolidate(now)
        self._batch(list(waiting), now)
        self.publish_pools()
        return taken

    def _advance(self, claim: Claim, now: float) -> None:
        """Moves a claim to its next condition if that is due."""
        if claim.remove_at is not None:
            if now >= claim.remove_at:
                self._writer.remove(claim)
                del self._claims[claim.name]
                self._release(claim)
        elif claim.launched_at is not None and claim.node is None and now - claim.launched_at >= REGISTER_S:
            self._writer.registered(claim)
        elif claim.node is not None and not claim.node.usable and now - claim.registered_at >= INITIALIZE_S:
            self._writer.initialized(claim)

    def _release(self, claim: Claim) -> None:
        """Returns the pods of a deleted claim to the next scheduling loop."""
        for pod in self._world.pods.values():
            if pod.nominated == claim.name and pod.node is None:
                pod.nominated = ""

    # --- provisioning -------------------------------------------------------------------------------------------------------------------

    def _batch(self, waiting: list[Pod], now: float) -> None:
        """Runs a scheduling loop a second after the last pod was marked, ten at most, and every ten seconds while pods wait."""
        marks = {pod.uid: pod.unschedulable_since for pod in waiting}
        if any(self._handled.get(uid) != at for uid, at in marks.items()):
            self._batcher.add(now)
        self._handled = marks
        if now >= self._batcher.due_at or (waiting and now >= self._requeue_at):
            self._batcher.close()
            self._provision([pod for pod in waiting if not pod.nominated], now)
            self._requeue_at = now + REQUEUE_S if waiting else float("inf")

    def _provision(self, pods: list[Pod], now: float) -> None:
        """One scheduling loop: a claim for each pod whose NodePool has an offering and is below its limits, an event for the others."""
        pools = {name: pool for name, pool in self._pools().items() if pool.replicas is None}
        open_types = {name: self._open_types(pool, now) for name, pool in pools.items()}
        used, overlays = {name: self._used(name) for name in pools}, self._overlays()
        for pod in pods:
            for pool in (pool for name, pool in pools.items() if name in pod.node_pools):
                offerings = self._offered(pool, self._fitting(pool, pod, overlays, open_types[pool.name]), pool.capacity_types, now)
                enough = len({one.instance_type for one in offerings}) >= pool.min_types
                if enough and not pool.exceeded(used[pool.name]) and not pod.claims_devices:
                    self._nominate(pod, pool, offerings)
                    add(used[pool.name], amounts(offerings[0].instance_type))
                    break
            else:
                fits = partial(self._fitting, overlays=overlays)
                text = no_place(pod, pools, open_types, used, fits)
                self._recorder.karpenter(_about(pod), "Warning", "FailedScheduling", text, dedupe_s=POD_DEDUPE_S)

    def _open_types(self, pool: Pool, now: float) -> tuple[str, ...]:
        """The types of which something is available; () where they are fewer than its `minValues`, which Karpenter says."""
        types = tuple(dict.fromkeys(one.instance_type for one in self._offered(pool, pool.types, pool.capacity_types, now)))
        if len(types) >= pool.min_types:
            return types
        text = FEW_TYPES if types else NO_COMPATIBLE
        self._recorder.karpenter(pool.obj, "Warning", "NoCompatibleInstanceTypes", text, dedupe_s=BLOCKED_DEDUPE_S)
        return ()

    def _fitting(self, pool: Pool, pod: Pod, overlays: Overlays, types: Sequence[str] | None = None) -> tuple[str, ...]:
        """Those of a NodePool's types, or of some of them, that a pod may use and that have what it requests."""
        suited = (one for one in pool.suits(pod.types) if types is None or one in types)
        return tuple(one for one in suited if set(pod.more) <= overlays.capacity(pool.name, one).keys())

    def _offered(self, pool: Pool | None, types: Iterable[str], kinds: Sequence[str], now: float) -> list[Offering]:
        """What a NodePool has available of some instance and capacity types; without one, what all zones have.

        Of a Capacity Block that is known: Karpenter counts its instances.
        """
        taken = Counter(one.offering for one in self._claims.values() if one.remove_at is None or one.node is not None)
        zones = (pool and pool.zones) or self._world.zones
        found = [one for one in self._offerings.available(types, now, kinds) if one.zone in zones]
        return [one for one in found if one not in self._blocks or (taken[one] < self._blocks[one][0] and now < self._drained_at(one))]

    def _nominate(self, pod: Pod, pool: Pool, offerings: list[Offering]) -> None:
        """Makes a claim that allows the types and capacity types of which something is available."""
        types = tuple(dict.fromkeys(one.instance_type for one in offerings))
        kinds = tuple(dict.fromkeys(one.capacity_type for one in offerings))
        claim = self._writer.create(pool, types, kinds, (machine(types[0]).accelerator, *pod.more))
        self._claims[claim.name] = claim
        pod.nominated = claim.name
        self._recorder.karpenter(_about(pod), "Normal", "Nominated", f"Pod should schedule on: nodeclaim/{claim.name}")

    def _keep_static(self, now: float) -> None:
        """Makes the nodes that static NodePools lack. Pods have no part in it, and no event names such a NodePool."""
        if now < self._static_at:
            return
        self._static_at = now + REQUEUE_S
        for pool in self._pools().values():
            there = sum(one.pool == pool.name and one.remove_at is None for one in self._claims.values())
            offerings = self._offered(pool, pool.types, pool.capacity_types, now)
            for _ in range((pool.replicas or 0) - there if offerings else 0):
                types = tuple(dict.fromkeys(one.instance_type for one in offerings))
                claim = self._writer.create(pool, types, tuple(dict.fromkeys(one.capacity_type for one in offerings)))
                self._claims[claim.name] = claim

    # --- launching ----------------------------------------------------------------------------------------------------------------------

    def _launch(self, now: float) -> None:
        """Launches the claims that are due; equal claims share one fleet call: some may get an instance and the others its errors."""
        groups: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[Claim]] = {}
        for claim in self._claims.values():
            if claim.launched_at is None and claim.remove_at is None and now >= max(claim.created + LAUNCH_S, claim.due):
                groups.setdefault((claim.pool, claim.types, claim.capacity_types), []).append(claim)
        overlays, pools = self._overlays(), self._pools()
        for (name, types, kinds), claims in groups.items():
            error = self.create_errors.get(name)
            if error is not None:
                for claim in claims:
                    self._fail(claim, error, now)
                continue
            offerings = self._offered(pools.get(name), types, kinds, now)
            if not offerings:
                for claim in claims:
                    self._refuse(claim, UNAVAILABLE_TEXT, now)
                continue
            fleet = self.ec2.create_fleet(self._first_asked(name, asked_first(offerings), overlays), len(claims))
            self._offerings.remember(fleet.errors, _cached_until(now))
            request = self._world.suffix(12)
            for claim, offering in zip_longest(claims, fleet.launched):
                if offering is None:
                    self._refuse(claim, refusal_text(fleet.errors, self._world.random, request), now)
                else:
                    self._writer.launched(claim, offering, overlays.capacity(name, offering.instance_type))

    def _first_asked(self, pool: str, offerings: list[Offering], overlays: Overlays) -> list[Offering]:
        """What EC2 tries first: where it tries one offering a call, one of the type with the lowest price."""
        if self.ec2.answer is FleetAnswer.ALL_ZONES:
            return offerings
        cheapest = overlays.cheapest(pool, dict.fromkeys(one.instance_type for one in offerings))
        return [one for one in offerings if one.instance_type in cheapest]

    def _fail(self, claim: Claim, error: CreateError, now: float) -> None:
        """A launch failed, and is tried again until Karpenter gives the claim up. No event says so."""
        if now - claim.created >= CREATE_ERROR_LIFE_S:
            self._writer.delete(claim)
            claim.remove_at = now + REFUSED_S
            return
        first, most = AGAIN_S
        claim.pause = min(most, 2 * claim.pause or first)
        claim.due = now + claim.pause
        self._writer.failed(claim, error)

    def _refuse(self, claim: Claim, error: str, now: float) -> None:
        self._writer.delete(claim)
        claim.remove_at = now + REFUSED_S
        message = event_message(claim.name, error)
        self._recorder.karpenter(claim.obj, "Warning", "InsufficientCapacityError", message)

    # --- interruption -------------------------------------------------------------------------------------------------------------------

    def reserve(self, offering: Offering, count: int, ends_at: float) -> None:
        """Declares a Capacity Block.

        Args:
            offering: Its offering, with the capacity type ``reserved``.
            count: Its instances.
            ends_at: When it ends, seconds since the Unix epoch.
        """
        self._blocks[offering] = (count, ends_at)

    def interrupt(self, pool: str, count: int) -> list[Node]:
        """EC2 takes back spot instances: Karpenter caches their offerings as refused, taints the nodes and ends them.

        Args:
            pool: Whose nodes.
            count: How many, the oldest first.

        Returns:
            The nodes. Their pods must be evicted now.
        """
        spot = [one for one in self._interruptible("spot") if one.pool == pool][:count]
        refused = [FleetError(one.offering, Code.CAPACITY, "") for one in spot if one.offering is not None]
        self._offerings.remember(refused, _cached_until(self._world.now()))
        return [self._interrupt(one) for one in spot]

    def _drained_at(self, offering: Offering) -> float:
        """When EC2 warns of the end of a Capacity Block."""
        return self._blocks[offering][1] - RECLAIMED_S

    def _reclaim(self, now: float) -> list[Node]:
        """EC2 warns that Capacity Blocks end: nothing is refused, and the pods of their nodes begin to wait."""
        held = [one for one in self._interruptible("reserved") if one.offering in self._blocks]
        return [self._interrupt(one) for one in held if one.offering is not None and now >= self._drained_at(one.offering)]

    def _interruptible(self, kind: str) -> list[Claim]:
        """The claims with nodes of one capacity type that are not ending."""
        all_ = self._claims.values()
        return [one for one in all_ if one.offering and one.offering.capacity_type == kind and one.node is not None and not one.remove_at]

    def _interrupt(self, claim: Claim) -> Node:
        node, offering = claim.node, claim.offering
        assert node is not None and offering is not None  # noqa: S101, PT018 - the caller checked
        about_node: Object = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name, "uid": node.name}}
        reason, message = INTERRUPTIONS[offering.capacity_type]
        for obj, what in ((claim.obj, "NodeClaim"), (about_node, "Node")):
            self._recorder.karpenter(obj, "Warning", reason, message)
            text = f"Interruption triggered termination for the {what}"
            self._recorder.karpenter(obj, "Warning", "TerminatingOnInterruption", text)
        node.usable = False
        self._writer.delete(claim)
        claim.remove_at = self._world.now() + INTERRUPTED_S
        return node

    # --- consolidation ------------------------------------------------------------------------------------------------------------------

    def _consolidate(self, now: float) -> None:
        """Removes nodes that have been empty for the pool's `consolidateAfter`, unless a disruption budget keeps them or it is static."""
        pools = self._pools()
        for claim in self._claims.values():
            node, pool = claim.node, pools.get(claim.pool)
            if node is None or node.pod is not None or not node.usable or claim.remove_at is not None:
                continue
            if pool is not None and pool.keeps_empty:
                self._recorder.karpenter(pool.obj, "Normal", "DisruptionBlocked", BUDGETED, dedupe_s=BLOCKED_DEDUPE_S)
            elif now - node.empty_since >= EMPTY_S and (pool is None or pool.replicas is None):
                self._recorder.karpenter(claim.obj, "Normal", "DisruptionTerminating", "Disrupting NodeClaim: Empty")
                node.usable = False
                self._writer.delete(claim)
                claim.remove_at = now + TERMINATE_S

    # --- NodePools ----------------------------------------------------------------------------------------------------------------------

    def _pools(self) -> dict[str, Pool]:
        return read_pools(self._world.store.list("NodePool"))

    def _overlays(self) -> Overlays:
        return Overlays(self._world.store.list("NodeOverlay"))

    def _used(self, pool: str) -> Amounts:
        """The resources of a pool's claims, including those not launched yet."""
        used: Amounts = {}
        for claim in self._claims.values():
            if claim.pool == pool and (claim.remove_at is None or claim.node is not None):
                add(used, amounts(claim.offering.instance_type if claim.offering is not None else claim.types[0]))
        return used


def _cached_until(now: float) -> float:
    """When a refused offering is available again: at the first sweep of the cache after its entry has expired."""
    return math.ceil((now + CACHE_S) / SWEEP_S) * SWEEP_S


def _about(pod: Pod) -> Object:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid}}
