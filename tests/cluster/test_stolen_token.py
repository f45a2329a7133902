"""What the controller's token is good for in other hands: the admission policies of `deploy/`, on the real API server."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

import pytest

from controller.clients.kube import (
    APPLY_PATCH,
    CONFIG_MAPS,
    FAILOVER_APPLICATIONS,
    INGRESSES,
    JSON_PATCH,
    LEASES,
    MERGE_PATCH,
    SCALED_OBJECTS,
    KubeSession,
    Resource,
)
from controller.errors import Conflict, RemoteError
from controller.policy.model import Target
from controller.routing.annotations import APPLICATION, MARKER, PAUSED_UNTIL
from controller.routing.ingress.action import format_action
from controller.service.store import record_name
from failover_harness.waiting import wait_for
from tests.cluster.charts import define
from tests.cluster.manifests import SYSTEM, kubectl
from tests.cluster.objects import ACTION
from tests.cluster.stack import Stack
from tests.cluster.stolen import DENIED, accepted, patch

FORWARD: Final = format_action((Target("sd21-inf2", 80, 1), Target("sd21-trn1", "http", 0)), 200)
SCALER: Final = "sd21-inf2-hpa"


@pytest.fixture
def stolen(stack: Stack) -> Iterator[KubeSession]:
    """Anyone who has the token, once the API server has begun to enforce the policies."""
    session = stack.controller_session()

    def enforced() -> bool:
        try:
            patch(session, INGRESSES, stack.namespace, "sd21", {"metadata": {"labels": {"a": "b"}}}, dry=True)
        except RemoteError as error:
            return "the controller may" in str(error)
        return False

    wait_for("the policies", enforced)
    yield session
    session.close()


def _annotations(**written: str | None) -> dict[str, Any]:
    return {"metadata": {"annotations": written}}


def _action(text: str) -> dict[str, Any]:
    return _annotations(**{ACTION: text})


_REDIRECT: Final = json.dumps({"type": "redirect", "redirectConfig": {"host": "evil.example.org", "statusCode": "HTTP_301"}})
_FIXED: Final = json.dumps({"type": "fixed-response", "fixedResponseConfig": {"statusCode": "200", "messageBody": "owned"}})
_ARN: Final = json.dumps({"type": "forward", "targetGroupARN": "arn:aws:elasticloadbalancing:::targetgroup/evil/1"}, separators=(",", ":"))


_OF_AN_INGRESS: Final = (
    pytest.param(_action(_REDIRECT), id="a redirect to elsewhere"),
    pytest.param(_action(_FIXED), id="a fixed response"),
    pytest.param(_action(_ARN), id="a foreign target group"),
    pytest.param(_action(FORWARD.replace("}]", '}],"authenticateOidc":1')), id="further keys"),
    pytest.param(_action(FORWARD.replace('"weight":1},', '"weight":1}')), id="what is not JSON"),
    pytest.param(_action(f"{FORWARD}\n{_FIXED}"), id="a second line"),
    pytest.param(_annotations(**{"alb.ingress.kubernetes.io/actions.other": _REDIRECT}), id="another rule's action"),
    pytest.param(_annotations(**{ACTION: None}), id="no action"),
    pytest.param(_annotations(**{"alb.ingress.kubernetes.io/scheme": "internet-facing"}), id="a public load balancer"),
    pytest.param(_annotations(**{"alb.ingress.kubernetes.io/auth-type": "none"}), id="no authentication"),
    pytest.param(_annotations(**{PAUSED_UNTIL: "forever"}), id="a person's pause"),
    pytest.param({"metadata": {"labels": {"a": "b"}}}, id="labels"),
    pytest.param({"metadata": {"finalizers": ["example.org/stuck"]}}, id="a finalizer"),
    pytest.param({"spec": {"rules": [{"host": "evil.example.org"}]}}, id="rules"),
    pytest.param({"spec": {"ingressClassName": "nginx"}}, id="the class"),
    pytest.param({"spec": {"tls": [{"hosts": ["a.example.org"], "secretName": "x"}]}}, id="TLS"),
)
_OF_A_SCALED_OBJECT: Final = (
    pytest.param([{"op": "replace", "path": "/spec/maxReplicaCount", "value": 1000}], id="the maximum"),
    pytest.param([{"op": "replace", "path": "/spec/scaleTargetRef/name", "value": "other"}], id="what it scales"),
    pytest.param([{"op": "add", "path": "/spec/pollingInterval", "value": 1}], id="the interval"),
    pytest.param([{"op": "replace", "path": "/spec/minReplicaCount", "value": 100_000}], id="a floor beyond the maximum"),
    pytest.param([{"op": "add", "path": "/spec/triggers/0/metadata/awsEndpoint", "value": "http://evil"}], id="where a trigger asks"),
    pytest.param([{"op": "replace", "path": "/spec/triggers/0/metadata/expression", "value": "x"}], id="what a trigger asks"),
    pytest.param([{"op": "add", "path": "/spec/triggers/0/authenticationRef", "value": {"name": "x"}}], id="with whose credentials"),
    pytest.param([{"op": "add", "path": "/spec/triggers/-", "value": {"type": "cron", "metadata": {}}}], id="another trigger"),
    pytest.param([{"op": "replace", "path": "/spec/triggers/0/metadata/targetMetricValue", "value": "1e9x"}], id="a target that is none"),
    pytest.param([{"op": "add", "path": "/metadata/annotations", "value": {"autoscaling.keda.sh/paused": "true"}}], id="a pause"),
    pytest.param([{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}], id="labels"),
)


_NOT_OURS: Final[tuple[Any, ...]] = (
    pytest.param(_FIXED.replace("200", "403"), id="a fixed response"),
    pytest.param(_REDIRECT, id="a redirect"),
    pytest.param(_FIXED.replace('"type": "f', '"type": "forward", "Type" : "f'), id="a fixed response behind another type"),
    pytest.param(_ARN, id="a target group by its ARN"),
    pytest.param("{}", id="an action without a type"),
)


def test_of_an_ingress_it_changes_only_our_annotations_and_forward_actions(stolen: KubeSession, stack: Stack) -> None:
    """RBAC allows the patch; the policy says no, in its own words."""
    assert accepted(stolen, INGRESSES, stack.namespace, "sd21", _OF_AN_INGRESS, MERGE_PATCH) == []


def test_of_a_scaled_object_it_changes_only_floor_and_target(stolen: KubeSession, stack: Stack) -> None:
    """Neither what KEDA scales, nor by what and with whose credentials."""
    assert accepted(stolen, SCALED_OBJECTS, stack.namespace, SCALER, _OF_A_SCALED_OBJECT, JSON_PATCH) == []


def test_of_an_application_it_changes_only_the_status(stolen: KubeSession, stack: Stack) -> None:
    """Even where somebody bound a team's role to it."""
    define(stack.plane)
    kubectl(stack.plane, "apply", "--server-side", "-f", str(stack.application_file()))
    role = ("--clusterrole=failoverctl-edit", f"--serviceaccount={SYSTEM}:failoverctl")
    kubectl(stack.plane, "-n", stack.namespace, "create", "rolebinding", "by-mistake", *role)
    cases = (
        pytest.param({"spec": {"policy": {"patienceSeconds": 1}}}, id="the policy"),
        pytest.param({"metadata": {"labels": {"a": "b"}}}, id="labels"),
        pytest.param({"metadata": {"finalizers": ["example.org/stuck"]}}, id="a finalizer"),
    )
    assert accepted(stolen, FAILOVER_APPLICATIONS, stack.namespace, "sd21", cases, MERGE_PATCH) == []
    with pytest.raises(RemoteError, match=DENIED):
        stolen.request("DELETE", FAILOVER_APPLICATIONS.path(stack.namespace, "sd21"))
    status = f"{FAILOVER_APPLICATIONS.path(stack.namespace, 'sd21')}/status"
    stolen.request("PATCH", status, body=json.dumps({"spec": {"units": []}, "status": {"mode": "cost"}}), content_type=MERGE_PATCH)
    found = stack.session.get(FAILOVER_APPLICATIONS, stack.namespace, "sd21")
    assert (found["status"], len(found["spec"]["units"])) == ({"mode": "cost"}, 5), "what else is in it is ignored"


