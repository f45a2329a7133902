"""Karpenter's cache of unavailable offerings."""

from __future__ import annotations

from failover_testbed.capacity.ec2 import Code, FleetError
from failover_testbed.capacity.offerings import Offerings

ZONES = ("a", "b")


def error(instance_type: str, zone: str, code: Code = Code.CAPACITY) -> FleetError:
    return FleetError((instance_type, zone), code, "")


def test_a_refused_offering_is_left_out_until_its_entry_ends() -> None:
    subject = Offerings(ZONES)
    subject.remember([error("inf2", "a")], 180.0)
    assert subject.available(("inf2", "trn1"), 179.9) == [("inf2", "b"), ("trn1", "a"), ("trn1", "b")]
    assert subject.available(("inf2",), 180.0) == [("inf2", "a"), ("inf2", "b")]


def test_a_full_subnet_concerns_every_type_in_its_zone() -> None:
    subject = Offerings(ZONES)
    subject.remember([error("inf2", "a", Code.ADDRESSES)], 180.0)
    assert subject.available(("inf2", "trn1"), 0.0) == [("inf2", "b"), ("trn1", "b")]


def test_a_type_without_an_offering_is_not_available() -> None:
    subject = Offerings(ZONES)
    subject.remember([error("inf2", zone) for zone in ZONES], 180.0)
    assert subject.available_types(("inf2", "trn1"), 0.0) == ("trn1",)
