"""Threads for the parts of a request that block. A request that ends early gives its thread up, and another takes that one's place.

No thread can be ended from outside. Without a replacement, as many requests as there are threads could hold up everybody, each for as long
as its picture takes to decode.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar, TypeVarTuple

from failover_model_server.errors import Overloaded

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")
SPARE = 4
"""Threads that may be given up at a time. They still take processor time: with more of them nobody is served in time."""
RETRY_AFTER = 1.0
"""Seconds; what a thread does has a bound of a few."""


class Threads:
    """A pool. Used on the event loop.

    Args:
        count: calls that run side by side.
        name: of the threads.
    """

    def __init__(self, count: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(count + SPARE, thread_name_prefix=name)
        self._free = asyncio.Semaphore(count)
        self._given_up: set[Future[Any]] = set()

    @property
    def idle(self) -> bool:
        """No thread works for a request that has ended."""
        return not self._given_up

    def check(self) -> None:
        """Check that a call would find a thread.

        Raises:
            Overloaded: too many work for requests that have ended.
        """
        if len(self._given_up) >= SPARE:
            raise Overloaded("the threads that prepare requests still work for earlier ones, whose time is over", RETRY_AFTER)

    async def run(self, call: Callable[[*Arguments], T], *args: *Arguments) -> T:
        """Call it on a thread, which is given up where the caller is cancelled meanwhile.

        Raises:
            Overloaded: as for `check`.
        """
        async with self._free:
            self.check()
            running = self._pool.submit(call, *args)
            try:
                return await asyncio.wrap_future(running)
            except asyncio.CancelledError:
                self._given_up.add(running)
                running.add_done_callback(self._given_up.discard)  # at once where it has ended
                raise

    def close(self) -> None:
        """Take no more calls; wait for none."""
        self._pool.shutdown(wait=False, cancel_futures=True)
