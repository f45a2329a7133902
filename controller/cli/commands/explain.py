"""The command `failoverctl explain`."""

from __future__ import annotations

import click

from controller.cli.common import Options, common_options, output_option


@click.command("explain")
@click.argument("application", required=False)
@output_option("json: one document per application, one per line.")
@common_options
def explain_command(options: Options, application: str | None, output: str) -> None:
    """Show what would make the controller change the mode, when, and what would hold it.

    Observes once, and asks the controller's own decision about the future: if nothing but time passed, and if a unit got no capacity from
    AWS from now on. Prints the commands that force a mode change or stop the controller. Writes nothing; a read-only identity suffices.
    """
    from controller.cli.explain import show_explanation

    show_explanation(options, application, as_json=output == "json")
