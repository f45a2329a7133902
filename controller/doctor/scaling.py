"""Checks of KEDA's ScaledObjects."""

from __future__ import annotations

from collections.abc import Iterator

from controller.doctor.observe import Observation
from controller.doctor.report import Finding, ok, warning
from controller.policy import text as words
from controller.policy.model import Unit


def scaled_objects(observed: Observation) -> Iterator[Finding]:
    """Every ScaledObject of the application file exists, is scaled by KEDA, and has a trigger on the unit's counter with a target."""
    named = [unit for unit in observed.application.units if unit.scaled_object]
    findings = [finding for unit in named for finding in _of_unit(observed, unit)]
    yield from findings or [
        ok(words.listing(unit.scaled_object or "" for unit in named) if named else "none is named: the controller leaves replicas alone")
    ]


def _of_unit(observed: Observation, unit: Unit) -> Iterator[Finding]:
    scaler = observed.workloads.scaler(observed.application.namespace, unit)
    if scaler is None:
        yield warning(f"ScaledObject {unit.scaled_object} of {unit.name} does not exist", "create it, or remove scaledObject")
        return
    if scaler.paused:
        annotations = "autoscaling.keda.sh/paused, paused-replicas or paused-scale-out"
        yield warning(f"ScaledObject {scaler.name} is paused, so the controller leaves it alone", f"remove its annotation {annotations}")
    elif scaler.trouble:
        described = f"`kubectl -n {observed.application.namespace} describe scaledobject {scaler.name}`"
        yield warning(
            f"ScaledObject {scaler.name}: {scaler.trouble}",
            f"run {described}; `awsAccessKeyID not found` means that a TriggerAuthentication is missing",
        )
    if scaler.trigger_index is None:
        yield warning(
            f"ScaledObject {scaler.name} has no trigger on metric {unit.counter_metric or '(none named)'}: its target stays as it is",
            "set the unit's counterMetric to the trigger's metricName, or to a metric of its expression",
        )
    elif not scaler.target:
        yield warning(
            f"trigger {scaler.trigger_index} of ScaledObject {scaler.name} has no targetMetricValue in quotes",
            "write it as a string",
        )
