"""Scenario files: what happens to the emulated cluster, and how the controller is expected to react.

Keys are camelCase. Times are seconds of the scenario's own clock since its start. As with application files, one `ConfigError` lists every
mistake in a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from controller.catalog.application import API_VERSION
from controller.catalog.fields import DnsLabel, DnsName, FileModel, InstanceType, Zone
from controller.catalog.loader import load_directory, read_sources
from controller.clients.kube import FAILOVER_APPLICATIONS
from controller.clock import format_rfc3339
from controller.documents import Document, Fault, Place, Problem, check, config_error, cross_field_error, read_documents, read_limited
from controller.errors import ConfigError
from controller.policy.model import Application, Cause, Mode
from controller.policy.reasons import Reason
from controller.routing.annotations import PAUSE_REASON, PAUSED_UNTIL, PIN_REASON, PINNED_MODE, PINNED_UNTIL
from controller.routing.marks import FOREVER
from failover_testbed.capacity.ec2 import Code, FleetAnswer, Shortage
from failover_testbed.traffic.demand import Choice, Demand

FOLDER: Final = Path(__file__).parent / "scenarios"
DEFAULT: Final = "seed"

_DAY_S: Final = 86_400

CapacityType = Literal["reserved", "spot", "on-demand"]
Seconds = Annotated[float, Field(ge=0, le=_DAY_S)]
Quantity = Annotated[
    str, Field(pattern=r"^[0-9]+[a-zA-Z]{0,2}$", json_schema_extra={"x-allowed": "a quantity such as 4 or 16Gi, in quotes"})
]


class ShortageFile(FileModel):
    """Offerings without capacity in EC2, or with little."""

    instance_types: tuple[InstanceType, ...] = Field(default=(), max_length=100, description="Instance types; all if empty.")
    zones: tuple[Zone, ...] = Field(default=(), max_length=20, description="Zones; all if empty.")
    capacity_types: tuple[CapacityType, ...] = Field(default=(), max_length=3, description="Capacity types; all if empty.")
    code: Code = Field(default=Code.CAPACITY, description="What EC2 answers.")
    left: int = Field(default=0, ge=0, le=10_000, description="How many instances each of the offerings still gives.")

    def to_shortage(self) -> Shortage:
        """The fleet's value."""
        return Shortage(self.instance_types, self.zones, self.code, self.capacity_types, self.left)


class InterruptionFile(FileModel):
    """EC2 takes back spot instances."""

    node_pool: DnsName = Field(description="Of which NodePool.")
    nodes: int = Field(ge=1, le=1000, description="How many, the oldest first.")


class LimitFile(FileModel):
    """A NodePool's limit."""

    node_pool: DnsName = Field(description="Which NodePool.")
    resource: str = Field(min_length=1, max_length=100, description="Resource, such as nvidia.com/gpu or nodes.")
    value: Quantity | None = Field(default=None, description="The limit; removes it if absent.")


class ScaleFile(FileModel):
    """A person changes a ScaledObject's floor."""

    unit: DnsLabel = Field(description="Which deployment unit.")
    min_replicas: int = Field(ge=0, le=10_000, description="The new minReplicaCount.")


class OverrideFile(FileModel):
    """An operator's override on the Ingress; an absent key removes its annotation."""

    paused_for_s: Seconds | None = Field(default=None, description="How long the pause lasts.")
    pinned_mode: Mode | None = Field(default=None, description="Mode to pin.")
    pinned_for_s: Seconds | None = Field(default=None, description="How long the pin lasts; until removed if absent.")
    why: str = Field(default="", max_length=500, description="Why.")

    def annotations(self, now: float) -> dict[str, str | None]:
        """The annotations of the Ingress; None removes one.

        Args:
            now: Seconds since the Unix epoch.
        """
        pinned_until = FOREVER if self.pinned_for_s is None else format_rfc3339(now + self.pinned_for_s)
        return {
            PAUSED_UNTIL: None if self.paused_for_s is None else format_rfc3339(now + self.paused_for_s),
            PINNED_MODE: None if self.pinned_mode is None else str(self.pinned_mode),
            PINNED_UNTIL: None if self.pinned_mode is None else pinned_until,
            PAUSE_REASON: self.why or None if self.paused_for_s is not None else None,
            PIN_REASON: self.why or None if self.pinned_mode is not None else None,
        }


class EventFile(Choice):
    """An event."""

    at_s: Seconds = Field(description="When.")
    shortage: ShortageFile | None = Field(default=None, description="Capacity runs out.")
    returned: ShortageFile | None = Field(default=None, description="Capacity is back. Has the same values as the shortage that it ends.")
    interrupted: InterruptionFile | None = Field(default=None, description="EC2 takes back spot instances, with two minutes' notice.")
    limit: LimitFile | None = Field(default=None, description="A NodePool gets or loses a limit.")
    scale: ScaleFile | None = Field(default=None, description="A person changes a floor.")
    override: OverrideFile | None = Field(default=None, description="An operator pauses, pins or removes the override.")
    action: str | None = Field(
        default=None, max_length=10_000, description="Another writer changes the routing action to this annotation value."
    )

    @classmethod
    def _keys(cls) -> tuple[str, ...]:
        return ("shortage", "returned", "interrupted", "limit", "scale", "override", "action")


