"""The bounded queue and the memory of recent messages."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.notifiers.backlog import DIGEST_FROM, PROTECTED, Backlog, Item, Recent
from controller.notifiers.digest import NAMED_CHARS, parts
from controller.ports import Message, MessageKind
from tests.notifiers.support import a_message


def an_item(kind: MessageKind, number: int = 0, *, app: str = "shop/sd21", reason: str = "ShortageProven") -> Item:
    return Item(a_message(kind, title=f"{app}: {number}", application=app, reason=reason), float(number))


def drained(backlog: Backlog) -> list[Item]:
    """Everything that waits, the oldest first."""
    found = []
    while (item := backlog.pop()) is not None:
        found.append(item)
    return found


def test_a_full_queue_of_different_subjects_drops_its_oldest_alert_first() -> None:
    backlog = Backlog(3)
    failover, old, new = (
        an_item(MessageKind.FAILOVER, 1),
        an_item(MessageKind.ALERT, 2, reason="a"),
        an_item(MessageKind.ALERT, 3, reason="b"),
    )
    for item in (failover, old, new):
        assert backlog.push(item) is None
    assert backlog.push(an_item(MessageKind.CONTROL, 4)) is old
    assert backlog.pop() is failover


def test_a_queue_full_of_mode_changes_drops_a_new_alert() -> None:
    backlog = Backlog(2)
    backlog.push(an_item(MessageKind.FAILOVER, 1))
    backlog.push(an_item(MessageKind.FALLBACK, 2))
    alert = an_item(MessageKind.ALERT, 3)
    assert backlog.push(alert) is alert
    assert len(backlog) == 2


def test_a_queue_full_of_mode_changes_drops_the_oldest_for_a_new_one() -> None:
    backlog = Backlog(1)
    first, second = an_item(MessageKind.FAILOVER, 1), an_item(MessageKind.FALLBACK, 2)
    backlog.push(first)
    assert backlog.push(second) is first
    assert backlog.pop() is second
    assert backlog.pop() is None


def test_a_mass_event_becomes_one_digest_and_loses_nothing() -> None:
    """A thousand failovers in a queue of a hundred: 815 were dropped, and counted as sent."""
    backlog = Backlog(100)
    assert [backlog.push(an_item(MessageKind.FAILOVER, 1, app=f"team/app-{n}")) for n in range(1000)] == [None] * 1000
    (item,) = drained(backlog)
    assert item.message.title == "1000 applications: 1"
    assert [part.application for part in item.message.parts] == [f"team/app-{n}" for n in range(1000)]
    assert item.message.fields["Applications"].startswith("team/app-0, team/app-1, ")
    assert item.message.fields["Applications"].endswith(" more")
    assert len(item.message.fields["Applications"]) < NAMED_CHARS + 30


def test_a_few_messages_wait_one_by_one() -> None:
    """Nobody wants a digest of two."""
    backlog = Backlog(100)
    items = [an_item(MessageKind.FAILOVER, 1, app=f"team/app-{n}") for n in range(DIGEST_FROM)]
    for item in items:
        backlog.push(item)
    assert drained(backlog) == items


def test_a_digest_is_bounded_and_says_what_it_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sink that hangs for days."""
    monkeypatch.setattr("controller.notifiers.backlog.MOST_PARTS", 50)
    backlog = Backlog(1)
    lost = [backlog.push(an_item(MessageKind.ALERT, 1, app=f"team/app-{n}")) for n in range(53)]
    assert [one.message.application for one in lost if one is not None] == ["team/app-0", "team/app-1", "team/app-2"]
    assert backlog.messages() == 50


def test_one_more_application_than_may_wait_one_by_one_makes_a_digest() -> None:
    """It is as old as its newest message: its retries go on for as long as those of that one would."""
    backlog = Backlog(100)
    for number in range(DIGEST_FROM + 1):
        backlog.push(an_item(MessageKind.FAILOVER, number, app=f"team/app-{number}"))
    (item,) = drained(backlog)
    assert (len(item.message.parts), item.since, item.about) == (DIGEST_FROM + 1, float(DIGEST_FROM), "")


def test_a_digest_counts_each_of_its_applications_towards_the_next_one() -> None:
    """So that what follows a mass event joins its digest at once."""
    backlog = Backlog(100)
    for number in range(DIGEST_FROM + 2):
        backlog.push(an_item(MessageKind.FAILOVER, 1, app=f"team/app-{number}"))
    assert len(backlog) == 1


