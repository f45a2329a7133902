"""Observes a namespace and Karpenter's objects once, with the permissions of `plan`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from controller.clients.kube import (
    GATEWAYS,
    LOAD_BALANCER_CONFIGURATIONS,
    NODE_CLAIMS,
    NODE_POOLS,
    PODS,
    SCALED_OBJECTS,
    SERVICES,
    KubeSession,
    Resource,
)
from controller.clock import SystemClock
from controller.errors import ConfigError, NotFound, RemoteError
from controller.objects import Object, name_of, namespace_of
from controller.policy.text import listing
from controller.routing.kinds import DEFAULT
from controller.routing.port import ALONE, Beside, RoutingPort
from controller.signals.discovery import Discovery
from controller.signals.watch import list_objects
from controller.signals.workload_kinds import WORKLOADS, Owner, as_deployments
from failover_setup.adoption.routed import Routed, read_routed, service_namespaces
from failover_setup.listed import Listed, served


@dataclass(frozen=True, slots=True)
class Observation:
    """The objects around one routing object at one time.

    Attributes:
        now: When it was made, seconds since the Unix epoch.
        obj: The routing object.
        services: The Services of one namespace, by name.
        workloads: Its workloads by kind and name, in the shape of Deployments.
        pods: Its pods.
        scaled_objects: Its ScaledObjects.
        node_pools: All NodePools by name.
        node_claims: All NodeClaims.
        unreadable: Why a kind could not be listed, by the resource's name.
        kind: The routing object's kind.
        beside: The further objects that a route's settings are in.
        services_in: That namespace; "" for the routing object's.
    """

    now: float
    obj: Object
    services: Mapping[str, Object] = field(default_factory=dict)
    workloads: Mapping[Owner, Object] = field(default_factory=dict)
    pods: Sequence[Object] = ()
    scaled_objects: Sequence[Object] = ()
    node_pools: Mapping[str, Object] = field(default_factory=dict)
    node_claims: Sequence[Object] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    kind: str = DEFAULT.resource.kind
    beside: Beside = ALONE
    services_in: str = ""

    def routed(self) -> Routed:
        """What the routing object says."""
        return read_routed(self.kind, self.obj, self.services, self.beside, self.services_in)


_ANYWHERE: Final = (GATEWAYS, LOAD_BALANCER_CONFIGURATIONS)
"""Kinds that may be another team's, in its namespace."""
_NAMESPACED: Final = (SERVICES, *WORKLOADS.values(), PODS, SCALED_OBJECTS)


def observe(
    session: KubeSession, ports: Sequence[RoutingPort], namespace: str, name: str, now: float, part: str | None = None
) -> Observation:
    """Lists the objects around one routing object.

    Args:
        session: Connection to the API server; permission to list suffices.
        ports: The kinds that it may be of; the first that has it counts.
        namespace: Its namespace.
        name: Its name.
        now: Seconds since the Unix epoch.
        part: The name of its action or rule; None: the only candidate.

    Raises:
        ConfigError: It does not exist, or its rules name Services of several namespaces.
        RemoteError: Its kind cannot be listed; without it nothing can be inferred.
    """
    discovery = Discovery(session, SystemClock())
    port, found = _found(session, ports, namespace, name)
    unreadable: dict[str, str] = {}
    space = _services_in(found, part) or namespace
    listed = {one.name: _listed(session, one, space, unreadable) for one in _NAMESPACED}
    karpenter = {one.name: _listed(session, one, None, unreadable) for one in (NODE_POOLS, NODE_CLAIMS)}
    beside: dict[str, list[Object]] = {}
    for kind in port.reads:
        known, spaces = served(discovery, kind), (None,) if kind in _ANYWHERE else dict.fromkeys((namespace, space))
        beside[kind.name] = [one for where in spaces for one in _listed(session, known, where, unreadable)]
    return Observation(
        now=now,
        obj=found,
        services=_by_name(listed[SERVICES.name]),
        workloads=as_deployments(listed),
        pods=listed[PODS.name],
        scaled_objects=listed[SCALED_OBJECTS.name],
        node_pools=_by_name(karpenter[NODE_POOLS.name]),
        node_claims=karpenter[NODE_CLAIMS.name],
        unreadable=unreadable,
        kind=port.resource.kind,
        beside=Listed(beside),
        services_in=space,
    )


def _services_in(obj: Object, part: str | None) -> str:
    """The namespace of the Services that a route's rules name; "" where they name none.

    Raises:
        ConfigError: There are several.
    """
    found = service_namespaces(obj, part)
    if len(found) > 1:
        fix = "name the application's rule with --rule" if part is None else "an application has its Services in one namespace"
        which = "its rules name" if part is None else f"its rule {part} names"
        raise ConfigError(f"{namespace_of(obj)}/{name_of(obj)}: {which} Services of namespaces {listing(found)}; {fix}")
    return next(iter(found), "")


def _found(session: KubeSession, ports: Sequence[RoutingPort], namespace: str, name: str) -> tuple[RoutingPort, Object]:
    there: list[str] = []
    kinds = " or ".join(port.resource.kind for port in ports)
    for port in ports:
        try:
            listed = list_objects(session, port.resource, namespace)[0]
        except NotFound:  # a cluster may have HTTPRoutes and no GRPCRoutes
            continue
        if found := next((one for one in listed if name_of(one) == name), None):
            return port, found
        there += map(name_of, listed)
    raise ConfigError(f"no {kinds} {namespace}/{name}; in that namespace there are: {', '.join(sorted(there)) or 'none'}")


def _listed(session: KubeSession, resource: Resource, namespace: str | None, unreadable: dict[str, str]) -> Sequence[Object]:
    """The objects of one kind. If they cannot be listed, returns () and records why."""
    try:
        return list_objects(session, resource, namespace)[0]
    except NotFound:
        if resource not in WORKLOADS.values():  # most clusters have no Rollout and no LeaderWorkerSet
            unreadable[resource.name] = "not installed"
    except RemoteError as error:
        unreadable[resource.name] = str(error)
    return ()


def _by_name(objects: Sequence[Object]) -> dict[str, Object]:
    return {name_of(one): one for one in objects}
