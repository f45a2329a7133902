"""Slack through an incoming webhook.

The webhook URL is a password: anyone who has it can post. slack_sdk puts it into debug logs, exception texts and response objects. So this
module passes on none of slack_sdk's texts, and raises outside of the handler, where no chained exception can print the URL.
"""

from __future__ import annotations

import contextlib
import logging
import math
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException
from typing import Any, Final

from pydantic import SecretStr
from slack_sdk.webhook import WebhookClient, WebhookResponse

from controller.errors import Rejected, RemoteError, Unavailable
from controller.notifiers.endpoint import cause, exchange, is_url, registered_url, url_reader, verdict
from controller.notifiers.redact import DEFAULT, MASK, Redactor
from controller.notifiers.render import ELLIPSIS, View, plain, view
from controller.ports import Message

MAX_HEADER: Final = 150
MAX_SECTION: Final = 3000
MAX_FIELD: Final = 2000
MAX_FIELDS: Final = 10  # a section
MAX_BLOCKS: Final = 50
MAX_FALLBACK: Final = 3000

_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}

# Not from logging.getLogger: this logger has no parent, so nobody can change its handlers or level. slack_sdk logs the URL at NOTSET.
_SILENT: Final = logging.Logger("slack_sdk.silenced", level=logging.CRITICAL + 1)


class SlackNotifier:
    """Posts messages to one Slack channel.

    Args:
        webhook_url: The URL, or a function that reads it anew for each message, so that it can be rotated without a restart; see
            `file_reader`.
        timeout_s: Time-out for connecting, sending and each receive, seconds.
        redactor: Where the URL is registered, so that it is masked in every other text.
    """

    def __init__(self, webhook_url: str | SecretStr | Callable[[], str], timeout_s: float = 5.0, *, redactor: Redactor = DEFAULT) -> None:
        self._read_url = url_reader(webhook_url)
        self._timeout_s = timeout_s
        self._redactor = redactor
        # Register the URL now: the first message is redacted before it arrives here. A mounted file may still be missing.
        with contextlib.suppress(Exception):
            registered_url(self._read_url, self._redactor)

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
            url = registered_url(self._read_url, self._redactor)
        except Exception as error:  # noqa: BLE001 - a foreign callable may raise anything
            return Unavailable(f"slack: the webhook URL cannot be read: {type(error).__name__}")
        if not url:
            return Rejected("slack: the webhook URL is not an http(s) URL with a host and a path")
        try:
            response = _Client(url, self._timeout_s).send(text=fallback_text(shown), blocks=blocks(shown))
        except (OSError, HTTPException) as error:  # URLError and time-outs are OSErrors
            return Unavailable(f"slack: {cause(error)}")
        except Exception as error:  # noqa: BLE001 - its text may contain the URL, so only its type is passed on
            return Rejected(f"slack: the request could not be made: {type(error).__name__}")
        return verdict("slack", response.status_code, response.body or "", response.headers)


class _Client(WebhookClient):
    """slack_sdk's client without its retries, logs, redirects and unbounded reads."""

    def __init__(self, url: str, timeout_s: float) -> None:
        super().__init__(url, timeout=math.ceil(timeout_s), logger=_SILENT, retry_handlers=[], user_agent_prefix="failoverctl")
        self._timeout_s = timeout_s

    def _perform_http_request_internal(self, url: str, req: urllib.request.Request) -> WebhookResponse:
        # The original follows redirects (a POST becomes a GET, whose 200 would count as delivered), ignores NO_PROXY and reads unbounded.
        status, body, headers = exchange(req, self._timeout_s)
        return WebhookResponse(url=url, status_code=status, body=body, headers=dict(headers))


def fallback_text(shown: View) -> str:
    """Plain text for notifications and clients that show no blocks."""
    return fit(plain(shown), MAX_FALLBACK)


def blocks(shown: View) -> list[dict[str, Any]]:
    """The message in Block Kit, within Slack's limits: Slack refuses a message that exceeds one."""
    header = {"type": "plain_text", "text": fit(shown.headline, MAX_HEADER), "emoji": False}
    made: list[dict[str, Any]] = [{"type": "header", "text": header}]
    made += [{"type": "section", "text": _labelled(label, text, MAX_SECTION)} for label, text in shown.points]
    if shown.runbook:
        made.append({"type": "section", "text": _runbook(shown.runbook)})
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


def _runbook(where: str) -> dict[str, Any]:
    """A link where the runbook is a URL. It comes from the configuration, never from what is observed."""
    escaped = fit(where, MAX_FIELD)
    text = f"<{escaped}|What to do>" if is_url(where) and "|" not in where else escaped
    return {"type": "mrkdwn", "text": f"*Runbook*\n{text}", "verbatim": True}


def _labelled(label: str, text: str, limit: int) -> dict[str, Any]:
    head = f"*{fit(label, MAX_HEADER)}*\n"
    # verbatim: Slack makes no links, mentions or channels of it.
    return {"type": "mrkdwn", "text": head + fit(text, limit - len(head)), "verbatim": True}
