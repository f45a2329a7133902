"""The recorded streams of a real Karpenter, through the production signal code and `decide`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.policy.model import Application, Mode, PolicySettings, Proof, Return, Verb
from controller.policy.reasons import Reason
from controller.policy.routing import action_key, format_action
from controller.signals.cluster import ClusterView
from tests.signals.recordings import KINDS, Step, recording, replay
from tests.support.applications import COST_TARGETS, application

PATIENCE_S = 30.0


def _ingress(view: ClusterView, app: Application) -> None:
    """The small recordings have pods and Karpenter's objects only: an Ingress, endpoints and the other units' replicas are added."""
    view.changed(
        KINDS["Ingress"],
        None,
        "ADDED",
        {
            "metadata": {
                "name": app.ingress,
                "namespace": app.namespace,
                "resourceVersion": "1",
                "annotations": {action_key(app.action): format_action(COST_TARGETS, 0)},
            },
            "spec": {
                "rules": [
                    {
                        "host": f"{name}.standby.invalid",
                        "http": {"paths": [{"backend": {"service": {"name": name, "port": {"number": 80}}}}]},
                    }
                    for name in (*(unit.backend.service for unit in app.units), app.capacity.service)
                ]
            },
        },
    )
    for unit in app.units:
        if unit.node_pool != "inf2":
            _endpoints(view, app, unit.backend.service)
    _endpoints(view, app, app.capacity.service)


def _endpoints(view: ClusterView, app: Application, service: str) -> None:
    view.changed(
        KINDS["EndpointSlice"],
        None,
        "ADDED",
        {
            "metadata": {"name": service, "namespace": app.namespace, "labels": {"kubernetes.io/service-name": service}},
            "endpoints": [{"addresses": [f"10.0.0.{sum(map(ord, service)) % 250}"], "conditions": {"ready": True}}],
        },
    )


def _small(name: str, until: float) -> list[Step]:
    app = application(namespace="default")
    return replay(recording(name), app, act=True, until=until, prepare=lambda view: _ingress(view, app))


def _first(steps: list[Step], verb: Verb) -> Step:
    return next(step for step in steps if step.decision.verb is verb)


def test_all_zones_is_proven_within_five_seconds_of_the_first_refusal() -> None:
    """One refusal of a claim that leaves every zone open is proof; the hold for replacements is all that is waited for."""
    steps = _small("all_zones", 60)
    first_ice = 2.405
    proven = next(step for step in steps if step.decision.evidence["sd21-inf2"].short)
    assert first_ice < proven.t <= first_ice + 5.0
    assert proven.decision.evidence["sd21-inf2"].proof is Proof.WIDE
    assert proven.decision.evidence["sd21-inf2"].attempts == 1, "two claims of one batch share one fleet call"
    assert proven.decision.wanted is Verb.FAILOVER
    assert proven.decision.reason is Reason.PATIENCE


def test_all_zones_fails_over_after_the_patience_and_not_before() -> None:
    """Patience counts from the proof."""
    steps = _small("all_zones", 60)
    proven = next(step for step in steps if step.decision.evidence["sd21-inf2"].short)
    failover = _first(steps, Verb.FAILOVER)
    assert failover.t - proven.t == pytest.approx(PATIENCE_S, abs=1.01)
    assert failover.decision.reason is Reason.SHORTAGE_PROVEN
    assert [name for name, judged in failover.decision.evidence.items() if judged.short] == ["sd21-inf2"]


def test_all_zones_returns_no_earlier_than_the_registered_condition() -> None:
    """Capacity is back at 76 s, Karpenter asks again at 194 s, the nodes join at 214 s; the pods of this recording never become ready."""
    steps = _small("all_zones", 1700)
    returned = [step for step in steps if step.decision.evidence["sd21-inf2"].returned in {Return.REGISTERED, Return.SILENT}]
    assert 214.8 <= returned[0].t < 217.0
    assert not [step for step in steps if step.decision.verb is Verb.FALLBACK]
    assert [step.decision.mode for step in steps if step.t > 40] == [Mode.CAPACITY] * sum(step.t > 40 for step in steps)
    assert steps[-1].decision.reason is Reason.WAITING_FOR_READY


@pytest.mark.parametrize("name", ["one_zone", "healthy"])
def test_a_zone_out_and_a_healthy_cluster_change_nothing_ever(name: str) -> None:
    """Neither proves a shortage at any moment, whatever the pods do meanwhile."""
    steps = _small(name, 600)
    assert {step.decision.verb for step in steps} == {Verb.HOLD}
    assert {step.decision.mode for step in steps} == {Mode.COST}
    assert not [step for step in steps if any(judged.short for judged in step.decision.evidence.values())]


def _world(policy: PolicySettings) -> Application:
    """The recording's own weights, which differ from the AWS sample's in the last three units."""
    recorded = {"sd21-g5-cuda": 15, "sd21-g5-triton": 10, "sd21-g6-triton": 15}
    app = application(policy=policy)
    return replace(app, units=tuple(replace(unit, weight=recorded.get(unit.name, unit.weight)) for unit in app.units))


def test_world_fails_over_for_inf2_only_soon_after_the_refusal() -> None:
    """Other units scale up meanwhile and are never called short."""
    steps = replay(recording("world"), _world(PolicySettings(stickiness_cost_s=200)), act=True, until=400)
    failover = _first(steps, Verb.FAILOVER)
    assert 31.563 + 3.0 <= failover.t <= 31.563 + 3.0 + PATIENCE_S + 2.5
    short = {name for step in steps for name, judged in step.decision.evidence.items() if judged.short}
    assert short == {"sd21-inf2"}
    assert {step.decision.verb for step in steps if step.t < failover.t} == {Verb.HOLD}


def test_world_falls_back_once_the_return_is_proven_and_quiet() -> None:
    """The nodes register at 234.9 s and the replicas are ready at 243.8 s; ten quiet minutes and the hold come first."""
    policy = PolicySettings(stickiness_cost_s=200, hold_min_s=60, hold_max_s=60)
    steps = replay(recording("world"), _world(policy), act=True, until=1200)
    fallback = _first(steps, Verb.FALLBACK)
    assert fallback.t >= 31.572 + 600.0
    assert fallback.decision.reason is Reason.RETURN_PROVEN
    assert fallback.decision.evidence["sd21-inf2"].returned is Return.REGISTERED
    assert fallback.decision.evidence["sd21-inf2"].returned_at is not None
    between = [step for step in steps if step.t > 250 and step.t < fallback.t]
    assert Reason.NOT_QUIET in {step.decision.reason for step in between}
    assert [step.decision.verb for step in steps].count(Verb.FAILOVER) == 1
    assert [step.decision.verb for step in steps].count(Verb.FALLBACK) == 1
