"""A worker: the one thread that owns an accelerator context, and everything that is called on it."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

from failover_model_server.backends.base import Backend, Loaded
from failover_model_server.errors import LoadError
from failover_model_server.run import Run
from failover_model_server.tasks.base import Item, Task

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


class WorkerLost(Exception):
    """The context is gone (its process ended): nothing runs on it any more."""


class Worker:
    """Owns one backend. Every call of the backend, its construction included, happens on the worker's own thread, one at a time.

    Args:
        number: 0, 1, …; names the thread and the metrics.
        make: constructs the backend; called on the owner thread.
    """

    def __init__(self, number: int, make: Callable[[], Backend]) -> None:
        self.number = number
        self._make = make
        self._backend: Backend | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"accelerator-{number}")
        self._in_flight: Run | None = None

    @property
    def in_flight(self) -> Run | None:
        """The batch that runs; None when there is none. Loading does not count."""
        return self._in_flight

    async def load(self, model: Path, task: Task[Any, Any]) -> Loaded:
        """Construct the backend and load the model.

        Raises:
            LoadError: the backend says why.
        """

        def construct_and_load() -> Loaded:
            self._backend = self._make()
            return self._backend.load(model, task)

        return await self._on_thread(construct_and_load)

    async def run(self, items: Sequence[Item], run: Run) -> list[object]:
        """Run a batch, filled up to the size of `run` by repeating its last item; one output for each of `items`.

        Raises:
            WorkerLost: the context is gone.
            Abandoned: nobody waits for any of it.
            Exception: whatever the backend raised.
        """
        filled = [*items, *[items[-1]] * (len(run.over) - len(items))]
        outputs = await self._on_thread(self._run, filled, run)
        if len(outputs) != len(filled):
            raise RuntimeError(f"the backend returned {len(outputs)} outputs for {len(filled)} items")
        return list(outputs[: len(items)])

    def _run(self, items: Sequence[Item], run: Run) -> Sequence[object]:
        run.begin()
        self._in_flight = run
        try:
            return self._loaded().run(items, run)
        finally:
            self._in_flight = None
            run.moved()

    async def warmed(self) -> None:
        """Tell the backend that every shape has run."""
        await self._on_thread(lambda: self._loaded().warmed())

    async def close(self, within: float) -> bool:
        """Close the backend. False: the thread is still busy after `within` seconds; it is left alone."""

        def close() -> None:
            if self._backend is not None:
                self._backend.close()

        try:
            async with asyncio.timeout(within):
                await self._on_thread(close)
        except TimeoutError:
            self._thread.shutdown(wait=False, cancel_futures=True)
            return False
        self._thread.shutdown(wait=False)
        return True

    def _loaded(self) -> Backend:
        if self._backend is None:
            raise LoadError("the worker has not loaded a model")
        return self._backend

    async def _on_thread(self, call: Callable[[*Arguments], T], *args: *Arguments) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *args)
