"""What a route of the Gateway API says, with the objects beside it, and the patch that changes its rule."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.clients.kube import GATEWAYS, LISTENER_RULE_CONFIGURATIONS, TARGET_GROUP_CONFIGURATIONS, Object, Resource
from controller.policy.model import Backend, Decision, Mode, Route, RoutingObservation, Target, Verb
from controller.policy.reasons import Reason
from controller.routing.annotations import MARKER, NUDGED_AT
from controller.routing.gateway.adapter import GatewayRoutes, grpc, http
from controller.routing.gateway.standby import HEADER
from controller.routing.port import Asked
from tests.support.applications import CAPACITY_TARGETS, COST_TARGETS, NOW, SERVICES, application, snapshot

APP = application(route=Route("sd21", "main", "HTTPRoute"))
DNS = "k8s-shop-edge-0123456789.us-west-2.elb.amazonaws.com"


class Beside:
    """The objects beside a route."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self.objects = objects

    def one(self, resource: Resource, namespace: str, name: str) -> Object | None:
        return next((one for one in self.all(resource, namespace) if one["metadata"]["name"] == name), None)

    def all(self, resource: Resource, namespace: str) -> Iterable[Object]:
        return [one for one in self.objects if one["kind"] == resource.kind and one["metadata"]["namespace"] == namespace]


def backend(name: str, weight: int | None = None, port: int = 80, **changes: Any) -> dict[str, Any]:
    """One backend as a person writes it."""
    return {"name": name, "port": port, **({} if weight is None else {"weight": weight}), **changes}


LIVE: dict[str, Any] = {"name": "main", "backendRefs": [backend(one.service, one.weight) for one in COST_TARGETS]}


def route(*rules: dict[str, Any], metadata: dict[str, Any] | None = None, parents: list[Any] | None = None, **spec: Any) -> dict[str, Any]:
    """The application's route, on the Gateway ``edge`` of its namespace."""
    return {
        "metadata": {"name": "sd21", "namespace": "shop", "uid": "u", "resourceVersion": "7", "generation": 3, **(metadata or {})},
        "spec": {"parentRefs": [{"name": "edge"}], "rules": [*rules], **spec},
        "status": {"parents": parents or []},
    }


def gateway(*listeners: dict[str, Any], name: str = "edge", namespace: str = "shop", dns: str = DNS) -> dict[str, Any]:
    """A Gateway with these listeners, or one on port 80."""
    return {
        "kind": GATEWAYS.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"listeners": [*listeners] or [{"name": "http", "port": 80, "protocol": "HTTP"}]},
        "status": {"addresses": [{"type": "Hostname", "value": dns}] if dns else []},
    }


def observe(obj: dict[str, Any] | None, *beside: dict[str, Any], part: str = "main") -> RoutingObservation:
    """The observation."""
    return http.observe(replace(APP, route=replace(APP.route, part=part)), obj, Beside(*beside))


def asked(obj: dict[str, Any], *beside: dict[str, Any], port: GatewayRoutes = http) -> Asked:
    """Where the load balancer must show it."""
    return port.asked(APP, obj, Beside(*beside))


# --- the backends ---


def test_the_backends_of_the_rule_are_the_targets() -> None:
    """In order, with their weights; the weights and kinds that Kubernetes fills in are no other action."""
    plain = observe(route(LIVE))
    filled = {"name": "main", "backendRefs": [{"group": "", "kind": "Service", **one} for one in LIVE["backendRefs"]]}
    assert (plain.exists, plain.targets, plain.problem, plain.uid, plain.resource_version) == (True, COST_TARGETS, "", "u", "7")
    assert observe(route(filled)).action == plain.action
    assert http.read(plain.action) == (COST_TARGETS, 0, "")


def test_a_backend_without_a_weight_has_one() -> None:
    """As the definitions of the Gateway API fill it in."""
    assert observe(route({"name": "main", "backendRefs": [backend("sd21-all")]})).targets == (Target("sd21-all", 80, 1),)


@pytest.mark.parametrize("part", ["main", "1"])
def test_a_rule_is_found_by_its_name_or_its_index(part: str) -> None:
    """A name first: `1` is the second rule only where none is called so."""
    seen = observe(route({"backendRefs": [backend("other", 1)]}, LIVE), part=part)
    assert (seen.targets, seen.unused) == (COST_TARGETS, "")


