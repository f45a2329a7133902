"""`failoverctl doctor`: what the live cluster lacks for safe mode changes, why it matters and how to fix it. Reads only."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import click

from controller.catalog.gitops import GitOps, ignore_snippet
from controller.cli.common import Options, choose, common_options, fail_cleanly, load_applications, open_session, show
from controller.cli.remedy import manifest, remedy_document, remedy_lines
from controller.cli.words import ICONS, Line, terminal_width, wrapped
from controller.clients.aws import AwsClients
from controller.clock import SystemClock, format_rfc3339
from controller.doctor.checks import Report, examine
from controller.doctor.cluster.account import Account, read_account
from controller.doctor.cluster.checks import ClusterReport, examine_cluster
from controller.doctor.cluster.observe import observe_cluster
from controller.doctor.observe import Observation, observe
from controller.doctor.report import Level, Result
from controller.errors import ConfigError, FailoverError
from controller.policy.model import Application

if TYPE_CHECKING:
    from controller.settings import Settings

PROBLEMS: Final = 2  # as `plan`: 0 nothing to do, 1 error, 2 there is something to be done

_SHOWN: Final[Mapping[Level, tuple[str, str]]] = {
    Level.PROBLEM: ("bad", "problem"),
    Level.WARNING: ("warn", "warning"),
    Level.UNKNOWN: ("unknown", "cannot tell"),
    Level.OK: ("good", "ok"),
}
"""Style, which is the icon's name too, and word of each level, the worst first."""
_PLURAL: Final = {Level.PROBLEM: "(s)", Level.WARNING: "(s)"}
_WORD: Final = 11  # width of the longest word


@click.command("doctor")
@click.argument("wanted", metavar="[APPLICATION]...", nargs=-1)
@click.option("--cluster", "only_cluster", is_flag=True, help="Only the cluster's components; needs no application file.")
@click.option(
    "--gitops", type=click.Choice([str(tool) for tool in GitOps]), help="Print what the tool must ignore, as YAML; needs no cluster."
)
@click.option(
    "--output",
    "-o",
    type=click.Choice(["text", "json", "yaml"]),
    default="text",
    show_default=True,
    help="json: one document for the cluster and for each application, one a line. "
    "yaml: only the Ingresses that lack standby rules, with them.",
)
@common_options
def doctor_command(options: Options, wanted: tuple[str, ...], gitops: str | None, output: str, *, only_cluster: bool) -> None:
    """Report what the live cluster lacks for safe mode changes, why it matters, and how to fix it.

    Checks once: the components that every application relies on (Karpenter, KEDA, the AWS Load Balancer Controller, device plugins,
    Container Insights), then each application's Ingress, rules, Services, target group bindings, events and ScaledObjects. With an
    APPLICATION it checks only that one. Writes nothing; a read-only identity suffices. docs/doctor.md describes the checks.

    Exit code: 0 no problem (there may be warnings), 2 at least one problem, 1 error.
    """
    _check_usage(wanted, gitops, output, only_cluster=only_cluster)
    try:
        settings = options.settings()
        applications = _applications(settings, needed=not only_cluster)
        chosen = {one.key: one for name in wanted or (None,) for one in choose(applications, name)}
        if gitops is not None:
            _print_gitops(GitOps(gitops), settings, chosen.values())
            return
        reports: list[ClusterReport | Report] = []
        if not wanted and output != "yaml":
            reports.append(_examined_cluster(settings, applications))
        if not only_cluster:
            reports += [examine(observed) for observed in _observe(settings, chosen.values()).values()]
    except FailoverError as error:
        raise fail_cleanly(error) from error
    for report in reports:
        _print(report, output)
    sys.exit(PROBLEMS if any(counts(report)[Level.PROBLEM] for report in reports) else 0)


def _check_usage(wanted: tuple[str, ...], gitops: str | None, output: str, *, only_cluster: bool) -> None:
    if gitops is not None and output != "text":
        raise click.UsageError("--gitops prints YAML; --output cannot be combined with it")
    if only_cluster and (wanted or gitops is not None or output == "yaml"):
        raise click.UsageError("--cluster is about no application: it goes with neither an APPLICATION, --gitops nor --output yaml")


def _applications(settings: Settings, *, needed: bool) -> Mapping[str, Application]:
    """The application files. The check of the cluster alone does without any, but an invalid file is an error there too."""
    if not needed and not settings.applications.exists():
        return {}
    try:
        return load_applications(settings)
    except ConfigError:
        if needed or any(settings.applications.glob("*.y*ml")) or settings.applications.is_file():
            raise
        return {}


def _examined_cluster(settings: Settings, applications: Mapping[str, Application]) -> ClusterReport:
    session, clock, aws = open_session(settings), SystemClock(), settings.aws
    units = [unit for one in applications.values() for unit in one.units]
    asked = aws.ec2_enabled and aws.reservations_enabled
    account = read_account(AwsClients(aws.region), clock, units) if asked else Account(problem="disabled by configuration")
    budget = settings.polls.elbv2_calls_per_s if aws.elbv2_enabled else None
    wide = settings.kubernetes.cluster_wide
    return examine_cluster(observe_cluster(session, applications.values(), clock.now(), account, budget, cluster_wide=wide))


