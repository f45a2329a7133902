"""The counters that KEDA scales on, against a CloudWatch server."""

import asyncio
import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import httpx
import prometheus_client
import pytest
from botocore.exceptions import EndpointConnectionError
from failover_model_server.errors import MOST_MESSAGE
from failover_model_server.telemetry.cloudwatch import KEPT, MOST_VALUES, CloudWatch, Interval
from moto.server import ThreadedMotoServer
from structlog.testing import capture_logs

from tests.support.process import running
from tests.support.service import echo, until

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A CloudWatch server."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def _aws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-west-2",
        "AWS_DEFAULT_REGION": "us-west-2",
    }.items():
        monkeypatch.setenv(name, value)


def statistics(endpoint: str, namespace: str, metric: str) -> dict[str, float]:
    """What CloudWatch knows of a metric without dimensions."""
    now = datetime.now(UTC)
    points = boto3.client("cloudwatch", endpoint_url=endpoint).get_metric_statistics(
        Namespace=namespace,
        MetricName=metric,
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(hours=1),
        Period=7200,
        Statistics=["Sum", "SampleCount", "Minimum", "Maximum"],
    )["Datapoints"]
    return {name: sum(point[name] for point in points) for name in ("Sum", "SampleCount")} | {
        "Maximum": max((p["Maximum"] for p in points), default=0.0)
    }


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_a_server_answered_is_in_cloudwatch(endpoint: str) -> None:
    """Every answered request is in the counter and in the latency, without dimensions; what came between flush and SIGTERM too."""
    variables = {
        "APP": "sd21-inf2",
        "ECHO_LOAD_SECONDS": "1",
        "MODEL_SERVER_CLOUDWATCH": "true",
        "AWS_ENDPOINT_URL_CLOUDWATCH": endpoint,
        "MODEL_SERVER_CLOUDWATCH_NAMESPACE": "whole",
        "MODEL_SERVER_CLOUDWATCH_SECONDS": "0.3",
    }
    with running(**variables) as server:
        assert httpx.post(f"{server.url}/echo", json={"prompt": "x"}).status_code == 503
        server.until("/readiness", 200)
        for number in range(7):
            assert httpx.post(f"{server.url}/echo", json={"prompt": str(number)}).status_code == 200
        while statistics(endpoint, "whole", "sd21-inf2-counter")["Sum"] < 7:
            time.sleep(0.05)
        httpx.post(f"{server.url}/echo", json={"prompt": "last"})
        server.terminate()
        assert server.ended() == 0
    assert statistics(endpoint, "whole", "sd21-inf2-counter")["Sum"] == 8
    latency = statistics(endpoint, "whole", "sd21-inf2-latency")
    assert latency["SampleCount"] == 8
    assert 0 < latency["Maximum"] < 10
    assert statistics(endpoint, "whole", "sd21-inf2-rejected")["Sum"] == 1
    metrics = boto3.client("cloudwatch", endpoint_url=endpoint).list_metrics(Namespace="whole")["Metrics"]
    assert all(metric["Dimensions"] == [] for metric in metrics)


class Broken:
    """A client whose calls fail while `down`."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error or EndpointConnectionError(endpoint_url="https://monitoring")
        self.down = True
        self.taken: list[dict[str, Any]] = []

    def put_metric_data(self, Namespace: str, MetricData: list[dict[str, Any]]) -> None:  # noqa: N803 - as boto3 has it
        if self.down:
            raise self.error
        self.taken += MetricData


def sink(broken: Broken) -> tuple[CloudWatch, prometheus_client.Counter]:
    dropped = prometheus_client.Counter("dropped", "x", registry=prometheus_client.CollectorRegistry())
    return CloudWatch(echo(app="a", cloudwatch_seconds=0.01), broken, dropped, pytest.fail), dropped


def counted(broken: Broken) -> float:
    return sum(float(datum["Counts"][0]) for datum in broken.taken if datum["MetricName"] == "a-counter" and "Counts" in datum)


def test_an_outage_loses_nothing_that_fits() -> None:
    """While CloudWatch does not answer intervals are kept with their own times, and sent once, oldest first, when it does."""

    async def run() -> None:
        broken = Broken()
        cloudwatch, dropped = sink(broken)
        for _ in range(5):
            cloudwatch.answered(0.5)
            await cloudwatch.publish()
        broken.down = False
        await cloudwatch.publish()
        await cloudwatch.publish()
        assert counted(broken) == 5
        times = [datum["Timestamp"] for datum in broken.taken]
        assert times == sorted(times)
        assert dropped._value.get() == 0

    asyncio.run(run())


UNFORESEEN = [
    UnicodeDecodeError("utf-8", b"refus\xe9", 5, 6, "invalid continuation byte"),
    FileNotFoundError(2, "No such file or directory", "/var/run/secrets/token"),
    ValueError("x" * 100_000),
]


@pytest.mark.parametrize("error", UNFORESEEN, ids=lambda error: type(error).__name__)
def test_whatever_a_call_raises_publishing_goes_on(error: Exception) -> None:
    """A proxy's page that is no UTF-8, a token file that is not there yet, a long text: nothing is lost, and the log stays readable."""

    async def run() -> None:
        broken = Broken(error)
        cloudwatch, dropped = sink(broken)
        async with cloudwatch:
            cloudwatch.answered(0.5)
            await until(lambda: bool(logs))
            broken.down = False
            await until(lambda: counted(broken) == 1)
        assert dropped._value.get() == 0

    with capture_logs() as logs:
        asyncio.run(run())
    assert {line["event"] for line in logs} == {"cloudwatch_failed"}
    assert all(len(line["reason"]) <= MOST_MESSAGE for line in logs)


def test_a_long_outage_drops_the_oldest_and_says_how_many() -> None:
    """The memory is bounded, and what was given up is counted."""

    async def run() -> None:
        broken = Broken()
        cloudwatch, dropped = sink(broken)
        for _ in range(KEPT + 3):
            cloudwatch.answered(0.5)
            cloudwatch.rejected()
            await cloudwatch.publish()
        assert dropped._value.get() == 6
        broken.down = False
        await cloudwatch.publish()
        assert counted(broken) == KEPT - 1  # the interval that follows takes a place too

    asyncio.run(run())


def test_many_latencies_are_split_as_the_api_wants() -> None:
    """At most 150 values to a datum, and none lost; what differs by less than three digits is one value."""
    interval = Interval()
    for number in range(1000):
        interval.add(1 + number / 100)
    data = [datum for datum in interval.data("a", NOW) if datum["MetricName"] == "a-latency"]
    assert all(len(datum["Values"]) <= MOST_VALUES for datum in data)
    assert sum(sum(datum["Counts"]) for datum in data) == 1000


def test_an_idle_server_says_zero() -> None:
    """Without requests the counter is 0, so that missing data means that nothing was published."""
    assert Interval().data("a", NOW) == [{"MetricName": "a-counter", "Timestamp": NOW, "Unit": "Count", "Value": 0.0}]
