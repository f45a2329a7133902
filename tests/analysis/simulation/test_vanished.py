"""What the application names is deleted, renamed or written by another: an alert names it, and requests go to what serves."""

from __future__ import annotations

import pytest

from controller.policy.model import Mode
from controller.policy.reasons import Reason
from tests.analysis.simulation.support import HOUR, INF2, fault, outage
from tests.analysis.simulation.vanished import LOSSES, Watched, alerts, lost, played
from tools.mutation_score import RELIABILITY


@pytest.mark.parametrize(
    ("name", "kind"), [("node-pool-deleted", "NodePool"), ("deployment-renamed", "Deployment"), ("scaler-missing", "ScaledObject")]
)
@pytest.mark.parametrize("short", [False, True])
def test_an_object_that_is_gone_is_named_at_once(name: str, kind: str, *, short: bool) -> None:
    """Also in capacity mode, where the unit is short: that it is gone is another reason, with another remedy."""
    outages = (outage(0.25, 3),) if short else ()
    run = Watched(outages=outages, faults=(fault(name, 1.0, 0.5),))
    assert not run.violations
    assert HOUR <= run.alerts[f"missing/{INF2}/{kind}"] <= HOUR + 60
    assert run.lost_s < 10  # until the load balancer follows the pods that end with their node or Deployment
    assert [mode for mode, _ in run.changes][:1] == ([Mode.CAPACITY] if short else [])


@pytest.mark.parametrize("short", [False, True])
def test_another_installation_is_named(*, short: bool) -> None:
    """Its mode is adopted like a person's, and the guards decide again from there."""
    run = Watched(outages=(outage(0.25, 3),) if short else (), faults=(fault("second-installation", 1.0),))
    assert not run.violations
    assert HOUR <= run.alerts["rival"] <= HOUR + 60
    assert any("the controller in namespace another wrote the routing action last" in text for text in run.texts)
    shortage, returned = (Mode.CAPACITY, Reason.SHORTAGE_PROVEN), (Mode.COST, Reason.RETURN_PROVEN)
    assert run.changes[:2] == ([shortage, shortage] if short else [returned])
    assert run.lost_s == 0


@pytest.mark.parametrize("gone", LOSSES)
def test_the_page_says_what_happens_at_the_worst_moment(gone: str) -> None:
    """`python -m tools.vanished_docs` plays all moments and writes the page; this plays the one that the row of a loss names."""
    row = next((line for line in RELIABILITY.read_text().splitlines() if line.startswith(f"| {gone} | 6 | ")), "")
    assert row, "python -m tools.vanished_docs"
    _, _, _, worst, raised, *_ = (cell.strip() for cell in row.split("|"))
    moment = worst.partition("(")[2].rstrip(")") or "capacity mode"
    case = played(gone, moment)
    assert not case.run.violations
    assert lost(case) == worst, "python -m tools.vanished_docs"
    assert {f"`{key}`" for key in alerts(case)} - set(raised.split(", ")) == set(), "python -m tools.vanished_docs"
