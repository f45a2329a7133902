"""A small cluster with the fake load-balancer controller: two ready pods of each unit, one Ingress, no failover controller."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.clients.kube import KubeSession, connect
from controller.clock import Clock, SystemClock
from controller.policy.model import Application, Mode, Target
from controller.routing.ingress.action import format_action
from controller.routing.names import action_key
from failover_harness.waiting import wait_for
from failover_testbed.aws.server import EmulatedAws
from failover_testbed.cluster import manifests, routes
from failover_testbed.cluster.routes import Routing
from failover_testbed.kube_api import ADMIN_TOKEN, EmulatedKubeApi
from failover_testbed.kube_api.registry import RESOURCES
from failover_testbed.lbc.controller import LoadBalancerController
from failover_testbed.lbc.elb_calls import Write
from tests.support.applications import application

APP = application(namespace="default")
KEY = action_key(APP.route.part)
COST = format_action([Target(unit.backend.service, 80, unit.weight or 0) for unit in APP.units], 0)
CAPACITY = format_action([Target("sd21-all", 80, 1)], 0)

_TWICE_S = 0.03


@dataclass
class Cluster:
    api: EmulatedKubeApi
    aws: EmulatedAws
    lbc: LoadBalancerController
    session: KubeSession

    @property
    def elb(self) -> Any:
        return self.aws.client("elbv2")

    def route(self, action: str | None, name: str = "sd21", **annotations: str | None) -> list[Write]:
        """Patches the action, waits until everything is done, and returns the writes."""
        before = len(self.lbc.writes())
        self.annotate(name, {KEY: action, **annotations})
        self.settle()
        return self.lbc.writes()[before:]

    def annotate(self, name: str, annotations: Mapping[str, str | None]) -> None:
        """Changes annotations of an Ingress, and waits until the fake has seen it."""
        self.change("Ingress", name, {"metadata": {"annotations": dict(annotations)}})

    def change(self, kind: str, name: str, patch: Mapping[str, Any]) -> None:
        """Patches an object, and waits until the fake has seen it."""
        self.seen(kind, self.api.store.patch(kind, name, dict(patch)))

    def create(self, kind: str, obj: Mapping[str, Any]) -> None:
        """Creates an object, and waits until the fake has seen it."""
        self.seen(kind, self.api.store.create(kind, dict(obj)))

    def delete(self, kind: str, name: str) -> None:
        """Deletes an object, and waits until the fake has seen it."""
        left = self.api.store.delete(kind, name)
        store = self._store(kind)
        if left is not None:
            self.seen(kind, left)
        else:
            wait_for("the deletion is seen", lambda: ("default", name) not in store)

    def seen(self, kind: str, obj: Mapping[str, Any]) -> None:
        """Waits until the fake has seen an object's present version."""
        key, version = (obj["metadata"]["namespace"], obj["metadata"]["name"]), int(obj["metadata"]["resourceVersion"])
        store = self._store(kind)

        def newest() -> bool:
            mine = store.get(key)
            return mine is not None and int(mine["metadata"]["resourceVersion"]) >= version

        wait_for(f"{kind} {key} is seen", newest)

    def _store(self, kind: str) -> Mapping[tuple[str, str], Any]:
        return self.lbc._objects[next(one.plural for one in RESOURCES if one.kind == kind)]

    def settle(self) -> None:
        """Waits until the fake has processed everything it has seen; twice, because it sees and queues changes in two steps."""
        for _ in range(2):
            threading.Event().wait(_TWICE_S)
            wait_for("the fake has settled", self.lbc.settled)

    def rules(self, key: str = "default/sd21", port: int = 80) -> list[dict[str, Any]]:
        """The rules of a listener by priority, without the default one."""
        found = self.elb.describe_rules(ListenerArn=self.lbc.listeners(key)[port])["Rules"]
        return sorted((rule for rule in found if rule["Priority"] != "default"), key=lambda rule: int(rule["Priority"]))

    def live(self) -> dict[str, Any]:
        """The action of the first rule."""
        found: dict[str, Any] = self.rules()[0]["Actions"][-1]
        return found

    def weights(self) -> dict[str, int]:
        """The live weights by Service; empty if the rule does not forward."""
        return {self.lbc.service_of(one["TargetGroupArn"]): one["Weight"] for one in self.live().get("ForwardConfig", {})["TargetGroups"]}

    def events(self, name: str = "sd21", kind: str = "Ingress") -> list[tuple[str, str, str]]:
        """Type, reason and text of the events about an object."""
        events = self.api.store.list("Event")
        return [
            (event["type"], event["reason"], event["message"])
            for event in events
            if (event["involvedObject"]["kind"], event["involvedObject"]["name"]) == (kind, name)
        ]

    def arn(self, service: str) -> str:
        """The target group of a Service, as its TargetGroupBinding names it."""
        bindings = self.api.store.list("TargetGroupBinding")
        found: str = next(one["spec"]["targetGroupARN"] for one in bindings if one["spec"]["serviceRef"]["name"] == service)
        return found

    def targets(self, service: str) -> dict[str, str]:
        """State by address of a Service's targets."""
        described = self.elb.describe_target_health(TargetGroupArn=self.arn(service))["TargetHealthDescriptions"]
        return {one["Target"]["Id"]: one["TargetHealth"]["State"] for one in described}


