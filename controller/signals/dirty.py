"""Which applications a change concerns: the others need not be decided upon again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Final

from controller.clients.kube import SCALED_OBJECTS, SERVICES
from controller.policy.model import Application
from controller.routing.kinds import routing_port

_MAX_NOTES: Final = 20_000  # changes between two passes; beyond that all applications are decided upon

Concern = tuple[str, str, str]
"""What an application depends on: plural, namespace and name. EndpointSlices and target group bindings count as their Service, workloads of
any kind as `WORKLOAD`."""

WORKLOAD: Final = "workload"


class Dirty:
    """What has changed since it was last taken. Thread-safe.

    Args:
        wake: Called after every change, from the watch's thread; must not block.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._wake = wake
        self._concerns: set[Concern] = set()
        self._namespaces: set[str] = set()
        self._pools: set[str] = set()
        self._all = False
        self._index = _Index(())
        self._for_waiting: set[str] = set()
        self._awaited: dict[str, frozenset[str]] = {}  # by application, of those whose pods wait

    def awaits(self, application: str, pools: frozenset[str]) -> None:
        """Notes the NodePools that an application's waiting pods may use; () where none waits."""
        with self._lock:
            if pools:
                self._awaited[application] = pools
            else:
                self._awaited.pop(application, None)

    def mark(self, *concerns: Concern, namespace: str = "", pool: str = "", awaited: str = "", everything: bool = False) -> None:
        """Notes a change and wakes the loop.

        Args:
            concerns: Objects that changed.
            namespace: Where anything may have changed.
            pool: A NodePool that changed, for all that use it.
            awaited: A NodePool of which something is known that is news only to pods that wait for it. A thousand applications may buy the
                same instance type: not each needs a pass whenever EC2 refuses it to one.
            everything: Whether all may have changed.
        """
        if not (concerns or namespace or pool or awaited or everything):
            return
        with self._lock:
            self._concerns.update(concerns)
            self._namespaces.update({namespace} - {""})
            self._pools.update({pool} - {""})
            self._for_waiting.update({awaited} - {""})
            noted = len(self._concerns) + len(self._namespaces) + len(self._pools) + len(self._for_waiting)
            self._all = self._all or everything or noted > _MAX_NOTES
            if self._all:
                self._concerns, self._namespaces, self._pools, self._for_waiting = set(), set(), set(), set()
        self._wake()

    def pending(self) -> bool:
        """Whether something has changed since it was last taken."""
        with self._lock:
            return bool(self._concerns or self._namespaces or self._pools or self._for_waiting or self._all)

    def take(self, applications: Sequence[Application]) -> list[Application]:
        """The applications that the changes concern, in their order; the notes are cleared."""
        with self._lock:
            concerns, namespaces, pools, everything = self._concerns, self._namespaces, self._pools, self._all
            self._concerns, self._namespaces, self._pools, self._all = set(), set(), set(), False
            awaited, self._for_waiting = pools | self._for_waiting, set()
        if everything:
            return list(applications)
        if not (concerns or namespaces or awaited):
            return []
        if not self._index.of(applications):
            self._index = _Index(applications)
            self._forget_others({one.key for one in applications})
        return self._index.find(concerns, namespaces, pools, self._waiting_for(awaited))

    def _forget_others(self, applications: Collection[str]) -> None:
        with self._lock:
            self._awaited = {key: names for key, names in self._awaited.items() if key in applications}

    def _waiting_for(self, pools: Collection[str]) -> set[str]:
        """The applications whose waiting pods may use one of these NodePools."""
        if not pools:
            return set()
        with self._lock:
            return {key for key, names in self._awaited.items() if not names.isdisjoint(pools)}


class _Index:
    """Which applications depend on what: a change must not cost a check of all of them.

    Args:
        applications: All of them.
    """

    def __init__(self, applications: Sequence[Application]) -> None:
        self._applications = tuple(applications)
        self._concerns: dict[Concern, tuple[int, ...]] = {}  # nearly all of one: a set for each would be most of the memory
        self._namespaces: dict[str, list[int]] = {}
        self._pools: dict[str, list[int]] = {}
        for place, application in enumerate(self._applications):
            self._namespaces.setdefault(application.namespace, []).append(place)
            for pool in {unit.node_pool for unit in application.units}:
                self._pools.setdefault(pool, []).append(place)
            for concern in set(_concerns_of(application)):
                self._concerns[concern] = (*self._concerns.get(concern, ()), place)

    def of(self, applications: Sequence[Application]) -> bool:
        """Whether it is the index of exactly these."""
        mine = self._applications
        if mine is applications:
            return True
        return len(mine) == len(applications) and all(one is other for one, other in zip(mine, applications, strict=True))

    def find(
        self, concerns: Iterable[Concern], namespaces: Iterable[str], pools: Iterable[str], also: Collection[str] = ()
    ) -> list[Application]:
        """The applications that depend on any of these, and those with the keys `also`, in their order."""
        found = {place for place, one in enumerate(self._applications) if one.key in also} if also else set[int]()
        found.update(*(self._concerns.get(one, ()) for one in concerns))
        found.update(*(self._namespaces.get(one, ()) for one in namespaces))
        found.update(*(self._pools.get(one, ()) for one in pools))
        return [self._applications[place] for place in sorted(found)]


def _concerns_of(application: Application) -> Iterator[Concern]:
    namespace = application.namespace
    yield routing_port(application).resource.plural, application.routing_namespace, application.route.name
    yield SERVICES.plural, namespace, application.capacity.service
    for unit in application.units:
        yield SERVICES.plural, namespace, unit.backend.service
        yield WORKLOAD, namespace, unit.deployment
        if unit.scaled_object:
            yield SCALED_OBJECTS.plural, namespace, unit.scaled_object
