"""A fake of KEDA and its HorizontalPodAutoscalers: replicas follow each unit's counter.

It reads the counter's present value, which CloudWatch would show minutes later. `Autoscaler` does the rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from controller.policy.model import Application, Unit
from controller.signals.workloads import paused, read_scale_in_s, read_scale_out_s
from failover_testbed.cluster.world import World
from failover_testbed.traffic.autoscaler import Autoscaler
from failover_testbed.traffic.requests import Traffic

INTERVAL_S: Final = 15.0

_FIXED: Final = "autoscaling.keda.sh/paused-replicas"
_NO_GROWTH: Final = "autoscaling.keda.sh/paused-scale-out"
_MANAGER: Final = "kube-controller-manager"


class Keda:
    """Sets the replicas of every unit that has a ScaledObject.

    Args:
        world: State that the fakes share.
        traffic: Traffic with the counters, by application key.
    """

    def __init__(self, world: World, traffic: Mapping[str, Traffic]) -> None:
        self._world, self._traffic = world, traffic
        self._due = world.now() + INTERVAL_S
        self._autoscalers = {(application.namespace, unit.name): Autoscaler() for application, unit in world.units()}

    def step(self) -> None:
        """Does everything that is due now."""
        now = self._world.now()
        if now < self._due:
            return
        # Missed rounds are skipped.
        self._due += INTERVAL_S * (1 + math.floor((now - self._due) / INTERVAL_S))
        for application, unit in self._world.units():
            self._scale(application, unit, now)

    def _scale(self, application: Application, unit: Unit, now: float) -> None:
        scaler = self._world.find("ScaledObject", unit.scaled_object, application.namespace) if unit.scaled_object else None
        deployment = self._world.find(unit.workload_kind, unit.deployment, application.namespace)
        if scaler is None or deployment is None:
            return
        annotations = scaler["metadata"].get("annotations") or {}
        present = int(deployment["spec"].get("replicas", 1))
        if paused({name: value for name, value in annotations.items() if name != _NO_GROWTH}):
            # KEDA deletes the HPA during a pause, sets the replicas that the pause names, and changes nothing else.
            fixed = str(annotations.get(_FIXED, ""))
            self._set(application, unit, int(fixed) if fixed.isdecimal() else present, present)
            return
        least, most, target = _bounds(scaler, unit)
        if target <= 0:
            return
        counter = self._traffic[application.key].counter(unit.name)
        autoscaler, may_grow = self._autoscalers[application.namespace, unit.name], not paused(annotations)
        wanted = autoscaler.replicas(
            now,
            counter,
            target,
            present,
            least=least,
            most=most,
            may_grow=may_grow,
            scale_in_s=read_scale_in_s(scaler),
            scale_out_s=read_scale_out_s(scaler),
        )
        self._set(application, unit, wanted, present)

    def _set(self, application: Application, unit: Unit, wanted: int, present: int) -> None:
        if wanted != present:
            change = {"spec": {"replicas": wanted}}
            self._world.store.patch(unit.workload_kind, unit.deployment, change, namespace=application.namespace, manager=_MANAGER)

    def remember(self, application: Application, unit: Unit, replicas: int) -> None:
        """Records the replicas at the start as a recommendation, so that nothing shrinks in the first five minutes."""
        self._autoscalers[application.namespace, unit.name].remember(self._world.now(), replicas)


def _bounds(scaler: Mapping[str, Any], unit: Unit) -> tuple[int, int, float]:
    """Floor, ceiling and requests per pod of a ScaledObject."""
    spec = scaler["spec"]
    metadata: Mapping[str, Any] = next(
        (trigger["metadata"] for trigger in spec["triggers"] if trigger.get("metadata", {}).get("metricName") == unit.counter_metric), {}
    )
    try:
        target = float(metadata.get("targetMetricValue", "0"))
    except ValueError:
        target = 0.0
    return int(spec.get("minReplicaCount", 0)), int(spec.get("maxReplicaCount", 100)), target
