"""One application's snapshot: each field from where it belongs, unknown kept apart from none."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pytest

from controller.clock import format_rfc3339
from controller.policy.model import Application, Backend, OpenGates, Reservation, Route, Sample, Snapshot, Source, Verdict, Verification
from controller.signals.cluster import ClusterView
from controller.signals.snapshots import ExternalSignals, SnapshotBuilder
from failover_testbed.clocks import ManualClock
from tests.signals.samples import KINDS, ice_event, node_claim, waiting_pod
from tests.support.applications import NOW, application

APP = application()
FRESH = tuple(Source(name, False, NOW, 180.0) for name in ("services", "target-group-bindings"))


class World:
    """A view to fill."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW)
        self.view = ClusterView(self.clock, lambda: None)

    def give(self, kind: str, name: str, *, namespace: str = "shop", **body: Any) -> None:
        metadata = {"name": name, "namespace": namespace, **body.pop("metadata", {})}
        self.view.changed(KINDS[kind], None, "ADDED", {"metadata": metadata, **body})

    def slice(self, service: str, count: int) -> None:
        endpoints = [{"addresses": [f"10.0.0.{number}"]} for number in range(count)]
        self.give("EndpointSlice", f"{service}-x", metadata={"labels": {"kubernetes.io/service-name": service}}, endpoints=endpoints)

    def build(self, app: Application = APP, sources: tuple[Source, ...] = FRESH, external: ExternalSignals | None = None) -> Snapshot:
        return SnapshotBuilder(self.view, [app]).build(app, NOW, sources, external or ExternalSignals(), leader=False, epoch=4)


@pytest.fixture
def world() -> World:
    """An empty one."""
    return World()


def test_an_empty_cluster(world: World) -> None:
    """Nothing is made up: every count is unknown, not zero. A Service that is not among those that were listed does not exist."""
    snapshot = world.build()
    assert (snapshot.now, snapshot.leader, snapshot.epoch, snapshot.routing.exists) == (NOW, False, 4, False)
    assert list(snapshot.units) == [unit.name for unit in APP.units]
    for unit in snapshot.units.values():
        assert (unit.desired, unit.ready, unit.deployment_ready, unit.endpoints_ready, unit.scaler) == (None,) * 5
        assert unit.service_exists is False
        assert (unit.pending, unit.pool.problem, unit.demand, unit.latency) == ((), "not known", None, None)
    assert (snapshot.error_ratio, snapshot.routing.capacity_ready, snapshot.routing.verification) == (None, None, None)


@pytest.mark.parametrize(
    ("deployment", "endpoints", "ready"), [(None, None, None), (3, None, 3), (None, 2, 2), (3, 2, 2), (2, 3, 2), (0, 3, 0), (3, 0, 0)]
)
def test_ready_is_the_smaller_of_what_is_known(deployment: int | None, endpoints: int | None, ready: int | None, world: World) -> None:
    """A Deployment counts pods that the Service may not reach yet, endpoints may be late after a crash: neither is trusted alone."""
    if deployment is not None:
        world.give("Deployment", "sd21-inf2", spec={"replicas": 5}, status={"readyReplicas": deployment})
    if endpoints is not None:
        world.slice("sd21-inf2", endpoints)
    unit = world.build().units["sd21-inf2"]
    assert (unit.ready, unit.deployment_ready, unit.endpoints_ready) == (ready, deployment, endpoints)


def test_services_exist_by_their_port_literal(world: World) -> None:
    """A Service without the port that the action names would break the whole Ingress: it counts as missing, as one that is not listed."""
    world.give("Service", "sd21-inf2", spec={"ports": [{"port": 80}]})
    world.give("Service", "sd21-trn1", spec={"ports": [{"port": 8000, "name": "http"}]})
    world.give("Service", "sd21-all", spec={"ports": [{"port": 8000, "name": "http"}]})
    snapshot = world.build()
    found = {name: unit.service_exists for name, unit in snapshot.units.items()}
    assert (found["sd21-inf2"], found["sd21-trn1"], found["sd21-g5-cuda"]) == (True, False, False)
    assert snapshot.routing.capacity_exists is False
    assert world.build(replace(APP, capacity=Backend("sd21-all", "http"))).routing.capacity_exists is True


