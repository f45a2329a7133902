"""The kinds of routing objects: a further kind is one adapter and one row here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from controller.policy.model import Action, Application
from controller.routing.gateway import adapter as gateway
from controller.routing.ingress import adapter as ingress
from controller.routing.port import RoutingPort

KINDS: Final[Mapping[str, RoutingPort]] = {port.resource.kind: port for port in (ingress, gateway.http, gateway.grpc)}
"""By the kind that `Application.route` names."""
DEFAULT: Final = ingress
"""Of an application whose file names no kind."""


def port_of_action(action: Action) -> RoutingPort:
    """The port that wrote the request of a routing action."""
    return next(port for port in KINDS.values() if port.resource.name == action.resource)


def routing_port(application: Application) -> RoutingPort:
    """The port of an application's routing object."""
    return KINDS[application.route.kind]
