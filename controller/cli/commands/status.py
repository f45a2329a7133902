"""The command `failoverctl status`."""

from __future__ import annotations

import sys

import click

from controller.cli.common import LONGEST_S, Number, Options, common_options, output_option
from controller.policy.names import Mode


@click.command("status")
@click.argument("application", required=False)
@click.option(
    "--watch", is_flag=True, help="Redraw in place every two seconds until Ctrl-C; without a terminal, print a line for each change."
)
@output_option("json: one document per application, one per line.")
@click.option(
    "--until",
    type=click.Choice([str(mode) for mode in Mode]),
    help="Wait for this mode, printing a line for each change; exit with 1 if --timeout passes first.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=Number(1, LONGEST_S),
    default=300.0,
    show_default=True,
    help="Longest wait for --until, seconds.",
)
@common_options
def status_command(options: Options, application: str | None, output: str, until: str | None, timeout_s: float, *, watch: bool) -> None:
    """Show mode, set and actual weights, replicas, evidence, history, overrides and notifiers.

    SET is the share of the requests that is stated, ACTUAL the one that the load balancer shows. NEED counts the ready replicas
    that cost mode needs at the present demand. A "?" marks what is not known.
    """
    from controller.cli.status import show_status

    sys.exit(show_status(options, application, watch=watch, as_json=output == "json", until=until, timeout_s=timeout_s))
