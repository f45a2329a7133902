"""The states of a server, which changes between them are allowed, and what each means to a probe."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum


class State(StrEnum):
    """Where a server is in its life. The port is bound in every state from STARTING on."""

    STARTING = "STARTING"
    """The process is up; nothing has been fetched."""
    DOWNLOADING = "DOWNLOADING"
    """Weights or compiled artifacts are being fetched and verified."""
    LOADING = "LOADING"
    """The backend is placing the model on the accelerator."""
    WARMING = "WARMING"
    """Every batch bucket is being run with a synthetic request, through the path of a real one."""
    READY = "READY"
    """Serves."""
    DRAINING = "DRAINING"
    """SIGTERM was received: reports not ready, still accepts requests for the drain time, and finishes those in flight."""
    STOPPED = "STOPPED"
    """Everything in flight has ended."""
    FAILED = "FAILED"
    """The model cannot be served; the process is about to end with an exit code that is not 0."""
    WEDGED = "WEDGED"
    """A batch has been running for far too long: the accelerator hangs. `/health` fails so that the container is restarted."""


ALLOWED: dict[State, frozenset[State]] = {
    State.STARTING: frozenset({State.DOWNLOADING, State.DRAINING, State.FAILED}),
    State.DOWNLOADING: frozenset({State.LOADING, State.DRAINING, State.FAILED}),
    State.LOADING: frozenset({State.WARMING, State.DRAINING, State.FAILED}),
    State.WARMING: frozenset({State.READY, State.DRAINING, State.FAILED}),
    State.READY: frozenset({State.DRAINING, State.FAILED, State.WEDGED}),
    State.DRAINING: frozenset({State.STOPPED, State.FAILED}),
    State.WEDGED: frozenset({State.READY, State.DRAINING, State.FAILED}),
    State.FAILED: frozenset({State.STOPPED}),
    State.STOPPED: frozenset(),
}

ALIVE = frozenset(set(State) - {State.FAILED, State.WEDGED, State.STOPPED})
"""States in which `/health` says 200: a restart of the container would not help."""
ACCEPTING = frozenset({State.READY, State.DRAINING})
"""States in which requests are taken: while draining, load balancers still send some."""


@dataclass(frozen=True, slots=True)
class Status:
    """A state, why, and since when."""

    state: State
    reason: str
    """For people: what is being waited for, or what went wrong. No secrets, no stack traces: anybody who can reach a probe sees it."""
    since: float
    """Seconds on the monotonic clock."""


Listener = Callable[[Status, Status], None]
"""Called with (before, after) at every change; must not raise or block."""


class Lifecycle:
    """The state of a server. Changed and read on the event loop's thread only."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._status = Status(State.STARTING, "the process is starting", clock())
        self._listeners: list[Listener] = []

    @property
    def status(self) -> Status:
        """The present state."""
        return self._status

    @property
    def state(self) -> State:
        """The present state, without reason."""
        return self._status.state

    @property
    def seconds_in_state(self) -> float:
        """Time since the last change of state."""
        return self._clock() - self._status.since

    def listen(self, listener: Listener) -> None:
        """Call the listener at every change."""
        self._listeners.append(listener)

    def to(self, state: State, reason: str) -> None:
        """Change the state.

        Raises:
            ValueError: there is no such change: a defect of the caller.
        """
        before = self._status
        if state not in ALLOWED[before.state]:
            raise ValueError(f"a server does not go from {before.state} to {state}")
        self._status = Status(state, reason, self._clock())
        for listener in self._listeners:
            listener(before, self._status)

    def explain(self, reason: str) -> None:
        """Say more about the present state, as the progress of a download."""
        self._status = replace(self._status, reason=reason)
