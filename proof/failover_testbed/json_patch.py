"""JSON patch (RFC 6902), as far as the emulated API and the simulation take it, with what the real server's library accepts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

SUPPORTED: Final = ("add", "remove", "replace", "test")


class DoesNotFitError(Exception):
    """An operation does not fit the document."""


def keys(pointer: str) -> list[str]:
    """The keys of a JSON pointer."""
    return [key.replace("~1", "/").replace("~0", "~") for key in pointer.split("/")[1:]]


def carry_out(document: dict[str, Any], operations: Iterable[Mapping[str, Any]]) -> None:
    """Applies operations to a document in place.

    Raises:
        DoesNotFitError: Any operation does not fit, a failed ``test`` included; the document is then half changed.
    """
    for operation in operations:
        _apply(document, operation)


def _apply(document: dict[str, Any], operation: Mapping[str, Any]) -> None:
    op, pointer = operation.get("op"), operation.get("path")
    if op not in SUPPORTED or not isinstance(pointer, str) or not pointer.startswith("/"):
        raise DoesNotFitError(f"bad operation {operation}")
    if op in ("add", "replace") and "value" not in operation:
        raise DoesNotFitError("value is missing")
    path = keys(pointer)
    parent: object = document
    for key in path[:-1]:
        parent = _child(parent, key)
    if op == "test":
        _test(parent, path[-1], operation.get("value"))
    elif op == "remove":
        _remove(parent, path[-1])
    else:
        _put(parent, path[-1], operation["value"], insert=op == "add")


def _child(parent: object, key: str) -> object:
    if isinstance(parent, dict) and key in parent:
        return parent[key]
    if isinstance(parent, list):
        return parent[_index(parent, key, len(parent) - 1)]
    raise DoesNotFitError(f"{key!r} does not exist")


def _index(items: Sequence[object], key: str, last: int) -> int:
    if not key.isascii() or not key.isdecimal() or int(key) > last:
        raise DoesNotFitError(f"index {key!r} is out of range of {len(items)} items")
    return int(key)


def _test(parent: object, key: str, expected: object) -> None:
    try:
        found = _child(parent, key)
    except DoesNotFitError:
        if isinstance(parent, dict) and expected is None:
            return  # the real server's library reads an absent field as null
        raise
    if not _equal(found, expected):
        raise DoesNotFitError(f"{key!r} is not as expected")


def _equal(left: object, right: object) -> bool:
    # True == 1 in Python, not in JSON.
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


def _remove(parent: object, key: str) -> None:
    if isinstance(parent, dict) and key in parent:
        del parent[key]
    elif isinstance(parent, list):
        del parent[_index(parent, key, len(parent) - 1)]
    else:
        raise DoesNotFitError(f"{key!r} does not exist")


def _put(parent: object, key: str, value: object, *, insert: bool) -> None:
    if isinstance(parent, dict):
        parent[key] = value  # also `replace` of an absent key: the real server's library does not check
    elif isinstance(parent, list):
        if insert:
            parent.insert(len(parent) if key == "-" else _index(parent, key, len(parent)), value)
        else:
            parent[_index(parent, key, len(parent) - 1)] = value
    else:
        raise DoesNotFitError(f"{key!r} has no place")
