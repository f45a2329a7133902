"""The controller's actions in a run, from the API server's audit log and the writes to ELBv2. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from controller.policy.model import Application, Memory, Mode
from controller.recording.stored import decode
from controller.routing.annotations import MARKER, NUDGED_AT
from controller.routing.ingress.action import parse_action
from controller.routing.names import action_key
from controller.service.store import record_name
from failover_harness.dataplane.cluster import CONTROLLER_USER
from failover_testbed.kube_api.auth import AuditRecord
from failover_testbed.lbc.elb_calls import Write

_WRITES: Final = frozenset({"patch", "create", "update"})


@dataclass(frozen=True, slots=True)
class ModeChange:
    """A mode change. Times are seconds since the Unix epoch.

    Attributes:
        key: ``namespace/ingress``.
        mode: The new mode.
        decided_at: When its first request reached the API server.
        routed_at: When the request that moves the traffic did.
        drain_s: How long clients may stick to the previous targets, seconds.
        modified_at: When ELBv2 had it; None if never.
        verified_at: When the controller verified it; None if never.
    """

    key: str
    mode: Mode
    decided_at: float
    routed_at: float
    drain_s: int
    modified_at: float | None
    verified_at: float | None


@dataclass(frozen=True, slots=True)
class Lowered:
    """A lowered floor or a raised target, after which pods may be removed.

    Attributes:
        key: ``namespace/ingress``.
        what: The ScaledObject and what was lowered.
        at: Time, seconds since the Unix epoch.
        early: Whether ELBv2 did not yet show the last mode change, or clients might still stick to the previous targets.
        after_s: Seconds since ELBv2 showed it; None if it did not.
    """

    key: str
    what: str
    at: float
    early: bool
    after_s: float | None


@dataclass(frozen=True, slots=True)
class History:
    """An application's history in a run.

    Attributes:
        mode_changes: The mode changes, in order of time.
        reweights: How often the action changed within a mode.
        nudges: When the controller nudged the load-balancer controller.
        lowered: Lowered floors and raised targets, in order of time.
        alerts: When the controller alerted that the load balancer does not show the action.
        modified: When ELBv2 changed a live rule.
    """

    mode_changes: list[ModeChange] = field(default_factory=list)
    reweights: int = 0
    nudges: list[float] = field(default_factory=list)
    lowered: list[Lowered] = field(default_factory=list)
    alerts: list[float] = field(default_factory=list)
    modified: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Route:
    """A write of the routing action."""

    at: float
    mode: Mode
    stickiness_s: int
    nudged: bool


@dataclass(frozen=True, slots=True)
class _Scale:
    """A write of a floor or a target. A larger `size` means more pods."""

    at: float
    what: str
    size: float


def histories(
    applications: Iterable[Application], records: Iterable[AuditRecord], writes: Mapping[str, Sequence[Write]]
) -> dict[str, History]:
    """Reads the histories.

    Args:
        applications: The applications.
        records: The audit log.
        writes: The load-balancer controllers' writes to ELBv2, by namespace.

    Returns:
        The histories by ``namespace/ingress``.
    """
    mine = [one for one in records if one.user == CONTROLLER_USER and one.code < 300 and one.access.verb in _WRITES]
    return {one.key: _history(one, mine, writes.get(one.namespace, ())) for one in applications}


def _history(application: Application, records: Sequence[AuditRecord], writes: Sequence[Write]) -> History:
    modified = sorted(_modified(application, writes))
    memories = list(_memories(application, records))
    local = [one for one in records if one.access.namespace == application.namespace]
    steps: list[_Route | _Scale] = [*_routes(application, local), *_scales(application, local)]
    steps.sort(key=lambda step: step.at)
    made = History(modified=modified, alerts=list(_alerts(application, local)))
    mode, drain_s, reweights = Mode.COST, application.policy.stickiness_cost_s, 0
    began: float | None = None  # when the first request of the present mode change arrived
    sizes = _sizes(application)
    for step in steps:
        if isinstance(step, _Scale):
            if step.size < sizes.get(step.what, step.size):
                made.lowered.append(_lowered(application.key, step, made.mode_changes))
            else:
                began = step.at if began is None else began
            sizes[step.what] = step.size
            continue
        if step.mode is not mode:
            shown, seen = _first(step.at, modified), _verified(step.at, memories)
            made.mode_changes.append(ModeChange(application.key, step.mode, began or step.at, step.at, drain_s, shown, seen))
        elif step.nudged:
            made.nudges.append(step.at)
        else:
            reweights += 1
        mode, drain_s, began = step.mode, step.stickiness_s, None
    return History(made.mode_changes, reweights, made.nudges, made.lowered, made.alerts, modified)


def _sizes(application: Application) -> dict[str, float]:
    """Floors and targets at the start."""
    floors = {f"{unit.scaled_object} floor": float(unit.min_replicas) for unit in application.units}
    return floors | {f"{unit.scaled_object} target": -unit.throughput for unit in application.units}


def _lowered(key: str, step: _Scale, mode_changes: Sequence[ModeChange]) -> Lowered:
    last = mode_changes[-1] if mode_changes else None
    shown = last.modified_at if last is not None and last.modified_at is not None and last.modified_at <= step.at else None
    early = last is not None and (shown is None or step.at < shown + last.drain_s)
    return Lowered(key, step.what, step.at, early, None if shown is None else step.at - shown)


def _routes(application: Application, records: Iterable[AuditRecord]) -> Iterator[_Route]:
    key = action_key(application.route.part)
    for one in records:
        if one.access.resource != "ingresses" or one.access.name != application.route.name:
            continue
        annotations = (_body(one).get("metadata") or {}).get("annotations") or {}
        if key in annotations:
            yield _Route(one.time, Mode(annotations[MARKER]), parse_action(annotations[key])[1], NUDGED_AT in annotations)


def _scales(application: Application, records: Iterable[AuditRecord]) -> Iterator[_Scale]:
    names = {unit.scaled_object for unit in application.units}
    for one in records:
        if one.access.resource != "scaledobjects" or one.access.name not in names:
            continue
        body = json.loads(one.body)
        if isinstance(body, list):
            yield _Scale(one.time, f"{one.access.name} target", -float(body[-1]["value"]))
        else:
            yield _Scale(one.time, f"{one.access.name} floor", float(body["spec"]["minReplicaCount"]))


def _alerts(application: Application, records: Iterable[AuditRecord]) -> Iterator[float]:
    for one in records:
        body = _body(one) if one.access.resource == "events" else {}
        involved = body.get("involvedObject") or {}
        if body.get("reason") == "Unverified" and body.get("type") == "Warning" and involved.get("name") == application.route.name:
            yield one.time


def _memories(application: Application, records: Iterable[AuditRecord]) -> Iterator[Memory]:
    name = record_name(application.key)
    for one in records:
        if one.access.resource == "configmaps" and name in one.body.decode():
            yield decode(_body(one)["data"]["memory"])


def _modified(application: Application, writes: Iterable[Write]) -> Iterator[float]:
    """When a rule of the application was changed; only the live rule ever is."""
    services = {application.capacity.service, *(unit.backend.service for unit in application.units)}
    for one in writes:
        if one.action == "ModifyRule" and not one.lost and one.forward and {service for service, _ in one.forward} <= services:
            yield one.at + one.late_s


def _first(after: float, moments: Iterable[float]) -> float | None:
    return next((moment for moment in moments if moment >= after), None)


def _verified(routed_at: float, memories: Iterable[Memory]) -> float | None:
    """When the controller verified what was written at a time."""
    for memory in memories:
        if memory.changed_at is not None and memory.changed_at >= routed_at and memory.verified_at is not None:
            return memory.verified_at
    return None


def _body(one: AuditRecord) -> dict[str, Any]:
    found = json.loads(one.body)
    return found if isinstance(found, dict) else {}
