"""The kinds of the Gateway API, and those with which the load-balancer controller extends it."""

from __future__ import annotations

from typing import Any

import pytest

from failover_harness.control_plane import crds
from tests.conftest import skip_loudly
from tests.contract.servers import Real, Server
from tests.contract.support import (
    GATEWAY_CLASSES,
    GATEWAYS,
    GRPC_ROUTES,
    HTTP_ROUTES,
    LISTENER_RULE_CONFIGURATIONS,
    LOAD_BALANCER_CONFIGURATIONS,
    REFERENCE_GRANTS,
    TARGET_GROUP_CONFIGURATIONS,
    Client,
    Object,
    brief,
)

R = f"{HTTP_ROUTES}/sd21"
_WEIGHTS = "/spec/rules/0/backendRefs"
_GROUP = "gateway.networking.k8s.io"
_STICKY: Object = {"targetGroups": [], "targetGroupStickinessConfig": {}}


@pytest.fixture(scope="session")
def gateway_kinds(request: pytest.FixtureRequest) -> None:
    """The definitions on the real server; once a session."""
    if not crds.GATEWAY.is_dir():
        skip_loudly(request.config, "THE GATEWAY API ON A REAL CONTROL PLANE", "it needs its definitions; see shared/crds-gateway")
    session = request.getfixturevalue("api_server").session()
    crds.install(session, crds.upstream(crds.GATEWAY))
    session.close()


@pytest.fixture(autouse=True)
def _served(request: pytest.FixtureRequest, server: Server) -> None:
    if isinstance(server, Real):
        request.getfixturevalue("gateway_kinds")


def refs(**weights: int | None) -> list[Object]:
    """The backends of a rule; without a weight where it is None."""
    return [
        {"name": name, "port": 80} | ({} if weight is None else {"weight": weight})
        for name, weight in ((name.replace("_", "-"), weight) for name, weight in weights.items())
    ]


def shown(*backends: Object) -> list[Object]:
    """Backends as a server shows them."""
    return [{"group": "", "kind": "Service", "weight": 1} | one for one in backends]


def route(kind: str = "HTTPRoute", **rule: Any) -> Object:
    """A route with one rule."""
    return {
        "apiVersion": f"{_GROUP}/v1",
        "kind": kind,
        "metadata": {"name": "sd21"},
        "spec": {"parentRefs": [{"name": "gw"}], "rules": [{"backendRefs": refs(a=40, b=None)} | rule]},
    }


def one_of(path: str) -> Object:
    """An object of each kind that only has to exist."""
    class_name, ports = {"gatewayClassName": "alb"}, [{"name": "http", "port": 80, "protocol": "HTTP"}]
    grant = {"from": [{"group": _GROUP, "kind": "HTTPRoute", "namespace": "a"}], "to": [{"group": "", "kind": "Service"}]}
    kind, spec = {
        GATEWAY_CLASSES: ("GatewayClass", {"controllerName": "gateway.k8s.aws/alb"}),
        GATEWAYS: ("Gateway", class_name | {"listeners": ports}),
        GRPC_ROUTES: ("GRPCRoute", route("GRPCRoute")["spec"]),
        HTTP_ROUTES: ("HTTPRoute", route()["spec"]),
        REFERENCE_GRANTS: ("ReferenceGrant", grant),
        LISTENER_RULE_CONFIGURATIONS: ("ListenerRuleConfiguration", {"tags": {"a": "1"}}),
        LOAD_BALANCER_CONFIGURATIONS: ("LoadBalancerConfiguration", {"scheme": "internal"}),
        TARGET_GROUP_CONFIGURATIONS: ("TargetGroupConfiguration", {"defaultConfiguration": {"targetType": "ip"}}),
    }[path]
    version = path.removeprefix("/apis/").split("/")[:2]
    return {"apiVersion": "/".join(version), "kind": kind, "metadata": {"name": "x"}, "spec": spec}


KINDS = (
    GATEWAYS,
    GRPC_ROUTES,
    HTTP_ROUTES,
    LISTENER_RULE_CONFIGURATIONS,
    LOAD_BALANCER_CONFIGURATIONS,
    REFERENCE_GRANTS,
    TARGET_GROUP_CONFIGURATIONS,
)


