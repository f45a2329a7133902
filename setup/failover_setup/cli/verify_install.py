"""`failoverctl verify-install`: shows that an installation works in its cluster, with one write that changes nothing and is undone."""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

import click

from controller.cli.common import Options, show
from controller.cli.consequence import confirmed
from controller.cli.selection import load_applications, open_session
from controller.cli.words import ICONS, Line, terminal_width, wrapped
from controller.clock import SystemClock, format_rfc3339
from controller.errors import ConfigError
from controller.policy.model import Application
from controller.routing.annotations import VERIFYING
from controller.routing.kinds import routing_port
from failover_setup.doctor.installed.checks import Row, rows
from failover_setup.doctor.installed.junit import junit
from failover_setup.doctor.installed.observe import read_installation
from failover_setup.doctor.report import Level

_SHOWN: Final = {Level.PROBLEM: ("bad", "failed"), Level.UNKNOWN: ("unknown", "skipped"), Level.OK: ("good", "passed")}
_WORD: Final = 7  # width of the longest word
_ENDED: Final = 128  # added to a signal's number, as shells do


def verified(options: Options, wanted: tuple[str, ...], output: str, file: Path | None, *, read_only: bool, yes: bool) -> tuple[int, int]:
    """Verifies the installation and the applications, and prints the rows; the arguments are those of the command line.

    Returns:
        How many checks failed, and how many were skipped.

    Raises:
        FailoverError: Nothing could be verified.
        UsageError: There is no terminal to ask on.
    """
    settings, clock = options.settings(), SystemClock()
    _, chosen = load_applications(options, settings, wanted)
    session, now = open_session(settings), clock.now()
    if output == "text":
        show(_heading(session.host, chosen, write=not read_only))
    write = not read_only and confirmed("Make this write?", yes=yes, dry_run=False)
    made: list[Row] = []
    with _undone_when_ended():
        for row in rows(read_installation(session, clock, settings, chosen), chosen, write=write):
            made.append(row)
            if output == "text":
                show(_lines(row, terminal_width()))
    counts = Counter(row.result.finding.level for row in made)
    match output:
        case "json":
            click.echo(json.dumps(document(made, session.host, now), sort_keys=True))
        case "junit":
            click.echo(junit(made, session.host, now), nl=False)
        case _:
            show([("plain", ""), ("title", _summary(counts, write=write)), ("plain", "")])
    if file is not None:
        _save(file, junit(made, session.host, now))
    return counts[Level.PROBLEM], counts[Level.UNKNOWN]


@contextmanager
def _undone_when_ended() -> Iterator[None]:
    """Signals that would end the process at once raise inside the block instead, so that what it wrote is removed."""

    def end(number: int, _frame: FrameType | None) -> None:
        sys.exit(_ENDED + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _save(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--junit: {file} cannot be written: {error.strerror}") from error


def _heading(host: str, applications: Sequence[Application], *, write: bool) -> Iterator[Line]:
    yield "title", f"Verification of the installation in {host}"
    for one in applications if write else ():
        yield (
            "plain",
            f"It writes the annotation {VERIFYING} on {routing_port(one).resource.kind} {one.routing_namespace}/{one.route.name},",
        )
    if write:
        yield "plain", "waits until the load-balancer controller has reconciled, and removes it. No request is routed differently."
    yield "plain", ""


def _lines(row: Row, width: int) -> Iterator[Line]:
    """A row for people; a passed one is short."""
    check, finding = row.result.check, row.result.finding
    style, word = _SHOWN[finding.level]
    start = f"{ICONS[style]} {word:<{_WORD}} "
    about = f"{row.about} " if row.about else ""
    yield from wrapped(style, start, f"{about}{check.name}: {finding.seen}", width)
    if finding.level is not Level.OK:
        yield from wrapped("dim", f"{'':{len(start)}}proves  ", check.requires, width)
    if finding.level is Level.PROBLEM:
        yield from wrapped("dim", f"{'':{len(start)}}why     ", check.why, width)
    if finding.fix:
        yield from wrapped("plain", f"{'':{len(start)}}fix     ", finding.fix, width)


def _summary(counts: Counter[Level], *, write: bool) -> str:
    summary = ", ".join(f"{counts[level]} {word}" for level, (_, word) in _SHOWN.items() if counts[level])
    return f"{summary}.     {'Nothing of the write is left, unless a row says so.' if write else 'Nothing has been changed.'}"


def document(made: Sequence[Row], host: str, now: float) -> dict[str, Any]:
    """The rows for machines.

    Args:
        made: The rows.
        host: The API server's URL.
        now: When they were made, seconds since the Unix epoch.
    """
    return {
        "cluster": host,
        "verifiedAt": format_rfc3339(now),
        "checks": [
            {
                "application": row.about or None,
                "check": row.result.check.name,
                "result": _SHOWN[row.result.finding.level][1],
                "proves": row.result.check.requires,
                "seen": row.result.finding.seen,
                "why": row.result.check.why,
                "fix": row.result.finding.fix,
                "tookSeconds": round(row.took_s, 3),
            }
            for row in made
        ],
    }