def test_stickiness_of_target_groups_is_the_services_own_or_else_the_ingresss(world: World) -> None:
    """The load-balancer controller merges annotations by key: that of the Service replaces the Ingress's, also where it is empty."""
    key = "alb.ingress.kubernetes.io/target-group-attributes"
    world.give("Ingress", "sd21", metadata={"annotations": {key: "deregistration_delay.timeout_seconds=90, stickiness.enabled = true"}})
    world.give("Service", "sd21-inf2", metadata={"annotations": {key: "stickiness.enabled=false"}})
    world.give("Service", "sd21-trn1", metadata={"annotations": {key: ""}})
    world.give("Service", "sd21-all")
    assert world.build().routing.sticky == tuple(one for one in APP.services if one not in {"sd21-inf2", "sd21-trn1"})
    world.give("Ingress", "sd21")
    world.give("Service", "sd21-inf2", metadata={"annotations": {key: "stickiness.enabled=true,stickiness.lb_cookie.duration_seconds=60"}})
    assert world.build().routing.sticky == ("sd21-inf2",)


def test_a_missing_capacity_service_is_known_only_where_services_are_seen(world: World) -> None:
    """Absent and never listed are "cannot tell"."""
    absent = replace(FRESH[0], absent=True)
    never = replace(FRESH[0], last_ok=None)
    assert world.build().routing.capacity_exists is False
    assert [world.build(sources=(source,)).routing.capacity_exists for source in (absent, never)] == [None, None]


def _floor(manager: str, floor: int) -> dict[str, Any]:
    """A ScaledObject whose floor somebody has set."""
    owned = {"manager": manager, "time": "2026-08-01T00:00:00Z", "fieldsV1": {"f:spec": {"f:minReplicaCount": {}}}}
    return {"metadata": {"managedFields": [owned]}, "spec": {"minReplicaCount": floor}}


def test_floors_of_ours_that_no_unit_names_are_known_by_scaled_object(world: World) -> None:
    """Of the application's namespace; not those that another application names, nor those of other writers."""
    keda, own = Source("keda", False, NOW, 180.0), APP.units[0].scaled_object or ""
    for name, manager in (("gone", "failoverctl"), ("theirs", "argocd"), (own, "failoverctl")):
        world.give("ScaledObject", name, **_floor(manager, 6))
    world.give("ScaledObject", "elsewhere", namespace="other", **_floor("failoverctl", 6))
    assert world.build(sources=(keda,)).left == {"gone": 6}
    unnamed = replace(APP, units=APP.units[1:])
    assert world.build(unnamed, (keda,)).left == {"gone": 6, own: 6}, "it was known before its unit was removed"
    world.give("ScaledObject", "gone", **_floor("kubectl-patch", 2))
    assert world.build(unnamed, (keda,)).left == {own: 6}
    world.view.changed(KINDS["ScaledObject"], None, "DELETED", {"metadata": {"name": own, "namespace": "shop"}})
    assert world.build(unnamed, (keda,)).left == {}
    for source in (replace(keda, absent=True), replace(keda, last_ok=None)):
        assert world.build(sources=(source,)).left is None, "not known"


@pytest.mark.parametrize(
    "spec", [None, [], "x", {}, {"serviceRef": None}, {"serviceRef": []}, {"serviceRef": {}}, {"serviceRef": {"name": 5}}]
)
def test_a_binding_of_any_shape_binds_nothing(spec: Any, world: World) -> None:
    """Without a Service's name it is left out; it must not stop the pass."""
    world.give("TargetGroupBinding", "b", spec=spec)
    world.give("TargetGroupBinding", "c")
    assert world.build().routing.bound == ()


