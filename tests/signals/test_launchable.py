"""A NodePool of a whole family: which types count for a unit, what its limits leave, and what the nodes that run cost."""

from __future__ import annotations

from typing import Any

import pytest

from controller.policy.evidence import allowed_offerings, assess
from controller.policy.model import Cause, Memory, Return, Snapshot, Unit, UnitMemory
from controller.signals.cluster import ClusterView
from controller.signals.instance_labels import InstanceFilter
from controller.signals.launchable import Placement, instance_pins, needs_of
from controller.signals.snapshots import ExternalSignals, SnapshotBuilder
from failover_testbed.clocks import ManualClock
from tests.signals.samples import KINDS, ice_event, moment, node_claim, requirement, waiting_pod
from tests.signals.test_snapshots import FRESH
from tests.support.applications import application

T0 = moment("2026-08-25T10:00:00Z")
APP = application()
INF2: Unit = APP.unit("sd21-inf2")
FAMILY = "karpenter.k8s.aws/instance-family"
GPU = "karpenter.k8s.aws/instance-gpu-name"


def container(**wanted: str) -> list[dict[str, Any]]:
    """One container that is limited to resources, by the last part of their names."""
    names = {"gpu": "nvidia.com/gpu", "neuron": "aws.amazon.com/neuron", "cores": "aws.amazon.com/neuroncore"}
    return [{"resources": {"limits": {names.get(name, name): value for name, value in wanted.items()}}}]


class Cluster:
    """A view of unit sd21-inf2, whose NodePool is `inf2`."""

    def __init__(self) -> None:
        self.clock = ManualClock(T0)
        self.view = ClusterView(self.clock, lambda: None)

    def give(self, kind: str, obj: dict[str, Any], change: str = "ADDED") -> None:
        self.view.changed(KINDS[kind], None, change, obj)

    def pool(self, *requirements: dict[str, Any], limits: dict[str, str] | None = None, used: dict[str, str] | None = None) -> None:
        spec = {"template": {"spec": {"requirements": list(requirements)}}, "limits": limits or {}}
        self.give("NodePool", {"metadata": {"name": "inf2"}, "spec": spec, "status": {"resources": used or {}}})

    def deployment(self, wanted: dict[str, str] | None = None, *, ready: int = 1, selector: dict[str, str] | None = None) -> None:
        template = {"nodeSelector": selector or {}, "containers": container(**(wanted or {"neuron": "1"}))}
        body = {"replicas": 2, "selector": {"matchLabels": {"app": "inf2"}}, "template": {"spec": template}}
        obj = {"metadata": {"name": INF2.deployment, "namespace": APP.namespace}, "spec": body, "status": {"readyReplicas": ready}}
        self.give("Deployment", obj)

    def launch(self, name: str, instance_type: str, at: float, **labels: str) -> None:
        obj = node_claim(name, "inf2", at, Launched="True", Registered="True", Initialized="True")
        obj["metadata"]["labels"] |= {"node.kubernetes.io/instance-type": instance_type, **labels}
        self.give("NodeClaim", obj)

    def snapshot(self) -> Snapshot:
        return SnapshotBuilder(self.view, [APP]).build(APP, self.clock.now(), FRESH, ExternalSignals(), leader=True, epoch=1)

    def types(self) -> tuple[str, ...]:
        return allowed_offerings(INF2, self.snapshot().units[INF2.name]).instance_types


# --- which types count ---


def test_cores_are_counted_by_the_device() -> None:
    """Trainium2 has four as the device plugin counts them, Inferentia2 two: a pod with four takes one device, or two."""
    needs = needs_of({"containers": container(cores="4")})
    assert needs.fit("trn2.3xlarge")
    assert not needs.fit("inf2.xlarge")
    assert (needs.pods_on("trn2.48xlarge"), needs.pods_on("inf2.48xlarge")) == (16, 6)


