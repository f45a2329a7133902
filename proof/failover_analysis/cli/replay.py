"""`failoverctl replay`: decides recorded moments again and shows every difference. Needs only the files."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from controller import __version__
from controller.catalog.loader import load_directory
from controller.cli.common import CHANGES, show
from controller.cli.observe import judge
from controller.cli.plan import plan_document, plan_lines
from controller.cli.version import commit
from controller.cli.words import terminal_width
from controller.clock import SystemClock
from failover_analysis.cli.progress import STOPPED, Progress
from failover_analysis.cli.recordings import Recordings
from failover_analysis.cli.replay_words import (
    difference_document,
    difference_lines,
    headline,
    moment_text,
    tally_document,
    tally_lines,
    without_bodies,
)
from failover_analysis.replay.change import changed_to
from failover_analysis.replay.rerun import Moment, same_inputs, what_if
from failover_analysis.replay.tally import Tally
from failover_analysis.report.files import check_names, write
from failover_analysis.report.replayed import Framing, ReplayReport


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the command line requests."""

    files: tuple[Path, ...]
    application: str | None
    policy: Path | None
    whole: bool
    carried: bool
    begin: float | None
    end: float | None

    def command(self, moment: Moment) -> str:
        """The command that shows one moment in full."""
        words = self._words(moment.snapshot.application.key)
        if self.carried and self.begin is not None:
            words += ["--from", moment_text(self.begin)]
        return shlex.join([*words, "--at", moment_text(moment.snapshot.now)])

    def words(self) -> list[str]:
        """The command that replays everything."""
        words = self._words(self.application)
        words += ["--from", moment_text(self.begin)] if self.begin is not None else []
        return [*words, *(["--until", moment_text(self.end)] if self.end is not None else [])]

    def _words(self, application: str | None) -> list[str]:
        words = ["failoverctl", "replay", *map(str, self.files), *(["--application", application] if application is not None else [])]
        words += ["--policy", str(self.policy)] if self.policy is not None else []
        words += ["--whole"] if self.whole else []
        return [*words, "--what-if" if self.carried else "--same-inputs"]


def replay(
    files: tuple[Path, ...],
    application: str | None,
    policy: Path | None,
    *,
    whole: bool,
    carried: bool | None,
    begin: float | None,
    end: float | None,
    at: float | None,
    reports: tuple[Path, ...],
    as_json: bool,
    exact: bool,
) -> int:
    """Replays, and shows and reports the differences; the arguments are those of the command line.

    Returns:
        The exit code.

    Raises:
        FailoverError: Nothing can be replayed, or a report cannot be written.
    """
    if whole and policy is None:
        raise click.UsageError("--whole needs --policy")
    if reports and at is not None:
        raise click.UsageError("--at shows one moment; a report covers all of them")
    wanted = _Wanted(files, application, policy, whole, policy is not None if carried is None else carried, begin, end)
    collected = ReplayReport(what_if=wanted.carried, command=wanted.command) if reports else None
    begun = SystemClock().monotonic()
    check_names(reports)
    with Progress("replay", SystemClock()) as progress:
        moments = _watched(_moments(wanted if at is None else _up_to(wanted, at), at, progress), collected, progress)
        if at is None:
            different = _differences(moments, wanted, progress, as_json=as_json, exact=exact)
        else:
            different = _in_full(moments, as_json=as_json)
    stopped = "stopped by Ctrl-C, so that later decisions are missing" if progress.stopped else ""
    if stopped:
        click.echo(f"Partial: {stopped}.", err=True)
    if collected is not None:
        write(collected.report(_framing(wanted, reports, SystemClock().monotonic() - begun, stopped)), reports)
    return STOPPED if stopped else CHANGES if different else 0


def _watched(moments: Iterator[Moment], collected: ReplayReport | None, progress: Progress) -> Iterator[Moment]:
    """Passes the moments on until the command is stopped, and adds each to the report."""
    for moment in moments:
        if collected is not None:
            collected.add(moment)
        yield moment
        if progress.stopped:
            return


