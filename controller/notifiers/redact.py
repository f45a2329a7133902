"""Keeps secrets out of every text that leaves the process: logs, health, messages.

Two methods complement each other. *Registered* secrets are known exactly (the configured webhook URL) and are found anywhere in a text.
*Patterns* catch secrets that were never registered (an AWS key id in an error text, a token in a header).
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlsplit

import structlog

MASK: Final = "***"
MIN_SECRET: Final = 6  # shorter ones occur in ordinary words, and the mask must be shorter than what it replaces

_MIN_TOKEN: Final = 16  # a last path segment as long as this is a token; a shorter one may be the word "webhook"
_MAX_DEPTH: Final = 12
_MASKED_KEYS: Final = frozenset({
    "authorization", "password", "token", "access_token", "api_key", "x-api-key", "webhook_url", "slack_webhook_url",
    "aws_secret_access_key", "aws_session_token",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A kind of secret.

    Attributes:
        words: Texts of which a match has at least one, as `_folded` has them. Most texts have none, and finding that out is a hundred times
            faster than the search.
        search: Its group is kept; the rest of the match is masked. Case does not count.
    """

    words: tuple[str, ...]
    search: re.Pattern[str]


# Every search is linear in the text: no nested or overlapping repetition, and no run of characters is searched from each of its places.
_PATTERNS: Final = tuple(
    _Pattern(tuple(words.split()), re.compile(search, re.IGNORECASE))
    for words, search in (
        ("hooks.slack", r"(hooks\.slack(?:-gov)?\.com(?::\d+)?(?:/|%2F))[^\s\"'<>\\]+"),
        ("/services/ /workflows/ /triggers/", r"(/(?:services|workflows|triggers)/)T[A-Z0-9]+/[A-Z0-9]+/[A-Z0-9/]+"),
        ("xox", r"()\bxox[a-z]-[A-Z0-9-]{8,}"),
        ("akia asia", r"()\b(?:AKIA|ASIA)[A-Z0-9]{12,}"),
        ("secret session", r"((?:aws_?)?(?:secret_?access_?key|session_?token)[\"']?\s*[:=]\s*[\"']?)[A-Z0-9/+=]{8,}"),
        ("x-amz-", r"(X-Amz-(?:Signature|Credential|Security-Token)=)[^&\s\"']+"),
        ("authorization", r"(\bauthorization[\"']?\s*[:=]\s*[\"']?(?:(?:bearer|basic|token|digest|negotiate|apikey|key)\s+)?)[^\s\"',]+"),
        ("signature=", r"(\bsignature=)[A-F0-9]{16,}"),
        ("x-api-key", r"(\bx-api-key[\"']?\s*[:=]\s*[\"']?)[^\s\"',]+"),
        ("bearer", r"(\bbearer\s+)[A-Z0-9._~+/=-]{8,}"),
        ("k8s-aws-v1.", r"()\bk8s-aws-v1\.[A-Z0-9_-]{8,}"),
        # A JSON web token. It is searched from the start of a run alone: from each "eyJ" in it, 200 KiB of them take minutes.
        ("eyj", r"()(?<![A-Z0-9_-])(?=[A-Z0-9_-]*eyJ[A-Z0-9_-]{8})(?>[A-Z0-9_-]+)\.(?>[A-Z0-9_-]+)\.[A-Z0-9_-]+"),
        ("://", r"(://)[^/\s?#\"'<>]+(?=@)"),
        # A password with a slash, which no URL allows and many have. Its length is bounded: each "://" of a text begins a search.
        ("://", r"(://)[^/\s?#\"'<>:@]{0,128}:[^\s\"'<>@]{1,256}(?=@)"),
    )
)


