"""Pods, workloads, EndpointSlices, Services, ScaledObjects and target group bindings, kept as far as decisions need them.

What takes a change reports whether anything that decisions depend on is different now: most of what a cluster reports is not.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from controller.clients.kube import AUTO_TARGET_GROUP_BINDINGS, DEPLOYMENTS, TARGET_GROUP_BINDINGS
from controller.clock import parse_rfc3339
from controller.foreign import shown
from controller.objects import (
    Object,
    behind,
    condition,
    dig,
    field_owners,
    integer,
    items,
    mapping,
    name_of,
    namespace_of,
    pinned_values,
    put,
    service_port,
    shared,
    text,
    version,
    version_of,
)
from controller.policy.model import SCALE_IN_S, Application, PendingPod, Scaler, ScalerMetric, Unit, WorkloadKind
from controller.policy.plan import FIELD_MANAGER
from controller.routing.attributes import keeps_clients
from controller.routing.names import ATTRIBUTES
from controller.signals.instance_labels import TYPE_LABEL
from controller.signals.launchable import Placement, placement_of
from controller.signals.node_labels import CAPACITY_LABEL, ZONE_LABEL
from controller.signals.room import Room
from controller.signals.slim import BEHAVIOR, GATE_PREFIX, SCALE_IN, SCALE_OUT, pack, slim, unpack
from controller.signals.waiting_pods import Selector, WaitingPod, WaitingPods, waiting_pod
from controller.signals.workload_kinds import SIZE, WORKLOADS, Owner, as_deployment, template_source

_BINDING_GROUPS: Final = frozenset({TARGET_GROUP_BINDINGS.group, AUTO_TARGET_GROUP_BINDINGS.group})
_FLOOR_OWNERS: Final = "floorOwners"  # beside metadata and spec of what is kept: who last wrote minReplicaCount
_TROUBLE: Final = "trouble"  # likewise: what KEDA says of it
_SERVICE_LABEL: Final = "kubernetes.io/service-name"
_PAUSED: Final = ("autoscaling.keda.sh/paused", "autoscaling.keda.sh/paused-replicas", "autoscaling.keda.sh/paused-scale-out")
_SCALE_IN_PAUSED: Final = "autoscaling.keda.sh/paused-scale-in"
TRIGGER_TYPE: Final = "aws-cloudwatch"
"""The type of the triggers whose target is a unit's throughput. Other triggers may have a ``metricName``, too."""
DEFAULT_PERIOD_S: Final = 300
"""KEDA's ``metricStatPeriod`` where a trigger says nothing, seconds."""
_DEFAULT_STATISTIC: Final = "Average"  # KEDA's
_PERIOD: Final = re.compile(r"[0-9]{1,6}")
_MOST_REPLICAS: Final = 2**31  # Kubernetes keeps counts of replicas in 32 bits; the memory of a larger floor could not be read again
_NUMBER: Final = 64  # characters of a number that is written as text
_LONGEST_WINDOW_S: Final = 3600  # more is refused for an HPA, and KEDA then calls its ScaledObject not ready
_MESSAGE: Final = 300  # of a condition; `kubectl describe` shows the rest
_GO_FALSE: Final = frozenset({"0", "f", "F", "false", "False", "FALSE"})  # what KEDA reads as "not paused"; anything else pauses

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Workload:
    """What is kept of a unit's workload of any kind.

    `selector` is its `matchLabels`. `source` is the Deployment that has its selector and its template, "" where they are its own.
    """

    desired: int
    ready: int
    uncreated: int
    source: str
    selector: Selector
    zones: tuple[str, ...]
    instance_types: tuple[str, ...]
    capacity_types: tuple[str, ...]
    placement: Placement

    def selects(self, labels: Mapping[str, Any]) -> bool:
        """Whether its selector's labels are among a pod's. One without labels selects by expressions, which are not read."""
        return bool(self.selector) and all(label in labels and labels[label] == value for label, value in self.selector)


@dataclass(frozen=True, slots=True)
class Binding:
    """What is kept at hand of a target group binding. `created` is by the cluster's clock, 0 where it does not say."""

    name: str
    port: int | str | None
    target_group: str
    created: float


