"""One application as real objects on the real control plane, changes to it, and the production service over it."""

from __future__ import annotations

import json
import random
import string
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import yaml

from controller.clients.kube import (
    APPLY_PATCH,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    EVENTS,
    INGRESSES,
    MERGE_PATCH,
    NODE_CLAIMS,
    NODE_POOLS,
    PODS,
    SCALED_OBJECTS,
    SERVICES,
    TARGET_GROUP_BINDINGS,
    KubeSession,
    Resource,
    connect,
)
from controller.clock import SystemClock, format_rfc3339
from controller.errors import NotFound, RemoteError
from controller.policy.model import Unit
from controller.ports import Notifier
from controller.routing.annotations import MARKER
from controller.routing.ingress.action import parse_action
from controller.service.store import record_name
from controller.service.wiring import Service
from failover_harness.control_plane.audit import UNKNOWN, Entry
from failover_harness.control_plane.control_plane import ControlPlane
from failover_harness.control_plane.describe import describe
from failover_harness.control_plane.kubelet import Kubelet
from failover_harness.waiting import wait_for
from tests.cluster import objects
from tests.cluster.manifests import KUSTOMIZED, Installation, apply_folder, overlay
from tests.cluster.objects import ACTION, CAPACITY, Object
from tests.support.applications import SERVICES as UNITS
from tests.support.applications import seed_units
from tests.support.cluster import application_document, running, settings_for

_AGAIN_S: Final = 3.0  # more than the 2 s within which NodeClaims count as one batch, in whole seconds
_CONDITIONS: Final = ("Launched", "Registered", "Initialized", "Ready")
QUICK: Final[Mapping[str, Any]] = {
    "patienceSeconds": 0,
    "dwellCapacitySeconds": 0,
    "quietSeconds": 2,
    "holdMinSeconds": 0,
    "holdMaxSeconds": 0,
}
"""A policy with short waits, because the API server's time cannot be accelerated."""


