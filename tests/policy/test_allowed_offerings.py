"""What a unit may be launched as, and which refusals are about that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.policy.evidence import allowed_offerings
from controller.policy.evidence.proof import Allowed, _Concern
from controller.policy.model import Cause, PoolObservation, Refusal, Reservation, Unit, UnitObservation
from tests.policy.support import INF2
from tests.support.applications import NOW, snapshot

OTHER = PoolObservation("other", instance_types=("g6.xlarge",), zones=("us-west-2c",))


def unit(**changes: Any) -> Unit:
    """inf2 of the AWS sample, whose file names neither types nor zones."""
    return replace(snapshot().application.unit(INF2), instance_types=(), zones=(), **changes)


def observed(pool: PoolObservation | None = None, **changes: Any) -> UnitObservation:
    """inf2, whose NodePool says nothing unless it is given."""
    return replace(snapshot().units[INF2], pool=pool or PoolObservation("inf2"), **{"offered_zones": (), **changes})


def refusal(**changes: Any) -> Refusal:
    """A refusal of a NodeClaim that may be anything."""
    return replace(Refusal("claim", "inf2", NOW, Cause.CAPACITY, ("ICE",), "a"), **changes)


@pytest.mark.parametrize(
    ("of", "pool", "seen", "expected"),
    [
        pytest.param({}, {}, {}, Allowed(("inf2.xlarge",), ((),)), id="nobody says: the priced type"),
        pytest.param(
            {}, {"failures": (refusal(instance_types=("a", "b")),)}, {}, Allowed(("inf2.xlarge", "a", "b"), ((),) * 3), id="left open"
        ),
        pytest.param({}, {"instance_types": ("a",), "zones": ("z",)}, {}, Allowed(("a",), (("z",),)), id="the NodePool's requirements"),
        pytest.param({}, {"instance_types": ("a",), "launchable": ("b",)}, {}, Allowed(("b",), ((),)), id="what it may launch goes before"),
        pytest.param(
            {"instance_types": ("c",), "zones": ("y",)},
            {"instance_types": ("a",), "zones": ("z",)},
            {},
            Allowed(("c",), (("y",),)),
            id="the file goes before both",
        ),
        pytest.param(
            {}, {"instance_types": ("a", "b")}, {"pod_instance_types": ("b", "c")}, Allowed(("b",), ((),)), id="pods narrow types"
        ),
        pytest.param({}, {"instance_types": ("a",)}, {"pod_instance_types": ("c",)}, Allowed(("c",), ((),)), id="pods alone"),
        pytest.param({}, {"zones": ("x", "y")}, {"pod_zones": ("y", "z")}, Allowed(("inf2.xlarge",), (("y",),)), id="pods narrow zones"),
        pytest.param({}, {"zones": ("x",)}, {"pod_zones": ("z",)}, Allowed(("inf2.xlarge",), (("z",),)), id="zones of pods alone"),
        pytest.param(
            {},
            {"capacity_types": ("on-demand", "spot")},
            {"pod_capacity_types": ("on-demand",)},
            Allowed(("inf2.xlarge",), ((),), ("on-demand",)),
            id="pods narrow capacity types",
        ),
        pytest.param(
            {}, {}, {"pod_capacity_types": ("spot",)}, Allowed(("inf2.xlarge",), ((),), ("spot",)), id="capacity types of pods alone"
        ),
        pytest.param(
            {},
            {"instance_types": ("inf2.xlarge", "a"), "zones": ("x", "y")},
            {"offered_zones": ("y", "z")},
            Allowed(("inf2.xlarge", "a"), (("y",), ("x", "y"))),
            id="EC2 sells the priced type in some zones",
        ),
        pytest.param({}, {"zones": ("x",)}, {"offered_zones": ("z",)}, Allowed(("inf2.xlarge",), (("x",),)), id="none of the zones sold"),
        pytest.param({}, {}, {"offered_zones": ("z",)}, Allowed(("inf2.xlarge",), (("z",),)), id="zones that EC2 says alone"),
        pytest.param(
            {},
            {"capacity_types": ("spot",), "beyond_limit": ("b",), "open_family": True},
            {"unavailable": (("a", "z", "spot"),)},
            Allowed(("inf2.xlarge",), ((),), ("spot",), (("a", "z", "spot"),), None, ("b",), more=True),
            id="everything else",
        ),
        pytest.param(
            {"instance_types": ("c",)}, {"open_family": True}, {}, Allowed(("c",), ((),)), id="the file closes a family: no further types"
        ),
        pytest.param(
            {}, {"open_family": True}, {"pod_instance_types": ("c",)}, Allowed(("c",), ((),)), id="so do pods that require a type"
        ),
        pytest.param(
            {},
            {},
            {"reservations": (Reservation("r1", "a", "z", free=1, total=2), Reservation("r2", "b", "z", free=0, total=2))},
            Allowed(("inf2.xlarge",), ((),), reserved=frozenset({("a", "z")})),
            id="a reservation with a single free instance",
        ),
        pytest.param({}, {}, {"reservations": ()}, Allowed(("inf2.xlarge",), ((),), reserved=frozenset()), id="no reservations"),
    ],
)
def test_what_a_unit_may_be_launched_as(of: dict[str, Any], pool: dict[str, Any], seen: dict[str, Any], expected: Allowed) -> None:
    """The application file, else the NodePool, narrowed by what pods require and EC2 sells."""
    assert allowed_offerings(replace(unit(), **of), observed(PoolObservation("inf2", **pool), **seen)) == expected


def test_the_file_speaks_of_the_units_own_node_pool() -> None:
    """Another one launches what it says itself; a NodePool of the same name is the unit's own."""
    of = replace(unit(), instance_types=("c",), zones=("y",))
    seen = observed(PoolObservation("inf2", instance_types=("a",), zones=("z",)))
    assert allowed_offerings(of, seen, OTHER) == Allowed(("g6.xlarge",), (("us-west-2c",),))
    assert allowed_offerings(of, seen, replace(OTHER, open_family=True)).more
    assert allowed_offerings(of, seen, replace(OTHER, name="inf2")) == Allowed(("c",), (("y",),))


