"""Reads the cluster once, without watches, for `plan` and `status`."""

from __future__ import annotations

from collections.abc import Iterable

from controller.clients.kube import KubeSession
from controller.clock import Clock
from controller.errors import Forbidden, NotFound, RemoteError
from controller.policy.model import Application
from controller.signals.cluster import KINDS, ClusterView
from controller.signals.discovery import Discovery
from controller.signals.watch import WatchHealth, list_objects
from controller.signals.watches import wanted_lists


def observe_once(
    session: KubeSession, view: ClusterView, clock: Clock, applications: Iterable[Application], *, cluster_wide: bool
) -> list[WatchHealth]:
    """Lists everything that decisions depend on, into the view.

    Args:
        session: Connection to the API server.
        view: Gets the objects.
        clock: The clock, for freshness.
        applications: The applications whose objects to list.
        cluster_wide: See `Watches`.

    Returns:
        How each list went. What does not exist or is not permitted is absent, not an error.

    Raises:
        RemoteError: The API server gave no usable answer to any list.
    """
    health: list[WatchHealth] = []
    failures: list[RemoteError] = []
    discovery = Discovery(session, clock)
    for wanted in wanted_lists(applications, cluster_wide=cluster_wide):
        resource, namespace, name = wanted.resource, wanted.namespace, wanted.resource.name
        try:
            if KINDS[name].asks_first:
                resource = discovery.served(resource)
            objects, _ = list_objects(session, resource, namespace, wanted.query, slimmed=True)
        except RemoteError as error:
            there = not isinstance(error, NotFound)
            problem = str(error) if there else f"{name} is not installed: {error}"
            health.append(WatchHealth(name, namespace, absent=isinstance(error, NotFound | Forbidden), problem=problem, served=there))
            failures.append(error)
        else:
            view.listed(resource, namespace, objects)
            health.append(WatchHealth(name, namespace, last_ok=clock.now(), relists=1))
    if failures and len(failures) == len(health):  # without any permission nothing was observed
        raise failures[0]
    return health
