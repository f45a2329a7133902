"""Checks of KEDA's ScaledObjects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from controller.policy import text as words
from controller.policy.account import oldest_s
from controller.policy.model import Application, Scaler, Unit
from controller.policy.strategies import part_of
from controller.signals.workloads import DEFAULT_PERIOD_S
from failover_setup.doctor.observe import Observation
from failover_setup.doctor.report import Finding, ok, problem, warning

_MINUTE_S: Final = 60
_KEEP: Final = (
    'on each trigger `ignoreNullValues: "false"`, and on each ScaledObject `fallback: {failureThreshold: 3, replicas: 1, behavior: '
    "currentReplicasIfHigher}`"
)
"""What keeps KEDA from taking a period without a value for no demand. Pods must publish zeros while they are idle."""


def metric_period(observed: Observation) -> Iterator[Finding]:
    """The metrics have a period of a minute."""
    application = observed.application
    period_s = application.metric_period_s
    if not application.metric_namespace or period_s <= _MINUTE_S:
        yield ok(f"{period_s} s" if application.metric_namespace else "no metrics are named")
        return
    oldest, usual = (words.duration(oldest_s(one)) for one in (period_s, _MINUTE_S))
    yield warning(
        f"the metric period is {period_s} s: the demand that the controller knows is up to {oldest} old ({usual} with 60 s), KEDA scales "
        "as late, and between two periods it may find no value, which it takes for no demand",
        f'set metricStatPeriod and metricCollectionTime to "60", and divide by {period_s / _MINUTE_S:g} the targets and, in the '
        f"application file, periodSeconds and throughput; or keep the period, and where idle pods publish zeros set {_KEEP}. Without "
        "that, the controller raises floors while no counter has a value",
    )


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
    if scaler.scale_in_s is None:
        yield warning(
            f"the HPA of ScaledObject {scaler.name} never removes replicas (selectPolicy: Disabled): those that a failover adds stay, and "
            "no planned floor sinks",
            "remove its annotation autoscaling.keda.sh/paused-scale-in if it has it; else set behavior.scaleDown.selectPolicy to Max, and "
            "stabilizationWindowSeconds to how long replicas shall stay",
        )
    if scaler.scale_out_s < (waits_s := part_of(observed.application.policy).scale_out_s(observed.application.policy)):
        yield warning(
            f"the HPA of ScaledObject {scaler.name} adds replicas after {scaler.scale_out_s:g} s: while those that planned floors ask for "
            "start, it adds others for the same requests, and both are paid",
            f"set behavior.scaleUp.stabilizationWindowSeconds to {waits_s}",
        )
    if not scaler.min_replicas and not unit.min_replicas and not observed.application.policy.plans_floors:
        yield warning(
            f"ScaledObject {scaler.name} may scale {unit.name} to 0: its weight is 0 then, so that its own counter stays at 0 and nothing "
            "starts it again",
            "set minReplicaCount, and minReplicas in the application file, to 1 or more, or plannedMode to live: a plan starts it again",
        )
    if scaler.idle_replicas is not None:
        yield warning(
            f"while no trigger of ScaledObject {scaler.name} is active, KEDA runs idleReplicaCount {scaler.idle_replicas} replicas and not "
            "minReplicaCount: the floor that a mode change raises holds nothing then",
            "remove idleReplicaCount",
        )
    if scaler.formula:
        yield warning(
            f"ScaledObject {scaler.name} scales by the target of scalingModifiers.formula, which the controller leaves alone: in capacity "
            "mode the replicas follow the throughput of cost mode",
            "remove scalingModifiers, so that the trigger's targetMetricValue counts",
        )
    elif scaler.trigger_index is None:
        yield warning(
            f"ScaledObject {scaler.name} has no trigger on metric {unit.counter_metric or '(none named)'}: its target stays as it is",
            "set the unit's counterMetric to the trigger's metricName, or to a metric of its expression",
        )
    elif not scaler.target:
        yield warning(
            f"trigger {scaler.trigger_index} of ScaledObject {scaler.name} has no targetMetricValue in quotes",
            "write it as a string",
        )
    yield from _contradictions(observed.application, unit, scaler)


def _contradictions(application: Application, unit: Unit, scaler: Scaler) -> Iterator[Finding]:
    """Where a ScaledObject scales or counts something else than the application file says: its floor or target would be wrong."""
    if scaler.scales and scaler.scales != unit.workload:
        yield problem(
            f"ScaledObject {scaler.name} scales {scaler.scales}, and {unit.name} has {unit.workload}",
            "name the unit's own ScaledObject in the application file",
        )
    if scaler.metric is None or scaler.formula:
        return
    trigger = f"trigger {scaler.trigger_index} of ScaledObject {scaler.name}"
    period_s, stated = scaler.metric.period_s or DEFAULT_PERIOD_S, scaler.metric.period_s is not None
    if period_s != application.metric_period_s:
        left = "the controller leaves its target alone" if stated else "each target that the controller writes is wrong by that factor"
        yield problem(
            f"{trigger} counts requests in {period_s} s{'' if stated else ', as KEDA does where metricStatPeriod is missing'}, and the "
            f"application file in {application.metric_period_s} s: {left}",
            f'set metricStatPeriod to "{application.metric_period_s}"',
        )
    if scaler.metric.statistic.upper() not in {"SUM", ""}:
        yield problem(
            f"{trigger} has the {scaler.metric.statistic} of its metric, which does not grow with the requests",
            "set metricStat to Sum, or SUM in its expression",
        )
    if scaler.metric.namespace and application.metric_namespace and scaler.metric.namespace != application.metric_namespace:
        yield problem(
            f"{trigger} reads CloudWatch namespace {scaler.metric.namespace}, and the application file names "
            f"{application.metric_namespace}",
            "correct the wrong one",
        )
    if scaler.metric.kind not in {"AverageValue", ""}:
        yield problem(
            f"{trigger} has metricType {scaler.metric.kind}: its target is not that of one replica",
            "remove metricType, or set it to AverageValue",
        )
