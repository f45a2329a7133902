"""`failoverctl worth`: plays a recording's demand, prices and shortages with the controller and without. Needs only the files."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from controller.cli.common import show
from controller.cli.words import terminal_width
from controller.clock import SystemClock
from controller.errors import ConfigError
from failover_analysis.cli.limits import MOST_RUNS
from failover_analysis.cli.playing import Run, results
from failover_analysis.cli.progress import STOPPED, Progress
from failover_analysis.cli.recordings import Recordings
from failover_analysis.cli.worth_words import Table, document, lines
from failover_analysis.report.contenders import Contender, contenders, own
from failover_analysis.report.played import Played
from failover_analysis.report.worth_table import ROWS
from failover_analysis.simulation.figures import added, figures
from failover_analysis.simulation.recorded_world import RecordedWorld, World
from failover_analysis.simulation.setup import Setup


@dataclass(frozen=True, slots=True)
class _Job:
    """The runs of a recorded world: each of its stretches with each policy and seed. See `failover_analysis.cli.playing.Playable`."""

    setups: tuple[Setup, ...]
    words: str
    measured: bool = True
    rows: bool = False

    def planned(self, run: Run) -> Setup:
        """What one run plays."""
        return run.contender.applied(self.setups[run.part])

    def command(self, contender: Contender, seed: int) -> str:
        """The command that plays everything again; a single run has none."""
        del contender, seed
        return self.words


def worth(
    files: tuple[Path, ...],
    application: str | None,
    *,
    policies: tuple[str, ...],
    begin: float | None,
    end: float | None,
    seeds: int,
    jobs: int | None,
    as_json: bool,
) -> int:
    """Plays, and shows the table; the arguments are those of the command line.

    Returns:
        The exit code.

    Raises:
        FailoverError: No world can be made of the recording, or a policy is unknown.
    """
    recordings = Recordings(files, application, begin, end)
    with Progress("worth: reading", SystemClock()) as progress:
        world = _world(recordings, progress)
    if world is None:
        return STOPPED
    compared = _compared(policies, world)
    runs = [Run(one, seed, shown=False, part=part) for seed in range(1, seeds + 1) for one in compared for part in range(len(world.setups))]
    if len(runs) > MOST_RUNS:
        raise ConfigError(f"found {len(runs)} runs in {len(world.setups)} stretches; allowed: {MOST_RUNS} (--seeds, --from, --until)")
    job = _Job(world.setups, shlex.join(["failoverctl", "worth", *map(str, files)]))
    with Progress("worth", SystemClock()) as progress:
        played = list(results(job, runs, jobs, progress))
    table = _table(world, compared, played)
    if progress.stopped:
        click.echo(f"Partial: stopped by Ctrl-C after {table.seeds} of {seeds} seeds.", err=True)
    if not table.seeds:
        return STOPPED
    if as_json:
        click.echo(json.dumps(document(table), sort_keys=True))
    else:
        show(lines(table, terminal_width()))
    return STOPPED if progress.stopped else 1 if table.violations else 0


def _world(recordings: Recordings, progress: Progress) -> World | None:
    """The world of the only application that matches; None where Ctrl-C came first.

    Raises:
        ConfigError: There are several applications or none, or too little is known.
    """
    collected, key = RecordedWorld(), None
    for recorded in recordings.decisions(progress.update):
        if progress.stopped:
            return None
        found = recorded.snapshot.application.key
        if key not in {None, found}:
            raise ConfigError(f"found decisions about {key} and {found}; allowed: one application (--application)")
        key = found
        collected.add(recorded)
    recordings.ended(found=key is not None)
    return collected.world()


def _compared(policies: Sequence[str], world: World) -> tuple[Contender, ...]:
    """The policies of the table, those without the controller first.

    Raises:
        ConfigError: A policy is unknown, or requested twice.
    """
    for one in policies:
        if one in ROWS:
            raise ConfigError(f"--policy: found {one}, of which there is a row anyway; allowed: a policy of the controller")
    base = world.application.policy
    without = contenders(tuple(ROWS), (), (), base)
    return (*without, *(contenders(policies, (), (), base) if policies else (own(base),)))


def _table(world: World, compared: Sequence[Contender], played: Sequence[Played]) -> Table:
    """The table of the seeds that every policy has played in every stretch."""
    parts = len(world.setups)
    seeds = len(played) // (parts * len(compared))
    runs = []
    for place, contender in enumerate(compared):
        begins = [(seed * len(compared) + place) * parts for seed in range(seeds)]
        runs.append((contender, tuple(added(figures(one.result) for one in played[begin : begin + parts]) for begin in begins)))
    whole = played[: seeds * parts * len(compared)]
    violations = tuple(
        f"{one.contender.name}, seed {one.result.seed}: {found.name}: {found.text}"
        for one in whole
        if one.contender.ours
        for found in one.result.violations
    )
    return Table(world, tuple(runs), seeds, violations)
