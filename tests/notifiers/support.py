"""Shared by the tests of the notifiers: receivers on loopback, scripted sinks, and waiting for other threads."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from controller.notifiers.dispatcher import Dispatcher, SinkHealth
from controller.ports import Message, MessageKind, Severity

START = 1_790_000_000.0
TOKEN = "s3cretTokenLeaked0123456"
PATH = f"/services/T0LEAKED0/B0LEAKED0/{TOKEN}"
SECRETS = (TOKEN, PATH, "T0LEAKED0", "B0LEAKED0")

_PATIENCE_S = 10.0  # only a failing test waits this long


@dataclass(frozen=True)
class Answer:
    """What a receiver answers."""

    status: int = 200
    body: str = "ok"
    headers: Mapping[str, str] = field(default_factory=dict)


class Hang:
    """The receiver holds the request open until it is released or closed."""


class Slam:
    """The receiver closes the connection without an answer."""


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: str


class Receiver:
    """An HTTP server on loopback that answers by a script and repeats its last entry."""

    def __init__(self, *script: Answer | Hang | Slam | Callable[[Request], Answer]) -> None:
        self._script = list(script) or [Answer()]
        self._lock = threading.Lock()
        self.requests: list[Request] = []
        self.holding = threading.Event()
        self.release = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def host(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"{self.host}{PATH}"

    def close(self) -> None:
        self.release.set()
        self.server.shutdown()
        self.server.server_close()
        self._thread.join(_PATIENCE_S)

    def take(self, request: Request) -> Answer | Hang | Slam | Callable[[Request], Answer]:
        with self._lock:
            self.requests.append(request)
            return self._script.pop(0) if len(self._script) > 1 else self._script[0]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                request = Request(self.command, self.path, dict(self.headers.items()), body)
                step = receiver.take(request)
                if isinstance(step, Hang):
                    receiver.holding.set()
                    receiver.release.wait(_PATIENCE_S)
                    step = Slam()
                if isinstance(step, Slam):
                    self.close_connection = True
                    return
                answer = step if isinstance(step, Answer) else step(request)
                self.send_response(answer.status)
                headers = {"Content-Length": str(len(answer.body.encode())), **answer.headers}
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body.encode())

            do_POST = do_GET = do_PATCH = handle_any  # noqa: N815 - the base class calls them so

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                pass

        return Handler


@contextmanager
def receiving(*script: Answer | Hang | Slam | Callable[[Request], Answer]) -> Iterator[Receiver]:
    receiver = Receiver(*script)
    try:
        yield receiver
    finally:
        receiver.close()


class Scripted:
    """A sink that raises by a script, whose last entry it repeats, and keeps the messages for which the script says None."""

    def __init__(self, name: str, *script: BaseException | None, takes_digests: bool = True) -> None:
        self._name, self.takes_digests = name, takes_digests
        self._script = list(script) or [None]
        self.tries = 0
        self.got: queue.Queue[Message] = queue.Queue()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    @property
    def name(self) -> str:
        return self._name

    def send(self, message: Message) -> None:
        self.entered.set()
        assert self.gate.wait(_PATIENCE_S)
        self.tries += 1
        step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if step is not None:
            raise step
        self.got.put(message)

    def next(self) -> Message:
        return self.got.get(timeout=_PATIENCE_S)

    def rest(self) -> list[Message]:
        found = []
        while not self.got.empty():
            found.append(self.got.get_nowait())
        return found


def a_message(kind: MessageKind = MessageKind.FAILOVER, **changes: Any) -> Message:
    values: dict[str, Any] = {
        "kind": kind,
        "severity": Severity.WARNING,
        "application": "default/sd21",
        "reason": "ShortageProven",
        "title": "sd21: failed over to capacity mode",
        "why": "inf2 cannot get capacity (capacity: InsufficientInstanceCapacity) while 3 pod(s) wait for it",
        "cost": "$3.10/h → $4.85/h (+56 %)",
        "next": "back to cost mode after 600 s without a refusal",
        "at": START,
        "mode": "capacity",
    }
    return Message(**(values | changes))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition never became true"
        time.sleep(0.002)


def health(dispatcher: Dispatcher, name: str) -> SinkHealth:
    return next(sink for sink in dispatcher.health() if sink.name == name)


def idle(dispatcher: Dispatcher) -> None:
    """Waits until nothing is queued or in progress.

    Reads the health twice: the sinks are read one after the other, and one may queue a message for another in between.
    """

    def nothing_left() -> bool:
        first, second = dispatcher.health(), dispatcher.health()
        return first == second and all(sink.queued == 0 for sink in first)

    until(nothing_left)


def leaks(text: str) -> Sequence[str]:
    return [secret for secret in SECRETS if secret in text]
