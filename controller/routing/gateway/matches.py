"""The conditions that the load-balancer controller makes of a route's matches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from controller.objects import entries, text
from controller.routing.conditions import Condition, path_patterns

_ANY: Final = frozenset({"/*"})
_REGEX: Final = "RegularExpression"


def http(match: Mapping[str, Any]) -> Iterator[Condition]:
    """Those of an entry of ``matches`` of an HTTPRoute."""
    path, kind = text(match, "path", "value"), text(match, "path", "type").removeprefix("Path") or "Prefix"
    if match.get("path"):
        yield "path-pattern", frozenset({f"regex:{path}"}) if kind == _REGEX else path_patterns(path, kind, regex=False)
    yield from _headers(match)
    yield from (("query-string", frozenset({f"{text(one, 'name')}={text(one, 'value')}"})) for one in entries(match, "queryParams"))
    if method := text(match, "method"):
        yield "http-request-method", frozenset({method})


def grpc(match: Mapping[str, Any]) -> Iterator[Condition]:
    """Those of an entry of ``matches`` of a GRPCRoute: a method is a path."""
    service, method = text(match, "method", "service"), text(match, "method", "method")
    yield "path-pattern", frozenset({f"/{service or '*'}/{method or '*'}"}) if service or method else _ANY
    yield from _headers(match)


def _headers(match: Mapping[str, Any]) -> Iterator[Condition]:
    for one in entries(match, "headers"):
        value = text(one, "value")
        values = {f"regex:{value}"} if text(one, "type") == _REGEX else set(_listed(value))
        yield f"http-header:{text(one, 'name').lower()}", frozenset(values)


def _listed(value: str) -> Iterator[str]:
    """The values of a header match: an unescaped comma separates them, a backslash escapes what follows it."""
    found, escaped = "", False
    for character in value:
        if escaped or character not in "\\,":
            found, escaped = found + character, False
        elif character == "\\":
            escaped = True
        else:
            yield found
            found = ""
    yield found + ("\\" if escaped else "")
