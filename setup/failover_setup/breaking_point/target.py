"""The request to send: URL, method, headers and body. Parts that may be secret are never shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from controller.errors import ConfigError
from controller.notifiers.redact import DEFAULT, MIN_SECRET

_METHOD: Final = re.compile(r"[A-Z]{3,20}")
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")  # a token of RFC 9110
_BODY_LIMIT: Final = 16 * 1024 * 1024
_HEADERS_LIMIT: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """The request that is sent repeatedly.

    Attributes:
        url: Its URL.
        method: HTTP method.
        headers: Headers by name.
        body: Body, empty if there is none.
    """

    url: str = field(repr=False)
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)

    @property
    def host(self) -> str:
        """The host of the URL, without the port."""
        return urlsplit(self.url).hostname or ""

    @property
    def shown(self) -> str:
        """Method and URL for people: without user information and query, which may hold secrets."""
        parts = urlsplit(self.url)
        address = parts.netloc.rpartition("@")[2]
        return f"{self.method} {parts.scheme}://{address}{parts.path}{'?…' if parts.query else ''}"


def make_target(url: str, method: str, headers: Iterable[str], body: Path | None) -> Target:
    """Checks a person's input, and registers its secrets with the process-wide redactor.

    Args:
        url: An http or https URL.
        method: HTTP method; "": POST if there is a body, else GET.
        headers: ``NAME: VALUE`` each, or ``@FILE`` with one header per line.
        body: File with the body; None: no body.

    Raises:
        ConfigError: An input is invalid. The error does not repeat its value.
    """
    wrong = ConfigError("--url: found something else; allowed: an http:// or https:// URL")
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0 and url.isprintable() and " " not in url
    except ValueError:
        raise wrong from None
    if not good:
        raise wrong
    if parts.query or parts.username:
        _keep_secret(url)
        _keep_secret(parts.query)
    method = method.upper() or ("POST" if body is not None else "GET")
    if not _METHOD.fullmatch(method):
        raise ConfigError("--method: found something else; allowed: an HTTP method such as POST")
    return Target(url, method, dict(_headers(headers)), _read(body, "--body", _BODY_LIMIT) if body is not None else b"")


def _headers(given: Iterable[str]) -> Iterable[tuple[str, str]]:
    for text in given:
        if not text.startswith("@"):
            yield _header(text)
            continue
        try:
            lines = _read(Path(text[1:]), "--header", _HEADERS_LIMIT).decode().splitlines()
        except UnicodeDecodeError:
            raise ConfigError("--header: the file is not UTF-8") from None
        yield from (_header(line) for line in lines if line.strip() and not line.startswith("#"))


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    value = value.strip()
    if not colon or not _HEADER_NAME.fullmatch(name.strip()) or not value.isprintable():
        raise ConfigError("--header: found something else; allowed: NAME: VALUE, or @FILE with one header per line")
    _keep_secret(value)
    return name.strip(), value


def _keep_secret(text: str) -> None:
    if len(text) >= MIN_SECRET:
        DEFAULT.register(text)


def _read(path: Path, option: str, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise ConfigError(f"{option}: {path}: cannot be read: {reason}") from error
    if len(content) > limit:
        raise ConfigError(f"{option}: {path}: more than {limit} bytes; allowed: at most that many")
    return content