@pytest.mark.parametrize(
    ("selector", "wanted", "types"),
    [
        pytest.param({}, {"neuron": "1"}, {"inf2.xlarge", "inf2.8xlarge", "inf2.24xlarge", "inf2.48xlarge"}, id="the whole family"),
        pytest.param({}, {"neuron": "2"}, {"inf2.24xlarge", "inf2.48xlarge"}, id="two devices"),
        pytest.param({}, {"cores": "4"}, {"inf2.24xlarge", "inf2.48xlarge"}, id="four cores are two devices"),
        pytest.param({}, {"neuron": "1", "cpu": "4"}, {"inf2.8xlarge", "inf2.24xlarge", "inf2.48xlarge"}, id="all processors"),
        pytest.param({}, {"neuron": "1", "memory": "100Gi"}, {"inf2.8xlarge", "inf2.24xlarge", "inf2.48xlarge"}, id="much memory"),
        pytest.param({"karpenter.k8s.aws/instance-size": "8xlarge"}, {"neuron": "1"}, {"inf2.8xlarge"}, id="the pods pin a size"),
        pytest.param({"node.kubernetes.io/instance-type": "inf2.xlarge"}, {"neuron": "1"}, {"inf2.xlarge"}, id="the pods pin a type"),
        pytest.param({}, {"cpu": "1"}, {"inf2.xlarge", "inf2.8xlarge", "inf2.24xlarge", "inf2.48xlarge"}, id="no accelerator is requested"),
    ],
)
def test_a_family_stands_for_every_type_that_the_pods_fit_on(selector: dict[str, str], wanted: dict[str, str], types: set[str]) -> None:
    """The NodePool allows the family; the Deployment says what its pods need."""
    cluster = Cluster()
    cluster.pool(requirement(FAMILY, "inf2"))
    cluster.deployment(wanted, selector=selector)
    assert set(cluster.types()) == types


@pytest.mark.parametrize(("gpu", "families"), [("a10g", {"g5"}), ("l4", {"g6", "gr6"}), ("", {"g5", "g6", "gr6"})])
def test_of_a_pool_of_two_families_each_unit_has_its_own(gpu: str, families: set[str]) -> None:
    """As the AWS sample has it: one NodePool of A10G and L4, and pods that select by the GPU's name."""
    cluster = Cluster()
    cluster.pool(requirement(GPU, "a10g", "l4"))
    cluster.deployment({"gpu": "1"}, selector={GPU: gpu} if gpu else {})
    assert {one.partition(".")[0] for one in cluster.types()} == families


def test_a_type_that_the_catalog_lacks_counts_once_it_was_launched() -> None:
    """Its size is not known, and the NodePool chose it for these pods."""
    cluster = Cluster()
    cluster.pool(requirement(FAMILY, "inf3"))
    cluster.deployment()
    assert cluster.types() == (INF2.instance_type,)
    cluster.launch("inf2-aaaaa", "inf3.xlarge", T0)
    assert "inf3.xlarge" in cluster.types()


def test_types_that_a_claim_named_count_when_it_is_long_gone() -> None:
    """The claims that follow a refusal leave out what EC2 has refused, until Karpenter's cache ends."""
    cluster = Cluster()
    cluster.pool(requirement(FAMILY, "inf3"))
    cluster.deployment()
    cluster.give("NodeClaim", node_claim("inf2-aaaaa", "inf2", T0, types=("inf3.xlarge", "inf3.8xlarge")))
    cluster.give("NodeClaim", node_claim("inf2-aaaaa", "inf2", T0), "DELETED")
    cluster.clock.advance(4000)
    assert {"inf3.xlarge", "inf3.8xlarge"} <= set(cluster.types())


@pytest.mark.parametrize(
    ("family", "selector", "more"),
    [
        pytest.param("inf2", {}, False, id="a family of the catalog"),
        pytest.param("inf3", {}, True, id="a family that it lacks"),
        pytest.param("inf3", {"node.kubernetes.io/instance-type": "inf3.xlarge"}, False, id="the pods name their type"),
    ],
)
def test_of_a_family_that_the_catalog_lacks_there_may_be_more(family: str, selector: dict[str, str], more: bool) -> None:
    """So nothing is proven by name: EC2 may have a size that nobody has named yet."""
    cluster = Cluster()
    cluster.pool(requirement(FAMILY, family))
    cluster.deployment(selector=selector)
    assert allowed_offerings(INF2, cluster.snapshot().units[INF2.name]).more is more


