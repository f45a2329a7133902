"""KEDA: one ScaledObject per unit on its counter, and the TriggerAuthentication for CloudWatch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from controller.policy.account import keda_targets
from controller.policy.model import Mode
from controller.policy.strategies import part_of
from failover_setup.application import ApplicationFile, UnitFile
from failover_setup.rendering.parts import Object, manifest
from failover_setup.stack import StackFile

_LONGEST_STABILIZATION_S: Final = 3600  # of a HorizontalPodAutoscaler


def scaling(file: ApplicationFile, stack: StackFile, mode: Mode) -> Iterator[Object]:
    """The TriggerAuthentication and the ScaledObjects for one mode; nothing if no unit names a ScaledObject."""
    scaled = [(unit, unit.scaled_object) for unit in file.spec.units if unit.scaled_object]
    if not scaled:
        return
    authentication = f"{file.metadata.name}-cloudwatch"
    spec = {"podIdentity": {"provider": "aws", "identityOwner": "keda"}}
    yield manifest("keda.sh/v1alpha1", "TriggerAuthentication", authentication, file, spec=spec)
    targets = keda_targets(file.to_policy(), mode)
    for unit, name in scaled:
        yield _scaled_object(file, stack, unit, name, targets[unit.name], authentication)


def _scaled_object(file: ApplicationFile, stack: StackFile, unit: UnitFile, name: str, target: str, authentication: str) -> Object:
    # A removed replica takes a cold start to return.
    behavior = {"scaleDown": {"stabilizationWindowSeconds": min(_LONGEST_STABILIZATION_S, round(unit.cold_start_s))}}
    if waits_s := part_of(file.to_policy().policy).scale_out_s(file.to_policy().policy):
        behavior["scaleUp"] = {"stabilizationWindowSeconds": waits_s}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": unit.runs.name},
        "minReplicaCount": unit.min_replicas,
        "maxReplicaCount": unit.max_replicas,
        # While CloudWatch does not answer, KEDA removes no replica.
        "fallback": {"failureThreshold": 3, "replicas": max(1, unit.min_replicas), "behavior": "currentReplicasIfHigher"},
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": behavior}},
        "triggers": [_trigger(file, stack, unit, target, authentication)],
    }
    return manifest("keda.sh/v1alpha1", "ScaledObject", name, file, spec=spec)


def _trigger(file: ApplicationFile, stack: StackFile, unit: UnitFile, target: str, authentication: str) -> Object:
    """A trigger on the sum of the unit's counter over a period. All values are text, as KEDA requires."""
    space, period = file.spec.metrics.namespace, file.spec.metrics.period_s
    metadata = {
        "namespace": space,
        "expression": f'SELECT SUM("{unit.counter_metric}") FROM SCHEMA("{space}")',  # noqa: S608 - for CloudWatch; names have no quotes
        "metricName": unit.counter_metric,
        "metricStat": "Sum",
        "metricStatPeriod": str(period),
        "metricCollectionTime": str(5 * period),
        # Counters reach CloudWatch some seconds after their period, so the newest period is incomplete.
        "metricEndTimeOffset": str(period),
        "minMetricValue": "0",
        "targetMetricValue": target,
        "awsRegion": stack.region,
    }
    return {"type": "aws-cloudwatch", "metadata": metadata, "authenticationRef": {"name": authentication}}
