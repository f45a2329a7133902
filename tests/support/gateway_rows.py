"""What the load-balancer controller does with a Gateway and its route: one table for the fake and for the real one.

Each row is a change of the objects, with the calls that follow, and then the action of the main rule and the conditions of the route. Each
row starts where the one before ended.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from controller.policy.model import Application, Mode, Route
from failover_testbed.cluster import manifests, routes
from tests.support.applications import application

Object = dict[str, Any]
Action = Mapping[str, int] | str
"""Weight by Service, or the status of a fixed response."""

CREATE, DELETE = "CreateTargetGroup", "DeleteTargetGroup"
MODIFY = "ModifyRule"
NEW_RULE, GONE_RULE = "CreateRule", "DeleteRule"
MOVE = "SetRulePriorities"
LISTENER = "CreateListener"
COUNTED: Final = frozenset({CREATE, DELETE, MODIFY, NEW_RULE, GONE_RULE, MOVE, LISTENER})
"""The calls that are compared: those that clients notice."""

TRUE: Final = ("True", "")
BACKENDS: Final = "/spec/rules/0/backendRefs"
STICKY: Final = "sticky"
STICKY_S: Final = 200
ROUTE: Final = "HTTPRoute"


class Bed(Protocol):
    """A cluster with a load-balancer controller."""

    app: Application

    def create(self, obj: Object) -> None:
        """Creates an object."""

    def delete(self, kind: str, name: str) -> None:
        """Deletes an object."""

    def patch(self, kind: str, name: str, *operations: Object) -> None:
        """Applies a JSON patch."""


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        name: The change.
        play: Makes it.
        calls: What the controller calls then, in this order.
        main: The action of the main rule then.
        resolved: Status and reason of ``ResolvedRefs``, without the reason where it is True.
        accepted: The same of ``Accepted``.
        loads: Whether the controller reads the route at all; else its conditions are of the generation before.
        stickiness_s: Of the main rule.
    """

    name: str
    play: Callable[[Bed], None]
    calls: tuple[str, ...]
    main: Action
    resolved: tuple[str, str] = TRUE
    accepted: tuple[str, str] = TRUE
    loads: bool = True
    stickiness_s: int = 0


def app_in(namespace: str) -> Application:
    """The AWS sample's application, routed by an HTTPRoute."""
    return routes.routed_by(application(namespace=namespace), ROUTE)


COST: Final = {unit.backend.service: unit.weight or 0 for unit in app_in("").units}
UNITS: Final = tuple(COST)
CAPACITY: Final = app_in("").capacity.service


def text(operations: Sequence[Object]) -> str:
    """The body of a JSON patch."""
    return json.dumps(list(operations))


def ref(name: str, weight: int = 1, **more: Any) -> Object:
    """A backend."""
    return {"name": name, "port": 80, "weight": weight, **more}


def refs(weights: Mapping[str, int]) -> list[Object]:
    """Backends."""
    return [ref(name, weight) for name, weight in weights.items()]


def main(weights: Mapping[str, int]) -> Callable[[Bed], None]:
    """A patch of the main rule's backends."""
    return lambda bed: bed.patch(ROUTE, bed.app.route.name, {"op": "replace", "path": BACKENDS, "value": refs(weights)})


def _begin(bed: Bed) -> None:
    """One Gateway, and one route with the five weighted backends."""
    for obj in routes.objects(bed.app, Mode.COST, {}, standby=False):
        bed.create(obj)


def _standby(number: int) -> Callable[[Bed], None]:
    """Adds a permanent rule."""

    def add(bed: Bed) -> None:
        rule = routes.route(bed.app, Mode.COST, {})["spec"]["rules"][number]
        bed.patch(ROUTE, bed.app.route.name, {"op": "add", "path": "/spec/rules/-", "value": rule})

    return add


def _service(name: str) -> Callable[[Bed], None]:
    """Creates a Service again."""
    return lambda bed: bed.create(next(one for one in manifests.services(bed.app) if one["metadata"]["name"] == name))


def _gone(name: str) -> Callable[[Bed], None]:
    return lambda bed: bed.delete("Service", name)


def _configure(bed: Bed) -> None:
    """Creates a ListenerRuleConfiguration that no route names yet."""
    sticky = {"targetGroupStickinessConfig": {"enabled": True, "durationSeconds": STICKY_S}}
    bed.create(
        {
            "apiVersion": "gateway.k8s.aws/v1",
            "kind": "ListenerRuleConfiguration",
            "metadata": {"name": STICKY, "namespace": bed.app.namespace},
            "spec": {"actions": [{"type": "forward", "forwardConfig": sticky}]},
        }
    )