@pytest.mark.parametrize("path", KINDS, ids=lambda path: path.rpartition("/")[2])
def test_every_kind_is_served_in_its_version(client: Client, path: str) -> None:
    """An object of the Gateway API is created with generation 1, listed, watched, patched under compare-and-swap, and deleted."""
    made = client.create(path, one_of(path))
    assert (made.json["apiVersion"], made.json["kind"]) == (one_of(path)["apiVersion"], one_of(path)["kind"])
    assert made.metadata["generation"] == 1
    listed = client.get(path).json
    assert [one["metadata"]["name"] for one in listed["items"]] == ["x"]
    with client.watch(path, f"&resourceVersion={listed['metadata']['resourceVersion']}") as events:
        changed = client.merge_patch(f"{path}/x", {"metadata": {"annotations": {"a": "1"}}})
        assert brief(next(events)) == ("MODIFIED", "x")
    assert changed.metadata["generation"] == 1, "an annotation is no change of the spec"
    stale = client.merge_patch(f"{path}/x", {"metadata": {"resourceVersion": made.version, "annotations": {"a": "2"}}})
    assert stale.refusal == (409, "Conflict")
    assert client.delete(f"{path}/x").code == 200
    assert client.get(f"{path}/x").refusal == (404, "NotFound")


def test_a_gateway_class_has_no_namespace(client: Client) -> None:
    """A GatewayClass has no namespace."""
    made = one_of(GATEWAY_CLASSES) | {"metadata": {"name": client.namespace}}
    assert "namespace" not in client.create(GATEWAY_CLASSES, made).metadata
    client.delete(f"{GATEWAY_CLASSES}/{client.namespace}")


def test_discovery_names_both_versions_of_the_group(client: Client) -> None:
    """Discovery names both versions of the Gateway API: ReferenceGrants are read in the older version."""
    found = client.get(f"/apis/{_GROUP}").json
    assert [one["version"] for one in found["versions"]] == ["v1", "v1beta1"]
    assert found["preferredVersion"]["version"] == "v1"


def test_a_grant_has_no_status(client: Client) -> None:
    """A ReferenceGrant has no status."""
    client.create(REFERENCE_GRANTS, one_of(REFERENCE_GRANTS))
    assert client.get(f"{REFERENCE_GRANTS}/x/status").code == 404


def test_a_route_is_stored_with_its_defaults(client: Client) -> None:
    """A route has group, kind and weight of every backend and a match of every path: a patch that tests a list must know them."""
    spec = client.create(HTTP_ROUTES, route()).json["spec"]
    assert spec["parentRefs"] == [{"group": _GROUP, "kind": "Gateway", "name": "gw"}]
    assert spec["rules"] == [
        {"backendRefs": shown(*refs(a=40, b=None)), "matches": [{"path": {"type": "PathPrefix", "value": "/"}}]},
    ]


def test_a_header_match_is_stored_with_its_defaults(client: Client) -> None:
    """A header match without a path matches every path."""
    headers = [{"name": "x-failoverctl-standby", "value": "units"}]
    (rule,) = client.create(HTTP_ROUTES, route(matches=[{"headers": headers}])).json["spec"]["rules"]
    assert rule["matches"] == [{"headers": [headers[0] | {"type": "Exact"}], "path": {"type": "PathPrefix", "value": "/"}}]


def test_a_grpc_route_is_stored_with_its_defaults(client: Client) -> None:
    """A GRPCRoute is stored with the defaults of its backends and matches; it has no match where none is written."""
    matches = [{"method": {"service": "a"}, "headers": [{"name": "h", "value": "v"}]}]
    spec = client.create(GRPC_ROUTES, route("GRPCRoute", matches=matches)).json["spec"]
    (rule,) = spec["rules"]
    assert rule["backendRefs"] == shown(*refs(a=40, b=None))
    assert rule["matches"] == [{"method": {"service": "a", "type": "Exact"}, "headers": [{"name": "h", "value": "v", "type": "Exact"}]}]
    assert "matches" not in client.merge_patch(f"{GRPC_ROUTES}/sd21", {"spec": {"rules": [{}]}}).json["spec"]["rules"][0]


