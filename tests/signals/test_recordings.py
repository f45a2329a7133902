"""The recorded streams of a real Karpenter, through the production signal code and `decide`."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from controller.policy.model import Application, Mode, PolicySettings, Proof, Return, Shortage, Verb
from controller.policy.reasons import Reason
from controller.routing.ingress.action import format_action
from controller.routing.names import action_key
from controller.signals.cluster import ClusterView
from tests.signals.recordings import KINDS, Step, as_in_auto_mode, lines, recording, replay
from tests.support.applications import COST_TARGETS, application

PATIENCE_S = PolicySettings().patience_s


def _ingress(view: ClusterView, app: Application) -> None:
    """The small recordings have pods and Karpenter's objects only: an Ingress, endpoints and the other units' replicas are added."""
    view.changed(
        KINDS["Ingress"],
        None,
        "ADDED",
        {
            "metadata": {
                "name": app.route.name,
                "namespace": app.namespace,
                "resourceVersion": "1",
                "annotations": {action_key(app.route.part): format_action(COST_TARGETS, 0)},
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


ZONES = ("us-west-2a", "us-west-2b", "us-west-2c")


def _small(name: str, until: float, *, act: bool = True, zones: tuple[str, ...] = ZONES) -> list[Step]:
    app = application(namespace="default")
    return replay(recording(name), app, act=act, until=until, prepare=lambda view: _ingress(view, app), zones=zones)


def _first(steps: list[Step], verb: Verb) -> Step:
    return next(step for step in steps if step.decision.verb is verb)


def _short(steps: list[Step]) -> dict[str, float]:
    """When each unit was first proven short, in the recording's seconds."""
    found: dict[str, float] = {}
    for step in steps:
        for name, judged in step.decision.evidence.items():
            if judged.short:
                found.setdefault(name, step.t)
    return found


@pytest.mark.parametrize(
    ("name", "zones", "earliest", "latest", "proof"),
    [
        pytest.param("all_zones", ZONES, 4.0, 5.0, Proof.SATURATED, id="all zones in one answer"),
        pytest.param("field_all_zones", ZONES, 22.59, 23.0, Proof.NAMED, id="one zone a call"),
        pytest.param("field_all_zones", (), 32.5, 33.5, Proof.SATURATED, id="one zone a call, zones not known"),
        pytest.param("field_all_zones", ZONES[:1], 2.72, 3.0, Proof.NAMED, id="one zone a call, sold in one zone only"),
        pytest.param("partial", ZONES, 24.4, 25.0, Proof.NAMED, id="one of three granted"),
        pytest.param("partial", (), 32.8, 33.5, Proof.SATURATED, id="one of three granted, zones not known"),
    ],
)
def test_a_shortage_is_proven_with_the_observation_that_proves_it(
    name: str, zones: tuple[str, ...], earliest: float, latest: float, proof: Proof
) -> None:
    """Never before: until then Karpenter itself may still find a zone that has room."""
    steps = _small(name, 70, act=False, zones=zones)
    found = _short(steps)
    assert list(found) == ["sd21-inf2"]
    assert earliest <= found["sd21-inf2"] <= latest
    assert next(step for step in steps if step.decision.evidence["sd21-inf2"].short).decision.evidence["sd21-inf2"].proof is proof


def _of_another_application(kind: str, obj: dict[str, Any]) -> dict[str, Any]:
    """The stream, in which only the pod inf2-0 is ours: the others are in another namespace, and have the same NodePool."""
    about = obj["involvedObject"] if kind == "Event" else obj["metadata"]
    if kind not in {"Pod", "Event"} or about.get("name") not in {"inf2-1", "inf2-2"}:
        return obj
    moved = {**obj, "metadata": {**obj["metadata"], "namespace": "other"}}
    return {**moved, "involvedObject": {**about, "namespace": "other"}} if kind == "Event" else moved


def test_the_node_of_another_application_hides_no_shortage() -> None:
    """Of three pods in one NodePool one gets a node, and it is not ours: Karpenter says so with the third refusal's cycle."""
    app, of = application(namespace="default"), _of_another_application
    steps = replay(recording("partial"), app, act=False, until=70, prepare=lambda view: _ingress(view, app), zones=ZONES, seen_as=of)
    found = _short(steps)
    assert list(found) == ["sd21-inf2"]
    assert 32.8 <= found["sd21-inf2"] <= 33.5
    assert [pod.name for pod in steps[-1].snapshot.units["sd21-inf2"].pending] == ["inf2-0"]


def test_a_suspicion_names_its_zone_and_what_is_missing() -> None:
    """After two refusals of one zone each, an operator sees which zone decides, and when age would."""
    steps = _small("field_all_zones", 20, act=False)
    judged = steps[-1].decision.evidence["sd21-inf2"]
    assert (judged.refused, judged.missing) == (ZONES[:2], ZONES[2:])
    assert judged.facts[1] == ("2 of 3 zones refused (us-west-2a, us-west-2b); proven at once if us-west-2c refuses, else at 15:35:34 UTC")


def test_the_two_claims_of_one_batch_are_one_attempt() -> None:
    """They share one fleet call."""
    steps = _small("all_zones", 10)
    assert steps[-1].decision.evidence["sd21-inf2"].attempts == 1


