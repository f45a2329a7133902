"""The queue of applications that wait for a pass."""

from __future__ import annotations

import math
import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.clock import SystemClock
from controller.service.work_queue import HELP_S, OVERTAKE_S, WorkQueue
from failover_harness.waiting import wait_for
from failover_testbed.clocks import ManualClock
from tests.support.applications import NOW


def queue_of(*keys: str) -> tuple[WorkQueue, ManualClock, list[float]]:
    """A queue with these keys, its clock, and the times at which it asked for an earlier round."""
    clock = ManualClock(NOW)
    woken: list[float] = []
    made = WorkQueue(clock, lambda: woken.append(clock.monotonic()))
    made.retain(keys)
    return made, clock, woken


def drained(queue: WorkQueue) -> list[str]:
    """All keys that are ready, in their order."""
    found = []
    while (key := queue.take()) is not None:
        found.append(key)
    return found


def test_a_key_is_handed_out_once_however_often_it_was_marked() -> None:
    """In the order of the first mark."""
    queue, clock, _ = queue_of("a", "b", "c")
    for key in "cacbc":
        queue.add([key])
        clock.advance(0.1)
    assert drained(queue) == ["c", "a", "b"]


def test_a_key_is_never_handed_out_twice_at_once_but_once_more_if_it_was_marked_meanwhile() -> None:
    """A change during a pass is not lost, and does not start a second pass beside it."""
    queue, _, _ = queue_of("a")
    queue.add(["a"])
    assert queue.take() == "a"
    queue.add(["a"])
    queue.add(["a"])
    assert queue.take() is None
    queue.done("a", 15.0)
    assert drained(queue) == ["a"]


def test_changes_that_wait_are_counted() -> None:
    """Not what is merely due, not what a worker has, and nothing once the queue is closed."""
    queue, clock, _ = queue_of("a", "b", "c", "d")
    assert queue.changes() == 0
    queue.add(["a", "b", "c"])
    assert queue.changes() == 3
    assert queue.take() == "a"
    queue.add(["a"])
    assert queue.changes() == 2, "a worker has it"
    queue.done("a", 15.0)
    assert queue.changes() == 3
    for key in ("b", "c", "a"):
        assert queue.take() == key
        queue.done(key, 15.0)
    clock.advance(15.0)
    queue.promote()
    assert (queue.waiting(), queue.changes()) == (3, 0)
    queue.add(["a", "b"])
    assert (queue.waiting(), queue.changes()) == (3, 2)
    queue.close()
    assert queue.changes() == 0


def test_a_key_is_due_when_its_worker_said() -> None:
    """`promote` says when; before, there is nothing to do."""
    queue, clock, _ = queue_of("a", "b")
    queue.add(["a", "b"])
    for key, again_s in (("a", 15.0), ("b", 5.0)):
        assert queue.take() == key
        queue.done(key, again_s)
    assert queue.promote() == 5.0
    assert drained(queue) == []
    clock.advance(5.0)
    assert queue.promote() == 10.0
    assert drained(queue) == ["b"]


def test_a_gate_holds_whatever_changes() -> None:
    """A back-off is one of execution, not only of the next round: marks are remembered until it opens."""
    queue, clock, _ = queue_of("a")
    queue.add(["a"])
    assert queue.take() == "a"
    queue.done("a", 15.0, gate_s=4.0)
    for _ in range(3):
        queue.add(["a"])
        assert queue.promote() <= 4.0
        assert queue.take() is None
        clock.advance(1.0)
    assert queue.promote() == 1.0
    clock.advance(1.0)
    queue.promote()
    assert drained(queue) == ["a"]


def test_what_changed_overtakes_what_is_merely_due_but_not_for_ever() -> None:
    """In a mass event the periodic passes wait for a few seconds."""
    queue, clock, _ = queue_of("periodic", "early", "late")
    queue.add(["periodic"])
    assert queue.take() == "periodic"
    queue.done("periodic", 10.0)
    clock.advance(10.0)
    queue.promote()
    queue.add(["early"])
    clock.advance(OVERTAKE_S + 1.0)
    queue.add(["late"])
    assert drained(queue) == ["early", "periodic", "late"]


