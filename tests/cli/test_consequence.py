"""What an override would do, as the commands show it before they write."""

from __future__ import annotations

from dataclasses import replace

from controller.cli.consequence import consequences
from controller.cli.observe import judge
from controller.policy.model import Mode, Override, Sample, Snapshot
from tests.policy.support import INF2, change, shortage
from tests.support.applications import NOW, memory, snapshot


def _demanding(made: Snapshot, requests: float) -> Snapshot:
    """The snapshot with a demand, which the counter of one unit shows."""
    others = {name: replace(observed, demand=Sample(0.0, NOW - 60)) for name, observed in made.units.items()}
    return change(replace(made, units=others), INF2, demand=Sample(requests, NOW - 60))


def test_a_pin_to_cost_during_a_shortage_shows_what_is_short_and_what_is_overloaded() -> None:
    """With two replicas a unit, 40 % of 1,000 requests are 190 % of what inf2 serves: the runbook used to advise it without a word."""
    made = _demanding(shortage(snapshot(mode=Mode.CAPACITY)), 1000.0)
    lines = list(consequences(judge(made, memory(Mode.CAPACITY, mode_since=NOW - 3600)), Override(pinned_mode=Mode.COST)))
    assert lines[1] == "Short       sd21-inf2: pods wait, and AWS has no capacity for them"
    assert any(line.startswith("Overloaded  ") and line.endswith(": requests wait, or fail") for line in lines), lines


def test_an_override_that_changes_nothing_says_so() -> None:
    """A pin to the present mode, with a demand that is served."""
    lines = list(consequences(judge(_demanding(snapshot(), 100.0), memory()), Override(pinned_mode=Mode.COST)))
    assert lines[0] == "Mode        stays cost"
    assert lines[1].startswith("Load        sd21-inf2 19%, sd21-trn1 8%")
    assert len(lines) == 2


def test_an_application_whose_mode_is_unknown() -> None:
    """Nothing can be said of what would come."""
    made = snapshot()
    made = replace(made, routing=replace(made.routing, exists=False))
    assert list(consequences(judge(made, memory()), Override())) == ["What it would do is not known: the routing object does not exist"]
