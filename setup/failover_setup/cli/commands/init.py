"""The command `failoverctl init`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from controller.cli.common import Options, common_options


@click.command("init")
@click.option("--ingress", metavar="NAMESPACE/NAME", help="The Ingress in front of the units; without it, those that can be are listed.")
@click.option("--action", help="Name of its forward action, if it has several.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write; must not exist. Default: print the file.")
@common_options
def init_command(options: Options, ingress: str | None, action: str | None, out: Path | None) -> None:
    """Write the application file of an existing stack.

    Reads the Ingress, its Services, their Deployments and pods, ScaledObjects, NodePools, NodeClaims and metrics once. Writes nothing to
    the cluster; a read-only identity suffices. A comment on each value names its origin.

    Exit code: 0 the file is complete, 2 values are missing that a person must fill in, 1 error.
    """
    from failover_setup.cli.init import init

    sys.exit(init(options, ingress, action, out))
