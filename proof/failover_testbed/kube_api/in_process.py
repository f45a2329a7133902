"""Access to the store for the scenario player, the fakes and tests in the same process. Watches deliver their writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from failover_testbed.kube_api import patches, selectors
from failover_testbed.kube_api.field_sets import dump
from failover_testbed.kube_api.records import DeleteOptions
from failover_testbed.kube_api.registry import Resource
from failover_testbed.kube_api.store import Patcher, Store

DEFAULT_MANAGER = "emulated-cluster"


class KubeStore:
    """Reads and writes objects as HTTP requests do, without authentication and audit. Thread-safe.

    Kinds are named as in manifests (``"Ingress"``). A namespaced object without a namespace goes to ``default``; unlike over HTTP, a
    missing namespace is created with its first object. Every method raises `ApiError` with the status that a client would get, and
    `KeyError` for a kind that is not served. Arguments and results are copies: the caller may change them.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def resource_version(self) -> str:
        """The newest resourceVersion."""
        return str(self._store.resource_version)

    def create(self, kind: str, obj: Mapping[str, Any], *, manager: str = DEFAULT_MANAGER) -> dict[str, Any]:
        """POST."""
        resource, namespace, _ = self._locate(kind, obj)
        self._store.ensure_namespace(namespace)
        return self._store.create(resource, namespace, obj, self._store.writer(manager)).copy()

    def update(self, kind: str, obj: Mapping[str, Any], *, subresource: str = "", manager: str = DEFAULT_MANAGER) -> dict[str, Any]:
        """PUT: conflicts if `obj` has a stale resourceVersion."""
        resource, namespace, name = self._locate(kind, obj)
        writer = self._store.writer(manager, subresource)
        return self._store.replace(resource, namespace, name, obj, writer)[0].copy()

    def apply(
        self,
        kind: str,
        obj: Mapping[str, Any],
        *,
        manager: str = DEFAULT_MANAGER,
        force: bool = True,
        subresource: str = "",
    ) -> dict[str, Any]:
        """Server-side apply."""
        resource, namespace, name = self._locate(kind, obj)
        config = {"apiVersion": resource.api_version, "kind": kind} | json.loads(dump(obj))
        writer = self._store.writer(manager, subresource)
        self._store.ensure_namespace(namespace)
        return self._store.apply(resource, namespace, name, config, writer, force=force)[0].copy()

    def patch(
        self,
        kind: str,
        name: str,
        patch: Mapping[str, Any] | list[dict[str, Any]],
        *,
        namespace: str = "default",
        subresource: str = "",
        manager: str = DEFAULT_MANAGER,
    ) -> dict[str, Any]:
        """A JSON merge patch if `patch` is a mapping, a JSON patch if it is a list of operations."""
        resource, space = self._resource(kind, namespace)
        writer = self._store.writer(manager, subresource)
        return self._store.patch(resource, space, name, _patcher(patch), writer).copy()

    def update_status(
        self,
        kind: str,
        name: str,
        status: Mapping[str, Any],
        *,
        namespace: str = "default",
        manager: str = DEFAULT_MANAGER,
    ) -> dict[str, Any]:
        """Replaces the whole status; raises `KeyError` for a kind without a status subresource."""
        resource, space = self._resource(kind, namespace)
        if not resource.status:
            raise KeyError(f"{kind} has no status subresource")
        new = json.loads(dump(status))
        writer = self._store.writer(manager, "status")
        return self._store.patch(resource, space, name, lambda live: live | {"status": new}, writer).copy()

    def delete(self, kind: str, name: str, *, namespace: str = "default", grace_seconds: int | None = None) -> dict[str, Any] | None:
        """DELETE.

        Args:
            kind: The kind.
            name: The object's name.
            namespace: Its namespace, ignored for cluster-scoped kinds.
            grace_seconds: For pods bound to a node: grace period, seconds; None for the pod's own, 0 removes it at once.

        Returns:
            The object if finalizers or the grace period keep it, else None.
        """
        resource, space = self._resource(kind, namespace)
        stored, gone = self._store.delete(resource, space, name, DeleteOptions(grace_seconds=grace_seconds))
        return None if gone else stored.copy()

    def get(self, kind: str, name: str, *, namespace: str = "default") -> dict[str, Any]:
        """GET."""
        resource, space = self._resource(kind, namespace)
        return self._store.get(resource, space, name).copy()

    def list(self, kind: str, *, namespace: str = "", label_selector: str = "", field_selector: str = "") -> list[dict[str, Any]]:
        """The matching objects; of all namespaces if `namespace` is ""."""
        resource = self._store.registry.of_kind(kind)
        selector = selectors.parse(resource, label_selector, field_selector)
        return [item.copy() for item in self._store.select(resource, namespace, selector).items]

    def _resource(self, kind: str, namespace: str) -> tuple[Resource, str]:
        resource = self._store.registry.of_kind(kind)
        return resource, namespace if resource.namespaced else ""

    def _locate(self, kind: str, obj: Mapping[str, Any]) -> tuple[Resource, str, str]:
        metadata = obj.get("metadata") or {}
        resource, namespace = self._resource(kind, metadata.get("namespace") or "default")
        return resource, namespace, metadata.get("name", "")


def _patcher(patch: Mapping[str, Any] | list[dict[str, Any]]) -> Patcher:
    if isinstance(patch, list):
        operations = patches.decode_json_patch(dump(patch).encode())
        return lambda live: patches.json_patch(live, operations)
    change = json.loads(dump(patch))

    def merged(live: dict[str, Any]) -> dict[str, Any]:
        result = patches.merge_patch(live, change)
        return result if isinstance(result, dict) else {}

    return merged