@pytest.mark.parametrize(
    ("resource", "name"),
    [(CONFIG_MAPS, "failoverctl"), (CONFIG_MAPS, "failoverctl-applications"), (CONFIG_MAPS, "kube-root-ca.crt"), (LEASES, "another")],
)
def test_it_writes_no_other_object_of_its_namespace(stolen: KubeSession, stack: Stack, resource: Resource, name: str) -> None:
    """The settings are there; it writes its Lease, its status and its memory."""
    body: dict[str, Any] = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name, "namespace": SYSTEM}}
    with pytest.raises(RemoteError, match=DENIED):
        stolen.create(resource, SYSTEM, body, field_manager="x")
    if resource is CONFIG_MAPS:
        with suppress(Conflict):  # a namespace is born with one of them
            stack.session.create(resource, SYSTEM, body, field_manager="kubectl")
        with pytest.raises(RemoteError, match=DENIED):
            stolen.replace(resource, SYSTEM, name, {**body, "data": {"settings.yaml": "{}"}}, field_manager="x")


def test_it_replaces_no_action_but_a_forward(stolen: KubeSession, stack: Stack) -> None:
    """A rule that refuses requests, or sends them elsewhere, is a person's: no forward may be written over it."""
    key, passed = "alb.ingress.kubernetes.io/actions.admin", []
    for present in _NOT_OURS:
        patch(stack.session, INGRESSES, stack.namespace, "sd21", _annotations(**{key: present.values[0]}), dry=False)
        case = pytest.param(_annotations(**{key: FORWARD}), id=str(present.id))
        passed += accepted(stolen, INGRESSES, stack.namespace, "sd21", [case], MERGE_PATCH)
    assert passed == []


