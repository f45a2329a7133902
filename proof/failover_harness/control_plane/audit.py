"""The API server's own record of who asked for what: the truth that the permissions are compared with."""

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
        # The control plane's own traffic would drown the rest.
        {"level": "None", "users": ["system:apiserver", "system:kube-controller-manager", "system:kube-scheduler", "admin"]},
        {"level": "Request"},
    ],
}
"""What is recorded: requests with their bodies of everybody but the control plane itself and the administrator."""


UNKNOWN: Final = 0
"""The code of a request whose answer reached nobody."""

_ABORTED: Final = "Connection closed early"  # the API server logs these with the code 200, whatever became of them


@dataclass(frozen=True, slots=True)
class Entry:
    """One request.

    Attributes:
        user: Who; "" where the API server ended the request before it knew.
        verb: As RBAC has it: get, list, watch, create, update, patch, delete.
        group: API group, "" for the core group.
        resource: Plural, with ``/subresource`` where there is one; the path for a request that is about no resource.
        namespace: "" for all namespaces or a cluster-scoped resource.
        name: "" where none was named.
        code: HTTP status, `UNKNOWN` where the connection was closed before the answer.
        body: What was sent, None where nothing was.
        at: When it was received, RFC 3339.
        answered: When it was answered, for a watch when it began; RFC 3339.
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
    """Reads an audit log. A watch appears when it is opened and again when it ends; it counts once.

    Args:
        path: One JSON object a line, as ``--audit-log-path`` writes it.
    """
    entries: dict[str, Entry] = {}
    for line in path.read_text().splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue  # the last line may be half written
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
