"""The Gateway in front of a route, its settings, and what the load-balancer controller makes of them.

The rules are those of the demo's load-balancer controller (`failover_testbed.lbc.gateway`): the simulation adds its faults alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from controller.clients.kube import (
    GATEWAYS,
    LISTENER_RULE_CONFIGURATIONS,
    LOAD_BALANCER_CONFIGURATIONS,
    TARGET_GROUP_CONFIGURATIONS,
    Resource,
)
from controller.objects import Object
from controller.policy.model import Application, Target
from controller.routing.kinds import routing_port
from failover_analysis.simulation.built import Built, LiveRule
from failover_analysis.simulation.fault_state import FaultState
from failover_analysis.simulation.routing_object import RoutingObject
from failover_testbed.lbc.gateway import LoadError, Problem, load
from failover_testbed.lbc.gateway_kinds import CLASS_CONTROLLER
from failover_testbed.lbc.model import Fixed, Forward, RuleModel

_CLASS: Final = {"spec": {"controllerName": CLASS_CONTROLLER}}
_SETTINGS: Final = {"group": "gateway.k8s.aws", "kind": "LoadBalancerConfiguration"}
_LISTENER: Final = {"name": "http", "port": 80, "protocol": "HTTP"}
_REFUSED: Final = Problem("NotAllowedByListeners", "Listener does not allow route attachment")
_HEADER: Final = "http-header"


class Gateway:
    """The Gateway of an application's route: a `controller.routing.port.Beside`, and a `failover_analysis.simulation.built.Builder`.

    Args:
        application: The simulated application.
        fault_state: The faults in force.
    """

    def __init__(self, application: Application, fault_state: FaultState) -> None:
        self._application, self._fault_state = application, fault_state
        self._plural = routing_port(application).resource.plural
        name, namespace = application.route.name, application.namespace
        metadata = {"name": name, "namespace": namespace, "generation": 1}
        listens = {"listeners": [_LISTENER], "infrastructure": {"parametersRef": {**_SETTINGS, "name": name}}}
        balancer = {"scheme": "internet-facing", "defaultTargetGroupConfiguration": {"name": name}}
        self._objects: dict[str, Object] = {
            GATEWAYS.plural: {"metadata": metadata, "spec": listens, "status": {"addresses": [{"value": f"{name}.elb"}]}},
            LOAD_BALANCER_CONFIGURATIONS.plural: {"metadata": metadata, "spec": balancer},
            TARGET_GROUP_CONFIGURATIONS.plural: {"metadata": metadata, "spec": {"defaultConfiguration": {"targetType": "ip"}}},
        }
        if seconds := application.policy.stickiness_cost_s:
            sticky = {"targetGroupStickinessConfig": {"enabled": True, "durationSeconds": seconds}}
            rules = {"actions": [{"type": "forward", "forwardConfig": sticky}]}
            self._objects[LISTENER_RULE_CONFIGURATIONS.plural] = {"metadata": metadata, "spec": rules}

    # --- what the controller reads with the route ---------------------------------------------------------------------------------------

    def one(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """See `controller.routing.port.Beside.one`."""
        return next((one for one in self.all(resource, namespace) if one["metadata"]["name"] == name), None)

    def all(self, resource: Resource, namespace: str) -> Iterator[Object]:
        """See `controller.routing.port.Beside.all`."""
        found = self._objects.get(resource.plural)
        if found is not None and namespace == self._application.namespace:
            yield found

    # --- what the load-balancer controller does -----------------------------------------------------------------------------------------

    def build(self, routing: RoutingObject) -> Built:
        """See `failover_analysis.simulation.built.Builder.build`.

        A Gateway that is wrong, or a route that no listener takes, keeps the rules that it has. A weight out of range anywhere does so
        without a word, so that the conditions stay those of an earlier generation.
        """
        blocked = self._fault_state.lbc_blocked
        self._accept(blocked)
        if blocked:
            return Built(None, blocked, again=True)
        route = routing.plain
        if route is None:
            return Built(LiveRule((), answer="404"))
        if self._fault_state.route_refused:
            return Built(None, conditions=_conditions(_REFUSED, route))
        try:
            loaded = load(self._objects[GATEWAYS.plural], _CLASS, self._seen(route))
        except LoadError:
            return Built(None, again=True)
        (verdict,), (listener,) = loaded.verdicts, loaded.model.listeners
        return Built(_live(next(rule for rule in listener.rules if _reached(rule))), conditions=_conditions(verdict.problem, route))

    def _accept(self, blocked: str) -> None:
        """Writes the condition of the Gateway."""
        condition = {"type": "Accepted", "status": "False" if blocked else "True", "reason": "Invalid", "message": blocked}
        gateway = self._objects[GATEWAYS.plural]
        self._objects[GATEWAYS.plural] = {**gateway, "status": {**gateway["status"], "conditions": [condition]}}

    def _seen(self, route: Object) -> dict[str, dict[tuple[str, str], Mapping[str, Any]]]:
        application, deleted = self._application, self._fault_state.deleted
        key = (application.namespace, application.route.name)
        services: dict[tuple[str, str], Mapping[str, Any]] = {
            (application.namespace, name): {
                "metadata": {"name": name, "namespace": application.namespace},
                "spec": {"ports": [{"port": port}]},
            }
            for name, port in application.ports.items()
            if name not in deleted
        }
        settings: dict[str, dict[tuple[str, str], Mapping[str, Any]]] = {plural: {key: one} for plural, one in self._objects.items()}
        return {**settings, "services": services, self._plural: {key: route}}


def _reached(rule: RuleModel) -> bool:
    """Whether a request without the header of standby rules, or of another rule, gets to it."""
    return not any(field.startswith(_HEADER) for field, _ in rule.conditions)


def _live(rule: RuleModel) -> LiveRule:
    action = rule.action
    if isinstance(action, Fixed):
        return LiveRule((), answer=action.status)
    return LiveRule(tuple(Target(key.service, key.port, weight or 0) for key, weight in action.targets), _sticks_s(action))


def _sticks_s(action: Forward) -> int:
    enabled, seconds = action.stickiness or (False, 0)
    return seconds if enabled else 0


def _conditions(problem: Problem | None, route: Object) -> list[Mapping[str, Any]]:
    """What the load-balancer controller says of a route as it is now."""
    generation = route["metadata"]["generation"]
    made: list[Mapping[str, Any]] = []
    for kind, holds in (("ResolvedRefs", problem is None or not problem.accepted), ("Accepted", problem is None or problem.accepted)):
        reason, message = (kind, "") if holds or problem is None else (problem.reason, problem.message)
        made.append({"type": kind, "status": str(holds), "reason": reason, "message": message, "observedGeneration": generation})
    return made
