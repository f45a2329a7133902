"""The result of a run of the benchmark."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.switch.drivers import Log
from benchmarks.switch.history import History
from benchmarks.switch.plan import Plan
from benchmarks.switch.requests import Outcome, Window
from failover_harness.dataplane.load import Rate


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a run.

    Attributes:
        plan: The plan.
        histories: The controller's actions by application.
        outcomes: Results of the requests by application.
        windows: Costs of the naive mode changes.
        rates: How closely the load kept its rate, by site.
        log: The drivers' log.
        began: When the load began, seconds since the Unix epoch.
        cpu: Average number of busy cores of the machine.
    """

    plan: Plan
    histories: dict[str, History]
    outcomes: dict[str, Outcome]
    windows: list[Window]
    rates: list[Rate]
    log: Log
    began: float
    cpu: float
