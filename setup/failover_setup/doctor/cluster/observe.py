"""Observes the cluster's components once, by lists and discovery alone. The checks report what it may not list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from controller.clients.kube import (
    API_SERVICES,
    AUTO_NODE_CLASSES,
    AUTO_TARGET_GROUP_BINDINGS,
    CLUSTER_TRIGGER_AUTHENTICATIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    INGRESS_CLASSES,
    NAMESPACES,
    NODE_CLAIMS,
    NODE_CLASSES,
    NODE_POOLS,
    NODES,
    SCALED_OBJECTS,
    TARGET_GROUP_BINDINGS,
    TRIGGER_AUTHENTICATIONS,
    KubeSession,
    Resource,
)
from controller.errors import Forbidden, NotFound, RemoteError
from controller.objects import Object, items, name_of, text
from controller.policy.model import Application, Unit
from controller.signals.watch import list_objects
from failover_setup.doctor.cluster.account import Account
from failover_setup.doctor.cluster.components import Component
from failover_setup.doctor.cluster.workload import Workload, find
from failover_setup.doctor.reading import listed_or_why, why_not

KINDS: Final = (NODE_POOLS, NODE_CLAIMS, NODE_CLASSES, TARGET_GROUP_BINDINGS, SCALED_OBJECTS, TRIGGER_AUTHENTICATIONS)
"""The kinds that the components' CRDs must serve."""
METRICS_API: Final = "v1beta1.external.metrics.k8s.io"
AUTO_KINDS: Final = (AUTO_NODE_CLASSES, AUTO_TARGET_GROUP_BINDINGS)
"""The kinds that EKS Auto Mode serves."""
AUTO_MODE: Final = AUTO_NODE_CLASSES.group

_HOMES: Final = ("kube-system", "karpenter", "keda", "amazon-cloudwatch", "nvidia-device-plugin", "gpu-operator")
"""The usual namespaces of the components, for an identity that may not list all namespaces."""
_UNASKED: Final = Account()
_FAMILIES: Final = {True: ("inf", "trn"), False: ("g", "p")}  # EC2's instance families with Neuron devices, and with NVIDIA GPUs


