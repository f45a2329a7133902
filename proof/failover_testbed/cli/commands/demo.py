"""The command `failoverctl demo`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from controller.policy.names import Strategy


@click.command("demo")
@click.option("--scenario", "wanted", default="seed", show_default=True, help="Name or file of a scenario; --list shows the names.")
@click.option(
    "--strategy",
    type=click.Choice([one.value for one in Strategy]),
    help="Play it with another strategy, planned with its floors live. The scenario's mode changes are then not expected.",
)
@click.option("--list", "names_only", is_flag=True, help="List the scenarios that come with the package.")
@click.option("--serve", "serve_only", is_flag=True, help="Run only the emulated servers, in real time, and print their addresses.")
@click.option("--logs", is_flag=True, help="Also show the controller's log.")
@click.option("--record", type=click.Path(path_type=Path, file_okay=False), help="Folder to record decisions in, for `failoverctl replay`.")
def demo_command(wanted: str, *, strategy: str | None, names_only: bool, serve_only: bool, logs: bool, record: Path | None) -> None:
    """Play a shortage on emulated servers, with the production controller.

    Shows mode, weights, evidence, patches and messages as they happen, in the scenario's own time (about a minute in all). Exits with 0
    only if every expectation of the scenario was met, for the right reasons.
    """
    from failover_testbed.cli.demo import play_demo

    sys.exit(play_demo(wanted, strategy=strategy, names_only=names_only, serve_only=serve_only, logs=logs, record=record))