@pytest.mark.parametrize(
    ("name", "until"), [("all_zones", 8), ("field_all_zones", 34), ("partial", 34), ("shared_pool", 15), ("field_one_zone", 11)]
)
def test_auto_mode_proves_what_ones_own_karpenter_proves(name: str, until: float) -> None:
    """The same stream under the names of EKS Auto Mode gives the same decisions, with the same evidence, at the same moments."""
    app = _sharing() if name == "shared_pool" else application(namespace="default")
    own, auto = (
        replay(recording(name), app, act=False, until=until, prepare=lambda view: _ingress(view, app), zones=ZONES, seen_as=seen_as)
        for seen_as in (None, as_in_auto_mode)
    )
    assert "karpenter.k8s.aws" not in json.dumps([as_in_auto_mode(kind, obj) for _, kind, _, obj in lines(recording(name))])
    assert [step.decision for step in auto] == [step.decision for step in own]
    assert any(judged.refused or judged.short for step in auto for judged in step.decision.evidence.values())


@pytest.mark.parametrize("name", ["all_zones", "field_all_zones"])
def test_a_shortage_fails_over_after_the_patience_and_not_before(name: str) -> None:
    """Patience counts from the proof."""
    steps = _small(name, 70)
    failover = _first(steps, Verb.FAILOVER)
    assert failover.t - _short(steps)["sd21-inf2"] == pytest.approx(PATIENCE_S, abs=1.01)
    assert failover.decision.reason is Reason.SHORTAGE_PROVEN
    assert [name for name, judged in failover.decision.evidence.items() if judged.short] == ["sd21-inf2"]


@pytest.mark.parametrize(("name", "registered"), [("all_zones", 214.8), ("field_all_zones", 213.0), ("partial", 214.9)])
def test_capacity_returns_no_earlier_than_the_registered_condition(name: str, registered: float) -> None:
    """Capacity is back at 76 s, Karpenter asks again at about 193 s; the pods of these recordings never become ready."""
    steps = _small(name, 1700)
    returned = [step for step in steps if step.decision.evidence["sd21-inf2"].returned in {Return.REGISTERED, Return.REPLICAS_READY}]
    assert registered <= returned[0].t < registered + 2.5
    assert not [step for step in steps if step.decision.verb is Verb.FALLBACK]
    assert [step.decision.mode for step in steps if step.t > 70] == [Mode.CAPACITY] * sum(step.t > 70 for step in steps)
    assert steps[-1].decision.reason is Reason.WAITING_FOR_READY


@pytest.mark.parametrize("zones", [pytest.param(ZONES, id="zones known"), pytest.param((), id="zones not known")])
@pytest.mark.parametrize("name", ["one_zone", "field_one_zone", "healthy", "spot_out"])
def test_what_is_no_shortage_changes_nothing_ever(name: str, zones: tuple[str, ...]) -> None:
    """A zone out, spot out beside on-demand, and a healthy cluster prove no shortage at any moment, whatever the pods do meanwhile."""
    app = application(namespace="default")
    app = replace(app, units=(*app.units[:-1], replace(app.units[-1], node_pool="mixed", instance_type="g4dn.xlarge")))
    steps = replay(recording(name), app, act=True, until=600, prepare=lambda view: _ingress(view, app), zones=zones)
    assert {step.decision.verb for step in steps} == {Verb.HOLD}
    assert {step.decision.mode for step in steps} == {Mode.COST}
    assert _short(steps) == {}


def test_of_a_shared_pool_the_unit_whose_type_is_out_is_short() -> None:
    """The NodePool has g5.xlarge and g6.xlarge; Karpenter says of the g6 pod alone that nothing is available for it."""
    app = _sharing()
    steps = replay(recording("shared_pool"), app, act=False, until=85, prepare=lambda view: _ingress(view, app), zones=ZONES)
    found = _short(steps)
    assert list(found) == ["sd21-g6-triton"]
    assert 12.84 <= found["sd21-g6-triton"] <= 13.0
    assert {step.decision.evidence["sd21-g5-triton"].shortage for step in steps} == {Shortage.NONE}


def _sharing() -> Application:
    app = application(namespace="default")
    shared = {"sd21-g5-triton", "sd21-g6-triton"}
    return replace(app, units=tuple(replace(unit, node_pool="nvidia") if unit.name in shared else unit for unit in app.units))


def test_no_unit_of_another_pool_without_demand_is_short() -> None:
    """Karpenter says of the NodePool g6, for which no pod waits, that nothing is available: its type was refused through another one."""
    steps = _small("shared_pool", 85, act=False)
    assert _short(steps) == {}


def _world(policy: PolicySettings) -> Application:
    """The recording's own weights, which differ from the AWS sample's in the last three units."""
    recorded = {"sd21-g5-cuda": 15, "sd21-g5-triton": 10, "sd21-g6-triton": 15}
    app = application(policy=policy)
    return replace(app, units=tuple(replace(unit, weight=recorded.get(unit.name, unit.weight)) for unit in app.units))


def test_world_fails_over_for_inf2_only_soon_after_the_refusal() -> None:
    """Other units scale up meanwhile and are never called short. The zones are not known, and the message names one of them."""
    steps = replay(recording("world"), _world(PolicySettings(stickiness_cost_s=200)), act=True, until=400)
    failover = _first(steps, Verb.FAILOVER)
    saturated = 41.5  # ten seconds after the refusal Karpenter has nothing left to ask for
    assert 31.563 + 3.0 <= failover.t <= saturated + PATIENCE_S + 2.5
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
