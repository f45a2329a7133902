"""The API server's audit log of all requests. Tests compare the controller's permissions with it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

POLICY: Final[dict[str, Any]] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        # The control plane's own requests would fill the log.
        {"level": "None", "users": ["system:apiserver", "system:kube-controller-manager", "system:kube-scheduler", "admin"]},
        {"level": "Request"},
    ],
}
"""Audit policy: requests with bodies from all users except the control plane itself and the administrator."""


UNKNOWN: Final = 0
"""The code of a request whose client never got the answer."""

_ABORTED: Final = "Connection closed early"  # the API server logs these with code 200, whatever their result


@dataclass(frozen=True, slots=True)
class Entry:
    """One request.

    Attributes:
        user: The user; "" if the API server ended the request before authentication.
        verb: RBAC verb: get, list, watch, create, update, patch, delete.
        group: API group, "" for the core group.
        resource: Plural, with ``/subresource`` if there is one; the path for a request without a resource.
        namespace: "" for all namespaces or a cluster-scoped resource.
        name: The object's name, "" if the request has none.
        code: HTTP status, `UNKNOWN` if the connection closed before the answer.
        body: The request's body, None if it had none.
        at: When the server received it, RFC 3339.
        answered: When the server answered it (a watch: when it began), RFC 3339.
    """

    user: str
    verb: str
    group: str
    resource: str
    namespace: str
    name: str
    code: int
    body: Any
    at: str
    answered: str


def read(path: Path) -> list[Entry]:
    """Reads an audit log. A watch is logged at its beginning and end, and counts once.

    Args:
        path: The file of ``--audit-log-path``, one JSON object per line.
    """
    entries: dict[str, Entry] = {}
    for line in path.read_text().splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue  # the last line may be incomplete
        entries.setdefault(event["auditID"], _entry(event))
    return list(entries.values())


def _entry(event: dict[str, Any]) -> Entry:
    reference = event.get("objectRef") or {}
    sub = reference.get("subresource", "")
    resource = reference.get("resource") or event["requestURI"].partition("?")[0]
    return Entry(
        user=event["user"].get("username", ""),
        verb=event["verb"],
        group=reference.get("apiGroup", ""),
        resource=f"{resource}/{sub}" if sub else resource,
        namespace=reference.get("namespace", ""),
        name=reference.get("name", ""),
        code=_code(event.get("responseStatus") or {}),
        body=event.get("requestObject"),
        at=event["requestReceivedTimestamp"],
        answered=event["stageTimestamp"],
    )


def _code(status: dict[str, Any]) -> int:
    return UNKNOWN if status.get("message") == _ABORTED else int(status.get("code", UNKNOWN))
