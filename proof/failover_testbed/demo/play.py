"""The demo: runs the production controller on the emulated environment, prints what it does, and checks the expectations.

The same wiring as in `failoverctl run` makes the service, with the kubeconfig and AWS endpoint of the emulated servers. The demo only
observes it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from controller.clients.kube import connect
from controller.clock import AcceleratedClock, Clock, SystemClock
from controller.errors import FailoverError
from controller.policy import text
from controller.policy.model import Action, ActionKind, Alert, Mode, Plan, Return, Verb
from controller.policy.plan import describe
from controller.policy.reasons import Reason
from controller.ports import Message
from controller.service.controller import Controller, View
from controller.service.wiring import Service
from controller.settings import AwsSettings, HttpSettings, LeaderElectionSettings, RecordingSettings, Settings
from failover_testbed.demo.environment import Environment
from failover_testbed.demo.player import Progress
from failover_testbed.demo.scenario import Scenario
from failover_testbed.demo.verdict import Check, ModeChange, judge

Emit = Callable[[str, str], None]
"""Prints a line in a style."""

_PROGRESS_S: Final = 3.0  # real seconds between two lines of progress
_POLL_S: Final = 0.2
_JOIN_S: Final = 30.0


def demo_settings(applications: Path, record: Path | None = None) -> Settings:
    """The controller's settings in the demo: those of production, except for what the emulated AWS lacks (percentiles, quotas).

    Leader election is off: there is one controller, and with accelerated time a lease would last only about a second.
    """
    aws = AwsSettings(latency_stat="Average", reservations_enabled=False, quotas_enabled=False)
    http, alone = HttpSettings(host="127.0.0.1", port=0), LeaderElectionSettings(enabled=False)
    recording = RecordingSettings(folder=record)
    return Settings(applications=applications, aws=aws, http=http, leader_election=alone, recording=recording)


@contextmanager
def environment_variables(variables: dict[str, str]) -> Iterator[None]:
    """Sets environment variables inside the context, and removes ``AWS_PROFILE``, which would take precedence over the emulated AWS."""
    before = {name: os.environ.get(name) for name in (*variables, "AWS_PROFILE")}
    os.environ.pop("AWS_PROFILE", None)
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class Narrator:
    """Prints what the controller does. The controller's loop calls `tap`, a sink's thread calls `send`.

    Args:
        emit: Prints a line.
        clock: The scenario's time.
    """

    name = "demo"

    def __init__(self, emit: Emit, clock: Clock) -> None:
        self._emit, self._clock = emit, clock
        self._begin = clock.now()
        self._lock = threading.Lock()
        self._shown: dict[str, tuple[object, ...]] = {}
        self._known: dict[str, int] = {}  # mode changes already printed, by application
        self._plans: dict[str, Plan] = {}
        self._verified_at: dict[str, float] = {}
        self.mode_changes: list[ModeChange] = []
        self.alerts: dict[str, Alert] = {}
        self.mode: Mode | None = None

    def begin(self) -> None:
        """Marks the beginning of the scenario."""
        self._begin = self._clock.now()

    def say(self, style: str, words: str) -> None:
        """Prints a line with the time since the scenario began."""
        minutes, seconds = divmod(int(max(0.0, self._clock.now() - self._begin)), 60)
        with self._lock:
            self._emit(style, f"{minutes:02d}:{seconds:02d}  {words}")

    def send(self, message: Message) -> None:
        """Prints a message as people would receive it."""
        parts = [message.title, message.why, message.cost, f"next: {message.next}" if message.next else ""]
        self.say("title", "✉  " + " · ".join(part for part in parts if part))

    def tap(self, controller: Controller) -> None:
        """Prints the results of the last pass."""
        for view in controller.views():
            self.mode = view.decision.mode
            for alert in view.decision.alerts:
                self.alerts.setdefault(alert.key, alert)
            self._decided(view)
            self._mode_changed(view)
            self._acted(view)
            self._verified(view)

    def _decided(self, view: View) -> None:
        decision = view.decision
        calm = decision.reason in {Reason.DEMAND_MET, Reason.WAITING_IS_NORMAL}  # these two alternate while demand rises
        key = (decision.verb, calm or decision.reason, decision.mode, decision.held_back)
        if self._shown.get(view.application.key) == key:
            return
        self._shown[view.application.key] = key
        style = "dim" if decision.verb is Verb.HOLD and decision.held_back is None else "warn"
        held = f", holds back {decision.held_back}" if decision.held_back and decision.verb is Verb.HOLD else ""
        self.say(style, f"▸ {decision.verb} ({decision.mode or 'unknown'}{held})  {decision.reason}: {decision.sentence}")
        for judged in decision.evidence.values():
            if judged.short or judged.returned is not Return.NONE:
                for fact in judged.facts[:3]:
                    self.say("dim", f"    {judged.unit}: {fact}")

    def _mode_changed(self, view: View) -> None:
        made, known = view.memory.mode_changes, self._known.setdefault(view.application.key, 0)
        if len(made) <= known:
            return
        self._known[view.application.key] = len(made)
        decision, last = view.decision, made[-1]
        short = [judged for judged in decision.evidence.values() if judged.short]
        failover = last.to is Mode.CAPACITY
        units = tuple(judged.unit for judged in short) if failover else tuple(n for n, j in decision.evidence.items() if j.last_failure_at)
        cause = short[0].cause if failover and short else None
        self.mode_changes.append(ModeChange(last.at - self._begin, last.to, last.reason, last.detail, cause, units))

    def _acted(self, view: View) -> None:
        """Prints what the last plan sent. Each plan is printed once, although every call sees it until the next pass."""
        if view.plan is self._plans.get(view.application.key):
            return
        self._plans[view.application.key] = view.plan
        for action in view.plan.due:
            self.say("change", f"    ~ {describe(action)}{_route(action)}")

    def _verified(self, view: View) -> None:
        at = view.memory.verified_at
        if at is not None and at != self._verified_at.get(view.application.key):
            self._verified_at[view.application.key] = at
            waited = text.duration(at - (view.memory.changed_at or at))
            self.say("good", f"✔ the load balancer shows the routing action, {waited} after it was written; targets are healthy")


def _route(action: Action) -> str:
    return f": {action.after}" if action.kind is ActionKind.ROUTE else ""


def progress_line(progress: Progress, mode: Mode | None) -> str:
    """One line of progress: mode, demand, live weights, ready replicas, failed requests."""
    weights = next(iter(progress.weights.values()), {})
    shown = " ".join(f"{_short(name)}:{weight}" for name, weight in weights.items()) or "fixed response"
    units = " ".join(f"{_short(unit.unit)} {unit.ready}/{unit.desired}" for unit in progress.units)
    return (
        f"{str(mode or 'unknown').upper():<8} demand {progress.demand:5.0f} | live {shown} | ready {units} | failed {progress.failed:.0f}"
    )


def _short(name: str) -> str:
    """A unit's or Service's name without the model's prefix."""
    return name.partition("-")[2] or name


