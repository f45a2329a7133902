"""Open-loop load: sends requests at a fixed rate, whether or not earlier ones were answered, and records each.

It runs as a separate process, so that what it measures does not share its interpreter. ``python -m failover_harness.dataplane.load`` reads
its orders as JSON from standard input and writes one CSV line per request. It is bounded in count and time, and stops by itself.

It sends POST, like inference clients. The client must not retry, and aiohttp repeats a GET on a closed connection.
"""

from __future__ import annotations

import asyncio
import csv
import gc
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import aiohttp

from failover_harness.dataplane.config import IDLE_S, TARGET_HEADER
from failover_harness.dataplane.pods import UNIT_HEADER

_MOST_FLYING: Final = 4000
_MOST_REQUESTS: Final = 2_000_000
_TIMEOUT_S: Final = IDLE_S + 10.0  # longer than the load balancer waits for a target, so that its answer names the target
_GRACE_S: Final = 30.0
_ROOT: Final = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Stream:
    """Requests to one load balancer.

    Attributes:
        name: Its name in the records.
        url: URL of the requests.
        rate: Requests per second.
        clients: How many clients take turns, each with its own cookies. 0: one client without cookies.
    """

    name: str
    url: str
    rate: float
    clients: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """One request. Times are seconds since the Unix epoch.

    Attributes:
        stream: Its stream.
        client: Number of the client.
        due: When it should have been sent.
        start: When it was sent.
        end: When it was answered or failed.
        status: HTTP status; 0 if there was no answer.
        unit: The deployment unit that answered, "" if none did.
        target: The address that answered or was tried, "" if none was chosen.
        error: The error if there was no answer.
    """

    stream: str
    client: int
    due: float
    start: float
    end: float
    status: int
    unit: str
    target: str
    error: str

    @property
    def failed(self) -> bool:
        """Whether it failed from a user's point of view."""
        return self.status != 200

    @staticmethod
    def read(path: Path) -> Iterator[Record]:
        """The records of a finished run."""
        with path.open(newline="") as rows:
            for row in csv.reader(rows):
                stream, client, due, start, end, status, unit, target, error = row
                yield Record(stream, int(client), float(due), float(start), float(end), int(status), unit, target, error)


# --- the process ------------------------------------------------------------------------------------------------------------------------


class _Sender:
    """Sends requests and records them."""

    def __init__(self, streams: list[Stream], rows: csv.Writer) -> None:  # type: ignore[name-defined]
        self._streams, self._rows = streams, rows
        self._connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=50)
        self._sessions = [[self._session(one) for _ in range(max(1, one.clients))] for one in streams]
        self.flying: set[asyncio.Task[None]] = set()

    def _session(self, stream: Stream) -> aiohttp.ClientSession:
        jar = aiohttp.CookieJar(unsafe=True) if stream.clients else aiohttp.DummyCookieJar()
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        return aiohttp.ClientSession(connector=self._connector, connector_owner=False, cookie_jar=jar, timeout=timeout)

    async def close(self) -> None:
        """Waits for the requests in flight, which have a timeout, and closes."""
        if self.flying:
            await asyncio.wait(self.flying, timeout=_TIMEOUT_S + 1)
        for sessions in self._sessions:
            for session in sessions:
                await session.close()
        await self._connector.close()

    def send(self, stream: int, turn: int, due: float) -> None:
        """Sends one request. If too many are in flight it only records that the request was not sent."""
        client = turn % len(self._sessions[stream])
        if len(self.flying) >= _MOST_FLYING:
            self._rows.writerow((self._streams[stream].name, client, due, due, due, 0, "", "", "not sent: too many in flight"))
            return
        task = asyncio.create_task(self._one(stream, client, due))
        self.flying.add(task)
        task.add_done_callback(self.flying.discard)

    async def _one(self, stream: int, client: int, due: float) -> None:
        start, status, unit, target, error = time.time(), 0, "", "", ""
        try:
            async with self._sessions[stream][client].post(self._streams[stream].url, data=b"{}") as answer:
                await answer.read()
                status, unit = answer.status, answer.headers.get(UNIT_HEADER, "")
                target = answer.headers.get(TARGET_HEADER, "")
        except (aiohttp.ClientError, TimeoutError) as caught:
            status, error = 0, f"{type(caught).__name__}: {caught}"[:120]
        end = time.time()
        row = (self._streams[stream].name, client, f"{due:.4f}", f"{start:.4f}", f"{end:.4f}", status, unit, target, error)
        self._rows.writerow(row)


