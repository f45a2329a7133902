"""Limits that are passed: of a unit's latency, or of the application's errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from controller.policy.account.metric_times import recent_s
from controller.policy.karpenter_times import ICE_WINDOW_S
from controller.policy.model import Sample, Snapshot

ERROR_RATIO_LIMIT: Final = 0.01
"""Share of 5xx answers above which the steps of a gradual fallback are reversed. No failover depends on it."""


def breach(snapshot: Snapshot, names: Sequence[str]) -> str:
    """Which limit is passed: of a unit's latency or of the application's errors; arguments as those of `latency_breach`."""
    found = latency_breach(snapshot, names)
    errors = snapshot.error_ratio
    if found or errors is None or not _recent(snapshot, errors) or not ERROR_RATIO_LIMIT < errors.value <= 1:
        return found
    return f"{errors.value * 100:.1f} % errors over {ERROR_RATIO_LIMIT * 100:.1f} %"


def latency_breach(snapshot: Snapshot, names: Sequence[str]) -> str:
    """The latency of the first of some units that is beyond its limit.

    Args:
        snapshot: What is observed.
        names: The units whose latency counts.

    Returns:
        In words with figures, "" where no limit is known to be passed.
    """
    for name in names:
        sample, limit = snapshot.units[name].latency, snapshot.application.unit(name).latency_limit_s
        if sample is not None and _recent(snapshot, sample) and limit < sample.value < math.inf:
            return f"latency {sample.value:.2f} s over {limit:.2f} s"
    return ""


def _recent(snapshot: Snapshot, sample: Sample) -> bool:
    window, now = max(ICE_WINDOW_S, recent_s(snapshot.application.metric_period_s)), snapshot.now
    return now - window <= sample.at <= now + window  # CloudWatch's clock and ours differ
