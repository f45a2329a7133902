"""The service: one model, from its name to its last answer. HTTP and gRPC are doors to it."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import structlog
from pydantic import BaseModel

from failover_model_server import background, download, registry
from failover_model_server.backends.base import Backend, Context, Loaded
from failover_model_server.deadlines import RETRY_ELSEWHERE, Deadlines
from failover_model_server.errors import DeadlineExceeded, InferenceFailed, LoadError, RequestError, Unavailable
from failover_model_server.lifecycle import ACCEPTING, Lifecycle, State
from failover_model_server.processors import processors
from failover_model_server.run import Run
from failover_model_server.serving.batcher import Batcher
from failover_model_server.serving.model_files import prepare
from failover_model_server.serving.remote import RemoteBackend
from failover_model_server.serving.shape import Shape
from failover_model_server.serving.threads import Threads
from failover_model_server.serving.warming import warm
from failover_model_server.serving.watchdog import Watchdog
from failover_model_server.serving.worker import Worker
from failover_model_server.settings import Settings
from failover_model_server.tasks.base import Answer, Task
from failover_model_server.telemetry.metrics import Metrics
from failover_model_server.telemetry.sink import Sink

log = structlog.get_logger()
T = TypeVar("T")

RETRY_WHILE_LOADING = 10.0
"""Retry-After while the model loads, seconds."""
RESERVE = 0.1
"""Part of a request's time that the queue does not plan with: the client's began before the request was read, and lasts until it has read
the answer. A request that is planned to the last millisecond comes late."""
FEWEST_THREADS, MOST_THREADS = 2, 4
"""For requests and responses, unless the settings say how many: one for each processor. More only take Python's lock from each other, and
from the model; with a single one everybody would wait for the largest picture."""


class _Draining(Exception):
    """SIGTERM came while the model was loading."""


class Service:
    """Loads the model and answers requests. All methods run on the event loop.

    Args:
        settings: what to serve.
        counters: count every request.
        metrics: for Prometheus.
        clock: monotonic seconds.
    """

    def __init__(
        self, settings: Settings, counters: Sink, metrics: Metrics | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.settings = settings
        self.lifecycle = Lifecycle(clock)
        self.metrics = metrics or Metrics()
        self.lifecycle.listen(self.metrics.changed)
        self.task: Task[Any, Any] = registry.task(settings.task)(settings)
        self.loaded: Loaded | None = None
        self._backend = registry.backend(settings.backend)
        self._counters = counters
        self._clock = clock
        self._deadlines = Deadlines()
        threads = settings.threads or min(MOST_THREADS, max(FEWEST_THREADS, processors()))
        self._threads = Threads(threads, "prepare")
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._loads: list[Future[Any]] = []
        """What was begun on the loader's thread. It goes on where the load is given up: no thread can be ended from outside."""
        self._batcher: Batcher | None = None
        self._watchdog: Watchdog | None = None
        self._workers: list[Worker] = []
        self._watching: asyncio.Task[None] | None = None
        self.in_flight = 0

    # Life

    async def load(self) -> None:
        """From STARTING to READY.

        Raises:
            LoadError: the state is FAILED, with the reason.
        """
        try:
            async with asyncio.timeout(self.settings.load_timeout):
                await self._load()
        except TimeoutError:
            error = LoadError(f"not ready after {self.settings.load_timeout:.0f} s (load_timeout), while {self.lifecycle.status.reason}")
            self.fail(str(error))
            raise error from None
        except LoadError as error:
            self.fail(str(error))
            raise
        except _Draining:
            log.info("load_given_up", reason="the server is draining")
        except Exception as error:
            log.exception("load_failed")
            self.fail(f"{type(error).__name__} while {self.lifecycle.state.lower()}; the log has the cause")
            raise LoadError(str(error)) from error

    async def _load(self) -> None:
        self._advance(State.DOWNLOADING, f"fetching {self.settings.model or 'nothing'}")
        directory = await self._blocking(prepare, self.settings, self._progress(asyncio.get_running_loop()))
        self._advance(State.LOADING, f"loading on {self.settings.backend}")
        await self._blocking(self.task.load, directory)
        self._workers = self._make_workers()
        loaded = await _all([worker.load(directory, self.task) for worker in self._workers])
        self.loaded = loaded[0]
        shape = self._shape(self.loaded)
        log.info(
            "loaded",
            device=self.loaded.device,
            workers=len(loaded),
            buckets=shape.buckets,
            static=shape.static,
            packed=shape.packed,
            details=self.loaded.details,
        )
        self._watchdog = Watchdog(self.lifecycle, self._workers, self.settings.wedge_seconds)
        longest = self.settings.max_queue_seconds or math.inf
        self._batcher = Batcher(self._workers, shape, self.settings.max_queue, self, longest, self._clock)
        self.metrics.queued.set_function(lambda: self._batcher.queued if self._batcher else 0)
        self.metrics.running.set_function(lambda: self._batcher.running if self._batcher else 0)
        self._advance(State.WARMING, "warming")
        batches = await warm(self.task, self._batcher, lambda what: self.lifecycle.explain(f"warming: {what}"))
        self._batcher.start(self.fail)
        self._watching = background.begin(self._watchdog.run, "watchdog", self.fail)
        self._advance(State.READY, f"{batches} synthetic batches ran")

    def _blocking(self, call: Callable[..., T], *args: object) -> Awaitable[T]:
        """Run a part of the load that blocks."""
        running = self._loader.submit(call, *args)
        self._loads.append(running)
        return asyncio.wrap_future(running)

    def _advance(self, state: State, reason: str) -> None:
        if self.lifecycle.state is State.DRAINING:
            raise _Draining
        self.lifecycle.to(state, reason)

    def _make_workers(self) -> list[Worker]:
        contexts = self._backend.contexts(self.settings, self.task.name)
        return [Worker(number, self._maker(context)) for number, context in enumerate(contexts)]

    def _maker(self, context: Context) -> Callable[[], Backend]:
        if context.environment:
            return lambda: RemoteBackend(self.settings, context)
        return lambda: self._backend(self.settings)

    def _shape(self, loaded: Loaded) -> Shape:
        buckets = loaded.batch_buckets or self.settings.batch_buckets or self.task.batch_buckets
        return Shape(buckets, loaded.static_shapes or self.settings.static_shapes, loaded.packed)

    def _progress(self, loop: asyncio.AbstractEventLoop) -> download.Progress:
        def tell(here: int, total: int) -> None:
            self.metrics.download_bytes.set(here)
            loop.call_soon_threadsafe(self._downloaded, here, total)

        return tell

    def _downloaded(self, here: int, total: int) -> None:
        if self.lifecycle.state is State.DOWNLOADING:
            self.lifecycle.explain(f"fetching {self.settings.model or 'nothing'}: {here / 1e6:.0f} of {total / 1e6:.0f} MB")

    def fail(self, reason: str) -> None:
        """The model cannot be served (any more)."""
        if self.lifecycle.state not in {State.FAILED, State.STOPPED}:
            log.error("failed", reason=reason)
            self.lifecycle.to(State.FAILED, reason)

    def drain(self) -> None:
        """Be not ready from now on; what comes is still answered."""
        if self.lifecycle.state not in {State.DRAINING, State.FAILED, State.STOPPED}:
            self.lifecycle.to(State.DRAINING, "SIGTERM")

    def give_up(self) -> None:
        """Nothing has time any more: what is in flight is answered with `Unavailable`, and what still comes."""
        self._deadlines.end()

    async def stop(self, within: float) -> bool:
        """Close everything; False where a thread of a worker, a request or the load is stuck and the process must end without it."""
        self.drain()
        if self._watching is not None:
            self._watching.cancel()
        if self._batcher is not None:
            await self._batcher.stop()
        closed = await asyncio.gather(*(worker.close(within) for worker in self._workers))
        self._threads.close()
        self._loader.shutdown(wait=False, cancel_futures=True)
        if self.lifecycle.state is not State.FAILED:
            self.lifecycle.to(State.STOPPED, "everything in flight has ended")
        return all(closed) and self._threads.idle and all(load.done() for load in self._loads)

    # Requests

    def refusal(self, timeout: float | None = None) -> RequestError | None:
        """Why a request that comes now would get no answer, before anything is done for it; None: it may come in. Counts it if so."""
        try:
            self._threads.check()
            self._open().check(self._clock() + self.settings.seconds(timeout) * (1 - RESERVE))
        except RequestError as error:
            self._refused(error)
            return error
        return None

    async def infer(self, request: BaseModel, timeout: float | None = None) -> Answer:
        """Answer one request.

        Args:
            request: of the task's model.
            timeout: seconds for it; the setting where that is shorter, or None is given.

        Raises:
            RequestError: with the status and the message for the client.
        """
        began = self._clock()
        seconds = self.settings.seconds(timeout)
        self.in_flight += 1
        try:
            answer = await self._within(began, seconds, request)
        except RequestError as error:
            self._refused(error)
            raise
        except asyncio.CancelledError:
            self.metrics.requests.labels("cancelled").inc()
            raise
        finally:
            self.in_flight -= 1
        answer.latency = self._clock() - began
        self.metrics.requests.labels("ok").inc()
        self.metrics.request_seconds.observe(answer.latency)
        self._counters.answered(answer.latency)
        return answer

    async def _within(self, began: float, seconds: float, request: BaseModel) -> Answer:
        def late() -> DeadlineExceeded:
            wait = self._batcher.expected_wait() if self._batcher else RETRY_ELSEWHERE
            return DeadlineExceeded(f"no result within {seconds:g} s", retry_after=wait)

        async with self._deadlines.within(seconds, late):
            return await self._infer(request, began + seconds * (1 - RESERVE))

    async def _infer(self, request: BaseModel, deadline: float) -> Answer:
        batcher = self._open()
        with batcher.reserve(deadline) as place:
            item = await self._threads.run(_guarded, self.task.prepare, request)
            output = await place.run(item)
        began = self._clock()
        answer = await self._threads.run(_guarded, self.task.finish, request, item, output)
        batcher.finished(self._clock() - began)
        if not isinstance(answer, Answer):
            raise InferenceFailed("the task returned no answer")
        return answer

    def _open(self) -> Batcher:
        status = self.lifecycle.status
        if self._batcher is None or status.state not in ACCEPTING:
            loading = status.state in {State.STARTING, State.DOWNLOADING, State.LOADING, State.WARMING}
            raise Unavailable(f"not ready: {status.state}", retry_after=RETRY_WHILE_LOADING if loading else RETRY_ELSEWHERE)
        return self._batcher

    def _refused(self, error: RequestError) -> None:
        self.metrics.requests.labels(error.code).inc()
        if error.status in {429, 503}:
            self._counters.rejected()

    # Observer of batches

    def batch(self, items: int, size: int, run: Run, seconds: float) -> None:
        """A batch ran."""
        self.metrics.batch(items, size, seconds)
        if self._watchdog is not None:
            self._watchdog.ran(run)

    def failed(self, items: int) -> None:
        """A batch raised."""
        self.metrics.failed(items)

    def late(self) -> None:
        """An item became too late while it waited."""
        self.metrics.late.inc()


def _guarded(call: Callable[..., T], *args: object) -> T:
    """What a task raises by mistake becomes an answer without internals."""
    try:
        return call(*args)
    except RequestError:
        raise
    except Exception as error:
        log.exception("task_failed", call=call.__name__)
        raise InferenceFailed("the server failed on this input") from error


async def _all(loads: list[Awaitable[Loaded]]) -> list[Loaded]:
    """All of them; the first error as it is, not in a group."""
    return list(await asyncio.gather(*loads))
