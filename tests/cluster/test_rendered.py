"""What `failoverctl render` makes, on the real API server: accepted, safe, and changed only in the mode's fields."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from failover_harness.control_plane.control_plane import ControlPlane
from failover_harness.waiting import wait_for
from tests.cluster.manifests import kubectl
from tests.cluster.processes import command
from tests.cluster.rendered import RenderedStack, without_mode
from tests.cluster.test_scenarios import CAPACITY
from tests.support.stacks import NAMES, STACKS, example


@pytest.fixture
def rendered(installed: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[RenderedStack]:
    """The AWS sample's stack, rendered and applied, with one ready replica of every unit."""
    with RenderedStack(installed, namespace, tmp_path) as made:
        yield made


@pytest.mark.parametrize("name", NAMES)
def test_every_example_is_accepted_as_it_is(plane: ControlPlane, name: str) -> None:
    """By kubectl with strict validation and Karpenter's and KEDA's rules; a second time nothing changes."""
    folder, objects = STACKS / name, example(name)
    try:
        first = kubectl(plane, "apply", "--server-side", "--validate=strict", "-f", str(folder)).splitlines()
        assert len(first) == len(objects)
        assert all(line.endswith("serverside-applied") for line in first)
        versions = kubectl(plane, "get", "-f", str(folder), "-o", "jsonpath={.items[*].metadata.generation}")
        kubectl(plane, "apply", "--server-side", "--validate=strict", "-f", str(folder))
        assert kubectl(plane, "get", "-f", str(folder), "-o", "jsonpath={.items[*].metadata.generation}") == versions
    finally:
        made = [path for path in sorted(folder.iterdir()) if name != "sd21" or not path.name.startswith("00-")]
        kubectl(plane, "delete", "--ignore-not-found", "--wait=false", *(f"--filename={path}" for path in made))


def test_doctor_and_plan_call_the_rendered_stack_safe(rendered: RenderedStack) -> None:
    """No problem; the only warnings are the AWS sample's stickiness and what is not known to work. There is nothing to change."""
    report = command(rendered, "doctor", rendered.key, "--output", "json")
    document = json.loads(report.stdout)
    levels = {one["check"]: one["level"] for one in document["checks"] if one["level"] != "ok"}
    assert (report.returncode, levels, document["standbyPatch"]) == (0, {"stickiness": "warning", "known-to-work": "warning"}, []), (
        report.stdout
    )
    done = command(rendered, "plan", "--json")
    plan = json.loads(done.stdout)
    assert (done.returncode, plan["mode"], plan["actions"], plan["standbyPatch"], plan["changes"]) == (0, "cost", [], [], False), (
        done.stdout
    )
    assert plan["alerts"] == []


def test_a_change_to_each_mode_leaves_the_rest_of_the_ingress_untouched(rendered: RenderedStack) -> None:
    """The production service changes only action and mode marker, both ways; ScaledObjects keep all except floor and target."""
    before, cost = without_mode(rendered.ingress()), rendered.action()
    rendered_objects = _scaled(rendered)
    with rendered.controller():
        rendered.shortage()
        wait_for("capacity mode", lambda: rendered.mode() == "capacity")
        assert rendered.action() == CAPACITY
        assert without_mode(rendered.ingress()) == before
        with pytest.raises(AssertionError, match=r'conflict with "failoverctl"'):  # as docs/render.md says of another apply
            kubectl(rendered.plane, "apply", "--server-side", f"--filename={rendered.folder}/rendered/40-ingress.yaml")
        assert rendered.action() == CAPACITY
        wait_for("KEDA's targets of capacity mode", lambda: '"targetMetricValue": "89.2"' in _scaled(rendered, whole=True))
        rendered.launch("sd21-inf2")
        wait_for("cost mode", lambda: rendered.mode() == "cost")
    assert rendered.action() == cost
    assert without_mode(rendered.ingress()) == before
    assert _scaled(rendered) == rendered_objects
    assert [one.code for one in rendered.writes("ingresses")] == [200, 200]


