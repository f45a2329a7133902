"""The call budget: what it grants, what it refuses, and that it never hangs."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.signals.budget import CallBudget
from failover_testbed.clocks import ManualClock

NOW = 1_800_000_000.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


def test_a_full_bucket_grants_its_burst_and_then_refuses(clock: ManualClock) -> None:
    """Nothing is taken by a refusal."""
    budget = CallBudget(1, 3, clock)
    assert [budget.take() for _ in range(4)] == [True, True, True, False]
    clock.advance(2)
    assert budget.take(2)
    assert not budget.take(0.5)


def test_it_fills_no_further_than_the_burst(clock: ManualClock) -> None:
    """A quiet night does not pay for a storm."""
    budget = CallBudget(1, 3, clock)
    clock.advance(10_000)
    assert budget.available() == budget.burst == 3
    assert budget.per_second == 1


def test_more_than_the_bucket_holds_is_granted_when_it_is_full_and_paid_back(clock: ManualClock) -> None:
    """Or a check of many calls could never be made."""
    budget = CallBudget(1, 3, clock)
    assert budget.take(10)
    assert budget.available() == -7
    clock.advance(9)
    assert not budget.take(10)
    clock.advance(1)
    assert budget.take(10)


def test_what_must_be_kept_for_others_is_not_granted(clock: ManualClock) -> None:
    """Audits leave calls for changes."""
    budget = CallBudget(1, 10, clock)
    assert budget.take(4, keep=5)
    assert not budget.take(2, keep=5)
    assert budget.take(2)


def test_calls_made_without_asking_are_booked_and_unused_ones_given_back(clock: ManualClock) -> None:
    """Debt is possible, more than the burst is not."""
    budget = CallBudget(1, 5, clock)
    budget.charge(8)
    assert budget.available() == -3
    budget.charge(-100)
    assert budget.available() == 5


def test_waiting_takes_as_long_as_the_bucket_needs(clock: ManualClock) -> None:
    """And no longer."""
    budget = CallBudget(2, 4, clock)
    assert budget.take(4)
    assert budget.wait(3, timeout_s=10)
    assert clock.now() - NOW == pytest.approx(1.5, abs=0.01)


def test_a_wait_that_cannot_end_in_time_is_refused_at_once(clock: ManualClock) -> None:
    """The caller need not wait in vain."""
    budget = CallBudget(1, 4, clock)
    budget.charge(100)
    assert not budget.wait(1, timeout_s=10)
    assert clock.now() == NOW


def test_a_wait_ends_when_it_must_stop(clock: ManualClock) -> None:
    """Nothing holds up a shutdown."""
    stop = threading.Event()
    stop.set()
    budget = CallBudget(1, 1, clock)
    budget.take()
    assert not budget.wait(timeout_s=10, stop=stop)


def test_a_clock_that_stands_still_does_not_hang_a_wait() -> None:
    """A process that was suspended, or a clock with a defect."""

    class Stopped(ManualClock):
        def wait(self, event: threading.Event, seconds: float) -> bool:
            return event.is_set()

    budget = CallBudget(1, 1, Stopped(NOW))
    budget.take()
    assert not budget.wait(timeout_s=10)


@pytest.mark.parametrize(("per_second", "burst"), [(0, 1), (-1, 1), (float("inf"), 1), (float("nan"), 1), (1, 0.5), (1, float("inf"))])
def test_a_bucket_that_makes_no_sense_is_refused(per_second: float, burst: float, clock: ManualClock) -> None:
    """At construction, not on the first call."""
    with pytest.raises(ValueError, match="must be"):
        CallBudget(per_second, burst, clock)


def test_negative_calls_are_refused(clock: ManualClock) -> None:
    """Giving back is `charge`, by intent."""
    with pytest.raises(ValueError, match="negative"):
        CallBudget(1, 1, clock).take(-1)


def test_threads_together_get_no_more_than_the_burst(clock: ManualClock) -> None:
    """The pollers run beside the tick."""
    budget = CallBudget(1, 50, clock)
    granted: list[bool] = []

    def work() -> None:
        granted.extend(budget.take() for _ in range(100))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(granted) == 50


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 30)), max_size=60), st.floats(0.01, 10), st.floats(1, 20))
def test_over_any_time_no_more_is_granted_than_rate_and_burst_allow(steps: list[tuple[float, float]], rate: float, burst: float) -> None:
    """But for the one request that may go into debt."""
    clock = ManualClock(NOW)
    budget = CallBudget(rate, burst, clock)
    granted, largest = 0.0, 0.0
    for pause, n in steps:
        clock.advance(pause)
        if budget.take(n):
            granted, largest = granted + n, max(largest, n)
    assert granted <= burst + rate * clock.monotonic() + max(0.0, largest - burst) + 1e-6
