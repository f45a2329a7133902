"""`failoverctl uninstall --check`: what is left of the controller in the cluster, and the commands that remove it. Reads only."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import click

from controller.catalog.loader import application_files, load_directory
from controller.cli.common import CHANGES, Options, show
from controller.cli.selection import load_applications, open_session
from controller.cli.words import ICONS, Line, terminal_width, wrapped
from controller.errors import FailoverError
from controller.policy.model import Application
from controller.settings import Settings
from failover_setup.doctor.left.observe import Remains, observe
from failover_setup.doctor.left.things import Left, left


def checked(options: Options, *, as_json: bool) -> int:
    """Reads the cluster and prints what is left; the arguments are those of the command line.

    Returns:
        The exit code.

    Raises:
        FailoverError: A setting or an application file is wrong, or no connection is configured.
    """
    settings = options.settings()
    remains = observe(open_session(settings), _applications(options, settings), settings.kubernetes.state_namespace)
    found = left(remains)
    if as_json:
        click.echo(json.dumps(document(remains, found), sort_keys=True))
    else:
        show(lines(remains, found, terminal_width()))
    return CHANGES if found or remains.unread else 0


def _applications(options: Options, settings: Settings) -> list[Application]:
    """Those of the files, or else the cluster's objects. There need be neither: then less is known of what is left."""
    path = settings.applications
    if path is not None:
        return list(load_directory(path).values()) if path.exists() and application_files(path) else []
    with suppress(FailoverError):
        return list(load_applications(options, settings)[0].values())
    return []


def lines(remains: Remains, found: Sequence[Left], width: int) -> Iterator[Line]:
    """What is left, as text for people.

    Args:
        remains: What was read.
        found: What is left.
        width: Columns after which lines are wrapped; a command that can be copied never is.
    """
    yield "title", f"What is left of failoverctl in the cluster {remains.host}"
    yield "plain", ""
    for one in found:
        yield "warn", f"{ICONS['warn']} {one.what}"
        yield from wrapped("plain", "  ", one.effect, width)
        yield "plain", f"  {one.command}"
    for reason in remains.unread:
        yield from wrapped("unknown", f"{ICONS['unknown']} not checked: ", reason, width)
    yield "plain", "" if found or remains.unread else f"{ICONS['good']} Nothing."
    things = f"{len(found)} left" if found else "Nothing found" if remains.unread else "Nothing is left"
    unread = f", {len(remains.unread)} not checked" if remains.unread else ""
    yield "title", f"{things}{unread}.     Nothing has been changed."
    yield "dim", "Not in the cluster: the IAM role, CloudWatch's alarms (docs/uninstall.md)."


def document(remains: Remains, found: Sequence[Left]) -> dict[str, Any]:
    """The same as a JSON document."""
    return {
        "cluster": remains.host,
        "left": [{"what": one.what, "effect": one.effect, "command": one.command} for one in found],
        "notChecked": list(remains.unread),
    }