class Stack:
    """One application. Use it as a context manager, inside which the fake kubelets run.

    Args:
        plane: The control plane.
        namespace: Its namespace, also part of the names of cluster-scoped objects.
        folder: Folder of its files.
        installation: The installation of the controller.
    """

    BLIND: ClassVar[bool] = True
    """Whether nobody here can say which targets are healthy: there is no ELBv2."""

    ROUTING: ClassVar[Resource] = INGRESSES
    """The kind of the object that routes to it."""

    def __init__(self, plane: ControlPlane, namespace: str, folder: Path, installation: Installation = KUSTOMIZED) -> None:
        self.plane, self.namespace, self.folder, self.installation = plane, namespace, folder, installation
        self.session = plane.patient_session()
        self._nodes = 0
        self._refused = 0.0  # monotonic: when the last refused NodeClaim was created
        self._kubelet_session = plane.patient_session()
        self.kubelet = Kubelet(self._kubelet_session)
        self.units: dict[str, Unit] = {
            unit.name: replace(unit, node_pool=f"{unit.node_pool}-{namespace.removeprefix('t-')}") for unit in seed_units()
        }
        self.probes: dict[str, str] = {}
        """Who finds out that capacity has returned, by unit; the others have the default."""
        self.started = moment()

    def __enter__(self) -> Self:
        self.kubelet.__enter__()
        try:
            self._fill()
        except BaseException as error:
            error.add_note(self.report())  # no test has begun, so nothing else reports the state
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Deletes cluster-scoped objects and ends the kubelets; the namespace's objects are deleted with it."""
        for name in self.units:
            self._delete(DEPLOYMENTS, name)
        for claim in self._mine(NODE_CLAIMS):
            remove(self.session, NODE_CLAIMS.path(None, claim["metadata"]["name"]))
        for node in self._nodes_of(self.pools):
            self.kubelet.remove(node)
        for pool in self.pools:
            self._delete(NODE_POOLS, pool)
        self.kubelet.__exit__(None, None, None)
        self.session.close()
        self._kubelet_session.close()

    # --- making it ----------------------------------------------------------------------------------------------------------------------

    @property
    def pools(self) -> list[str]:
        """Its NodePools."""
        return sorted({unit.node_pool for unit in self.units.values()})

    @property
    def key(self) -> str:
        """The application's key."""
        return f"{self.namespace}/sd21"

    def _fill(self) -> None:
        self.grant()
        for pool in self.pools:
            instance_type = next(unit.instance_type for unit in self.units.values() if unit.node_pool == pool)
            self._create(NODE_POOLS, objects.node_pool(pool, instance_type))
        for unit in self.units.values():
            self._create(DEPLOYMENTS, objects.deployment(unit, unit.node_pool, 1))
            self._create(SERVICES, objects.service(unit.name, {"app": unit.name}))
            self._create(SCALED_OBJECTS, objects.scaled_object(unit))
            self._make_room(unit.name)
        self._create(SERVICES, objects.service(CAPACITY, {"model": "sd21"}))
        for name in (*UNITS, CAPACITY):
            self._create(TARGET_GROUP_BINDINGS, objects.binding(name, self.namespace))
        self._route()
        wait_for("every unit is ready", lambda: self.endpoints(CAPACITY) == len(self.units), deadline_s=120)

    def _route(self) -> None:
        """Creates the object that routes to it."""
        self._create(INGRESSES, objects.ingress(self.namespace))

    def _make_room(self, unit: str) -> None:
        """Provides a node for a unit's first replica."""
        self.node(unit)

    def grant(self) -> None:
        """Grants the controller its permissions in the namespace, as documented."""
        apply_folder(self.plane, overlay(self.folder, "application", self.namespace))

    def revoke(self) -> None:
        """Takes that away."""
        self.session.request("DELETE", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{self.namespace}/rolebindings/failoverctl")

    def _create(self, resource: Resource, body: Object) -> Object:
        return self.session.request("POST", resource.path(self.namespace), body=json.dumps(body))

    def _patch(self, resource: Resource, name: str, body: Object, *, status: bool = False) -> Object:
        path = resource.path(self.namespace, name) + ("/status" if status else "")
        return self.session.request("PATCH", path, body=json.dumps(body), content_type=MERGE_PATCH)

    def _delete(self, resource: Resource, name: str) -> None:
        try:
            self.session.request("DELETE", resource.path(self.namespace, name))
        except NotFound:
            return

    def _mine(self, resource: Resource) -> list[Object]:
        items: list[Object] = self.session.request("GET", resource.path(self.namespace))["items"]
        return [one for one in items if one["metadata"].get("labels", {}).get("karpenter.sh/nodepool") in self.pools]

    def _nodes_of(self, pools: list[str]) -> list[str]:
        items = self.session.request("GET", "/api/v1/nodes")["items"]
        return [one["metadata"]["name"] for one in items if one["metadata"]["labels"].get("karpenter.sh/nodepool") in pools]

    # --- what Karpenter and KEDA do -----------------------------------------------------------------------------------------------------

    def scale(self, unit: str, replicas: int) -> None:
        """KEDA sets a Deployment's replicas."""
        self._patch(DEPLOYMENTS, unit, {"spec": {"replicas": replicas}})

    def pend(self, unit: str, replicas: int = 2) -> None:
        """KEDA sets more replicas than there are nodes, and the scheduler marks the others unschedulable."""
        self.scale(unit, replicas)
        wait_for("the scheduler's verdict", lambda: self.unschedulable(unit) > 0)

    def refuse(self, unit: str, *, zones: tuple[str, ...] = ()) -> str:
        """Karpenter creates a NodeClaim, EC2 refuses it, and Karpenter writes an Event and deletes the NodeClaim.

        Args:
            unit: The unit of the NodePool.
            zones: The allowed zones of the NodeClaim; all if empty.

        Returns:
            The NodeClaim's name.
        """
        claim = self._claim(unit, zones)
        self._refused = time.monotonic()
        name, now = claim["metadata"]["name"], format_rfc3339(time.time())
        waiting = [
            {"type": kind, "status": "Unknown", "reason": "AwaitingReconciliation", "message": "", "lastTransitionTime": now}
            for kind in _CONDITIONS
        ]
        claim = self._patch(NODE_CLAIMS, name, {"status": {"conditions": waiting}}, status=True)
        event = objects.refusal(claim, self.units[unit].instance_type, f"{name}.{time.time_ns():x}", now)
        self.session.request("POST", EVENTS.path("default"), body=json.dumps(event))
        self._delete(NODE_CLAIMS, name)
        self._patch(NODE_CLAIMS, name, {"metadata": {"finalizers": None}})
        return str(name)

    def launch(self, unit: str) -> str:
        """Karpenter creates a NodeClaim and gets an instance, and its node joins for a pending pod.

        Karpenter asks again ten seconds after a refusal. This takes less, but long enough that the NodeClaim is not of the refused batch.

        Returns:
            The NodeClaim's name.
        """
        time.sleep(max(0.0, self._refused + _AGAIN_S - time.monotonic()))
        name: str = self._claim(unit, ())["metadata"]["name"]
        node = self.node(unit)
        now = format_rfc3339(time.time())
        conditions = [{"type": kind, "status": "True", "reason": kind, "message": "", "lastTransitionTime": now} for kind in _CONDITIONS]
        status = {"providerID": f"aws:///{objects.ZONE}/i-{node}", "nodeName": node, "conditions": conditions}
        self._patch(NODE_CLAIMS, name, {"status": status}, status=True)
        return name

    def _claim(self, unit: str, zones: tuple[str, ...]) -> Object:
        made = self.units[unit]
        pool = self.session.get(NODE_POOLS, None, made.node_pool)
        suffix = "".join(random.choices(string.ascii_lowercase + string.digits, k=5))
        return self._create(NODE_CLAIMS, objects.node_claim(f"{made.node_pool}-{suffix}", pool, made.instance_type, zones))

    def node(self, unit: str) -> str:
        """A node of a unit's NodePool joins, with room for one replica."""
        self._nodes += 1
        made = self.units[unit]
        name = f"ip-10-0-{self._nodes}-{self.namespace}"
        labels = {
            "karpenter.sh/nodepool": made.node_pool,
            "karpenter.sh/capacity-type": "on-demand",
            "node.kubernetes.io/instance-type": made.instance_type,
            "topology.kubernetes.io/zone": objects.ZONE,
        }
        self.kubelet.register(name, labels, {"cpu": "4", "memory": "16Gi", "pods": "10"}, taints=(objects.TAINT,))
        return name

    def shortage(self, unit: str = "sd21-inf2") -> None:
        """A pending pod, a refusal, and Karpenter's word that nothing of the NodePool is available any more."""
        self.pend(unit)
        self.saturate(unit)

    def saturate(self, unit: str = "sd21-inf2") -> None:
        """A refusal, and Karpenter's word that nothing of the NodePool is available any more: a shortage, where a pod is pending."""
        self.refuse(unit)
        pool = self.session.get(NODE_POOLS, None, self.units[unit].node_pool)
        event = objects.saturation(pool, f"{pool['metadata']['name']}.{time.time_ns():x}", format_rfc3339(time.time()))
        self.session.request("POST", EVENTS.path("default"), body=json.dumps(event))

    # --- what people and their tools do -------------------------------------------------------------------------------------------------

    def reapply(self, manager: str, action: str) -> None:
        """A GitOps tool applies its action by force."""
        body = {**_identity(), "metadata": {"name": "sd21", "namespace": self.namespace, "annotations": {ACTION: action}}}
        path, query = INGRESSES.path(self.namespace, "sd21"), (("fieldManager", manager), ("force", "true"))
        self.session.request("PATCH", path, query=query, body=json.dumps(body), content_type=APPLY_PATCH)

    def update(self, manager: str, action: str) -> None:
        """A tool without server-side apply reads the Ingress, changes it and writes it back."""
        current = self.ingress()
        current["metadata"]["annotations"][ACTION] = action
        self.session.replace(INGRESSES, self.namespace, "sd21", current, field_manager=manager)

    def annotate(self, **values: str | None) -> None:
        """Sets or removes our annotations on what routes to it: ``paused_until`` is ``failoverctl.dev/paused-until``."""
        named = {f"failoverctl.dev/{name.replace('_', '-')}": value for name, value in values.items()}
        self._patch(self.ROUTING, "sd21", {"metadata": {"annotations": named}})

    def recreate_ingress(self) -> str:
        """Deletes and recreates the Ingress; returns the new uid."""
        self._delete(INGRESSES, "sd21")
        return str(self._create(INGRESSES, objects.ingress(self.namespace))["metadata"]["uid"])

    # --- the controller -----------------------------------------------------------------------------------------------------------------

    def application_file(self, **policy: Any) -> Path:
        """Writes the application file; the policy has the shortest waits by default."""
        document = application_document(**{**QUICK, "allowUnsafeSwitch": self.BLIND, **policy})
        document["metadata"]["namespace"] = self.namespace
        document["spec"] |= self._routed()
        for unit in document["spec"]["units"]:
            unit["nodePool"] = self.units[unit["name"]].node_pool
            unit.update({"probe": self.probes[unit["name"]]} if unit["name"] in self.probes else {})
        path = self.folder / "sd21.yaml"
        path.write_text(yaml.safe_dump(document))
        return path

    def _routed(self) -> Object:
        """What the application file says of its routing in place of an Ingress and an action."""
        return {}

    def kubeconfig(self, *, host: str | None = None, account: str = "") -> Path:
        """A kubeconfig of the controller's ServiceAccount, or of another one in its namespace."""
        account = account or self.installation.account
        token = self.plane.service_account_token(self.installation.namespace, account)
        return self.plane.kubeconfig(self.folder / f"{account}-{time.time_ns()}.kubeconfig", token=token, host=host)

    def controller_session(self, *, host: str | None = None, account: str = "") -> KubeSession:
        """A session as the controller."""
        return connect(kubeconfig=str(self.kubeconfig(host=host, account=account)))

    @contextmanager
    def controller(
        self,
        *,
        policy: Mapping[str, Any] | None = None,
        sinks: tuple[Notifier, ...] = (),
        session: KubeSession | None = None,
        dry_run: bool = False,
        **changes: Any,
    ) -> Iterator[Service]:
        """Runs the production service; enters the context after its first decision.

        Args:
            policy: Policy of the application file, in addition to `QUICK`.
            sinks: Additional sinks for messages.
            session: A session other than the ServiceAccount's.
            dry_run: See `Service`.
            changes: Changes of the settings.
        """
        own = session or self.controller_session()
        kubernetes = {"state_namespace": self.installation.namespace}
        settings = settings_for(self.application_file(**(policy or {})), **{"kubernetes": kubernetes, **changes})
        with running(Service(settings, own, SystemClock(), dry_run=dry_run, extra_sinks=sinks)) as service:
            wait_for("the first decision", lambda: bool(service.controller.views()), deadline_s=40)
            yield service
        own.close()

    # --- what tests check ---------------------------------------------------------------------------------------------------------------

    def report(self) -> str:
        """The state of everything, for the message of a failed test."""
        try:
            routing = f"Ingress: mode {self.mode() or 'not marked'}, action {self.action()}"
        except RemoteError as error:
            routing = f"Ingress: {error}"
        workloads = describe(self.session, self.namespace, tuple(self.pools))
        return f"{routing}\n{workloads}\n{self.kubelet.report()}\n{self.plane.report()}"

    def ingress(self) -> Object:
        """The Ingress, or what routes in its place."""
        return self.session.get(self.ROUTING, self.namespace, "sd21")

    def mode(self) -> str:
        """The mode marker, "" if there is none."""
        return str(self.ingress()["metadata"]["annotations"].get(MARKER, ""))

    def action(self) -> str:
        """The routing action, "" if there is none."""
        return str(self.ingress()["metadata"]["annotations"].get(ACTION, ""))

    def targets(self) -> list[str]:
        """The Services that the routing action names."""
        return [target.service for target in parse_action(self.action())[0]]

    def scaled(self, unit: str) -> tuple[int, str]:
        """Floor and target of a unit's ScaledObject."""
        spec = self.session.get(SCALED_OBJECTS, self.namespace, f"{unit}-hpa")["spec"]
        (trigger,) = spec["triggers"]
        assert trigger["authenticationRef"]["name"] == "keda-aws", "the trigger must keep what the controller does not own"
        return int(spec["minReplicaCount"]), str(trigger["metadata"]["targetMetricValue"])

    def events(self) -> list[tuple[str, str]]:
        """Reason and text of the events on the Ingress."""
        items = self.session.request("GET", EVENTS.path(self.namespace))["items"]
        return [(one["reason"], one["message"]) for one in items if one["involvedObject"]["kind"] == "Ingress"]

    def memory(self) -> Object:
        """The controller's memory, from its ConfigMap."""
        path = f"/api/v1/namespaces/{self.installation.namespace}/configmaps/{record_name(self.key)}"
        found: Object = json.loads(self.session.request("GET", path)["data"]["memory"])
        return found

    def endpoints(self, service: str) -> int:
        """The ready endpoints of a Service."""
        query = (("labelSelector", f"kubernetes.io/service-name={service}"),)
        slices = self.session.request("GET", ENDPOINT_SLICES.path(self.namespace), query=query)["items"]
        return sum(one["conditions"]["ready"] for each in slices for one in each["endpoints"] or ())

    def unschedulable(self, unit: str) -> int:
        """The number of a unit's unschedulable pods."""
        pods = self.session.request("GET", PODS.path(self.namespace), query=(("labelSelector", f"app={unit}"),))["items"]
        return sum(one.get("reason") == "Unschedulable" for pod in pods for one in pod["status"].get("conditions", ()))

    def audit(self, *, since: str = "") -> list[Entry]:
        """The controller's requests for this application and for shared objects since this stack was created."""
        spaces = {"", "default", self.installation.namespace, self.namespace}
        begin = max(since, self.started)
        return [one for one in self.plane.audit(self.installation.user) if one.namespace in spaces and one.at >= begin]

    def writes(self, resource: str = "", *, since: str = "") -> list[Entry]:
        """The controller's writes to the application's objects, accepted or not, without events.

        Args:
            resource: Plural; "" for all.
            since: RFC 3339.
        """
        return [
            one
            for one in self.audit(since=since)
            if one.namespace == self.namespace
            and one.verb not in {"get", "list", "watch"}
            and one.resource != "events"
            and resource in {"", one.resource}
        ]

    def routings(self) -> list[str]:
        """The routing actions that the controller wrote, in order. A repeated write changed nothing and counts once."""
        written = [one.body for one in self.writes("ingresses") if one.code in {200, UNKNOWN} and one.body]
        actions = [body["metadata"]["annotations"][ACTION] for body in written if ACTION in body["metadata"]["annotations"]]
        return [action for action, _ in groupby(actions)]


def remove(session: KubeSession, path: str) -> None:
    """Deletes an object that has another controller's finalizer, without waiting for that controller."""
    with suppress(NotFound):
        session.request("DELETE", path)
        session.request("PATCH", path, body=json.dumps({"metadata": {"finalizers": None}}), content_type=MERGE_PATCH)


def moment() -> str:
    """The present time in the audit log's format."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _identity() -> Object:
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress"}
