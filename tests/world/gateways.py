"""Gateways and routes on the real load-balancer controller."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from http import HTTPStatus
from typing import Any, Final, Self

from controller.clients.kube import JSON_PATCH, MERGE_PATCH, SERVICES, TARGET_GROUP_BINDINGS, KubeSession, Resource
from controller.errors import NotFound
from failover_harness.control_plane import crds
from failover_harness.control_plane.control_plane import ControlPlane
from failover_harness.controllers.front import Call
from failover_harness.waiting import wait_for
from failover_testbed.cluster import manifests, routes
from failover_testbed.lbc.gateway_kinds import GATEWAY_CLASSES, GATEWAY_KINDS, GATEWAYS, HTTP_ROUTES, RULES
from tests.support import gateway_rows as rows
from tests.support.gateway_rows import COUNTED, Object, Row, app_in
from tests.world.balanced import Balancing

_DEFINITIONS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_KINDS: Final = {one.kind: one for one in (*GATEWAY_KINDS, GATEWAY_CLASSES, SERVICES)}
_QUIET_S: Final = 2.0
"""How long nothing may follow the expected calls of a row before it counts as finished, seconds."""
_ROW_S: Final = 60.0
_REFUSED_WEIGHT: Final = "must be less than or equal to 999"


@contextmanager
def defined(plane: ControlPlane) -> Iterator[None]:
    """Installs the definitions, and removes them on exit: a load-balancer controller that finds them serves Gateways.

    Args:
        plane: The control plane.
    """
    session = plane.patient_session()
    wanted = crds.upstream(crds.GATEWAY)
    try:
        crds.install(session, wanted)
        yield
    finally:
        names = [one["metadata"]["name"] for one in wanted]
        for name in names:
            with suppress(NotFound):
                session.request("DELETE", f"{_DEFINITIONS}/{name}")
        for name in names:
            wait_for(f"{name} is gone", partial(_gone, session, f"{_DEFINITIONS}/{name}"))
        session.close()


def _gone(session: KubeSession, path: str) -> bool:
    try:
        session.request("GET", path)
    except NotFound:
        return True
    return False


def once(calls: Iterable[Call]) -> list[Call]:
    """Calls that succeeded, each once: on a busy machine the SDK sends some again."""
    done = [one for one in calls if one.status < HTTPStatus.MULTIPLE_CHOICES]
    return list({one.invocation or str(place): one for place, one in enumerate(done)}.values())


class GatewayBed:
    """One application with Services without pods, a GatewayClass, and no route yet. Use it as a context manager.

    Args:
        plane: The control plane, with the definitions.
        namespace: The application's namespace.
        balancing: Its load balancing.
        services: Whether to create the Services.
    """

    def __init__(self, plane: ControlPlane, namespace: str, balancing: Balancing, *, services: bool = True) -> None:
        self.app, self._services = app_in(namespace), services
        self.balancing = balancing
        self.session = plane.patient_session()

    def __enter__(self) -> Self:
        self.create(routes.gateway_class())
        for service in manifests.services(self.app) if self._services else ():
            self.create(service)
        return self

    def __exit__(self, *_: object) -> None:
        """Removes every object without the load-balancer controller's clean-up, because the account is discarded."""
        free = json.dumps({"metadata": {"finalizers": None}})
        for resource in (*GATEWAY_KINDS, GATEWAY_CLASSES, TARGET_GROUP_BINDINGS):
            for one in self.session.request("GET", resource.path(self.app.namespace))["items"]:
                path = resource.path(self.app.namespace, one["metadata"]["name"])
                with suppress(NotFound):
                    self.session.request("DELETE", path)
                    self.session.request("PATCH", path, body=free, content_type=MERGE_PATCH)
        self.session.close()

    # --- what rows do -------------------------------------------------------------------------------------------------------------------

    def create(self, obj: Object) -> None:
        """Creates an object; waits until a ListenerRuleConfiguration is accepted."""
        resource = _KINDS[obj["kind"]]
        self.session.request("POST", resource.path(self.app.namespace), body=json.dumps(obj))
        if resource is RULES:
            name = obj["metadata"]["name"]
            wait_for(f"{name} is accepted", lambda: (self._get(RULES, name).get("status") or {}).get("accepted") is True)

    def delete(self, kind: str, name: str) -> None:
        """Deletes an object."""
        self.session.request("DELETE", _KINDS[kind].path(self.app.namespace, name))

    def patch(self, kind: str, name: str, *operations: Object) -> None:
        """Applies a JSON patch."""
        path = _KINDS[kind].path(self.app.namespace, name)
        self.session.request("PATCH", path, body=rows.text(operations), content_type=JSON_PATCH)

    def _get(self, resource: Resource, name: str) -> Object:
        return self.session.get(resource, self.app.namespace, name)

    # --- what tests check ---------------------------------------------------------------------------------------------------------------

    def play(self, row: Row) -> list[str]:
        """Plays a row to its end.

        Returns:
            The counted calls that followed.
        """
        before, refused = len(self.balancing.front.writes()), self._refusals()
        row.play(self)
        done = partial(self._done, row, before, refused)
        wait_for(row.name, done, _ROW_S, partial(self.report, before))
        calls, since = self.made(before), time.monotonic()
        while time.monotonic() < since + _QUIET_S:
            time.sleep(0.1)
            if (now := self.made(before)) != calls:
                calls, since = now, time.monotonic()
        return calls

    def _done(self, row: Row, before: int, refused: int) -> bool:
        """Whether the controller has made the calls of a row, the main rule is as it must be, and the conditions are.

        It says so in conditions, or in its log where it does not read the route.
        """
        if len(self.made(before)) < len(row.calls) or not self.hostname():
            return False
        rule = next((one for one in self.rules() if rows.is_main(one)), None)
        if rule is None or (rows.brief(rule, self.services()), rows.sticky_s(rule)) != (row.main, row.stickiness_s):
            return False
        return self.conditions() == rows.wanted(row) if row.loads else self._refusals() > refused

    def _refusals(self) -> int:
        return self.balancing.lbc.log.read_text(errors="replace").count(_REFUSED_WEIGHT)

    def made(self, before: int) -> list[str]:
        """The counted calls that succeeded since then."""
        return [one.action for one in once(self.balancing.front.writes()[before:]) if one.action in COUNTED]

    def conditions(self, gateway: str = "") -> dict[str, tuple[str, str, bool]]:
        """What the route's conditions say below a Gateway; its own with ""."""
        return rows.said(self._get(HTTP_ROUTES, self.app.route.name), gateway or self.app.route.name)

    def gateway(self) -> Object:
        """The Gateway with the application's name."""
        return self._get(GATEWAYS, self.app.route.name)

    def binding_labels(self) -> list[dict[str, str]]:
        """The labels of each TargetGroupBinding."""
        items = self.session.request("GET", TARGET_GROUP_BINDINGS.path(self.app.namespace))["items"]
        return [one["metadata"].get("labels") or {} for one in items]

    def gateway_says(self, kind: str) -> tuple[str, str]:
        """Status and reason of a condition of the Gateway."""
        found = (self._get(GATEWAYS, self.app.route.name).get("status") or {}).get("conditions") or []
        return next(((one["status"], one["reason"]) for one in found if one["type"] == kind), ("", ""))

    def hostname(self, gateway: str = "") -> str:
        """The address in a Gateway's status, "" if there is none yet."""
        found = (self._get(GATEWAYS, gateway or self.app.route.name).get("status") or {}).get("addresses") or [{"value": ""}]
        return str(found[0]["value"])

    def rules(self) -> list[Mapping[str, Any]]:
        """The rules of the Gateway with the application's name, by priority, without the default one."""
        elb, name = self.balancing.aws.client("elbv2"), self.hostname()
        (balancer,) = [one for one in elb.describe_load_balancers()["LoadBalancers"] if one["DNSName"].lower() == name]
        (listener,) = elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
        found = elb.describe_rules(ListenerArn=listener["ListenerArn"])["Rules"]
        return sorted((one for one in found if not one["IsDefault"]), key=lambda one: int(one["Priority"]))

    def services(self) -> dict[str, str]:
        """The Service of each target group."""
        items = self.session.request("GET", TARGET_GROUP_BINDINGS.path(self.app.namespace))["items"]
        return {one["spec"]["targetGroupARN"]: one["spec"]["serviceRef"]["name"] for one in items}

    def report(self, before: int) -> str:
        """The state, for the message of a failed test."""
        missing = f"calls that moto lacks: {', '.join(sorted(self.balancing.front.missing)) or 'none'}"
        return f"calls: {self.made(before)}\nconditions: {self.conditions()}\n{self.balancing.lbc.report()}\n{missing}"
