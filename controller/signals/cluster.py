"""The view of the cluster that all watches feed and all applications are observed from.

One set of watches serves every application. What a change touches (a namespace, a NodePool) is noted, so that only the applications
concerned are decided upon again; a watch of thousands of unrelated events wakes nobody.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from controller.clients.kube import (
    AUTO_NODE_CLASSES,
    AUTO_TARGET_GROUP_BINDINGS,
    ENDPOINT_SLICES,
    EVENTS,
    GATEWAYS,
    INGRESSES,
    LISTENER_RULE_CONFIGURATIONS,
    LOAD_BALANCER_CONFIGURATIONS,
    NODE_CLAIMS,
    NODE_CLASSES,
    NODE_POOLS,
    PODS,
    REFERENCE_GRANTS,
    SCALED_OBJECTS,
    SERVICES,
    TARGET_GROUP_BINDINGS,
    TARGET_GROUP_CONFIGURATIONS,
    Object,
    Resource,
)
from controller.clock import Clock, parse_rfc3339
from controller.objects import name_of, namespace_of, text
from controller.policy.model import Application, PoolObservation, RoutingObservation, WorkloadKind
from controller.routing.kinds import KINDS as ROUTING
from controller.routing.kinds import routing_port
from controller.routing.port import NOBODY, Asked
from controller.signals.cluster_clock import ClusterClock, pool_by_our_clock
from controller.signals.dirty import WORKLOAD, Dirty
from controller.signals.fleet_answers import FleetAnswer
from controller.signals.karpenter import KarpenterView
from controller.signals.reconciles import ReconcileView
from controller.signals.room import Room
from controller.signals.routing_objects import RoutingObjects
from controller.signals.watch import Query
from controller.signals.workload_kinds import WORKLOADS
from controller.signals.workloads import Key, WorkloadView

EVENT_NAMESPACE: Final = "default"  # events of cluster-scoped objects, such as NodeClaims, live here

_MAX_POOLS: Final = 1_000  # NodePools whose observation is kept for the next application
_POOLS_REUSED_S: Final = 1.0  # the applications of one pass ask a moment after each other; no window of the policy is that fine


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
        self.room = Room()
        self.karpenter = KarpenterView(self.room)
        self.workloads = WorkloadView(self.room)
        self.reconciles = ReconcileView()
        self.time = ClusterClock(clock)
        self._window_s = window_s
        self.routes = RoutingObjects()
        self._rewound: set[tuple[str, str | None]] = set()  # names of kinds and namespaces whose next list is of another past
        self._pools: dict[str, tuple[float, float, tuple[int, int], PoolObservation]] = {}  # when, by which skew, at which version, what

    def kept(self) -> dict[str, int]:
        """How many objects are kept in memory, by kind."""
        with self.lock:
            return {**self.routes.kept(), **self.workloads.kept(), **self.karpenter.kept()}

    # --- the Sink of the watches ---

    def listed(self, resource: Resource, namespace: str | None, objects: Sequence[Object]) -> None:
        """See `controller.signals.watch.Sink`. Only what differs from what was known marks anything."""
        kind = KINDS[resource.name]
        with self.lock:
            self.time.delivered(max((at for at in map(_stamp, objects) if at is not None), default=None), listed=True)
            kind.listable(self, True)
            if (resource.name, namespace) in self._rewound:
                self._rewound.discard((resource.name, namespace))
                kind.rewound(self, namespace)
            self._replace(kind, namespace, objects)

    def rewound(self, resource: Resource, namespace: str | None) -> None:
        """See `controller.signals.watch.Sink`. Else the objects that are known would seem newer than those of the next list, for ever."""
        with self.lock:
            self._rewound.add((resource.name, namespace))

    def forgotten(self, resource: Resource, namespace: str | None) -> None:
        """Forgets the objects of a kind, in one namespace or in all where it is None: nobody would ever say that they are gone.

        What was said in events stays said; it ages by itself. Unlike an empty list, this does not say that the kind can be listed.
        """
        with self.lock:
            self._replace(KINDS[resource.name], namespace, [])

    def absent(self, resource: Resource, namespace: str | None) -> None:
        """Forgets what can no longer be seen: a kind that was removed or forbidden is as absent as one that never was there."""
        kind = KINDS[resource.name]
        if kind.known is None:
            return  # what was said stays said; it ages by itself
        with self.lock:
            self._replace(kind, namespace, [])
            kind.listable(self, False)
        self.dirty.mark(everything=True)  # its source is another now, for every application

    def changed(self, resource: Resource, _namespace: str | None, kind: str, obj: Object) -> None:
        """See `controller.signals.watch.Sink`. What does not change what could be decided marks nothing."""
        with self.lock:
            if kind == "ADDED":
                self.time.delivered(_stamp(obj))
            self._take(KINDS[resource.name], Change(kind, obj, self.time.now()))

    def wrote(self, resource: Resource, obj: Object) -> None:
        """Takes our own write at once: the watch delivers it a moment later, and until then the same would be written again.

        A routing object that was deleted and created again before the answer came stays: nothing would say again what the new one is.
        """
        with self.lock:
            if not self.routes.is_another(resource, obj):
                self.changed(resource, None, "MODIFIED", obj)

    def _replace(self, kind: Kind, namespace: str | None, objects: Sequence[Object]) -> None:
        """Takes all objects of a kind: what is not among them is gone, but for events."""
        now = self.time.now()
        if kind.known is not None:
            there = {(namespace_of(obj), name_of(obj)) for obj in objects}
            known = [key for key in kind.known(self) if namespace in {None, key[0]} and key not in there]
            for space, name in known:
                self._take(kind, Change("DELETED", {"metadata": {"namespace": space, "name": name}}, now, listed=True))
        for obj in objects:
            self._take(kind, Change("ADDED", obj, now, listed=True))

    def _take(self, kind: Kind, change: Change) -> None:
        kind.take(self, kind, change)
        self.room.fit()

    def verified(self, application: Application) -> None:
        """Notes that what the load balancer shows for an application has changed: nothing is new for others."""
        self.dirty.mark((routing_port(application).resource.plural, application.routing_namespace, application.route.name))

    def answered(self, answer: FleetAnswer | None) -> None:
        """Takes the record of EC2's answer to a fleet request of Karpenter; None: it cannot be read, and is counted."""
        with self.lock:
            if answer is None:
                self.karpenter.unparsed += 1
                return
            self.mark_pools(*self.karpenter.answered(answer, self.time.now()))
            self.room.fit()

    def mark_pools(self, pools: Iterable[str], buying: Iterable[str] = ()) -> None:
        """Notes a change of NodePools, and of others that are news only to pods that wait for them."""
        for pool in pools:
            self.dirty.mark(pool=pool)
        for pool in buying:
            self.dirty.mark(awaited=pool)

    def mark(self, resource: Resource, namespace: str, names: Iterable[str]) -> None:
        """Notes a change of objects, for the applications that name them."""
        self.dirty.mark(*((resource.plural, namespace, name) for name in names if namespace))

    def mark_workloads(self, namespace: str, names: Collection[str]) -> None:
        """Notes a change of workloads, or of a pod that may be of one of them."""
        if "" in names:
            self.dirty.mark(namespace=namespace)  # nobody owns it: whose it is depends on every unit of the namespace
        else:
            self.dirty.mark(*((WORKLOAD, namespace, name) for name in names))

    # --- what is read ---

    def now(self) -> float:
        """What time it is by the cluster's clock, seconds since the Unix epoch."""
        with self.lock:
            return self.time.now()

    def routing_object(self, application: Application) -> Object | None:
        """The routing object of an application, None where it does not exist."""
        with self.lock:
            return self.routes.of(application)

    def routing(self, application: Application) -> RoutingObservation:
        """What the routing object of an application says; read again only when it changed."""
        with self.lock:
            return self.routes.read(application)[0]

    def asked(self, application: Application) -> Asked:
        """Where the load balancer must show an application's routing action; read again only when the routing object changed."""
        with self.lock:
            return self.routes.read(application)[1] or NOBODY

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
        """Forgets what was read of NodePools and routing objects for the sake of others than these, and notes their ScaledObjects."""
        applications = list(applications)
        names = {unit.node_pool for one in applications for unit in one.units}
        with self.lock:
            self.routes.retain(applications)
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
class Change:
    """An object as it was delivered.

    Attributes:
        kind: ADDED, MODIFIED or DELETED.
        obj: The object; of one that is missing in a list, its namespace and name alone.
        now: By the cluster's clock, seconds since the Unix epoch.
        listed: Whether a list said it: then it has been so for a while.
    """

    kind: str
    obj: Object
    now: float
    listed: bool = False

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return namespace_of(self.obj), name_of(self.obj)


