"""Reads once everything in a cluster that the controller may have left: what its manifests made, and what it wrote on objects of others."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from controller.clients.kube import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    FAILOVER_APPLICATIONS,
    LEASES,
    NAMESPACES,
    SCALED_OBJECTS,
    SERVICES,
    KubeSession,
    Resource,
)
from controller.errors import Forbidden, NotFound, RemoteError
from controller.objects import Object, name_of, text
from controller.policy.model import Application
from controller.routing.kinds import KINDS
from controller.signals.watch import Query, list_objects
from failover_setup.doctor.reading import why_not

CLUSTER_ROLES: Final = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", namespaced=False)
CLUSTER_ROLE_BINDINGS: Final = Resource("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False)
ROLES: Final = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDINGS: Final = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
SERVICE_ACCOUNTS: Final = Resource("", "v1", "serviceaccounts", "ServiceAccount")
NETWORK_POLICIES: Final = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
DISRUPTION_BUDGETS: Final = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
_ADMISSION: Final = "admissionregistration.k8s.io"
ADMISSION_POLICIES: Final = Resource(_ADMISSION, "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", namespaced=False)
ADMISSION_BINDINGS: Final = Resource(
    _ADMISSION, "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", namespaced=False
)
SERVICE_MONITORS: Final = Resource("monitoring.coreos.com", "v1", "servicemonitors", "ServiceMonitor")
DEFINITIONS: Final = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)
PROMETHEUS_RULES: Final = Resource("monitoring.coreos.com", "v1", "prometheusrules", "PrometheusRule")

MADE: Final = (
    DEPLOYMENTS,
    ADMISSION_POLICIES,
    ADMISSION_BINDINGS,
    CLUSTER_ROLE_BINDINGS,
    ROLE_BINDINGS,
    CLUSTER_ROLES,
    ROLES,
    SERVICE_ACCOUNTS,
    PROMETHEUS_RULES,
    SERVICE_MONITORS,
    SERVICES,
    DISRUPTION_BUDGETS,
    NETWORK_POLICIES,
    CONFIG_MAPS,
    LEASES,
    FAILOVER_APPLICATIONS,
    DEFINITIONS,
    NAMESPACES,
)
"""The kinds of the objects that the chart, kustomize and the controller itself make, each with `LABEL`, and the applications that people
make; what acts comes first."""
LABEL: Final = "app.kubernetes.io/name=failoverctl"
_SELECTED: Final[Query] = (("labelSelector", LABEL),)


@dataclass(frozen=True, slots=True)
class Remains:
    """What was read.

    Attributes:
        host: The API server's URL.
        applications: Those of the application files or objects, where there are any.
        made: The objects that the controller and its manifests made, by the resource's name.
        routed: The objects that may route requests, by kind.
        scaled: The ScaledObjects.
        unread: What could not be read, and why.
    """

    host: str
    applications: Sequence[Application] = ()
    made: Mapping[str, Sequence[Object]] = field(default_factory=dict)
    routed: Mapping[str, Sequence[Object]] = field(default_factory=dict)
    scaled: Sequence[Object] = ()
    unread: Sequence[str] = ()


def observe(session: KubeSession, applications: Sequence[Application], state_namespace: str) -> Remains:
    """Reads by lists alone, over all namespaces.

    Where that is not allowed, it reads those of the applications and of the state; what else there may be is named in `Remains.unread`.

    Args:
        session: Connection to the API server, with its deadline of a request.
        applications: Those of the application files; they are not needed.
        state_namespace: Where the controller keeps its Lease and its ConfigMaps.
    """
    reader = _Reader(session, sorted({state_namespace, *(one.namespace for one in applications)}))
    made = {resource.name: reader.read(resource, () if resource is FAILOVER_APPLICATIONS else _SELECTED) for resource in MADE}
    routed = {kind: reader.read(port.resource) for kind, port in KINDS.items()}
    scaled = reader.read(SCALED_OBJECTS)
    made[CONFIG_MAPS.name] = _with_unlabelled(made[CONFIG_MAPS.name], reader.read_in(CONFIG_MAPS, state_namespace))
    return Remains(session.host, applications, made, routed, scaled, tuple(reader.unread))


STATE: Final = ("failoverctl-state-", "failoverctl-status")
"""How the names of the controller's own ConfigMaps begin."""


def _with_unlabelled(labelled: Sequence[Object], beside: Sequence[Object]) -> list[Object]:
    """The labelled ConfigMaps, and those of the state whose labels somebody removed."""
    known = {(text(one, "metadata", "namespace"), name_of(one)) for one in labelled}
    state = (one for one in beside if name_of(one).startswith(STATE))
    return [*labelled, *(one for one in state if (text(one, "metadata", "namespace"), name_of(one)) not in known)]


class _Reader:
    """Lists kinds, and notes what may not be listed.

    Args:
        session: Connection to the API server.
        namespaces: What to list if a kind may not be listed everywhere.
    """

    def __init__(self, session: KubeSession, namespaces: Collection[str]) -> None:
        self._session, self._namespaces = session, namespaces
        self.unread: list[str] = []

    def read(self, resource: Resource, query: Query = ()) -> list[Object]:
        """All objects of a kind that can be read. A kind that is not installed has none."""
        try:
            return list(list_objects(self._session, resource, None, query)[0])
        except NotFound:
            return []
        except Forbidden as error:
            return self._narrowed(resource, query, error)
        except RemoteError as error:
            self.unread.append(why_not(error, resource))
            return []

    def read_in(self, resource: Resource, namespace: str, query: Query = ()) -> list[Object]:
        """Those of one namespace."""
        try:
            return list(list_objects(self._session, resource, namespace, query)[0])
        except NotFound:
            return []
        except RemoteError as error:
            self.unread.append(f"namespace {namespace}: {why_not(error, resource)}")
            return []

    def _narrowed(self, resource: Resource, query: Query, error: Forbidden) -> list[Object]:
        if not resource.namespaced:
            self.unread.append(why_not(error, resource))
            return []
        self.unread.append(f"{resource.name} may not be listed with these credentials outside of {', '.join(self._namespaces)}")
        return [one for namespace in self._namespaces for one in self.read_in(resource, namespace, query)]
