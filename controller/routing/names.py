"""The names that the load-balancer controller reads on an Ingress or a Service."""

from __future__ import annotations

from typing import Final

PREFIX: Final = "alb.ingress.kubernetes.io"
USE_ANNOTATION: Final = "use-annotation"
"""In the place of a port's name: the backend is the action of the Service's name."""

UNREACHABLE: Final = ".invalid"
"""The end of a host that no request can have, as standby rules have it."""


def setting(name: str) -> str:
    """The annotation that states a setting of the load-balancer controller, on an Ingress or on one Service."""
    return f"{PREFIX}/{name}"


ATTRIBUTES: Final = setting("target-group-attributes")
"""Attributes of target groups, see `controller.routing.attributes`. A Service's annotation replaces the Ingress's."""


def action_key(action: str) -> str:
    """The annotation that holds the action."""
    return setting(f"actions.{action}")
