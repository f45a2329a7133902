"""The types of a breaking-point measurement: limits, bounds, steps of load and the outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

LATENCY_PERCENTILE: Final = 0.95
"""The percentile that is compared with the latency limit; ``latencyLimitSeconds`` of the application file also limits p95."""


class Limit(StrEnum):
    """A limit that a step can exceed."""

    LATENCY = "latency"
    PLATEAU = "plateau"
    ERRORS = "errors"
    ACCELERATOR = "accelerator"


@dataclass(frozen=True, slots=True)
class Limits:
    """When a rate is too high.

    Attributes:
        latency_s: Latency p95, seconds. The AWS sample's breaking point is 0.9 s.
        error_ratio: Share of requests that are not answered with 2xx, 0 to 1.
        accelerator_use: Use of the busiest accelerator, 0 to 1. The AWS sample's limit is 0.8.
        shortfall: Share of the offered rate by which the throughput may fall short before that counts as a plateau, 0 to 1.
    """

    latency_s: float = 0.9
    error_ratio: float = 0.01
    accelerator_use: float = 0.8
    shortfall: float = 0.03


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds at which the measurement ends without a result.

    Attributes:
        steps: Most steps of load.
        seconds: Longest total time.
        requests: Most requests in total.
        rate: Highest rate, requests per second.
    """

    steps: int = 40
    seconds: float = 3600.0
    requests: int = 500_000
    rate: float = 10_000.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One request.

    Attributes:
        sent_s: When it was sent, seconds since the first request of its step.
        latency_s: Time from sending to the last byte of the answer, or to the failure, seconds.
        failure: "" if it was answered with 2xx; else the status, ``time-out`` or another kind of failure.
    """

    sent_s: float
    latency_s: float
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """The result of one step of load.

    Attributes:
        rate: Offered rate, requests per second.
        window_s: The measured time, seconds; without the start of the step, in which queues fill.
        sent: Requests sent in that time.
        throughput: Requests answered with 2xx in that time, per second.
        p50_s: Median latency of the requests sent in that time and answered with 2xx, seconds; NaN if there is none.
        p95_s: The same, 95th percentile.
        p99_s: The same, 99th percentile.
        error_ratio: Share of the requests sent in that time that were not answered with 2xx.
        failures: Number of failures by kind.
        accelerator_use: Mean use of the busiest accelerator, 0 to 1; None if it is unknown.
        exceeded: Every limit that was exceeded; () if the rate held.
        long: Whether it was one of the longer steps that confirm a rate.
        cut_short: Whether it ended early because it was hopeless.
        requests: All requests of the step, including those not in the measured time.
    """

    rate: float
    window_s: float
    sent: int
    throughput: float
    p50_s: float
    p95_s: float
    p99_s: float
    error_ratio: float
    failures: Mapping[str, int]
    accelerator_use: float | None
    exceeded: tuple[Limit, ...]
    long: bool = False
    cut_short: bool = False
    requests: int = 0

    @property
    def held(self) -> bool:
        """Whether no limit was exceeded."""
        return not self.exceeded


class Ending(StrEnum):
    """How a measurement ended."""

    FOUND = "found"
    INTERRUPTED = "interrupted"
    STEPS = "steps"
    SECONDS = "seconds"
    REQUESTS = "requests"
    HIGHEST_RATE = "highest-rate"
    NEVER_HELD = "never-held"
    NOT_RECOVERED = "not-recovered"
    GENERATOR = "generator"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a measurement.

    Attributes:
        ending: How it ended.
        steps: Every step, in order.
        base_s: Median latency of single requests, one after the other, seconds; NaN if it was not measured.
        found: The confirmed step at the breaking point; None if it was not found.
        limited_by: The limits that the lowest rate above it exceeded.
        held: Highest rate that held, requests per second; None if none did.
        broke: Lowest rate above it that did not hold; None if all held.
    """

    ending: Ending
    steps: tuple[Step, ...]
    base_s: float
    found: Step | None = None
    limited_by: tuple[Limit, ...] = ()
    held: float | None = None
    broke: float | None = None
