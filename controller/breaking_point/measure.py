"""From single requests to what a step showed."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from controller.breaking_point.model import LATENCY_PERCENTILE, Limit, Limits, Sample, Step

_JUDGED: Final = 20  # requests in a row by which a step is called hopeless
_HOPELESS: Final = 2.0  # times the latency limit
_LONG: Final = 0.5  # of the shortfall that is allowed: a longer step tells a line that grows slowly from chance
_ROUNDING: Final = 1.0  # a request more or less at the edges of the measured time is no plateau


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which a share of all lies, by nearest rank.

    Args:
        values: In ascending order.
        share: 0 to 1.

    Returns:
        Not a number where there are no values.
    """
    return values[max(0, math.ceil(share * len(values)) - 1)] if values else math.nan


class Hopeless:
    """Ends a step early: what is decided need not pile up a queue in the server under test.

    A step is hopeless when of the last 20 requests that ended more than half failed, or took more than twice the latency limit.

    Args:
        limits: Those of the measurement.
    """

    def __init__(self, limits: Limits) -> None:
        self._longest_s = _HOPELESS * limits.latency_s
        self._last: deque[bool] = deque(maxlen=_JUDGED)

    def __call__(self, sample: Sample) -> bool:
        """Takes the next request that ended, and says whether to stop."""
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
    """Sums up a step.

    Throughput counts the answers that arrived in the measured time, whenever their requests were sent: under overload that is the rate
    at which the server works, while what was sent in that time may be answered much later. Latency and errors are those of the requests
    sent in that time, so that the ones still waiting at its end are not left out.

    Args:
        samples: Every request of the step.
        rate: Offered, requests a second.
        start_s: Where the measured time begins, seconds since the first request.
        end_s: Where it ends.
        limits: What it must not exceed.
        accelerator_use: Measured beside it, 0 to 1; None where it is not known.
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
    if not step.p95_s <= limits.latency_s:  # also where nothing was answered
        yield Limit.LATENCY
    shortfall = limits.shortfall * (_LONG if step.long else 1.0)
    if (step.throughput * step.window_s) + _ROUNDING < (1 - shortfall) * step.sent:
        yield Limit.PLATEAU
    if step.error_ratio > limits.error_ratio:
        yield Limit.ERRORS
    if step.accelerator_use is not None and step.accelerator_use > limits.accelerator_use:
        yield Limit.ACCELERATOR
