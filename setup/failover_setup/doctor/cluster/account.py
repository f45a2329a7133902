"""What the checks of the cluster know of the AWS account: its capacity reservations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.clients.aws import AwsClients
from controller.clock import Clock
from controller.policy.model import Reservation, Unit
from controller.signals.ec2 import Ec2Poller


@dataclass(frozen=True, slots=True)
class Account:
    """The active capacity reservations of the units' instance types.

    Attributes:
        reservations: None where they are not known.
        problem: Why they are not known, "" where they are.
    """

    reservations: tuple[Reservation, ...] | None = None
    problem: str = "EC2 was not asked"


def read_account(clients: AwsClients, clock: Clock, units: Sequence[Unit]) -> Account:
    """Asks EC2 once, with the time-outs and bounds of the controller's own poller. Never raises.

    Args:
        clients: The AWS client factory.
        clock: The clock.
        units: Whose instance types; without any nothing is asked.
    """
    if not units:
        return Account(problem="no application file names an instance type")
    poller = Ec2Poller(clients, clock, quotas=False)
    poller.poll(units)
    found = poller.reservations({name for unit in units for name in (unit.instance_type, *unit.instance_types)})
    return Account(found, "" if found is not None else poller.source().problem)
