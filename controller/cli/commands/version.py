"""The command `failoverctl version`."""

from __future__ import annotations

import click


@click.command("version")
def version_command() -> None:
    """Print the version, the commit and the Python that runs it."""
    from controller.cli.version import version_line

    click.echo(version_line())
