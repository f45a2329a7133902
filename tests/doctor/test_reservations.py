"""The advice on capacity reservations: a table of gate, selector terms, NodePool and account; and how each of these is read."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.clients.kube import NODE_CLASSES, NODE_POOLS
from controller.clock import SystemClock
from controller.errors import Forbidden
from controller.policy.model import Reservation
from failover_setup.doctor.cluster.account import Account, read_account
from failover_setup.doctor.cluster.reservations import Pool, advice, feature_gate
from failover_setup.doctor.report import Level
from tests.doctor.test_cluster import Complete, env, image, results
from tests.support.applications import seed_units

BAD, WARN, DUNNO, OK = Level.PROBLEM, Level.WARNING, Level.UNKNOWN, None

OPEN = Reservation("cr-open", "inf2.xlarge", "us-west-2a", free=2, total=4)
TARGETED = Reservation("cr-targeted", "inf2.xlarge", "us-west-2a", free=1, total=1, targeted=True)
BLOCK = Reservation("cr-block", "inf2.xlarge", "us-west-2a", free=1, total=1, block=True, ends_at=2e9)

GATE_ON = "settings.featureGates.reservedCapacity: true"
GATE_OFF = "settings.featureGates.reservedCapacity: false"
TERMS = "spec.capacityReservationSelectorTerms of EC2NodeClass default"
FIRST = "list reserved first in the requirement karpenter.sh/capacity-type of NodePool inf2"
GRANT = "ec2:DescribeCapacityReservations"

# gate, selector terms, NodePool allows (reserved, other), the account's reservations that match, level, what the fix names
TABLE: tuple[tuple[bool | None, bool | None, tuple[bool, bool], tuple[Reservation, ...] | None, Level | None, tuple[str, ...]], ...] = (
    # The gate is on, and nothing selects a reservation: on-demand launches refuse what there is.
    (True, False, (False, True), (OPEN,), WARN, (TERMS, FIRST, GATE_OFF)),
    (True, False, (True, True), (OPEN,), WARN, (TERMS, GATE_OFF)),
    (True, False, (False, True), (TARGETED,), WARN, (TERMS, FIRST)),
    (True, False, (False, True), (BLOCK,), WARN, (TERMS, FIRST)),
    (True, False, (False, True), (), OK, ()),
    (True, False, (True, True), (), OK, ()),
    (True, False, (False, True), None, DUNNO, (GRANT,)),
    (True, False, (True, True), None, DUNNO, (GRANT,)),
    # It is on, and the node class selects some.
    (True, True, (True, True), (OPEN,), OK, ()),
    (True, True, (True, True), None, OK, ()),
    (True, True, (True, False), (BLOCK,), OK, ()),
    (True, True, (False, True), (OPEN,), WARN, (FIRST,)),
    (True, True, (False, True), None, WARN, (FIRST,)),
    # It is off: on-demand launches use open reservations, and nothing uses the others.
    (False, False, (False, True), (OPEN,), OK, ()),
    (False, False, (True, True), (OPEN,), OK, ()),
    (False, False, (False, True), (), OK, ()),
    (False, False, (False, True), None, OK, ()),
    (False, False, (False, True), (TARGETED,), WARN, (TERMS, FIRST, GATE_ON)),
    (False, False, (True, True), (BLOCK,), WARN, (TERMS, GATE_ON)),
    (False, True, (True, True), (OPEN,), WARN, (GATE_ON,)),
    (False, True, (False, True), None, WARN, (FIRST, GATE_ON)),
    (False, True, (True, False), (OPEN,), BAD, (GATE_ON,)),
    # It is not known.
    (None, False, (False, True), (), OK, ()),
    (None, False, (False, True), (OPEN,), DUNNO, ("settings.featureGates.reservedCapacity",)),
    (None, False, (False, True), None, DUNNO, ("settings.featureGates.reservedCapacity",)),
    (None, True, (True, True), (OPEN,), DUNNO, ("it must be on",)),
    # A NodePool that allows only reserved, without a selection, launches nothing whatever the gate.
    (True, False, (True, False), (OPEN,), BAD, (TERMS, "on-demand in NodePool inf2")),
    (False, False, (True, False), None, BAD, (TERMS,)),
    (None, False, (True, False), (), BAD, (TERMS,)),
    # Its node class was not found.
    (True, None, (True, True), (OPEN,), DUNNO, ()),
)


@pytest.mark.parametrize(("gate", "terms", "allows", "account", "level", "named"), TABLE)
def test_the_advice_follows_from_what_is_observed(
    gate: bool | None,
    terms: bool | None,
    allows: tuple[bool, bool],
    account: tuple[Reservation, ...] | None,
    level: Level | None,
    named: tuple[str, ...],
) -> None:
    """Each case has its level, and the fix names the field."""
    reserved, other = allows
    found = advice(Pool("inf2", "default", reserved=reserved, other=other, terms=terms), gate, account, "IAM does not allow it")
    assert (found.level if found else None) == level, found
    assert all(part in found.fix for part in named) if found else not named, found
    if found is not None and account and GATE_OFF in found.fix:
        assert not any(one.targeted or one.block for one in account), "with the gate off nothing could use them"


def test_terms_that_find_nothing_are_a_warning() -> None:
    """Karpenter says in the status what they find; before it has, nothing is known."""
    pool = Pool("inf2", "default", reserved=True, terms=True, selected=False)
    found = advice(pool, True, None)
    assert found is not None
    assert (found.level, "status.capacityReservations is empty" in found.seen) == (WARN, True)


@pytest.mark.parametrize(
    ("gates", "version", "expected"),
    [
        ("ReservedCapacity=true,NodeRepair=false", "1.14.1", True),
        ("NodeRepair=true, ReservedCapacity=false", "1.14.1", False),
        ("ReservedCapacity=maybe", "1.14.1", None),
        ("NodeRepair=true", "1.14.1", None),
        (None, "1.14.1", True),
        (None, "1.5.2", False),
        (None, "latest", None),
    ],
)
def test_the_gate_is_read_from_karpenters_environment(gates: str | None, version: str, expected: bool | None) -> None:
    """Where it states no gates at all, its version decides: the gate is on since 1.6."""
    made = Complete()
    env(made, "karpenter", FEATURE_GATES=gates)
    image(made, "karpenter", f"public.ecr.aws/karpenter/controller:{version}")
    assert feature_gate(made.observed()) is expected


def requirements(made: Complete, *kinds: str, operator: str = "In") -> None:
    spec: dict[str, Any] = made.one("inf2")["spec"]["template"]["spec"]
    spec["requirements"][1] = {"key": "karpenter.sh/capacity-type", "operator": operator, "values": list(kinds)}


def gate(made: Complete, value: str) -> None:
    env(made, "karpenter", FEATURE_GATES=f"ReservedCapacity={value}")


def advised(made: Complete, account: Account) -> list[tuple[Level, str, str]]:
    made.account = account
    return [(one.finding.level, one.finding.seen, one.finding.fix) for one in results(made, "capacity-reservations")]


def test_a_cluster_whose_gate_refuses_an_open_reservation_is_warned() -> None:
    """Of all NodePools only the one whose type is reserved, with the reservation and both ways out."""
    made = Complete()
    gate(made, "true")
    ((level, seen, fix),) = advised(made, Account((OPEN, Reservation("cr-p5", "p5.48xlarge", "us-west-2a", total=1)), ""))
    assert (level, "cr-open (inf2.xlarge, us-west-2a, 2 of 4 free)" in seen, "cr-p5" in seen) == (WARN, True, False)
    assert GATE_OFF in fix


def test_a_selected_reservation_is_fine_and_its_absence_is_not() -> None:
    """The node class's own terms and status decide."""
    made = Complete()
    gate(made, "true")
    made.listed[NODE_CLASSES.name] = [{**copy.deepcopy(made.one("default")), "status": {"capacityReservations": [{"id": "cr-open"}]}}]
    made.one("default")["spec"]["capacityReservationSelectorTerms"] = [{"id": "cr-open"}]
    made.listed[NODE_POOLS.name] = [made.one("inf2")]
    requirements(made, "reserved", "on-demand")
    assert [one[0] for one in advised(made, Account((OPEN,), ""))] == [Level.OK]
    made.one("default")["status"]["capacityReservations"] = []
    made.one("default")["status"]["conditions"] = []
    assert [one[0] for one in advised(made, Account((OPEN,), ""))] == [WARN]