class WorkloadView:
    """The workloads of the applications' namespaces. Not thread-safe: `ClusterView` locks.

    Args:
        room: Bounds the waiting pods; None: one of its own.
    """

    def __init__(self, room: Room | None = None) -> None:
        self._pending = WaitingPods(room or Room())
        self._workloads: dict[WorkloadKind, dict[Key, Workload]] = {kind: {} for kind in WORKLOADS}
        self._names: dict[str, set[Owner]] = {}  # of the workloads, by namespace
        self._slices: dict[Key, dict[str, tuple[str, ...]]] = {}  # ready endpoints by Service and slice
        self._endpoints: dict[Key, int] = {}  # ready ones by Service: read for every Service in every round of verifications
        self.slice_services: dict[Key, str] = {}
        self.services: dict[Key, tuple[tuple[int | str, ...], bool | None]] = {}
        self.scalers: dict[Key, tuple[str, bytes]] = {}  # resourceVersion, and everything else packed
        self._named_scalers: frozenset[Key] = frozenset()  # by the applications' units
        self._left_floors: dict[str, dict[str, int]] = {}  # by namespace and name: floors of ours on ScaledObjects that no unit names
        self._read_scalers: dict[Key, tuple[tuple[str, bytes], str, Scaler]] = {}  # of what and by which metric it was read
        self._bindings: dict[str, dict[tuple[str, str], bytes]] = {}  # packed, by namespace, then by API group and name
        self._bound: dict[str, dict[str, tuple[Binding, ...]]] = {}  # by namespace and Service, until a binding changes
        self._gates: dict[str, dict[str, tuple[tuple[str, float], ...]]] = {}  # open ones by namespace and pod: binding, and since when
        self._binding_versions: dict[str, int] = {}  # by namespace that has any
        self._binding_changes = 0  # in all namespaces: no version comes twice
        self._groups_known: set[str] = set()  # the API groups whose bindings could be listed
        self._groups_absent: set[str] = set()  # those whose bindings could not; of the others nothing has been heard yet

    # --- what the watches deliver ---

    def pod(self, kind: str, obj: Object) -> bool:
        """Takes one pod. Only those that wait for a node are kept, and the readiness gates of the others."""
        namespace, name = namespace_of(obj), name_of(obj)
        self._keep_gates(namespace, name, () if kind == "DELETED" else tuple(_open_gates(obj)))
        pod = None if kind == "DELETED" else waiting_pod(obj)
        return self._pending.remove((namespace, name)) if pod is None else self._pending.put(pod)

    def waiting(self, namespace: str, name: str) -> WaitingPod | None:
        """A pod that waits for a node; None where it does not."""
        return self._pending.get((namespace, name))

    def _keep_gates(self, namespace: str, name: str, gates: tuple[tuple[str, float], ...]) -> None:
        if gates:
            self._gates.setdefault(namespace, {})[shared(name)] = gates
        elif self._gates.get(namespace, {}).pop(name, None) is not None and not self._gates[namespace]:
            del self._gates[namespace]

    def workload(self, what: WorkloadKind, kind: str, obj: Object) -> bool:
        """Takes one workload."""
        known, key, owner = self._workloads[what], (namespace_of(obj), name_of(obj)), Owner(what, name_of(obj))
        if kind == "DELETED":
            names = self._names.get(key[0], set())
            names.discard(owner)
            if not names:  # a cluster may have thousands of namespaces a day
                self._names.pop(key[0], None)
            return known.pop(key, None) is not None
        self._names.setdefault(key[0], set()).add(owner)
        obj = as_deployment(obj)
        template, desired = mapping(obj, "spec", "template", "spec"), _count(dig(obj, "spec", "replicas"), 1)  # the default of all kinds
        # Only a StatefulSet creates its pods in turn: what another kind has not created yet comes in a moment.
        created = _count(dig(obj, "status", "replicas"), 0) if what is WorkloadKind.STATEFUL_SET else desired
        seen = Workload(
            desired=desired,
            uncreated=max(0, desired - created),
            source=template_source(obj),
            ready=_count(dig(obj, "status", "readyReplicas"), 0),
            selector=tuple((label, _shared(value)) for label, value in mapping(obj, "spec", "selector", "matchLabels").items()),
            zones=pinned_values(template, ZONE_LABEL),
            instance_types=pinned_values(template, TYPE_LABEL),
            capacity_types=pinned_values(template, CAPACITY_LABEL),
            placement=placement_of(template, _count(dig(obj, "spec", SIZE), 1)),
        )
        return put(known, key, seen)

    def endpoint_slice(self, kind: str, obj: Object) -> bool:
        """Takes one EndpointSlice."""
        namespace, name = namespace_of(obj), name_of(obj)
        service = shared(text(mapping(obj, "metadata", "labels"), _SERVICE_LABEL))
        before = self.slice_services.get((namespace, name))
        changed = False
        if before is not None and (kind == "DELETED" or before != service):
            del self.slice_services[namespace, name]
            slices = self._slices[namespace, before]
            del slices[name]
            if not slices:
                del self._slices[namespace, before]
            self._count_endpoints((namespace, before))
            changed = True
        if kind == "DELETED":
            return changed
        self.slice_services[namespace, name] = service
        changed = put(self._slices.setdefault((namespace, service), {}), name, tuple(sorted(set(_ready_endpoints(obj))))) or changed
        self._count_endpoints((namespace, service))
        return changed

    def _count_endpoints(self, service: Key) -> None:
        slices = self._slices.get(service)
        if slices:
            self._endpoints[service] = len(set().union(*slices.values()))
        else:
            self._endpoints.pop(service, None)

    def service(self, kind: str, obj: Object) -> bool:
        """Takes one Service: its ports, by number and by name, and whether its own annotation keeps clients on their targets."""
        key = (namespace_of(obj), name_of(obj))
        if kind == "DELETED":
            return self.services.pop(key, None) is not None
        ports: list[int | str] = []
        for port in items(obj, "spec", "ports"):
            number, name = integer(port, "port"), text(port, "name")
            ports.extend(value for value in (number, name) if value)
        attributes = mapping(obj, "metadata", "annotations").get(ATTRIBUTES)
        return put(self.services, key, (tuple(ports), keeps_clients(attributes) if isinstance(attributes, str) else None))

    def scaled_object(self, kind: str, obj: Object) -> bool:
        """Takes one ScaledObject. KEDA writes its status at every poll: that is no change."""
        key = (namespace_of(obj), name_of(obj))
        before = self.scalers.get(key)
        older = before is not None and behind(version_of(obj), version(before[0]))
        # A watch adds before it modifies: a change of what is not there is the answer to our own write, overtaken by a deletion.
        if older or (kind == "MODIFIED" and before is None):
            return False
        only = {} if kind == "DELETED" else _only_scaler(obj)
        after = (text(obj, "metadata", "resourceVersion"), pack(only)) if only else None
        if after == before:
            return False
        self._keep_left_floor(key, only)
        self._read_scalers.pop(key, None)
        if after is None:
            del self.scalers[key]
            return True
        self.scalers[key] = after
        return before is None or before[1] != after[1]

    def name_scalers(self, named: Iterable[Key]) -> None:
        """Notes which ScaledObjects the applications' units name."""
        self._named_scalers, self._left_floors = frozenset(named), {}
        for key in self.scalers.keys() - self._named_scalers:
            self._keep_left_floor(key, unpack(self.scalers[key][1]))

    def _keep_left_floor(self, key: Key, only: Object) -> None:
        """Keeps the floor of a ScaledObject that no unit names, if it is ours; `only` is empty for one that is gone."""
        namespace, name = key
        if key not in self._named_scalers and only and _floor_ours(only):
            self._left_floors.setdefault(namespace, {})[name] = _floor_of(only)
        elif self._left_floors.get(namespace, {}).pop(name, None) is not None and not self._left_floors[namespace]:
            del self._left_floors[namespace]

    def forget_versions(self, namespace: str | None) -> None:
        """Lets the next state of each ScaledObject of a namespace replace the one that is known, whatever its version."""
        self.scalers |= {key: ("", known[1]) for key, known in self.scalers.items() if namespace in {None, key[0]}}

    def binding(self, group: str, kind: str, obj: Object) -> bool:
        """Takes one TargetGroupBinding of one API group: EKS Auto Mode has its own."""
        namespace, key = namespace_of(obj), (group, name_of(obj))
        if kind == "DELETED":
            changed = self._bindings.get(namespace, {}).pop(key, None) is not None
        else:
            changed = put(self._bindings.setdefault(namespace, {}), key, pack(slim("targetgroupbindings", obj)))
        if changed:
            self._bindings_changed(namespace)
        return changed

    def _bindings_changed(self, namespace: str) -> None:
        self._bound.pop(namespace, None)
        self._binding_changes += 1
        self._binding_versions[namespace] = self._binding_changes
        if not self._bindings[namespace]:  # as before the first: its version is that of a namespace without any
            del self._bindings[namespace], self._binding_versions[namespace]

    def bindings_listable(self, group: str, *, known: bool) -> None:
        """Notes whether one API group's TargetGroupBindings can be listed."""
        self._groups_known, self._groups_absent = self._groups_known - {group}, self._groups_absent - {group}
        (self._groups_known if known else self._groups_absent).add(group)

    def kept(self) -> dict[str, int]:
        """How many objects are kept, by kind. Of the pods those that wait for a node or have an open readiness gate."""
        return {
            "pods": len(self._pending) + sum(map(len, self._gates.values())),
            **{WORKLOADS[kind].plural: len(known) for kind, known in self._workloads.items()},
            "endpointslices": len(self.slice_services),
            "services": len(self.services),
            "scaledobjects": len(self.scalers),
            "targetgroupbindings": sum(map(len, self._bindings.values())),
        }

    def pods(self) -> list[Key]:
        """Namespace and name of the pods of which something is kept."""
        return [*self._pending, *((space, name) for space, pods in self._gates.items() for name in pods)]

    def bindings_of(self, group: str) -> list[Key]:
        """Namespace and name of one API group's TargetGroupBindings."""
        return [(space, name) for space, known in self._bindings.items() for kind, name in known if kind == group]

    # --- what is read ---

    def workloads_of_pod(self, namespace: str, name: str) -> tuple[str, ...]:
        """The names of the workloads that a waiting pod may be of: by its owner, and every one that selects it.

        Returns:
            () where it is not waiting. "" is among them where nobody owns it: `pending` then checks more than workloads.
        """
        pod = self.waiting(namespace, name)
        if pod is None:
            return ()
        there = self._names.get(namespace, ())
        return (pod.owner.name, *(one.name for one in there if self._defined(namespace, one).selects(pod.labels)))

    def service_of_slice(self, namespace: str, name: str) -> str:
        """The Service that an EndpointSlice belongs to, "" where it is not known."""
        return self.slice_services.get((namespace, name), "")

    def service_of_binding(self, group: str, namespace: str, name: str) -> str:
        """The Service that a TargetGroupBinding belongs to, "" where it is not known."""
        known = self._bindings.get(namespace, {}).get((group, name))
        return "" if known is None else text(unpack(known), "spec", "serviceRef", "name")

    def of_kind(self, kind: WorkloadKind) -> Collection[Key]:
        """Namespace and name of the workloads of a kind."""
        return self._workloads[kind]

    def workload_of(self, namespace: str, unit: Unit) -> Workload | None:
        """A unit's workload, None where it is not there."""
        there = (namespace, unit.deployment) in self._workloads[unit.workload_kind]
        return self._defined(namespace, Owner(unit.workload_kind, unit.deployment)) if there else None

    def _defined(self, namespace: str, owner: Owner) -> Workload:
        """A workload that is there, with its selector and its template wherever it has them from."""
        own = self._workloads[WorkloadKind(owner.kind)][namespace, owner.name]
        source = self._workloads[WorkloadKind.DEPLOYMENT].get((namespace, own.source)) if own.source else None
        return own if source is None else replace(source, desired=own.desired, ready=own.ready)

    def pending(self, application: Application, sharing: Mapping[str, int]) -> dict[str, tuple[PendingPod, ...]]:
        """The pods that wait for a node, by unit.

        Args:
            application: Whose units.
            sharing: How many units of any application use each NodePool in the application's namespace: a pod that no workload
                explains belongs to a unit only where its NodePool serves that unit alone.
        """
        found: dict[str, list[PendingPod]] = {unit.name: [] for unit in application.units}
        own = {unit.node_pool for unit in application.units}
        for pod in self._candidates(application):
            if pod.unschedulable_since is None or (pod.pools and own.isdisjoint(pod.pools)):
                continue
            unit = self._unit_of(pod, application, sharing)
            if unit is not None:
                found[unit.name].append(
                    PendingPod(
                        pod.name, pod.unschedulable_since, pod.pools, pod.types, devices=pod.devices, uid=pod.uid, replica=pod.replica
                    )
                )
        return {name: tuple(sorted(pods, key=lambda pod: (pod.since, pod.name))) for name, pods in found.items()}

    def _candidates(self, application: Application) -> list[WaitingPod]:
        """The waiting pods that may be the demand of one of the application's units."""
        known = [(unit.deployment, self.workload_of(application.namespace, unit)) for unit in application.units]
        return self._pending.candidates(application.namespace, ((name, one.selector if one else ()) for name, one in known))

    def _unit_of(self, pod: WaitingPod, application: Application, sharing: Mapping[str, int]) -> Unit | None:
        """The unit whose demand a pod is: by its workload, else as the only one whose NodePool and instance types it asks for."""
        candidates = [unit for unit in application.units if not pod.pools or unit.node_pool in pod.pools]
        for unit in candidates:
            workload = self.workload_of(application.namespace, unit)
            if workload is not None and workload.selector:
                if workload.selects(pod.labels):
                    return unit
            elif pod.owner == (unit.workload_kind, unit.deployment):  # not seen, or selects by expressions only
                return unit
        alone = [
            unit
            for unit in candidates
            if pod.pools == (unit.node_pool,)
            and (sharing.get(unit.node_pool, 0) == 1 or (pod.types and set(pod.types) <= {unit.instance_type, *unit.instance_types}))
            and self.workload_of(application.namespace, unit) is None
            and not pod.owner.name
        ]
        return alone[0] if len(alone) == 1 else None

    def endpoints_ready(self, namespace: str, service: str) -> int | None:
        """Ready endpoints of a Service, None where it has no EndpointSlice."""
        return self._endpoints.get((namespace, service))

    def service_ports(self, namespace: str, service: str) -> tuple[int | str, ...] | None:
        """Ports of a Service by number and name, None where it does not exist."""
        found = self.services.get((namespace, service))
        return None if found is None else found[0]

    def keeps_clients(self, namespace: str, service: str) -> bool | None:
        """Whether a Service's annotation keeps each client on one target of its group, None where it states no attributes."""
        found = self.services.get((namespace, service))
        return None if found is None else found[1]

    @property
    def bindings_known(self) -> bool | None:
        """Whether target group bindings of any API group could be listed at all; None while an answer is still to come."""
        return bool(self._groups_known) or (False if self._groups_absent >= _BINDING_GROUPS else None)

    def bindings_version(self, namespace: str) -> tuple[bool | None, int]:
        """Differs from an earlier one if the target group bindings of a namespace may have changed since."""
        return self.bindings_known, self._binding_versions.get(namespace, 0)

    def bindings(self, namespace: str) -> list[Object]:
        """The target group bindings of a namespace, of any API group."""
        return [unpack(binding) for binding in self._bindings.get(namespace, {}).values()]

    def bound(self, namespace: str) -> Mapping[str, tuple[Binding, ...]]:
        """The target group bindings of a namespace by Service, in the order of the Services' names."""
        known = self._bound.get(namespace)
        if known is None:
            found: dict[str, list[Binding]] = {}
            for obj in self.bindings(namespace):
                made = parse_rfc3339(text(obj, "metadata", "creationTimestamp")) or 0.0
                port = service_port(dig(obj, "spec", "serviceRef", "port"))
                binding = Binding(shared(name_of(obj)), port, text(obj, "spec", "targetGroupARN"), made)
                found.setdefault(text(obj, "spec", "serviceRef", "name"), []).append(binding)
            known = self._bound[namespace] = {service: tuple(found[service]) for service in sorted(found) if service}
        return known

    def opened(self, namespace: str, service: str) -> list[float]:
        """When the readiness gates for a Service's target groups became true, of its ready endpoints, by the cluster's clock.

        A gate that was true before its target group was made says nothing of it: the load-balancer controller names both alike when it
        makes a target group again.
        """
        gates = self._gates.get(namespace)
        bindings = self.bound(namespace).get(service, ()) if gates else ()
        if not gates or not bindings:
            return []
        made = {binding.name: binding.created for binding in bindings}
        found = []
        for pod in set().union(*self._slices.get((namespace, service), {}).values()):
            mine = [at for name, at in gates.get(pod, ()) if at >= made.get(name, at + 1)]
            found += [min(mine)] if mine else []
        return found

    def scaler(self, namespace: str, unit: Unit) -> Scaler | None:
        """A unit's ScaledObject, None where it names none or it does not exist."""
        key = (namespace, unit.scaled_object or "")
        obj = self.scalers.get(key) if unit.scaled_object else None
        if obj is None:
            return None
        known = self._read_scalers.get(key)
        if known is None or known[0] is not obj or known[1] != unit.counter_metric:
            known = self._read_scalers[key] = (obj, unit.counter_metric, _read_scaler(unpack(obj[1]), obj[0], unit))
        return known[2]

    def left_floors(self, namespace: str) -> dict[str, int]:
        """The floors of ours on the ScaledObjects of a namespace that no unit names, by name."""
        return dict(self._left_floors.get(namespace, {}))


