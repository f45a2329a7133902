"""One look at everything that the checks need, with the permissions that `plan` needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from controller.clients.kube import (
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    EVENTS,
    INGRESSES,
    SCALED_OBJECTS,
    SERVICES,
    TARGET_GROUP_BINDINGS,
    KubeSession,
    Resource,
)
from controller.errors import Forbidden, NotFound, RemoteError
from controller.policy.model import Application, RoutingObservation
from controller.policy.routing import PREFIX
from controller.signals.ingress import observe_ingress
from controller.signals.objects import Object, mapping, name_of, text
from controller.signals.reconciles import ReconcileView
from controller.signals.watch import Query, list_objects
from controller.signals.workloads import WorkloadView


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look at an application shows.

    Attributes:
        application: What its file says.
        now: When it was looked, seconds since the Unix epoch.
        ingress: Its Ingress, {} where it does not exist.
        routing: The same, read.
        group: The other Ingresses of its explicit IngressGroup.
        group_complete: Whether the Ingresses of every namespace could be listed for that.
        services: The Services of its namespace, by name.
        deployments: The Deployments of its namespace, by name.
        bindings: The TargetGroupBindings of its namespace.
        reconciles: What the load-balancer controller says of its Ingress, as the running controller reads it.
        workloads: Endpoints and ScaledObjects, as the running controller reads them.
        unreadable: Why a kind could not be listed, by the resource's name.
    """

    application: Application
    now: float
    ingress: Object
    routing: RoutingObservation
    group: Sequence[Object] = ()
    group_complete: bool = True
    services: Mapping[str, Object] = field(default_factory=dict)
    deployments: Mapping[str, Object] = field(default_factory=dict)
    bindings: Sequence[Object] = ()
    reconciles: ReconcileView = field(default_factory=ReconcileView)
    workloads: WorkloadView = field(default_factory=WorkloadView)
    unreadable: Mapping[str, str] = field(default_factory=dict)

    @property
    def annotations(self) -> Mapping[str, Any]:
        """The Ingress's annotations."""
        return mapping(self.ingress, "metadata", "annotations")

    def setting(self, name: str, service: str = "") -> str:
        """A setting of the load-balancer controller, "" where it is not stated.

        Args:
            name: Without the prefix.
            service: For a setting of target groups: the Service's own annotation wins over the Ingress's.
        """
        key = f"{PREFIX}/{name}"
        return text(mapping(self.services.get(service), "metadata", "annotations"), key) or text(self.annotations, key)

    def ready(self, service: str) -> int:
        """Ready endpoints of a Service."""
        return self.workloads.endpoints_ready(self.application.namespace, service) or 0


_KINDS = (SERVICES, DEPLOYMENTS, ENDPOINT_SLICES, SCALED_OBJECTS, TARGET_GROUP_BINDINGS)


@dataclass(slots=True)
class _Namespace:
    """What was listed in one namespace."""

    ingresses: Sequence[Object]
    listed: dict[str, Sequence[Object]]
    unreadable: dict[str, str]


def look(session: KubeSession, applications: Iterable[Application], now: float) -> dict[str, Seen]:
    """Looks at these applications.

    Args:
        session: Connection to the API server; an identity that may only list suffices.
        applications: Which.
        now: Seconds since the Unix epoch.

    Returns:
        By key.

    Raises:
        RemoteError: The Ingresses cannot be listed; without them nothing can be said.
    """
    applications = list(applications)
    spaces = {name: _namespace(session, name) for name in sorted({one.namespace for one in applications})}
    return {one.key: _seen(session, one, spaces[one.namespace], now) for one in applications}


def _namespace(session: KubeSession, namespace: str) -> _Namespace:
    ingresses, _ = list_objects(session, INGRESSES, namespace)
    unreadable: dict[str, str] = {}
    listed = {resource.name: _listed(session, resource, namespace, unreadable) for resource in _KINDS}
    return _Namespace(ingresses, listed, unreadable)


def _listed(session: KubeSession, resource: Resource, namespace: str, unreadable: dict[str, str], query: Query = ()) -> Sequence[Object]:
    """The objects of one kind; () and a note of why where they cannot be listed."""
    try:
        return list_objects(session, resource, namespace, query)[0]
    except NotFound:
        unreadable[resource.name] = f"{resource.name} is not installed"
    except RemoteError as error:
        unreadable[resource.name] = str(error)
    return ()


def _seen(session: KubeSession, application: Application, space: _Namespace, now: float) -> Seen:
    ingress: Object = next((one for one in space.ingresses if name_of(one) == application.ingress), {})
    unreadable = dict(space.unreadable)
    about = (("fieldSelector", f"involvedObject.kind=Ingress,involvedObject.name={application.ingress}"),)
    events = _listed(session, EVENTS, application.namespace, unreadable, about)
    group, complete = _group(session, application, ingress, space.ingresses)
    return assemble(application, now, ingress, {**space.listed, EVENTS.name: events}, group, unreadable, group_complete=complete)


def assemble(
    application: Application,
    now: float,
    ingress: Object,
    listed: Mapping[str, Sequence[Object]],
    group: Sequence[Object] = (),
    unreadable: Mapping[str, str] | None = None,
    *,
    group_complete: bool = True,
) -> Seen:
    """Puts together what was listed, see `Seen`.

    Args:
        application: Whose.
        now: Seconds since the Unix epoch.
        ingress: {} where it does not exist.
        listed: By the resource's name.
        group: See `Seen`.
        unreadable: See `Seen`.
        group_complete: See `Seen`.
    """
    view, reconciles = WorkloadView(), ReconcileView()
    for one in listed.get(EVENTS.name, ()):
        reconciles.event(one)
    for one in listed.get(ENDPOINT_SLICES.name, ()):
        view.endpoint_slice("ADDED", one)
    for one in listed.get(SCALED_OBJECTS.name, ()):
        view.scaled_object("ADDED", one)
    return Seen(
        application=application,
        now=now,
        ingress=ingress,
        routing=observe_ingress(application, ingress or None),
        group=group,
        group_complete=group_complete,
        services={name_of(one): one for one in listed.get(SERVICES.name, ())},
        deployments={name_of(one): one for one in listed.get(DEPLOYMENTS.name, ())},
        bindings=listed.get(TARGET_GROUP_BINDINGS.name, ()),
        reconciles=reconciles,
        workloads=view,
        unreadable=unreadable or {},
    )


def _group(session: KubeSession, application: Application, ingress: Object, nearby: Sequence[Object]) -> tuple[tuple[Object, ...], bool]:
    """The other Ingresses of the explicit group, and whether every namespace could be looked at."""
    group = group_of(ingress)
    if not group:
        return (), True
    candidates, complete = nearby, False
    with suppress(Forbidden):  # the manifests grant the application's namespace only
        candidates, complete = list_objects(session, INGRESSES, None)[0], True
    own = (application.namespace, application.ingress)
    others = [one for one in candidates if group_of(one) == group and (text(one, "metadata", "namespace"), name_of(one)) != own]
    return tuple(others), complete


def group_of(ingress: Object) -> str:
    """The explicit IngressGroup of an Ingress, "" where it has a load balancer of its own."""
    return text(mapping(ingress, "metadata", "annotations"), f"{PREFIX}/group.name")
