"""The states of a server, which changes between them are allowed, and what each means to a probe."""

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
    """SIGTERM was received: told not ready, still accepts for the drain time, finishes what is in flight."""
    STOPPED = "STOPPED"
    """Everything in flight has ended."""
    FAILED = "FAILED"
    """The model cannot be served; the process is about to end with an exit code that is not 0."""
    WEDGED = "WEDGED"
    """A batch has been running for far too long: the accelerator hangs. `/health` fails so that the container is restarted."""


ALLOWED: dict[State, frozenset[State]] = {
    State.STARTING: frozenset({State.DOWNLOADING, State.DRAINING, State.FAILED}),
    State.DOWNLOADING: frozenset({State.LOADING, State.DRAINING, State.FAILED}),
    State.LOADING: frozenset({State.WARMING, State.DRAINING, State.FAILED, State.WEDGED}),
    State.WARMING: frozenset({State.READY, State.DRAINING, State.FAILED, State.WEDGED}),
    State.READY: frozenset({State.DRAINING, State.FAILED, State.WEDGED}),
    State.DRAINING: frozenset({State.STOPPED, State.FAILED, State.WEDGED}),
    State.WEDGED: frozenset({State.READY, State.DRAINING, State.STOPPED, State.FAILED}),
    State.FAILED: frozenset({State.STOPPED}),
    State.STOPPED: frozenset(),
}
