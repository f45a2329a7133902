"""What asks for a failover, and what does not."""

from __future__ import annotations

from dataclasses import replace

from controller.policy.decide import decide
from controller.policy.model import Sample, Verb
from controller.policy.reasons import Reason
from controller.policy.routing import format_action
from tests.policy.support import INF2, change, shortage
from tests.support.applications import COST_TARGETS, NOW, application, memory, routing, snapshot


def test_a_breach_ends_the_patience_with_a_proven_shortage() -> None:
    """Users suffer already; waiting out the patience would only make them wait."""
    made = change(shortage(), latency=Sample(2.0, NOW - 60))
    decision = decide(memory(), made)[1]
    assert (decision.verb, decision.reason) == (Verb.FAILOVER, Reason.SLO_BREACHED)


def test_the_shortage_of_a_unit_without_weight_changes_nothing() -> None:
    """Cost mode sends it no traffic, so nobody misses its capacity."""
    app = application()
    app = replace(app, units=tuple(replace(unit, weight=0 if unit.name == INF2 else unit.weight) for unit in app.units))
    targets = tuple(replace(target, weight=0) if target.service == INF2 else target for target in COST_TARGETS)
    made = shortage(snapshot(app, routing=routing(targets=targets, action=format_action(targets, 0))))
    decision = decide(memory(), made)[1]
    assert decision.evidence[INF2].short
    assert (decision.verb, decision.held_back) == (Verb.HOLD, None)
