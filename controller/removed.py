"""Settings that an earlier version had. A file that still names one of them is refused with what to do instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_BREAK_EVEN: Final = "remove it: the hold before a fallback is always the break-even time"
_KARPENTER: Final = "remove it: it follows from Karpenter's own times, which nobody can change"
_TIMES: Final = "remove it: the time is fixed"
_BOUNDS: Final = "remove it: the bound is fixed (docs/notifications.md)"

_APIS: Final = "list in aws.apis what is to be asked"
_AT_ONCE: Final = "remove it: a fallback moves all traffic with one change"

REMOVED: Final[Mapping[str, str]] = {
    "returnSteps": _AT_ONCE,
    "returnStepSeconds": _AT_ONCE,
    "holdStrategy": _BREAK_EVEN,
    "exposedCost": _BREAK_EVEN,
    "iceWindowSeconds": _KARPENTER,
    "iceCacheSeconds": _KARPENTER,
    "replacementHoldSeconds": _KARPENTER,
    "hardDemandSeconds": _KARPENTER,
    "createErrorSeconds": _KARPENTER,
    "dwellCostSeconds": "remove it: a failover waits until cost mode has lasted 60 s; patienceSeconds is the wait before it",
    "flapWindowSeconds": "remove it: a failover within two hours of a fallback doubles the hold",
    "requireInitialized": "remove it: a Registered node proves a return; device plugins can delay Initialized for long",
    "errorRatioLimit": "remove it: above 1 % of 5xx answers a proven shortage leads to a failover, whatever the others could serve",
    "healthyShare": "remove it: half of the ready endpoints must be healthy at the load balancer",
    "nudgeSeconds": "remove it: the load-balancer controller is nudged after 120 s, at most five times",
    "drainSeconds": "remove it: the other side may scale down after 120 s, or after the stickiness where that is longer",
    "reassertBaseSeconds": "remove it: a foreign edit is undone after a pause of 10 s, doubled up to 10 min",
    "reassertMaxSeconds": "remove it: a foreign edit is undone after a pause of 10 s, doubled up to 10 min",
    "plannedHeadroom": "remove it: the forecast has a margin of its own; resilienceShare asks for more replicas",
    "plannedMaxAboveScaler": "remove it: planned floors are at most half of the demand above what KEDA asks for",
    "reservedOnly": "write capacityTypes: [reserved] where it was true",
    "measured": "remove it: `failoverctl breaking-point` writes a comment beside the throughput",
    "publishedCost": "remove it: `failoverctl weights` computes the cost",
    "freshness": "remove it: each source has a limit of its own (docs/decision.md)",
    "kubernetes.connect_timeout_s": _TIMES,
    "kubernetes.read_timeout_s": _TIMES,
    "kubernetes.watch_timeout_s": _TIMES,
    "kubernetes.watch_idle_s": _TIMES,
    "karpenter.metrics_interval_s": _TIMES,
    "karpenter.metrics_timeout_s": _TIMES,
    "karpenter.metrics_max_bytes": "remove it: 16 MiB are read",
    "polls.cloudwatch_interval_s": _TIMES,
    "polls.ec2_interval_s": _TIMES,
    "polls.verification_interval_s": "remove it: elbv2_calls_per_s bounds the calls",
    "polls.catalog_interval_s": _TIMES,
    **dict.fromkeys(
        ("aws.elbv2_enabled", "aws.cloudwatch_enabled", "aws.ec2_enabled", "aws.reservations_enabled", "aws.quotas_enabled"), _APIS
    ),
    "aws.prices_enabled": _APIS,
    "sns.message_json": "remove it: the topic gets text; queues and functions get the document from EventBridge or the webhook",
    "slack.timeout_s": _TIMES,
    "slack.attempts": _BOUNDS,
    "slack.retry_max_s": _BOUNDS,
    "webhook.timeout_s": _TIMES,
    "cloudwatch.publish_interval_s": _TIMES,
    "cloudwatch.alarm_enabled": "remove it: name alarm_actions to have alarms",
    "leader_election.lease_duration_s": _TIMES,
    "notifications.dedup_window_s": _BOUNDS,
    "notifications.queue": _BOUNDS,
    "recording.max_file_bytes": "remove it: a file is compressed at 16 MiB",
    "recording.max_files": "remove it: the 50 newest compressed files are kept",
    "recording.heartbeat_s": _TIMES,
    "shutdown_grace_s": "remove it: messages have 20 s after SIGTERM",
}
"""What to do about each: by its key for a setting of the policy, by its place for one of the process."""


def what_to_do(place: str) -> str | None:
    """What to do about a setting that is gone, or about a group of them.

    Args:
        place: Where a file or a variable names it, such as ``spec.policy.holdStrategy`` or ``kubernetes.read_timeout_s``.

    Returns:
        None where no earlier version had it.
    """
    return next((REMOVED[one] for one in (place, place.rpartition(".")[2], place.partition(".")[0]) if one in REMOVED), None)
