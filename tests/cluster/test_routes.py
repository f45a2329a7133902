"""Routes of the Gateway API on the real API server: what the controller's token may write, and what its patch leaves alone."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from controller.clients.kube import CONFIG_MAPS, JSON_PATCH, KubeSession, connect
from controller.errors import Conflict, Forbidden, NotFound, RemoteError
from controller.policy.model import Mode
from controller.routing.annotations import APPLICATION, MARKER, PAUSED_UNTIL, WRITTEN_BY
from controller.routing.gateway.adapter import GatewayRoutes, grpc, http
from controller.service.store import record_name
from failover_harness.control_plane.control_plane import ControlPlane
from failover_harness.waiting import wait_for
from tests.cluster.manifests import ACCOUNT, SYSTEM, apply_folder, overlay
from tests.cluster.routed import Routed, serve_gateways, without_backends
from tests.cluster.stolen import DENIED, accepted, patch
from tests.support.applications import COST_TARGETS


@pytest.fixture(scope="module")
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ControlPlane:
    """The API server with the definitions, and the manifests with the component for routes."""
    plane: ControlPlane = request.getfixturevalue("api_server")
    serve_gateways(request.config, plane)
    apply_folder(plane, overlay(tmp_path_factory.mktemp("routes"), "base", "", "routes"))
    return plane


@pytest.fixture(scope="module")
def person(served: ControlPlane) -> Iterator[KubeSession]:
    """The administrator."""
    session = served.patient_session()
    yield session
    session.close()


@pytest.fixture(params=[http, grpc], ids=["HTTPRoute", "GRPCRoute"])
def routed(request: pytest.FixtureRequest, served: ControlPlane, person: KubeSession, tmp_path_factory: pytest.TempPathFactory) -> Routed:
    """An application with a route, in a namespace of its own in which the controller may work."""
    port: GatewayRoutes = request.param
    made = Routed(port, f"t-{secrets.token_hex(4)}")
    person.request("POST", "/api/v1/namespaces", body=json.dumps({"metadata": {"name": made.namespace}}))
    apply_folder(served, overlay(tmp_path_factory.mktemp("grant"), "application", made.namespace))
    made.create(person)
    return made


@pytest.fixture
def stolen(served: ControlPlane, routed: Routed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeSession]:
    """Anyone who has the token, once the API server has begun to enforce the policies."""
    config = served.kubeconfig(tmp_path_factory.mktemp("stolen") / "config", token=served.service_account_token(SYSTEM, ACCOUNT))
    session = connect(kubeconfig=str(config))
    labelled = pytest.param([{"op": "replace", "path": "/metadata/labels/team", "value": "b"}])
    wait_for("the policies", lambda: not accepted(session, routed.port.resource, routed.namespace, "sd21", [labelled], JSON_PATCH))
    yield session
    session.close()


# --- what a stolen token may not do -----------------------------------------------------------------------------------------------------

_MAIN, _CAPACITY, _UNITS, _OTHER, _FAR, _CLOSED, _FILTERED, _ARN = range(8)
_ONE: Final[dict[str, Any]] = {"group": "", "kind": "Service", "name": "sd21-all", "port": 80, "weight": 1}


def _case(name: str, *operations: dict[str, Any]) -> Any:
    return pytest.param(list(operations), id=name)


def _change(path: str, value: Any, verb: str = "add") -> dict[str, Any]:
    return {"op": verb, "path": path, "value": value}


def _backends(*some: dict[str, Any], rule: int = _MAIN) -> dict[str, Any]:
    return _change(f"/spec/rules/{rule}/backendRefs", [*some])


_OWNER: Final = {"apiVersion": "v1", "kind": "ConfigMap", "name": "kube-root-ca.crt", "uid": "00000000-0000-0000-0000-000000000000"}
_SIX: Final = [{**_ONE, "weight": one} for one in range(6)]
_OF_A_ROUTE: Final = (
    _case("another host", _change("/spec/hostnames", ["b.example.org"])),
    _case("any host", {"op": "remove", "path": "/spec/hostnames"}),
    _case("another Gateway", _change("/spec/parentRefs/0/name", "public", "replace")),
    _case("a second Gateway", _change("/spec/parentRefs/-", {"name": "public"})),
    _case("a further rule", _change("/spec/rules/-", {"name": "new", "backendRefs": [_ONE]})),
    _case("a rule less", {"op": "remove", "path": f"/spec/rules/{_CLOSED}"}),
    _case("another order", {"op": "move", "from": f"/spec/rules/{_OTHER}", "path": "/spec/rules/0"}),
    _case("another name", _change(f"/spec/rules/{_OTHER}/name", "x", "replace")),
    _case("other matches", _change(f"/spec/rules/{_OTHER}/matches", [{"headers": [{"name": "x", "value": "y"}]}])),
    _case("no matches", {"op": "remove", "path": f"/spec/rules/{_CLOSED}/matches"}),
    _case(
        "a mirror",
        _change("/spec/rules/0/filters/-", {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "x", "port": 80}}}),
    ),
    _case("no authentication", {"op": "remove", "path": "/spec/rules/0/filters/1"}),
    _case("another configuration", _change("/spec/rules/0/filters/1/extensionRef/name", "open", "replace")),
    _case("a Service that no rule has", _backends({**_ONE, "name": "evil"})),
    _case("one among others", _backends(_ONE, {**_ONE, "name": "evil", "weight": 0})),
    _case("another port", _backends({**_ONE, "port": 8080})),
    _case("the port of another Service", _backends({**_ONE, "name": "next", "port": 80})),
    _case("a Service of another namespace", _backends({**_ONE, "namespace": "elsewhere"})),
    _case("one that a rule has there", _backends({**_ONE, "name": "shared", "namespace": "elsewhere"})),
    _case("its name here", _backends({**_ONE, "name": "shared"})),
    _case("a target group", _backends({"group": "gateway.k8s.aws", "kind": "TargetGroupName", "name": "tg", "port": 80, "weight": 1})),
    _case("the name of one", _backends({**_ONE, "name": "tg"})),
    _case("another group", _backends({**_ONE, "group": "example.org"})),
    _case("another load balancer", _backends({**_ONE, "group": "gateway.networking.k8s.io", "kind": "Gateway"})),
    _case("a filter", _backends({**_ONE, "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["a"]}}]})),
    _case("a weight of 1,000", _backends({**_ONE, "weight": 1000})),
    _case("one of 1,000,000 of no traffic", _backends(_ONE, {**_ONE, "weight": 1_000_000})),
    _case("no weight above 0", _backends({**_ONE, "weight": 0})),
    _case("six backends", _backends(*_SIX)),
    _case("no backends", _backends()),
    _case("no field of backends", {"op": "remove", "path": "/spec/rules/0/backendRefs"}),
    _case("no backends of another rule", _backends(rule=_OTHER)),
    _case("elsewhere where there are none", _backends({**_ONE, "name": "evil"}, rule=_CLOSED)),
    _case("in the place of another namespace's", _backends(_ONE, rule=_FAR)),
    _case("its own there", _backends({**_ONE, "namespace": "elsewhere"}, rule=_FAR)),
    _case("in the place of a filter", _backends(_ONE, rule=_FILTERED)),
    _case("in the place of a target group", _backends(_ONE, rule=_ARN)),
    _case("an annotation", _change("/metadata/annotations/example.org~1other", "x")),
    _case("another annotation", _change("/metadata/annotations/example.org~1team", "b")),
    _case("an annotation less", {"op": "remove", "path": "/metadata/annotations/example.org~1team"}),
    _case("an action", _change("/metadata/annotations/alb.ingress.kubernetes.io~1actions.a", "{}")),
    _case("a person's pause", _change("/metadata/annotations/" + PAUSED_UNTIL.replace("/", "~1"), "forever")),
    _case("labels", _change("/metadata/labels/team", "b")),
    _case("a finalizer", _change("/metadata/finalizers", ["example.org/stuck"])),
    _case("an owner", _change("/metadata/ownerReferences", [_OWNER])),
)


def test_of_a_route_it_changes_only_our_annotations_and_backends(stolen: KubeSession, routed: Routed) -> None:
    """RBAC allows the patch; the policy says no, in its own words."""
    assert accepted(stolen, routed.port.resource, routed.namespace, "sd21", _OF_A_ROUTE, JSON_PATCH) == []


def test_it_creates_and_deletes_no_route_and_says_nothing_of_its_status(stolen: KubeSession, routed: Routed) -> None:
    """RBAC grants none of that, and no change of what is read beside a route."""
    path = routed.port.resource.path(routed.namespace, "sd21")
    for method, place, body in (
        ("POST", routed.port.resource.path(routed.namespace), "{}"),
        ("DELETE", path, None),
        ("PATCH", f"{path}/status", "[]"),
        *(("PATCH", one.path(routed.namespace, "x"), "[]") for one in routed.port.reads),
    ):
        with pytest.raises(Forbidden):
            stolen.request(method, place, body=body, content_type=JSON_PATCH)


def test_it_keeps_a_memory_of_a_route_that_it_may_change(stolen: KubeSession, person: KubeSession, routed: Routed) -> None:
    """With a permission on that kind alone: none on Ingresses, none on the other kind."""
    space, api = f"{routed.namespace}-alone", "/apis/rbac.authorization.k8s.io/v1/namespaces"
    key = f"{space}/sd21"
    metadata = {"name": record_name(key), "namespace": SYSTEM, "annotations": {APPLICATION: key}}
    memory = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"memory": "{}"}}
    with pytest.raises(RemoteError, match=DENIED):
        stolen.create(CONFIG_MAPS, SYSTEM, memory, field_manager="failoverctl")
    rule = {"apiGroups": [routed.port.resource.group], "resources": [routed.port.resource.plural], "verbs": ["patch"]}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "alone"}
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": SYSTEM}
    for path, body in (
        ("/api/v1/namespaces", {"metadata": {"name": space}}),
        (f"{api}/{space}/roles", {"metadata": {"name": "alone"}, "rules": [rule]}),
        (f"{api}/{space}/rolebindings", {"metadata": {"name": "alone"}, "roleRef": reference, "subjects": [subject]}),
    ):
        person.request("POST", path, body=json.dumps(body))

    def kept() -> bool:
        try:
            stolen.create(CONFIG_MAPS, SYSTEM, memory, field_manager="failoverctl")
        except RemoteError:
            return False
        return True

    wait_for("the permission", kept)


# --- what the controller writes ---------------------------------------------------------------------------------------------------------


def test_it_changes_the_mode_and_nothing_else(stolen: KubeSession, person: KubeSession, routed: Routed) -> None:
    """There and back: hosts, Gateways, matches, filters and other people's rules are the same bytes."""
    written = first = routed.read(person)
    for mode, weights in ((Mode.CAPACITY, {"sd21-all"}), (Mode.COST, {one.service for one in COST_TARGETS})):
        written = routed.send(stolen, routed.request(routed.read(person), mode))
        assert without_backends(written, "main") == without_backends(first, "main")
        assert {one["name"] for one in written["spec"]["rules"][_MAIN]["backendRefs"]} == weights
        assert written["metadata"]["annotations"] == {
            "example.org/team": "a",
            MARKER: str(mode),
            WRITTEN_BY: "failover-system/failoverctl",
        }
    assert written["spec"] == first["spec"]


