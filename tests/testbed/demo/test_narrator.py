"""What the demo prints of the production controller."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from controller.policy import text
from controller.policy.account import Ledger
from controller.policy.model import Action, ActionKind, Memory, Mode, Shortage, Target, UnitEvidence, Verb
from controller.policy.reasons import Reason
from controller.routing.ingress.action import format_action
from controller.routing.kinds import KINDS
from controller.service.controller import Controller
from failover_testbed.clocks import ManualClock
from failover_testbed.demo.narrator import Narrator, written
from tests.support.applications import NOW, application

SUSPECTED = UnitEvidence("sd21-inf2", Shortage.SUSPECTED, demand=1, age_at=NOW + 240.0)
ACTION = Action(ActionKind.RAISE_FLOOR, "shop", "sd21-inf2-hpa", "1", "11", "scaledobjects.keda.sh")


class Screen:
    """A narrator, a clock and what was printed."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW)
        self.lines: list[str] = []
        self.ledger = Ledger()
        self.narrator = Narrator(lambda _style, line: self.lines.append(line), self.clock)

    def decided(self, judged: UnitEvidence, reason: Reason, memory: Memory | None = None) -> list[str]:
        """Prints one decision, and returns its lines."""
        self.lines.clear()
        decision: Any = SimpleNamespace(
            verb=Verb.HOLD, reason=reason, mode=Mode.COST, held_back=None, sentence="why", evidence={judged.unit: judged}, alerts=()
        )
        parts = {
            "application": application(),
            "decision": decision,
            "mode": Mode.COST,
            "memory": memory or Memory(),
            "plan": SimpleNamespace(due=()),
        }
        view = SimpleNamespace(**parts, ledger=self.ledger)
        self.narrator.tap(cast("Controller", SimpleNamespace(views=lambda: [view])))
        return list(self.lines)


@pytest.fixture
def screen() -> Screen:
    return Screen()


def test_each_further_zone_is_printed_and_the_same_fact_with_another_age_is_not(screen: Screen) -> None:
    else_at = text.clock_time(NOW + 240.0)
    first = replace(
        SUSPECTED,
        facts=("1 refused attempt(s), last 3 s ago: Code inf2.xlarge in us-west-2a", f"1 of 3 zones refused (a); else at {else_at}"),
    )
    assert screen.decided(first, Reason.SHORTAGE_SUSPECTED) == [
        "00:00  ▸ hold (cost)  ShortageSuspected: why",
        "00:00      sd21-inf2: 1 refused attempt(s), last 3 s ago: Code inf2.xlarge in us-west-2a",
        "00:00      sd21-inf2: 1 of 3 zones refused (a); else at 04:00",
    ]
    screen.clock.advance(70.0)
    second = replace(
        SUSPECTED,
        facts=(
            "2 refused attempt(s), last 1 min 3 s ago: Code inf2.xlarge in us-west-2b",
            f"2 of 3 zones refused (a, b); else at {else_at}",
        ),
    )
    assert screen.decided(second, Reason.SHORTAGE_SUSPECTED) == ["01:10      sd21-inf2: 2 of 3 zones refused (a, b); else at 04:00"]


def test_a_unit_that_was_well_again_has_its_facts_printed_again(screen: Screen) -> None:
    judged = replace(SUSPECTED, facts=("1 of 3 zones refused (a)",))
    assert len(screen.decided(judged, Reason.SHORTAGE_SUSPECTED)) == 2
    assert len(screen.decided(replace(judged, shortage=Shortage.NONE, facts=()), Reason.DEMAND_MET)) == 1
    assert len(screen.decided(judged, Reason.SHORTAGE_SUSPECTED)) == 2


def test_a_refusal_of_an_offering_that_the_unit_does_not_wait_for_is_not_printed(screen: Screen) -> None:
    judged = replace(SUSPECTED, demand=0, facts=("1 of 3 zones refused (a); no pod waits for it",))
    assert len(screen.decided(judged, Reason.DEMAND_MET)) == 1


def test_the_weights_at_the_start_were_written_by_nobody(screen: Screen) -> None:
    lines = screen.decided(UnitEvidence("sd21-inf2", Shortage.NONE), Reason.DEMAND_MET, Memory(changed_at=NOW, verified_at=NOW + 20.0))
    assert lines[1] == "00:00  ✔ the load balancer shows the written weights; its targets are healthy"


def test_the_bill_is_the_controllers_own_account(screen: Screen) -> None:
    screen.ledger = Ledger(seconds={Mode.COST: 600.0, Mode.CAPACITY: 60.0}, spend=12.34)
    screen.decided(UnitEvidence("sd21-inf2", Shortage.NONE), Reason.DEMAND_MET)
    screen.narrator.bill()
    assert screen.lines[-1] == "00:00  the replicas of 11 min cost $12.34"
    screen.ledger = replace(screen.ledger, premium=0.5)
    screen.decided(UnitEvidence("sd21-inf2", Shortage.NONE), Reason.DEMAND_MET)
    screen.narrator.bill()
    assert screen.lines[-1].endswith("; the requests in capacity mode cost $0.50 more than in cost mode")
    screen.ledger = replace(screen.ledger, compared_s=600.0, compared_spend=12.0, weights_spend=10.5, least_spend=9.25)
    screen.decided(UnitEvidence("sd21-inf2", Shortage.NONE), Reason.DEMAND_MET)
    screen.narrator.bill()
    assert screen.lines[-1] == (
        "00:00  $12.00 of it while the demand was known. Whole replicas would have cost $10.50 for the weights of the application file, "
        "$9.25 for the optimum with hindsight, which keeps no spare family"
    )


def test_what_is_written_has_a_line_for_each_field() -> None:
    target = replace(ACTION, kind=ActionKind.SET_TARGET, name="sd21-trn1-hpa", before="", after="89.2")
    weights = format_action((Target("sd21-inf2", 80, 40), Target("sd21-trn1", 80, 20)), 0)
    ingress = KINDS["Ingress"].resource
    route = replace(ACTION, kind=ActionKind.ROUTE, name="sd21", after=weights, resource=ingress.name, object_kind=ingress.kind)
    assert list(written((ACTION, target, replace(ACTION, name="sd21-trn1-hpa", after="6"), route))) == [
        "ScaledObjects, minReplicaCount: sd21-inf2-hpa 1 to 11, sd21-trn1-hpa 1 to 6",
        "ScaledObjects, targetMetricValue: sd21-trn1-hpa nothing to 89.2",
        "Ingress sd21, weights of its routing action: sd21-inf2 40, sd21-trn1 20",
    ]
    assert list(written(())) == []
