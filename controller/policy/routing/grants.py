"""Services of another namespace, which the routing object may name only where a ReferenceGrant says so."""

from __future__ import annotations

from collections.abc import Collection

from controller.policy.model import Application
from controller.policy.text import listing


def grant_problem(application: Application, ungranted: Collection[str]) -> str:
    """What a missing ReferenceGrant does and how to create it, in words; "" where none is missing.

    Args:
        application: The application.
        ungranted: See `controller.policy.model.RoutingObservation.ungranted`.
    """
    if not ungranted:
        return ""
    return (
        f"no ReferenceGrant is known in namespace {application.namespace} that lets {application.routing_object} "
        f"name {listing(ungranted)}, so that the load balancer gets no backend of it. "
        f"`failoverctl doctor {application.key}` prints the grant"
    )