def test_a_node_is_drained_while_a_canary_waits(rendered: RenderedStack) -> None:
    """The controller asks for a canary, and `kubectl drain` takes the pod that serves off its node. Then two wait, and both are let go.

    With a single place in the budget the API server refuses the same eviction.
    """
    unit, name = "sd21-inf2", rendered.units["sd21-inf2"].deployment
    with rendered.controller():
        rendered.shortage(unit)
        wait_for("capacity mode", lambda: rendered.mode() == "capacity")
        wait_for("the canary's floor", lambda: _floor(rendered, unit) == "2")
        serving, node = _serving(rendered, unit)
        wait_for("the rendered budget allows one eviction", lambda: _allowed(rendered, name) == (2, 1))
        budget = ("-n", rendered.namespace, "patch", "pdb", name, "--type=merge", "-p")
        kubectl(rendered.plane, *budget, '{"spec": {"maxUnavailable": 1}}')
        wait_for("no eviction is allowed", lambda: _allowed(rendered, name) == (2, 0))
        with pytest.raises(AssertionError, match="violate the pod's disruption budget"):
            _drain(rendered, node, "3s")
        assert _serving(rendered, unit) == (serving, node)
        kubectl(rendered.plane, *budget, '{"spec": {"maxUnavailable": 2}}')
        wait_for("an eviction is allowed again", lambda: _allowed(rendered, name) == (2, 1))
        assert f"pod/{serving} evicted" in _drain(rendered, node, "50s")
        wait_for("its replacement waits beside the canary", lambda: rendered.unschedulable(unit) == 2)


def _floor(stack: RenderedStack, unit: str) -> str:
    return kubectl(stack.plane, "-n", stack.namespace, "get", "scaledobject", f"{unit}-hpa", "-o", "jsonpath={.spec.minReplicaCount}")


def _serving(stack: RenderedStack, unit: str) -> tuple[str, str]:
    """The one pod of a unit that has a node, and that node."""
    items = json.loads(kubectl(stack.plane, "-n", stack.namespace, "get", "pods", "-o", "json"))["items"]
    of_pool = [one for one in items if stack.units[unit].node_pool in one["spec"]["nodeSelector"].values()]
    ((pod, node),) = [(one["metadata"]["name"], one["spec"]["nodeName"]) for one in of_pool if "nodeName" in one["spec"]]
    return pod, node


def _allowed(stack: RenderedStack, name: str) -> tuple[int, int]:
    """The pods that a budget expects, and the evictions that it allows now; the budget is the one that was written last."""
    budget = json.loads(kubectl(stack.plane, "-n", stack.namespace, "get", "pdb", name, "-o", "json"))
    status = budget["status"]
    current = status["observedGeneration"] == budget["metadata"]["generation"]
    return (status["expectedPods"], status["disruptionsAllowed"]) if current else (0, -1)


def _drain(stack: RenderedStack, node: str, timeout: str) -> str:
    return kubectl(stack.plane, "drain", node, "--delete-emptydir-data", f"--timeout={timeout}")


def _scaled(stack: RenderedStack, *, whole: bool = False) -> str:
    """The specs of all ScaledObjects as text, without what the controller owns."""
    items = json.loads(kubectl(stack.plane, "-n", stack.namespace, "get", "scaledobjects", "-o", "json"))["items"]
    specs = {one["metadata"]["name"]: one["spec"] for one in items}
    if not whole:
        for spec in specs.values():
            del spec["minReplicaCount"]
            del spec["triggers"][0]["metadata"]["targetMetricValue"]
    return json.dumps(specs, sort_keys=True)


def test_the_identity_that_only_reads_suffices_for_plan_and_doctor(rendered: RenderedStack) -> None:
    """Rendered objects need no more permissions than the manifests grant."""
    assert command(rendered, "doctor", rendered.key, account="failoverctl").returncode == 0
    assert command(rendered, "plan", account="failoverctl").returncode == 0
