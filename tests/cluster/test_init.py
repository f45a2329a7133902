"""`failoverctl init` on the real API server: its file is valid and leads to the same plan as a handwritten one."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.clients.kube import INGRESSES, JSON_PATCH
from controller.policy.model import Backend
from controller.routing.annotations import PIN_REASON, PINNED_MODE, PINNED_UNTIL
from controller.routing.ingress.standby import live_rule, standby_patch
from controller.routing.marks import FOREVER
from failover_harness.control_plane.control_plane import ControlPlane
from failover_harness.waiting import wait_for
from failover_testbed.aws.server import EmulatedAws
from tests.cluster.hand_built import HandBuiltStack, keep_aside
from tests.cluster.manifests import kubectl
from tests.cluster.processes import PROGRAM, environment
from tests.cluster.rendered import RenderedStack
from tests.cluster.traffic import publish
from tests.support import hand_built
from tests.support.applications import SERVICES


@pytest.fixture(scope="module")
def aws() -> Iterator[EmulatedAws]:
    """CloudWatch with two hours of every unit's counter and latency: traffic by weights, which one replica of each can serve."""
    with EmulatedAws() as account:
        publish(account)
        yield account


@pytest.fixture
def rendered(installed: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[RenderedStack]:
    """The AWS sample's stack, rendered and applied."""
    with RenderedStack(installed, namespace, tmp_path) as made:
        yield made


@pytest.fixture
def built(installed: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[HandBuiltStack]:
    """The stack built by hand, with running pods."""
    with HandBuiltStack(installed, namespace, tmp_path) as made:
        yield made


def _run(stack: RenderedStack, aws: EmulatedAws, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a command with the controller's identity, which has few permissions besides reading, and with CloudWatch."""
    extra = {"FAILOVERCTL_AWS__APIS": '["cloudwatch"]', "FAILOVERCTL_AWS__LATENCY_STAT": "Average"}
    variables = {**environment(stack), **aws.environment(), **extra}
    return subprocess.run([PROGRAM, *arguments], env=variables, capture_output=True, text=True, timeout=120, check=False)


def _init(stack: RenderedStack, aws: EmulatedAws, ingress: str, name: str = "adopted.yaml") -> Path:
    path = stack.folder / name
    done = _run(stack, aws, "init", "--ingress", f"{stack.namespace}/{ingress}", "--out", str(path))
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    assert "0 value(s) not found" in done.stderr
    return path


def _by_hand(stack: RenderedStack) -> Path:
    path = stack.folder / "by-hand.yaml"
    path.write_text(yaml.safe_dump(stack.written()))
    return path


def _plan(stack: RenderedStack, aws: EmulatedAws, path: Path) -> dict[str, Any]:
    """The plan without its time and the numbers in sentences, which are ages. Requests stay byte for byte."""
    done = _run(stack, aws, "plan", "--json", "--applications", str(path))
    assert done.returncode in {0, 2}, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    evidence = {
        unit: {key: value for key, value in judged.items() if key not in {"facts", "lastRefusal"}}
        for unit, judged in document["evidence"].items()
    }
    guards = [(one["guard"], one["passed"], one["reason"]) for one in document["guards"]]
    sentences = [
        re.sub(r"\d+", "N", one) for one in (document["why"], document["summary"], *(alert["text"] for alert in document["alerts"]))
    ]
    exact = ("application", "mode", "verb", "wanted", "reason", "actions", "coming", "refused", "standbyPatch", "changes", "degraded")
    return {"evidence": evidence, "guards": guards, "sentences": sentences, **{key: document[key] for key in exact}}


def _allowing(path: Path) -> Path:
    """The file with `allowUnsafeSwitch`: there is no ELBv2 here that could say which targets are healthy."""
    document = yaml.safe_load(path.read_text())
    document["spec"].setdefault("policy", {})["allowUnsafeSwitch"] = True
    allowing = path.with_name(f"allowing-{path.name}")
    allowing.write_text(yaml.safe_dump(document))
    return allowing


def _same_plan(stack: RenderedStack, aws: EmulatedAws, adopted: Path, *, allowed: bool = False) -> dict[str, Any]:
    """The plan of both files, which must be the same."""
    files = (adopted, _by_hand(stack))
    ours, theirs = (_plan(stack, aws, _allowing(one) if allowed else one) for one in files)
    assert ours == theirs
    return ours


def _pinned(
    stack: RenderedStack, aws: EmulatedAws, adopted: Path, ingress: str, *, allowed: bool
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The plan of both files, and its requests to the Ingress, after a person pins capacity mode."""
    marks = {PINNED_MODE: "capacity", PINNED_UNTIL: FOREVER, PIN_REASON: "a drill"}
    stack._patch(INGRESSES, ingress, {"metadata": {"annotations": marks}})
    plan = _same_plan(stack, aws, adopted, allowed=allowed)
    return plan, [one for one in plan["actions"] if one["resource"] == INGRESSES.name]


def test_a_rendered_stack(rendered: RenderedStack, aws: EmulatedAws) -> None:
    """Without a shortage there is nothing to do; both plan the same requests of a failover."""
    adopted = _init(rendered, aws, "sd21")
    assert _same_plan(rendered, aws, adopted)["changes"] is False
    plan, routes = _pinned(rendered, aws, adopted, "sd21", allowed=True)
    assert (plan["verb"], len(routes)) == ("failover", 1), plan
    assert "sd21-all" in routes[0]["body"]


def test_a_stack_built_by_hand_and_what_it_lacks(built: HandBuiltStack, aws: EmulatedAws) -> None:
    """The plan of the new file names what a safe mode change lacks; after the printed patch it contains a failover."""
    adopted = _init(built, aws, hand_built.INGRESS)
    plan = _same_plan(built, aws, adopted)
    assert (plan["actions"], len(plan["standbyPatch"])) == ([], 6)
    assert any("standby" in one or "registered" in one for one in plan["sentences"]), plan["sentences"]
    report = json.loads(
        _run(built, aws, "doctor", f"{built.namespace}/{hand_built.INGRESS}", "--output", "json", "--applications", str(adopted)).stdout
    )
    levels = {one["check"]: one["level"] for one in report["checks"] if one["level"] in {"problem", "warning"}}
    assert levels.items() >= {"standby-rules": "problem", "health-check": "warning", "stickiness": "warning"}.items()
    assert [check for check, level in levels.items() if level == "problem"] == ["standby-rules"]

    refused, routes = _pinned(built, aws, adopted, hand_built.INGRESS, allowed=False)
    assert (routes, refused["reason"]) == ([], "UnsafeSwitch")

    path = INGRESSES.path(built.namespace, hand_built.INGRESS)
    built.session.request("PATCH", path, body=json.dumps(plan["standbyPatch"]), content_type=JSON_PATCH)
    built.make_load_balancer(hand_built.INGRESS, (hand_built.CAPACITY,))
    assert _same_plan(built, aws, adopted)["standbyPatch"] == []
    plan, routes = _pinned(built, aws, adopted, hand_built.INGRESS, allowed=True)
    assert (plan["verb"], len(routes)) == ("failover", 1), plan
    assert hand_built.CAPACITY in routes[0]["body"]


def test_the_patch_that_is_printed_is_that_of_the_standby_rules() -> None:
    """So that the test above uses the real patch."""
    missing = [Backend(name, 80) for name in (hand_built.CAPACITY, *SERVICES)]
    assert len(standby_patch("weighted-routing", [live_rule("weighted-routing")], missing)) == 6


def test_the_ingress_that_is_kept_aside_is_applied(built: HandBuiltStack, aws: EmulatedAws) -> None:
    """In capacity mode it finds the units behind the one Service, and marks values that the action lacks as assumed."""
    kubectl(built.plane, "apply", "-f", str(keep_aside(built.folder, built.namespace)))
    text = _init(built, aws, hand_built.INGRESS).read_text()
    found = yaml.safe_load(text)["spec"]
    assert sorted(unit["name"] for unit in found["units"]) == sorted(SERVICES)
    assert found["policy"] == {"weightStrategy": "inverse-cost", "stickinessCapacitySeconds": 200}
    assert "in capacity mode now" in text
    plan = _plan(built, aws, built.folder / "adopted.yaml")
    assert (plan["mode"], {one["kind"] for one in plan["actions"]}) == ("capacity", {"set-target"}), plan["actions"]


def test_nothing_is_written_in_the_cluster_and_reading_suffices(built: HandBuiltStack, aws: EmulatedAws) -> None:
    """According to the API server's audit log, it only lists. The kinds that few applications use are granted on request."""
    _init(built, aws, hand_built.INGRESS)
    wait_for("the audit log", lambda: bool(built.audit()))
    assert {one.verb for one in built.audit()} == {"list"}
    assert {one.resource for one in built.audit() if one.code >= 400} == {"statefulsets", "rollouts", "leaderworkersets"}


def test_an_existing_file_is_not_overwritten(built: HandBuiltStack, aws: EmulatedAws) -> None:
    """A missing Ingress is an error that names the existing ones."""
    path = built.folder / "mine.yaml"
    path.write_text("mine")
    done = _run(built, aws, "init", "--ingress", f"{built.namespace}/{hand_built.INGRESS}", "--out", str(path))
    assert (done.returncode, path.read_text()) == (1, "mine")
    done = _run(built, aws, "init", "--ingress", f"{built.namespace}/nope")
    assert (done.returncode, hand_built.INGRESS in done.stderr) == (1, True)
