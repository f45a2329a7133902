"""`failoverctl doctor`: what the live cluster lacks for safe mode changes, why it matters and how to fix it. Reads only."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

import click

from controller.catalog.loader import application_files
from controller.cli.common import Options, show
from controller.cli.remedy import manifest, remedy_document, remedy_lines
from controller.cli.selection import load_applications, open_session
from controller.cli.words import ICONS, Line, terminal_width, wrapped
from controller.clients.aws import AwsClients
from controller.clock import SystemClock, format_rfc3339
from controller.errors import FailoverError
from controller.policy.model import Application
from controller.routing.kinds import routing_port
from controller.settings import AwsApi, Settings
from failover_setup.doctor.checks import Report, examine
from failover_setup.doctor.cluster.account import Account, read_account
from failover_setup.doctor.cluster.checks import ClusterReport, examine_cluster
from failover_setup.doctor.cluster.observe import observe_cluster
from failover_setup.doctor.gitops import ignore_snippet
from failover_setup.doctor.gitops_tools import GitOps
from failover_setup.doctor.observe import Observation, observe
from failover_setup.doctor.report import Level, Result

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


def examined(options: Options, wanted: tuple[str, ...], gitops: str | None, output: str, *, only_cluster: bool) -> int:
    """Examines the cluster and the applications, and prints the reports; the arguments are those of the command line.

    Returns:
        The exit code.

    Raises:
        FailoverError: Nothing could be examined.
    """
    settings = options.settings()
    applications, selected = _applications(options, settings, wanted, needed=not only_cluster)
    chosen = {one.key: one for one in selected}
    if gitops is not None:
        _print_gitops(GitOps(gitops), settings, chosen.values())
        return 0
    reports: list[ClusterReport | Report] = []
    if not wanted and output != "yaml":
        reports.append(_examined_cluster(settings, applications))
    if not only_cluster:
        reports += [examine(observed) for observed in _observe(settings, chosen.values()).values()]
    for report in reports:
        _print(report, output)
    return PROBLEMS if any(counts(report)[Level.PROBLEM] for report in reports) else 0


def _applications(
    options: Options, settings: Settings, wanted: tuple[str, ...], *, needed: bool
) -> tuple[Mapping[str, Application], list[Application]]:
    """All applications, and those that are wanted. The check of the cluster alone does without any, but an invalid file is an error."""
    path = settings.applications
    if needed or (path is not None and path.exists() and application_files(path)):
        return load_applications(options, settings, wanted)
    if path is None:
        with suppress(FailoverError):
            return load_applications(options, settings, wanted)
    return {}, []


def _examined_cluster(settings: Settings, applications: Mapping[str, Application]) -> ClusterReport:
    session, clock, aws = open_session(settings), SystemClock(), settings.aws
    units = [unit for one in applications.values() for unit in one.units]
    asked = {AwsApi.EC2, AwsApi.RESERVATIONS} <= set(aws.apis)
    account = read_account(AwsClients(aws.region), clock, units) if asked else Account(problem="disabled by configuration")
    budget = settings.polls.elbv2_calls_per_s if AwsApi.ELBV2 in aws.apis else None
    wide = settings.kubernetes.cluster_wide
    return examine_cluster(observe_cluster(session, applications.values(), clock.now(), account, budget, cluster_wide=wide))


def _observe(settings: Settings, applications: Iterable[Application]) -> dict[str, Observation]:
    return observe(open_session(settings), applications, SystemClock().now())


def _print_gitops(tool: GitOps, settings: Settings, applications: Iterable[Application]) -> None:
    """Reads from the cluster only where in its ScaledObject a trigger is; without a cluster the snippet states what it assumes."""
    found: dict[str, Observation] = {}
    with suppress(FailoverError):
        found = _observe(settings, applications)
    snippets = [
        ignore_snippet(tool, one, _places(one, seen := found.get(one.key)), None if seen is None else seen.routing) for one in applications
    ]
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
    kind = routing_port(observed.application).resource.kind.lower()
    yield "title", f"Doctor for {kind} {observed.application.key}"
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
