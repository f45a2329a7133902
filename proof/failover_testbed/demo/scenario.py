"""Scenario files: what happens to the emulated cluster, and what the controller is expected to make of it.

Keys are camelCase, times are seconds of the scenario's own clock from its start. A file that is wrong is a `ConfigError` which lists
everything that is wrong in it, as for application files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from controller.catalog.application import API_VERSION
from controller.catalog.fields import DnsLabel, DnsName, FileModel, InstanceType, Zone
from controller.catalog.loader import load_directory
from controller.clock import format_rfc3339
from controller.documents import Document, Fault, Place, Problem, check, config_error, cross_field_error, read_documents, read_limited
from controller.errors import ConfigError
from controller.policy.annotations import OVERRIDE_REASON, PAUSED_UNTIL, PINNED_MODE, PINNED_UNTIL
from controller.policy.model import Application, Cause, Mode
from controller.policy.reasons import Reason
from controller.signals.ingress import FOREVER
from failover_testbed.capacity.ec2 import Code, Shortage
from failover_testbed.traffic.demand import Choice, Demand

FOLDER: Final = Path(__file__).parent / "scenarios"
DEFAULT: Final = "seed"

_DAY_S: Final = 86_400

Seconds = Annotated[float, Field(ge=0, le=_DAY_S)]
Quantity = Annotated[
    str, Field(pattern=r"^[0-9]+[a-zA-Z]{0,2}$", json_schema_extra={"x-allowed": "a quantity such as 4 or 16Gi, in quotes"})
]


class ShortageFile(FileModel):
    """Offerings that EC2 has no room for."""

    instance_types: tuple[InstanceType, ...] = Field(default=(), max_length=100, description="Which types. Empty: all.")
    zones: tuple[Zone, ...] = Field(default=(), max_length=20, description="In which zones. Empty: in all.")
    code: Code = Field(default=Code.CAPACITY, description="What EC2 answers.")

    def to_shortage(self) -> Shortage:
        """The fleet's value."""
        return Shortage(self.instance_types, self.zones, self.code)


class LimitFile(FileModel):
    """A NodePool's limit."""

    node_pool: DnsName = Field(description="Which NodePool.")
    resource: str = Field(min_length=1, max_length=100, description="Which resource, such as nvidia.com/gpu or nodes.")
    value: Quantity | None = Field(default=None, description="The limit. Nothing: it is lifted.")


class ScaleFile(FileModel):
    """A person's change of a ScaledObject's floor."""

    unit: DnsLabel = Field(description="Which deployment unit.")
    min_replicas: int = Field(ge=0, le=10_000, description="Its minReplicaCount from then on.")


class OverrideFile(FileModel):
    """What an operator writes on the Ingress; a key that is missing removes its annotation."""

    paused_for_s: Seconds | None = Field(default=None, description="Pause for so long.")
    pinned_mode: Mode | None = Field(default=None, description="Pin to a mode.")
    pinned_for_s: Seconds | None = Field(default=None, description="How long the pin lasts. Nothing: until it is lifted.")
    why: str = Field(default="", max_length=500, description="Why.")

    def annotations(self, now: float) -> dict[str, str | None]:
        """The annotations of the Ingress; None for those to remove.

        Args:
            now: Seconds since the Unix epoch.
        """
        pinned_until = FOREVER if self.pinned_for_s is None else format_rfc3339(now + self.pinned_for_s)
        return {
            PAUSED_UNTIL: None if self.paused_for_s is None else format_rfc3339(now + self.paused_for_s),
            PINNED_MODE: None if self.pinned_mode is None else str(self.pinned_mode),
            PINNED_UNTIL: None if self.pinned_mode is None else pinned_until,
            OVERRIDE_REASON: self.why or None,
        }


class EventFile(Choice):
    """One thing that happens."""

    at_s: Seconds = Field(description="When.")
    shortage: ShortageFile | None = Field(default=None, description="Capacity runs out.")
    returned: ShortageFile | None = Field(default=None, description="Capacity is back: the same values as the shortage that ends.")
    limit: LimitFile | None = Field(default=None, description="A NodePool gets or loses a limit.")
    scale: ScaleFile | None = Field(default=None, description="Somebody changes a floor.")
    override: OverrideFile | None = Field(default=None, description="An operator pauses, pins or lifts that.")
    action: str | None = Field(
        default=None, max_length=10_000, description="Somebody else writes the routing action: the annotation's value."
    )

    @classmethod
    def _keys(cls) -> tuple[str, ...]:
        return ("shortage", "returned", "limit", "scale", "override", "action")


class SwitchExpectation(FileModel):
    """A mode change that must happen, in the order of the list."""

    reasons: tuple[Reason, ...] = Field(default=(), max_length=20, description="Allowed reasons. Empty: any.")
    cause: Cause | None = Field(default=None, description="Cause of the shortage. Nothing: any.")
    units: tuple[DnsLabel, ...] = Field(default=(), max_length=100, description="Units that it is about. Empty: any.")
    not_before_s: Seconds = Field(default=0, description="Earliest time.")
    not_after_s: Seconds = Field(default=_DAY_S, description="Latest time.")


class AlertExpectation(FileModel):
    """An alert that must be raised at some time."""

    key: str = Field(default="", max_length=200, description="What its key starts with, e.g. cause/sd21-inf2/quota.")
    text: str = Field(default="", max_length=500, description="What its text contains.")


