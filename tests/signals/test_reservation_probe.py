"""The probe requests capacity reservations that nobody keeps: what it answers, what is left after a crash, and what bounds the calls."""

from __future__ import annotations

import itertools
import random
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.session import get_session
from botocore.validate import ParamValidator

from controller.policy.model import ProbeAnswer, ReturnProbe
from controller.signals.budget import CallBudget
from controller.signals.reservation_probe import MOST_GRANTS, PROBE_S, TAG, ReservationProbe
from failover_testbed.capacity.ec2 import Code, Ec2, Shortage
from failover_testbed.capacity.reservations import Reservations
from failover_testbed.clocks import ManualClock
from tests.support.applications import NOW, seed_units

ZONES = ("us-west-2a", "us-west-2b")
OFFERINGS = tuple(("inf2.xlarge", zone) for zone in ZONES)
UNITS = tuple(replace(unit, probe=ReturnProbe.RESERVATION) for unit in seed_units())
ALL_OUT = Shortage(("inf2.xlarge",))


class CrashError(BaseException):
    """The process ends here."""


class World:
    """EC2 and a controller's probe, which asks for one unit of one application."""

    def __init__(self, *shortages: Shortage) -> None:
        self.clock = ManualClock(NOW)
        self.ec2 = Ec2(ZONES, random.Random(1))
        self.reservations = Reservations(self.ec2.refused, self.clock.now)
        for one in shortages:
            self.ec2.begin(one)
        self.start()

    def start(self, installation: str = "failover-system") -> None:
        """Starts a controller, in place of the one before."""
        self.probe = ReservationProbe(self.reservations, self.clock, installation)

    def round(self, application: str = "shop/sd21", units: Any = UNITS) -> ProbeAnswer | None:
        """A decision wants to know, and the job runs."""
        self.probe.ask(application, {"sd21-inf2": OFFERINGS})
        self.probe.poll(units)
        return self.probe.answer(application, "sd21-inf2")


def test_a_refusal_of_every_offering_is_an_answer() -> None:
    """Nothing is made, so nothing costs anything."""
    world = World(ALL_OUT)
    assert world.round() == ProbeAnswer(NOW)
    assert world.reservations.made == {}


def test_the_first_offering_that_ec2_has_ends_the_round() -> None:
    """The reservation is cancelled before anybody knows of it."""
    world = World(Shortage(("inf2.xlarge",), ("us-west-2a",)))
    assert world.round() == ProbeAnswer(NOW, "inf2.xlarge", "us-west-2b")
    (made,) = world.reservations.made.values()
    assert made.tags == {TAG: "failover-system"}
    assert made.ends_at == NOW + 300
    assert made.ended_at is not None


def test_a_round_begins_once_a_minute_and_only_where_a_decision_asks() -> None:
    world = World(ALL_OUT)
    world.round()
    after = world.reservations.calls
    world.clock.advance(PROBE_S - 1)
    world.round()
    assert world.reservations.calls == after
    world.clock.advance(1)
    assert world.round() == ProbeAnswer(NOW + PROBE_S)
    asked = world.reservations.calls
    world.clock.advance(2 * PROBE_S)
    world.probe.poll(UNITS)  # no decision has named it for longer than a round
    assert world.reservations.calls == asked


def test_applications_that_want_the_same_share_a_round() -> None:
    world = World(ALL_OUT)
    world.probe.ask("shop/other", {"sd21-inf2": OFFERINGS})
    world.probe.ask("shop/sd21", {"sd21-inf2": OFFERINGS})
    assert world.probe.poll(UNITS) == {"shop/sd21", "shop/other"}
    assert world.reservations.calls == 1 + len(OFFERINGS)  # and one list of what is left


@pytest.mark.parametrize("code", ["UnauthorizedOperation", "RequestLimitExceeded", "VcpuLimitExceeded", "InternalError"])
def test_what_is_neither_made_nor_refused_is_no_answer(code: str) -> None:
    """The canary asks then; a missing permission is named once, with the actions that the role needs."""
    world = World(ALL_OUT)

    def fail(call: str) -> None:
        if call == "create before":
            raise ClientError({"Error": {"Code": code, "Message": "no"}}, "CreateCapacityReservation")

    world.reservations.interrupts = fail
    assert world.round() is None
    source = world.probe.source()
    assert source.absent is (code == "UnauthorizedOperation")
    assert ("ec2:CreateCapacityReservation" in source.problem) is source.absent
    world.reservations.interrupts = lambda _: None
    world.clock.advance(PROBE_S)
    assert world.round() == ProbeAnswer(NOW + PROBE_S)
    assert world.probe.source().problem == ""


def test_a_quota_is_no_refusal() -> None:
    """EC2 says nothing about capacity then."""
    assert World(replace(ALL_OUT, code=Code.QUOTA)).round() is None


def test_an_offering_that_ec2_does_not_sell_is_left_out() -> None:
    world = World(ALL_OUT)

    def fail(call: str) -> None:
        if call == "create before" and world.reservations.calls % 2 == 0:
            raise ClientError({"Error": {"Code": "Unsupported", "Message": "no"}}, "CreateCapacityReservation")

    world.reservations.interrupts = fail
    assert world.round() == ProbeAnswer(NOW)


