"""Parses the method, path and query of a request."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from failover_testbed.kube_api import statuses
from failover_testbed.kube_api.auth import Access
from failover_testbed.kube_api.registry import KNOWN_GROUPS, Registry, Resource

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_NAMESPACE_SUBRESOURCES = ("status", "finalize")
# Subresources that real servers have for these kinds and the emulator refuses.
_OTHER_SUBRESOURCES = frozenset(
    {"scale", "binding", "eviction", "log", "exec", "attach", "portforward", "proxy", "ephemeralcontainers", "resize", "token", "finalize"}
)


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed path.

    Attributes:
        access: The request, for authorization and the audit log.
        version: API version in the path, "" for a path other than a resource's.
    """

    access: Access
    version: str = ""


def parse_target(method: str, path: str, query: Mapping[str, str]) -> Target:
    """Parses a path; for other paths than resources the `Access` has no resource."""
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"] and len(parts) > 2:  # noqa: PLR2004
        group, version, rest = "", parts[1], parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > 3:  # noqa: PLR2004
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return Target(Access(method.lower(), "", "", "", "", "", path))
    namespace = ""
    is_namespace_object = len(rest) <= 2 or (len(rest) == 3 and rest[2] in _NAMESPACE_SUBRESOURCES)  # noqa: PLR2004
    if rest[0] == "namespaces" and (group or not is_namespace_object):
        namespace, rest = rest[1] if len(rest) > 1 else "", rest[2:] or ["namespaces"]
    name, subresource = (rest[1] if len(rest) > 1 else ""), "/".join(rest[2:])
    if rest[0] == "namespaces" and name:
        namespace = name  # as the real server: the namespace's own name is the scope to authorize in
    verb = _VERBS.get(method, "get")
    if verb == "get" and not name:
        verb = "watch" if truthy(query.get("watch")) else "list"
    if verb == "delete" and not name:
        verb = "deletecollection"
    if verb in ("list", "watch"):
        name = _selected_name(query.get("fieldSelector", ""))
    return Target(Access(verb, group, rest[0], subresource, namespace, name, path), version)


def _selected_name(field_selector: str) -> str:
    """The name that a list's field selector requires, "" if none. Authorization uses it as the request's name, like the real server."""
    names = [term.partition("=")[2].removeprefix("=") for term in field_selector.split(",") if term.startswith("metadata.name=")]
    return names[0] if names else ""


def truthy(value: str | None) -> bool:
    """Whether a boolean query parameter is set, and not to ``false`` or ``0``."""
    return value is not None and value.lower() not in ("false", "0")


def resolve(registry: Registry, target: Target) -> Resource:
    """The resource of a target.

    Raises:
        ApiError: 404, like the real server, for a group that is not installed; 501 for a resource that only a real server has.
    """
    access = target.access
    resource = registry.find(access.group, target.version, access.resource)
    if resource is None:
        if access.group in KNOWN_GROUPS or (not access.group and target.version == "v1") or access.resource == "watch":
            raise statuses.unsupported(f"{access.path}: resource {access.resource!r} of API group {access.group!r}")
        if (access.group, target.version) in registry.group_versions and not _is_custom(registry, access.group):
            raise statuses.unsupported(f"resource {access.resource!r} of API group {access.group!r}")
        raise statuses.no_such_path()
    if access.subresource in _OTHER_SUBRESOURCES:
        raise statuses.unsupported(f"the subresource {access.subresource!r} of {resource.qualified}")
    if access.subresource and (access.subresource != "status" or not resource.status):
        raise statuses.no_such_path() if resource.custom else statuses.no_such_resource()
    if access.name and resource.namespaced and not access.namespace and access.verb not in ("list", "watch"):
        raise statuses.no_such_path()
    if access.namespace and not resource.namespaced and resource.kind != "Namespace":
        raise statuses.no_such_path()
    return resource


def _is_custom(registry: Registry, group: str) -> bool:
    return any(item.custom for item in registry.resources if item.group == group)


def integer(query: Mapping[str, str], name: str) -> int | None:
    """A non-negative integer from the query, None if absent or empty.

    Raises:
        ApiError: 400.
    """
    text = query.get(name)
    if not text:
        return None
    if not text.isdecimal():
        raise statuses.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text)


def resource_version(query: Mapping[str, str]) -> int | None:
    """The ``resourceVersion`` of a list or watch, None if absent.

    Raises:
        ApiError: 400 for a list, 500 for a watch.
    """
    text = query.get("resourceVersion")
    if not text:
        return None
    if text.isdecimal():
        return int(text)
    why = f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
    if truthy(query.get("watch")):
        raise statuses.failure(500, "", why)
    raise statuses.bad_request(f"invalid resource version: {why}")


def initial_events(query: Mapping[str, str]) -> bool:
    """Whether a watch asks for the present objects and a bookmark that marks their end.

    Raises:
        ApiError: 422 if ``resourceVersionMatch`` does not fit, 501 for ``sendInitialEvents=false``.
    """
    match, wanted = query.get("resourceVersionMatch"), query.get("sendInitialEvents")
    why = ""
    if wanted is None and match is not None:
        why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
    elif wanted is not None and match != "NotOlderThan":
        why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
    if why:
        raise statuses.invalid("ListOptions.meta.k8s.io", "", [("resourceVersionMatch", "FieldValueForbidden", f"Forbidden: {why}")])
    if wanted is not None and not truthy(wanted):
        raise statuses.unsupported("sendInitialEvents=false")
    return wanted is not None


def check_field_validation(query: Mapping[str, str]) -> None:
    """Refuses ``fieldValidation=Strict``, which needs schemas.

    Raises:
        ApiError: 501.
    """
    if query.get("fieldValidation") == "Strict":
        raise statuses.unsupported("fieldValidation=Strict: it knows no schemas")


def encode_continue(rv: int, key: str) -> str:
    """A continue token, as opaque to clients as the real one and with the same content."""
    token = json.dumps({"v": "meta.k8s.io/v1", "rv": rv, "start": f"{key}\u0000"}, separators=(",", ":"))
    return base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


def decode_continue(text: str) -> tuple[int, str]:
    """The resourceVersion and key of a continue token.

    Raises:
        ApiError: 400.
    """
    try:
        raw: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        return int(raw["rv"]), str(raw["start"]).rstrip("\u0000")
    except (ValueError, KeyError, TypeError) as error:
        raise statuses.bad_request(f"invalid continue token: continue key is not valid: {error}") from error


def dry_run(query: Mapping[str, str], options_kind: str) -> bool:
    """Whether the request has ``dryRun=All``.

    Raises:
        ApiError: 422 for any other value.
    """
    value = query.get("dryRun", "")
    if value not in ("", "All"):
        text = f'Unsupported value: ["{value}"]: supported values: "All"'
        raise statuses.invalid(f"{options_kind}.meta.k8s.io", "", [("dryRun", "FieldValueNotSupported", text)])
    return value == "All"


def field_manager(query: Mapping[str, str], user_agent: str) -> str:
    """The manager of an update: ``fieldManager``, or the user agent up to the first slash."""
    return query.get("fieldManager") or user_agent.split("/", 1)[0][:128] or "unknown"
