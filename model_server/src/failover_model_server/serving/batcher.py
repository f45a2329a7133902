"""The queue in front of the accelerator, and the batches that are taken from it.

A worker that is free takes what waits: the oldest item and those behind it with the same key, up to the largest bucket. It does not wait
for more; batches form by themselves while the accelerator is busy. An item leaves the queue when it is taken, when its caller goes away,
or when its deadline passes; it is answered exactly once.
"""

import asyncio
import contextlib
import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self

import structlog

from failover_model_server.errors import InferenceFailed, Overloaded, Unavailable
from failover_model_server.serving.worker import Worker, WorkerLost
from failover_model_server.tasks.base import Item

log = structlog.get_logger()

SMOOTHING = 0.2
"""Part of the newest batch in the running mean of batch times."""
GATHER_SHARE = 0.1
"""Part of a batch's time that it may wait for requests which are being prepared."""
LONGEST_GATHER = 0.005
"""Seconds, however long batches take."""
LONGEST_RETRY_AFTER = 60.0
"""Seconds; the longest wait that is announced to a client."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What sizes a batch may have."""

    buckets: tuple[int, ...]
    """Ascending."""
    static: bool
    """Batches are filled up to one of the buckets."""

    def size(self, items: int) -> int:
        """The size at which a batch of `items` items runs."""
        return next(bucket for bucket in self.buckets if bucket >= items) if self.static else items


class Observer(Protocol):
    """Gets every batch; must not raise or block."""

    def batch(self, items: int, size: int, seconds: float) -> None:
        """Called when a batch of `items` items, padded to `size`, has run."""

    def failed(self, items: int) -> None:
        """Called when a batch has raised."""


@dataclass(slots=True)
class _Waiting:
    item: Item
    answer: asyncio.Future[object] = field(repr=False)


class Batcher:
    """The bounded queue and its workers. Everything here runs on the event loop.

    Args:
        workers: each takes batches on its own.
        shape: the sizes of batches.
        most: items that may wait, those that are being prepared included.
        observer: gets every batch.
        clock: monotonic seconds.
    """

    def __init__(
        self, workers: Sequence[Worker], shape: Shape, most: int, observer: Observer, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._workers = workers
        self._shape = shape
        self._most = most
        self._observer = observer
        self._clock = clock
        self._numbers = itertools.count()
        self._waiting: dict[int, _Waiting] = {}
        self._reserved = 0
        self._arrived = asyncio.Event()
        self._prepared = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        self._batch_seconds = 0.0
        self._running = 0

    @property
    def queued(self) -> int:
        """Items that wait or are being prepared."""
        return len(self._waiting) + self._reserved

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

    def start(self, lost: Callable[[str], None]) -> None:
        """Let the workers take batches. `lost` is called when a worker's context is gone."""
        self._loops = [asyncio.create_task(self._work(worker, lost), name=f"batches-{worker.number}") for worker in self._workers]

    async def stop(self) -> None:
        """Take no more batches. Batches in flight are not waited for; what waits is answered with `Unavailable`."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        for waiting in self._waiting.values():
            if not waiting.answer.done():
                waiting.answer.set_exception(Unavailable("the server has stopped", retry_after=1.0))
        self._waiting.clear()

    def reserve(self) -> "Place":
        """A place in the queue, taken before any work is done for a request.

        Raises:
            Overloaded: the queue is full.
        """
        if self.queued >= self._most:
            raise Overloaded(f"{self.queued} requests wait; no more are taken", retry_after=self.expected_wait())
        return Place(self)

    def _release(self) -> None:
        self._reserved -= 1
        if not self._reserved:
            self._prepared.set()

    def expected_wait(self) -> float:
        """Estimated seconds until the items that wait now have run; at least 1."""
        batches = self.queued / (self._shape.buckets[-1] * len(self._workers))
        return min(LONGEST_RETRY_AFTER, max(1.0, math.ceil(batches) * self._batch_seconds))

    async def submit(self, item: Item) -> object:
        """Wait in the queue and run; the output. A cancelled caller takes its item out of the queue."""
        number = next(self._numbers)
        waiting = _Waiting(item, asyncio.get_running_loop().create_future())
        self._waiting[number] = waiting
        try:
            self._arrived.set()
            return await waiting.answer
        finally:
            self._waiting.pop(number, None)

    async def _work(self, worker: Worker, lost: Callable[[str], None]) -> None:
        while True:
            await self._arrived.wait()
            await self._gather()
            if not self._waiting:  # another worker was faster, or the callers have gone
                self._arrived.clear()
                continue
            batch = self._take()
            try:
                await self._answer(worker, batch)
            except WorkerLost as error:
                self._fail(batch, Unavailable("the accelerator is gone; the server restarts", retry_after=5.0))
                lost(str(error))
                return

    async def _gather(self) -> None:
        """Wait a moment for requests that are here and being prepared: a batch that leaves without them costs them a whole batch."""
        if self._reserved and len(self._waiting) < self._shape.buckets[-1]:
            self._prepared.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(LONGEST_GATHER, GATHER_SHARE * self._batch_seconds)):
                    await self._prepared.wait()

    def _take(self) -> list[_Waiting]:
        """The oldest item and those behind it with the same key."""
        key = next(iter(self._waiting.values())).item.key
        same = (number for number, waiting in self._waiting.items() if waiting.item.key == key)
        return [self._waiting.pop(number) for number in list(itertools.islice(same, self._shape.buckets[-1]))]

    async def _answer(self, worker: Worker, batch: list[_Waiting]) -> None:
        """Run a batch; where it raises, its items one by one, once, so that a bad one fails alone."""
        try:
            outputs = await self.run(worker, [waiting.item for waiting in batch])
        except WorkerLost:
            raise
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
                if not waiting.answer.done():
                    waiting.answer.set_result(output)

    async def run(self, worker: Worker, items: Sequence[Item]) -> list[object]:
        """Run items of one key as one batch on a worker: the path of every batch, synthetic ones included."""
        size = self._shape.size(len(items))
        began = self._clock()
        self._running += len(items)
        try:
            outputs = await worker.run(items, size)
        finally:
            self._running -= len(items)
        seconds = self._clock() - began
        self._batch_seconds += (seconds - self._batch_seconds) * (SMOOTHING if self._batch_seconds else 1.0)
        self._observer.batch(len(items), size, seconds)
        return outputs

    @staticmethod
    def _fail(batch: Sequence[_Waiting], error: Exception) -> None:
        for waiting in batch:
            if not waiting.answer.done():
                waiting.answer.set_exception(error)


class Place:
    """A place in the queue that is held while a request is prepared: `with batcher.reserve() as place: … await place.run(item)`."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher
        self._held = False

    def __enter__(self) -> Self:
        self._batcher._reserved += 1  # noqa: SLF001 - the other half of the batcher
        self._held = True
        return self

    def __exit__(self, *_: object) -> None:
        self._give_back()

    async def run(self, item: Item) -> object:
        """Put the prepared item into the queue in this place, and wait for its output."""
        waiting = self._batcher.submit(item)  # not yet begun: the place is given back in the same step in which the item joins the queue
        self._give_back()
        return await waiting

    def _give_back(self) -> None:
        if self._held:
            self._held = False
            self._batcher._release()  # noqa: SLF001 - the other half of the batcher
