"""The bodies of recorded requests, as this version would write them.

Floors were server-side applies until the floor and the target of a ScaledObject went out in one request. A recording of that time must not
differ from a replay in every floor.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from controller.policy.model import ActionKind
from controller.recording.lines import Request

_FLOORS = frozenset({str(ActionKind.RAISE_FLOOR), str(ActionKind.LOWER_FLOOR)})


def present_body(request: Request) -> str:
    """The body of a request; that of a floor that was applied as the JSON patch that writes the same under the same conditions.

    Args:
        request: A recorded request, or one of a replay.
    """
    applied = _applied(request.body) if request.kind in _FLOORS else None
    if applied is None:
        return request.body
    metadata, floor = applied
    tests = [
        {"op": "test", "path": f"/metadata/{field}", "value": metadata[field]} for field in ("uid", "resourceVersion") if field in metadata
    ]
    return json.dumps([*tests, {"op": "add", "path": "/spec/minReplicaCount", "value": floor}], separators=(",", ":"))


def _applied(body: str) -> tuple[Mapping[str, object], object] | None:
    """Metadata and floor of a server-side apply; None if the body is none."""
    try:
        read = json.loads(body)
        return dict(read["metadata"]), read["spec"]["minReplicaCount"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