def test_bound_services(world: World) -> None:
    """Each of the application's own Services once; not those of others in its namespace; unknown where bindings cannot be seen."""
    found = (
        ("a", "sd21-all", "shop"),
        ("b", "sd21-all", "shop"),
        ("c", "x", "shop"),
        ("d", "sd21-inf2", "other"),
        ("e", "sd21-trn1", "shop"),
    )
    for name, service, namespace in found:
        world.give("TargetGroupBinding", name, namespace=namespace, spec={"serviceRef": {"name": service, "port": 80}})
    world.give("TargetGroupBinding", "f", namespace="shop", spec={"serviceRef": {"name": "sd21-g5-cuda", "port": "http"}})
    assert world.build().routing.bound == ("sd21-all", "sd21-trn1"), "another port is another target group"
    assert world.build(sources=()).routing.bound is None


def test_pods_of_a_pool_that_another_application_shares() -> None:
    """Whose a bare pod is depends on all applications of the namespace, not on the one asked about."""
    world = World()
    other = replace(APP, name="other", route=Route("other", "live"), units=APP.units[:1])
    elsewhere = application(namespace="elsewhere")
    world.view.changed(KINDS["Pod"], None, "ADDED", waiting_pod("p", pools=("inf2",)))
    alone = SnapshotBuilder(world.view, [APP, elsewhere]).build(APP, NOW, FRESH, ExternalSignals(), leader=True, epoch=1)
    shared = SnapshotBuilder(world.view, [APP, other]).build(APP, NOW, FRESH, ExternalSignals(), leader=True, epoch=1)
    assert [pod.name for pod in alone.units["sd21-inf2"].pending] == ["p"]
    assert shared.units["sd21-inf2"].pending == ()


def test_a_pod_whose_node_is_on_its_way_makes_no_other_demand_older(world: World) -> None:
    """A node that takes minutes to boot would make the next pod's demand as old, and its first refusals a shortage by age."""
    claim = node_claim("inf2-aaaaa", "inf2", NOW - 295, Launched=format_rfc3339(NOW - 290))
    world.view.changed(KINDS["NodeClaim"], None, "ADDED", claim)
    for name, age in (("first", 300), ("second", 20)):
        world.view.changed(KINDS["Pod"], None, "ADDED", waiting_pod(name, pools=("inf2",), since=format_rfc3339(NOW - age)))
    unit = world.build().units["sd21-inf2"]
    assert [pod.name for pod in unit.pending] == ["first", "second"]
    assert unit.waiting_since == NOW - 20


def test_a_node_for_the_pods_of_another_application_hides_no_shortage(world: World) -> None:
    """Both wait for one NodePool, and EC2 gives one instance. Karpenter says which pod has no place, and names no NodePool by that."""
    claim = node_claim("inf2-aaaaa", "inf2", NOW - 95, Launched=format_rfc3339(NOW - 90))
    world.view.changed(KINDS["NodeClaim"], None, "ADDED", claim)
    world.view.changed(KINDS["Pod"], None, "ADDED", waiting_pod("ours", pools=("inf2",), since=format_rfc3339(NOW - 80)))
    assert world.build().units["sd21-inf2"].waiting_since is None
    about = {"kind": "Pod", "name": "ours", "namespace": "shop"}
    said: dict[str, Any] = {"involvedObject": about, "reason": "FailedScheduling", "source": {"component": "karpenter"}}
    other = "incompatible requirements, key karpenter.sh/nodepool, karpenter.sh/nodepool In [inf2] not in karpenter.sh/nodepool In [trn1]"
    said |= {"message": f"Failed to schedule pod, {other}", "lastTimestamp": format_rfc3339(NOW - 40)}
    world.give("Event", "ours.1", **said)
    unit = world.build().units["sd21-inf2"]
    assert (unit.waiting_since, [pod.unplaced_at for pod in unit.pending], unit.pending[0].unavailable) == (NOW - 80, [NOW - 40], ())


