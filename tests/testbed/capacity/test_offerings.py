"""Karpenter's cache of unavailable offerings."""

from __future__ import annotations

from failover_testbed.capacity.ec2 import Code, FleetError, Offering
from failover_testbed.capacity.offerings import Offerings, asked_first

ZONES = ("a", "b")


def error(instance_type: str, zone: str, code: Code = Code.CAPACITY) -> FleetError:
    return FleetError(Offering(instance_type, zone), code, "")


def test_a_refused_offering_is_left_out_until_its_entry_ends() -> None:
    subject = Offerings(ZONES)
    subject.remember([error("inf2", "a")], 180.0)
    assert subject.available(("inf2", "trn1"), 179.9) == [Offering("inf2", "b"), Offering("trn1", "a"), Offering("trn1", "b")]
    assert subject.available(("inf2",), 180.0) == [Offering("inf2", "a"), Offering("inf2", "b")]


def test_a_full_subnet_concerns_every_type_in_its_zone() -> None:
    subject = Offerings(ZONES)
    subject.remember([error("inf2", "a", Code.ADDRESSES)], 180.0)
    assert subject.available(("inf2", "trn1"), 0.0) == [Offering("inf2", "b"), Offering("trn1", "b")]


def test_a_type_without_an_offering_is_not_available() -> None:
    subject = Offerings(ZONES)
    subject.remember([error("inf2", zone) for zone in ZONES], 180.0)
    assert subject.available_types(("inf2", "trn1"), 0.0) == ("trn1",)


def test_karpenter_requests_spot_before_on_demand() -> None:
    subject = Offerings(ZONES)
    kinds = ("on-demand", "spot")
    assert asked_first(subject.available(("inf2",), 0.0, kinds)) == [Offering("inf2", "a", "spot"), Offering("inf2", "b", "spot")]
    subject.remember([FleetError(Offering("inf2", zone, "spot"), Code.CAPACITY, "") for zone in ZONES], 180.0)
    assert asked_first(subject.available(("inf2",), 0.0, kinds)) == [Offering("inf2", "a"), Offering("inf2", "b")]
    assert asked_first([]) == []