def test_it_changes_the_mode_where_the_services_are_in_another_namespace(
    stolen: KubeSession, person: KubeSession, served: ControlPlane, routed: Routed, tmp_path: Path
) -> None:
    """With the permissions for the route's namespace alone. It writes no Service of the route's own namespace, or of a third one."""
    apart = replace(routed, namespace=f"{routed.namespace}-edge", services=routed.namespace)
    person.request("POST", "/api/v1/namespaces", body=json.dumps({"metadata": {"name": apart.namespace}}))
    apply_folder(served, overlay(tmp_path, "route", apart.namespace))
    first = apart.create(person)
    wait_for("the permission", lambda: _may_write(stolen, apart))
    for mode in (Mode.CAPACITY, Mode.COST):
        written = apart.send(stolen, apart.request(apart.read(person), mode))
        assert without_backends(written, "main") == without_backends(first, "main")
        assert {one["namespace"] for one in written["spec"]["rules"][_MAIN]["backendRefs"]} == {routed.namespace}
    there = {**_ONE, "namespace": routed.namespace}
    cases = (
        _case("the route's own", _backends(_ONE)),
        _case("of a third namespace", _backends({**_ONE, "namespace": "elsewhere"})),
        _case("one that a rule has there", _backends({**_ONE, "name": "shared", "namespace": "elsewhere"})),
        _case("one that no rule has", _backends({**there, "name": "evil"})),
        _case("in the place of the route's own", _backends(there, rule=_OTHER)),
    )
    assert accepted(stolen, apart.port.resource, apart.namespace, "sd21", cases, JSON_PATCH) == []


