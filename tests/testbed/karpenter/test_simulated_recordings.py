"""The Karpenters of the simulation and of the fuzz against the same recordings: who asks for what, what is refused, when it gives up."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from controller.signals.classify import classify_refusal, unavailable_pools
from failover_analysis.fuzz.karpenter import Cluster
from failover_analysis.fuzz.world import Closed, PoolPlan, UnitPlan, World
from failover_analysis.simulation.cluster import Node, Pod
from failover_analysis.simulation.event_queue import EventQueue
from failover_analysis.simulation.fault_state import FaultState
from failover_analysis.simulation.karpenter import Karpenter, Pool
from failover_testbed.capacity.ec2 import Ec2, FleetAnswer, Offering
from tests.support.applications import NOW, application
from tests.testbed.karpenter.recorded import Moment, PodMark, Recording, Story, read_recording
from tests.testbed.karpenter.situations import KINDS, POOLS, SITUATIONS, ZONES, InOrder, Situation

STEP_S = 0.1
EARLY_S = 3.0
"""How much earlier than recorded: the recorded Karpenter's own API calls add up to two and a half."""
LAUNCH_S = 4.0
"""How much later than recorded a scheduling loop may come, for each loop before it: here a fleet call takes up to three seconds."""
BOOT_S = 60.0
"""How much later than recorded a node may register: here it takes up to 75 s, as in the field."""
REPEAT_S = 15.0
"""How much the time of a repetition may differ: a loop, and what a fleet call takes."""

_BEGIN_S = 1.0  # when the pods of a fuzzed world come; those of its start have their nodes already


class Simulated:
    """The simulated Karpenter alone. It is the `Pods` that it asks about them."""

    def __init__(self, situation: Situation) -> None:
        self.situation = situation
        self.queue = EventQueue(NOW)
        self.ec2 = Ec2(ZONES, InOrder(), answer=situation.answer)
        for shortage in situation.shortages:
            self.ec2.begin(shortage)
        pools = [Pool(name, types, KINDS.get(name, ("on-demand",))) for name, types in (situation.pools or POOLS).items()]
        self.karpenter = Karpenter(self.queue, self.ec2, ZONES, pools, FaultState(), random.Random(1), lambda: None)
        self.karpenter.attach(self)
        self.pods: dict[str, Pod] = {}
        self.story: Story = defaultdict(list)
        self._seen: set[tuple[str, str, float]] = set()

    # --- what Karpenter asks ---

    def waiting(self, pool: str) -> list[Pod]:
        """Pods of a pool without a node."""
        return [pod for pod in self.pods.values() if pod.unit.node_pool == pool and pod.node is None]

    def joined(self, node: Node) -> None:
        """A pod whose claim became this node runs on it."""
        for pod in self.pods.values():
            if pod.claim is node.claim:
                pod.node, node.pod = node, pod

    def evict(self, node: Node) -> None:
        """No recording has an interruption."""
        raise AssertionError(node)

    def said(self) -> None:
        """An event about a pod was written."""

    # --- the play ---

    def play(self, marks: Sequence[PodMark], until: float) -> Story:
        """Plays until a time, and returns what Karpenter did."""
        for mark in marks:
            self.queue.at(NOW + mark.t, self._marking(mark))
        for number in range(round(until / STEP_S)):
            t = number * STEP_S
            if t >= self.situation.back_at:
                self.ec2.shortages = []
            self.queue.run(NOW + t)
            self._observe()
        return self.story

    def _marking(self, mark: PodMark) -> Callable[[], None]:
        def work() -> None:
            types = POOLS[mark.pool]
            unit = replace(application().units[0], node_pool=mark.pool, instance_type=mark.instance_type or types[0])
            if mark.name not in self.pods:
                self.pods[mark.name] = Pod(mark.name, unit, self.queue.now, self.queue.now)
            if self.pods[mark.name].node is None:
                self.karpenter.wanted(mark.pool)

        return work

    def _observe(self) -> None:
        for pool in self.karpenter.pools.values():
            for claim in pool.alive:
                self._once("claim", claim.created, claim.name, (pool.name, " ".join(claim.types), " ".join(sorted(claim.capacity_types))))
                for kind, at in (("launched", claim.launched), ("registered", claim.registered)):
                    if at is not None:
                        self._once(kind, at, claim.name, (pool.name,))
            for refusal in pool.failures:
                self._once("refused", refusal.seen, refusal.claim, (refusal.named_type, refusal.named_zone, *refusal.codes))
            if pool.blocked_at is not None:
                self._once("blocked", pool.blocked_at, pool.name, (pool.name,))
        for pod in self.pods.values():
            if pod.unavailable_at is not None:
                self._once("unavailable", pod.unavailable_at, pod.name, (pod.unit.node_pool,))

    def _once(self, kind: str, at: float, name: str, what: tuple[str, ...]) -> None:
        if (kind, name, at) not in self._seen:
            self._seen.add((kind, name, at))
            self.story[kind].append(Moment(at - NOW, what))


