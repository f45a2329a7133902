"""The routing objects of all applications and the objects that they are read with, as the watches see them. The view's lock is held."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from controller.clients.kube import Object, Resource
from controller.objects import behind, name_of, namespace_of, text, version_of
from controller.policy.model import Application, RoutingObservation
from controller.routing.kinds import KINDS, routing_port
from controller.routing.port import Asked
from controller.signals.slim import pack, slim, unpack
from controller.signals.workloads import Key

_Read = tuple[Application, RoutingObservation, Asked | None]

MOST_BESIDE: Final = 8 * 2**20
"""Of all objects that routing objects are read with, bytes. Gateways of all teams are among them; a thousand take half a MiB."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A routing object as it is kept."""

    uid: str
    version: int | None
    packed: bytes


class RoutingObjects:
    """Routing objects by kind, and what was read of them."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[Key, _Kept]] = {port.resource.name: {} for port in KINDS.values()}
        self._beside: dict[str, dict[Key, bytes]] = {one.name: {} for port in KINDS.values() for one in port.reads}
        self._read: dict[tuple[str, str, str], _Read] = {}  # by plural, namespace and name
        self._size = 0  # of what is beside, bytes

    def kept(self) -> dict[str, int]:
        """How many objects are kept in memory, by kind."""
        counts = {name: len(kept) for name, kept in self._objects.items()} | {name: len(kept) for name, kept in self._beside.items()}
        return {name.partition(".")[0]: count for name, count in counts.items()}

    def known(self, resource: Resource) -> Iterable[Key]:
        """Namespaces and names of the routing objects of a kind."""
        return self._objects[resource.name]

    def beside(self, resource: Resource) -> Iterable[Key]:
        """Namespaces and names of the objects of a kind that routing objects are read with."""
        return self._beside[resource.name]

    def take(self, resource: Resource, kind: str, obj: Object) -> bool:
        """Takes a routing object, and says whether it is another now. Nothing replaces it by an earlier state of itself: our own write."""
        key, objects = (namespace_of(obj), name_of(obj)), self._objects[resource.name]
        known = objects.get(key)
        older = known is not None and text(obj, "metadata", "uid") == known.uid and behind(version_of(obj), known.version)
        # A watch adds before it modifies: a change of what is not there is the answer to our own write, overtaken by a deletion.
        if older or (kind != "ADDED" and known is None):
            return False
        new = None if kind == "DELETED" else _kept(resource, obj)
        if new == known:
            return False
        self._read.pop((resource.plural, *key), None)  # it was read of the one before
        if new is None:
            del objects[key]
        else:
            objects[key] = new
        return True

    def take_beside(self, resource: Resource, kind: str, obj: Object) -> list[tuple[str, str, str]]:
        """Takes an object that routing objects are read with. Beyond `MOST_BESIDE` it counts as absent, and what is known stays.

        Returns:
            Plural, namespace and name of the routing objects that are to be read again: all that are read with its kind, for few are, and
            such an object rarely changes.
        """
        key, objects = (namespace_of(obj), name_of(obj)), self._beside[resource.name]
        known, new = objects.get(key), None if kind == "DELETED" else pack(slim(resource.plural, obj))
        self._size -= len(known or b"")
        if new is not None and self._size + len(new) > MOST_BESIDE:
            new = None
        self._size += len(new or b"")
        if new == known:
            return []
        if new is None:
            del objects[key]
        else:
            objects[key] = new
        plurals = {port.resource.plural for port in KINDS.values() if resource in port.reads}
        again = [read for read in self._read if read[0] in plurals]
        for one in again:
            del self._read[one]
        return again

    def is_another(self, resource: Resource, obj: Object) -> bool:
        """Whether a routing object of that name is known and is not that one: it was deleted and created again."""
        known = self._objects.get(resource.name, {}).get((namespace_of(obj), name_of(obj)))
        return known is not None and known.uid != text(obj, "metadata", "uid")

    def forget_versions(self, resource: Resource, namespace: str | None) -> None:
        """Lets the next state of each routing object of a namespace replace the one that is known, whatever its version."""
        objects = self._objects[resource.name]
        objects |= {key: replace(known, version=None) for key, known in objects.items() if namespace in {None, key[0]}}

    def concerned(self, kind: str, namespace: str, name: str) -> Iterator[tuple[str, str, str]]:
        """The routing objects whose rules the load-balancer controller reports on in events about an object."""
        if kind in KINDS:  # about itself
            yield KINDS[kind].resource.plural, namespace, name
            return
        about = (kind, namespace, name)
        yield from (key for key, (_, _, asked) in self._read.items() if asked is not None and about in asked.reported)

    def of(self, application: Application) -> Object | None:
        """The routing object of an application, None where it does not exist."""
        known = self._objects[routing_port(application).resource.name].get((application.routing_namespace, application.route.name))
        return None if known is None else unpack(known.packed)

    def read(self, application: Application) -> tuple[RoutingObservation, Asked | None]:
        """What an application's routing object says, and asks of the load balancer where it exists; read again only when it changed."""
        port = routing_port(application)
        key = (port.resource.plural, application.routing_namespace, application.route.name)
        read = self._read.get(key)
        if read is None or read[0] is not application:
            obj, beside = self.of(application), _Beside(self._beside)
            asked = None if obj is None else port.asked(application, obj, beside)
            read = self._read[key] = (application, port.observe(application, obj, beside), asked)
        return read[1], read[2]

    def retain(self, applications: Iterable[Application]) -> None:
        """Forgets what was read for other applications than these."""
        keys = {(routing_port(one).resource.plural, one.routing_namespace, one.route.name) for one in applications}
        self._read = {key: read for key, read in self._read.items() if key in keys}


class _Beside:
    """See `controller.routing.port.Beside`."""

    def __init__(self, objects: Mapping[str, Mapping[Key, bytes]]) -> None:
        self._objects = objects

    def one(self, resource: Resource, namespace: str, name: str) -> Object | None:
        packed = self._objects[resource.name].get((namespace, name))
        return None if packed is None else unpack(packed)

    def all(self, resource: Resource, namespace: str) -> list[Object]:
        return [unpack(packed) for (space, _), packed in self._objects[resource.name].items() if space == namespace]


def _kept(resource: Resource, obj: Object) -> _Kept:
    return _Kept(text(obj, "metadata", "uid"), version_of(obj), pack(slim(resource.plural, obj)))
