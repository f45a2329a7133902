"""Which lists are read at the same time."""

from __future__ import annotations

import threading

import pytest

from controller.signals.list_turns import PATIENCE_S, ListTurns
from failover_testbed.clocks import ManualClock


def test_a_turn_that_is_given_back_is_the_next_ones() -> None:
    """And there is no other."""
    turns, got = ListTurns(1), threading.Event()

    def take() -> None:
        if turns.take():
            got.set()

    assert turns.take()
    waiting = threading.Thread(target=take)
    waiting.start()
    assert not got.wait(0.1)
    turns.give_back()
    assert got.wait(20)
    waiting.join()


def test_where_all_hang_one_at_a_time_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every ten seconds. All that waited went on together: 70 lists at once where there are to be two."""
    turns, clock, lock, went_on = ListTurns(2), ManualClock(0.0), threading.Lock(), list[float]()
    monkeypatch.setattr(turns, "_clock", clock)
    assert [turns.take(), turns.take()] == [True, True]

    def wait(seconds: float) -> None:
        clock.advance(seconds)

    def go_on() -> None:
        assert not turns.take()
        with lock:
            went_on.append(clock.monotonic())

    monkeypatch.setattr(turns._news, "wait", wait)
    waiting = [threading.Thread(target=go_on) for _ in range(5)]
    for one in waiting:
        one.start()
    for one in waiting:
        one.join()
    assert sorted(went_on) == [pytest.approx(PATIENCE_S * number) for number in range(1, 6)]
    turns.give_back()
    assert turns.take()
