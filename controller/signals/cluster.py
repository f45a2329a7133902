"""The view of the cluster that all watches feed and all applications are observed from.

One set of watches serves every application. What a change touches (a namespace, a NodePool) is noted, so that only the applications
concerned are decided upon again; a watch of thousands of unrelated events wakes nobody.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from controller.clients.kube import (
    AUTO_NODE_CLASSES,
    AUTO_TARGET_GROUP_BINDINGS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    EVENTS,
    INGRESSES,
    NODE_CLAIMS,
    NODE_CLASSES,
    NODE_POOLS,
    PODS,
    SCALED_OBJECTS,
    SERVICES,
    TARGET_GROUP_BINDINGS,
    KubeSession,
    Object,
    Resource,
)
from controller.clock import Clock, parse_rfc3339
from controller.objects import behind, name_of, namespace_of, text, version_of
from controller.policy.model import Application, PoolObservation, RoutingObservation, Source
from controller.routing.kinds import routing_port
from controller.signals.cluster_clock import ClusterClock, pool_by_our_clock
from controller.signals.discovery import Discovery
from controller.signals.karpenter import KarpenterView
from controller.signals.list_turns import ListTurns
from controller.signals.reconciles import ReconcileView
from controller.signals.slim import pack, slim, unpack
from controller.signals.watch import LISTS, Query, Watch, WatchHealth
from controller.signals.workloads import WorkloadView

EVENT_NAMESPACE: Final = "default"  # events of cluster-scoped objects, such as NodeClaims, live here

_MAX_POOLS: Final = 1_000  # NodePools whose observation is kept for the next application
_POOLS_REUSED_S: Final = 1.0  # the applications of one pass ask a moment after each other; no window of the policy is that fine

# The API server selects, because a busy cluster has more events than fit into memory, and no other is ever read. Selectors know no "or".
_INGRESS_EVENTS: Final = (("fieldSelector", "involvedObject.kind=Ingress"),)
# Karpenter has another name in EKS Auto Mode; kube-scheduler says the same of every pod that waits, many times over.
_POD_EVENTS: Final = (("fieldSelector", "involvedObject.kind=Pod,reason=FailedScheduling,source!=default-scheduler"),)
_CLUSTER_EVENTS: Final = tuple(
    (("fieldSelector", f"involvedObject.kind={kind},reason={reason}"),)
    for kind, reason in (
        ("NodeClaim", "InsufficientCapacityError"),
        ("NodeClaim", "DisruptionLaunching"),
        ("NodePool", "NoCompatibleInstanceTypes"),
    )
)

_OF_SERVICES: Final = frozenset({ENDPOINT_SLICES.plural, TARGET_GROUP_BINDINGS.plural})

_EVENTS_SHARE: Final = 2 / 3  # of the idle limit: how long one watch of events lasts

# Which watches make up which source of signals, and whether decisions may be made without it.
_SOURCES: Final = tuple(
    (name, required, tuple(resource.name for resource in resources))
    for name, required, resources in (
        ("karpenter", True, (EVENTS, NODE_CLAIMS, NODE_POOLS)),
        ("workloads", True, (PODS, DEPLOYMENTS, ENDPOINT_SLICES)),
        ("ingress", True, (INGRESSES,)),
        ("services", False, (SERVICES,)),
        ("keda", False, (SCALED_OBJECTS,)),
        ("target-group-bindings", False, (TARGET_GROUP_BINDINGS, AUTO_TARGET_GROUP_BINDINGS)),
        ("node-classes", False, (NODE_CLASSES, AUTO_NODE_CLASSES)),
    )
)
_EITHER: Final = frozenset({"target-group-bindings", "node-classes"})
"""The sources of which one kind suffices. A cluster has the kind of a controller of its own, that of EKS Auto Mode, or both."""

SELDOM: Final = frozenset({TARGET_GROUP_BINDINGS, AUTO_TARGET_GROUP_BINDINGS, NODE_CLASSES, AUTO_NODE_CLASSES})
"""The kinds that many clusters lack: discovery is asked first, once for all namespaces."""

_CLUSTER_EVENTS_OF: Final = (EVENT_NAMESPACE, EVENTS.name)


Concern = tuple[str, str, str]
"""What an application depends on: plural, namespace and name. EndpointSlices and target group bindings count as their Service."""


class Dirty:
    """What has changed since it was last taken. Thread-safe.

    Args:
        wake: Called after every change, from the watch's thread; must not block.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._wake = wake
        self._concerns: set[Concern] = set()
        self._namespaces: set[str] = set()
        self._pools: set[str] = set()
        self._all = False
        self._index = _Index(())
        self._alternatives: dict[str, frozenset[str]] = {}  # by application, of those that have any

    def may_use(self, application: str, pools: frozenset[str]) -> None:
        """Notes the NodePools that an application's waiting pods name beside those of its units: what changes in one concerns it, too."""
        with self._lock:
            if pools:
                self._alternatives[application] = pools
            else:
                self._alternatives.pop(application, None)

    def mark(self, *concerns: Concern, namespace: str = "", pool: str = "", everything: bool = False) -> None:
        """Notes a change and wakes the loop."""
        if not (concerns or namespace or pool or everything):
            return
        with self._lock:
            self._concerns.update(concerns)
            if namespace:
                self._namespaces.add(namespace)
            if pool:
                self._pools.add(pool)
            self._all = self._all or everything
        self._wake()

    def pending(self) -> bool:
        """Whether something has changed since it was last taken."""
        with self._lock:
            return bool(self._concerns or self._namespaces or self._pools or self._all)

    def take(self, applications: Sequence[Application]) -> list[Application]:
        """The applications that the changes concern, in their order; the notes are cleared."""
        with self._lock:
            concerns, namespaces, pools, everything = self._concerns, self._namespaces, self._pools, self._all
            self._concerns, self._namespaces, self._pools, self._all = set(), set(), set(), False
        if everything:
            return list(applications)
        if not (concerns or namespaces or pools):
            return []
        if not self._index.of(applications):
            self._index = _Index(applications)
            self._forget_others({one.key for one in applications})
        return self._index.find(concerns, namespaces, pools, self._using(pools))

    def _forget_others(self, applications: Collection[str]) -> None:
        with self._lock:
            self._alternatives = {key: names for key, names in self._alternatives.items() if key in applications}

    def _using(self, pools: Collection[str]) -> set[str]:
        """The applications whose waiting pods name one of these NodePools, and whose units do not."""
        if not pools:
            return set()
        with self._lock:
            return {key for key, names in self._alternatives.items() if not names.isdisjoint(pools)}


