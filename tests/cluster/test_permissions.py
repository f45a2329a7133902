"""Least privilege, by the real server's audit log: the granted permissions are exactly the used ones."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from controller.clients.kube import GRPC_ROUTES, INGRESSES, REFERENCE_GRANTS
from failover_harness.control_plane.control_plane import ControlPlane
from failover_harness.waiting import wait_for
from tests.cluster.life import LEADING, forget_everything, usable, whole_life
from tests.cluster.manifests import KUSTOMIZE, SYSTEM, apply_folder, kubectl, overlay
from tests.cluster.processes import command, run_controller
from tests.cluster.routed import RoutedStack, serve_gateways
from tests.cluster.stack import Stack, moment
from tests.support.observed import CRASHES, Observed
from tools.permissions import APPLICATION, CLUSTER, Permission, granted, granted_for_routes, row_of

_READS = {"get", "list", "watch"}


# --- (a) what is used is what is granted ----------------------------------------------------------------------------------------------


def test_what_a_whole_life_uses_is_exactly_what_is_granted(stack: Stack) -> None:
    """Start, election, failover with KEDA, state, status, Events and their repetition, an override and the fallback."""
    used, allowed = whole_life(stack), usable()
    assert sorted(map(str, used - allowed)) == []
    assert sorted(map(str, allowed - used)) == []


@pytest.fixture
def routed(request: pytest.FixtureRequest, installed: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[RoutedStack]:
    """An application with a route, under the manifests with the component for routes; restores those without it afterwards."""
    serve_gateways(request.config, installed)
    apply_folder(installed, overlay(tmp_path, "base", "", "routes"))
    with RoutedStack(installed, namespace, tmp_path) as made:
        yield made
    apply_folder(installed, KUSTOMIZE / "base")


def test_what_a_whole_life_with_a_route_uses_is_what_the_component_grants_and_nothing_of_an_ingress(routed: RoutedStack) -> None:
    """The same life on an HTTPRoute. A kind of route that no application names is not read."""
    used, unused = whole_life(routed), {INGRESSES.plural, GRPC_ROUTES.plural, REFERENCE_GRANTS.plural}
    allowed = {one for one in (*usable(), *granted_for_routes()) if one.resource not in unused}
    assert sorted(map(str, used - allowed)) == []
    assert sorted(map(str, allowed - used)) == []


# --- (b) what is missing is named -------------------------------------------------------------------------------------------------------

# One permission of each resource; tests/deploy/test_permissions.py covers all. A missing `watch` shows after
# the time for which refusals of a starting server are tolerated.
_ONE_EACH = sorted(one for one in usable() if one.verb in {"list", "create"} or (one.resource, one.verb) == ("ingresses", "patch"))


@pytest.mark.parametrize("missing", _ONE_EACH, ids=str)
def test_a_missing_permission_is_a_named_degradation(stack: Stack, missing: Permission) -> None:
    """The controller continues, and its symptoms are those in docs/permissions.md."""
    row = row_of(missing)
    assert row is not None
    forget_everything(stack)
    with _account_without(stack, missing) as account, capture_logs() as logs:
        leads = LEADING if missing.resource == "leases" else {}
        with stack.controller(session=stack.controller_session(account=account), **leads) as service:
            observed = Observed(service, logs)
            if any(where == "metric" for where, _ in row.seen) or missing.resource in {"events", "configmaps"}:
                stack.shortage()
            try:
                wait_for("what the document says", lambda: set(row.seen) <= observed.observe() and observed.names(missing))
            except AssertionError:
                raise AssertionError(f"{missing}: expected {row.seen}, seen {sorted(observed.seen)}") from None
            assert service._healthy() == ""
    assert not CRASHES & {entry["event"] for entry in logs}


@contextmanager
def _account_without(stack: Stack, missing: Permission) -> Iterator[str]:
    """A ServiceAccount with all permissions of the controller except one."""
    name = f"without-{stack.namespace}"
    spaces = {CLUSTER: None, APPLICATION: stack.namespace}
    roles: dict[str | None, list[Permission]] = {}
    for one in granted():
        if one != missing:
            roles.setdefault(spaces.get(one.place, one.place), []).append(one)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": SYSTEM}}
    made = [account, *(document for space, some in roles.items() for document in _role(name, space, some))]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": made})
    kubectl(stack.plane, "create", "-f", "-", stdin=text)
    try:
        yield name
    finally:
        kubectl(stack.plane, "delete", "--wait=false", "-f", "-", stdin=text)


def _role(name: str, namespace: str | None, some: list[Permission]) -> tuple[dict[str, Any], dict[str, Any]]:
    kind, api = ("Role" if namespace else "ClusterRole"), "rbac.authorization.k8s.io"
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    rules = [{"apiGroups": [one.group], "resources": [one.resource], "verbs": [one.verb], "resourceNames": list(one.names)} for one in some]
    subject = {"kind": "ServiceAccount", "name": name, "namespace": SYSTEM}
    role = {"apiVersion": f"{api}/v1", "kind": kind, "metadata": metadata, "rules": rules}
    reference = {"apiGroup": api, "kind": kind, "name": name}
    binding = {"apiVersion": f"{api}/v1", "kind": f"{kind}Binding", "metadata": metadata, "roleRef": reference, "subjects": [subject]}
    return role, binding


# --- (c) reading suffices for read-only commands ------------------------------------------------------------------------------------------


@pytest.fixture
def reading(installed: ControlPlane) -> Iterator[ControlPlane]:
    """Applies the dry run's manifests over the others, as a user does; restores the others afterwards."""
    apply_folder(installed, KUSTOMIZE / "dry-run")
    yield installed
    apply_folder(installed, KUSTOMIZE / "base")


