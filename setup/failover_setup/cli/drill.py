"""`failoverctl drill`: shows the drill, makes the shortage, and reports. Ends what it began. Or plays it in the demo's cluster."""

from __future__ import annotations

import importlib
import json
import threading
from dataclasses import dataclass, replace
from pathlib import Path

import click

from controller.cli.common import CHANGES, Options, seconds
from controller.cli.published import overdue, read_status
from controller.cli.selection import Selection, only, select
from controller.clients.aws import AwsClients
from controller.clients.kube import NODE_POOLS, KubeSession
from controller.clock import Clock, SystemClock
from controller.errors import ConfigError, FailoverError
from controller.policy import text
from controller.policy.model import Application
from controller.signals.watch import list_objects
from failover_setup.breaking_point.target import make_target
from failover_setup.drill.experiments import Experiments, Left
from failover_setup.drill.plan import Limits, Plan
from failover_setup.drill.reach import reach
from failover_setup.drill.report import report
from failover_setup.drill.run import require_quiet, run
from failover_setup.drill.timeline import Observer

_POLL_S = 5.0
_FIRST_MODE_S = 600.0
"""How long an emulated controller may take to its first decision, seconds."""
INTERRUPTED = 130
"""The exit code of a drill that a signal ended."""


@dataclass(frozen=True, slots=True)
class Given:
    """The options of the command line."""

    url: str | None
    karpenter_role: str | None
    fis_role: str | None
    zone: tuple[str, ...]
    percentage: int
    duration: str
    stop_alarm: tuple[str, ...]
    rate: float
    max_failover: str
    max_return: str
    max_failed: float
    max_latency: float
    html: Path | None
    yes: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where a drill takes place.

    Attributes:
        application: The application.
        session: The cluster's API server.
        state_namespace: Where the controller keeps its state.
        experiments: FIS.
        clock: Time.
    """

    application: Application
    session: KubeSession
    state_namespace: str
    experiments: Experiments
    clock: Clock


def drill(options: Options, wanted: str | None, given: Given, *, as_json: bool) -> int:
    """Runs a drill, or only shows it without `--yes`.

    Returns:
        The exit code: 0 passed, 2 a limit was not kept.

    Raises:
        FailoverError: It is refused, or cannot go on.
    """
    selection = select(options, wanted)
    application = only(selection.chosen)
    plan = _plan(application.key, given)
    state_namespace = selection.settings.kubernetes.state_namespace
    place = Place(application, selection.session, state_namespace, _experiments(selection), SystemClock())
    _show(plan, place)
    _require_controller(selection)
    return _perform(plan, place, given, as_json=as_json)


def simulate(wanted: str | None, given: Given, *, as_json: bool) -> int:
    """Plays a drill in the demo's cluster, whose clock runs faster than real time.

    Returns:
        The exit code, as of `drill`.

    Raises:
        FailoverError: It cannot go on, or an option names something of a real cluster.
        ModuleNotFoundError: The extra `demo` is not installed.
    """
    named = [option for option, value in _of_a_cluster(given).items() if value] + (["APPLICATION"] if wanted else [])
    if named:
        raise ConfigError(f"{', '.join(named)}: --simulate brings a cluster and an account of its own; leave out what names others")
    # Above this distribution, and not in it; the root of the command line says what to install.
    emulated_place = importlib.import_module("failover_testbed.demo.drill").drill_place
    click.echo("Simulated: an emulated cluster and an emulated AWS, in about a minute. It proves nothing of yours.", err=True)
    with emulated_place() as emulated:
        experiments = Experiments(emulated.aws, emulated.clock)
        place = Place(emulated.application, emulated.session, emulated.state_namespace, experiments, emulated.clock)
        role = "arn:aws:iam::123456789012:role/{}"
        late = given.max_latency * emulated.factor  # the page answers in real time
        own = {"karpenter_role": role.format("karpenter"), "fis_role": role.format("fis"), "zone": (emulated.zone,), "max_latency": late}
        given = replace(given, **own, url=emulated.url, yes=True)
        plan = _plan(place.application.key, given)
        _show(plan, place)
        until = place.clock.monotonic() + _FIRST_MODE_S
        while _observer(place).memory.mode is None and place.clock.monotonic() < until:
            place.clock.wait(threading.Event(), _POLL_S)
        return _perform(plan, place, given, as_json=as_json)


def _observer(place: Place) -> Observer:
    return Observer(place.session, place.state_namespace, place.application.key)


def _show(plan: Plan, place: Place) -> None:
    """What the drill would do.

    Raises:
        ConfigError: It would reach none of the application's NodePools.
        FailoverError: They cannot be read.
    """
    click.echo(f"The template of the experiment in AWS FIS:\n{json.dumps(plan.template(), indent=2)}", err=True)
    click.echo(f"Karpenter's role: {plan.karpenter_role}\nStop conditions: {', '.join(plan.stop_alarms) or 'none'}", err=True)
    click.echo(
        f"It lasts at most {text.duration(plan.duration_s)}; FIS takes at most {plan.dollars:.2f} USD, capacity mode costs more.",
        err=True,
    )
    click.echo(reach(place.application.units, list_objects(place.session, NODE_POOLS, None)[0], plan.zones), err=True)


def _perform(plan: Plan, place: Place, given: Given, *, as_json: bool) -> int:
    """Runs a drill and prints its report.

    Raises:
        FailoverError: It is refused, or cannot go on.
    """
    observer, url = _observer(place), make_target(given.url or "", "GET", (), None).url
    require_quiet(plan, observer.memory, place.experiments)
    if not given.yes:
        raise ConfigError("refused: every pod that needs a node of Karpenter in these zones waits for it; begin the drill with --yes")
    try:
        outcome = run(plan, url, observer, place.experiments, place.clock, lambda line: click.echo(line, err=True), _POLL_S)
    except KeyboardInterrupt:
        click.echo("The drill was interrupted. Its experiment has ended, and its template is deleted.", err=True)
        return INTERRUPTED
    made = report(plan, outcome)
    try:
        if given.html is not None:
            given.html.write_text(made.html(), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--html: {given.html}: cannot be written: {error.strerror}") from error
    finally:
        click.echo(json.dumps(made.document(), sort_keys=True) if as_json else made.text())
    if isinstance(outcome.cut, FailoverError):
        raise outcome.cut
    return INTERRUPTED if outcome.cut is not None else 0 if made.verdict == "passed" else CHANGES


def check_left(options: Options, wanted: str | None, *, yes: bool) -> int:
    """Shows what the drills of an application have left in AWS; with `yes` ends it.

    Returns:
        The exit code: 0 nothing is left, 2 something is.

    Raises:
        FailoverError: FIS cannot be read, or refuses.
    """
    selection = select(options, wanted)
    application = only(selection.chosen).key
    experiments = _experiments(selection)
    left = experiments.end(application) if yes else experiments.left(application)
    click.echo(f"Drills of {application} have left {left}." + ("" if yes or left == Left() else " End it with --yes."))
    return 0 if left == Left() else CHANGES


def _plan(application: str, given: Given) -> Plan:
    """The drill.

    Raises:
        ConfigError: An option is missing or wrong.
    """
    if missing := [option for option, value in _of_a_cluster(given).items() if not value]:
        raise ConfigError(f"{', '.join(missing)}: found nothing; a drill needs it, see docs/prove-it.md")
    limits = Limits(
        seconds(given.max_failover, "--max-failover"), seconds(given.max_return, "--max-return"), given.max_failed, given.max_latency
    )
    duration_s = seconds(given.duration, "--duration")
    roles = given.karpenter_role or "", given.fis_role or ""
    return Plan(application, *roles, given.zone, given.percentage, duration_s, given.stop_alarm, given.rate, limits)


def _of_a_cluster(given: Given) -> dict[str, object]:
    """What a drill needs to know of the cluster and its account, by option."""
    return {"--url": given.url, "--karpenter-role": given.karpenter_role, "--fis-role": given.fis_role, "--zone": given.zone}


def _experiments(selection: Selection) -> Experiments:
    return Experiments(AwsClients(selection.settings.aws.region), SystemClock())


def _require_controller(selection: Selection) -> None:
    """Refuses a drill that no controller would answer.

    Raises:
        ConfigError: None runs, as far as it publishes.
    """
    found = read_status(selection.session, selection.settings.kubernetes.state_namespace)
    if found.status is None or overdue(found.status, SystemClock().now()):
        raise ConfigError(f"refused: no controller runs here, as far as it publishes; see failoverctl status. {found.problem}".rstrip())
