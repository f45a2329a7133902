"""Fakes of the controllers of workloads and EndpointSlices, of kube-scheduler and of the kubelets.

A pod takes a whole node, because it needs the node's accelerators. A pod becomes Ready one cold start after it is bound: in that time
the kubelet pulls the image and the server loads the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import count
from typing import Any, Final

from controller.policy.model import Application, Unit, WorkloadKind
from controller.signals.workload_kinds import as_deployment
from failover_testbed.cluster import manifests
from failover_testbed.cluster.events import Recorder
from failover_testbed.cluster.manifests import CONTAINER_PORT, GROUP_SIZE, pinned_types
from failover_testbed.cluster.world import ZONE_LABEL, Node, Object, Pod, World, condition, owner, stable_hash
from failover_testbed.kube_api import ApiError

TERMINATION_S: Final = 30.0
"""How long a terminating pod still finishes requests, seconds: Kubernetes' default grace period."""

_CONTROLLERS: Final = "kube-controller-manager"
_SCHEDULER: Final = "kube-scheduler"
_KUBELET: Final = "kubelet"
_HASH_LABELS: Final = {WorkloadKind.DEPLOYMENT: "pod-template-hash", WorkloadKind.ROLLOUT: "rollouts-pod-template-hash"}
_SET: Final = "leaderworkerset.sigs.k8s.io"