def test_the_dry_run_manifests_suffice_for_every_read_only_command(reading: ControlPlane, stack: Stack) -> None:
    """In a shortage, `plan`, `status`, `doctor` and `run --dry-run` get no refusal and write nothing, where no controller ever led."""
    forget_everything(stack)  # beside a Lease, `status` would list the controller's pods
    begin = moment()
    with run_controller(stack, "--dry-run") as process:
        stack.shortage()
        wait_for("the decision", lambda: process.application()["verb"] == "failover")
        planned = command(stack, "plan")
        status = command(stack, "status")
        doctor = command(stack, "doctor", "sd21")  # the controller may not read the cluster's components
        process.end(signal.SIGTERM)
        log = process.log()
    # A single observation finds no NodeClaim any more, but both Events: that the launch was refused, and that nothing else is available.
    assert (planned.returncode, planned.stderr) == (2, ""), planned.stdout
    assert "ShortageProven" in planned.stdout
    assert (status.returncode, status.stderr) == (0, "")
    assert "sd21-inf2" in status.stdout
    assert (doctor.returncode, doctor.stderr) == (2, ""), doctor.stdout  # the Ingress gets no address here
    assert "cannot tell" not in doctor.stdout
    assert "action.planned" in log
    entries = stack.audit(since=begin)
    assert {one.verb for one in entries} <= _READS
    assert [one for one in entries if one.code in {401, 403}] == []
    assert stack.mode() == ""


# --- Pod Security ------------------------------------------------------------------------------------------------------------------------


def test_the_pods_are_accepted_as_restricted_and_others_are_not(installed: ControlPlane, tmp_path: Path) -> None:
    """The ReplicaSet controller creates the pods under the namespace's `restricted` profile, which refuses a violation."""

    def pods(app: str) -> int:
        listed = json.loads(kubectl(installed, "-n", SYSTEM, "get", "pods", "-l", f"app.kubernetes.io/name={app}", "-o", "json"))
        return len(listed["items"])

    def refusals(app: str) -> list[str]:
        listed = json.loads(kubectl(installed, "-n", SYSTEM, "get", "events", "-o", "json"))["items"]
        return [one["message"] for one in listed if one["reason"] == "FailedCreate" and one["involvedObject"]["name"].startswith(f"{app}-")]

    deployment = json.loads(kubectl(installed, "-n", SYSTEM, "get", "deployment", "failoverctl", "-o", "json"))
    wait_for("the pods", lambda: pods("failoverctl") >= deployment["spec"]["replicas"])
    assert refusals("failoverctl") == []
    labels = {"app.kubernetes.io/name": "rootful"}
    deployment["metadata"] = {"name": "rootful", "namespace": SYSTEM, "labels": labels}
    spec = deployment["spec"]
    spec["selector"]["matchLabels"] = spec["template"]["metadata"]["labels"] = labels
    spec["template"]["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    kubectl(installed, "create", "-f", "-", stdin=json.dumps(deployment))
    try:
        wait_for("the refusal", lambda: any("violates PodSecurity" in text for text in refusals("rootful")))
        assert pods("rootful") == 0
    finally:
        kubectl(installed, "-n", SYSTEM, "delete", "deployment", "rootful", "--wait=false")
