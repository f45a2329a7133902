"""The command `failoverctl simulate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from controller.cli.common import Number, Time, output_option
from failover_analysis.cli.limits import MOST_RUNS
from failover_analysis.report.built_in_policies import NAMES


@click.command("simulate")
@click.argument("scenario", required=False)
@click.option("--seed", type=click.IntRange(0, 2**31), help="The seed, or the first of several. Default: the file's seed.")
@click.option("--seeds", type=click.IntRange(1, MOST_RUNS), default=1, show_default=True, help="Number of seeds.")
@click.option("--days", type=Number(0.01, 366), help="Length of the run, days. Default: the file's.")
@click.option("--faults", type=click.Choice(["none", "random"]), help="Whether to inject random faults. Default: as the file says.")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    help=f"Another policy: {', '.join(NAMES)}, or a .yaml file with the content of spec.policy. Repeat it to compare policies.",
)
@click.option("--set", "changes", multiple=True, help="FIELD=VALUE: sets a field of every policy, such as patienceSeconds=60.")
@click.option("--sweep", "sweeps", multiple=True, help="FIELD=VALUE,VALUE: runs the first policy with each value of a field, such as"
              " holdMinSeconds=300,3600. For the sensitivity table of a report.")  # fmt: skip
@click.option("--interval", type=Number(1, 300), help="Longest time between two passes, seconds. Default: the file's.")
@click.option("--jobs", type=click.IntRange(1, 256), help="Number of processes, at most one per core. Default: one per core.")
@output_option("json: the results, without the timeline.")
@click.option("--report", "reports", multiple=True, type=click.Path(path_type=Path), help="Write a report: FILE.html, FILE.md, FILE.json.")
@click.option("--at", type=Time(), help="Stop at this time and show the last decision in full, as plan does.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the timelines (CSV) and all results (JSON).")
@click.option("--save", type=click.Path(path_type=Path), help="Write the first seed's world to a file instead of simulating it.")
@click.option("--list", "names_only", is_flag=True, help="List the simulations in the package.")
def simulate_command(output: str, **options: Any) -> None:  # noqa: ANN401 - checked by click, typed by simulate
    """Simulate SCENARIO (a name or a file) in virtual time, with the production decision core.

    The same seed gives the same run, byte for byte, with the same digest. The exit code is 1 if an invariant did not hold; the output has
    the command that plays that run again. Ctrl-C keeps the runs that are finished, and ends with exit code 130.
    """
    from failover_analysis.cli.simulate import simulate

    sys.exit(simulate(as_json=output == "json", **options))
