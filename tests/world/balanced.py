"""The AWS sample's stack as `failoverctl render` makes it, with a load balancer of the real AWS Load Balancer Controller."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

from controller.clients.kube import EVENTS, INGRESSES, MERGE_PATCH, PODS, TARGET_GROUP_BINDINGS, KubeSession
from controller.errors import NotFound
from controller.policy.model import Verdict
from controller.routing.names import PREFIX
from controller.service.wiring import Service
from failover_harness.control_plane.control_plane import ControlPlane
from failover_harness.controllers.balancing import BalancingFront
from failover_harness.controllers.lbc import withdraw_webhooks
from failover_harness.controllers.programs import Program
from failover_harness.waiting import wait_for
from failover_testbed.aws.server import REGION, EmulatedAws
from tests.cluster.hand_built import HandBuiltStack
from tests.cluster.manifests import kubectl
from tests.cluster.objects import CAPACITY
from tests.cluster.processes import PROGRAM, environment
from tests.cluster.rendered import RenderedStack
from tests.support import hand_built
from tests.support.applications import SERVICES

_MADE_S: Final = 90.0
_GROUP: Final = {f"{PREFIX}/group.name": "shared"}
_LISTENERS: Final = {f"{PREFIX}/listen-ports": '[{"HTTP": 80}, {"HTTP": 8080}]'}
_VARIANTS: Final[Mapping[str, Mapping[str, str]]] = {"grouped": _GROUP, "two-listeners": _LISTENERS}
_TARGETS: Final = {"RegisterTargets", "DeregisterTargets"}


@dataclass(frozen=True, slots=True)
class Balancing:
    """The load balancing of a stack.

    Attributes:
        aws: The emulated account.
        front: The load-balancer controller's AWS endpoint.
        lbc: The load-balancer controller.
        tolerant: Whether it goes on where a Service does not exist.
    """

    aws: EmulatedAws
    front: BalancingFront
    lbc: Program
    tolerant: bool = False


class BalancedStack(RenderedStack):
    """A stack in which every target group has a healthy target.

    Args:
        plane: The control plane.
        namespace: The stack's namespace.
        folder: Folder of its files.
        balancing: Its load balancing.
        variant: ``in-place``: with that routing style; ``grouped``: its Ingress shares the load balancer with others; ``two-listeners``:
            it listens on two ports; "": none of these.
        rest: Arguments of a second base class.
    """

    BLIND: ClassVar[bool] = False

    def __init__(self, plane: ControlPlane, namespace: str, folder: Path, balancing: Balancing, variant: str = "", **rest: Any) -> None:
        super().__init__(plane, namespace, folder, **rest)
        self.aws, self.front, self.lbc, self._variant = balancing.aws, balancing.front, balancing.lbc, variant
        self.tolerant = balancing.tolerant

    def written(self) -> dict[str, Any]:
        """See the base class."""
        values = super().written()
        if self._variant == "in-place":
            values["spec"]["routingStyle"] = self._variant
        if annotations := _VARIANTS.get(self._variant):
            values["spec"]["stack"]["loadBalancer"] = {"annotations": dict(annotations)}
        return values

    def make_load_balancer(self, ingress: str = "sd21", services: tuple[str, ...] = (*SERVICES, CAPACITY)) -> None:
        """Waits until the real controller has made the load balancer with all targets, and passes their first health checks."""
        wait_for("the load balancer's address", lambda: bool(self.hostname(ingress)), _MADE_S, self.report)
        for service in services:
            if service == CAPACITY and self._variant == "in-place":
                continue  # no rule names it
            wait_for(f"the targets of {service}", partial(self._registered, service), 60, self.report)
        self.aws.checks.pass_all()

    def _registered(self, service: str) -> bool:
        return 0 < self.endpoints(service) == self.targets_of(service)

    def close(self) -> None:
        """See the base class."""
        release(self.session, self.namespace)
        super().close()

    def report(self) -> str:
        """See the base class."""
        missing = f"calls that moto lacks: {', '.join(sorted(self.front.missing)) or 'none'}"
        said = "\n".join(f"    {reason}: {message}" for reason, message in self.events())
        return f"{super().report()}\nevents on Ingresses:\n{said}\n{self.lbc.report()}\n{missing}"

    @contextmanager
    def controller(self, **rest: Any) -> Iterator[Service]:
        """See the base class; it reads ELBv2."""
        aws = {"apis": ["elbv2"], "region": REGION}
        with super().controller(**{"aws": aws, **rest}) as service:
            yield service

    def command(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Runs a ``failoverctl`` command to its end, under the controller's ServiceAccount, with ELBv2 and CloudWatch.

        Args:
            arguments: Its command-line arguments.
            settings: Additional settings by variable name without prefix.
        """
        extra = {"AWS__APIS": '["elbv2", "cloudwatch"]', "AWS__LATENCY_STAT": "Average", **settings}
        variables = {**environment(self), **self.aws.environment(), **{f"FAILOVERCTL_{name}": value for name, value in extra.items()}}
        return subprocess.run([PROGRAM, *arguments], env=variables, capture_output=True, text=True, timeout=120, check=False)

    def neighbour(self, service: str) -> None:
        """Creates another owner's Ingress in the same group, before ours, whose only rule leads to a Service."""
        backend = {"service": {"name": service, "port": {"number": 80}}}
        rule = {"host": "neighbour.example", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
        annotations = {**_GROUP, f"{PREFIX}/group.order": "-1", f"{PREFIX}/scheme": "internet-facing", f"{PREFIX}/target-type": "ip"}
        body = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {"name": "neighbour", "namespace": self.namespace, "annotations": annotations},
            "spec": {"ingressClassName": "alb", "rules": [rule]},
        }
        kubectl(self.plane, "apply", "--server-side", "-f", "-", stdin=json.dumps(body))

    def withdraw_webhooks(self) -> None:
        """Removes the webhooks, as if another replica answered them."""
        withdraw_webhooks(self.session, self.namespace)

    # --- what tests check ---------------------------------------------------------------------------------------------------------------

    def hostname(self, ingress: str = "sd21") -> str:
        """The load balancer's address in an Ingress' status, "" if there is none yet."""
        found = self.session.get(INGRESSES, self.namespace, ingress).get("status", {}).get("loadBalancer", {}).get("ingress") or [{}]
        return str(found[0].get("hostname", ""))

    def groups(self) -> dict[str, str]:
        """The ARN of each Service's target group, from the TargetGroupBindings."""
        items = self.session.request("GET", TARGET_GROUP_BINDINGS.path(self.namespace))["items"]
        return {one["spec"]["serviceRef"]["name"]: one["spec"]["targetGroupARN"] for one in items}

    def targets_of(self, service: str) -> int:
        """How many targets a Service's target group has, 0 if there is none yet."""
        return len(self._targets(service))

    def healthy_of(self, service: str) -> int:
        """How many of them are healthy."""
        return sum(one["TargetHealth"]["State"] == "healthy" for one in self._targets(service))

    def _targets(self, service: str) -> list[dict[str, Any]]:
        arn = self.groups().get(service)
        if arn is None:
            return []
        found: list[dict[str, Any]] = self.aws.client("elbv2").describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
        return found

    def live(self) -> dict[str, int]:
        """Weights by Service of the live rule in ELBv2, by ARN where no binding names the target group; none where it answers by itself."""
        names = {arn: service for service, arn in self.groups().items()}
        (rule,) = [one for one in self.rules() if not one["IsDefault"] and not _hosts(one)]
        (action,) = rule["Actions"]
        groups = action.get("ForwardConfig", {"TargetGroups": ()})["TargetGroups"]
        return {names.get(one["TargetGroupArn"], one["TargetGroupArn"]): one.get("Weight", 1) for one in groups}

    def rules(self) -> list[dict[str, Any]]:
        """All rules of the only listener."""
        elb = self.aws.client("elbv2")
        (balancer,) = elb.describe_load_balancers()["LoadBalancers"]
        (listener,) = elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
        found: list[dict[str, Any]] = elb.describe_rules(ListenerArn=listener["ListenerArn"])["Rules"]
        return found

    def standby(self) -> dict[str, str]:
        """The host of each standby rule by the Service to which it forwards."""
        names = {arn: service for service, arn in self.groups().items()}
        return {names[_only(one)]: host for one in self.rules() for host in _hosts(one) if host.endswith(".invalid")}

    def gates(self, unit: str) -> list[str]:
        """The statuses of all readiness gates of a unit's pods; "" if not set yet."""
        query = (("labelSelector", f"app={unit}"),)
        found = []
        for pod in self.session.request("GET", PODS.path(self.namespace), query=query)["items"]:
            said = {one["type"]: one["status"] for one in pod["status"].get("conditions", ())}
            found += [said.get(gate["conditionType"], "") for gate in pod["spec"].get("readinessGates", ())]
        return found

    def attempts(self) -> int:
        """How often the load-balancer controller has deployed its model to AWS."""
        return self.lbc.log.read_text(errors="replace").count("successfully deployed model")

    def events_with(self, reason: str) -> int:
        """How often it reported a reconcile of the Ingress with this reason."""
        items = self.session.request("GET", EVENTS.path(self.namespace))["items"]
        return sum(one.get("count", 1) for one in items if one["reason"] == reason)

    def changes(self, since: int) -> list[str]:
        """The load-balancer controller's changes in AWS after the first `since` ones, without those of targets, which follow pods."""
        return [one.action for one in self.front.writes()[since:] if one.action not in _TARGETS]