class _Index:
    """Which applications depend on what: a change must not cost a check of all of them.

    Args:
        applications: All of them.
    """

    def __init__(self, applications: Sequence[Application]) -> None:
        self._applications = tuple(applications)
        self._concerns: dict[Concern, tuple[int, ...]] = {}  # nearly all of one: a set for each would be most of the memory
        self._namespaces: dict[str, list[int]] = {}
        self._pools: dict[str, list[int]] = {}
        for place, application in enumerate(self._applications):
            self._namespaces.setdefault(application.namespace, []).append(place)
            for pool in {unit.node_pool for unit in application.units}:
                self._pools.setdefault(pool, []).append(place)
            for concern in set(_concerns_of(application)):
                self._concerns[concern] = (*self._concerns.get(concern, ()), place)

    def of(self, applications: Sequence[Application]) -> bool:
        """Whether it is the index of exactly these."""
        mine = self._applications
        if mine is applications:
            return True
        return len(mine) == len(applications) and all(one is other for one, other in zip(mine, applications, strict=True))

    def find(
        self, concerns: Iterable[Concern], namespaces: Iterable[str], pools: Iterable[str], also: Collection[str] = ()
    ) -> list[Application]:
        """The applications that depend on any of these, and those with the keys `also`, in their order."""
        found = {place for place, one in enumerate(self._applications) if one.key in also} if also else set[int]()
        found.update(*(self._concerns.get(one, ()) for one in concerns))
        found.update(*(self._namespaces.get(one, ()) for one in namespaces))
        found.update(*(self._pools.get(one, ()) for one in pools))
        return [self._applications[place] for place in sorted(found)]


