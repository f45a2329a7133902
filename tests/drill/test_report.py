"""The report: each limit that was not kept fails the drill, and what was not seen does not count as kept."""

from __future__ import annotations

import json
from typing import Any

import pytest

from controller.errors import Unavailable
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
    counts, ended_at, cut = given.pop("counts"), given.pop("ended_at", 1300.0), given.pop("cut", None)
    return Outcome(1000.0, ended_at, "completed", Seen(**given), counts, 1700.0, cut)


def failed(**changes: Any) -> list[str]:
    """The limits that it did not keep."""
    return [one.limit for one in report(plan(), outcome(**changes)).checks if not one.passed]


def test_a_drill_that_keeps_its_limits_passes() -> None:
    made = report(plan(), outcome())
    assert made.title == "Drill of default/sd21: passed"
    assert made.text().startswith(made.title)
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
    assert report(plan(), outcome(**changes)).title == "Drill of default/sd21: failed"


@pytest.mark.parametrize(("cut", "why"), [(KeyboardInterrupt(), "by a signal"), (Unavailable("fis: no <answer>"), "fis: no <answer>")])
def test_what_cut_a_drill_short_is_its_verdict_in_every_form(cut: BaseException, why: str) -> None:
    """Also where every limit was kept until then."""
    made = report(plan(), outcome(cut=cut))
    assert made.text().startswith("Drill of default/sd21: interrupted\n")
    assert f"1970-01-01T00:28:20Z  the drill was interrupted: {why}" in made.text()
    assert "<h1>Drill of default/sd21: interrupted</h1>" in made.html()
    assert (made.document()["verdict"], made.document()["interrupted"]) == ("interrupted", why)


def test_an_experiment_whose_end_was_not_seen_is_not_said_to_have_ended() -> None:
    made = report(plan(), outcome(cut=Unavailable("fis: no answer"), ended_at=None, changes=(AWAY,)))
    assert "has ended" not in made.text()
    assert [one.found for one in made.checks if one.limit.startswith("cost mode again")] == ["not seen"]


def test_the_page_has_no_script_and_no_foreign_markup() -> None:
    page = report(plan(), outcome(refusal="<script>alert(1)</script>")).html()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "no &lt;capacity&gt;" in page


def test_the_document_is_json() -> None:
    made = json.loads(json.dumps(report(plan(), outcome()).document()))
    assert made["verdict"] == "passed"
    assert made["timeline"][0] == {"at": "1970-01-01T00:16:40Z", "what": "the experiment begins"}