def _filtered(name: str) -> Callable[[Bed], None]:
    """Has the main rule name a ListenerRuleConfiguration."""
    reference = {"group": "gateway.k8s.aws", "kind": "ListenerRuleConfiguration", "name": name}
    filters = [{"type": "ExtensionRef", "extensionRef": reference}]
    return lambda bed: bed.patch(ROUTE, bed.app.route.name, {"op": "add", "path": "/spec/rules/0/filters", "value": filters})


def _unfiltered(bed: Bed) -> None:
    bed.patch(ROUTE, bed.app.route.name, {"op": "remove", "path": "/spec/rules/0/filters"})


def _second(bed: Bed) -> None:
    """A second route on the Gateway, with a more specific path."""
    made = routes.route(bed.app, Mode.CAPACITY, {}, standby=False, gateways=[bed.app.route.name])
    made["metadata"]["name"] = "second"
    made["spec"]["rules"][0]["matches"] = [{"path": {"type": "Exact", "value": "/second"}}]
    bed.create(made)


def _another_gateway(bed: Bed) -> None:
    """The route hangs on a second Gateway too."""
    bed.create(routes.gateway(bed.app, "other"))
    bed.patch(ROUTE, bed.app.route.name, {"op": "add", "path": "/spec/parentRefs/-", "value": {"name": "other"}})


def _grpc(bed: Bed) -> None:
    """A GRPCRoute on a Gateway of its own."""
    app = replace(bed.app, route=Route(RPC, routes.MAIN, "GRPCRoute"))
    for obj in routes.objects(app, Mode.COST, {}):
        bed.create(obj)


RPC: Final = "rpc"
UNNAMED: Final = "a ListenerRuleConfiguration that no route names"
_NOBODY: Final = {"nobody": 1}
_ZEROS: Final = dict.fromkeys(UNITS, 0)
_ONE_ZERO: Final = {**COST, UNITS[0]: 0}
_WITHOUT: Final = {name: weight for name, weight in COST.items() if name != UNITS[0]}
_TO_CAPACITY: Final = {CAPACITY: 1}
_NOT_FOUND: Final = ("False", "BackendNotFound")

ROWS: Final = (
    Row("the first apply", _begin, (*[CREATE] * 5, LISTENER, NEW_RULE), COST),
    Row("five backends to one, without permanent rules", main(_TO_CAPACITY), (CREATE, MODIFY, *[DELETE] * 5), _TO_CAPACITY),
    Row("and back", main(COST), (*[CREATE] * 5, MODIFY, DELETE), COST),
    Row("a permanent rule with the capacity Service", _standby(1), (CREATE, MOVE, NEW_RULE), COST),
    Row("a permanent rule with the units", _standby(2), (MOVE, NEW_RULE), COST),
    Row("five backends to one, with permanent rules", main(_TO_CAPACITY), (MODIFY,), _TO_CAPACITY),
    Row("and back, with permanent rules", main(COST), (MODIFY,), COST),
    Row("weight 0 for one of five", main(_ONE_ZERO), (MODIFY,), _ONE_ZERO),
    Row("the weights again", main(COST), (MODIFY,), COST),
    Row("a Service that does not exist beside five", main({**COST, **_NOBODY}), (), COST, resolved=_NOT_FOUND),
    Row("only a Service that does not exist", main(_NOBODY), (MODIFY,), "500", resolved=_NOT_FOUND),
    Row("five that exist", main(COST), (MODIFY,), COST),
    Row("all weights 0", main(_ZEROS), (MODIFY,), "500"),
    Row("weights above 0", main(COST), (MODIFY,), COST),
    Row("a weight over 999", main({**COST, UNITS[0]: 4000}), (), COST, loads=False),
    Row("a weight in range", main(COST), (), COST),
    Row("a weighted Service is deleted", _gone(UNITS[0]), (MODIFY, MODIFY, DELETE), _WITHOUT, resolved=_NOT_FOUND),
    Row("it is there again", _service(UNITS[0]), (CREATE, MODIFY, MODIFY), COST),
    Row("to capacity mode", main(_TO_CAPACITY), (MODIFY,), _TO_CAPACITY),
    Row("the capacity Service is deleted in capacity mode", _gone(CAPACITY), (MODIFY, MODIFY, DELETE), "500", resolved=_NOT_FOUND),
    Row("the capacity Service is there again", _service(CAPACITY), (CREATE, MODIFY, MODIFY), _TO_CAPACITY),
    Row("to cost mode", main(COST), (MODIFY,), COST),
    Row(UNNAMED, _configure, (), COST),
    Row("stickiness", _filtered(STICKY), (MODIFY,), COST, stickiness_s=STICKY_S),
    Row("no such ListenerRuleConfiguration", _filtered("nope"), (MODIFY,), "500", accepted=("False", "IncompatibleFilters")),
    Row("no ListenerRuleConfiguration", _unfiltered, (MODIFY,), COST),
    Row("a second route on the Gateway", _second, (CREATE, MOVE, NEW_RULE), COST),
    Row("a second Gateway of the route", _another_gateway, (*[CREATE] * 6, LISTENER, *[NEW_RULE] * 3), COST),
    Row("a GRPCRoute on a Gateway of its own, with TLS", _grpc, (*[CREATE] * 6, LISTENER, *[NEW_RULE] * 3), COST),
)


