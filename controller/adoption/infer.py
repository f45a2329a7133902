"""Everything of one application, from one look at the cluster and one at CloudWatch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from controller.adoption.facts import Fact, Stack, assumed, read
from controller.adoption.measured import Busiest
from controller.adoption.observe import Sight
from controller.adoption.routing import Routing, capacity_service, explained, policy_facts, read_routing
from controller.adoption.scaling import Scaling, latency_metric, metric_facts, scaling
from controller.adoption.units import deployment_of, unit
from controller.policy.plan import FIELD_MANAGER
from controller.policy.routing import MAX_TARGET_GROUPS, action_key
from controller.signals.objects import field_owners, name_of, namespace_of

Measure = Callable[[str, int, Iterable[tuple[str, str]]], tuple[Mapping[str, Busiest], str]]
"""Asks CloudWatch: namespace, period in seconds, counter and latency of each unit; see `controller.adoption.measured.busiest`."""

_LABEL: Final = re.compile(r"[^a-z0-9-]+")
_DEFAULT_PERIOD_S: Final = 60
_LONGEST: Final = 63


def infer(sight: Sight, action: str | None, measure: Measure) -> Stack:
    """Infers an application.

    Args:
        sight: What was looked at.
        action: Name of the action; None: the only one that can be meant.
        measure: Asks CloudWatch.

    Raises:
        ConfigError: The Ingress has no action that can be read, or several.
    """
    routing = read_routing(sight, action)
    deployments = [fact.value for service, _ in routing.services if (fact := deployment_of(sight, service)).value]
    scaled = [scaling(sight, name, routing.mode) for name in deployments]
    metrics = metric_facts(scaled)
    measured, problem = _measured(metrics, scaled, measure)
    capacity = capacity_service(sight, routing, deployments)
    units = tuple(unit(sight, routing, service, port, measured)[0] for service, port in routing.services)
    return Stack(
        namespace=namespace_of(sight.ingress),
        ingress=name_of(sight.ingress),
        spec=_spec(sight, routing),
        capacity=capacity,
        metrics=metrics,
        units=units,
        policy=policy_facts(sight, routing, len(units), capacity["name"].value),
        notes=tuple(_notes(sight, routing, capacity["name"], problem)),
    )


def application_name(ingress: str) -> Fact:
    """The application's name: the Ingress's, as far as that is a label."""
    name = _LABEL.sub("-", ingress)[:_LONGEST].strip("-")
    return read(name, "the Ingress's name") if name == ingress else assumed(name, "the Ingress's name, as a label")


def _spec(sight: Sight, routing: Routing) -> dict[str, Fact]:
    return {"ingress": read(name_of(sight.ingress), "as asked for"), **explained(routing)}


def _measured(metrics: Mapping[str, Fact], scaled: list[Scaling], measure: Measure) -> tuple[Mapping[str, Busiest], str]:
    if "namespace" not in metrics:
        return {}, "CloudWatch was not asked: no ScaledObject names a namespace of counters"
    period = metrics["periodSeconds"].value if "periodSeconds" in metrics else _DEFAULT_PERIOD_S
    pairs = [(one.counter, latency_metric(one.counter)) for one in scaled if latency_metric(one.counter)]
    return measure(metrics["namespace"].value, period, pairs)


def _notes(sight: Sight, routing: Routing, capacity: Fact, problem: str) -> Iterator[str]:
    yield f"The Ingress is in {routing.mode} mode now."
    if len(routing.services) > MAX_TARGET_GROUPS:
        yield f"It forwards to {len(routing.services)} Services. AWS allows {MAX_TARGET_GROUPS} in an action: leave out or merge units."
    if not capacity.sure:
        yield f"CAPACITY MODE HAS NO SERVICE YET. {capacity.origin[0].upper()}{capacity.origin[1:]}."
    owners = field_owners(sight.ingress, "metadata", "annotations", action_key(routing.action))
    if owners and owners[-1] == FIELD_MANAGER:
        yield "The controller wrote the action last: weights, floors and targets may be those of the moment, not chosen ones."
    for name, why in sight.unreadable.items():
        yield f"Could not be read: {name} ({why})."
    if problem:
        yield f"{problem}."
