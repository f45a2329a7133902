"""What recorded requests write, whichever version recorded them.

Versions differ in how they write to a ScaledObject: as a server-side apply or a JSON patch, and under which conditions. A recording must
not differ from a replay in every floor and target because of that.
"""

from __future__ import annotations

import json
from typing import Any

from controller.policy.model import Action, ActionKind
from controller.recording.lines import Request


def written(request: Request | Action) -> str:
    """What a request writes, as text: the whole body of a routing action, and field and value of a floor or target.

    Args:
        request: A recorded request, or an action of a replay.
    """
    if request.kind == ActionKind.ROUTE:
        return request.body
    try:
        return json.dumps(_fields(json.loads(request.body)), separators=(",", ":"))
    except (ValueError, TypeError, KeyError, RecursionError):
        return request.body  # not from a version that we know


def identity(request: Request | Action) -> tuple[str, str, str, str]:
    """What makes two requests the same: kind, object, and what they write; argument as that of `written`."""
    return str(request.kind), request.namespace, request.name, written(request)


def _fields(body: Any) -> dict[str, object]:  # noqa: ANN401 - any JSON
    if isinstance(body, dict):
        return {"/spec/minReplicaCount": body["spec"]["minReplicaCount"]}
    return {operation["path"]: operation["value"] for operation in body if operation["op"] != "test"}
