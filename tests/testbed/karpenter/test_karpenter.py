"""The fakes of Karpenter and the workload controllers, on a manual clock, against recordings of the real ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from controller.clients.kube import EVENTS, NODE_CLAIMS, NODE_POOLS
from controller.policy.model import Application, Cause
from controller.signals.classify import classify_refusal, limited_pools, unavailable_pools
from controller.signals.cluster import ClusterView
from failover_testbed.capacity.ec2 import Code, Ec2, FleetAnswer, Offering, Shortage, event_message, refusal_text
from failover_testbed.clocks import ManualClock
from failover_testbed.cluster import manifests
from failover_testbed.cluster.events import Recorder
from failover_testbed.cluster.workloads import Workloads
from failover_testbed.cluster.world import World
from failover_testbed.demo.drill import restrict
from failover_testbed.karpenter.controller import Karpenter
from failover_testbed.kube_api import EmulatedKubeApi
from tests.support.applications import NOW, application

ZONES = ("us-west-2a", "us-west-2b", "us-west-2c")
RECORDING = Path(__file__).parents[4] / "shared" / "data" / "karpenter" / "all_zones.jsonl"
INF2 = Shortage(("inf2.xlarge",))


def fast(app: Application) -> Application:
    return replace(app, units=tuple(replace(unit, cold_start_s=30.0) for unit in app.units))


APP = fast(application(namespace="default"))


@dataclass
class Cluster:
    clock: ManualClock
    world: World
    workloads: Workloads
    karpenter: Karpenter

    def run(self, seconds: float, step: float = 1.0) -> None:
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            self.workloads.step()
            for node in self.karpenter.step(self.workloads.waiting()):
                if node.pod is not None:
                    self.workloads.evict(node.pod)

    def scale(self, name: str, replicas: int) -> None:
        self.world.store.patch("Deployment", name, {"spec": {"replicas": replicas}})

    def events(self, reason: str) -> list[dict[str, Any]]:
        return [event for event in self.world.store.list("Event") if event["reason"] == reason]

    def claims(self, pool: str) -> list[dict[str, Any]]:
        return [c for c in self.world.store.list("NodeClaim") if c["metadata"]["labels"]["karpenter.sh/nodepool"] == pool]

    def ready(self, name: str) -> int:
        return int(self.world.store.get("Deployment", name)["status"].get("readyReplicas", 0))


@pytest.fixture
def cluster() -> Cluster:
    """One ready replica of each unit, on its own node."""
    return started(APP)


def started(
    app: Application,
    capacity_types: tuple[str, ...] = ("on-demand",),
    templates: Mapping[str, Mapping[str, Any]] | None = None,
    lost: Mapping[str, float] | None = None,
) -> Cluster:
    """A cluster with one ready replica of each unit, on its own node; `templates` are changes of the pods' specs, by unit."""
    clock = ManualClock(NOW)
    api = EmulatedKubeApi(clock, seed=7)
    world = World(clock, api.store, (app,), ZONES, seed=7)
    recorder = Recorder(world, lost)
    workloads = Workloads(world, recorder)
    karpenter = Karpenter(world, recorder, Ec2(ZONES, world.random))
    for pool in dict.fromkeys(unit.node_pool for unit in app.units):
        types = tuple(dict.fromkeys(unit.instance_type for unit in app.units if unit.node_pool == pool))
        api.store.create("NodePool", manifests.node_pool(pool, types, {}, capacity_types))
    for service in manifests.services(app):
        api.store.create("Service", service)
    for unit in app.units:
        made = manifests.workload(app, unit, 1)
        made["spec"]["template"]["spec"] |= (templates or {}).get(unit.name, {})
        api.store.create("Deployment", made)
        workloads.adopt(app, unit)
        workloads.start_ready(app, unit, partial(karpenter.start_node, unit.node_pool, unit.instance_type))
    workloads.publish_all()
    karpenter.publish_pools()
    return Cluster(clock, world, workloads, karpenter)


@pytest.mark.parametrize(("zones", "refused"), [(("us-west-2a",), True), (("us-west-2b",), False), (ZONES[:2], False), (ZONES, False)])
def test_fis_refuses_what_a_nodepool_of_one_zone_needs(cluster: Cluster, zones: tuple[str, ...], refused: bool) -> None:
    """A request over several zones gets what EC2 has."""
    restrict(cluster.world.store, "inf2", *zones)
    cluster.karpenter.ec2.injected = lambda: ("us-west-2a",)
    cluster.scale("sd21-inf2", 2)
    cluster.run(20)
    assert bool(cluster.events("InsufficientCapacityError")) is refused
    assert len([one for one in cluster.claims("inf2") if one["status"].get("providerID")]) == (1 if refused else 2)