def test_pools_are_each_units_own(world: World) -> None:
    """Two units on one pool see the same of it, the others nothing of it."""
    world.view.changed(KINDS["NodeClaim"], None, "ADDED", node_claim("g5-aaaaa", "g5", NOW))
    world.view.changed(KINDS["Event"], None, "ADDED", ice_event("g5-aaaaa", NOW))
    units = world.build().units
    assert {name for name, unit in units.items() if unit.pool.failures} == {"sd21-g5-triton", "sd21-g5-cuda"}


class Metrics:
    """Numbers that tell where they came from."""

    def demand(self, application: str, unit: str) -> Sample | None:
        return Sample(len(application), NOW) if unit == "sd21-inf2" else None

    def latency(self, application: str, unit: str) -> Sample | None:
        return Sample(0.5, NOW) if unit == "sd21-inf2" else None

    def error_ratio(self, application: str) -> Sample | None:
        return Sample(0.25, NOW)


class Capacity:
    """Zones and notes that tell where they came from."""

    def offered_zones(self, instance_type: str) -> tuple[str, ...]:
        return (f"zone-of-{instance_type}",)

    def reservations(self, _instance_types: Collection[str]) -> tuple[Reservation, ...] | None:
        return (Reservation("cr-1", "inf2.xlarge", "us-west-2a", 1, 1),)

    def blocks(self, _instance_types: Collection[str]) -> tuple[Reservation, ...]:
        return (Reservation("cr-2", "inf2.xlarge", "us-west-2a", block=True, ends_at=NOW + 3600),)

    def notes(self, instance_type: str) -> tuple[str, ...]:
        return (f"note on {instance_type}",)


def test_what_is_known_from_outside(world: World) -> None:
    """Metrics by application and unit, capacity by instance type, the verification as it is."""
    verification = Verification(Verdict.NOT_YET, NOW, "late", "x")
    world.give("Ingress", "sd21")
    snapshot = world.build(external=ExternalSignals(Metrics(), Capacity(), verification))
    unit = snapshot.units["sd21-inf2"]
    assert (unit.demand, unit.latency) == (Sample(len("shop/sd21"), NOW), Sample(0.5, NOW))
    assert (unit.offered_zones, unit.notes) == (("zone-of-inf2.xlarge",), ("note on inf2.xlarge",))
    assert (snapshot.units["sd21-trn1"].demand, snapshot.error_ratio) == (None, Sample(0.25, NOW))
    assert snapshot.routing.verification is verification


