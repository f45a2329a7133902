"""How the real KEDA handles the rendered ScaledObjects and the controller's writes to them."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
import yaml
from kubernetes.utils.quantity import parse_quantity

from controller.clients.kube import SCALED_OBJECTS
from controller.policy.model import Mode, Verdict
from controller.service.wiring import Service
from failover_harness.control_plane.control_plane import ControlPlane
from failover_harness.controllers.cloudwatch import DENIED, Metrics
from failover_harness.controllers.keda import Keda
from failover_harness.waiting import wait_for
from tests.cluster.manifests import kubectl
from tests.cluster.processes import command
from tests.support.stacks import NAMES, example
from tests.world.balanced import verdict
from tests.world.scaled import HEALTHY, SCALED_S, Scaled, ScaledBalanced, ScaledStack, ScaledWorld, conditions, hpas, scaled_objects
from tests.world.test_world import RETURN_S

_NEEDED = {"Deployment", "ScaledObject", "ServiceAccount", "TriggerAuthentication"}
_STICKY_S = 300.0
Object = dict[str, Any]


@pytest.mark.parametrize("mode", Mode)
def test_every_example_is_ready_and_scaled_as_rendered(
    real_keda: Keda, installed: ControlPlane, namespace: str, metrics: Metrics, mode: Mode
) -> None:
    """KEDA reports every rendered ScaledObject as ready and reads its metric; its HPA has the floor and target of the mode."""
    rendered = [one for name in NAMES for one in example(name, mode) if one["kind"] in _NEEDED]
    for one in rendered:
        one["metadata"]["namespace"] = namespace
    # KEDA resolves the pods' environment: if a Secret in it is missing, KEDA makes no HPA.
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hub-token", "namespace": namespace}, "stringData": {"token": "t"}}
    said = kubectl(installed, "apply", "--server-side", "--validate=strict", "-f", "-", stdin=yaml.safe_dump_all([secret, *rendered]))
    assert said.count("serverside-applied") == 1 + len(rendered)
    wanted = {one["metadata"]["name"]: one["spec"] for one in rendered if one["kind"] == "ScaledObject"}
    session = installed.patient_session()

    def state() -> str:
        said = (f"{name}: {json.dumps(one.get('status'))}" for name, one in scaled_objects(session, namespace).items())
        return "\n".join([*said, real_keda.report()])

    def fine() -> bool:
        found = [conditions(one) for one in scaled_objects(session, namespace).values()]
        return len(found) == len(wanted) and all(HEALTHY.items() <= one.items() for one in found)

    wait_for("KEDA scales every unit", fine, SCALED_S, state)
    found = hpas(session, namespace)
    assert set(found) == set(wanted)
    for name, spec in wanted.items():
        hpa, (trigger,) = found[name]["spec"], spec["triggers"]
        (metric,) = hpa["metrics"]
        asked = metric["external"]["target"]
        assert (hpa["minReplicas"], hpa["maxReplicas"]) == (max(1, spec["minReplicaCount"]), spec["maxReplicaCount"])
        assert hpa["behavior"]["scaleDown"]["stabilizationWindowSeconds"] > 0
        assert (asked["type"], parse_quantity(asked["averageValue"])) == (  # type: ignore[no-untyped-call]
            "AverageValue",
            Decimal(trigger["metadata"]["targetMetricValue"]),
        )
        assert trigger["metadata"]["metricName"] in metrics.asked
    session.close()


@pytest.mark.usefixtures("real_keda")
def test_a_name_that_is_not_rendered_is_refused(installed: ControlPlane, namespace: str) -> None:
    """By KEDA's webhooks: the name of its HPA would be too long."""

    def apply(length: int) -> str:
        made = next(one for one in example("sd21") if one["kind"] == "ScaledObject")
        made["metadata"] |= {"namespace": namespace, "name": "a" * length}
        made["spec"]["scaleTargetRef"]["name"] = f"of-{length}"
        return kubectl(installed, "apply", "--server-side", "-f", "-", stdin=yaml.safe_dump(made))

    assert "serverside-applied" in apply(54)
    with pytest.raises(AssertionError, match="must be no more than 63 characters"):
        apply(55)


# --- what the controller writes ---


def _of_capacity_mode(cost: dict[str, tuple[int, str]]) -> dict[str, str]:
    """Targets if all replicas get the same number of requests: at most 89.2 for any unit."""
    lower = {unit: min(target, "89.2", key=float) for unit, (_, target) in cost.items()}
    assert set(lower.values()) > {"89.2"}
    return lower