BOTH = Allowed(("a", "b"), (("x",), ("x", "y")), ("on-demand",))


@pytest.mark.parametrize(
    ("changes", "about"),
    [
        ({}, True),
        ({"instance_types": ("c",)}, False),
        ({"instance_types": ("b", "c")}, True),
        ({"zones": ("z",)}, False),
        ({"instance_types": ("a",), "zones": ("y",)}, False),
        ({"instance_types": ("b",), "zones": ("y",)}, True),
        ({"capacity_types": ("spot",)}, False),
        ({"capacity_types": ("spot",), "requirements_known": False}, True),
        ({"capacity_types": ("spot",), "inexact": ("capacity_types",)}, True),
        ({"capacity_types": ("spot",), "inexact": ("zones",)}, False),
        ({"pool_capacity_types": ("spot",), "requirements_known": False}, False),
        ({"offerings": (("a", "y"),)}, False),
        ({"offerings": (("c", "x"),)}, False),
        ({"offerings": (("b", "y"),)}, True),
        ({"offerings": (("a", "y"),), "truncated": True}, True),
        ({"named_type": "a", "named_zone": "y"}, False),
        ({"named_type": "b", "named_zone": "y"}, True),
        ({"named_type": "c"}, True),
        ({"named_zone": "z"}, True),
        ({"zones": ("z",), "offerings": (("a", "x"),), "truncated": True}, False),
    ],
)
def test_which_refusals_are_about_what_the_unit_may_have(changes: dict[str, Any], about: bool) -> None:
    """By what they name, else by what their NodeClaim allowed; and the same after any other refusal was looked up."""
    concern = _Concern(BOTH)
    assert concern.about(refusal(**changes)) is about
    for other in ({}, {"instance_types": ("c",)}, {"offerings": (("c", "x"),)}, {"zones": ("z",)}, {"capacity_types": ("spot",)}):
        assert concern.about(refusal(**other)) is _Concern(BOTH).about(refusal(**other))
        assert concern.about(refusal(claim="another", **changes)) is about
