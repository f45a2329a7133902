"""What an alert becomes in a message: its reason comes from a field, not from its key."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from controller.clock import format_rfc3339
from controller.policy.alert_kinds import ROWS, AlertKind
from controller.policy.model import Alert, Mode, Override, PendingPod
from controller.ports import MessageKind
from controller.service.messages import (
    ENDED_S,
    RECALLED_S,
    Raised,
    alert_changes,
    alerts_of_removed,
    override_changes,
    raised_before,
    readable_override,
    routed,
    short_pods,
)
from tests.policy.support import change, decide, shortage
from tests.support.applications import NOW, alert_of, memory, snapshot


@pytest.mark.parametrize(
    ("alert", "reason", "subject"),
    [
        (alert_of("held/Dwell", "warning", "words"), "Dwell", "dwell"),
        (alert_of("max/sd21-inf2", "warning", "words"), "Max", "sd21-inf2 has all the replicas that it may have"),
        (alert_of("mostly-short", "warning", "words"), "MostlyShort", "most units get no capacity"),
        (alert_of("unverified", "critical", "words"), "Unverified", "the load balancer does not follow"),
    ],
)
def test_the_reason_and_the_title_of_an_alert(alert: Alert, reason: str, subject: str) -> None:
    """Slack, Events and CloudWatch group by the reason; people read the title."""
    made = snapshot()
    on, (came,) = alert_changes(made, {}, [alert], Mode.COST)
    assert (came.kind, came.reason, came.title) == (MessageKind.ALERT, reason, f"sd21: {subject}")
    assert came.dedup_key == f"{made.application.key}/{alert.key}"
    on, said = alert_changes(made, on, [], Mode.COST)
    assert not said
    on, (went,) = alert_changes(replace(made, now=NOW + ENDED_S), on, [], Mode.COST)
    assert (went.kind, went.reason, went.title) == (MessageKind.RESOLVED, reason, f"sd21: {subject}")
    assert not on


def test_each_title_names_what_the_subject_of_its_alert_has() -> None:
    """A title with a gap would be read at three in the morning; so would the key that it is made of."""
    for row in ROWS.values():
        parts = [f"part-{number}" for number, _ in enumerate(filter(None, row.subject.split("/")))]
        title = row.headed(parts)
        assert title, row
        assert "?" not in title, row
        assert not parts or parts[0] in title or row is AlertKind.UNPREPARED, row


def test_the_title_of_an_alert_that_an_older_version_stored() -> None:
    """Its subject may lack what the title names now."""
    assert alert_of("cause/sd21-inf2", "critical", "words").row.headed(("sd21-inf2",)) == "sd21-inf2 gets no nodes (?)"


def test_what_says_why_no_failover_follows_a_shortage_concerns_the_pods_that_wait() -> None:
    """The oldest of each short unit: people describe it first. Other alerts are about other things."""
    made = change(shortage(), pool_blocked_at=NOW - 50)
    waiting = (PendingPod("young", NOW - 60, uid="1"), PendingPod("old", NOW - 90, uid="2"))
    made = change(made, pending=waiting)
    pods = short_pods(made, decide(memory(), made)[1].evidence)
    assert pods == (("shop", "old", "2"),)
    alerts = [alert_of("held/Dwell", "critical", "words"), alert_of("max/sd21-inf2", "warning", "words")]
    _, messages = alert_changes(made, {}, alerts, Mode.COST, pods=pods)
    assert [message.pods for message in messages] == [pods, ()]


def test_nobody_is_short_where_nothing_is_proven() -> None:
    """Pods wait, and one refusal is a suspicion."""
    made = change(snapshot(), pending=(PendingPod("waits", NOW - 90),), desired=4, ready=2)
    assert short_pods(made, decide(memory(), made)[1].evidence) == ()


def test_an_alert_that_comes_and_goes_is_one() -> None:
    """On and off every 15 s: it does not page each time. It ends a minute after it was on last, or after the clock was set back."""
    made, on, reported = snapshot(), dict[str, Raised](), list[tuple[MessageKind, float]]()
    alert = alert_of("max/sd21-inf2", "warning", "words")
    for second in (*range(0, 300, 15), 200, *range(215, 301, 15)):
        now = [alert] if second < 290 and not second % 30 else []
        on, messages = alert_changes(replace(made, now=NOW + second), on, now, Mode.COST)
        reported += [(message.kind, message.at - NOW) for message in messages]
    assert reported == [(MessageKind.ALERT, 0), (MessageKind.RESOLVED, 260)]


def test_alerts_of_an_earlier_leader_are_offered_again_or_end() -> None:
    """A process that begins to lead cannot know which of them were delivered, nor at once whether one has ended."""
    made, alert, other = snapshot(), alert_of("max/sd21-inf2", "warning", "words"), alert_of("unverified", "critical", "others")
    on, (came,) = alert_changes(made, raised_before([alert, other]), [alert], Mode.COST)
    assert (came.kind, came.again, came.why) == (MessageKind.ALERT, False, "words")
    on, said = alert_changes(replace(made, now=NOW + RECALLED_S - 1), on, [alert], Mode.COST)
    assert [message.kind for message in said] == []
    on, said = alert_changes(replace(made, now=NOW + RECALLED_S), on, [alert], Mode.COST)
    assert [(one.kind, one.again, one.why) for one in said] == [
        (MessageKind.ALERT, True, "words"),
        (MessageKind.RESOLVED, False, "this has ended: others"),
    ]
    assert list(on) == [alert.key]


def test_an_alert_that_lasts_is_offered_again() -> None:
    """Every ten minutes, with its latest words, and at once after the clock was set back. The sinks tell whether they need it."""
    made, on, offered = snapshot(), dict[str, Raised](), list[float]()
    for second in (*range(0, 1900, 15), 1000):
        alert = alert_of("unverified", "critical", f"for {second} s")
        on, messages = alert_changes(replace(made, now=NOW + second), on, [alert], Mode.COST, lambda: "waits")
        offered += [message.at - NOW for message in messages]
        assert all((message.why, message.next, message.again) == (alert.text, "waits", second > 0) for message in messages)
    assert offered == [0, 600, 1200, 1800, 1000]


def test_the_alerts_of_an_application_that_is_removed_are_resolved() -> None:
    made, alert = snapshot(), alert_of("unverified", "critical", "the load balancer shows something else")
    on, (came,) = alert_changes(made, {}, [alert], Mode.COST)
    (went,) = alerts_of_removed(made, on.values(), Mode.COST, NOW + 60)
    assert (went.kind, went.dedup_key, went.at) == (MessageKind.RESOLVED, came.dedup_key, NOW + 60)
    assert went.why == "the application is not configured any more; the alert said: the load balancer shows something else"


def test_the_failover_of_an_application_that_is_removed_is_no_open_incident() -> None:
    """No fallback will ever end it."""
    (went,) = alerts_of_removed(snapshot(), (), Mode.CAPACITY, NOW)
    assert (went.kind, went.incident, went.why) == (
        MessageKind.RESOLVED,
        "shop/sd21/mode",
        "the application is not configured any more; its routing stays in capacity mode",
    )


DRILL = Override(paused_until=NOW + 3600, paused_why="drill", paused_by="ann")
BOTH = replace(DRILL, pinned_mode=Mode.CAPACITY, pinned_until=NOW + 7200, pinned_why="load test", pinned_by="bob")


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        pytest.param(Override(), DRILL, [(f"sd21: paused until {format_rfc3339(NOW + 3600)}", "drill (ann)")], id="a pause"),
        pytest.param(Override(), replace(DRILL, paused_until=math.inf), [("sd21: paused until it is lifted", "drill (ann)")], id="no end"),
        pytest.param(
            DRILL,
            BOTH,
            [(f"sd21: pinned to capacity mode until {format_rfc3339(NOW + 7200)}", "load test (bob)")],
            id="a pin beside it",
        ),
        pytest.param(
            BOTH,
            Override(),
            [
                ("sd21: the pause was removed", "it said: drill (ann)"),
                ("sd21: the pin to capacity mode was removed", "it said: load test (bob)"),
            ],
            id="both are removed",
        ),
        pytest.param(
            replace(BOTH, paused_until=NOW, pinned_until=NOW - 1),
            replace(BOTH, paused_until=NOW, pinned_until=NOW - 1),
            [
                ("sd21: the pause has ended", "it said: drill (ann)"),
                ("sd21: the pin to capacity mode has ended", "it said: load test (bob)"),
            ],
            id="both have ended, and their annotations stay",
        ),
        pytest.param(Override(), replace(DRILL, paused_until=NOW - 1), [], id="a pause that had ended when it came"),
        pytest.param(DRILL, DRILL, [], id="nothing new"),
    ],
)
def test_each_override_is_announced_with_its_own_reason_and_author(before: Override, now: Override, said: list[tuple[str, str]]) -> None:
    """Never with the reason of a decision."""
    made = snapshot()
    made = replace(made, routing=replace(made.routing, override=now))
    readable = readable_override(made)
    assert readable is not None
    assert [(message.title, message.why) for message in override_changes(made, before, readable, Mode.COST)] == said


@pytest.mark.parametrize(
    ("until", "then"),
    [
        (NOW + 3600, f"stays until {format_rfc3339(NOW + 3600)}; then the guards decide again"),
        (None, "stays until it is lifted; then the guards decide again"),
    ],
)
def test_a_mode_change_by_a_pin_says_how_long_it_stays(until: float | None, then: str) -> None:
    """A pin of an hour does not wait for anybody to lift it."""
    made = snapshot()
    made = replace(
        made, routing=replace(made.routing, override=Override(pinned_mode=Mode.CAPACITY, pinned_until=until, pinned_why="drill"))
    )
    message = routed(made, decide(memory(), made)[1])
    assert message is not None
    assert (message.title, message.next) == ("sd21: pinned to capacity mode by an operator", then)


@pytest.mark.parametrize("gone", [{"exists": False, "override": Override()}, {"override": Override(problem="x: found 'y'")}])
def test_what_cannot_be_read_removes_no_override(gone: dict[str, Any]) -> None:
    """Without an Ingress nothing says what stands, and what is unreadable counts as a pause."""
    made = snapshot()
    assert readable_override(replace(made, routing=replace(made.routing, **gone))) is None


def test_a_new_alert_says_what_comes_next_and_nobody_asks_without_one() -> None:
    """The forecast costs a few decisions, so it is not made in every pass."""
    asked: list[str] = []

    def coming() -> str:
        asked.append("asked")
        return "would fail over in 3 min"

    alert = alert_of("max/sd21-inf2", "warning", "words")
    on, (came,) = alert_changes(snapshot(), {}, [alert], Mode.COST, coming)
    assert came.next == "would fail over in 3 min"
    assert alert_changes(snapshot(), on, [alert], Mode.COST, coming)[1] == []
    assert asked == ["asked"]


def test_what_comes_next_does_not_say_the_alert_once_more() -> None:
    """A decision that is held says why, and so does the alert."""
    alert = alert_of("held/OverrideUnreadable", "critical", "an override cannot be read")
    _, (came,) = alert_changes(snapshot(), {}, [alert], Mode.COST, lambda: "changes nothing: an override cannot be read")
    assert came.next == "changes nothing"


@pytest.mark.parametrize(("ends", "holds"), [(" (absorbed)", "the guard absorbed"), ("", "this")])
def test_what_holds_a_mode_change_is_said_once(ends: str, holds: str) -> None:
    """The alert says it; what comes next names the guard."""
    alert = alert_of("held/ShortageAbsorbed", "warning", "inf2 cannot get capacity, but the ready replicas carry the demand")
    _, (came,) = alert_changes(snapshot(), {}, [alert], Mode.COST, lambda: f"would fail over to capacity mode, but {alert.text}{ends}")
    assert came.next == f"would fail over to capacity mode, but {holds} holds it back"
