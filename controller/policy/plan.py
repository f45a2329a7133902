"""Turns a decision into ordered, complete actions: those on ScaledObjects as exact requests, the routing action as values.

Order: raise the replicas of the receiving side, move the traffic, and lower the other side once the load balancer shows the new weights
and sticky clients have had time to leave. Until then the lowering actions are in the plan, marked as deferred.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

from controller.policy.model import Action, ActionKind, Application, Decision, Plan, Scaler, Snapshot, Unit, Verb
from controller.policy.routing import same_routing

FIELD_MANAGER: Final = "failoverctl"

_SCALED_OBJECT: Final = "ScaledObject"
_JSON_PATCH: Final = "application/json-patch+json"
_ONLY_DIFFERENCES: Final = frozenset({Verb.HOLD, Verb.PREPARE, Verb.REWEIGHT})
_DEFERRED: Final = "after the load balancer shows the new weights and sticky clients have left"


def plan(decision: Decision, snapshot: Snapshot) -> Plan:
    """Turns a decision into the actions that carry it out.

    Args:
        decision: What is wanted.
        snapshot: What is observed; only differences from it become actions.

    Returns:
        The ordered actions, and what is wanted but must be left alone.
    """
    application = snapshot.application
    refused: list[str] = []
    scaling = [action for unit in application.units for action in _scaling(unit, decision, snapshot, refused)]
    raising = [action for action in scaling if not action.deferred and not _lowers(action)]
    lowering = [action for action in scaling if action not in raising]
    return Plan(application.key, decision, (*raising, *_routing(decision, snapshot), *lowering), tuple(refused))


def _routing(decision: Decision, snapshot: Snapshot) -> Iterator[Action]:
    routing, application = snapshot.routing, snapshot.application
    if not decision.targets or decision.mode is None:
        return
    same = same_routing(routing.targets, decision.targets) and routing.stickiness_s == decision.stickiness_s and not routing.problem
    if same and routing.marks(decision.mode) and decision.verb in _ONLY_DIFFERENCES:
        return
    yield Action(ActionKind.ROUTE, application.routing_namespace, application.route.name, before=routing.action, mode=decision.mode)


def _scaling(unit: Unit, decision: Decision, snapshot: Snapshot, refused: list[str]) -> Iterator[Action]:
    claim, target = decision.floors.get(unit.name), decision.keda_targets.get(unit.name)
    if unit.scaled_object is None or (claim is None and target is None):
        return
    scaler = snapshot.units[unit.name].scaler
    if scaler is None:
        refused.append(f"ScaledObject {unit.scaled_object} of {unit.name} was not found: its replicas are left alone")
        return
    if scaler.paused:
        refused.append(f"ScaledObject {scaler.name} of {unit.name} is paused by an operator and left alone")
        return
    if claim is not None and (claim.replicas > scaler.min_replicas or (claim.replicas < scaler.min_replicas and scaler.floor_ours)):
        yield _floor(snapshot.application, unit, scaler, claim.replicas, decision)
    if target is None or target == scaler.target:
        return
    if scaler.trigger_index is None:
        refused.append(f"ScaledObject {scaler.name} has no trigger on metric {unit.counter_metric}: its target is left alone")
        return
    if scaler.formula:
        refused.append(f"ScaledObject {scaler.name} scales by the target of its formula: those of its triggers are left alone")
        return
    period_s, own_s = scaler.metric.period_s if scaler.metric is not None else None, snapshot.application.metric_period_s
    if period_s not in {None, own_s}:
        refused.append(
            f"ScaledObject {scaler.name} counts requests in {period_s} s, and the application file in {own_s} s: its target is left alone"
        )
        return
    yield _target(snapshot.application, unit, scaler, target, decision)


def _floor(application: Application, unit: Unit, scaler: Scaler, floor: int, decision: Decision) -> Action:
    """A JSON patch, so that `body` can put it into one request with the target's. managedFields then say whose floor it is.

    `add` also replaces: the field may be absent.
    """
    lower = floor < scaler.min_replicas
    operations = [*_as_observed(scaler), {"op": "add", "path": "/spec/minReplicaCount", "value": floor}]
    return Action(
        kind=ActionKind.LOWER_FLOOR if lower else ActionKind.RAISE_FLOOR,
        resource="scaledobjects.keda.sh",
        object_kind=_SCALED_OBJECT,
        namespace=application.namespace,
        name=scaler.name,
        content_type=_JSON_PATCH,
        query=(("fieldManager", FIELD_MANAGER),),
        body=_written(operations),
        before=_digits(scaler.min_replicas),
        after=_digits(floor),
        unit=unit.name,
        deferred=_DEFERRED if lower and not decision.lowering_allowed else "",
    )


@lru_cache(maxsize=1024)
def _digits(replicas: int) -> str:
    """A number of replicas as text: one text for all applications, which remember it for as long as another writer may put it back."""
    return str(replicas)


def _target(application: Application, unit: Unit, scaler: Scaler, target: str, decision: Decision) -> Action:
    """A JSON patch of the one field: triggers are an atomic list, so an apply would drop the trigger's other settings.

    If somebody reordered the list meanwhile, the version differs and nothing is written to another trigger. The trigger's own text would
    not tell: of what a stranger wrote, line breaks are not kept.

    Where the field is absent `replace` would be refused, and with it the floor in the same request.
    """
    path = f"/spec/triggers/{scaler.trigger_index}/metadata/targetMetricValue"
    operations = [*_as_observed(scaler), {"op": "replace" if scaler.target else "add", "path": path, "value": target}]
    return Action(
        kind=ActionKind.SET_TARGET,
        resource="scaledobjects.keda.sh",
        object_kind=_SCALED_OBJECT,
        namespace=application.namespace,
        name=scaler.name,
        content_type=_JSON_PATCH,
        query=(("fieldManager", FIELD_MANAGER),),
        body=_written(operations),
        before=scaler.target,
        after=target,
        unit=unit.name,
        deferred=_DEFERRED if _more(target, scaler.target) and not decision.lowering_allowed else "",
    )


def _lowers(action: Action) -> bool:
    """Whether fewer pods result, so that the traffic must have moved first."""
    return action.kind is ActionKind.LOWER_FLOOR or (action.kind is ActionKind.SET_TARGET and _more(action.after, action.before))


def _as_observed(scaler: Scaler) -> list[dict[str, Any]]:
    """Operations that fail where somebody wrote to the ScaledObject since it was observed, or created it again."""
    observed = {"uid": scaler.uid, "resourceVersion": scaler.resource_version} if scaler.uid else {}
    return [{"op": "test", "path": f"/metadata/{field}", "value": value} for field, value in observed.items()]


def _more(target: str, present: str) -> bool:
    """Whether the target per pod rises, so that fewer pods result. A present target that is no number counts as lower: wait."""
    try:
        return float(target) > float(present)
    except ValueError:
        return True


def _written(content: object) -> str:
    return json.dumps(content, separators=(",", ":"))


def requests(actions: Iterable[Action]) -> list[tuple[Action, ...]]:
    """Actions as they go out: those on one object, on the same side of the routing action, in one request. One that is deferred is alone.

    Args:
        actions: In the plan's order.
    """
    found: dict[tuple[object, ...], list[Action]] = {}
    routed = False
    for place, action in enumerate(actions):
        found.setdefault((routed, action.resource, action.namespace, action.name, action.deferred and place), []).append(action)
        routed = routed or action.kind is ActionKind.ROUTE
    return [tuple(one) for one in found.values()]


def body(actions: Sequence[Action]) -> str:
    """The body of one request: that of the only action, or all operations of their JSON patches. The API server makes all changes or none.

    Args:
        actions: One of `requests`; more than one only of a ScaledObject.
    """
    if len(actions) == 1:
        return actions[0].body
    return f"[{','.join(action.body[1:-1] for action in actions)}]"  # each is a list of operations, as `_written` writes it


def summary(made: Plan) -> str:
    """One line, as Terraform ends its plan: ``Plan: 2 to scale, 1 traffic change, 1 deferred.``, or ``No changes.`` with the reason."""
    due = made.due
    routes = sum(action.kind is ActionKind.ROUTE for action in due)
    scales = len(due) - routes
    deferred = len(made.actions) - len(due)
    if not made.actions:
        return "No changes. " + made.decision.sentence[:1].upper() + made.decision.sentence[1:] + "."
    return f"Plan: {scales} to scale, {routes} traffic change{'' if routes == 1 else 's'}, {deferred} deferred."


def describe(action: Action) -> str:
    """One action in words: ``ScaledObject sd21-inf2-hpa minReplicaCount 1 to 3``."""
    match action.kind:
        case ActionKind.ROUTE:
            return f"{action.object_kind} {action.name} routing action"
        case ActionKind.SET_TARGET:
            return scaler_change(action.name, "targetMetricValue", action.before, action.after)
        case _:
            return scaler_change(action.name, "minReplicaCount", action.before, action.after)


def scaler_change(scaled_object: str, setting: str, before: str, after: str) -> str:
    """A change of a floor or a target in words."""
    return f"{_SCALED_OBJECT} {scaled_object} {setting} {before or 'nothing'} to {after}"
