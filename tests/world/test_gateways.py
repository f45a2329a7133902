"""How the real AWS Load Balancer Controller handles a Gateway and its route: the table that the fake has to pass as well."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from failover_harness.control_plane import crds
from failover_harness.control_plane.control_plane import ControlPlane
from tests.conftest import skip_loudly
from tests.support import gateway_rows as rows
from tests.support.gateway_rows import ROWS
from tests.world.gateways import GatewayBed, defined


@pytest.fixture
def gateway_definitions(request: pytest.FixtureRequest, installed: ControlPlane) -> Iterator[None]:
    """The Gateway API, for one test."""
    if not crds.GATEWAY.is_dir():
        skip_loudly(request.config, "GATEWAYS WITH A REAL AWS-LOAD-BALANCER-CONTROLLER", "it needs the definitions in shared/crds-gateway")
    with defined(installed):
        yield


@pytest.fixture
def bed(request: pytest.FixtureRequest, gateway_definitions: None, installed: ControlPlane, namespace: str) -> Iterator[GatewayBed]:
    """An application without a route, and a load-balancer controller that was started after the definitions were there."""
    with GatewayBed(installed, namespace, request.getfixturevalue("balancing")) as made:
        yield made


def test_every_row_of_the_table(bed: GatewayBed) -> None:
    """The same calls in the same order as the fake makes, the same main rule, the same conditions."""
    for row in ROWS:
        calls = bed.play(row)
        rule = rows.main_rule(bed.rules())
        shown = calls, rows.brief(rule, bed.services()), rows.sticky_s(rule), bed.conditions()
        assert shown == (list(row.calls), row.main, row.stickiness_s, rows.wanted(row)), row.name
    order = [rows.header_of(one) for one in bed.rules()]
    assert order == ["", "capacity", "units", ""], "an exact path before header matches before the main rule"
    names = {bed.hostname(), bed.hostname("other")}
    assert names == {one["DNSName"].lower() for one in bed.balancing.aws.client("elbv2").describe_load_balancers()["LoadBalancers"]}
    assert bed.conditions("other") == bed.conditions()
