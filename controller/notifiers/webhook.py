"""A generic webhook: one POST of JSON for each message, to any receiver.

The URL is taken for a secret, as Slack's is: many receivers know their senders by it alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
from collections.abc import Callable
from http.client import HTTPException
from typing import Final

from pydantic import SecretStr

from controller.errors import Rejected, RemoteError, Unavailable
from controller.notifiers.document import message_document
from controller.notifiers.endpoint import cause, post, registered_url, url_reader, verdict
from controller.notifiers.redact import DEFAULT, MASK, Redactor
from controller.ports import Message

SIGNATURE: Final = "X-Failoverctl-Signature"
"""``sha256=`` and the HMAC of the body with the shared key, in hexadecimal: as GitHub's webhooks do it."""


class WebhookNotifier:
    """Posts messages to one URL.

    Args:
        url: The URL, or a function that reads it anew for each message.
        timeout_s: Time-out for connecting, sending and each receive, seconds.
        key: Reads the key that signs each body; None: bodies are not signed.
        redactor: Where URL and key are registered, so that they are masked in every other text.
    """

    def __init__(
        self,
        url: str | SecretStr | Callable[[], str],
        timeout_s: float = 3.0,
        *,
        key: Callable[[], str] | None = None,
        redactor: Redactor = DEFAULT,
    ) -> None:
        self._read_url, self._read_key, self._timeout_s, self._redactor = url_reader(url), key, timeout_s, redactor
        with contextlib.suppress(Exception):  # a mounted file may still be missing
            registered_url(self._read_url, redactor)

    def __repr__(self) -> str:
        return f"WebhookNotifier(url={MASK}, timeout_s={self._timeout_s})"

    takes_digests = False
    """A receiver opens and closes incidents, each of one application."""

    @property
    def name(self) -> str:
        """See `Notifier.name`."""
        return "webhook"

    def send(self, message: Message) -> None:
        """Posts one message.

        Raises:
            Unavailable: No usable answer, 408, 429 or 5xx, or URL or key could not be read.
            Forbidden: 401 or 403.
            Rejected: Any other answer than 2xx, or the configured text is not a URL.
        """
        outcome = self._post(json.dumps(message_document(message), sort_keys=True).encode())
        if outcome is not None:
            raise outcome  # outside of any except block: a chained exception would carry the URL

    def _post(self, body: bytes) -> RemoteError | None:
        headers = {"Content-Type": "application/json"}
        try:
            url = registered_url(self._read_url, self._redactor)
            if self._read_key is not None:
                digest = hmac.new(self._registered(self._read_key).encode(), body, hashlib.sha256).hexdigest()
                headers[SIGNATURE] = f"sha256={digest}"
        except Exception as error:  # noqa: BLE001 - a foreign callable may raise anything
            return Unavailable(f"webhook: its URL or key cannot be read: {type(error).__name__}")
        if not url:
            return Rejected("webhook: the URL is not an http(s) URL with a host and a path")
        try:
            return verdict("webhook", *post(url, body, headers, self._timeout_s))
        except (OSError, HTTPException) as error:  # URLError and time-outs are OSErrors
            return Unavailable(f"webhook: {cause(error)}")

    def _registered(self, read: Callable[[], str]) -> str:
        value = read().strip()
        self._redactor.register(value)
        return value
