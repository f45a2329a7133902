"""The measurement: one step of load after the other, as the search asks for them, within the bounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from controller.breaking_point.measure import Hopeless, percentile, step_of
from controller.breaking_point.model import Bounds, Ending, Limit, Limits, Outcome, Sample, Step
from controller.breaking_point.search import Search, Try, bracket, limits_at, next_step, rounded
from controller.clock import Clock
from controller.errors import Rejected

_ENOUGH: Final = 100  # requests of a step: its throughput is then known to a percent
_LONGEST: Final = 8  # times the length asked for; a slow unit must do with fewer requests
_FILLING: Final = 0.2  # share of a step in which queues fill and nothing is measured
_CONFIRMING: Final = 4.0  # times as long is the step that confirms a rate
_LATENCIES: Final = 10.0  # a step lasts at least this many times the latency of a single request
_SINGLE_S: Final = 3.0  # of one request after the other, at a time
_SINGLE: Final = 5  # of them are enough
_SINGLES: Final = 10  # times that long, at most
_KEPT_UP: Final = 0.95  # share of the offered rate that the load tool must have sent
_RECOVERED: Final = 2.0  # times the latency before the load
_IN_FLIGHT: Final = 2.5  # times what is in flight at the latency limit, by Little's law


class Load(Protocol):
    """What sends requests."""

    def open_loop(self, rate: float, seconds: float, in_flight: int, stop: Callable[[Sample], bool]) -> Sequence[Sample]:
        """Sends requests at a constant rate, whether earlier ones were answered or not, and waits for their answers.

        Args:
            rate: Requests a second.
            seconds: How long.
            in_flight: Most requests that may be unanswered at a time; beyond it requests are sent late.
            stop: Is given every request that ends; True: send no more.

        Raises:
            RemoteError: The tool failed.
        """

    def closed_loop(self, seconds: float) -> Sequence[Sample]:
        """Sends one request after the other, each when the last was answered, and waits for the last answer.

        Raises:
            RemoteError: The tool failed.
        """


class AcceleratorUse(Protocol):
    """How much the accelerators are used."""

    def start(self) -> None:
        """Begins with a step."""

    def stop(self) -> float | None:
        """Ends with it.

        Returns:
            Mean use of the busiest accelerator meanwhile, 0 to 1; None where it is not known.
        """


class Unknown:
    """Nobody measures the accelerators."""

    def start(self) -> None:
        """See `AcceleratorUse.start`."""

    def stop(self) -> None:
        """See `AcceleratorUse.stop`."""


class Watcher(Protocol):
    """Who is told how it goes."""

    def base(self, latency_s: float) -> None:
        """Single requests took this long, median."""

    def begins(self, number: int, to_try: Try, seconds: float) -> None:
        """A step begins; it takes so many seconds."""

    def goes_on(self, seconds: float) -> None:
        """So many seconds of the step are over."""

    def ended(self, number: int, step: Step) -> None:
        """A step ended."""

    def recovering(self) -> None:
        """The server under test is waited for."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the measurement goes.

    Attributes:
        limits: When a rate is too high.
        bounds: Where it ends.
        step_s: Length of a step, seconds; longer where that is too short for a hundred requests, up to eight times.
        start: First rate, requests a second; None: half of what single requests one after the other reach.
        growth: See `Search`.
        tolerance: See `Search`.
        recover_s: How long the server may take to answer as before after a step that it did not hold, seconds.
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
        settings: How it goes.
        clock: The time.
        watcher: Is told how it goes.
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
        """Measures until it ends. Ctrl-C ends it too; what was measured until then is in the outcome.

        Raises:
            Rejected: Single requests are not answered with 2xx: nothing was loaded.
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
        """Runs a step; why the measurement ends with it, None where it goes on."""
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
        """How long a step lasts."""
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
                text = f"{len(failed)} of {len(samples)} single requests were not answered with 2xx ({failed[0]}); nothing was loaded"
                raise Rejected(f"{text}; mend --url, --method, --body or --header")
            if len(samples) >= _SINGLE:
                break
        if not samples:
            raise Rejected("single requests were not answered; nothing was loaded; is the server ready?")
        self._singles += len(samples)
        return percentile(sorted(sample.latency_s for sample in samples), 0.5)

    def _recovers(self) -> bool:
        """Waits until single requests are answered as before the load; whether they were in time."""
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
