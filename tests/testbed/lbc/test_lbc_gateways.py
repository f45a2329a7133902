"""Gateways: the table that the real load-balancer controller has to pass as well (tests/world), and what only the fake can show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from controller.clients.kube import connect
from controller.clock import SystemClock
from controller.policy.model import Mode
from failover_harness.waiting import wait_for
from failover_testbed.aws.server import EmulatedAws
from failover_testbed.cluster import manifests, routes
from failover_testbed.cluster.roles import LOAD_BALANCER_CONTROLLER
from failover_testbed.cluster.routes import Routing
from failover_testbed.kube_api import ADMIN_TOKEN, EmulatedKubeApi, Identity
from failover_testbed.lbc.controller import LoadBalancerController
from tests.support import gateway_rows as rows
from tests.support.gateway_rows import COUNTED, ROUTE, ROWS, Object, Row, app_in
from tests.testbed.lbc.cluster import Cluster, cluster, ingress

APP = app_in("default")
NAME = APP.route.name


class Emulated(Cluster):
    """The emulated cluster as a `rows.Bed`, before it has any route."""

    app = APP

    def create(self, obj: Object) -> None:  # type: ignore[override]
        super().create(obj["kind"], obj)

    def patch(self, kind: str, name: str, *operations: Object) -> None:
        """See `rows.Bed`."""
        path = {"HTTPRoute": "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes"}[kind]
        body = rows.text(operations)
        self.seen(kind, self.session.request("PATCH", f"{path}/{name}", body=body, content_type="application/json-patch+json"))


@contextmanager
def _bed(folder: Path) -> Iterator[Emulated]:
    """Services without pods, a class, and the load-balancer controller, with the permissions that it has on a real cluster."""
    tokens = {"lbc": Identity("lbc", LOAD_BALANCER_CONTROLLER), ADMIN_TOKEN: Identity("admin")}
    with EmulatedKubeApi(SystemClock(), tokens=tokens, bookmark_interval_s=0.2) as api, EmulatedAws() as aws:
        for service in manifests.services(APP):
            api.store.create("Service", service)
        api.store.create("GatewayClass", routes.gateway_class())
        own = connect(kubeconfig=str(api.kubeconfig("lbc", folder / "lbc")))
        session = connect(kubeconfig=str(api.kubeconfig(ADMIN_TOKEN, folder / "admin")))
        lbc = LoadBalancerController(own, SystemClock(), aws, ("default", "elsewhere"), lag_s=0.05, gateways=True)
        lbc.start()
        try:
            yield Emulated(api, aws, lbc, session)
        finally:
            lbc.stop()
            api.stop()
            own.close()
            session.close()


def services(subject: Cluster) -> dict[str, str]:
    """The Service of each target group."""
    bindings = subject.api.store.list("TargetGroupBinding")
    return {one["spec"]["targetGroupARN"]: one["spec"]["serviceRef"]["name"] for one in bindings}


def made(subject: Cluster, before: int) -> list[str]:
    """The counted calls since then."""
    return [one.action for one in subject.lbc.writes()[before:] if one.action in COUNTED]


def conditions(subject: Cluster, gateway: str = NAME) -> dict[str, tuple[str, str, bool]]:
    return rows.said(subject.api.store.get(ROUTE, NAME), gateway)


def check(subject: Emulated, row: Row) -> None:
    before = len(subject.lbc.writes())
    row.play(subject)
    subject.settle()
    rule = rows.main_rule(subject.rules(f"default/{NAME}"))
    assert made(subject, before) == list(row.calls), row.name
    assert (rows.brief(rule, services(subject)), rows.sticky_s(rule)) == (row.main, row.stickiness_s), row.name
    assert conditions(subject) == rows.wanted(row), row.name


def test_every_row_of_the_table(tmp_path: Path) -> None:
    """What was played on the real controller is true of the fake: calls in their order, the main rule, and the conditions."""
    with _bed(tmp_path) as subject:
        for row in ROWS:
            check(subject, row)
        order = [rows.header_of(one) for one in subject.rules(f"default/{NAME}")]
        assert order == ["", "capacity", "units", ""], "an exact path before header matches before the main rule"
        assert len(subject.elb.describe_load_balancers()["LoadBalancers"]) == 3
        addresses = [subject.api.store.get("Gateway", name)["status"]["addresses"][0]["value"] for name in (NAME, "other", rows.RPC)]
        assert sorted(addresses) == sorted(one["DNSName"].lower() for one in subject.elb.describe_load_balancers()["LoadBalancers"])
        assert conditions(subject, "other") == conditions(subject)
        assert rows.gateway_said(subject.api.store.get("Gateway", NAME)) == rows.GATEWAY_SAYS
        bindings = [one["metadata"] for one in subject.api.store.list("TargetGroupBinding")]
        assert len([one for one in bindings if one["labels"] == rows.labels(APP)]) == 7
        assert subject.api.store.get("ListenerRuleConfiguration", rows.STICKY)["status"]["accepted"] is True


def routed(subject: Cluster, before: int) -> list[str]:
    """All calls since then but those of targets."""
    return [one.action for one in subject.lbc.writes()[before:] if one.action not in {"RegisterTargets", "DeregisterTargets"}]


@pytest.mark.parametrize("routing", ["HTTPRoute", "GRPCRoute"])
def test_a_mode_change_is_one_change_of_one_rule_each_way(tmp_path: Path, routing: Routing) -> None:
    """With the permanent rules, no target is registered or deregistered; names, labels, tags and status are those of a Gateway."""
    with cluster(tmp_path, routing=routing) as subject:
        wait_for("the targets are there", lambda: all(subject.targets(service) for service in (*rows.UNITS, rows.CAPACITY)))
        (listener,) = subject.api.store.get("Gateway", NAME)["status"]["listeners"]
        assert listener["attachedRoutes"] == 1
        assert routing in [one["kind"] for one in listener["supportedKinds"]]
        binding = subject.api.store.list("TargetGroupBinding")[0]
        assert binding["metadata"]["name"].startswith("k8s-default-sd21-")
        assert binding["metadata"]["labels"] == rows.labels(APP)
        made_at = len(subject.lbc.writes())
        for mode in (Mode.CAPACITY, Mode.COST):
            before = len(subject.lbc.writes())
            subject.change(routing, NAME, {"spec": {"rules": _rules(subject, routing, routes.backends(APP, mode))}})
            subject.settle()
            assert [one.action for one in subject.lbc.writes()[before:]] == ["ModifyRule"]
        assert len(subject.lbc.writes()) == made_at + 2


def _rules(subject: Cluster, routing: str, backends: Sequence[Object]) -> list[Object]:
    """The route's rules with other backends of the main one."""
    main, *standby = subject.api.store.get(routing, NAME)["spec"]["rules"]
    return [main | {"backendRefs": list(backends)}, *standby]