class Expectation(Choice):
    """One thing that must be true of the whole run. Failovers and fallbacks are expected in the order of the list, and no others."""

    failover: SwitchExpectation | None = Field(default=None, description="A failover.")
    fallback: SwitchExpectation | None = Field(default=None, description="A fallback.")
    alert: AlertExpectation | None = Field(default=None, description="An alert.")
    no_mode_change: Literal[True] | None = Field(default=None, description="No failover and no fallback at all.")
    max_failed_requests: float | None = Field(default=None, ge=0, description="How many requests may fail.")
    final_mode: Mode | None = Field(default=None, description="The mode at the end.")

    @classmethod
    def _keys(cls) -> tuple[str, ...]:
        return ("failover", "fallback", "alert", "no_mode_change", "max_failed_requests", "final_mode")


class ScenarioFile(FileModel):
    """A scenario."""

    api_version: Literal["failoverctl.dev/v1alpha1"] = Field(description="Version of this format.")
    kind: Literal["Scenario"] = Field(description="Always Scenario.")
    name: DnsLabel = Field(description="Its name.")
    description: str = Field(max_length=2000, description="What it shows.")
    applications: str = Field(min_length=1, max_length=1000, description="Application file or directory, relative to this file.")
    factor: float = Field(default=20, ge=1, le=100, description="How many seconds of the scenario pass in a real one.")
    duration_s: float = Field(gt=0, le=_DAY_S, description="How long it plays.")
    seed: int = Field(default=1, ge=0, le=2**31, description="Makes its randomness repeatable.")
    mode: Mode = Field(default=Mode.COST, description="The mode at the start.")
    demand: Demand = Field(description="How much there is to serve, over all applications alike.")
    replicas: dict[DnsLabel, int] = Field(
        default={}, description="Ready replicas at the start by unit. What is missing follows from demand."
    )
    limits: tuple[LimitFile, ...] = Field(default=(), max_length=100, description="Limits of NodePools at the start.")
    override: OverrideFile | None = Field(default=None, description="What an operator has written on the Ingress at the start.")
    events: tuple[EventFile, ...] = Field(default=(), max_length=1000, description="What happens.")
    expect: tuple[Expectation, ...] = Field(default=(), max_length=100, description="What must be true of the whole run.")

    @model_validator(mode="after")
    def _together(self) -> Self:
        faults: list[Fault] = []
        for index, event in enumerate(self.events):
            if event.at_s > self.duration_s:
                faults.append((("events", index, "atSeconds"), f"{event.at_s:g}", f"at most durationSeconds ({self.duration_s:g})"))
        faults += [
            (("replicas", unit), str(count), "0 to 1000")
            for unit, count in self.replicas.items()
            if not 0 <= count <= 1000  # noqa: PLR2004
        ]
        if faults:
            raise cross_field_error(faults)
        return self


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario and its applications, checked against each other.

    Attributes:
        file: What the file says.
        applications: By key.
        applications_path: Where they were read from; what the controller under test is to be given.
    """

    file: ScenarioFile
    applications: Mapping[str, Application]
    applications_path: Path

    @property
    def name(self) -> str:
        """Its name."""
        return self.file.name


def builtin(name: str) -> Path:
    """The path of a scenario that comes with the package.

    Raises:
        ConfigError: There is none of that name.
    """
    names = builtin_names()
    if name not in names:
        raise ConfigError(f"scenario {name!r} is unknown; allowed: {', '.join(names)}, or a file")
    return FOLDER / f"{name}.yaml"


def builtin_names() -> tuple[str, ...]:
    """The names of the scenarios that come with the package, the default one first."""
    names = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    return tuple(sorted(names, key=lambda name: name != DEFAULT))


def load_scenario(path: Path) -> Scenario:
    """Reads a scenario and its applications.

    Raises:
        ConfigError: Lists everything that is wrong.
    """
    documents = read_documents(read_limited(path), str(path))
    if len(documents) != 1:
        raise ConfigError(f"{path}: found {len(documents)} documents; allowed: one scenario")
    document = documents[0]
    model, problems = check(ScenarioFile, document)
    if model is None:
        raise config_error(problems)
    applications_path = path.parent / model.applications
    try:
        applications = load_directory(applications_path)
    except ConfigError as error:
        raise ConfigError(f"{path}:{document.line_of(('applications',))}: applications: {error}") from None
    problems = _unknown_names(model, document, list(applications.values()))
    if problems:
        raise config_error(problems)
    return Scenario(model, applications, applications_path)


def _unknown_names(model: ScenarioFile, document: Document, applications: Sequence[Application]) -> list[Problem]:
    """What the scenario names that the applications do not have."""
    units = {unit.name for application in applications for unit in application.units}
    pools = {unit.node_pool for application in applications for unit in application.units}
    named: list[tuple[Place, str, set[str], str]] = [(("replicas", name), name, units, "unit") for name in model.replicas]
    named += [(("limits", index, "nodePool"), limit.node_pool, pools, "NodePool") for index, limit in enumerate(model.limits)]
    for index, event in enumerate(model.events):
        if event.limit is not None:
            named.append((("events", index, "limit", "nodePool"), event.limit.node_pool, pools, "NodePool"))
        if event.scale is not None:
            named.append((("events", index, "scale", "unit"), event.scale.unit, units, "unit"))
    for index, expectation in enumerate(model.expect):
        for key in ("failover", "fallback"):
            switch: Any = getattr(expectation, key)
            for number, unit in enumerate(switch.units if switch is not None else ()):
                named.append((("expect", index, key, "units", number), unit, units, "unit"))
    return [
        Problem(document.file, document.line_of(place), place, f'found the {what} "{name}"; allowed: {", ".join(sorted(known))}')
        for place, name, known, what in named
        if name not in known
    ]


assert API_VERSION == "failoverctl.dev/v1alpha1"  # noqa: S101 - the literal above cannot be a name