def _may_write(session: KubeSession, routed: Routed) -> bool:
    try:
        patch(session, routed.port.resource, routed.namespace, "sd21", [], JSON_PATCH)
    except RemoteError:
        return False
    return True


@pytest.mark.parametrize("left", [[], None], ids=["an empty list", "no list"])
def test_it_restores_backends_that_somebody_removed(
    stolen: KubeSession, person: KubeSession, routed: Routed, left: list[Any] | None
) -> None:
    """Without them the load balancer answers every request with an error."""
    removed = {"op": "remove", "path": "/spec/rules/0/backendRefs"} if left is None else _backends(*left)
    person.request("PATCH", routed.port.resource.path(routed.namespace, "sd21"), body=json.dumps([removed]), content_type=JSON_PATCH)
    written = routed.send(stolen, routed.request(routed.read(person), Mode.COST))
    assert len(written["spec"]["rules"][_MAIN]["backendRefs"]) == len(COST_TARGETS)


def test_the_largest_route_is_within_the_cost_of_an_expression(stolen: KubeSession, person: KubeSession, routed: Routed) -> None:
    """Sixteen rules of sixteen backends each, most of a route that the definitions allow."""
    full = [{**_ONE, "name": f"s-{one}"} for one in range(16)]
    rules = [{"name": f"full-{one}", "backendRefs": full} for one in range(8)]
    person.request(
        "PATCH",
        routed.port.resource.path(routed.namespace, "sd21"),
        body=json.dumps([_change("/spec/rules/-", one) for one in rules]),
        content_type=JSON_PATCH,
    )
    routed.send(stolen, routed.request(routed.read(person), Mode.CAPACITY))
    everywhere = _case("all of them, elsewhere", *(_backends(*[{**_ONE, "name": "evil"}] * 5, rule=8 + one) for one in range(8)))
    assert accepted(stolen, routed.port.resource, routed.namespace, "sd21", [everywhere], JSON_PATCH) == []