def test_capacity_that_comes_and_goes_costs_no_more_than_the_bound() -> None:
    """A unit whose return is granted and refused in turn: after the sixth reservation within an hour the canary asks."""
    world = World()
    for _ in range(30):
        world.round()
        world.clock.advance(PROBE_S)
    assert len(world.reservations.made) == MOST_GRANTS
    world.clock.advance(3600)
    world.round()
    assert len(world.reservations.made) == MOST_GRANTS + 1


def test_the_budget_bounds_the_calls_of_all_applications() -> None:
    world = World(ALL_OUT)
    world.probe = ReservationProbe(world.reservations, world.clock, "failover-system", CallBudget(0.1, 4, world.clock))
    for place in range(10):
        world.probe.ask("shop/sd21", {f"unit-{place}": ((f"inf2.{place}xlarge", "us-west-2a"), ("inf2.xlarge", "us-west-2b"))})
    world.probe.poll(UNITS)
    assert world.reservations.calls <= 1 + 4


# --- what is left -----------------------------------------------------------------------------------------------------------------------

POINTS = ("create before", "create after", "cancel before", "cancel after", "describe before")


@pytest.mark.parametrize(("first", "second"), [*itertools.product(POINTS, POINTS)])
def test_no_reservation_outlives_a_crash(first: str, second: str) -> None:
    """A process dies at one point, its successor at another, and a third lives: nothing is left, and it finds out what EC2 has."""
    world = World()
    for point in (first, second):

        def die(call: str, at: str = point) -> None:
            if call == at:
                raise CrashError(at)

        world.reservations.interrupts = die
        with suppress(CrashError):
            world.round()
        world.start()
        world.clock.advance(PROBE_S)
    world.reservations.interrupts = lambda _: None
    answer = world.round()
    assert world.reservations.left == []
    assert answer is not None
    assert answer.granted


@pytest.mark.parametrize("lost", ["create after", "cancel before", "cancel after"])
def test_a_lost_answer_leaves_nothing(lost: str) -> None:
    """The connection breaks: whether EC2 made or cancelled it is not known. The next run of the job lists by tag, before it asks again."""
    world, broken = World(), [lost]

    def fail(call: str) -> None:
        if call in broken:
            broken.remove(call)
            raise ClientError({"Error": {"Code": "RequestLimitExceeded", "Message": "lost"}}, "CreateCapacityReservation")

    world.reservations.interrupts = fail
    assert world.round() is None
    world.clock.advance(PROBE_S)
    world.probe.poll(())  # also where the setting is gone meanwhile
    assert world.reservations.left == []


def test_a_reservation_that_ec2_does_not_know_yet_is_cancelled_by_the_next_run() -> None:
    """EC2 is eventually consistent: right behind its making it may not be found."""
    world, hidden = World(), ["cancel before"]

    def hide(call: str) -> None:
        if call in hidden:
            hidden.remove(call)
            raise ClientError({"Error": {"Code": "InvalidCapacityReservationId.NotFound", "Message": "no"}}, "CancelCapacityReservation")

    world.reservations.interrupts = hide
    answer = world.round()
    assert answer is not None
    assert answer.granted
    assert len(world.reservations.left) == 1
    world.probe.poll(UNITS)
    assert world.reservations.left == []


def test_the_reservations_of_another_installation_are_left_alone() -> None:
    world = World()

    def die(call: str) -> None:
        if call == "cancel before":
            raise CrashError(call)

    world.reservations.interrupts = die
    with pytest.raises(CrashError):
        world.round()
    world.reservations.interrupts = lambda _: None
    world.start("another")
    world.probe.poll(UNITS)
    assert len(world.reservations.left) == 1


def test_nothing_is_called_where_no_unit_is_probed() -> None:
    """Neither the role nor the bucket of calls is touched by users who did not choose it."""
    world = World()
    world.probe.poll(seed_units())
    assert world.reservations.calls == 0


# --- the request ------------------------------------------------------------------------------------------------------------------------


def test_the_requests_are_ec2s() -> None:
    """Botocore's own model of EC2 accepts every argument of every call."""
    sent: list[tuple[str, dict[str, Any]]] = []

    class Client:
        """Notes each call."""

        def client(self, _: str) -> Client:
            return self

        def __getattr__(self, method: str) -> Any:
            def call(**arguments: Any) -> dict[str, Any]:
                sent.append((method, arguments))
                return {"CapacityReservation": {"CapacityReservationId": "cr-1", "State": "active"}, "CapacityReservations": []}

            return call

    probe = ReservationProbe(Client(), ManualClock(NOW), "failover-system")
    probe.ask("shop/sd21", {"sd21-inf2": OFFERINGS})
    probe.poll(UNITS)
    model = get_session().get_service_model("ec2")
    names = {"".join(part.title() for part in method.split("_")): arguments for method, arguments in sent}
    assert set(names) == {"DescribeCapacityReservations", "CreateCapacityReservation", "CancelCapacityReservation"}
    for operation, arguments in names.items():
        report = ParamValidator().validate(arguments, model.operation_model(operation).input_shape)
        assert not report.has_errors(), report.generate_report()
