"""The measurement: runs the steps of load that the search requests, within the bounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from controller.clock import Clock
from controller.errors import Rejected
from failover_setup.breaking_point.measure import Hopeless, percentile, step_of
from failover_setup.breaking_point.model import Bounds, Ending, Limit, Limits, Outcome, Sample, Step
from failover_setup.breaking_point.search import Search, Try, bracket, limits_at, next_step, rounded

_ENOUGH: Final = 100  # requests of a step; its throughput is then known to a percent
_LONGEST: Final = 8  # times the requested length; a slow unit gets fewer requests
_FILLING: Final = 0.2  # share of a step in which queues fill and nothing is measured
_CONFIRMING: Final = 4.0  # the step that confirms a rate lasts this many times as long
_LATENCIES: Final = 10.0  # a step lasts at least this many times the latency of a single request
_SINGLE_S: Final = 3.0  # seconds of a round of single requests, one after the other
_SINGLE: Final = 5  # this many single requests are enough
_SINGLES: Final = 10  # most rounds
_KEPT_UP: Final = 0.95  # share of the offered rate that the load tool must have sent
_RECOVERED: Final = 2.0  # times the latency before the load
_IN_FLIGHT: Final = 2.5  # times the requests in flight at the latency limit, by Little's law


class Load(Protocol):
    """Sends requests."""

    def open_loop(self, rate: float, seconds: float, in_flight: int, stop: Callable[[Sample], bool]) -> Sequence[Sample]:
        """Sends requests at a constant rate, whether earlier ones were answered or not, and waits for their answers.

        Args:
            rate: Requests per second.
            seconds: Duration.
            in_flight: Most requests without an answer at a time; further requests are sent late.
            stop: Called with every ended request; True ends the sending.

        Raises:
            RemoteError: The tool failed.
        """

    def closed_loop(self, seconds: float) -> Sequence[Sample]:
        """Sends one request after the other, each after the answer to the last, and waits for the last answer.

        Raises:
            RemoteError: The tool failed.
        """


class AcceleratorUse(Protocol):
    """Measures the use of the accelerators during a step."""

    def start(self) -> None:
        """Called at the start of a step."""

    def stop(self) -> float | None:
        """Called at the end of a step.

        Returns:
            Mean use of the busiest accelerator since `start`, 0 to 1; None if it is unknown.
        """


class Unknown:
    """Measures nothing: the use is unknown."""

    def start(self) -> None:
        """See `AcceleratorUse.start`."""

    def stop(self) -> None:
        """See `AcceleratorUse.stop`."""


class Watcher(Protocol):
    """Shows the progress of a measurement."""

    def base(self, latency_s: float) -> None:
        """Called with the median latency of single requests, seconds."""

    def begins(self, number: int, to_try: Try, seconds: float) -> None:
        """Called when a step of `seconds` seconds begins."""

    def goes_on(self, seconds: float) -> None:
        """Called when `seconds` seconds of the step are over."""

    def ended(self, number: int, step: Step) -> None:
        """Called when a step has ended."""

    def recovering(self) -> None:
        """Called when the measurement begins to wait for the server under test to recover."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a measurement.

    Attributes:
        limits: When a rate is too high.
        bounds: When the measurement ends without a result.
        step_s: Length of a step, seconds; up to eight times longer if it is too short for a hundred requests.
        start: First rate, requests per second; None: half the rate of single requests one after the other.
        growth: See `Search`.
        tolerance: See `Search`.
        recover_s: How long the server may take to recover after a step that did not hold, seconds.
    """

    limits: Limits
    bounds: Bounds
    step_s: float = 15.0
    start: float | None = None
    growth: float = 1.5
    tolerance: float = 0.03
    recover_s: float = 60.0


class Measurement:
    """Measures one unit.

    Args:
        load: Sends the requests.
        use: Measures the accelerators.
        settings: Its settings.
        clock: The time.
        watcher: Shows the progress.
    """

    def __init__(self, load: Load, use: AcceleratorUse, settings: Settings, clock: Clock, watcher: Watcher) -> None:
        self._load = load
        self._use = use
        self._settings = settings
        self._clock = clock
        self._watcher = watcher
        self._steps: list[Step] = []
        self._singles = 0  # requests sent one after the other
        self._base_s = math.nan

    def run(self) -> Outcome:
        """Runs the measurement to its end. Ctrl-C ends it too; the outcome then has the steps so far.

        Raises:
            Rejected: Single requests are not answered with 2xx. No load was sent.
            RemoteError: The load tool failed.
        """
        try:
            return self._run()
        except KeyboardInterrupt:
            return self._outcome(Ending.INTERRUPTED)

    def _run(self) -> Outcome:
        started = self._clock.monotonic()
        self._base_s = self._single_requests()
        self._watcher.base(self._base_s)
        if self._base_s > self._settings.limits.latency_s:
            return self._outcome(Ending.NEVER_HELD)
        bounds = self._settings.bounds
        start = self._settings.start or 0.5 / self._base_s
        search = Search(rounded(start), bounds.rate, self._settings.growth, self._settings.tolerance)
        while isinstance(found := next_step(self._steps, search), Try):
            seconds = self._seconds(found)
            if len(self._steps) >= bounds.steps:
                return self._outcome(Ending.STEPS)
            if self._clock.monotonic() - started + seconds > bounds.seconds:
                return self._outcome(Ending.SECONDS)
            if self._requests() + found.rate * seconds > bounds.requests:
                return self._outcome(Ending.REQUESTS)
            if (ending := self._take(found, seconds)) is not None:
                return self._outcome(ending)
        return self._outcome(found) if isinstance(found, Ending) else self._outcome(Ending.FOUND, found)

    def _take(self, to_try: Try, seconds: float) -> Ending | None:
        """Runs a step. Returns why the measurement ends with it, None if it continues."""
        step = self._step(to_try, seconds)
        self._steps.append(step)
        self._watcher.ended(len(self._steps), step)
        late = step.sent < _KEPT_UP * to_try.rate * step.window_s - 1
        if late and Limit.LATENCY not in step.exceeded:
            return Ending.GENERATOR
        return None if step.held or self._recovers() else Ending.NOT_RECOVERED

    def _step(self, to_try: Try, seconds: float) -> Step:
        self._watcher.begins(len(self._steps) + 1, to_try, seconds)
        hopeless, last_s, cut = Hopeless(self._settings.limits), 0.0, False

        def stop(sample: Sample) -> bool:
            nonlocal last_s, cut
            if not cut:
                last_s = max(last_s, sample.sent_s + sample.latency_s)
                self._watcher.goes_on(min(last_s, seconds))
                cut = last_s < seconds and hopeless(sample)
            return cut

        in_flight = math.ceil(_IN_FLIGHT * to_try.rate * self._settings.limits.latency_s) + 10
        self._use.start()
        try:
            samples = self._load.open_loop(to_try.rate, seconds, in_flight, stop)
        finally:
            use = self._use.stop()
        end_s = last_s if cut else seconds
        filling_s = min(max(_FILLING * seconds, 2 * self._base_s), end_s / 2)
        return step_of(
            samples,
            rate=to_try.rate,
            start_s=filling_s,
            end_s=end_s,
            limits=self._settings.limits,
            accelerator_use=use,
            long=to_try.long,
            cut_short=cut,
        )

    def _seconds(self, to_try: Try) -> float:
        """The length of a step, seconds."""
        enough = min(_ENOUGH / to_try.rate / (1 - _FILLING), _LONGEST * self._settings.step_s)
        return max(self._settings.step_s, enough, _LATENCIES * self._base_s) * (_CONFIRMING if to_try.long else 1.0)

    def _single_requests(self) -> float:
        """The median latency of requests one after the other.

        Raises:
            Rejected: One of them failed.
        """
        samples: list[Sample] = []
        for _ in range(_SINGLES):
            samples += self._load.closed_loop(_SINGLE_S)
            failed = [sample.failure for sample in samples if sample.failure]
            if failed:
                text = f"{len(failed)} of {len(samples)} single requests were not answered with 2xx ({failed[0]}); no load was sent"
                raise Rejected(f"{text}; correct --url, --method, --body or --header")
            if len(samples) >= _SINGLE:
                break
        if not samples:
            raise Rejected("single requests were not answered; no load was sent; is the server ready?")
        self._singles += len(samples)
        return percentile(sorted(sample.latency_s for sample in samples), 0.5)

    def _recovers(self) -> bool:
        """Waits until single requests are answered as before the load. Returns whether that happened in time."""
        self._watcher.recovering()
        until = self._clock.monotonic() + self._settings.recover_s
        while True:
            samples = self._load.closed_loop(min(_SINGLE_S, max(1.0, 5 * self._base_s)))
            self._singles += len(samples)
            latency_s = percentile(sorted(sample.latency_s for sample in samples), 0.5)
            if latency_s <= _RECOVERED * self._base_s + 0.01 and not any(sample.failure for sample in samples):
                return True
            if self._clock.monotonic() >= until:
                return False

    def _requests(self) -> int:
        return self._singles + sum(step.requests for step in self._steps)

    def _outcome(self, ending: Ending, found: Step | None = None) -> Outcome:
        known = bracket(self._steps)
        broke = limits_at(self._steps, known.broke)
        return Outcome(ending, tuple(self._steps), self._base_s, found, broke, known.held, known.broke)
