"""The bounded queue and the memory of recent messages."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controller.notifiers.backlog import PROTECTED, Backlog, Item, Recent
from controller.ports import MessageKind
from tests.notifiers.support import a_message


def an_item(kind: MessageKind, number: int = 0) -> Item:
    return Item(a_message(kind, title=str(number)), float(number))


def test_a_full_queue_drops_its_oldest_alert_first() -> None:
    backlog = Backlog(3)
    failover, old, new = an_item(MessageKind.FAILOVER, 1), an_item(MessageKind.ALERT, 2), an_item(MessageKind.ALERT, 3)
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


@given(st.integers(1, 5), st.lists(st.sampled_from(list(MessageKind)), max_size=30))
def test_a_mode_change_is_never_dropped_while_another_kind_waits(size: int, kinds: list[MessageKind]) -> None:
    backlog = Backlog(size)
    held: list[Item] = []
    for number, kind in enumerate(kinds):
        item = an_item(kind, number)
        lost = backlog.push(item)
        held.append(item)
        if lost is not None:
            held.remove(lost)
            if lost.message.kind in PROTECTED:
                assert all(other.message.kind in PROTECTED for other in held), "a mode change was dropped while another kind waited"
        assert len(backlog) == len(held) <= size
    assert [backlog.pop() for _ in held] == held, "messages leave in the order of publication"


def test_a_message_repeats_another_only_within_the_window() -> None:
    recent = Recent(10.0, 5)
    alert = a_message(MessageKind.ALERT, dedup_key="k")
    assert not recent.repeats(alert, 0.0)
    assert recent.repeats(alert, 9.9)
    assert not recent.repeats(alert, 10.0), "the window counts from the first, so a lasting condition is repeated"


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
