"""What the fake Karpenter plays that no recording shows, in the sentences of Karpenter's source, which the production code reads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.clients.kube import EVENTS, NODE_CLAIMS, NODE_POOLS
from controller.signals.classify import unavailable_pools
from controller.signals.cluster import ClusterView
from failover_testbed.capacity.ec2 import FleetAnswer, Offering, Shortage
from failover_testbed.karpenter.sentences import CreateError
from tests.testbed.karpenter.test_karpenter import APP, ZONES, Cluster, started

UNIT = "sd21-g6-triton"
SIZES = ("g6.xlarge", "g6.2xlarge")
G6 = Shortage(("g6.xlarge",))


def either(*pools: str) -> dict[str, Any]:
    """A pod's spec that names several NodePools."""
    terms = [{"matchExpressions": [{"key": "karpenter.sh/nodepool", "operator": "In", "values": list(pools)}]}]
    return {
        "nodeSelector": {},
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}},
    }


def pool(cluster: Cluster, name: str = "g6", **spec: Any) -> None:
    cluster.world.store.patch("NodePool", name, {"spec": spec})


def two_sizes(cluster: Cluster, **more: Any) -> None:
    """The NodePool g6 has both sizes; `more` are fields of that requirement."""
    requirements = cluster.world.store.get("NodePool", "g6")["spec"]["template"]["spec"]["requirements"]
    changed = [one | ({"values": list(SIZES)} | more if "instance-type" in one["key"] else {}) for one in requirements]
    pool(cluster, template={"spec": {"requirements": changed}})