def _framing(wanted: _Wanted, reports: tuple[Path, ...], wall_s: float, partial: str) -> Framing:
    policy = f"{'everything' if wanted.whole else 'the policy'} of {wanted.policy}" if wanted.policy is not None else "the recorded policy"
    question = f"What would {policy} have led to?" if wanted.carried else f"Does this version decide the same with {policy}?"
    words = [*wanted.words(), *(word for path in reports for word in ("--report", str(path)))]
    return Framing(tuple(map(str, wanted.files)), question, __version__, commit(), shlex.join(words), wall_s, partial)


def _up_to(wanted: _Wanted, at: float) -> _Wanted:
    return _Wanted(wanted.files, wanted.application, wanted.policy, wanted.whole, wanted.carried, wanted.begin, at)


def _moments(wanted: _Wanted, at: float | None, progress: Progress) -> Iterator[Moment]:
    """The replayed moments, up to `at` if that is given.

    Raises:
        ConfigError: No line could be read, nothing matches the request, or the application file is wrong.
    """
    applications = None if wanted.policy is None else load_directory(wanted.policy)
    recordings = Recordings(wanted.files, wanted.application, wanted.begin, wanted.end, applications)
    chosen = recordings.decisions(progress.update)
    change = None if applications is None else changed_to(applications, whole=wanted.whole)
    found = False
    for moment in what_if(chosen, change, at=at) if wanted.carried else same_inputs(chosen, change):
        found = True
        yield moment
    recordings.ended(found=found)


def _differences(moments: Iterator[Moment], wanted: _Wanted, progress: Progress, *, as_json: bool, exact: bool) -> bool:
    """Shows every difference and the sums; returns whether there is a difference."""
    tallies: dict[str, Tally] = {}
    repeats: dict[str, _Repeat] = {}
    for moment in moments:
        key = moment.snapshot.application.key
        tally = tallies.get(key) or tallies.setdefault(key, Tally(moment, courses=wanted.carried))
        tally.add(moment)
        if as_json:
            if moment.differences:
                with progress.above():
                    click.echo(json.dumps(difference_document(moment), sort_keys=True))
        elif repeats.setdefault(key, _Repeat(progress)).is_new(moment):
            with progress.above():
                show([*difference_lines(moment, exact=exact), ("plain", "")])
    for key, tally in tallies.items():
        if key in repeats:
            repeats[key].end()
        first = tally.first_difference
        command = wanted.command(first) if first is not None else ""
        if as_json:
            click.echo(json.dumps(tally_document(tally, command, what_if=wanted.carried), sort_keys=True))
        else:
            show([*tally_lines(tally, command, what_if=wanted.carried), ("plain", "")])
    return any(tally.different for tally in tallies.values())


class _Repeat:
    """Shows a lasting difference once, and then how long it lasted."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._essence: list[tuple[str, str, str]] = []
        self._count = 0
        self._until = self._name = ""

    def is_new(self, moment: Moment) -> bool:
        """Whether the moment has a difference that the one before it did not have."""
        essence = [(one.what, *without_bodies(one)) for one in moment.differences]
        if essence and essence == self._essence:
            self._count, self._until = self._count + 1, moment_text(moment.snapshot.now)
            self._name = moment.snapshot.application.key
            return False
        self.end()
        self._essence = essence
        return bool(essence)

    def end(self) -> None:
        """Reports how long the last difference lasted."""
        if self._count:
            with self._progress.above():
                show([("dim", f"{self._name}: the same in {self._count} more until {self._until}"), ("plain", "")])
        self._count = 0


def _in_full(moments: Iterator[Moment], *, as_json: bool) -> bool:
    """Shows the last moment of each application in full; returns whether one is decided differently."""
    last: dict[str, Moment] = {}
    for moment in moments:
        last[moment.snapshot.application.key] = moment
    for moment in last.values():
        seen = judge(moment.snapshot, moment.memory)
        if as_json:
            click.echo(json.dumps({**difference_document(moment), "kind": "moment", "plan": plan_document(seen)}, sort_keys=True))
            continue
        program = moment.recorded.program
        show(
            [
                ("title", f"Decided again by version {__version__}, recorded by {program}"),
                ("plain", f"recorded   {headline(moment.recorded.decided)}"),
                ("bad", f"  could not be carried out: {moment.recorded.failed}") if moment.recorded.failed else ("plain", ""),
                *plan_lines(seen, terminal_width(), exact=True),
                *(difference_lines(moment, exact=True) if moment.differences else [("good", "No difference from the recording.")]),
            ]
        )
    return any(moment.differences for moment in last.values())
