"""The command `failoverctl breaking-point`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from controller.cli.common import Number


@click.command("breaking-point")
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.argument("unit")
@click.option("--url", required=True, help="Where one replica of the unit answers: an http or https URL.")
@click.option("--method", default="", help="HTTP method. Default: POST with --body, else GET.")
@click.option(
    "--header", "-H", "headers", multiple=True, help="NAME: VALUE, or @FILE with one per line, which keeps secrets out of the process list."
)
@click.option("--body", type=click.Path(path_type=Path), help="File to send as the body.")
@click.option("--application", help="NAMESPACE/NAME of its routing object, or its name, if several applications have a unit of that name.")
@click.option("--replicas", type=click.IntRange(1, 10_000), default=1, show_default=True, help="Replicas behind the URL.")
@click.option("--latency-limit", type=Number(0.001, 3600), help="p95 in seconds. Default: the unit's latencyLimitSeconds.")
@click.option("--max-errors", type=Number(0, 1), default=0.01, show_default=True, help="Share of requests not answered 2xx.")
@click.option("--max-accelerator", type=Number(0.01, 1), default=0.8, show_default=True, help="Highest use of the busiest accelerator.")
@click.option("--accelerator-metrics", help="URL of an exporter: neuron-monitor, dcgm-exporter. Without one the use is unknown.")
@click.option("--accelerator-cloudwatch", help="NAMESPACE/METRIC, such as ContainerInsights/pod_gpu_utilization, in percent.")
@click.option("--accelerator-match", multiple=True, help="NAME=VALUE: a label of the exporter's series, or a dimension of CloudWatch's.")
@click.option("--start-rate", type=Number(0.001, 1e6), help="Requests/s. Default: half the rate of single requests.")
@click.option("--max-rate", type=Number(0.001, 1e6), default=10_000, show_default=True, help="Highest rate, requests/s.")
@click.option("--step", default="15s", show_default=True, help="Length of a step; up to eight times as long for a slow unit.")
@click.option("--max-time", default="1h", show_default=True, help="Longest time in total.")
@click.option("--max-steps", type=click.IntRange(1, 1000), default=40, show_default=True, help="Maximum number of steps.")
@click.option("--max-requests", type=click.IntRange(1, 100_000_000), default=500_000, show_default=True, help="Maximum number of requests.")
@click.option("--timeout", type=Number(0.01, 3600), help="Time-out of a request, seconds. Default: five times the latency limit.")
@click.option("--load-tool", type=click.Path(path_type=Path), help="The program vegeta. Default: the one on the PATH.")
@click.option("--write/--no-write", default=True, show_default=True, help="Write throughput, latency and cost into FILE.")
@click.option("--plot", "plot_file", type=click.Path(path_type=Path), help="SVG, PNG or PDF. Default: breaking-point-UNIT.svg.")
@click.option("--no-plot", "draw", is_flag=True, flag_value=False, default=True, help="Draw nothing.")
@click.option("--steps", "steps_file", type=click.Path(path_type=Path), help="Write every step as JSON.")
@click.option("--force", is_flag=True, help="Load the URL although it serves, or may serve, users.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
@click.option("--settings", "settings_file", type=click.Path(path_type=Path), help="Settings file. [env: FAILOVERCTL_SETTINGS]")
@click.option("--kubeconfig", help="Kubeconfig file; default: as kubectl finds it.")
@click.option("--context", help="Context in the kubeconfig; default: its current one.")
def breaking_point_command(**options: Any) -> None:  # noqa: ANN401 - checked by click, typed by Given
    """Measure how much load one replica of UNIT carries, and write it into the application file FILE.

    Loads --url in steps of a constant rate until latency, errors, accelerator use or lagging throughput show that a rate is too
    high, and finds the highest rate that holds. Load a copy of the unit that serves nobody: docs/breaking-point.md says how. A URL
    behind the application's own load balancer needs --force.

    Exit code: 0 found, 1 not found or error, 130 interrupted, with FILE unchanged.
    """
    from failover_setup.cli.breaking_point import Given, measure

    sys.exit(measure(Given(**options)))
