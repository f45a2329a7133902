"""From Gateways and routes to rules: precedence, matches, attachment, settings, and what the fake refuses. Without servers."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest

from controller.policy.model import Mode
from failover_testbed.cluster import manifests, routes
from failover_testbed.kube_api.defaults import defaulted
from failover_testbed.lbc.annotations import BuildError, HealthCheck, Listen
from failover_testbed.lbc.gateway import Loaded, LoadError, load
from failover_testbed.lbc.gateway_kinds import key_of
from failover_testbed.lbc.model import Fixed, Forward
from tests.support.gateway_rows import COST, UNITS, Object, app_in, ref

APP = app_in("default")
CLASS = routes.gateway_class()
_PLURALS = {
    "GatewayClass": "gatewayclasses",
    "Gateway": "gateways",
    "HTTPRoute": "httproutes",
    "GRPCRoute": "grpcroutes",
    "LoadBalancerConfiguration": "loadbalancerconfigurations",
    "TargetGroupConfiguration": "targetgroupconfigurations",
    "ListenerRuleConfiguration": "listenerruleconfigurations",
    "Service": "services",
}


class Given:
    """The objects of one application behind a Gateway; a test changes them before it loads them."""

    def __init__(self, *rules: Object, kind: str = "HTTPRoute") -> None:
        app = routes.routed_by(APP, kind)  # type: ignore[arg-type]
        made = deepcopy([*manifests.services(app), *routes.objects(app, Mode.COST, {})])
        self.by_kind = {one["kind"]: one for one in made}
        self.services = [one for one in made if one["kind"] == "Service"]
        self.others: list[Object] = []
        self.route["metadata"]["creationTimestamp"] = "2026-12-01T00:00:00Z"
        if rules:
            self.route["spec"]["rules"] = [{"backendRefs": [ref(UNITS[0])]} | one for one in rules]

    @property
    def route(self) -> Object:
        return next(self.by_kind[kind] for kind in ("HTTPRoute", "GRPCRoute") if kind in self.by_kind)

    @property
    def gateway(self) -> Object:
        return self.by_kind["Gateway"]

    def spec(self, kind: str) -> Object:
        found: Object = self.by_kind[kind]["spec"]
        return found

    def load(self) -> Loaded:
        seen: dict[str, dict[tuple[str, str], Any]] = {plural: {} for plural in _PLURALS.values()}
        for one in (*self.services, *(one for one in self.by_kind.values() if one["kind"] != "Service"), *self.others):
            plural = _PLURALS[one["kind"]]
            seen[plural][key_of(one)] = defaulted(plural, one)
        return load(seen["gateways"][key_of(self.gateway)], CLASS, seen)

    def rules(self) -> list[tuple[tuple[str, tuple[str, ...]], ...]]:
        """The conditions of the only listener's rules, in the order of priorities."""
        (listener,) = self.load().model.listeners
        return [rule.conditions for rule in listener.rules]


def matching(*matches: Object) -> Object:
    return {"matches": list(matches)}


def path(value: str, kind: str = "PathPrefix", **more: Any) -> Object:
    return {"path": {"type": kind, "value": value}, **more}


def headers(**values: str) -> Object:
    return {"headers": [{"name": name, "value": value} for name, value in values.items()]}


def test_more_specific_matches_come_first() -> None:
    """Exact paths, longer paths, a method, more headers; then the order of the rules."""
    given = Given(
        matching(path("/a", **headers(h="1"))),
        matching(path("/")),
        matching(path("/a", method="GET")),
        matching(path("/a/bc")),
        matching(path("/a", **headers(h="1", i="2"))),
        matching(path("/a", "Exact")),
        matching(path("/a")),
    )
    prefix = ("path-pattern", ("/a", "/a/*"))
    one, two = ("http-header:h", ("1",)), ("http-header:i", ("2",))
    assert given.rules() == [
        (("path-pattern", ("/a",)),),
        (("path-pattern", ("/a/bc", "/a/bc/*")),),
        (prefix, ("http-request-method", ("GET",))),
        (prefix, one, two),
        (prefix, one),
        (prefix,),
        (("path-pattern", ("/*",)),),
    ]


def test_hosts_come_before_paths() -> None:
    """A name before a wildcard before no host; each host has a rule of its own."""
    given = Given(matching(path("/")))
    given.route["spec"]["hostnames"] = ["*.example.com", "a.example.com", "b.a.example.com"]
    other = deepcopy(given.route)
    other["metadata"]["name"] = "other"
    other["spec"] |= {"hostnames": [], "rules": [{"backendRefs": [ref(UNITS[0])]} | matching(path("/long/path", "Exact"))]}
    given.others.append(other)
    assert [conditions[0] for conditions in given.rules()] == [
        ("host-header", ("b.a.example.com",)),
        ("host-header", ("a.example.com",)),
        ("host-header", ("*.example.com",)),
        ("path-pattern", ("/long/path",)),
    ]


