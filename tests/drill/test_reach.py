"""Which units a shortage reaches: those whose NodePool asks in one zone, and that a zone of the shortage."""

from __future__ import annotations

import re
from typing import Any

import pytest

from controller.errors import ConfigError
from controller.signals.node_labels import ZONE_LABEL
from failover_setup.drill.reach import reach
from failover_testbed.cluster import manifests
from tests.support.applications import application

UNITS = application().units[:2]
FIRST, SECOND = (unit.node_pool for unit in UNITS)


def pool(name: str, *zones: str) -> dict[str, Any]:
    """A NodePool that leaves these zones; () leaves all."""
    made = manifests.node_pool(name, ("inf2.xlarge",), {})
    if zones:
        made["spec"]["template"]["spec"]["requirements"].append({"key": ZONE_LABEL, "operator": "In", "values": [*zones]})
    return made


def test_each_unit_is_said_to_be_refused_or_not_and_why() -> None:
    said = reach(UNITS, [pool(FIRST, "us-west-2a"), pool(SECOND, "us-west-2a", "us-west-2b")], ("us-west-2a", "us-west-2b"))
    assert said.splitlines()[1:] == [
        f"EC2 refuses nodes of {UNITS[0].name}: NodePool {FIRST} asks in us-west-2a",
        f"EC2 does not refuse nodes of {UNITS[1].name}: NodePool {SECOND} asks in us-west-2a, us-west-2b",
    ]


@pytest.mark.parametrize(
    ("pools", "found"),
    [
        ([pool(FIRST), pool(SECOND)], f"found NodePool {FIRST} asks in every zone; NodePool {SECOND} asks in every zone; "),
        ([pool(FIRST, "us-west-2a", "us-west-2b")], f"found NodePool {FIRST} asks in us-west-2a, us-west-2b; "),
        ([pool(FIRST, "us-west-2c")], f"found NodePool {FIRST} asks in us-west-2c; NodePool {SECOND} does not exist; "),
        ([pool("other", "us-west-2a")], f"found NodePool {FIRST} does not exist; "),
    ],
)
def test_a_shortage_that_reaches_no_unit_is_refused_with_the_fix(pools: list[dict[str, Any]], found: str) -> None:
    fix = f"give NodePool {FIRST} the requirement topology.kubernetes.io/zone In [us-west-2a] while the drill runs"
    with pytest.raises(ConfigError, match=f"^refused: {re.escape(found)}.*{re.escape(fix)}$"):
        reach(UNITS, pools, ("us-west-2a", "us-west-2b"))
