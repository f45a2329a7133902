"""The command `failoverctl uninstall`."""

from __future__ import annotations

import sys

import click

from controller.cli.common import Options, common_options, output_option


@click.command("uninstall")
@click.option("--check", is_flag=True, help="Show what is left, and the command that removes each.")
@output_option("json: one document.")
@common_options
def uninstall_command(options: Options, output: str, *, check: bool) -> None:
    """Show what is left of the controller in the cluster, what each does as long as it is there, and the kubectl command that removes it.

    Reads all namespaces once: annotations, floors and targets that the controller wrote, and the objects that it and its manifests made.
    Where that is not allowed it names what it could not read. It needs no application file; with one it knows the floors and targets of
    cost mode. It writes nothing: docs/uninstall.md has the order of removal.

    Exit code: 0 nothing is left, 2 something is left or could not be read, 1 error.
    """
    if not check:
        raise click.UsageError("uninstall removes nothing itself; allowed: --check, which shows what is left and how to remove it")
    from failover_setup.cli.uninstall import checked

    sys.exit(checked(options, as_json=output == "json"))
