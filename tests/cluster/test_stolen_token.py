"""What the controller's token is good for in other hands: the admission policies of `deploy/`, on the real API server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import pytest

from controller.clients.kube import (
    APPLY_PATCH,
    CONFIG_MAPS,
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
from controller.routing.annotations import MARKER, PAUSED_UNTIL
from controller.routing.ingress.action import format_action
from failover_harness.waiting import wait_for
from tests.cluster.manifests import SYSTEM
from tests.cluster.objects import ACTION
from tests.cluster.stack import Stack

_DENIED: Final = "the controller may|a floor is|minReplicaCount must be"  # the last is of the CRD itself
FORWARD: Final = format_action((Target("sd21-inf2", 80, 1), Target("sd21-trn1", "http", 0)), 200)
SCALER: Final = "sd21-inf2-hpa"


@pytest.fixture
def stolen(stack: Stack) -> Iterator[KubeSession]:
    """Anyone who has the token, once the API server has begun to enforce the policies."""
    session = stack.controller_session()

    def enforced() -> bool:
        try:
            _patch(session, INGRESSES, stack.namespace, "sd21", {"metadata": {"labels": {"a": "b"}}}, dry=True)
        except RemoteError as error:
            return "the controller may" in str(error)
        return False

    wait_for("the policies", enforced)
    yield session
    session.close()


def _patch(
    session: KubeSession, resource: Resource, namespace: str, name: str, body: Any, kind: str = MERGE_PATCH, *, dry: bool = True
) -> dict[str, Any]:
    query = [("fieldManager", "failoverctl")] + ([("force", "true")] if kind == APPLY_PATCH else []) + ([("dryRun", "All")] if dry else [])
    return session.request("PATCH", resource.path(namespace, name), query=query, body=json.dumps(body), content_type=kind)


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


def _accepted(session: KubeSession, resource: Resource, namespace: str, name: str, cases: Any, kind: str) -> list[str]:
    """The cases that no policy refuses, each with the answer."""
    found = []
    for case in cases:
        try:
            _patch(session, resource, namespace, name, case.values[0], kind)
            found.append(str(case.id))
        except RemoteError as error:
            if not re.search(_DENIED, str(error)):
                found.append(f"{case.id}: {error}")
    return found


def test_of_an_ingress_it_changes_only_our_annotations_and_forward_actions(stolen: KubeSession, stack: Stack) -> None:
    """RBAC allows the patch; the policy says no, in its own words."""
    assert _accepted(stolen, INGRESSES, stack.namespace, "sd21", _OF_AN_INGRESS, MERGE_PATCH) == []


def test_of_a_scaled_object_it_changes_only_floor_and_target(stolen: KubeSession, stack: Stack) -> None:
    """Neither what KEDA scales, nor by what and with whose credentials."""
    assert _accepted(stolen, SCALED_OBJECTS, stack.namespace, SCALER, _OF_A_SCALED_OBJECT, JSON_PATCH) == []


@pytest.mark.parametrize(
    ("resource", "name"),
    [(CONFIG_MAPS, "failoverctl"), (CONFIG_MAPS, "failoverctl-applications"), (CONFIG_MAPS, "kube-root-ca.crt"), (LEASES, "another")],
)
def test_it_writes_no_settings_and_no_application_files(stolen: KubeSession, stack: Stack, resource: Resource, name: str) -> None:
    """Its own namespace holds them; it writes its Lease, its status and its memory there."""
    body: dict[str, Any] = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name, "namespace": SYSTEM}}
    with pytest.raises(RemoteError, match=_DENIED):
        stolen.create(resource, SYSTEM, body, field_manager="x")
    if resource is CONFIG_MAPS:
        with suppress(Conflict):  # a namespace is born with one of them
            stack.session.create(resource, SYSTEM, body, field_manager="kubectl")
        with pytest.raises(RemoteError, match=_DENIED):
            stolen.replace(resource, SYSTEM, name, {**body, "data": {"settings.yaml": "{}"}}, field_manager="x")


def test_it_does_its_work(stolen: KubeSession, stack: Stack) -> None:
    """A weighted forward with the mode; a floor; a target; its state, its status. A whole life is in test_permissions.py."""
    written = _annotations(**{ACTION: FORWARD, MARKER: "cost"})
    _patch(stolen, INGRESSES, stack.namespace, "sd21", written)
    _patch(stolen, INGRESSES, stack.namespace, "sd21", {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", **written}, APPLY_PATCH)
    floor = {"op": "add", "path": "/spec/minReplicaCount", "value": 2}
    target = {"op": "replace", "path": "/spec/triggers/0/metadata/targetMetricValue", "value": "89.25"}
    _patch(stolen, SCALED_OBJECTS, stack.namespace, SCALER, [floor, target], JSON_PATCH)
