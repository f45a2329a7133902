"""Observes a namespace and Karpenter's objects once, with the permissions of `plan`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from controller.clients.kube import (
    INGRESSES,
    NODE_CLAIMS,
    NODE_POOLS,
    PODS,
    SCALED_OBJECTS,
    SERVICES,
    KubeSession,
    Resource,
)
from controller.errors import ConfigError, NotFound, RemoteError
from controller.objects import Object, mapping, name_of
from controller.signals.watch import list_objects
from controller.signals.workload_kinds import WORKLOADS, Owner, as_deployments


@dataclass(frozen=True, slots=True)
class Observation:
    """The objects around one Ingress at one time.

    Attributes:
        now: When it was made, seconds since the Unix epoch.
        ingress: The Ingress.
        services: The namespace's Services by name.
        workloads: The namespace's workloads by kind and name, in the shape of Deployments.
        pods: The namespace's pods.
        scaled_objects: The namespace's ScaledObjects.
        node_pools: All NodePools by name.
        node_claims: All NodeClaims.
        unreadable: Why a kind could not be listed, by the resource's name.
    """

    now: float
    ingress: Object
    services: Mapping[str, Object] = field(default_factory=dict)
    workloads: Mapping[Owner, Object] = field(default_factory=dict)
    pods: Sequence[Object] = ()
    scaled_objects: Sequence[Object] = ()
    node_pools: Mapping[str, Object] = field(default_factory=dict)
    node_claims: Sequence[Object] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)

    @property
    def annotations(self) -> Mapping[str, object]:
        """The Ingress's annotations."""
        return mapping(self.ingress, "metadata", "annotations")


_NAMESPACED: Final = (SERVICES, *WORKLOADS.values(), PODS, SCALED_OBJECTS)


def observe(session: KubeSession, namespace: str, ingress: str, now: float) -> Observation:
    """Lists the objects around one Ingress.

    Args:
        session: Connection to the API server; permission to list suffices.
        namespace: The Ingress's namespace.
        ingress: Its name.
        now: Seconds since the Unix epoch.

    Raises:
        ConfigError: The Ingress does not exist.
        RemoteError: The Ingresses cannot be listed; without them nothing can be inferred.
    """
    ingresses = list_objects(session, INGRESSES, namespace)[0]
    found = next((one for one in ingresses if name_of(one) == ingress), None)
    if found is None:
        there = ", ".join(sorted(name_of(one) for one in ingresses)) or "none"
        raise ConfigError(f"no Ingress {namespace}/{ingress}; in that namespace there are: {there}")
    unreadable: dict[str, str] = {}
    listed = {one.name: _listed(session, one, namespace, unreadable) for one in _NAMESPACED}
    karpenter = {one.name: _listed(session, one, None, unreadable) for one in (NODE_POOLS, NODE_CLAIMS)}
    return Observation(
        now=now,
        ingress=found,
        services=_by_name(listed[SERVICES.name]),
        workloads=as_deployments(listed),
        pods=listed[PODS.name],
        scaled_objects=listed[SCALED_OBJECTS.name],
        node_pools=_by_name(karpenter[NODE_POOLS.name]),
        node_claims=karpenter[NODE_CLAIMS.name],
        unreadable=unreadable,
    )


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