@pytest.mark.parametrize(
    ("asked", "selector", "listed", "more"),
    [
        pytest.param("karpenter.k8s.aws/instance-gpu-manufacturer", {}, False, True, id="a maker"),
        pytest.param("karpenter.k8s.aws/instance-gpu-manufacturer", {}, True, False, id="a maker, and a claim lists the types"),
        pytest.param("karpenter.k8s.aws/instance-category", {}, False, True, id="a category"),
        pytest.param("karpenter.k8s.aws/instance-category", {FAMILY: "inf2"}, False, False, id="a category, and the pods name a family"),
        pytest.param(
            "karpenter.k8s.aws/instance-category", {FAMILY: "inf3"}, False, True, id="a category, and the pods name an unknown family"
        ),
        pytest.param("karpenter.k8s.aws/instance-category", {FAMILY: "inf3"}, True, True, id="nor does a claim list all of that"),
        pytest.param("", {}, False, True, id="nothing"),
        pytest.param("", {}, True, False, id="nothing, and a claim lists the types"),
    ],
)
def test_what_names_neither_types_nor_families_is_open_until_a_claim_lists_them(
    asked: str, selector: dict[str, str], listed: bool, more: bool
) -> None:
    """After a restart the claims are gone and their events are not: three refused zones of the priced type are no shortage of all types."""
    cluster = Cluster()
    cluster.pool(*([requirement(asked, "inf")] if asked else []))
    cluster.deployment(selector=selector)
    launch = node_claim("inf2-bbbbb", "inf2", T0, types=(), Launched="True")
    launch["metadata"]["labels"]["node.kubernetes.io/instance-type"] = "inf2.xlarge"
    cluster.give("NodeClaim", launch)
    if listed:
        cluster.give("NodeClaim", node_claim("inf2-aaaaa", "inf2", T0, types=("inf2.xlarge",)))
        cluster.give("NodeClaim", node_claim("inf2-aaaaa", "inf2", T0), "DELETED")
    assert allowed_offerings(INF2, cluster.snapshot().units[INF2.name]).more is more


@pytest.mark.parametrize(
    ("selector", "kinds"), [({}, ("on-demand", "spot")), ({"karpenter.sh/capacity-type": "on-demand"}, ("on-demand",))]
)
def test_pods_may_narrow_the_capacity_types_of_their_node_pool(selector: dict[str, str], kinds: tuple[str, ...]) -> None:
    """Pods that require on-demand instances wait for these, whatever else the NodePool launches."""
    cluster = Cluster()
    cluster.pool(requirement("karpenter.sh/capacity-type", "spot", "on-demand"))
    cluster.deployment(selector=selector)
    assert allowed_offerings(INF2, cluster.snapshot().units[INF2.name]).capacity_types == kinds


def test_what_another_maker_makes_does_not_count() -> None:
    """Pods with Neuron devices run on no GPU, whatever the NodePool allows."""
    assert Placement(needs=needs_of({"containers": container(neuron="1")})).among(InstanceFilter(families=("g5",))) == ()


def test_one_alternative_without_a_pin_pins_nothing() -> None:
    """The terms of a node affinity are alternatives."""
    terms = [{"matchExpressions": [requirement(FAMILY, "g5")]}, {"matchExpressions": [requirement("team", "a")]}]
    spec = {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}}
    assert instance_pins(spec) == ()
    del terms[1]
    assert instance_pins(spec) == (InstanceFilter(families=("g5",)),)


# --- what was launched ---


@pytest.mark.parametrize(
    ("instance_type", "ended"),
    [("inf2.24xlarge", True), ("inf2.xlarge", True), ("trn1.2xlarge", False)],
)
def test_a_launch_of_any_type_that_serves_ends_a_refusal(instance_type: str, ended: bool) -> None:
    """Also where the refused NodeClaim was never seen, so that nobody knows which types it left open."""
    cluster = Cluster()
    cluster.pool(requirement(FAMILY, "inf2"))
    cluster.deployment(ready=0)
    labels = {"app": "inf2"}
    cluster.give("Pod", waiting_pod("p1", labels=labels, pools=("inf2",)))
    cluster.give("Event", ice_event("inf2-gone1", T0 - 60))
    assert assess(cluster.snapshot(), Memory(), {})[INF2.name].attempts == 1
    cluster.launch("inf2-bbbbb", instance_type, T0 - 30)
    assert assess(cluster.snapshot(), Memory(), {})[INF2.name].attempts == (0 if ended else 1)


# --- limits ---


