"""The dispatcher: isolation, retries, repetitions, health, and the sinks' alerts about each other."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from controller.clock import SystemClock
from controller.errors import Forbidden, Rejected, Unavailable
from controller.notifiers.dispatcher import Dispatcher
from controller.notifiers.redact import DEFAULT, MASK
from controller.notifiers.sink import FURTHER_TRIES, Limits, Sink, SinkHealth
from controller.ports import Message, MessageKind
from failover_testbed.clocks import ManualClock
from tests.notifiers.support import START, Scripted, a_message, health, idle, until

Dispatch = Callable[..., Dispatcher]

ALERT, RESOLVED = MessageKind.ALERT, MessageKind.RESOLVED


def test_every_sink_gets_every_message_in_order(dispatch: Dispatch) -> None:
    one, two = Scripted("one"), Scripted("two")
    dispatcher = dispatch(one, two)
    messages = [a_message(title=str(number)) for number in range(5)]
    for message in messages:
        dispatcher.publish(message)
    assert [one.next() for _ in messages] == messages
    assert [two.next() for _ in messages] == messages
    idle(dispatcher)
    assert [(sink.name, sink.ok, sink.sent, sink.last_ok_at) for sink in dispatcher.health()] == [
        ("one", True, 5, START),
        ("two", True, 5, START),
    ]


def test_the_health_of_a_sink_counts_what_became_of_its_messages(dispatch: Dispatch) -> None:
    """From nothing at all, over failures in a row, to the first message that arrives; the last error stays readable."""
    sink = Scripted("sink", *(Unavailable("503") for _ in range(7)), None)
    dispatcher = dispatch(sink, attempts=3, dead_after=100)
    counts = {"queued": 0, "sent": 0, "failed": 0, "dropped": 0, "suppressed": 0, "retried": 0}
    fresh = SinkHealth("sink", ok=True, dead=False, last_ok_at=None, last_error="", consecutive_failures=0, **counts)
    assert dispatcher.health() == (fresh,)
    for _ in range(2):
        dispatcher.publish(a_message(ALERT))
        idle(dispatcher)
    down = replace(fresh, ok=False, dead=True, last_error="503", consecutive_failures=6, failed=2, retried=4)
    assert dispatcher.health() == (down,)
    dispatcher.publish(a_message(ALERT))
    idle(dispatcher)
    assert dispatcher.health() == (replace(down, ok=True, dead=False, last_ok_at=START + 7, consecutive_failures=0, sent=1, retried=5),)


def test_what_becomes_of_a_sink_is_logged(dispatch: Dispatch) -> None:
    """Where every sink is dead, the log alone says so: which one, of what, and after how many tries."""
    sink = Scripted("sink", *(Unavailable("503") for _ in range(3)), None)
    dispatcher = dispatch(sink, attempts=3)
    with capture_logs() as logs:
        for _ in range(2):
            dispatcher.publish(a_message(ALERT))
            idle(dispatcher)
    assert logs == [
        {"event": "notifier.died", "log_level": "error", "sink": "sink", "error": "503"},
        {"event": "notifier.gave_up", "log_level": "warning", "sink": "sink", "kind": "alert", "attempts": 3, "error": "503"},
        {"event": "notifier.recovered", "log_level": "info", "sink": "sink", "last_error": "503"},
    ]


def test_a_sink_that_hangs_does_not_keep_the_process_from_ending(dispatch: Dispatch) -> None:
    """A rollout would wait for it until the kubelet kills the process."""
    dispatch(Scripted("ends-with-the-process"))
    assert [one.daemon for one in threading.enumerate() if one.name == "notifier-ends-with-the-process"] == [True]


def test_publish_returns_and_the_others_deliver_while_a_sink_hangs(dispatch: Dispatch) -> None:
    hung, other = Scripted("hung"), Scripted("other")
    hung.gate.clear()
    dispatcher = dispatch(hung, other)
    dispatcher.publish(a_message(title="1"))
    assert hung.entered.wait(5)
    dispatcher.publish(a_message(title="2"))
    assert [other.next().title, other.next().title] == ["1", "2"]
    assert not hung.gate.is_set(), "all of this happened while the sink still hung"
    assert health(dispatcher, "hung").queued == 2
    hung.gate.set()
    assert [hung.next().title, hung.next().title] == ["1", "2"]


def test_an_attempt_that_hangs_shows_in_health_and_the_others_are_notified_once(dispatch: Dispatch, clock: ManualClock) -> None:
    hung, other = Scripted("hung"), Scripted("other")
    hung.gate.clear()
    dispatcher = dispatch(hung, other, stuck_after_s=60.0)
    dispatcher.publish(a_message())
    assert hung.entered.wait(5)
    other.next()
    clock.advance(61.0)
    for _ in range(3):
        found = health(dispatcher, "hung")
        assert (found.ok, found.dead, found.last_error) == (False, True, "no answer for 61 s")
    notified = other.next()
    assert (notified.kind, notified.reason, notified.application) == (ALERT, "NotifierDead", "")
    assert notified.why.startswith("no answer for 61 s. Mode changes are not affected")
    hung.gate.set()
    assert other.next().kind is RESOLVED
    assert not other.rest()
    assert health(dispatcher, "hung").ok


def test_a_sink_without_an_attempt_hangs_at_no_bound(dispatch: Dispatch) -> None:
    """Its death would be announced while nothing is wrong."""
    dispatcher = dispatch(Scripted("sink"), stuck_after_s=0.0)
    assert health(dispatcher, "sink").ok


def test_what_the_receiver_rejects_is_not_retried_and_the_rest_only_within_the_bound(dispatch: Dispatch) -> None:
    down, wrong, denied = Scripted("down", Unavailable("503")), Scripted("wrong", Rejected("400")), Scripted("denied", Forbidden("403"))
    dispatcher = dispatch(down, wrong, denied, attempts=4)
    dispatcher.publish(a_message(ALERT, application=""))
    until(lambda: all(sink.failed >= 1 for sink in dispatcher.health()))
    idle(dispatcher)
    found = {sink.name: sink for sink in dispatcher.health()}
    # Each also got the alerts about the others, which failed likewise and raised no further alerts.
    assert {name: sink.dead for name, sink in found.items()} == {"down": True, "wrong": True, "denied": True}
    assert wrong.tries == found["wrong"].failed
    for name, sink in (("down", down), ("denied", denied)):  # credentials may be rotated
        assert sink.tries == 4 * found[name].failed
        assert found[name].retried == 3 * found[name].failed
    assert all(sink.failed <= 3 for sink in found.values()), "its own message, and one about each of the others"


def test_waits_double_up_to_the_longest_and_honour_retry_after(dispatch: Dispatch, clock: ManualClock) -> None:
    sink = Scripted("sink", *(Unavailable("503") for _ in range(4)), Unavailable("429", retry_after_s=30.0), None)
    dispatcher = dispatch(sink, attempts=6, retry_max_s=4.0)
    dispatcher.publish(a_message())
    sink.next()
    assert clock.monotonic() == 1 + 2 + 4 + 4 + 30


def test_a_short_retry_after_is_waited_for_as_well(dispatch: Dispatch, clock: ManualClock) -> None:
    """A receiver that asks for half a second takes nothing before it."""
    sink = Scripted("sink", Unavailable("429", retry_after_s=0.5), None)
    dispatch(sink, retry_base_s=0.0).publish(a_message())
    sink.next()
    assert clock.monotonic() == 0.5


def test_jitter_takes_up_to_half_of_a_wait(dispatch: Dispatch, clock: ManualClock) -> None:
    sink = Scripted("sink", Unavailable("503"), None)
    dispatch(sink, jitter=lambda: 0.0).publish(a_message())
    sink.next()
    assert clock.monotonic() == 0.5


def test_the_age_of_a_message_counts_from_when_it_was_published(dispatch: Dispatch, clock: ManualClock) -> None:
    """After a day of running none would be tried again."""
    clock.advance(86_400.0)
    sink = Scripted("sink", Unavailable("503"), None)
    dispatch(sink).publish(a_message(MessageKind.FAILOVER))
    assert sink.next().kind is MessageKind.FAILOVER


def test_no_retry_begins_after_the_age_bound(dispatch: Dispatch) -> None:
    sink = Scripted("sink", Unavailable("503"))
    dispatcher = dispatch(sink, attempts=100, retry_base_s=1.0, retry_max_s=1000.0, max_age_s=10.0)
    dispatcher.publish(a_message())
    until(lambda: health(dispatcher, "sink").failed == 1)
    assert sink.tries == 4, "at 0, 1, 3 and 7 s; the next would be at 15 s"


@pytest.mark.parametrize("refusal", [Unavailable("503"), Forbidden("invalid_auth")], ids=["down", "refused"])
@pytest.mark.parametrize("kind", [RESOLVED, MessageKind.FALLBACK, MessageKind.FAILOVER])
def test_what_happens_once_reaches_a_sink_that_fails_for_minutes(
    dispatch: Dispatch, clock: ManualClock, kind: MessageKind, refusal: Exception
) -> None:
    """Given up after the usual tries, a failover would never be read of, and an incident would stay open for ever. The order is kept."""
    sink = Scripted("sink", *(refusal for _ in range(10)), None)
    dispatcher = dispatch(sink, max_age_s=600.0)
    dispatcher.publish(a_message(kind))
    dispatcher.publish(a_message(RESOLVED, title="the next"))
    assert [sink.next().kind, sink.next().title] == [kind, "the next"]
    assert clock.monotonic() == 1 + 2 + 8 * 30
    idle(dispatcher)
    assert health(dispatcher, "sink").failed == 0


def test_the_end_of_an_incident_is_tried_until_the_age_bound(dispatch: Dispatch, clock: ManualClock) -> None:
    """A bounded number of times: then it is lost like any other, and the next message gets its turn."""
    sink = Scripted("sink", Unavailable("503"))
    dispatcher = dispatch(sink, max_age_s=600.0, retry_max_s=0.0)
    dispatcher.publish(a_message(RESOLVED))
    until(lambda: health(dispatcher, "sink").failed == 1)
    assert sink.tries == 3 + FURTHER_TRIES
    assert clock.monotonic() == 600


def test_a_beginning_waits_for_no_end_that_its_receiver_cannot_take(dispatch: Dispatch) -> None:
    """A failover must not reach people ten minutes late because of one message that always ends in an error."""
    sink = Scripted("sink", *(Unavailable("500") for _ in range(3)), None)
    dispatcher = dispatch(sink, max_age_s=600.0)
    dispatcher.publish(a_message(RESOLVED))
    dispatcher.publish(a_message(MessageKind.FAILOVER, title="the next"))
    assert sink.next().title == "the next"
    idle(dispatcher)
    assert health(dispatcher, "sink").failed == 1


@pytest.mark.parametrize("asked", [1e12, float("inf"), float("nan"), -5.0])
def test_an_absurd_retry_after_neither_stops_a_sink_for_ever_nor_breaks_it(dispatch: Dispatch, clock: ManualClock, asked: float) -> None:
    sink = Scripted("sink", Unavailable("429", retry_after_s=asked), None)
    dispatcher = dispatch(sink, attempts=1, max_age_s=60.0)
    dispatcher.publish(a_message(ALERT, title="first"))
    dispatcher.publish(a_message(ALERT, title="second"))
    assert sink.next().title == "second"
    assert clock.monotonic() == (60.0 if asked > 0 else 0.0), "the next message waits as asked, but not longer than the bound"


def test_an_unexpected_exception_is_counted_and_the_thread_lives_on(dispatch: Dispatch) -> None:
    sink = Scripted("sink", ValueError("boom"), SystemExit(3), None)
    dispatcher = dispatch(sink)
    for title in ("1", "2", "3"):
        dispatcher.publish(a_message(title=title))
    assert sink.next().title == "3"
    idle(dispatcher)
    found = health(dispatcher, "sink")
    assert (found.sent, found.failed, found.retried, found.ok, found.last_error) == (1, 2, 0, True, "SystemExit: 3")


def test_a_bug_in_the_sink_s_own_thread_does_not_end_it(dispatch: Dispatch) -> None:
    def broken() -> float:
        raise RuntimeError("no randomness today")

    sink = Scripted("sink", Unavailable("503"))
    dispatcher = dispatch(sink, jitter=broken)
    for title in ("1", "2"):
        dispatcher.publish(a_message(title=title))
    idle(dispatcher)
    found = health(dispatcher, "sink")
    assert (found.failed, found.consecutive_failures, found.last_error) == (2, 4, "RuntimeError: no randomness today")
    sink._script = [None]
    dispatcher.publish(a_message(title="3"))
    assert sink.next().title == "3"


def test_publish_does_not_raise_even_for_a_value_that_is_no_message(dispatch: Dispatch) -> None:
    sink = Scripted("sink")
    dispatcher = dispatch(sink)
    with capture_logs() as logs:
        dispatcher.publish(None)  # type: ignore[arg-type]
    assert [entry["event"] for entry in logs] == ["notifier.publish_failed"]
    dispatcher.publish(a_message())
    sink.next()


def test_a_message_that_repeats_another_is_sent_once_a_window(dispatch: Dispatch, clock: ManualClock) -> None:
    sink = Scripted("sink")
    dispatcher = dispatch(sink, dedup_window_s=900.0)
    for _ in range(3):
        dispatcher.publish(a_message(ALERT, dedup_key="stale"))
    clock.advance(900.0)
    dispatcher.publish(a_message(ALERT, dedup_key="stale"))
    dispatcher.publish(a_message(ALERT))
    dispatcher.publish(a_message(ALERT))
    idle(dispatcher)
    assert len(sink.rest()) == 4
    assert health(dispatcher, "sink").suppressed == 2


def test_a_message_that_was_given_up_passes_again_within_the_window(dispatch: Dispatch) -> None:
    sink = Scripted("sink", Rejected("400"), None)
    dispatcher = dispatch(sink)
    dispatcher.publish(a_message(ALERT, dedup_key="stale"))
    until(lambda: health(dispatcher, "sink").failed == 1)
    dispatcher.publish(a_message(ALERT, dedup_key="stale"))
    assert sink.next().dedup_key == "stale"


def test_a_full_queue_drops_alerts_and_keeps_the_mode_changes(dispatch: Dispatch) -> None:
    sink = Scripted("sink")
    sink.gate.clear()
    dispatcher = dispatch(sink, queue_size=3)
    dispatcher.publish(a_message(title="in work"))
    assert sink.entered.wait(5)
    dispatcher.publish(a_message(MessageKind.FAILOVER, title="failover"))
    for number in range(50):
        dispatcher.publish(a_message(ALERT, title=f"alert {number}", dedup_key=f"alert {number}", reason=f"Reason{number}"))
    dispatcher.publish(a_message(MessageKind.FALLBACK, title="fallback"))
    found = health(dispatcher, "sink")
    assert (found.queued, found.dropped) == (4, 49)
    dispatcher.publish(a_message(ALERT, title="alert 0 again", dedup_key="alert 0", reason="Reason0"))
    sink.gate.set()
    idle(dispatcher)
    assert [message.title for message in sink.rest()] == ["in work", "failover", "fallback", "alert 0 again"]


def test_a_mass_event_reaches_people_as_a_digest(dispatch: Dispatch) -> None:
    """Every message counts as sent only if it was; what a digest could not deliver passes once more."""
    sink = Scripted("sink")
    sink.gate.clear()
    dispatcher = dispatch(sink, queue_size=100)
    dispatcher.publish(a_message(title="in work"))
    assert sink.entered.wait(5)
    for number in range(1000):
        application = f"team/app-{number}"
        dispatcher.publish(
            a_message(ALERT, title=f"app-{number}: no capacity", application=application, dedup_key=application, reason="ShortageProven")
        )
    assert (health(dispatcher, "sink").queued, health(dispatcher, "sink").dropped) == (1001, 0)
    sink.gate.set()
    idle(dispatcher)
    assert [message.title for message in sink.rest()] == ["in work", "1000 applications: no capacity"]
    assert health(dispatcher, "sink").sent == 1001


def mass_event(dispatcher: Dispatcher, sink: Scripted, count: int, *, team: str = "team") -> None:
    """Publishes alerts of many applications of a team while the sink is busy with a first message."""
    sink.gate.clear()
    dispatcher.publish(a_message(title="in work"))
    assert sink.entered.wait(5)
    for number in range(count):
        name = f"{team}/app-{number}"
        dispatcher.publish(a_message(ALERT, title=f"app-{number}: no capacity", application=name, dedup_key=name, reason="ShortageProven"))
    sink.gate.set()
    idle(dispatcher)


def test_no_sink_keeps_what_it_has_delivered(dispatch: Dispatch) -> None:
    """A digest of a thousand messages was kept until the next message, which may be a day later."""
    sink = Scripted("sink")
    dispatcher = dispatch(sink)
    mass_event(dispatcher, sink, 40, team="kept")
    assert len(sink.rest()) == 2

    def left() -> list[Message]:
        gc.collect()
        return [one for one in gc.get_objects() if isinstance(one, Message) and one.application.startswith("kept/")]

    until(lambda: not left())


def test_a_sink_that_takes_no_digest_gets_each_message_of_it_once(dispatch: Dispatch) -> None:
    """What one of them meets concerns that one: a time-out is tried again, a refusal is given up, and the others arrive."""
    script = [None] * 5 + [Unavailable("503"), Rejected("400")] + [None]
    sink = Scripted("sink", *script, takes_digests=False)
    dispatcher = dispatch(sink)
    mass_event(dispatcher, sink, 40)
    assert [message.title for message in sink.rest()] == ["in work", *(f"app-{number}: no capacity" for number in range(40) if number != 4)]
    found = health(dispatcher, "sink")
    assert (found.sent, found.failed, found.retried, found.dropped, found.queued) == (40, 1, 1, 0, 0)


def test_what_is_left_of_a_digest_counts_as_queued(dispatch: Dispatch) -> None:
    queued: list[int] = []

    class Counting(Scripted):
        def send(self, message: Message) -> None:
            super().send(message)
            queued.append(health(dispatcher, "sink").queued)

    sink = Counting("sink", takes_digests=False)
    dispatcher = dispatch(sink)
    mass_event(dispatcher, sink, 40)
    assert queued == [41, *range(40, 0, -1)]


def test_the_rest_of_a_digest_does_not_wait_for_a_receiver_that_is_gone(dispatch: Dispatch) -> None:
    """Those that were not tried count as dropped, so that the next ones like them pass."""
    sink = Scripted("sink", None, None, Unavailable("503"), takes_digests=False)
    dispatcher = dispatch(sink, attempts=2)
    mass_event(dispatcher, sink, 40)
    found = health(dispatcher, "sink")
    assert (found.sent, found.failed, found.dropped, sink.tries) == (2, 1, 38, 4)
    sink._script = [None]
    dispatcher.publish(a_message(ALERT, application="team/app-7", dedup_key="team/app-7", reason="ShortageProven", title="app-7: again"))
    idle(dispatcher)
    assert sink.rest()[-1].title == "app-7: again"


def test_the_others_are_notified_once_of_a_dead_sink_and_of_its_recovery(dispatch: Dispatch, clock: ManualClock) -> None:
    dead, other = Scripted("dead", *(Unavailable("503") for _ in range(9)), None), Scripted("other")
    dispatcher = dispatch(dead, other, attempts=3, dead_after=2)
    for title in ("1", "2", "3", "4"):
        dispatcher.publish(a_message(ALERT, title=title))
    assert dead.next().title == "4"
    idle(dispatcher)
    notified = [message for message in other.rest() if not message.application]
    assert [(message.kind, message.title) for message in notified] == [
        (ALERT, "notifications: dead does not deliver"),
        (RESOLVED, "notifications: dead delivers again"),
    ]
    assert notified[0].why == "503. Mode changes are not affected; every new message is tried again: check the sink's address and secret"
    assert dead.rest() == [], "it does not hear about itself"
    assert health(dispatcher, "dead").last_ok_at == clock.now()


def test_the_others_are_notified_of_a_flapping_sink_once_a_window(dispatch: Dispatch, clock: ManualClock) -> None:
    clock.advance(10_000.0)
    flapping, other = Scripted("flapping", *(step for _ in range(5) for step in (Rejected("400"), None))), Scripted("other")
    dispatcher = dispatch(flapping, other, dedup_window_s=900.0)
    for _ in range(10):
        dispatcher.publish(a_message())
        idle(dispatcher)
    assert [message.kind for message in other.rest() if not message.application] == [ALERT, RESOLVED]
    clock.advance(900.0)
    flapping._script = [Rejected("400")]
    dispatcher.publish(a_message())
    idle(dispatcher)
    assert [message.kind for message in other.rest() if not message.application] == [ALERT]


def test_sinks_that_are_all_dead_do_not_alert_about_each_other_for_ever(dispatch: Dispatch) -> None:
    sinks = [Scripted(name, Rejected("no")) for name in ("a", "b", "c")]
    dispatcher = dispatch(*sinks)
    for _ in range(5):
        dispatcher.publish(a_message())
        idle(dispatcher)
    assert [sink.tries for sink in sinks] == [5 + 2] * 3, "its own messages, and one alert about each other sink"


@pytest.mark.parametrize(("error", "dead_after"), [(Rejected("no"), 100), (Unavailable("down"), 1)])
def test_a_failed_alert_about_another_sink_raises_no_alert_about_this_one(dispatch: Dispatch, error: Exception, dead_after: int) -> None:
    first, second = Scripted("first", Rejected("no")), Scripted("second", None, error)
    dispatcher = dispatch(first, second, dead_after=dead_after)
    dispatcher.publish(a_message())
    idle(dispatcher)
    assert health(dispatcher, "second").dead, "it shows in health"
    assert first.tries == 1, "but the first sink is not notified"
    dispatcher.publish(a_message())
    idle(dispatcher)
    assert first.tries == 3, "only when a message of its own fails"


def test_work_beside_the_messages_that_fails_shows_in_health_and_the_others_are_notified(dispatch: Dispatch) -> None:
    """For days no message may come that would show that CloudWatch takes no metrics, or that no alarm could be created."""
    metrics, other = Scripted("metrics"), Scripted("other")
    dispatcher = dispatch(metrics, other, dead_after=3)
    for _ in range(2):
        dispatcher.beside("metrics", Forbidden("PutMetricAlarm: AccessDenied"))
    found = health(dispatcher, "metrics")
    assert (found.ok, found.last_error) == (False, "PutMetricAlarm: AccessDenied")
    notified = other.next()
    assert (notified.kind, notified.reason) == (ALERT, "NotifierDead")
    assert notified.why.startswith("PutMetricAlarm: AccessDenied. ")
    dispatcher.publish(a_message())
    metrics.next()
    idle(dispatcher)
    assert not health(dispatcher, "metrics").ok, "a message that arrives makes no alarm"
    assert [message.kind for message in other.rest()] == [MessageKind.FAILOVER]
    dispatcher.beside("metrics", None)
    assert health(dispatcher, "metrics").ok
    assert other.next().kind is RESOLVED
    idle(dispatcher)
    assert not other.rest()


def test_work_beside_the_messages_that_succeeds_does_not_hide_that_none_arrives(dispatch: Dispatch) -> None:
    """The others would read that the sink delivers again."""
    metrics, other = Scripted("metrics", Rejected("400")), Scripted("other")
    dispatcher = dispatch(metrics, other)
    dispatcher.publish(a_message())
    idle(dispatcher)
    for error in (None, Forbidden("PutMetricAlarm: AccessDenied"), None):
        dispatcher.beside("metrics", error)
    idle(dispatcher)
    assert [message.kind for message in other.rest()] == [MessageKind.FAILOVER, ALERT]
    assert not health(dispatcher, "metrics").ok


def test_one_time_out_beside_the_messages_notifies_nobody(dispatch: Dispatch) -> None:
    """The next heartbeat comes within a minute."""
    metrics, other = Scripted("metrics"), Scripted("other")
    dispatcher = dispatch(metrics, other, dead_after=2)
    dispatcher.beside("metrics", Unavailable("time-out"))
    assert not health(dispatcher, "metrics").ok
    dispatcher.beside("metrics", None)
    assert health(dispatcher, "metrics").ok
    idle(dispatcher)
    assert not other.rest()
    for _ in range(2):
        dispatcher.beside("metrics", Unavailable("time-out"))
    assert other.next().kind is ALERT


def test_secrets_are_masked_in_what_is_sent_and_in_health(dispatch: Dispatch) -> None:
    hook = "https://hooks.slack.com/services/T00/B00/abcdefghijkl"
    good, bad = Scripted("good"), Scripted("bad", ValueError(f"cannot reach {hook}\nsecond line {'x' * 500}"))
    dispatcher = dispatch(good, bad)
    dispatcher.publish(a_message(title=hook, why=hook, cost=hook, next=hook, fields={"link": hook}))
    got = good.next()
    masked = f"https://hooks.slack.com/{MASK}"
    assert got == replace(got, title=masked, why=masked, cost=masked, next=masked, fields={"link": masked})
    idle(dispatcher)
    error = health(dispatcher, "bad").last_error
    assert error.startswith(f"ValueError: cannot reach {masked} second line xxx")
    assert len(error) == 200


def test_secrets_are_masked_wherever_a_message_has_them(dispatch: Dispatch) -> None:
    """In the name of who changed something, in a field's name, and in each message of a digest."""
    hook, masked = "https://hooks.slack.com/services/T00/B00/abcdefghijkl", f"https://hooks.slack.com/{MASK}"
    sink = Scripted("sink")
    dispatcher = dispatch(sink)
    inner = a_message(why=hook, by=hook, fields={hook: "1"})
    dispatcher.publish(a_message(by=hook, fields={hook: "1"}, parts=(inner, inner)))
    got = sink.next()
    clean = replace(inner, why=masked, by=masked, fields={masked: "1"})
    assert (got.by, got.fields, got.parts) == (masked, {masked: "1"}, (clean, clean))