def test_a_replica_gets_a_node_and_becomes_ready_after_its_cold_start(cluster: Cluster) -> None:
    cluster.scale("sd21-inf2", 2)
    cluster.run(1)
    pod = next(pod for pod in cluster.world.store.list("Pod") if pod["status"]["phase"] == "Pending")
    scheduled = next(c for c in pod["status"]["conditions"] if c["type"] == "PodScheduled")
    assert (scheduled["status"], scheduled["reason"]) == ("False", "Unschedulable")
    cluster.run(2)
    claim = next(c for c in cluster.claims("inf2") if not c["status"].get("nodeName"))
    keys = {requirement["key"] for requirement in claim["spec"]["requirements"]}
    assert "topology.kubernetes.io/zone" not in keys  # every zone is allowed: one refusal proves the unit short
    cluster.run(20)
    conditions = {c["type"]: c["status"] for c in cluster.world.store.get("NodeClaim", claim["metadata"]["name"])["status"]["conditions"]}
    assert (conditions["Launched"], conditions["Registered"], conditions["Initialized"]) == ("True", "True", "Unknown")
    cluster.run(4)
    assert cluster.ready("sd21-inf2") == 1
    cluster.run(31)
    assert cluster.ready("sd21-inf2") == 2
    slices = {s["metadata"]["labels"]["kubernetes.io/service-name"]: s["endpoints"] for s in cluster.world.store.list("EndpointSlice")}
    assert (len(slices["sd21-inf2"]), len(slices["sd21-all"])) == (2, 6)
    assert cluster.world.store.get("NodePool", "inf2")["status"]["resources"]["aws.amazon.com/neuron"] == "2"


def test_a_refused_batch_is_what_was_recorded(cluster: Cluster) -> None:
    """Two pods, two claims, one fleet call; deleted a second later; asked again ten seconds later; then no request for three minutes."""
    cluster.karpenter.ec2.shortages = [INF2]
    cluster.scale("sd21-inf2", 3)
    cluster.run(3)
    refused = cluster.events("InsufficientCapacityError")
    assert len(refused) == 2
    gone = {event["involvedObject"]["name"] for event in refused}
    cluster.run(2)
    assert not gone & {claim["metadata"]["name"] for claim in cluster.claims("inf2")}
    cluster.run(75)
    assert len(cluster.events("InsufficientCapacityError")) == 2
    blocked = cluster.events("NoCompatibleInstanceTypes")
    assert [(event["involvedObject"]["kind"], event["involvedObject"]["name"]) for event in blocked] == [("NodePool", "inf2")]
    assert blocked[0]["count"] == 2  # about once a minute
    pods = [event for event in cluster.events("FailedScheduling") if event["source"]]
    assert "karpenter.sh/nodepool In [inf2] not in karpenter.sh/nodepool In [trn1]" in pods[0]["message"]
    assert "In [inf2] not in karpenter.sh/nodepool In [inf2]" not in pods[0]["message"]
    cluster.karpenter.ec2.shortages = []
    cluster.run(180 - 80)
    assert len(cluster.claims("inf2")) == 1
    cluster.run(20)
    assert len(cluster.claims("inf2")) == 3
    cluster.run(60)
    assert cluster.ready("sd21-inf2") == 3


