"""Observes once everything that the checks need, with the permissions of `plan`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from controller.clients.kube import (
    AUTO_TARGET_GROUP_BINDINGS,
    ENDPOINT_SLICES,
    EVENTS,
    INGRESSES,
    SCALED_OBJECTS,
    SERVICES,
    TARGET_GROUP_BINDINGS,
    KubeSession,
    Resource,
)
from controller.clock import SystemClock
from controller.errors import Forbidden, NotFound, RemoteError
from controller.objects import Object, mapping, name_of, text
from controller.policy.model import Application, RoutingObservation
from controller.routing.attributes import keeps_clients
from controller.routing.gateway.settings import attributes, target_group
from controller.routing.ingress.read import group_of, target_group_setting
from controller.routing.kinds import routing_port
from controller.routing.names import setting
from controller.routing.port import ALONE, Asked, Beside
from controller.signals.cluster import KINDS
from controller.signals.discovery import Discovery
from controller.signals.load_balancer.request import TargetGroups, explicit_group_of, stack_of, target_groups
from controller.signals.reconciles import ReconcileView
from controller.signals.watch import list_objects
from controller.signals.workload_kinds import Owner, as_deployments, kinds_of
from controller.signals.workloads import WorkloadView
from failover_setup.doctor.reading import listed_or_why
from failover_setup.listed import Listed, served

_ATTRIBUTES: Final = "target-group-attributes"
_FIELDS: Final = {"target-type": ("targetType",), "healthcheck-path": ("healthCheckConfig", "healthCheckPath")}
"""Where a TargetGroupConfiguration states what an annotation of an Ingress does."""
CLASS_ANNOTATION: Final = "kubernetes.io/ingress.class"


@dataclass(frozen=True, slots=True)
class Observation:
    """The objects of one application at one time.

    Attributes:
        application: The application as its file describes it.
        now: When it was observed, seconds since the Unix epoch.
        obj: Its routing object, {} if it does not exist.
        routing: What that states.
        beside: The objects that it is read with.
        group_name: See `group_seen`.
        group: The other Ingresses of its explicit IngressGroup.
        group_complete: Whether `group` covers every namespace; otherwise only those that may be listed.
        services: The Services of its namespace, by name.
        units: The workload of each unit that has it, by the unit's name, in the shape of a Deployment.
        bindings: The TargetGroupBindings of its namespace, those of EKS Auto Mode among them.
        reconciles: The load-balancer controller's events about the Ingress, as the running controller reads them.
        workloads: Endpoints and ScaledObjects, as the running controller reads them.
        unreadable: Why a kind could not be listed, by the resource's name.
    """

    application: Application
    now: float
    obj: Object
    routing: RoutingObservation
    beside: Beside = ALONE
    group_name: str | None = ""
    group: Sequence[Object] = ()
    group_complete: bool = True
    services: Mapping[str, Object] = field(default_factory=dict)
    units: Mapping[str, Object] = field(default_factory=dict)
    bindings: Sequence[Object] = ()
    reconciles: ReconcileView = field(default_factory=ReconcileView)
    workloads: WorkloadView = field(default_factory=WorkloadView)
    unreadable: Mapping[str, str] = field(default_factory=dict)

    @property
    def asked(self) -> Asked:
        """Where the load balancer must show the routing action."""
        return routing_port(self.application).asked(self.application, self.obj, self.beside)

    @property
    def target_groups(self) -> TargetGroups:
        """The target groups of the routing object by Service and port."""
        group = None if self.asked.group is None else self.group_name or ""
        return target_groups(self.bindings, self.application.namespace, self.asked.stacks, group)

    @property
    def annotations(self) -> Mapping[str, Any]:
        """The routing object's annotations."""
        return mapping(self.obj, "metadata", "annotations")

    def setting(self, name: str, service: str = "") -> str:
        """A setting of the load-balancer controller, "" if it is not stated.

        Args:
            name: Without the prefix.
            service: For a setting of target groups: the Service, whose own annotation overrides the Ingress's.
        """
        if self.routing.settings_elsewhere:
            stated = target_group(service, self.application.namespace, self.obj, self.beside)
            return attributes(stated) if name == _ATTRIBUTES else text(stated, *_FIELDS.get(name, ("",)))
        own = mapping(self.services.get(service), "metadata", "annotations")
        return target_group_setting(setting(name), own, self.annotations)

    def target_type(self, service: str) -> str:
        """What the targets of a Service are: as an annotation states it, else as its TargetGroupBindings have it.

        An IngressClass may state it too, in its IngressClassParams, and the load-balancer controller has a default of its own.

        Returns:
            ``ip`` or ``instance``; "" where nothing shows it. Of several target groups the one whose targets are nodes counts.
        """
        if stated := self.setting("target-type", service):
            return stated
        ours = {arn for (name, _), arns in self.target_groups.items() if name == service for arn in arns}
        kinds = {text(one, "spec", "targetType") for one in self.bindings if text(one, "spec", "targetGroupARN") in ours}
        return min(kinds - {""}, default="")

    @property
    def sticky(self) -> tuple[str, ...]:
        """The application's Services whose target groups keep each client on one target."""
        stated = (one for one in self.application.services if keeps_clients(self.setting(_ATTRIBUTES, one)))
        return self.routing.sticky or tuple(stated)

    def ready(self, service: str) -> int:
        """The number of ready endpoints of a Service."""
        return self.workloads.endpoints_ready(self.application.namespace, service) or 0


