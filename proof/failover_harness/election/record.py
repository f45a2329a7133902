"""Records all changes of a Lease and of the objects that its holder writes, in the order in which the server accepted them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from controller.clients.kube import CONFIG_MAPS, LEASES, KubeSession, Object, Resource
from controller.errors import RemoteError
from controller.recording.stored import decode
from controller.service.election import Holding, holding
from controller.service.leadership import LEASE_NAME
from controller.service.store import record_name
from failover_harness.election.elector import APPLICATION, ROUTING


@dataclass(frozen=True, slots=True)
class Write:
    """An accepted write to an object other than the Lease.

    Attributes:
        revision: etcd's revision, from the resourceVersion; it orders all objects.
        what: ``state`` or ``routing``.
        epoch: Epoch of the state record; 0 for routing.
        by: The writer of routing; "" for state, which has only epochs.
    """

    revision: int
    what: str
    epoch: int
    by: str


@dataclass(slots=True)
class Record:
    """What two watches of one namespace delivered.

    Attributes:
        leases: Revision and content of each version of the Lease; None for its deletion.
        writes: Every accepted write.
        seen: When this process saw a new holder, on its monotonic clock, and the holder.
    """

    leases: list[tuple[int, Holding | None]] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    seen: list[tuple[float, str]] = field(default_factory=list)

    def violations(self) -> list[str]:
        """Writes accepted while another replica held the Lease, and writes of an earlier epoch than a previous write."""
        found, latest = [], 0
        for write in sorted(self.writes, key=lambda one: one.revision):
            held = self.holding_at(write.revision)
            if write.what == "state":
                if write.epoch < latest:
                    found.append(f"{write}: state of epoch {latest} was there before")
                latest = max(latest, write.epoch)
            writer = write.by or self._leader_of(write.epoch, write.revision)
            if held is not None and held.holder and held.holder != writer:
                found.append(f"{write} by {writer}: {held.holder} held the Lease in epoch {held.epoch}")
        return found

    def holding_at(self, revision: int) -> Holding | None:
        """The Lease as it was at a revision."""
        return next((held for at, held in sorted(self.leases, key=lambda one: one[0], reverse=True) if at <= revision), None)

    def _leader_of(self, epoch: int, revision: int) -> str:
        """The holder in an epoch. If the epoch occurred twice because it was set back, the last holder before a revision."""
        past = [held for at, held in sorted(self.leases, key=lambda one: one[0]) if at <= revision and held is not None]
        return next((held.holder for held in reversed(past) if held.epoch == epoch and held.holder), "?")

    def holders(self) -> list[str]:
        """The holders of the Lease, in order."""
        names = [held.holder for _, held in sorted(self.leases, key=lambda one: one[0]) if held is not None]
        return [name for index, name in enumerate(names) if name and (index == 0 or names[index - 1] != name)]

    def count(self, by: str) -> int:
        """How often a replica wrote routing."""
        return sum(write.by == by for write in list(self.writes))


class Recorder:
    """Watches one namespace until it is closed; resumes where it was after an outage of the API server."""

    def __init__(self, session: KubeSession, namespace: str) -> None:
        self.record = Record()
        self._session, self._namespace = session, namespace
        self._closing = False
        self._threads = [
            threading.Thread(target=self._watch, args=(resource, take), daemon=True, name=f"record-{resource.plural}")
            for resource, take in ((LEASES, self._lease), (CONFIG_MAPS, self._config_map))
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> Record:
        """Ends the watches within their timeout and returns the record."""
        self._closing = True
        for thread in self._threads:
            thread.join(timeout=10)
        return self.record

    def _watch(self, resource: Resource, take: Any) -> None:
        version = ""
        while not self._closing:
            try:
                for event in self._events(resource, version):
                    if event["type"] == "ERROR":  # 410 after a restart of the server, which drops its history
                        version = ""
                        break
                    version = event["object"]["metadata"]["resourceVersion"]
                    take(event["type"], event["object"])
            except RemoteError:
                threading.Event().wait(0.2)

    def _events(self, resource: Resource, version: str) -> Iterator[dict[str, Any]]:
        query = [("watch", "true"), ("timeoutSeconds", "2"), ("allowWatchBookmarks", "false")]
        query += [("resourceVersion", version)] if version else []
        with self._session.stream(resource.path(self._namespace), query, idle_s=10) as lines:
            yield from lines

    def _lease(self, kind: str, obj: Object) -> None:
        if obj["metadata"]["name"] != LEASE_NAME:
            return
        held = None if kind == "DELETED" else holding(obj)
        self.record.leases.append((int(obj["metadata"]["resourceVersion"]), held))
        self.record.seen.append((time.monotonic(), held.holder if held is not None else ""))

    def _config_map(self, kind: str, obj: Object) -> None:
        name, revision, data = obj["metadata"]["name"], int(obj["metadata"]["resourceVersion"]), obj.get("data") or {}
        if kind == "DELETED":
            return
        if name == record_name(APPLICATION):
            decode(data["memory"])  # an unreadable record is also a failure
            self.record.writes.append(Write(revision, "state", int(data["epoch"]), ""))
        elif name == ROUTING and "by" in data:
            self.record.writes.append(Write(revision, "routing", 0, data["by"]))


def make_routing(session: KubeSession, namespace: str) -> None:
    """Creates the ConfigMap that receives the replicas' effects."""
    body = {"metadata": {"name": ROUTING}, "data": {"count": "0"}}
    session.request("POST", CONFIG_MAPS.path(namespace), body=json.dumps(body))
