"""CloudWatch over the real client: against moto where it is faithful, against botocore's Stubber where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from controller.clients.aws import AwsClients
from controller.policy.model import Sample
from controller.signals.cloudwatch import CloudWatchPoller
from failover_testbed.clocks import ManualClock
from tests.signals.test_cloudwatch import DIMENSION, KEY, MINUTE, NOW, application, unit
from tests.support.aws import emulated_account

APP = application("sd21", unit("inf2"))


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsClients]:
    with emulated_account(monkeypatch):
        yield AwsClients("us-west-2")


def datum(name: str, ago_s: float, value: float, *dimensions: tuple[str, str]) -> dict[str, Any]:
    pairs = [{"Name": key, "Value": text} for key, text in dimensions]
    return {"MetricName": name, "Timestamp": datetime.fromtimestamp(MINUTE - ago_s, UTC), "Value": value, "Dimensions": pairs}


def test_what_units_and_load_balancer_publish_is_read_back(clients: AwsClients) -> None:
    """Counters are summed over the period; moto has no percentiles, so its latency is an average by configuration."""
    cloudwatch = clients.client("cloudwatch")
    counters = [datum("inf2-counter", ago, 5.0) for ago in (30, 70, 90, 110, 130)]
    latencies = [datum("inf2-latency", 70, 0.5), datum("inf2-latency", 80, 0.7)]
    cloudwatch.put_metric_data(Namespace="hw-agnostic-infer", MetricData=counters + latencies)
    balancer = ("LoadBalancer", DIMENSION)
    counts = [datum("RequestCount", 100, 99, balancer), datum("HTTPCode_ELB_5XX_Count", 100, 1, balancer)]
    cloudwatch.put_metric_data(Namespace="AWS/ApplicationELB", MetricData=counts)
    poller = CloudWatchPoller(clients, ManualClock(NOW), latency_stat="Average")
    poller.poll([APP], {KEY: DIMENSION})
    assert poller.demand(KEY, "inf2") == Sample(15, MINUTE - 60)
    latency = poller.latency(KEY, "inf2")
    assert latency is not None
    assert latency.value == pytest.approx(0.6)
    assert poller.error_ratio(KEY) == Sample(0.01, MINUTE - 60)


def test_percentiles_are_queried_as_cloudwatch_takes_them(clients: AwsClients) -> None:
    """The Stubber checks the request against botocore's model of the API."""
    results = [
        {"Id": "q0", "Timestamps": [datetime.fromtimestamp(MINUTE - 120, UTC)], "Values": [100.0], "StatusCode": "Complete"},
        {"Id": "q1", "Timestamps": [datetime.fromtimestamp(MINUTE - 120, UTC)], "Values": [0.85], "StatusCode": "Complete"},
    ]
    queries = [
        {
            "Id": name,
            "MetricStat": {
                "Metric": {"Namespace": "hw-agnostic-infer", "MetricName": metric, "Dimensions": []},
                "Period": 60,
                "Stat": stat,
            },
            "ReturnData": True,
        }
        for name, metric, stat in (("q0", "inf2-counter", "Sum"), ("q1", "inf2-latency", "p95"))
    ]
    expected = {"MetricDataQueries": queries, "StartTime": ANY, "EndTime": ANY, "ScanBy": "TimestampDescending"}
    with Stubber(clients.client("cloudwatch")) as stub:
        stub.add_response("get_metric_data", {"MetricDataResults": results}, expected)
        poller = CloudWatchPoller(clients, ManualClock(NOW))
        poller.poll([APP], {})
    assert poller.latency(KEY, "inf2") == Sample(0.85, MINUTE - 60)


def test_throttling_over_the_wire_is_no_answer(clients: AwsClients) -> None:
    """As AWS writes it."""
    with Stubber(clients.client("cloudwatch")) as stub:
        stub.add_client_error("get_metric_data", "ThrottlingException", "Rate exceeded", http_status_code=400)
        poller = CloudWatchPoller(clients, ManualClock(NOW))
        poller.poll([APP], {})
    assert poller.source().problem == "no answer from CloudWatch (ThrottlingException)"
    assert not poller.source().absent
