"""The commands `failoverctl weights` and `failoverctl config`."""

from __future__ import annotations

from pathlib import Path

import click

from controller.cli.common import Options, common_options, output_option


@click.command("weights")
@click.argument("file", required=False, type=click.Path(exists=True, path_type=Path))
@common_options
@output_option("json: one document per application, one per line.")
def weights_command(options: Options, file: Path | None, output: str) -> None:
    """Print Tables 1 and 2 of the AWS sample for application files (FILE, or those of the settings), and the weights of every strategy."""
    from failover_setup.cli.config import show_weights

    show_weights(options, file, as_json=output == "json")


@click.group("config")
def config_group() -> None:
    """Check configuration without changing anything."""


@config_group.command("check")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@common_options
def check_command(options: Options, file: Path | None) -> None:
    """Check settings and application files (FILE, or those of the settings). Every problem is listed with file and line."""
    from failover_setup.cli.config import check

    check(options, file)
