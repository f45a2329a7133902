"""Slack through an incoming webhook: messages without threads, because the answer of a webhook names no message to reply to.

The webhook URL is a password: anyone who has it can post. So this module raises outside of the handler, where no chained exception can
print the URL.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from http.client import HTTPException

from pydantic import SecretStr

from controller.errors import Rejected, RemoteError, Unavailable
from controller.notifiers.endpoint import cause, post, registered_url, url_reader, verdict
from controller.notifiers.redact import DEFAULT, MASK, Redactor
from controller.notifiers.render import view
from controller.notifiers.slack_blocks import blocks, fallback_text
from controller.ports import Message


class SlackNotifier:
    """Posts messages to one Slack channel.

    Args:
        webhook_url: The URL, or a function that reads it anew for each message, so that it can be rotated without a restart; see
            `file_reader`.
        timeout_s: Time-out for connecting, sending and each receive, seconds.
        redactor: Where the URL is registered, so that it is masked in every other text.
    """

    takes_digests = True

    def __init__(self, webhook_url: str | SecretStr | Callable[[], str], timeout_s: float = 3.0, *, redactor: Redactor = DEFAULT) -> None:
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
        shown = view(message)
        outcome = self._post(json.dumps({"text": fallback_text(shown), "blocks": blocks(shown)}).encode())
        if outcome is not None:
            raise outcome  # outside of any except block: a chained exception would carry the URL

    def _post(self, body: bytes) -> RemoteError | None:
        try:
            url = registered_url(self._read_url, self._redactor)
        except Exception as error:  # noqa: BLE001 - a foreign callable may raise anything
            return Unavailable(f"slack: the webhook URL cannot be read: {type(error).__name__}")
        if not url:
            return Rejected("slack: the webhook URL is not an http(s) URL with a host and a path")
        headers = {"Content-Type": "application/json;charset=utf-8"}
        try:
            return verdict("slack", *post(url, body, headers, self._timeout_s))
        except (OSError, HTTPException) as error:  # URLError and time-outs are OSErrors
            return Unavailable(f"slack: {cause(error)}")