def test_a_service_of_another_namespace_needs_a_grant(tmp_path: Path) -> None:
    """Without a ReferenceGrant it is left out, and the condition does not say whether it exists."""
    with _bed(tmp_path) as subject:
        rows.ROWS[0].play(subject)
        subject.settle()
        refused = Row("no grant", lambda bed: None, (), rows.COST, resolved=("False", "RefNotPermitted"))
        far = [*rows.refs(rows.COST)[:4], rows.ref("far", 7, namespace="elsewhere")]
        subject.patch(ROUTE, NAME, {"op": "replace", "path": rows.BACKENDS, "value": far})
        subject.settle()
        assert conditions(subject) == rows.wanted(refused)
        granted = {
            "from": [{"group": "gateway.networking.k8s.io", "kind": ROUTE, "namespace": "default"}],
            "to": [{"group": "", "kind": "Service"}],
        }
        grant = {"metadata": {"name": "shop", "namespace": "elsewhere"}, "spec": granted}
        service = {"metadata": {"name": "far", "namespace": "elsewhere"}, "spec": {"ports": [{"port": 80, "targetPort": 8000}]}}
        before = len(subject.lbc.writes())
        Cluster.create(subject, "Service", service)
        Cluster.create(subject, "ReferenceGrant", grant)
        subject.settle()
        assert made(subject, before) == ["CreateTargetGroup", "ModifyRule"]
        rule = rows.main_rule(subject.rules(f"default/{NAME}"))
        assert rows.brief(rule, services(subject))["far"] == 7  # type: ignore[index]
        assert {one["metadata"]["namespace"] for one in subject.api.store.list("TargetGroupBinding")} == {"default", "elsewhere"}


def test_a_rule_configuration_in_use_outlives_its_deletion(tmp_path: Path) -> None:
    """Its finalizer goes once no route names it, so a rule does not lose its backends."""
    with _bed(tmp_path) as subject:
        for row in rows.ROWS[:1]:
            row.play(subject)
        configure, stick = (next(one for one in ROWS if one.name == name) for name in (rows.UNNAMED, "stickiness"))
        configure.play(subject)
        stick.play(subject)
        subject.settle()
        assert subject.api.store.get("ListenerRuleConfiguration", rows.STICKY)["status"]["accepted"] is True
        before = len(subject.lbc.writes())
        subject.delete("ListenerRuleConfiguration", rows.STICKY)
        subject.settle()
        assert made(subject, before) == []
        subject.patch(ROUTE, NAME, {"op": "remove", "path": "/spec/rules/0/filters"})
        wait_for("it is gone", lambda: not subject.api.store.list("ListenerRuleConfiguration"))


