"""The demo: runs the production controller on the emulated environment, prints what it does, and checks the expectations.

The same wiring as in `failoverctl run` makes the service, with the kubeconfig and AWS endpoint of the emulated servers. The demo only
observes it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from controller.clients.kube import connect
from controller.clock import SystemClock
from controller.policy import text
from controller.service.wiring import Service
from controller.settings import AwsApi, AwsSettings, HttpSettings, LeaderElectionSettings, RecordingSettings, Settings
from failover_testbed.demo.clock import PacedClock
from failover_testbed.demo.environment import Environment
from failover_testbed.demo.narrator import Emit, Narrator, progress_line
from failover_testbed.demo.scenario import Scenario
from failover_testbed.demo.verdict import Check, judge
from failover_testbed.running import running

_PROGRESS_S: Final = 3.0  # real seconds between two lines of progress
_POLL_S: Final = 0.2
_HELD_S: Final = 5.0  # real seconds that the clock must have waited for it to be worth a line


def demo_settings(record: Path | None = None) -> Settings:
    """The controller's settings in the demo: those of production, except for what the emulated AWS lacks (percentiles, quotas).

    Leader election is off: there is one controller, and with accelerated time a lease would last only about a second.
    """
    aws = AwsSettings(latency_stat="Average", apis=(AwsApi.ELBV2, AwsApi.CLOUDWATCH, AwsApi.EC2))
    http, alone = HttpSettings(host="127.0.0.1", port=0), LeaderElectionSettings(enabled=False)
    recording = RecordingSettings(folder=record)
    return Settings(aws=aws, http=http, leader_election=alone, recording=recording)


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
    clock = PacedClock(scenario.file.factor)
    narrator = Narrator(emit, clock)
    with environment_variables({}), Environment(scenario, clock) as environment, environment_variables(environment.environment()):
        settings = demo_settings(record)
        session = connect(kubeconfig=str(environment.kubeconfig("controller")))
        service = Service(settings, session, clock, tap=narrator.tap, extra_sinks=(narrator,))
        narrator.begin()
        with running(service) as thread:
            _follow(environment, narrator, thread, stop)
            facts = environment.facts()
            narrator.bill()
            if clock.held_s > _HELD_S:
                held = text.duration(clock.held_s)
                narrator.say("dim", f"this machine cannot play {scenario.file.factor:g} times as fast: the clock waited {held} for it")
    return judge(scenario, narrator.mode_changes, list(narrator.alerts.values()), facts, narrator.mode)


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
    with environment_variables({}), Environment(scenario, clock, tls=True) as environment:
        for name, value in environment.environment().items():
            emit("plain", f"export {name}={value}")
        for name in ("LATENCY_STAT=Average", """APIS='["elbv2", "cloudwatch", "ec2"]'"""):  # what moto lacks
            emit("plain", f"export FAILOVERCTL_AWS__{name}")
        emit("plain", f"# read-only kubeconfig: {environment.kubeconfig('read-only')}")
        emit("plain", f"# application files: {scenario.applications_path.resolve()}")
        emit("plain", f"# playing for {text.duration(scenario.file.duration_s)}; Ctrl-C ends it")
        while not stop.is_set() and not environment.finished.is_set():
            clock.wait(stop, _POLL_S)
