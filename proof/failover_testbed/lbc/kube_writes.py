"""Writes the load-balancer controller's finalizers, status, TargetGroupBindings and events to Kubernetes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog

from controller.clients.kube import EVENTS, MERGE_PATCH, TARGET_GROUP_BINDINGS, KubeSession, Object, Resource
from controller.clock import Clock, format_rfc3339
from controller.errors import Conflict, NotFound, RemoteError
from failover_testbed.cluster.world import stable_hash
from failover_testbed.lbc.group import Group
from failover_testbed.lbc.model import TargetKey

_MANAGER: Final = "elbv2.k8s.aws"
_BINDING_FINALIZER: Final = "elbv2.k8s.aws/resources"

log = structlog.get_logger(__name__)


class KubeWrites:
    """Writes to Kubernetes.

    Args:
        session: Connection to the API server, with the controller's identity.
        clock: Time of events.
    """

    def __init__(self, session: KubeSession, clock: Clock) -> None:
        self._session, self._clock = session, clock

    def _patch(self, resource: Resource, namespace: str, name: str, change: Mapping[str, Any], part: str = "") -> Object:
        path, query = resource.path(namespace, name) + part, (("fieldManager", _MANAGER),)
        return self._session.request("PATCH", path, query=query, body=json.dumps(change), content_type=MERGE_PATCH)

    # --- the objects that it serves -----------------------------------------------------------------------------------------------------

    def hold(self, resource: Resource, obj: Object, finalizer: str) -> None:
        """Adds a finalizer.

        Raises:
            RemoteError: It could not be added.
        """
        self._change_finalizers(resource, obj, lambda present: present if finalizer in present else [*present, finalizer])

    def release(self, resource: Resource, obj: Object, finalizer: str) -> None:
        """Removes a finalizer; an absent object is not an error.

        Raises:
            RemoteError: It could not be removed.
        """
        try:
            self._change_finalizers(resource, obj, lambda present: [one for one in present if one != finalizer])
        except NotFound:
            log.debug("lbc.released", kind=resource.kind, name=obj["metadata"]["name"])

    def _change_finalizers(self, resource: Resource, obj: Object, change: Callable[[list[str]], list[str]]) -> None:
        metadata = obj["metadata"]
        present = list(metadata.get("finalizers") or [])
        if change(present) != present:
            wanted = {"finalizers": change(present), "resourceVersion": metadata["resourceVersion"]}
            self._patch(resource, metadata["namespace"], metadata["name"], {"metadata": wanted})

    def fresh(self, resource: Resource, obj: Object) -> Object | None:
        """An object as it is now, None if it is gone.

        Raises:
            RemoteError: It could not be read.
        """
        try:
            return self._session.request("GET", resource.path(obj["metadata"]["namespace"], obj["metadata"]["name"]))
        except NotFound:
            return None

    def status(self, resource: Resource, obj: Object, status: Mapping[str, Any]) -> None:
        """Writes fields of an object's status, unless they are already there; an absent object is not an error.

        Raises:
            RemoteError: They could not be written.
        """
        present, metadata = obj.get("status") or {}, obj["metadata"]
        if any(present.get(name) != value for name, value in status.items()):
            try:
                self._patch(resource, metadata["namespace"], metadata["name"], {"status": status}, "/status")
            except NotFound:
                log.debug("lbc.status", kind=resource.kind, name=metadata["name"])

    # --- TargetGroupBindings ------------------------------------------------------------------------------------------------------------

    def create_binding(self, group: Group, key: TargetKey, name: str, arn: str, vpc: str) -> None:
        """Creates the TargetGroupBinding of a target group unless it exists.

        Raises:
            RemoteError: It could not be created.
        """
        body = {
            "apiVersion": TARGET_GROUP_BINDINGS.api_version,
            "kind": TARGET_GROUP_BINDINGS.kind,
            "metadata": {"name": name, "namespace": key.namespace, "labels": group.labels, "finalizers": [_BINDING_FINALIZER]},
            "spec": {
                "ipAddressType": "ipv4",
                "serviceRef": {"name": key.service, "port": key.port},
                "targetGroupARN": arn,
                "targetGroupProtocol": "HTTP",
                "targetType": "ip",
                "vpcID": vpc,
            },
        }
        try:
            self._session.create(TARGET_GROUP_BINDINGS, key.namespace, body, field_manager=_MANAGER)
        except Conflict:
            log.debug("lbc.binding.exists", binding=name)

    def bindings(self, group: Group) -> dict[str, TargetKey]:
        """The Service of each of a group's TargetGroupBindings, by the ARN of the target group.

        Raises:
            RemoteError: They could not be listed.
        """
        labels = ",".join(f"{name}={value}" for name, value in group.labels.items())
        listed = self._session.request("GET", TARGET_GROUP_BINDINGS.path(), query=(("labelSelector", labels),))["items"]
        found = {}
        for one in listed:
            spec, service = one["spec"], one["spec"]["serviceRef"]
            found[str(spec["targetGroupARN"])] = TargetKey(str(one["metadata"]["namespace"]), "", str(service["name"]), service["port"])
        return found

    def delete_binding(self, namespace: str, name: str) -> None:
        """Deletes a binding; its finalizer keeps it until its targets are deregistered.

        Raises:
            RemoteError: It could not be deleted.
        """
        try:
            self._session.request("DELETE", TARGET_GROUP_BINDINGS.path(namespace, name))
        except NotFound:
            log.debug("lbc.binding.gone", binding=name)

    def release_binding(self, namespace: str, name: str) -> None:
        """Removes a binding's finalizer.

        Raises:
            RemoteError: It could not be removed.
        """
        try:
            self._patch(TARGET_GROUP_BINDINGS, namespace, name, {"metadata": {"finalizers": None}})
        except NotFound:
            log.debug("lbc.binding.gone", binding=name)

    # --- events -------------------------------------------------------------------------------------------------------------------------

    def event(self, resource: Resource, obj: Object, kind: str, reason: str, message: str) -> None:
        """Writes an event about an Ingress or a Gateway. Events are best effort, as in the real controller."""
        self._event(resource, obj["metadata"], resource.kind.lower(), (kind, reason, message))

    def binding_event(self, namespace: str, name: str, reason: str, message: str) -> None:
        """Writes a warning event about a TargetGroupBinding."""
        self._event(TARGET_GROUP_BINDINGS, {"namespace": namespace, "name": name}, "targetGroupBinding", ("Warning", reason, message))

    def _event(self, resource: Resource, metadata: Mapping[str, Any], component: str, text: tuple[str, str, str]) -> None:
        (kind, reason, message), stamp = text, format_rfc3339(self._clock.now())
        namespace = metadata["namespace"]
        name = f"{metadata['name']}.{stable_hash(resource.kind, reason, message, length=16)}"
        try:
            try:
                before = self._session.request("GET", EVENTS.path(namespace, name))
                self._patch(EVENTS, namespace, name, {"count": int(before.get("count") or 1) + 1, "lastTimestamp": stamp})
            except NotFound:
                involved = {"kind": resource.kind, "apiVersion": resource.api_version, "name": metadata["name"], "namespace": namespace}
                body: Object = {
                    "metadata": {"name": name, "namespace": namespace},
                    "involvedObject": involved | ({"uid": metadata["uid"]} if "uid" in metadata else {}),
                    "type": kind,
                    "reason": reason,
                    "message": message,
                    "source": {"component": component},
                    "firstTimestamp": stamp,
                    "lastTimestamp": stamp,
                    "count": 1,
                    "reportingComponent": component,
                    "reportingInstance": "",
                }
                self._session.create(EVENTS, namespace, body, field_manager=_MANAGER)
        except RemoteError as error:
            log.debug("lbc.event", error=str(error))
