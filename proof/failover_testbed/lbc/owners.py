"""What load balancers are made for: Ingresses and Gateways, each as a way from objects to a model and back to their status.

The controller reconciles both alike (`controller`); what differs between them is here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from controller.clients.kube import INGRESSES, SERVICES, Object, Resource
from controller.clock import Clock, format_rfc3339
from failover_testbed.lbc.annotations import BuildError
from failover_testbed.lbc.deploy import Deployed
from failover_testbed.lbc.gateway import Verdict, load
from failover_testbed.lbc.gateway_kinds import (
    CLASS_CONTROLLER,
    GATEWAY_CLASSES,
    GATEWAYS,
    ROUTES,
    ROUTES_OF,
    RULES,
    RULES_FINALIZER,
    Key,
    Seen,
    backends_of,
    find,
    key_of,
    parents_of,
    rules_named,
)
from failover_testbed.lbc.group import Group, Owner, group_of, held_by
from failover_testbed.lbc.kube_writes import KubeWrites
from failover_testbed.lbc.model import StackModel, Tolerance, build, references

_CHECK_EVENTS: Final = "Check Gateway Events for more information."
_LISTENER: Final = (
    ("Conflicted", "False", "NoConflicts", "Listener has no conflict."),
    ("Accepted", "True", "Accepted", "Listener is accepted."),
    ("ResolvedRefs", "True", "ResolvedRefs", "Listener has all refs resolved."),
    ("Programmed", "True", "Programmed", "Listener is programmed."),
)


class Owners(Protocol):
    """One kind of object for which load balancers are made."""

    @property
    def resource(self) -> Resource:
        """The kind."""

    def concerned(self, resource: Resource, versions: Sequence[Object], seen: Seen) -> set[Group]:
        """The groups that a change concerns.

        Args:
            resource: The kind of the changed object.
            versions: The object before and after the change.
            seen: All objects, after the change.
        """

    def groups(self, seen: Seen) -> set[Group]:
        """All groups."""

    def shown_for(self, key: Key, seen: Seen) -> Group | None:
        """The group whose load balancer an object is behind, None if it is no object of ours."""

    def members(self, group: Group, seen: Seen) -> tuple[list[Object], list[Object]] | None:
        """The objects of a group, and those that leave it and still have its finalizer; None to leave the group as it is."""

    def build(self, members: Sequence[Object], seen: Seen) -> StackModel:
        """The model of a group, which has a member.

        Raises:
            LoadError: It cannot be built, and nothing but a log entry says so.
            BuildError: It cannot be built; an event says why.
            RemoteError: A status could not be written.
        """

    def deployed(self, member: Object, made: Deployed) -> None:
        """Writes a member's status after its model was deployed.

        Raises:
            RemoteError: It could not be written.
        """

    def failed(self, member: Object) -> None:
        """Writes a member's status after its model could not be built or deployed.

        Raises:
            RemoteError: It could not be written.
        """


class Ingresses:
    """Ingresses of class ``alb``.

    Args:
        kube: Writes to Kubernetes.
        tolerance: What it makes of rules whose Service or action does not exist.
    """

    resource = INGRESSES

    def __init__(self, kube: KubeWrites, tolerance: Tolerance) -> None:
        self._kube, self._tolerance = kube, tolerance

    def concerned(self, resource: Resource, versions: Sequence[Object], seen: Seen) -> set[Group]:
        """See `Owners`. An Ingress concerns the groups to which it belonged and belongs."""
        if resource is INGRESSES:
            return {group for obj in versions for group in (*held_by(obj), self._reported(obj)) if group is not None}
        if resource is SERVICES:
            namespace, name = key_of(versions[0])
            needing = [one for (space, _), one in seen[INGRESSES.plural].items() if space == namespace and name in references(one)]
            return {group for one in needing if (group := _group(one)) is not None}
        return set()

    def _reported(self, ingress: Object) -> Group | None:
        try:
            return group_of(ingress)
        except BuildError as error:
            self._kube.event(INGRESSES, ingress, "Warning", "FailedLoadGroupID", f"Failed load groupID due to {error}")
            return None

    def groups(self, seen: Seen) -> set[Group]:
        """See `Owners`."""
        return {group for one in seen[INGRESSES.plural].values() if (group := _group(one)) is not None}

    def shown_for(self, key: Key, seen: Seen) -> Group | None:
        """See `Owners`."""
        found = seen[INGRESSES.plural].get(key)
        return None if found is None else _group(found)

    def members(self, group: Group, seen: Seen) -> tuple[list[Object], list[Object]]:
        """See `Owners`."""
        members = [dict(one) for one in seen[INGRESSES.plural].values() if _group(one) == group]
        return members, [dict(one) for one in seen[INGRESSES.plural].values() if group in held_by(one) and one not in members]

    def build(self, members: Sequence[Object], seen: Seen) -> StackModel:
        """See `Owners`."""
        return build(members, lambda namespace, name: find(seen, SERVICES, namespace, name), self._tolerance)

    def deployed(self, member: Object, made: Deployed) -> None:
        """See `Owners`."""
        # Since v3.2.0 the real controller writes the host name in lower case.
        shown = {"hostname": made.hostname.lower(), "ports": [{"port": port, "protocol": "TCP"} for port in made.listeners]}
        if ((member.get("status") or {}).get("loadBalancer") or {}).get("ingress") != [shown]:
            self._kube.status(INGRESSES, member, {"loadBalancer": {"ingress": [shown]}})

    def failed(self, member: Object) -> None:
        """See `Owners`. The status of an Ingress stays as it is."""


def _group(ingress: Mapping[str, Any]) -> Group | None:
    """The group of an Ingress, None if it has none or its name is invalid."""
    try:
        return group_of(ingress)
    except BuildError:
        return None


class Gateways:
    """Gateways whose class has the controller ``gateway.k8s.aws/alb``, with their routes.

    Unlike the real controller, it writes no status and no finalizer of the GatewayClass and of the configurations of load balancers and
    target groups.

    Args:
        kube: Writes to Kubernetes.
        clock: Time of conditions.
    """

    resource = GATEWAYS

    def __init__(self, kube: KubeWrites, clock: Clock) -> None:
        self._kube, self._clock = kube, clock
        self._attached: dict[Key, Mapping[str, int]] = {}

    def concerned(self, resource: Resource, versions: Sequence[Object], seen: Seen) -> set[Group]:
        """See `Owners`. Routes and Services concern the Gateways that the routes name; other kinds concern all Gateways."""
        if resource is INGRESSES:
            return set()
        if resource is GATEWAYS:
            return {_stack(key_of(versions[0]))}
        routes: Sequence[Mapping[str, Any]] = versions
        if resource is SERVICES:
            routes = [one for one in _all_routes(seen) if key_of(versions[0]) in backends_of(one)]
        elif resource not in ROUTES:
            return self.groups(seen)
        return {_stack(key) for route in routes for key in parents_of(route)} & self.groups(seen)

    def groups(self, seen: Seen) -> set[Group]:
        """See `Owners`."""
        return {_stack(key) for key in seen[GATEWAYS.plural]}

    def shown_for(self, key: Key, seen: Seen) -> Group | None:
        """See `Owners`. A route is behind the first Gateway that it names."""
        routes = [seen[resource.plural][key] for resource in ROUTES if key in seen[resource.plural]]
        parents = [parent for route in routes for parent in parents_of(route)]
        return next((_stack(one) for one in (*parents, key) if one in seen[GATEWAYS.plural]), None)

    def members(self, group: Group, seen: Seen) -> tuple[list[Object], list[Object]] | None:
        """See `Owners`. A Gateway whose class is not there, or is another controller's, stays as it is."""
        gateway = find(seen, GATEWAYS, group.namespace, group.name)
        gateway_class = None if gateway is None else find(seen, GATEWAY_CLASSES, "", str(gateway["spec"]["gatewayClassName"]))
        if gateway is None or gateway_class is None or gateway_class["spec"]["controllerName"] != CLASS_CONTROLLER:
            return None
        deleted = bool(gateway["metadata"].get("deletionTimestamp"))
        return ([], [dict(gateway)]) if deleted else ([dict(gateway)], [])

    def build(self, members: Sequence[Object], seen: Seen) -> StackModel:
        """See `Owners`. It also writes the conditions of the routes, which say that they were read, not that they were deployed."""
        self._tend_rules(seen)
        (gateway,) = members
        gateway_class = find(seen, GATEWAY_CLASSES, "", str(gateway["spec"]["gatewayClassName"])) or {}
        loaded = load(gateway, gateway_class, seen)
        for verdict in loaded.verdicts:
            self._say(verdict)
        self._attached[key_of(gateway)] = loaded.attached
        return loaded.model

    def _tend_rules(self, seen: Seen) -> None:
        """Accepts ListenerRuleConfigurations, and lets go of deleted ones that no route names any more."""
        named = {key for route in _all_routes(seen) for key in rules_named(route)}
        for key, cached in seen[RULES.plural].items():
            found = self._kube.fresh(RULES, dict(cached))
            if found is None:
                continue
            if found["metadata"].get("deletionTimestamp"):
                if key not in named:
                    self._kube.release(RULES, found, RULES_FINALIZER)
                continue
            self._kube.hold(RULES, found, RULES_FINALIZER)
            status = {"accepted": True, "message": "Accepted", "observedGeneration": found["metadata"]["generation"]}
            self._kube.status(RULES, found, status)

    def _say(self, verdict: Verdict) -> None:
        """Writes the conditions of a route below one Gateway; those below others, and those of a newer generation, stay."""
        route = self._kube.fresh(verdict.resource, dict(verdict.route))
        if route is None:
            return
        problem, generation = verdict.problem, int(verdict.route["metadata"]["generation"])
        conditions = []
        for kind, holds in (("ResolvedRefs", problem is None or not problem.accepted), ("Accepted", problem is None or problem.accepted)):
            reason, message = (kind, "") if holds or problem is None else (problem.reason, problem.message)
            conditions.append(self._condition(kind, str(holds), reason, message, generation))
        present = {_reference(one["parentRef"]): one for one in (route.get("status") or {}).get("parents") or []}
        parents = []
        for ref in route["spec"].get("parentRefs") or []:
            before = present.get(_reference(ref))
            if ref in verdict.parents and not _newer(before, generation):
                made = {"parentRef": ref, "controllerName": CLASS_CONTROLLER, "conditions": conditions}
                parents.append(before if before is not None and _alike(before["conditions"], conditions) else made)
            elif before is not None:
                parents.append(before)
        self._kube.status(verdict.resource, route, {"parents": parents})

    def deployed(self, member: Object, made: Deployed) -> None:
        """See `Owners`."""
        conditions = (("Accepted", "True", "Accepted", ""), ("Programmed", "True", "Programmed", made.load_balancer))
        attached = self._attached.get(key_of(member), {})
        taken = {one["name"]: ROUTES_OF[one["protocol"]] for one in member["spec"]["listeners"]}
        listeners = [
            {
                "name": name,
                "supportedKinds": [{"group": resource.group, "kind": resource.kind} for resource in taken[name]],
                "attachedRoutes": count,
                "conditions": self._kept(_named(member, "listeners", name), _LISTENER, member),
            }
            for name, count in attached.items()
        ]
        addresses = [{"type": "Hostname", "value": made.hostname.lower()}]
        shown = self._kept(member.get("status") or {}, conditions, member)
        self._kube.status(GATEWAYS, member, {"addresses": addresses, "conditions": shown, "listeners": listeners})

    def failed(self, member: Object) -> None:
        """See `Owners`. The address stays: what was deployed before still serves."""
        shown = self._kept(member.get("status") or {}, (("Accepted", "False", "Invalid", _CHECK_EVENTS),), member)
        self._kube.status(GATEWAYS, member, {"conditions": shown})

    def _kept(self, status: Mapping[str, Any], wanted: Sequence[tuple[str, str, str, str]], member: Object) -> list[Object]:
        """A status' conditions with the wanted ones (type, status, reason and message); what is alike keeps its time."""
        generation = int(member["metadata"]["generation"])
        found = {str(one["type"]): one for one in status.get("conditions") or []}
        for kind, holds, reason, message in wanted:
            made = self._condition(kind, holds, reason, message, generation)
            if kind not in found or not _alike([found[kind]], [made]):
                found[kind] = made
        return list(found.values())

    def _condition(self, kind: str, holds: str, reason: str, message: str, generation: int) -> Object:
        at = format_rfc3339(self._clock.now())
        made = {"type": kind, "status": holds, "reason": reason, "message": message, "lastTransitionTime": at}
        return made | {"observedGeneration": generation}


def _stack(gateway: Key) -> Group:
    return Group(*gateway, Owner.GATEWAY)


def _all_routes(seen: Seen) -> list[Mapping[str, Any]]:
    return [one for resource in ROUTES for one in seen[resource.plural].values()]


def _reference(ref: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(ref.get(name) for name in ("group", "kind", "namespace", "name", "sectionName", "port"))


def _newer(parent: Mapping[str, Any] | None, generation: int) -> bool:
    """Whether conditions are about a newer generation."""
    return parent is not None and any(one.get("observedGeneration", 0) > generation for one in parent["conditions"])


def _alike(one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> bool:
    """Whether conditions are the same but for their times."""
    return [_untimed(each) for each in one] == [_untimed(each) for each in other]


def _untimed(condition: Mapping[str, Any]) -> Object:
    return {name: value for name, value in condition.items() if name != "lastTransitionTime"}


def _named(obj: Object, field: str, name: str) -> Mapping[str, Any]:
    """The entry of a list in an object's status that has this name."""
    found: Sequence[Mapping[str, Any]] = (obj.get("status") or {}).get(field) or []
    return next((one for one in found if one["name"] == name), {})
