"""Goodput under more load than a model server has capacity, from clients that need their answer by a deadline.

Part of ``make bench-model-server``. An open loop: requests are sent when their time has come, whether or not others were answered. Requests
come in turns of bodies of several lengths, so that who is served among short and long ones shows.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import statistics
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

_MOST_OPEN: Final = 2048
"""Connections at a time; a request that finds none counts as failed."""
_PATIENCE_S: Final = 30.0
_AFTER_S: Final = 3.0
"""A client waits for so long beyond its deadline."""
_CALM: Final = 0.5
"""Part of the capacity at which recovery is measured."""
_OK: Final = 200
_REFUSED: Final = frozenset({429, 503})
_NO_ANSWER: Final = 0
_LONG: Final = 0.75
"""Requests whose body is longer than that of this part of all count as long, those below the median as short."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answered request.

    Attributes:
        sent: Seconds since the load began.
        seconds: Until the whole answer was there.
        status: The HTTP status; 0 if the connection broke or none was free.
        size: Bytes of its body.
    """

    sent: float
    seconds: float
    status: int
    size: int

    def good(self, deadline: float) -> bool:
        """A result within the deadline."""
        return self.status == _OK and self.seconds <= deadline


@dataclass(frozen=True, slots=True)
class Overload:
    """Results of one factor of overload with one deadline.

    Attributes:
        factor: Offered load as a multiple of the capacity.
        deadline: Of each request, seconds, as its `X-Request-Timeout` says.
        offered: Requests sent per second.
        capacity: Requests per second without deadlines; the mean of before and after.
        goodput: Results within the deadline, per second, from one deadline after the beginning to the end of the load.
        p95_ms: 95th percentile of the latency of results.
        refused_p99_ms: 99th percentile of the latency of refusals (429 and 503); 0 where there are none.
        statuses: Answers by status.
        recovery_s: From the end of the overload to the last request that got no result in time, at half of the capacity.
        short, long: Part of the short and of the long requests that got a result in time.
    """

    factor: float
    deadline: float
    offered: float
    capacity: float
    goodput: float
    p95_ms: float
    refused_p99_ms: float
    statuses: dict[str, int]
    recovery_s: float
    short: float
    long: float

    @property
    def share(self) -> float:
        """Goodput as a part of the capacity."""
        return self.goodput / self.capacity


def measure(
    url: str, bodies: Sequence[bytes], cases: Sequence[tuple[float, float]], *, rounds: int, seconds: float, clients: int
) -> list[Overload]:
    """Measures each case in turns, with the capacity before and after it; the median round of each by its share.

    Args:
        url: The route, with its host and port.
        bodies: Of the requests, in turns.
        cases: Factor and deadline of each.
        rounds: How often each is measured.
        seconds: Of each load; longer where the deadline is.
        clients: Of the closed loop that measures the capacity.
    """
    found: dict[tuple[float, float], list[Overload]] = {case: [] for case in cases}

    async def run() -> None:
        load = _Load(url, bodies)
        await load.closed(clients, seconds / 2)  # caches are cold
        for _ in range(rounds):
            for factor, deadline in cases:
                found[factor, deadline].append(await _overload(load, factor, deadline, max(seconds, 2 * deadline), clients))
        load.close()

    asyncio.run(run())
    return [sorted(results, key=lambda one: one.share)[len(results) // 2] for results in found.values()]


async def _overload(load: _Load, factor: float, deadline: float, seconds: float, clients: int) -> Overload:
    before = await load.closed(clients, seconds / 2)
    offered = before * factor
    answers = await load.open(offered, seconds, deadline)
    calm = await load.open(before * _CALM, max(4.0, seconds / 2), deadline)
    after = await load.closed(clients, seconds / 2)
    capacity = (before + after) / 2 if after else before  # one that did not recover has the capacity that it had
    results = [answer.seconds * 1000 for answer in answers if answer.status == _OK]
    refusals = [answer.seconds * 1000 for answer in answers if answer.status in _REFUSED]
    sizes = sorted(answer.size for answer in answers)
    middle, long = sizes[len(sizes) // 2], sizes[int(len(sizes) * _LONG)]
    return Overload(
        factor=factor,
        deadline=deadline,
        offered=offered,
        capacity=capacity,
        goodput=sum(answer.good(deadline) and deadline <= answer.sent + answer.seconds <= seconds for answer in answers)
        / (seconds - deadline),
        p95_ms=statistics.quantiles(results, n=20)[-1] if len(results) > 1 else math.nan,
        refused_p99_ms=statistics.quantiles(refusals, n=100)[-1] if len(refusals) > 1 else 0.0,
        statuses={str(status): count for status, count in sorted(Counter(answer.status for answer in answers).items())},
        recovery_s=max((answer.sent for answer in calm if not answer.good(deadline)), default=0.0),
        short=_served(answer.good(deadline) for answer in answers if answer.size <= middle),
        long=_served(answer.good(deadline) for answer in answers if answer.size >= long),
    )


def _served(good: Iterable[bool]) -> float:
    return statistics.fmean(good)


class _Load:
    """Sends requests in turns, on connections that are kept."""

    def __init__(self, url: str, bodies: Sequence[bytes]) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._host, self._port = parts.hostname, parts.port
        self._head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        self._bodies = itertools.cycle(bodies)
        self._idle: deque[_Connection] = deque()
        self._in_use = 0

    async def closed(self, clients: int, seconds: float) -> float:
        """Results per second of clients that wait for each answer, without deadlines."""
        began = time.perf_counter()
        answers: list[Answer] = []

        async def client() -> None:
            while time.perf_counter() - began < seconds:
                answers.append(await self._one(began))

        await asyncio.gather(*(client() for _ in range(clients)))
        taken = time.perf_counter() - began
        return sum(answer.status == _OK for answer in answers) / taken

    async def open(self, rate: float, seconds: float, deadline: float) -> list[Answer]:
        """Sends `rate` requests a second with deadlines; every answer."""
        began = time.perf_counter()
        running: list[Awaitable[Answer]] = []
        for number in range(int(rate * seconds)):
            ahead = began + number / rate - time.perf_counter()
            if ahead > 0:
                await asyncio.sleep(ahead)
            running.append(asyncio.create_task(self._one(began, deadline)))
        return await asyncio.gather(*running)

    async def _one(self, began: float, deadline: float | None = None) -> Answer:
        body, sent = next(self._bodies), time.perf_counter()
        limit = f"X-Request-Timeout: {deadline}\r\n" if deadline else ""
        request = f"{self._head}{limit}Content-Length: {len(body)}\r\n\r\n".encode() + body
        status = _NO_ANSWER
        if self._in_use < _MOST_OPEN:
            self._in_use += 1
            try:
                async with asyncio.timeout(deadline + _AFTER_S if deadline else _PATIENCE_S):
                    while self._idle and self._idle[-1].lost:  # servers close what is idle
                        self._idle.pop()
                    connection = self._idle.pop() if self._idle else await self._connect()
                    status = await connection.ask(request)
                self._idle.append(connection)
            except (OSError, TimeoutError):
                pass
            finally:
                self._in_use -= 1
        return Answer(sent - began, time.perf_counter() - sent, status, len(body))

    async def _connect(self) -> _Connection:
        _, connection = await asyncio.get_running_loop().create_connection(_Connection, self._host, self._port)
        return connection

    def close(self) -> None:
        """Closes the connections."""
        for connection in self._idle:
            connection.close()


class _Connection(asyncio.Protocol):
    """HTTP/1.1 with one request at a time and answers of a declared length: as little work as the load's side allows."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[int] | None = None
        self._seen = b""
        self.lost = False
        self._write: Callable[[bytes], None]
        self.close: Callable[[], None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._write, self.close = transport.write, transport.close

    async def ask(self, request: bytes) -> int:
        """The status of the answer, once its body is there."""
        self._answer = asyncio.get_running_loop().create_future()
        self._write(request)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        self._seen += data
        head, found, body = self._seen.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]):
            return
        self._seen = b""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(int(head[9:12]))

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError("closed"))
