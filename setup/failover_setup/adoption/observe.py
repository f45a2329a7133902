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
from controller.objects import Object, name_of
from controller.routing.kinds import DEFAULT
from controller.routing.port import ALONE, Beside, RoutingPort
from controller.signals.discovery import Discovery
from controller.signals.watch import list_objects
from controller.signals.workload_kinds import WORKLOADS, Owner, as_deployments
from failover_setup.adoption.routed import Routed, read_routed
from failover_setup.listed import Listed, served


@dataclass(frozen=True, slots=True)
class Observation:
    """The objects around one routing object at one time.

    Attributes:
        now: When it was made, seconds since the Unix epoch.
        obj: The routing object.
        services: The namespace's Services by name.
        workloads: The namespace's workloads by kind and name, in the shape of Deployments.
        pods: The namespace's pods.
        scaled_objects: The namespace's ScaledObjects.
        node_pools: All NodePools by name.
        node_claims: All NodeClaims.
        unreadable: Why a kind could not be listed, by the resource's name.
        kind: The routing object's kind.
        beside: The further objects that a route's settings are in.
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

    def routed(self) -> Routed:
        """What the routing object says."""
        return read_routed(self.kind, self.obj, self.services, self.beside)


_ANYWHERE: Final = (GATEWAYS, LOAD_BALANCER_CONFIGURATIONS)
"""Kinds that may be another team's, in its namespace."""
_NAMESPACED: Final = (SERVICES, *WORKLOADS.values(), PODS, SCALED_OBJECTS)


def observe(session: KubeSession, ports: Sequence[RoutingPort], namespace: str, name: str, now: float) -> Observation:
    """Lists the objects around one routing object.

    Args:
        session: Connection to the API server; permission to list suffices.
        ports: The kinds that it may be of; the first that has it counts.
        namespace: Its namespace.
        name: Its name.
        now: Seconds since the Unix epoch.

    Raises:
        ConfigError: It does not exist.
        RemoteError: Its kind cannot be listed; without it nothing can be inferred.
    """
    discovery = Discovery(session, SystemClock())
    port, found = _found(session, ports, namespace, name)
    unreadable: dict[str, str] = {}
    listed = {one.name: _listed(session, one, namespace, unreadable) for one in _NAMESPACED}
    karpenter = {one.name: _listed(session, one, None, unreadable) for one in (NODE_POOLS, NODE_CLAIMS)}
    beside = {one.name: _listed(session, served(discovery, one), None if one in _ANYWHERE else namespace, unreadable) for one in port.reads}
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
    )


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