class Workloads:
    """Creates and deletes the pods of every deployment unit as its workload demands.

    Args:
        world: State that the fakes share.
        recorder: For kube-scheduler's events.
    """

    def __init__(self, world: World, recorder: Recorder) -> None:
        self._world, self._recorder = world, recorder
        self._workloads: dict[tuple[str, str], Object] = {}
        self._parents: dict[tuple[str, str], Object] = {}  # what owns their pods
        self._statuses: dict[tuple[str, str], tuple[int, ...]] = {}
        self._slices: dict[tuple[str, str], str] = {}  # the name of a Service's slice
        self._endpoints: dict[tuple[str, str], list[Object]] = {}
        self._changed = True

    # --- the start ----------------------------------------------------------------------------------------------------------------------

    def adopt(self, application: Application, unit: Unit) -> None:
        """Adopts a new workload: creates what owns its pods. A StatefulSet owns them itself."""
        key = (application.namespace, unit.deployment)
        workload = self._world.store.get(unit.workload_kind, unit.deployment, namespace=application.namespace)
        self._workloads[key] = self._parents[key] = workload
        spec, label = as_deployment(workload)["spec"], _HASH_LABELS.get(unit.workload_kind)
        template, selector, parent, name = spec["template"], spec["selector"]["matchLabels"], "StatefulSet", unit.deployment
        labels = {f"{_SET}/name": name}
        if label is not None:
            parent, name = "ReplicaSet", f"{unit.deployment}-{stable_hash(*key)}"
            labels = template["metadata"]["labels"] | {label: stable_hash(*key)}
            selector, template = selector | {label: stable_hash(*key)}, template | {"metadata": {"labels": labels}}
        elif unit.workload_kind is WorkloadKind.STATEFUL_SET:
            return
        metadata = {"name": name, "namespace": application.namespace, "labels": labels, "ownerReferences": [owner(workload)]}
        body = {"metadata": metadata, "spec": {"replicas": spec["replicas"], "selector": {"matchLabels": selector}, "template": template}}
        self._parents[key] = self._world.store.create(parent, body, manager=_CONTROLLERS)

    def start_ready(self, application: Application, unit: Unit, node: Callable[[], Node]) -> None:
        """Creates a replica that is already ready on nodes."""
        for pod in self._create(application, unit):
            self._bind(pod, node())
            self._make_ready(pod)

    def lose(self, pod: Pod) -> None:
        """Removes a pod whose machine failed: without notice or grace period. Its node is not used again."""
        if pod.node is not None:
            pod.node.usable = False
        self._world.store.delete("Pod", pod.name, namespace=pod.namespace, grace_seconds=0)
        self._forget(pod)

    def evict(self, pod: Pod) -> None:
        """Ends a pod whose node is going: it finishes its requests within the grace period, and its workload makes another one."""
        if pod.gone_at is None:
            self._delete(pod)

    # --- a step -------------------------------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Does everything that is due now."""
        for application, unit in self._world.units():
            self._scale(application, unit)
        self._end()
        self._schedule()
        self._load()
        if self._changed:
            self._changed = False
            for application in self._world.applications:
                self._publish(application)

    def publish_all(self) -> None:
        """Writes every EndpointSlice and status once, at the start."""
        self._changed = False
        for application in self._world.applications:
            self._publish(application)

    def waiting(self) -> list[Pod]:
        """The pods that kube-scheduler marked unschedulable, oldest first."""
        return [
            pod for pod in self._world.pods.values() if pod.node is None and pod.gone_at is None and pod.unschedulable_since is not None
        ]

    # --- the controllers of workloads ---------------------------------------------------------------------------------------------------

    def _scale(self, application: Application, unit: Unit) -> None:
        key = (application.namespace, unit.deployment)
        workload = self._world.find(unit.workload_kind, unit.deployment, application.namespace)
        if workload is None:
            return
        self._changed = self._changed or workload["metadata"]["generation"] != self._workloads[key]["metadata"]["generation"]
        self._workloads[key] = workload
        replicas = self._replicas(application, unit)
        wanted = int(workload["spec"].get("replicas", 1))
        for _ in range(wanted - len(replicas)):
            self._create(application, unit)
        if len(replicas) > wanted:
            # Like the ReplicaSet controller: first pods without a node, then pods that are not ready, then the youngest.
            order = sorted(replicas, key=lambda pods: (all(one.node for one in pods), _is_ready(pods, unit), -pods[0].created))
            for pod in (pod for pods in order[: len(replicas) - wanted] for pod in pods):
                self._delete(pod)

    def _replicas(self, application: Application, unit: Unit) -> list[list[Pod]]:
        """The pods of each replica. A group that has lost a pod is restarted as a whole."""
        found: dict[str, list[Pod]] = {}
        for pod in self._world.pods_of(application, unit):
            found.setdefault(pod.replica, []).extend([pod] if pod.gone_at is None else [])
        for pod in (pod for pods in found.values() if len(pods) < _size(unit) for pod in pods):
            self._delete(pod)
        return [pods for pods in found.values() if len(pods) == _size(unit)]

    def _create(self, application: Application, unit: Unit) -> list[Pod]:
        """Creates the pods of one more replica."""
        world, parent = self._world, self._parents[application.namespace, unit.deployment]
        name = parent["metadata"]["name"]
        if parent["kind"] == "ReplicaSet":
            return [self._pod(application, unit, parent, f"{name}-{world.suffix()}")]
        there = {pod.replica for pod in world.pods_of(application, unit)}
        ordinal = next(number for number in count() if f"{name}-{number}" not in there)
        replica, labels = f"{name}-{ordinal}", {f"{_SET}/name": name, f"{_SET}/group-index": str(ordinal)}
        if _size(unit) == 1:
            return [self._pod(application, unit, parent, replica)]
        made = [self._pod(application, unit, parent, replica, labels | {f"{_SET}/worker-index": "0"})]
        leader = world.store.get("Pod", replica, namespace=application.namespace)
        metadata = {"name": replica, "namespace": application.namespace, "labels": labels, "ownerReferences": [owner(leader)]}
        body = {"metadata": metadata, "spec": parent["spec"] | {"replicas": _size(unit) - 1}}
        known = world.find("StatefulSet", replica, application.namespace)
        workers = known or world.store.create("StatefulSet", body, manager=_CONTROLLERS)
        for number in range(1, _size(unit)):
            own = labels | {f"{_SET}/worker-index": str(number)}
            made.append(self._pod(application, unit, workers, f"{replica}-{number}", own, replica))
        return made

    def _pod(
        self, application: Application, unit: Unit, parent: Object, name: str, labels: Mapping[str, str] | None = None, replica: str = ""
    ) -> Pod:
        world, template = self._world, parent["spec"]["template"]
        body = {
            "metadata": {
                "name": name,
                "generateName": f"{parent['metadata']['name']}-",
                "namespace": application.namespace,
                "labels": {**({} if replica else template["metadata"]["labels"]), **(labels or {})},
                "ownerReferences": [owner(parent)],
            },
            "spec": template["spec"] | {"terminationGracePeriodSeconds": int(TERMINATION_S)},
        }
        uid, pinned = world.store.create("Pod", body, manager=_CONTROLLERS)["metadata"]["uid"], pinned_types(application, unit)
        pod = Pod(name, uid, application.namespace, unit, world.now(), pinned, replica=replica or name, leads=not replica)
        pod.pools, pod.more, pod.claims_devices = (
            manifests.named_pools(template["spec"]),
            manifests.more(template["spec"]),
            bool(template["spec"].get("resourceClaims")),
        )
        world.pods[pod.namespace, pod.name] = pod
        self._changed = True
        return pod

    def _delete(self, pod: Pod) -> None:
        self._changed = True
        kept = self._world.store.delete("Pod", pod.name, namespace=pod.namespace)
        if kept is None:
            self._forget(pod)
        else:
            pod.gone_at = self._world.now() + TERMINATION_S

    def _end(self) -> None:
        """Removes the pods whose grace period is over."""
        now = self._world.now()
        for pod in [pod for pod in self._world.pods.values() if pod.gone_at is not None and now >= pod.gone_at]:
            self._world.store.delete("Pod", pod.name, namespace=pod.namespace, grace_seconds=0)
            self._forget(pod)

    def _forget(self, pod: Pod) -> None:
        if pod.node is not None:
            pod.node.pod, pod.node.empty_since = None, self._world.now()
        pod.ready = False
        self._world.pods.pop((pod.namespace, pod.name), None)
        self._changed = True

    # --- kube-scheduler -----------------------------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        for pod in [pod for pod in self._world.pods.values() if pod.node is None and pod.gone_at is None]:
            node = self._free_node(pod)
            if node is not None:
                self._bind(pod, node)
                self._recorder.scheduler(pod, "Scheduled", f"Successfully assigned {pod.namespace}/{pod.name} to {node.name}")
            elif pod.unschedulable_since is None:
                self._refuse(pod)

    def _free_node(self, pod: Pod) -> Node | None:
        return next((node for node in self._world.nodes.values() if node.usable and node.pod is None and pod.fits(node)), None)

    def _refuse(self, pod: Pod) -> None:
        nodes = len(self._world.nodes)
        message = "no nodes available to schedule pods"
        if nodes:
            reasons = f"{nodes} node(s) didn't match Pod's node affinity/selector"
            taken = sum(node.pool in pod.node_pools for node in self._world.nodes.values())
            if taken:
                reasons = f"{taken} Insufficient accelerators, {nodes - taken} node(s) didn't match Pod's node affinity/selector"
            message = (
                f"0/{nodes} nodes are available: {reasons}. preemption: 0/{nodes} nodes are available: "
                f"{nodes} Preemption is not helpful for scheduling."
            )
        pod.unschedulable_since = self._world.now()
        self._recorder.scheduler(pod, "FailedScheduling", message)
        at = self._world.stamp(pod.unschedulable_since)
        refused = condition("PodScheduled", "False", at, reason="Unschedulable", message=message, lastProbeTime=None)
        self._status(pod, {"phase": "Pending", "conditions": [refused]}, _SCHEDULER)

    def _bind(self, pod: Pod, node: Node) -> None:
        world = self._world
        node.pod, pod.node, pod.bound_at, pod.ip = pod, node, world.now(), world.address()
        labels = {ZONE_LABEL: node.zone}
        world.store.patch(
            "Pod",
            pod.name,
            {"spec": {"nodeName": node.name}, "metadata": {"labels": labels}},
            namespace=pod.namespace,
            manager=_SCHEDULER,
        )
        self._status(pod, self._running(pod, ready=False), _KUBELET)
        self._changed = True

    # --- the kubelets -------------------------------------------------------------------------------------------------------------------

    def _load(self) -> None:
        """Makes pods ready that have loaded their model."""
        now = self._world.now()
        for pod in list(self._world.pods.values()):
            if pod.node is not None and not pod.ready and pod.gone_at is None and now - pod.bound_at >= pod.unit.cold_start_s:
                self._make_ready(pod)

    def _make_ready(self, pod: Pod) -> None:
        pod.ready = True
        self._status(pod, self._running(pod, ready=True), _KUBELET)
        self._changed = True

    def _running(self, pod: Pod, *, ready: bool) -> Object:
        bound, now = self._world.stamp(pod.bound_at), self._world.stamp()
        state, why = ("True", "") if ready else ("False", "ContainersNotReady")
        return {
            "phase": "Running",
            "podIP": pod.ip,
            "podIPs": [{"ip": pod.ip}],
            "startTime": bound,
            "conditions": [
                condition("PodReadyToStartContainers", "True", bound),
                condition("Initialized", "True", bound),
                condition("Ready", state, now, reason=why),
                condition("ContainersReady", state, now, reason=why),
                condition("PodScheduled", "True", bound),
            ],
            "containerStatuses": [
                {
                    "name": "server",
                    "ready": ready,
                    "restartCount": 0,
                    "image": "server:1",
                    "started": ready,
                    "state": {"running": {"startedAt": bound}},
                }
            ],
        }

    def _status(self, pod: Pod, status: Mapping[str, Any], manager: str) -> None:
        try:
            self._world.store.update_status("Pod", pod.name, status, namespace=pod.namespace, manager=manager)
        except ApiError:
            # Something else deleted it; the workload creates another one.
            self._forget(pod)

    # --- what follows from the pods -----------------------------------------------------------------------------------------------------

    def _publish(self, application: Application) -> None:
        for unit in application.units:
            self._publish_status(application, unit)
            self._publish_slice(application, unit.backend.service, self._world.pods_of(application, unit))
        everyone = [pod for unit in application.units for pod in self._world.pods_of(application, unit)]
        self._publish_slice(application, application.capacity.service, everyone)

    def _publish_status(self, application: Application, unit: Unit) -> None:
        key, store = (application.namespace, unit.deployment), self._world.store
        workload, replicas = self._workloads[key], self._replicas(application, unit)
        total, generation = len(replicas), int(workload["metadata"]["generation"])
        ready = sum(_is_ready(pods, unit) for pods in replicas)
        if self._statuses.get(key) == (ready, total, generation):
            return
        self._statuses[key] = (ready, total, generation)
        now, wanted = self._world.stamp(), int(workload["spec"].get("replicas", 1))
        available = "True" if ready >= wanted * 0.75 else "False"
        reason = "MinimumReplicasAvailable" if available == "True" else "MinimumReplicasUnavailable"
        counts = {"observedGeneration": generation, "replicas": total, "readyReplicas": ready, "availableReplicas": ready}
        status = counts | {
            "updatedReplicas": total,
            "unavailableReplicas": max(0, wanted - ready),
            "conditions": [condition("Available", available, now, reason=reason, lastUpdateTime=now)],
        }
        store.update_status(unit.workload_kind, unit.deployment, status, namespace=application.namespace, manager=_CONTROLLERS)
        parent = self._parents[key]
        kind, name = parent["kind"], parent["metadata"]["name"]
        if kind == unit.workload_kind:  # a StatefulSet has no other parent
            return
        if parent["spec"]["replicas"] != wanted:
            parent["spec"]["replicas"] = wanted
            store.patch(kind, name, {"spec": {"replicas": wanted}}, namespace=application.namespace, manager=_CONTROLLERS)
        store.update_status(kind, name, counts, namespace=application.namespace, manager=_CONTROLLERS)

    def _publish_slice(self, application: Application, service: str, pods: Iterable[Pod]) -> None:
        key, store = (application.namespace, service), self._world.store
        endpoints = [_endpoint(pod) for pod in sorted(pods, key=lambda pod: pod.name) if pod.node is not None and pod.leads]
        if self._endpoints.get(key) == endpoints:
            return
        self._endpoints[key] = endpoints
        if key in self._slices:
            store.patch(
                "EndpointSlice",
                self._slices[key],
                {"endpoints": endpoints},
                namespace=application.namespace,
                manager=_CONTROLLERS,
            )
            return
        found = self._world.find("Service", service, application.namespace)
        if found is None:
            return
        body = {
            "metadata": {
                "name": f"{service}-{self._world.suffix()}",
                "namespace": application.namespace,
                "labels": {
                    "kubernetes.io/service-name": service,
                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                },
                "ownerReferences": [owner(found)],
            },
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": [{"name": found["spec"]["ports"][0]["name"], "protocol": "TCP", "port": CONTAINER_PORT}],
        }
        self._slices[key] = store.create("EndpointSlice", body, manager=_CONTROLLERS)["metadata"]["name"]


def _size(unit: Unit) -> int:
    return GROUP_SIZE if unit.workload_kind is WorkloadKind.LEADER_WORKER_SET else 1


def _is_ready(pods: list[Pod], unit: Unit) -> bool:
    return sum(pod.ready for pod in pods) == _size(unit)


def _endpoint(pod: Pod) -> Object:
    assert pod.node is not None  # noqa: S101 - the caller checked
    ending = pod.gone_at is not None
    return {
        "addresses": [pod.ip],
        "conditions": {"ready": pod.ready and not ending, "serving": pod.ready, "terminating": ending},
        "targetRef": {"kind": "Pod", "namespace": pod.namespace, "name": pod.name, "uid": pod.uid},
        "nodeName": pod.node.name,
        "zone": pod.node.zone,
    }