def _observe(settings: Settings, applications: Iterable[Application]) -> dict[str, Observation]:
    return observe(open_session(settings), applications, SystemClock().now())


def _print_gitops(tool: GitOps, settings: Settings, applications: Iterable[Application]) -> None:
    """Reads from the cluster only where in its ScaledObject a trigger is; without a cluster the snippet states what it assumes."""
    found: dict[str, Observation] = {}
    with suppress(FailoverError):
        found = _observe(settings, applications)
    snippets = [ignore_snippet(tool, one, _places(one, found.get(one.key))) for one in applications]
    click.echo("---\n".join(snippets), nl=False)


def _places(application: Application, observed: Observation | None) -> dict[str, int]:
    """The index of the trigger on each unit's counter, by unit, where it is known."""
    if observed is None:
        return {}
    scalers = ((unit.name, observed.workloads.scaler(application.namespace, unit)) for unit in application.units)
    return {name: scaler.trigger_index for name, scaler in scalers if scaler is not None and scaler.trigger_index is not None}


def _print(report: ClusterReport | Report, output: str) -> None:
    match output:
        case "json":
            document = cluster_document(report) if isinstance(report, ClusterReport) else report_document(report)
            click.echo(json.dumps(document, sort_keys=True))
        case "yaml" if isinstance(report, Report):
            click.echo(manifest(report.observed.application, report.remedy), nl=False)
        case _:
            width = terminal_width()
            show(cluster_lines(report, width) if isinstance(report, ClusterReport) else report_lines(report, width))


def counts(report: ClusterReport | Report) -> Counter[Level]:
    """The number of findings of each level."""
    return Counter(result.finding.level for result in report.results)


def report_lines(report: Report, width: int) -> Iterator[Line]:
    """The report on an application for people, the worst first.

    Args:
        report: What was found.
        width: Columns after which lines are wrapped; a command that can be copied never is.
    """
    observed = report.observed
    yield "title", f"Doctor for ingress {observed.application.key}"
    yield "dim", f"observed {format_rfc3339(observed.now)} · routing style {observed.application.routing_style}"
    yield from _findings_lines(report, width)
    yield from remedy_lines(observed.application, report.remedy)
    yield from _summary_lines(report)


def cluster_lines(report: ClusterReport, width: int) -> Iterator[Line]:
    """The report on the cluster for people, the worst first; see `report_lines`."""
    observed = report.observed
    relying = f"{len(observed.applications)} application(s) rely on it" if observed.applications else "no application file is known"
    yield "title", f"Doctor for the cluster {observed.host}"
    yield "dim", f"observed {format_rfc3339(observed.now)} · {relying}"
    yield from _findings_lines(report, width)
    yield from _summary_lines(report)


def _findings_lines(report: ClusterReport | Report, width: int) -> Iterator[Line]:
    yield "plain", ""
    for level in _SHOWN:
        for result in report.results:
            if result.finding.level is level:
                yield from _result_lines(result, width)
    yield "plain", ""


def _summary_lines(report: ClusterReport | Report) -> Iterator[Line]:
    number = counts(report)
    summary = ", ".join(f"{number[level]} {word}{_PLURAL.get(level, '')}" for level, (_, word) in _SHOWN.items() if number[level])
    yield "title", f"{summary}.     Nothing has been changed."
    yield "plain", ""


def _result_lines(result: Result, width: int) -> Iterator[Line]:
    finding = result.finding
    style, word = _SHOWN[finding.level]
    start = f"{ICONS[style]} {word:<{_WORD}} "
    yield from wrapped(style, start, f"{result.check.name}: {finding.seen}", width)
    if finding.level is not Level.OK:
        yield from wrapped("dim", f"{'':{len(start)}}why  ", result.check.why, width)
    if finding.fix:
        yield from wrapped("plain", f"{'':{len(start)}}fix  ", finding.fix, width)


def report_document(report: Report) -> dict[str, Any]:
    """The report on an application for machines."""
    observed = report.observed
    return {
        "application": observed.application.key,
        "observedAt": format_rfc3339(observed.now),
        "routingStyle": observed.application.routing_style,
        **_findings_document(report),
        **remedy_document(report.remedy),
    }


def cluster_document(report: ClusterReport) -> dict[str, Any]:
    """The report on the cluster for machines."""
    return {"cluster": report.observed.host, "observedAt": format_rfc3339(report.observed.now), **_findings_document(report)}


def _findings_document(report: ClusterReport | Report) -> dict[str, Any]:
    number = counts(report)
    return {
        "counts": {str(level): number[level] for level in Level},
        "checks": [
            {
                "check": result.check.name,
                "level": result.finding.level,
                "seen": result.finding.seen,
                "why": result.check.why,
                "fix": result.finding.fix,
            }
            for result in report.results
        ],
    }
