"""An HTTP endpoint whose URL is a secret: one bounded POST, and errors whose texts never contain the URL."""

from __future__ import annotations

import re
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from controller import __version__
from controller.clients.deadline import Deadline, DeadlineError
from controller.errors import Forbidden, Rejected, RemoteError, Unavailable
from controller.notifiers.redact import Redactor

_MAX_REPLY: Final = 1024  # bytes of an answer that are read unless the caller needs more
_PIECE: Final = 16_384
_MAX_URL_FILE: Final = 4096
_AGENT: Final = f"failoverctl/{__version__}"
NO_URL: Final = "the webhook URL is not an http(s) URL with a host and a path"
_CODE: Final = re.compile(r"[a-z][a-z0-9_]{1,40}")


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
        """See the base class: None makes the redirect an error."""
        return None


def post(
    url: str, body: bytes, headers: Mapping[str, str], timeout_s: float, most_bytes: int = _MAX_REPLY
) -> tuple[int, str, Mapping[str, str]]:
    """Sends one request, without retries and redirects.

    Args:
        url: Where to.
        body: What to send.
        headers: Of the request, besides ``User-Agent``.
        timeout_s: For all of it, seconds. An answer whose head has come is one: it says whether the message was taken.
        most_bytes: How much of the answer is read.

    Returns:
        Status, the beginning of the answer, and its headers.

    Raises:
        OSError: There was no answer.
        HTTPException: There was no usable answer.
    """
    request = urllib.request.Request(url, data=body, headers={"User-Agent": _AGENT, **headers}, method="POST")  # noqa: S310 - is_url allows http(s) alone
    answer: HTTPResponse | urllib.error.HTTPError | None = None
    begun = bytearray()
    try:
        with Deadline(timeout_s) as deadline:
            try:
                answering = urllib.request.build_opener(_NoRedirects).open(request, timeout=timeout_s)
            except urllib.error.HTTPError as error:
                answering = error
            with answering:
                deadline.require()  # a head that was cut off reads like a whole one
                answer = answering
                while len(begun) < most_bytes and (piece := answering.read1(min(_PIECE, most_bytes - len(begun)))):
                    begun += piece
    except DeadlineError:
        if answer is None:
            raise
    assert answer is not None  # noqa: S101 - else an error was raised
    return answer.status or 0, begun.decode(errors="replace"), dict(answer.headers.items())


def file_reader(path: Path) -> Callable[[], str]:
    """Returns a function that reads a URL or a key from a file, e.g. of a mounted Secret, at each call."""

    def read() -> str:
        with path.open(encoding="utf-8") as file:
            return file.read(_MAX_URL_FILE)

    return read


def url_reader(webhook_url: str | SecretStr | Callable[[], str]) -> Callable[[], str]:
    """A function that returns the URL at each call."""
    if isinstance(webhook_url, SecretStr):
        return webhook_url.get_secret_value
    if isinstance(webhook_url, str):
        return lambda: webhook_url
    return webhook_url


def is_url(text: str) -> bool:
    """Whether a text is an http(s) URL with a host and a path."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and len(parts.path) > 1
    except ValueError:
        return False
    return bool(usable) and text.isascii() and text.isprintable() and " " not in text


class Secret:
    """A URL, a token or a key, read anew for each message, so that it can be rotated without a restart.

    Args:
        read: Reads it.
        usable: Whether a text is one.
        wrong: What is wrong with any other text.
        redactor: Where it is registered, so that it is masked in every other text.
    """

    def __init__(self, read: Callable[[], str], usable: Callable[[str], bool], wrong: str, redactor: Redactor) -> None:
        self.wrong = wrong
        self._read, self._usable, self._redactor = read, usable, redactor
        # Now: the first message is redacted before it arrives at the sink. A mounted file may still be missing.
        with suppress(Exception):
            self()

    def __call__(self) -> str:
        """The secret; "" if the text is none."""
        text = self._read().strip()
        if not self._usable(text):
            return ""
        self._redactor.register(text)
        return text


def exchange(
    sink: str,
    secret: Secret,
    request: Callable[[str], tuple[str, Mapping[str, str]]],
    body: bytes,
    timeout_s: float,
    most_bytes: int = _MAX_REPLY,
) -> str | RemoteError:
    """Sends one request with a secret.

    Args:
        sink: Who sends, for errors.
        secret: What to send it with.
        request: Makes URL and headers from the secret.
        body: See `post`.
        timeout_s: See `post`.
        most_bytes: See `post`.

    Returns:
        The beginning of the answer; or why the message was not taken. The caller raises that: an error that is raised here would carry the
        secret in its frames, and a chained one the URL.
    """
    try:
        text = secret()
        if not text:
            return Rejected(f"{sink}: {secret.wrong}")
        url, headers = request(text)
    except Exception as error:  # noqa: BLE001 - a foreign callable may raise anything
        return Unavailable(f"{sink}: its webhook URL, token or key cannot be read: {type(error).__name__}")
    try:
        status, answer, answered = post(url, body, headers, timeout_s, most_bytes)
    except (OSError, HTTPException) as error:  # URLError and time-outs are OSErrors
        return Unavailable(f"{sink}: {cause(error)}")
    return _verdict(sink, status, answer, answered) or answer


def cause(error: OSError | HTTPException) -> str:
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


def _verdict(sink: str, status: int, body: str, headers: Mapping[str, Any]) -> RemoteError | None:
    """The error that an answer stands for; None where it accepted the message. Its text is passed on only if it is a code."""
    if 200 <= status < 300:  # noqa: PLR2004
        return None
    code = error_code(body)
    text = f"{sink}: {status} {code}".rstrip()
    if status in {408, 429} or status >= 500:  # noqa: PLR2004
        return Unavailable(text, status=status, code=code, retry_after_s=_retry_after(headers))
    return (Forbidden if status in {401, 403} else Rejected)(text, status=status, code=code)


def error_code(text: str) -> str:
    """The text if it is an error's code, else "": anything else may be a foreign page that repeats a URL."""
    return text.strip() if _CODE.fullmatch(text.strip()) else ""


def _retry_after(headers: Mapping[str, Any]) -> float | None:
    """The seconds of ``Retry-After``. Whole seconds; a date, which HTTP also allows, is ignored."""
    for name, value in headers.items():
        if name.lower() == "retry-after" and str(value).strip().isdecimal():
            return float(str(value).strip()[:9])
    return None