def _others(stack: Scaled) -> str:
    """All fields of the ScaledObjects that the controller does not own, as text."""
    found = scaled_objects(stack.session, stack.namespace)
    for one in found.values():
        del one["status"]
        for name in ("resourceVersion", "generation", "managedFields"):
            del one["metadata"][name]
        del one["spec"]["minReplicaCount"]
        del one["spec"]["triggers"][0]["metadata"]["targetMetricValue"]
    return json.dumps(found, sort_keys=True)


def _await_passes(service: Service, passes: int) -> None:
    """Waits for some more decisions."""
    for _ in range(passes):
        at = service.controller.views()[0].snapshot.now
        wait_for("the next pass", lambda at=at: service.controller.views()[0].snapshot.now != at, 60)  # type: ignore[misc]


def test_floors_and_targets_reach_the_autoscalers_and_nothing_else_changes(scaled: ScaledStack) -> None:
    """To capacity mode and back: KEDA copies each value to its HPA and stays ready; its own fields are neither lost nor contested.

    On the way back, changes that would remove replicas wait for the load balancer, which is not checked here.
    """
    others, units = _others(scaled), list(scaled.units)
    cost = {unit: scaled.autoscaler(unit) for unit in units}
    assert {floor for floor, _ in cost.values()} == {1}
    lower = _of_capacity_mode(cost)
    with scaled.controller() as service:
        scaled.shortage()
        wait_for("capacity mode", lambda: scaled.mode() == "capacity", state=scaled.report)
        wait_for("the canary's floor", lambda: scaled.autoscaler("sd21-inf2")[0] == 2, SCALED_S, scaled.report)
        wait_for("the targets", lambda: {unit: scaled.autoscaler(unit)[1] for unit in units} == lower, SCALED_S, scaled.report)
        assert _others(scaled) == others
        wait_for("KEDA scales every unit", scaled.all_scaled, SCALED_S, scaled.report)
        scaled.launch("sd21-inf2")
        wait_for("cost mode", lambda: scaled.mode() == "cost", SCALED_S, scaled.report)
        written = len(scaled.writes("scaledobjects"))
        _await_passes(service, 4)  # meanwhile KEDA reconciles every ScaledObject and writes its status
        assert len(scaled.writes("scaledobjects")) == written
        assert {key for key in _alerts(service) if key.startswith("scaler")} == set()
    assert _others(scaled) == others
    assert {one.code for one in scaled.writes("scaledobjects")} - {409} == {200}
    wait_for("KEDA scales every unit", scaled.all_scaled, SCALED_S, scaled.report)


def test_targets_return_once_sticky_clients_have_left(scaled_balanced: ScaledBalanced) -> None:
    """Higher targets remove replicas, so they wait until cost mode is verified and the AWS sample's stickiness of 200 s is over."""
    stack, others = scaled_balanced, _others(scaled_balanced)
    before = {unit: stack.autoscaler(unit) for unit in stack.units}
    cost, lower = {unit: target for unit, (_, target) in before.items()}, _of_capacity_mode(before)
    with stack.controller() as service:
        stack.shortage()
        wait_for("capacity mode", lambda: stack.mode() == "capacity", 60, stack.report)
        wait_for("it is verified", lambda: verdict(service, stack) is Verdict.YES, 60, stack.report)
        wait_for("the targets", lambda: {unit: stack.autoscaler(unit)[1] for unit in stack.units} == lower, SCALED_S, stack.report)
        stack.launch("sd21-inf2")
        wait_for("cost mode", lambda: stack.mode() == "cost", SCALED_S, stack.report)
        wait_for("it is verified", lambda: verdict(service, stack) is Verdict.YES, 60, stack.report)
        wait_for("the targets", lambda: {unit: stack.autoscaler(unit)[1] for unit in stack.units} == cost, _STICKY_S, stack.report)
    assert _others(stack) == others
    # KEDA writes them too: what it wrote meanwhile is refused as a conflict, and decided anew.
    assert {one.code for one in stack.writes("scaledobjects")} - {409} == {200}
    wait_for("KEDA scales every unit", stack.all_scaled, SCALED_S, stack.report)


# --- what keeps KEDA from scaling ---


def _alerts(service: Service) -> set[str]:
    return {one.key for one in service.controller.views()[0].decision.alerts}


def _said(stack: ScaledStack, *arguments: str) -> str:
    done = command(stack, *arguments)
    assert done.returncode in {0, 2}, done.stderr
    return " ".join(done.stdout.split())


def _annotate(stack: ScaledStack, unit: str, **values: str | None) -> None:
    named = {f"autoscaling.keda.sh/{name.replace('_', '-')}": value for name, value in values.items()}
    stack._patch(SCALED_OBJECTS, f"{unit}-hpa", {"metadata": {"annotations": named}})


