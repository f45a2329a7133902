"""The replicas of the controller itself: which one leads, and whether another is ready to take over."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

from controller.clients.kube import LEASES, PODS, KubeSession, Object
from controller.clock import Clock, format_rfc3339, parse_rfc3339
from controller.errors import NotFound, RemoteError
from controller.objects import condition, entries, items, mapping, name_of, text
from controller.service.election import Timing, holding
from controller.service.leadership import LEASE_NAME, pod_of
from controller.signals.watch import list_objects

LABEL: Final = "app.kubernetes.io/name=failoverctl"
_CLOCKS_S: Final = 60.0
"""By how much this machine's clock may be ahead of the one that the Lease's holder wrote, seconds. A Lease that ran out less than that ago
is watched for a while before its holder counts as gone."""
_WATCHED_S: Final = 2.5 * Timing().renew_s


@dataclass(frozen=True, slots=True)
class Lapsed:
    """A Lease that its holder has not renewed in time: nobody leads until a replica takes it over.

    Attributes:
        holder: The pod that held it.
        renewed_at: When it renewed it last, seconds since the Unix epoch.
    """

    holder: str
    renewed_at: float


@dataclass(frozen=True, slots=True)
class Replicas:
    """What is known of the replicas.

    Attributes:
        leader: The pod that holds the Lease and renews it; "" if none does or it is not known.
        standby: Further pods that are ready, by name.
        unready: Further pods that are not.
        dry: Pods of a dry run: they decide and log, hold no Lease, and publish nothing.
        problem: Why nothing is known; "" where it is.
        lapsed: The Lease where its holder renews it no more; None otherwise.
    """

    leader: str = ""
    standby: tuple[str, ...] = ()
    unready: tuple[str, ...] = ()
    dry: tuple[str, ...] = ()
    problem: str = ""
    lapsed: Lapsed | None = None


def unled(replicas: Replicas) -> str:
    """That no replica leads, in words; "" where one does, where only a dry run is there, and where nothing is known."""
    if replicas.leader or replicas.dry or replicas.problem:
        return ""
    last = replicas.lapsed
    held = f" ({last.holder} renewed the Lease last at {format_rfc3339(last.renewed_at)})" if last is not None else ""
    return f"no replica of the controller leads{held}, so nobody changes anything: docs/runbooks/no-leader.md"


def read_replicas(session: KubeSession, namespace: str, clock: Clock) -> Replicas:
    """Reads the Lease and lists the pods of the controller.

    Args:
        session: Connection to the API server.
        namespace: Where the controller runs.
        clock: The clock. Where the Lease has run out by it, but perhaps not by its holder's, a renewal is waited for.
    """
    try:
        lease = session.get(LEASES, namespace, LEASE_NAME)
        if 0 < _overdue_s(lease, clock.now()) <= _CLOCKS_S:
            seen = text(lease, "spec", "renewTime")
            clock.wait(threading.Event(), _WATCHED_S)
            lease = session.get(LEASES, namespace, LEASE_NAME)
            renewed = text(lease, "spec", "renewTime") != seen
        else:
            renewed = _overdue_s(lease, clock.now()) <= 0
        pods, _ = list_objects(session, PODS, namespace, (("labelSelector", LABEL),))
    except NotFound:  # no pods are listed then: the manifests of a dry run do not grant it
        problem = f"there is no Lease {namespace}/{LEASE_NAME}: leader election is off, or no controller has run there, except as a dry run"
        return Replicas(problem=problem)
    except RemoteError as error:
        return Replicas(problem=str(error))
    dry = tuple(sorted(name_of(pod) for pod in pods if is_dry_run(pod)))
    leader, lapsed = pod_of(holding(lease).holder), None if renewed else _lapsed(lease)
    if dry and leader not in {name_of(pod) for pod in pods}:
        leader, lapsed = "", None  # of the live controller before, which could not release its Lease
    if lapsed is not None:
        leader = ""
    others = [pod for pod in pods if name_of(pod) not in {leader, *dry} and not mapping(pod, "metadata").get("deletionTimestamp")]
    ready = tuple(sorted(name_of(pod) for pod in others if text(condition(pod, "Ready"), "status") == "True"))
    return Replicas(leader, ready, tuple(sorted(name_of(pod) for pod in others if name_of(pod) not in ready)), dry, lapsed=lapsed)


def _overdue_s(lease: Object, now: float) -> float:
    """How long ago the Lease has run out by our clock, seconds; at most 0 where it has not, or nobody holds it, or it has no time."""
    held, renewed_at = holding(lease), parse_rfc3339(text(lease, "spec", "renewTime"))
    return 0.0 if not held.holder or renewed_at is None else now - renewed_at - held.duration_s


def _lapsed(lease: Object) -> Lapsed | None:
    """The Lease that its holder renews no more; None where nobody holds it."""
    held, renewed_at = holding(lease), parse_rfc3339(text(lease, "spec", "renewTime"))
    return Lapsed(pod_of(held.holder), renewed_at) if held.holder and renewed_at is not None else None


def is_dry_run(pod: Object) -> bool:
    """Whether its process carries nothing out."""
    return any("--dry-run" in items(container, "args") for container in entries(pod, "spec", "containers"))
