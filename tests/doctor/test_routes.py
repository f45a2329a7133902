"""The checks of a route of the Gateway API."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.catalog.loader import Source, parse_applications
from controller.clients.kube import GATEWAYS, LOAD_BALANCER_CONFIGURATIONS, TARGET_GROUP_BINDINGS, TARGET_GROUP_CONFIGURATIONS
from controller.policy.model import Mode, Route
from failover_setup.doctor.checks import CHECKS, examine
from failover_setup.doctor.gitops import ignore_snippet
from failover_setup.doctor.gitops_tools import GitOps
from failover_setup.doctor.observe import assemble, observe
from failover_setup.doctor.report import Finding, Level
from failover_testbed.clocks import ManualClock
from failover_testbed.cluster import routes
from tests.support.applications import NOW, SERVICES, application
from tests.support.cluster import Cluster, application_document
from tests.support.healthy import Healthy

DNS = "k8s-shop-sd21-0123456789.us-west-2.elb.amazonaws.com"


class Routed(Healthy):
    """The objects of a healthy application behind a Gateway."""

    def __post_init__(self) -> None:
        super().__post_init__()
        made = [*routes.settings(self.app), routes.gateway(self.app), routes.route(self.app, Mode.COST, {}, standby=self.standby)]
        *_, gateway, route = made
        conditions = [{"type": "Accepted", "status": "True"}, {"type": "Programmed", "status": "True"}]
        gateway["status"] = {"addresses": [{"type": "Hostname", "value": DNS}], "conditions": conditions}
        seen = [{"type": kind, "status": "True", "observedGeneration": 1} for kind in ("Accepted", "ResolvedRefs")]
        route["metadata"] |= {"generation": 1, "uid": "u", "resourceVersion": "7"}
        written = {"manager": "failoverctl", "operation": "Update", "fieldsV1": {"f:spec": {"f:rules": {}}}}
        route["metadata"]["managedFields"] = [written]
        route["status"] = {"parents": [{"controllerName": "gateway.k8s.aws/alb", "parentRef": {}, "conditions": seen}]}
        self.route = {**route, "kind": self.app.route.kind}
        for resource in (GATEWAYS, LOAD_BALANCER_CONFIGURATIONS, TARGET_GROUP_CONFIGURATIONS):
            self.listed[resource.name] = [one for one in made if one["kind"] == resource.kind]
        for binding in self.listed[TARGET_GROUP_BINDINGS.name]:
            labels = binding["metadata"]["labels"]
            binding["metadata"]["labels"] = {key.replace("ingress.k8s.aws", "gateway.k8s.aws.alb"): value for key, value in labels.items()}

    def examined(self) -> dict[str, list[tuple[Level, str]]]:
        """The findings by check."""
        observed = assemble(self.app, NOW, self.route, self.listed, (), self.unreadable)
        found: dict[str, list[tuple[Level, str]]] = {}
        for result in examine(observed).results:
            found.setdefault(result.check.name, []).append((result.finding.level, result.finding.seen))
        return found


@pytest.fixture(params=["HTTPRoute", "GRPCRoute"])
def made(request: pytest.FixtureRequest) -> Routed:
    """A healthy application with either kind of route."""
    return Routed(application(route=Route("sd21", "main", request.param)))


def test_a_healthy_route_has_no_problem(made: Routed) -> None:
    """And no check of an Ingress is made of it."""
    found = made.examined()
    assert {name: seen for name, seen in found.items() if any(level is Level.PROBLEM for level, _ in seen)} == {}
    assert found["target-type"] == [(Level.OK, "ip")], "the Gateway's default says so"
    assert {"route", "gateways", "accepted", "backends", "bypass", "target-groups", "standby-rules", "action"} <= found.keys()
    assert not found.keys() & {"ingress", "ingress-class", "live-rule", "ingress-group", "quotas"}


def _rule(made: Routed, **changes: Any) -> None:
    made.route["spec"]["rules"][0] |= changes


def _said(made: Routed, **changes: Any) -> None:
    made.route["status"]["parents"][0]["conditions"][0] |= changes


def _move(made: Routed, namespace: str) -> None:
    made.app = replace(made.app, route=replace(made.app.route, namespace=namespace))


PROBLEMS: list[tuple[str, Callable[[Routed], Any], str]] = [
    ("route", lambda made: setattr(made, "route", {}), "shop/sd21 does not exist"),
    ("route", lambda made: _rule(made, name="other"), "has no rule main, but other, standby-capacity, standby-units"),
    ("gateways", lambda made: made.listed[GATEWAYS.name].clear(), "Gateway shop/sd21 does not exist"),
    ("gateways", lambda made: made.listed[GATEWAYS.name][0].pop("status"), "has no address"),
    ("gateways", lambda made: made.route["spec"].pop("parentRefs"), "names no Gateway"),
    ("accepted", lambda made: _said(made, status="False", reason="NotAllowedByListeners", message="no"), "NotAllowedByListeners"),
    ("granted", lambda made: _move(made, "gateways"), "no ReferenceGrant in namespace shop lets the route name sd21-all"),
    ("backends", lambda made: made.drop("services", SERVICES[0]), f"rules name {SERVICES[0]}:80"),
    ("target-groups", lambda made: made.listed[TARGET_GROUP_BINDINGS.name].pop(), "no TargetGroupBinding of its Gateways"),
    ("action", lambda made: _rule(made, backendRefs=[]), "backendRefs of rule main is missing"),
]


@pytest.mark.parametrize(("check", "change", "said"), PROBLEMS)
def test_what_is_wrong_is_a_problem(made: Routed, check: str, change: Callable[[Routed], Any], said: str) -> None:
    """Each in its own words, with a remedy."""
    change(made)
    assert any(level is Level.PROBLEM and said in seen for level, seen in made.examined()[check])


def test_every_check_of_a_route_alone_can_fail() -> None:
    """A check that only ever reports ok checks nothing. That requests bypass the rule is a warning below."""
    alone = {check.name for check in CHECKS if check.applies("HTTPRoute", exists=True) and not check.applies("Ingress", exists=True)}
    assert alone == {check for check, _, _ in PROBLEMS} - {"action"} | {"bypass"}


def test_a_rule_by_its_index_and_a_rule_beside_it_are_warnings() -> None:
    """They work, and may do harm one day."""
    made = Routed(application(route=Route("sd21", "0", "HTTPRoute")))
    made.route["spec"]["rules"].append({"name": "side", "backendRefs": [{"name": SERVICES[0], "port": 80}]})
    found = made.examined()
    assert found["route"][0] == (Level.WARNING, "the rule is named by its index, 0")
    assert "rule side" in next(seen for level, seen in found["bypass"] if level is Level.WARNING and "side" in seen)


def test_without_standby_rules_the_two_that_are_missing_are_printed() -> None:
    """As a JSON patch, and as rules for Git."""
    made = Routed(application(route=Route("sd21", "main", "HTTPRoute")), standby=False)
    remedy = examine(assemble(made.app, NOW, made.route, made.listed)).remedy
    assert [one["value"]["name"] for one in remedy.patch] == ["standby-capacity", "standby-units"]


@pytest.mark.parametrize("tool", GitOps)
def test_a_gitops_tool_leaves_the_backends_alone(tool: GitOps) -> None:
    """By the index that the rule has."""
    made = Routed(application(route=Route("sd21", "main", "HTTPRoute")))
    routing = assemble(made.app, NOW, made.route, made.listed).routing
    text = ignore_snippet(tool, made.app, {}, routing)
    assert "/spec/rules/0/backendRefs" in text
    assert "kind: HTTPRoute" in text
    assert "The pointer has the index that the rule has now." in text


def test_a_route_in_another_namespace_needs_a_grant(tmp_path: Path) -> None:
    """All objects are read where they are. Without the grant the report names it, and the spec that it would print makes all well."""
    cluster = Cluster(ManualClock(NOW), routing="HTTPRoute", routed_in="gateways")
    try:
        session, (app,) = cluster.session(tmp_path), parse_applications([_file(routed_in="gateways")]).values()

        def found() -> dict[str, list[Finding]]:
            results = examine(observe(session, [app], NOW)[app.key]).results
            return {name: [one.finding for one in results if one.check.name == name] for name in {one.check.name for one in results}}

        problems = {name for name, seen in found().items() if any(one.level is Level.PROBLEM for one in seen)}
        assert not problems & {"action", "services", "endpoints", "standby-rules", *(check for check, _, _ in PROBLEMS)}
        cluster.store.delete("ReferenceGrant", "sd21", namespace="shop")
        (missing,) = found()["granted"]
        assert (missing.level, missing.seen.partition(" name ")[0]) == (Level.PROBLEM, "no ReferenceGrant in namespace shop lets the route")
        spec = json.loads(missing.fix.partition(": ")[2])
        cluster.store.create("ReferenceGrant", {"metadata": {"name": "new", "namespace": "shop"}, "spec": spec})
        assert [one.level for one in found()["granted"]] == [Level.OK]
    finally:
        cluster.close()


def _file(**changes: Any) -> Source:
    return Source("sd21.yaml", yaml.safe_dump(application_document(routing="HTTPRoute", **changes)).encode())
