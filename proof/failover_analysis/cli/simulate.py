"""`failoverctl simulate`: shows in virtual time what the controller would do in a world of your choice."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from controller import __version__
from controller.cli.common import Time, fail_cleanly, show
from controller.cli.version import commit
from controller.clock import SystemClock, format_rfc3339
from controller.errors import ConfigError, FailoverError
from controller.policy.text import duration
from failover_analysis.cli.moment import moment_document, moment_lines
from failover_analysis.cli.playing import Job, Run, results
from failover_analysis.cli.progress import STOPPED, Progress
from failover_analysis.report.contenders import NAMES, Contender, contenders, with_baselines
from failover_analysis.report.files import check_names, write
from failover_analysis.report.played import Played
from failover_analysis.report.simulated import Framing, by_name, simulation_report, verdict
from failover_analysis.simulation.report import document, json_text, text, timeline
from failover_analysis.simulation.run import Simulation
from failover_analysis.simulation.scenario import DEFAULT, Scenario, builtin_names, find, load, written_out

_MOST_RUNS = 100_000


@click.command("simulate")
@click.argument("scenario", default=DEFAULT)
@click.option("--seed", type=click.IntRange(0, 2**31), help="The seed, or the first of several. Default: the file's seed.")
@click.option("--seeds", type=click.IntRange(1, _MOST_RUNS), default=1, show_default=True, help="Number of seeds.")
@click.option("--days", type=click.FloatRange(0.01, 366), help="Length of the run, days. Default: the file's.")
@click.option("--faults", type=click.Choice(["none", "random"]), help="Whether to inject random faults. Default: as the file says.")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    help=f"Another policy: {', '.join(NAMES)}, or a .yaml file with the content of spec.policy. Repeat it to compare policies.",
)
@click.option("--set", "changes", multiple=True, help="FIELD=VALUE: sets a field of every policy, such as patienceSeconds=60.")
@click.option("--sweep", "sweeps", multiple=True, help="FIELD=VALUE,VALUE: runs the first policy with each value of a field, such as"
              " holdMinSeconds=300,3600. For the sensitivity table of a report.")  # fmt: skip
@click.option("--interval", type=click.FloatRange(1, 300), help="Longest time between two passes, seconds. Default: the file's.")
@click.option("--jobs", type=click.IntRange(1, 256), help="Number of processes, at most one per core. Default: one per core.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, without the timeline.")
@click.option("--report", "reports", multiple=True, type=click.Path(path_type=Path), help="Write a report: FILE.html, FILE.md, FILE.json.")
@click.option("--at", type=Time(), help="Stop at this time and show the last decision in full, as plan does.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the timelines (CSV) and all results (JSON).")
@click.option("--save", type=click.Path(path_type=Path), help="Write the first seed's world to a file instead of simulating it.")
@click.option("--list", "names_only", is_flag=True, help="List the simulations in the package.")
def simulate_command(
    scenario: str,
    *,
    seed: int | None,
    seeds: int,
    days: float | None,
    faults: str | None,
    policies: tuple[str, ...],
    changes: tuple[str, ...],
    sweeps: tuple[str, ...],
    interval: float | None,
    jobs: int | None,
    as_json: bool,
    reports: tuple[Path, ...],
    at: float | None,
    out: Path | None,
    save: Path | None,
    names_only: bool,
) -> None:
    """Simulate SCENARIO (a name or a file) in virtual time, with the production decision core.

    The same seed gives the same run, byte for byte, with the same digest. The exit code is 1 if an invariant did not hold; the output has
    the command that plays that run again. Ctrl-C keeps the runs that are finished, and ends with exit code 130.
    """
    try:
        if names_only:
            for name in builtin_names():
                click.echo(f"{name:<15} {load(find(name)).file.description}")
            return
        job = Job(
            scenario,
            days,
            None if faults is None else faults == "random",
            interval,
            measured=bool(reports) or len(policies) > 1,
            rows=out is not None,
        )
        world = job.scenario()
        compared = contenders(policies, changes, sweeps, world.application.policy)
        first = world.file.seed if seed is None else seed
        if save is not None:
            _write(save.parent, save.name, written_out(world, job.setup(world, _only(compared, "--save"), first), first, save.parent))
            return
        if at is not None:
            _show_moment(job, world, _only(compared, "--at"), first, at, as_json=as_json)
            return
        check_names(reports)
        if reports:
            compared = with_baselines(compared, world.application.policy)
        runs = [Run(one, number, number == first) for number in range(first, first + seeds) for one in compared]
        begin = SystemClock().monotonic()
        with Progress("simulate", SystemClock()) as progress:
            played = list(_reported(job, runs, jobs, progress, quiet=as_json))
        wall_s = SystemClock().monotonic() - begin
        partial = _missing(played, len(compared), seeds) if progress.stopped else ""
        played = _comparable(played, len(compared))
        if partial:
            click.echo(f"Partial: {partial}.", err=True)
        if job.measured and played and not as_json:
            unswept = {name: runs for name, runs in by_name(played).items() if runs[0].contender.swept is None}
            show([("title", verdict(unswept, played))])
        _write_results(played, scenario, out, as_json=as_json, several=len(compared) > 1)
        if reports and played:
            asked = (*_each("--policy", policies), *_each("--set", changes), *_each("--sweep", sweeps))
            command = _again(job, asked, first, seeds, reports)
            write(simulation_report(played, _framing(job, world, compared[0], command, wall_s, partial)), reports)
    except FailoverError as error:
        raise fail_cleanly(error) from error
    sys.exit(STOPPED if partial else 1 if any(one.result.violations for one in played) else 0)


def _only(compared: Sequence[Contender], option: str) -> Contender:
    """The only policy, for an option that is about one run.

    Raises:
        ConfigError: There are several policies.
    """
    if len(compared) != 1:
        raise ConfigError(f"{option}: found {len(compared)} policies; allowed: one")
    return compared[0]


# --- playing ----------------------------------------------------------------------------------------------------------------------------


def _reported(job: Job, runs: Sequence[Run], jobs: int | None, progress: Progress, *, quiet: bool) -> Iterator[Played]:
    """Every run in order, each reported as it ends."""
    if len(runs) > _MOST_RUNS:
        raise ConfigError(f"found {len(runs)} runs; allowed: {_MOST_RUNS}")
    several = len({run.contender.name for run in runs}) > 1
    for one in results(job, runs, jobs, progress):
        if not quiet:
            with progress.above():
                _report_run(one, several=several, whole=len(runs) == 1 or bool(one.result.violations))
        yield one


def _missing(played: Sequence[Played], policies: int, seeds: int) -> str:
    """What a stopped command does not have."""
    if policies == seeds == len(played) == 1:
        return f"stopped by Ctrl-C after {duration(played[0].result.seconds)}"
    return f"stopped by Ctrl-C after {len(played) // policies} of {seeds} seeds"


def _comparable(played: Sequence[Played], policies: int) -> list[Played]:
    """The runs of the seeds that every policy has played, in the order of the policies."""
    complete = played[: len(played) // policies * policies]
    return [one for place in range(policies) for one in complete[place::policies]]


def _report_run(one: Played, *, several: bool, whole: bool) -> None:
    head, _, rest = text(one.result, one.command).partition("\n")
    if not one.contender.ours:
        head = f"{one.result.name}, seed {one.result.seed}: no controller, so no invariant to hold"
    kind = "bad" if one.result.violations else "good" if one.contender.ours else "dim"
    show([(kind, f"{one.contender.name}: {head}" if several else head)])
    if whole:
        show([("plain", rest)])


# --- what is written --------------------------------------------------------------------------------------------------------------------


def _write_results(played: Sequence[Played], scenario: str, out: Path | None, *, as_json: bool, several: bool) -> None:
    documents = [{**document(one.result, rows=False), "policy": one.contender.name} for one in played]
    if as_json:
        click.echo(json_text(documents))
    if out is None:
        return
    _write(out, f"{scenario_name(scenario)}.json", json_text(documents))
    for one in played:
        name = [one.result.name, *([one.contender.file_name] if several else []), str(one.result.seed)]
        _write(out, f"{'-'.join(name)}.csv", timeline(one.result.rows))


def _each(option: str, values: Sequence[object]) -> Iterator[str]:
    for value in values:
        yield from (option, str(value))


def _again(job: Job, asked: Sequence[str], first: int, seeds: int, reports: Sequence[Path]) -> str:
    """The command that makes a report again."""
    number = ["--seed", str(first), *(["--seeds", str(seeds)] if seeds > 1 else [])]
    return shlex.join([*job.words(), *asked, *number, *_each("--report", reports)])


def _framing(job: Job, world: Scenario, contender: Contender, command: str, wall_s: float, partial: str) -> Framing:
    file = world.file
    start = job.setup(world, contender, file.seed).start
    return Framing(file.name, file.description, start, __version__, commit(), command, wall_s, world.application, partial)


def scenario_name(wanted: str) -> str:
    """The name of a scenario; for a path, that of its file."""
    return Path(wanted).stem


def _write(folder: Path, name: str, content: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written: {error.strerror}") from error


# --- one moment -------------------------------------------------------------------------------------------------------------------------


def _show_moment(job: Job, world: Scenario, contender: Contender, seed: int, at: float, *, as_json: bool) -> None:
    """Simulates up to a time and shows the last decision by then and the state of the world.

    Raises:
        ConfigError: The time is not within the run.
    """
    setup = job.setup(world, contender, seed)
    if not setup.start <= at <= setup.start + setup.seconds:
        allowed = f"{format_rfc3339(setup.start)} to {format_rfc3339(setup.start + setup.seconds)}"
        raise ConfigError(f"--at: found {format_rfc3339(at)}; allowed: within the run, {allowed}")
    simulation = Simulation(setup, seed)
    with Progress("simulate", SystemClock()) as progress:
        whole = (at - setup.start) / setup.seconds

        def watched(share: float) -> bool:
            progress.update(share / whole if whole else 1.0)
            return not progress.stopped

        simulation.run(watched, until=at)
    if progress.stopped:
        sys.exit(STOPPED)
    if as_json:
        click.echo(json.dumps(moment_document(simulation), sort_keys=True))
    else:
        show(moment_lines(simulation))
