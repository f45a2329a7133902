"""One run of a report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from failover_analysis.report.contenders import Contender
from failover_analysis.simulation.measures import Measured
from failover_analysis.simulation.recording import Result
from failover_analysis.simulation.setup import FaultPlan


@dataclass(frozen=True, slots=True)
class Played:
    """One run of a report.

    Attributes:
        contender: The policy.
        result: The measured result, without its timeline if the report does not show it.
        command: The command that runs it again.
        planned_s: How long it should have lasted, seconds.
        faults: The planned faults, for the timeline.
    """

    contender: Contender
    result: Result
    command: str
    planned_s: float
    faults: tuple[FaultPlan, ...] = ()

    @property
    def cut(self) -> bool:
        """Whether it ended early because of too many violations. Its sums cannot be compared with those of other runs."""
        return self.result.seconds < self.planned_s - 1

    @property
    def measured(self) -> Measured:
        """The measurements.

        Raises:
            ValueError: The run was not measured.
        """
        if self.result.measured is None:
            raise ValueError("a report needs runs that were measured")
        return self.result.measured


def whole(runs: Iterable[Played]) -> list[Played]:
    """The runs that lasted as long as planned."""
    return [one for one in runs if not one.cut]
