"""The Gateways that a route is attached to: their load balancers and listeners, and what the load-balancer controller says of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from controller.clients.kube import GATEWAYS
from controller.clock import parse_rfc3339
from controller.foreign import shown
from controller.objects import Object, condition, entries, integer, items, mapping, namespace_of, text
from controller.routing.conditions import covers_host
from controller.routing.port import Beside

CONTROLLER: Final = "gateway.k8s.aws/alb"
"""The name by which the load-balancer controller signs what it says of routes on Application Load Balancers."""
_GATEWAY: Final = "Gateway"


@dataclass(frozen=True, slots=True)
class Attached:
    """One listener that a route asks to be attached to.

    Attributes:
        balancer: The DNS name of its load balancer; "" while there is none.
        port: The port.
        hosts: The hosts whose requests the route gets there; ("",) for any.
    """

    balancer: str
    port: int
    hosts: tuple[str, ...]


def gateways_of(route: Object) -> tuple[tuple[str, str], ...]:
    """Namespaces and names of the Gateways that a route names, each once."""
    named = ((text(one, "namespace") or namespace_of(route), text(one, "name")) for one in _parents(route))
    return tuple(dict.fromkeys(named))


def attached(route: Object, beside: Beside) -> Iterator[Attached]:
    """The listeners that the route asks for, as far as its Gateways are known."""
    for parent in _parents(route):
        gateway = beside.one(GATEWAYS, text(parent, "namespace") or namespace_of(route), text(parent, "name"))
        for listener in entries(gateway, "spec", "listeners"):
            section, port, own = text(parent, "sectionName"), integer(parent, "port"), integer(listener, "port")
            if own is None or section not in {"", text(listener, "name")} or port not in {None, own}:
                continue
            hosts = tuple(_hosts(items(route, "spec", "hostnames"), text(listener, "hostname")))
            if hosts:
                yield from (Attached(balancer, own, hosts) for balancer in balancers(gateway) or ("",))


def balancers(gateway: Object | None) -> tuple[str, ...]:
    """The DNS names of a Gateway's load balancers in its status."""
    return tuple(name for one in entries(gateway, "status", "addresses") if (name := text(one, "value")))


def refused(route: Object, beside: Beside) -> str:
    """Why the load-balancer controller makes no rules, or not all, of a route as it is now; "" where it says no such thing."""
    generation = integer(route, "metadata", "generation")
    for said in _said(route):
        for kind in ("Accepted", "ResolvedRefs"):
            found = condition({"status": said}, kind)
            if text(found, "status") == "False" and integer(found, "observedGeneration") in {None, generation}:
                return f"{kind} is False ({shown(text(found, 'reason'))}): {shown(text(found, 'message')) or 'no message'}"
    for namespace, name in gateways_of(route):
        found = condition(mapping(beside.one(GATEWAYS, namespace, name)), "Accepted")
        if text(found, "status") == "False":
            why = shown(text(found, "message")) or "no message"
            return f"Gateway {namespace}/{name} is not accepted ({shown(text(found, 'reason'))}): {why}"
    return ""


def overlooked(route: Object) -> float | None:
    """Since when the load-balancer controller has not taken up the route's last change, see `controller.routing.port.Asked`.

    What it said of an earlier generation stays where one wrong weight keeps it from building any rule of the Gateway.
    """
    generation = integer(route, "metadata", "generation") or 0
    seen = [integer(condition({"status": said}, "Accepted"), "observedGeneration") for said in _said(route)]
    known = [one for one in seen if one is not None]
    if not known or min(known) >= generation:
        return None
    changed = (parse_rfc3339(text(one, "time")) for one in entries(route, "metadata", "managedFields") if not text(one, "subresource"))
    return max((at for at in changed if at is not None), default=None)


def _parents(route: Object) -> list[dict[str, Any]]:
    return [one for one in entries(route, "spec", "parentRefs") if one.get("kind") in {None, _GATEWAY}]


def _said(route: Object) -> Iterator[Mapping[str, Any]]:
    """What the load-balancer controller says of the route on each of its Gateways: objects with ``conditions``."""
    return (one for one in entries(route, "status", "parents") if text(one, "controllerName") == CONTROLLER)


def _hosts(asked: list[Any], listens: str) -> Iterator[str]:
    """The hosts of a route on a listener: of its own and the listener's the narrower."""
    own = [one for one in asked if isinstance(one, str)]
    if not own:
        yield listens
        return
    for host in own:
        if not listens or covers_host(listens, host):
            yield host
        elif covers_host(host, listens):
            yield listens
