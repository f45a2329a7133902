"""The measurement, on queues in virtual time whose knee is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

import pytest

from controller.errors import Rejected
from failover_harness.model_servers.measuring import Quiet, measure, measure_virtually
from failover_harness.model_servers.queue_server import Queue, Spec, VirtualLoad, true_knee
from failover_setup.breaking_point.model import Bounds, Ending, Limit, Limits, Sample
from failover_setup.breaking_point.run import Measurement, Settings
from failover_testbed.clocks import ManualClock

WITHIN = 0.05  # what issue and documentation promise

knee = lru_cache(maxsize=64)(lambda spec, limit_s: true_knee(spec, limit_s, requests=50_000))

QUEUES = [
    pytest.param(Spec(1, 0.020), id="one worker, always 20 ms"),
    pytest.param(Spec(4, 0.020, 0.2), id="four workers, 20 ms"),
    pytest.param(Spec(1, 0.004, 0.3), id="one worker, 4 ms"),
    pytest.param(Spec(8, 0.100, 0.3), id="eight workers, 100 ms"),
    pytest.param(Spec(1, 0.500, 0.05), id="one worker, 500 ms"),
    pytest.param(Spec(16, 0.670, 0.05), id="sixteen workers, 670 ms"),
]
SHEDDING = [
    pytest.param(Spec(4, 0.020, 0.2, line=8), id="four workers, 20 ms"),
    pytest.param(Spec(1, 0.200, 0.1, line=3), id="one worker, 200 ms"),
    pytest.param(Spec(32, 0.400, 0.3, line=32), id="thirty-two workers, 400 ms"),
]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("spec", QUEUES)
def test_the_knee_of_a_queue_is_found_within_five_percent(spec: Spec, seed: int) -> None:
    """Several capacities and seeds; requests wait, nothing is refused."""
    outcome = measure_virtually(replace(spec, seed=seed))
    assert outcome.ending is Ending.FOUND
    assert outcome.found is not None
    assert outcome.found.throughput == pytest.approx(knee(spec, 0.9), rel=WITHIN)
    assert Limit.ERRORS not in outcome.limited_by


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("spec", SHEDDING)
def test_the_knee_of_a_server_that_sheds_is_found_within_five_percent(spec: Spec, seed: int) -> None:
    """It answers 429 when its queue is full: errors show the limit, latency does not."""
    outcome = measure_virtually(replace(spec, seed=seed))
    assert outcome.found is not None
    assert outcome.found.throughput == pytest.approx(knee(spec, 0.9), rel=WITHIN)
    assert Limit.ERRORS in outcome.limited_by


def test_the_latency_limit_ends_it_below_the_plateau() -> None:
    """If latency exceeds its limit while throughput still grows, the limit is the breaking point."""
    spec = Spec(4, 0.05, 1.0)
    outcome = measure_virtually(spec, latency_limit_s=0.25)
    assert outcome.found is not None
    assert outcome.found.throughput == pytest.approx(knee(spec, 0.25), rel=WITHIN)
    assert outcome.found.throughput < 0.95 * spec.capacity
    assert outcome.limited_by == (Limit.LATENCY,)


class _Pausing(VirtualLoad):
    """Once every n steps the server pauses for a second."""

    def __init__(self, spec: Spec, clock: ManualClock, every: int) -> None:
        super().__init__(spec, clock)
        self._every, self._number = every, 0

    def open_loop(self, rate: float, seconds: float, in_flight: int, stop: Callable[[Sample], bool]) -> Sequence[Sample]:
        self._number += 1
        found = super().open_loop(rate, seconds, in_flight, stop)
        if self._number % self._every:
            return found
        return [replace(one, latency_s=one.latency_s + max(0.0, 1.2 - abs(one.sent_s - 8.0))) for one in found]


def test_one_pause_of_the_server_neither_ends_the_climb_nor_spoils_the_result() -> None:
    """A step that fails by bad luck is repeated."""
    clock = ManualClock(0.0)
    spec = Spec(4, 0.02, 0.1)
    watcher = Quiet()
    outcome = measure(_Pausing(spec, clock, every=4), clock, Settings(Limits(latency_s=0.5), Bounds()), watcher)
    assert any(not step.held and step.rate < 0.8 * spec.capacity for step in watcher.steps), "no step was unlucky"
    assert outcome.found is not None
    assert outcome.found.throughput == pytest.approx(spec.capacity, rel=WITHIN)


@pytest.mark.parametrize(
    ("bounds", "ending"),
    [
        pytest.param(Bounds(steps=3), Ending.STEPS, id="steps"),
        pytest.param(Bounds(seconds=60.0), Ending.SECONDS, id="time"),
        pytest.param(Bounds(requests=3000), Ending.REQUESTS, id="requests"),
        pytest.param(Bounds(rate=100.0), Ending.HIGHEST_RATE, id="rate"),
    ],
)
def test_every_bound_ends_it_without_a_result(bounds: Bounds, ending: Ending) -> None:
    """No step begins that would exceed the bound."""
    clock = ManualClock(0.0)
    outcome = measure(VirtualLoad(Spec(4, 0.02), clock), clock, Settings(Limits(), bounds))
    assert outcome.ending is ending
    assert outcome.found is None
    assert len(outcome.steps) <= bounds.steps
    assert sum(step.requests for step in outcome.steps) <= bounds.requests
    assert max(step.rate for step in outcome.steps) <= bounds.rate
    assert clock.monotonic() <= bounds.seconds + 10


def test_the_overload_is_cut_short() -> None:
    """A server that is far behind gets no more requests than the judgement needs."""
    clock = ManualClock(0.0)
    watcher = Quiet()
    measure(VirtualLoad(Spec(1, 0.02), clock), clock, Settings(Limits(latency_s=0.2), Bounds(), start=45.0, growth=3.0), watcher)
    worst = max(watcher.steps, key=lambda step: step.rate)
    assert worst.cut_short
    assert worst.requests < 135.0 * 15.0 / 4


def test_a_single_request_that_is_too_slow_ends_it_before_any_load() -> None:
    """No rate can be held then."""
    outcome = measure_virtually(Spec(4, 1.0))
    assert (outcome.ending, outcome.steps) == (Ending.NEVER_HELD, ())


class _Broken(VirtualLoad):
    """Answers 404."""

    def closed_loop(self, seconds: float) -> Sequence[Sample]:
        return [Sample(0.0, 0.01, "404")]


def test_single_requests_that_fail_end_it_with_an_error_that_names_the_options() -> None:
    """A wrong path must not be loaded."""
    clock = ManualClock(0.0)
    with pytest.raises(Rejected, match=r"1 of 1 single requests were not answered with 2xx \(404\).*--url"):
        measure(_Broken(Spec(1, 0.01), clock), clock, Settings(Limits(), Bounds()))


class _Dying(VirtualLoad):
    """Does not recover after an overload."""

    broken = False

    def open_loop(self, rate: float, seconds: float, in_flight: int, stop: Callable[[Sample], bool]) -> Sequence[Sample]:
        self.broken = rate > 200.0
        return super().open_loop(rate, seconds, in_flight, stop)

    def closed_loop(self, seconds: float) -> Sequence[Sample]:
        found = super().closed_loop(seconds)
        return [replace(one, failure="refused") for one in found] if self.broken else found


def test_a_server_that_does_not_recover_is_left_alone() -> None:
    """No step follows, after the time allowed."""
    clock = ManualClock(0.0)
    watcher = Quiet()
    outcome = measure(_Dying(Spec(4, 0.02), clock), clock, Settings(Limits(), Bounds()), watcher)
    assert outcome.ending is Ending.NOT_RECOVERED
    assert watcher.recovered == 1
    assert not outcome.steps[-1].held


class _Weak(VirtualLoad):
    """A load tool that sends fifty requests a second at most."""

    def open_loop(self, rate: float, seconds: float, in_flight: int, stop: Callable[[Sample], bool]) -> Sequence[Sample]:
        return super().open_loop(min(rate, 50.0), seconds, in_flight, stop)


def test_a_load_tool_that_cannot_send_that_much_is_not_taken_for_a_plateau() -> None:
    """The server is not to blame."""
    clock = ManualClock(0.0)
    outcome = measure(_Weak(Spec(4, 0.02), clock), clock, Settings(Limits(), Bounds()))
    assert outcome.ending is Ending.GENERATOR
    assert outcome.found is None


class _Interrupted(VirtualLoad):
    """Ctrl-C in the third step."""

    number = 0

    def open_loop(self, rate: float, seconds: float, in_flight: int, stop: Callable[[Sample], bool]) -> Sequence[Sample]:
        self.number += 1
        if self.number == 3:
            raise KeyboardInterrupt
        return super().open_loop(rate, seconds, in_flight, stop)


def test_ctrl_c_keeps_what_was_measured() -> None:
    """Two steps, and no result."""
    clock = ManualClock(0.0)
    outcome = measure(_Interrupted(Spec(4, 0.02), clock), clock, Settings(Limits(), Bounds()))
    assert outcome.ending is Ending.INTERRUPTED
    assert len(outcome.steps) == 2
    assert outcome.found is None
    assert outcome.held == outcome.steps[-1].rate


class _Busy:
    """An accelerator whose use grows with the rate."""

    def __init__(self, watcher: Quiet) -> None:
        self._watcher, self._on = watcher, False

    def start(self) -> None:
        self._on = True

    def stop(self) -> float | None:
        assert self._on
        self._on = False
        return self._watcher.tries[-1].rate / 200.0


def test_the_accelerator_ends_it_at_eighty_percent() -> None:
    """Also where latency and throughput would allow more."""
    clock = ManualClock(0.0)
    watcher = Quiet()
    outcome = Measurement(VirtualLoad(Spec(4, 0.02), clock), _Busy(watcher), Settings(Limits(), Bounds()), clock, watcher).run()
    assert outcome.limited_by == (Limit.ACCELERATOR,)
    assert outcome.found is not None
    assert outcome.found.rate == pytest.approx(160.0, rel=WITHIN)
    assert outcome.found.rate <= 160.0


def test_the_true_knee_of_a_queue_with_exponential_times_is_that_of_the_textbook() -> None:
    """The yardstick itself: a D/M/1 queue waits longer than t with probability s * exp(-m * (1 - s) * t), s from its fixed point."""
    spec, limit_s = Spec(1, 0.05, 1.0), 0.5
    found = true_knee(spec, limit_s, requests=400_000)
    load = found * spec.service_s
    sigma = 0.5
    for _ in range(200):
        sigma = math.exp(-(1 - sigma) / load)
    beyond = math.exp(-(1 - sigma) * limit_s / spec.service_s)  # time in the system, not only in the line
    assert beyond == pytest.approx(0.05, rel=0.1)


def test_a_full_queue_refuses() -> None:
    """The synthetic server itself: one in work, two waiting, the fourth is refused."""
    queue = Queue(Spec(1, 1.0, line=2))
    assert [queue.arrive(0.0) for _ in range(4)] == [1.0, 2.0, 3.0, None]
    assert queue.arrive(1.5) == 4.0
