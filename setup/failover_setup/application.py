"""The application file with the sections that the controller does not read, each with its type.

``docs/configuration.md`` and ``config/schema/application.schema.json`` are generated from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import Field

from controller.catalog import application
from controller.catalog.loader import Definition, Source, parse_definitions, read_sources
from controller.policy.routing import MAX_TARGET_GROUPS
from failover_setup.stack import StackFile, UnitStackFile


class UnitFile(application.UnitFile):
    """A deployment unit: one model on one device with one framework."""

    stack: UnitStackFile = Field(default=UnitStackFile(), description=application.UnitFile.model_fields["stack"].description)


class SpecFile(application.SpecFile):
    """The objects to control, and the policy."""

    units: tuple[UnitFile, ...] = Field(
        min_length=1, max_length=MAX_TARGET_GROUPS, description=application.SpecFile.model_fields["units"].description
    )
    stack: StackFile | None = Field(default=None, description=application.SpecFile.model_fields["stack"].description)


class ApplicationFile(application.ApplicationFile):
    """One document of an application file."""

    spec: SpecFile = Field(description=application.ApplicationFile.model_fields["spec"].description)


def load_definitions(path: Path) -> Mapping[str, Definition[ApplicationFile]]:
    """Reads all applications below a path, see `controller.catalog.loader.load_directory`, and checks their sections as well.

    Raises:
        ConfigError: Lists every fault in all of them, or reports that there is no file.
    """
    return parse_sources(read_sources(path))


def parse_sources(sources: Iterable[Source]) -> Mapping[str, Definition[ApplicationFile]]:
    """Parses files; see `controller.catalog.loader.parse_definitions`.

    Raises:
        ConfigError: Lists every fault in all of them.
    """
    return parse_definitions(sources, ApplicationFile)
