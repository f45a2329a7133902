"""Events as Karpenter and kube-scheduler record them. Their recorders fill different fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from controller.clock import format_rfc3339
from failover_testbed.cluster.world import Object, Pod, World

DEDUPE_S: Final = 120.0
"""Karpenter's default, seconds: within it, Karpenter does not repeat a reason on an object, even with another message."""

EVENT_NAMESPACE: Final = "default"  # of events on cluster-scoped objects


class Recorder:
    """Records events of Karpenter and of kube-scheduler.

    Args:
        world: Where the events go.
    """

    def __init__(self, world: World) -> None:
        self._world = world
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