class ModeChangeExpectation(FileModel):
    """A mode change that must happen. The list gives the order of mode changes."""

    reasons: tuple[Reason, ...] = Field(default=(), max_length=20, description="Allowed reasons; any if empty.")
    cause: Cause | None = Field(default=None, description="Cause of the shortage; any if absent.")
    units: tuple[DnsLabel, ...] = Field(default=(), max_length=100, description="Units that fell short or came back; any if empty.")
    not_before_s: Seconds = Field(default=0, description="Earliest time.")
    not_after_s: Seconds = Field(default=_DAY_S, description="Latest time.")


class AlertExpectation(FileModel):
    """An alert that must be raised during the run."""

    key: str = Field(default="", max_length=200, description="The alert's key, e.g. cause/sd21-inf2/quota, or its code, e.g. cause.")
    text: str = Field(default="", max_length=500, description="Part of the alert's text.")


class Expectation(Choice):
    """A requirement on the whole run. Failovers and fallbacks must happen in the order of the list, and no others may happen."""

    failover: ModeChangeExpectation | None = Field(default=None, description="A failover.")
    fallback: ModeChangeExpectation | None = Field(default=None, description="A fallback.")
    alert: AlertExpectation | None = Field(default=None, description="An alert.")
    no_mode_change: Literal[True] | None = Field(default=None, description="No failover and no fallback happens.")
    max_failed_requests: float | None = Field(default=None, ge=0, description="Largest number of failed requests.")
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
    factor: float = Field(default=20, ge=1, le=100, description="Seconds of the scenario per real second.")
    duration_s: float = Field(gt=0, le=_DAY_S, description="How long the scenario lasts.")
    seed: int = Field(default=1, ge=0, le=2**31, description="Makes its randomness repeatable.")
    mode: Mode = Field(default=Mode.COST, description="The mode at the start.")
    demand: Demand = Field(description="Demand, the same for every application.")
    replicas: dict[DnsLabel, int] = Field(
        default={}, description="Ready replicas at the start, by unit. Absent units get as many as the demand needs."
    )
    fleet: FleetAnswer = Field(
        default=FleetAnswer.ONE_ZONE,
        description="How EC2 answers a launch that it cannot fill: about one zone, as mostly in the field, or all.",
    )
    capacity_types: dict[DnsName, tuple[CapacityType, ...]] = Field(
        default={}, description="Capacity types of NodePools. Absent NodePools have on-demand capacity only."
    )
    limits: tuple[LimitFile, ...] = Field(default=(), max_length=100, description="Limits of NodePools at the start.")
    override: OverrideFile | None = Field(default=None, description="The operator's override on the Ingress at the start.")
    events: tuple[EventFile, ...] = Field(default=(), max_length=1000, description="What happens.")
    expect: tuple[Expectation, ...] = Field(default=(), max_length=100, description="Requirements on the whole run.")

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
    """A scenario and its applications, checked for consistency.

    Attributes:
        file: The file's content.
        applications: The applications by key.
        applications_path: Path of the application files.
    """

    file: ScenarioFile
    applications: Mapping[str, Application]
    applications_path: Path

    @property
    def name(self) -> str:
        """Its name."""
        return self.file.name

    def objects(self) -> Iterator[dict[str, Any]]:
        """The applications as ``kubectl apply`` makes them of their files."""
        for source in read_sources(self.applications_path):
            for document in read_documents(source.content, source.file):
                yield {**document.data, "kind": FAILOVER_APPLICATIONS.kind}


def builtin(name: str) -> Path:
    """The path of a built-in scenario.

    Raises:
        ConfigError: No scenario has this name.
    """
    names = builtin_names()
    if name not in names:
        raise ConfigError(f"scenario {name!r} is unknown; allowed: {', '.join(names)}, or a file")
    return FOLDER / f"{name}.yaml"


def builtin_names() -> tuple[str, ...]:
    """The names of the built-in scenarios, the default first."""
    names = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    return tuple(sorted(names, key=lambda name: name != DEFAULT))


def load_scenario(path: Path) -> Scenario:
    """Reads a scenario and its applications.

    Raises:
        ConfigError: Lists every mistake.
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
    """The units and NodePools that the scenario names and no application has."""
    units = {unit.name for application in applications for unit in application.units}
    pools = {unit.node_pool for application in applications for unit in application.units}
    named: list[tuple[Place, str, set[str], str]] = [(("replicas", name), name, units, "unit") for name in model.replicas]
    named += [(("capacityTypes", name), name, pools, "NodePool") for name in model.capacity_types]
    named += [(("limits", index, "nodePool"), limit.node_pool, pools, "NodePool") for index, limit in enumerate(model.limits)]
    for index, event in enumerate(model.events):
        if event.limit is not None:
            named.append((("events", index, "limit", "nodePool"), event.limit.node_pool, pools, "NodePool"))
        if event.interrupted is not None:
            named.append((("events", index, "interrupted", "nodePool"), event.interrupted.node_pool, pools, "NodePool"))
        if event.scale is not None:
            named.append((("events", index, "scale", "unit"), event.scale.unit, units, "unit"))
    for index, expectation in enumerate(model.expect):
        for key in ("failover", "fallback"):
            expected: Any = getattr(expectation, key)
            for number, unit in enumerate(expected.units if expected is not None else ()):
                named.append((("expect", index, key, "units", number), unit, units, "unit"))
    return [
        Problem(document.file, document.line_of(place), place, f'found the {what} "{name}"; allowed: {", ".join(sorted(known))}')
        for place, name, known, what in named
        if name not in known
    ]


assert API_VERSION == "failoverctl.dev/v1alpha1"  # noqa: S101 - the literal above cannot be a name