class Fuzzed:
    """The Karpenter of the fuzz, with the units that the recording's pods belong to."""

    def __init__(self, situation: Situation) -> None:
        self.situation = situation
        self.story: Story = defaultdict(list)
        self._now: Callable[[], float] = lambda: 0.0
        self._seen: set[tuple[str, str]] = set()

    def play(self, marks: Sequence[PodMark], until: float) -> Story:
        """Plays until a time, and returns what Karpenter did."""
        cluster = Cluster(self._world(marks), self._emit)
        cluster._chance = InOrder(1)
        self._now = lambda: cluster.now - _BEGIN_S
        for _ in cluster.until(until + _BEGIN_S):
            pass
        return self.story

    def _world(self, marks: Sequence[PodMark]) -> World:
        pods = {mark.name: (mark.pool, mark.instance_type) for mark in marks}
        units = []
        for number, (pool, pinned) in enumerate(dict.fromkeys(pods.values())):
            replicas = ((0.0, 0), (_BEGIN_S, sum(one == (pool, pinned) for one in pods.values())))
            units.append(UnitPlan(f"unit{number}", (pool,), (pinned,) if pinned else POOLS[pool], bool(pinned), replicas))
        pools = self.situation.pools or POOLS
        plans = [PoolPlan(name, types, KINDS.get(name, ("on-demand",))) for name, types in pools.items()]
        sold = {one: ZONES for types in pools.values() for one in types}
        offerings = [Offering(one, zone, kind) for plan in plans for one in plan.types for zone in ZONES for kind in plan.capacity_types]
        end = self.situation.back_at + _BEGIN_S
        closed = {
            one: tuple(Closed(0.0, end, shortage.left) for shortage in self.situation.shortages if shortage.concerns(one))
            for one in offerings
        }
        one_zone = self.situation.answer is FleetAnswer.ONE_ZONE
        return World(1, tuple(plans), tuple(units), sold, True, closed, one_zone, (25.0, 25.0), ())

    def _emit(self, kind: str, change: str, obj: dict[str, Any]) -> None:
        name, t = obj["metadata"]["name"], self._now()
        if kind == "Event":
            self._said(t, obj)
        elif kind == "NodeClaim" and change == "ADDED":
            allowed = {one["key"].rpartition("/")[2]: " ".join(sorted(one["values"])) for one in obj["spec"]["requirements"]}
            self.story["claim"].append(Moment(t, (allowed["nodepool"], allowed["instance-type"], allowed["capacity-type"])))
        elif kind == "NodeClaim":
            for condition in obj["status"]["conditions"]:
                step = (name, condition["type"])
                if condition["type"] in {"Launched", "Registered"} and step not in self._seen:
                    self._seen.add(step)
                    self.story[condition["type"].lower()].append(Moment(t, ()))

    def _said(self, t: float, event: dict[str, Any]) -> None:
        message, reason = event["message"], event["reason"]
        if reason == "InsufficientCapacityError":
            said = classify_refusal(message)
            self.story["refused"].append(Moment(t, (said.instance_type, said.zone, *said.codes)))
        elif reason == "NoCompatibleInstanceTypes":
            self.story["blocked"].append(Moment(t, (event["involvedObject"]["name"],)))
        else:
            self.story["unavailable"] += [Moment(t, (pool,)) for pool in unavailable_pools(message)]


def _recorded(recording: Recording) -> Story:
    """The recording in the simulation's terms."""
    found: Story = defaultdict(list)
    for moment in recording.story["claim"]:
        allowed = dict(one.split(" ", 1) for one in moment.what)
        words = (
            allowed["karpenter.sh/nodepool"],
            allowed["node.kubernetes.io/instance-type"],
            allowed["karpenter.sh/capacity-type"],
        )
        found["claim"].append(Moment(moment.t, words))
    for moment in recording.story["refused"]:
        said = classify_refusal(moment.what[0])
        found["refused"].append(Moment(moment.t, (said.instance_type, said.zone, *said.codes)))
    for moment in recording.story["no place"]:
        found["unavailable"] += [Moment(moment.t, (pool,)) for pool in unavailable_pools("; ".join(moment.what))]
    for moment in recording.story["blocked"]:
        found["blocked"].append(Moment(moment.t, moment.what[:1]))
    for kind in ("launched", "registered"):
        found[kind] = recording.story[kind]
    return found


@pytest.mark.parametrize("fake", [Simulated, Fuzzed])
@pytest.mark.parametrize("name", SITUATIONS)
def test_karpenter_in_virtual_time_does_what_was_recorded(name: str, fake: type[Simulated | Fuzzed]) -> None:
    """The same claims, refusals and launches in the same order. Their intervals are longer, within stated bounds."""
    situation = SITUATIONS[name]
    recording = read_recording(name, zones=True)
    theirs, mine = _recorded(recording), fake(situation).play(recording.marks, recording.end + BOOT_S)
    for kind in ("claim", "refused", "unavailable"):
        assert len(mine[kind]) == len(theirs[kind]), kind
        for place, (recorded, played) in enumerate(zip(sorted(theirs[kind]), sorted(mine[kind]), strict=True)):
            assert _words(played, situation) == _words(recorded, situation), kind
            assert -EARLY_S <= played.t - recorded.t <= (place + 1) * LAUNCH_S + (REPEAT_S if recorded.t > 180.0 else 0.0), kind
    for kind, late in (("launched", LAUNCH_S), ("registered", BOOT_S)):
        assert len(mine[kind]) == len(theirs[kind]), kind
        for recorded, played in zip(sorted(theirs[kind]), sorted(mine[kind]), strict=True):
            assert -EARLY_S <= played.t - recorded.t <= late + REPEAT_S, kind
    for what in {one.what for one in mine["blocked"]}:
        first, later = [min(one.t for one in story["blocked"] if one.what == what) for story in (theirs, mine)]
        assert -EARLY_S <= later - first <= REPEAT_S, what


def _words(moment: Moment, situation: Situation) -> tuple[str, ...]:
    """What is compared: of several zones that were refused at once, a message names one at random."""
    several = situation.answer is FleetAnswer.ALL_ZONES
    return tuple("ZONE" if several and one in ZONES else one for one in moment.what)
