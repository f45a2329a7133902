"""The whole controller with a route of the Gateway API in the place of an Ingress."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from controller.policy.model import Mode
from controller.ports import MessageKind
from controller.routing.annotations import MARKER
from controller.service.wiring import Service
from failover_harness.waiting import wait_for
from failover_testbed.clocks import AcceleratedClock
from failover_testbed.cluster.roles import CONTROLLER
from failover_testbed.kube_api import Identity
from tests.support.applications import SERVICES
from tests.support.cluster import NAMESPACE, Cluster, Collector, make_service, running

SHORT_WAITS = {"holdMinSeconds": 30, "holdMaxSeconds": 30, "quietSeconds": 60, "dwellCapacitySeconds": 30}


@pytest.fixture(params=["HTTPRoute", "GRPCRoute"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A healthy application behind a Gateway; a second of the machine is twenty of the cluster."""
    made = Cluster(AcceleratedClock(20), routing=request.param)
    yield made
    made.close()


@pytest.fixture
def apart() -> Iterator[Cluster]:
    """The same, with the Gateway and the route in another namespace than the Services."""
    made = Cluster(AcceleratedClock(20), routing="HTTPRoute", routed_in="gateways")
    yield made
    made.close()


def _backends(cluster: Cluster, rule: int = 0) -> dict[str, int]:
    return {one["name"]: one["weight"] for one in cluster.routed()["spec"]["rules"][rule]["backendRefs"]}


def _reasons(service: Service) -> list[str]:
    return [str(view.decision.reason) for view in service.controller.views()]


def _changes(service: Service) -> list[str]:
    """The reasons of the mode changes that the controller remembers."""
    return [str(change.reason) for view in service.controller.views() for change in view.memory.mode_changes]


def _fail_over(cluster: Cluster) -> None:
    cluster.pend("sd21-inf2", 2)
    cluster.refuse("inf2", "inf2.xlarge")
    wait_for("capacity mode", lambda: cluster.mode() == "capacity")
    cluster.reconciled()


def test_it_fails_over_and_falls_back_by_one_patch_each_way(cluster: Cluster, tmp_path: Path) -> None:
    """The main rule's backends and the mode change together. The standby rules stay, and the events are on the route."""
    collector, before = Collector(), cluster.routed()["spec"]["rules"][1:]
    with running(make_service(cluster, tmp_path, policy=SHORT_WAITS, sinks=(collector,))) as service:
        wait_for("the first decision", lambda: bool(service.controller.views()))
        _fail_over(cluster)
        assert _backends(cluster) == {"sd21-all": 1}
        cluster.launch("inf2", "inf2.xlarge")
        cluster.schedule_all("sd21-inf2")
        wait_for("cost mode", lambda: cluster.mode() == "cost")
        assert set(_backends(cluster)) == set(SERVICES)
        wait_for("both messages", lambda: len([m for m in collector.messages if m.kind is not MessageKind.ALERT]) >= 2)
    assert cluster.routed()["spec"]["rules"][1:] == before
    assert len(cluster.patches(f"{cluster.routing.lower()}s")) == 2
    kinds = [(m.kind, m.reason) for m in collector.messages if m.kind in {MessageKind.FAILOVER, MessageKind.FALLBACK}]
    assert kinds == [(MessageKind.FAILOVER, "ShortageProven"), (MessageKind.FALLBACK, "ReturnProven")]
    assert {"ShortageProven", "ReturnProven"} <= set(cluster.events())


def test_a_rule_that_somebody_adds_in_the_middle_survives(cluster: Cluster, tmp_path: Path) -> None:
    """Before ours, so that ours has another index: the patch names the version that it was made for, and the next one the new index."""
    theirs = {"name": "theirs", "backendRefs": [{"name": "other", "port": 80, "weight": 7}]}
    with running(make_service(cluster, tmp_path)) as service:
        wait_for("the first decision", lambda: bool(service.controller.views()))
        rules = [theirs, *cluster.routed()["spec"]["rules"]]
        cluster.store.patch(cluster.routing, "sd21", {"spec": {"rules": rules}}, namespace=NAMESPACE, manager="person")
        _fail_over(cluster)
    assert _backends(cluster, 0) == {"other": 7}
    assert _backends(cluster, 1) == {"sd21-all": 1}