@dataclass(frozen=True, slots=True)
class Group:
    """A source of signals that several kinds make up.

    Attributes:
        name: How `status` and the policy name it.
        required: Nothing is decided without it.
        either: Many clusters lack some of its kinds, and any one suffices: they have the kind of a controller of their own, that of EKS
            Auto Mode, or both. Discovery is asked first, once for all namespaces.
    """

    name: str
    required: bool = False
    either: bool = False


_Take = Callable[["ClusterView", "Kind", Change], None]
Used = Collection[Resource]
"""The kinds of workload, of routing object, and of what routing objects are read with, that some applications have."""
_EACH: Final[tuple[Query, ...]] = ((),)


def _own(application: Application) -> Collection[str]:
    return (application.namespace,)


def _routed_in(application: Application) -> Collection[str]:
    return (application.routing_namespace,)


def _own_and_routed_in(application: Application) -> Collection[str]:
    return tuple(dict.fromkeys((application.namespace, application.routing_namespace)))


def _granting(application: Application) -> Collection[str]:
    """Where grants let an application's route name its Services: nowhere, where both are in the same namespace."""
    return {application.namespace} - {application.routing_namespace}


@dataclass(frozen=True, slots=True)
class Kind:
    """A row of the table of what is watched. What is polled has a table in `controller.signals.external`.

    Attributes:
        resource: The kind of object.
        group: Its group, which is as fresh as the stalest watch in it.
        take: Puts one change into the view, and marks the applications that it concerns. The view's lock is held.
        known: Namespace and name of each object in the view: what is missing in a list is gone. None: a list takes nothing back.
        queries: What is selected, each in a watch of its own, in the namespaces of applications that use some kinds; () where these do not
            need it.
        namespaces: Those in which an application needs it.
        at_home: Likewise, in `EVENT_NAMESPACE` alone, whatever the applications use.
        everywhere: It is read in all namespaces, as a kind without a namespace is: its objects may be another team's.
        listable: Takes whether the kind can be listed.
        rewound: Takes that versions have begun anew, in a namespace or in all: the server was restored from a backup.
        bookmarks: The server sends bookmarks: without any for a while, the connection is dead.
    """

    resource: Resource
    group: Group
    take: _Take
    known: Callable[[ClusterView], Iterable[Key]] | None
    queries: Callable[[Used], tuple[Query, ...]] = lambda _used: _EACH
    namespaces: Callable[[Application], Collection[str]] = _own
    at_home: tuple[Query, ...] = ()
    everywhere: bool = False
    listable: Callable[[ClusterView, bool], None] = lambda _view, _known: None
    rewound: Callable[[ClusterView, str | None], None] = lambda _view, _namespace: None
    bookmarks: bool = True

    @property
    def asks_first(self) -> bool:
        """Whether the API server is asked first whether it serves the kind, and in which version."""
        return self.group.either or bool(self.resource.earlier)

    @property
    def of_cluster(self) -> bool:
        """Whether one watch is for all namespaces, whatever the settings say."""
        return self.everywhere or not self.resource.namespaced


