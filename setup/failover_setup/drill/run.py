"""Runs a drill. Whatever happens, its experiment is ended and its template deleted; where this process dies, FIS ends the experiment."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from controller.clock import Clock
from controller.errors import ConfigError, FailoverError
from controller.policy import text
from controller.policy.model import Memory, Mode
from failover_setup.drill.experiments import Experiments, Left
from failover_setup.drill.load import Counts, Load
from failover_setup.drill.plan import Plan
from failover_setup.drill.timeline import Observer, Seen

_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GRACE_S: Final = 60.0
"""How much longer than planned FIS may take to end the experiment before the drill ends it, seconds."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a drill went.

    Attributes:
        begun_at: When the experiment began, seconds since the Unix epoch.
        ended_at: When it ended; None: not as far as is known.
        state: The state in which FIS left the experiment, and why.
        seen: What was seen in the cluster.
        counts: What came of the requests.
        until: When the drill stopped watching.
        cut: What cut it short; None: it came to its end.
    """

    begun_at: float
    ended_at: float | None
    state: str
    seen: Seen
    counts: Counts
    until: float
    cut: KeyboardInterrupt | FailoverError | None = None


def require_quiet(plan: Plan, memory: Memory, experiments: Experiments) -> None:
    """Refuses a drill where there is a shortage, or an experiment, already.

    Raises:
        ConfigError: It must not begin now.
        FailoverError: FIS cannot be read.
    """
    if memory.mode is not Mode.COST:
        found = "capacity mode" if memory.mode is Mode.CAPACITY else "no mode yet"
        raise ConfigError(f"refused: found {plan.application} in {found}; a drill begins in cost mode: wait for it, see failoverctl status")
    if (left := experiments.left(plan.application)) != Left():
        raise ConfigError(f"refused: an earlier drill has left {left}; end it with failoverctl drill --check-left --yes")
    if others := experiments.going():
        raise ConfigError(f"refused: found another experiment that goes on: {Left(others)}; wait until it has ended")


def run(
    plan: Plan, url: str, observer: Observer, experiments: Experiments, clock: Clock, say: Callable[[str], None], poll_s: float
) -> Outcome:
    """Makes the shortage, watches until the application has returned or its limit is over, and ends everything.

    Args:
        plan: The drill.
        url: Where its requests go.
        observer: The cluster.
        experiments: FIS.
        clock: Time.
        say: Shows a line of progress.
        poll_s: Seconds between two readings.

    Returns:
        What was seen until its end, or until a signal or an error cut it short.

    Raises:
        FailoverError: It could not begin, or what it may have begun could not be ended: the message names what is left.
        KeyboardInterrupt: A signal ended it before the experiment began.
    """
    begun_at, ended_at, state = None, None, "ended by the drill"
    cut: KeyboardInterrupt | FailoverError | None = None
    load = Load(url, plan.rate, plan.limits.latency_s, clock)
    with _interruptible():
        try:
            with load:
                try:
                    experiment = experiments.begin(plan)
                    begun_at = clock.now()
                    say(f"experiment {experiment} begins")
                    state = (
                        _until(lambda _: _ended(experiments, experiment), observer, clock, say, plan.duration_s + _GRACE_S, poll_s) or state
                    )
                finally:
                    _end(plan, experiments)
                    ended_at = clock.now()
                say(f"experiment {experiment} has ended: {state}")
                _until(_returned, observer, clock, say, plan.limits.return_s, poll_s)
        except (KeyboardInterrupt, FailoverError) as error:
            if begun_at is None:
                raise
            cut = error
    return Outcome(begun_at, ended_at, state, observer.seen, load.counts(), clock.now(), cut)


def _end(plan: Plan, experiments: Experiments) -> None:
    """Ends everything of the drill. A further signal does not interrupt it: each call has its deadline.

    Raises:
        FailoverError: Something is left.
    """
    for one in _ENDING:
        signal.signal(one, signal.SIG_IGN)
    try:
        left = str(experiments.end(plan.application))
    except FailoverError as error:
        left = f"what it began ({error})"
    if left != str(Left()):
        by = f"FIS ends the experiment {text.duration(plan.duration_s)} after it began"
        raise FailoverError(f"the drill could not end {left}; {by}; delete the rest with failoverctl drill --check-left --yes")
    for one in _ENDING:
        signal.signal(one, signal.default_int_handler)


@contextmanager
def _interruptible() -> Iterator[None]:
    """A request to end, and the loss of the terminal, end the drill as Ctrl-C does."""
    before = {one: signal.signal(one, signal.default_int_handler) for one in _ENDING}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _until(done: Callable[[Seen], str], observer: Observer, clock: Clock, say: Callable[[str], None], seconds: float, poll_s: float) -> str:
    """Observes until `done` says why, or that many seconds are over. Says what was not seen before."""
    until, never = clock.monotonic() + seconds, threading.Event()
    while True:
        before, seen = observer.seen, observer.read()
        why = done(seen)
        if seen.refused_at is not None and before.refused_at is None:
            say(f"EC2 refuses: {seen.refusal}")
        for change in seen.changes[len(before.changes) :]:
            say(f"{change.to} mode: {change.reason}: {change.detail}")
        if why or clock.monotonic() >= until:
            return why
        clock.wait(never, poll_s)


def _ended(experiments: Experiments, experiment: str) -> str:
    status, reason = experiments.state(experiment)
    return f"{status} {reason}".rstrip() if status in {"completed", "stopped", "failed", "cancelled"} else ""


def _returned(seen: Seen) -> str:
    """That the application is back in cost mode, or never left it."""
    last = seen.changes[-1] if seen.changes else None
    return "returned" if last is None or (last.to is Mode.COST and last.verified_at is not None) else ""
