"""How the real AWS Load Balancer Controller handles a Gateway and its route: the table that the fake has to pass as well."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from controller.policy.model import Mode
from failover_harness.control_plane import crds
from failover_harness.control_plane.control_plane import ControlPlane
from failover_harness.dataplane.envoy import NotThereError, binary
from failover_harness.dataplane.load import Load, Stream, rate
from failover_harness.waiting import wait_for
from tests.conftest import skip_loudly
from tests.support import gateway_rows as rows
from tests.support.gateway_rows import ROWS
from tests.world.gateways import GatewayBed, defined
from tests.world.twins import INGRESS, ROUTE, Twins

CHANGES: Final = int(os.environ.get("FAILOVER_TEST_MODE_CHANGES", "4"))
"""How often each twin changes its mode under load."""
_A_CHANGE_S: Final = float(os.environ.get("FAILOVER_TEST_MODE_CHANGE_S", "5"))
"""How long the load lasts for each change, seconds."""
_RATE: Final = float(os.environ.get("FAILOVER_TEST_MODE_CHANGE_RATE", "40"))
"""Requests per second of each twin."""
_RESTARTS_S: Final = 60.0


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
    names = {bed.hostname(), bed.hostname("other"), bed.hostname(rows.RPC)}
    assert names == {one["DNSName"].lower() for one in bed.balancing.aws.client("elbv2").describe_load_balancers()["LoadBalancers"]}
    assert bed.conditions("other") == bed.conditions()
    assert rows.gateway_said(bed.gateway()) == rows.GATEWAY_SAYS
    assert len([one for one in bed.binding_labels() if one == rows.labels(bed.app)]) == 7


def test_what_aws_refuses_is_said_on_the_gateway(bed: GatewayBed) -> None:
    """The conditions of the route stay True at the present generation, because they say that it was read."""
    for row in ROWS[:1]:
        bed.play(row)
    bed.balancing.front.forbidden = {"ModifyRule"}
    rows.main({**rows.COST, rows.UNITS[0]: 1})(bed)
    wait_for("the Gateway says so", lambda: bed.gateway_says("Accepted") == ("False", "Invalid"), 60, lambda: bed.report(0))
    assert bed.conditions() == {"ResolvedRefs": ("True", "", True), "Accepted": ("True", "", True)}
    assert bed.gateway_says("Programmed") == ("True", "Programmed")
    bed.balancing.front.forbidden = set()
    rows.main({**rows.COST, rows.UNITS[0]: 2})(bed)
    wait_for("the Gateway is well", lambda: bed.gateway_says("Accepted") == ("True", "Accepted"), 60, lambda: bed.report(0))


@pytest.fixture
def twins(
    request: pytest.FixtureRequest, gateway_definitions: None, installed: ControlPlane, namespace: str, tmp_path: Path
) -> Iterator[Twins]:
    """An Ingress and an HTTPRoute with the same pods behind them."""
    try:
        binary()
    except NotThereError as error:
        skip_loudly(request.config, "MODE CHANGES OF A ROUTE UNDER LOAD", str(error))
    with Twins(installed, namespace, tmp_path, request.getfixturevalue("balancing")) as made:
        yield made


@pytest.mark.timeout(600 + 2 * _A_CHANGE_S * CHANGES)
def test_mode_changes_of_a_route_lose_no_request(twins: Twins, tmp_path: Path) -> None:
    """As those of an Ingress beside it: one ModifyRule each, and nothing is created, deleted or moved."""
    streams = [Stream(twin, twins.plane.url(twins.listener(twin)), _RATE) for twin in (INGRESS, ROUTE)]
    before, seconds = len(twins.balancing.front.writes()), _A_CHANGE_S * CHANGES
    with Load(streams, seconds, tmp_path / "records.csv") as load:
        wait_for("requests", (tmp_path / "records.csv").exists)
        for number in range(CHANGES):
            modes = (Mode.COST, Mode.CAPACITY) if number % 2 == 0 else (Mode.CAPACITY, Mode.COST)
            for twin in (INGRESS, ROUTE):
                twins.change(twin, *modes)
        changed = time.time()
        records = load.wait()
    twins.plane.check()
    assert {twin: twins.made(twin, before) for twin in (INGRESS, ROUTE)} == dict.fromkeys((INGRESS, ROUTE), ["ModifyRule"] * CHANGES)
    assert rate(records, streams, seconds).unsent == 0
    assert [one for one in records if one.failed] == []
    last = {one.stream: one.due for one in records}
    assert min(last.get(twin, 0.0) for twin in (INGRESS, ROUTE)) > changed, "the load ended before the last change"


@pytest.mark.timeout(600)
def test_a_restart_of_the_load_balancer_controller_in_the_middle_of_a_change_loses_no_request(twins: Twins, tmp_path: Path) -> None:
    """It is killed behind the write of a mode, takes the mode up when it runs again, and moves no target."""
    streams = [Stream(twin, twins.plane.url(twins.listener(twin)), _RATE) for twin in (INGRESS, ROUTE)]
    before = len(twins.balancing.front.writes())
    with Load(streams, _RESTARTS_S, tmp_path / "records.csv") as load:
        wait_for("requests", (tmp_path / "records.csv").exists)
        for modes in ((Mode.COST, Mode.CAPACITY), (Mode.CAPACITY, Mode.COST)):
            for twin in (INGRESS, ROUTE):
                twins.write(twin, *modes)
            twins.balancing.lbc.restart()
            for twin in (INGRESS, ROUTE):
                twins.await_shown(twin, modes[1])
        changed = time.time()
        records = load.wait()
    made = {twin: twins.made(twin, before) for twin in (INGRESS, ROUTE)}
    assert {twin: set(calls) for twin, calls in made.items()} == {INGRESS: {"ModifyRule"}, ROUTE: {"ModifyRule"}}
    assert [one for one in records if one.failed] == []
    assert max(one.due for one in records) > changed, "the load ended before the last change"