def test_a_foreign_edit_of_the_weights_is_undone(cluster: Cluster, tmp_path: Path) -> None:
    """As on an Ingress: what the controller wrote is restored, and who wrote in between is named."""
    collector = Collector()
    with running(make_service(cluster, tmp_path, sinks=(collector,))) as service:
        wait_for("the first decision", lambda: bool(service.controller.views()))
        _fail_over(cluster)
        rules = json.loads(json.dumps(cluster.routed()["spec"]["rules"]))
        rules[0]["backendRefs"] = [{"name": SERVICES[0], "port": 80, "weight": 999}]
        cluster.store.patch(cluster.routing, "sd21", {"spec": {"rules": rules}}, namespace=NAMESPACE, manager="intruder")
        wait_for("the action is restored", lambda: _backends(cluster) == {"sd21-all": 1})
    assert cluster.mode() == "capacity"
    assert any("intruder" in f"{m.title} {m.why}" for m in collector.messages)


def test_a_route_that_is_not_accepted_is_not_switched(cluster: Cluster, tmp_path: Path) -> None:
    """The mode change is held with the load-balancer controller's words. It comes once all is well."""
    cluster.reconciled(Accepted=("False", "IncompatibleFilters"))
    with running(make_service(cluster, tmp_path)) as service:
        wait_for("the first decision", lambda: bool(service.controller.views()))
        cluster.pend("sd21-inf2", 2)
        cluster.refuse("inf2", "inf2.xlarge")
        wait_for("the hold", lambda: "RoutingBlocked" in _reasons(service))
        assert MARKER not in cluster.routed()["metadata"].get("annotations", {})
        cluster.reconciled()
        wait_for("capacity mode", lambda: cluster.mode() == "capacity")


def test_a_reference_that_is_not_resolved_holds_no_change_to_services_that_exist(cluster: Cluster, tmp_path: Path) -> None:
    """A standby rule names a unit's Service that is gone: the references stay unresolved until it is back, and that unit gets nothing."""
    cluster.store.delete("Service", SERVICES[1], namespace=NAMESPACE)
    cluster.reconciled(ResolvedRefs=("False", "BackendNotFound"))
    collector = Collector()
    with running(make_service(cluster, tmp_path, sinks=(collector,))) as service:
        wait_for("the first decision", lambda: bool(service.controller.views()))
        _fail_over(cluster)
        wait_for("the alert", lambda: any("ResolvedRefs is False" in m.why for m in collector.messages))


def test_with_the_capacity_service_deleted_the_mode_changes_at_once(cluster: Cluster, tmp_path: Path) -> None:
    """The load balancer answers a fixed 500 then, and the route's references are not resolved. The units' Services are all there."""
    with running(make_service(cluster, tmp_path)) as service:
        wait_for("the first decision", lambda: bool(service.controller.views()))
        _fail_over(cluster)
        for kind, name in (("Service", "sd21-all"), ("EndpointSlice", "sd21-all"), ("TargetGroupBinding", "k8s-sd21-all")):
            cluster.store.delete(kind, name, namespace=NAMESPACE)
        cluster.reconciled(ResolvedRefs=("False", "BackendNotFound"))
        wait_for("cost mode", lambda: cluster.mode() == "cost")
        assert set(_backends(cluster)) == set(SERVICES)
    assert "NothingAnswers" in cluster.events()


def test_a_weight_that_stops_the_whole_gateway_is_corrected(cluster: Cluster, tmp_path: Path) -> None:
    """The load-balancer controller takes up nothing any more. Only another action helps, so it is written although all is blocked."""
    with running(make_service(cluster, tmp_path)) as service:
        wait_for("the first decision", lambda: bool(service.controller.views()))
        _fail_over(cluster)
        rules = json.loads(json.dumps(cluster.routed()["spec"]["rules"]))
        rules[0]["backendRefs"] = [{"name": "sd21-all", "port": 80, "weight": 1}, {"name": SERVICES[0], "port": 80, "weight": 4000}]
        cluster.store.patch(cluster.routing, "sd21", {"spec": {"rules": rules}}, namespace=NAMESPACE, manager="intruder")
        wait_for("the action is restored", lambda: _backends(cluster) == {"sd21-all": 1})


