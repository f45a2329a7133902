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
    settings = _settings()
    try:
        sys.exit(process.serve(settings))
    except (LoadError, OSError) as error:
        click.echo(f"cannot serve: {error}", err=True)
        sys.exit(1)


@main.command()
def adapter() -> None:
    """Serve in front of vLLM, which runs beside this at MODEL_SERVER_ENGINE_URL, until SIGTERM."""
    settings = _settings()
    try:
        from failover_model_server.adapter import process as adapter_process
    except ImportError as error:
        click.echo(f"cannot serve: {error}; install the extra, failover-model-server[vllm]", err=True)
        sys.exit(1)
    try:
        sys.exit(adapter_process.serve(settings))
    except (LoadError, OSError) as error:
        click.echo(f"cannot serve: {error}", err=True)
        sys.exit(1)


def _settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            click.echo(f"{PREFIX}{'.'.join(map(str, detail['loc'])).removeprefix(PREFIX).upper()}: {detail['msg']}", err=True)
        sys.exit(2)


main.add_command(download_command)
main.add_command(artifact_command)
