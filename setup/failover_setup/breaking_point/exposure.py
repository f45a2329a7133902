"""Whether a URL leads to production: a load that breaks it would be an outage."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from controller.clients.kube import ENDPOINT_SLICES, KubeSession
from controller.errors import FailoverError
from controller.objects import items, mapping
from controller.policy.model import Application
from controller.routing.conditions import covers_host
from controller.routing.kinds import routing_port
from controller.signals.watch import list_objects
from failover_setup.listed import Fetched

_CLUSTER_SUFFIXES: Final = ("svc", "svc.cluster.local")
_SERVICE_LABEL: Final = "kubernetes.io/service-name"


class Exposure(StrEnum):
    """Whether a URL leads to production."""

    PRODUCTION = "production"
    ELSEWHERE = "elsewhere"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judgement and its reason."""

    exposure: Exposure
    why: str


@dataclass(frozen=True, slots=True)
class Live:
    """The part of the cluster that shows whether a URL leads to production.

    Attributes:
        hosts: The hosts of the routing object's rules, see `controller.routing.port.RoutingPort.hosts`.
        balancers: The names of its load balancers.
        pods: The Service of every pod behind one of the application's Services, by the pod's address.
    """

    hosts: tuple[str, ...]
    balancers: tuple[str, ...]
    pods: Mapping[str, str]


def observe(session: KubeSession, application: Application) -> Live:
    """Reads the routing object and the pods from the cluster.

    Raises:
        RemoteError: It cannot be read.
    """
    port, beside = routing_port(application), Fetched(session)
    obj = beside.one(port.resource, application.namespace, application.route.name) or {}
    slices, _ = list_objects(session, ENDPOINT_SLICES, application.namespace)
    pods = {}
    for one in slices:
        service = str(mapping(one, "metadata", "labels").get(_SERVICE_LABEL, ""))
        if service in application.services:
            pods.update(dict.fromkeys(_addresses(one), service))
    return Live(port.hosts(obj, beside), port.asked(application, obj, beside).hostnames, pods)


def exposure(host: str, application: Application, live: Live | None, resolve: Callable[[str], frozenset[str]]) -> Verdict:
    """Judges the host of a URL.

    Args:
        host: A name or an address.
        application: The application of the measured unit.
        live: The observed cluster; None if it cannot be read.
        resolve: Returns the addresses of a name; raises OSError if it has none.
    """
    host = host.lower().rstrip(".")
    service = _service(host, application.namespace)
    if service in application.services:
        return Verdict(Exposure.PRODUCTION, f"it is Service {service}, which {application.routing_object} forwards to")
    if host.endswith(tuple(f".{suffix}" for suffix in _CLUSTER_SUFFIXES)):
        return Verdict(Exposure.ELSEWHERE, f"it is a Service that {application.routing_object} does not forward to")
    try:
        addresses = resolve(host)
    except OSError:
        return Verdict(Exposure.UNKNOWN, "the host name cannot be resolved from here")
    if all(ipaddress.ip_address(address).is_loopback for address in addresses):
        return Verdict(Exposure.ELSEWHERE, "it is this machine")
    if live is None:
        return Verdict(Exposure.UNKNOWN, f"{application.routing_object} cannot be read")
    for address in addresses:
        if address in live.pods:
            return Verdict(
                Exposure.PRODUCTION, f"it is a pod behind Service {live.pods[address]}, which {application.routing_object} forwards to"
            )
    if any(covers_host(pattern, host) for pattern in live.hosts if pattern):
        return Verdict(Exposure.PRODUCTION, f"{application.routing_object} has a rule for its host")
    for name in live.balancers:
        with suppress(OSError):
            if host == name.lower() or addresses & resolve(name):
                return Verdict(Exposure.PRODUCTION, f"it is the load balancer of {application.routing_object}")
    return Verdict(Exposure.ELSEWHERE, f"{application.routing_object} does not lead there")


def resolve(name: str) -> frozenset[str]:
    """The addresses of a name; the resolver's own time-outs apply.

    Raises:
        OSError: It has none.
    """
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # not a valid host name
        raise OSError(str(error)) from error
    return frozenset(str(info[4][0]).partition("%")[0] for info in found)


def observe_or_why(session: Callable[[], KubeSession], application: Application) -> tuple[Live | None, str]:
    """Like `observe`, with ""; None and the reason if the cluster cannot be read."""
    try:
        return observe(session(), application), ""
    except FailoverError as error:  # no kubeconfig, no answer, no permission
        return None, str(error)


def _service(host: str, namespace: str) -> str:
    """The Service of the application's namespace that a cluster-internal name means, "" if it means none."""
    name, _, rest = host.partition(".")
    return name if rest in {"", namespace, *(f"{namespace}.{suffix}" for suffix in _CLUSTER_SUFFIXES)} else ""


def _addresses(endpoint_slice: Mapping[str, Any]) -> Iterator[str]:
    for endpoint in items(endpoint_slice, "endpoints"):
        yield from map(str, items(endpoint, "addresses"))
