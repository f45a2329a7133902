"""A fake Karpenter: batches pending pods, launches NodeClaims, caches refused offerings, and removes empty nodes.

It writes what recordings of Karpenter v1.14.1 show. A claim allows every zone, and every capacity type of which something is available.
Equal claims of one batch share one fleet call, which asks for one capacity type and may give some of them an instance and refuse the
others. A refused claim gets its event and is deleted about a second later. Every ten seconds Karpenter asks again for what EC2 has not
refused within three minutes; once nothing is left, only `NoCompatibleInstanceTypes` repeats.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import zip_longest
from typing import Final

from failover_testbed.capacity.batcher import Batcher
from failover_testbed.capacity.ec2 import UNAVAILABLE_TEXT, Code, Ec2, FleetError, Offering, event_message, refusal_text
from failover_testbed.capacity.karpenter import (
    BLOCKED_DEDUPE_S,
    CACHE_S,
    EMPTY_S,
    NO_COMPATIBLE,
    POD_DEDUPE_S,
    REFUSED_S,
    REQUEUE_S,
    SWEEP_S,
    TERMINATE_S,
)
from failover_testbed.capacity.offerings import Offerings, asked_first
from failover_testbed.cluster.events import Recorder
from failover_testbed.cluster.world import Node, Object, Pod, World, machine
from failover_testbed.karpenter.claims import Claim, ClaimWriter
from failover_testbed.karpenter.pools import Amounts, Pool, add, amounts, read_pools, shown
from failover_testbed.karpenter.sentences import no_place

LAUNCH_S: Final = 0.1
"""Duration of a fleet call, seconds."""
REGISTER_S: Final = 20.0
"""From the launch of an instance to the registration of its node, seconds."""
INITIALIZE_S: Final = 2.0
"""From the registration of a node to the removal of its taint, seconds."""
INTERRUPTED_S: Final = 40.0
"""From the notice of a spot interruption to the end of its node, seconds: its pods' grace period and the termination. EC2 gives 120."""


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

    # --- the start ----------------------------------------------------------------------------------------------------------------------

    def start_node(self, pool_name: str, instance_type: str) -> Node:
        """Creates a node that is already in use, with its NodeClaim."""
        pool = self._pools()[pool_name]
        zone = self._world.zones[len(self._world.nodes) % len(self._world.zones)]
        offering = asked_first([Offering(instance_type, zone, kind) for kind in pool.capacity_types])[0]
        claim = self._writer.create(pool.obj, (instance_type,), (offering.capacity_type,), None)
        self._claims[claim.name] = claim
        self._writer.launched(claim, offering)
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

    def step(self, waiting: Iterable[Pod]) -> None:
        """Does everything that is due now.

        Args:
            waiting: The pods that the scheduler marked unschedulable.
        """
        now = self._world.now()
        for claim in list(self._claims.values()):
            self._advance(claim, now)
        self._launch(now)
        self._consolidate(now)
        self._batch(list(waiting), now)
        self.publish_pools()

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
        pools = self._pools()
        open_types = {name: self._offerings.available_types(pool.types, now, pool.capacity_types) for name, pool in pools.items()}
        for name, types in open_types.items():
            if not types:
                self._recorder.karpenter(pools[name].obj, "Warning", "NoCompatibleInstanceTypes", NO_COMPATIBLE, dedupe_s=BLOCKED_DEDUPE_S)
        used = {name: self._used(name) for name in pools}
        for pod in pods:
            pool = pools.get(pod.unit.node_pool)
            offerings = self._offerings.available(pool.suits(pod.types), now, pool.capacity_types) if pool is not None else []
            if pool is not None and offerings and not pool.exceeded(used[pool.name]):
                self._nominate(pod, pool, offerings)
                add(used[pool.name], amounts(offerings[0].instance_type))
            else:
                text = no_place(pod, pools, open_types, used)
                self._recorder.karpenter(_about(pod), "Warning", "FailedScheduling", text, dedupe_s=POD_DEDUPE_S)

    def _nominate(self, pod: Pod, pool: Pool, offerings: list[Offering]) -> None:
        """Makes a claim that allows the types and capacity types of which something is available."""
        types = tuple(dict.fromkeys(one.instance_type for one in offerings))
        kinds = tuple(dict.fromkeys(one.capacity_type for one in offerings))
        claim = self._writer.create(pool.obj, types, kinds, machine(types[0]).accelerator)
        self._claims[claim.name] = claim
        pod.nominated = claim.name
        self._recorder.karpenter(_about(pod), "Normal", "Nominated", f"Pod should schedule on: nodeclaim/{claim.name}")

    # --- launching ----------------------------------------------------------------------------------------------------------------------

    def _launch(self, now: float) -> None:
        """Launches the claims that are due; equal claims share one fleet call: some may get an instance and the others its errors."""
        groups: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[Claim]] = {}
        for claim in self._claims.values():
            if claim.launched_at is None and claim.remove_at is None and now - claim.created >= LAUNCH_S:
                groups.setdefault((claim.pool, claim.types, claim.capacity_types), []).append(claim)
        for (_, types, kinds), claims in groups.items():
            offerings = asked_first(self._offerings.available(types, now, kinds))
            if not offerings:
                for claim in claims:
                    self._refuse(claim, UNAVAILABLE_TEXT, now)
                continue
            fleet = self.ec2.create_fleet(offerings, len(claims))
            self._offerings.remember(fleet.errors, _cached_until(now))
            request = self._world.suffix(12)
            for claim, offering in zip_longest(claims, fleet.launched):
                if offering is None:
                    self._refuse(claim, refusal_text(fleet.errors, self._world.random, request), now)
                else:
                    self._writer.launched(claim, offering)

    def _refuse(self, claim: Claim, error: str, now: float) -> None:
        self._writer.delete(claim)
        claim.remove_at = now + REFUSED_S
        message = event_message(claim.name, error)
        self._recorder.karpenter(claim.obj, "Warning", "InsufficientCapacityError", message)

    # --- interruption -------------------------------------------------------------------------------------------------------------------

    def interrupt(self, pool: str, count: int) -> list[Node]:
        """EC2 takes back spot instances: Karpenter caches their offerings as refused, taints the nodes and ends them.

        Args:
            pool: Whose nodes.
            count: How many, the oldest first.

        Returns:
            The nodes. Their pods must be evicted now.
        """
        now, taken = self._world.now(), list[Node]()
        for claim in list(self._claims.values()):
            node, offering = claim.node, claim.offering
            spot = offering is not None and offering.capacity_type == "spot"
            if node is None or offering is None or claim.pool != pool or not spot or claim.remove_at is not None or len(taken) == count:
                continue
            about_node: Object = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name, "uid": node.name}}
            for obj, what in ((claim.obj, "NodeClaim"), (about_node, "Node")):
                self._recorder.karpenter(obj, "Warning", "SpotInterrupted", "Spot interruption warning was triggered")
                text = f"Interruption triggered termination for the {what}"
                self._recorder.karpenter(obj, "Warning", "TerminatingOnInterruption", text)
            self._offerings.remember([FleetError(offering, Code.CAPACITY, "")], _cached_until(now))
            node.usable = False
            self._writer.delete(claim)
            claim.remove_at = now + INTERRUPTED_S
            taken.append(node)
        return taken

    # --- consolidation ------------------------------------------------------------------------------------------------------------------

    def _consolidate(self, now: float) -> None:
        """Removes nodes that have been empty for the pool's `consolidateAfter`."""
        for claim in self._claims.values():
            node = claim.node
            if node is None or node.pod is not None or not node.usable or claim.remove_at is not None:
                continue
            if now - node.empty_since >= EMPTY_S:
                self._recorder.karpenter(claim.obj, "Normal", "DisruptionTerminating", "Disrupting NodeClaim: Empty")
                node.usable = False
                self._writer.delete(claim)
                claim.remove_at = now + TERMINATE_S

    # --- NodePools ----------------------------------------------------------------------------------------------------------------------

    def _pools(self) -> dict[str, Pool]:
        return read_pools(self._world.store.list("NodePool"))

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
