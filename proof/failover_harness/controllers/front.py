"""A proxy in front of moto: answers calls that moto lacks, forwards all others, and records them.

The real controllers use its endpoint. Its own answers have the form of botocore's service models.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.parse
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType, TracebackType
from typing import Final, Self

import urllib3

from failover_testbed.aws.server import EmulatedAws

_EC2: Final = "http://ec2.amazonaws.com/doc/2016-11-15/"
_HOP: Final = {"connection", "content-length", "transfer-encoding", "host", "date", "server"}
_TIMEOUT_S: Final = 30.0
_INVOCATION: Final = "amz-sdk-invocation-id"

Answer = tuple[int, str, bytes]
"""Status, content type and body."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was answered.

    Attributes:
        action: Such as ``ModifyRule``; with the service's prefix for JSON services, ``GET /PATH`` for REST.
        form: Its arguments; for JSON only those that are strings.
        status: HTTP status of the answer.
        invocation: The same for each time that the SDK sends one call; "" where it says nothing.
        at: When, seconds since the Unix epoch.
    """

    action: str
    form: Mapping[str, str]
    status: int
    invocation: str
    at: float


class Front:
    """An endpoint for every service. Use it as a context manager.

    Args:
        aws: The emulated account behind it; must be running.

    Attributes:
        headers: Headers of every answer, in addition to content type and length.
    """

    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(self, aws: EmulatedAws) -> None:
        self.aws = aws
        self.missing: set[str] = set()  # calls that moto lacks, by action; reported if a component does not become ready
        self.lock = threading.Lock()
        self._calls: list[Call] = []
        self._pool = urllib3.PoolManager(maxsize=16, retries=False, timeout=_TIMEOUT_S)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="aws-front", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)
        self._pool.clear()

    @property
    def endpoint(self) -> str:
        """Its URL."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def calls(self) -> list[Call]:
        """All calls so far, oldest first."""
        with self.lock:
            return list(self._calls)

    def own(self, action: str, form: Mapping[str, str]) -> Answer | None:
        """The answer to a call that moto lacks; None to forward it to moto."""
        raise NotImplementedError

    def answer_get(self, path: str, headers: Mapping[str, str]) -> Answer:
        """The answer to a GET."""
        action = f"GET {path}"
        return self.own(action, {}) or self._forwarded(action, path, headers, b"", method="GET")

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """The answer to one call."""
        target = headers.get("X-Amz-Target", "")
        form = _texts(body) if target else dict(urllib.parse.parse_qsl(body.decode(errors="replace")))
        action = target or form.get("Action", "")
        found = self.own(action, form) or self._forwarded(action, path, headers, body)
        invocation = next((value for name, value in headers.items() if name.lower() == _INVOCATION), "")
        with self.lock:
            self._calls.append(Call(action, form, found[0], invocation, time.time()))
        return found

    def _forwarded(self, action: str, path: str, headers: Mapping[str, str], body: bytes, method: str = "POST") -> Answer:
        kept = {name: value for name, value in headers.items() if name.lower() not in _HOP}
        found = self._pool.request(method, f"{self.aws.endpoint}{path}", body=body, headers=kept)
        if b"not emulated" in found.data or b"NotImplemented" in found.data or found.status >= 500:
            self.missing.add(action)
        return found.status, found.headers.get("Content-Type", "text/xml"), found.data

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Says nothing."""

            def handle(self) -> None:
                """Serves one connection; prints no traceback if the client disconnects."""
                with suppress(OSError):
                    super().handle()

            def do_GET(self) -> None:
                self._send(*front.answer_get(self.path, dict(self.headers.items())))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self._send(*front.answer(self.path, dict(self.headers.items()), body))

            def _send(self, status: int, kind: str, answer: bytes) -> None:
                self.send_response(status)
                for name, value in {**front.headers, "Content-Type": kind}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

        return Handler


def _texts(body: bytes) -> dict[str, str]:
    return {name: value for name, value in json.loads(body).items() if isinstance(value, str)}


def json_answer(body: Mapping[str, object]) -> Answer:
    """An answer of a JSON service."""
    return 200, "application/x-amz-json-1.1", json.dumps(body).encode()


def ec2_answer(action: str, inner: str) -> Answer:
    """An answer of EC2."""
    text = f'<{action}Response xmlns="{_EC2}"><requestId>emulated</requestId>{inner}</{action}Response>'
    return 200, "text/xml;charset=UTF-8", text.encode()
