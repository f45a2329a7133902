"""A verifier on a scripted ELBv2 whose rules and targets are as the request asks."""

from __future__ import annotations

import pytest

from controller.signals.budget import CallBudget
from controller.signals.load_balancer.verifier import Verifier
from failover_testbed.clocks import ManualClock
from tests.signals.load_balancer.scripted_elb import DEFAULT, NOW, Clients, Elb, arn, forward, rule


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def elb() -> Elb:
    elb = Elb()
    elb.listen(80, [rule(forward({"inf2": 40, "trn1": 60})), DEFAULT])
    for service in ("inf2", "trn1", "all"):
        elb.health[arn(service)] = ["healthy", "healthy"]
    return elb


@pytest.fixture
def verifier(elb: Elb, clock: ManualClock) -> Verifier:
    return Verifier(Clients(elb), clock, CallBudget(1, 40, clock))
