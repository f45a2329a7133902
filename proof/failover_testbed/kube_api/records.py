"""What the store keeps and returns: objects at a version, changes, pages."""

from __future__ import annotations

import bisect
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from failover_testbed.kube_api.field_sets import dump
from failover_testbed.kube_api.registry import Resource


class Stored:
    """An object at one resourceVersion.

    Args:
        resource: The kind of the object.
        obj: The object; must not change any more.
        rv: Its resourceVersion.
    """

    __slots__ = ("_body", "obj", "resource", "rv")

    def __init__(self, resource: Resource, obj: dict[str, Any], rv: int) -> None:
        self.resource = resource
        self.obj = obj
        self.rv = rv
        self._body: str | None = None

    @property
    def full(self) -> str:
        """The object as JSON."""
        return f'{{"kind":"{self.resource.kind}","apiVersion":"{self.resource.api_version}",{self._rest()[1:]}'

    @property
    def item(self) -> str:
        """The object as JSON inside a list, without kind and apiVersion for built-in types, like the real server."""
        return self.full if self.resource.custom else self._rest()

    def copy(self) -> dict[str, Any]:
        """A copy of the object that the caller may change."""
        loaded: dict[str, Any] = json.loads(self.full)
        return loaded

    def _rest(self) -> str:
        if self._body is None:
            self._body = dump({key: value for key, value in self.obj.items() if key not in ("kind", "apiVersion")})
        return self._body

    def at(self, rv: int) -> Stored:
        """The same content at another resourceVersion, as in DELETED events."""
        metadata = self.obj["metadata"] | {"resourceVersion": str(rv)}
        return Stored(self.resource, self.obj | {"metadata": metadata}, rv)


@dataclass(frozen=True, slots=True)
class Change:
    """One write: `new` is None for a deletion, `old` for a creation."""

    rv: int
    new: Stored | None
    old: Stored | None


@dataclass(slots=True)
class History:
    """The latest changes of one resource; `dropped_rv` is the version of the newest dropped change."""

    limit: int
    changes: list[Change] = field(default_factory=list)
    dropped_rv: int = 0
    compacted_rv: int = 0

    def add(self, change: Change) -> None:
        """Appends; drops a tenth when full, so that appending stays cheap."""
        self.changes.append(change)
        if len(self.changes) > self.limit:
            shed = max(1, self.limit // 10)
            self.dropped_rv = self.changes[shed - 1].rv
            del self.changes[:shed]

    def after(self, rv: int, most: int) -> list[Change]:
        """Up to `most` changes newer than `rv`, oldest first."""
        start = bisect.bisect_right(self.changes, rv, key=lambda change: change.rv)
        return self.changes[start : start + most]


@dataclass(frozen=True, slots=True)
class Page:
    """A list, or a part of one.

    Attributes:
        items: The objects.
        rv: The resourceVersion of the list as a whole.
        next_key: Key after which the next page begins, None at the end.
        remaining: How many objects follow, None if the real server does not report it.
    """

    items: Sequence[Stored]
    rv: int
    next_key: str | None = None
    remaining: int | None = None


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """Options of a deletion.

    Attributes:
        grace_seconds: Grace period of a pod, seconds; None for the pod's own.
        uid: The uid the object must have.
        resource_version: The resourceVersion the object must have.
        dry_run: Whether to store nothing.
    """

    grace_seconds: int | None = None
    uid: str | None = None
    resource_version: str | None = None
    dry_run: bool = False
