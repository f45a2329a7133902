"""Messages that wait while many applications wait for their mode change."""

from __future__ import annotations

import threading

import pytest

from controller.errors import Unavailable
from controller.mode_changes_first import LONGEST_S, ModeChangesFirst
from controller.notifiers.after_mode_changes import AfterModeChanges
from controller.ports import Message
from failover_testbed.clocks import ManualClock
from tests.notifiers.support import START, a_message


class Kept:
    """A notifier that keeps when it was called."""

    name = "events"
    takes_digests = False

    def __init__(self, clock: ManualClock) -> None:
        self.clock, self.at, self.refuses = clock, list[float](), False

    def send(self, message: Message) -> None:
        self.at.append(self.clock.now() - START)
        if self.refuses:
            raise Unavailable("503")


class Ticking(ManualClock):
    """Time passes while somebody waits."""

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.advance(seconds)
        return event.is_set()


def made(busy: list[tuple[float, float]]) -> tuple[AfterModeChanges, Kept, Ticking]:
    """Its notifier and clock; applications wait in these spans of seconds."""
    clock = Ticking(START)
    kept = Kept(clock)
    wait = ModeChangesFirst(lambda: any(first <= clock.now() - START < last for first, last in busy), clock)
    return AfterModeChanges(kept, wait), kept, clock


def test_a_message_waits_until_few_applications_do() -> None:
    notifier, kept, _ = made([(0.0, 3.0)])
    notifier.send(a_message())
    notifier.send(a_message())
    assert kept.at == [3.0, 3.0]
    assert (notifier.name, notifier.takes_digests) == ("events", False)


def test_all_messages_together_wait_for_a_bounded_time_and_again_in_the_next_mass_event() -> None:
    notifier, kept, clock = made([(0.0, 100.0), (200.0, 203.0)])
    notifier.send(a_message())
    notifier.send(a_message())
    clock.advance(200.0 - LONGEST_S - 10.0)
    notifier.send(a_message())  # at rest
    clock.advance(10.0)
    notifier.send(a_message())
    assert kept.at == [LONGEST_S, LONGEST_S, 190.0, 203.0]


def test_a_fleet_that_is_always_busy_delays_by_a_quarter_at_most() -> None:
    """A queue that is short for a moment every ten seconds does not begin a new wait each time."""
    clock = Ticking(START)
    wait = ModeChangesFirst(lambda: (clock.now() - START) % 10.0 > 0.3, clock)
    for _ in range(600):
        wait()
        clock.advance(0.5)
    assert clock.now() - START <= (600 * 0.5 + LONGEST_S) / (1 - 1 / 4)


def test_an_earlier_mass_event_takes_no_wait_from_the_next() -> None:
    """An hour later, although nobody asked in between."""
    clock, busy = Ticking(START), [True]
    wait = ModeChangesFirst(lambda: busy[0], clock)
    wait()
    assert clock.now() - START == pytest.approx(LONGEST_S, abs=0.3)
    wait()
    clock.advance(3600.0)
    began = clock.now()
    wait()
    assert clock.now() - began == pytest.approx(LONGEST_S, abs=0.3)


def test_an_error_is_the_notifiers_own() -> None:
    notifier, kept, _ = made([])
    kept.refuses = True
    with pytest.raises(Unavailable):
        notifier.send(a_message())
