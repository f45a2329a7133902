"""The command `failoverctl doctor`."""

from __future__ import annotations

import sys

import click

from controller.cli.common import Options, common_options, output_option
from failover_setup.doctor.gitops_tools import GitOps


@click.command("doctor")
@click.argument("wanted", metavar="[APPLICATION]...", nargs=-1)
@click.option("--cluster", "only_cluster", is_flag=True, help="Only the cluster's components; needs no application file.")
@click.option(
    "--gitops", type=click.Choice([str(tool) for tool in GitOps]), help="Print what the tool must ignore, as YAML; needs no cluster."
)
@output_option(
    "json: one document for the cluster and for each application, one a line. yaml: routing objects that lack standby rules, with them.",
    "yaml",
)
@common_options
def doctor_command(options: Options, wanted: tuple[str, ...], gitops: str | None, output: str, *, only_cluster: bool) -> None:
    """Report what the live cluster lacks for safe mode changes, why it matters, and how to fix it.

    Checks once: the components that every application relies on (Karpenter, KEDA, the AWS Load Balancer Controller, device plugins,
    Container Insights), then each application's routing object, rules, Services, target group bindings, events and ScaledObjects. With an
    APPLICATION it checks only that one. Writes nothing; a read-only identity suffices. docs/doctor.md describes the checks.

    Exit code: 0 no problem (there may be warnings), 2 at least one problem, 1 error.
    """
    if gitops is not None and output != "text":
        raise click.UsageError("--gitops prints YAML; --output cannot be combined with it")
    if only_cluster and (wanted or gitops is not None or output == "yaml"):
        raise click.UsageError("--cluster is about no application: it goes with neither an APPLICATION, --gitops nor --output yaml")
    from failover_setup.cli.doctor import examined

    sys.exit(examined(options, wanted, gitops, output, only_cluster=only_cluster))