def overlay(cluster: Cluster, **spec: Any) -> None:
    requirements = [{"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["g6.2xlarge"]}]
    body = {"apiVersion": "karpenter.sh/v1alpha1", "kind": "NodeOverlay", "metadata": {"name": "large"}}
    cluster.world.store.create("NodeOverlay", body | {"spec": {"requirements": requirements} | spec})


def said(cluster: Cluster) -> list[str]:
    """What Karpenter said of pods."""
    return [event["message"] for event in cluster.events("FailedScheduling") if event["source"]]


def seen(cluster: Cluster) -> ClusterView:
    """What the controller sees."""
    view = ClusterView(cluster.clock, lambda: None)
    for resource, kind in ((NODE_CLAIMS, "NodeClaim"), (NODE_POOLS, "NodePool"), (EVENTS, "Event")):
        view.listed(resource, None, cluster.world.store.list(kind))
    return view


def types(cluster: Cluster) -> list[str]:
    """Of the nodes of g6."""
    return sorted(one["metadata"]["labels"]["node.kubernetes.io/instance-type"] for one in cluster.claims("g6"))


def test_with_fewer_types_than_min_values_nothing_is_launched() -> None:
    """One of two is refused beside a grant, without an event: the next pods find no choice."""
    cluster = started(APP)
    two_sizes(cluster, minValues=2)
    cluster.karpenter.ec2.begin(G6)
    cluster.scale(UNIT, 2)
    cluster.run(60)
    assert cluster.ready(UNIT) == 2
    newest = next(one for one in cluster.claims("g6") if len(one["spec"]["requirements"][-1]["values"]) == 2)["spec"]["requirements"]
    assert next(one for one in newest if "instance-type" in one["key"])["minValues"] == 2
    cluster.scale(UNIT, 3)
    cluster.run(30)
    (event,) = cluster.events("NoCompatibleInstanceTypes")
    assert event["message"] == "NodePool requirements filtered out all compatible available instance types due to minValues incompatibility"
    assert seen(cluster).pool("g6", cluster.clock.now()).blocked_at is not None
    assert len(cluster.claims("g6")) == 2
    cluster.karpenter.ec2.end(G6)
    cluster.run(200)
    assert cluster.ready(UNIT) == 3


def test_too_few_types_for_one_pod_are_said_on_the_pod() -> None:
    """The NodePool has a choice of two types, of which each pod pins one."""
    units = tuple(replace(unit, node_pool="nvidia") if unit.node_pool in {"g5", "g6"} else unit for unit in APP.units)
    cluster = started(replace(APP, units=units))
    requirements = cluster.world.store.get("NodePool", "nvidia")["spec"]["template"]["spec"]["requirements"]
    changed = [one | ({"minValues": 2} if "instance-type" in one["key"] else {}) for one in requirements]
    pool(cluster, "nvidia", template={"spec": {"requirements": changed}})
    cluster.scale(UNIT, 2)
    cluster.run(20)
    start = "minValues requirement is not met for label(s) (label(s)=[node.kubernetes.io/instance-type]), requirements="
    assert start in said(cluster)[-1]
    assert not cluster.events("NoCompatibleInstanceTypes")


def test_karpenter_tries_the_price_of_a_node_overlay_first() -> None:
    cluster = started(APP)
    two_sizes(cluster)
    overlay(cluster, price="0.01")
    cluster.karpenter.ec2.answer = FleetAnswer.ONE_ZONE
    cluster.scale(UNIT, 3)
    cluster.run(30)
    assert types(cluster) == ["g6.2xlarge", "g6.2xlarge", "g6.xlarge"]
    cluster.karpenter.ec2.begin(Shortage(("g6.2xlarge",)))
    cluster.scale(UNIT, 4)
    cluster.run(60)
    assert len(cluster.events("InsufficientCapacityError")) == len(ZONES)
    assert types(cluster) == ["g6.2xlarge", "g6.2xlarge", "g6.xlarge", "g6.xlarge"]


def test_capacity_of_a_node_overlay_narrows_the_types_and_nothing_says_so() -> None:
    """Neither NodePool nor pod names the type. Refused, it is missing where Karpenter filters the others for the pod."""
    asked = {"containers": [{"name": "server", "resources": {"requests": {"nvidia.com/gpu": "1", "example.com/npu": "1"}}}]}
    cluster = started(APP, templates={UNIT: asked})
    two_sizes(cluster)
    overlay(cluster, capacity={"example.com/npu": "2"})
    cluster.scale(UNIT, 2)
    cluster.run(70)
    assert types(cluster) == ["g6.2xlarge", "g6.xlarge"]
    assert cluster.ready(UNIT) == 2
    claim = next(one for one in cluster.claims("g6") if "g6.2xlarge" in one["metadata"]["labels"].values())
    assert claim["status"]["capacity"]["example.com/npu"] == "2"
    assert claim["spec"]["resources"]["requests"]["example.com/npu"] == "1"
    cluster.karpenter.ec2.begin(Shortage(("g6.2xlarge",)))
    cluster.scale(UNIT, 3)
    cluster.run(20)
    assert "no instance type has enough resources, requirements=" in said(cluster)[-1]
    assert unavailable_pools(said(cluster)[-1]) == ("g6",)
    assert not cluster.events("NoCompatibleInstanceTypes")


@pytest.mark.parametrize("budget", [{"nodes": "0"}, {"nodes": "0%", "reasons": ["Empty", "Drifted"]}])
def test_a_disruption_budget_keeps_an_empty_node_and_the_next_pod_takes_it(budget: dict[str, Any]) -> None:
    cluster = started(APP)
    pool(cluster, disruption={"budgets": [{"nodes": "10%"}, budget]})
    cluster.scale(UNIT, 0)
    cluster.run(200)
    (event,) = cluster.events("DisruptionBlocked")
    assert event["message"] == "No allowed disruptions for disruption reason Empty due to blocking budget"
    assert event["involvedObject"]["kind"] == "NodePool"
    assert event["count"] == 3
    assert len(cluster.claims("g6")) == 1
    cluster.karpenter.ec2.begin(G6)
    cluster.scale(UNIT, 1)
    cluster.run(40)
    assert cluster.ready(UNIT) == 1
    assert not cluster.events("InsufficientCapacityError")


def test_a_budget_of_other_reasons_keeps_no_empty_node() -> None:
    cluster = started(APP)
    pool(cluster, disruption={"budgets": [{"nodes": "0", "reasons": ["Drifted"]}]})
    cluster.scale(UNIT, 0)
    cluster.run(120)
    assert cluster.claims("g6") == []


def test_a_static_node_pool_keeps_its_nodes_and_launches_none_for_pods() -> None:
    """No event names it, and Karpenter tries again what EC2 refuses."""
    cluster = started(APP, templates={UNIT: either("g6", "kept")})
    kept = cluster.world.store.get("NodePool", "g6")
    cluster.world.store.create("NodePool", {**kept, "metadata": {"name": "kept"}, "spec": kept["spec"] | {"replicas": 2}})
    cluster.run(40)
    assert len(cluster.claims("kept")) == 2
    cluster.scale(UNIT, 3)
    cluster.run(40)
    assert cluster.ready(UNIT) == 3
    assert len(cluster.claims("g6")) == 1
    cluster.karpenter.ec2.begin(G6)
    cluster.scale(UNIT, 4)
    cluster.run(20)
    assert "kept" not in said(cluster)[-1].replace("In [g6 kept]", "")
    assert {one["involvedObject"]["name"] for one in cluster.events("NoCompatibleInstanceTypes")} == {"g6"}
    cluster.scale(UNIT, 0)
    cluster.run(200)
    assert len(cluster.claims("kept")) == 2


def test_pods_with_claims_of_devices_are_ignored() -> None:
    cluster = started(APP, templates={UNIT: {"resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "gpu"}]}})
    cluster.scale(UNIT, 2)
    cluster.run(30)
    assert len(cluster.claims("g6")) == 1
    why = "pod has Dynamic Resource Allocation requirements that are not yet supported by Karpenter"
    assert said(cluster) == [f"Failed to schedule pod, {why}"]


@pytest.mark.parametrize("error", list(CreateError))
def test_a_create_error_stays_on_its_claim_for_five_minutes_and_no_event_says_it(error: CreateError) -> None:
    """Karpenter counts on the claim, so it asks for nothing through another NodePool; then it begins anew."""
    cluster = started(APP, templates={UNIT: either("g6", "g5")})
    pool(cluster, "g6", weight=10)
    cluster.karpenter.create_errors["g6"] = error
    cluster.scale(UNIT, 2)
    cluster.run(200)
    failing = next(one for one in cluster.claims("g6") if "nodeName" not in one["status"])
    launched = next(one for one in failing["status"]["conditions"] if one["type"] == "Launched")
    assert (launched["status"], launched["reason"], launched["message"]) == ("Unknown", str(error), error.message)
    assert len(cluster.claims("g5")) == 2
    assert not cluster.events("InsufficientCapacityError")
    view = seen(cluster).pool("g6", cluster.clock.now())
    passing = error in {CreateError.THROTTLED, CreateError.INTERNAL}
    assert [one.codes for one in view.failures if not one.cached] == ([] if passing else [(str(error),)])
    cluster.run(160)
    assert failing["metadata"]["name"] not in [one["metadata"]["name"] for one in cluster.claims("g6")]
    assert len(cluster.claims("g6")) == 2
    del cluster.karpenter.create_errors["g6"]
    cluster.run(130)
    assert cluster.ready(UNIT) == 2


def test_of_several_node_pools_the_next_is_asked_and_none_is_named_where_all_are_refused() -> None:
    cluster = started(APP, templates={UNIT: either("g6", "g5")})
    pool(cluster, "g6", weight=10)
    cluster.karpenter.ec2.begin(G6)
    cluster.scale(UNIT, 2)
    cluster.run(70)
    assert len(cluster.claims("g5")) == 3
    assert cluster.ready(UNIT) == 2
    cluster.karpenter.ec2.begin(Shortage(("g5.xlarge",)))
    cluster.scale(UNIT, 3)
    cluster.run(30)
    assert "karpenter.sh/nodepool In [g6 g5] not in karpenter.sh/nodepool In [trn1]" in said(cluster)[-1]
    assert "not in karpenter.sh/nodepool In [g6]" not in said(cluster)[-1]
    assert "not in karpenter.sh/nodepool In [g5]" not in said(cluster)[-1]
    assert {one["involvedObject"]["name"] for one in cluster.events("NoCompatibleInstanceTypes")} >= {"g5", "g6"}


def test_a_capacity_block_comes_first_and_is_drained_before_its_end() -> None:
    """It has two instances. Forty minutes before its end its nodes go, and Karpenter launches on demand."""
    cluster = started(APP, ("on-demand",))
    requirements = cluster.world.store.get("NodePool", "g6")["spec"]["template"]["spec"]["requirements"]
    changed = [one | ({"values": ["on-demand", "reserved"]} if "capacity-type" in one["key"] else {}) for one in requirements]
    pool(cluster, template={"spec": {"requirements": changed}})
    now = cluster.clock.now()
    for zone in ZONES:
        cluster.karpenter.reserve(Offering("g6.xlarge", zone, "reserved"), 2 if zone == ZONES[0] else 0, now + 2400 + 300)
    cluster.scale(UNIT, 4)
    cluster.run(100)
    kinds = [one["metadata"]["labels"]["karpenter.sh/capacity-type"] for one in cluster.claims("g6")]
    assert sorted(kinds[1:]) == ["on-demand", "reserved", "reserved"]
    assert cluster.ready(UNIT) == 4
    cluster.run(203)
    events = cluster.events("CapacityReservationInstanceInterrupted")
    assert {one["involvedObject"]["kind"] for one in events} == {"NodeClaim", "Node"}
    assert {one["message"] for one in events} == {"Capacity Reservation interruption warning was triggered"}
    cluster.run(120)
    assert cluster.ready(UNIT) == 4
    assert [one["metadata"]["labels"]["karpenter.sh/capacity-type"] for one in cluster.claims("g6")].count("reserved") == 0


def test_events_about_one_object_are_limited() -> None:
    """Its client posts 25 at once and one more in five minutes: after that `NoCompatibleInstanceTypes` is mostly lost."""
    cluster = started(APP)
    cluster.karpenter.ec2.begin(G6)
    cluster.scale(UNIT, 2)
    cluster.run(3000, step=2.0)
    (event,) = cluster.events("NoCompatibleInstanceTypes")
    about = [one for one in cluster.world.store.list("Event") if one["involvedObject"]["name"] == "g6"]
    posted = sum(one["count"] for one in about)
    assert 25 <= posted <= 25 + 3000 / 300
    assert event["count"] < 3000 / 60 * 0.8


def test_events_that_are_lost_change_nothing_else() -> None:
    def claims(lost: dict[str, float]) -> tuple[Cluster, list[str]]:
        cluster = started(APP, lost=lost)
        cluster.karpenter.ec2.begin(G6)
        cluster.scale(UNIT, 3)
        cluster.run(400)
        return cluster, [one["metadata"]["creationTimestamp"] for one in cluster.claims("g6")]

    every, shown = claims({})
    some, same = claims({"InsufficientCapacityError": 1.0, "NoCompatibleInstanceTypes": 0.5})
    assert same == shown
    assert every.events("InsufficientCapacityError")
    assert not some.events("InsufficientCapacityError")
    assert sum(one["count"] for one in some.events("NoCompatibleInstanceTypes")) < sum(
        one["count"] for one in every.events("NoCompatibleInstanceTypes")
    )
