"""CloudWatch data of a stack that has served requests for two hours."""

from __future__ import annotations

import time
from typing import Any

from failover_testbed.aws.server import EmulatedAws
from tests.support.applications import seed_units


def publish(account: EmulatedAws) -> None:
    """Publishes two hours of every unit's counter and latency: traffic by weights, which one replica of each can serve."""
    now = time.time() // 60 * 60
    for unit in seed_units():
        data: list[dict[str, Any]] = []
        for minute in range(1, 120):
            at = now - 60 * minute
            data.append({"MetricName": unit.counter_metric, "Value": (unit.weight or 0) / 5, "Timestamp": at})
            data.append({"MetricName": unit.latency_metric, "Value": unit.latency_s, "Timestamp": at})
        account.client("cloudwatch").put_metric_data(Namespace="hw-agnostic-infer", MetricData=data)