_ACCEPTED: Final = {"type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}


# --- at one version -----------------------------------------------------------------------------------------------------------------------


def test_a_route_that_changed_meanwhile_is_a_conflict_and_the_next_write_keeps_the_change(
    stolen: KubeSession, person: KubeSession, routed: Routed
) -> None:
    """A person inserts a rule before ours: by its index the patch would have written into theirs."""
    request = routed.request(routed.read(person), Mode.CAPACITY)
    inserted = _change("/spec/rules/0", {"name": "first", "backendRefs": [{**_ONE, "name": "first"}]})
    person.request("PATCH", routed.port.resource.path(routed.namespace, "sd21"), body=json.dumps([inserted]), content_type=JSON_PATCH)
    changed = routed.read(person)
    with pytest.raises(Conflict, match=": 409 "):
        routed.send(stolen, request)
    assert routed.read(person) == changed
    written = routed.send(stolen, routed.request(changed, Mode.CAPACITY))
    assert [one["name"] for one in written["spec"]["rules"]][:2] == ["first", "main"]
    assert without_backends(written, "main") == without_backends(changed, "main")


def test_a_change_of_the_status_alone_is_a_conflict_too(stolen: KubeSession, person: KubeSession, routed: Routed) -> None:
    """The load-balancer controller's conditions have a version as well: the write follows at the next pass."""
    request = routed.request(routed.read(person), Mode.CAPACITY)
    path = f"{routed.port.resource.path(routed.namespace, 'sd21')}/status"
    parents = [{"controllerName": "gateway.k8s.aws/alb", "parentRef": {"name": "edge"}, "conditions": [_ACCEPTED]}]
    person.request("PATCH", path, body=json.dumps([_change("/status", {"parents": parents})]), content_type=JSON_PATCH)
    with pytest.raises(Conflict, match=": 409 "):
        routed.send(stolen, request)


def test_a_route_that_is_gone_is_not_found_and_another_one_a_conflict(stolen: KubeSession, person: KubeSession, routed: Routed) -> None:
    """A patch creates none, and one of the same name is not the one that was seen."""
    request = routed.request(routed.read(person), Mode.CAPACITY)
    person.request("DELETE", routed.port.resource.path(routed.namespace, "sd21"))
    with pytest.raises(NotFound, match=": 404 "):
        routed.send(stolen, request)
    again = routed.create(person)
    with pytest.raises(Conflict, match=": 409 "):
        routed.send(stolen, request)
    assert routed.read(person) == again


def test_a_repeated_patch_changes_nothing(stolen: KubeSession, person: KubeSession, routed: Routed) -> None:
    """After an answer that was lost the write is not made twice: its version is over."""
    request = routed.request(routed.read(person), Mode.CAPACITY)
    written = routed.send(stolen, request)
    with pytest.raises(Conflict, match=": 409 "):
        routed.send(stolen, request)
    assert routed.read(person) == written
