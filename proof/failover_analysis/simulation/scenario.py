"""Simulation files: a world to simulate, as a person writes it. A wrong file is refused with a list of everything wrong in it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeVar

import yaml
from pydantic import AfterValidator, Field, model_validator

from controller.catalog.application import PolicyFile
from controller.catalog.fields import DnsLabel, DnsName, FileModel, InstanceType, Zone
from controller.catalog.loader import load_directory
from controller.clock import parse_rfc3339
from controller.documents import Fault, check, config_error, cross_field_error, read_documents, read_limited
from controller.errors import ConfigError
from controller.policy.model import Application, Mode, Override, PolicySettings
from failover_analysis.simulation import outages
from failover_analysis.simulation.faults import FAULTS, drawn, drawn_of_routes
from failover_analysis.simulation.setup import ZONES, Algorithm, FaultPlan, Limit, Setup
from failover_analysis.simulation.variety import KINDS_PLAYED, ROUTE, at_zero, behind_route, in_pools, routed, varied, with_spot_alone
from failover_testbed.capacity.ec2 import Code, FleetAnswer, Shortage
from failover_testbed.traffic.demand import Seconds, TracedDemand

FOLDER: Final = Path(__file__).parent / "scenarios"
DEFAULT: Final = "day"

_DAY_S: Final = 86_400.0
_MOST_DAYS: Final = 366.0
_START: Final = "2023-11-13T00:00:00Z"

_Model = TypeVar("_Model", bound=FileModel)
Share = Annotated[float, Field(ge=0, le=1)]


def _a_second(value: float) -> float:
    if 0 < value < 1:
        raise ValueError("less than a second")
    return value


_MOST_S: Final = _MOST_DAYS * _DAY_S
Pace = Annotated[
    float,
    AfterValidator(_a_second),
    Field(ge=0, le=_MOST_S, json_schema_extra={"x-allowed": f"0, or a number 1 to {_MOST_S:.0f}"}),
]
"""Seconds between what is done again and again. With a millionth of one a run would not end."""
CapacityType = Annotated[str, Field(pattern=r"^(spot|on-demand)$")]
_CapacityTypes = Annotated[tuple[CapacityType, ...], Field(max_length=2)]


class OutageFile(FileModel):
    """A stretch in which EC2 has no capacity, or little."""

    from_s: Seconds = Field(description="Begin, seconds from the start.")
    to_s: Seconds = Field(description="End, seconds from the start.")
    instance_types: tuple[InstanceType, ...] = Field(default=(), max_length=100, description="Instance types. Empty: all.")
    zones: tuple[Zone, ...] = Field(default=(), max_length=20, description="Zones. Empty: all.")
    code: Code = Field(default=Code.CAPACITY, description="The error that EC2 answers with.")
    capacity_types: _CapacityTypes = Field(default=(), description="Capacity types. Empty: all.")
    left: int = Field(default=0, ge=0, le=10_000, description="How many nodes each offering still gives.")
    every_s: Pace = Field(default=0, description="After how many seconds each offering gives one more node. 0: never.")
    most: int | None = Field(default=None, ge=0, le=10_000, description="How many nodes of each offering may run; replaces left.")

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.to_s <= self.from_s:
            raise cross_field_error([(("to_s",), f"{self.to_s:g}", f"more than fromSeconds ({self.from_s:g})")])
        return self

    def to_outage(self) -> outages.Outage:
        """As the simulation takes it."""
        shortage = Shortage(self.instance_types, self.zones, self.code, self.capacity_types, self.left)
        return outages.Outage(self.from_s, self.to_s, shortage, self.every_s, self.most)


class DrawnFile(FileModel):
    """Outages drawn from the seed."""

    every_hours: float = Field(gt=0, le=10_000, description="Mean hours between two outages of one zone of a family.")
    instance_types: tuple[InstanceType, ...] = Field(default=(), max_length=100, description="Instance types. Empty: all.")
    capacity_types: _CapacityTypes = Field(default=(), description="Capacity types. Empty: all.")
    takes_back: bool = Field(default=False, description="Whether an outage takes back the spot nodes that it concerns.")

    def outages(self, types: tuple[str, ...], zones: tuple[str, ...], length_s: float, seed: str) -> list[outages.Outage]:
        """Draws them.

        Args:
            types: All instance types of the application.
            zones: Zones of the region.
            length_s: Length of the run, seconds.
            seed: The run's.
        """
        most = 0 if self.takes_back else None
        return outages.drawn(
            self.instance_types or types, zones, length_s, self.every_hours, seed, capacity_types=self.capacity_types, most=most
        )


class TraceFile(FileModel):
    """Outages from a trace of instances: none means no capacity."""

    file: str = Field(min_length=1, max_length=1000, description="CSV file of a time and a count per line, relative to this file.")
    column: str = Field(default="", max_length=100, description="Heading of the column to read. Empty: the second one.")
    nodes: bool = Field(default=False, description="Whether a count is the most nodes of each offering; else any count above 0 is enough.")
    unit_s: float = Field(gt=0, le=_DAY_S, description="Seconds per time unit of the trace: 0.001 for milliseconds, 3600 for hours.")
    scale: float = Field(default=1, gt=0, le=1000, description="Factor on the times of the trace.")
    instance_types: tuple[InstanceType, ...] = Field(default=(), max_length=100, description="Types that the trace stands for. Empty: all.")
    zones: tuple[Zone, ...] = Field(default=(), max_length=20, description="Zones. Empty: all.")
    capacity_types: _CapacityTypes = Field(default=(), description="Capacity types. Empty: all.")

    def to_trace(self, folder: Path, types: tuple[str, ...]) -> outages.Trace:
        """As it is read.

        Args:
            folder: The simulation file's.
            types: All instance types of the application.
        """
        shortage = Shortage(self.instance_types or types, self.zones, capacity_types=self.capacity_types)
        return outages.Trace(folder / self.file, shortage, self.unit_s, self.scale, self.column, self.nodes)


class LimitFile(FileModel):
    """A NodePool's limit from a time on."""

    at_s: Seconds = Field(description="When.")
    node_pool: DnsName = Field(description="Name of the NodePool.")
    nodes: int | None = Field(default=None, ge=0, le=10_000, description="Maximum number of nodes. Absent: no limit any more.")


