"""The result of a step from its requests."""

from __future__ import annotations

import math
from typing import Any

import pytest

from failover_setup.breaking_point.measure import Hopeless, percentile, step_of
from failover_setup.breaking_point.model import Limit, Limits, Sample, Step

LIMITS = Limits(latency_s=0.9)


def regular(rate: float, seconds: float, latency_s: float, failure: str = "", every: int = 0) -> list[Sample]:
    """Requests at a constant rate, of which every n-th fails."""
    return [Sample(number / rate, latency_s, failure if every and number % every == 0 else "") for number in range(round(rate * seconds))]


def summed(samples: list[Sample], **changes: Any) -> Step:
    settings: dict[str, Any] = {"rate": 10.0, "start_s": 2.0, "end_s": 10.0, "limits": LIMITS} | changes
    return step_of(samples, **settings)


def test_a_server_that_keeps_up_holds() -> None:
    """Throughput is the rate, latency is that of the requests, and no limit is exceeded."""
    step = summed(regular(10.0, 10.0, 0.5))
    assert step.held
    assert (step.throughput, step.p50_s, step.p95_s) == (10.0, 0.5, 0.5)


def test_answers_count_when_they_arrive_and_requests_when_they_are_sent() -> None:
    """A growing queue shows in the throughput, although every request is answered in the end."""
    samples = [Sample(number / 10.0, 0.1 + number * 0.025) for number in range(100)]  # eight a second are answered
    step = summed(samples, limits=Limits(latency_s=100.0))
    assert step.throughput == pytest.approx(8.0, abs=0.13)
    assert step.exceeded == (Limit.PLATEAU,)


@pytest.mark.parametrize(
    ("samples", "exceeded"),
    [
        pytest.param(regular(10.0, 10.0, 0.91), (Limit.LATENCY,), id="slow"),
        pytest.param(regular(10.0, 10.0, 0.1, "429", every=3), (Limit.PLATEAU, Limit.ERRORS), id="turned away"),
        pytest.param(regular(10.0, 10.0, 0.1, "500", every=50), (Limit.ERRORS,), id="some errors"),
        pytest.param(regular(10.0, 10.0, 0.1, "500", every=1), (Limit.LATENCY, Limit.PLATEAU, Limit.ERRORS), id="all fail"),
    ],
)
def test_each_limit_is_found_exceeded(samples: list[Sample], exceeded: tuple[Limit, ...]) -> None:
    """Each by itself."""
    assert summed(samples).exceeded == exceeded


def test_errors_are_counted_by_kind_and_have_no_latency() -> None:
    """A fast 429 must not improve the latency."""
    step = summed(regular(10.0, 10.0, 0.8, "429", every=2))
    assert step.failures == {"429": 40}
    assert step.error_ratio == 0.5
    assert step.p50_s == 0.8


def test_the_accelerator_limits_only_if_its_use_is_known() -> None:
    """Unknown is not zero, and not over the limit either."""
    samples = regular(10.0, 10.0, 0.1)
    assert summed(samples, accelerator_use=0.81).exceeded == (Limit.ACCELERATOR,)
    assert summed(samples, accelerator_use=0.8).held
    assert summed(samples).accelerator_use is None


def test_a_longer_step_detects_a_slowly_growing_queue() -> None:
    """Two percent behind is chance in a short step, and a plateau in one of four times the requests."""
    samples = [Sample(number / 10.0, 0.1 + number * 0.1 * 0.025) for number in range(400)]
    long = summed(samples, end_s=40.0, long=True, limits=Limits(latency_s=100.0))
    assert long.exceeded == (Limit.PLATEAU,)
    assert summed(samples, end_s=40.0, limits=Limits(latency_s=100.0)).held


def test_without_answers_there_is_no_latency() -> None:
    """Not a number, and exceeded."""
    step = summed([Sample(3.0, 5.0, "time-out")])
    assert math.isnan(step.p95_s)
    assert Limit.LATENCY in step.exceeded


def test_percentiles_are_by_nearest_rank() -> None:
    """Of a hundred values the 95th is the 95th percentile."""
    assert percentile([float(number) for number in range(1, 101)], 0.95) == 95.0
    assert math.isnan(percentile([], 0.5))


def test_a_step_is_hopeless_when_most_of_the_last_requests_were_far_too_slow_or_failed() -> None:
    """Not before twenty of them, and not for a pause that some of them met."""
    hopeless = Hopeless(LIMITS)
    assert not any(hopeless(Sample(0.0, 0.1)) for _ in range(10))
    assert not any(hopeless(Sample(0.0, 1.9)) for _ in range(9))
    assert not hopeless(Sample(0.0, 0.1, "429"))
    assert hopeless(Sample(0.0, 0.1, "500"))