def test_it_asks_for_a_round_when_something_is_due_before_the_next_one() -> None:
    """The loop sleeps until the time that `promote` named."""
    queue, clock, woken = queue_of("a", "b")
    queue.add(["a", "b"])
    assert [queue.take(), queue.take()] == ["a", "b"]
    queue.done("a", 15.0)
    assert (queue.promote(), woken) == (15.0, [0.0])
    clock.advance(1.0)
    queue.done("b", 60.0)
    assert woken == [0.0]
    queue.add(["b"])
    assert queue.take() == "b"
    queue.done("b", 1.0)
    assert woken == [0.0, 1.0]


def test_an_application_that_was_removed_is_not_handed_out_and_may_come_back() -> None:
    """Even while a worker still has its old pass: the new one waits for it."""
    queue, _, _ = queue_of("a", "b")
    queue.add(["a", "b"])
    assert queue.take() == "a"
    queue.retain([])
    assert queue.take() is None
    queue.retain(["a"])
    queue.add(["a"])
    assert queue.take() is None
    queue.done("a", 15.0)
    assert drained(queue) == ["a"]


def test_it_says_how_long_a_worker_has_been_busy() -> None:
    """For the liveness probe: a pass that never ends is a bug."""
    queue, clock, _ = queue_of("a", "b")
    queue.add(["a", "b"])
    queue.take()
    clock.advance(3.0)
    queue.take()
    clock.advance(4.0)
    assert queue.longest_s() == 7.0
    queue.done("a", 1.0)
    assert queue.longest_s() == 4.0
    queue.done("b", 1.0)
    assert queue.longest_s() == 0.0


def test_what_becomes_ready_wakes_as_many_workers_and_never_too_few() -> None:
    """All idle workers woke for each key: with a thousand applications that took 0.7 % of a core."""
    queue, handled, waits = WorkQueue(SystemClock()), threading.Semaphore(0), Counter[str]()
    keys = [f"a{number}" for number in range(20)]
    queue.retain(keys)
    wait = queue._news.wait

    def counted(timeout: float | None = None) -> bool:
        waits["all"] += 1
        return wait(timeout)

    queue._news.wait = counted  # type: ignore[method-assign]

    def work() -> None:
        while (key := queue.get()) is not None:
            queue.done(key, math.inf)
            handled.release()

    workers = [threading.Thread(target=work, daemon=True) for _ in range(8)]
    for worker in workers:
        worker.start()
    wait_for("all workers wait", lambda: waits["all"] == len(workers))
    for key in keys:  # one at a time: each wakes one worker, which then waits again
        queue.add([key])
        assert handled.acquire(timeout=10)
        wait_for("its worker waits again", lambda: queue.waiting() == 0)
    assert waits["all"] <= len(workers) + len(keys)
    for _ in range(50):  # all at once: nobody sleeps while a key is ready
        queue.add(keys)
        wait_for("none waits", lambda: queue.waiting() == 0)
    queue.close()
    for worker in workers:
        worker.join(10)


def at_rest(*keys: str) -> tuple[WorkQueue, ManualClock]:
    """A queue with these keys and its clock, after a pass over each: they are due in 15 s."""
    queue, clock, _ = queue_of(*keys)
    queue.add(keys)
    for key in drained(queue):
        queue.done(key, 15.0)
    return queue, clock


def watched(queue: WorkQueue, idle: int) -> list[int]:
    """The workers that are woken from now on, where this many wait for a key."""
    woken: list[int] = []
    queue._idle = idle
    queue._news.notify = lambda n=1: woken.append(n)  # type: ignore[method-assign]
    return woken


def test_what_is_merely_due_is_for_one_worker_whom_another_helps_if_it_is_held_up() -> None:
    """Workers that share a few passes cost more than one that does them all."""
    queue, clock = at_rest(*"abcd")
    woken = watched(queue, idle=8)
    clock.advance(15.0)
    assert queue.promote() == pytest.approx(HELP_S)
    assert woken == [1]
    assert queue.take() is not None  # its worker is held up by this one
    clock.advance(HELP_S)
    assert queue.promote() == pytest.approx(HELP_S)
    assert woken == [1, 1]
    assert [queue.take(), queue.take()] != [None, None]
    clock.advance(HELP_S)
    assert queue.promote() == math.inf, "the last one has a worker of its own"
    assert woken == [1, 1, 1]
    assert queue.take() is not None
    assert queue.promote() == math.inf
    assert woken == [1, 1, 1], "nothing waits"