def test_a_full_queue_sums_up_a_pair_before_it_loses_anything() -> None:
    """Two messages in one place make room for a third subject; the others keep their places."""
    backlog = Backlog(3)
    pair = [an_item(MessageKind.ALERT, 1, app=f"team/app-{number}", reason="a") for number in range(2)]
    other, new = an_item(MessageKind.ALERT, 2, app="team/app-8", reason="b"), an_item(MessageKind.ALERT, 3, app="team/app-9", reason="c")
    for item in (pair[0], other, pair[1], new):
        assert backlog.push(item) is None
    first, digest, last = drained(backlog)
    assert (first, last) == (other, new)
    assert [part.application for part in digest.message.parts] == ["team/app-0", "team/app-1"]


def test_a_full_queue_sums_up_the_subject_of_which_most_wait() -> None:
    """People read as many messages one by one as fit."""
    backlog = Backlog(5)
    for number, reason in enumerate("aabbb"):
        backlog.push(an_item(MessageKind.ALERT, 1, app=f"team/app-{number}", reason=reason))
    assert backlog.push(an_item(MessageKind.ALERT, 2, app="team/app-9", reason="c")) is None
    assert [len(parts(item.message)) for item in drained(backlog)] == [1, 1, 3, 1]


def test_a_full_queue_of_different_subjects_keeps_its_order() -> None:
    """Where there is nothing to sum up, only the oldest leaves."""
    backlog = Backlog(3)
    items = [an_item(MessageKind.ALERT, number, app=f"team/app-{number}", reason=str(number)) for number in range(5)]
    assert [backlog.push(item) for item in items] == [None, None, None, *items[:2]]
    assert drained(backlog) == items[2:]


def test_a_message_about_another_sink_is_part_of_no_digest() -> None:
    """It concerns no application, and a sink that cannot deliver it raises no alert."""
    backlog = Backlog(4)
    about = [replace(an_item(MessageKind.ALERT, number, app=""), about=f"sink-{number}") for number in range(2)]
    alerts = [an_item(MessageKind.ALERT, 5, app="team/app-1"), an_item(MessageKind.ALERT, 6, app="team/app-2")]
    for item in (*about, *alerts, an_item(MessageKind.FAILOVER, 7)):
        assert backlog.push(item) is None
    first, second, digest, _ = drained(backlog)
    assert [first, second] == about
    assert len(digest.message.parts) == 2


def test_a_queue_says_whether_a_beginning_waits() -> None:
    """Wherever in it that is."""
    backlog = Backlog(5)
    assert not backlog.begins()
    backlog.push(an_item(MessageKind.FALLBACK, 1))
    assert not backlog.begins()
    backlog.push(an_item(MessageKind.ALERT, 2))
    assert backlog.begins()


KINDS = st.sampled_from([MessageKind.ALERT, MessageKind.RESOLVED, MessageKind.FAILOVER, MessageKind.FALLBACK])


@given(st.integers(4, 30), st.lists(st.tuples(KINDS, st.integers(0, 20)), max_size=120))
def test_each_application_reads_its_messages_in_their_order_and_none_is_lost(size: int, steps: list[tuple[MessageKind, int]]) -> None:
    """Whatever is summed up: the last message that people read of an application is the last one that was published."""
    backlog = Backlog(size)
    lost: list[Message] = []
    for number, (kind, app) in enumerate(steps):
        dropped = backlog.push(an_item(kind, number, app=f"team/app-{app}"))
        lost += parts(dropped.message) if dropped is not None else ()
        assert len(backlog) <= size
    left = [part for item in drained(backlog) for part in parts(item.message)]
    for app in range(21):
        name = f"team/app-{app}"
        published = [f"{name}: {number}" for number, (_, one) in enumerate(steps) if one == app]
        gone = {one.title for one in lost}
        assert [one.title for one in left if one.application == name] == [title for title in published if title not in gone]
    assert len(left) + len(lost) == len(steps)