@pytest.mark.parametrize("cluster", ["Ingress"], indirect=True)
@pytest.mark.parametrize("mode", Mode)
def test_the_file_for_a_route_of_the_same_name_keeps_the_mode_and_the_memory(cluster: Cluster, tmp_path: Path, mode: Mode) -> None:
    """From an Ingress to a route that shows its mode: no mode change, nothing is taken for a change by hand, the history goes on."""
    with running(make_service(cluster, tmp_path, policy=SHORT_WAITS)) as service:
        wait_for("the first decision", lambda: bool(service.controller.views()))
        if mode is Mode.CAPACITY:
            cluster.pend("sd21-inf2", 2)
            cluster.refuse("inf2", "inf2.xlarge")
            wait_for("capacity mode", lambda: cluster.mode() == "capacity")
            wait_for("its memory", lambda: _changes(service) == ["ShortageProven"])
    cluster.route_by("HTTPRoute", mode)
    collector = Collector()
    with running(make_service(cluster, tmp_path, policy=SHORT_WAITS, sinks=(collector,))) as service:
        wait_for("the first decision", lambda: bool(service.controller.views()))
        started = cluster.clock.now()
        wait_for("a minute", lambda: cluster.clock.now() > started + 60)
        (view,) = service.controller.views()
        assert view.decision.mode is mode
        assert _changes(service) == (["ShortageProven"] if mode is Mode.CAPACITY else [])
    assert [m for m in collector.messages if m.kind not in {MessageKind.ALERT, MessageKind.RESOLVED}] == []
    assert not any("by hand" in f"{m.title} {m.why}" for m in collector.messages)
    assert cluster.patches("httproutes") == []


@pytest.mark.parametrize("cluster", ["Ingress"], indirect=True)
def test_the_mode_that_a_route_shows_counts_where_the_ingress_had_another(cluster: Cluster, tmp_path: Path) -> None:
    """The memory of the Ingress cannot say what the clients of the route get. While the shortage lasts, it fails over again."""
    with running(make_service(cluster, tmp_path, policy=SHORT_WAITS)) as service:
        wait_for("the first decision", lambda: bool(service.controller.views()))
        cluster.pend("sd21-inf2", 2)
        cluster.refuse("inf2", "inf2.xlarge")
        wait_for("capacity mode", lambda: cluster.mode() == "capacity")
        wait_for("its memory", lambda: _changes(service) == ["ShortageProven"])
    cluster.route_by("HTTPRoute", Mode.COST)
    with running(make_service(cluster, tmp_path, policy=SHORT_WAITS)) as service:
        wait_for("the route follows", lambda: cluster.mode() == "capacity")
        wait_for("its memory", lambda: _changes(service) == ["ShortageProven", "RoutingDrifted", "ShortageProven"])


# --- a route in another namespace ---------------------------------------------------------------------------------------------------------


def test_a_route_in_another_namespace_fails_over_and_falls_back(apart: Cluster, tmp_path: Path) -> None:
    """Every backend names the Services' namespace. Events about the route are in its namespace, those about pods in theirs."""
    with running(make_service(apart, tmp_path, policy=SHORT_WAITS)) as service:
        wait_for("the first decision", lambda: bool(service.controller.views()))
        _fail_over(apart)
        assert apart.routed()["spec"]["rules"][0]["backendRefs"] == [
            {"group": "", "kind": "Service", "name": "sd21-all", "namespace": NAMESPACE, "port": 80, "weight": 1}
        ]
        wait_for("the events", lambda: "ShortageProven" in apart.events() and _events_about_pods(apart) == ["ShortageProven"])
        apart.launch("inf2", "inf2.xlarge")
        apart.schedule_all("sd21-inf2")
        wait_for("cost mode", lambda: apart.mode() == "cost")
        assert set(_backends(apart)) == set(SERVICES)
        assert {one["namespace"] for one in apart.routed()["spec"]["rules"][0]["backendRefs"]} == {NAMESPACE}
        assert [view.application.key for view in service.controller.views()] == ["gateways/sd21"]
    assert len(apart.patches("httproutes")) == 2
    states = {one["metadata"]["name"].rpartition("-")[0] for one in apart.store.list("ConfigMap")}
    assert "failoverctl-state-gateways.sd21" in states