class FaultFile(FileModel):
    """One fault. docs/simulation.md lists them."""

    at_s: Seconds = Field(description="When.")
    name: str = Field(max_length=100, description="Which.")
    for_s: Seconds = Field(default=0, description="How long it lasts, seconds.")
    unit: str = Field(default="", max_length=63, description="The deployment unit that the fault is about.")
    value: Share = Field(default=0.5, description="0 to 1; docs/simulation.md says what each fault does with it.")


class SimulationFile(FileModel):
    """A world to simulate."""

    api_version: Literal["failoverctl.dev/v1alpha1"] = Field(description="Version of this format.")
    kind: Literal["Simulation"] = Field(description="Always Simulation.")
    name: DnsLabel = Field(description="Name of the simulation.")
    description: str = Field(max_length=4000, description="What it shows.")
    applications: str = Field(min_length=1, max_length=1000, description="Application file, relative to this file.")
    start: str = Field(default=_START, description="Start time, RFC 3339.")
    days: float = Field(gt=0, le=_MOST_DAYS, description="Length of the run, days.")
    seed: int = Field(default=1, ge=0, le=2**31, description="Seed of every random choice.")
    mode: Mode = Field(default=Mode.COST, description="The mode at the start.")
    pinned: Mode | None = Field(default=None, description="Mode that an operator pinned before the start.")
    demand: TracedDemand = Field(description="Demand over time.")
    noise: Share = Field(default=0, description="Standard deviation of the demand in a step, as a share of the demand.")
    zones: tuple[Zone, ...] = Field(default=ZONES, min_length=1, max_length=20, description="Zones of the region.")
    fleet: FleetAnswer = Field(default=FleetAnswer.ONE_ZONE, description="How EC2 answers a fleet request that it cannot fill.")
    capacity_types: dict[DnsName, _CapacityTypes] = Field(
        default_factory=dict, max_length=100, description="Capacity types by NodePool. One that is missing launches on-demand nodes."
    )
    scale_in_s: dict[DnsName, Annotated[float, Field(ge=0, le=3600)] | None] = Field(
        default_factory=dict,
        max_length=100,
        description="Seconds that the HPA waits before it removes replicas, by unit; null: it never does. One that is missing waits 300.",
    )
    routing: Literal["Ingress", "HTTPRoute"] | None = Field(
        default=None, description="Kind of the routing object. Absent: as the application file says, or as the seed draws it."
    )
    node_pools: dict[DnsName, tuple[DnsName, ...]] = Field(
        default_factory=dict, max_length=100, description="Units by NodePool; replaces what the application file says of these units."
    )
    interval_s: float = Field(default=15, ge=1, le=300, description="Longest time between two passes, seconds, as polls.tick_interval_s.")
    algorithm: Algorithm = Field(default=Algorithm.ROUND_ROBIN, description="How the target groups choose a target.")
    row_s: Pace = Field(default=300, description="Seconds per row of the timeline. 0: no timeline.")
    outages: tuple[OutageFile, ...] = Field(default=(), max_length=10_000, description="When EC2 has no capacity.")
    drawn: DrawnFile | None = Field(default=None, description="Further outages, drawn from the seed.")
    traces: tuple[TraceFile, ...] = Field(default=(), max_length=20, description="Further outages, from files.")
    limits: tuple[LimitFile, ...] = Field(default=(), max_length=1000, description="NodePool limits.")
    faults: tuple[FaultFile, ...] = Field(default=(), max_length=10_000, description="Faults besides capacity.")
    random_faults: bool = Field(default=False, description="Whether further faults are drawn from the seed.")

    @model_validator(mode="after")
    def _together(self) -> Self:
        faults: list[Fault] = [
            (("faults", index, "name"), fault.name, f"one of {', '.join(FAULTS)}")
            for index, fault in enumerate(self.faults)
            if fault.name not in FAULTS
        ]
        if parse_rfc3339(self.start) is None:
            faults.append((("start",), self.start, f"a time such as {_START}"))
        if faults:
            raise cross_field_error(faults)
        return self


