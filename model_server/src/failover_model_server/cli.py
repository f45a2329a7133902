"""The command line."""

import sys

import click
from pydantic import ValidationError

from failover_model_server import process, registry
from failover_model_server.compiled.command import command as artifact_command
from failover_model_server.download.command import command as download_command
from failover_model_server.errors import LoadError
from failover_model_server.settings import PREFIX, Settings


@click.group()
def main() -> None:
    """Serve one model on one accelerator."""


@main.command()
def backends() -> None:
    """List the backends and tasks that are installed."""
    click.echo("backends: " + ", ".join(registry.names(registry.BACKENDS)))
    click.echo("tasks:    " + ", ".join(registry.names(registry.TASKS)))


@main.command()
def serve() -> None:
    """Serve the model that the MODEL_SERVER_ variables name, until SIGTERM."""
    try:
        settings = Settings()
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            click.echo(f"{PREFIX}{'.'.join(map(str, detail['loc'])).removeprefix(PREFIX).upper()}: {detail['msg']}", err=True)
        sys.exit(2)
    try:
        sys.exit(process.serve(settings))
    except (LoadError, OSError) as error:
        click.echo(f"cannot serve: {error}", err=True)
        sys.exit(1)


main.add_command(download_command)
main.add_command(artifact_command)
