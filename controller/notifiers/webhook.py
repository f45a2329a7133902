"""A generic webhook: one POST of JSON for each message, to any receiver.

The URL is taken for a secret, as Slack's is: many receivers know their senders by it alone.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Final

from pydantic import SecretStr

from controller.errors import RemoteError
from controller.notifiers.document import message_document
from controller.notifiers.endpoint import NO_URL, Secret, exchange, is_url, url_reader
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
        self._url = Secret(url_reader(url), is_url, NO_URL, redactor)
        self._key = None if key is None else Secret(key, lambda _: True, "", redactor)  # a short key cannot be registered
        self._timeout_s = timeout_s

    def __repr__(self) -> str:
        return f"WebhookNotifier(url={MASK}, timeout_s={self._timeout_s})"

    name = "webhook"
    takes_digests = False
    """A receiver opens and closes incidents, each of one application."""

    def send(self, message: Message) -> None:
        """Posts one message.

        Raises:
            Unavailable: No usable answer, 408, 429 or 5xx, or URL or key could not be read.
            Forbidden: 401 or 403.
            Rejected: Any other answer than 2xx, or the configured text is not a URL.
        """
        body = json.dumps(message_document(message), sort_keys=True).encode()

        def signed(url: str) -> tuple[str, dict[str, str]]:
            headers = {"Content-Type": "application/json"}
            if self._key is not None:
                headers[SIGNATURE] = f"sha256={hmac.new(self._key().encode(), body, hashlib.sha256).hexdigest()}"
            return url, headers

        outcome = exchange(self.name, self._url, signed, body, self._timeout_s)
        if isinstance(outcome, RemoteError):
            raise outcome
