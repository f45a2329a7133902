"""The command `failoverctl replay`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from controller.cli.common import Time, output_option


@click.command("replay")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--application", help="Replay only this application: namespace/ingress, or its name.")
@click.option("--policy", type=click.Path(path_type=Path), help="Application file whose policy is used instead of the recorded one.")
@click.option("--whole", is_flag=True, help="With --policy: use the file's units, prices and weights as well.")
@click.option(
    "--what-if/--same-inputs",
    "carried",
    default=None,
    help="Pass memory and routing on from one replayed decision to the next, or take both from the recording each time."
    " Default: --what-if with --policy, else --same-inputs.",
)
@click.option("--from", "begin", type=Time(), help="Leave out decisions before this time.")
@click.option("--until", "end", type=Time(), help="Leave out decisions after this time.")
@click.option("--at", type=Time(), help="Show the last decision up to this time in full, as plan does.")
@click.option("--report", "reports", multiple=True, type=click.Path(path_type=Path), help="Write a report: FILE.html, FILE.md, FILE.json.")
@output_option("json: one document per difference and per application, one per line.")
@click.option("--exact/--no-exact", default=False, help="Show the bodies of the requests that differ.")
def replay_command(output: str, **options: Any) -> None:  # noqa: ANN401 - checked by click, typed by replay
    """Decide recorded moments again, and show what this version, or another policy, decides differently.

    FILE is a recording of `run` (settings recording.*), compressed or not, or a folder of recordings. The command reads nothing else and
    writes nothing.

    Exit code: 0 no difference, 2 differences, 1 error, 130 stopped by Ctrl-C, which keeps what was decided until then. An unreadable line
    is named and skipped.
    """
    from failover_analysis.cli.replay import replay

    sys.exit(replay(as_json=output == "json", **options))
