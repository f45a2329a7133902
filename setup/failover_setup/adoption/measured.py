"""The latency of each unit in its busiest period, from CloudWatch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from controller.clients.aws import AwsClients
from controller.clock import Clock
from controller.errors import RemoteError
from controller.signals.budget import CallBudget
from controller.signals.cloudwatch import MetricQuery, Window, get_metric_data

LOOKBACK_S: Final = 86_400
"""How far back the query reaches, seconds: a day includes the peak of a daily wave."""
_LAG: Final = 2  # the newest periods are still being filled
_CALLS: Final = 20
_TEXT: Final = 200


@dataclass(frozen=True, slots=True)
class Busiest:
    """A unit's busiest period of the last day.

    Attributes:
        requests: Requests of all its replicas in that period; None if its counter has no value.
        latency_s: Average latency in that period, seconds; None if none was published.
    """

    requests: float | None
    latency_s: float | None


def busiest(
    clients: AwsClients, clock: Clock, namespace: str, period_s: int, metrics: Iterable[tuple[str, str]]
) -> tuple[Mapping[str, Busiest], str]:
    """Queries the counters and latencies of the last day.

    Args:
        clients: The AWS client factory.
        clock: The time.
        namespace: CloudWatch namespace.
        period_s: Period of one value, seconds.
        metrics: Counter and latency metric of each unit.

    Returns:
        The busiest period by counter, and why CloudWatch could not be queried, "" if it could.
    """
    window = Window.at(clock.now(), period_s, lookback=LOOKBACK_S // period_s, lag=_LAG)
    pairs = {
        counter: (MetricQuery(namespace, counter, "Sum", period_s), MetricQuery(namespace, latency, "Average", period_s))
        for counter, latency in metrics
    }
    queries = [query for pair in pairs.values() for query in pair]
    if not queries:
        return {}, ""
    try:
        found = get_metric_data(clients, queries, window.start, window.end, CallBudget(_CALLS, _CALLS, clock))
    except RemoteError as error:
        return {}, f"CloudWatch could not be queried: {str(error)[:_TEXT]}"
    return {counter: _busiest(found[count].points, found[latency].points) for counter, (count, latency) in pairs.items()}, ""


def _busiest(counts: Mapping[float, float], latencies: Mapping[float, float]) -> Busiest:
    """The busiest of the periods that have a latency. If none has, the largest count and the largest latency."""
    both = {start: value for start, value in counts.items() if start in latencies and value > 0}
    if both:
        top = max(both, key=lambda start: (both[start], start))
        return Busiest(both[top], latencies[top])
    return Busiest(max(counts.values(), default=None), max(latencies.values(), default=None))
