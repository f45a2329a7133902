"""A fake of vLLM's server: health, models, completions, and metrics under the names of its V1 engine."""

import contextlib
import json
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

# Of vLLM 0.8 and later, for a model of some thousand tokens.
BUCKETS = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0)
LABELS = ["engine", "model_name"]


@dataclass
class Vllm:
    """The engine, and what it is to do."""

    url: str = ""
    model: str = "org/llama"
    health: int = 503
    """Status of /health: 503 while it loads."""
    status: int = 200
    """Of the next completions."""
    error: str = "boom /secret/path"
    text: str = " Paris."
    seconds: float = 0.4
    """Latency that is counted for each completion."""
    hold: threading.Event | None = None
    """Completions wait for it."""
    finish_reason: str = "stop"
    words: int = 3
    """Events of a stream, each after `pace` seconds."""
    pace: float = 0.0
    rest: threading.Event | None = None
    """A stream waits for it after its first event."""
    linger: threading.Event | None = None
    """A stream waits for it after its last event, before it closes the connection."""
    cut: bytes = b""
    """A stream ends with these bytes after its first event, and with the connection."""
    aborted: int = 0
    """Completions whose client has gone before they were answered."""
    stalled: threading.Event | None = None
    """/health waits for it."""
    tokens: int = 3
    """Of each answer."""
    bodies: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """As after a crash: everything is counted from 0 again."""
        self.registry = CollectorRegistry()
        self.success = Counter(
            "vllm:request_success", "Count of successfully processed requests.", [*LABELS, "finished_reason"], registry=self.registry
        )
        self.latency = Histogram("vllm:e2e_request_latency_seconds", "Latency in seconds.", LABELS, buckets=BUCKETS, registry=self.registry)
        self.prompt_tokens = Counter("vllm:prompt_tokens", "Prefill tokens.", LABELS, registry=self.registry)
        self.generation_tokens = Counter("vllm:generation_tokens", "Generation tokens.", LABELS, registry=self.registry)
        self.running = Gauge("vllm:num_requests_running", "Running.", LABELS, registry=self.registry)
        self.waiting = Gauge("vllm:num_requests_waiting", "Waiting.", LABELS, registry=self.registry)
        for reason in ("stop", "length", "abort"):
            self.success.labels("0", self.model, reason)
        self.running.labels("0", self.model).set(3)
        self.waiting.labels("0", self.model).set(2)

    def finish(self, seconds: float, reason: str = "stop") -> None:
        """A request ended."""
        self.success.labels("0", self.model, reason).inc()
        self.latency.labels("0", self.model).observe(seconds)
        self.prompt_tokens.labels("0", self.model).inc(2)
        self.generation_tokens.labels("0", self.model).inc(self.tokens)

    @property
    def refusal(self) -> dict[str, Any]:
        """What is wrong with a request, as vLLM says it."""
        return {"message": self.error, "type": "BadRequestError", "param": None, "code": self.status}

    def metrics(self) -> str:
        """What /metrics says."""
        return generate_latest(self.registry).decode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    engine: Vllm

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass

    def do_GET(self) -> None:
        if self.path == "/health":
            if self.engine.stalled is not None:
                self.engine.stalled.wait(30)
            self._send(self.engine.health, b"")
        elif self.path == "/metrics":
            self._send(200, self.engine.metrics().encode())
        elif self.path == "/v1/models":
            self._send(200, json.dumps({"data": [{"id": self.engine.model}]}).encode())
        else:
            self._send(404, b"{}")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.engine.bodies.append((self.path, body))
        if not self._held(self.engine.hold):
            self.engine.aborted += 1
            return
        if self.engine.status != 200:
            self._send(self.engine.status, json.dumps({"error": self.engine.refusal}).encode())
            return
        if body.get("stream"):
            self._stream()
            return
        self.engine.finish(self.engine.seconds)
        chat: dict[str, Any] = (
            {"message": {"role": "assistant", "content": self.engine.text}} if self.path.endswith("chat/completions") else {}
        )
        choice = {"index": 0, "finish_reason": self.engine.finish_reason, **(chat or {"text": self.engine.text})}
        self._send(200, json.dumps({"choices": [choice], "usage": {"completion_tokens": 3}}).encode())

    def _stream(self) -> None:
        """One event a word, each after `pace` seconds; the request ends as an abort where the client goes."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        chat = self.path.endswith("chat/completions")
        try:
            for number in range(self.engine.words):
                time.sleep(self.engine.pace)
                said = {"delta": {"content": f"w{number} "}} if chat else {"text": f"w{number} "}
                reason = "stop" if number == self.engine.words - 1 else None
                chunk = {"id": "1", "object": "x", "created": 1, "model": self.engine.model}
                self._event(json.dumps({**chunk, "choices": [{"index": 0, "finish_reason": reason, **said}]}))
                if self.engine.cut:
                    self._chunk(self.engine.cut)
                    return
                if number == 0 and not self._held(self.engine.rest):
                    raise ConnectionResetError("the client has gone")
            self._event("[DONE]")
        except OSError:
            self.engine.aborted += 1
            self.engine.finish(self.engine.seconds, "abort")
            return
        self.engine.finish(self.engine.seconds)
        self._held(self.engine.linger)
        with contextlib.suppress(OSError):  # the client has had its last event
            self._chunk(b"")

    def _event(self, text: str) -> None:
        self._chunk(f"data: {text}\n\n".encode())
        readable, _, _ = select.select([self.connection], [], [], 0)
        if readable and not self.connection.recv(1, socket.MSG_PEEK):
            raise ConnectionResetError("the client has gone")

    def _chunk(self, content: bytes) -> None:
        """Of a body whose length is not known before; an empty one ends it."""
        self.wfile.write(b"%x\r\n%b\r\n" % (len(content), content))
        self.wfile.flush()

    def _held(self, hold: threading.Event | None) -> bool:
        """Wait until the test lets go; False: the client has gone meanwhile."""
        deadline = time.monotonic() + 30
        while hold is not None and not hold.wait(0.02) and time.monotonic() < deadline:
            readable, _, _ = select.select([self.connection], [], [], 0)
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                self.close_connection = True
                return False
        return True

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def serve() -> Iterator[Vllm]:
    """Serve on a free port of this machine."""
    engine = Vllm()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"engine": engine}))
    engine.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield engine
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
