"""Slack through an incoming webhook: messages without threads, because the answer of a webhook names no message to reply to.

The webhook URL is a password: anyone who has it can post.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from pydantic import SecretStr

from controller.errors import RemoteError
from controller.notifiers.endpoint import NO_URL, Secret, exchange, is_url, url_reader
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

    name = "slack"
    takes_digests = True

    def __init__(self, webhook_url: str | SecretStr | Callable[[], str], timeout_s: float = 3.0, *, redactor: Redactor = DEFAULT) -> None:
        self._url = Secret(url_reader(webhook_url), is_url, NO_URL, redactor)
        self._timeout_s = timeout_s

    def __repr__(self) -> str:
        return f"SlackNotifier(webhook_url={MASK}, timeout_s={self._timeout_s})"

    def send(self, message: Message) -> None:
        """Posts one message.

        Raises:
            Unavailable: No usable answer, 408, 429 or 5xx, or the URL could not be read.
            Forbidden: 401 or 403, e.g. ``action_prohibited``.
            Rejected: Any other answer, e.g. 400 ``invalid_payload``, 404 ``no_service``; or the configured text is not a URL.
        """
        shown = view(message)
        body = json.dumps({"text": fallback_text(shown), "blocks": blocks(shown)}).encode()
        headers = {"Content-Type": "application/json;charset=utf-8"}
        outcome = exchange(self.name, self._url, lambda url: (url, headers), body, self._timeout_s)
        if isinstance(outcome, RemoteError):
            raise outcome
