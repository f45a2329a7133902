"""Everything that one run of the switch benchmark found."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.switch.drivers import Log
from benchmarks.switch.history import History
from benchmarks.switch.plan import Plan
from benchmarks.switch.requests import Outcome, Window
from failover_harness.dataplane.load import Rate


@dataclass(frozen=True, slots=True)
class Result:
    """Everything of one run.

    Attributes:
        plan: What was to be run.
        histories: What the controller did, by application.
        outcomes: What became of the requests, by application.
        windows: What the naive switches cost.
        rates: Whether the load was what it was meant to be, of each site.
        log: What the drivers did.
        began: When the load began, seconds since the Unix epoch.
        cpu: Cores that were busy on the machine, on average.
    """

    plan: Plan
    histories: dict[str, History]
    outcomes: dict[str, Outcome]
    windows: list[Window]
    rates: list[Rate]
    log: Log
    began: float
    cpu: float