def _if_used(resource: Resource) -> Callable[[Used], tuple[Query, ...]]:
    return lambda used: _EACH if resource in used else ()


def _node_claim(view: ClusterView, _: Kind, change: Change) -> None:
    view.mark_pools(*view.karpenter.claim(change.kind, change.obj, change.now, listed=change.listed))


def _node_pool(view: ClusterView, _: Kind, change: Change) -> None:
    view.mark_pools(*view.karpenter.pool_changed(change.kind, change.obj, change.now))


def _node_class(view: ClusterView, kind: Kind, change: Change) -> None:
    view.mark_pools(view.karpenter.class_changed(kind.resource.group, change.kind, change.obj, change.now))


def _pod(view: ClusterView, _: Kind, change: Change) -> None:
    """Takes a pod. Which workloads it may be of is asked before and after: it may have got other labels."""
    namespace, name = change.key
    before = view.workloads.workloads_of_pod(namespace, name)
    changed, pod = view.workloads.pod(change.kind, change.obj), view.workloads.waiting(namespace, name)
    if pod is None:
        view.karpenter.pod_gone(namespace, name)
    if not changed:
        return
    if pod is not None:
        view.mark_pools(view.karpenter.pod_known(namespace, name, pod.pools, change.now))
    view.mark_workloads(namespace, {*before, *view.workloads.workloads_of_pod(namespace, name)})