def _concerns_of(application: Application) -> Iterator[Concern]:
    namespace = application.namespace
    yield routing_port(application).resource.plural, namespace, application.route.name
    yield SERVICES.plural, namespace, application.capacity.service
    for unit in application.units:
        yield SERVICES.plural, namespace, unit.backend.service
        yield DEPLOYMENTS.plural, namespace, unit.deployment
        if unit.scaled_object:
            yield SCALED_OBJECTS.plural, namespace, unit.scaled_object


class ClusterView:
    """Everything the watches have seen, behind one lock.

    Args:
        clock: For ages.
        wake: Called when something changed that a decision may depend on.
        window_s: How long refusals are reported, seconds.
    """

    def __init__(self, clock: Clock, wake: Callable[[], None], *, window_s: float = 3600.0) -> None:
        self.lock = threading.RLock()
        self.dirty = Dirty(wake)
        self.karpenter = KarpenterView()
        self.workloads = WorkloadView()
        self.reconciles = ReconcileView()
        self.time = ClusterClock(clock)
        self._window_s = window_s
        self._ingresses: dict[tuple[str, str], _Ingress] = {}
        self._rewound: set[tuple[str, str | None]] = set()  # kinds and namespaces whose next list is of another past
        self._routings: dict[tuple[str, str], tuple[Application, RoutingObservation]] = {}  # for what it was read
        self._pools: dict[str, tuple[float, float, tuple[int, int], PoolObservation]] = {}  # when, by which skew, at which version, what

    def kept(self) -> dict[str, int]:
        """How many objects are kept in memory, by kind."""
        with self.lock:
            return {"ingresses": len(self._ingresses), **self.workloads.kept(), **self.karpenter.kept()}

    # --- the Sink of the watches ---

    def listed(self, resource: Resource, namespace: str | None, objects: Sequence[Object]) -> None:
        """See `controller.signals.watch.Sink`. Only what differs from what was known marks anything."""
        with self.lock:
            self.time.delivered(max((at for at in map(_stamp, objects) if at is not None), default=None), listed=True)
            if resource.plural == "targetgroupbindings":
                self.workloads.bindings_listed(resource.group)
            if (resource.plural, namespace) in self._rewound:
                self._rewound.discard((resource.plural, namespace))
                self._forget_versions(resource, namespace)
            self._replace(resource, namespace, objects)

    def rewound(self, resource: Resource, namespace: str | None) -> None:
        """See `controller.signals.watch.Sink`. Else the objects that are known would seem newer than those of the next list, for ever."""
        with self.lock:
            self._rewound.add((resource.plural, namespace))

    def _forget_versions(self, resource: Resource, namespace: str | None) -> None:
        if resource.plural == "ingresses":
            kept = {key: replace(known, version=None) for key, known in self._ingresses.items() if namespace in {None, key[0]}}
            self._ingresses |= kept
        elif resource.plural == "scaledobjects":
            self.workloads.forget_versions(namespace)

    def forgotten(self, resource: Resource, namespace: str | None) -> None:
        """Forgets the objects of a kind, in one namespace or in all where it is None: nobody would ever say that they are gone.

        What was said in events stays said; it ages by itself. Unlike an empty list, this does not say that the kind can be listed.
        """
        with self.lock:
            if resource.plural == "nodepools":
                self._mark_pools(self.karpenter.pools_forgotten(self.time.now()))
            else:
                self._replace(resource, namespace, [])

    def _replace(self, resource: Resource, namespace: str | None, objects: Sequence[Object]) -> None:
        """Takes all objects of a kind: what is not among them is gone, but for events."""
        now = self.time.now()
        match resource.plural:
            case "nodeclaims":
                self._mark_pools(self.karpenter.claims_listed(objects, now))
            case "nodepools":
                self._mark_pools(self.karpenter.pools_listed(objects, now))
            case "ec2nodeclasses" | "nodeclasses":
                self._mark_pools(self.karpenter.classes_listed(resource.group, objects, now))
            case "events":
                for obj in objects:
                    self._event(obj, now, listed=True)
            case "ingresses":
                self._ingresses_listed(resource, namespace, objects)
            case _:
                self._workloads_listed(resource, namespace, objects)

    def changed(self, resource: Resource, _namespace: str | None, kind: str, obj: Object) -> None:
        """See `controller.signals.watch.Sink`. What does not change what could be decided marks nothing."""
        with self.lock:
            if kind == "ADDED":
                self.time.delivered(_stamp(obj))
            now = self.time.now()
            match resource.plural:
                case "nodeclaims":
                    self._mark_pools(self.karpenter.claim(kind, obj, now))
                case "nodepools":
                    self._mark_pools(self.karpenter.pool_changed(kind, obj, now))
                case "ec2nodeclasses" | "nodeclasses":
                    self._mark_pools(self.karpenter.class_changed(resource.group, kind, obj, now))
                case "events":
                    if kind != "DELETED":  # its time to live ran out: that resolves nothing
                        self._event(obj, now)
                case "ingresses":
                    if self._ingress(kind, obj):
                        self._mark(resource, obj)
                case _:
                    self._workload_changed(resource, kind, obj)

    def verified(self, application: Application) -> None:
        """Notes that what the load balancer shows for an application has changed: nothing is new for others."""
        self.dirty.mark((routing_port(application).resource.plural, application.namespace, application.route.name))

    def _mark_pools(self, pools: Iterable[str]) -> None:
        for pool in pools:
            self.dirty.mark(pool=pool)

    def _workload_changed(self, resource: Resource, kind: str, obj: Object) -> None:
        if resource.plural == "pods":
            self._pod(kind, obj)
            return
        services = self._services_of(resource, obj)  # that of before: a slice or binding may move to another
        if self._workload(resource, kind, obj):
            self._mark(resource, obj, services)

    def _workloads_listed(self, resource: Resource, namespace: str | None, objects: Sequence[Object]) -> None:
        """Takes a complete list of one kind: what is not in it is gone."""
        there = {(namespace_of(obj), name_of(obj)) for obj in objects}
        for space, name in self.workloads.names(resource, namespace):
            if (space, name) not in there:
                self._workload_changed(resource, "DELETED", {"metadata": {"namespace": space, "name": name}})
        for obj in objects:
            self._workload_changed(resource, "ADDED", obj)

    def wrote(self, resource: Resource, obj: Object) -> None:
        """Takes our own write at once: the watch delivers it a moment later, and until then the same would be written again.

        An Ingress that was deleted and created again before the answer came stays: nothing would say again what the new one is.
        """
        with self.lock:
            known = self._ingresses.get((namespace_of(obj), name_of(obj))) if resource is INGRESSES else None
            if known is None or known.uid == text(obj, "metadata", "uid"):
                self.changed(resource, None, "MODIFIED", obj)

    def absent(self, resource: Resource, namespace: str | None) -> None:
        """Forgets what can no longer be seen: a kind that was removed or forbidden is as absent as one that never was there."""
        if resource.plural == "events":
            return  # what was said stays said; it ages by itself
        with self.lock:
            self.forgotten(resource, namespace)
            if resource.plural == "targetgroupbindings":
                self.workloads.bindings_absent(resource.group)
        self.dirty.mark(everything=True)  # its source is another now, for every application

    def _event(self, obj: Object, now: float, *, listed: bool = False) -> None:
        kind = text(obj, "involvedObject", "kind")
        if kind == "Ingress":
            ingress = self.reconciles.event(obj)
            if ingress is not None:
                self.dirty.mark((INGRESSES.plural, *ingress))
        elif kind == "Pod":
            pod = (text(obj, "involvedObject", "namespace"), text(obj, "involvedObject", "name"))
            pools, unplaced_at = self.workloads.pools_of_pod(*pod), self.karpenter.unplaced_at(*pod)
            said = self.karpenter.pod_event(obj, pools, now)
            for pool in {*said, *pools} if said else ():
                self.dirty.mark(pool=pool)
            if self.karpenter.unplaced_at(*pod) != unplaced_at:  # that concerns nobody else
                self._mark_deployments(pod[0], self.workloads.deployments_of_pod(*pod))
        else:
            for pool in self.karpenter.event(obj, now, listed=listed):
                self.dirty.mark(pool=pool)

    def _mark(self, resource: Resource, obj: Object, services: frozenset[str] = frozenset()) -> None:
        """Notes a change of a workload or an Ingress, for the applications that name it."""
        namespace = namespace_of(obj)
        if not namespace:
            return
        if resource.plural in _OF_SERVICES:
            names = services | self._services_of(resource, obj)
            self.dirty.mark(*((SERVICES.plural, namespace, name) for name in names))
        else:
            self.dirty.mark((resource.plural, namespace, name_of(obj)))

    def _services_of(self, resource: Resource, obj: Object) -> frozenset[str]:
        """The Services that a slice or binding is known to belong to."""
        if resource.plural not in _OF_SERVICES:
            return frozenset()
        return frozenset({self.workloads.service_of(resource, namespace_of(obj), name_of(obj))} - {""})

    def _pod(self, kind: str, obj: Object) -> None:
        """Takes a pod. Which Deployments it may be of is asked before and after: it may have got other labels."""
        namespace, name = namespace_of(obj), name_of(obj)
        before = self.workloads.deployments_of_pod(namespace, name)
        if not self.workloads.pod(kind, obj):
            return
        if self.workloads.waits(namespace, name):
            pools = self.workloads.pools_of_pod(namespace, name)
            self._mark_pools(self.karpenter.pod_known(namespace, name, pools, self.time.now()))
        else:
            self.karpenter.pod_gone(namespace, name)
        self._mark_deployments(namespace, {*before, *self.workloads.deployments_of_pod(namespace, name)})

    def _mark_deployments(self, namespace: str, deployments: Collection[str]) -> None:
        """Notes a change of a pod that may be of one of these Deployments."""
        if "" in deployments:
            self.dirty.mark(namespace=namespace)  # nobody owns it: whose it is depends on every unit of the namespace
        else:
            self.dirty.mark(*((DEPLOYMENTS.plural, namespace, one) for one in deployments))

    def _ingress(self, kind: str, obj: Object) -> bool:
        """Takes an Ingress, and says whether it is another now."""
        key = (namespace_of(obj), name_of(obj))
        known = self._ingresses.get(key)
        if kind == "DELETED":
            if known is None or _older(obj, known):
                return False
            self._set_ingress(key, None)
            return True
        # A watch adds before it modifies: a change of what is not there is the answer to our own write, overtaken by a deletion.
        if _older(obj, known) or (kind == "MODIFIED" and known is None):
            return False
        new = _Ingress.of(obj)
        if new == known:
            return False
        self._set_ingress(key, new)
        return True

    def _set_ingress(self, key: tuple[str, str], new: _Ingress | None) -> None:
        """Replaces an Ingress, or removes it, and drops what was read of it."""
        self._routings.pop(key, None)
        if new is None:
            del self._ingresses[key]
        else:
            self._ingresses[key] = new

    def _ingresses_listed(self, resource: Resource, namespace: str | None, objects: Sequence[Object]) -> None:
        """Replaces the Ingresses, but none by an earlier state of itself: a list may have been read before our own write."""
        there = {(namespace_of(obj), name_of(obj)) for obj in objects}
        for space, name in [key for key in self._ingresses if (namespace is None or key[0] == namespace) and key not in there]:
            self._set_ingress((space, name), None)
            self.dirty.mark((resource.plural, space, name))
        for obj in objects:
            if self._ingress("ADDED", obj):
                self._mark(resource, obj)

    def _workload(self, resource: Resource, kind: str, obj: Object) -> bool:
        match resource.plural:
            case "deployments":
                return self.workloads.deployment(kind, obj)
            case "endpointslices":
                return self.workloads.endpoint_slice(kind, obj)
            case "services":
                return self.workloads.service(kind, obj)
            case "scaledobjects":
                return self.workloads.scaled_object(kind, obj)
            case "targetgroupbindings":
                return self.workloads.binding(resource.group, kind, obj)
        return False

    # --- what is read ---

    def now(self) -> float:
        """What time it is by the cluster's clock, seconds since the Unix epoch."""
        with self.lock:
            return self.time.now()

    def routing_object(self, namespace: str, name: str) -> Object | None:
        """One routing object, None where it does not exist."""
        with self.lock:
            known = self._ingresses.get((namespace, name))
        return None if known is None else unpack(known.packed)

    def routing(self, application: Application) -> RoutingObservation:
        """What the routing object of an application says; read again only when it changed."""
        key = (application.namespace, application.route.name)
        with self.lock:
            known, read = self._ingresses.get(key), self._routings.get(key)
            if read is None or read[0] is not application:
                observed = routing_port(application).observe(application, None if known is None else unpack(known.packed))
                read = self._routings[key] = (application, observed)
            return read[1]

    def pool(self, name: str, now: float, skew: float | None = None) -> PoolObservation:
        """What is known of one NodePool, computed once for each second and change: many applications may share it.

        Args:
            name: Which.
            now: Seconds since the Unix epoch.
            skew: How far our clock is ahead of the cluster's, seconds; None: to be read, which takes as long as the rest.

        Returns:
            All times by our clock, but what is for comparing stamps with stamps.
        """
        with self.lock:
            version, skew = self.karpenter.version_of(name), self.time.skew_s if skew is None else skew
            known = self._pools.get(name)
            if known is not None and 0 <= now - known[0] < _POOLS_REUSED_S and known[1:3] == (skew, version):
                return known[3]
            observed = self.karpenter.observation(name, now - skew, self._window_s)
            observed = pool_by_our_clock(observed, skew) if skew else observed
            if len(self._pools) >= _MAX_POOLS:  # names that pods listed once
                self._pools = {one: read for one, read in self._pools.items() if 0 <= now - read[0] < _POOLS_REUSED_S}
            self._pools[name] = (now, skew, version, observed)
            return observed

    def retain(self, applications: Iterable[Application]) -> None:
        """Forgets what was read of NodePools and Ingresses for the sake of other applications than these, and notes their ScaledObjects."""
        applications = list(applications)
        names = {unit.node_pool for one in applications for unit in one.units}
        keys = {(one.namespace, one.route.name) for one in applications}
        with self.lock:
            self._routings = {key: read for key, read in self._routings.items() if key in keys}
            self._pools = {name: known for name, known in self._pools.items() if name in names}
            units = ((one.namespace, unit.scaled_object) for one in applications for unit in one.units)
            self.workloads.name_scalers((namespace, name) for namespace, name in units if name)


