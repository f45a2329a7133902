"""Objects that were listed once, as the adapters of the routing port read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controller.clients.kube import Resource
from controller.errors import RemoteError
from controller.objects import Object, name_of, text
from controller.signals.discovery import Discovery


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
