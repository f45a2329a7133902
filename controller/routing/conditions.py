"""The conditions of a listener rule, parsed the same way from a routing object and from ELBv2."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from controller.objects import entries, items, mapping, text

Condition = tuple[str, frozenset[str]]
"""One condition of a rule: its field (for a header, with its name) and the values, one of which must match."""

_MAX_DEPTH: Final = 8  # of a condition's JSON: anybody may write the annotation
_CONFIG_KEYS: Final = {
    "host-header": "hostheaderconfig",
    "path-pattern": "pathpatternconfig",
    "http-header": "httpheaderconfig",
    "query-string": "querystringconfig",
    "http-request-method": "httprequestmethodconfig",
    "source-ip": "sourceipconfig",
}


def conditions_of(listed: object) -> list[Condition]:
    """Reads the conditions of one rule.

    Args:
        listed: A list of conditions with the keys of ELBv2 or of the annotation, which differ only in case.

    Returns:
        The readable ones in order. Anything else is left out.
    """
    return [found for entry in entries(listed) if (found := _condition(_lower_keys(entry)))]


def merged(conditions: Iterable[Condition]) -> frozenset[Condition]:
    """Makes a set of conditions. Several host or path conditions become one with all values, as in the load-balancer controller."""
    together: dict[str, frozenset[str]] = {}
    single: set[Condition] = set()
    for name, values in conditions:
        if name in {"host-header", "path-pattern"}:
            together[name] = together.get(name, frozenset()) | values
        else:
            single.add((name, values))
    return frozenset(single | {(name, values) for name, values in together.items() if values})


def path_patterns(path: str, kind: str, *, regex: bool) -> frozenset[str]:
    """The patterns that the load-balancer controller makes of a path.

    Args:
        path: The path; "" makes no pattern.
        kind: Its ``pathType``.
        regex: Whether ``use-regex-path-match`` is set, which affects ``ImplementationSpecific`` paths.
    """
    if not path:
        return frozenset()
    if kind == "Prefix":
        base = path.removesuffix("/")
        return frozenset({base, f"{base}/*"}) if base else frozenset({"/*"})
    if kind != "Exact" and regex:
        return frozenset({f"regex:{path[1:]}"})  # the controller strips the leading slash that Kubernetes requires
    return frozenset({path})


def covers_host(pattern: str, host: str) -> bool:
    """Whether a rule for one host gets every request of another, as the load balancer compares them.

    It ignores case, and ``*`` stands for any characters, dots among them: ``*.example.com`` gets the requests of ``a.b.example.com``, and
    not those of ``example.com``.

    Args:
        pattern: A host as a routing object has it, a name or ``*.`` and a name; "" for any.
        host: The same, or the host of a request.
    """
    wide, narrow = pattern.lower(), host.lower()
    return wide in {"", narrow} or (wide.startswith("*.") and narrow.endswith(wide[1:]))


def json_of(value: object) -> object:
    """The parsed JSON of an annotation; None if it is absent or unreadable."""
    try:
        return json.loads(text(value))
    except (ValueError, RecursionError):
        return None


def _condition(condition: Mapping[str, Any]) -> Condition | None:
    """One condition with its keys in lower case; None if it is unreadable."""
    name = text(condition, "field").lower()
    config = mapping(condition, _CONFIG_KEYS.get(name, ""))
    values: set[str] = set()
    for value in items(config, "values") or items(condition, "values"):
        if isinstance(value, dict):
            value = f"{value.get('key', '')}={value.get('value', '')}"  # noqa: PLW2901 - a query string's pair
        values.add(str(value).lower() if name == "host-header" else str(value))
    values.update(f"regex:{value}" for value in items(config, "regexvalues") or items(condition, "regexvalues"))
    if name == "http-header":
        name = f"{name}:{text(config, 'httpheadername').lower()}"
    return (name, frozenset(values)) if name and values else None


def _lower_keys(value: object) -> Mapping[str, Any]:
    """A copy with all keys in lower case, at every depth, because Go ignores their case."""
    return mapping(_lowered(value, _MAX_DEPTH))


def _lowered(value: object, depth: int) -> object:
    if depth <= 0:
        return None
    if isinstance(value, dict):
        return {str(key).lower(): _lowered(entry, depth - 1) for key, entry in value.items()}
    return [_lowered(entry, depth - 1) for entry in value] if isinstance(value, list) else value
