"""The object that routes the application's requests, as the API server keeps it. Whatever its kind, its adapter reads it.

Writes are those of an API server: a server-side apply of annotations, a JSON patch, and what other people change. Of the field managers
only the last writer of the routing action is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any, Final

from controller.clients.kube import APPLY_PATCH, GATEWAYS, JSON_PATCH, LISTENER_RULE_CONFIGURATIONS
from controller.clock import format_rfc3339
from controller.errors import Conflict, NotFound, Rejected
from controller.policy.model import Action, Application, Backend, Override, RoutingObservation
from controller.policy.plan import FIELD_MANAGER
from controller.routing.kinds import routing_port
from controller.routing.port import Beside
from failover_testbed.json_patch import DoesNotFitError, carry_out, keys
from failover_testbed.lbc.gateway_kinds import CLASS_CONTROLLER

_APPLIED: Final = {"fieldManager": FIELD_MANAGER, "force": "true"}
_PATCHED: Final = {"fieldManager": FIELD_MANAGER}
_ANNOTATIONS: Final = ("metadata", "annotations")


class RoutingObject:
    """The routing object of an application.

    Args:
        application: The simulated application; its route names the kind.
        action: The first routing action, see `RoutingObservation.action`.
        beside: The objects that the adapter reads with it.
        now: Virtual time.
        written: Called after every write but `touch` and `say`.
    """

    def __init__(
        self, application: Application, action: str, beside: Beside, now: Callable[[], float], written: Callable[[], None]
    ) -> None:
        self._application, self._beside, self._now, self._written = application, beside, now, written
        self.port = routing_port(application)
        self.version = 0
        """Its resourceVersion."""
        self.override = Override()
        """What its annotations ask of the controller."""
        self.writer = ""
        """The last writer of the action."""
        self.plain: dict[str, Any] | None = None
        """The object; None where it does not exist."""
        self.observed = RoutingObservation(exists=False)
        """What its adapter reads."""
        self.overlooked: float | None = None
        """See `controller.routing.port.Asked.overlooked`."""
        self.sent = ""
        """The routing action that the controller's last request asked for, whatever a webhook made of it."""
        self._made = 0
        self._owned: frozenset[str] = frozenset()  # the annotations that our field manager has applied
        self._standby: Sequence[Mapping[str, Any]] = ()
        self._create(action, "kubectl", Override())

    @property
    def of_gateway(self) -> bool:
        """Whether a Gateway's load balancer has its rules."""
        return GATEWAYS in self.port.reads

    @property
    def annotations(self) -> dict[str, str]:
        """Its annotations."""
        return {} if self.plain is None else dict(self.plain["metadata"].get("annotations", {}))

    # --- the controller's requests ------------------------------------------------------------------------------------------------------

    def apply(self, action: Action, webhook: Callable[[str], str]) -> None:
        """Takes a request of the controller.

        Args:
            action: The request.
            webhook: What a mutating webhook makes of the routing action.

        Raises:
            Conflict: It is about an object that was deleted, made again, or changed.
            NotFound: It does not create what it patches, and there is nothing.
            Rejected: The API server would not take it.
        """
        if action.content_type == APPLY_PATCH:
            made, owned = self._after_apply(action)
        elif action.content_type == JSON_PATCH:
            made, owned = self._after_patch(action), self._owned
        else:
            raise Rejected(f"not a patch that the API server knows: {action.content_type}")
        self._check(made["metadata"])
        self.sent = self._read(made).action
        self._owned = owned
        before = self.observed.action
        self._put(made, webhook(self.sent))
        rewritten = action.content_type == APPLY_PATCH or self._read(made).action != before
        self._store(made, FIELD_MANAGER if rewritten else self.writer)
        self._written()

    def _after_apply(self, action: Action) -> tuple[dict[str, Any], frozenset[str]]:
        """A forced server-side apply removes what its manager owned and no longer names."""
        if dict(action.query) != _APPLIED:
            raise Rejected(f"not a forced server-side apply: {action.query}")
        if self.plain is None:
            raise Conflict("precondition failed: UID of an object that does not exist")
        metadata = json.loads(action.body)["metadata"]
        written: dict[str, str] = metadata["annotations"]
        dropped = self._owned - written.keys()
        made = deepcopy(self.plain)
        left = {key: value for key, value in self.annotations.items() if key not in dropped}
        made["metadata"] |= {"uid": metadata.get("uid"), "resourceVersion": metadata.get("resourceVersion"), "annotations": left | written}
        return made, frozenset(written)

    def _after_patch(self, action: Action) -> dict[str, Any]:
        if dict(action.query) != _PATCHED:
            raise Rejected(f"not a patch of the controller: {action.query}")
        if self.plain is None:
            raise NotFound(f"{self.port.resource.kind} {self._application.route.name} not found")
        made = deepcopy(self.plain)
        try:
            carry_out(made, json.loads(action.body))
        except DoesNotFitError as error:
            raise Rejected(f"the patch does not fit: {error}") from error
        return made

    def _check(self, metadata: Mapping[str, Any]) -> None:
        found = self.plain["metadata"] if self.plain is not None else {}
        if metadata.get("uid") != found.get("uid"):
            raise Conflict(f"precondition failed: UID {metadata.get('uid')}, found {found.get('uid')}")
        if metadata.get("resourceVersion") != found.get("resourceVersion"):
            raise Conflict("the object has been modified")

    # --- what others write --------------------------------------------------------------------------------------------------------------

    def touch(self) -> None:
        """Somebody writes something that is nothing to us."""
        self._store(self.plain, self.writer)

    def edit(self, action: str | None, writer: str) -> None:
        """Somebody sets the routing action, or removes it (`None`)."""
        self.change(lambda obj: self._put(obj, action), writer)

    def route_elsewhere(self, action: str, annotations: Mapping[str, str]) -> None:
        """Another installation of the controller writes the routing: under the same field manager."""

        def written(obj: dict[str, Any]) -> None:
            obj["metadata"]["annotations"] = {**obj["metadata"].get("annotations", {}), **annotations}
            self._put(obj, action)

        self.change(written, FIELD_MANAGER)
        self._owned = frozenset(annotations)

    def change(self, edit: Callable[[dict[str, Any]], None], writer: str | None = None) -> None:
        """Somebody changes anything else of it, if it exists.

        Args:
            edit: Changes the object.
            writer: Who owns the routing action then; None: the same as before.
        """
        made = deepcopy(self.plain)
        if made is not None:
            edit(made)
        self._store(made, self.writer if writer is None else writer)
        self._written()

    def set_override(self, override: Override) -> None:
        """An operator sets or removes a pause or a pin."""
        self.override = override
        self.touch()
        self._written()

    def set_standby(self, *, there: bool) -> None:
        """Somebody adds the standby rules, or removes them."""

        def put(obj: dict[str, Any]) -> None:
            others = [rule for rule in obj["spec"]["rules"] if rule not in self._standby]
            obj["spec"]["rules"] = [*others, *(self._standby if there else ())]

        self.change(put)

    def delete(self) -> None:
        """Somebody deletes it."""
        self._store(None, self.writer)
        self._written()

    def create(self, action: str, writer: str, override: Override) -> None:
        """Somebody creates it from the manifest in Git: with the standby rules, and without our marker."""
        self._create(action, writer, override)
        self._written()

    def _create(self, action: str, writer: str, override: Override) -> None:
        application, resource = self._application, self.port.resource
        named = {"name": application.route.name, "namespace": application.namespace, "uid": f"uid-{self._made}", "generation": 1}
        made: dict[str, Any] = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": named, "spec": self._spec()}
        every: dict[Backend, bool | None] = dict.fromkeys((*(unit.backend for unit in application.units), application.capacity), True)
        rules = self.port.remedy(application, self._read(made), made, every).rules
        self._standby = rules[1:]
        made["spec"]["rules"] = list(rules)
        self._put(made, action)
        self._made, self._owned, self.override = self._made + 1, frozenset(), override
        self._store(made, writer)

    # --- the load-balancer controller ---------------------------------------------------------------------------------------------------

    def say(self, conditions: Sequence[Mapping[str, Any]] | None) -> bool:
        """The load-balancer controller has read it, and writes its conditions where they are others. Returns whether anything is new.

        Args:
            conditions: Of a route below its Gateway; None: as they were.
        """
        before = self.observed, self.overlooked
        if self.plain is not None and conditions is not None:
            status = {"parents": [{"controllerName": CLASS_CONTROLLER, "conditions": list(conditions)}]}
            if self.plain.get("status") != status:
                self.version += 1
                metadata = {**self.plain["metadata"], "resourceVersion": str(self.version)}
                self.plain = {**self.plain, "metadata": metadata, "status": status}
        self._observe()
        return before != (self.observed, self.overlooked)

    # --- storing ------------------------------------------------------------------------------------------------------------------------

    def _store(self, obj: Mapping[str, Any] | None, writer: str) -> None:
        self.version, self.writer = self.version + 1, writer
        if obj is None:
            self.plain = None
        else:
            metadata = {**obj["metadata"], "resourceVersion": str(self.version)}
            if self.plain is not None and self.plain["spec"] != obj["spec"]:
                metadata["generation"] += 1
            made = {**obj, "metadata": metadata}
            written = {"manager": writer, "operation": "Update", "time": format_rfc3339(self._now())}
            metadata["managedFields"] = [{**written, "fieldsType": "FieldsV1", "fieldsV1": self._fields(made)}]
            self.plain = made
        self._observe()

    def _spec(self) -> dict[str, Any]:
        """The spec before it has standby rules and an action: that of a route names its Gateway and its rule."""
        if not self.of_gateway:
            return {}
        route, configured = self._application.route, LISTENER_RULE_CONFIGURATIONS
        rule: dict[str, Any] = {"name": route.part}
        if self._beside.one(configured, self._application.namespace, route.name) is not None:
            reference = {"group": configured.group, "kind": configured.kind, "name": route.name}
            rule["filters"] = [{"type": "ExtensionRef", "extensionRef": reference}]
        return {"parentRefs": [{"name": route.name}], "rules": [rule]}

    def _observe(self) -> None:
        seen = self._read(self.plain)
        self.observed = replace(seen, override=self.override) if seen.exists else seen
        asked = None if self.plain is None else self.port.asked(self._application, self.plain, self._beside)
        self.overlooked = None if asked is None else asked.overlooked

    def _read(self, obj: Mapping[str, Any] | None) -> RoutingObservation:
        return self.port.observe(self._application, obj, self._beside)

    def _place(self, obj: Mapping[str, Any]) -> list[str]:
        """The path of the field that holds the routing action."""
        return keys(self.port.owned(self._application, self._read(obj)))

    def _put(self, obj: dict[str, Any], action: str | None) -> None:
        """Puts a routing action into an object: an annotation as it is, anything else as the JSON that the action is."""
        path = self._place(obj)
        value = action if action is None or _annotated(path) else json.loads(action)
        _placed(obj, path, value)

    def _fields(self, obj: Mapping[str, Any]) -> dict[str, Any]:
        """The field that holds the routing action as field managers own it: a list of rules only as a whole. {} where it is not there."""
        fields: dict[str, Any] = {}
        if self._read(obj).action or not _annotated(self._place(obj)):
            for key in reversed(list(_until_a_number(self._place(obj)))):
                fields = {f"f:{key}": fields}
        return fields


def _placed(obj: dict[str, Any], path: Sequence[str], value: object) -> None:
    """Puts a value at a path of an object, with the maps on the way; None takes away what is there."""
    held: Any = obj
    for key in path[:-1]:
        held = held[int(key)] if isinstance(held, list) else held.setdefault(key, {})
    if value is None:
        held.pop(path[-1], None)
    else:
        held[path[-1]] = value


def _annotated(path: Sequence[str]) -> bool:
    return tuple(path[:2]) == _ANNOTATIONS


def _until_a_number(path: Iterable[str]) -> Iterable[str]:
    for key in path:
        if key.isdigit():
            return
        yield key
