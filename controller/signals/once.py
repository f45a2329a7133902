"""One look at the cluster without watching it: for `plan` and `status`."""

from __future__ import annotations

from collections.abc import Iterable

from controller.clients.kube import KubeSession
from controller.clock import Clock
from controller.errors import Forbidden, NotFound, RemoteError
from controller.policy.model import Application
from controller.signals.cluster import ClusterView, wanted_lists
from controller.signals.watch import WatchHealth, list_objects


def observe_once(
    session: KubeSession, view: ClusterView, clock: Clock, applications: Iterable[Application], *, cluster_wide: bool
) -> list[WatchHealth]:
    """Lists everything that decisions depend on, into the view.

    Args:
        session: Connection to the API server.
        view: Where the objects go.
        clock: For freshness.
        applications: Whose objects.
        cluster_wide: See `Watches`.

    Returns:
        How each list went: what is missing or not permitted is absent, not an error.

    Raises:
        RemoteError: The API server gave no usable answer to any list.
    """
    health: list[WatchHealth] = []
    failures: list[RemoteError] = []
    for wanted in wanted_lists(applications, cluster_wide=cluster_wide):
        resource, namespace, name = wanted.resource, wanted.namespace, wanted.resource.name
        try:
            objects, _ = list_objects(session, resource, namespace, wanted.query, slimmed=True)
        except (NotFound, Forbidden) as error:
            health.append(WatchHealth(name, namespace, absent=True, problem=str(error)))
            failures.append(error)
        except RemoteError as error:
            health.append(WatchHealth(name, namespace, problem=str(error)))
            failures.append(error)
        else:
            view.listed(resource, namespace, objects)
            health.append(WatchHealth(name, namespace, last_ok=clock.now(), relists=1))
    if failures and len(failures) == len(health):  # not permitted to see anything is no look at the cluster either
        raise failures[0]
    return health
