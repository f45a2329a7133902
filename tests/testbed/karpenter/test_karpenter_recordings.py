"""The fake Karpenter against recordings of a real one: the same pods, the same answers of EC2, the same events at the same time.

Not compared: the events of disruption and of pods and nodes, which the recordings have and no controller reads for a decision.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from failover_testbed.capacity.ec2 import Ec2, FleetAnswer
from failover_testbed.clocks import ManualClock
from failover_testbed.cluster import manifests
from failover_testbed.cluster.events import Recorder
from failover_testbed.cluster.world import Object, Pod, World
from failover_testbed.karpenter.controller import Karpenter
from failover_testbed.kube_api import EmulatedKubeApi
from tests.support.applications import NOW, application
from tests.testbed.karpenter.recorded import Moment, PodMark, Recording, Story, claim_words, note_event, read_recording
from tests.testbed.karpenter.situations import KINDS, POOLS, SITUATIONS, ZONES, InOrder, Situation

STEP_S = 0.1
TOLERANCE_S = 3.0
"""Less than a third of the ten seconds after which Karpenter comes back. In the recordings its own API calls add up to two and a half."""
LOOP_S = 10.0


class Stage:
    """The fake Karpenter alone in a cluster. Pods are pending when the recording says so, and run once their node is there."""

    def __init__(self, situation: Situation) -> None:
        self.clock = ManualClock(NOW)
        api = EmulatedKubeApi(self.clock, seed=7)
        self.world = World(self.clock, api.store, (), ZONES, seed=7)
        self.situation = situation
        self.ec2 = Ec2(ZONES, InOrder(), answer=situation.answer)
        for shortage in situation.shortages:
            self.ec2.begin(shortage)
        self.karpenter = Karpenter(self.world, Recorder(self.world), self.ec2)
        for name, types in (situation.pools or POOLS).items():
            self.world.store.create("NodePool", manifests.node_pool(name, types, {}, KINDS.get(name, ("on-demand",))))
        self.story: Story = defaultdict(list)
        self._claims: dict[str, Object] = {}
        self._counts: dict[str, int] = {}

    def play(self, marks: Sequence[PodMark], until: float, *, zones: bool) -> Story:
        """Plays until a time, and returns what Karpenter did."""
        left = list(marks)
        for number in range(round(until / STEP_S)):
            t = number * STEP_S
            self.clock.set(NOW + t)
            if t >= self.situation.back_at:
                self.ec2.shortages = []
            while left and left[0].t <= t:
                self._mark(left.pop(0))
            self._run_pods()
            self.karpenter.step([pod for pod in self.world.pods.values() if pod.node is None])
            self._observe(t, zones=zones)
        return self.story

    def _mark(self, mark: PodMark) -> None:
        known = self.world.pods.get(("default", mark.name))
        if known is None:
            unit = replace(application().units[0], node_pool=mark.pool)
            types = (mark.instance_type,) if mark.instance_type else ()
            known = self.world.pods["default", mark.name] = Pod(mark.name, mark.name, "default", unit, self.world.now(), types)
        known.unschedulable_since = self.world.now()

    def _run_pods(self) -> None:
        for pod in self.world.pods.values():
            for node in self.world.nodes.values():
                if pod.node is None and node.pod is None and node.usable and node.pool == pod.unit.node_pool:
                    pod.node, node.pod = node, pod

    def _observe(self, t: float, *, zones: bool) -> None:
        claims = {one["metadata"]["name"]: one for one in self.world.store.list("NodeClaim")}
        for name in claims.keys() - self._claims.keys():
            self.story["claim"].append(Moment(t, claim_words(claims[name])))
        for name in self._claims.keys() - claims.keys():
            self.story["gone"].append(Moment(t, claim_words(self._claims[name])))
        self._claims = claims
        for event in self.world.store.list("Event"):
            name = event["metadata"]["name"]
            if self._counts.get(name) != event["count"]:
                self._counts[name] = event["count"]
                note_event(self.story, t, event, zones=zones)


@pytest.mark.parametrize("name", SITUATIONS)
def test_karpenter_does_what_was_recorded(name: str) -> None:
    """Every claim, refusal, launch and sentence, in the recorded words and at the recorded time."""
    situation = SITUATIONS[name]
    named = situation.answer is FleetAnswer.ONE_ZONE  # one of several refused zones is named at random
    recording = read_recording(name, zones=named)
    played = Stage(situation).play(recording.marks, recording.end, zones=named)
    for kind in ("claim", "refused", "gone", "launched", "registered", "no place"):
        _same(kind, recording.story[kind], played[kind])
    _same_blocked(recording, played)


def _same(kind: str, recorded: Sequence[Moment], played: Sequence[Moment]) -> None:
    assert len(played) == len(recorded), (kind, played)
    for theirs, mine in zip(_rounds(recorded), _rounds(played), strict=True):
        assert [one.what for one in mine] == [one.what for one in theirs], kind
        apart = LOOP_S if theirs[0].t > 180.0 else 0.0  # it depends on the phase of the cache's sweep
        assert mine[0].t == pytest.approx(theirs[0].t, abs=TOLERANCE_S + apart), kind


def _rounds(moments: Sequence[Moment]) -> list[list[Moment]]:
    """The moments by scheduling loop; within one their order is chance."""
    found: list[list[Moment]] = []
    for moment in sorted(moments):
        if not found or moment.t - found[-1][0].t > LOOP_S / 2:
            found.append([])
        found[-1].append(moment)
    return [sorted(one, key=lambda moment: moment.what) for one in found]


def _same_blocked(recording: Recording, played: Story) -> None:
    """`NoCompatibleInstanceTypes` begins with the same loop about the same NodePools, and repeats about once a minute.

    The cache of the recorded Karpenter still held g6 from the situation before, which shows as a repetition for a pool that nobody uses.
    """
    about = {one.what for one in played["blocked"]}
    recorded = [one for one in recording.story["blocked"] if one.what in about]
    leftover = {one.what[0] for one in recording.story["blocked"]} - {what[0] for what in about}
    assert leftover <= {"g6"}
    for what in about:
        theirs, mine = [one.t for one in recorded if one.what == what], [one.t for one in played["blocked"] if one.what == what]
        assert mine[0] == pytest.approx(theirs[0], abs=TOLERANCE_S)
        for times in (theirs, mine):
            gaps = [later - earlier for earlier, later in pairwise(times)]
            assert all(60.0 - TOLERANCE_S <= gap <= 60.0 + LOOP_S + TOLERANCE_S for gap in gaps), gaps
        assert abs(len(mine) - len(theirs)) <= 1
