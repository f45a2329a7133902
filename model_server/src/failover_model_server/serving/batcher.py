"""The queue in front of the accelerator, and the batches that are taken from it.

A worker that is free takes what waits: the oldest item and others with the same key, the next oldest or those nearest in length, up to the
largest bucket, and no more than end before the deadline of each. It does not wait for more; batches form by themselves while the
accelerator is busy. An item leaves the queue when it is taken, when its caller goes away, or when it can no longer be ready in time; it is
answered exactly once.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, Self

import structlog

from failover_model_server import background
from failover_model_server.errors import UNFORESEEN, InferenceFailed, Overloaded, Unavailable
from failover_model_server.run import Abandoned, Run
from failover_model_server.serving.alike import alike
from failover_model_server.serving.arrivals import Arrivals
from failover_model_server.serving.line import Line, Waiting
from failover_model_server.serving.pace import Pace
from failover_model_server.serving.shape import Shape
from failover_model_server.serving.worker import Worker, WorkerLost
from failover_model_server.tasks.base import Item

log = structlog.get_logger()

SMOOTHING = 0.2
"""Part of the newest value in a running mean."""
GATHER_SHARE = 0.1
"""Part of a batch's time that it may wait for requests which are being prepared."""
LONGEST_GATHER = 0.005
"""Seconds, however long batches take."""
LONGEST_RETRY_AFTER = 60.0
"""Seconds; the longest wait that is announced to a client."""
GONE = "the accelerator is gone; the server restarts"
RETRY_ELSEWHERE = 5.0
"""Seconds, for what a server cannot run that is about to end."""
OVERDUE_SHARE = 0.1
"""A batch that runs longer than expected is taken to need this part of its time so far once more."""
CROWD = 4.0
"""Requests that come this many times faster than batches take them are a crowd: the next batch fills although some are refused."""
CROWD_HASTE = 2.0
"""Factor of the expected wait in a crowd, so that a delay makes few of those late that wait. Else a long queue bridges quiet moments."""

CROWD_BATCH = 0.75
"""Part of a request's time that its batch may take for this: beyond it nothing is left that a shorter queue could save."""


class Observer(Protocol):
    """Gets every batch; must not raise or block."""

    def batch(self, items: int, size: int, run: Run, seconds: float) -> None:
        """Called when a batch of `items` items, padded to `size`, has run."""

    def failed(self, items: int) -> None:
        """Called when a batch has raised."""

    def late(self) -> None:
        """Called when an item was taken out of the queue since it could no longer be ready in time."""


