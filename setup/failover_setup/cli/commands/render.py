"""The command `failoverctl render`."""

from __future__ import annotations

from pathlib import Path

import click

from controller.policy.names import Mode


@click.command("render")
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write one file per group into this folder instead of printing everything.",
)
@click.option(
    "--mode",
    type=click.Choice([str(mode) for mode in Mode]),
    default=str(Mode.COST),
    show_default=True,
    help="Mode of the routing object and the ScaledObjects.",
)
def render_command(file: Path, out: Path | None, mode: str) -> None:
    """Print all manifests of the stack that an application file describes.

    FILE has one application with a section spec.stack, see docs/render.md. The same file always gives the same bytes.
    """
    from failover_setup.cli.render import render

    render(file, out, mode)