def test_a_rule_that_is_not_there_changes_nothing() -> None:
    """What there is instead is named. Nothing can be written."""
    seen = observe(route({"backendRefs": [backend("other", 1)]}, LIVE), part="2")
    assert (seen.targets, seen.unused.partition(":")[0]) == ((), "the HTTPRoute has no rule 2, but 0, main")
    with pytest.raises(ValueError, match="has no rule main"):
        http.request(replace(snapshot(APP), routing=observe(route({"name": "other"}))), _to(Mode.COST))


@pytest.mark.parametrize(
    ("strange", "said"),
    [
        (backend("a", 1, namespace="elsewhere"), 'backend a has namespace "elsewhere"'),
        (backend("a", 1, kind="TargetGroupName"), 'backend a has kind "TargetGroupName"'),
        (backend("a", 1, filters=[{"type": "RequestMirror"}]), "backend a has filters"),
        ({"name": "a", "weight": 1}, "backend a has no name or no port"),
        ({"port": 80}, "backend ? has no name or no port"),
        (backend("a", -1), "backend a has weight -1"),
        ({"name": "a", "port": 80, "weight": "7"}, 'backend a has weight "7"'),
        (backend("a", 2**40), "which is no weight"),
    ],
)
def test_a_backend_that_cannot_be_written_again_is_a_problem(strange: dict[str, Any], said: str) -> None:
    """A write would lose what the controller does not understand."""
    seen = observe(route({"name": "main", "backendRefs": [strange]}))
    assert (seen.targets, said in seen.problem, seen.action != "") == ((), True, True)


def test_a_weight_that_the_controller_refuses_is_read_and_written_right() -> None:
    """It stops all rules of the Gateway: only another action helps."""
    assert observe(route({"name": "main", "backendRefs": [backend("a", 4000), backend("b", 1)]})).targets[0].weight == 4000


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*LIVE, "name", "port", "weight", "matches", "path"]), inner)
        ),
        max_leaves=12,
    )
)
def test_nothing_that_a_rule_says_stops_the_reader(rule: Any) -> None:
    """Anybody may write a route."""
    obj = route(rule, LIVE, parentRefs=rule, hostnames=rule, parents=rule if isinstance(rule, list) else None)
    assert observe(obj, gateway()).exists
    for port in (http, grpc):
        assert asked(obj, gateway(), port=port).group is None


# --- what keeps target groups ---


def test_other_rules_keep_what_they_name_with_the_same_port() -> None:
    """Whatever the weight: the load-balancer controller makes a target group for each backend of a rule."""
    units = {"name": "standby-units", "backendRefs": [backend(SERVICES[0], 0), backend(SERVICES[1], 1, port=81), backend("stranger", 1)]}
    assert observe(route(LIVE, units)).standby == (SERVICES[0],)


def test_missing_standby_rules_are_two_rules_for_a_header() -> None:
    """One with the capacity Service and one with all units. The patch makes of the rules what the manifest has."""
    obj = route(LIVE)
    made = http.remedy(APP, observe(obj), obj, dict.fromkeys((APP.capacity, *(unit.backend for unit in APP.units)), True))
    assert [rule["name"] for rule in made.rules] == ["main", "standby-capacity", "standby-units"]
    assert [operation["op"] for operation in made.patch] == ["add", "add"]
    assert {one["name"] for one in made.rules[2]["backendRefs"]} == set(SERVICES)
    assert made.rules[1]["matches"][0]["headers"] == [{"type": "Exact", "name": HEADER, "value": "capacity"}]
    assert set(observe(route(*map(dict, made.rules))).standby) == {*SERVICES, "sd21-all"}
    grpc_made = grpc.remedy(APP, observe(obj), obj, {APP.capacity: True})
    assert "path" not in grpc_made.rules[1]["matches"][0], "a GRPCRoute's match has no path"


def test_a_standby_rule_that_lacks_a_unit_gets_it() -> None:
    """The others stay. It is replaced only where it still is."""
    first, rest = APP.units[0].backend, [unit.backend for unit in APP.units[1:]]
    capacity = {"name": "standby-capacity", "backendRefs": [backend("sd21-all", 1)]}
    obj = route(LIVE, capacity, {"name": "standby-units", "backendRefs": [backend(one.service, 1) for one in rest]})
    made = http.remedy(APP, observe(obj), obj, {first: True})
    assert [operation["path"] for operation in made.patch] == ["/spec/rules/2/name", "/spec/rules/2"]
    assert {one["name"] for one in made.patch[1]["value"]["backendRefs"]} == set(SERVICES)


