"""Infers an application from one observation of the cluster and one query to CloudWatch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from controller.objects import mapping
from controller.policy.plan import FIELD_MANAGER
from controller.policy.routing import MAX_TARGET_GROUPS
from failover_setup.adoption.facts import Fact, Stack, assumed, read
from failover_setup.adoption.measured import Busiest
from failover_setup.adoption.observe import Observation
from failover_setup.adoption.routed import Routed
from failover_setup.adoption.routing import Routing, capacity_service, explained, policy_facts, read_routing
from failover_setup.adoption.scaling import Scaling, latency_metric, metric_facts, scaling
from failover_setup.adoption.units import unit, workload_of
from failover_setup.matrix import case_of_pod, remarks

Measure = Callable[[str, int, Iterable[tuple[str, str]]], tuple[Mapping[str, Busiest], str]]
"""Queries CloudWatch for a namespace, a period in seconds, and each unit's counter and latency metric; see
`failover_setup.adoption.measured.busiest`."""

_LABEL: Final = re.compile(r"[^a-z0-9-]+")
_DEFAULT_PERIOD_S: Final = 60
_LONGEST: Final = 63


def infer(observed: Observation, part: str | None, measure: Measure) -> Stack:
    """Infers an application.

    Args:
        observed: The objects of the stack.
        part: Name of the action, or of the rule; None: the only candidate.
        measure: Queries CloudWatch.

    Raises:
        ConfigError: The routing object has no readable action or rule, or several candidates.
    """
    routing = read_routing(observed, part)
    workloads = [fact.value for service, _ in routing.services if (fact := workload_of(observed, service)).value]
    scaled = [scaling(observed, one, routing.mode) for one in workloads]
    metrics = metric_facts(scaled)
    measured, problem = _measured(metrics, scaled, measure)
    capacity = capacity_service(observed, routing, workloads)
    units = tuple(unit(observed, routing, service, port, measured)[0] for service, port in routing.services)
    return Stack(
        routed=routing.routed,
        spec=explained(routing),
        capacity=capacity,
        metrics=metrics,
        units=units,
        policy=policy_facts(routing, len(units), capacity["name"].value),
        notes=(*_notes(observed, routing, capacity["name"], problem), *(note for one in units for note in _known(observed, one))),
    )


def application_name(routed: Routed) -> Fact:
    """The application's name: that of the routing object, made a valid label if necessary."""
    name = _LABEL.sub("-", routed.name)[:_LONGEST].strip("-")
    origin = f"the {routed.kind}'s name"
    return read(name, origin) if name == routed.name else assumed(name, f"{origin}, as a label")


def _measured(metrics: Mapping[str, Fact], scaled: list[Scaling], measure: Measure) -> tuple[Mapping[str, Busiest], str]:
    if "namespace" not in metrics:
        return {}, "CloudWatch was not queried: no ScaledObject names a namespace of counters"
    period = metrics["periodSeconds"].value if "periodSeconds" in metrics else _DEFAULT_PERIOD_S
    pairs = [(one.counter, latency_metric(one.counter)) for one in scaled if latency_metric(one.counter)]
    return measure(metrics["namespace"].value, period, pairs)


def _notes(observed: Observation, routing: Routing, capacity: Fact, problem: str) -> Iterator[str]:
    yield f"The {routing.routed.kind} is in {routing.mode} mode now."
    yield from (f"{said}." for said in routing.routed.notes)
    if routing.routed.is_route and routing.part.stickiness_s:
        yield f"Clients stick to a Service for {routing.part.stickiness_s} s: the ListenerRuleConfiguration of the rule says so."
    if len(routing.services) > MAX_TARGET_GROUPS:
        yield f"It forwards to {len(routing.services)} Services. AWS allows {MAX_TARGET_GROUPS} in an action: leave out or merge units."
    if not capacity.sure:
        yield f"CAPACITY MODE HAS NO SERVICE YET. {capacity.origin[0].upper()}{capacity.origin[1:]}."
    if routing.part.writers[-1:] == (FIELD_MANAGER,):
        wrote = f"The controller wrote the {routing.routed.part} last"
        yield f"{wrote}: weights, floors and targets may be momentary values rather than chosen ones."
    for name, why in observed.unreadable.items():
        yield f"Could not be read: {name} ({why})."
    if problem:
        yield f"{problem}."


def _known(observed: Observation, unit: Mapping[str, Fact]) -> Iterator[str]:
    """What is known not to work of a unit, or not known to."""
    name, service, kind, framework = (unit[key].value if key in unit else None for key in ("name", "service", "instanceType", "framework"))
    workload = workload_of(observed, service["name"] if service else "").value
    template = mapping(observed.workloads.get(workload), "spec", "template", "spec")
    case = case_of_pod(framework or "", (kind,) if kind else (), template)
    yield from (f"{name}: {said}: {fix}." for _, said, fix in remarks(case))
