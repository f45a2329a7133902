"""The drill's own requests, counted by what came of them."""

from __future__ import annotations

import threading

from controller.clock import SystemClock
from failover_setup.drill.load import Counts, Load
from tests.drill.drills import page


def sent(path: str) -> Counts:
    """What came of at least three requests."""
    clock, never = SystemClock(), threading.Event()
    with page() as url, Load(f"{url}{path}", 50, 5, clock) as load:
        while load.counts().sent < 3:
            clock.wait(never, 0.02)
    return load.counts()


def test_answers_count_by_their_status() -> None:
    assert sent("/").bad == 0
    assert sent("/fails").bad == 1


def test_no_answer_is_a_failure() -> None:
    clock = SystemClock()
    with page() as url:
        pass
    with Load(url, 50, 5, clock) as load:
        while load.counts().sent < 3:
            clock.wait(threading.Event(), 0.02)
    assert load.counts().good == 0
