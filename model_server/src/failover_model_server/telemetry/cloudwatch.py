"""The counters that KEDA scales on, in CloudWatch: added up here, published every few seconds, never on the path of a request.

`<app>-counter` (Count) and `<app>-latency` (Seconds) without dimensions, since `FROM SCHEMA("namespace")` of CloudWatch Metrics Insights
matches only metrics that have none; `<app>-rejected` (Count) shows the demand that was turned away.

An interval whose call failed is sent again. A call that CloudWatch took and whose answer was lost is counted twice: that adds a replica
for a while, where a lost interval would take one away.
"""

import asyncio
import random
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Protocol, Self

import prometheus_client
import structlog

from failover_model_server import background
from failover_model_server.errors import LoadError, cut
from failover_model_server.settings import Settings
from failover_model_server.telemetry.sink import Sink

log = structlog.get_logger()

MOST_VALUES = 150
"""Unique values of one datum; the API's limit."""
KEPT = 60
"""Intervals that are kept while CloudWatch does not answer; the oldest is given up then. Ten minutes at ten seconds each."""
JITTER = 0.1
"""Part of the interval by which it varies, so that a hundred pods do not call in the same moment."""

Datum = dict[str, Any]


class Client(Protocol):
    """What we use of boto3's CloudWatch client."""

    def put_metric_data(self, *, Namespace: str, MetricData: list[Datum]) -> object:  # noqa: N803 - as boto3 has it
        """Publish data."""


def client() -> Client:
    """A CloudWatch client that gives up soon: a call that hangs must not outlive its interval by much.

    Raises:
        LoadError: the library is not installed, or no region is set.
    """
    try:
        import boto3
        import botocore.config
        import botocore.exceptions
    except ImportError as error:
        raise LoadError(f"cloudwatch: {error}; install the extra, failover-model-server[aws]") from error
    config = botocore.config.Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2})
    try:
        made: Client = boto3.client("cloudwatch", config=config)
    except botocore.exceptions.NoRegionError as error:
        raise LoadError("cloudwatch: no region; set AWS_REGION") from error
    return made


class Interval:
    """What happened in one interval, added up."""

    def __init__(self) -> None:
        self.latencies: Counter[float] = Counter()
        self.rejected = 0

    def add(self, seconds: float) -> None:
        """A request was answered. Three significant digits keep percentiles to within 0.5 % and values few."""
        self.latencies[float(f"{seconds:.3g}")] += 1

    @property
    def points(self) -> int:
        """Requests in it."""
        return self.latencies.total() + self.rejected

    def data(self, app: str, at: datetime) -> list[Datum]:
        """The data for PutMetricData. It includes a counter of 0, so that missing data means that nothing was published."""
        common = {"Timestamp": at, "Unit": "Count"}
        data: list[Datum] = [{"MetricName": f"{app}-counter", **common, **_ones(self.latencies.total())}]
        if self.rejected:
            data.append({"MetricName": f"{app}-rejected", **common, **_ones(self.rejected)})
        pairs = sorted(self.latencies.items())
        for start in range(0, len(pairs), MOST_VALUES):
            some = pairs[start : start + MOST_VALUES]
            values, counts = [value for value, _ in some], [float(count) for _, count in some]
            data.append({"MetricName": f"{app}-latency", "Timestamp": at, "Unit": "Seconds", "Values": values, "Counts": counts})
        return data


def _ones(count: int) -> Datum:
    """`count` data points of 1, as the AWS sample sends them one by one; their sum and their number are the count."""
    return {"Values": [1.0], "Counts": [float(count)]} if count else {"Value": 0.0}


class CloudWatch(Sink):
    """Adds up on the event loop, publishes on a thread of its own.

    Args:
        settings: namespace, interval, name of the application.
        cloudwatch: a boto3 client.
        dropped: counts requests whose data points were given up.
        lost: called when it can publish no more.
    """

    def __init__(self, settings: Settings, cloudwatch: Client, dropped: prometheus_client.Counter, lost: background.Lost) -> None:
        self._app = settings.app
        self._namespace = settings.cloudwatch_namespace
        self._seconds = settings.cloudwatch_seconds
        self._client = cloudwatch
        self._dropped = dropped
        self._lost = lost
        self._now = Interval()
        self._unsent: deque[tuple[datetime, Interval]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cloudwatch")
        self._stopping = asyncio.Event()
        self._publishing: asyncio.Task[None] | None = None

    def answered(self, seconds: float) -> None:
        """Add a request."""
        self._now.add(seconds)

    def rejected(self) -> None:
        """Add a request that was turned away."""
        self._now.rejected += 1

    async def __aenter__(self) -> Self:
        """Begin to publish."""
        self._publishing = background.begin(self._publish_for_ever, "cloudwatch", self._lost)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Publish what is left, once."""
        self._stopping.set()  # not cancelled: a call that is under way would be made again, and its requests counted twice
        if self._publishing is not None:
            await self._publishing
        await self.publish()
        for _, interval in self._unsent:
            self._dropped.inc(interval.points)
        self._thread.shutdown(wait=False)

    async def _publish_for_ever(self) -> None:
        while not self._stopping.is_set():
            pause = self._seconds * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - spreads calls, keeps no secret
            try:
                await asyncio.wait_for(self._stopping.wait(), pause)
            except TimeoutError:
                await self.publish()

    async def publish(self) -> None:
        """Send this interval and those that could not be sent before, oldest first."""
        self._unsent.append((datetime.now(UTC), self._now))
        self._now = Interval()
        if len(self._unsent) > KEPT:
            _, lost = self._unsent.popleft()
            self._dropped.inc(lost.points)
        sending = list(self._unsent)
        sent = await asyncio.get_running_loop().run_in_executor(self._thread, self._send, sending)
        for _ in range(sent):
            self._unsent.popleft()

    def _send(self, intervals: list[tuple[datetime, Interval]]) -> int:
        """Call CloudWatch once for each interval, the oldest first; how many it took.

        Whatever a call raises, its interval is kept and sent again. Not only botocore's own errors come: a proxy's page that is not UTF-8
        is a UnicodeDecodeError, and a token file that is missing for a moment a FileNotFoundError.
        """
        for sent, (at, interval) in enumerate(intervals):
            try:
                self._client.put_metric_data(Namespace=self._namespace, MetricData=interval.data(self._app, at))
            except Exception as error:  # noqa: BLE001 - see above
                log.warning("cloudwatch_failed", kept=len(intervals) - sent, error=type(error).__name__, reason=cut(str(error)))
                return sent
        return len(intervals)


def counters(settings: Settings, dropped: prometheus_client.Counter, lost: background.Lost) -> Sink:
    """The sink that the settings select.

    Args:
        settings: say whether and where requests are counted.
        dropped: counts data points that were given up.
        lost: called when the sink can publish no more.

    Raises:
        LoadError: the settings enable CloudWatch, and its library or its region is missing.
    """
    return CloudWatch(settings, client(), dropped, lost) if settings.cloudwatch else Sink()
