"""What Flux makes of an application's status: its health expressions, evaluated by the API server.

Both evaluate CEL with the same library. Flux names the fields of the object directly, an admission policy names them below `object`. Flux
takes the first expression that is true, in the order in-progress, failed, current; an error is no health yet, and it asks again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from controller.clients.kube import FAILOVER_APPLICATIONS, MERGE_PATCH
from controller.errors import RemoteError
from failover_harness.control_plane import crds
from failover_harness.control_plane.control_plane import ControlPlane
from failover_harness.waiting import wait_for
from tests.support.cluster import application_document
from tools.crd import custom_resource_definition

EXPRESSIONS: Final = yaml.safe_load((Path(__file__).parents[2] / "deploy" / "gitops" / "flux-health.yaml").read_text())["healthCheckExprs"][
    0
]
ORDER: Final = ("inProgress", "failed", "current")
NAME: Final = "flux-health"
_POLICIES: Final = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
_BELOW: Final = re.compile(r"(?<![.\w])(status|metadata)\.")


def _policy() -> dict[str, Any]:
    """Refuses the status of a marked object, with the name of the first expression that is true as the message."""
    below = {name: _BELOW.sub(r"object.\1.", EXPRESSIONS[name]) for name in ORDER}
    asked = [{"expression": f"!({one})", "message": f"is {name};"} for name, one in below.items()]
    rule = {
        "apiGroups": [FAILOVER_APPLICATIONS.group],
        "apiVersions": ["*"],
        "operations": ["UPDATE"],
        "resources": [f"{FAILOVER_APPLICATIONS.plural}/status"],
    }
    constraints = {"resourceRules": [rule], "objectSelector": {"matchLabels": {NAME: "asked"}}}
    return {"metadata": {"name": NAME}, "spec": {"failurePolicy": "Fail", "matchConstraints": constraints, "validations": asked}}


@pytest.fixture(scope="module")
def health(api_server: ControlPlane) -> Iterator[Callable[[dict[str, Any] | None], str]]:
    """The name of the expression that decides about a status; "" if none is true, "error" if one has no value."""
    session = api_server.session()
    crds.install(session, [custom_resource_definition()])
    document = application_document()
    document["metadata"] = {"name": NAME, "namespace": "default", "labels": {NAME: "asked"}}
    session.request("POST", FAILOVER_APPLICATIONS.path("default"), body=json.dumps(document))
    session.request("POST", _POLICIES, body=json.dumps(_policy()))
    binding = {"metadata": {"name": NAME}, "spec": {"policyName": NAME, "validationActions": ["Deny"]}}
    session.request("POST", f"{_POLICIES.removesuffix('ies')}ybindings", body=json.dumps(binding))
    path = f"{FAILOVER_APPLICATIONS.path('default', NAME)}/status"

    def refusal(status: dict[str, Any] | None) -> str:
        try:
            session.request("PATCH", path, query=(("dryRun", "All"),), body=json.dumps({"status": status}), content_type=MERGE_PATCH)
        except RemoteError as error:
            return str(error)
        return ""

    def asked(status: dict[str, Any] | None) -> str:
        said = refusal(status)
        found = re.search(r"denied request: is (\w+);", said)
        assert found or not said or "no such key: status" in said, said
        return found[1] if found else "error" if said else ""

    wait_for("the policy", lambda: asked(_status(generation=0)) == "inProgress")
    yield asked
    for one in (f"{_POLICIES.removesuffix('ies')}ybindings/{NAME}", f"{_POLICIES}/{NAME}", FAILOVER_APPLICATIONS.path("default", NAME)):
        session.request("DELETE", one)
    session.close()


def _status(accepted: str = "True", verified: str | None = "True", generation: int = 1) -> dict[str, Any]:
    """A status whose conditions are of a generation; the object has the first one."""
    held = {"Accepted": accepted} | ({} if verified is None else {"Verified": verified})
    rest = {"reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": generation}
    return {"mode": "cost", "conditions": [{"type": kind, "status": status, **rest} for kind, status in held.items()]}


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        pytest.param(None, "error", id="no-status"),
        pytest.param(_status(generation=0), "inProgress", id="earlier-generation"),
        pytest.param(_status("False"), "failed", id="refused"),
        pytest.param(_status("False", generation=0), "inProgress", id="an-earlier-one-was-refused"),
        pytest.param(_status(verified="False"), "", id="not-verified"),
        pytest.param(_status(verified="Unknown"), "", id="cannot-tell"),
        pytest.param(_status(verified=None), "", id="never-verified"),
        pytest.param(_status(), "current", id="healthy"),
        pytest.param(_status() | {"mode": "capacity"}, "current", id="capacity"),
    ],
)
def test_flux_waits_for_the_load_balancer_and_fails_by_a_refusal(
    health: Callable[[dict[str, Any] | None], str], status: dict[str, Any] | None, wanted: str
) -> None:
    """A Kustomization that is ready before would let the next one begin on an application that nobody controls."""
    assert health(status) == wanted
