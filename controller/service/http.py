"""The HTTP endpoint, read-only: ``/healthz``, ``/readyz``, ``/metrics`` and ``/status``.

Four answers for a kubelet and a Prometheus need no framework: one with an event loop took 9 MiB, a tenth of an idle process.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Final

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from controller.clients.kube import Object
from controller.errors import ConfigError

Check = Callable[[], str]

_STOP_S: Final = 5.0
_STOP_POLL_S: Final = 0.05  # how often the server checks whether it is to stop; the default, half a second, delays every stop
_IDLE_S: Final = 5.0  # after which a client that sends nothing is disconnected
_AT_ONCE: Final = 16  # requests; further ones are refused, because each takes a thread

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    content: bytes
    content_type: str = "text/plain; charset=utf-8"
    code: int = HTTPStatus.OK


Routes = Mapping[str, Callable[[], Answer]]


def make_routes(registry: CollectorRegistry, *, healthy: Check, ready: Check, status: Callable[[], Object]) -> Routes:
    """The answers by path.

    Args:
        registry: The metrics for ``/metrics``.
        healthy: Returns why this process should be restarted, "" if it should not.
        ready: Returns why this process is not ready, "" if it is.
        status: The status document.
    """

    def checked(check: Check) -> Callable[[], Answer]:
        def answer() -> Answer:
            problem = check()
            return Answer((problem or "ok").encode(), code=HTTPStatus.SERVICE_UNAVAILABLE if problem else HTTPStatus.OK)

        return answer

    return {
        "/healthz": checked(healthy),
        "/readyz": checked(ready),
        "/metrics": lambda: Answer(generate_latest(registry), CONTENT_TYPE_LATEST),
        "/status": lambda: Answer(json.dumps(status()).encode(), "application/json"),
    }


class HttpServer:
    """Serves routes, each request in a thread of its own.

    Args:
        routes: The routes.
        host: Address to listen on.
        port: TCP port; 0 for any free one.

    Raises:
        ConfigError: The address cannot be listened on.
    """

    def __init__(self, routes: Routes, host: str, port: int) -> None:
        try:
            self._server = _Server(routes, host, port)  # listens at once: clients that connect before the thread runs wait
        except OSError as error:
            raise ConfigError(f"http.host, http.port: cannot listen on {host}:{port}: {error.strerror}; choose a free address") from error
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_STOP_POLL_S,), name="http", daemon=True)

    def start(self) -> None:
        """Starts serving."""
        self._thread.start()

    def stop(self) -> None:
        """Stops serving within a second. An answer in progress may be cut off."""
        self._server.shutdown()
        self._thread.join(timeout=_STOP_S)
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, routes: Routes, host: str, port: int) -> None:
        self.routes = routes
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._free = threading.BoundedSemaphore(_AT_ONCE)
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # not HTTPServer's, which looks up the host's name in the DNS

    def verify_request(self, *_: object) -> bool:
        return self._free.acquire(blocking=False)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as the base class has it
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, *_: object) -> None:
        log.debug("http.interrupted", exc_info=True)  # the client disconnected


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _IDLE_S

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def _answer(self, *, with_content: bool) -> None:
        answer = self._made(self.path.partition("?")[0])
        self.send_response(answer.code)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if with_content:
            self.wfile.write(answer.content)

    def _made(self, path: str) -> Answer:
        route = self.server.routes.get(path)
        if route is None:
            return Answer(b"not found", code=HTTPStatus.NOT_FOUND)
        try:
            return route()
        except Exception:
            log.exception("http.failed", path=path)
            return Answer(b"internal error", code=HTTPStatus.INTERNAL_SERVER_ERROR)

    def version_string(self) -> str:
        return "failoverctl"

    def log_message(self, *_: object) -> None:
        """Logs nothing: probes come every few seconds."""
