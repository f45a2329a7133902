"""``metadata.managedFields``: who wrote which field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from controller.clock import parse_rfc3339
from failover_testbed.kube_api import field_sets
from failover_testbed.kube_api.field_sets import FieldSet, SchemaMismatch
from failover_testbed.kube_api.field_types import type_of
from failover_testbed.kube_api.registry import Resource

Key = tuple[str, str, str, str]

MAX_UPDATE_MANAGERS = 10
_ANCIENT = "ancient-changes"

# The API server sets these; they have no manager.
_NEVER_OWNED: FieldSet = frozenset(
    {("f:apiVersion",), ("f:kind",), ("f:metadata",)}
    | {
        ("f:metadata", f"f:{name}")
        for name in (
            "name",
            "namespace",
            "creationTimestamp",
            "selfLink",
            "uid",
            "clusterName",
            "generation",
            "managedFields",
            "resourceVersion",
        )
    }
)


@dataclass(frozen=True, slots=True)
class Writer:
    """The writer of a change, and the time.

    Attributes:
        manager: Field manager.
        time: Time of the write, RFC 3339.
        subresource: "status" or "".
    """

    manager: str
    time: str
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the list."""

    manager: str
    operation: str
    api_version: str
    subresource: str
    time: str | None
    fields: FieldSet

    @property
    def key(self) -> Key:
        """Identifies the entry; an applier keeps its entry across API versions."""
        version = "" if self.operation == "Apply" else self.api_version
        return (self.manager, self.operation, version, self.subresource)

    def described(self) -> str:
        """The manager, as conflict messages name it."""
        text = f'"{self.manager}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.api_version}" if self.operation == "Update" else text


Managed = dict[Key, Entry]


def read(obj: Mapping[str, Any]) -> Managed:
    """The entries of an object; empty if they cannot be read."""
    found: Managed = {}
    try:
        for raw in obj.get("metadata", {}).get("managedFields") or ():
            entry = Entry(
                raw["manager"],
                raw["operation"],
                raw["apiVersion"],
                raw.get("subresource", ""),
                raw.get("time"),
                field_sets.decode(raw["fieldsV1"]),
            )
            found[entry.key] = entry
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}
    return found


def write(obj: dict[str, Any], managed: Managed) -> None:
    """Writes entries to an object, in the real server's order."""
    entries = sorted(
        managed.values(),
        key=lambda e: (e.operation, parse_rfc3339(e.time) or 0.0, e.manager, e.api_version, e.subresource),
    )
    metadata = obj.setdefault("metadata", {})
    metadata.pop("managedFields", None)
    if entries:
        metadata["managedFields"] = [_encoded(entry) for entry in entries]


def _encoded(entry: Entry) -> dict[str, Any]:
    raw: dict[str, Any] = {"manager": entry.manager, "operation": entry.operation, "apiVersion": entry.api_version}
    if entry.time is not None:
        raw["time"] = entry.time
    raw |= {"fieldsType": "FieldsV1", "fieldsV1": field_sets.encode(entry.fields)}
    if entry.subresource:
        raw["subresource"] = entry.subresource
    return raw


def reset_fields(resource: Resource, subresource: str) -> FieldSet:
    """The fields that a write cannot change and so does not own."""
    if subresource == "status":
        extra: set[field_sets.Path] = {("f:metadata",)} if resource.custom else set()
        if resource.kind == "Deployment":
            extra = {("f:metadata", "f:labels")}
        elif resource.kind == "Pod":
            extra = {("f:metadata", "f:deletionTimestamp"), ("f:metadata", "f:ownerReferences")}
        return frozenset({("f:spec",)} | extra)
    return frozenset({("f:status",)}) if resource.status else frozenset()


def ownable(paths: FieldSet) -> FieldSet:
    """`paths` without fields that have no manager."""
    return paths - _NEVER_OWNED


def release(managed: Managed, lost: FieldSet, *, keep: Key | None = None) -> None:
    """Removes fields from every entry except `keep`, and then empty entries."""
    for key, entry in tuple(managed.items()):
        if key == keep:
            continue
        left = entry.fields - lost
        if left:
            managed[key] = replace(entry, fields=left)
        else:
            del managed[key]


def track_update(resource: Resource, live: Mapping[str, Any], new: dict[str, Any], writer: Writer) -> None:
    """Records in `new` that `writer` changed it from `live`.

    Args:
        resource: The kind of the object.
        live: The object before; an empty one if it is being created.
        new: The object after; its ``managedFields`` are replaced.
        writer: The writer.
    """
    managed = _starting_point(live, new, writer)
    new.get("metadata", {}).pop("managedFields", None)
    try:
        changed = field_sets.compare(type_of(resource.plural), live, new).without(reset_fields(resource, writer.subresource))
    except SchemaMismatch:
        return  # like the real server: an object that does not fit its schema is stored without managedFields
    written = changed.added | changed.modified
    release(managed, written | changed.removed)
    claimed = ownable(written)
    if claimed:
        entry = Entry(writer.manager, "Update", resource.api_version, writer.subresource, writer.time, claimed)
        before = managed.get(entry.key)
        managed[entry.key] = replace(entry, fields=claimed | before.fields) if before else entry
    _cap(managed, resource.api_version)
    write(new, managed)


def _starting_point(live: Mapping[str, Any], new: Mapping[str, Any], writer: Writer) -> Managed:
    if writer.subresource:
        return read(live)
    if new.get("metadata", {}).get("managedFields") == [{}]:
        return {}  # the documented way to reset them
    return read(new) or read(live)


def _cap(managed: Managed, api_version: str) -> None:
    """Merges the oldest updaters into one entry, so that their number stays bounded."""
    updaters = sorted(
        (entry for entry in managed.values() if entry.operation == "Update"),
        key=lambda entry: (parse_rfc3339(entry.time) or 0.0, entry.key),
    )
    excess = len(updaters) - MAX_UPDATE_MANAGERS
    if excess <= 0:
        return
    merged = updaters[: excess + 1]
    for entry in merged:
        del managed[entry.key]
    fields = frozenset(path for entry in merged for path in entry.fields)
    bucket = Entry(_ANCIENT, "Update", api_version, "", merged[-1].time, fields)
    managed[bucket.key] = bucket
