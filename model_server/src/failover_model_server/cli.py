"""The command line."""

import click

from failover_model_server import registry


@click.group()
def main() -> None:
    """Serve one model on one accelerator."""


@main.command()
def backends() -> None:
    """List the backends and tasks that are installed."""
    click.echo("backends: " + ", ".join(registry.names(registry.BACKENDS)))
    click.echo("tasks:    " + ", ".join(registry.names(registry.TASKS)))
