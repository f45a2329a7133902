"""The replicas of the controller itself: which one leads, and whether another is ready to take over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from controller.clients.kube import LEASES, PODS, KubeSession, Object
from controller.clock import parse_rfc3339
from controller.errors import NotFound, RemoteError
from controller.objects import condition, entries, items, mapping, name_of, text
from controller.service.election import holding
from controller.service.leadership import LEASE_NAME, pod_of
from controller.signals.watch import list_objects

_LABEL: Final = "app.kubernetes.io/name=failoverctl"
_CLOCKS_S: Final = 60.0
"""How long a Lease counts beyond its duration, seconds: this machine's clock may be ahead of the one that its holder wrote."""


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


def read_replicas(session: KubeSession, namespace: str, now: float) -> Replicas:
    """Reads the Lease and lists the pods of the controller.

    Args:
        session: Connection to the API server.
        namespace: Where the controller runs.
        now: Seconds since the Unix epoch.
    """
    try:
        lease = session.get(LEASES, namespace, LEASE_NAME)
        pods, _ = list_objects(session, PODS, namespace, (("labelSelector", _LABEL),))
    except NotFound:  # no pods are listed then: the manifests of a dry run do not grant it
        problem = f"there is no Lease {namespace}/{LEASE_NAME}: leader election is off, or no controller has run there, except as a dry run"
        return Replicas(problem=problem)
    except RemoteError as error:
        return Replicas(problem=str(error))
    dry = tuple(sorted(name_of(pod) for pod in pods if _is_dry_run(pod)))
    leader, lapsed = pod_of(holding(lease).holder), _lapsed(lease, now)
    if dry and leader not in {name_of(pod) for pod in pods}:
        leader, lapsed = "", None  # of the live controller before, which could not release its Lease
    if lapsed is not None:
        leader = ""
    others = [pod for pod in pods if name_of(pod) not in {leader, *dry} and not mapping(pod, "metadata").get("deletionTimestamp")]
    ready = tuple(sorted(name_of(pod) for pod in others if text(condition(pod, "Ready"), "status") == "True"))
    return Replicas(leader, ready, tuple(sorted(name_of(pod) for pod in others if name_of(pod) not in ready)), dry, lapsed=lapsed)


def _lapsed(lease: Object, now: float) -> Lapsed | None:
    """Whether the Lease has run out. One that was released has no holder, and one without a time says nothing."""
    held, renewed_at = holding(lease), parse_rfc3339(text(lease, "spec", "renewTime"))
    if not held.holder or renewed_at is None or now - renewed_at <= held.duration_s + _CLOCKS_S:
        return None
    return Lapsed(pod_of(held.holder), renewed_at)


def _is_dry_run(pod: Object) -> bool:
    """Whether its process carries nothing out."""
    return any("--dry-run" in items(container, "args") for container in entries(pod, "spec", "containers"))
