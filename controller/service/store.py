"""The policy's memory, in one ConfigMap per application, written with compare-and-swap and the leader's epoch.

Beside it are the alerts that people know of. Nothing is decided from these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Final

from controller.clients.kube import CONFIG_MAPS, KubeSession, Object
from controller.errors import Conflict, NotFound, StateError
from controller.objects import name_of, text
from controller.policy.model import Memory
from controller.policy.plan import FIELD_MANAGER
from controller.ports import EMPTY, StateStore, StoredMemory
from controller.recording.stored import CodecError, decode, encode
from controller.routing.annotations import APPLICATION
from controller.service.election import EFFECT_S, EPOCH_LIMIT, plausible
from controller.service.known_alerts import ALERTS, stored_alerts
from controller.signals.watch import list_objects

_PREFIX: Final = "failoverctl-state-"
_LABELS: Final = {"app.kubernetes.io/name": "failoverctl", "app.kubernetes.io/component": "state"}
_SELECTOR: Final = ",".join(f"{name}={value}" for name, value in _LABELS.items())


def record_name(application: str) -> str:
    """The ConfigMap's name for ``namespace/name``; the hash keeps ``a/b-c`` and ``a-b/c`` apart."""
    digest = hashlib.sha256(application.encode()).hexdigest()[:8]
    readable = application.replace("/", ".")[: 253 - len(_PREFIX) - 9].rstrip("-.")
    return f"{_PREFIX}{readable}-{digest}"


class ConfigMapStore:
    """Stores memory in the controller's own namespace.

    Args:
        session: Connection to the API server.
        namespace: The namespace of the ConfigMaps.
    """

    def __init__(self, session: KubeSession, namespace: str) -> None:
        self._session = session
        self._namespace = namespace

    def load(self, application: str) -> StoredMemory:
        """See `controller.ports.StateStore.load`."""
        found = self.found(application)
        return StoredMemory(Memory(), "", 0) if found is None else self.read(application, found)

    def found(self, application: str) -> Object | None:
        """The application's ConfigMap; None if there is none.

        Raises:
            RemoteError: It could not be read.
        """
        try:
            return self._session.get(CONFIG_MAPS, self._namespace, record_name(application))
        except NotFound:
            return None

    def listed(self, pause: Callable[[float], bool] | None = None) -> Mapping[str, Object]:
        """What `read` needs of the ConfigMaps of all applications as they are now, by name. One whose labels somebody removed is missing.

        Args:
            pause: See `controller.signals.watch.list_objects`.

        Raises:
            RemoteError: The list failed, or was incomplete.
        """
        selected = (("labelSelector", _SELECTOR),)
        found, _ = list_objects(self._session, CONFIG_MAPS, self._namespace, selected, slimmed=True, pause=pause)
        return {name_of(one): one for one in found}

    def read(self, application: str, found: Object) -> StoredMemory:
        """The memory in a ConfigMap.

        Raises:
            StateError: It is not valid, or of an epoch that no election can have led to. To begin a later one would use up the count for
                all applications; who wrote that epoch may have written the memory as well.
        """
        version = text(found, "metadata", "resourceVersion")
        try:
            memory, epoch = decode(text(found, "data", "memory")), _epoch(text(found, "data", "epoch"))
        except (CodecError, ValueError) as error:
            name = f"{self._namespace}/{record_name(application)}"
            raise StateError(f"ConfigMap {name}: {error}; delete it to start again from what the routing object shows") from error
        return StoredMemory(memory, version, epoch, stored_alerts(text(found, "data", ALERTS)))

    def save(self, application: str, memory: Memory, *, over: StoredMemory, epoch: int, beside: Mapping[str, str] = EMPTY) -> StoredMemory:
        """See `controller.ports.StateStore.save`. The server compares the version, which also stands for the epoch read with it."""
        if over.epoch > epoch:
            raise Conflict(f"state of {application} was written in epoch {over.epoch}, ours is {epoch}")
        body, session, space = self._body(application, memory, epoch, beside), self._session, self._namespace
        if not over.version:
            written = session.create(CONFIG_MAPS, space, body, field_manager=FIELD_MANAGER, deadline_s=EFFECT_S)
        else:
            body["metadata"]["resourceVersion"] = over.version
            name = record_name(application)
            try:
                written = session.replace(CONFIG_MAPS, space, name, body, field_manager=FIELD_MANAGER, deadline_s=EFFECT_S)
            except NotFound as error:
                raise Conflict(f"state of {application} was deleted meanwhile") from error
        return StoredMemory(memory, text(written, "metadata", "resourceVersion"), epoch)

    def _body(self, application: str, memory: Memory, epoch: int, beside: Mapping[str, str]) -> Object:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": record_name(application),
                "namespace": self._namespace,
                "labels": dict(_LABELS),
                "annotations": {APPLICATION: application},
            },
            "data": {"memory": encode(memory), "epoch": str(epoch), **beside},
        }


def _epoch(stored: str) -> int:
    """The epoch of stored memory.

    Raises:
        ValueError: It is no number, or no election can have led to it.
    """
    epoch = int(stored or "0")
    if not plausible(epoch):
        raise ValueError(f"epoch {epoch} is not within 0 to {EPOCH_LIMIT}, so that no leader wrote it")
    return epoch


class ReadOnlyStore:
    """Reads stored memory and discards what is saved: for a dry run, which may not write.

    Args:
        store: The store to read from.
    """

    def __init__(self, store: StateStore) -> None:
        self._store = store

    def load(self, application: str) -> StoredMemory:
        """See `controller.ports.StateStore.load`."""
        return self._store.load(application)

    def save(self, application: str, memory: Memory, *, over: StoredMemory, epoch: int, beside: Mapping[str, str] = EMPTY) -> StoredMemory:
        """Stores nothing."""
        del application, beside
        return StoredMemory(memory, over.version, epoch)
