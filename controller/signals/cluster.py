"""The view of the cluster that all watches feed and all applications are observed from.

One set of watches serves every application. What a change touches (a namespace, a NodePool) is noted, so that only the applications
concerned are decided upon again; a watch of thousands of unrelated events wakes nobody.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Final

from controller.clients.kube import (
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    EVENTS,
    INGRESSES,
    NODE_CLAIMS,
    NODE_POOLS,
    PODS,
    SCALED_OBJECTS,
    SERVICES,
    TARGET_GROUP_BINDINGS,
    KubeSession,
    Object,
    Resource,
)
from controller.clock import Clock
from controller.policy.model import Application, PoolObservation, Source
from controller.signals.karpenter import KarpenterView
from controller.signals.objects import name_of, namespace_of, text
from controller.signals.watch import Query, Watch, WatchHealth
from controller.signals.workloads import WorkloadView

EVENT_NAMESPACE: Final = "default"  # events of cluster-scoped objects, such as NodeClaims, live here

_POOLS_REUSED_S: Final = 1.0  # the applications of one pass ask a moment after each other; no window of the policy is that fine

_POD_EVENTS: Final = (("fieldSelector", "involvedObject.kind=Pod,reason=FailedScheduling"),)

# Which watches make up which source of signals, and whether decisions may be made without it.
_SOURCES: Final = (
    ("karpenter", True, (EVENTS, NODE_CLAIMS, NODE_POOLS)),
    ("workloads", True, (PODS, DEPLOYMENTS, ENDPOINT_SLICES)),
    ("ingress", True, (INGRESSES,)),
    ("services", False, (SERVICES,)),
    ("keda", False, (SCALED_OBJECTS,)),
    ("target-group-bindings", False, (TARGET_GROUP_BINDINGS,)),
)


class Dirty:
    """What has changed since it was last taken. Thread-safe.

    Args:
        wake: Called after every change, from the watch's thread; must not block.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._wake = wake
        self._namespaces: set[str] = set()
        self._pools: set[str] = set()
        self._all = False

    def mark(self, *, namespace: str = "", pool: str = "", everything: bool = False) -> None:
        """Notes a change and wakes whoever decides."""
        if not (namespace or pool or everything):
            return
        with self._lock:
            if namespace:
                self._namespaces.add(namespace)
            if pool:
                self._pools.add(pool)
            self._all = self._all or everything
        self._wake()

    def take(self, applications: Iterable[Application]) -> list[Application]:
        """The applications that the changes concern; the notes are cleared."""
        with self._lock:
            namespaces, pools, everything = self._namespaces, self._pools, self._all
            self._namespaces, self._pools, self._all = set(), set(), False
        if everything:
            return list(applications)
        return [
            application
            for application in applications
            if application.namespace in namespaces or any(unit.node_pool in pools for unit in application.units)
        ]


