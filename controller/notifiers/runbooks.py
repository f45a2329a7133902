"""Which page of docs/runbooks says what to do about a message."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from controller.ports import Message, MessageKind

FOLDER: Final = "docs/runbooks"

_PAGES: Final[tuple[tuple[str, str], ...]] = (
    ("LeaseLost", "no-leader"),
    ("NotifierDead", "messages-do-not-arrive"),
    ("Unverified", "load-balancer-does-not-follow"),
    ("Blocked", "load-balancer-does-not-follow"),
    ("RoutingBlocked", "load-balancer-does-not-follow"),
    ("RoutingUnverified", "load-balancer-does-not-follow"),
    ("Blackhole", "load-balancer-answers-503"),
    ("Fighting", "somebody-else-writes"),
    ("Contested", "somebody-else-writes"),
    ("RoutingDrifted", "somebody-else-writes"),
    ("RoutingMissing", "somebody-else-writes"),
    ("RoutingUnknown", "somebody-else-writes"),
    ("IngressMissing", "somebody-else-writes"),
    ("Absent", "signals-are-missing"),
    ("SignalsStale", "signals-are-missing"),
    ("SignalsContradict", "signals-are-missing"),
    ("Silent", "signals-are-missing"),
    ("Clocks", "signals-are-missing"),
    ("KarpenterMetrics", "signals-are-missing"),
    ("BudgetTooSmall", "signals-are-missing"),
    ("StateUnsaved", "the-controller-cannot-write"),
    ("ActionFailed", "the-controller-cannot-write"),
    ("ActionRefused", "failover-is-held"),
    ("Paused", "failover-is-held"),
    ("Override", "failover-is-held"),
    ("FlipBudgetSpent", "too-many-mode-changes"),
    ("Unprepared", "failover-is-held"),
    ("StandbyNotReady", "failover-is-held"),
    ("UnsafeSwitch", "failover-is-held"),
    ("OtherSideShort", "capacity-is-short"),
    ("MostlyShort", "capacity-is-short"),
    ("Cause", "capacity-is-short"),
    ("ConfigRefused", "configuration-is-refused"),
    ("ConfigReloaded", ""),
    ("Config", "capacity-is-short"),
    ("Waiting", "capacity-is-short"),
    ("Reservation", "capacity-is-short"),
    ("Reserved", "capacity-is-short"),
    ("ShortageAbsorbed", "capacity-is-short"),
    ("ShortageProven", "failed-over"),
    ("SloBreached", "failed-over"),
    ("RolledBack", "load-balancer-does-not-follow"),
    ("Unproven", "capacity-mode-lasts"),
    ("Unjoined", "nodes-do-not-join"),
    ("Unusable", "nodes-do-not-join"),
    ("Max", "replicas-do-not-follow"),
    ("Fixed", "replicas-do-not-follow"),
    ("Scaler", "replicas-do-not-follow"),
    ("Unhealthy", "replicas-do-not-follow"),
    ("Left", "replicas-do-not-follow"),
)
"""Page by the beginning of a message's reason, "" where nothing is to be done; the first that fits."""


def page_of(reason: str) -> str:
    """The page about a reason, "" where there is none."""
    return next((page for start, page in _PAGES if reason.startswith(start)), "")


@dataclass(frozen=True, slots=True)
class Context:
    """What every message of this controller has in common.

    Attributes:
        cluster: The cluster's name, "" if none is configured.
        runbooks: Where the pages of docs/runbooks are published, a URL without the last slash; "": messages name the path.
    """

    cluster: str = ""
    runbooks: str = ""

    def complete(self, message: Message) -> Message:
        """The message with cluster and runbook. What is resolved needs no runbook."""
        page = "" if message.kind in {MessageKind.RESOLVED, MessageKind.FALLBACK, MessageKind.TEST} else page_of(message.reason)
        where = f"{self.runbooks or FOLDER}/{page}.md" if page else ""
        return replace(message, cluster=message.cluster or self.cluster, runbook=message.runbook or where)
