"""Pods as HTTP servers, many in one process.

``python -m failover_harness.dataplane.pods`` reads one JSON order per line and answers each with a line; it ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import web

from failover_harness.dataplane.config import GROUP_HEADER, IDLE_S

UNIT_HEADER: Final = "x-unit"
HEALTH: Final = "/health"

_DRAIN_S: Final = 30.0  # a terminating pod finishes its requests within Kubernetes' grace period
_HANG_S: Final = 120.0  # a pod hangs for longer than the load balancer waits
_POLL_S: Final = 0.05  # how soon a pod detects that it no longer hangs
_ANSWER_S: Final = 10.0
_ROOT: Final = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod.

    Attributes:
        address: Its loopback address.
        port: Its port.
        unit: Its deployment unit; every answer contains it.
        latency_s: How long an answer takes, seconds.
        ready: Whether its health check passes.
        fault: "", ``500`` or ``hang``, which answers only after the fault ends. Both also affect the health check.
    """

    address: str
    port: int
    unit: str
    latency_s: float = 0.0
    ready: bool = True
    fault: str = ""


class _Server:
    """The server of a pod."""

    def __init__(self, pod: Pod) -> None:
        self.pod = pod
        # The load balancer closes idle connections first; otherwise a request could meet a connection that is being closed.
        self._http = web.Server(self._answer, access_log=None, keepalive_timeout=2 * IDLE_S)
        self._server: asyncio.Server | None = None
        self._flying: dict[int, tuple[str, web.BaseRequest]] = {}  # target group and request, by the request's identity

    async def start(self) -> None:
        """Begins to listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._http, self.pod.address, self.pod.port, reuse_address=True, backlog=512)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        for _ in range(int(_HANG_S / _POLL_S)):
            if self.pod.fault != "hang":
                break
            await asyncio.sleep(_POLL_S)
        pod = self.pod
        if request.path == HEALTH:
            return web.Response(status=200 if pod.ready and not pod.fault else 503)
        self._flying[id(request)] = (request.headers.get(GROUP_HEADER, ""), request)
        try:
            await asyncio.sleep(pod.latency_s)
        finally:
            del self._flying[id(request)]
        return web.Response(status=500 if pod.fault else 200, headers={UNIT_HEADER: pod.unit})

    def cut(self, group: str) -> None:
        """Closes the connections of requests in flight from a target group."""
        for by, request in self._flying.values():
            if by == group and request.transport is not None:
                request.transport.abort()

    async def end(self) -> None:
        """Stops listening, and finishes the requests in flight."""
        if self._server is not None:
            self._server.close()
        await self._http.shutdown(_DRAIN_S)

    def kill(self) -> None:
        """Ends at once and aborts the requests in flight."""
        if self._server is not None:
            self._server.close()
        for connection in self._http.connections:
            if connection.transport is not None:
                connection.transport.abort()


class PodServers:
    """All pods of this process, by address."""

    def __init__(self) -> None:
        self._servers: dict[str, _Server] = {}
        self._ending: set[asyncio.Task[None]] = set()

    async def do(self, order: dict[str, Any]) -> None:
        """Carries out one order: ``pods`` lists all wanted pods, ``kill`` an address, ``cut`` a target group."""
        if "pods" in order:
            await self._become({one["address"]: Pod(**one) for one in order["pods"]})
        if (killed := self._servers.pop(order.get("kill", ""), None)) is not None:
            killed.kill()
        for server in self._servers.values():
            if "cut" in order:
                server.cut(order["cut"])

    async def _become(self, wanted: dict[str, Pod]) -> None:
        for address in self._servers.keys() - wanted.keys():
            task = asyncio.create_task(self._servers.pop(address).end())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
        for address, pod in wanted.items():
            if address in self._servers:
                self._servers[address].pod = pod
            else:
                self._servers[address] = _Server(pod)
                await self._servers[address].start()


async def _serve() -> None:
    servers = PodServers()
    reader = asyncio.StreamReader(limit=2**24)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        try:
            await servers.do(json.loads(line))
            answer = "ok"
        except OSError as error:
            answer = str(error)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


@dataclass
class PodProcess:
    """The process that serves pods. Use it as a context manager; safe to share between threads."""

    _process: subprocess.Popen[str] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "failover_harness.dataplane.pods"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()  # no test pod has requests to finish
            process.communicate(timeout=_ANSWER_S)

    def serve(self, pods: Iterable[Pod]) -> None:
        """Serves exactly these pods; all others stop and finish their requests."""
        self._order({"pods": [asdict(pod) for pod in pods]})

    def kill(self, address: str) -> None:
        """Ends the pod at an address abruptly."""
        self._order({"kill": address})

    def cut(self, group: str) -> None:
        """Cuts the requests in flight from a target group."""
        self._order({"cut": group})

    def _order(self, order: dict[str, Any]) -> None:
        with self._lock:
            process = self._process
            if process is None or process.stdin is None or process.stdout is None:
                return
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline() or '"the process of the pods ended"')
        if answer != "ok":
            raise RuntimeError(f"the pods' process failed: {answer}")


if __name__ == "__main__":
    asyncio.run(_serve())