def test_what_does_not_exist_gets_no_rule() -> None:
    """A backend that is not there makes the route's references unresolved."""
    obj = route(LIVE)
    made = http.remedy(APP, observe(obj), obj, {APP.capacity: False, APP.units[0].backend: None})
    assert (made.patch, made.absent, made.unknown[:1]) == ((), (APP.capacity,), (APP.units[0].backend,))
    assert http.remedy(APP, observe(obj), obj, {Backend("sd21-all", "http"): True}).patch == ()


# --- the load balancer ---


def test_the_load_balancer_is_the_gateways() -> None:
    """Its listeners must have the rule; what is made for it carries the Gateway's name, and so do the events."""
    found = asked(route(LIVE), gateway())
    assert (found.hostnames, found.stacks, found.reported) == ((DNS,), (("shop", "edge"),), (("Gateway", "shop", "edge"),))
    assert [rule.at for rule in found.rules] == [{(DNS, 80)}]


def test_two_gateways_are_two_load_balancers() -> None:
    """Each with the ports of its own listeners. A parent that is no Gateway is left out."""
    parents = [{"name": "edge", "sectionName": "https"}, {"name": "inner", "namespace": "net"}, {"kind": "Service", "name": "mesh"}]
    edge = gateway({"name": "http", "port": 80}, {"name": "https", "port": 443})
    inner = gateway({"name": "x", "port": 8080}, name="inner", namespace="net", dns="inner.elb")
    found = asked(route(LIVE, parentRefs=parents), edge, inner)
    assert found.hostnames == (DNS, "inner.elb")
    assert [rule.at for rule in found.rules] == [{(DNS, 443), ("inner.elb", 8080)}]


@pytest.mark.parametrize(
    ("own", "listens", "expected"),
    [
        ([], "", [""]),
        ([], "*.example", ["*.example"]),
        (["a.example", "B.example"], "", ["a.example", "b.example"]),
        (["a.example", "a.other"], "*.example", ["a.example"]),
        (["*.example"], "a.example", ["a.example"]),
        (["a.other"], "*.example", []),
    ],
)
def test_a_rule_is_made_for_each_host_that_route_and_listener_share(own: list[str], listens: str, expected: list[str]) -> None:
    """The narrower of the two."""
    found = asked(route(LIVE, hostnames=own), gateway({"name": "http", "port": 80, "hostname": listens}))
    hosts = [next((min(values) for name, values in rule.conditions if name == "host-header"), "") for rule in found.rules]
    assert hosts == expected


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ({"path": {"type": "PathPrefix", "value": "/"}}, {("path-pattern", frozenset({"/*"}))}),
        ({"path": {"type": "PathPrefix", "value": "/a/"}}, {("path-pattern", frozenset({"/a", "/a/*"}))}),
        ({"path": {"type": "Exact", "value": "/a"}}, {("path-pattern", frozenset({"/a"}))}),
        ({"path": {"type": "RegularExpression", "value": "/a.*"}}, {("path-pattern", frozenset({"regex:/a.*"}))}),
        ({"headers": [{"name": "X-A", "value": "1,2\\,3"}]}, {("http-header:x-a", frozenset({"1", "2,3"}))}),
        ({"headers": [{"name": "x", "type": "RegularExpression", "value": "a+"}]}, {("http-header:x", frozenset({"regex:a+"}))}),
        ({"queryParams": [{"name": "q", "value": "v"}]}, {("query-string", frozenset({"q=v"}))}),
        ({"method": "GET"}, {("http-request-method", frozenset({"GET"}))}),
    ],
)
def test_the_conditions_of_an_http_route(match: dict[str, Any], expected: set[Any]) -> None:
    """As the load-balancer controller makes them."""
    assert [rule.conditions for rule in asked(route({**LIVE, "matches": [match]}), gateway()).rules] == [expected]


