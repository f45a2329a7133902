"""Authorization, the audit log, and injected failures."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from failover_testbed.kube_api import statuses

READ_VERBS = frozenset({"get", "list", "watch"})


@dataclass(frozen=True, slots=True)
class Access:
    """One request, as authorization reads it.

    Attributes:
        verb: ``get``, ``list``, ``watch``, ``create``, ``update``, ``patch``, ``delete`` or ``deletecollection``.
        group: API group, "" for core.
        resource: Plural name, "" for a path other than a resource's.
        subresource: "" or for example "status".
        namespace: The namespace, "" at the cluster scope.
        name: The object's name, "" for lists and creations.
        path: The request's path.
    """

    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    path: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """Allowed requests, like a rule of a ClusterRole; "*" means everything.

    Attributes:
        groups: API groups.
        resources: Plural names, ``plural/subresource`` for subresources.
        verbs: Verbs.
        names: Object names; empty means all. With names, requests without a name do not match, as in RBAC.
        namespaces: Namespaces; empty means all and the cluster scope.
    """

    groups: frozenset[str]
    resources: frozenset[str]
    verbs: frozenset[str]
    names: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()

    def allows(self, access: Access) -> bool:
        """Whether the rule covers the request."""
        full = f"{access.resource}/{access.subresource}" if access.subresource else access.resource
        return (
            _covers(self.verbs, access.verb)
            and _covers(self.groups, access.group)
            and (_covers(self.resources, full) or f"*/{access.subresource}" in self.resources)
            and (not self.names or access.name in self.names)
            and (not self.namespaces or access.namespace in self.namespaces)
        )


def _covers(allowed: frozenset[str], wanted: str) -> bool:
    return "*" in allowed or wanted in allowed


def rules_of(role: Mapping[str, Any]) -> tuple[Rule, ...]:
    """The rules of a Role or ClusterRole manifest; a Role's apply in its own namespace only."""
    namespace = role.get("metadata", {}).get("namespace", "") if role.get("kind") == "Role" else ""
    spaces = frozenset({namespace}) if namespace else frozenset()
    return tuple(
        Rule(
            groups=frozenset(raw.get("apiGroups", ())),
            resources=frozenset(raw.get("resources", ())),
            verbs=frozenset(raw.get("verbs", ())),
            names=frozenset(raw.get("resourceNames", ())),
            namespaces=spaces,
        )
        for raw in role.get("rules", ())
    )


READ_ONLY: tuple[Rule, ...] = (Rule(frozenset({"*"}), frozenset({"*"}), READ_VERBS),)


@dataclass(frozen=True, slots=True)
class Identity:
    """The holder of a bearer token.

    Attributes:
        user: Name in messages and in the audit log.
        rules: Allowed requests; None allows everything.
        deny: Denies individual requests that the rules allow.
    """

    user: str
    rules: Sequence[Rule] | None = None
    deny: Callable[[Access], bool] | None = None

    def may(self, access: Access) -> bool:
        """Whether the request is allowed. Discovery always is."""
        if not access.resource:
            return True
        if self.rules is not None and not any(rule.allows(access) for rule in self.rules):
            return False
        return self.deny is None or not self.deny(access)


ANONYMOUS = Identity("system:anonymous", ())
"""A client without a token; it may read health and version only."""


def forbidden(identity: Identity, access: Access) -> statuses.ApiError:
    """403, worded as by the real server."""
    if not access.resource:
        return statuses.failure(403, "Forbidden", f'forbidden: User "{identity.user}" cannot {access.verb} path "{access.path}"', {})
    qualified = f"{access.resource}.{access.group}" if access.group else access.resource
    subject = f'{qualified} "{access.name}"' if access.name else qualified
    what = f"{access.resource}/{access.subresource}" if access.subresource else access.resource
    where = f'in the namespace "{access.namespace}"' if access.namespace else "at the cluster scope"
    message = f'{subject} is forbidden: User "{identity.user}" cannot {access.verb} resource "{what}" in API group "{access.group}" {where}'
    details = {"name": access.name, "group": access.group, "kind": access.resource}
    return statuses.failure(403, "Forbidden", message, details)


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One request and its answer.

    Attributes:
        time: When it arrived, seconds since the Unix epoch on the emulator's clock.
        user: The sender, "" if unknown.
        access: The request.
        query: The query string as sent.
        content_type: Of the body.
        body: The bytes as sent.
        code: HTTP status of the answer.
    """

    time: float
    user: str
    access: Access
    query: str
    content_type: str
    body: bytes
    code: int


class AuditLog:
    """The latest requests, oldest first. Thread-safe.

    Args:
        limit: How many requests are kept.
    """

    def __init__(self, limit: int) -> None:
        self._lock = threading.Lock()
        self._records: deque[AuditRecord] = deque(maxlen=limit)

    def add(self, record: AuditRecord) -> None:
        """Appends."""
        with self._lock:
            self._records.append(record)

    def records(self, **wanted: str) -> list[AuditRecord]:
        """The records whose `Access` has these values, for example ``verb="patch", resource="ingresses"``."""
        with self._lock:
            found = list(self._records)
        return [item for item in found if all(getattr(item.access, key) == value for key, value in wanted.items())]

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._records.clear()


@dataclass(slots=True)
class Injection:
    """Failures to inject.

    Attributes:
        left: How many more requests fail.
        status: HTTP status they get.
        matcher: Selects requests; None selects all.
        retry_after_s: Sent with 429 and 503.
    """

    left: int
    status: int
    matcher: Callable[[Access], bool] | None
    retry_after_s: int


class FaultQueue:
    """Injected failures, in the order they were added. Thread-safe."""

    _LIMIT = 1000

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._injections: deque[Injection] = deque(maxlen=self._LIMIT)

    def add(self, injection: Injection) -> None:
        """Queues a failure."""
        with self._lock:
            self._injections.append(injection)

    def take(self, access: Access) -> statuses.ApiError | None:
        """The failure for a request, None if it succeeds."""
        with self._lock:
            for injection in self._injections:
                if injection.matcher is None or injection.matcher(access):
                    injection.left -= 1
                    if injection.left <= 0:
                        self._injections.remove(injection)
                    return _injected(access, injection)
        return None

    def clear(self) -> None:
        """Drops every queued failure."""
        with self._lock:
            self._injections.clear()


def _injected(access: Access, injection: Injection) -> statuses.ApiError:
    if injection.status == 429:  # noqa: PLR2004
        return statuses.too_many_requests(injection.retry_after_s)
    reasons = {
        403: "Forbidden",
        404: "NotFound",
        409: "Conflict",
        410: "Expired",
        500: "InternalError",
        503: "ServiceUnavailable",
        504: "Timeout",
    }
    if injection.status == 409:  # noqa: PLR2004
        qualified = f"{access.resource}.{access.group}" if access.group else access.resource
        message = f'Operation cannot be fulfilled on {qualified} "{access.name}": {statuses.STALE}'
    else:
        message = "Internal error occurred: injected" if injection.status == 500 else "injected failure"  # noqa: PLR2004
    error = statuses.failure(injection.status, reasons.get(injection.status, ""), message)
    if injection.status == 503:  # noqa: PLR2004
        error.headers["Retry-After"] = str(injection.retry_after_s)
    return error
