"""Computes the result of a step from its requests."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from failover_setup.breaking_point.model import LATENCY_PERCENTILE, Limit, Limits, Sample, Step

_JUDGED: Final = 20  # number of last requests that decide whether a step is hopeless
_HOPELESS: Final = 2.0  # times the latency limit
_LONG: Final = 0.5  # share of the allowed shortfall in a longer step, which can tell a slowly growing queue from chance
_ROUNDING: Final = 1.0  # requests; one more or less at the edges of the measured time is not a plateau


def percentile(values: Sequence[float], share: float) -> float:
    """The percentile of some values, by nearest rank.

    Args:
        values: In ascending order.
        share: 0 to 1.

    Returns:
        The value, NaN if there are no values.
    """
    return values[max(0, math.ceil(share * len(values)) - 1)] if values else math.nan


class Hopeless:
    """Ends a step early once its result is clear, so that it builds no longer queue in the server under test.

    A step is hopeless when more than half of the last 20 ended requests failed or took more than twice the latency limit.

    Args:
        limits: The limits of the measurement.
    """

    def __init__(self, limits: Limits) -> None:
        self._longest_s = _HOPELESS * limits.latency_s
        self._last: deque[bool] = deque(maxlen=_JUDGED)

    def __call__(self, sample: Sample) -> bool:
        """Adds the next ended request and returns whether to stop."""
        self._last.append(bool(sample.failure) or sample.latency_s > self._longest_s)
        return len(self._last) == _JUDGED and 2 * sum(self._last) > _JUDGED


def step_of(
    samples: Sequence[Sample],
    *,
    rate: float,
    start_s: float,
    end_s: float,
    limits: Limits,
    accelerator_use: float | None = None,
    long: bool = False,
    cut_short: bool = False,
) -> Step:
    """Summarises a step.

    Throughput counts the answers that arrived in the measured time, whenever their requests were sent. Under overload that is the rate at
    which the server works, whereas requests sent in that time may be answered much later. Latency and errors are those of the requests
    sent in the measured time, including those that still wait at its end.

    Args:
        samples: Every request of the step.
        rate: Offered rate, requests per second.
        start_s: Start of the measured time, seconds since the first request.
        end_s: End of the measured time, seconds since the first request.
        limits: The limits of the measurement.
        accelerator_use: Use of the busiest accelerator, 0 to 1; None if it is unknown.
        long: See `Step`.
        cut_short: See `Step`.
    """
    window_s = end_s - start_s
    sent = [sample for sample in samples if start_s <= sample.sent_s < end_s]
    answered = sum(not sample.failure and start_s <= sample.sent_s + sample.latency_s < end_s for sample in samples)
    latencies = sorted(sample.latency_s for sample in sent if not sample.failure)
    failures = Counter(sample.failure for sample in sent if sample.failure)
    step = Step(
        rate=rate,
        window_s=window_s,
        sent=len(sent),
        throughput=answered / window_s,
        p50_s=percentile(latencies, 0.5),
        p95_s=percentile(latencies, LATENCY_PERCENTILE),
        p99_s=percentile(latencies, 0.99),
        error_ratio=sum(failures.values()) / len(sent) if sent else 0.0,
        failures=dict(sorted(failures.items())),
        accelerator_use=accelerator_use,
        exceeded=(),
        long=long,
        cut_short=cut_short,
        requests=len(samples),
    )
    return replace(step, exceeded=tuple(_exceeded(step, limits)))


def _exceeded(step: Step, limits: Limits) -> Iterator[Limit]:
    if not step.p95_s <= limits.latency_s:  # also true for NaN, if nothing was answered
        yield Limit.LATENCY
    shortfall = limits.shortfall * (_LONG if step.long else 1.0)
    if (step.throughput * step.window_s) + _ROUNDING < (1 - shortfall) * step.sent:
        yield Limit.PLATEAU
    if step.error_ratio > limits.error_ratio:
        yield Limit.ERRORS
    if step.accelerator_use is not None and step.accelerator_use > limits.accelerator_use:
        yield Limit.ACCELERATOR
