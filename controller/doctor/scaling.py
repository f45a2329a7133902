"""Checks of KEDA's ScaledObjects."""

from __future__ import annotations

from collections.abc import Iterator

from controller.doctor.observe import Seen
from controller.doctor.report import Finding, ok, warning
from controller.policy import text as words
from controller.policy.model import Unit


def scaled_objects(seen: Seen) -> Iterator[Finding]:
    """Every ScaledObject of the application file exists, is scaled by KEDA, and has a trigger on the unit's counter with a target."""
    named = [unit for unit in seen.application.units if unit.scaled_object]
    findings = [finding for unit in named for finding in _of_unit(seen, unit)]
    yield from findings or [
        ok(words.listing(unit.scaled_object or "" for unit in named) if named else "none is named: replicas are left alone")
    ]


def _of_unit(seen: Seen, unit: Unit) -> Iterator[Finding]:
    scaler = seen.workloads.scaler(seen.application.namespace, unit)
    if scaler is None:
        yield warning(f"ScaledObject {unit.scaled_object} of {unit.name} does not exist", "create it, or take scaledObject away")
        return
    if scaler.paused:
        annotations = "autoscaling.keda.sh/paused, paused-replicas or paused-scale-out"
        yield warning(f"ScaledObject {scaler.name} is paused and left alone", f"take its annotation {annotations} away")
    elif scaler.trouble:
        described = f"`kubectl -n {seen.application.namespace} describe scaledobject {scaler.name}`"
        yield warning(
            f"ScaledObject {scaler.name}: {scaler.trouble}",
            f"{described} says more; `awsAccessKeyID not found` stands for a TriggerAuthentication that is missing",
        )
    if scaler.trigger_index is None:
        yield warning(
            f"ScaledObject {scaler.name} has no trigger on metric {unit.counter_metric or '(none named)'}: its target stays as it is",
            "name the trigger's metricName, or a metric of its expression, as the unit's counterMetric",
        )
    elif not scaler.target:
        yield warning(
            f"trigger {scaler.trigger_index} of ScaledObject {scaler.name} has no targetMetricValue in quotes",
            "write it as a string",
        )
