"""Requests are split by the live rule, fail without a target, and are late under overload; and KEDA."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from controller.policy.model import Sample
from controller.service.unit_state import unit_state
from failover_testbed.aws.server import EmulatedAws
from failover_testbed.clocks import ManualClock
from failover_testbed.cluster import manifests
from failover_testbed.cluster.world import Node, Pod, World
from failover_testbed.kube_api import EmulatedKubeApi
from failover_testbed.traffic.keda import Keda
from failover_testbed.traffic.metrics import MetricsPublisher
from failover_testbed.traffic.requests import LiveRouting, Split, Traffic, latency_at
from tests.policy.support import change, decide
from tests.support.applications import NOW, application, memory, snapshot

APP = application(namespace="default")
UNIT = {unit.name: unit for unit in APP.units}


class Routing:
    """A live rule and its targets, by hand."""

    def __init__(self) -> None:
        self.split = Split()
        self.targets: dict[str, frozenset[str]] = {}

    def read(self) -> tuple[Split, Mapping[str, frozenset[str]]]:
        return self.split, self.targets


class Names:
    """Target groups are named like their Services here."""

    changes = 0

    def listener(self, key: str) -> str:
        return "listener"

    def service_of(self, target_group: str) -> str:
        return target_group


class Elb:
    """An ELBv2 client that answers from lists."""

    def __init__(self, rules: list[dict[str, Any]]) -> None:
        self.rules, self.asked, self.health = rules, 0, {"10.0.0.1": "healthy"}

    def describe_rules(self, **_: str) -> dict[str, Any]:
        self.asked += 1
        return {"Rules": self.rules}

    def describe_target_health(self, **_: str) -> dict[str, Any]:
        described = [{"Target": {"Id": address}, "TargetHealth": {"State": state}} for address, state in self.health.items()]
        return {"TargetHealthDescriptions": described}


class Account:
    """An account with that client."""

    def __init__(self, rules: list[dict[str, Any]]) -> None:
        self.elb = Elb(rules)

    def client(self, _: str) -> Elb:
        return self.elb


def world() -> World:
    clock = ManualClock(NOW)
    return World(clock, EmulatedKubeApi(clock).store, (APP,), ("us-west-2a",))


def pod(made: World, unit: str, address: str, *, ready: bool = True) -> Pod:
    node = Node(address, "pool", "us-west-2a", "x.xlarge")
    found = Pod(address, address, "default", UNIT[unit], NOW, node=node, ip=address, ready=ready)
    made.pods["default", address] = found
    return found


def traffic(made: World) -> tuple[Traffic, Routing]:
    routing = Routing()
    return Traffic(made, APP, cast("LiveRouting", routing), Names()), routing


def test_weights_split_and_replicas_share() -> None:
    made = world()
    for address in ("a1", "a2"):
        pod(made, "sd21-inf2", address)
    pod(made, "sd21-trn1", "b1")
    subject, routing = traffic(made)
    routing.split = Split({"sd21-inf2": 40, "sd21-trn1": 20, "sd21-g5-cuda": 0})
    routing.targets = {"sd21-inf2": frozenset({"a1", "a2"}), "sd21-trn1": frozenset({"b1"})}
    subject.step(300, 60)
    assert subject.counter("sd21-inf2") == pytest.approx(200)
    assert subject.counter("sd21-trn1") == pytest.approx(100)
    assert subject.units["sd21-inf2"].load == pytest.approx(100 / 105)
    assert subject.shares() == {"sd21-inf2": 67, "sd21-trn1": 33, "sd21-g5-triton": 0, "sd21-g6-triton": 0, "sd21-g5-cuda": 0}
    assert subject.balancer.failed == 0
    assert subject.balancer.requests == pytest.approx(300)


def test_one_target_group_over_all_pods_is_round_robin() -> None:
    made = world()
    pod(made, "sd21-inf2", "a1")
    pod(made, "sd21-g5-cuda", "c1")
    subject, routing = traffic(made)
    routing.split, routing.targets = Split({"sd21-all": 1}), {"sd21-all": frozenset({"a1", "c1"})}
    subject.step(180, 60)
    assert subject.counter("sd21-inf2") == subject.counter("sd21-g5-cuda") == pytest.approx(90)
    assert subject.units["sd21-g5-cuda"].load == pytest.approx(1.5)
    assert subject.units["sd21-g5-cuda"].latency_s == pytest.approx(0.92 * 1.5)
    assert latency_at(UNIT["sd21-inf2"], 1.0) == pytest.approx(0.67)


@pytest.mark.parametrize(("below", "above"), [(0.5, 1.0), (1.0, 1.64), (1.64, 3.0)])
def test_what_is_overloaded_answers_later(below: float, above: float) -> None:
    """In proportion to its load: at 164 % of its throughput, as after a pin to cost in a shortage, an answer takes 1.64 times as long."""
    unit = UNIT["sd21-inf2"]
    assert latency_at(unit, below) < latency_at(unit, above)
    assert latency_at(unit, max(1.0, above)) == pytest.approx(unit.latency_s * above)


class CloudWatch:
    """An account that keeps what is published."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def client(self, _: str) -> CloudWatch:
        return self

    def put_metric_data(self, *, Namespace: str, MetricData: list[dict[str, Any]]) -> None:  # noqa: N803 - as boto3 has it
        assert Namespace
        self.values |= {one["MetricName"]: one["Value"] for one in MetricData}


