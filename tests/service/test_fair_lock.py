"""The lock's order."""

from __future__ import annotations

import threading
import time

import pytest

from controller.service.fair_lock import FairLock


def _waiting(lock: FairLock, number: int) -> None:
    """Returns once that many threads wait."""
    end = time.monotonic() + 10
    while len(lock._waiting) < number:
        assert time.monotonic() < end
        time.sleep(0.001)


def test_each_gets_it_in_the_order_of_arrival() -> None:
    """Also the thread that releases it and comes again: it is the last then."""
    lock, order, threads = FairLock(), list[str](), list[threading.Thread]()

    def come(name: str) -> None:
        with lock:
            order.append(name)

    with lock:
        for number in range(3):
            threads.append(threading.Thread(target=come, args=(f"thread {number}",)))
            threads[-1].start()
            _waiting(lock, number + 1)
    come("the first again")
    for thread in threads:
        thread.join(10)
    assert order == ["thread 0", "thread 1", "thread 2", "the first again"]


def test_one_at_a_time_is_in_it() -> None:
    """However many come at once."""
    lock, inside, most = FairLock(), 0, list[int]()

    def come() -> None:
        nonlocal inside
        for _ in range(50):
            with lock:
                inside += 1
                most.append(inside)
                time.sleep(0)
                inside -= 1

    threads = [threading.Thread(target=come) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert most == [1] * 400


def test_an_error_inside_hands_it_on() -> None:
    """A pass that fails must not stop all others."""
    lock = FairLock()
    with pytest.raises(ValueError, match="inside"), lock:
        raise ValueError("inside")
    with lock:
        pass
