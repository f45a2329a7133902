"""The report: each limit that was not kept fails the drill, and what was not seen does not count as kept."""

from __future__ import annotations

import json
from typing import Any

import pytest

from controller.policy.model import Mode, ModeChange
from controller.policy.reasons import Reason
from failover_setup.drill.load import Counts
from failover_setup.drill.report import report
from failover_setup.drill.run import Outcome
from failover_setup.drill.timeline import Seen
from tests.drill.drills import plan

AWAY = ModeChange(
    1060.0, Mode.CAPACITY, Reason.SHORTAGE_PROVEN, "no <capacity>", verified_at=1070.0, dollars_before=10.0, dollars_after=16.0
)
BACK = ModeChange(1660.0, Mode.COST, Reason.RETURN_PROVEN, "it is back", verified_at=1680.0)


def outcome(**changes: Any) -> Outcome:
    """A drill that went well."""
    given: dict[str, Any] = {"refused_at": 1010.0, "refusal": "no capacity", "changes": (AWAY, BACK), "counts": Counts(good=100)} | changes
    counts = given.pop("counts")
    return Outcome(1000.0, 1300.0, "completed", Seen(**given), counts)


def failed(**changes: Any) -> list[str]:
    """The limits that it did not keep."""
    return [one.limit for one in report(plan(), outcome(**changes)).checks if not one.passed]


def test_a_drill_that_keeps_its_limits_passes() -> None:
    made = report(plan(), outcome())
    assert made.passed
    assert "passed" in made.text()
    assert made.cost == "FIS at most 0.50 USD; capacity mode +1.00 USD by the prices of the application"
    assert [what.split(":")[0] for _, what in made.timeline] == [
        "the experiment begins",
        "EC2 first refuses Karpenter an instance",
        "the controller writes capacity mode",
        "the load balancer shows capacity mode",
        "the experiment has ended",
        "the controller writes cost mode",
        "the load balancer shows cost mode",
    ]


@pytest.mark.parametrize(
    ("limits", "changes"),
    [
        (3, {"refused_at": None, "changes": ()}),
        (2, {"changes": ()}),
        (1, {"changes": (AWAY,)}),
        (1, {"refused_at": 700.0}),
        (1, {"counts": Counts(good=98, failed=1, late=1)}),
        (1, {"counts": Counts()}),
    ],
)
def test_a_limit_that_was_not_kept_fails_it(limits: int, changes: dict[str, Any]) -> None:
    assert len(failed(**changes)) == limits
    assert "FAILED" in report(plan(), outcome(**changes)).text()


def test_the_page_has_no_script_and_no_foreign_markup() -> None:
    page = report(plan(), outcome(refusal="<script>alert(1)</script>")).html()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "no &lt;capacity&gt;" in page


def test_the_document_is_json() -> None:
    made = json.loads(json.dumps(report(plan(), outcome()).document()))
    assert made["passed"] is True
    assert made["timeline"][0] == {"at": "1970-01-01T00:16:40Z", "what": "the experiment begins"}
