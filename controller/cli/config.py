"""`failoverctl weights` and `failoverctl config`: check application files and show what follows from them."""

from __future__ import annotations

from pathlib import Path

import click

from controller.catalog.loader import load_definitions
from controller.catalog.tables import weights_report
from controller.cli.common import Options, common_options, fail_cleanly
from controller.errors import ConfigError, FailoverError


@click.command("weights")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Write one JSON document per application.")
def weights_command(file: Path, *, as_json: bool) -> None:
    """Print Tables 1 and 2 of the AWS sample for an application file, and the weights of every strategy."""
    try:
        definitions = load_definitions(file)
        if not definitions:
            raise ConfigError(f"{file}: no application file found")
        for definition in definitions.values():
            model = definition.model
            report = weights_report(model.to_policy(), model.published_costs(), model.measured_costs())
            click.echo(report.json() if as_json else report.text())
    except FailoverError as error:
        raise fail_cleanly(error) from error


@click.group("config")
def config_group() -> None:
    """Check configuration without changing anything."""


@config_group.command("check")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@common_options
def check_command(options: Options, file: Path | None) -> None:
    """Check settings and application files (FILE, or those of the settings). Every problem is listed with file and line."""
    try:
        path = file or options.settings().applications
        definitions = load_definitions(path)
        if not definitions:
            raise ConfigError(f"{path}: no application file found")
    except FailoverError as error:
        raise fail_cleanly(error) from error
    for key, definition in definitions.items():
        click.echo(f"{key}: {len(definition.model.spec.units)} units, strategy {definition.model.to_policy().policy.strategy}: good")