def _event(view: ClusterView, _: Kind, change: Change) -> None:
    obj, kind = change.obj, text(change.obj, "involvedObject", "kind")
    if change.kind == "DELETED":
        return  # its time to live ran out: that resolves nothing
    if kind in _REPORTED:
        if (about := view.reconciles.event(obj)) is not None:
            view.dirty.mark(*view.routes.concerned(*about))
    elif kind == "Pod":
        name = (text(obj, "involvedObject", "namespace"), text(obj, "involvedObject", "name"))
        pod, unplaced_at = view.workloads.waiting(*name), view.karpenter.unplaced_at(*name)
        own = pod.pools if pod is not None else ()
        said = view.karpenter.pod_event(obj, own, change.now, waits=pod is not None)
        view.mark_pools({*said, *own} if said else ())
        if view.karpenter.unplaced_at(*name) != unplaced_at:  # that concerns nobody else
            view.mark_workloads(name[0], view.workloads.workloads_of_pod(*name))
    else:
        view.mark_pools(*view.karpenter.event(obj, change.now, listed=change.listed))


def _route(view: ClusterView, kind: Kind, change: Change) -> None:
    if view.routes.take(kind.resource, change.kind, change.obj):
        view.mark(kind.resource, change.key[0], change.key[1:])


def _beside_route(view: ClusterView, kind: Kind, change: Change) -> None:
    """Takes what routing objects are read with, and marks those that name it."""
    view.dirty.mark(*view.routes.take_beside(kind.resource, change.kind, change.obj))


def _workload(what: WorkloadKind) -> Kind:
    def take(view: ClusterView, _: Kind, change: Change) -> None:
        if view.workloads.workload(what, change.kind, change.obj):
            view.mark_workloads(change.key[0], change.key[1:])

    return Kind(WORKLOADS[what], _WORKLOADS, take, lambda view: view.workloads.of_kind(what), _if_used(WORKLOADS[what]))


def _routed(resource: Resource) -> Kind:
    return Kind(
        resource,
        _ROUTING,
        _route,
        lambda view: view.routes.known(resource),
        _if_used(resource),
        _routed_in,
        rewound=lambda view, namespace: view.routes.forget_versions(resource, namespace),
    )


def _read_with(
    resource: Resource, group: Group, namespaces: Callable[[Application], Collection[str]] = _own, *, everywhere: bool = False
) -> Kind:
    queries = _if_used(resource)
    return Kind(resource, group, _beside_route, lambda view: view.routes.beside(resource), queries, namespaces, everywhere=everywhere)


def _named(put: Callable[[WorkloadView, str, Object], bool]) -> _Take:
    """Takes what applications name themselves."""

    def take(view: ClusterView, kind: Kind, change: Change) -> None:
        if put(view.workloads, change.kind, change.obj):
            view.mark(kind.resource, change.key[0], change.key[1:])

    return take


def _of_service(put: Callable[[WorkloadView, str, Object], bool], service: Callable[[WorkloadView, str, str], str]) -> _Take:
    """Takes what belongs to a Service, which applications name. A slice or binding may move to another: that of before is marked, too."""

    def take(view: ClusterView, _: Kind, change: Change) -> None:
        before = service(view.workloads, *change.key)
        if put(view.workloads, change.kind, change.obj):
            view.mark(SERVICES, change.key[0], {before, service(view.workloads, *change.key)} - {""})

    return take


def _binding(resource: Resource, group: Group) -> Kind:
    """EKS Auto Mode has a TargetGroupBinding of its own API group."""
    api = resource.group
    return Kind(
        resource,
        group,
        _of_service(
            lambda workloads, kind, obj: workloads.binding(api, kind, obj),
            lambda workloads, namespace, name: workloads.service_of_binding(api, namespace, name),
        ),
        lambda view: view.workloads.bindings_of(api),
        listable=lambda view, known: view.workloads.bindings_listable(api, known=known),
    )


