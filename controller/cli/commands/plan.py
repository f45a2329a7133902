"""The command `failoverctl plan`."""

from __future__ import annotations

import sys

import click

from controller.cli.common import Options, common_options, output_option


@click.command("plan")
@click.argument("application", required=False)
@output_option("json: one document per application, one per line.")
@click.option("--show-requests", is_flag=True, help="Show the exact request below the changes that it makes.")
@common_options
def plan_command(options: Options, application: str | None, output: str, *, show_requests: bool) -> None:
    """Show what the controller would do now, and why.

    The command reads the cluster once, decides as the running controller would, and prints decision, reasons, evidence with ages, guards
    and changes. It writes nothing; a read-only identity suffices.

    Exit code: 0 no changes, 2 changes, 1 error.
    """
    from controller.cli.plan import show_plan

    sys.exit(show_plan(options, application, as_json=output == "json", exact=show_requests))
