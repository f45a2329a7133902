"""Health, version and discovery documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import PlainTextResponse, Response

from failover_testbed.kube_api import statuses
from failover_testbed.kube_api.field_sets import dump
from failover_testbed.kube_api.registry import Registry, Resource

GIT_VERSION = "v1.36.3+emulated"
_HEALTH = ("/healthz", "/readyz", "/livez")
_SHORT_NAMES: Mapping[str, Sequence[str]] = {
    "configmaps": ("cm",),
    "daemonsets": ("ds",),
    "deployments": ("deploy",),
    "events": ("ev",),
    "ingresses": ("ing",),
    "namespaces": ("ns",),
    "networkpolicies": ("netpol",),
    "nodes": ("no",),
    "poddisruptionbudgets": ("pdb",),
    "pods": ("po",),
    "replicasets": ("rs",),
    "scaledobjects": ("so",),
    "serviceaccounts": ("sa",),
    "services": ("svc",),
    "statefulsets": ("sts",),
}
"""What people may type for a plural: kubectl learns it from the server."""
_VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]


def discover(registry: Registry, method: str, path: str) -> Response:
    """Answers a path that is not a resource's.

    Raises:
        ApiError: 404 for a path that the real server does not have either, 405 for methods other than GET, 501 for paths that only the
            real server has.
    """
    path = path.rstrip("/") or "/"
    if method != "GET":
        raise statuses.method_not_allowed()
    if path in _HEALTH:
        return PlainTextResponse("ok")
    if path.startswith(("/openapi", "/metrics", "/logs", "/debug", "/healthz/", "/readyz/", "/livez/", "/.well-known", "/openid")):
        raise statuses.unsupported(path)
    document = _document(registry, path)
    if document is None:
        raise statuses.no_such_path()
    return Response(dump(document), media_type="application/json")


def _document(registry: Registry, path: str) -> dict[str, Any] | None:
    parts = [part for part in path.split("/") if part]
    if path == "/version":
        return _version()
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    groups = _groups(registry)
    if path == "/apis":
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": list(groups.values())}
    if parts[:1] == ["apis"] and len(parts) == 2 and parts[1] in groups:  # noqa: PLR2004
        return {"kind": "APIGroup", "apiVersion": "v1", **groups[parts[1]]}
    if parts[:1] == ["api"] and len(parts) == 2:  # noqa: PLR2004
        return _resource_list(registry, "", parts[1])
    if parts[:1] == ["apis"] and len(parts) == 3:  # noqa: PLR2004
        return _resource_list(registry, parts[1], parts[2])
    return None


def _version() -> dict[str, Any]:
    return {
        "major": "1",
        "minor": "36",
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": "emulated/python",
    }


def _groups(registry: Registry) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for group, version in registry.group_versions:
        if not group:
            continue
        entry = {"groupVersion": f"{group}/{version}", "version": version}
        found.setdefault(group, {"name": group, "versions": [], "preferredVersion": entry})["versions"].append(entry)
    return found


def _resource_list(registry: Registry, group: str, version: str) -> dict[str, Any] | None:
    served = [item for item in registry.resources if (item.group, item.version) == (group, version)]
    if not served:
        return None
    entries: list[dict[str, Any]] = []
    for item in served:
        entries.append(_entry(item, item.plural, _VERBS))
        if item.status:
            entries.append(_entry(item, f"{item.plural}/status", ["get", "patch", "update"]))
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": served[0].api_version,
        "resources": entries,
    }


def _entry(resource: Resource, name: str, verbs: list[str]) -> dict[str, Any]:
    short = _SHORT_NAMES.get(name)
    return {
        "name": name,
        "singularName": "" if "/" in name else resource.kind.lower(),
        **({"shortNames": short} if short else {}),
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": verbs,
    }