class ClusterView:
    """Everything the watches have seen, behind one lock.

    Args:
        clock: For ages.
        wake: Called when something changed that a decision may depend on.
        window_s: How long refusals are told, seconds.
    """

    def __init__(self, clock: Clock, wake: Callable[[], None], *, window_s: float = 3600.0) -> None:
        self.lock = threading.RLock()
        self.dirty = Dirty(wake)
        self.karpenter = KarpenterView()
        self.workloads = WorkloadView()
        self._clock = clock
        self._window_s = window_s
        self._ingresses: dict[tuple[str, str], Object] = {}
        self._pools: tuple[float, int, dict[str, PoolObservation]] = (-1.0, -1, {})
        self._version = 0  # of what is known of NodePools

    # --- the Sink of the watches ---

    def listed(self, resource: Resource, namespace: str | None, objects: list[Object]) -> None:
        """See `controller.signals.watch.Sink`."""
        now = self._clock.now()
        with self.lock:
            match resource.plural:
                case "nodeclaims":
                    self._version += 1
                    self.karpenter.claims_listed(list(objects), now)
                case "nodepools":
                    self._version += 1
                    self.karpenter.pools_listed(list(objects))
                case "events":
                    for obj in objects:
                        self._event(obj, now, listed=True)
                case "pods":
                    self.workloads.pods_listed(namespace, objects)
                case "ingresses":
                    self._ingresses_listed(namespace, objects)
                case plural:
                    self.workloads.forget(plural, namespace)
                    for obj in objects:
                        self._workload(plural, "ADDED", obj)
        self.dirty.mark(everything=True)

    def changed(self, resource: Resource, _namespace: str | None, kind: str, obj: Object) -> None:
        """See `controller.signals.watch.Sink`."""
        now = self._clock.now()
        with self.lock:
            match resource.plural:
                case "nodeclaims":
                    self._version += 1
                    self.karpenter.claim(kind, obj, now)
                    self.dirty.mark(pool=self.karpenter.pool_of(name_of(obj)))
                case "nodepools":
                    self._version += 1
                    self.karpenter.pool_changed(kind, obj)
                    self.dirty.mark(pool=name_of(obj))
                case "events":
                    if kind != "DELETED":  # its time to live ran out: that resolves nothing
                        self._event(obj, now)
                case "ingresses":
                    self._ingress(kind, obj)
                    self.dirty.mark(namespace=namespace_of(obj))
                case plural:
                    if self._workload(plural, kind, obj):
                        self.dirty.mark(namespace=namespace_of(obj))

    def absent(self, resource: Resource, namespace: str | None) -> None:
        """Forgets what can no longer be seen: a kind that was removed or forbidden is as absent as one that never was there."""
        if resource.plural == "events":
            return  # what was said stays said; it ages by itself
        self.listed(resource, namespace, [])
        with self.lock:
            if resource.plural == "targetgroupbindings":
                self.workloads.bindings_known = False

    def _event(self, obj: Object, now: float, *, listed: bool = False) -> None:
        if text(obj, "involvedObject", "kind") == "Pod":
            pod = (text(obj, "involvedObject", "namespace"), text(obj, "involvedObject", "name"))
            if self.karpenter.pod_event(obj, self.workloads.pools_of_pod(*pod), now):
                self._version += 1
                self.dirty.mark(namespace=pod[0])
        elif self.karpenter.event(obj, now, listed=listed):
            self._version += 1
            name = text(obj, "involvedObject", "name")
            self.dirty.mark(pool=name if text(obj, "involvedObject", "kind") == "NodePool" else self.karpenter.pool_of(name))

    def _ingress(self, kind: str, obj: Object) -> None:
        key = (namespace_of(obj), name_of(obj))
        known = self._ingresses.get(key)
        if kind == "DELETED":
            if known is not None and not _older(obj, known):
                del self._ingresses[key]
        elif not _older(obj, known) and not (kind == "MODIFIED" and known is None):
            # A watch adds before it modifies: a change of what is not there is the answer to our own write, overtaken by a deletion.
            self._ingresses[key] = obj

    def _ingresses_listed(self, namespace: str | None, objects: list[Object]) -> None:
        """Replaces the Ingresses, but none by an earlier state of itself: a list may have been read before our own write."""
        before = {key: obj for key, obj in self._ingresses.items() if namespace is None or key[0] == namespace}
        for key in before:
            del self._ingresses[key]
        for obj in objects:
            key = (namespace_of(obj), name_of(obj))
            known = before.get(key)
            self._ingresses[key] = known if known is not None and _older(obj, known) else obj

    def _workload(self, plural: str, kind: str, obj: Object) -> bool:
        match plural:
            case "pods":
                return self.workloads.pod(kind, obj)
            case "deployments":
                return self.workloads.deployment(kind, obj)
            case "endpointslices":
                return self.workloads.endpoint_slice(kind, obj)
            case "services":
                return self.workloads.service(kind, obj)
            case "scaledobjects":
                return self.workloads.scaled_object(kind, obj)
            case "targetgroupbindings":
                return self.workloads.binding(kind, obj)
        return False

    # --- what is read ---

    def ingress(self, namespace: str, name: str) -> Object | None:
        """One Ingress, None where it does not exist."""
        with self.lock:
            return self._ingresses.get((namespace, name))

    def pool(self, name: str, now: float, wanted: frozenset[str]) -> PoolObservation:
        """What is known of one NodePool.

        Args:
            name: Which.
            now: Seconds since the Unix epoch.
            wanted: Every pool that will be asked for: they are observed together, once for each second and change.
        """
        with self.lock:
            at, version, known = self._pools
            if not 0 <= now - at < _POOLS_REUSED_S or version != self._version or name not in known:
                known = self.karpenter.observations({*wanted, name}, now, self._window_s)
                self._pools = (now, self._version, known)
            return known[name]


