"""The command `failoverctl run`."""

from __future__ import annotations

import click

from controller.cli.common import Options, common_options


@click.command("run")
@click.option("--dry-run", is_flag=True, help="Decide and log plans, write nothing. Needs only read permissions.")
@common_options
def run_command(options: Options, *, dry_run: bool) -> None:
    """Run the controller until SIGTERM or Ctrl-C."""
    from controller.cli.run import run

    run(options, dry_run=dry_run)