class Redactor:
    """Replaces secrets by ``***``. Safe to share between threads.

    Args:
        secrets: Secrets to register at once, see `register`.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._secrets: tuple[str, ...] = ()  # every escaped form of every part, longest first
        for secret in secrets:
            self.register(secret)

    def __repr__(self) -> str:
        return f"Redactor({len(self._known)} secrets)"

    def register(self, secret: str) -> None:
        """Adds a secret in its plain form and as JSON, `repr` and URLs escape it. Of a URL it also adds the path, query and password alone.

        Old secrets stay registered: after a rotation a late error may still contain the old one.

        Args:
            secret: At least `MIN_SECRET` characters.

        Raises:
            ValueError: It is shorter. The error does not repeat it.
        """
        if len(secret) < MIN_SECRET:
            raise ValueError(f"a secret to redact must have at least {MIN_SECRET} characters")
        if secret in self._known:
            return
        forms = {form for part in (secret, *_url_parts(secret)) for form in _escaped_forms(part)}
        with self._lock:
            self._known.add(secret)
            # Longest first: masking a part first would leave the rest of the whole readable.
            self._secrets = tuple(sorted(forms.union(self._secrets), key=lambda form: (-len(form), form)))

    def __call__(self, text: str) -> str:
        """Returns the text with every registered secret and every match of a pattern masked."""
        # Exact secrets first: a pattern that matches only part of one would leave the rest. Again at the end: see `_exact`.
        text = self._exact(text)
        folded = _folded(text)
        for pattern in _PATTERNS:
            if any(word in folded for word in pattern.words):
                text = pattern.search.sub(rf"\g<1>{MASK}", text)
        return self._exact(text)

    def document(self, text: str) -> str:
        """Returns a JSON document with the secrets in its strings masked; the same text if there is nothing to mask.

        Searches the parsed strings, not the text: escaped quotes would hide a secret from a pattern, and masking could break the document.
        """
        value = json.loads(text)
        return text if self._clean(_strings(value)) else json.dumps(self._value(value, "", 0), ensure_ascii=False, separators=(",", ":"))

    def processor(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """A structlog processor: redacts names and values at any depth, exceptions included.

        It renders a pending ``exc_info`` itself, so it works anywhere in the chain before the renderer.
        """
        if event.get("exc_info"):
            event = structlog.processors.format_exc_info(_logger, _method, event)
        if all(map(_plain, event.values())) and self._clean(_strings(event)):
            return event
        cleaned = {self(str(name)): self._value(value, str(name), 0) for name, value in event.items()}
        event.clear()
        event.update(cleaned)
        return event

    def _clean(self, strings: Iterable[str]) -> bool:
        """Whether there is nothing to mask, in one search of all strings: it is cheap and nearly always finds nothing.

        What matches in one string matches in the joined text, too: the patterns depend on nothing before a match but a word boundary.
        """
        each = dict.fromkeys(strings)  # once: field names recur
        joined = "\n".join(each)
        return self(joined) == joined and _MASKED_KEYS.isdisjoint(map(str.lower, each))

    def _exact(self, text: str) -> str:
        # Until nothing changes: a replacement may join two pieces into another secret. Every replacement shortens the text, so this ends.
        while True:
            before = text
            for secret in self._secrets:
                text = text.replace(secret, MASK)
            if text == before:
                return text

    def _value(self, value: object, name: str, depth: int) -> object:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return MASK if name.lower() in _MASKED_KEYS else self(value)
        if depth < _MAX_DEPTH:
            if isinstance(value, Mapping):
                return {self(str(key)): self._value(item, str(key), depth + 1) for key, item in value.items()}
            if isinstance(value, list | tuple | set | frozenset):
                return [self._value(item, name, depth + 1) for item in value]
        return self._object(value)

    def _object(self, value: object) -> object:
        """Leaves an object to the renderer unless its printed form contains a secret."""
        try:
            texts = (repr(value), str(value))
        except Exception:  # noqa: BLE001 - a foreign __repr__ may raise anything
            return f"<{type(value).__name__}>"
        return value if all(self(text) == text for text in texts) else self(texts[0])


def _folded(text: str) -> str:
    """The text in lower case; letters that a search without regard to case takes for ASCII's are these (`re.IGNORECASE` names them)."""
    lower = text.lower()
    return lower if text.isascii() else lower.replace("\u0307", "").replace("\u0131", "i").replace("\u017f", "s")


def _plain(value: object) -> bool:
    """Whether the value is JSON of no other parts than `_strings` knows, one level deep."""
    return all(item is None or isinstance(item, str | bool | int | float) for item in (value if isinstance(value, list) else [value]))


def _strings(value: object) -> Iterator[str]:
    """Every string of a JSON document, names included."""
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping):
            left += [*item, *item.values()]
        elif isinstance(item, list):
            left += item


def _url_parts(text: str) -> list[str]:
    """The parts of a URL that are secret by themselves; [] for any other text."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return []
    if not parts.scheme or not parts.netloc:
        return []
    tail = parts.path + (f"?{parts.query}" if parts.query else "")
    last = parts.path.rsplit("/", 1)[-1]
    found = [tail, parts.path, parts.query, parts.password or "", last if len(last) >= _MIN_TOKEN else ""]
    return [part for part in found if len(part) >= MIN_SECRET]


def _escaped_forms(text: str) -> set[str]:
    """The text as it is, and as JSON, Python and URLs escape it."""
    return {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1], *_quoted(text)}


def _quoted(text: str) -> tuple[str, ...]:
    try:
        return quote(text), quote(text, safe="")
    except UnicodeEncodeError:  # a URL cannot contain a lone surrogate
        return ()


DEFAULT: Final = Redactor()
"""The process-wide redactor: sinks register their secrets with it; the log chain and the dispatcher redact with it."""


def redact(text: str) -> str:
    """Masks secrets with the process-wide `Redactor`."""
    return DEFAULT(text)


def redacting_processor(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """`Redactor.processor` of the process-wide `Redactor`."""
    return DEFAULT.processor(logger, method, event)