@pytest.mark.parametrize(("kinds", "operator", "level"), [(("on-demand",), "NotIn", Level.PROBLEM), ((), "DoesNotExist", Level.OK)])
def test_every_operator_of_a_requirement_counts(kinds: tuple[str, ...], operator: str, level: Level) -> None:
    """What excludes on-demand and spot leaves reserved alone; what excludes everything leaves nothing to advise on."""
    made = Complete()
    made.listed[NODE_POOLS.name] = [made.one("inf2")]
    requirements(made, *kinds, *(("spot",) if kinds else ()), operator=operator)
    assert [one[0] for one in advised(made, Account((), ""))] == [level]


def test_the_installed_values_leave_open_reservations_to_on_demand_launches() -> None:
    """`doctor` has nothing to say about a cluster that follows the guide, whatever open reservations the account has."""
    values = yaml.safe_load((Path(__file__).parents[2] / "deploy" / "cluster" / "karpenter.yaml").read_text())
    on = values["settings"]["featureGates"]["reservedCapacity"]
    assert advice(Pool("inf2", "default"), on, (OPEN,)) is None


class _Ec2:
    """EC2 with one reservation, or without the permission."""

    def __init__(self, *, forbidden: bool = False) -> None:
        self.forbidden = forbidden

    def client(self, _: str) -> _Ec2:
        return self

    def describe_instance_type_offerings(self, **_: Any) -> dict[str, Any]:
        return {}

    def describe_capacity_reservations(self, **_: Any) -> dict[str, Any]:
        if self.forbidden:
            raise Forbidden("ec2 DescribeCapacityReservations", code="UnauthorizedOperation")
        one = {"CapacityReservationId": "cr-1", "InstanceType": "inf2.xlarge", "AvailabilityZone": "us-west-2a", "State": "active"}
        end = {"ReservationType": "capacity-block", "EndDate": datetime(2026, 11, 27, 14, tzinfo=UTC), "TotalInstanceCount": 2}
        return {"CapacityReservations": [{**one, **end, "AvailableInstanceCount": 1, "InstanceMatchCriteria": "targeted"}]}


def test_the_account_is_read_or_named_as_unknown() -> None:
    """With kind and end of a reservation; without the permission, by its name."""
    read = read_account(_Ec2(), SystemClock(), seed_units())  # type: ignore[arg-type]
    end = datetime(2026, 11, 27, 14, tzinfo=UTC).timestamp()
    assert read.reservations == (Reservation("cr-1", "inf2.xlarge", "us-west-2a", 1, 2, block=True, targeted=True, ends_at=end),)
    refused = read_account(_Ec2(forbidden=True), SystemClock(), seed_units())  # type: ignore[arg-type]
    assert (refused.reservations, "IAM does not allow ec2:DescribeCapacityReservations" in refused.problem) == (None, True)
    assert read_account(_Ec2(), SystemClock(), ()).reservations is None  # type: ignore[arg-type]