def class_of(ingress: Object) -> str:
    """The IngressClass that an Ingress names, "" if it names none."""
    return text(ingress, "spec", "ingressClassName") or text(ingress, "metadata", "annotations", CLASS_ANNOTATION)


def group_seen(application: Application, ingress: Object, bindings: Sequence[Object]) -> str | None:
    """The explicit IngressGroup of an Ingress: the one that it names, else the one that its target groups were made for.

    An IngressClass may set the group too, in its IngressClassParams, which the Ingress does not show.

    Args:
        application: The application.
        ingress: Its Ingress.
        bindings: The TargetGroupBindings of its namespace.

    Returns:
        "" where it has a load balancer of its own; None where nothing shows it.
    """
    if named := group_of(ingress):
        return named
    present = [one for one in bindings if not text(one, "metadata", "deletionTimestamp")]
    if (application.namespace, application.route.name) in map(stack_of, present):
        return ""
    ours = [one for one in present if text(one, "spec", "serviceRef", "name") in application.services]
    groups = set(map(explicit_group_of, ours)) - {""}
    return groups.pop() if len(groups) == 1 else None


_KINDS = (SERVICES, ENDPOINT_SLICES, SCALED_OBJECTS)


@dataclass(slots=True)
class _Namespace:
    """The objects around applications of one namespace whose routing objects are in one namespace, and why a kind could not be listed."""

    routed: dict[str, Sequence[Object]]  # the routing objects by kind
    listed: dict[str, Sequence[Object]]
    unreadable: dict[str, str]


def observe(session: KubeSession, applications: Iterable[Application], now: float) -> dict[str, Observation]:
    """Observes applications by lists alone.

    Args:
        session: Connection to the API server; permission to list suffices.
        applications: The applications to observe.
        now: Seconds since the Unix epoch.

    Returns:
        The observations by application key.

    Raises:
        RemoteError: The routing objects cannot be listed; no check works without them.
    """
    applications = list(applications)
    discovery = Discovery(session, SystemClock())
    together: dict[tuple[str, str], list[Application]] = {}
    for one in applications:
        together.setdefault((one.namespace, one.routing_namespace), []).append(one)
    spaces = {where: _namespace(session, discovery, *where, together[where]) for where in sorted(together)}
    return {one.key: _observe(session, one, spaces[one.namespace, one.routing_namespace], now) for one in applications}


def _namespace(
    session: KubeSession, discovery: Discovery, namespace: str, routing_namespace: str, applications: Sequence[Application]
) -> _Namespace:
    ports = {one.route.kind: routing_port(one) for one in applications}.values()
    routed: dict[str, Sequence[Object]] = {port.resource.kind: list_objects(session, port.resource, routing_namespace)[0] for port in ports}
    unreadable: dict[str, str] = {}
    listed = {resource.name: listed_or_why(session, resource, namespace, unreadable) for resource in (*_KINDS, *kinds_of(applications))}
    listed[TARGET_GROUP_BINDINGS.name] = _bindings(session, discovery, namespace, unreadable)
    for resource in dict.fromkeys(resource for port in ports for resource in port.reads):
        kind, known = KINDS[resource.name], served(discovery, resource)
        spaces = (None,) if kind.of_cluster else kind.namespaces(applications[0])  # the same for all of these applications
        listed[resource.name] = [one for space in spaces for one in listed_or_why(session, known, space, unreadable)]
    return _Namespace(routed, listed, unreadable)