@dataclass(frozen=True, slots=True)
class ClusterObservation:
    """The components of one cluster at one time.

    Attributes:
        now: When it was observed, seconds since the Unix epoch.
        host: The API server's URL.
        applications: Those that rely on the components; () if none is known.
        groups: The API groups that are served, with their versions: ``karpenter.sh/v1``.
        served: The names of the resources of `KINDS` and `AUTO_KINDS` that are served.
        listed: The objects of each kind that could be listed, by the resource's name.
        homes: The namespaces whose Deployments and DaemonSets were listed; () means all.
        unreadable: Why a kind could not be listed, by the resource's name.
        account: The AWS account.
        elbv2_calls_per_s: The controller's budget of ELBv2 calls; None if it makes none.
        cluster_wide: Whether the controller has one set of watches over all namespaces.
    """

    now: float
    host: str
    applications: Sequence[Application] = ()
    groups: frozenset[str] = frozenset()
    served: frozenset[str] = frozenset()
    listed: Mapping[str, Sequence[Object]] = field(default_factory=dict)
    homes: tuple[str, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    account: Account = _UNASKED
    elbv2_calls_per_s: float | None = None
    cluster_wide: bool = False

    def objects(self, resource: Resource) -> Sequence[Object]:
        """The listed objects of a kind."""
        return self.listed.get(resource.name, ())

    def deployment(self, component: Component) -> Workload | None:
        """A component that is a Deployment, None if it was not found."""
        return find(component, self.objects(DEPLOYMENTS))

    def daemon_set(self, component: Component) -> Workload | None:
        """A component that is a DaemonSet, None if it was not found."""
        return find(component, self.objects(DAEMON_SETS))

    @property
    def auto_mode(self) -> bool:
        """Whether AWS runs a Karpenter, a load-balancer controller and device plugins itself, perhaps beside installed ones."""
        return any(group.partition("/")[0] == AUTO_MODE for group in self.groups)

    @property
    def units(self) -> list[Unit]:
        """The units of all applications."""
        return [unit for application in self.applications for unit in application.units]

    def pools(self, *, neuron: bool) -> list[str]:
        """The NodePools of the units on Neuron devices, or else on NVIDIA GPUs."""
        return sorted({unit.node_pool for unit in self.units if unit.instance_type.startswith(_FAMILIES[neuron])})


def observe_cluster(
    session: KubeSession,
    applications: Iterable[Application],
    now: float,
    account: Account = _UNASKED,
    elbv2_calls_per_s: float | None = None,
    *,
    cluster_wide: bool = False,
) -> ClusterObservation:
    """Observes the components of a cluster.

    Args:
        session: Connection to the API server.
        applications: Those that rely on the components.
        now: Seconds since the Unix epoch.
        account: What is known of the AWS account.
        elbv2_calls_per_s: The controller's budget of ELBv2 calls; None if it makes none.
        cluster_wide: Whether the controller has one set of watches over all namespaces.

    Raises:
        RemoteError: Discovery of the API groups failed.
    """
    applications = list(applications)
    unreadable: dict[str, str] = {}
    groups = _groups(session)
    served = frozenset(kind.name for kind in (*KINDS, *AUTO_KINDS) if kind.api_version in groups and _serves(session, kind))
    listed: dict[str, Sequence[Object]] = {}
    homes: tuple[str, ...] = ()
    for resource in (DEPLOYMENTS, DAEMON_SETS):
        listed[resource.name], narrowed = _everywhere(session, resource, unreadable)
        homes = homes or narrowed
    for resource in (INGRESS_CLASSES, NAMESPACES, NODES):
        listed[resource.name] = listed_or_why(session, resource, None, unreadable)
    listed[API_SERVICES.name] = _metrics_api(session, unreadable)
    for resource in (NODE_POOLS, NODE_CLASSES, AUTO_NODE_CLASSES):
        if resource.name in served:
            listed[resource.name] = listed_or_why(session, resource, None, unreadable)
    spaces = sorted({one.namespace for one in applications})
    scaling = [kind for kind in (SCALED_OBJECTS, TRIGGER_AUTHENTICATIONS) if kind.name in served]
    for resource in scaling:
        listed[resource.name] = [one for space in spaces for one in listed_or_why(session, resource, space, unreadable)]
    if scaling:
        listed[CLUSTER_TRIGGER_AUTHENTICATIONS.name] = listed_or_why(session, CLUSTER_TRIGGER_AUTHENTICATIONS, None, unreadable)
    known = (applications, groups, served, listed, homes, unreadable, account, elbv2_calls_per_s, cluster_wide)
    return ClusterObservation(now, session.host, *known)


def _groups(session: KubeSession) -> frozenset[str]:
    """The API groups with their versions; every authenticated identity may read them."""
    found = items(session.request("GET", "/apis"), "groups")
    return frozenset(text(version, "groupVersion") for group in found for version in items(group, "versions"))


def _serves(session: KubeSession, kind: Resource) -> bool:
    try:
        resources = items(session.request("GET", f"/apis/{kind.api_version}"), "resources")
    except NotFound:
        return False
    return any(name_of({"metadata": one}) == kind.plural for one in resources)


def _everywhere(session: KubeSession, resource: Resource, unreadable: dict[str, str]) -> tuple[Sequence[Object], tuple[str, ...]]:
    """The objects of all namespaces, with (). If that is not allowed: those of the usual namespaces that may be listed, and their names."""
    try:
        return list_objects(session, resource, None)[0], ()
    except Forbidden as error:
        reason = why_not(error, resource)
    except RemoteError as error:
        unreadable[resource.name] = str(error)
        return (), ()
    found: list[Object] = []
    homes: list[str] = []
    for home in _HOMES:
        try:
            found += list_objects(session, resource, home)[0]
        except RemoteError:
            continue  # the checks report what is missing
        homes.append(home)
    if not homes:
        unreadable[resource.name] = reason
    return found, tuple(homes)


def _metrics_api(session: KubeSession, unreadable: dict[str, str]) -> Sequence[Object]:
    """The APIService of external metrics, () if there is none."""
    try:
        return [session.get(API_SERVICES, None, METRICS_API)]
    except NotFound:
        return ()
    except RemoteError as error:
        unreadable[API_SERVICES.name] = why_not(error, API_SERVICES)
        return ()
