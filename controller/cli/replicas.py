"""The replicas of the controller itself: which one leads, and whether another is ready to take over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from controller.clients.kube import LEASES, PODS, KubeSession, Object
from controller.errors import NotFound, RemoteError
from controller.service.leadership import LEASE_NAME, pod_of
from controller.signals.objects import condition, entries, items, mapping, name_of, text
from controller.signals.watch import list_objects

_LABEL: Final = "app.kubernetes.io/name=failoverctl"


@dataclass(frozen=True, slots=True)
class Replicas:
    """What is known of the replicas.

    Attributes:
        leader: The pod that holds the Lease; "" if none does or it is not known.
        standby: Further pods that are ready, by name.
        unready: Further pods that are not.
        dry: Pods of a dry run: they decide and log, hold no Lease, and publish nothing.
        problem: Why nothing is known; "" where it is.
    """

    leader: str = ""
    standby: tuple[str, ...] = ()
    unready: tuple[str, ...] = ()
    dry: tuple[str, ...] = ()
    problem: str = ""


def read_replicas(session: KubeSession, namespace: str) -> Replicas:
    """Reads the Lease and lists the pods of the controller.

    Args:
        session: Connection to the API server.
        namespace: Where the controller runs.
    """
    try:
        holder = text(session.get(LEASES, namespace, LEASE_NAME), "spec", "holderIdentity")
        pods, _ = list_objects(session, PODS, namespace, (("labelSelector", _LABEL),))
    except NotFound:
        problem = f"there is no Lease {namespace}/{LEASE_NAME}: leader election is off, or no controller has run there, except as a dry run"
        return Replicas(problem=problem)
    except RemoteError as error:
        return Replicas(problem=str(error))
    dry = tuple(sorted(name_of(pod) for pod in pods if _is_dry_run(pod)))
    leader = pod_of(holder)
    if dry and leader not in {name_of(pod) for pod in pods}:
        leader = ""  # of the live controller before, which could not release its Lease
    others = [pod for pod in pods if name_of(pod) not in {leader, *dry} and not mapping(pod, "metadata").get("deletionTimestamp")]
    ready = tuple(sorted(name_of(pod) for pod in others if text(condition(pod, "Ready"), "status") == "True"))
    return Replicas(leader, ready, tuple(sorted(name_of(pod) for pod in others if name_of(pod) not in ready)), dry)


def _is_dry_run(pod: Object) -> bool:
    """Whether its process carries nothing out."""
    return any("--dry-run" in items(container, "args") for container in entries(pod, "spec", "containers"))