def _bindings(session: KubeSession, discovery: Discovery, namespace: str, unreadable: dict[str, str]) -> Sequence[Object]:
    """The TargetGroupBindings of the load-balancer controller and of EKS Auto Mode, as far as either is served.

    A kind that is served and cannot be listed makes all of them unreadable, under the name of the first.
    """
    found: list[Object] = []
    served = [kind for kind in (TARGET_GROUP_BINDINGS, AUTO_TARGET_GROUP_BINDINGS) if _serves(discovery, kind)]
    for kind in served or [TARGET_GROUP_BINDINGS]:
        why: dict[str, str] = {}
        found += listed_or_why(session, kind, namespace, why)
        unreadable.update(dict.fromkeys((TARGET_GROUP_BINDINGS.name,) if why else (), "; ".join(why.values())))
    return found


def _serves(discovery: Discovery, resource: Resource) -> bool:
    try:
        discovery.served(resource)
    except NotFound:
        return False
    except RemoteError:
        return resource is TARGET_GROUP_BINDINGS  # the list itself says more
    return True


def _observe(session: KubeSession, application: Application, space: _Namespace, now: float) -> Observation:
    obj: Object = next((one for one in space.routed[application.route.kind] if name_of(one) == application.route.name), {})
    unreadable, events = dict(space.unreadable), list[Object]()
    for kind, namespace, name in routing_port(application).asked(application, obj, Listed(space.listed)).reported:
        about = (("fieldSelector", f"involvedObject.kind={kind},involvedObject.name={name}"),)
        events += listed_or_why(session, EVENTS, namespace, unreadable, about)
    group, complete = _group(session, application, obj, space) if application.route.kind == INGRESSES.kind else ((), True)
    return assemble(application, now, obj, {**space.listed, EVENTS.name: events}, group, unreadable, group_complete=complete)


def assemble(
    application: Application,
    now: float,
    obj: Object,
    listed: Mapping[str, Sequence[Object]],
    group: Sequence[Object] = (),
    unreadable: Mapping[str, str] | None = None,
    *,
    group_complete: bool = True,
) -> Observation:
    """Builds an `Observation` from listed objects.

    Args:
        application: The application.
        now: Seconds since the Unix epoch.
        obj: Its routing object, {} if it does not exist.
        listed: The objects of its namespace by the resource's name.
        group: See `Observation`.
        unreadable: See `Observation`.
        group_complete: See `Observation`.
    """
    view, reconciles = WorkloadView(), ReconcileView()
    for one in listed.get(EVENTS.name, ()):
        reconciles.event(one)
    for one in listed.get(ENDPOINT_SLICES.name, ()):
        view.endpoint_slice("ADDED", one)
    for one in listed.get(SCALED_OBJECTS.name, ()):
        view.scaled_object("ADDED", one)
    workloads = as_deployments(listed)
    owners = {unit.name: Owner(unit.workload_kind, unit.deployment) for unit in application.units}
    return Observation(
        application=application,
        now=now,
        obj=obj,
        routing=routing_port(application).observe(application, obj or None, Listed(listed)),
        beside=Listed(listed),
        group_name=group_seen(application, obj, listed.get(TARGET_GROUP_BINDINGS.name, ())),
        group=group,
        group_complete=group_complete,
        services={name_of(one): one for one in listed.get(SERVICES.name, ())},
        units={name: workloads[owner] for name, owner in owners.items() if owner in workloads},
        bindings=listed.get(TARGET_GROUP_BINDINGS.name, ()),
        reconciles=reconciles,
        workloads=view,
        unreadable=unreadable or {},
    )


def _group(session: KubeSession, application: Application, ingress: Object, space: _Namespace) -> tuple[tuple[Object, ...], bool]:
    """The other Ingresses of the explicit group, and whether every namespace was listed."""
    group = group_seen(application, ingress, space.listed[TARGET_GROUP_BINDINGS.name])
    if not group:
        return (), True
    candidates, complete = space.routed[INGRESSES.kind], False
    with suppress(Forbidden):  # the manifests grant only the application's namespace
        candidates, complete = list_objects(session, INGRESSES, None)[0], True
    own = (application.namespace, application.route.name)
    others = (one for one in candidates if (text(one, "metadata", "namespace"), name_of(one)) != own)
    return tuple(one for one in others if _in_group(one, group, ingress)), complete


def _in_group(other: Object, group: str, ingress: Object) -> bool:
    """Whether another Ingress is in the group of ours: it names the group, or both have it from their IngressClass."""
    if named := group_of(other):
        return named == group
    return not group_of(ingress) and class_of(other) == class_of(ingress)
