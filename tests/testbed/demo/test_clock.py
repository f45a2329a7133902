"""The clock of a scenario waits for a player that is late."""

from __future__ import annotations

import threading
import time

import pytest

from failover_testbed.clocks import ManualClock
from failover_testbed.demo.clock import LEAD_S, PacedClock


def test_it_runs_at_its_factor_while_the_player_keeps_up() -> None:
    machine = ManualClock(1000.0)
    clock = PacedClock(20, machine)
    began = clock.now()
    for _ in range(100):
        clock.stepped()
        machine.advance(LEAD_S / 20)
    assert clock.monotonic() == pytest.approx(100 * LEAD_S)
    assert clock.now() - began == pytest.approx(100 * LEAD_S)
    assert clock.held_s == pytest.approx(0)


def test_it_waits_for_a_late_player_and_the_time_lost_is_not_made_up() -> None:
    machine = ManualClock(1000.0)
    clock = PacedClock(20, machine)
    clock.stepped()
    machine.advance(7)
    assert clock.monotonic() == pytest.approx(LEAD_S)
    clock.stepped()
    assert clock.monotonic() == pytest.approx(LEAD_S)
    assert clock.held_s == pytest.approx(7 - LEAD_S / 20)
    machine.advance(LEAD_S / 40)
    assert clock.monotonic() == pytest.approx(1.5 * LEAD_S)


def test_without_a_player_time_goes_on() -> None:
    machine = ManualClock(1000.0)
    clock = PacedClock(20, machine)
    machine.advance(3)
    assert clock.monotonic() == pytest.approx(60)
    clock.stepped()
    machine.advance(3)
    clock.release()
    assert clock.monotonic() == pytest.approx(60 + LEAD_S)
    machine.advance(3)
    assert clock.monotonic() == pytest.approx(120 + LEAD_S)


def test_who_waits_wakes_when_the_clock_says_so_and_at_once_for_the_event() -> None:
    clock, event, ends = PacedClock(50), threading.Event(), []
    clock.stepped()

    def wait() -> None:
        assert not clock.wait(event, 5 * LEAD_S)
        ends.append(clock.monotonic())

    waiting = threading.Thread(target=wait)
    waiting.start()
    for _ in range(200):
        waiting.join(0.01)
        if not waiting.is_alive():
            break
        clock.stepped()
    assert ends
    assert ends[0] >= 5 * LEAD_S
    event.set()
    assert clock.wait(event, 3600)
    assert not clock.wait(threading.Event(), -1)


def test_time_never_goes_back_with_several_readers() -> None:
    clock, ended, backwards = PacedClock(50), threading.Event(), []

    def read() -> None:
        last = 0.0
        while not ended.is_set():
            now = clock.monotonic()
            if now < last:
                backwards.append((last, now))
            last = now

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for _ in range(200):
        clock.stepped()
        time.sleep(0.001)
    clock.release()
    ended.set()
    for reader in readers:
        reader.join(10)
    assert not backwards


def test_a_factor_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="factor must be at least 1"):
        PacedClock(0.5)
