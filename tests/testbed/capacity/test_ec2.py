"""What EC2 has of each offering, and how it answers a fleet request."""

from __future__ import annotations

import random

import pytest

from failover_testbed.capacity.ec2 import UNLIMITED, Code, Ec2, FleetAnswer, Offering, Shortage

ZONES = ("a", "b", "c")
ALL = [Offering("inf2", zone) for zone in ZONES]


def region(*shortages: Shortage, answer: FleetAnswer = FleetAnswer.ONE_ZONE, vague: float = 0.0) -> Ec2:
    ec2 = Ec2(ZONES, random.Random(1), answer=answer, vague=vague)
    for shortage in shortages:
        ec2.begin(shortage)
    return ec2


def test_one_zone_a_call_names_one_offering_and_launches_in_none() -> None:
    fleet = region(Shortage(("inf2",))).create_fleet(ALL, 3)
    assert fleet.launched == ()
    assert [(error.offering.instance_type, error.code) for error in fleet.errors] == [("inf2", Code.CAPACITY)]


def test_all_zones_a_call_names_each_exhausted_offering_and_launches_in_another() -> None:
    fleet = region(Shortage(("inf2",), ("a", "b")), answer=FleetAnswer.ALL_ZONES).create_fleet(ALL, 3)
    assert fleet.launched == (Offering("inf2", "c"),) * 3
    assert [error.offering.zone for error in fleet.errors] == ["a", "b"]


@pytest.mark.parametrize(("answer", "granted", "refused"), [(FleetAnswer.ONE_ZONE, 1, 1), (FleetAnswer.ALL_ZONES, 3, 3)])
def test_what_is_left_is_granted_beside_the_refusal(answer: FleetAnswer, granted: int, refused: int) -> None:
    ec2 = region(Shortage(("inf2",), left=1), answer=answer)
    fleet = ec2.create_fleet(ALL, 10)
    assert (len(fleet.launched), len(fleet.errors)) == (granted, refused)
    assert {offering: ec2.room(offering) for offering in ALL} == {one: 0 if one in fleet.launched else 1 for one in ALL}


def test_the_last_instance_is_no_refusal() -> None:
    ec2 = region(Shortage(("inf2",), left=1))
    assert ec2.create_fleet(ALL[:1]).errors == ()
    assert len(ec2.create_fleet(ALL[:1]).errors) == 1


def test_a_shortage_that_begins_again_has_its_room_again_and_may_give_more() -> None:
    shortage = Shortage(("inf2",), left=1)
    ec2 = region(shortage)
    ec2.create_fleet(ALL[:1])
    ec2.give_more(shortage, ALL[0])
    assert ec2.room(ALL[0]) == 1
    ec2.create_fleet(ALL[:1])
    ec2.end(shortage)
    assert ec2.room(ALL[0]) == UNLIMITED
    ec2.begin(shortage)
    assert ec2.room(ALL[0]) == 1


def test_a_shortage_of_spot_leaves_on_demand() -> None:
    ec2 = region(Shortage(("inf2",), capacity_types=("spot",)))
    assert ec2.exhausted([one._replace(capacity_type="spot") for one in ALL])
    assert not ec2.exhausted([*ALL, ALL[0]._replace(capacity_type="spot")])


def test_a_vague_error_names_neither_type_nor_zone() -> None:
    (error,) = region(Shortage(("inf2",)), vague=1.0).create_fleet(ALL).errors
    assert error.code is Code.UNFULFILLABLE
    assert "inf2" not in error.message
    assert not any(f"({zone})" in error.message for zone in ZONES)


@pytest.mark.parametrize("answer", FleetAnswer)
def test_fis_refuses_a_request_in_one_of_its_zones_and_no_other(answer: FleetAnswer) -> None:
    ec2 = region(answer=answer)
    ec2.injected = lambda: ("a", "b")
    (error,) = ec2.create_fleet(ALL[:1], 2).errors
    assert (error.code, "(a)" in error.message) == (Code.CAPACITY, True)
    assert len(ec2.create_fleet(ALL[2:], 2).launched) == 2
    assert len(ec2.create_fleet(ALL[:2], 2).launched) == 2
    assert len(ec2.create_fleet(ALL, 2).launched) == 2
