"""Puts outages in force, and takes spot instances back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from failover_analysis.simulation.event_queue import EventQueue
from failover_analysis.simulation.karpenter import Karpenter
from failover_analysis.simulation.outages import Outage
from failover_testbed.capacity.ec2 import Ec2, Offering, Shortage

SPOT = "spot"
"""The capacity type that EC2 takes back."""


class Scarcity:
    """What EC2 does about capacity over time.

    Args:
        event_queue: Virtual time.
        ec2: Launches instances.
        karpenter: Has the nodes.
    """

    def __init__(self, event_queue: EventQueue, ec2: Ec2, karpenter: Karpenter) -> None:
        self._event_queue, self._ec2, self._karpenter = event_queue, ec2, karpenter

    def begin(self, outage: Outage) -> Callable[[], None]:
        """Puts an outage in force. Returns the function that ends it."""
        if outage.most is not None:
            return self._cap(outage.shortage, outage.most)
        self._ec2.begin(outage.shortage)
        active = [True]
        if outage.every_s:
            self._event_queue.after(outage.every_s, partial(self._give_more, outage, active))

        def end() -> None:
            active[0] = False
            self._ec2.end(outage.shortage)

        return end

    def interrupt(self, offering: Offering, left: int) -> None:
        """Takes spot instances of an offering back, the oldest first, until `left` are left. Others stay."""
        if offering.capacity_type == SPOT:
            running = [claim for claim in self._karpenter.running(offering) if not claim.gone]
            for claim in running[: max(0, len(running) - left)]:
                self._karpenter.interrupt(claim)

    def concerned(self, shortage: Shortage) -> list[Offering]:
        """The offerings of all NodePools that a shortage is about."""
        pools = self._karpenter.pools.values()
        found = (offering for pool in pools for offering in self._karpenter.offerings(pool, pool.types))
        return [offering for offering in dict.fromkeys(found) if shortage.concerns(offering)]

    def _cap(self, shortage: Shortage, most: int) -> Callable[[], None]:
        """Lets at most `most` instances of each offering run: the room is what is left of that, and spot beyond it is taken back."""
        parts = []
        for kind, zone, bought in self.concerned(shortage):
            offering = Offering(kind, zone, bought)
            running = sum(not claim.gone for claim in self._karpenter.running(offering))
            parts.append(Shortage((kind,), (zone,), shortage.code, (bought,), max(0, most - running)))
            self._ec2.begin(parts[-1])
            self.interrupt(offering, most)

        def end() -> None:
            for part in parts:
                self._ec2.end(part)

        return end

    def _give_more(self, outage: Outage, active: list[bool]) -> None:
        if active[0]:
            for offering in self.concerned(outage.shortage):
                self._ec2.give_more(outage.shortage, offering)
            self._event_queue.after(outage.every_s, partial(self._give_more, outage, active))
