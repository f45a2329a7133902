"""Stores objects and their history. HTTP requests and in-process code share these writes.

Thread-safe. A write stores a new object and never changes a stored one, so lists, watches and snapshots may keep theirs.
"""

from __future__ import annotations

import json
import random
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from controller.clock import Clock, format_rfc3339, parse_rfc3339
from failover_testbed.kube_api import apply, checks, managed_fields, statuses, strategies
from failover_testbed.kube_api.field_sets import dump
from failover_testbed.kube_api.managed_fields import Writer
from failover_testbed.kube_api.records import Change, DeleteOptions, History, Page, Stored
from failover_testbed.kube_api.registry import Registry, Resource
from failover_testbed.kube_api.selectors import Selector

_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_LENGTH = 5
_MAX_SNAPSHOTS = 64

Key = tuple[str, str]
Patcher = Callable[[dict[str, Any]], dict[str, Any]]


class Store:
    """The stored state of one emulated cluster.

    Args:
        registry: The served resources.
        clock: Time of the timestamps in objects.
        history_limit: How many changes of each resource a watch can go back.
        seed: Makes uids and generated names repeatable; random with None.
        any_namespace: Whether a missing namespace is created with its first object.
    """

    def __init__(self, registry: Registry, clock: Clock, *, history_limit: int, seed: int | None, any_namespace: bool = True) -> None:
        self.registry = registry
        self._clock = clock
        self._random = random.Random(seed)
        self._any_namespace = any_namespace
        self._lock = threading.RLock()
        self._rv = 1
        self._objects: dict[str, dict[Key, Stored]] = {item.qualified: {} for item in registry.resources}
        self._histories = {item.qualified: History(history_limit) for item in registry.resources}
        self._snapshots: OrderedDict[tuple[str, int], list[Stored]] = OrderedDict()
        self._listeners: list[Callable[[], None]] = []
        namespaces = registry.of_kind("Namespace")
        for name in ("default", "kube-system"):
            self.create(namespaces, "", {"metadata": {"name": name}}, self.writer("kube-apiserver"))

    def writer(self, manager: str, subresource: str = "") -> Writer:
        """`manager`, writing now."""
        return Writer(manager, format_rfc3339(self._clock.now()), subresource)

    def listen(self, listener: Callable[[], None]) -> None:
        """Calls `listener` after every write, on the writer's thread; it must return quickly."""
        self._listeners.append(listener)

    @property
    def resource_version(self) -> int:
        """The newest resourceVersion."""
        return self._rv

    # Reading

    def get(self, resource: Resource, namespace: str, name: str) -> Stored:
        """One object.

        Raises:
            ApiError: 404.
        """
        with self._lock:
            found = self._objects[resource.qualified].get((namespace, name))
        if found is None:
            raise statuses.not_found(resource, name)
        return found

    def select(self, resource: Resource, namespace: str, selector: Selector) -> Page:
        """All matching objects, in key order; `namespace` "" means all."""
        with self._lock:
            items, rv = self._snapshot(resource), self._rv
        return Page([item for item in items if _chosen(item, namespace, selector)], rv)

    def page(self, resource: Resource, namespace: str, selector: Selector, limit: int, start: tuple[int, str] | None) -> Page:
        """A part of a list.

        Args:
            resource: The kind to list.
            namespace: The namespace, "" for all.
            selector: Selects objects.
            limit: Largest number of objects; positive.
            start: End of the previous part, (resourceVersion or -1 for "now", key); None for the first part.

        Raises:
            ApiError: 410 if the state at that resourceVersion was dropped.
        """
        with self._lock:
            rv, after = start or (self._rv, "")
            if rv < 0 or (rv == self._rv and start is None):
                rv = self._rv
                items = self._remember(resource)
            else:
                remembered = self._snapshots.get((resource.qualified, rv))
                if remembered is None:
                    raise LookupError(after)
                items = remembered
        chosen = [item for item in items if _chosen(item, namespace, selector) and _path(item) > after]
        shown = chosen[:limit]
        more = len(chosen) - len(shown)
        # Without a selector the real server uses etcd's count; with one it reports none.
        remaining = more if more and not selector else None
        return Page(shown, rv, _path(shown[-1]) if more else None, remaining)

    def _snapshot(self, resource: Resource) -> list[Stored]:
        objects = self._objects[resource.qualified]
        return [objects[key] for key in sorted(objects, key="/".join)]

    def _remember(self, resource: Resource) -> list[Stored]:
        key = (resource.qualified, self._rv)
        if key not in self._snapshots:
            self._snapshots[key] = self._snapshot(resource)
            if len(self._snapshots) > _MAX_SNAPSHOTS:
                self._snapshots.popitem(last=False)
        return self._snapshots[key]

    # History

    def compact(self) -> None:
        """Drops the history: older resourceVersions and continue tokens now get 410. Open watches continue."""
        with self._lock:
            self._snapshots.clear()
            for history in self._histories.values():
                history.compacted_rv = self._rv

    def oldest(self, resource: Resource) -> int:
        """The oldest resourceVersion from which a new watch may start."""
        with self._lock:
            history = self._histories[resource.qualified]
            return max(history.dropped_rv, history.compacted_rv)

    def changes(self, resource: Resource, after: int, most: int) -> tuple[list[Change], int] | None:
        """The changes that a watch must send next.

        Returns:
            Up to `most` changes newer than `after`, and the resourceVersion up to which they are complete; None if some were dropped
            before they could be read.
        """
        with self._lock:
            history = self._histories[resource.qualified]
            if after < history.dropped_rv:
                return None
            found = history.after(after, most)
            return found, found[-1].rv if len(found) == most else max(after, self._rv)

    # Writing

    def create(self, resource: Resource, namespace: str, obj: Mapping[str, Any], writer: Writer, *, dry_run: bool = False) -> Stored:
        """Stores a new object.

        Raises:
            ApiError: 400, 409 if it exists, 422 if it is invalid.
        """
        new: dict[str, Any] = json.loads(dump(obj))
        checks.check_identity(resource, new)
        strategies.check_types(resource, new, patched=False)
        new = strategies.normalized(resource, new)
        metadata = new.setdefault("metadata", {})
        if metadata.get("resourceVersion"):
            raise statuses.failure(500, "", "resourceVersion should not be set on objects to be created")
        with self._lock:
            self._place(resource, namespace, new)
            managed_fields.track_update(resource, _untouched(resource), new, writer)
            return self._insert(resource, namespace, new, dry_run=dry_run)

    def replace(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        obj: Mapping[str, Any],
        writer: Writer,
        *,
        dry_run: bool = False,
    ) -> tuple[Stored, bool]:
        """PUT: replaces the object with `obj`.

        Returns:
            The stored object and whether it was created.

        Raises:
            ApiError: 400, 404, 409 on a stale resourceVersion, 422 if it is invalid.
        """
        body: dict[str, Any] = json.loads(dump(obj))
        checks.check_identity(resource, body)
        strategies.check_types(resource, body, patched=False)
        body = strategies.normalized(resource, body)
        checks.check_name(body, name)

        def put(live: dict[str, Any]) -> dict[str, Any]:
            managed_fields.track_update(resource, live, body, writer)
            return body

        with self._lock:
            expected_uid = body.get("metadata", {}).get("uid", "")
            old = self._objects[resource.qualified].get((namespace, name))
            if expected_uid and (old is not None or resource.create_on_update):
                found_uid = old.obj["metadata"]["uid"] if old else ""
                if found_uid != expected_uid:
                    raise statuses.conflict(resource, name, checks.uid_mismatch(resource, namespace, name, expected_uid, found_uid))
            create = resource.create_on_update and not writer.subresource
            return self._modify(resource, namespace, name, put, writer, create=create, dry_run=dry_run)

    def patch(self, resource: Resource, namespace: str, name: str, patcher: Patcher, writer: Writer, *, dry_run: bool = False) -> Stored:
        """Changes the object with `patcher`, which gets a copy.

        Raises:
            ApiError: 404, 409 if the patch sets a stale resourceVersion, 422 if it does not fit.
        """

        def patched(live: dict[str, Any]) -> dict[str, Any]:
            new = patcher(json.loads(dump(live)))
            checks.check_patched(resource, new)
            new = strategies.normalized(resource, new)
            checks.check_name(new, name)
            managed_fields.track_update(resource, live, new, writer)
            return new

        with self._lock:
            return self._modify(resource, namespace, name, patched, writer, create=False, dry_run=dry_run)[0]

    def apply(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        config: Mapping[str, Any],
        writer: Writer,
        *,
        force: bool,
        dry_run: bool = False,
        may_create: Callable[[], None] | None = None,
    ) -> tuple[Stored, bool]:
        """Server-side apply.

        Args:
            resource: The kind of the object.
            namespace: The object's namespace.
            name: The object's name.
            config: The configuration.
            writer: The field manager.
            force: Whether to take over fields that others own.
            dry_run: Whether to store nothing.
            may_create: Called before an absent object is created; raises if creation is not allowed.

        Returns:
            The stored object and whether it was created.

        Raises:
            ApiError: 400, 404 for a subresource of an absent object, 409 on conflicts or a stale resourceVersion, 422.
        """

        def applied(live: dict[str, Any]) -> dict[str, Any]:
            creating = "metadata" not in live
            new = apply.server_side_apply(resource, live, config, writer, force=force)
            if creating and new["metadata"].get("uid"):
                uid = new["metadata"]["uid"]
                why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                raise statuses.conflict(resource, name, why)
            checks.check_name(new, name)
            if creating and may_create:
                may_create()
            return new

        strategies.check_types(resource, config, patched=True)
        with self._lock:
            create = not writer.subresource
            return self._modify(resource, namespace, name, applied, writer, create=create, dry_run=dry_run)

    def delete(self, resource: Resource, namespace: str, name: str, options: DeleteOptions) -> tuple[Stored, bool]:
        """Deletes an object, or marks it for deletion if finalizers or a pod's grace period keep it.

        Returns:
            The object and whether it is gone.

        Raises:
            ApiError: 404, 409 if a precondition fails, 501 for namespaces, which need a controller that empties them.
        """
        with self._lock:
            old = self.get(resource, namespace, name)
            if resource.kind == "Namespace":
                raise statuses.unsupported("deleting namespaces")
            metadata = old.obj["metadata"]
            checks.check_preconditions(resource, name, metadata, options)
            marked = self._mark_deleted(resource, old, options)
            if marked is None:
                return (self._remove(old) if not options.dry_run else old), True
            if marked == old.obj or options.dry_run:
                return Stored(resource, marked, old.rv), False
            return self._put(resource, marked, old), False

    def _mark_deleted(self, resource: Resource, old: Stored, options: DeleteOptions) -> dict[str, Any] | None:
        """The object with its deletion marks, None if it can be removed at once."""
        new = old.copy()
        metadata = new["metadata"]
        period = strategies.grace_period(resource, new, options.grace_seconds)
        pending = metadata.get("deletionGracePeriodSeconds", 0) if "deletionTimestamp" in metadata else None
        if pending is not None:
            period = min(pending, pending if options.grace_seconds is None else max(options.grace_seconds, 0))
        if period == 0 and not metadata.get("finalizers"):
            return None
        if pending is None or period < pending:
            asked = self._clock.now() if pending is None else (parse_rfc3339(metadata["deletionTimestamp"]) or 0.0) - pending
            metadata["deletionTimestamp"] = format_rfc3339(max(self._clock.now(), asked + period))
            metadata["deletionGracePeriodSeconds"] = period
        if pending is None and "generation" in metadata:
            metadata["generation"] += 1
        return new

    # Inside the lock

    def _place(self, resource: Resource, namespace: str, obj: dict[str, Any]) -> None:
        """Sets the name and namespace of a new object."""
        metadata = obj["metadata"]
        if not metadata.get("name") and metadata.get("generateName"):
            suffix = "".join(self._random.choice(_SUFFIX_ALPHABET) for _ in range(_SUFFIX_LENGTH))
            metadata["name"] = metadata["generateName"] + suffix
        checks.match_namespace(resource, namespace, metadata)
        strategies.check_name(resource, metadata.get("name", ""))

    def ensure_namespace(self, name: str) -> None:
        """Creates a namespace unless it exists."""
        with self._lock:
            if name and ("", name) not in self._objects["namespaces"]:
                self.create(self.registry.of_kind("Namespace"), "", {"metadata": {"name": name}}, self.writer("kube-apiserver"))

    def _insert(self, resource: Resource, namespace: str, new: dict[str, Any], *, dry_run: bool) -> Stored:
        metadata = new["metadata"]
        if not self._any_namespace and namespace and ("", namespace) not in self._objects["namespaces"]:
            raise statuses.no_namespace(namespace)
        key = (namespace, metadata["name"])
        if key in self._objects[resource.qualified]:
            raise statuses.already_exists(resource, metadata["name"])
        for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"):
            metadata.pop(name, None)
        metadata["uid"] = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        metadata["creationTimestamp"] = format_rfc3339(self._clock.now())
        strategies.prepare_create(resource, new)
        strategies.validate_create(resource, new)
        if dry_run:
            return Stored(resource, new, self._rv)
        self.ensure_namespace(namespace)
        return self._put(resource, new, None)

    def _modify(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        change: Patcher,
        writer: Writer,
        *,
        create: bool,
        dry_run: bool,
    ) -> tuple[Stored, bool]:
        old = self._objects[resource.qualified].get((namespace, name))
        if old is None:
            if not create:
                raise statuses.not_found(resource, name)
            new = change(_blank(resource))
            self._place(resource, namespace, new)
            return self._insert(resource, namespace, new, dry_run=dry_run), True
        new = change(old.copy())
        checks.match_namespace(resource, namespace, new["metadata"])
        self._check_version(resource, name, new["metadata"], old)
        strategies.prepare_update(resource, new, old.obj, writer.subresource)
        strategies.validate_update(resource, new, old.obj)
        _keep_times_of_no_op(new, old.obj)
        if _nothing_holds(new["metadata"]):
            if not dry_run:
                self._remove(old, final=new)
            return Stored(resource, new, old.rv), False
        if dry_run or new == old.obj:
            return Stored(resource, new, old.rv), False
        return self._put(resource, new, old), False

    @staticmethod
    def _check_version(resource: Resource, name: str, metadata: dict[str, Any], old: Stored) -> None:
        version = metadata.get("resourceVersion") or ""
        current = old.obj["metadata"]["resourceVersion"]
        if not version:
            if not resource.unconditional_update:
                text = "Invalid value: 0: must be specified for an update"
                raise statuses.invalid(resource.qualified, name, [("metadata.resourceVersion", "FieldValueInvalid", text)])
            metadata["resourceVersion"] = current
        elif version != current:
            raise statuses.conflict(resource, name)

    def _put(self, resource: Resource, obj: dict[str, Any], old: Stored | None) -> Stored:
        self._rv += 1
        metadata = obj["metadata"]
        metadata["resourceVersion"] = str(self._rv)
        ordered = {"kind": resource.kind, "apiVersion": resource.api_version} | obj
        stored = Stored(resource, ordered, self._rv)
        self._objects[resource.qualified][(metadata.get("namespace", ""), metadata["name"])] = stored
        self._record(resource, Change(self._rv, stored, old))
        return stored

    def _remove(self, old: Stored, final: dict[str, Any] | None = None) -> Stored:
        """Removes an object; `final` is its last content if that differs from the stored one."""
        resource, metadata = old.resource, old.obj["metadata"]
        self._rv += 1
        del self._objects[resource.qualified][(metadata.get("namespace", ""), metadata["name"])]
        last = Stored(resource, final, old.rv) if final else old
        self._record(resource, Change(self._rv, None, last))
        return last

    def _record(self, resource: Resource, change: Change) -> None:
        self._histories[resource.qualified].add(change)
        for listener in self._listeners:
            listener()


