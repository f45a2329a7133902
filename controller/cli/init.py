"""`failoverctl init`: the application file of an existing stack. Reads only."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from controller.adoption.facts import Stack
from controller.adoption.infer import infer
from controller.adoption.measured import Busiest, busiest
from controller.adoption.observe import observe
from controller.adoption.write import application_text, unsure_counts
from controller.catalog.loader import Source, parse_sources
from controller.cli.common import CHANGES, Options, common_options, fail_cleanly, open_session
from controller.clients.aws import AwsClients
from controller.clock import SystemClock
from controller.errors import ConfigError, FailoverError

if TYPE_CHECKING:
    from controller.settings import Settings

_SHOWN: Final = "the new file"


@click.command("init")
@click.option("--ingress", required=True, metavar="NAMESPACE/NAME", help="The Ingress in front of the units.")
@click.option("--action", help="Name of its forward action, if it has several.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write; must not exist. Default: print the file.")
@common_options
def init_command(options: Options, ingress: str, action: str | None, out: Path | None) -> None:
    """Write the application file of an existing stack.

    Reads the Ingress, its Services, their Deployments and pods, ScaledObjects, NodePools, NodeClaims and metrics once. Writes nothing to
    the cluster; a read-only identity suffices. A comment on each value names its origin.

    Exit code: 0 the file is complete, 2 values are missing that a person must fill in, 1 error.
    """
    try:
        namespace, name = _split(ingress)
        if out is not None and out.exists():
            raise ConfigError(f"{out}: exists already; name another file")
        settings, clock = options.settings(), SystemClock()
        observed = observe(open_session(settings), namespace, name, clock.now())
        stack = infer(observed, action, partial(_measure, settings, clock))
        text = application_text(stack, observed.now)
        if out is not None:
            _write(out, text)
    except FailoverError as error:
        raise fail_cleanly(error) from error
    if out is None:
        click.echo(text, nl=False)
    refusal = _refusal(text, str(out) if out else _SHOWN)
    _say(stack, out, refusal)
    sys.exit(CHANGES if refusal else 0)


def _split(ingress: str) -> tuple[str, str]:
    namespace, slash, name = ingress.partition("/")
    if not slash or not namespace or not name or "/" in name:
        raise ConfigError(f"--ingress: found {ingress!r}; allowed: NAMESPACE/NAME")
    return namespace, name


def _measure(
    settings: Settings, clock: SystemClock, namespace: str, period_s: int, metrics: Iterable[tuple[str, str]]
) -> tuple[Mapping[str, Busiest], str]:
    if not settings.aws.cloudwatch_enabled:
        return {}, "CloudWatch was not queried: the settings disable it"
    return busiest(AwsClients(settings.aws.region), clock, namespace, period_s, metrics)


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error


def _refusal(text: str, name: str) -> str:
    """Why the file is not valid yet, "" if it is."""
    try:
        parse_sources([Source(name, text.encode())])
    except ConfigError as error:
        return str(error)
    return ""


def _say(stack: Stack, out: Path | None, refusal: str) -> None:
    """What to do next, on standard error: standard output may be the file."""
    absent, guessed = unsure_counts(stack)
    where = str(out) if out else "FILE"
    written = f"wrote {out}: " if out else ""
    click.echo(f"{written}{len(stack.units)} unit(s), {absent} value(s) not found, {guessed} assumed", err=True)
    if refusal:
        click.echo(f"The file is refused until you fix these:\n{refusal}", err=True)
    else:
        click.echo(
            f"Read it. Then check what safe mode changes still need, and what the controller would do:\n"
            f"  failoverctl doctor --applications {where}\n  failoverctl plan --applications {where}",
            err=True,
        )