def test_a_deleted_gateway_takes_the_load_balancer_along(tmp_path: Path) -> None:
    with cluster(tmp_path, routing="HTTPRoute") as subject:
        before = len(subject.lbc.writes())
        subject.delete("Gateway", NAME)
        wait_for("it is gone", lambda: not subject.api.store.list("Gateway"))
        assert routed(subject, before) == ["DeleteLoadBalancer", *["DeleteTargetGroup"] * 6]
        assert subject.api.store.list("TargetGroupBinding") == []


def test_a_gateway_of_another_class_is_left_alone(tmp_path: Path) -> None:
    with cluster(tmp_path, routing="HTTPRoute") as subject:
        other = {"metadata": {"name": "theirs"}, "spec": {"controllerName": "example.com/other"}}
        subject.api.store.create("GatewayClass", other)
        gateway = routes.gateway(APP, "theirs")
        gateway["spec"]["gatewayClassName"] = "theirs"
        subject.create("Gateway", gateway)
        subject.settle()
        assert "status" not in subject.api.store.get("Gateway", "theirs")
        assert len(subject.elb.describe_load_balancers()["LoadBalancers"]) == 1


def test_what_aws_refuses_is_said_on_the_gateway(tmp_path: Path) -> None:
    """AWS takes five target groups; the route's conditions do not know. Moto, before which the real one ran, takes six."""
    with cluster(tmp_path, routing="HTTPRoute") as subject:
        before = len(subject.lbc.writes())
        six = [*routes.backends(APP, Mode.COST), *routes.backends(APP, Mode.CAPACITY)]
        subject.change(ROUTE, NAME, {"spec": {"rules": _rules(subject, ROUTE, six)}})
        subject.settle()
        assert routed(subject, before) == []
        assert conditions(subject)["Accepted"] == ("True", "", True)
        said = {one["type"]: (one["status"], one["reason"]) for one in subject.api.store.get("Gateway", NAME)["status"]["conditions"]}
        assert said == {"Accepted": ("False", "Invalid"), "Programmed": ("True", "Programmed")}
        assert any(reason == "FailedDeployModel" and "5 target groups" in text for _, reason, text in subject.events(kind="Gateway"))
        subject.change(ROUTE, NAME, {"spec": {"rules": _rules(subject, ROUTE, routes.backends(APP, Mode.COST))}})
        subject.settle()
        assert [one["status"] for one in subject.api.store.get("Gateway", NAME)["status"]["conditions"]] == ["True", "True"]


def test_a_new_process_finds_everything_as_it_was(tmp_path: Path) -> None:
    """It deletes what is not needed any more although it did not make it."""
    with cluster(tmp_path, routing="HTTPRoute") as subject:
        wait_for("the targets are there", lambda: all(subject.targets(service) for service in (*rows.UNITS, rows.CAPACITY)))
        subject.lbc.stop()
        second = LoadBalancerController(subject.session, SystemClock(), subject.aws, ("default",), lag_s=0.0, gateways=True)
        second.start()
        try:
            wait_for("it has reconciled", lambda: bool(second.listener(f"default/{NAME}")) and second.settled())
            assert second.writes() == []
            subject.lbc = second
            main, *_ = subject.api.store.get(ROUTE, NAME)["spec"]["rules"]
            subject.change(ROUTE, NAME, {"spec": {"rules": [main]}})
            subject.settle()
            assert routed(subject, 0) == ["SetRulePriorities", "DeleteRule", "DeleteRule", "DeleteTargetGroup"]
        finally:
            second.stop()


def test_ingresses_and_gateways_of_one_name_do_not_meet(tmp_path: Path) -> None:
    """Tags and labels keep their load balancers apart."""
    with cluster(tmp_path, routing="HTTPRoute") as subject:
        before = len(subject.lbc.writes())
        subject.create("Ingress", ingress())
        subject.settle()
        assert set(routed(subject, before)) == {"CreateTargetGroup", "CreateLoadBalancer", "CreateListener", "CreateRule"}
        assert len(subject.elb.describe_load_balancers()["LoadBalancers"]) == 2
        before = len(subject.lbc.writes())
        subject.delete("Ingress", NAME)
        subject.settle()
        assert routed(subject, before) == ["DeleteLoadBalancer", *["DeleteTargetGroup"] * 6]
        assert len(subject.elb.describe_load_balancers()["LoadBalancers"]) == 1