def play(scenario: Scenario, emit: Emit, stop: threading.Event, record: Path | None = None) -> list[Check]:
    """Plays a scenario with the production controller.

    Args:
        scenario: The scenario to play.
        emit: Prints a line.
        stop: Ends it early.
        record: Folder to record decisions in; None records nothing.

    Returns:
        One check for each expectation, and the general ones.

    Raises:
        FailoverError: The environment or the controller could not be started, or the controller failed.
    """
    clock = AcceleratedClock(scenario.file.factor)
    narrator = Narrator(emit, clock)
    with environment_variables({}), Environment(scenario, clock) as environment, environment_variables(environment.environment()):
        settings = demo_settings(scenario.applications_path, record)
        session = connect(kubeconfig=str(environment.kubeconfig("controller")))
        service = Service(settings, session, clock, tap=narrator.tap, extra_sinks=(narrator,))
        narrator.begin()
        failures: list[BaseException] = []
        thread = threading.Thread(target=_run, args=(service, failures), name="controller")
        thread.start()
        try:
            _follow(environment, narrator, thread, stop)
            facts = environment.facts()
        finally:
            service.stop()
            thread.join(timeout=_JOIN_S)
        if failures:
            raise failures[0] if isinstance(failures[0], FailoverError) else FailoverError(f"the controller failed: {failures[0]!r}")
    return judge(scenario, narrator.mode_changes, list(narrator.alerts.values()), facts, narrator.mode)


def _run(service: Service, failures: list[BaseException]) -> None:
    try:
        service.run()
    except BaseException as error:  # noqa: BLE001 - `play` reports it
        failures.append(error)


def _follow(environment: Environment, narrator: Narrator, thread: threading.Thread, stop: threading.Event) -> None:
    """Prints the scenario's events and progress until it is over."""
    real, never = SystemClock(), threading.Event()
    printed, due = 0, 0.0
    while thread.is_alive() and not stop.is_set() and not environment.finished.is_set():
        for happening in environment.facts().happenings[printed:]:
            printed += 1
            narrator.say("bad", f"⚡ {happening.text}")
        if real.monotonic() >= due:
            due = real.monotonic() + _PROGRESS_S
            narrator.say("plain", progress_line(environment.progress(), narrator.mode))
        real.wait(never, _POLL_S)


def serve(scenario: Scenario, emit: Emit, stop: threading.Event) -> None:
    """Runs only the emulated servers, in real time, for a controller in another process.

    Args:
        scenario: The scenario to play.
        emit: Prints a line; the first lines set the environment variables in a shell.
        stop: Ends it early.
    """
    clock = SystemClock()
    with environment_variables({}), Environment(scenario, clock) as environment:
        for name, value in environment.environment().items():
            emit("plain", f"export {name}={value}")
        for name in ("LATENCY_STAT=Average", "RESERVATIONS_ENABLED=false", "QUOTAS_ENABLED=false"):  # what moto lacks
            emit("plain", f"export FAILOVERCTL_AWS__{name}")
        emit("plain", f"export FAILOVERCTL_APPLICATIONS={scenario.applications_path.resolve()}")
        emit("plain", f"# read-only kubeconfig: {environment.kubeconfig('read-only')}")
        emit("plain", f"# playing for {text.duration(scenario.file.duration_s)}; Ctrl-C ends it")
        while not stop.is_set() and not environment.finished.is_set():
            clock.wait(stop, _POLL_S)