class TestTargets:
    """What the load balancer's targets were counted to be, and what the readiness gates of pods say."""

    SERVICE = "sd21-all"

    def bind(self, world: World, arn: str = "arn:1", created: float = NOW - 600, kind: str = "ADDED") -> None:
        """A target group of the capacity Service."""
        metadata = {"name": "k8s-all", "namespace": "shop", "creationTimestamp": format_rfc3339(created)}
        spec = {"serviceRef": {"name": self.SERVICE, "port": 80}, "targetGroupARN": arn}
        world.view.changed(KINDS["TargetGroupBinding"], None, kind, {"metadata": metadata, "spec": spec})

    def pods(self, world: World, *opened: float | None, binding: str = "k8s-all") -> None:
        """Ready pods of the Service, with a gate that became true at that time; None: without one."""
        endpoints = [
            {"addresses": [f"10.0.0.{n}"], "targetRef": {"kind": "Pod", "name": f"pod-{n}"}, "conditions": {"ready": True}}
            for n, _ in enumerate(opened)
        ]
        world.give("EndpointSlice", "all-x", metadata={"labels": {"kubernetes.io/service-name": self.SERVICE}}, endpoints=endpoints)
        for n, at in enumerate(opened):
            gate = {"type": f"target-health.elbv2.k8s.aws/{binding}", "status": "True"}
            conditions = [] if at is None else [{**gate, "lastTransitionTime": format_rfc3339(at)}]
            world.give("Pod", f"pod-{n}", spec={"nodeName": "node"}, status={"phase": "Running", "conditions": conditions})

    def test_open_gates_are_counted(self, world: World) -> None:
        """Those of ready pods, apart from those that opened after the targets were counted."""
        self.bind(world)
        self.pods(world, NOW - 300, NOW - 20, None)
        world.give("Pod", "gone", status={"conditions": [{"type": "target-health.elbv2.k8s.aws/k8s-all", "status": "True"}]})
        seen = Verification(Verdict.YES, NOW - 60, healthy={self.SERVICE: 1})
        assert world.build(external=ExternalSignals(verification=seen)).routing.gates == {self.SERVICE: OpenGates(2, 1)}
        assert world.build().routing.gates == {self.SERVICE: OpenGates(2, 2)}

    def test_a_gate_says_nothing_of_a_target_group_that_is_younger(self, world: World) -> None:
        """A target group that is made again has the same gates, which stay true until the load-balancer controller comes by."""
        self.bind(world, created=NOW - 10)
        self.pods(world, NOW - 300)
        assert world.build().routing.gates == {}
        self.pods(world, NOW - 5)
        assert world.build().routing.gates == {self.SERVICE: OpenGates(1, 1)}

    def test_a_gate_for_another_target_group_does_not_count(self, world: World) -> None:
        """Pods that were made before the standby rule have only that of their unit."""
        self.bind(world)
        self.pods(world, NOW - 300, binding="k8s-inf2")
        assert world.build().routing.gates == {}

    def test_closed_gates_are_forgotten(self, world: World) -> None:
        """With their pods as well."""
        self.bind(world)
        self.pods(world, NOW - 300)
        world.view.listed(KINDS["Pod"], "shop", [])
        assert world.build().routing.gates == {}

    def test_a_count_is_of_the_target_groups_that_are_there(self, world: World) -> None:
        """A standby rule was removed and added again: what was counted before says nothing."""
        seen = Verification(
            Verdict.YES, NOW, healthy={self.SERVICE: 2}, counted={self.SERVICE: 2, "other": 1}, groups={self.SERVICE: ("arn:1",)}
        )
        external = ExternalSignals(verification=seen)
        self.bind(world)
        found = world.build(external=external).routing.verification
        assert found is not None
        assert (found.healthy, found.counted) == ({self.SERVICE: 2}, {self.SERVICE: 2, "other": 1})
        self.bind(world, "arn:2", kind="MODIFIED")
        found = world.build(external=external).routing.verification
        assert found is not None
        assert (found.healthy, found.counted) == ({}, {"other": 1})


@pytest.mark.parametrize(("ahead_s", "block", "free"), [(2399, True, 0), (2400, True, 0), (2401, True, 1), (600, False, 1)])
def test_a_block_that_is_being_drained_has_nothing_free(ahead_s: float, block: bool, free: int, world: World) -> None:
    """Karpenter launches nothing into it from 40 minutes before its end on."""

    class Blocks(Capacity):
        def reservations(self, _instance_types: Collection[str]) -> tuple[Reservation, ...] | None:
            return (Reservation("cr-1", "inf2.xlarge", "us-west-2a", 1, 1, block=block, ends_at=NOW + ahead_s),)

    unit = world.build(external=ExternalSignals(capacity=Blocks())).units["sd21-inf2"]
    assert [one.free for one in unit.reservations or ()] == [free]


def test_reservations_are_unknown_until_ec2_is_asked_and_end_by_our_clock(world: World) -> None:
    """A clock that is ten minutes ahead reads the end of a block ten minutes later; one without an end has none."""
    world.give("Ingress", "sd21")
    assert world.build().units["sd21-inf2"].reservations is None
    for number in range(3):
        world.clock.advance(10)
        world.view.time.delivered(NOW - 600 + 10 * (number + 1))
    unit = world.build(external=ExternalSignals(capacity=Capacity())).units["sd21-inf2"]
    assert [one.ends_at for one in unit.reservations or ()] == [None]
    assert [one.ends_at for one in unit.blocks] == [NOW + 4200]
