"""An emulated Slack: incoming webhooks, ``chat.postMessage`` and ``chat.update`` over HTTP, with channels that keep what was posted.

It refuses what Slack refuses: a token or a channel that it does not know, a bot that is not in the channel, blocks beyond Slack's limits,
a thread or a message that is not there. Errors of the Web API are answers with status 200 and ``"ok": false``, as Slack's are. Tests hold
it to Slack's own client.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qsl

TOKEN: Final = "xoxb-123456789012-emulated-bot"  # noqa: S105 - nobody's
CHANNEL: Final = "C0EMULATED"
WEBHOOK: Final = "/services/T0EMULATED/B0EMULATED/abcdefghijklmnopqrstuvwx"
_FIRST_TS: Final = 1_700_000_000
_MAX_BODY: Final = 1_000_000
_BLOCKS, _FIELDS = 50, 10
_TEXT: Final = {"header": 150, "section": 3000, "field": 2000}

Answer = tuple[int, dict[str, str], str]
"""Status, headers and body."""


class SlackServer:
    """One workspace with one channel, ``#alerts``, which the bot is in.

    Attributes:
        messages: What the channel shows, in the order in which it was posted: ``ts``, ``thread_ts`` of a reply, ``text``, ``blocks``.
        calls: What was requested: the method's name, or ``webhook``, and the body.
        fault: Answers a call in Slack's place where it returns an answer: it is down, or it has enough.
    """

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.fault: Callable[[str], Answer | None] = lambda _: None
        self.member = True
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def api(self) -> str:
        """Where its Web API is."""
        return f"http://127.0.0.1:{self._server.server_port}/api"

    @property
    def webhook(self) -> str:
        """The URL of an incoming webhook to the channel."""
        return f"http://127.0.0.1:{self._server.server_port}{WEBHOOK}"

    def close(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def thread(self, ts: str) -> list[dict[str, Any]]:
        """The replies to a message."""
        return [message for message in self.messages if message.get("thread_ts") == ts]

    def heads(self) -> list[dict[str, Any]]:
        """The messages that are no replies."""
        return [message for message in self.messages if "thread_ts" not in message]

    def delete(self, ts: str) -> None:
        """Deletes a message, as a person may."""
        self.messages = [message for message in self.messages if message["ts"] != ts]

    def _answer(self, path: str, headers: Mapping[str, str], raw: bytes) -> Answer:
        with self._lock:
            method = "webhook" if path == WEBHOOK else path.removeprefix("/api/")
            kind = headers.get("Content-Type", "").partition(";")[0]
            try:
                body = json.loads(raw) if kind == "application/json" else dict(parse_qsl(raw.decode()))
            except ValueError:
                return 400, {}, "invalid_payload"
            self.calls.append((method, body))
            if (fault := self.fault(method)) is not None:
                return fault
            if method == "webhook":
                problem = _fault(body)
                if not problem:
                    self._add(body)
                return (400, {}, problem) if problem else (200, {}, "ok")
            answer = self._called(method, headers.get("Authorization", ""), body)
            return 200, {"Content-Type": "application/json; charset=utf-8"}, json.dumps(answer)

    def _called(self, method: str, authorization: str, body: dict[str, Any]) -> dict[str, Any]:
        problem = self._refusal(method, authorization, body)
        if problem:
            return {"ok": False, "error": problem}
        if method == "chat.update":
            message = next(one for one in self.messages if one["ts"] == body["ts"])
            message.update({"text": body.get("text", ""), "blocks": body.get("blocks", []), "edited": True})
            return {"ok": True, "channel": CHANNEL, "ts": message["ts"], "text": message["text"], "message": message}
        message = self._add(body)
        return {"ok": True, "channel": CHANNEL, "ts": message["ts"], "message": message}

    def _refusal(self, method: str, authorization: str, body: dict[str, Any]) -> str:
        """The code of the error; "" where there is none."""
        if method not in {"chat.postMessage", "chat.update"}:
            return "unknown_method"
        if not authorization:
            return "not_authed"
        if authorization != f"Bearer {TOKEN}":
            return "invalid_auth"
        named = {CHANNEL} if method == "chat.update" else {CHANNEL, "#alerts"}  # an update takes no name
        if body.get("channel") not in named:
            return "channel_not_found"
        if not self.member:
            return "not_in_channel"
        there = {message["ts"] for message in self.messages}
        if method == "chat.update" and body.get("ts") not in there:
            return "message_not_found"
        if "thread_ts" in body and body["thread_ts"] not in there:
            return "thread_not_found"
        return _fault(body)

    def _add(self, body: dict[str, Any]) -> dict[str, Any]:
        kept: dict[str, Any] = {name: body[name] for name in ("text", "blocks", "thread_ts", "reply_broadcast") if name in body}
        message: dict[str, Any] = {"ts": f"{_FIRST_TS + len(self.calls)}.000100", **kept}
        self.messages.append(message)
        return message

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        slack = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_POST(self) -> None:
                raw = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), _MAX_BODY))
                status, headers, text = slack._answer(self.path, dict(self.headers.items()), raw)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(text.encode()))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                """Says nothing."""

        return Handler


@contextmanager
def emulated_slack() -> Iterator[SlackServer]:
    """An emulated Slack while the block runs."""
    slack = SlackServer()
    try:
        yield slack
    finally:
        slack.close()


def _fault(body: dict[str, Any]) -> str:
    """What is wrong with a message, in Slack's codes."""
    blocks = body.get("blocks") or []
    if isinstance(blocks, str):  # a form holds JSON
        blocks = json.loads(blocks)
    if not body.get("text") and not blocks:
        return "no_text"
    return "" if len(blocks) <= _BLOCKS and all(map(_fits, blocks)) else "invalid_blocks"


def _fits(block: dict[str, Any]) -> bool:
    fields = block.get("fields", [])
    text = block.get("text", {}).get("text", "")
    bounded = len(text) <= _TEXT.get(block.get("type", ""), 0) and all(0 < len(field["text"]) <= _TEXT["field"] for field in fields)
    return bounded and len(fields) <= _FIELDS and bool(text or fields)
