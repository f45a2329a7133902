"""What CloudWatch has measured: the latency of each unit when it was busiest."""

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
"""How far back is looked, seconds: one day has a wave's top in it."""
_LAG: Final = 2  # the newest periods are still being filled
_CALLS: Final = 20
_TEXT: Final = 200


@dataclass(frozen=True, slots=True)
class Busiest:
    """A unit's busiest period of the last day.

    Attributes:
        requests: Of all its replicas in that period; None where its counter has nothing.
        latency_s: Average latency in that period, seconds; None where none was published.
    """

    requests: float | None
    latency_s: float | None


def busiest(
    clients: AwsClients, clock: Clock, namespace: str, period_s: int, metrics: Iterable[tuple[str, str]]
) -> tuple[Mapping[str, Busiest], str]:
    """Asks for counters and latencies.

    Args:
        clients: The AWS client factory.
        clock: Time.
        namespace: CloudWatch namespace.
        period_s: Seconds of one value.
        metrics: Counter and latency metric of each unit.

    Returns:
        By counter, and why CloudWatch could not be asked: "" where it could.
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
        return {}, f"CloudWatch could not be asked: {str(error)[:_TEXT]}"
    return {counter: _busiest(found[count].points, found[latency].points) for counter, (count, latency) in pairs.items()}, ""


def _busiest(counts: Mapping[float, float], latencies: Mapping[float, float]) -> Busiest:
    """Only periods that have a latency tell anything; without any, the busiest there was."""
    both = {start: value for start, value in counts.items() if start in latencies and value > 0}
    if both:
        top = max(both, key=lambda start: (both[start], start))
        return Busiest(both[top], latencies[top])
    return Busiest(max(counts.values(), default=None), max(latencies.values(), default=None))
