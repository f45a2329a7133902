"""The command `failoverctl worth`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from controller.cli.common import Time, output_option


@click.command("worth")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--application", help="The application, where the recording has several: namespace/ingress, or its name.")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    help="What failoverctl runs with: two-mode, adaptive, planned, or a .yaml file with the content of spec.policy. Repeat it to compare."
    " Default: the recorded policy.",
)
@click.option("--from", "begin", type=Time(), help="Leave out what was recorded before this time.")
@click.option("--until", "end", type=Time(), help="Leave out what was recorded after this time.")
@click.option("--seeds", type=click.IntRange(1, 20), default=3, show_default=True, help="Number of seeds; the table has the medians.")
@click.option("--jobs", type=click.IntRange(1, 256), help="Number of processes, at most one per core. Default: one per core.")
@output_option("json: one document.")
def worth_command(output: str, **options: Any) -> None:  # noqa: ANN401 - checked by click, typed by worth
    """Show what failoverctl would be worth to you: your recorded demand, prices and shortages, played with it and without.

    FILE is a recording of `run --dry-run` (settings recording.*), compressed or not, or a folder of recordings. The command reads nothing
    else and writes nothing. A recording of 31 days is the longest.

    Exit code: 0 there is a table, 1 error, or an invariant did not hold, 130 stopped by Ctrl-C.
    """
    from failover_analysis.cli.worth import worth

    sys.exit(worth(as_json=output == "json", **options))
