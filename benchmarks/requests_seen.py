"""Times of requests and answers at the API server, in microseconds, from its audit log."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from controller.clock import parse_rfc3339
from failover_harness.control_plane import audit

_QUIET_S: Final = 10.0  # idle if there is at most one call per second for this long


@dataclass(frozen=True, slots=True)
class Seen:
    """A request at the API server.

    Attributes:
        user: The user.
        verb: RBAC verb.
        resource: Plural, with ``/subresource`` if there is one.
        namespace: "" for all namespaces or a cluster-scoped resource.
        name: The object's name; for a creation, from its body.
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


def await_quiet(calls: Callable[[], int], limit_s: float) -> None:
    """Waits until there is at most one call a second: at its start a leader reports every application, an Event each.

    Args:
        calls: Returns the number of calls so far.
        limit_s: Longest wait, seconds.

    Raises:
        AssertionError: There are still more after that time.
    """
    end, before = time.monotonic() + limit_s, calls()
    while time.monotonic() < end:
        time.sleep(_QUIET_S)
        now = calls()
        if now - before <= _QUIET_S:
            return
        before = now
    raise AssertionError(f"the controller still makes more than a call a second after {limit_s:.0f} s")


def read(path: Path) -> list[Seen]:
    """The requests in order of arrival."""
    return sorted((_seen(entry) for entry in audit.read(path)), key=lambda one: one.received)


def _seen(entry: audit.Entry) -> Seen:
    metadata = (entry.body or {}).get("metadata") or {} if isinstance(entry.body, dict) else {}
    return Seen(
        user=entry.user,
        verb=entry.verb,
        resource=entry.resource,
        namespace=entry.namespace,
        name=entry.name or str(metadata.get("name", "")),
        code=entry.code,
        received=_seconds(entry.at),
        answered=_seconds(entry.answered),
    )


def _seconds(stamp: str) -> float:
    found = parse_rfc3339(stamp)
    assert found is not None, stamp
    return found