@pytest.mark.parametrize(("load", "shown"), [(1.0, ("good", "no pod waits")), (1.64, ("warn", "latency 1.10 s over 0.90 s"))])
def test_what_a_harmful_pin_overloads_is_late_in_the_metrics_and_in_status(load: float, shown: tuple[str, str]) -> None:
    """The weights of cost mode give a short unit more than it can serve; its answers pass its limit, which the published latency shows."""
    made, account, name = world(), CloudWatch(), "sd21-inf2"
    pod(made, name, "a1")
    subject, routing = traffic(made)
    routing.split, routing.targets = Split({name: 1}), {name: frozenset({"a1"})}
    balancer = "arn:aws:elasticloadbalancing:us-west-2:123456789012:loadbalancer/app/sd21/0123456789abcdef"
    publisher = MetricsPublisher(cast("EmulatedAws", account), subject, balancer, NOW)
    subject.step(load * UNIT[name].throughput, 60)
    publisher.step(NOW + 120)
    late = change(snapshot(APP), name, latency=Sample(account.values[f"{name}-latency"], NOW))
    assert unit_state(late, decide(memory(), late)[1].evidence[name]) == shown


def test_an_empty_target_group_and_a_fixed_answer_fail_their_share() -> None:
    made = world()
    pod(made, "sd21-inf2", "a1")
    pod(made, "sd21-trn1", "b1", ready=False)
    subject, routing = traffic(made)
    routing.split = Split({"sd21-inf2": 50, "sd21-trn1": 25, "sd21-g5-cuda": 25})
    routing.targets = {"sd21-inf2": frozenset({"a1"}), "sd21-trn1": frozenset({"b1"}), "sd21-g5-cuda": frozenset()}
    subject.step(100, 60)
    assert subject.balancer.failures == {
        "target group of sd21-trn1 has no target that answers": pytest.approx(25),
        "target group of sd21-g5-cuda has no target in service": pytest.approx(25),
    }
    assert subject.balancer.own_5xx == pytest.approx(25)
    assert subject.balancer.target_5xx == pytest.approx(25)
    assert subject.balancer.requests == pytest.approx(75)  # where no target was chosen there is no request
    routing.split = Split(answer="503 Backend service does not exist")
    subject.step(60, 60)
    assert subject.balancer.failures["503 Backend service does not exist"] == pytest.approx(60)


def test_a_pod_that_ends_finishes_what_it_gets() -> None:
    made = world()
    pod(made, "sd21-inf2", "a1").gone_at = NOW + 30
    subject, routing = traffic(made)
    routing.split, routing.targets = Split({"sd21-inf2": 1}), {"sd21-inf2": frozenset({"a1", "unknown"})}
    subject.step(60, 1)
    assert subject.balancer.failed == 0


