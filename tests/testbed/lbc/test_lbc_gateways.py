"""Gateways: the table that the real load-balancer controller has to pass as well (tests/world), and what only the fake can show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from controller.clients.kube import connect
from controller.clock import SystemClock
from failover_testbed.aws.server import EmulatedAws
from failover_testbed.cluster import manifests, routes
from failover_testbed.cluster.roles import LOAD_BALANCER_CONTROLLER
from failover_testbed.kube_api import ADMIN_TOKEN, EmulatedKubeApi, Identity
from failover_testbed.lbc.controller import LoadBalancerController
from tests.support import gateway_rows as rows
from tests.support.gateway_rows import COUNTED, ROUTE, ROWS, Object, Row, app_in
from tests.testbed.lbc.cluster import Cluster

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
        lbc = LoadBalancerController(own, SystemClock(), aws, ("default",), lag_s=0.05, gateways=True)
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
        assert len(subject.elb.describe_load_balancers()["LoadBalancers"]) == 2
        addresses = [subject.api.store.get("Gateway", name)["status"]["addresses"][0]["value"] for name in (NAME, "other")]
        assert sorted(addresses) == sorted(one["DNSName"].lower() for one in subject.elb.describe_load_balancers()["LoadBalancers"])
        assert conditions(subject, "other") == conditions(subject)
