"""CloudWatch data of a stack that has served requests for two hours."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from failover_testbed.aws.server import EmulatedAws
from tests.support.applications import seed_units


def publish(account: EmulatedAws, names: Sequence[str] | None = None) -> None:
    """Publishes two hours of every unit's counter and latency: traffic by weights, which one replica of each can serve.

    Args:
        account: The emulated account.
        names: Names of five units; the AWS sample's by default.
    """
    now = time.time() // 60 * 60
    units = seed_units()
    for name, unit in zip(names or [unit.name for unit in units], units, strict=True):
        data: list[dict[str, Any]] = []
        for minute in range(1, 120):
            at = now - 60 * minute
            data.append({"MetricName": f"{name}-counter", "Value": (unit.weight or 0) / 5, "Timestamp": at})
            data.append({"MetricName": f"{name}-latency", "Value": unit.latency_s, "Timestamp": at})
        account.client("cloudwatch").put_metric_data(Namespace="hw-agnostic-infer", MetricData=data)


def latency_of(name: str) -> float:
    """A latency that no limit of a unit is below, seconds."""
    return min(unit.latency_s for unit in seed_units())
