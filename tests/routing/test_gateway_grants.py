"""A route in another namespace than the application's Services: what it says, what is written, and what lets it name them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from controller.policy.model import Decision, Mode, RoutingObservation, RoutingStyle, Verb
from controller.policy.reasons import Reason
from controller.routing.gateway.adapter import grpc, http
from controller.routing.gateway.grants import grant_spec
from tests.routing.test_gateway import APP, Beside, backend, route
from tests.support.applications import COST_TARGETS, SERVICES, snapshot

APART = replace(APP, route=replace(APP.route, namespace="gateways"))
ALL = {"sd21-all", *SERVICES}


def away(*rules: dict[str, Any]) -> dict[str, Any]:
    """The route, in its own namespace."""
    return route(*rules, metadata={"namespace": "gateways"})


def named(**changes: Any) -> dict[str, Any]:
    """Its rule, with backends in the namespace of the Services."""
    return {"name": "main", "backendRefs": [backend(one.service, one.weight, **{"namespace": "shop", **changes}) for one in COST_TARGETS]}


FROM = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "gateways"}


def grant(*allowed: Any, there: str = "shop", **source: Any) -> dict[str, Any]:
    """A grant for all Services of a namespace, or for what is `allowed`."""
    spec = {"from": [FROM | source], "to": [*allowed] or [{"group": "", "kind": "Service"}]}
    return {"kind": "ReferenceGrant", "metadata": {"name": "sd21", "namespace": there}, "spec": spec}


def observe(obj: dict[str, Any], *beside: dict[str, Any]) -> RoutingObservation:
    """The observation."""
    return http.observe(APART, obj, Beside(*beside))


def test_backends_that_name_the_services_namespace_are_the_targets() -> None:
    """The action names no namespace, so that it is the same wherever the route is."""
    seen = observe(away(named()), grant())
    assert (seen.targets, seen.problem, seen.ungranted) == (COST_TARGETS, "", ())
    assert seen.action == http.observe(APP, route(named())).action


@pytest.mark.parametrize("namespace", ["gateways", "other"])
def test_a_backend_of_another_namespace_is_a_problem(namespace: str) -> None:
    """One that names none is in the route's namespace: it is another Service of the same name."""
    seen = observe(away(named(namespace=namespace)), grant())
    assert (seen.targets, f'has namespace "{namespace}"' in seen.problem) == ((), True)
    unnamed = {"name": "main", "backendRefs": [backend("sd21-all", 1)]}
    assert 'backend sd21-all has namespace "gateways"' in observe(away(unnamed), grant()).problem


def test_what_is_written_names_the_namespace_and_is_what_is_observed_then() -> None:
    """Else the route would send its requests to Services of its own namespace, which are others."""
    made = replace(snapshot(APART), routing=observe(away(named()), grant()))
    decided = Decision(Verb.REWEIGHT, Mode.COST, Reason.AVAILABILITY_CHANGED, {}, {}, (), targets=COST_TARGETS)
    sent = http.request(made, decided)
    (written,) = [one["value"] for one in json.loads(sent.body) if one["path"].endswith("/backendRefs")]
    assert {(one["name"], one["namespace"]) for one in written} == {(service, "shop") for service in SERVICES}
    assert observe(away({"name": "main", "backendRefs": written}), grant()).action == sent.action


def test_standby_rules_name_the_namespace() -> None:
    """Those that are proposed, and those that are there: another namespace's Service of the same name keeps nothing."""
    obj = away(named())
    made = http.remedy(APART, observe(obj), obj, dict.fromkeys((APART.capacity, *(unit.backend for unit in APART.units)), True))
    assert {one["namespace"] for rule in made.rules for one in rule["backendRefs"]} == {"shop"}
    assert set(observe(away(*map(dict, made.rules))).standby) == ALL
    assert observe(away(named(), {"name": "standby-units", "backendRefs": [backend(one, 1) for one in SERVICES]})).standby == ()


@pytest.mark.parametrize(
    ("found", "missing"),
    [
        ([grant()], set()),
        ([{**grant(), "spec": grant_spec(APART)}], set()),
        ([], ALL),
        ([grant(there="gateways")], ALL),
        ([grant(namespace="shop")], ALL),
        ([grant(kind="GRPCRoute")], ALL),
        ([grant(group="")], ALL),
        ([grant({"group": "", "kind": "Service", "name": "sd21-all"})], set(SERVICES)),
        ([grant({"group": "", "kind": "Service", "name": one}) for one in ALL], set()),
        ([grant({"group": "", "kind": "Secret"})], ALL),
        ([grant(7), {**grant(), "spec": {"from": "all", "to": None}}], ALL),
    ],
)
def test_a_grant_lets_routes_of_one_kind_and_namespace_name_services(found: list[dict[str, Any]], missing: set[str]) -> None:
    """All Services of its namespace, or those that it names."""
    assert set(observe(away(named()), *found).ungranted) == missing


def test_no_grant_is_needed_where_nothing_is_named() -> None:
    """Of Services in the route's namespace, and of the capacity Service with the in-place style."""
    assert http.observe(APP, route(named()), Beside()).ungranted == ()
    in_place = replace(APART, routing_style=RoutingStyle.IN_PLACE)
    assert set(http.observe(in_place, away(named()), Beside()).ungranted) == set(SERVICES)
    of_grpc = replace(APART, route=replace(APART.route, kind="GRPCRoute"))
    assert grpc.observe(of_grpc, away(named()), Beside(grant(kind="GRPCRoute"))).ungranted == ()
