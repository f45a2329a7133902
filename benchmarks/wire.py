"""Writes to the API server with little overhead, because the benchmark competes with the controller for the processor."""

from __future__ import annotations

import http.client
import ssl
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

import yaml

_TIMEOUT_S: Final = 30.0
_REFUSED: Final = 300


class Refused(Exception):
    """The API server did not accept a request."""


class Wire:
    """A connection; not thread-safe.

    Args:
        kubeconfig: Kubeconfig of a test control plane: one cluster, one user with a token.
    """

    def __init__(self, kubeconfig: Path) -> None:
        loaded = yaml.safe_load(kubeconfig.read_text())
        cluster, user = loaded["clusters"][0]["cluster"], loaded["users"][0]["user"]
        url = urlsplit(cluster["server"])
        context = ssl.create_default_context(cafile=cluster["certificate-authority"])
        self._connection = http.client.HTTPSConnection(url.hostname or "", url.port, context=context, timeout=_TIMEOUT_S)
        self._authorization = f"Bearer {user['token']}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def send(self, method: str, path: str, body: str, content_type: str) -> None:
        """Sends a request and ignores the body of its answer.

        Raises:
            Refused: The status is an error.
            OSError: The connection broke; the next request opens a new one.
            http.client.HTTPException: The same.
        """
        headers = {"Authorization": self._authorization, "Content-Type": content_type, "Accept": "application/json"}
        try:
            self._connection.request(method, path, body.encode(), headers)
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise
        if answer.status >= _REFUSED:
            raise Refused(f"{method} {path}: {answer.status} {content[:300].decode(errors='replace')}")
