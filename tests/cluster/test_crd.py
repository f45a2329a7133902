"""The CustomResourceDefinition on the real API server: what it takes, and who refuses what `config check` refuses."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.clients.kube import FAILOVER_APPLICATIONS, JSON_PATCH, KubeSession, Object
from controller.documents import place_text
from controller.errors import RemoteError
from failover_harness.control_plane import crds
from failover_harness.control_plane.control_plane import ControlPlane
from tests.catalog.conftest import valid_document
from tests.catalog.test_application import TestRefused as Refused
from tests.catalog.test_application import put
from tests.service.test_application_objects import Cluster
from tools.crd import custom_resource_definition

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "refusals.md"
_HEAD = """# Who refuses what

Every refusal of `failoverctl config check`, and who refuses it for a FailoverApplication: the **schema** of the API server, a **rule**
(CEL) beside the schema with the words of `config check`, or the controller with condition `Accepted=False` (**condition**). A test asks a
real API server and keeps this table fresh.

| fault | place | refused by |
|---|---|---|
"""


@pytest.fixture(scope="module")
def session(api_server: ControlPlane) -> Iterator[KubeSession]:
    """The administrator's session, with the definition installed."""
    made = api_server.session()
    crds.install(made, [custom_resource_definition()])
    yield made
    made.close()


def _apply(session: KubeSession, document: Object, *, dry_run: bool = True) -> str:
    """Creates an object. Returns what the server says against it, "" if nothing."""
    query = (("fieldValidation", "Strict"), *((("dryRun", "All"),) if dry_run else ()))
    try:
        session.request("POST", FAILOVER_APPLICATIONS.path("default"), query=query, body=json.dumps(document))
    except RemoteError as error:
        return str(error)
    return ""


def _shipped() -> Iterator[Any]:
    for path in sorted((ROOT / "config").glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if isinstance(document, dict) and document.get("apiVersion") == FAILOVER_APPLICATIONS.api_version:
                yield pytest.param(document, id=path.stem)


@pytest.mark.parametrize("document", list(_shipped()))
def test_every_shipped_application_can_be_applied(session: KubeSession, document: Object) -> None:
    document["metadata"]["namespace"] = "default"
    assert _apply(session, document) == ""


def _cases() -> Iterator[tuple[str, str, Object]]:
    """Each refusal of `config check`: its name, the place at fault and the document."""
    (single,) = (one for one in Refused.test_a_single_value_that_is_wrong.pytestmark if one.name == "parametrize")
    for case in single.args[1]:
        place, value, _ = case.values
        yield str(case.id), place_text(place), _with({place: value})
    (pairs,) = (one for one in Refused.test_values_that_do_not_fit_together.pytestmark if one.name == "parametrize")
    for case in pairs.args[1]:
        changes, at, _ = case.values
        yield str(case.id), at, _with(changes)


def _with(changes: dict[tuple[str | int, ...], Any]) -> Object:
    made = valid_document()
    for place, value in changes.items():
        put(made, place, value)
    return made


def _refused_by(session: KubeSession, document: Object) -> str:
    try:
        json.dumps(document, allow_nan=False)
    except ValueError:
        return "schema"  # JSON has no such number
    if said := _apply(session, document):
        return "rule" if "; allowed: " in said else "schema"
    document["metadata"] |= {"uid": "1", "generation": 1}
    assert Cluster(document).catalog.error, "nobody refuses it"
    return "condition"


def test_every_refusal_of_config_check_is_one_of_the_cluster(session: KubeSession) -> None:
    """What nobody refuses would run with a meaning that its author did not intend."""
    rows = [f"| {name} | `{place}` | {_refused_by(session, document)} |" for name, place, document in _cases()]
    table = _HEAD + "\n".join(rows) + "\n"
    if os.environ.get("FAILOVERCTL_TEST_WRITE_TABLE"):
        TABLE.write_text(table)
    assert TABLE.read_text() == table, "write it anew with FAILOVERCTL_TEST_WRITE_TABLE=1"


def test_a_rule_speaks_as_config_check_does(session: KubeSession) -> None:
    twice = _with({("spec", "units", 1, "deployment"): "one"})
    assert "spec.units: Invalid value" in _apply(session, twice)
    assert "allowed: a Deployment that no other unit has" in _apply(session, twice)


def test_kubectl_waits_for_a_condition_and_shows_the_columns(session: KubeSession, api_server: ControlPlane) -> None:
    """A pipeline waits for the load balancer to follow before it goes on."""
    document = valid_document()
    assert _apply(session, document, dry_run=False) == ""
    condition = {"type": "Verified", "status": "True", "reason": "Y", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    status = {"mode": "cost", "short": "one", "dollarsPerHour": 1.5, "conditions": [condition]}
    path = f"{FAILOVER_APPLICATIONS.path('default', 'app')}/status"
    session.request("PATCH", path, body=json.dumps([{"op": "add", "path": "/status", "value": status}]), content_type=JSON_PATCH)
    kubectl = ["kubectl", f"--kubeconfig={api_server.kubeconfig()}", "-n", "default"]
    subprocess.run([*kubectl, "wait", "--for=condition=Verified", "fapp/app", "--timeout=20s"], check=True, timeout=60)
    shown = subprocess.run([*kubectl, "get", "fapp"], check=True, timeout=60, capture_output=True, text=True).stdout.splitlines()
    assert shown[0].split() == ["NAME", "MODE", "SINCE", "SHORT", "VERIFIED", "$/H", "AGE"]
    assert shown[1].split()[:2] == ["app", "cost"]
