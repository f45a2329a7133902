"""Slack through an incoming webhook.

The webhook URL is a password: anyone who has it can post. slack_sdk puts it into debug logs, exception texts and response objects. So this
module passes on none of slack_sdk's texts, and raises outside of the handler, where no chained exception can print the URL.
"""

from __future__ import annotations

import contextlib
import logging
import math
import re
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import urlsplit

from pydantic import SecretStr
from slack_sdk.webhook import WebhookClient, WebhookResponse

from controller.errors import Forbidden, Rejected, RemoteError, Unavailable
from controller.notifiers.redact import DEFAULT, MASK, Redactor
from controller.notifiers.render import ELLIPSIS, View, plain, view
from controller.ports import Message

MAX_HEADER: Final = 150
MAX_SECTION: Final = 3000
MAX_FIELD: Final = 2000
MAX_FIELDS: Final = 10  # a section
MAX_BLOCKS: Final = 50
MAX_FALLBACK: Final = 3000

_MAX_REPLY: Final = 1024  # bytes; Slack answers "ok" or an error code
_MAX_URL_FILE: Final = 4096
_CODE: Final = re.compile(r"[a-z][a-z0-9_]{1,40}")
_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}

# Not from logging.getLogger: this logger has no parent, so nobody can change its handlers or level. slack_sdk logs the URL at NOTSET.
_SILENT: Final = logging.Logger("slack_sdk.silenced", level=logging.CRITICAL + 1)


class SlackNotifier:
    """Posts messages to one Slack channel.

    Args:
        webhook_url: The URL, or a function that reads it anew for each message, so that it can be rotated without a restart; see
            `webhook_file`.
        timeout_s: Time-out for connecting, sending and each receive, seconds.
        redactor: Where the URL is registered, so that it is masked in every other text.
    """

    def __init__(self, webhook_url: str | SecretStr | Callable[[], str], timeout_s: float = 5.0, *, redactor: Redactor = DEFAULT) -> None:
        self._read_url = _reader(webhook_url)
        self._timeout_s = timeout_s
        self._redactor = redactor
        # Register the URL now: the first message is redacted before it arrives here. A mounted file may still be missing.
        with contextlib.suppress(Exception):
            self._url()

    def __repr__(self) -> str:
        return f"SlackNotifier(webhook_url={MASK}, timeout_s={self._timeout_s})"

    @property
    def name(self) -> str:
        """See `Notifier.name`."""
        return "slack"

    def send(self, message: Message) -> None:
        """Posts one message.

        Raises:
            Unavailable: No usable answer, 408, 429 or 5xx, or the URL could not be read.
            Forbidden: 401 or 403, e.g. ``action_prohibited``.
            Rejected: Any other answer, e.g. 400 ``invalid_payload``, 404 ``no_service``; or the configured text is not a URL.
        """
        outcome = self._post(view(message))
        if outcome is not None:
            raise outcome  # outside of any except block: a chained exception would carry the URL

    def _post(self, shown: View) -> RemoteError | None:
        try:
            url = self._url()
        except Exception as error:  # noqa: BLE001 - a foreign callable may raise anything
            return Unavailable(f"slack: the webhook URL cannot be read: {type(error).__name__}")
        if not url:
            return Rejected("slack: the webhook URL is not an http(s) URL with a host and a path")
        try:
            response = _Client(url, self._timeout_s).send(text=fallback_text(shown), blocks=blocks(shown))
        except (OSError, HTTPException) as error:  # URLError and time-outs are OSErrors
            return Unavailable(f"slack: {_cause(error)}")
        except Exception as error:  # noqa: BLE001 - its text may contain the URL, so only its type is passed on
            return Rejected(f"slack: the request could not be made: {type(error).__name__}")
        return _verdict(response)

    def _url(self) -> str:
        """Reads the webhook URL and registers it as a secret; "" if the text is not a URL."""
        url = self._read_url().strip()
        if not _is_url(url):
            return ""
        self._redactor.register(url)
        return url


