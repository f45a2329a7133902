"""When requests reached the API server and when they were answered, to the microsecond, from its audit log."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from controller.clock import parse_rfc3339


@dataclass(frozen=True, slots=True)
class Seen:
    """One request.

    Attributes:
        user: Who.
        verb: As RBAC has it.
        resource: Plural, with ``/subresource`` where there is one.
        namespace: "" for all namespaces or a cluster-scoped resource.
        name: Of the object; for a creation that of the object sent.
        code: HTTP status.
        received: When it arrived, seconds since the Unix epoch.
        answered: When it was answered, seconds since the Unix epoch; for a watch when it began.
    """

    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    code: int
    received: float
    answered: float


def read(path: Path) -> list[Seen]:
    """The requests in the order in which they arrived."""
    seen: dict[str, Seen] = {}
    for line in path.read_text().splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue  # the last line may be half written
        seen.setdefault(event["auditID"], _seen(event))
    return sorted(seen.values(), key=lambda one: one.received)


def _seen(event: dict[str, object]) -> Seen:
    def at(key: str) -> float:
        found = parse_rfc3339(str(event[key]))
        assert found is not None
        return found

    def part(key: str) -> dict[str, object]:
        found = event.get(key)
        return found if isinstance(found, dict) else {}

    reference, metadata = part("objectRef"), part("requestObject").get("metadata")
    sent = str(metadata.get("name", "")) if isinstance(metadata, dict) else ""
    resource, sub = str(reference.get("resource", "")), str(reference.get("subresource", ""))
    return Seen(
        user=str(part("user").get("username", "")),
        verb=str(event["verb"]),
        resource=f"{resource}/{sub}" if sub else resource,
        namespace=str(reference.get("namespace", "")),
        name=str(reference.get("name", "")) or sent,
        code=int(str(part("responseStatus").get("code", 0))),
        received=at("requestReceivedTimestamp"),
        answered=at("stageTimestamp"),
    )