@dataclass(frozen=True, slots=True)
class Scenario:
    """A simulation file and what it refers to.

    Attributes:
        file: The parsed file.
        application: The application to simulate.
        demand: Requests per metric period by seconds from the start.
        traced: Outages from its traces.
        folder: The folder of the file.
    """

    file: SimulationFile
    application: Application
    demand: Callable[[float], float]
    traced: tuple[outages.Outage, ...]
    folder: Path

    def setup(
        self,
        seed: int,
        *,
        days: float | None = None,
        random_faults: bool | None = None,
        policy: PolicySettings | None = None,
        interval_s: float | None = None,
    ) -> Setup:
        """The setup of one run.

        Args:
            seed: Seed of every random stream.
            days: Replaces the file's length; None: the file's.
            random_faults: Whether faults are drawn; None: as the file says.
            policy: Replaces the application file's policy; None: that one. With drawn faults it decides whether units may run nothing.
            interval_s: Replaces the longest time between two passes, seconds; None: the file's.
        """
        file, application = self.file, self.application if policy is None else replace(self.application, policy=policy)
        seconds = _DAY_S * (file.days if days is None else days)
        types = tuple(dict.fromkeys(unit.instance_type for unit in application.units))
        found = [one.to_outage() for one in file.outages]
        if file.drawn is not None:
            found += file.drawn.outages(types, file.zones, seconds, str(seed))
        faults = tuple(FaultPlan(one.at_s, one.name, one.for_s, one.unit or application.units[0].name, one.value) for one in file.faults)
        capacity_types = dict(file.capacity_types)
        if file.random_faults if random_faults is None else random_faults:
            faults += drawn(seconds, tuple(unit.name for unit in application.units), str(seed))
            named = {*file.capacity_types, *file.node_pools, *(one.node_pool for one in file.limits)}
            application, bought = varied(application, str(seed), named)
            if policy is not None:
                application, bought = with_spot_alone(at_zero(application, str(seed)), bought, str(seed), named)
            capacity_types |= bought
            application = routed(application, str(seed)) if file.routing is None else application
            if application.route.kind == ROUTE:
                faults += drawn_of_routes(seconds, tuple(unit.name for unit in application.units), str(seed))
        return Setup(
            name=file.name,
            application=application,
            start=parse_rfc3339(file.start) or 0.0,
            seconds=seconds,
            demand=self.demand,
            noise=file.noise,
            mode=file.mode,
            zones=file.zones,
            fleet=file.fleet,
            scale_in_s=dict(file.scale_in_s),
            capacity_types=capacity_types,
            outages=tuple(one for one in (*found, *self.traced) if one.start_s < seconds),
            limits=tuple(Limit(one.at_s, one.node_pool, one.nodes) for one in file.limits),
            faults=faults,
            override=Override(pinned_mode=file.pinned, pinned_why="the experiment is about this mode" if file.pinned else ""),
            interval_s=file.interval_s if interval_s is None else interval_s,
            algorithm=file.algorithm,
            row_s=file.row_s,
        )


def written_out(scenario: Scenario, setup: Setup, seed: int, folder: Path) -> str:
    """Renders one run as a simulation file that lists everything drawn. The run stays the same when the way of drawing changes.

    Args:
        scenario: The scenario of the run.
        setup: The run.
        seed: The seed of the run.
        folder: The folder of the new file, for relative paths.
    """
    file = scenario.file
    here = scenario.folder / file.applications
    drawn_outages = [
        OutageFile(
            from_s=round(one.start_s, 3),
            to_s=round(one.end_s, 3),
            instance_types=one.shortage.instance_types,
            zones=one.shortage.zones,
            code=one.shortage.code,
            capacity_types=one.shortage.capacity_types,
            left=one.shortage.left,
            every_s=one.every_s,
            most=one.most,
        )
        for one in setup.outages
    ]
    faults = [
        FaultFile(at_s=round(one.at_s, 3), name=one.name, for_s=round(one.seconds, 3), unit=one.unit, value=round(one.value, 6))
        for one in setup.faults
    ]
    changes: dict[str, object] = {
        "applications": os.path.relpath(here.resolve(), folder.resolve()),
        "days": setup.seconds / _DAY_S,
        "seed": seed,
        "outages": tuple(drawn_outages),
        "faults": tuple(faults),
        "capacity_types": dict(setup.capacity_types),
        "routing": setup.application.route.kind,
        "node_pools": file.node_pools | _moved(scenario.application, setup.application),
        "drawn": None,
        "traces": (),
        "random_faults": False,
        "interval_s": setup.interval_s,
    }
    made = file.model_copy(update=changes).model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return yaml.safe_dump(made, sort_keys=False, width=140, default_flow_style=None)


