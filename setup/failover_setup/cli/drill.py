"""`failoverctl drill`: shows the drill, makes the shortage, and reports. Ends what it began."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import click

from controller.cli.common import CHANGES, Options, seconds
from controller.cli.published import overdue, read_status
from controller.cli.selection import Selection, only, select
from controller.clients.aws import AwsClients
from controller.clients.kube import NODE_POOLS
from controller.clock import SystemClock
from controller.errors import ConfigError, FailoverError
from controller.policy import text
from controller.signals.watch import list_objects
from failover_setup.breaking_point.target import make_target
from failover_setup.drill.experiments import Experiments, Left
from failover_setup.drill.plan import Limits, Plan
from failover_setup.drill.reach import reach
from failover_setup.drill.report import report
from failover_setup.drill.run import require_quiet, run
from failover_setup.drill.timeline import Observer

_POLL_S = 5.0
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
    url = make_target(given.url or "", "GET", (), None).url
    click.echo(f"The template of the experiment in AWS FIS:\n{json.dumps(plan.template(), indent=2)}", err=True)
    click.echo(f"Karpenter's role: {plan.karpenter_role}\nStop conditions: {', '.join(plan.stop_alarms) or 'none'}", err=True)
    click.echo(
        f"It lasts at most {text.duration(plan.duration_s)}; FIS takes at most {plan.dollars:.2f} USD, capacity mode costs more.",
        err=True,
    )
    click.echo(reach(application.units, list_objects(selection.session, NODE_POOLS, None)[0], plan.zones), err=True)
    observer = Observer(selection.session, selection.settings.kubernetes.state_namespace, application.key)
    experiments = _experiments(selection)
    _require_controller(selection)
    require_quiet(plan, observer.memory, experiments)
    if not given.yes:
        raise ConfigError("refused: every pod that needs a node of Karpenter in these zones waits for it; begin the drill with --yes")
    try:
        outcome = run(plan, url, observer, experiments, SystemClock(), lambda line: click.echo(line, err=True), _POLL_S)
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
    needed = {"--url": given.url, "--karpenter-role": given.karpenter_role, "--fis-role": given.fis_role, "--zone": given.zone}
    if missing := [option for option, value in needed.items() if not value]:
        raise ConfigError(f"{', '.join(missing)}: found nothing; a drill needs it, see docs/prove-it.md")
    limits = Limits(
        seconds(given.max_failover, "--max-failover"), seconds(given.max_return, "--max-return"), given.max_failed, given.max_latency
    )
    duration_s = seconds(given.duration, "--duration")
    roles = given.karpenter_role or "", given.fis_role or ""
    return Plan(application, *roles, given.zone, given.percentage, duration_s, given.stop_alarm, given.rate, limits)


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
