"""Who leads, and in which term: the Lease, seen from above."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

TAKEOVER_S: Final = 16.0
"""From the death of a leader to the next one, seconds: a lease of 15 s and a retry (docs/leader-election.md)."""


@dataclass(slots=True)
class Lease:
    """The Lease. `holder` is the number of the process that holds it; `epoch` grows with every change."""

    holder: int = 0
    epoch: int = 0

    def take(self, process: int) -> None:
        """A process begins to lead."""
        self.holder, self.epoch = process, self.epoch + 1


class SimulatedLeadership:
    """The leadership of one process, as `controller.ports.Leadership` says.

    Args:
        lease: The Lease.
        process: Which process.
    """

    def __init__(self, lease: Lease, process: int) -> None:
        self._lease, self._process = lease, process
        self._believed = lease.epoch
        self.believes = lease.holder == process
        """What the process knows: one that was paused finds out only when it asks."""

    def epoch(self) -> int:
        """See `controller.ports.Leadership.epoch`."""
        return self._believed

    def leads(self) -> bool:
        """See `controller.ports.Leadership.leads`."""
        return self.believes

    def confirm(self, epoch: int, needed_s: float) -> bool:
        """See `controller.ports.Leadership.confirm`: the Lease is asked."""
        del needed_s  # the holder's time is never short here: what ends it is another holder
        self.believes = self._lease.holder == self._process
        return self.believes and epoch == self._lease.epoch

    def outrank(self, epoch: int) -> None:
        """See `controller.ports.Leadership.outrank`: only the holder's write of the Lease is accepted."""
        self.believes = self._lease.holder == self._process
        if self.believes:
            self._lease.epoch = self._believed = max(self._lease.epoch, epoch + 1)
