"""The Deployment controller, kube-scheduler and the kubelets: they create pods, bind them, load their model and delete them."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final, Protocol

from controller.policy.model import Application
from failover_analysis.simulation.cluster import Node, Pod, UnitPods, types_of
from failover_analysis.simulation.event_queue import EventQueue
from failover_analysis.simulation.karpenter import DRAIN_S, Karpenter

_COLD_START: Final = (0.8, 1.25)  # factor on the unit's own: image pulls differ from node to node; our choice, not measured


class Targets(Protocol):
    """What the pods need from the load balancer."""

    def pod_ready(self, pod: Pod) -> None:
        """A pod serves and can be registered."""

    def pod_gone(self, pod: Pod) -> None:
        """A pod no longer serves and must be deregistered."""


class Workloads:
    """Keeps the number of pods that each Deployment asks for.

    Args:
        event_queue: Virtual time.
        application: The application with the units.
        karpenter: Launches nodes.
        targets: Registers pods with the load balancer.
        chance: A random stream of its own.
        advanced: Called before pods end without a change of replicas.
        changed: Called after each change that a watch would deliver.
    """

    def __init__(
        self,
        event_queue: EventQueue,
        application: Application,
        karpenter: Karpenter,
        targets: Targets,
        chance: random.Random,
        advanced: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        self._event_queue, self._karpenter, self._targets, self._chance = event_queue, karpenter, targets, chance
        self._advanced, self._tell = advanced, changed
        self.version = 0
        """Counts the changes that a watch would deliver."""
        self.units = {unit.name: UnitPods(unit) for unit in application.units}
        self._of_pool: dict[str, list[UnitPods]] = {}
        for pods in self.units.values():
            self._of_pool.setdefault(pods.unit.node_pool, []).append(pods)
        self._made = 0
        self.deleted: dict[str, int] = {}
        """Units whose Deployment somebody has deleted, and the replicas with which it is made again."""
        karpenter.attach(self)

    def _changed(self) -> None:
        self.version += 1
        self._tell()

    # --- the Deployment controller ------------------------------------------------------------------------------------------------------

    def scale(self, unit: str, desired: int) -> None:
        """Sets the number of replicas."""
        pods = self.units[unit]
        if desired == pods.desired or unit in self.deleted:
            return
        pods.desired = desired
        for _ in range(desired - len(pods.pods)):
            self._create(pods)
        if len(pods.pods) > desired:
            # As the ReplicaSet controller: those without a node first, then those that are not ready, then the youngest.
            order = sorted(pods.pods, key=lambda pod: (pod.node is not None, pod.ready, -pod.created))
            for pod in order[: len(pods.pods) - desired]:
                self._delete(pods, pod)
        self._changed()

    def delete(self, unit: str) -> None:
        """Somebody deletes the Deployment, and its pods end."""
        replicas = self.units[unit].desired
        self._advanced()
        self.scale(unit, 0)
        self.deleted[unit] = replicas

    def create(self, unit: str) -> None:
        """Somebody makes the deleted Deployment again: its pods load their model first."""
        self._advanced()
        replicas = self.deleted.pop(unit)
        self.scale(unit, replicas)

    def start(self, unit: str, replicas: int) -> None:
        """Adds replicas that have been running for long."""
        pods = self.units[unit]
        pods.desired = replicas
        pool = self._karpenter.pools[pods.unit.node_pool]
        for number in range(replicas):
            node = self._karpenter.start(pool, pods.unit.instance_type, number)
            pod = self._new(pods)
            pod.node, node.pod = node, pod
            self._make_ready(pods, pod)

    def restart(self, unit: str) -> None:
        """All containers of the unit restart: the pods stay on their nodes and load their model again."""
        pods = self.units[unit]
        for pod in pods.pods:
            if pod.ready:
                pod.ready = False
                pods.ready -= 1
                self._targets.pod_gone(pod)
                self._load(pods, pod)
        self._changed()

    def _new(self, pods: UnitPods) -> Pod:
        self._made += 1
        pod = Pod(f"{pods.unit.name}-{self._made:05d}", pods.unit, self._event_queue.now)
        pods.pods.append(pod)
        return pod

    def _create(self, pods: UnitPods) -> None:
        pod = self._new(pods)
        if not self._bind(pods, pod):
            pod.unschedulable_since = float(int(self._event_queue.now))  # a condition carries whole seconds
            self._karpenter.wanted(pods.unit.node_pool)

    def _delete(self, pods: UnitPods, pod: Pod) -> None:
        pods.pods.remove(pod)
        pod.ending = True
        if pod.ready:
            pod.ready = False
            pods.ready -= 1
            self._targets.pod_gone(pod)
        if pod.node is not None:
            self._event_queue.after(DRAIN_S, lambda: self._vacate(pod))

    def _vacate(self, pod: Pod) -> None:
        node = pod.node
        if node is not None and node.pod is pod:
            node.pod = None
            self.joined(node)
            self._karpenter.emptied(node)

    def evict(self, node: Node) -> None:
        """A node is drained: its pod ends, and the Deployment makes another one."""
        pod = node.pod
        if pod is None or pod.ending:
            return
        pods = self.units[pod.unit.name]
        self._advanced()
        self._delete(pods, pod)
        if len(pods.pods) < pods.desired:
            self._create(pods)
        self._changed()

    # --- kube-scheduler and the kubelets ------------------------------------------------------------------------------------------------

    def waiting(self, pool: str) -> list[Pod]:
        """See `failover_analysis.simulation.karpenter.Pods.waiting`."""
        found = [pod for pods in self._of_pool[pool] for pod in pods.pods if pod.node is None]
        return sorted(found, key=lambda pod: (pod.created, pod.name))

    def said(self) -> None:
        """See `failover_analysis.simulation.karpenter.Pods.said`."""
        self._changed()

    def joined(self, node: Node) -> None:
        """A node has room: the pod that has waited longest of those that may use it gets it."""
        if node.claim.gone:
            return
        pod = next((one for one in self.waiting(node.claim.pool) if node.claim.instance_type in types_of(one.unit)), None)
        if pod is not None:
            self._bind(self.units[pod.unit.name], pod)
            self._changed()

    def _bind(self, pods: UnitPods, pod: Pod) -> bool:
        types, nodes = types_of(pods.unit), self._karpenter.pools[pods.unit.node_pool].nodes
        node = next((one for one in nodes if one.pod is None and one.claim.instance_type in types), None)
        if node is None:
            return False
        node.pod, pod.node, pod.unschedulable_since = pod, node, None
        self._exchange(pod, node)
        self._load(pods, pod)
        return True

    def _exchange(self, pod: Pod, node: Node) -> None:
        """A pod took a node that was launched for another one: that one gets the node being launched for this pod, or none."""
        robbed = next((one for one in self.waiting(node.claim.pool) if one.claim is node.claim), None)
        if robbed is not None:
            robbed.claim = pod.claim if types_of(robbed.unit) == types_of(pod.unit) else None
            if robbed.claim is None or robbed.claim.gone:
                self._karpenter.wanted(node.claim.pool)

    def _load(self, pods: UnitPods, pod: Pod) -> None:
        """Pulls the image and loads the model."""
        due = self._event_queue.now + pods.unit.cold_start_s * self._chance.uniform(*_COLD_START)
        pod.ready_at = due
        self._event_queue.at(due, lambda: self._loaded(pods, pod, due))

    def _loaded(self, pods: UnitPods, pod: Pod, due: float) -> None:
        if not pod.ending and not pod.ready and pod.ready_at == due:
            self._make_ready(pods, pod)
            self._changed()

    def _make_ready(self, pods: UnitPods, pod: Pod) -> None:
        pod.ready = True
        pods.ready += 1
        self._targets.pod_ready(pod)