def brief(rule: Mapping[str, Any], services: Mapping[str, str]) -> Action:
    """The action of a rule of ELBv2.

    Args:
        rule: The rule.
        services: The Service of each target group.
    """
    action = rule["Actions"][-1]
    if action["Type"] != "forward":
        return str(action["FixedResponseConfig"]["StatusCode"])
    return {
        services.get(one["TargetGroupArn"], one["TargetGroupArn"]): int(one.get("Weight", 1))
        for one in action["ForwardConfig"]["TargetGroups"]
    }


def sticky_s(rule: Mapping[str, Any]) -> int:
    """For how long a rule keeps a client on one target group, seconds; 0: it does not."""
    config = rule["Actions"][-1].get("ForwardConfig", {}).get("TargetGroupStickinessConfig") or {}
    return int(config.get("DurationSeconds") or 0) if config.get("Enabled") else 0


def header_of(rule: Mapping[str, Any]) -> str:
    """The value of the permanent rules' header that a rule needs, "" if it needs none."""
    values = [one["HttpHeaderConfig"]["Values"] for one in rule["Conditions"] if one["Field"] == "http-header"]
    return str(values[0][0]) if values else ""


def main_rule(rules: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The rule that every request matches."""
    return next(one for one in rules if is_main(one))


def is_main(rule: Mapping[str, Any]) -> bool:
    """Whether every request matches a rule."""
    return _conditions(rule) == [("path-pattern", ["/*"])]


def _conditions(rule: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    return [(one["Field"], one.get("PathPatternConfig", {}).get("Values") or []) for one in rule["Conditions"]]


def said(route: Mapping[str, Any], gateway: str) -> dict[str, tuple[str, str, bool]]:
    """Status, reason ("" where the status is True) and whether it is about the present generation, by type of a route's conditions."""
    parents = [one for one in (route.get("status") or {}).get("parents") or [] if one["parentRef"]["name"] == gateway]
    now = route["metadata"]["generation"]
    return {
        one["type"]: (one["status"], "" if one["status"] == "True" else one["reason"], one["observedGeneration"] == now)
        for parent in parents
        for one in parent["conditions"]
    }


def gateway_said(gateway: Mapping[str, Any]) -> dict[str, Any]:
    """What a Gateway's status says, without times, generations and names of load balancers."""
    status = gateway["status"]
    return {
        "conditions": {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]},
        "current": all(one["observedGeneration"] == gateway["metadata"]["generation"] for one in status["conditions"]),
        "addresses": [one["type"] for one in status["addresses"]],
        "listeners": {
            one["name"]: (
                one["attachedRoutes"],
                sorted(kind["kind"] for kind in one["supportedKinds"]),
                {each["type"]: (each["status"], each["reason"], each["message"]) for each in one["conditions"]},
            )
            for one in status["listeners"]
        },
        "finalizers": gateway["metadata"]["finalizers"],
    }


GATEWAY_SAYS: Final = {
    "conditions": {"Accepted": ("True", "Accepted"), "Programmed": ("True", "Programmed")},
    "current": True,
    "addresses": ["Hostname"],
    "listeners": {
        "http": (
            2,
            ["HTTPRoute"],
            {
                "Conflicted": ("False", "NoConflicts", "Listener has no conflict."),
                "Accepted": ("True", "Accepted", "Listener is accepted."),
                "ResolvedRefs": ("True", "ResolvedRefs", "Listener has all refs resolved."),
                "Programmed": ("True", "Programmed", "Listener is programmed."),
            },
        )
    },
    "finalizers": ["gateway.k8s.aws/alb"],
}
"""What `gateway_said` returns after the last row."""


def labels(app: Application) -> dict[str, str]:
    """The labels of the TargetGroupBindings of the Gateway with the application's name."""
    return {"gateway.k8s.aws.alb/stack-namespace": app.namespace, "gateway.k8s.aws.alb/stack-name": app.route.name}


def wanted(row: Row) -> dict[str, tuple[str, str, bool]]:
    """What `said` must return after a row."""
    return {"ResolvedRefs": (*row.resolved, row.loads), "Accepted": (*row.accepted, row.loads)}