@given(st.integers(1, 5), st.lists(st.sampled_from(list(MessageKind)), max_size=30))
def test_a_mode_change_is_never_dropped_while_another_kind_waits(size: int, kinds: list[MessageKind]) -> None:
    backlog = Backlog(size)
    held: list[Item] = []
    for number, kind in enumerate(kinds):
        item = an_item(kind, number, reason=str(number))
        lost = backlog.push(item)
        held.append(item)
        if lost is not None:
            held.remove(lost)
            if lost.message.kind in PROTECTED:
                assert all(other.message.kind in PROTECTED for other in held), "a mode change was dropped while another kind waited"
        assert len(backlog) == len(held) <= size
    assert drained(backlog) == held, "messages leave in the order of publication"


def test_a_message_repeats_another_only_within_the_window() -> None:
    recent = Recent(10.0, 5)
    alert = a_message(MessageKind.ALERT, dedup_key="k")
    assert not recent.repeats(alert, 0.0)
    assert recent.repeats(alert, 9.9)
    assert not recent.repeats(alert, 10.0), "the window counts from the first, so a lasting condition is repeated"
    assert recent.repeats(alert, 19.9), "and from this one"


def test_what_is_offered_again_passes_only_where_it_was_not_delivered() -> None:
    """An alert that lasts for a day is one message to a receiver that works, whatever else passes meanwhile."""
    recent = Recent(10.0, 2)
    alert, resolved = (a_message(kind, dedup_key="k") for kind in (MessageKind.ALERT, MessageKind.RESOLVED))
    again = replace(alert, why="in other words", again=True)
    assert not recent.repeats(alert, 0.0)
    for now in (9.0, 11.0, 86_400.0):
        assert not recent.repeats(a_message(dedup_key=f"another at {now}"), now)
        assert recent.repeats(again, now)
    recent.forget(alert)
    assert not recent.repeats(again, 86_401.0), "it was given up"
    assert recent.repeats(again, 90_000.0)
    assert not recent.repeats(resolved, 90_001.0)
    assert not recent.repeats(again, 90_002.0), "it began anew"


def test_a_message_without_a_key_never_repeats() -> None:
    recent = Recent(10.0, 5)
    assert not recent.repeats(a_message(), 0.0)
    assert not recent.repeats(a_message(), 0.0)
    assert len(recent) == 0


def test_an_alert_after_its_resolution_passes_within_the_window() -> None:
    recent = Recent(10.0, 5)
    alert, resolved = a_message(MessageKind.ALERT, dedup_key="k"), a_message(MessageKind.RESOLVED, dedup_key="k")
    assert [recent.repeats(message, 0.0) for message in (alert, resolved, resolved, alert, alert)] == [False, False, True, False, True]


def test_a_forgotten_message_passes_again() -> None:
    recent = Recent(10.0, 5)
    alert = a_message(MessageKind.ALERT, dedup_key="k")
    recent.repeats(alert, 0.0)
    recent.forget(a_message(MessageKind.RESOLVED, dedup_key="k"))
    assert recent.repeats(alert, 1.0), "another kind under the same key is another message"
    recent.forget(alert)
    recent.forget(alert)
    assert not recent.repeats(alert, 1.0)


@given(st.lists(st.text(min_size=1, max_size=2), max_size=50))
def test_the_memory_of_recent_messages_is_bounded(keys: list[str]) -> None:
    recent = Recent(1e9, 4)
    for key in keys:
        recent.repeats(a_message(dedup_key=key), 0.0)
        assert len(recent) <= 4


def test_the_oldest_message_is_forgotten_first() -> None:
    """The memory holds as many as it may; what passed again counts as new, and what lasts is kept longest."""
    recent = Recent(1e9, 2)
    one, two, three, four = (a_message(dedup_key=key) for key in ("one", "two", "three", "four"))
    assert not recent.repeats(one, 0.0)
    assert not recent.repeats(two, 1.0)
    assert recent.repeats(one, 2.0), "both fit"
    assert not recent.repeats(three, 3.0)
    assert recent.repeats(two, 4.0)
    assert recent.repeats(three, 4.0)
    assert not recent.repeats(replace(two, kind=MessageKind.RESOLVED), 5.0), "the end of it is the newest now"
    assert not recent.repeats(four, 6.0)
    assert not recent.repeats(three, 7.0), "so that this one was the oldest"


def test_a_memory_that_is_cleared_holds_nothing() -> None:
    """Everything passes once more."""
    recent = Recent(1e9, 5)
    alert = a_message(MessageKind.ALERT, dedup_key="k")
    recent.repeats(alert, 0.0)
    recent.clear()
    assert len(recent) == 0
    assert not recent.repeats(alert, 1.0)
