"""The commands `failoverctl notify`."""

from __future__ import annotations

import sys

import click

from controller.cli.common import Options, common_options


@click.group("notify")
def notify_group() -> None:
    """Check notifications."""


@notify_group.command("test")
@click.argument("application", required=False)
@common_options
def test_command(options: Options, application: str | None) -> None:
    """Send a marked message through every configured sink, once each, and print what each answered.

    Uses the settings of this command, not those of the running controller: give it the same settings file and credentials. It is sent about
    APPLICATION, by default the first one.

    Exit code: 0 every sink took it, 1 one did not.
    """
    from controller.cli.notify import send_test

    sys.exit(send_test(options, application))