def test_it_replaces_a_forward_however_it_was_written_and_restores_a_missing_one(stolen: KubeSession, stack: Stack) -> None:
    """People write with spaces, and the load-balancer controller takes keys in any case."""
    for present in (json.dumps(json.loads(FORWARD), indent=2), FORWARD.replace("type", "Type"), None):
        patch(stack.session, INGRESSES, stack.namespace, "sd21", _annotations(**{ACTION: present}), dry=False)
        patch(stolen, INGRESSES, stack.namespace, "sd21", _annotations(**{ACTION: FORWARD, MARKER: "cost"}))


def _state(application: str, name: str = "", **changed: Any) -> dict[str, Any]:
    metadata = {"name": name or record_name(application), "namespace": SYSTEM, "annotations": {APPLICATION: application}}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {**metadata, **changed.pop("metadata", {})}, "data": {"memory": "{}"}}
    return {**body, **changed}


_OWNER: Final = {"apiVersion": "v1", "kind": "ConfigMap", "name": "kube-root-ca.crt", "uid": "00000000-0000-0000-0000-000000000000"}
_OF_A_CONFIG_MAP: Final[tuple[Any, ...]] = (
    pytest.param({"immutable": True}, id="immutable"),
    pytest.param({"metadata": {"finalizers": ["example.org/stuck"]}}, id="a finalizer"),
    pytest.param({"metadata": {"ownerReferences": [_OWNER]}}, id="an owner"),
    pytest.param({"binaryData": {"x": "AAAA"}}, id="binary data"),
    pytest.param({"data": {"memory": "x" * 300_000, "status": "x" * 300_000}}, id="more than its bound"),
    pytest.param({"metadata": {"name": "failoverctl-state-flood-1"}}, id="a name of nothing"),
    pytest.param({"metadata": {"name": "failoverctl-state-another.sd21-0123abcd"}}, id="the name of another application"),
    pytest.param({"metadata": {"annotations": {}}}, id="no application"),
    pytest.param({"metadata": {"annotations": {APPLICATION: "kube-system/sd21"}}}, id="an application that it may not change"),
)


def _denied(write: Callable[..., Any], *arguments: Any) -> str:
    """What a policy says of a write; "" where it passes."""
    try:
        write(*arguments, field_manager="x")
    except RemoteError as error:
        return str(error) if re.search(DENIED, str(error)) else ""
    return ""


def test_its_memory_is_small_and_of_an_application_and_can_be_deleted(stolen: KubeSession, stack: Stack) -> None:
    """Neither a flood of objects under invented names, nor one that nobody can change or delete again."""
    for case in _OF_A_CONFIG_MAP:
        changed: dict[str, Any] = case.values[0]
        application = changed.get("metadata", {}).get("annotations", {}).get(APPLICATION, stack.key)
        assert _denied(stolen.create, CONFIG_MAPS, SYSTEM, _state(application, **changed)), case.id


def test_its_status_can_be_changed_and_deleted(stolen: KubeSession) -> None:
    """The status of the process, which people read; also where it exists already."""
    name = "failoverctl-status"
    with suppress(Conflict):
        stolen.create(CONFIG_MAPS, SYSTEM, _state("", name), field_manager="x")
    stolen.replace(CONFIG_MAPS, SYSTEM, name, _state("", name), field_manager="x")
    for case in _OF_A_CONFIG_MAP[:3]:
        assert _denied(stolen.replace, CONFIG_MAPS, SYSTEM, name, _state("", name, **case.values[0])), case.id


def test_it_keeps_a_memory_of_every_application(stolen: KubeSession, stack: Stack) -> None:
    """A long name is cut in the name of the ConfigMap."""
    for name in ("sd21", "a" * 240, "a.b-" * 56 + "x" * 20):
        application = f"{stack.namespace}/{name}"
        with suppress(Conflict):
            stolen.create(CONFIG_MAPS, SYSTEM, _state(application, data={"memory": "x" * 262_144}), field_manager="x")
        stolen.replace(CONFIG_MAPS, SYSTEM, record_name(application), _state(application), field_manager="x")


def test_it_does_its_work(stolen: KubeSession, stack: Stack) -> None:
    """A weighted forward with the mode; a floor; a target; its state, its status. A whole life is in test_permissions.py."""
    written = _annotations(**{ACTION: FORWARD, MARKER: "cost"})
    patch(stolen, INGRESSES, stack.namespace, "sd21", written)
    patch(stolen, INGRESSES, stack.namespace, "sd21", {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", **written}, APPLY_PATCH)
    floor = {"op": "add", "path": "/spec/minReplicaCount", "value": 2}
    target = {"op": "replace", "path": "/spec/triggers/0/metadata/targetMetricValue", "value": "89.25"}
    patch(stolen, SCALED_OBJECTS, stack.namespace, SCALER, [floor, target], JSON_PATCH)