def _floor_ours(only: Object) -> bool:
    """Whether we wrote the floor of a ScaledObject as it is kept."""
    return FIELD_MANAGER in items(only, _FLOOR_OWNERS)


def _floor_of(only: Object) -> int:
    return _count(dig(only, "spec", "minReplicaCount"), 0)  # KEDA's default


def _shared(value: object) -> object:
    return shared(value) if isinstance(value, str) else value


def _only_scaler(obj: Object) -> Object:
    """A ScaledObject as it is kept, without its version: KEDA writes its status at every poll, and that is no change."""
    kept = slim("scaledobjects", obj)
    metadata = kept["metadata"]
    annotations = mapping(metadata, "annotations")
    owners = field_owners(kept, "spec", "minReplicaCount")
    kept["metadata"] = {
        "name": metadata.get("name"),
        "uid": metadata.get("uid"),
        "annotations": {name: annotations[name] for name in (*_PAUSED, _SCALE_IN_PAUSED) if name in annotations},
    }
    kept.pop("status", None)
    return {**kept, _FLOOR_OWNERS: owners, _TROUBLE: _trouble(obj)}


def _trouble(obj: Object) -> tuple[str, bool]:
    """Why KEDA does not scale by the metric, and whether that is more than one question that failed.

    `Ready` alone does not tell: where a `fallback` is set it stays true while CloudWatch refuses every question. The HPA stops at the first
    one; `Fallback` becomes true once more than `failureThreshold` have failed.
    """
    ready, fallback, hpa = (condition(obj, kind) for kind in ("Ready", "Fallback", "HPAActive"))
    if text(ready, "status") == "False":
        return f"KEDA calls it not ready: {' '.join(shown(text(ready, 'message') or text(ready, 'reason'), _MESSAGE).split())}", True
    if text(fallback, "status") == "True":
        return "KEDA cannot read its metric and keeps to its fallback", True
    if text(hpa, "status") == "False":
        return f"its HPA does not scale: {shown(text(hpa, 'reason'))}", False
    return "", False