def test_the_event_has_the_recorded_shape(cluster: Cluster) -> None:
    """Every field, and every byte of the message except the claim's name and the zone, which Karpenter picks at random."""
    if not RECORDING.exists():
        pytest.skip("the recording is absent: it lives outside the project, in shared/data/karpenter")
    entries = [json.loads(line) for line in RECORDING.read_text().splitlines()]
    recorded = {
        reason: next(entry["object"] for entry in entries if entry["object"].get("reason") == reason)
        for reason in ("InsufficientCapacityError", "NoCompatibleInstanceTypes", "Nominated")
    }
    scheduler = next(
        entry["object"] for entry in entries if entry["object"].get("reason") == "FailedScheduling" and not entry["object"]["source"]
    )
    cluster.karpenter.ec2.shortages = [INF2]
    cluster.scale("sd21-inf2", 2)
    cluster.run(14)
    for reason, theirs in recorded.items():
        mine = cluster.events(reason)[0]
        assert given(mine) == given(theirs), reason
        for key in ("source", "type", "count", "eventTime", "reportingComponent"):
            assert mine.get(key) == theirs.get(key), (reason, key)
        assert mine["involvedObject"].keys() - {"resourceVersion"} == theirs["involvedObject"].keys() - {"resourceVersion"}
        assert mine["metadata"]["namespace"] == theirs["metadata"]["namespace"]
    mine_scheduler = next(event for event in cluster.events("FailedScheduling") if not event["source"])
    assert given(mine_scheduler) == given(scheduler)
    theirs, mine = recorded["InsufficientCapacityError"], cluster.events("InsufficientCapacityError")[0]
    wanted = theirs["message"].replace(theirs["involvedObject"]["name"], mine["involvedObject"]["name"])
    assert {wanted.replace("us-west-2a", zone) for zone in ZONES} >= {mine["message"]}
    assert recorded["NoCompatibleInstanceTypes"]["message"] == cluster.events("NoCompatibleInstanceTypes")[0]["message"]


def given(event: dict[str, Any]) -> set[str]:
    """The fields that have a value: the real server also writes some as null."""
    return {key for key, value in event.items() if value is not None}


@pytest.mark.parametrize(("code", "cause"), [(Code.CAPACITY, Cause.CAPACITY), (Code.QUOTA, Cause.QUOTA), (Code.ADDRESSES, Cause.NETWORK)])
def test_every_code_is_classified_by_the_production_code(cluster: Cluster, code: Code, cause: Cause) -> None:
    chance = cluster.world.random
    ec2 = Ec2(ZONES, chance)
    ec2.shortages = [Shortage(("inf2.xlarge",), (), code)]
    fleet = ec2.create_fleet([Offering("inf2.xlarge", zone) for zone in ZONES])
    assert not fleet.launched
    message = event_message("inf2-abcde", refusal_text(fleet.errors, chance, "x"))
    assert len(message.removeprefix("NodeClaim inf2-abcde event: ").encode()) <= 303
    refusal = classify_refusal(message)
    assert (refusal.cause, refusal.codes) == (cause, (str(code),))


def test_one_zone_out_makes_no_event_at_all(cluster: Cluster) -> None:
    cluster.karpenter.ec2.shortages = [Shortage(("inf2.xlarge",), ("us-west-2a",))]
    cluster.scale("sd21-inf2", 4)
    cluster.run(80)
    assert cluster.ready("sd21-inf2") == 4
    assert cluster.events("InsufficientCapacityError") == cluster.events("NoCompatibleInstanceTypes") == []
    zones = {claim["metadata"]["labels"]["topology.kubernetes.io/zone"] for claim in cluster.claims("inf2")[1:]}
    assert "us-west-2a" not in zones or len(zones) > 1


def test_full_subnets_block_every_pool(cluster: Cluster) -> None:
    cluster.karpenter.ec2.shortages = [Shortage((), (), Code.ADDRESSES)]
    cluster.scale("sd21-inf2", 2)
    cluster.run(14)
    assert {event["involvedObject"]["name"] for event in cluster.events("NoCompatibleInstanceTypes")} == {"inf2", "trn1", "g5", "g6"}
    assert "nodepool requirements filtered out all available instance types" in cluster.events("FailedScheduling")[-1]["message"] or any(
        "filtered out all available" in event["message"] for event in cluster.events("FailedScheduling")
    )


def test_a_limit_is_said_on_the_pod_and_shown_on_the_pool(cluster: Cluster) -> None:
    cluster.world.store.patch("NodePool", "g6", {"spec": {"limits": {"nvidia.com/gpu": "1"}}})
    cluster.scale("sd21-g6-triton", 2)
    cluster.run(5)
    said = [event["message"] for event in cluster.events("FailedScheduling") if event["source"]]
    assert limited_pools(said[0]) == ("g6",)
    assert cluster.world.store.get("NodePool", "g6")["status"]["resources"]["nvidia.com/gpu"] == "1"
    view = ClusterView(cluster.clock, lambda: None)
    for resource, kind in ((NODE_CLAIMS, "NodeClaim"), (NODE_POOLS, "NodePool"), (EVENTS, "Event")):
        view.listed(resource, None, cluster.world.store.list(kind))
    assert view.pool("g6", cluster.clock.now()).at_limit == "limit of nvidia.com/gpu reached: 1 of 1"
    cluster.world.store.patch("NodePool", "g6", {"spec": {"limits": {"nvidia.com/gpu": None}}})
    cluster.run(80)
    assert cluster.ready("sd21-g6-triton") == 2


