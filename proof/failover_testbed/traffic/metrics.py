"""Publishes the metrics of model servers and load balancer to CloudWatch, once per metric period."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import structlog

from controller.clients.aws import translated
from controller.errors import RemoteError
from controller.signals.load_balancer.directory import load_balancer_dimension
from failover_testbed.aws.server import EmulatedAws
from failover_testbed.traffic.requests import Period, Traffic

log = structlog.get_logger(__name__)


class MetricsPublisher:
    """One application's metrics.

    Args:
        aws: The emulated account.
        traffic: The traffic to publish.
        load_balancer: ARN of the application's load balancer.
        now: Seconds since the Unix epoch.
    """

    def __init__(self, aws: EmulatedAws, traffic: Traffic, load_balancer: str, now: float) -> None:
        self._aws, self._traffic = aws, traffic
        self._dimension = load_balancer_dimension(load_balancer)
        self._period_s = traffic.application.metric_period_s
        self._start = math.floor(now / self._period_s) * self._period_s

    def backfill(self, now: float, periods: int) -> None:
        """Publishes earlier periods with the values of the first step, and fills the present period up to `now`.

        Args:
            now: Seconds since the Unix epoch.
            periods: Number of whole periods.
        """
        traffic = self._traffic
        first = {name: Period(unit.period.requests, unit.period.latency) for name, unit in traffic.units.items()}
        requests, failed = traffic.balancer.requests, traffic.balancer.own_5xx
        for period in range(periods, 0, -1):
            self._publish(self._start - period * self._period_s)
        part = (now - self._start) / self._period_s
        for name, unit in traffic.units.items():
            unit.period = Period(first[name].requests * part, first[name].latency * part)
        traffic.balancer.requests, traffic.balancer.own_5xx = requests * part, failed * part

    def step(self, now: float) -> None:
        """Publishes the present period if it is over."""
        if now < self._start + self._period_s:
            return
        self._publish(self._start)
        self._start = math.floor(now / self._period_s) * self._period_s
        for unit in self._traffic.units.values():
            unit.period = Period()
        balancer = self._traffic.balancer
        balancer.requests = balancer.own_5xx = balancer.target_5xx = 0.0

    def _publish(self, start: float) -> None:
        application, balancer = self._traffic.application, self._traffic.balancer
        moment = datetime.fromtimestamp(start, UTC)
        own: list[dict[str, Any]] = []
        for unit in application.units:
            period = self._traffic.units[unit.name].period
            if unit.counter_metric and period.requests > 0:  # a server without requests publishes nothing
                own.append({"MetricName": unit.counter_metric, "Timestamp": moment, "Value": round(period.requests, 3)})
            if unit.latency_metric and period.requests > 0:
                own.append({"MetricName": unit.latency_metric, "Timestamp": moment, "Value": round(period.latency / period.requests, 4)})
        dimensions = [{"Name": "LoadBalancer", "Value": self._dimension}]
        counts = (
            ("RequestCount", balancer.requests),
            ("HTTPCode_ELB_5XX_Count", balancer.own_5xx),
            ("HTTPCode_Target_5XX_Count", balancer.target_5xx),
        )
        loads = [
            {"MetricName": name, "Timestamp": moment, "Value": round(value, 3), "Dimensions": dimensions}
            for name, value in counts
            if value > 0
        ]
        try:
            with translated("cloudwatch", "PutMetricData"):
                for namespace, data in ((application.metric_namespace, own), ("AWS/ApplicationELB", loads)):
                    if data and namespace:
                        self._aws.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=data)
        except RemoteError as error:
            log.warning("metrics.unpublished", application=application.key, error=str(error))