def _chosen(item: Stored, namespace: str, selector: Selector) -> bool:
    return (not namespace or item.obj["metadata"].get("namespace") == namespace) and selector.matches(item.obj)


def _path(item: Stored) -> str:
    metadata = item.obj["metadata"]
    return f"{metadata.get('namespace', '')}/{metadata['name']}"


def _nothing_holds(metadata: Mapping[str, Any]) -> bool:
    """Whether an object that is being deleted can be removed now."""
    waits = metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds")
    return "deletionTimestamp" in metadata and not waits


def _blank(resource: Resource) -> dict[str, Any]:
    return {"kind": resource.kind, "apiVersion": resource.api_version}


def _untouched(resource: Resource) -> dict[str, Any]:
    """The fields that a creator does not own: a built-in object has a spec, at least an empty one, before anything is written to it."""
    return _blank(resource) if resource.custom else _blank(resource) | {"spec": {}}


def _keep_times_of_no_op(new: dict[str, Any], old: Mapping[str, Any]) -> None:
    """Keeps the old times in managedFields if nothing else differs, so that repeating a write stores nothing."""
    if new["metadata"].get("managedFields") is None:
        new["metadata"].pop("managedFields", None)
    if _timeless(new) == _timeless(old) and "managedFields" in old["metadata"]:
        new["metadata"]["managedFields"] = old["metadata"]["managedFields"]


def _timeless(obj: Mapping[str, Any]) -> dict[str, Any]:
    entries = obj["metadata"].get("managedFields") or []
    bare = sorted(({key: value for key, value in entry.items() if key != "time"} for entry in entries), key=dump)
    return {**obj, "metadata": {**obj["metadata"], "managedFields": bare}}
