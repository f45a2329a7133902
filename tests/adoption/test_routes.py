"""`failoverctl init --route` on plain objects: a route that was made for the controller, and one that was translated from an Ingress."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
import yaml

from controller.catalog.loader import Source, parse_applications
from controller.clients.kube import (
    GATEWAYS,
    LISTENER_RULE_CONFIGURATIONS,
    LOAD_BALANCER_CONFIGURATIONS,
    TARGET_GROUP_CONFIGURATIONS,
)
from controller.errors import ConfigError
from controller.policy.model import Application, CapacityWeights, Mode, Route
from controller.policy.routing import targets_at_rest
from failover_setup.adoption.infer import infer
from failover_setup.adoption.measured import Busiest
from failover_setup.adoption.observe import Observation
from failover_setup.adoption.write import application_text
from failover_setup.listed import Listed
from failover_testbed.cluster import routes
from tests.adoption.test_infer import LATENCIES, adopted, observation_of
from tests.support import hand_built, migrated
from tests.support.stacks import document, example, parsed

KINDS = ("HTTPRoute", "GRPCRoute")


def _observation(objects: Iterable[dict[str, Any]]) -> Observation:
    """Of a stack with one route."""
    listed = list(objects)
    beside = (GATEWAYS, LOAD_BALANCER_CONFIGURATIONS, LISTENER_RULE_CONFIGURATIONS, TARGET_GROUP_CONFIGURATIONS)
    (obj,) = (one for one in listed if one["kind"] in KINDS)
    found = Listed({kind.name: [one for one in listed if one["kind"] == kind.kind] for kind in beside})
    return replace(observation_of([*listed, hand_built.ingress("shop")]), obj=obj, kind=obj["kind"], beside=found)


def _routed(name: str, kind: Any, mode: Mode) -> tuple[Application, Observation]:
    """An example behind a route with a main rule and two standby rules."""
    written = routes.routed_by(parsed(document(name)).to_policy(), kind)
    written = replace(written, policy=replace(written.policy, stickiness_cost_s=0))
    kept = [one for one in example(name, mode) if one["kind"] != "Ingress"]
    return written, _observation([*kept, *routes.objects(written, mode, {})])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", Mode)
def test_a_route_gives_back_the_file_that_it_was_made_from(kind: str, mode: Mode) -> None:
    """In either mode: main carries the traffic, the rule with the capacity Service names that, and the kind is stated."""
    written, observed = _routed("sd21", kind, mode)
    text, application = adopted(observed, {unit.counter_metric: Busiest(10.0, unit.latency_s) for unit in written.units})
    assert application.route == Route("sd21", "main", kind)
    assert application.capacity == written.capacity
    assert {unit.backend for unit in application.units} == {unit.backend for unit in written.units}
    assert targets_at_rest(application, Mode.CAPACITY) == targets_at_rest(written, Mode.CAPACITY)
    assert mode is Mode.CAPACITY or targets_at_rest(application, mode) == targets_at_rest(written, mode)
    assert f"Made by failoverctl init --route {written.namespace}/sd21" in text
    assert f"The {kind} is in {mode} mode now." in text


def test_the_algorithm_of_the_capacity_service_is_read_from_its_target_group_configuration() -> None:
    """As from an annotation; the Gateway's default does for every Service."""
    written, observed = _routed("sd21", "HTTPRoute", Mode.COST)
    assert adopted(observed, LATENCIES)[1].policy.capacity_weights is CapacityWeights.READY
    (default,) = observed.beside.all(TARGET_GROUP_CONFIGURATIONS, written.namespace)
    attribute = {"key": "load_balancing.algorithm.type", "value": "least_outstanding_requests"}
    default["spec"]["defaultConfiguration"]["targetGroupAttributes"] = [attribute]
    assert adopted(observed, LATENCIES)[1].policy.capacity_weights is CapacityWeights.READY_THROUGHPUT