def test_the_older_route_comes_first_among_equals() -> None:
    given = Given(matching(path("/")))
    older = deepcopy(given.route)
    older["metadata"] |= {"name": "zz", "creationTimestamp": "2026-11-30T00:00:00Z"}
    older["spec"]["rules"][0]["backendRefs"] = [ref(UNITS[1])]
    given.others.append(older)
    (listener,) = given.load().model.listeners
    assert [rule.action.targets[0][0].service for rule in listener.rules if isinstance(rule.action, Forward)] == [UNITS[1], UNITS[0]]


@pytest.mark.parametrize(
    ("value", "values"), [("a", ("a",)), ("a,b", ("a", "b")), (r"a\,b,c", ("a,b", "c")), ("a,", ("a", "")), (r"a\\,b", ("a\\", "b"))]
)
def test_commas_separate_the_values_of_a_header(value: str, values: tuple[str, ...]) -> None:
    assert Given(matching(headers(h=value))).rules() == [(("path-pattern", ("/*",)), ("http-header:h", values))]


def test_methods_of_grpc_are_paths() -> None:
    given = Given(
        {"matches": []},
        matching({"method": {"service": "a.B"}}),
        matching({"method": {"service": "a.B", "method": "C"}}),
        matching({"method": {"method": "C"}}),
        matching(headers(h="1")),
        kind="GRPCRoute",
    )
    given.route["spec"]["rules"][0].pop("matches")
    assert given.rules() == [
        (("path-pattern", ("/a.B/C",)),),
        (("path-pattern", ("/a.B/*",)),),
        (("path-pattern", ("/*/C",)),),
        (("path-pattern", ("/*",)), ("http-header:h", ("1",))),
        (("path-pattern", ("/*",)),),
    ]


def test_every_backend_gets_its_target_group_whatever_its_weight() -> None:
    given = Given()
    model = given.load().model
    assert {one.key.service: one.key.namespace for one in model.target_groups} == dict.fromkeys((*UNITS, "sd21-all"), "default")
    assert model.target_groups[0].key.resource.startswith("default/sd21:default-sd21:HTTPRoute-default-sd21-all:8000")
    given.route["spec"]["rules"][0]["backendRefs"] = [ref(UNITS[0], 0)]
    given.route["spec"]["rules"] = given.route["spec"]["rules"][:1]
    model = given.load().model
    assert [one.key.service for one in model.target_groups] == [UNITS[0]]
    assert model.listeners[0].rules[0].action == Fixed("500", "")


def test_two_ports_that_lead_to_one_share_a_target_group() -> None:
    given = Given({"backendRefs": [ref(UNITS[0]), ref(UNITS[0]) | {"port": 81}]})
    given.services[0]["spec"]["ports"].append({"name": "other", "port": 81, "targetPort": 8000})
    assert [one.key.port for one in given.load().model.target_groups] == [80]


@pytest.mark.parametrize("first", ["nobody", UNITS[1]])
def test_a_weight_over_999_stops_the_gateway(first: str) -> None:
    with pytest.raises(LoadError, match=r"^Weight \[1000\] must be less than or equal to 999$"):
        Given({"backendRefs": [ref(first), ref(UNITS[0], 1000)]}).load()


def test_the_weight_of_a_backend_that_does_not_resolve_is_not_read() -> None:
    (verdict,) = Given({"backendRefs": [ref("nobody", 1000)]}).load().verdicts
    assert verdict.problem is not None
    assert verdict.problem.message == "Service (default:nobody) not found)"


@pytest.mark.parametrize(
    ("backend", "reason", "accepted"),
    [
        (ref("nobody"), "BackendNotFound", True),
        (ref(UNITS[0]) | {"port": 81}, "BackendNotFound", True),
        (ref(UNITS[0], kind="Bucket"), "InvalidKind", True),
        ({"name": UNITS[0]}, "UnsupportedValue", False),
        (ref("x", namespace="elsewhere"), "RefNotPermitted", True),
    ],
)
def test_what_does_not_resolve(backend: Object, reason: str, accepted: bool) -> None:
    loaded = Given({"backendRefs": [backend, ref(UNITS[1], 7)]}).load()
    (verdict,) = loaded.verdicts
    assert verdict.problem is not None
    assert (verdict.problem.reason, verdict.problem.accepted) == (reason, accepted)
    action = loaded.model.listeners[0].rules[0].action
    assert isinstance(action, Forward)
    assert [(key.service, weight) for key, weight in action.targets] == [(UNITS[1], 7)]


@pytest.mark.parametrize(
    ("parent", "allowed", "reason"),
    [
        ({"sectionName": "https"}, "Same", "NoMatchingParent"),
        ({"port": 81}, "Same", "NoMatchingParent"),
        ({"sectionName": "http", "port": 80}, "Same", ""),
        ({"namespace": "default"}, "Same", "NotAllowedByListeners"),
        ({"namespace": "default"}, "All", ""),
    ],
)
def test_which_listeners_take_a_route(parent: Object, allowed: str, reason: str) -> None:
    given = Given()
    given.route["spec"]["parentRefs"][0] |= parent
    if "namespace" in parent:
        given.route["metadata"]["namespace"] = "elsewhere"
        for rule in given.route["spec"]["rules"]:
            rule["backendRefs"] = []
    given.gateway["spec"]["listeners"][0]["allowedRoutes"] = {"namespaces": {"from": allowed}}
    loaded = given.load()
    (verdict,) = loaded.verdicts
    assert (verdict.problem.reason if verdict.problem else "") == reason
    assert loaded.attached == {"http": 0 if reason else 1}
    assert bool(loaded.model.listeners[0].rules) is not bool(reason)