def endpoint_slice(service: str, addresses: Sequence[str], *, port: int = 8000) -> dict[str, Any]:
    """The EndpointSlice of a Service with ready pods."""
    return {
        "metadata": {"name": f"{service}-x", "namespace": "default", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
    }


def ingress(name: str = "sd21", *, action: str = COST, annotations: Mapping[str, str] | None = None) -> dict[str, Any]:
    """An Ingress of the application with standby rules, under another name or with further annotations."""
    made: dict[str, Any] = json.loads(json.dumps(manifests.ingress(APP, Mode.COST, {KEY: action, **(annotations or {})})))
    made["metadata"]["name"] = name
    return made


@contextmanager
def cluster(
    folder: Path,
    mode: Mode = Mode.COST,
    *,
    standby: bool = True,
    app: Application = APP,
    annotations: Mapping[str, str] | None = None,
    clock: Clock | None = None,
    aws_clock: Clock | None = None,
    lag_s: float = 0.05,
    routing: Routing | None = None,
) -> Iterator[Cluster]:
    """A cluster at rest.

    Args:
        folder: Folder of the kubeconfig.
        mode: The mode of the Ingress' action.
        standby: Whether it has standby rules.
        app: The application.
        annotations: Additional annotations of the Ingress.
        clock: Time of the fake.
        aws_clock: Time of the health checks.
        lag_s: Lag of the fake, seconds.
        routing: The kind of the object that routes requests; None: as the application says.
    """
    app = routes.routed_by(app, routing)
    clock = clock or SystemClock()
    with EmulatedKubeApi(SystemClock(), bookmark_interval_s=0.2) as api, EmulatedAws(aws_clock) as aws:
        for service in manifests.services(app):
            api.store.create("Service", service)
        everyone: list[str] = []
        for index, unit in enumerate(app.units):
            addresses = [f"10.1.{index}.{host}" for host in (1, 2)]
            everyone += addresses
            api.store.create("EndpointSlice", endpoint_slice(unit.backend.service, addresses))
        api.store.create("EndpointSlice", endpoint_slice("sd21-all", everyone))
        api.store.create("GatewayClass", routes.gateway_class())
        for obj in routes.objects(app, mode, annotations or {}, standby=standby):
            api.store.create(obj["kind"], obj)
        session: KubeSession = connect(kubeconfig=str(api.kubeconfig(ADMIN_TOKEN, folder / "kubeconfig")))
        lbc = LoadBalancerController(session, clock, aws, ("default",), lag_s=lag_s, gateways=app.route.kind != "Ingress")
        lbc.start()
        try:
            wait_for("the load balancer is there", lambda: bool(lbc.listener("default/sd21")) and lbc.settled())
            yield Cluster(api, aws, lbc, session)
        finally:
            lbc.stop()
            api.stop()
            session.close()