def _older(obj: Object, known: Object | None) -> bool:
    """Whether `obj` is an earlier state of the object that is known: a watch may still deliver what was there before our own write."""
    if known is None or text(obj, "metadata", "uid") != text(known, "metadata", "uid"):
        return False
    version, known_version = _version(obj), _version(known)
    return version is not None and known_version is not None and version < known_version


def _version(obj: Object) -> int | None:
    try:
        return int(text(obj, "metadata", "resourceVersion"))
    except ValueError:
        return None


def wanted_lists(applications: Iterable[Application], *, cluster_wide: bool) -> dict[tuple[str, str | None], tuple[Resource, Query]]:
    """Everything that must be listed or watched for these applications: resource and query by resource name and namespace.

    Pods come before events: an event about a pod is understood by the pod.
    """
    namespaces: list[str | None] = [None] if cluster_wide else [*sorted({one.namespace for one in applications})]
    wanted: dict[tuple[str, str | None], tuple[Resource, Query]] = {
        (NODE_CLAIMS.name, None): (NODE_CLAIMS, ()),
        (NODE_POOLS.name, None): (NODE_POOLS, ()),
    }
    for namespace in namespaces:
        for resource in (PODS, DEPLOYMENTS, ENDPOINT_SLICES, INGRESSES, SERVICES, SCALED_OBJECTS, TARGET_GROUP_BINDINGS):
            wanted[resource.name, namespace] = (resource, ())
        if namespace != EVENT_NAMESPACE:
            wanted[EVENTS.name, namespace] = (EVENTS, _POD_EVENTS)
    wanted[EVENTS.name, EVENT_NAMESPACE] = (EVENTS, ())
    return wanted


def sources_of(health: Iterable[WatchHealth], application: Application, budget_s: float) -> tuple[Source, ...]:
    """The sources of signals that one application depends on.

    Args:
        health: Of all watches.
        application: Which.
        budget_s: How old the last word of a watch may be, seconds.
    """
    mine = [
        one
        for one in health
        if one.namespace in {None, application.namespace} or (one.resource == EVENTS.name and one.namespace == EVENT_NAMESPACE)
    ]
    return tuple(
        source_of(name, [one for one in mine if one.resource in {r.name for r in resources}], required=required, budget_s=budget_s)
        for name, required, resources in _SOURCES
    )


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

    def __init__(self, session: KubeSession, view: ClusterView, clock: Clock, *, cluster_wide: bool, timeout_s: int, idle_s: float) -> None:
        self._session, self._view, self._clock = session, view, clock
        self._cluster_wide, self._timeout_s, self._idle_s = cluster_wide, timeout_s, idle_s
        self._lock = threading.Lock()
        self._watches: dict[tuple[str, str | None], Watch] = {}

    def ensure(self, applications: Iterable[Application]) -> None:
        """Starts the watches that these applications need and stops those that nobody needs any more."""
        wanted = wanted_lists(applications, cluster_wide=self._cluster_wide)
        with self._lock:
            for key in [key for key in self._watches if key not in wanted]:
                self._watches.pop(key).stop()
            for key, (resource, query) in wanted.items():
                if key not in self._watches:
                    self._watches[key] = self._start(resource, key[1], query)

    def _start(self, resource: Resource, namespace: str | None, query: Query) -> Watch:
        watch = Watch(
            self._session,
            resource,
            namespace,
            self._view,
            self._clock,
            query=query,
            timeout_s=self._timeout_s,
            idle_s=self._idle_s,
            absent=self._view.absent,
        )
        watch.start()
        return watch

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
