"""The deadlines of requests in flight. The end of a drain is the deadline of all that are left."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from failover_model_server.errors import RequestError, Unavailable

ENDED = "the server ends, and had no time left for this request; send it again"
RETRY_ELSEWHERE = 1.0
"""Seconds while a server drains or has stopped: another pod answers at once."""
ANSWER_SECONDS = 3.0
"""To send these errors, before connections are closed without a word."""


class Deadlines:
    """Used on the event loop's thread only."""

    def __init__(self) -> None:
        self._open: set[asyncio.Timeout] = set()
        self._over = False

    @asynccontextmanager
    async def within(self, seconds: float, late: Callable[[], RequestError]) -> AsyncIterator[None]:
        """Cancel what is done here once its time is over.

        Args:
            seconds: for it.
            late: the error then.

        Raises:
            RequestError: `late()`; Unavailable where the server has ended before.
        """
        limit = asyncio.timeout(0.0 if self._over else max(0.0, seconds))
        try:
            async with limit:
                self._open.add(limit)
                try:
                    yield
                finally:
                    self._open.discard(limit)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise (Unavailable(ENDED, RETRY_ELSEWHERE) if self._over else late()) from error

    def end(self) -> None:
        """Nothing has time any more."""
        self._over = True
        for limit in self._open:
            if not limit.expired():  # else it ends anyway
                limit.reschedule(-math.inf)
