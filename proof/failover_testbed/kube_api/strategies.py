"""What a real server changes and checks before it stores an object.

This covers only what the controller and the fakes can observe: no schema validation, and no defaults except for the fields below and those
in `defaults`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from failover_testbed.kube_api import statuses
from failover_testbed.kube_api.defaults import defaulted
from failover_testbed.kube_api.registry import GenerationRule, Resource

_SUBDOMAIN = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
_MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)")
_MAX_NAME = 253
_DEFAULT_GRACE_S = 30
_FINISHED_PHASES = ("Succeeded", "Failed")
# Maps with free keys, which built-in types omit when empty. Other empty maps, such as ``emptyDir: {}``, have a meaning and stay.
_FREE_MAPS = frozenset(
    {"annotations", "binaryData", "data", "labels", "limits", "matchLabels", "nodeSelector", "requests", "allocatable", "capacity"}
)


def normalized(resource: Resource, obj: Mapping[str, Any]) -> dict[str, Any]:
    """The object as a real server shows it.

    Built-in types and all metadata are without nulls, empty lists and empty free maps; custom resources have their defaults.
    """
    if not resource.custom:
        return _without_empties(obj)
    made = defaulted(resource.plural, obj)
    return {**made, "metadata": _without_empties(made["metadata"])} if isinstance(made.get("metadata"), Mapping) else made


def _without_empties(fields: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in fields.items():
        left = value if name == "managedFields" else _cleaned(value)
        if left is not None and left != [] and not (left == {} and name in _FREE_MAPS):
            kept[name] = left
    return kept


def _cleaned(value: object) -> object:
    if isinstance(value, Mapping):
        return _without_empties(value)
    return [_cleaned(item) for item in value] if isinstance(value, list) else value


def check_types(resource: Resource, obj: Mapping[str, Any], *, patched: bool) -> None:
    """Refuses labels, annotations and ConfigMap data that are not maps of strings, and invalid times of a Lease.

    Args:
        resource: The kind of the object.
        obj: The object.
        patched: Whether a patch made the object; the real server then answers 422 instead of 400.

    Raises:
        ApiError: 400 or 422.
    """
    metadata = obj.get("metadata", {})
    if not isinstance(metadata, Mapping):
        raise statuses.bad_request("metadata must be an object")
    maps = [(f"ObjectMeta.metadata.{name}", metadata.get(name)) for name in ("labels", "annotations")]
    if resource.kind == "ConfigMap":
        maps.append(("ConfigMap.data", obj.get("data")))
    for name, found in maps:
        for value in _values(found):
            if value is not None and not isinstance(value, str):
                why = f"json: cannot unmarshal {_json_type(value)} into Go struct field {name} of type string"
                raise _mistyped(resource, why, patched=patched)
    spec = obj.get("spec")
    if resource.kind == "Lease" and isinstance(spec, Mapping):
        for time in (spec.get("acquireTime"), spec.get("renewTime")):
            if time is not None and not _MICRO_TIME.fullmatch(str(time)):
                why = f'parsing time "{time}" as "2006-01-02T15:04:05.000000Z07:00": it has not exactly six decimals'
                raise _mistyped(resource, why, patched=patched)


def _mistyped(resource: Resource, why: str, *, patched: bool) -> statuses.ApiError:
    if patched:
        return statuses.invalid("", "", [("patch", "FieldValueInvalid", f"Invalid value: the patched object: {why}")])
    return statuses.bad_request(f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: {why}')


def _values(found: object) -> list[object]:
    if found is None:
        return []
    return list(found.values()) if isinstance(found, Mapping) else [found]


def _json_type(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    return "array" if isinstance(value, list) else "object"


def check_name(resource: Resource, name: str) -> None:
    """Refuses names that the real server would not store.

    Raises:
        ApiError: 422.
    """
    if not name:
        text = "Required value: name or generateName is required"
        raise statuses.invalid(resource.qualified_kind, "", [("metadata.name", "FieldValueRequired", text)])
    if len(name) > _MAX_NAME or not _SUBDOMAIN.match(name):
        text = (
            f'Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '
            "'-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation "
            "is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
        )
        raise statuses.invalid(resource.qualified_kind, name, [("metadata.name", "FieldValueInvalid", text)])


def prepare_create(resource: Resource, obj: dict[str, Any]) -> None:
    """Resets fields that a creator cannot set, and sets the defaults that selectors and deletion depend on."""
    if resource.status and not resource.keeps_status_on_create:
        obj.pop("status", None)
    obj["metadata"].pop("generation", None)
    if resource.generation is not GenerationRule.NEVER:
        obj["metadata"]["generation"] = 1
    if resource.kind == "Pod":
        obj["status"] = {"phase": "Pending"}
        spec = obj.setdefault("spec", {})
        spec.setdefault("restartPolicy", "Always")
        spec.setdefault("schedulerName", "default-scheduler")
        spec.setdefault("terminationGracePeriodSeconds", _DEFAULT_GRACE_S)
    elif resource.kind == "Namespace":
        obj["status"] = {"phase": "Active"}
        obj.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
        labels = obj["metadata"].get("labels") or {}
        obj["metadata"]["labels"] = labels | {"kubernetes.io/metadata.name": obj["metadata"]["name"]}
    elif resource.kind in {"Deployment", "StatefulSet"}:
        obj.setdefault("spec", {}).setdefault("replicas", 1)


def validate_create(resource: Resource, obj: Mapping[str, Any]) -> None:
    """Checks more than the metadata of a new object.

    Raises:
        ApiError: 422.
    """
    if resource.kind != "Event":
        return
    namespace = obj["metadata"].get("namespace", "")
    about = (obj.get("involvedObject") or {}).get("namespace", "")
    allowed = (about,) if about else ("", "default")
    if obj.get("eventTime"):
        # An event of events.k8s.io may be in any namespace unless it regards a cluster-scoped object.
        allowed = (namespace,) if about else ("default", "kube-system")
    if namespace not in allowed:
        text = f'Invalid value: "{about}": does not match event.namespace'
        name = obj["metadata"]["name"]
        raise statuses.invalid("Event", name, [("involvedObject.namespace", "FieldValueInvalid", text)])


def prepare_update(resource: Resource, new: dict[str, Any], old: Mapping[str, Any], subresource: str) -> None:
    """Undoes the changes that a writer may not make, and increases the generation if the others require it."""
    if subresource == "status":
        _keep_all_but_status(resource, new, old)
    elif resource.status:
        _copy(new, old, "status")
    metadata, before = new["metadata"], old["metadata"]
    for name in ("creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds"):
        _copy(metadata, before, name)
    if not metadata.get("uid"):
        metadata["uid"] = before["uid"]
    if subresource != "status" and _bumps(resource, new, old):
        metadata["generation"] = before.get("generation", 0) + 1


def _copy(new: dict[str, Any], old: Mapping[str, Any], name: str) -> None:
    if name in old:
        new[name] = old[name]
    else:
        new.pop(name, None)


def _keep_all_but_status(resource: Resource, new: dict[str, Any], old: Mapping[str, Any]) -> None:
    if resource.custom:
        managed = new["metadata"].get("managedFields")
        version = new["metadata"].get("resourceVersion")
        status = new.get("status")
        new.clear()
        new.update(old)
        new["metadata"] = dict(old["metadata"]) | {"resourceVersion": version, "managedFields": managed}
        new.pop("status", None)
        if status is not None:
            new["status"] = status
        return
    _copy(new, old, "spec")
    if resource.kind == "Deployment":
        _copy(new["metadata"], old["metadata"], "labels")
    elif resource.kind == "Pod":
        _copy(new["metadata"], old["metadata"], "ownerReferences")


def _bumps(resource: Resource, new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    rule = resource.generation
    if rule is GenerationRule.NEVER:
        return False
    if rule in (GenerationRule.SPEC, GenerationRule.SPEC_OR_ANNOTATIONS):
        if new.get("spec") != old.get("spec"):
            return True
        return rule is GenerationRule.SPEC_OR_ANNOTATIONS and _differ(new, old, "annotations")
    content = {key: value for key, value in new.items() if key != "metadata"}
    if content != {key: value for key, value in old.items() if key != "metadata"}:
        return True
    return rule is GenerationRule.CONTENT_OR_LABELS and _differ(new, old, "labels")


def _differ(new: Mapping[str, Any], old: Mapping[str, Any], name: str) -> bool:
    return (new["metadata"].get(name) or {}) != (old["metadata"].get(name) or {})


def validate_update(resource: Resource, new: Mapping[str, Any], old: Mapping[str, Any]) -> None:
    """Checks an update.

    Raises:
        ApiError: 422 if the uid changes or a finalizer is added to an object that is being deleted.
    """
    metadata, before = new["metadata"], old["metadata"]
    errors = []
    if metadata["uid"] != before["uid"]:
        text = f'Invalid value: "{metadata["uid"]}": field is immutable'
        errors.append(("metadata.uid", "FieldValueInvalid", text))
    added = [item for item in metadata.get("finalizers") or () if item not in (before.get("finalizers") or ())]
    if before.get("deletionTimestamp") and added:
        listed = ", ".join(f'"{item}"' for item in added)
        text = f"Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{{listed}}}"
        errors.append(("metadata.finalizers", "FieldValueForbidden", text))
    if errors:
        raise statuses.invalid(resource.qualified_kind, metadata["name"], errors)


def grace_period(resource: Resource, obj: Mapping[str, Any], requested: int | None) -> int:
    """The grace period after DELETE, seconds; 0 for all objects except scheduled, unfinished pods."""
    if resource.kind != "Pod":
        return 0
    spec = obj.get("spec") or {}
    if not spec.get("nodeName") or (obj.get("status") or {}).get("phase") in _FINISHED_PHASES:
        return 0
    period = spec.get("terminationGracePeriodSeconds", _DEFAULT_GRACE_S) if requested is None else requested
    return 1 if period < 0 else int(period)
