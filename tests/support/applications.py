"""Applications and observations for tests, with every field at a sensible value unless a test says otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from controller.policy.alert_kinds import of_key
from controller.policy.model import (
    Alert,
    Application,
    Backend,
    Memory,
    Mode,
    PolicySettings,
    PoolObservation,
    ReturnProbe,
    Route,
    RoutingObservation,
    Snapshot,
    Source,
    Target,
    Unit,
    UnitObservation,
    Verdict,
    Verification,
)
from controller.routing.ingress.action import format_action

NOW = 1_800_000_000.0

_SEED: tuple[tuple[str, str, str, float, float, float, int], ...] = (
    ("sd21-inf2", "inf2", "inf2.xlarge", 0.7582, 105, 0.67, 40),
    ("sd21-trn1", "trn1", "trn1.2xlarge", 1.3438, 130, 0.51, 20),
    ("sd21-g5-triton", "g5", "g5.xlarge", 1.0060, 90, 0.68, 15),
    ("sd21-g6-triton", "g6", "g6.xlarge", 0.8048, 61, 0.96, 10),
    ("sd21-g5-cuda", "g5", "g5.xlarge", 1.0060, 60, 0.92, 15),
)
SERVICES = tuple(row[0] for row in _SEED)


def seed_units() -> tuple[Unit, ...]:
    """The AWS sample's five units; the pool names are those of the recordings."""
    return tuple(
        Unit(
            name=name,
            backend=Backend(name, 80),
            deployment=name,
            node_pool=pool,
            instance_type=instance,
            price_per_hour=price,
            throughput=throughput,
            latency_s=latency,
            weight=weight,
            scaled_object=f"{name}-hpa",
            counter_metric=f"{name}-counter",
            latency_metric=f"{name}-latency",
        )
        for name, pool, instance, price, throughput, latency, weight in _SEED
    )


def application(*, namespace: str = "shop", policy: PolicySettings | None = None, **changes: Any) -> Application:
    """The AWS sample's application."""
    made = Application(
        name="sd21",
        namespace=namespace,
        route=Route("sd21", "weighted-routing"),
        capacity=Backend("sd21-all", 80),
        units=seed_units(),
        policy=policy or PolicySettings(),
        metric_namespace="hw-agnostic-infer",
    )
    return replace(made, **changes)


def probed_by(probe: ReturnProbe, of: Application | None = None) -> Application:
    """An application all of whose units are probed in one way."""
    made = application() if of is None else of
    return replace(made, units=tuple(replace(unit, probe=probe) for unit in made.units))


COUNTED = dict.fromkeys((*SERVICES, "sd21-all"), 1000)
"""Healthy targets of each Service, as they were counted some time ago: enough for any mode change, and too old for weights."""

COST_TARGETS = tuple(Target(row[0], 80, row[6]) for row in _SEED)
CAPACITY_TARGETS = (Target("sd21-all", 80, 1),)


def routing(mode: Mode = Mode.COST, **changes: Any) -> RoutingObservation:
    """An Ingress in one mode, with standby rules, verified by the load balancer."""
    targets = COST_TARGETS if mode is Mode.COST else CAPACITY_TARGETS
    action = format_action(targets, 0)
    made = RoutingObservation(
        exists=True,
        resource_version="7",
        uid="uid-1",
        marker=str(mode),
        action=action,
        targets=targets,
        writer="failoverctl",
        standby=(*SERVICES, "sd21-all"),
        bound=(*SERVICES, "sd21-all"),
        capacity_ready=5,
        capacity_exists=True,
        verification=Verification(Verdict.YES, NOW, "", action, counted=COUNTED),
    )
    return replace(made, **changes)


def healthy_units(app: Application, ready: int = 2) -> dict[str, UnitObservation]:
    """Every unit with as many ready replicas as desired and nothing waiting."""
    return {
        unit.name: UnitObservation(
            unit=unit.name,
            pool=PoolObservation(unit.node_pool, instance_types=(unit.instance_type,)),
            desired=ready,
            ready=ready,
            deployment_ready=ready,
            endpoints_ready=ready,
            service_exists=True,
        )
        for unit in app.units
    }


def alert_of(key: str, severity: str, text: str) -> Alert:
    """An alert by its key."""
    row = of_key(key)
    assert row is not None, key
    return Alert(*row, text, severity)


def snapshot(app: Application | None = None, mode: Mode = Mode.COST, **changes: Any) -> Snapshot:
    """A snapshot in which nothing is wrong."""
    app = app or application()
    made = Snapshot(
        now=NOW,
        application=app,
        routing=routing(mode),
        units=healthy_units(app),
        sources=(Source("karpenter", True, NOW, 180.0), Source("workloads", True, NOW, 180.0), Source("routing", True, NOW, 180.0)),
        epoch=3,
    )
    return replace(made, **changes)


def memory(mode: Mode = Mode.COST, **changes: Any) -> Memory:
    """A memory that has been in one mode for a day."""
    return replace(Memory(mode=mode, mode_since=NOW - 86_400), **changes)
