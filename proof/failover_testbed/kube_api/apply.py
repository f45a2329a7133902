"""Server-side apply as the Kubernetes documentation describes it: merging, conflicts, and removal of fields no longer applied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from failover_testbed.kube_api import field_sets, managed_fields, statuses, strategies
from failover_testbed.kube_api.field_sets import FieldSet, SchemaMismatch
from failover_testbed.kube_api.field_types import FieldType, type_of
from failover_testbed.kube_api.managed_fields import Entry, Managed, Writer
from failover_testbed.kube_api.registry import Resource


def server_side_apply(
    resource: Resource, live: Mapping[str, Any], config: Mapping[str, Any], writer: Writer, *, force: bool
) -> dict[str, Any]:
    """Applies a configuration.

    Args:
        resource: The kind of the object.
        live: The stored object; only ``apiVersion`` and ``kind`` if there is none yet.
        config: The manager's configuration.
        writer: The manager.
        force: Whether to take fields that others own with another value.

    Returns:
        The new object with its ``managedFields``.

    Raises:
        ApiError: 409 on conflicts, 400 on a wrong ``apiVersion`` or ``kind`` or when ``managedFields`` are sent, 422 if a list item lacks
            its identifying fields or a removal leaves a null in a custom resource, 501 if the configuration contains nulls.
    """
    _check(resource, config)
    field_type = type_of(resource.plural)
    bare = _without_managed_fields(live)
    managed = managed_fields.read(live) or _before_first_apply(resource, bare, writer)
    reset = managed_fields.reset_fields(resource, writer.subresource)
    try:
        merged: dict[str, Any] = field_sets.merge(field_type, bare, config)
        claimed = field_sets.exclude(field_sets.to_set(field_type, config), reset)
        entry = Entry(writer.manager, "Apply", resource.api_version, writer.subresource, writer.time, claimed)
        before = managed.get(entry.key)
        managed[entry.key] = entry
        new = _prune(field_type, merged, managed, before.fields if before else frozenset())
        compared = field_sets.compare(field_type, bare, new).without(reset)
    except SchemaMismatch as error:
        raise _schema_error(resource, config, str(error)) from error
    _check_emptied(resource, config, merged, new)
    touched = compared.added | compared.modified
    clashes = [(other, other.fields & touched) for key, other in managed.items() if key != entry.key]
    clashes = [(other, paths) for other, paths in clashes if paths]
    if clashes and not force:
        raise _conflict(clashes)
    managed_fields.release(managed, touched | compared.removed, keep=entry.key)
    result = strategies.normalized(resource, new)
    _settle(managed, entry, before, changed=result != bare)
    result.setdefault("metadata", {})
    managed_fields.write(result, managed)
    return result


def _settle(managed: Managed, entry: Entry, before: Entry | None, *, changed: bool) -> None:
    """Sets the final fields and time of the applier's entry; a no-op apply keeps the old time, so that nothing is written."""
    fields = managed_fields.ownable(entry.fields)
    time = entry.time if changed else (before.time if before else None)
    if fields:
        managed[entry.key] = Entry(entry.manager, "Apply", entry.api_version, entry.subresource, time, fields)
    else:
        del managed[entry.key]


def _check(resource: Resource, config: Mapping[str, Any]) -> None:
    version, kind = str(config.get("apiVersion", "")), str(config.get("kind", ""))
    if (version, kind) != (resource.api_version, resource.kind):
        group_version = version if "/" in version else f"/{version}"
        raise statuses.bad_request(f"invalid object type: {group_version}, Kind={kind}")
    if config.get("metadata", {}).get("managedFields") is not None:
        raise statuses.bad_request("metadata.managedFields must be nil")
    if _has_null(config):
        raise statuses.unsupported("null values in an apply configuration")


def _has_null(value: object) -> bool:
    if isinstance(value, dict):
        return any(_has_null(child) for child in value.values())
    if isinstance(value, list):
        return any(_has_null(child) for child in value)
    return value is None


def _schema_error(resource: Resource, config: Mapping[str, Any], why: str) -> statuses.ApiError:
    """The real server reads a missing key as its zero value, which the validation of these kinds then refuses."""
    name = config.get("metadata", {}).get("name", "")
    return statuses.invalid(resource.qualified_kind, name, [("spec", "FieldValueInvalid", f"Invalid value: {why}")])


def _check_emptied(resource: Resource, config: Mapping[str, Any], merged: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Refuses a removal that empties a map which another manager owns: the real server sets the map to null.

    A built-in type reads that null as an absent value; the schema of a custom resource refuses it.

    Raises:
        ApiError: 422.
    """
    field = _emptied(merged.get("spec"), new.get("spec"), "spec")
    if resource.custom and field not in ("", "spec"):
        why = f'Invalid value: "null": {field} in body must be of type object: "null"'
        name = str(config.get("metadata", {}).get("name", ""))
        raise statuses.invalid(resource.qualified_kind, name, [(field, "FieldValueTypeInvalid", why)])


def _emptied(before: object, after: object, path: str) -> str:
    """The path of the first map that lost all its entries, "" if there is none."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return ""
    if before and not after:
        return path
    return next((found for name, value in after.items() if (found := _emptied(before.get(name), value, f"{path}.{name}"))), "")


def _without_managed_fields(obj: Mapping[str, Any]) -> dict[str, Any]:
    bare = dict(obj)
    if "metadata" in bare:
        bare["metadata"] = {key: value for key, value in bare["metadata"].items() if key != "managedFields"}
    return bare


def _before_first_apply(resource: Resource, bare: Mapping[str, Any], writer: Writer) -> Managed:
    """Fields of an object without managedFields: their owner is unknown, but taking them over is still a conflict."""
    copy = {**bare, "metadata": dict(bare.get("metadata", {}))}
    blank = {"kind": resource.kind, "apiVersion": resource.api_version}
    managed_fields.track_update(resource, blank, copy, Writer("before-first-apply", writer.time))
    return managed_fields.read(copy)


def _prune(field_type: FieldType, merged: dict[str, Any], managed: Managed, last: FieldSet) -> dict[str, Any]:
    """Removes the fields that the manager applied last time, does not apply now, and no other manager owns."""
    held = frozenset(path for entry in managed.values() for path in entry.fields)
    left = field_sets.remove(field_type, merged, last - field_sets.with_parents(held), held)
    for part in ("metadata", "spec"):
        if part in merged:
            left.setdefault(part, {})  # these stay, even without content
    return left


def _conflict(clashes: list[tuple[Entry, FieldSet]]) -> statuses.ApiError:
    ordered = sorted(clashes, key=lambda clash: clash[0].key)
    pairs = [(entry, path) for entry, paths in ordered for path in field_sets.in_order(paths)]
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f"conflict with {entry.described()}",
            "field": field_sets.path_text(path),
        }
        for entry, path in pairs
    ]
    if len(pairs) == 1:
        entry, path = pairs[0]
        message = f"Apply failed with 1 conflict: conflict with {entry.described()}: {field_sets.path_text(path)}"
    else:
        lines = []
        for entry, paths in ordered:
            lines.append(f"conflicts with {entry.described()}:")
            lines += [f"- {field_sets.path_text(path)}" for path in field_sets.in_order(paths)]
        message = f"Apply failed with {len(pairs)} conflicts: " + "\n".join(lines)
    return statuses.failure(409, "Conflict", message, {"causes": causes})