@pytest.mark.parametrize(
    ("match", "path"),
    [
        ({}, "/*"),
        ({"method": {"service": "s", "method": "m"}}, "/s/m"),
        ({"method": {"service": "s"}}, "/s/*"),
        ({"method": {"method": "m"}}, "/*/m"),
    ],
)
def test_the_conditions_of_a_grpc_route(match: dict[str, Any], path: str) -> None:
    """A method is a path."""
    found = asked(route({**LIVE, "matches": [match]}), gateway(), port=grpc)
    assert [rule.conditions for rule in found.rules] == [{("path-pattern", frozenset({path}))}]


def test_each_match_is_a_rule_of_its_own() -> None:
    """A request must match one of them. Addresses are added where the ListenerRuleConfiguration says so."""
    live = {**LIVE, "matches": [{"method": "GET"}, {"method": "PUT"}], "filters": [REFERENCE]}
    found = asked(route(live), gateway(), configuration(conditions=[source_ip("10.0.0.0/8", 1)]))
    assert [dict(rule.conditions).get("source-ip") for rule in found.rules] == [None, frozenset({"10.0.0.0/8"})]


def test_without_a_load_balancer_there_is_nothing_to_ask() -> None:
    """The Gateway has no address yet, or is not known."""
    assert asked(route(LIVE), gateway(dns="")).hostnames == ()
    assert asked(route(LIVE)).hostnames == ()


# --- what other objects say ---

REFERENCE = {"type": "ExtensionRef", "extensionRef": {"group": "gateway.k8s.aws", "kind": "ListenerRuleConfiguration", "name": "sticks"}}


def configuration(**spec: Any) -> dict[str, Any]:
    """The ListenerRuleConfiguration that `REFERENCE` names."""
    return {"kind": LISTENER_RULE_CONFIGURATIONS.kind, "metadata": {"name": "sticks", "namespace": "shop"}, "spec": spec}


def source_ip(address: str, *indexes: int) -> dict[str, Any]:
    """A condition on the sender's address for some matches."""
    return {"field": "source-ip", "matchIndexes": [*indexes], "sourceIPConfig": {"values": [address]}}


@pytest.mark.parametrize(("enabled", "seconds"), [(True, 200), (False, 0)])
def test_stickiness_is_the_listener_rule_configurations(enabled: bool, seconds: int) -> None:
    """Nobody writes it here: the decision leaves it as it is."""
    stated = {"enabled": enabled, "durationSeconds": 200}
    beside = configuration(actions=[{"type": "forward", "forwardConfig": {"targetGroupStickinessConfig": stated}}])
    seen = observe(route({**LIVE, "filters": [REFERENCE]}), beside)
    assert (seen.stickiness_s, seen.settings_elsewhere) == (seconds, True)
    assert observe(route(LIVE), beside).stickiness_s == 0, "the rule does not name it"


def test_a_target_group_configuration_keeps_clients() -> None:
    """On the Service that it is for."""
    beside = {
        "kind": TARGET_GROUP_CONFIGURATIONS.kind,
        "metadata": {"name": "any", "namespace": "shop"},
        "spec": {
            "targetReference": {"name": SERVICES[1]},
            "defaultConfiguration": {"targetGroupAttributes": [{"key": "stickiness.enabled", "value": "true"}]},
        },
    }
    assert observe(route(LIVE), beside).sticky == (SERVICES[1],)


def said(kind: str, status: str, generation: int = 3, reason: str = "Because", message: str = "of this") -> dict[str, Any]:
    """What the load-balancer controller says of the route on one Gateway."""
    condition = {"type": kind, "status": status, "observedGeneration": generation, "reason": reason, "message": message}
    return {"controllerName": "gateway.k8s.aws/alb", "parentRef": {"name": "edge"}, "conditions": [condition]}


@pytest.mark.parametrize("kind", ["Accepted", "ResolvedRefs"])
def test_what_the_controller_refuses_is_said_in_its_words(kind: str) -> None:
    """Of the present generation: what it said of an earlier one is over. Another controller's words do not count."""
    assert observe(route(LIVE, parents=[said(kind, "False")])).blocked == f"{kind} is False (Because): of this"
    assert observe(route(LIVE, parents=[said(kind, "False", 2)])).blocked == ""
    assert observe(route(LIVE, parents=[said(kind, "True")])).blocked == ""
    assert observe(route(LIVE, parents=[{**said(kind, "False"), "controllerName": "example.com/other"}])).blocked == ""


