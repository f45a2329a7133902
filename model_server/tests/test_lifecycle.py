"""The states, and the watchdog that changes one of them."""

import pytest
from failover_model_server.lifecycle import ALLOWED, Lifecycle, State, Status
from failover_model_server.run import Run
from failover_model_server.serving.watchdog import FACTOR, Watchdog


class Clock:
    """Time that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_every_state_can_end() -> None:
    """From every state STOPPED can be reached: nothing is stuck for ever."""
    for start in State:
        seen, todo = {start}, [start]
        while todo:
            for following in ALLOWED[todo.pop()] - seen:
                seen.add(following)
                todo.append(following)
        assert State.STOPPED in seen


def test_listeners_get_each_change_with_reason_and_time() -> None:
    """Listeners see both states; the time in the state begins anew."""
    clock = Clock()
    lifecycle = Lifecycle(clock)
    changes: list[tuple[Status, Status]] = []
    lifecycle.listen(lambda before, after: changes.append((before, after)))
    clock.now += 3
    lifecycle.to(State.DOWNLOADING, "fetching")
    assert [(before.state, after.state, after.reason) for before, after in changes] == [(State.STARTING, State.DOWNLOADING, "fetching")]
    assert lifecycle.seconds_in_state == 0
    clock.now += 2
    lifecycle.explain("3 of 5 MB")
    assert (lifecycle.status.reason, lifecycle.seconds_in_state) == ("3 of 5 MB", 2)


def test_what_is_not_a_change_is_refused() -> None:
    """READY without WARMING would be a server that was never tried."""
    with pytest.raises(ValueError, match="from STARTING to READY"):
        Lifecycle().to(State.READY, "no")


def ready() -> Lifecycle:
    lifecycle = Lifecycle()
    for state in (State.DOWNLOADING, State.LOADING, State.WARMING, State.READY):
        lifecycle.to(state, "on the way")
    return lifecycle


class Busy:
    """A worker as the watchdog sees it, and batches whose time passes as the test says."""

    def __init__(self) -> None:
        self.number = 0
        self.clock = Clock()
        self.in_flight: Run | None = None

    def begin(self, work: float = 1.0) -> Run:
        self.in_flight = Run(1, 1, work=work, clock=self.clock)
        return self.in_flight

    def ran(self, *gaps: float, work: float = 1.0) -> Run:
        """A batch that took these times, with a step between each two of them."""
        run = self.begin(work)
        for gap in gaps[:-1]:
            self.clock.now += gap
            run.step()
        self.clock.now += gaps[-1]
        run.moved()
        self.in_flight = None
        return run


def test_a_batch_that_takes_too_long_wedges_and_its_end_recovers() -> None:
    """The limit is the floor, or a multiple of the 99th percentile where batches are slow anyway."""
    lifecycle, worker = ready(), Busy()
    watchdog = Watchdog(lifecycle, [worker], floor=60.0)
    watchdog.check()
    assert lifecycle.state is State.READY
    for _ in range(100):
        watchdog.ran(worker.ran(10.0))
    began = worker.clock.now
    assert watchdog.limit(worker.begin()) == pytest.approx(10.0 * FACTOR)
    worker.clock.now = began + 199.0
    watchdog.check()
    assert lifecycle.state is State.READY
    worker.clock.now = began + 201.0
    watchdog.check()
    assert lifecycle.status.state == "WEDGED"
    worker.in_flight = None
    watchdog.check()
    assert lifecycle.status.state == "READY"


def test_a_generation_that_makes_progress_may_last() -> None:
    """After warm-ups of two steps, ten minutes of steps wedge nothing; a step that never comes does, after the floor."""
    lifecycle, worker = ready(), Busy()
    watchdog = Watchdog(lifecycle, [worker], floor=60.0)
    for _ in range(10):
        watchdog.ran(worker.ran(0.1, 0.1, 0.01))
    run = worker.begin(work=600.0)
    for _ in range(600):
        worker.clock.now += 1.0
        run.step()
        watchdog.check()
        assert lifecycle.state is State.READY
    worker.clock.now += 59.0
    watchdog.check()
    assert lifecycle.state is State.READY
    worker.clock.now += 2.0
    watchdog.check()
    assert lifecycle.status.state == "WEDGED"
    assert "after 600 steps" in lifecycle.status.reason


def test_without_steps_a_batch_is_judged_by_its_work() -> None:
    """A backend that reports none may take as long for a hundred units of work as a hundred batches of one."""
    lifecycle, worker = ready(), Busy()
    watchdog = Watchdog(lifecycle, [worker], floor=60.0)
    for _ in range(10):
        watchdog.ran(worker.ran(6.0, work=2.0))
    assert watchdog.limit(worker.begin(work=100.0)) == pytest.approx(3.0 * 100 * FACTOR)


def test_a_draining_server_is_not_called_wedged() -> None:
    """Once SIGTERM has come the process ends anyway; READY must not come back."""
    lifecycle, worker = ready(), Busy()
    lifecycle.to(State.DRAINING, "SIGTERM")
    worker.begin()
    worker.clock.now += 1e6
    Watchdog(lifecycle, [worker], floor=60.0).check()
    assert lifecycle.state is State.DRAINING
