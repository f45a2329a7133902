"""A process that has just begun knows no demand yet, and leaves the weights that follow it as they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.policy.account import metrics_awaited
from controller.policy.model import Application, Snapshot, Source, Verb
from controller.routing.conclusion import conclude
from tests.policy.support import change
from tests.policy.test_known_demand import ADAPTIVE, LATER, as_written, without
from tests.policy.test_planned_floors import INF2, live


def _unasked(seen: Snapshot, **source: Any) -> Snapshot:
    """Without any counter, and CloudWatch as it is before its first answer, unless a test says otherwise."""
    asked = Source("cloudwatch", **{"required": False, "last_ok": None, "budget_s": 300.0, **source})
    return replace(without(seen, *seen.units), sources=(*seen.sources, asked))


@pytest.mark.parametrize("app", [live(resilience_share=0.0), ADAPTIVE])
def test_a_process_that_begins_keeps_the_weights_until_the_demand_is_known(app: Application) -> None:
    """A new leader passes before CloudWatch has answered. It would write other weights, and these ones again minutes later."""
    kept, seen = as_written(app, 2_000.0)
    assert metrics_awaited(_unasked(seen))
    assert conclude(kept, _unasked(seen)).decision.verb is Verb.HOLD


def test_until_the_demand_is_known_a_unit_that_cannot_serve_loses_its_traffic() -> None:
    """Its target group would answer 503."""
    kept, seen = as_written(ADAPTIVE, 2_000.0)
    decision = conclude(kept, change(_unasked(seen), INF2, ready=0)).decision
    assert (decision.verb, decision.targets[0].weight) == (Verb.REWEIGHT, 0)


@pytest.mark.parametrize(
    "source",
    [
        pytest.param({"last_ok": LATER}, id="it answered, and had no value"),
        pytest.param({"absent": True}, id="it is not asked"),
        pytest.param({"problem": "Throttling"}, id="it does not answer"),
    ],
)
def test_a_demand_that_nobody_will_say_is_not_awaited(source: dict[str, Any]) -> None:
    """Then all that is ready shares what there may be."""
    kept, seen = as_written(ADAPTIVE, 2_000.0)
    assert not metrics_awaited(_unasked(seen, **source))
    assert conclude(kept, _unasked(seen, **source)).decision.verb is Verb.REWEIGHT