def test_an_error_that_fits_is_not_cut(dispatch: Dispatch) -> None:
    """Its last message may matter most."""
    sink = Scripted("sink", Rejected("x" * 199 + "!"))
    dispatcher = dispatch(sink)
    dispatcher.publish(a_message())
    idle(dispatcher)
    assert health(dispatcher, "sink").last_error == "x" * 199 + "!"


def test_close_lets_the_queues_run_empty_and_ends_the_threads() -> None:
    sink = Scripted("to-close")
    dispatcher = Dispatcher([sink], SystemClock())
    for number in range(20):
        dispatcher.publish(a_message(title=str(number)))
    assert dispatcher.close(10.0) == 0
    assert len(sink.rest()) == 20
    dispatcher.publish(a_message())
    dispatcher.publish(a_message())
    assert health(dispatcher, "to-close").dropped == 2
    until(lambda: not any(thread.name == "notifier-to-close" for thread in threading.enumerate()))


def test_a_sink_that_has_nothing_to_do_ends_at_once() -> None:
    """`close` would wait for it as long as it may."""
    limits = Limits(1.0, 1, 1, 1.0, 1.0, 1.0, 1, 1.0)
    sink = Sink(Scripted("to-end"), SystemClock(), limits, on_change=lambda *_: None, jitter=lambda: 0.0, redactor=DEFAULT)
    sink.drain()
    assert sink.finished.wait(10.0)


