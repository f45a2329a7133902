"""A cluster on the emulated API in which tests write every event, and the production service over it."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from controller.clients.kube import AUTO_TARGET_GROUP_BINDINGS, KubeSession, connect
from controller.clock import Clock, format_rfc3339
from controller.policy.evidence import BATCH_S
from controller.policy.model import Mode
from controller.ports import Message, Notifier
from controller.routing.annotations import MARKER
from controller.routing.ingress.action import format_action
from controller.routing.names import action_key
from controller.service.wiring import Service
from controller.settings import Settings
from failover_harness.waiting import wait_for
from failover_testbed.cluster import routes
from failover_testbed.cluster.routes import Routing
from failover_testbed.kube_api import READ_ONLY, EmulatedKubeApi, Identity
from failover_testbed.lbc.group import Group, Owner
from failover_testbed.running import running as running_in_thread
from tests.support.applications import COST_TARGETS, SERVICES, application, seed_units

NAMESPACE = "shop"
KIND = "FailoverApplication"
ACTION = action_key("weighted-routing")


def application_document(*, routing: Routing = "Ingress", routed_in: str = NAMESPACE, **policy: Any) -> dict[str, Any]:
    """The AWS sample's application file with the recordings' NodePools, for a routing object of some kind in some namespace."""
    elsewhere = {"namespace": routed_in} if routed_in != NAMESPACE else {}
    named = {"route": {"kind": routing, "name": "sd21", **elsewhere, "rule": routes.MAIN}}
    part = {"ingress": "sd21", "action": "weighted-routing"} if routing == "Ingress" else named
    return {
        "apiVersion": "failoverctl.dev/v1alpha1",
        "kind": "FailoverApplication",
        "metadata": {"name": "sd21", "namespace": NAMESPACE},
        "spec": {
            **part,
            "capacityService": {"name": "sd21-all", "port": 80},
            "metrics": {"namespace": "hw-agnostic-infer", "periodSeconds": 60},
            "units": [
                {
                    "name": unit.name,
                    "service": {"name": unit.name, "port": 80},
                    "deployment": unit.deployment,
                    "nodePool": unit.node_pool,
                    "instanceType": unit.instance_type,
                    "pricePerHour": unit.price_per_hour,
                    "throughput": unit.throughput,
                    "latencySeconds": unit.latency_s,
                    "latencyLimitSeconds": 1.2,
                    "weight": unit.weight,
                    "scaledObject": unit.scaled_object,
                    "counterMetric": unit.counter_metric,
                    "latencyMetric": unit.latency_metric,
                }
                for unit in seed_units()
            ],
            "policy": {"patienceSeconds": 0, **policy},
        },
    }


class Cluster:
    """The objects of one application; tests change them by calls.

    Args:
        clock: Time of timestamps.
        without_groups: API groups that are not installed.
        standby: Whether the Ingress has standby rules.
        identity: The controller's identity; with None, one that may do everything.
        auto_mode: Whether the kinds of EKS Auto Mode are served.
        routing: The kind of the object that routes requests. No load-balancer controller runs: `reconciled` plays its part for a route.
        routed_in: The namespace of a route.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        without_groups: frozenset[str] = frozenset(),
        standby: bool = True,
        identity: Identity | None = None,
        auto_mode: bool = False,
        routing: Routing = "Ingress",
        routed_in: str = NAMESPACE,
    ) -> None:
        self.clock = clock
        self.routing, self.routed_in = routing, routed_in
        self._without = without_groups
        self._component = "eks-auto-mode/compute" if auto_mode else "karpenter"
        tokens = {
            "admin": Identity("admin"),
            "controller": identity or Identity("controller"),
            "reader": Identity("reader", READ_ONLY),
        }
        self.api = EmulatedKubeApi(clock, tokens=tokens, without_groups=without_groups, auto_mode=auto_mode)
        self.api.start()
        self.store = self.api.store
        self._number = 0
        self._refused_at = 0.0
        self._gated: set[str] = set()
        self._fill(standby=standby)

    def session(self, folder: Path, token: str = "controller") -> KubeSession:
        """A session of one identity."""
        return connect(kubeconfig=str(self.api.kubeconfig(token, folder / f"{token}.kubeconfig")))

    def _fill(self, *, standby: bool) -> None:
        for name in {NAMESPACE, self.routed_in}:
            self.store.create("Namespace", {"metadata": {"name": name}})
        if self.routing == "Ingress":
            self._route_by_ingress(standby=standby)
        else:
            self._route_by_gateway(standby=standby)
        if "elbv2.k8s.aws" not in self._without:
            for name in (*SERVICES, "sd21-all"):
                self.store.create("TargetGroupBinding", _binding(name, self.routing, self.routed_in))
        for unit in seed_units():
            if "karpenter.sh" not in self._without and unit.name != "sd21-g5-cuda":
                self._node_pool(unit.node_pool, unit.instance_type)
            self._service(unit.name)
            self.store.create("Deployment", _deployment(unit.name, unit.node_pool))
            if "keda.sh" not in self._without:
                self.store.create("ScaledObject", _scaled_object(unit.name, unit.throughput))
            self.ready(unit.name, 2)
        self._service("sd21-all")
        self._slice("sd21-all", 10)

    def _route_by_ingress(self, *, standby: bool) -> None:
        rules = [{"host": f"{name}.standby.invalid", **_path(name, {"number": 80})} for name in (*SERVICES, "sd21-all")] if standby else []
        self.store.create(
            "Ingress",
            {
                "metadata": {
                    "name": "sd21",
                    "namespace": NAMESPACE,
                    "annotations": {ACTION: format_action(COST_TARGETS, 0), "alb.ingress.kubernetes.io/target-type": "ip"},
                },
                "spec": {"ingressClassName": "alb", "rules": [_path("weighted-routing", {"name": "use-annotation"}), *rules]},
            },
            manager="kubectl",
        )

    def route_by(self, routing: Routing, mode: Mode) -> None:
        """A route is created beside the Ingress, in a mode; what is asked of the cluster from now on is about the route."""
        self.routing = routing
        self._route_by_gateway(standby=True, mode=mode)
        for name in (*SERVICES, "sd21-all"):
            binding = _binding(name, routing)
            self.store.create("TargetGroupBinding", {**binding, "metadata": {**binding["metadata"], "name": f"k8s-gateway-{name}"}})

    def _route_by_gateway(self, *, standby: bool, mode: Mode = Mode.COST) -> None:
        elsewhere = self.routed_in if self.routed_in != NAMESPACE else ""
        app = routes.routed_by(application(namespace=NAMESPACE), self.routing, elsewhere)
        for obj in (routes.gateway_class(), *routes.objects(app, mode, {}, standby=standby)):
            self.store.create(obj["kind"], obj, manager="kubectl")
        self.reconciled()

    def reconciled(self, **changes: tuple[str, str]) -> None:
        """The load-balancer controller accepts the route, and shows the address of the Gateway's load balancer.

        Args:
            changes: Status and reason of conditions of the route that are not True, such as ``ResolvedRefs=("False", "BackendNotFound")``.
        """
        at, route = format_rfc3339(self.clock.now()), self.routed()
        conditions = [
            {
                "type": kind,
                "status": status,
                "reason": reason,
                "message": "",
                "lastTransitionTime": at,
                "observedGeneration": route["metadata"]["generation"],
            }
            for kind, (status, reason) in ({one: ("True", one) for one in ("ResolvedRefs", "Accepted")} | changes).items()
        ]
        (parent,) = route["spec"]["parentRefs"]
        said = [{"parentRef": parent, "controllerName": "gateway.k8s.aws/alb", "conditions": conditions}]
        self.store.update_status(self.routing, "sd21", {"parents": said}, namespace=self.routed_in)
        addresses = [{"type": "Hostname", "value": "sd21.us-west-2.elb.amazonaws.com"}]
        self.store.update_status("Gateway", "sd21", {"addresses": addresses}, namespace=self.routed_in)

    def _node_pool(self, name: str, instance_type: str) -> None:
        requirements = [
            {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": [instance_type]},
            {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]},
        ]
        self.store.create("NodePool", {"metadata": {"name": name}, "spec": {"template": {"spec": {"requirements": requirements}}}})

    def _service(self, name: str) -> None:
        spec = {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 8000}]}
        self.store.create("Service", {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})

    def _slice(self, name: str, count: int) -> None:
        labels = {"kubernetes.io/service-name": name}
        pods = [f"{name}-{i}" for i in range(count)]
        for pod in pods:
            self._gated_pod(pod, name)
        endpoints = [
            {"addresses": [f"10.1.{len(name)}.{i}"], "conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": pod}}
            for i, pod in enumerate(pods)
        ]
        body = {
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": [{"name": "http", "port": 8000, "protocol": "TCP"}],
        }
        self.store.apply("EndpointSlice", body, manager="endpoints")

    def _gated_pod(self, name: str, service: str) -> None:
        """A running pod that the load-balancer controller calls healthy: nothing else says so, because ELBv2 is off."""
        if name in self._gated:
            return
        self._gated.add(name)
        spec = {"nodeName": "node", "containers": [{"name": "server", "image": "server:1"}]}
        self.store.create("Pod", {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})
        self.open_gate(name, f"k8s-{service}")

    def open_gate(self, pod: str, binding: str, domain: str = "elbv2.k8s.aws") -> None:
        """The load-balancer controller calls a pod a healthy target of a target group binding."""
        gate = {"type": f"target-health.{domain}/{binding}", "status": "True", "lastTransitionTime": format_rfc3339(self.clock.now())}
        self.store.update_status("Pod", pod, {"phase": "Running", "conditions": [gate]}, namespace=NAMESPACE)

    # --- what tests do ---

    def ready(self, unit: str, ready: int, desired: int | None = None) -> None:
        """Sets a unit's ready and desired replicas; equal with None."""
        self.store.patch("Deployment", unit, {"spec": {"replicas": ready if desired is None else desired}}, namespace=NAMESPACE)
        status = {"replicas": desired or ready, "readyReplicas": ready}
        self.store.patch("Deployment", unit, {"status": status}, namespace=NAMESPACE, subresource="status")
        self._slice(unit, ready)

    def pend(self, unit: str, count: int = 1) -> None:
        """Adds unschedulable pods of a unit, and increases its Deployment's replicas by their number."""
        deployment = self.store.get("Deployment", unit, namespace=NAMESPACE)
        ready = int(deployment["status"].get("readyReplicas", 0))
        self.ready(unit, ready, ready + count)
        pool = deployment["spec"]["template"]["spec"]["nodeSelector"]["karpenter.sh/nodepool"]
        for _ in range(count):
            self._number += 1
            name = f"{unit}-5655dd594d-p{self._number:04d}"
            owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{unit}-5655dd594d", "uid": "u", "controller": True}
            metadata = {
                "name": name,
                "namespace": NAMESPACE,
                "labels": {"app": unit, "pod-template-hash": "5655dd594d"},
                "ownerReferences": [owner],
            }
            spec = {"nodeSelector": {"karpenter.sh/nodepool": pool}, "containers": [{"name": "server", "image": "server:1"}]}
            self.store.create("Pod", {"metadata": metadata, "spec": spec})
            scheduled = {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "lastTransitionTime": format_rfc3339(self.clock.now()),
            }
            self.store.update_status("Pod", name, {"phase": "Pending", "conditions": [scheduled]}, namespace=NAMESPACE)

    def refuse(self, pool: str, instance_type: str, *, zones: tuple[str, ...] = (), code: str = "InsufficientInstanceCapacity") -> str:
        """Karpenter creates a NodeClaim, is refused, writes an event and deletes the NodeClaim.

        A refused claim that allowed every zone was refused in all of them: Karpenter then finds nothing available in the NodePool.
        """
        name = self._claim(pool, instance_type, zones)
        self._event(
            "NodeClaim",
            name,
            "InsufficientCapacityError",
            f"NodeClaim {name} event: creating instance, insufficient capacity, with fleet error(s), {code}: We currently do not have "
            f"sufficient {instance_type} capacity in the Availability Zone you requested (us-west-2a). Our system will be wor...",
        )
        self.store.delete("NodeClaim", name)
        if not zones:
            words = "NodePool requirements filtered out all compatible available instance types"
            self._event("NodePool", pool, "NoCompatibleInstanceTypes", words)
        self._refused_at = self.clock.now()
        return name

    def _event(self, kind: str, name: str, reason: str, message: str) -> None:
        self._number += 1
        now = format_rfc3339(self.clock.now())
        self.store.create(
            "Event",
            {
                "metadata": {"name": f"{name}.{self._number:x}", "namespace": "default"},
                "involvedObject": {"kind": kind, "apiVersion": "karpenter.sh/v1", "name": name},
                "reason": reason,
                "type": "Warning",
                "message": message,
                "source": {"component": self._component},
                "firstTimestamp": now,
                "lastTimestamp": now,
                "count": 1,
            },
        )

    def launch(self, pool: str, instance_type: str) -> str:
        """Karpenter creates a NodeClaim and gets an instance, and its node joins.

        Later than the last refusal by more than a batch of claims takes: sooner, it would count as one of the batch that was refused, and
        prove nothing until the refusal is six minutes old.
        """
        wait_for("another batch of claims", lambda: int(self.clock.now()) > int(self._refused_at) + BATCH_S)
        name = self._claim(pool, instance_type, ())
        now = format_rfc3339(self.clock.now())
        conditions = [{"type": kind, "status": "True", "reason": kind, "lastTransitionTime": now} for kind in ("Launched", "Registered")]
        self.store.update_status("NodeClaim", name, {"providerID": f"aws:///us-west-2b/{name}", "conditions": conditions})
        return name

    def _claim(self, pool: str, instance_type: str, zones: tuple[str, ...]) -> str:
        self._number += 1
        name = f"{pool}-a{self._number:04d}"
        requirements = [{"key": "node.kubernetes.io/instance-type", "operator": "In", "values": [instance_type]}]
        if zones:
            requirements.append({"key": "topology.kubernetes.io/zone", "operator": "In", "values": list(zones)})
        labels = {"karpenter.sh/nodepool": pool}
        self.store.create("NodeClaim", {"metadata": {"name": name, "labels": labels}, "spec": {"requirements": requirements}})
        return name

    def schedule_all(self, unit: str) -> None:
        """Schedules every pending pod of a unit and makes it ready."""
        for pod in self.store.list("Pod", namespace=NAMESPACE, label_selector=f"app={unit}"):
            self.store.delete("Pod", pod["metadata"]["name"], namespace=NAMESPACE, grace_seconds=0)
        deployment = self.store.get("Deployment", unit, namespace=NAMESPACE)
        self.ready(unit, int(deployment["spec"]["replicas"]))

    # --- what tests check ---

    def ingress(self) -> Mapping[str, Any]:
        """The Ingress."""
        return self.store.get("Ingress", "sd21", namespace=NAMESPACE)

    def routed(self, name: str = "sd21") -> Mapping[str, Any]:
        """The routing object."""
        return self.store.get(self.routing, name, namespace=self.routed_in)

    def mode(self, name: str = "sd21") -> str:
        """The mode marker of a routing object, "" if there is none."""
        return str(self.routed(name)["metadata"].get("annotations", {}).get(MARKER, ""))

    def add_ingresses(self, names: Iterable[str]) -> None:
        """Creates further Ingresses like that of the application."""
        for name in names:
            ingress = copy.deepcopy(dict(self.ingress()))
            ingress["metadata"] = {key: ingress["metadata"][key] for key in ("namespace", "annotations")} | {"name": name}
            self.store.create("Ingress", ingress)

    def patches(self, resource: str = "ingresses") -> list[str]:
        """The bodies of the controller's accepted patches, oldest first."""
        return [
            record.body.decode()
            for record in self.api.audit.records(verb="patch", resource=resource)
            if record.user == "controller" and record.code < 300
        ]

    def events(self) -> list[str]:
        """Reasons of the events on the routing object."""
        said = self.store.list("Event", namespace=self.routed_in)
        return [event["reason"] for event in said if event["involvedObject"].get("kind") == self.routing]

    def close(self) -> None:
        """Stops the server."""
        self.api.stop()


