"""The application file with the sections that the controller does not read, each with its type.

``docs/configuration.md`` and ``config/schema/application.schema.json`` are generated from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import Field

from controller.catalog import application
from controller.catalog.fields import FileModel, ShortText
from controller.catalog.loader import Definition, Source, parse_definitions, read_sources
from controller.policy.routing import MAX_TARGET_GROUPS
from failover_setup.stack import StackFile, UnitStackFile


class MeasuredFile(FileModel):
    """The record of a measurement by `failoverctl breaking-point`. Information for people; no decision uses it."""

    at: str = Field(
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$",
        json_schema_extra={"x-allowed": "a time such as 2026-11-25T10:00:00Z"},
        description="Time of the measurement, UTC.",
    )
    cost: float = Field(
        gt=0,
        le=1e6,
        description="pricePerHour divided by the measured throughput, US dollars per hour per request per period. `failoverctl weights` "
        "reports units whose price or throughput has changed since.",
    )
    latency_limit_s: float = Field(gt=0, le=3600, description="Limit of the p95 latency in the measurement, seconds.")
    limited_by: ShortText = Field(description="The limit that a higher rate exceeded: latency, plateau, errors or accelerator.")
    accelerator_use: float | None = Field(
        default=None, ge=0, le=1, description="Utilisation of the busiest accelerator at the breaking point, 0 to 1. Unset: unknown."
    )


class UnitFile(application.UnitFile):
    """A deployment unit: one model on one device with one framework."""

    measured: MeasuredFile | None = Field(default=None, description=application.UnitFile.model_fields["measured"].description)
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

    def published_costs(self) -> dict[str, float]:
        """The published cost by unit name, for the units that state one."""
        return {unit.name: unit.published_cost for unit in self.spec.units if unit.published_cost is not None}

    def measured_costs(self) -> dict[str, float]:
        """The measured cost by unit name, for the units that were measured."""
        return {unit.name: unit.measured.cost for unit in self.spec.units if unit.measured is not None}


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
