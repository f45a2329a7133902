"""`history`: every remembered mode change, for people and for machines."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from controller.cli.history import NEWS_S, history_document, history_lines
from controller.clock import format_rfc3339
from controller.policy.memory import CONTROLLER, adopt
from controller.policy.model import Memory, Mode, ModeChange, Override, Verdict, Verification
from controller.policy.reasons import Reason
from controller.routing.conclusion import conclude
from failover_harness.waiting import wait_for
from tests.cli.test_overrides import _run, cluster  # noqa: F401 - a fixture
from tests.policy.support import change, pods, refused
from tests.support.applications import NOW, memory, snapshot
from tests.support.cluster import Cluster, make_service, running

FAILOVER = ModeChange(NOW - 7200, Mode.CAPACITY, Reason.SHORTAGE_PROVEN, "inf2 is short", CONTROLLER, NOW - 7196, 3.1, 4.85)
FALLBACK = ModeChange(NOW - 3600, Mode.COST, Reason.PINNED_TO_MODE, "an operator pinned mode cost: budget (ann)", "ann", None, 4.9, 3.2)
KEPT = Memory(mode=Mode.COST, mode_since=NOW - 3600, mode_changes=(FAILOVER, FALLBACK))


def test_each_change_says_when_what_why_how_soon_how_long_what_price_and_who() -> None:
    """The newest first, at 80 columns."""
    lines = [line for _, line in history_lines("shop/sd21", KEPT, NOW, None, 80)]
    assert lines == [
        "shop/sd21  2 mode change(s)",
        "2027-01-15T07:00:00Z  capacity → cost  for 1 h so far  by ann",
        "    PinnedToMode: an operator pinned mode cost: budget (ann)",
        "    the load balancer was not seen to show it; $4.90/h → $3.20/h (-35 %)",
        "2027-01-15T06:00:00Z  cost → capacity  for 1 h  by the controller",
        "    ShortageProven: inf2 is short",
        "    the load balancer showed it after 4 s; $3.10/h → $4.85/h (+56 %)",
        "",
    ]


@pytest.mark.parametrize(("age_s", "says"), [(9.0, "has not shown it yet"), (NEWS_S, "was not seen to show it")])
def test_a_change_of_a_moment_ago_is_not_called_unseen(age_s: float, says: str) -> None:
    """A load balancer takes seconds: until a minute is over nothing is wrong."""
    fresh = replace(FALLBACK, at=NOW - age_s)
    (line,) = [one for _, one in history_lines("shop/sd21", Memory(mode_changes=(fresh,)), NOW, None, 100) if "the load balancer" in one]
    assert says in line


def test_since_leaves_out_what_is_older_and_machines_get_the_same() -> None:
    """With seconds and dollars as numbers."""
    assert next(line for _, line in history_lines("shop/sd21", KEPT, NOW, NOW - 5000, 80)) == "shop/sd21  1 mode change(s)"
    document = json.loads(json.dumps(history_document("shop/sd21", KEPT, NOW, None)))
    first = document["modeChanges"][0]
    assert first == {
        "at": format_rfc3339(FAILOVER.at),
        "from": "cost",
        "to": "capacity",
        "reason": "ShortageProven",
        "why": "inf2 is short",
        "by": "the controller",
        "verifiedAt": format_rfc3339(NOW - 7196),
        "secondsToVerify": 4.0,
        "lastedSeconds": 3600.0,
        "dollarsPerHourBefore": 3.1,
        "dollarsPerHourAfter": 4.85,
    }


def test_a_mode_change_remembers_who_made_it_its_price_and_when_it_was_shown() -> None:
    """The controller, a person by name, or the field manager that wrote the Ingress."""
    short = change(snapshot(), pool_failures=(refused(NOW - 60),), pool_blocked_at=NOW - 50, pending=pods(), desired=4)
    kept = conclude(memory(), short).memory
    later = replace(short, now=NOW + 60)
    made = conclude(kept, later)
    assert made.decision.verb.changes_mode
    (automatic,) = made.routed(NOW + 60).mode_changes
    assert automatic.by == CONTROLLER
    assert automatic.dollars_before is not None
    assert automatic.dollars_after is not None
    assert 0 < automatic.dollars_before < automatic.dollars_after
    pin = Override(pinned_mode=Mode.CAPACITY, pinned_why="drill", pinned_by="ann")
    pinned = replace(snapshot(), routing=replace(snapshot().routing, override=pin))
    (by_hand,) = conclude(memory(), pinned).routed(NOW).mode_changes
    assert (by_hand.by, by_hand.detail) == ("ann", "an operator pinned mode capacity: drill (ann)")
    assert adopt(memory(), Mode.CAPACITY, NOW, "kubectl-edit").mode_changes[-1].by == "kubectl-edit"
    shown = snapshot(mode=Mode.CAPACITY)
    seen = Verification(Verdict.YES, NOW + 5, "", shown.routing.action)
    shown = replace(shown, now=NOW + 6, routing=replace(shown.routing, verification=seen))
    assert conclude(conclude(memory(), pinned).routed(NOW), shown).memory.mode_changes[-1].verified_at == NOW + 5


def test_history_reads_what_the_running_controller_remembers(cluster: Cluster, tmp_path: Path) -> None:  # noqa: F811 - the fixture
    """A pin changes the mode; the command names the person."""
    with running(make_service(cluster, tmp_path)) as service:
        wait_for("a decision", lambda: bool(service.controller.views()))
        assert _run(cluster, tmp_path, "pin", "capacity", "--yes", "--why", "drill", "--by", "ann").exit_code == 0
        wait_for("capacity mode", lambda: cluster.mode() == "capacity")
        wait_for("its memory", lambda: "by ann" in _run(cluster, tmp_path, "history").output)
        document = json.loads(_run(cluster, tmp_path, "history", "--since", "1h", "--output", "json").stdout)
    assert [(one["from"], one["to"], one["by"]) for one in document["modeChanges"]] == [("cost", "capacity", "ann")]