def test_the_other_defaults(client: Client) -> None:
    """Listeners of a Gateway, stickiness and the target of a TargetGroupConfiguration have defaults."""
    (listener,) = client.create(GATEWAYS, one_of(GATEWAYS)).json["spec"]["listeners"]
    assert listener["allowedRoutes"] == {"namespaces": {"from": "Same"}}
    actions = [{"type": "forward", "forwardConfig": {}}]
    body = one_of(LISTENER_RULE_CONFIGURATIONS) | {"spec": {"actions": actions}}
    (action,) = client.create(LISTENER_RULE_CONFIGURATIONS, body).json["spec"]["actions"]
    assert action["forwardConfig"] == {"targetGroupStickinessConfig": {"enabled": False, "durationSeconds": 3600}}
    body = one_of(TARGET_GROUP_CONFIGURATIONS) | {"spec": {"targetReference": {"name": "a"}}}
    assert client.create(TARGET_GROUP_CONFIGURATIONS, body).json["spec"]["targetReference"] == {"group": "", "kind": "Service", "name": "a"}


def test_one_patch_tests_the_backends_and_changes_them_with_the_mode(client: Client) -> None:
    """One JSON patch tests the backends of a rule and replaces them together with an annotation; the generation rises once."""
    client.create(HTTP_ROUTES, route())
    answer = client.json_patch(
        R,
        {"op": "test", "path": _WEIGHTS, "value": shown(*refs(a=40, b=None))},
        {"op": "replace", "path": _WEIGHTS, "value": refs(all=1)},
        {"op": "add", "path": "/metadata/annotations", "value": {"failoverctl.dev/mode": "capacity"}},
    )
    assert answer.json["spec"]["rules"][0]["backendRefs"] == shown(*refs(all=1))
    assert (answer.metadata["annotations"], answer.metadata["generation"]) == ({"failoverctl.dev/mode": "capacity"}, 2)


def test_a_test_of_backends_without_their_defaults_fails(client: Client) -> None:
    """A test of backends without their defaults fails, because what was written is not what is stored."""
    before = client.create(HTTP_ROUTES, route()).version
    answer = client.json_patch(
        R,
        {"op": "test", "path": _WEIGHTS, "value": refs(a=40, b=None)},
        {"op": "replace", "path": _WEIGHTS, "value": refs(all=1)},
    )
    assert answer.refusal == (422, "Invalid")
    assert client.get(R).version == before


def test_a_list_that_somebody_else_changed_fails_the_test(client: Client) -> None:
    """A test of the backends fails after somebody changed a weight."""
    client.create(HTTP_ROUTES, route())
    client.json_patch(R, {"op": "replace", "path": f"{_WEIGHTS}/0/weight", "value": 41})
    answer = client.json_patch(R, {"op": "test", "path": _WEIGHTS, "value": shown(*refs(a=40, b=None))})
    assert answer.refusal == (422, "Invalid")


def test_rules_are_applied_and_owned_as_one_value(client: Client) -> None:
    """A manager that applies a rule of a route owns them all; another manager's rules are a conflict, or gone."""
    assert client.apply(R, route(), manager="one").code == 201
    other = route(backendRefs=refs(all=1))
    refused = client.apply(R, other, manager="two")
    assert refused.refusal == (409, "Conflict")
    assert ".spec.rules" in refused.message
    forced = client.apply(R, other, manager="two", force=True)
    assert [one["name"] for one in forced.json["spec"]["rules"][0]["backendRefs"]] == ["all"]


def test_applying_the_same_route_again_writes_nothing(client: Client) -> None:
    """Applying the same route again writes nothing: the defaults that the server added are no change."""
    version = client.apply(R, route(), manager="one").version
    again = client.apply(R, route(), manager="one")
    assert (again.version, again.metadata["generation"]) == (version, 1)


def test_a_write_to_the_status_of_a_route_keeps_its_generation(client: Client) -> None:
    """A write to the status of a route changes neither its rules nor its generation."""
    client.create(HTTP_ROUTES, route())
    at = "2026-12-01T00:00:00Z"
    condition = {
        "type": "Accepted",
        "status": "True",
        "reason": "Accepted",
        "message": "",
        "lastTransitionTime": at,
        "observedGeneration": 1,
    }
    parents = [{"parentRef": {"name": "gw"}, "controllerName": "gateway.k8s.aws/alb", "conditions": [condition]}]
    answer = client.merge_patch(f"{R}/status", {"status": {"parents": parents}, "spec": {"rules": []}})
    assert answer.json["status"]["parents"][0]["conditions"] == [condition]
    assert (len(answer.json["spec"]["rules"]), answer.metadata["generation"]) == (1, 1)
