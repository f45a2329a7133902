"""JSON patch (RFC 6902) and JSON merge patch (RFC 7386), with the real server's answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from failover_testbed.kube_api import statuses

MAX_OPERATIONS = 10_000
_SUPPORTED = ("add", "remove", "replace", "test")


class _DoesNotFit(Exception):
    """An operation does not fit the document."""


def merge_patch(target: object, patch: object) -> object:
    """The result of a JSON merge patch; null removes."""
    if not isinstance(patch, Mapping):
        return patch
    merged: dict[str, Any] = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def decode_json_patch(body: bytes) -> list[dict[str, Any]]:
    """The operations of a JSON patch.

    Raises:
        ApiError: 400 if it is not a list of objects, 413 if there are more than the real server accepts, 501 for ``move`` and ``copy``.
    """
    try:
        operations = json.loads(body)
    except ValueError as error:
        raise statuses.bad_request(f"error decoding patch: {error}") from error
    if not isinstance(operations, list) or not all(isinstance(item, dict) for item in operations):
        raise statuses.bad_request("error decoding patch: a JSON patch is a list of operations")
    if len(operations) > MAX_OPERATIONS:
        message = f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}"
        raise statuses.failure(413, "RequestEntityTooLarge", message)
    for operation in operations:
        if operation.get("op") in ("move", "copy"):
            raise statuses.unsupported(f"the JSON patch operation {operation['op']!r} (only {', '.join(_SUPPORTED)})")
    return operations


def json_patch(document: dict[str, Any], operations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Applies a JSON patch to `document` in place.

    Raises:
        ApiError: 422 if any operation does not fit, a failed ``test`` included; the document is then half changed.
    """
    try:
        for operation in operations:
            _apply(document, operation)
    except _DoesNotFit as error:
        raise statuses.unprocessable_patch() from error
    return document


def _apply(document: dict[str, Any], operation: Mapping[str, Any]) -> None:
    op, pointer = operation.get("op"), operation.get("path")
    if op not in _SUPPORTED or not isinstance(pointer, str) or not pointer.startswith("/"):
        raise _DoesNotFit(f"bad operation {operation}")
    if op in ("add", "replace") and "value" not in operation:
        raise _DoesNotFit("value is missing")
    keys = [key.replace("~1", "/").replace("~0", "~") for key in pointer[1:].split("/")]
    parent: object = document
    for key in keys[:-1]:
        parent = _child(parent, key)
    if op == "test":
        _test(parent, keys[-1], operation.get("value"))
    elif op == "remove":
        _remove(parent, keys[-1])
    else:
        _put(parent, keys[-1], operation["value"], insert=op == "add")


def _child(parent: object, key: str) -> object:
    if isinstance(parent, dict) and key in parent:
        return parent[key]
    if isinstance(parent, list):
        return parent[_index(parent, key, len(parent) - 1)]
    raise _DoesNotFit(f"{key!r} does not exist")


def _index(items: Sequence[object], key: str, last: int) -> int:
    if not key.isascii() or not key.isdecimal() or int(key) > last:
        raise _DoesNotFit(f"index {key!r} is out of range of {len(items)} items")
    return int(key)


def _test(parent: object, key: str, expected: object) -> None:
    try:
        found = _child(parent, key)
    except _DoesNotFit:
        if isinstance(parent, dict) and expected is None:
            return  # the real server's library reads an absent field as null
        raise
    if not _equal(found, expected):
        raise _DoesNotFit(f"{key!r} is not as expected")


def _equal(left: object, right: object) -> bool:
    # True == 1 in Python, not in JSON.
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


def _remove(parent: object, key: str) -> None:
    if isinstance(parent, dict) and key in parent:
        del parent[key]
    elif isinstance(parent, list):
        del parent[_index(parent, key, len(parent) - 1)]
    else:
        raise _DoesNotFit(f"{key!r} does not exist")


def _put(parent: object, key: str, value: object, *, insert: bool) -> None:
    if isinstance(parent, dict):
        parent[key] = value  # also `replace` of an absent key: the real server's library does not check
    elif isinstance(parent, list):
        if insert:
            parent.insert(len(parent) if key == "-" else _index(parent, key, len(parent)), value)
        else:
            parent[_index(parent, key, len(parent) - 1)] = value
    else:
        raise _DoesNotFit(f"{key!r} has no place")
