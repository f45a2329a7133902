"""The life of an application as an object of a real API server: what a person with kubectl sees of it."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import yaml

from controller.clients.kube import FAILOVER_APPLICATIONS
from controller.clock import SystemClock
from controller.service.wiring import Service
from failover_harness.waiting import wait_for
from tests.cluster.charts import define
from tests.cluster.manifests import kubectl
from tests.cluster.stack import Stack
from tests.support.cluster import running, settings_for
from tests.support.constants import set_constant


@pytest.fixture
def service(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """The controller with the ServiceAccount's permissions; a status may follow another at once, because the test waits for several."""
    define(stack.plane)
    set_constant(monkeypatch, "SOONEST_S", 0.5)
    settings = settings_for(None, kubernetes={"state_namespace": stack.installation.namespace})
    with closing(stack.controller_session()) as session, running(Service(settings, session, SystemClock())) as made:
        yield made


def _columns(stack: Stack) -> dict[str, str]:
    """The row that `kubectl get fapp` prints."""
    head, row = kubectl(stack.plane, "get", "fapp", "sd21", "-n", stack.namespace).splitlines()
    names = [(found.group(), found.start()) for found in re.finditer(r"\S+", head)]
    ends = [start for _, start in names[1:]] + [len(row)]
    return {name: row[start:end].strip() for (name, start), end in zip(names, ends, strict=True)}


def _condition(stack: Stack, kind: str) -> dict[str, Any]:
    status = stack.session.get(FAILOVER_APPLICATIONS, stack.namespace, "sd21")["status"]
    found: dict[str, Any] = next(one for one in status["conditions"] if one["type"] == kind)
    return found


def _another(document: dict[str, Any]) -> dict[str, Any]:
    """The application of another route, which is the older one because it is applied first."""
    other = copy.deepcopy(document)
    other["metadata"]["name"] = other["spec"]["ingress"] = "another"
    for unit in other["spec"]["units"]:
        del unit["scaledObject"]
    return other


def test_an_application_is_applied_fails_over_is_edited_and_is_deleted(stack: Stack, service: Service) -> None:
    """What pipelines and people do with it, in the order in which they do it."""
    document = yaml.safe_load(stack.application_file().read_text())
    here = ("-n", stack.namespace)

    def apply(*documents: dict[str, Any]) -> None:
        kubectl(stack.plane, "apply", *here, "-f", "-", stdin=yaml.safe_dump_all(documents))

    def wait(condition: str) -> None:
        kubectl(stack.plane, "wait", *here, f"--for=condition={condition}", "fapp/sd21", "--timeout=40s")

    apply(_another(document), document)
    wait("Accepted")
    wait("Verified=Unknown")  # no AWS is here to ask
    wait_for("cost mode", lambda: _columns(stack)["MODE"] == "cost")
    calm = _columns(stack)
    assert (calm["SHORT"], calm["VERIFIED"], float(calm["$/H"]) > 0) == ("", "Unknown", True)

    stack.shortage()
    wait("CapacityAvailable=False")
    wait_for("capacity mode", lambda: (_columns(stack)["MODE"], _columns(stack)["SHORT"]) == ("capacity", "sd21-inf2"))

    with pytest.raises(AssertionError, match=r"spec\.policy\.quietSeconds: Invalid value"):
        apply(_with_policy(document, quietSeconds=-1))
    greedy = _with_policy(document, quietSeconds=3)
    greedy["spec"]["ingress"] = "another"
    apply(greedy)
    wait("Accepted=False")
    accepted = _condition(stack, "Accepted")
    assert (accepted["reason"], accepted["observedGeneration"]) == ("Conflicted", 2)
    assert f"the older FailoverApplication {stack.namespace}/another" in accepted["message"]
    assert accepted["message"].endswith("; the last accepted generation keeps running")
    running_now = {one.name: one for one in service.controller.applications()}
    assert (running_now["sd21"].route.name, running_now["sd21"].policy.quiet_s) == ("sd21", 2)

    kubectl(stack.plane, "delete", *here, "fapp/sd21")
    wait_for("the end", lambda: [one.name for one in service.controller.applications()] == ["another"])
    assert stack.mode() == "capacity", "the routing stays as it is"


def _with_policy(document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    changed = copy.deepcopy(document)
    changed["spec"]["policy"] |= changes
    return changed
