"""The command `failoverctl drill`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from controller.cli.common import Number, Options, common_options, output_option
from controller.errors import ConfigError


@click.command("drill")
@click.argument("application", required=False)
@click.option("--url", help="Where users reach the application: an http or https URL that GET answers with 2xx.")
@click.option("--karpenter-role", help="ARN of Karpenter's IAM role.")
@click.option("--fis-role", help="ARN of the IAM role that FIS assumes; docs/prove-it.md has its policy.")
@click.option("--zone", multiple=True, help="Zone in which EC2 refuses; may be repeated.")
@click.option("--percentage", type=click.IntRange(1, 100), default=100, show_default=True, help="How many of the requests EC2 refuses.")
@click.option("--duration", default="10m", show_default=True, help="How long EC2 refuses: 1m to 60m.")
@click.option("--stop-alarm", multiple=True, help="ARN of a CloudWatch alarm that ends it early; may be repeated.")
@click.option("--rate", type=Number(0.1, 10), default=1, show_default=True, help="The drill's own requests per second.")
@click.option("--max-failover", default="5m", show_default=True, help="Limit: from the first refusal to capacity mode.")
@click.option("--max-return", default="1h", show_default=True, help="Limit: from the end of the shortage to cost mode.")
@click.option("--max-failed", type=Number(0, 1), default=0.01, show_default=True, help="Limit: share of requests that fail or are late.")
@click.option("--max-latency", type=Number(0.01, 60), default=5, show_default=True, help="From when on an answer is late, seconds.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write the report as an HTML page, too.")
@click.option("--check-left", "only_left", is_flag=True, help="Show what drills have left in AWS; with --yes, end it.")
@click.option("--simulate", "simulated", is_flag=True, help="Play it without AWS, in the demo's cluster, in about a minute.")
@click.option("--yes", "-y", is_flag=True, help="Begin; without it the drill is only shown.")
@output_option("json: the report as one document.")
@common_options
def drill_command(options: Options, application: str | None, output: str, *, only_left: bool, simulated: bool, **given: Any) -> None:  # noqa: ANN401 - typed by Given
    """Make a real shortage with AWS Fault Injection Service, watch what the controller makes of it, and report.

    EC2 refuses Karpenter's requests for instances in some zones for some minutes. The drill sends a few requests, follows the failover
    and the return, and ends the experiment whatever happens. docs/prove-it.md says what it needs, costs and proves.

    Exit code: 0 passed or nothing left, 2 a limit was not kept or something is left, 1 refused or error, 130 interrupted.
    """
    from failover_setup.cli.drill import Given, check_left, drill, simulate

    if simulated and only_left:
        raise ConfigError("--check-left: found beside --simulate, which leaves nothing in AWS; leave one of them out")
    if simulated:
        sys.exit(simulate(application, Given(**given), as_json=output == "json"))
    if only_left:
        sys.exit(check_left(options, application, yes=given["yes"]))
    sys.exit(drill(options, application, Given(**given), as_json=output == "json"))
