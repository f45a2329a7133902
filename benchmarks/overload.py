"""Goodput under more load than a model server has capacity, from clients that need their answer by a deadline.

Part of ``make bench-model-server``. An open loop: requests are sent when their time has come, whether or not others were answered.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

DEADLINE_S: Final = 1.0
"""Of each request, as its `X-Request-Timeout` says."""

_MOST_OPEN: Final = 2048
"""Connections at a time; a request that finds none counts as failed."""
_PATIENCE_S: Final = 30.0
_CALM: Final = 0.5
"""Part of the capacity at which recovery is measured."""
_OK: Final = 200
_NO_ANSWER: Final = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """One answered request.

    Attributes:
        sent: Seconds since the load began.
        seconds: Until the whole answer was there.
        status: The HTTP status; 0 if the connection broke or none was free.
    """

    sent: float
    seconds: float
    status: int

    @property
    def good(self) -> bool:
        """A result within the deadline."""
        return self.status == _OK and self.seconds <= DEADLINE_S


@dataclass(frozen=True, slots=True)
class Overload:
    """Results of one factor of overload.

    Attributes:
        factor: Offered load as a multiple of the capacity.
        offered: Requests sent per second.
        capacity: Requests per second without deadlines; the mean of before and after.
        goodput: Results within the deadline, per second, from one deadline after the beginning to the end of the load.
        p95_ms: 95th percentile of the latency of results.
        statuses: Answers by status.
        recovery_s: From the end of the overload to the last request that got no result in time, at half of the capacity.
    """

    factor: int
    offered: float
    capacity: float
    goodput: float
    p95_ms: float
    statuses: dict[str, int]
    recovery_s: float

    @property
    def share(self) -> float:
        """Goodput as a part of the capacity."""
        return self.goodput / self.capacity


def measure(url: str, body: Mapping[str, Any], factors: tuple[int, ...], *, rounds: int, seconds: float, clients: int) -> list[Overload]:
    """Measures each factor in turns, with the capacity before and after it; the median round of each by its share.

    Args:
        url: The route, with its host and port.
        body: Of every request.
        factors: Multiples of the capacity.
        rounds: How often each is measured.
        seconds: Of each load.
        clients: Of the closed loop that measures the capacity.
    """
    found: dict[int, list[Overload]] = {factor: [] for factor in factors}

    async def run() -> None:
        load = _Load(url, body)
        await load.closed(clients, seconds / 2)  # caches are cold
        for _ in range(rounds):
            for factor in factors:
                found[factor].append(await _overload(load, factor, seconds, clients))
        load.close()

    asyncio.run(run())
    return [sorted(results, key=lambda one: one.share)[len(results) // 2] for results in found.values()]


async def _overload(load: _Load, factor: int, seconds: float, clients: int) -> Overload:
    before = await load.closed(clients, seconds)
    offered = before * factor
    answers = await load.open(offered, seconds)
    calm = await load.open(before * _CALM, max(4.0, seconds / 2))
    after = await load.closed(clients, seconds)
    results = [answer.seconds * 1000 for answer in answers if answer.status == _OK]
    return Overload(
        factor=factor,
        offered=offered,
        capacity=(before + after) / 2,
        goodput=sum(answer.good and DEADLINE_S <= answer.sent + answer.seconds <= seconds for answer in answers) / (seconds - DEADLINE_S),
        p95_ms=statistics.quantiles(results, n=20)[-1] if len(results) > 1 else float("nan"),
        statuses={str(status): count for status, count in sorted(Counter(answer.status for answer in answers).items())},
        recovery_s=max((answer.sent for answer in calm if not answer.good), default=0.0),
    )


class _Load:
    """Sends one request again and again, on connections that are kept."""

    def __init__(self, url: str, body: Mapping[str, Any]) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._host, self._port = parts.hostname, parts.port
        content = json.dumps(body).encode()
        head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        self._plain = f"{head}\r\n".encode() + content
        self._limited = f"{head}X-Request-Timeout: {DEADLINE_S}\r\n\r\n".encode() + content
        self._idle: deque[_Connection] = deque()
        self._in_use = 0

    async def closed(self, clients: int, seconds: float) -> float:
        """Answers per second of clients that wait for each, without deadlines.

        Raises:
            RuntimeError: An answer was not a result.
        """
        began = time.perf_counter()
        answers: list[Answer] = []

        async def client() -> None:
            while time.perf_counter() - began < seconds:
                answers.append(await self._one(self._plain, began))

        await asyncio.gather(*(client() for _ in range(clients)))
        taken = time.perf_counter() - began
        if any(answer.status != _OK for answer in answers):
            raise RuntimeError(f"capacity: statuses {Counter(answer.status for answer in answers)}")
        return len(answers) / taken

    async def open(self, rate: float, seconds: float) -> list[Answer]:
        """Sends `rate` requests a second with deadlines; every answer."""
        began = time.perf_counter()
        running: list[Awaitable[Answer]] = []
        for number in range(int(rate * seconds)):
            ahead = began + number / rate - time.perf_counter()
            if ahead > 0:
                await asyncio.sleep(ahead)
            running.append(asyncio.create_task(self._one(self._limited, began)))
        return await asyncio.gather(*running)

    async def _one(self, request: bytes, began: float) -> Answer:
        sent = time.perf_counter()
        status = _NO_ANSWER
        if self._in_use < _MOST_OPEN:
            self._in_use += 1
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    connection = self._idle.pop() if self._idle else await self._connect()
                    status = await connection.ask(request)
                self._idle.append(connection)
            except (OSError, TimeoutError):
                pass
            finally:
                self._in_use -= 1
        return Answer(sent - began, time.perf_counter() - sent, status)

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
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError("closed"))