def rule(priority: str, action: dict[str, Any], *conditions: dict[str, Any]) -> dict[str, Any]:
    return {"Priority": priority, "Actions": [action], "Conditions": list(conditions)}


PATH = {"Field": "path-pattern", "PathPatternConfig": {"Values": ["/*"]}}
HOST = {"Field": "host-header", "HostHeaderConfig": {"Values": ["sd21-inf2.standby.invalid"]}}
FORWARD = {"Type": "forward", "ForwardConfig": {"TargetGroups": [{"TargetGroupArn": "inf2", "Weight": 3}]}}
FIXED = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "503", "MessageBody": "Backend service does not exist"}}


def test_the_live_rule_is_the_first_that_a_request_can_meet_and_is_read_only_after_a_change() -> None:
    account = Account([rule("default", {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}})])
    names = Names()
    subject = LiveRouting(cast("EmulatedAws", account), names, "default/sd21", ManualClock(NOW))
    assert subject.read()[0] == Split(answer="404")
    account.elb.rules = [rule("2", FORWARD, PATH), rule("1", FIXED, HOST, PATH), rule("10", FIXED, PATH)]
    assert subject.read()[0] == Split(answer="404")
    names.changes += 1
    assert subject.read() == (Split({"inf2": 3}), {"inf2": frozenset({"10.0.0.1"})})
    account.elb.rules = [rule("1", FIXED, PATH), rule("2", FORWARD, HOST)]
    names.changes += 1
    assert subject.read()[0] == Split(answer="503 Backend service does not exist")
    assert account.elb.asked == 3


def test_only_healthy_targets_get_requests_and_the_others_are_checked_again() -> None:
    """No target is in service before the first checks; all are if all are unhealthy."""
    account, clock = Account([rule("1", FORWARD, PATH)]), ManualClock(NOW)
    subject = LiveRouting(cast("EmulatedAws", account), Names(), "default/sd21", clock)
    account.elb.health = {"a": "initial", "b": "initial"}
    assert subject.read()[1] == {"inf2": frozenset()}
    account.elb.health = {"a": "healthy", "b": "unhealthy"}
    assert subject.read()[1] == {"inf2": frozenset()}  # not asked again within the second
    for health, expected in (
        ({"a": "healthy", "b": "unhealthy"}, {"a"}),
        ({"a": "unhealthy", "b": "unhealthy"}, {"a", "b"}),
        ({"a": "healthy", "b": "healthy"}, {"a", "b"}),
    ):
        account.elb.health = health
        clock.advance(1)
        assert subject.read()[1] == {"inf2": frozenset(expected)}
    asked = account.elb.asked
    clock.advance(3600)
    subject.read()
    assert account.elb.asked == asked  # all are healthy: only a change causes another read


