"""Worlds for tests: small, short, and with every field at a sensible value unless a test says otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from controller.policy.model import PolicySettings
from failover_analysis.simulation.outages import Outage
from failover_analysis.simulation.recording import Result
from failover_analysis.simulation.run import Simulation
from failover_analysis.simulation.setup import FaultPlan, Setup
from failover_testbed.capacity.ec2 import Shortage
from tests.support.applications import application

HOUR = 3600.0
START = 1_700_000_000.0
INF2 = "sd21-inf2"


def setup(**changes: Any) -> Setup:
    """A morning with a demand that grows from 600 to 2,000, and nothing wrong. Every shortage leads to a failover."""
    policy = PolicySettings(failover_utilization=0.0)
    made = Setup("test", application(policy=policy), START, 4 * HOUR, lambda at: 600 + 350 * at / HOUR, interval_s=60.0)
    return replace(made, **changes)


def with_limits(made: Setup) -> Setup:
    """The same world with latency limits above the rated latency, as an application file must have them."""
    units = tuple(replace(unit, latency_limit_s=1.5 * unit.latency_s) for unit in made.application.units)
    return replace(made, application=replace(made.application, units=units))


def outage(start_h: float, end_h: float, *types: str, zones: tuple[str, ...] = ()) -> Outage:
    """No room for some types, inf2 unless others are named, in some zones, all unless some are named."""
    return Outage(start_h * HOUR, end_h * HOUR, Shortage(types or ("inf2.xlarge",), zones))


def fault(name: str, at_h: float, lasts_h: float = 0.0, unit: str = INF2, value: float = 0.5) -> FaultPlan:
    """A fault."""
    return FaultPlan(at_h * HOUR, name, lasts_h * HOUR, unit, value)


def play(seed: int = 1, **changes: Any) -> Result:
    """One run."""
    return Simulation(setup(**changes), seed).run()


def breaks(simulation: Simulation, name: str) -> bool:
    """Whether an invariant does not hold. The run ends soon after it was broken: what follows proves nothing more."""
    found = simulation.invariants.violations
    simulation.run(lambda _: all(one.name != name for one in found))
    return any(one.name == name for one in found)


def broken(result: Result) -> set[str]:
    """The names of the invariants that did not hold."""
    return {one.name for one in result.violations}
