"""The words of a breaking-point measurement: limits, bounds, what a step of load showed, and how the search ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

LATENCY_PERCENTILE: Final = 0.95
"""The percentile that is held against the latency limit; ``latencyLimitSeconds`` of the application file is one of p95 too."""


class Limit(StrEnum):
    """What a step can exceed."""

    LATENCY = "latency"
    PLATEAU = "plateau"
    ERRORS = "errors"
    ACCELERATOR = "accelerator"


@dataclass(frozen=True, slots=True)
class Limits:
    """When a rate is too high.

    Attributes:
        latency_s: Latency p95, seconds. The source's breaking point is 0.9 s.
        error_ratio: Share of requests that are not answered with 2xx, 0 to 1.
        accelerator_use: Use of the busiest accelerator, 0 to 1. The source's is 0.8.
        shortfall: Share of the offered rate by which the throughput may stay behind before it counts as a plateau, 0 to 1.
    """

    latency_s: float = 0.9
    error_ratio: float = 0.01
    accelerator_use: float = 0.8
    shortfall: float = 0.03


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where the measurement ends whatever it found.

    Attributes:
        steps: Most steps of load.
        seconds: Longest time in all.
        requests: Most requests in all.
        rate: Highest rate, requests a second.
    """

    steps: int = 40
    seconds: float = 3600.0
    requests: int = 500_000
    rate: float = 10_000.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One request.

    Attributes:
        sent_s: When it was sent, seconds since the first one of its step.
        latency_s: From sending to the last byte of the answer, or to the failure, seconds.
        failure: "" where it was answered with 2xx; else what went wrong: the status, ``time-out`` or the like.
    """

    sent_s: float
    latency_s: float
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """What one step of load showed.

    Attributes:
        rate: Offered, requests a second.
        window_s: How long was measured, seconds; the start of the step, in which queues fill, is left out.
        sent: Requests sent in that time.
        throughput: Requests answered with 2xx in that time, a second.
        p50_s: Median latency of the requests sent in that time and answered with 2xx, seconds; not a number where there is none.
        p95_s: The same, 95th percentile.
        p99_s: The same, 99th percentile.
        error_ratio: Share of the requests sent in that time that were not answered with 2xx.
        failures: How many by kind.
        accelerator_use: Mean use of the busiest accelerator, 0 to 1; None where it is not known.
        exceeded: Every limit that was exceeded; none where the rate was held.
        long: Whether it was one of the longer steps that confirm a rate.
        cut_short: Whether it was ended early because it was hopeless.
        requests: All requests of the step, those outside of the measured time too.
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
    """What a measurement found.

    Attributes:
        ending: How it ended.
        steps: Every step, in order.
        base_s: Median latency of single requests, one after the other, seconds; not a number where that was not measured.
        found: The step at the breaking point, confirmed; None unless it was found.
        limited_by: What the lowest rate above it exceeded.
        held: Highest rate that held, requests a second; None where none did.
        broke: Lowest rate above it that did not; None where all held.
    """

    ending: Ending
    steps: tuple[Step, ...]
    base_s: float
    found: Step | None = None
    limited_by: tuple[Limit, ...] = ()
    held: float | None = None
    broke: float | None = None