class _Client(WebhookClient):
    """slack_sdk's client without its retries, logs, redirects and unbounded reads."""

    def __init__(self, url: str, timeout_s: float) -> None:
        super().__init__(url, timeout=math.ceil(timeout_s), logger=_SILENT, retry_handlers=[], user_agent_prefix="failoverctl")
        self._timeout_s = timeout_s

    def _perform_http_request_internal(self, url: str, req: urllib.request.Request) -> WebhookResponse:
        # The original follows redirects (a POST becomes a GET, whose 200 would count as delivered), ignores NO_PROXY and reads unbounded.
        opener = urllib.request.build_opener(_NoRedirects)
        try:
            answer = opener.open(req, timeout=self._timeout_s)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            # read1, not read: one receive is bounded by one time-out, even if the rest arrives slowly.
            body = answer.read1(_MAX_REPLY).decode(errors="replace")
            return WebhookResponse(url=url, status_code=answer.status, body=body, headers=dict(answer.headers.items()))


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Treats a redirect as an error."""

    def redirect_request(
        self,
        req: urllib.request.Request,  # noqa: ARG002 - the base class's signature
        fp: IO[bytes],  # noqa: ARG002
        code: int,  # noqa: ARG002
        msg: str,  # noqa: ARG002
        headers: HTTPMessage,  # noqa: ARG002
        newurl: str,  # noqa: ARG002
    ) -> urllib.request.Request | None:
        return None


def webhook_file(path: Path) -> Callable[[], str]:
    """Returns a function that reads the webhook URL from a file, e.g. of a mounted Secret, at each call."""

    def read() -> str:
        with path.open(encoding="utf-8") as file:
            return file.read(_MAX_URL_FILE)

    return read


def fallback_text(shown: View) -> str:
    """Plain text for notifications and clients that show no blocks."""
    return fit(plain(shown), MAX_FALLBACK)


def blocks(shown: View) -> list[dict[str, Any]]:
    """The message in Block Kit, within Slack's limits: Slack refuses a message that exceeds one."""
    header = {"type": "plain_text", "text": fit(shown.headline, MAX_HEADER), "emoji": False}
    made: list[dict[str, Any]] = [{"type": "header", "text": header}]
    made += [{"type": "section", "text": _labelled(label, text, MAX_SECTION)} for label, text in shown.points]
    for start in range(0, len(shown.facts), MAX_FIELDS):
        facts: Sequence[tuple[str, str]] = shown.facts[start : start + MAX_FIELDS]
        made.append({"type": "section", "fields": [_labelled(label, text, MAX_FIELD) for label, text in facts]})
    return made[:MAX_BLOCKS]


def fit(text: str, limit: int) -> str:
    """Escapes a text for Slack and cuts it to `limit` UTF-16 units, never within an entity or a character."""
    used, made, room = 0, "", 0
    for char in text:
        escaped = _ENTITIES.get(char, char)
        used += len(escaped) + (ord(char) > 0xFFFF)  # noqa: PLR2004 - beyond it a character is two UTF-16 units
        if used > limit:
            return made[:room] + ELLIPSIS
        made += escaped
        if used < limit:
            room = len(made)
    return made


def _labelled(label: str, text: str, limit: int) -> dict[str, Any]:
    head = f"*{fit(label, MAX_HEADER)}*\n"
    # verbatim: Slack makes no links, mentions or channels of it.
    return {"type": "mrkdwn", "text": head + fit(text, limit - len(head)), "verbatim": True}


def _reader(webhook_url: str | SecretStr | Callable[[], str]) -> Callable[[], str]:
    if isinstance(webhook_url, SecretStr):
        return webhook_url.get_secret_value
    if isinstance(webhook_url, str):
        return lambda: webhook_url
    return webhook_url


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and len(parts.path) > 1
    except ValueError:
        return False
    return bool(usable) and text.isascii() and text.isprintable() and " " not in text


def _cause(error: OSError | HTTPException) -> str:
    """The cause in words, without the exception's own text, which may contain the URL."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    match reason:
        case TimeoutError():
            return "no answer in time"
        case socket.gaierror():
            return "the host name cannot be resolved"
        case ConnectionRefusedError():
            return "connection refused"
        case ssl.SSLError():
            return f"TLS failed: {type(reason).__name__}"
        case _:
            return f"the connection failed: {type(reason).__name__}"


def _verdict(response: WebhookResponse) -> RemoteError | None:
    status = response.status_code
    if 200 <= status < 300:  # noqa: PLR2004
        return None
    body = (response.body or "").strip()
    code = body if _CODE.fullmatch(body) else ""  # anything else may be a foreign page that repeats the URL
    text = f"slack: {status} {code}".rstrip()
    if status in {408, 429} or status >= 500:  # noqa: PLR2004
        return Unavailable(text, status=status, code=code, retry_after_s=_retry_after(response.headers))
    return (Forbidden if status in {401, 403} else Rejected)(text, status=status, code=code)


def _retry_after(headers: Mapping[str, Any]) -> float | None:
    """The seconds of ``Retry-After``. Slack sends whole seconds; a date, which HTTP also allows, is ignored."""
    for name, value in headers.items():
        if name.lower() == "retry-after" and str(value).strip().isdecimal():
            return float(str(value).strip()[:9])
    return None