def _stamp(obj: Object) -> float | None:
    """When the API server stored something first, by its clock; None where it does not say.

    The times of an event are by the clock of the component that reports it, which may be ours, and it may wait in a queue: after a refusal
    that concerned a thousand applications, the last of our own events were stored a minute after they had happened.
    """
    return parse_rfc3339(text(obj, "metadata", "creationTimestamp"))


@dataclass(frozen=True, slots=True)
class _Ingress:
    """An Ingress as it is kept."""

    uid: str
    version: int | None
    packed: bytes

    @staticmethod
    def of(obj: Object) -> _Ingress:
        return _Ingress(text(obj, "metadata", "uid"), version_of(obj), pack(slim(INGRESSES.plural, obj)))


def _older(obj: Object, known: _Ingress | None) -> bool:
    """Whether `obj` is an earlier state of the Ingress that is known."""
    return known is not None and text(obj, "metadata", "uid") == known.uid and behind(version_of(obj), known.version)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One list or watch. `namespace` is None for all namespaces."""

    resource: Resource
    namespace: str | None
    query: Query = ()


def wanted_lists(applications: Iterable[Application], *, cluster_wide: bool) -> list[Wanted]:
    """Everything that must be listed or watched for these applications.

    Pods come before events: an event about a pod is understood by the pod.
    """
    namespaces: list[str | None] = [None] if cluster_wide else [*sorted({one.namespace for one in applications})]
    wanted = [Wanted(resource, None) for resource in (NODE_CLAIMS, NODE_POOLS, NODE_CLASSES, AUTO_NODE_CLASSES)]
    for namespace in namespaces:
        kinds = (
            PODS, DEPLOYMENTS, ENDPOINT_SLICES, INGRESSES, SERVICES, SCALED_OBJECTS, TARGET_GROUP_BINDINGS, AUTO_TARGET_GROUP_BINDINGS,
        )  # fmt: skip
        wanted += [Wanted(resource, namespace) for resource in kinds]
        wanted += [Wanted(EVENTS, namespace, query) for query in (_POD_EVENTS, _INGRESS_EVENTS)]
    wanted += [Wanted(EVENTS, EVENT_NAMESPACE, query) for query in _CLUSTER_EVENTS]
    return wanted


def sources_of(health: Iterable[WatchHealth], application: Application, budget_s: float) -> tuple[Source, ...]:
    """The sources of signals that one application depends on.

    Args:
        health: Of all watches.
        application: Which.
        budget_s: How old the last word of a watch may be, seconds.
    """
    mine: dict[str, list[WatchHealth]] = {}
    for one in health:
        if one.namespace is None or one.namespace == application.namespace or (one.namespace, one.resource) == _CLUSTER_EVENTS_OF:
            mine.setdefault(one.resource, []).append(one)
    return tuple(
        source_of(
            name, _behind(name, [one for resource in resources for one in mine.get(resource, ())]), required=required, budget_s=budget_s
        )
        for name, required, resources in _SOURCES
    )


def _behind(source: str, watches: list[WatchHealth]) -> list[WatchHealth]:
    """The watches that a source needs: where one kind suffices, those of the kinds that are served, as far as any is."""
    served = [one for one in watches if one.served or not one.absent]
    return served or watches if source in _EITHER else watches


class Watches:
    """The one set of watches.

    Args:
        session: Connection to the API server.
        view: Where changes go.
        clock: For freshness.
        cluster_wide: One watch a kind over all namespaces, instead of one a kind and namespace.
        timeout_s: See `Watch`.
        idle_s: See `Watch`.
    """

    def __init__(
        self, session: KubeSession, view: ClusterView, clock: Clock, *, cluster_wide: bool, timeout_s: int = 300, idle_s: float = 90.0
    ) -> None:
        self._session, self._view, self._clock = session, view, clock
        self._cluster_wide, self._timeout_s, self._idle_s = cluster_wide, timeout_s, idle_s
        self._lock = threading.Lock()
        self._watches: dict[Wanted, Watch] = {}
        self._discovery = Discovery(session, clock)
        self._turns = ListTurns(LISTS)

    def ensure(self, applications: Iterable[Application]) -> None:
        """Starts the watches that these applications need and stops those that nobody needs any more."""
        wanted = wanted_lists(applications, cluster_wide=self._cluster_wide)
        needed = frozenset(wanted)
        with self._lock:
            for one in [one for one in self._watches if one not in needed]:
                self._watches.pop(one).stop()
                if one.namespace is not None:
                    self._view.forgotten(one.resource, one.namespace)
            for one in wanted:
                if one not in self._watches:
                    self._watches[one] = self._start(one)

    def _start(self, wanted: Wanted) -> Watch:
        # The server sends no bookmarks for events. It is to end a watch of them in order before the connection seems dead.
        quiet = wanted.resource is EVENTS
        watch = Watch(
            self._session,
            wanted.resource,
            wanted.namespace,
            self._view,
            self._clock,
            query=wanted.query,
            timeout_s=max(1, int(self._idle_s * _EVENTS_SHARE)) if quiet else self._timeout_s,
            idle_s=self._idle_s,
            absent=self._view.absent,
            slimmed=True,
            discovery=self._discovery if wanted.resource in SELDOM else None,
            recovered=self._recovered,
            turns=self._turns,
        )
        watch.start()
        return watch

    def _recovered(self) -> None:
        """A source is fresh that was not: decisions that held for want of it are made anew, although no object differs."""
        self._view.dirty.mark(everything=True)

    def stop(self) -> None:
        """Stops all of them."""
        with self._lock:
            for watch in self._watches.values():
                watch.stop()

    def health(self) -> list[WatchHealth]:
        """How each is doing."""
        with self._lock:
            return [watch.health() for watch in self._watches.values()]


def source_of(name: str, watches: list[WatchHealth], *, required: bool, budget_s: float) -> Source:
    """One source from the watches behind it: as fresh as its stalest, absent if any of them is."""
    last = [one.last_ok for one in watches if not one.absent]
    known = [at for at in last if at is not None]
    absent = [one for one in watches if one.absent]
    return Source(
        name=name,
        required=required,
        last_ok=min(known) if known and len(known) == len(last) else None,
        budget_s=budget_s,
        absent=bool(absent),
        problem="; ".join(dict.fromkeys(one.problem for one in watches if one.problem))[:300],
    )