def test_a_gateway_that_is_not_accepted_blocks_its_routes() -> None:
    """So the load-balancer controller says that it could not load the routes at all."""
    refused = gateway()
    refused["status"]["conditions"] = [{"type": "Accepted", "status": "False", "reason": "Invalid", "message": "Check Gateway Events"}]
    assert observe(route(LIVE), refused).blocked == "Gateway shop/edge is not accepted (Invalid): Check Gateway Events"


@pytest.mark.parametrize(("generation", "overlooked"), [(3, None), (2, NOW)])
def test_a_change_that_is_not_taken_up_is_known_since_when(generation: int, overlooked: float | None) -> None:
    """With one wrong weight on the Gateway the conditions stay True, of the generation before."""
    managed = [
        {"manager": "kubectl", "time": "2027-01-15T08:00:00Z"},
        {"manager": "controller", "time": "2028-01-01T00:00:00Z", "subresource": "status"},
    ]
    obj = route(LIVE, metadata={"managedFields": managed}, parents=[said("Accepted", "True", generation)])
    found = asked(obj, gateway()).overlooked
    assert (found is None) == (overlooked is None)
    if found is not None:
        assert found == 1_800_000_000.0
    assert asked(route(LIVE), gateway()).overlooked is None, "nothing was ever said of it"


# --- the write ---


def _to(mode: Mode, **changes: Any) -> Decision:
    """A decision to write the action of a mode."""
    targets = COST_TARGETS if mode is Mode.COST else CAPACITY_TARGETS
    return replace(Decision(Verb.REWEIGHT, mode, Reason.AVAILABILITY_CHANGED, {}, {}, (), targets=targets), **changes)


def _patch(obj: dict[str, Any], mode: Mode = Mode.CAPACITY) -> list[dict[str, Any]]:
    sent = http.request(replace(snapshot(APP), routing=observe(obj), installation="here"), _to(mode))
    assert sent.content_type == "application/json-patch+json"
    assert dict(sent.query) == {"fieldManager": "failoverctl"}
    operations: list[dict[str, Any]] = json.loads(sent.body)
    return operations


def test_the_patch_replaces_the_backends_of_one_rule_and_the_mode_at_one_version() -> None:
    """Other rules, matches and filters are not named in it. A route without annotations gets the object that holds them."""
    version, backends, annotations = _patch(route({"name": "other"}, LIVE))
    assert version == {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"}
    assert (backends["path"], [one["name"] for one in backends["value"]]) == ("/spec/rules/1/backendRefs", ["sd21-all"])
    assert (annotations["path"], annotations["value"][MARKER]) == ("/metadata/annotations", "capacity")


def test_annotations_of_others_stay_and_a_nudge_ends() -> None:
    """Each of ours is written by itself."""
    obj = route(LIVE, metadata={"annotations": {"theirs": "x", NUDGED_AT: "1"}})
    operations = {operation["path"]: operation for operation in _patch(obj)}
    assert "/metadata/annotations" not in operations
    assert operations["/metadata/annotations/failoverctl.dev~1mode"]["value"] == "capacity"
    assert operations["/metadata/annotations/failoverctl.dev~1nudged-at"]["op"] == "remove"


def test_what_is_written_is_what_is_observed_then() -> None:
    """Byte for byte, with what Kubernetes fills in."""
    sent = http.request(replace(snapshot(APP), routing=observe(route(LIVE))), _to(Mode.CAPACITY))
    written = next(one["value"] for one in json.loads(sent.body) if one["path"].endswith("/backendRefs"))
    assert observe(route({"name": "main", "backendRefs": written})).action == sent.action


@pytest.mark.parametrize(
    "targets",
    [
        (),
        (Target("a", 80, 0),),
        (Target("a", 80, 1000),),
        tuple(Target(f"s{n}", 80, 1) for n in range(6)),
        (Target("a", "http", 1),),
    ],
)
def test_what_the_load_balancer_would_refuse_is_not_written(targets: tuple[Target, ...]) -> None:
    """A weight over 999 stops all of the Gateway; all weights 0 answer a fixed 500."""
    with pytest.raises(ValueError, match=r"(?:target group|weight|action|port)"):
        http.request(replace(snapshot(APP), routing=observe(route(LIVE))), _to(Mode.COST, targets=targets))