def paused(annotations: Mapping[str, Any]) -> bool:
    """Whether a ScaledObject's annotations keep KEDA from adding replicas, as it reads them."""
    everything, replicas, growth = _PAUSED
    return replicas in annotations or _says(annotations, everything) or _says(annotations, growth)


def _says(annotations: Mapping[str, Any], name: str) -> bool:
    """Whether KEDA takes an annotation for true."""
    return str(annotations.get(name, "false")) not in _GO_FALSE


def _ready_endpoints(obj: Object) -> Iterator[str]:
    """The ready endpoints of a slice; by pod where it says which, for a dual-stack Service has a slice of the same pods for each family."""
    for endpoint in items(obj, "endpoints"):
        if dig(endpoint, "conditions", "ready") is False:  # the API: null means ready
            continue
        address = next((value for value in items(endpoint, "addresses") if isinstance(value, str)), "")
        pod = text(endpoint, "targetRef", "name") if text(endpoint, "targetRef", "kind") == "Pod" else ""
        if address:
            yield shared(pod or address)  # of its unit's Service, and of the one over all pods


def _open_gates(obj: Object) -> Iterator[tuple[str, float]]:
    """The readiness gates of a pod that the load-balancer controller has set: the name of the binding, and since when."""
    for one in items(obj, "status", "conditions"):
        kind = text(one, "type")
        since = parse_rfc3339(text(one, "lastTransitionTime"))
        if kind.startswith(GATE_PREFIX) and text(one, "status") == "True" and since is not None:
            yield shared(kind.partition("/")[2]), since