def test_where_all_workers_are_busy_nobody_asks_for_a_round() -> None:
    """Each takes the next key by itself."""
    queue, clock = at_rest(*"abcd")
    woken = watched(queue, idle=0)
    clock.advance(15.0)
    assert (queue.promote(), woken) == (math.inf, [])


def test_a_change_wakes_one_worker_of_its_own() -> None:
    """Also where the key was due already, so that a worker that is held up does not hold it up; and no second one in vain."""
    queue, clock = at_rest(*"ab")
    queue.retain("abc")
    woken = watched(queue, idle=8)
    queue.add("c")
    assert queue.promote() == 15.0
    assert woken == [1]
    clock.advance(15.0)
    queue.promote()
    assert woken == [1, 1], "for the two that are due"
    queue.add("a")
    assert woken == [1, 1, 1]
    assert queue.take() == "c"


def test_a_worker_that_was_woken_for_a_removed_key_leaves_the_others_one() -> None:
    """It may have found nothing, and waits again."""
    queue, clock = at_rest(*"ab")
    woken = watched(queue, idle=8)
    queue.add("b")
    queue.retain("a")
    clock.advance(15.0)
    queue.promote()
    assert woken == [1, 1]


def test_a_closed_queue_lets_its_workers_go() -> None:
    """They wait for keys without a time-out."""
    queue, _, _ = queue_of("a")
    seen: list[str | None] = []
    worker = threading.Thread(target=lambda: seen.append(queue.get()))
    worker.start()
    queue.close()
    worker.join(5)
    assert seen == [None]
    queue.add(["a"])
    assert queue.take() is None


Step = tuple[str, str, float]


@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "take", "done", "advance", "promote"]), st.sampled_from("abc"), st.floats(0.0, 30.0)), max_size=60
    )
)
def test_no_order_of_calls_loses_a_change_or_hands_a_key_out_twice(steps: list[Step]) -> None:
    """Whatever happens, each change is handled after it was made, and what was given a time comes then."""
    queue, clock, _ = queue_of("a", "b", "c")
    working: set[str] = set()
    unhandled: set[str] = set()
    for what, key, seconds in steps:
        match what:
            case "add":
                queue.add([key])
                unhandled.add(key)
            case "take":
                taken = queue.take()
                assert taken not in working
                if taken is not None:
                    working.add(taken)
                    unhandled.discard(taken)
            case "done" if key in working:
                working.discard(key)
                queue.done(key, seconds, gate_s=seconds / 2)
            case "advance":
                clock.advance(seconds)
            case "promote":
                assert queue.promote() >= 0
    for key in working:
        queue.done(key, 1.0)
    clock.advance(31.0)
    queue.promote()
    assert set(drained(queue)) >= unhandled | working


@pytest.mark.parametrize("passes", [1000])
def test_times_that_are_out_of_date_are_dropped(passes: int) -> None:
    """An application that changes all the time does not fill the memory with times that no longer count."""
    queue, _, _ = queue_of("a")
    for _ in range(passes):
        queue.add(["a"])
        assert queue.take() == "a"
        queue.done("a", 3600.0)
    assert len(queue._timers) < 100
    assert len(queue._ready) < 100


@given(st.lists(st.tuples(st.sampled_from(["add", "take", "done", "retain", "wait"]), st.sets(st.sampled_from("abcd"))), max_size=30))
def test_as_many_wait_as_would_be_handed_out(steps: list[tuple[str, set[str]]]) -> None:
    """The metric counts without going through all keys."""
    queue, clock, _ = queue_of("a", "b")
    taken: list[str] = []
    for step, keys in steps:
        if step == "add":
            queue.add(sorted(keys))
        elif step == "take" and (key := queue.take()) is not None:
            taken.append(key)
        elif step == "done" and taken:
            queue.done(taken.pop(), 5.0)
        elif step == "retain":
            queue.retain(sorted(keys))
        clock.advance(3.0)
        queue.promote()
    for key in taken:
        queue.done(key, 5.0)
    waiting = queue.waiting()
    assert len(drained(queue)) == waiting
