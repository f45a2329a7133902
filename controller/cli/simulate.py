"""`failoverctl simulate`: what the controller would do in a world of your choice, in virtual time."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

from controller.cli.common import fail_cleanly, show
from controller.errors import ConfigError, FailoverError
from controller.policy.model import PolicySettings
from controller.simulation.engine import Simulation
from controller.simulation.recording import Result
from controller.simulation.report import document, json_text, text, timeline
from controller.simulation.scenario import DEFAULT, Scenario, builtin_names, find, load, load_policy, written_out
from controller.simulation.setup import Setup


@dataclass(frozen=True, slots=True)
class _Job:
    """What every process needs to know; it reads the files itself, for a curve of demand cannot be sent to another process."""

    wanted: str
    days: float | None
    faults: bool | None
    policy: PolicySettings | None
    interval: float | None

    def scenario(self) -> Scenario:
        return load(find(self.wanted))

    def setup(self, scenario: Scenario, seed: int) -> Setup:
        return scenario.setup(seed, days=self.days, random_faults=self.faults, policy=self.policy, interval_s=self.interval)

    def command(self, seed: int) -> str:
        """What plays one of its runs again."""
        words = ["failoverctl", "simulate", self.wanted, "--seed", str(seed)]
        words += ["--days", f"{self.days:g}"] if self.days is not None else []
        words += ["--faults", "random" if self.faults else "none"] if self.faults is not None else []
        words += ["--interval", f"{self.interval:g}"] if self.interval is not None else []
        return shlex.join(words) + (" --policy …" if self.policy is not None else "")


def play(job: _Job, seed: int) -> Result:
    """One run."""
    return Simulation(job.setup(job.scenario(), seed), seed).run()


@click.command("simulate")
@click.argument("scenario", default=DEFAULT)
@click.option("--seed", type=click.IntRange(0, 2**31), help="The seed, or the first of several. Default: the file's.")
@click.option("--seeds", type=click.IntRange(1, 100_000), default=1, show_default=True, help="How many seeds, one after the other.")
@click.option("--days", type=click.FloatRange(0.01, 366), help="Another length.")
@click.option("--faults", type=click.Choice(["none", "random"]), help="Whether random faults are injected. Default: as the file says.")
@click.option("--policy", "policy_file", type=click.Path(path_type=Path), help="Another policy: what stands under spec.policy.")
@click.option("--interval", type=click.FloatRange(1, 300), help="Longest time between two passes, seconds. Default: the file's.")
@click.option("--jobs", type=click.IntRange(1, 256), help="Processes at once. Default: one a core.")
@click.option("--json", "as_json", is_flag=True, help="JSON, without the timeline.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the timelines (CSV) and all results (JSON).")
@click.option("--save", type=click.Path(path_type=Path), help="Write the first seed's world out as a file of its own, and play nothing.")
@click.option("--list", "names_only", is_flag=True, help="List the simulations that come with the package.")
def simulate_command(
    scenario: str,
    *,
    seed: int | None,
    seeds: int,
    days: float | None,
    faults: str | None,
    policy_file: Path | None,
    interval: float | None,
    jobs: int | None,
    as_json: bool,
    out: Path | None,
    save: Path | None,
    names_only: bool,
) -> None:
    """Play SCENARIO (a name or a file) in virtual time, with the production decision core.

    The same seed gives the same run, byte for byte: its digest says so. Exit code 1 if an invariant did not hold; the command that plays
    that run again is printed.
    """
    try:
        if names_only:
            for name in builtin_names():
                click.echo(f"{name:<15} {load(find(name)).file.description}")
            return
        policy = load_policy(policy_file) if policy_file is not None else None
        job = _Job(scenario, days, None if faults is None else faults == "random", policy, interval)
        world = job.scenario()
        first = world.file.seed if seed is None else seed
        if save is not None:
            _write(save.parent, save.name, written_out(world, job.setup(world, first), first, save.parent))
            return
        results = []
        for result in _results(job, range(first, first + seeds), jobs or os.cpu_count() or 1):
            results.append(result)
            if not as_json:
                _tell(result, job, whole=seeds == 1 or bool(result.violations))
            if out is not None:
                _write(out, f"{result.name}-{result.seed}.csv", timeline(result.rows))
        documents = [document(result, rows=False) for result in results]
        if as_json:
            click.echo(json_text(documents))
        if out is not None:
            _write(out, f"{scenario_name(scenario)}.json", json_text(documents))
    except FailoverError as error:
        raise fail_cleanly(error) from error
    sys.exit(1 if any(result.violations for result in results) else 0)


def _results(job: _Job, seeds: range, jobs: int) -> Iterator[Result]:
    """Every seed's result, in their order."""
    if len(seeds) == 1 or jobs == 1:
        yield from map(partial(play, job), seeds)
        return
    with ProcessPoolExecutor(min(jobs, len(seeds))) as pool:
        yield from pool.map(partial(play, job), seeds)


def _tell(result: Result, job: _Job, *, whole: bool) -> None:
    head, _, rest = text(result, job.command(result.seed)).partition("\n")
    show([("bad" if result.violations else "good", head)])
    if whole:
        show([("plain", rest)])


def scenario_name(wanted: str) -> str:
    """A scenario's name, of its file where it is one."""
    return Path(wanted).stem


def _write(folder: Path, name: str, content: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written: {error.strerror}") from error