def _class(resource: Resource, group: Group) -> Kind:
    return Kind(resource, group, _node_class, lambda view: [("", name) for name in view.karpenter.classes(resource.group)])


_KARPENTER, _WORKLOADS = Group("karpenter", required=True), Group("workloads", required=True)
_ROUTING, _GATEWAYS = Group("routing", required=True), Group("gateways")
_GRANTS = Group("reference-grants", required=True)  # a write without one would take the backend away
_BINDINGS, _CLASSES = Group("target-group-bindings", either=True), Group("node-classes", either=True)

# The API server selects, because a busy cluster has more events than fit into memory, and no other is ever read. Selectors know no "or".
_REPORTED: Final = {INGRESSES.kind: INGRESSES, GATEWAYS.kind: GATEWAYS}
"""By kind, the objects on whose events the load-balancer controller reports whether it could make the rules."""


def _selected(used: Used) -> tuple[Query, ...]:
    # Karpenter has another name in EKS Auto Mode; kube-scheduler says the same of every pod that waits, many times over.
    pods = (("fieldSelector", "involvedObject.kind=Pod,reason=FailedScheduling,source!=default-scheduler"),)
    return (pods, *((("fieldSelector", f"involvedObject.kind={kind}"),) for kind, resource in _REPORTED.items() if resource in used))


_SELECTED_AT_HOME: Final = tuple(
    (("fieldSelector", f"involvedObject.kind={kind},reason={reason}"),)
    for kind, reason in (
        ("NodeClaim", "InsufficientCapacityError"),
        ("NodeClaim", "DisruptionLaunching"),
        ("NodeClaim", "SpotInterrupted"),
        ("NodePool", "NoCompatibleInstanceTypes"),
    )
)

KINDS: Final[Mapping[str, Kind]] = {
    kind.resource.name: kind
    for kind in (
        Kind(NODE_CLAIMS, _KARPENTER, _node_claim, lambda view: [("", name) for name in view.karpenter.claims()]),
        Kind(
            NODE_POOLS,
            _KARPENTER,
            _node_pool,
            lambda view: [("", name) for name in view.karpenter.pools()],
            listable=lambda view, known: view.karpenter.pools_listable(known=known),
        ),
        _class(NODE_CLASSES, _CLASSES),
        _class(AUTO_NODE_CLASSES, _CLASSES),
        Kind(PODS, _WORKLOADS, _pod, lambda view: view.workloads.pods()),
        *map(_workload, WORKLOADS),
        Kind(
            ENDPOINT_SLICES,
            _WORKLOADS,
            _of_service(WorkloadView.endpoint_slice, WorkloadView.service_of_slice),
            lambda view: view.workloads.slice_services,
        ),
        _read_with(GATEWAYS, _GATEWAYS, everywhere=True),
        _read_with(LOAD_BALANCER_CONFIGURATIONS, _GATEWAYS, everywhere=True),
        _read_with(LISTENER_RULE_CONFIGURATIONS, _GATEWAYS, _routed_in),
        _read_with(TARGET_GROUP_CONFIGURATIONS, _GATEWAYS, _own_and_routed_in),
        _read_with(REFERENCE_GRANTS, _GRANTS, _granting),
        *(_routed(port.resource) for port in ROUTING.values()),
        Kind(SERVICES, Group("services"), _named(WorkloadView.service), lambda view: view.workloads.services),
        Kind(
            SCALED_OBJECTS,
            Group("keda"),
            _named(WorkloadView.scaled_object),
            lambda view: view.workloads.scalers,
            rewound=lambda view, namespace: view.workloads.forget_versions(namespace),
        ),
        _binding(TARGET_GROUP_BINDINGS, _BINDINGS),
        _binding(AUTO_TARGET_GROUP_BINDINGS, _BINDINGS),
        # After the pods: an event about a pod is understood by the pod.
        Kind(EVENTS, _KARPENTER, _event, None, _selected, _own_and_routed_in, _SELECTED_AT_HOME, bookmarks=False),
    )
}
"""What is watched, in the order in which it is listed. A new signal is a row here, a parser, and a field of the snapshot."""
