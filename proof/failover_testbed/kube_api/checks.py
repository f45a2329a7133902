"""Checks an object against the request that contains it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from failover_testbed.kube_api import statuses, strategies
from failover_testbed.kube_api.records import DeleteOptions
from failover_testbed.kube_api.registry import Resource


def check_identity(resource: Resource, obj: object) -> None:
    """Checks kind and apiVersion, or sets them if absent.

    Raises:
        ApiError: 400; 422 for another kind in the place of a custom resource.
    """
    if not isinstance(obj, dict) or not isinstance(obj.get("metadata", {}), dict):
        raise statuses.bad_request(f"the object provided is unrecognized (must be of type {resource.kind})")
    version = obj.setdefault("apiVersion", resource.api_version)
    kind = obj.setdefault("kind", resource.kind)
    if version != resource.api_version:
        raise statuses.bad_request(
            f"the API version in the data ({version}) does not match the expected API version ({resource.api_version})"
        )
    if kind != resource.kind and resource.custom:
        name = str(obj.get("metadata", {}).get("name", ""))
        wrong = [("kind", "FieldValueInvalid", f'Invalid value: "{kind}": must be {resource.kind}')]
        raise statuses.invalid(f"{kind}.{resource.group}", name, wrong)
    if kind != resource.kind:
        raise statuses.bad_request(
            f'{kind} in version "{resource.version}" cannot be handled as a {resource.kind}: no kind "{kind}" is registered'
        )


def check_patched(resource: Resource, obj: object) -> None:
    """Checks the result of a patch.

    Raises:
        ApiError: 400, 422.
    """
    if not isinstance(obj, dict) or not isinstance(obj.get("metadata"), dict):
        raise statuses.invalid("", "", [("patch", "FieldValueInvalid", "Invalid value: the patched object has no metadata")])
    check_identity(resource, obj)
    strategies.check_types(resource, obj, patched=True)


def check_name(obj: Mapping[str, Any], name: str) -> None:
    """Checks that an object has the name of the request's path.

    Raises:
        ApiError: 400.
    """
    metadata = obj.get("metadata")
    given = metadata.get("name", "") if isinstance(metadata, Mapping) else ""
    if not given:
        raise statuses.bad_request(f"the name of the object ({name} based on URL) was undeterminable: name must be provided")
    if given != name:
        raise statuses.bad_request(f"the name of the object ({given}) does not match the name on the URL ({name})")


def match_namespace(resource: Resource, namespace: str, metadata: dict[str, Any]) -> None:
    """Checks the namespace, or sets it if absent.

    Raises:
        ApiError: 400.
    """
    given = metadata.get("namespace", "")
    if given and given != namespace:
        raise statuses.bad_request("the namespace of the provided object does not match the namespace sent on the request")
    if resource.namespaced:
        metadata["namespace"] = namespace


def uid_mismatch(resource: Resource, namespace: str, name: str, expected: str, found: str) -> str:
    """The error of a write whose uid differs from the stored one."""
    # etcd keeps Ingresses under their old group's name.
    key = "/".join(part for part in ("/registry", "ingress" if resource.kind == "Ingress" else resource.plural, namespace, name) if part)
    return (
        f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: "
        f"Precondition failed: UID in precondition: {expected}, UID in object meta: {found}"
    )


def check_preconditions(resource: Resource, name: str, metadata: Mapping[str, Any], options: DeleteOptions) -> None:
    """Checks the preconditions of a DELETE.

    Raises:
        ApiError: 409.
    """
    if options.uid is not None and options.uid != metadata["uid"]:
        why = (
            f"the UID in the precondition ({options.uid}) does not match the UID in record ({metadata['uid']}). "
            "The object might have been deleted and then recreated"
        )
        raise statuses.delete_conflict(resource, name, why)
    version = options.resource_version
    if version is not None and version != metadata["resourceVersion"]:
        why = (
            f"the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record "
            f"({metadata['resourceVersion']}). The object might have been modified"
        )
        raise statuses.delete_conflict(resource, name, why)
