"""The FailoverApplication objects of a cluster, read once: what the command line uses where no application files are named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from controller.clients.kube import FAILOVER_APPLICATIONS, KubeSession, Object
from controller.clock import SystemClock
from controller.errors import ConfigError, Forbidden, NotFound
from controller.policy.model import Application
from controller.service.application_objects import Acceptance, ObjectCatalog
from controller.signals.watch import list_objects

_UNAUTHORIZED: Final = 401
_KIND: Final = FAILOVER_APPLICATIONS
_FILES: Final = "or name application files with --applications FILE or FAILOVERCTL_APPLICATIONS"


@dataclass(frozen=True, slots=True)
class Found:
    """What the objects say.

    Attributes:
        applications: Those without a fault, by `Application.key`.
        faulty: Of the others every fault, by namespace/name.
    """

    applications: Mapping[str, Application]
    faulty: Mapping[str, str] = field(default_factory=dict)


def read_objects(session: KubeSession, namespace: Callable[[], str]) -> Found:
    """Reads the objects of all namespaces, or where that is forbidden those of one.

    Args:
        session: Connection to the API server, with its deadline of a request. The list is bounded, see `list_objects`.
        namespace: Which one; it is asked only if it is needed.

    Raises:
        ConfigError: The cluster does not know the kind, or there are no objects.
        Forbidden: They may not be listed; the text names the role that allows it.
        RemoteError: The list failed.
    """
    try:
        objects, place = list_objects(session, _KIND, None)[0], "the cluster"
    except Forbidden as error:
        if error.status == _UNAUTHORIZED:
            raise
        only = namespace()
        objects, place = _of_one(session, only), f"namespace {only}; these credentials may ask in no other"
    except NotFound as error:
        raise ConfigError(
            f"{session.host}: the cluster does not know the kind {_KIND.kind} ({_KIND.name})\n"
            "  fix: kubectl apply --server-side -f deploy/crds/failoverapplication.yaml, or install the chart with crds.install=true, "
            f"{_FILES}"
        ) from error
    if not objects:
        raise ConfigError(f"{session.host}: found no {_KIND.kind} in {place}\n  fix: kubectl apply -f FILE; {_FILES}")
    return _judged(session, objects)


def _of_one(session: KubeSession, namespace: str) -> Sequence[Object]:
    try:
        return list_objects(session, _KIND, namespace)[0]
    except Forbidden as error:
        raise ConfigError(
            f"{session.host}: these credentials may not list {_KIND.name}, neither in all namespaces nor in namespace {namespace}\n"
            f"  fix: bind the ClusterRole view or failoverctl-view to you in the application's namespace, and name that with -n; {_FILES}"
        ) from error


def _judged(session: KubeSession, objects: Sequence[Object]) -> Found:
    """As the controller judges them: of two that claim the same, the older one has it."""
    catalog = ObjectCatalog(session, SystemClock())
    catalog.listed(_KIND, None, objects)
    catalog.poll()
    faulty = {
        f"{namespace}/{name}": "\n".join(f"{_KIND.kind} {namespace}/{name}: {line}" for line in one.problem.split("\n"))
        for one in catalog.verdicts()
        if one.acceptance is not Acceptance.ACCEPTED
        for namespace, name in (one.name,)
    }
    return Found(catalog.applications, faulty)
