"""`failoverctl simulate`: shows in virtual time what the controller would do in a world of your choice."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from controller import __version__
from controller.cli.common import show
from controller.cli.version import commit
from controller.clock import SystemClock, format_rfc3339
from controller.errors import ConfigError
from controller.policy.text import duration
from failover_analysis.cli.limits import MOST_RUNS
from failover_analysis.cli.moment import moment_document, moment_lines
from failover_analysis.cli.playing import Job, Run, results
from failover_analysis.cli.progress import STOPPED, Progress
from failover_analysis.report.contenders import Contender, contenders, with_baselines
from failover_analysis.report.files import check_names, write
from failover_analysis.report.played import Played
from failover_analysis.report.simulated import Framing, by_name, simulation_report, verdict
from failover_analysis.simulation.report import document, json_text, text, timeline
from failover_analysis.simulation.run import Simulation
from failover_analysis.simulation.scenario import DEFAULT, Scenario, builtin_names, find, load, written_out


def simulate(
    scenario: str | None,
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
) -> int:
    """Simulates, and shows and writes what came of it; the arguments are those of the command line.

    Returns:
        The exit code.

    Raises:
        FailoverError: The scenario cannot be simulated, or a result cannot be written.
    """
    scenario = scenario or DEFAULT
    if names_only:
        for name in builtin_names():
            click.echo(f"{name:<15} {load(find(name)).file.description}")
        return 0
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
        return 0
    if at is not None:
        return _show_moment(job, world, _only(compared, "--at"), first, at, as_json=as_json)
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
    return STOPPED if partial else 1 if any(one.result.violations for one in played) else 0


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
    if len(runs) > MOST_RUNS:
        raise ConfigError(f"found {len(runs)} runs; allowed: {MOST_RUNS}")
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


def _show_moment(job: Job, world: Scenario, contender: Contender, seed: int, at: float, *, as_json: bool) -> int:
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
        return STOPPED
    if as_json:
        click.echo(json.dumps(moment_document(simulation), sort_keys=True))
    else:
        show(moment_lines(simulation))
    return 0