def test_close_does_not_wait_for_a_sink_that_hangs_nor_for_a_retry() -> None:
    hung = Scripted("hung")
    hung.gate.clear()
    waiting = Scripted("waiting", Unavailable("503"))
    dispatcher = Dispatcher([hung, waiting], SystemClock(), retry_base_s=3600.0, retry_max_s=3600.0, max_age_s=1e6, jitter=lambda: 1.0)
    dispatcher.publish(a_message(title="1"))
    dispatcher.publish(a_message(title="2"))
    assert hung.entered.wait(5)
    until(lambda: waiting.tries == 1 and health(dispatcher, "waiting").consecutive_failures == 1)
    assert not health(dispatcher, "waiting").ok, "its last attempt delivered nothing"
    assert dispatcher.close(0.01) == 4
    assert not hung.gate.is_set()
    until(lambda: health(dispatcher, "waiting").queued == 0)
    assert (health(dispatcher, "waiting").failed, health(dispatcher, "waiting").dropped) == (1, 1)
    hung.gate.set()
    until(lambda: health(dispatcher, "hung").queued == 0)
    assert [message.title for message in hung.rest()] == ["1"]


def test_close_does_not_wait_for_a_receiver_that_wants_none_for_an_hour() -> None:
    """The next message has not been tried, so it counts as dropped."""
    sink = Scripted("sink", Unavailable("429", retry_after_s=3600.0))
    dispatcher = Dispatcher([sink], SystemClock(), attempts=1, max_age_s=1e6)
    for title in ("1", "2"):
        dispatcher.publish(a_message(ALERT, title=title))
    until(lambda: health(dispatcher, "sink").failed == 1)
    dispatcher.close(0.01)
    until(lambda: health(dispatcher, "sink").queued == 0)
    found = health(dispatcher, "sink")
    assert (sink.tries, found.failed, found.dropped, found.last_error) == (1, 1, 1, "429")


_TIMES = ("dedup_window_s", "retry_base_s", "retry_max_s", "max_age_s", "stuck_after_s")


@pytest.mark.parametrize("bad", [{"queue_size": 0}, {"attempts": 0}, {"dead_after": 0}, *({name: -1.0} for name in _TIMES)])
def test_a_bound_out_of_range_is_refused(dispatch: Dispatch, bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"at least 1|negative"):
        dispatch(Scripted("sink"), **bad)


def test_two_sinks_that_share_a_name_are_refused(dispatch: Dispatch) -> None:
    with pytest.raises(ValueError, match="share a name"):
        dispatch(Scripted("slack"), Scripted("slack"))