def _moved(before: Application, after: Application) -> dict[str, tuple[str, ...]]:
    """The units that a run has in another NodePool, by that."""
    found: dict[str, tuple[str, ...]] = {}
    for unit in after.units:
        if unit.node_pool != before.unit(unit.name).node_pool:
            found[unit.node_pool] = (*found.get(unit.node_pool, ()), unit.name)
    return found


def builtin_names() -> tuple[str, ...]:
    """The names of the simulations in the package, the default one first."""
    return tuple(sorted((path.stem for path in FOLDER.glob("*.yaml")), key=lambda name: (name != DEFAULT, name)))


def find(wanted: str) -> Path:
    """The path of a simulation, given its name or its path.

    Raises:
        ConfigError: There is no simulation of that name.
    """
    path = Path(wanted)
    if path.suffix in {".yaml", ".yml"}:
        return path
    if wanted not in builtin_names():
        raise ConfigError(f"simulation {wanted!r} is unknown; allowed: {', '.join(builtin_names())}, or a file")
    return FOLDER / f"{wanted}.yaml"


def load(path: Path) -> Scenario:
    """Reads a simulation file and the files that it refers to.

    Raises:
        ConfigError: Lists everything that is wrong.
    """
    model = _read(SimulationFile, path)
    found = load_directory(path.parent / model.applications)
    if len(found) != 1:
        raise ConfigError(f"{path}: {model.applications} has {len(found)} applications; allowed: one")
    application = next(iter(found.values()))
    application = _behind(application, model, path)
    known = {unit.name for unit in application.units}
    moved = {unit: pool for pool, units in model.node_pools.items() for unit in units}
    if set(moved) - known:
        raise ConfigError(f"{path}: nodePools: found {', '.join(sorted(set(moved) - known))}; allowed: {', '.join(sorted(known))}")
    application = in_pools(application, moved)
    units, pools = {unit.name for unit in application.units}, {unit.node_pool for unit in application.units}
    unknown = [one.unit for one in model.faults if one.unit and one.unit not in units]
    unknown += [one.node_pool for one in model.limits if one.node_pool not in pools]
    unknown += [unit for unit in model.scale_in_s if unit not in units]
    unknown += [pool for pool in model.capacity_types if pool not in pools]
    if unknown:
        raise ConfigError(f"{path}: found {', '.join(unknown)}; allowed: {', '.join(sorted(units | pools))}")
    types = tuple(dict.fromkeys(unit.instance_type for unit in application.units))
    traced = [outage for one in model.traces for outage in outages.traced(one.to_trace(path.parent, types))]
    demand = model.demand.trace.curve(path.parent) if model.demand.trace is not None else model.demand.at
    return Scenario(model, application, demand, tuple(traced), path.parent)


def _behind(application: Application, model: SimulationFile, path: Path) -> Application:
    """The application with the kind of routing object that the simulation file asks for.

    Raises:
        ConfigError: The simulation does not play that, or the application cannot have it.
    """
    kind = model.routing or application.route.kind
    if kind == ROUTE:
        try:
            return behind_route(application)
        except ValueError as error:
            raise ConfigError(f"{path}: {model.applications}: {error}") from error
    if kind != application.route.kind:
        raise ConfigError(f"{path}: routing: found {kind}; allowed: {ROUTE}, because {model.applications} names no Ingress")
    if kind not in KINDS_PLAYED:
        raise ConfigError(f"{path}: {model.applications}: found route kind {kind}; allowed: {', '.join(KINDS_PLAYED)}")
    return application


def load_policy(path: Path) -> PolicySettings:
    """Reads a policy file, which has the content of ``spec.policy`` of an application file.

    Raises:
        ConfigError: Lists everything that is wrong.
    """
    return _read(PolicyFile, path).to_policy()


def _read(kind: type[_Model], path: Path) -> _Model:
    documents = read_documents(read_limited(path), str(path))
    if len(documents) != 1:
        raise ConfigError(f"{path}: found {len(documents)} documents; allowed: one")
    model, problems = check(kind, documents[0])
    if model is None:
        raise config_error(problems)
    return model