class TestKeda:
    """Replicas follow the counter, between the bounds that the ScaledObject has now."""

    def start(self, replicas: int = 2) -> tuple[World, Traffic, Keda]:
        made = world()
        unit = UNIT["sd21-inf2"]
        made.store.create("Deployment", manifests.workload(APP, unit, replicas))
        made.store.create("ScaledObject", manifests.scaled_object(APP, unit, unit.throughput))
        subject, _ = traffic(made)
        keda = Keda(made, {APP.key: subject})
        keda.remember(APP, unit, replicas)
        return made, subject, keda

    def after(self, made: World, subject: Traffic, keda: Keda, requests: float, seconds: float = 16) -> int:
        clock = cast("ManualClock", made.clock)
        clock.advance(seconds)
        subject.units["sd21-inf2"].recent.clear()
        subject.units["sd21-inf2"].recent.append((made.now(), requests))
        keda.step()
        return int(made.store.get("Deployment", "sd21-inf2")["spec"]["replicas"])

    def test_up_at_once_and_down_after_five_minutes(self) -> None:
        made, subject, keda = self.start()
        assert self.after(made, subject, keda, 106, 10) == 2  # not yet due
        assert self.after(made, subject, keda, 316) == 4
        assert [self.after(made, subject, keda, 100, 60) for _ in range(6)] == [4, 4, 4, 4, 4, 1]

    def test_up_after_the_window_of_the_scaled_object(self) -> None:
        """Of its HPA: `behavior.scaleUp.stabilizationWindowSeconds`."""
        made, subject, keda = self.start()
        advanced = {"horizontalPodAutoscalerConfig": {"behavior": {"scaleUp": {"stabilizationWindowSeconds": 180}}}}
        made.store.patch("ScaledObject", "sd21-inf2-hpa", {"spec": {"advanced": advanced}})
        assert [self.after(made, subject, keda, 316, 60) for _ in range(4)] == [2, 2, 2, 4]

    @pytest.mark.parametrize("seconds", [-1, 3601])
    def test_a_window_that_kubernetes_refuses_is_none(self, seconds: int) -> None:
        """As with `scaleDown`."""
        made, subject, keda = self.start()
        advanced = {"horizontalPodAutoscalerConfig": {"behavior": {"scaleUp": {"stabilizationWindowSeconds": seconds}}}}
        made.store.patch("ScaledObject", "sd21-inf2-hpa", {"spec": {"advanced": advanced}})
        assert self.after(made, subject, keda, 316) == 4

    def test_present_bounds_and_target_count(self) -> None:
        made, subject, keda = self.start()
        made.store.patch("ScaledObject", "sd21-inf2-hpa", {"spec": {"minReplicaCount": 5}})
        assert self.after(made, subject, keda, 0) == 5
        made.store.patch("ScaledObject", "sd21-inf2-hpa", {"spec": {"maxReplicaCount": 6}})
        assert self.after(made, subject, keda, 10_000) == 6
        change = [{"op": "replace", "path": "/spec/triggers/0/metadata/targetMetricValue", "value": "1000"}]
        made.store.patch("ScaledObject", "sd21-inf2-hpa", change)
        made.store.patch("ScaledObject", "sd21-inf2-hpa", {"spec": {"minReplicaCount": 1}})
        assert self.after(made, subject, keda, 1500, 400) == 2

    @pytest.mark.parametrize(
        ("annotations", "wanted"),
        [
            pytest.param({"paused": "true"}, 2, id="as it is"),
            pytest.param({"paused": "1"}, 2, id="in another spelling"),
            pytest.param({"paused": "false"}, 20, id="not at all"),
            pytest.param({"paused-replicas": "3"}, 3, id="at a number"),
            pytest.param({"paused-scale-out": "true"}, 2, id="not up"),
        ],
    )
    def test_a_paused_one(self, annotations: dict[str, str], wanted: int) -> None:
        """As KEDA reads the annotations. In three periods two replicas may become 6, 12 and 20."""
        made, subject, keda = self.start()
        named = {f"autoscaling.keda.sh/{name}": value for name, value in annotations.items()}
        made.store.patch("ScaledObject", "sd21-inf2-hpa", {"metadata": {"annotations": named}, "spec": {"maxReplicaCount": 20}})
        for _ in range(2):
            self.after(made, subject, keda, 10_000)
        assert self.after(made, subject, keda, 10_000) == wanted

    @pytest.mark.parametrize(("value", "wanted"), [("true", 20), ("false", 1)])
    def test_nothing_goes_where_scale_in_is_paused(self, value: str, wanted: int) -> None:
        """The HPA is still there, and adds replicas."""
        made, subject, keda = self.start()
        named = {"autoscaling.keda.sh/paused-scale-in": value}
        made.store.patch("ScaledObject", "sd21-inf2-hpa", {"metadata": {"annotations": named}, "spec": {"maxReplicaCount": 20}})
        for _ in range(3):
            self.after(made, subject, keda, 10_000)
        assert [self.after(made, subject, keda, 100, 60) for _ in range(6)] == [20, 20, 20, 20, 20, wanted]

    def test_a_floor_counts_where_growth_is_paused(self) -> None:
        """The HPA is still there, and its floor goes before its behavior."""
        made, subject, keda = self.start()
        named = {"autoscaling.keda.sh/paused-scale-out": "true"}
        made.store.patch("ScaledObject", "sd21-inf2-hpa", {"metadata": {"annotations": named}, "spec": {"minReplicaCount": 4}})
        assert self.after(made, subject, keda, 10_000) == 4