def _read_scaler(obj: Object, version: str, unit: Unit) -> Scaler:
    index, trigger = _trigger(items(obj, "spec", "triggers"), unit.counter_metric)
    annotations = mapping(obj, "metadata", "annotations")
    trouble, lasting = obj[_TROUBLE]
    scaled = mapping(obj, "spec", "scaleTargetRef")
    return Scaler(
        name=name_of(obj),
        resource_version=version,
        min_replicas=_floor_of(obj),
        max_replicas=_count(dig(obj, "spec", "maxReplicaCount"), 100),  # KEDA's default
        target=shown(text(trigger, "metadata", "targetMetricValue"), _NUMBER),
        trigger_index=index,
        floor_ours=_floor_ours(obj),
        paused=paused(annotations),
        trouble=trouble,
        lasting=lasting,
        uid=text(obj, "metadata", "uid"),
        idle_replicas=integer(obj, "spec", "idleReplicaCount"),
        formula=bool(text(obj, "spec", "advanced", "scalingModifiers", "formula")),
        scale_in_s=read_scale_in_s(obj),
        scale_out_s=read_scale_out_s(obj),
        metric=None if index is None else scaler_metric(trigger),
        scales=shown(f"{text(scaled, 'kind') or DEPLOYMENTS.kind} {text(scaled, 'name')}") if scaled else "",
    )