def _schedule(streams: list[Stream], seconds: float) -> Iterator[tuple[float, int, int]]:
    """Time since the start in seconds, stream and turn of each request, by time. The streams are out of phase."""
    turns = [0] * len(streams)
    due = [(index + 1) / len(streams) / one.rate for index, one in enumerate(streams)]
    while True:
        index = min(range(len(streams)), key=due.__getitem__)
        if due[index] >= seconds:
            return
        yield due[index], index, turns[index]
        turns[index] += 1
        due[index] += 1 / streams[index].rate


async def _send(streams: list[Stream], seconds: float, output: Path) -> None:
    with output.open("w", newline="") as file:
        sender = _Sender(streams, csv.writer(file))
        begun, wall = time.monotonic(), time.time()
        try:
            for at, stream, turn in islice(_schedule(streams, seconds), _MOST_REQUESTS):
                if (wait := begun + at - time.monotonic()) > 0:
                    await asyncio.sleep(wait)
                sender.send(stream, turn, wall + at)
        finally:
            await sender.close()


def _main() -> None:
    order = json.loads(sys.stdin.readline())
    gc.freeze()
    asyncio.run(_send([Stream(**one) for one in order["streams"]], float(order["seconds"]), Path(order["output"])))


# --- who starts it ----------------------------------------------------------------------------------------------------------------------


class Load:
    """A run of load. Use it as a context manager; leaving it early ends the run.

    Args:
        streams: The streams to send.
        seconds: Duration of the run.
        output: File of the records.
    """

    def __init__(self, streams: Iterable[Stream], seconds: float, output: Path) -> None:
        self._streams, self._seconds, self._output = list(streams), seconds, output
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "failover_harness.dataplane.load"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, cwd=_ROOT)
        order = {"streams": [asdict(one) for one in self._streams], "seconds": self._seconds, "output": str(self._output)}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.close()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(_GRACE_S)

    def wait(self) -> list[Record]:
        """Waits for the end.

        Returns:
            All requests, in the order in which they ended.

        Raises:
            RuntimeError: The process failed or did not end.
        """
        assert self._process is not None
        try:
            code = self._process.wait(self._seconds + _TIMEOUT_S + _GRACE_S)
        except subprocess.TimeoutExpired as error:
            raise RuntimeError("the load did not end") from error
        if code:
            raise RuntimeError(f"the load ended with code {code}")
        return list(Record.read(self._output))


@dataclass(frozen=True, slots=True)
class Rate:
    """How closely the load kept its rate.

    Attributes:
        wanted: Planned requests per second.
        reached: Requests per second that were sent.
        late_p99_s: 99th percentile of their delay, seconds.
        unsent: Requests that were not sent.
    """

    wanted: float
    reached: float
    late_p99_s: float
    unsent: int

    @property
    def valid(self) -> bool:
        """Within two percent of the rate, none unsent, and hardly any more than a second late: a window of failures lasts seconds."""
        return self.reached >= 0.98 * self.wanted and not self.unsent and self.late_p99_s <= 1.0


def rate(records: list[Record], streams: Iterable[Stream], seconds: float) -> Rate:
    """Computes how closely the load kept its rate."""
    wanted = sum(one.rate for one in streams)
    sent = [one for one in records if not one.error.startswith("not sent")]
    late = sorted(one.start - one.due for one in sent)
    return Rate(wanted, len(sent) / seconds, late[int(0.99 * (len(late) - 1))] if late else 0.0, len(records) - len(sent))


if __name__ == "__main__":
    _main()
