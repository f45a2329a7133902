"""Lists the objects of one kind, or says why they cannot be listed."""

from __future__ import annotations

from collections.abc import Sequence

from controller.clients.kube import KubeSession, Resource
from controller.errors import Forbidden, NotFound, RemoteError
from controller.objects import Object
from controller.signals.watch import Query, list_objects
from failover_setup.doctor.report import NOT_INSTALLED


def listed_or_why(
    session: KubeSession, resource: Resource, namespace: str | None, unreadable: dict[str, str], query: Query = ()
) -> Sequence[Object]:
    """The objects of one kind. If they cannot be listed, returns () and records why.

    Args:
        session: Connection to the API server, with its deadline of a request.
        resource: What to list.
        namespace: The namespace; None for all.
        unreadable: Gets the reason, by the resource's name.
        query: Further query parameters, such as a label selector.
    """
    try:
        return list_objects(session, resource, namespace, query)[0]
    except RemoteError as error:
        unreadable[resource.name] = why_not(error, resource)
    return ()


def why_not(error: RemoteError, resource: Resource) -> str:
    """Why a kind cannot be listed; short if a permission is missing, or the kind."""
    if isinstance(error, NotFound):
        return f"{resource.name} {NOT_INSTALLED}"
    return f"{resource.name} may not be listed with these credentials" if isinstance(error, Forbidden) else str(error)
