"""What the store keeps and hands out: objects at a version, changes, pages."""

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
        resource: What kind of object.
        obj: The object; nobody may change it from now on.
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
        """The object as JSON inside a list, where the real server leaves out kind and apiVersion of built-in types."""
        return self.full if self.resource.custom else self._rest()

    def copy(self) -> dict[str, Any]:
        """The object, to be changed at will."""
        loaded: dict[str, Any] = json.loads(self.full)
        return loaded

    def _rest(self) -> str:
        if self._body is None:
            self._body = dump({key: value for key, value in self.obj.items() if key not in ("kind", "apiVersion")})
        return self._body

    def at(self, rv: int) -> Stored:
        """The same content at another resourceVersion, as DELETED events carry it."""
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
    """The latest changes of one resource; `dropped_rv` is the newest one no longer here."""

    limit: int
    changes: list[Change] = field(default_factory=list)
    dropped_rv: int = 0
    compacted_rv: int = 0

    def add(self, change: Change) -> None:
        """Appends; sheds a tenth when full, so that appending stays cheap."""
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
        next_key: Key to go on after, None at the end.
        remaining: How many objects follow, None where the real server does not say.
    """

    items: Sequence[Stored]
    rv: int
    next_key: str | None = None
    remaining: int | None = None


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """How to delete.

    Attributes:
        grace_seconds: Seconds a pod may take, None for its own.
        uid: The uid the object must have.
        resource_version: The resourceVersion the object must have.
        dry_run: Whether to only pretend.
    """

    grace_seconds: int | None = None
    uid: str | None = None
    resource_version: str | None = None
    dry_run: bool = False
