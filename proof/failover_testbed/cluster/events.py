"""Events as Karpenter and kube-scheduler record them. Their recorders fill different fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from controller.clock import format_rfc3339
from failover_testbed.cluster.world import Object, Pod, World

DEDUPE_S: Final = 120.0
"""Karpenter's default, seconds: within it, Karpenter does not repeat a reason on an object, even with another message."""

_BURST: Final = 25
_REFILL_S: Final = 300.0
"""Its client posts this many events about one object at once, and one more each five minutes. It drops the others."""

_NOMINATED_PER_S: Final = 5.0
_NOMINATED_BURST: Final = 10
"""Karpenter's own limit of `Nominated`, whatever the pod."""

EVENT_NAMESPACE: Final = "default"  # of events on cluster-scoped objects


@dataclass(slots=True)
class _Bucket:
    """Of tokens: `size` of them at most, and `per_s` more each second. It had `left` of them at `at`."""

    size: int
    per_s: float
    at: float
    left: float

    def take(self, now: float) -> bool:
        """Whether there was one to take."""
        self.left, self.at = min(self.size, self.left + (now - self.at) * self.per_s), now
        taken = self.left >= 1.0
        self.left -= taken
        return taken


class Recorder:
    """Records events of Karpenter and of kube-scheduler.

    Args:
        world: Where the events go.
        lost: The share of Karpenter's events with a reason that nobody receives, beyond what its limits drop.
    """

    def __init__(self, world: World, lost: Mapping[str, float] | None = None) -> None:
        self._world, self.lost = world, dict(lost or {})
        self._losing = Random(f"events lost in {world.seed}")  # of its own: what is lost changes nothing in the cluster
        self._buckets: dict[str, _Bucket] = {}  # by the uid of what the events are about, and one of `Nominated`
        self._last: dict[tuple[str, str], float] = {}  # Karpenter's cache: when a reason was recorded on an object
        self._names: dict[tuple[str, str, str], tuple[str, str]] = {}  # namespace and name of the Event of an equal message

    def karpenter(self, obj: Mapping[str, Any], kind: str, reason: str, message: str, *, dedupe_s: float = DEDUPE_S) -> bool:
        """Records one event of Karpenter.

        Args:
            obj: The object that it is about.
            kind: The event's type: ``Normal`` or ``Warning``.
            reason: The event's reason, one word.
            message: The event's message.
            dedupe_s: How long the same reason on the same object is not recorded again, seconds.

        Returns:
            Whether the event was recorded.
        """
        world, metadata = self._world, obj["metadata"]
        now, key = world.now(), (reason, metadata["uid"])
        if now - self._last.get(key, float("-inf")) < dedupe_s:
            return False
        self._last[key] = now
        if reason == "Nominated" and not self._bucket(reason, _NOMINATED_BURST, _NOMINATED_PER_S).take(now):
            return False
        if not self._bucket(metadata["uid"], _BURST, 1 / _REFILL_S).take(now) or self._losing.random() < self.lost.get(reason, 0.0):
            return False
        stamp = world.stamp(now)
        known = self._names.get((reason, metadata["uid"], message))
        if known is not None:
            namespace, name = known
            event = world.find("Event", name, namespace)
            if event is not None:
                world.store.patch(
                    "Event",
                    name,
                    {"count": int(event.get("count") or 1) + 1, "lastTimestamp": stamp},
                    namespace=namespace,
                    manager="karpenter",
                )
                return True
        event = self._body(obj, kind, reason, message)
        event |= {
            "source": {"component": "karpenter"},
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
            "eventTime": None,
            "reportingComponent": "karpenter",
            "reportingInstance": "",
        }
        world.store.create("Event", event, manager="karpenter")
        self._names[reason, metadata["uid"], message] = (event["metadata"]["namespace"], event["metadata"]["name"])
        return True

    def _bucket(self, name: str, size: int, per_s: float) -> _Bucket:
        return self._buckets.setdefault(name, _Bucket(size, per_s, self._world.now(), size))

    def scheduler(self, pod: Pod, reason: str, message: str) -> None:
        """Records one event of kube-scheduler on a pod, in the form of events.k8s.io; a repeated event becomes a series."""
        world = self._world
        moment = format_rfc3339(world.now(), fraction=True)
        known = self._names.get((reason, pod.uid, message))
        if known is not None:
            namespace, name = known
            event = world.find("Event", name, namespace)
            if event is not None:
                count = int((event.get("series") or {}).get("count") or 1) + 1
                series = {"series": {"count": count, "lastObservedTime": moment}}
                world.store.patch("Event", name, series, namespace=namespace, manager="kube-scheduler")
                return
        about = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid}}
        event = self._body(about, "Warning" if reason == "FailedScheduling" else "Normal", reason, message)
        event |= {
            "source": {},
            "firstTimestamp": None,
            "lastTimestamp": None,
            "eventTime": moment,
            "action": "Scheduling" if reason == "FailedScheduling" else "Binding",
            "reportingComponent": "default-scheduler",
            "reportingInstance": "default-scheduler-emulated",
        }
        world.store.create("Event", event, manager="kube-scheduler")
        self._names[reason, pod.uid, message] = (event["metadata"]["namespace"], event["metadata"]["name"])

    def _body(self, obj: Mapping[str, Any], kind: str, reason: str, message: str) -> Object:
        metadata = obj["metadata"]
        involved = {"kind": obj["kind"], "name": metadata["name"], "uid": metadata["uid"], "apiVersion": obj["apiVersion"]}
        namespace = metadata.get("namespace")
        if namespace:
            involved["namespace"] = namespace
        name = f"{metadata['name']}.{self._world.random.getrandbits(64):016x}"
        return {
            "metadata": {"name": name, "namespace": namespace or EVENT_NAMESPACE},
            "involvedObject": involved,
            "reason": reason,
            "message": message,
            "type": kind,
        }
