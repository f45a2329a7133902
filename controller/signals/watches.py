"""The one set of watches: which there are for some applications, and how fresh the sources are that they make up."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from controller.clients.kube import KubeSession, Resource
from controller.clock import Clock
from controller.policy.model import Application, Source
from controller.routing.kinds import routing_port
from controller.signals.cluster import EVENT_NAMESPACE, KINDS, ClusterView, Group
from controller.signals.discovery import Discovery
from controller.signals.list_turns import ListTurns
from controller.signals.watch import LISTS, Query, Watch, WatchHealth
from controller.signals.workload_kinds import kinds_of

_QUIET_SHARE: Final = 2 / 3  # of the idle limit: how long a watch without bookmarks lasts


@dataclass(frozen=True, slots=True)
class Wanted:
    """One list or watch. `namespace` is None for all namespaces."""

    resource: Resource
    namespace: str | None
    query: Query = ()


def used_by(applications: Iterable[Application]) -> frozenset[Resource]:
    """The kinds that must be read for these applications and not for others."""
    applications = list(applications)
    ports = [routing_port(one) for one in applications]
    return kinds_of(applications).union(*((port.resource, *port.reads) for port in ports))


def wanted_lists(applications: Iterable[Application], *, cluster_wide: bool) -> list[Wanted]:
    """Everything that must be listed or watched for these applications.

    Pods come before events: an event about a pod is understood by the pod.
    """
    applications = sorted(applications, key=lambda one: one.namespace)
    used = used_by(applications)
    wanted = [Wanted(kind.resource, None, query) for kind in KINDS.values() if kind.of_cluster for query in kind.queries(used)]
    namespaced = [kind for kind in KINDS.values() if not kind.of_cluster]
    there: dict[str | None, dict[str, list[Application]]] = {}  # the applications that need a kind in a namespace
    for one in applications:
        for kind in namespaced:
            for namespace in kind.namespaces(one):
                there.setdefault(None if cluster_wide else namespace, {}).setdefault(kind.resource.name, []).append(one)
    wanted += [
        Wanted(kind.resource, namespace, query)
        for namespace, needing in there.items()
        for kind in namespaced
        if kind.resource.name in needing
        for query in kind.queries(used_by(needing[kind.resource.name]))
    ]
    return wanted + [Wanted(kind.resource, EVENT_NAMESPACE, query) for kind in namespaced for query in kind.at_home]


def sources_of(health: Iterable[WatchHealth], application: Application, budget_s: float) -> tuple[Source, ...]:
    """The sources of signals that one application depends on.

    Args:
        health: Of all watches.
        application: Which.
        budget_s: How old the last word of a watch may be, seconds.
    """
    used = used_by((application,))
    needed = {name: kind for name, kind in KINDS.items() if (kind.namespaces(application) and kind.queries(used)) or kind.at_home}
    mine: dict[Group, list[WatchHealth]] = {kind.group: [] for kind in needed.values()}
    for one in health:
        kind = needed.get(one.resource)
        if kind and (one.namespace in {None, *kind.namespaces(application)} or (kind.at_home and one.namespace == EVENT_NAMESPACE)):
            mine[kind.group].append(one)
    return tuple(source_of(group, watches, budget_s=budget_s) for group, watches in mine.items())


class Watches:
    """The one set of watches.

    Args:
        session: Connection to the API server.
        view: Where changes go.
        clock: For freshness.
        cluster_wide: One watch a kind over all namespaces, instead of one a kind and namespace.
        timeout_s: See `Watch`.
        idle_s: See `Watch`.
    """

    def __init__(
        self, session: KubeSession, view: ClusterView, clock: Clock, *, cluster_wide: bool, timeout_s: int = 300, idle_s: float = 90.0
    ) -> None:
        self._session, self._view, self._clock = session, view, clock
        self._cluster_wide, self._timeout_s, self._idle_s = cluster_wide, timeout_s, idle_s
        self._lock = threading.Lock()
        self._watches: dict[Wanted, Watch] = {}
        self._discovery = Discovery(session, clock)
        self._turns = ListTurns(LISTS)

    def ensure(self, applications: Iterable[Application]) -> None:
        """Starts the watches that these applications need and stops those that nobody needs any more."""
        wanted = wanted_lists(applications, cluster_wide=self._cluster_wide)
        needed = frozenset(wanted)
        with self._lock:
            for one in [one for one in self._watches if one not in needed]:
                self._watches.pop(one).stop()
                self._view.forgotten(one.resource, one.namespace)
            for one in wanted:
                if one not in self._watches:
                    self._watches[one] = self._start(one)

    def _start(self, wanted: Wanted) -> Watch:
        kind = KINDS[wanted.resource.name]
        watch = Watch(
            self._session,
            wanted.resource,
            wanted.namespace,
            self._view,
            self._clock,
            query=wanted.query,
            # Without bookmarks the server is to end a watch in order before the connection seems dead.
            timeout_s=self._timeout_s if kind.bookmarks else max(1, int(self._idle_s * _QUIET_SHARE)),
            idle_s=self._idle_s,
            absent=self._view.absent,
            slimmed=True,
            replaces=kind.known is not None,
            discovery=self._discovery if kind.asks_first else None,
            recovered=self._recovered,
            turns=self._turns,
        )
        watch.start()
        return watch

    def _recovered(self) -> None:
        """A source is fresh that was not: decisions that held for want of it are made anew, although no object differs."""
        self._view.dirty.mark(everything=True)

    def stop(self) -> None:
        """Stops all of them."""
        with self._lock:
            for watch in self._watches.values():
                watch.stop()

    def health(self) -> list[WatchHealth]:
        """How each is doing."""
        with self._lock:
            return [watch.health() for watch in self._watches.values()]


def source_of(group: Group, watches: list[WatchHealth], *, budget_s: float) -> Source:
    """One source from the watches behind it: as fresh as its stalest, absent if any of them is.

    Args:
        group: Which. Where one kind suffices, only those count that are served, as far as any is.
        watches: Of its kinds.
        budget_s: How old the last word of a watch may be, seconds.
    """
    served = [one for one in watches if one.served or not one.absent]
    needed = (served or watches) if group.either else watches
    last = [one.last_ok for one in needed if not one.absent]
    known = [at for at in last if at is not None]
    return Source(
        name=group.name,
        required=group.required,
        last_ok=min(known) if known and len(known) == len(last) else None,
        budget_s=budget_s,
        absent=any(one.absent for one in needed),
        problem="; ".join(dict.fromkeys(one.problem for one in needed if one.problem))[:300],
    )
