"""`failoverctl weights` and `failoverctl config`: check application files and show what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from controller.catalog.loader import Definition
from controller.cli.common import Options
from controller.cli.selection import application_path, load_applications, load_files
from controller.errors import ConfigError
from failover_setup.application import ApplicationFile, load_definitions
from failover_setup.cli.render import check_stack
from failover_setup.tables import weights_report


def show_weights(options: Options, file: Path | None, *, as_json: bool) -> None:
    """Prints the tables of every application of a path, by default of those of the settings, or without any of the cluster's.

    Raises:
        ConfigError: A setting or a file is wrong.
    """
    settings = options.settings()
    applications = load_applications(options, settings)[1] if file is None else load_files(file).values()
    for application in applications:
        report = weights_report(application)
        click.echo(report.json() if as_json else report.text())


def check(options: Options, file: Path | None) -> None:
    """Checks the settings, and the application files of a path, by default those of the settings.

    Raises:
        ConfigError: Lists every problem with file and line.
    """
    settings = options.settings()
    for key, definition in _definitions(file or application_path(settings)).items():
        if definition.model.spec.stack is not None:
            check_stack(definition)
        click.echo(f"{key}: valid, {len(definition.model.spec.units)} units, {definition.model.to_policy().policy.strategy}")


def _definitions(path: Path) -> Mapping[str, Definition[ApplicationFile]]:
    definitions = load_definitions(path)
    if not definitions:
        raise ConfigError(f"{path}: no application file found")
    return definitions
