"""The command `failoverctl init`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from controller.cli.common import Options, common_options


@click.command("init")
@click.option(
    "--ingress", metavar="NAMESPACE/NAME", help="The Ingress in front of the units; without it and --route, those that can be are listed."
)
@click.option("--action", help="Name of its forward action, if it has several.")
@click.option("--route", metavar="NAMESPACE/NAME", help="The HTTPRoute or GRPCRoute in front of the units, for an Ingress.")
@click.option("--rule", help="Name of its rule, or the index of a rule without a name, if several forward.")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Application file of the Ingress: write it again for the route of --route, with everything else in it.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write; must not exist. Default: print the file.")
@common_options
def init_command(options: Options, out: Path | None, source: Path | None, **asked: str | None) -> None:
    """Write the application file of an existing stack.

    Reads the Ingress or the route, its Services, their Deployments and pods, ScaledObjects, NodePools, NodeClaims and metrics once. Writes
    nothing to the cluster; a read-only identity suffices. A comment on each value names its origin.

    Exit code: 0 the file is complete, 2 values are missing that a person must fill in, 1 error.
    """
    from failover_setup.cli.init import Asked, init

    sys.exit(init(options, Asked(**asked, source=source), out))