class Batcher:
    """The bounded queue and its workers. Everything here runs on the event loop.

    Args:
        workers: each takes batches on its own.
        shape: the sizes of batches.
        most: items that may wait, those that are being prepared included.
        observer: gets every batch.
        longest: expected seconds that an item may wait before its batch begins.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        workers: Sequence[Worker],
        shape: Shape,
        most: int,
        observer: Observer,
        longest: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workers = workers
        self._shape = shape
        self._most = most
        self._longest = longest
        self._observer = observer
        self._clock = clock
        self._pace = Pace(packed=shape.packed)
        self._arrivals = Arrivals()
        self._line = Line(shape, self._pace, self._arrivals)
        self._reserved = 0
        self._arrived = asyncio.Event()
        self._prepared = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        self._taking = 0
        """Workers that take batches."""
        self._over: Unavailable | None = None
        """Why none does any more."""
        self._batch_seconds = 0.0
        self._finish_seconds = 0.0
        self._work = 1.0
        self._running = 0
        self._ends: dict[int, tuple[float, float]] = {}

    @property
    def queued(self) -> int:
        """Items that wait or are being prepared."""
        return len(self._line) + self._reserved

    @property
    def running(self) -> int:
        """Items on an accelerator."""
        return self._running

    @property
    def workers(self) -> Sequence[Worker]:
        """The workers."""
        return self._workers

    @property
    def shape(self) -> Shape:
        """The sizes of batches."""
        return self._shape

    def start(self, lost: background.Lost) -> None:
        """Let the workers take batches. `lost` is called when a worker takes no more: its context is gone, or something has failed."""
        self._loops = [background.begin(partial(self._work_on, worker, lost), f"batches-{worker.number}", lost) for worker in self._workers]

    async def stop(self) -> None:
        """Take no more batches. Batches in flight are not waited for; what waits is answered with `Unavailable`."""
        self._end(Unavailable("the server has stopped", retry_after=1.0))
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)

    def _end(self, why: Unavailable) -> None:
        """Answer what waits, and what still comes: nobody takes it."""
        self._over = self._over or why
        self._fail(list(self._line), self._over)

    # Admission

    def reserve(self, deadline: float = math.inf) -> "Place":
        """A place in the queue, taken before any work is done for a request.

        Args:
            deadline: monotonic seconds by which the answer must be there.

        Raises:
            Overloaded: the queue is full, or the answer is expected too late.
        """
        self._arrivals.came(self._clock())
        self.admit(deadline)
        return Place(self, deadline, probe=self.idle)

    def check(self, deadline: float) -> None:
        """Refuse a request of which nothing but the deadline is read yet. It has come if it is refused, else with its `reserve`.

        Raises:
            Overloaded: the queue is full, or the answer is expected too late.
        """
        try:
            self.admit(deadline)
        except Overloaded:
            self._arrivals.came(self._clock())
            raise

    @property
    def idle(self) -> bool:
        """Nothing waits, and a worker is free."""
        return not self.queued and len(self._ends) < len(self._workers)

    def admit(self, deadline: float, item: Item | None = None) -> None:
        """Check that one more item may join the queue; `item` once it is prepared.

        Raises:
            Overloaded: the queue is full, its expected wait is beyond the limit, or the answer is expected after the deadline.
        """
        now = self._clock()
        if self.queued >= self._most:
            raise Overloaded(f"{self.queued} requests wait; no more are taken", retry_after=self.expected_wait())
        if self.idle:
            return
        patience = self._patience(deadline, now)
        key, work = (self._line.key(item), item.work) if item else (None, self._work)
        ahead, own, filling = self._line.joining(key, work, self._reserved, patience)
        wait = self._busy_seconds(now) + ahead / len(self._workers)
        if wait > self._longest:
            raise Overloaded(f"the expected wait is {wait:.1f} s; at most {self._longest:g} s are taken", retry_after=self.expected_wait())
        haste = CROWD_HASTE if CROWD * filling * len(self._workers) < own < CROWD_BATCH * patience else 1.0
        if now + wait * haste + own + self._finish_seconds > deadline:
            message = f"an answer is expected in {wait + own + self._finish_seconds:.1f} s, after the deadline of the request"
            raise Overloaded(message, retry_after=self.expected_wait())

    def _patience(self, deadline: float, now: float) -> float:
        """What a request has for its batches: the time to its deadline, without that from an output to an answer."""
        return deadline - now - self._finish_seconds

    def _busy_seconds(self, now: float) -> float:
        """Expected seconds until a worker has ended what it runs; mean over the workers."""
        left = sum(max(began + expected - now, OVERDUE_SHARE * (now - began)) for began, expected in self._ends.values())
        return left / len(self._workers)

    def expected_wait(self) -> float:
        """Estimated seconds until what runs and waits now has run; at least 1."""
        seconds = self._busy_seconds(self._clock()) + self._line.seconds(self._reserved) / len(self._workers)
        return min(LONGEST_RETRY_AFTER, max(1.0, seconds))

    def finished(self, seconds: float) -> None:
        """Learn how long it takes from an output to an answer."""
        self._finish_seconds += (seconds - self._finish_seconds) * (SMOOTHING if self._finish_seconds else 1.0)

    async def submit(self, item: Item, deadline: float = math.inf, *, probe: bool = False) -> object:
        """Wait in the queue and run; the output.

        A cancelled caller takes its item out of the queue, and out of the batch that runs it where the backend can.

        Raises:
            RequestError: why there is no output.
        """
        if self._over is not None:
            raise self._over
        patience = self._patience(deadline, self._clock())
        waiting = Waiting(item, asyncio.get_running_loop().create_future(), deadline, patience, probe)
        self._line.add(waiting)
        try:
            self._arrived.set()
            return await waiting.answer
        finally:
            self._line.remove(waiting)
            waiting.leave()

    # Batches

    async def _work_on(self, worker: Worker, lost: background.Lost) -> None:
        self._taking += 1
        try:
            await self._take_batches(worker, lost)
        finally:
            self._taking -= 1
            if not self._taking:
                self._end(Unavailable(GONE, retry_after=RETRY_ELSEWHERE))

    async def _take_batches(self, worker: Worker, lost: background.Lost) -> None:
        while True:
            await self._arrived.wait()
            await self._gather()
            batch = self._take()
            if not batch:  # another worker was faster, the callers have gone, or it is too late for them
                self._arrived.clear()
                continue
            try:
                await self._answer(worker, batch)
            except WorkerLost as error:
                self._fail(batch, Unavailable(GONE, retry_after=RETRY_ELSEWHERE))
                lost(str(error))
                return
            except Exception:
                self._fail(batch, InferenceFailed(UNFORESEEN))
                raise

    async def _gather(self) -> None:
        """Wait a moment for requests that are here and being prepared: a batch that leaves without them costs them a whole batch."""
        if self._reserved and len(self._line) < self._shape.buckets[-1]:
            self._prepared.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(LONGEST_GATHER, GATHER_SHARE * self._batch_seconds)):
                    await self._prepared.wait()

    def _take(self) -> list[Waiting]:
        """The oldest item and others with the same key that all make it together. Items that are too late are answered."""
        while len(self._line):
            now = self._clock()
            group = []
            for waiting in self._line.oldest_group():
                if self._pace.expects(self._shape.size(1), waiting.item.work) > self._left(waiting, now):
                    self._late(waiting)
                else:
                    group.append(waiting)
            if group:
                batch = self._best(group, now)
                for waiting in batch:
                    self._line.remove(waiting)
                return batch
        return []

    def _left(self, waiting: Waiting, now: float) -> float:
        """Seconds within which a batch with this item must end."""
        return math.inf if waiting.probe else waiting.deadline - now - self._finish_seconds

    def _grown(self, group: Sequence[Waiting], now: float) -> tuple[list[Waiting], float]:
        """The first item and those that go with it best and nearly always make it together; and the seconds of this batch."""
        batch: list[Waiting] = []
        seconds = 0.0
        slack, most = math.inf, self._shape.buckets[-1]
        for waiting in group if self._shape.by_age else alike(group, most):
            work = self._shape.work([one.item.work for one in (*batch, waiting)])
            slack = min(slack, self._left(waiting, now))
            most = most if waiting.probe else min(most, self._line.largest(work, waiting.patience))
            longer = self._pace.promises(self._shape.size(min(len(batch) + 1, self._shape.buckets[-1])), work)
            if batch and (len(batch) >= most or longer > slack):
                break  # it would make those before it late, or be late with them: it begins the next batch
            batch.append(waiting)
            seconds = longer
        return batch, seconds

    def _best(self, group: Sequence[Waiting], now: float) -> list[Waiting]:
        """The batch of the oldest; a later one where the oldest would make one late batch after the other.

        After a delay the oldest have no time for a full batch. While they are run in small ones, those behind them lose their time too, and
        so on for as long as requests come. Then the oldest are given up for the batch that answers the most in its time.
        """
        batch, seconds = self._grown(group, now)
        chosen = set(batch)
        behind = [waiting for waiting in group if waiting not in chosen]
        if not behind:
            return batch
        following, longer = self._grown(behind, now)
        if self._left(behind[0], now) >= seconds + longer or len(following) <= len(batch):
            return batch
        best, rate = 0, len(batch) / seconds if seconds else math.inf
        for start in range(1, min(len(group), self._shape.buckets[-1])):
            other, longer = self._grown(group[start:], now)
            if longer and len(other) / longer > rate:
                best, rate, batch = start, len(other) / longer, other
        for waiting in group[:best]:
            self._late(waiting)
        return batch

    def _late(self, waiting: Waiting) -> None:
        self._line.remove(waiting)
        self._observer.late()
        self._fail([waiting], Overloaded("the answer would come after the deadline; it was not run", retry_after=self.expected_wait()))

    async def _answer(self, worker: Worker, batch: list[Waiting]) -> None:
        """Run a batch; where it raises, its items one by one, once, so that a bad one fails alone."""
        run = self._run_of(batch)
        try:
            outputs = await self.run(worker, [waiting.item for waiting in batch], run)
        except WorkerLost:
            raise
        except Abandoned:
            log.info("batch_abandoned", items=len(batch), worker=worker.number, steps=run.steps)
        except Exception as error:
            self._observer.failed(len(batch))
            log.warning("batch_failed", items=len(batch), worker=worker.number, exc_info=error)
            if len(batch) == 1:
                self._fail(batch, InferenceFailed("the model failed on this input"))
                return
            for waiting in batch:
                if not waiting.answer.done():  # its caller may have gone away, or its deadline passed
                    await self._answer(worker, [waiting])
        else:
            for waiting, output in zip(batch, outputs, strict=True):
                if not waiting.answer.done():  # its caller may have gone
                    waiting.answer.set_result(output)
        finally:
            self._forget(batch, run)

    @staticmethod
    def _forget(batch: Sequence[Waiting], run: Run) -> None:
        """Part the items from their run, which has ended.

        They refer to each other: inputs of a megabyte would stay until Python collects such circles.
        """
        for waiting in batch:
            if waiting.run is run:
                waiting.run = None

    def _run_of(self, batch: Sequence[Waiting]) -> Run:
        """The batch's run, which knows of each caller that goes away."""
        work = self._shape.work([waiting.item.work for waiting in batch])
        run = Run(len(batch), self._shape.size(len(batch)), work)
        for place, waiting in enumerate(batch):
            waiting.run, waiting.place = run, place
            if waiting.answer.done():
                run.leave(place)
        return run

    async def run(self, worker: Worker, items: Sequence[Item], run: Run | None = None) -> list[object]:
        """Run items of one key as one batch on a worker: the path of every batch, synthetic ones included."""
        size = self._shape.size(len(items))
        run = run or Run(len(items), size, work=self._shape.work([item.work for item in items]))
        work = run.work
        began = self._clock()
        self._ends[worker.number] = began, self._pace.expects(size, work)
        self._running += len(items)
        try:
            outputs = await worker.run(items, run)
        finally:
            self._running -= len(items)
            del self._ends[worker.number]
        seconds = self._clock() - began
        if not run.cut_short:
            self._pace.ran(size, work, seconds)
            self._batch_seconds += (seconds - self._batch_seconds) * (SMOOTHING if self._batch_seconds else 1.0)
            self._work += (work - self._work) * SMOOTHING
        self._observer.batch(len(items), size, run, seconds)
        return outputs

    @staticmethod
    def _fail(batch: Sequence[Waiting], error: Exception) -> None:
        for waiting in batch:
            if not waiting.answer.done():
                waiting.answer.set_exception(error)


class Place:
    """A place in the queue that is held while a request is prepared: `with batcher.reserve() as place: … await place.run(item)`."""

    def __init__(self, batcher: Batcher, deadline: float, *, probe: bool) -> None:
        self._batcher = batcher
        self._deadline = deadline
        self._probe = probe
        self._held = False

    def __enter__(self) -> Self:
        self._batcher._reserved += 1  # noqa: SLF001 - the other half of the batcher
        self._held = True
        return self

    def __exit__(self, *_: object) -> None:
        self._give_back()

    async def run(self, item: Item) -> object:
        """Put the prepared item into the queue in this place, and wait for its output.

        Raises:
            Overloaded: now that its work is known, it is expected to be too late.
        """
        self._give_back()
        if not self._probe:
            self._batcher.admit(self._deadline, item)
        return await self._batcher.submit(item, self._deadline, probe=self._probe)

    def _give_back(self) -> None:
        if self._held:
            self._held = False
            self._batcher._reserved -= 1  # noqa: SLF001 - the other half of the batcher
            if not self._batcher._reserved:  # noqa: SLF001
                self._batcher._prepared.set()  # noqa: SLF001
