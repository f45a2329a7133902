"""Objects of a cluster, as the adapters of the routing port read them: listed once, or fetched on demand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controller.clients.kube import KubeSession, Resource
from controller.clock import SystemClock
from controller.errors import NotFound, RemoteError
from controller.objects import Object, name_of, text
from controller.signals.discovery import Discovery
from controller.signals.watch import list_objects


def served(discovery: Discovery, resource: Resource) -> Resource:
    """The version that is served; the list says more where there is none."""
    try:
        return discovery.served(resource)
    except RemoteError:
        return resource


class Listed:
    """See `controller.routing.port.Beside`."""

    def __init__(self, listed: Mapping[str, Sequence[Object]]) -> None:
        self._listed = listed

    def one(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """See `controller.routing.port.Beside.one`."""
        return next((one for one in self.all(resource, namespace) if name_of(one) == name), None)

    def all(self, resource: Resource, namespace: str) -> list[Object]:
        """See `controller.routing.port.Beside.all`."""
        return [one for one in self._listed.get(resource.name, ()) if text(one, "metadata", "namespace") == namespace]


class Fetched:
    """See `controller.routing.port.Beside`. Each method raises `RemoteError` where the cluster does not answer.

    Args:
        session: The cluster.
    """

    def __init__(self, session: KubeSession) -> None:
        self._session, self._discovery = session, Discovery(session, SystemClock())

    def one(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """See `controller.routing.port.Beside.one`."""
        try:
            return self._session.get(served(self._discovery, resource), namespace, name)
        except NotFound:
            return None

    def all(self, resource: Resource, namespace: str) -> Sequence[Object]:
        """See `controller.routing.port.Beside.all`. Of a kind that is not served there are none."""
        try:
            return list_objects(self._session, served(self._discovery, resource), namespace)[0]
        except NotFound:
            return []
