"""The Lease: which process leads, and in which term."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

TAKEOVER_S: Final = 16.0
"""Time from a leader's death to the next leader, seconds: a lease of 15 s and a retry (docs/leader-election.md)."""


@dataclass(slots=True)
class Lease:
    """The Lease. `holder` is the number of the process that holds it; `epoch` grows with every new holder."""

    holder: int = 0
    epoch: int = 0

    def take(self, process: int) -> None:
        """A process begins to lead."""
        self.holder, self.epoch = process, self.epoch + 1


class SimulatedLeadership:
    """The leadership of one process; see `controller.ports.Leadership`.

    Args:
        lease: The Lease.
        process: The number of the process.
    """

    def __init__(self, lease: Lease, process: int) -> None:
        self._lease, self._process = lease, process
        self._believed = lease.epoch
        self.believes = lease.holder == process
        """What the process believes. A paused process finds out only when it confirms."""

    def epoch(self) -> int:
        """See `controller.ports.Leadership.epoch`."""
        return self._believed

    def leads(self) -> bool:
        """See `controller.ports.Leadership.leads`."""
        return self.believes

    def confirm(self, epoch: int, needed_s: float) -> bool:
        """See `controller.ports.Leadership.confirm`: reads the Lease."""
        del needed_s  # a lease never runs out here; only another holder ends it
        self.believes = self._lease.holder == self._process
        return self.believes and epoch == self._lease.epoch

    def outrank(self, epoch: int) -> None:
        """See `controller.ports.Leadership.outrank`: only the holder can write the Lease."""
        self.believes = self._lease.holder == self._process
        if self.believes:
            self._lease.epoch = self._believed = max(self._lease.epoch, epoch + 1)