@pytest.mark.parametrize(
    ("limits", "used", "said"),
    [
        ({"cpu": "100"}, {"cpu": "96"}, ""),
        ({"cpu": "100"}, {"cpu": "98"}, "the limit of 100 cpu leaves less than the 4 that an inf2.xlarge takes"),
        ({"memory": "160Gi"}, {"memory": "146Gi"}, "the limit of 160Gi memory leaves less than the 15Gi that an inf2.xlarge takes"),
        ({"memory": "160Gi"}, {"memory": "145Gi"}, ""),
        ({"aws.amazon.com/neuron": "3"}, {"aws.amazon.com/neuron": "2"}, ""),
        ({"nodes": "3"}, {"nodes": "2"}, ""),
        ({"cpu": "many"}, {"cpu": "98"}, ""),
        ({"cpu": "100"}, {"cpu": "100"}, "limit of cpu reached: 100 of 100"),
    ],
)
def test_a_limit_is_read_against_what_the_smallest_node_takes(limits: dict[str, str], used: dict[str, str], said: str) -> None:
    """Karpenter launches nothing that would pass a limit, and says so of a pod at most every five minutes."""
    cluster = Cluster()
    cluster.pool(requirement(FAMILY, "inf2"), limits=limits, used=used)
    cluster.deployment()
    assert cluster.snapshot().units[INF2.name].pool.at_limit == said


def test_types_beyond_a_limit_need_no_refusal() -> None:
    """EC2 is never asked for them; one that was launched under the limit counts all the same."""
    cluster = Cluster()
    cluster.pool(requirement(FAMILY, "inf2"), limits={"cpu": "100"}, used={"cpu": "60"})
    cluster.deployment()
    allowed = allowed_offerings(INF2, cluster.snapshot().units[INF2.name])
    assert {one for one, _ in allowed.asked_for} == {"inf2.xlarge", "inf2.8xlarge"}
    assert allowed.concerns(("inf2.24xlarge",), ())


# --- prices ---


def priced(cluster: Cluster) -> float:
    """What a replica of the unit costs now."""
    return cluster.snapshot().application.unit(INF2.name).price_per_hour


def test_replicas_cost_what_their_nodes_cost() -> None:
    """In the proportion of EC2's prices, each its share of the node; the configured price where a type is not known."""
    cluster = Cluster()
    cluster.pool(requirement(FAMILY, "inf2"))
    cluster.deployment()
    assert priced(cluster) == INF2.price_per_hour
    cluster.launch("inf2-aaaaa", "inf2.xlarge", T0)
    assert priced(cluster) == INF2.price_per_hour
    cluster.launch("inf2-bbbbb", "inf2.24xlarge", T0)
    large = INF2.price_per_hour * 6.4906 / 6 / 0.7582
    assert priced(cluster) == pytest.approx((INF2.price_per_hour + 6 * large) / 7, rel=1e-5)
    note = cluster.snapshot().units[INF2.name].notes[-1]
    assert note.startswith("runs on 1 inf2.24xlarge: a replica costs $1.0")


def test_replicas_on_nodes_that_are_not_known_cost_the_configured_price() -> None:
    """A type without a price says nothing either."""
    cluster = Cluster()
    cluster.pool(requirement(FAMILY, "inf2"))
    cluster.deployment(ready=3)
    cluster.launch("inf2-aaaaa", "inf2.8xlarge", T0)
    assert priced(cluster) == pytest.approx(INF2.price_per_hour * (1.9679 / 0.7582 + 2) / 3, rel=1e-5)
    cluster = Cluster()
    cluster.pool(requirement(FAMILY, "inf3"))
    cluster.deployment()
    cluster.launch("inf2-aaaaa", "inf3.xlarge", T0)
    assert priced(cluster) == INF2.price_per_hour
    assert "whose price is not known" in cluster.snapshot().units[INF2.name].notes[-1]


def test_a_node_that_is_gone_costs_nothing() -> None:
    """Its type no longer counts, and the application is decided again."""
    cluster = Cluster()
    cluster.pool(requirement(FAMILY, "inf2"))
    cluster.deployment()
    cluster.launch("inf2-aaaaa", "inf2.8xlarge", T0)
    assert priced(cluster) > INF2.price_per_hour
    cluster.give("NodeClaim", node_claim("inf2-aaaaa", "inf2", T0), "DELETED")
    assert priced(cluster) == INF2.price_per_hour


def test_returned_with_a_node_of_another_size() -> None:
    """A larger size that joined proves the return of a unit that was short."""
    cluster = Cluster()
    cluster.pool(requirement(FAMILY, "inf2"))
    cluster.deployment(ready=1)
    memory = Memory(units={INF2.name: UnitMemory(last_failure_at=T0 - 600, cause=Cause.CAPACITY)})
    cluster.launch("inf2-aaaaa", "inf2.24xlarge", T0 - 100)
    assert assess(cluster.snapshot(), memory, {INF2.name: 1})[INF2.name].returned is Return.REGISTERED