def _path(service: str, port: dict[str, Any]) -> dict[str, Any]:
    return {"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {"service": {"name": service, "port": port}}}]}}


def _deployment(name: str, pool: str) -> dict[str, Any]:
    spec = {"nodeSelector": {"karpenter.sh/nodepool": pool}, "containers": [{"name": "server", "image": "server:1"}]}
    template = {"metadata": {"labels": {"app": name}}, "spec": spec}
    return {
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": template},
    }


def _scaled_object(name: str, throughput: float) -> dict[str, Any]:
    metadata = {
        "namespace": "hw-agnostic-infer",
        "expression": f'SELECT SUM("{name}-counter") FROM SCHEMA("hw-agnostic-infer")',
        "metricName": f"{name}-counter",
        "minMetricValue": "1",
        "targetMetricValue": f"{throughput:g}",
        "awsRegion": "us-west-2",
    }
    triggers = [{"type": "aws-cloudwatch", "metadata": metadata, "authenticationRef": {"name": "keda-aws"}}]
    return {
        "metadata": {"name": f"{name}-hpa", "namespace": NAMESPACE},
        "spec": {"scaleTargetRef": {"name": name}, "minReplicaCount": 1, "maxReplicaCount": 20, "triggers": triggers},
    }


def auto_binding(service: str, name: str = "") -> dict[str, Any]:
    """A TargetGroupBinding as EKS Auto Mode makes it: `targetType` is required, and its labels are its own."""
    return {
        "apiVersion": AUTO_TARGET_GROUP_BINDINGS.api_version,
        "kind": AUTO_TARGET_GROUP_BINDINGS.kind,
        "metadata": {
            "name": name or f"k8s-auto-{service}",
            "namespace": NAMESPACE,
            "labels": {"ingress.eks.amazonaws.com/stack-namespace": NAMESPACE, "ingress.eks.amazonaws.com/stack-name": "sd21"},
        },
        "spec": {
            "serviceRef": {"name": service, "port": 80},
            "targetGroupARN": f"arn:aws:elasticloadbalancing:us-west-2:123456789012:targetgroup/auto-{service}/0123456789abcdef",
            "targetType": "ip",
        },
    }


def _binding(service: str, routing: Routing = "Ingress", routed_in: str = NAMESPACE) -> dict[str, Any]:
    owner = Owner.INGRESS if routing == "Ingress" else Owner.GATEWAY
    labels = Group(routed_in, "sd21", owner).labels
    spec = {
        "serviceRef": {"name": service, "port": 80},
        "targetGroupARN": f"arn:aws:elasticloadbalancing:us-west-2:123456789012:targetgroup/{service}/0123456789abcdef",
        "targetType": "ip",
    }
    return {"metadata": {"name": f"k8s-{service}", "namespace": NAMESPACE, "labels": labels}, "spec": spec}


class Collector:
    """A sink that keeps its messages."""

    name = "collector"
    takes_digests = True

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def send(self, message: Message) -> None:
        """Keeps it."""
        self.messages.append(message)


def settings_for(applications: Path | None, **changes: Any) -> Settings:
    """Settings without AWS and leader election, with any free port."""
    aws = {"apis": [], "region": "us-west-2"}
    base: dict[str, Any] = {
        "applications": applications,
        "aws": aws,
        "cloudwatch": {"enabled": False},
        "http": {"host": "127.0.0.1", "port": 0},
        "leader_election": {"enabled": False},
    }
    return Settings(**{**base, **changes})


@contextmanager
def running(service: Service) -> Iterator[Service]:
    """Runs a service in a thread, and ends it on exit."""
    with running_in_thread(service):
        yield service


def write_applications(folder: Path, names: Iterable[str]) -> Path:
    """Writes an application file for each name, into a new folder. All have the same units; only `sd21` has their ScaledObjects."""
    files = folder / "applications"
    files.mkdir()
    for name in names:
        document = application_document()
        document["metadata"]["name"] = document["spec"]["ingress"] = name
        for unit in document["spec"]["units"] if name != "sd21" else ():
            del unit["scaledObject"]  # one ScaledObject has one owner
        (files / f"{name}.yaml").write_text(yaml.safe_dump(document))
    return files


def write_application(folder: Path, *, routing: Routing = "Ingress", routed_in: str = NAMESPACE, **policy: Any) -> Path:
    """Writes the application file."""
    path = folder / "sd21.yaml"
    path.write_text(yaml.safe_dump(application_document(routing=routing, routed_in=routed_in, **policy)))
    return path


def make_service(
    cluster: Cluster,
    folder: Path,
    *,
    policy: Mapping[str, Any] | None = None,
    sinks: tuple[Notifier, ...] = (),
    dry_run: bool = False,
    token: str = "controller",
    **changes: Any,
) -> Service:
    """The production service over the cluster, with the application as an object, which is made if there is none."""
    apply(cluster, application_document(routing=cluster.routing, routed_in=cluster.routed_in, **(policy or {})))
    return Service(settings_for(None, **changes), cluster.session(folder, token), cluster.clock, dry_run=dry_run, extra_sinks=sinks)


def apply(cluster: Cluster, document: Mapping[str, Any]) -> None:
    """Makes the object of an application, or gives it another content."""
    name, namespace = document["metadata"]["name"], document["metadata"]["namespace"]
    before = [one for one in cluster.store.list(KIND, namespace=namespace) if one["metadata"]["name"] == name]
    if not before:
        cluster.store.create(KIND, dict(document))
        return
    gone = dict.fromkeys(set(before[0]["spec"]) - set(document["spec"]))
    cluster.store.patch(KIND, name, {"spec": {**document["spec"], **gone}}, namespace=namespace)


def edit(cluster: Cluster, old: str, new: str) -> None:
    """Changes a text of the application's object, as an editor does."""
    found = cluster.store.get(KIND, "sd21", namespace=NAMESPACE)
    text = yaml.safe_dump(found["spec"])
    assert old in text, text
    cluster.store.patch(KIND, "sd21", {"spec": yaml.safe_load(text.replace(old, new))}, namespace=NAMESPACE)
