"""An Ingress and an HTTPRoute with the same pods behind them, each with its own load balancer, and a data plane that answers requests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final, Self

from controller.clients.kube import ENDPOINT_SLICES, INGRESSES, MERGE_PATCH
from controller.policy.model import Application, Mode, Target
from controller.routing.annotations import MARKER
from controller.routing.ingress.action import format_action
from failover_harness.control_plane.control_plane import ControlPlane
from failover_harness.dataplane import elb
from failover_harness.dataplane.plane import DataPlane
from failover_harness.dataplane.pods import Pod, PodProcess
from failover_harness.waiting import wait_for
from failover_testbed.cluster import routes
from failover_testbed.kube_api.defaults import defaulted
from failover_testbed.lbc.gateway_kinds import HTTP_ROUTES
from tests.cluster.objects import ACTION
from tests.support.gateway_rows import BACKENDS, brief, main_rule
from tests.world.balanced import BalancedStack, Balancing
from tests.world.gateways import GatewayBed, once

INGRESS: Final = "ingress"
ROUTE: Final = "route"

_SHOWN_S: Final = 60.0


class Twins:
    """The rendered stack with a route beside its Ingress. Use it as a context manager.

    Args:
        plane: The control plane, with the definitions of the Gateway API.
        namespace: The application's namespace.
        folder: Folder of its files.
        balancing: Its load balancing.
    """

    def __init__(self, plane: ControlPlane, namespace: str, folder: Path, balancing: Balancing) -> None:
        self.balancing = balancing
        self.stack = BalancedStack(plane, namespace, folder, balancing)
        self.bed = GatewayBed(plane, namespace, balancing, services=False)
        self.pods = PodProcess()
        self.plane = DataPlane(elb.read, deleted=self.pods.cut)
        self._exit = ExitStack()

    @property
    def app(self) -> Application:
        """The application as the route has it."""
        return self.bed.app

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for part in (self.stack, self.bed, self.pods):
                stack.enter_context(part)
            self.pods.serve(self._served())  # before Envoy checks them: a failed check is repeated only after an interval
            stack.enter_context(self.plane)
            for obj in routes.objects(self.app, Mode.COST, {"note": "the patches of modes add annotations to a map that is there"}):
                self.bed.create(obj)
            wait_for("the route's load balancer", lambda: bool(self.bed.hostname()), _SHOWN_S, self.report)
            wait_for("every pod is a healthy target of either load balancer", self._healthy, _SHOWN_S, self.report)
            self._exit = stack.pop_all()
        return self

    def __exit__(self, *exits: object) -> None:
        self._exit.close()

    def _served(self) -> list[Pod]:
        """A server for each endpoint of a unit."""
        found = {}
        for unit in self.app.units:
            query = (("labelSelector", f"kubernetes.io/service-name={unit.backend.service}"),)
            for one in self.bed.session.request("GET", ENDPOINT_SLICES.path(self.app.namespace), query=query)["items"]:
                for endpoint in one["endpoints"]:
                    address = endpoint["addresses"][0]
                    found[address] = Pod(self.plane.places.pod(address), one["ports"][0]["port"], unit.name)
        return list(found.values())

    def _healthy(self) -> bool:
        """Whether each of both load balancers' target groups has all its pods, all healthy in the data plane."""
        state, count = self.plane.state(), len(self.app.units)
        used = [one for one in state.groups if one.arn in state.used()]
        targets = [(one.arn, target) for one in used for target in one.targets]
        healthy = [self.plane.health(arn, target.address, target.port)[0] == "healthy" for arn, target in targets]
        return len(used) == 2 * (count + 1) and len(targets) == 4 * count and all(healthy)

    def listener(self, twin: str) -> str:
        """The ARN of a twin's listener."""
        name = self.stack.hostname() if twin == INGRESS else self.bed.hostname()
        client = self.balancing.aws.client("elbv2")
        (balancer,) = [one for one in client.describe_load_balancers()["LoadBalancers"] if one["DNSName"].lower() == name]
        (found,) = client.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
        return str(found["ListenerArn"])

    def change(self, twin: str, before: Mode, after: Mode) -> None:
        """Changes the mode of a twin with one patch, and waits until its load balancer shows it."""
        self.write(twin, before, after)
        self.await_shown(twin, after)

    def write(self, twin: str, before: Mode, after: Mode) -> None:
        """Changes the mode of a twin with one patch."""
        if twin == INGRESS:
            self._annotate(after)
        else:
            self._patch(before, after)

    def await_shown(self, twin: str, after: Mode) -> None:
        """Waits until a twin's load balancer shows a mode."""
        wanted = {one["name"]: one["weight"] for one in routes.backends(self.app, after)}
        wait_for(f"{twin} in {after} mode", partial(self._shows, self.listener(twin), wanted), _SHOWN_S, self.report)

    def _annotate(self, after: Mode) -> None:
        """As the controller does for an Ingress: action and mode in one patch."""
        targets = [Target(one["name"], one["port"], one["weight"]) for one in routes.backends(self.app, after)]
        annotations = {ACTION: format_action(targets, 0), MARKER: str(after)}
        path = INGRESSES.path(self.app.namespace, "sd21")
        self.bed.session.request("PATCH", path, body=json.dumps({"metadata": {"annotations": annotations}}), content_type=MERGE_PATCH)

    def _patch(self, before: Mode, after: Mode) -> None:
        """Backends and mode of the main rule in one JSON patch, which tests what it replaces."""
        rule = {"spec": {"rules": [{"backendRefs": routes.backends(self.app, before)}]}}
        stored = defaulted(HTTP_ROUTES.plural, rule)["spec"]["rules"][0]["backendRefs"]
        self.bed.patch(
            HTTP_ROUTES.kind,
            self.app.route.name,
            {"op": "test", "path": BACKENDS, "value": stored},
            {"op": "replace", "path": BACKENDS, "value": routes.backends(self.app, after)},
            {"op": "add", "path": f"/metadata/annotations/{MARKER.replace('/', '~1')}", "value": str(after)},
        )

    def _shows(self, listener: str, wanted: Mapping[str, int]) -> bool:
        rules = self.balancing.aws.client("elbv2").describe_rules(ListenerArn=listener)["Rules"]
        return brief(main_rule(rules), self.bed.services()) == wanted

    def made(self, twin: str, before: int) -> list[str]:
        """The calls for a twin's rules and for any target group since then."""
        balancer = self.listener(twin).rpartition("/")[0].replace(":listener/", ":listener-rule/")
        calls = once(self.balancing.front.writes()[before:])
        rules = [one.action for one in calls if "Rule" in one.action and any(value.startswith(balancer) for value in one.form.values())]
        return rules + [one.action for one in calls if one.action in {"CreateTargetGroup", "DeleteTargetGroup"}]

    def report(self) -> str:
        """The state, for the message of a failed test."""
        return self.bed.report(0)
