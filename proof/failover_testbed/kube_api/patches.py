"""JSON patch (RFC 6902) and JSON merge patch (RFC 7386), with the real server's answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from failover_testbed.json_patch import SUPPORTED, DoesNotFitError, carry_out
from failover_testbed.kube_api import statuses

MAX_OPERATIONS = 10_000


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
            raise statuses.unsupported(f"the JSON patch operation {operation['op']!r} (only {', '.join(SUPPORTED)})")
    return operations


def json_patch(document: dict[str, Any], operations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Applies a JSON patch to `document` in place.

    Raises:
        ApiError: 422 if any operation does not fit, a failed ``test`` included; the document is then half changed.
    """
    try:
        carry_out(document, operations)
    except DoesNotFitError as error:
        raise statuses.unprocessable_patch() from error
    return document