def read_scale_in_s(scaled_object: Object) -> float | None:
    """How long a ScaledObject's HPA waits before it removes replicas, seconds; None where it never does.

    Its `policies` are left to the HPA: they bound how many replicas go in a while, also where a floor sank. While scale-in is paused, KEDA
    makes an HPA with `selectPolicy: Disabled`, whatever the ScaledObject says.

    Args:
        scaled_object: The ScaledObject. A value that Kubernetes refuses for an HPA counts as none.
    """
    rules = mapping(scaled_object, "spec", *BEHAVIOR, SCALE_IN)
    if text(rules, "selectPolicy") == "Disabled" or _says(mapping(scaled_object, "metadata", "annotations"), _SCALE_IN_PAUSED):
        return None
    return _window_s(rules, SCALE_IN_S)


def read_scale_out_s(scaled_object: Object) -> float:
    """How long a ScaledObject's HPA waits before it adds replicas, seconds; by default it does not.

    Args:
        scaled_object: The ScaledObject. A value that Kubernetes refuses for an HPA counts as none.
    """
    return _window_s(mapping(scaled_object, "spec", *BEHAVIOR, SCALE_OUT), 0.0)


def _window_s(rules: Object, default: float) -> float:
    seconds = integer(rules, "stabilizationWindowSeconds")
    return float(seconds) if seconds is not None and 0 <= seconds <= _LONGEST_WINDOW_S else default


