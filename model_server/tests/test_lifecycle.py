"""The states, and the watchdog that changes one of them."""

import pytest
from failover_model_server.lifecycle import ALLOWED, HISTORY, Lifecycle, State, Status
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


def test_the_history_is_bounded() -> None:
    """A server that hangs and recovers all day does not grow."""
    lifecycle = ready()
    for _ in range(HISTORY):
        lifecycle.to(State.WEDGED, "hangs")
        lifecycle.to(State.READY, "ended")
    assert len(lifecycle.history) == HISTORY


class Busy:
    """A worker as the watchdog sees it."""

    def __init__(self) -> None:
        self.number = 0
        self.busy_seconds = 0.0


def test_a_batch_that_takes_too_long_wedges_and_its_end_recovers() -> None:
    """The limit is the floor, or a multiple of the 99th percentile where batches are slow anyway."""
    lifecycle, worker = ready(), Busy()
    watchdog = Watchdog(lifecycle, [worker], floor=60.0)
    watchdog.check()
    assert lifecycle.state is State.READY
    for _ in range(100):
        watchdog.ran(10.0)
    assert watchdog.limit == 10.0 * FACTOR
    worker.busy_seconds = 199.0
    watchdog.check()
    assert lifecycle.state is State.READY
    worker.busy_seconds = 201.0
    watchdog.check()
    assert lifecycle.status.state == "WEDGED"
    worker.busy_seconds = 0.0
    watchdog.check()
    assert lifecycle.status.state == "READY"


def test_a_draining_server_is_not_called_wedged() -> None:
    """Once SIGTERM has come the process ends anyway; READY must not come back."""
    lifecycle, worker = ready(), Busy()
    lifecycle.to(State.DRAINING, "SIGTERM")
    worker.busy_seconds = 1e6
    Watchdog(lifecycle, [worker], floor=60.0).check()
    assert lifecycle.state is State.DRAINING