def _events_about_pods(cluster: Cluster) -> list[str]:
    return [one["reason"] for one in cluster.store.list("Event", namespace=NAMESPACE) if one["involvedObject"].get("kind") == "Pod"]


def test_without_its_reference_grant_nothing_is_written(apart: Cluster, tmp_path: Path) -> None:
    """The load-balancer controller would leave every backend out. The alert names the grant; with the grant the change comes."""
    grant = apart.store.get("ReferenceGrant", "sd21", namespace=NAMESPACE)
    collector = Collector()
    with running(make_service(apart, tmp_path, policy=SHORT_WAITS, sinks=(collector,))) as service:
        wait_for("the first decision", lambda: bool(service.controller.views()))
        apart.store.delete("ReferenceGrant", "sd21", namespace=NAMESPACE)
        apart.pend("sd21-inf2", 2)
        apart.refuse("inf2", "inf2.xlarge")
        wait_for("the hold", lambda: "RoutingBlocked" in _reasons(service))
        said = "no ReferenceGrant is known in namespace shop that lets HTTPRoute gateways/sd21 name"
        wait_for("the alert", lambda: any(said in m.why and m.kind is MessageKind.ALERT for m in collector.messages))
        apart.reconciled(ResolvedRefs=("False", "RefNotPermitted"))  # another action cannot resolve that
        wait_for("it is known", lambda: any("RefNotPermitted" in view.snapshot.routing.blocked for view in service.controller.views()))
        assert apart.patches("httproutes") == []
        apart.store.create("ReferenceGrant", {**grant, "metadata": {"name": "sd21", "namespace": NAMESPACE}})
        wait_for("capacity mode", lambda: apart.mode() == "capacity")


def test_weights_are_not_written_without_the_reference_grant(apart: Cluster, tmp_path: Path) -> None:
    """Nor is what somebody else changed restored: it comes with the grant."""
    grant = apart.store.get("ReferenceGrant", "sd21", namespace=NAMESPACE)
    with running(make_service(apart, tmp_path)) as service:
        wait_for("the first decision", lambda: bool(service.controller.views()))
        _fail_over(apart)
        apart.store.delete("ReferenceGrant", "sd21", namespace=NAMESPACE)
        wait_for("it is known", lambda: "blocked" in _alerts(service))
        rules = json.loads(json.dumps(apart.routed()["spec"]["rules"]))
        rules[0]["backendRefs"] = [{"name": SERVICES[0], "namespace": NAMESPACE, "port": 80, "weight": 9}]
        apart.store.patch("HTTPRoute", "sd21", {"spec": {"rules": rules}}, namespace="gateways", manager="intruder")
        wait_for("the hold", lambda: "held/RoutingBlocked" in _alerts(service))
        assert _backends(apart) == {SERVICES[0]: 9}
        apart.store.create("ReferenceGrant", {**grant, "metadata": {"name": "sd21", "namespace": NAMESPACE}})
        wait_for("the action is restored", lambda: _backends(apart) == {"sd21-all": 1})


def _alerts(service: Service) -> list[str]:
    return [alert.key for view in service.controller.views() for alert in view.decision.alerts]


def test_without_permission_to_read_grants_it_holds_and_says_so(tmp_path: Path) -> None:
    """Whether a write would take the backends away is not known then."""
    cluster = Cluster(AcceleratedClock(20), routing="HTTPRoute", routed_in="gateways", identity=_without("referencegrants"))
    try:
        with running(make_service(cluster, tmp_path)) as service:
            wait_for("the alert", lambda: "absent/reference-grants" in _alerts(service))
            cluster.pend("sd21-inf2", 2)
            cluster.refuse("inf2", "inf2.xlarge")
            wait_for("the hold", lambda: "RoutingBlocked" in _reasons(service))
            assert MARKER not in cluster.routed()["metadata"].get("annotations", {})
    finally:
        cluster.close()


def _without(plural: str) -> Identity:
    """The controller, without permission to read one kind."""
    rules = (replace(rule, resources=rule.resources - {plural}) for rule in CONTROLLER)
    return Identity("controller", tuple(rules))