class BalancedHandBuilt(BalancedStack, HandBuiltStack):
    """The hand-built stack behind the same kind of load balancer."""

    def ingress(self) -> dict[str, Any]:
        """See the base class."""
        return self.session.get(INGRESSES, self.namespace, hand_built.INGRESS)


def release(session: KubeSession, namespace: str) -> None:
    """Deletes objects with the load-balancer controller's finalizers without its clean-up, because the account is discarded."""
    free = json.dumps({"metadata": {"finalizers": None}})
    for resource in (INGRESSES, TARGET_GROUP_BINDINGS):
        for one in session.request("GET", resource.path(namespace))["items"]:
            path = resource.path(namespace, one["metadata"]["name"])
            with suppress(NotFound):
                session.request("DELETE", path)
                session.request("PATCH", path, body=free, content_type=MERGE_PATCH)


def verdict(service: Service, stack: BalancedStack) -> Verdict | None:
    """The last verification of the present action; None if there was none yet."""
    (view,) = service.controller.views()
    seen = view.snapshot.routing.verification
    return seen.verdict if seen is not None and seen.action == stack.action() else None


def _hosts(rule: Mapping[str, Any]) -> list[str]:
    return [host for one in rule["Conditions"] if one["Field"] == "host-header" for host in one["HostHeaderConfig"]["Values"]]


def _only(rule: Mapping[str, Any]) -> str:
    (action,) = rule["Actions"]
    return str(action.get("TargetGroupArn") or action["ForwardConfig"]["TargetGroups"][0]["TargetGroupArn"])


def alerts(service: Service) -> dict[str, str]:
    """The active alerts' texts by key."""
    (view,) = service.controller.views()
    return {one.key: one.text for one in view.decision.alerts}