@pytest.mark.parametrize("mode", Mode)
def test_a_route_in_another_namespace_than_its_services_says_so(mode: Mode) -> None:
    """The application is in the namespace of the Services. A Service of the same name in the route's namespace is another one."""
    written = routes.routed_by(parsed(document("sd21")).to_policy(), "HTTPRoute", "gateways")
    written = replace(written, policy=replace(written.policy, stickiness_cost_s=0))
    kept = [one for one in example("sd21", mode) if one["kind"] != "Ingress"]
    observed = _observation([*kept, *(one for one in routes.objects(written, mode, {}) if one["kind"] != "ReferenceGrant")])
    text, application = adopted(observed, LATENCIES)
    assert (application.namespace, application.route) == (written.namespace, written.route)
    assert application.key == "gateways/sd21"
    assert application.capacity == written.capacity
    assert {unit.backend for unit in application.units} == {unit.backend for unit in written.units}
    assert "Made by failoverctl init --route gateways/sd21" in text


def test_of_several_rules_with_services_a_person_must_choose() -> None:
    """Unless one is called main. The error lists them, by name or by index."""
    _, observed = _routed("sd21", "HTTPRoute", Mode.COST)
    main, *standby = observed.obj["spec"]["rules"]
    other = {**main, "matches": [{"path": {"type": "PathPrefix", "value": "/b"}}]}
    unnamed = {key: value for key, value in main.items() if key != "name"}
    observed.obj["spec"]["rules"] = [main, {**other, "name": "b"}, *standby]
    assert adopted(observed, LATENCIES)[1].route.part == "main"
    observed.obj["spec"]["rules"] = [unnamed, {**other, "name": "b"}, *standby]
    with pytest.raises(ConfigError, match="several rules are candidates: 0, b; name one with --rule"):
        infer(observed, None, lambda *_: ({}, ""))
    assert adopted(observed, LATENCIES, "b")[1].route.part == "b"
    with pytest.raises(ConfigError, match="the HTTPRoute has no rule 'nope' that clients reach; there are: 0, b"):
        infer(observed, "nope", lambda *_: ({}, ""))


def test_a_backend_that_a_write_would_change_is_refused() -> None:
    """The error names the rule, the backend and its field."""
    _, observed = _routed("sd21", "HTTPRoute", Mode.COST)
    observed.obj["spec"]["rules"][0]["backendRefs"][0]["filters"] = [{"type": "RequestHeaderModifier"}]
    with pytest.raises(ConfigError, match=r"rule main: backend .* has filters"):
        infer(observed, None, lambda *_: ({}, ""))


# --- translated by lbc-migrate ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("capacity", [False, True])
@pytest.mark.parametrize("standby", [False, True])
def test_a_translated_ingress_gives_the_file_of_the_route(capacity: bool, standby: bool) -> None:
    """The rule has no name, so its index counts. What follows the live rule for the same path is never reached, and is no candidate."""
    observed = _observation(migrated.stack("shop", capacity=capacity, standby=standby))
    text, application = adopted(observed, LATENCIES)
    expected = parsed(hand_built.application_document("shop")).to_policy()
    assert application.route == Route(migrated.ROUTE, "0", "HTTPRoute")
    assert application.capacity == expected.capacity
    assert {unit.backend for unit in application.units} == {unit.backend for unit in expected.units}
    assert capacity or targets_at_rest(application, Mode.COST) == targets_at_rest(expected, Mode.COST)
    assert "a name would be better" in text
    assert "Clients stick to a Service for 200 s" in " ".join(text.replace("#", " ").split())
    assert "stickiness" not in str(yaml.safe_load(text)["spec"].get("policy", {}))


def test_hosts_of_standby_rules_are_said_to_shut_out_every_client() -> None:
    """The live rule had no host, and so the route has no other: requests of clients get a 404."""
    text = _said(_observation(migrated.stack("shop", standby=True)))
    assert "NO CLIENT REACHES THE HTTPRoute" in text
    assert "`failoverctl doctor` prints the two standby rules that take their place" in text
    text = _said(_observation(migrated.stack("shop", standby=True, host="shop.example")))
    assert "NO CLIENT" not in text
    assert "gradio-mix-svc.standby.invalid" in text
    assert "standby.invalid" not in _said(_observation(migrated.stack("shop", host="shop.example")))


def _said(observed: Observation) -> str:
    text = application_text(infer(observed, None, lambda *_: (LATENCIES, "")), observed.now)
    assert parse_applications([Source("new.yaml", text.encode())])
    return " ".join(line.removeprefix("# ") for line in text.splitlines())
