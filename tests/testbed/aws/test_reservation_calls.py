"""The emulated account's capacity reservations over HTTP: what the controller's own probe finds out by them, and what it leaves."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from controller.errors import Rejected
from controller.policy.model import ReturnProbe
from controller.signals.aws_calls import AwsCalls
from controller.signals.budget import CallBudget
from controller.signals.reservation_probe import PROBE_S, TAG, ReservationProbe
from failover_testbed.aws.server import EmulatedAws
from failover_testbed.capacity.ec2 import Ec2, Shortage
from failover_testbed.capacity.reservations import Reservations
from failover_testbed.clocks import ManualClock
from tests.support.applications import NOW, seed_units

ZONES = ("us-west-2a", "us-west-2b")
OFFERINGS = tuple(("inf2.xlarge", zone) for zone in ZONES)
UNITS = tuple(replace(unit, probe=ReturnProbe.RESERVATION) for unit in seed_units())


@pytest.fixture
def aws() -> Iterator[EmulatedAws]:
    with EmulatedAws() as started:
        yield started


def test_a_probe_is_refused_in_a_shortage_and_granted_behind_it(aws: EmulatedAws) -> None:
    """EC2 answers the refusal with status 500, as for a launch: the client tries it again before it believes it."""
    clock, ec2 = ManualClock(NOW), Ec2(ZONES, random.Random(1))
    aws.reservations = made = Reservations(ec2.refused, clock.now)
    probe = ReservationProbe(aws, clock, "failover-system")
    shortage = Shortage(("inf2.xlarge",))
    ec2.begin(shortage)
    answers = []
    for _ in range(2):
        probe.ask("shop/sd21", {"sd21-inf2": OFFERINGS})
        probe.poll(UNITS)
        answers.append(probe.answer("shop/sd21", "sd21-inf2"))
        ec2.shortages.clear()
        clock.advance(PROBE_S)
    assert [one is not None and one.granted for one in answers] == [False, True]
    (only,) = made.made.values()
    assert (only.offering, dict(only.tags), made.left) == (OFFERINGS[0] + ("on-demand",), {TAG: "failover-system"}, [])


def test_an_account_without_them_says_that_they_are_not_emulated(aws: EmulatedAws) -> None:
    with pytest.raises(Rejected, match="not emulated"):
        AwsCalls(aws, CallBudget(1, 1, ManualClock(NOW))).call("ec2", "DescribeCapacityReservations", {})
