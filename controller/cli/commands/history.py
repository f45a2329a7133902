"""The command `failoverctl history`."""

from __future__ import annotations

import click

from controller.cli.common import Options, common_options, output_option, seconds


@click.command("history")
@click.argument("application", required=False)
@click.option("--since", help="Only the mode changes of so long, such as 12h or 7d.")
@output_option("json: one document per application, one per line.")
@common_options
def history_command(options: Options, application: str | None, since: str | None, output: str) -> None:
    """List the mode changes: when, from and to, why, how soon the load balancer showed it, how long it lasted, the price, and by whom.

    The newest come first. The controller remembers the last 50 of each application.
    """
    since_s = None if since is None else seconds(since, "--since")
    from controller.cli.history import show_history

    show_history(options, application, since_s, as_json=output == "json")