def test_an_empty_node_is_removed_after_a_minute(cluster: Cluster) -> None:
    cluster.scale("sd21-trn1", 2)
    cluster.run(70)
    assert len(cluster.claims("trn1")) == 2
    cluster.scale("sd21-trn1", 1)
    cluster.run(1)
    pods = [pod for pod in cluster.world.store.list("Pod") if pod["metadata"]["labels"]["app"] == "sd21-trn1"]
    assert sum("deletionTimestamp" in pod["metadata"] for pod in pods) == 1  # it finishes its requests first
    cluster.run(31 + 58)
    assert len(cluster.claims("trn1")) == 2
    cluster.run(10)
    assert len(cluster.claims("trn1")) == 1
    assert cluster.world.store.get("NodePool", "trn1")["status"]["nodes"] == 1
    assert len([node for node in cluster.world.store.list("Node") if node["metadata"]["labels"]["karpenter.sh/nodepool"] == "trn1"]) == 1


def test_pods_without_a_node_go_first(cluster: Cluster) -> None:
    cluster.karpenter.ec2.shortages = [INF2]
    cluster.scale("sd21-inf2", 3)
    cluster.run(2)
    cluster.scale("sd21-inf2", 1)
    cluster.run(1)
    assert cluster.ready("sd21-inf2") == 1
    assert cluster.workloads.waiting() == []
    pods = [pod for pod in cluster.world.store.list("Pod") if pod["metadata"]["labels"]["app"] == "sd21-inf2"]
    assert len(pods) == 1


def test_of_a_shared_pool_each_unit_gets_nodes_of_its_own_type() -> None:
    """The pods pin their type, and the node that one unit left is not another unit's."""
    shared = tuple(replace(unit, node_pool="nvidia") if unit.node_pool in {"g5", "g6"} else unit for unit in APP.units)
    cluster = started(replace(APP, units=shared))
    template = cluster.world.store.get("Deployment", "sd21-g6-triton")["spec"]["template"]["spec"]
    assert template["nodeSelector"] == {"karpenter.sh/nodepool": "nvidia", "node.kubernetes.io/instance-type": "g6.xlarge"}
    assert (
        "node.kubernetes.io/instance-type"
        not in cluster.world.store.get("Deployment", "sd21-inf2")["spec"]["template"]["spec"]["nodeSelector"]
    )
    cluster.karpenter.ec2.begin(Shortage(("g6.xlarge",)))
    cluster.scale("sd21-g6-triton", 2)
    cluster.scale("sd21-g5-triton", 0)
    cluster.run(40)
    assert (cluster.ready("sd21-g5-triton"), cluster.ready("sd21-g6-triton")) == (0, 1)
    said = [event["message"] for event in cluster.events("FailedScheduling") if event["source"]]
    assert unavailable_pools(said[0]) == ("nvidia",)
    assert not cluster.events("NoCompatibleInstanceTypes")


def test_an_interrupted_spot_node_is_replaced_by_on_demand_once_spot_is_refused_everywhere() -> None:
    cluster = started(APP, ("spot", "on-demand"))
    ec2 = cluster.karpenter.ec2
    ec2.answer = FleetAnswer.ONE_ZONE
    ec2.begin(Shortage(("g6.xlarge",), capacity_types=("spot",)))
    (node,) = cluster.karpenter.interrupt("g6", 5)
    assert node.pod is not None
    cluster.workloads.evict(node.pod)
    cluster.run(15)
    assert {event["involvedObject"]["kind"] for event in cluster.events("SpotInterrupted")} == {"NodeClaim", "Node"}
    cluster.run(90)
    refused = [classify_refusal(event["message"]).zone for event in cluster.events("InsufficientCapacityError")]
    assert len(refused) == len(set(refused)) == 2  # the zone of the interrupted node is not tried
    (claim,) = cluster.claims("g6")
    assert claim["metadata"]["labels"]["karpenter.sh/capacity-type"] == "on-demand"
    assert cluster.ready("sd21-g6-triton") == 1
    assert not cluster.events("NoCompatibleInstanceTypes")
