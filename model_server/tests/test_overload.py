"""Overload, played on a clock of its own: requests with deadlines come faster than batches run, and nearly all of the capacity is used."""

import asyncio
import random
from typing import Any, cast

import pytest
from failover_model_server.errors import Overloaded
from failover_model_server.run import Run
from failover_model_server.serving.batcher import Batcher
from failover_model_server.serving.line import Waiting
from failover_model_server.serving.shape import Shape
from failover_model_server.tasks.base import Item

DEADLINE = 0.9
"""Seconds: a second, less what is kept in reserve."""
BUCKETS = (1, 2, 4, 8)
SECONDS = 12
"""Of each load, on the played clock."""


def gone() -> "asyncio.Future[object]":
    """An answer for which nobody waits."""
    loop = asyncio.new_event_loop()
    answer = loop.create_future()
    answer.set_result(None)
    loop.close()
    return answer


class Observer:
    """Counts what became too late."""

    def __init__(self) -> None:
        self.too_late = 0

    def batch(self, items: int, size: int, run: Run, seconds: float) -> None: ...

    def failed(self, items: int) -> None: ...

    def late(self) -> None:
        self.too_late += 1


class Played:
    """A queue in front of one worker whose batches take `base + item * size` seconds, on a clock that jumps from event to event."""

    def __init__(self, base: float, item: float, *, static: bool = False, packed: bool = False, buckets: tuple[int, ...] = BUCKETS) -> None:
        self.now = 0.0
        self.shape = Shape(buckets, static, packed)
        self._base, self._item = base, item
        self.observer = Observer()
        self.batcher = Batcher([cast("Any", object())], self.shape, 64, self.observer, clock=lambda: self.now)
        for size in buckets:
            self.batcher._pace.ran(size, 1.0, self.takes(size))
        self.good = self.missed = self.taken = 0
        self.free = 0.0
        self.sizes: list[int] = []

    def takes(self, items: int) -> float:
        """Seconds of a batch."""
        return self._base + self._item * self.shape.size(items)

    def lasts(self, batch: list[Waiting]) -> float:
        """Seconds of the batch of these."""
        return self.takes(len(batch))

    @property
    def best(self) -> float:
        """Items a second without deadlines."""
        return self.shape.buckets[-1] / self.takes(self.shape.buckets[-1])

    def arrive(self, answer: "asyncio.Future[object]") -> None:
        probe = self.batcher.idle
        try:
            self.batcher.reserve(self.now + DEADLINE)
        except Overloaded:
            return
        self.taken += 1
        self.batcher._line.add(Waiting(Item("k", 0), answer, self.now + DEADLINE, DEADLINE, probe))

    def work(self) -> None:
        """Begin a batch, if the worker is free and something waits."""
        if self.now < self.free:
            return
        self.batcher._ends.clear()
        if batch := self.batcher._take():
            seconds = self.lasts(batch)
            self.sizes.append(len(batch))
            self.batcher._ends[0] = self.now, seconds
            self.free = self.now + seconds
            self.good += sum(waiting.deadline >= self.free for waiting in batch)
            self.missed += sum(waiting.deadline < self.free for waiting in batch)

    def play(self, rate: float, seconds: float) -> None:
        answer = gone()
        began = self.now
        arrivals = [began + number / rate for number in range(int(rate * seconds))]
        while arrivals:
            if self.now < self.free <= arrivals[0]:
                self.now = self.free
            else:
                self.now = arrivals.pop(0)
                self.arrive(answer)
            self.work()


@pytest.mark.parametrize("factor", [1, 3, 20])
@pytest.mark.parametrize("static", [False, True], ids=["any size", "static"])
@pytest.mark.parametrize(
    ("base", "item", "share"),
    [
        (0.02, 0.005, 0.97),
        (0.05, 0.02, 0.97),
        (0.05, 0.04, 0.97),
        (0.05, 0.05, 0.97),
        (0.05, 0.1, 0.9),
        (0.3, 0.02, 0.97),
        (0.05, 0.4, 0.85),
    ],
)
def test_the_capacity_is_used(factor: float, static: bool, base: float, item: float, share: float) -> None:
    """Whatever a batch takes: most of what the worker could answer without deadlines, and nothing that was admitted is late."""
    played = Played(base, item, static=static)
    played.play(played.best * factor, SECONDS)
    assert played.missed == 0
    assert played.observer.too_late <= 1
    assert played.good / SECONDS >= share * played.best, (played.good / SECONDS / played.best, played.sizes[20:40])


@pytest.mark.parametrize("factor", [1.5, 3])
def test_a_delay_is_not_passed_on(factor: float) -> None:
    """After a batch that took two seconds too long those who have no time left are given up, and the next batches are full again."""
    played, delay = Played(0.05, 0.02, static=True), 2.0
    played.play(played.best * factor, SECONDS)
    played.free += delay
    played.sizes.clear()
    played.play(played.best * factor, SECONDS)
    assert played.missed == 0
    assert sum(size == BUCKETS[-1] for size in played.sizes) >= 0.9 * (SECONDS - delay) / played.takes(BUCKETS[-1])


def test_the_last_seconds_of_the_oldest_do_not_cost_those_behind_them_theirs() -> None:
    """Four have time for a batch of four and not for one of eight; run first, they would make all behind them late in turn."""
    played = Played(0.05, 0.02, static=True)
    answer = gone()
    for left in (0.2, 0.2, 0.2, 0.2, *[0.25] * 12):
        played.batcher._line.add(Waiting(Item("k", left), answer, left, DEADLINE))
    assert [waiting.deadline for waiting in played.batcher._take()] == [0.25] * 8
    assert played.observer.too_late == 4


def test_the_oldest_are_run_where_those_behind_them_can_wait() -> None:
    """The same four, before others who have time for both batches."""
    played = Played(0.05, 0.02, static=True)
    answer = gone()
    for left in (0.2, 0.2, 0.2, 0.2, *[0.85] * 12):
        played.batcher._line.add(Waiting(Item("k", left), answer, left, DEADLINE))
    assert [waiting.deadline for waiting in played.batcher._take()] == [0.2] * 4
    assert played.observer.too_late == 0


class Shaken(Played):
    """Batches of one machine with others: each takes by chance more or less, and about every two seconds something holds it up."""

    def __init__(self, seed: int) -> None:
        super().__init__(0.02, 0.15)
        self._chance = random.Random(seed)
        self._began, self._size = 0.0, 0

    def lasts(self, batch: list[Waiting]) -> float:
        seconds = self.takes(len(batch)) * self._chance.lognormvariate(0, 0.3)
        held_up = self._chance.expovariate(0.5)
        while held_up < seconds:
            seconds += 0.6 * self._chance.random()
            held_up += self._chance.expovariate(0.5)
        return seconds

    def work(self) -> None:
        if self._size and self.now >= self.free:
            self.batcher._pace.ran(self._size, 1.0, self.now - self._began)
            self._size = 0
        before = len(self.sizes)
        super().work()
        if len(self.sizes) > before:
            self._began, self._size = self.now, self.sizes[-1]


def test_a_crowd_costs_little_on_a_busy_machine() -> None:
    """At ten times the load and a deadline of a second nearly all that is run is in time, and hardly any refusal comes late."""
    played, seconds = [Shaken(seed) for seed in (3, 4, 5)], 60
    for one in played:
        one.play(10 * one.best, seconds)
    good, missed = sum(one.good for one in played), sum(one.missed for one in played)
    refused = sum(10 * one.best * seconds for one in played) - good - missed
    assert missed <= 0.08 * (good + missed)
    assert sum(one.observer.too_late for one in played) <= 0.002 * refused
