"""A stack with a route of the Gateway API in the place of an Ingress."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from controller.cli.main import main
from controller.clients.kube import (
    GATEWAYS,
    LOAD_BALANCER_CONFIGURATIONS,
    REFERENCE_GRANTS,
    SERVICES,
    TARGET_GROUP_CONFIGURATIONS,
)
from controller.policy.model import Mode
from controller.policy.routing import targets_at_rest
from controller.routing.gateway.adapter import http
from failover_harness.control_plane.crds import GATEWAY, upstream
from failover_setup.doctor.checks import examine
from failover_setup.doctor.observe import Observation, assemble
from failover_setup.doctor.report import Level
from tests.rendering.schemas import problems
from tests.support.applications import NOW
from tests.support.stacks import objects_of, parsed, routed

BESIDE = (GATEWAYS, LOAD_BALANCER_CONFIGURATIONS, TARGET_GROUP_CONFIGURATIONS)
KINDS = {"GatewayClass", *(one.kind for one in BESIDE)}


def _routing(values: dict[str, Any], mode: Mode = Mode.COST) -> list[dict[str, Any]]:
    return [one for one in objects_of(parsed(values), mode) if one["kind"] in {*KINDS, "HTTPRoute", "GRPCRoute", "Ingress"}]


def _observed(values: dict[str, Any], mode: Mode = Mode.COST) -> Observation:
    made = objects_of(parsed(values), mode)
    listed = {one.name: [obj for obj in made if obj["kind"] == one.kind] for one in (*BESIDE, REFERENCE_GRANTS, SERVICES)}
    return assemble(parsed(values).to_policy(), NOW, next(one for one in made if one["kind"] == "HTTPRoute"), listed)


@pytest.mark.skipif(not upstream(GATEWAY), reason="the upstream definitions are not here")
@pytest.mark.parametrize("kind", ["HTTPRoute", "GRPCRoute"])
@pytest.mark.parametrize("mode", Mode)
def test_the_objects_follow_their_definitions(kind: str, mode: Mode) -> None:
    """And there is no Ingress beside them."""
    found = _routing(routed(kind), mode)
    assert {one["kind"] for one in found} == {*KINDS, kind}
    assert [problem for one in found for problem in problems(one)] == []


@pytest.mark.parametrize("mode", Mode)
def test_the_rule_shows_the_mode(mode: Mode) -> None:
    """With standby rules for everything, and nothing that would refuse a mode change but what a controller has still to make."""
    observed = _observed(routed(), mode)
    assert observed.routing.targets == targets_at_rest(observed.application, mode)
    assert observed.routing.marker == ("capacity" if mode is Mode.CAPACITY else "")
    found = {one.check.name: one.finding for one in examine(observed).results}
    for name in ("route", "action", "standby-rules", "backends", "bypass", "target-type", "stickiness"):
        assert found[name].level is Level.OK, found[name]


def test_a_route_in_another_namespace_comes_with_its_grant() -> None:
    """The Gateway and its settings are beside the route. The grant is beside the Services, with what the Gateway must not know of."""
    values = routed()
    values["spec"]["route"]["namespace"] = "gateways"
    observed = _observed(values)
    found = {one.check.name: one.finding for one in examine(observed).results}
    for name in ("route", "action", "standby-rules", "granted", "backends", "bypass", "target-type", "algorithm"):
        assert found[name].level is Level.OK, found[name]
    own = observed.application.namespace
    spaces = {(one["kind"], one["metadata"]["name"]): one["metadata"].get("namespace") for one in objects_of(parsed(values))}
    for kind in ("Gateway", "HTTPRoute", "LoadBalancerConfiguration", "TargetGroupConfiguration"):
        assert spaces[kind, "sd21"] == "gateways"
    assert spaces["TargetGroupConfiguration", observed.application.capacity.service] == spaces["ReferenceGrant", "sd21"] == own
    assert "ReferenceGrant" not in {one["kind"] for one in objects_of(parsed(routed()))}


@pytest.mark.parametrize("weights", ["ready", "ready-throughput"])
def test_the_capacity_service_has_the_algorithm_that_its_weights_need(weights: str) -> None:
    """By its own TargetGroupConfiguration: the annotations of a Service are not read for a Gateway."""
    observed = _observed(routed(capacityWeights=weights))
    found = {one.check.name: one.finding for one in examine(observed).results}
    assert found["algorithm"].level is Level.OK
    (service,) = [one for name, one in observed.services.items() if name == observed.application.capacity.service]
    assert "annotations" not in service["metadata"]


def test_the_files_of_a_stack_with_a_route(tmp_path: Path) -> None:
    """The header says what the controller writes."""
    (tmp_path / "sd21.yaml").write_text(yaml.safe_dump(routed()))
    result = CliRunner().invoke(main, ["render", str(tmp_path / "sd21.yaml"), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert "40-route.yaml" in written
    assert "40-ingress.yaml" not in written
    assert "backends of the route's rule" in (tmp_path / "out" / "40-route.yaml").read_text()
    assert http.read(_observed(routed()).routing.action)[2] == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda spec: spec["stack"].setdefault("loadBalancer", {}).update(annotations={"a/b": "c"}), "none with route"),
        (lambda spec: spec["route"].update(rule="2"), "a name, or 0"),
    ],
)
def test_what_a_route_cannot_have_is_refused(change: Any, said: str, tmp_path: Path) -> None:
    """Annotations of the load-balancer controller, and a rule by an index that the rendered route does not have."""
    values = routed()
    change(values["spec"])
    (tmp_path / "sd21.yaml").write_text(yaml.safe_dump(values))
    result = CliRunner().invoke(main, ["render", str(tmp_path / "sd21.yaml")])
    assert result.exit_code != 0
    assert said in result.output