def test_a_metric_that_cannot_be_read_is_reported(scaled: ScaledStack) -> None:
    """KEDA still reports the ScaledObject as ready; only its fallback, which rendered ones have, shows the failure."""
    scaled.metrics.refused = DENIED
    with scaled.controller() as service:
        wait_for("the alerts", lambda: _alerts(service) == {f"scaler/{unit}" for unit in scaled.units}, SCALED_S, scaled.report)
        assert conditions(scaled.scaled_object("sd21-inf2"))["Ready"] == "True"
        words = "ScaledObject sd21-inf2-hpa: KEDA cannot read its metric and keeps to its fallback"
        for arguments in (("plan",), ("status",), ("doctor", scaled.key)):
            assert words in _said(scaled, *arguments)
        scaled.metrics.refused = None
        wait_for("no alert", lambda: not _alerts(service), SCALED_S, scaled.report)


def test_a_missing_authentication_is_reported(scaled: ScaledStack) -> None:
    """KEDA detects it when the ScaledObject changes, and reports missing keys; `doctor` names the object."""
    kubectl(scaled.plane, "-n", scaled.namespace, "delete", "triggerauthentication", "sd21-cloudwatch")
    scaled._patch(SCALED_OBJECTS, "sd21-inf2-hpa", {"spec": {"maxReplicaCount": 50}})
    wait_for("it is not ready", lambda: conditions(scaled.scaled_object("sd21-inf2"))["Ready"] == "False", SCALED_S, scaled.report)
    for arguments in (("plan",), ("status",), ("doctor", scaled.key)):
        said = _said(scaled, *arguments)
        assert "ScaledObject sd21-inf2-hpa: KEDA calls it not ready: " in said
        assert "awsAccessKeyID not found" in said


def test_a_pause_is_respected_and_reported(scaled: ScaledStack) -> None:
    """KEDA deletes the HPA of a paused ScaledObject, so a floor or target has no effect until the pause ends."""
    _annotate(scaled, "sd21-trn1", paused="true")
    _annotate(scaled, "sd21-g5-cuda", paused_replicas="2")
    paused, gone = ("sd21-trn1", "sd21-g5-cuda"), {"sd21-trn1-hpa", "sd21-g5-cuda-hpa"}
    wait_for("their HPAs are gone", lambda: not gone & set(hpas(scaled.session, scaled.namespace)), SCALED_S, scaled.report)
    for arguments in (("plan",), ("status",), ("doctor", scaled.key)):
        said = _said(scaled, *arguments)
        assert all(f"ScaledObject {unit}-hpa is paused" in said for unit in paused)
    with scaled.controller() as service:
        scaled.shortage()
        wait_for("capacity mode", lambda: scaled.mode() == "capacity", state=scaled.report)
        wait_for("the others' targets", lambda: scaled.autoscaler("sd21-g5-triton")[1] == "89.2", SCALED_S, scaled.report)
        _await_passes(service, 3)
        assert not gone & {one.name for one in scaled.writes("scaledobjects")}
        assert [key for key in _alerts(service) if key.startswith("scaler")] == []
        for unit in paused:
            _annotate(scaled, unit, paused=None, paused_replicas=None)
        wait_for("the target that it missed", lambda: _target(scaled, "sd21-trn1") == "89.2", SCALED_S, scaled.report)


def _target(stack: ScaledStack, unit: str) -> str:
    return stack.autoscaler(unit)[1] if f"{unit}-hpa" in hpas(stack.session, stack.namespace) else ""


# --- everything real but AWS ---


def test_a_unit_without_capacity_is_left_and_returned_to_on_proof(scaled_world: ScaledWorld) -> None:
    """Demand in KEDA, a pending pod and Karpenter's refusal cause capacity mode; a node that joins causes the return."""
    world, inf2 = scaled_world, scaled_world.instance_type("sd21-inf2")
    world.capacity.refuse(inf2, world.zones)
    with world.controller():
        cost = world.targets()
        world.scale("sd21-inf2", 2)
        wait_for("capacity mode", lambda: world.mode() == "capacity", SCALED_S, world.report)
        assert world.targets() == ["sd21-all"]
        wait_for("the target", lambda: world.autoscaler("sd21-inf2") == (2, "89.2"), SCALED_S, world.report)
        world.capacity.restore(inf2)
        wait_for("cost mode", lambda: world.mode() == "cost", RETURN_S, world.report)
        assert world.targets() == cost
        wait_for("the replica on the node that joined", lambda: world.endpoints("sd21-inf2") == 2, 60, world.report)