def scaler_metric(trigger: Object) -> ScalerMetric:
    """What a trigger on CloudWatch counts, as far as it says."""
    period, expression = text(trigger, "metadata", "metricStatPeriod"), text(trigger, "metadata", "expression")
    period_s, kind = int(period) if _PERIOD.fullmatch(period) else None, shown(text(trigger, "metricType"), _NUMBER)
    if expression:  # it has a statistic and a namespace of its own, and KEDA ignores those beside it
        return _scaler_metric(period_s, shown(_function(expression), _NUMBER), "", kind)
    statistic, namespace = text(trigger, "metadata", "metricStat"), text(trigger, "metadata", "namespace")
    return _scaler_metric(period_s, shown(statistic, _NUMBER) or _DEFAULT_STATISTIC, shown(namespace), kind)


def _function(expression: str) -> str:
    """The function of a query of CloudWatch Metrics Insights, ``SELECT SUM(…) FROM …``; "" of any other expression."""
    select, function = [*expression.split(maxsplit=2), "", ""][:2]
    return function.partition("(")[0] if select.upper() == "SELECT" and "(" in function else ""


@lru_cache(maxsize=256)
def _scaler_metric(period_s: int | None, statistic: str, namespace: str, kind: str) -> ScalerMetric:
    """One object for all units whose triggers count alike."""
    return ScalerMetric(period_s, statistic, namespace, kind)


def _trigger(triggers: list[Any], metric: str) -> tuple[int | None, Object]:
    """The CloudWatch trigger on the unit's counter: by metric name, else by an expression that mentions it."""
    whole = re.compile(rf"(?<![\w-]){re.escape(metric)}(?![\w-])")  # "a-counter" is not mentioned by "a-counter-old"
    for field, matches in (("metricName", whole.fullmatch), ("expression", whole.search)):
        for index, trigger in enumerate(triggers):
            value = text(trigger, "metadata", field)
            if metric and value and text(trigger, "type") == TRIGGER_TYPE and matches(value):
                return index, trigger
    return None, {}


def _count(value: object, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST_REPLICAS else default