def test_a_listener_without_tls_takes_no_grpc_route() -> None:
    given = Given(kind="GRPCRoute")
    given.gateway["spec"]["listeners"] = [{"name": "http", "port": 80, "protocol": "HTTP"}]
    loaded = given.load()
    (verdict,) = loaded.verdicts
    assert verdict.problem is not None
    assert verdict.problem.message == "Listener does not allow route attachment, kind does not match between listener and route"
    assert (verdict.problem.reason, loaded.attached) == ("NotAllowedByListeners", {"http": 0})


def test_settings_of_target_groups() -> None:
    """A Service's own take precedence over the Gateway's field by field; without any, the defaults are not those of an Ingress."""
    given = Given()
    own = {
        "apiVersion": "gateway.k8s.aws/v1",
        "kind": "TargetGroupConfiguration",
        "metadata": {"name": "own", "namespace": "default"},
        "spec": {
            "targetReference": {"name": UNITS[0]},
            "defaultConfiguration": {
                "healthCheckConfig": {"healthCheckInterval": 7},
                "targetGroupAttributes": [{"key": "load_balancing.algorithm.type", "value": "least_outstanding_requests"}],
            },
        },
    }
    given.others.append(own)
    groups = {one.key.service: one for one in given.load().model.target_groups}
    assert groups[UNITS[0]].check == HealthCheck(interval_s=7, healthy=3, unhealthy=3, codes="200-399")
    assert groups[UNITS[0]].attributes == (("load_balancing.algorithm.type", "least_outstanding_requests"),)
    assert groups[UNITS[1]].check == HealthCheck(path="/readiness")


def test_https_takes_its_certificate_from_the_configuration() -> None:
    given = Given()
    given.gateway["spec"]["listeners"].append({"name": "https", "port": 443, "protocol": "HTTPS"})
    with pytest.raises(BuildError, match="state defaultCertificate"):
        given.load()
    given.spec("LoadBalancerConfiguration")["listenerConfigurations"] = [{"protocolPort": "HTTPS:443", "defaultCertificate": "arn"}]
    model = given.load().model
    assert [one.listen for one in model.listeners] == [Listen(80, "HTTP"), Listen(443, "HTTPS", "arn")]
    assert model.listeners[0].rules == model.listeners[1].rules
    assert len(model.target_groups) == len(COST) + 1


REFUSALS: Mapping[str, tuple[Any, str]] = {
    "a filter": (lambda g: _rule(g).update(filters=[{"type": "RequestMirror"}]), "filters of a rule other than"),
    "a filter of a backend": (lambda g: _rule(g)["backendRefs"][0].update(filters=[{}]), "filters of a backend"),
    "a time-out": (lambda g: _rule(g).update(timeouts={}), "timeouts of a rule"),
    "a query": (lambda g: _rule(g).update(matches=[{"queryParams": [{"name": "a", "value": "b"}]}]), "queryParams of a match"),
    "a regular expression": (lambda g: _rule(g).update(matches=[path("/a.*", "RegularExpression")]), "paths of type RegularExpression"),
    "a wildcard": (lambda g: _rule(g).update(matches=[path("/a*")]), r"^prefix path shouldn't contain wildcards: /a\*$"),
    "a load balancer": (lambda g: _rule(g)["backendRefs"][0].update(kind="Gateway"), "backends of kind Gateway"),
    "TCP": (lambda g: g.gateway["spec"]["listeners"][0].update(protocol="TCP"), "listeners of protocol TCP"),
    "a listener's host": (lambda g: g.gateway["spec"]["listeners"][0].update(hostname="a.example"), "hostnames of listeners"),
    "an address": (lambda g: g.gateway["spec"].update(addresses=[]), "addresses of a Gateway"),
    "WAF": (lambda g: g.spec("LoadBalancerConfiguration").update(wafV2={}), "wafV2 of a LoadBalancerConfiguration"),
    "no configuration": (lambda g: g.by_kind.pop("LoadBalancerConfiguration"), "a LoadBalancerConfiguration that does not exist"),
    "gRPC": (lambda g: g.spec("TargetGroupConfiguration")["defaultConfiguration"].update(protocolVersion="GRPC"), "protocolVersion GRPC"),
    "instances": (lambda g: g.spec("TargetGroupConfiguration").update(defaultConfiguration={}), "targetType instance"),
}


def _rule(given: Given) -> Object:
    found: Object = given.route["spec"]["rules"][0]
    return found


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_not_emulated_is_refused_by_name(case: str) -> None:
    change, words = REFUSALS[case]
    given = Given()
    change(given)
    with pytest.raises(BuildError, match=words):
        given.load()
