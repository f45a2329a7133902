"""The stacks that `failoverctl render` creates from application files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from controller.cli.main import main
from controller.policy.model import Mode
from controller.policy.routing import targets_at_rest
from controller.routing.annotations import MARKER
from controller.routing.ingress.action import format_action, parse_action
from controller.routing.names import action_key
from failover_setup.rendering.render import FILES, MARK
from tests.support.stacks import NAMES, ROOT, STACKS, application_file, document, example, objects_of, parsed

ROUTE = "40-route.yaml"
"""In the place of an Ingress."""


def _run(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["render", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def _one(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = [one for one in objects if one["kind"] == kind and one["metadata"]["name"] == name]
    return found


# --- evictions ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("canary", "scaled", "places"), [(True, True, 2), (False, True, 1), (True, False, 1)])
def test_a_unit_that_may_have_a_canary_has_a_place_for_it_in_its_budget(*, canary: bool, scaled: bool, places: int) -> None:
    """The canary comes through the ScaledObject's floor: no canary without one."""
    values = document()
    for unit in values["spec"]["units"]:
        unit["probe"] = "canary" if canary else "none"
    unit = values["spec"]["units"][0]
    if not scaled:
        del unit["scaledObject"]
    budget = _one(objects_of(parsed(values)), "PodDisruptionBudget", unit["deployment"])
    assert budget["spec"]["maxUnavailable"] == places


# --- the examples -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_in_deploy_are_the_output_of_render(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte for byte: `failoverctl render config/NAME.yaml --out deploy/stacks/NAME`, run in the repository, changes nothing."""
    monkeypatch.chdir(ROOT)
    _run(f"config/{name}.yaml", "--out", str(tmp_path))
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_text() for path in (STACKS / name).iterdir()}


def test_every_example_is_checked_in() -> None:
    """No folder without its application file, none missing."""
    assert sorted(path.name for path in STACKS.iterdir()) == sorted(NAMES)


def test_without_out_it_prints_the_same_files(tmp_path: Path) -> None:
    """Without --out everything goes to standard output, in the order of the files."""
    printed = _run(str(application_file("sd21")))
    _run(str(application_file("sd21")), "--out", str(tmp_path))
    assert printed == "".join((tmp_path / name).read_text() for name in FILES if name != ROUTE)
    assert printed.startswith(MARK)


# --- writing ------------------------------------------------------------------------------------------------------------------------------


def test_rendering_again_deletes_files_that_are_no_longer_rendered(tmp_path: Path) -> None:
    """A stack that no longer scales keeps no ScaledObjects."""
    values, source, out = document(), tmp_path / "sd21.yaml", tmp_path / "out"
    source.write_text(yaml.safe_dump(values))
    _run(str(source), "--out", str(out))
    assert (out / "50-scaling.yaml").exists()
    for unit in values["spec"]["units"]:
        del unit["scaledObject"]
    source.write_text(yaml.safe_dump(values))
    _run(str(source), "--out", str(out))
    assert sorted(path.name for path in out.iterdir()) == [name for name in FILES[:-1] if name != ROUTE]
    assert {one["spec"]["replicas"] for one in objects_of(parsed(values)) if one["kind"] == "Deployment"} == {1}


def test_a_folder_is_no_application_file(tmp_path: Path) -> None:
    """Also with one application in it: the lines of a fault are those of a file."""
    (tmp_path / "sd21.yaml").write_text(application_file("sd21").read_text())
    result = CliRunner().invoke(main, ["render", str(tmp_path)])
    assert result.exit_code == 1
    assert "found a folder; allowed: a file with one application" in result.output


def test_a_file_that_render_did_not_write_is_not_overwritten(tmp_path: Path) -> None:
    """Then nothing is written at all."""
    (tmp_path / "40-ingress.yaml").write_text("mine\n")
    result = CliRunner().invoke(main, ["render", str(application_file("sd21")), "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "40-ingress.yaml: found a file that was not made by failoverctl render" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["40-ingress.yaml"]


# --- what is made -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", Mode)
def test_the_ingress_shows_the_mode_that_the_controller_would_write(name: str, mode: Mode) -> None:
    """The same action, byte for byte, and a standby rule for every Service."""
    model = parsed(document(name))
    application = model.to_policy()
    ingress = _one(example(name, mode), "Ingress", application.route.name)
    annotations = ingress["metadata"]["annotations"]
    sticky = application.policy.stickiness_cost_s if mode is Mode.COST else application.policy.stickiness_capacity_s
    assert annotations[action_key(application.route.part)] == format_action(targets_at_rest(application, mode), sticky)
    assert annotations.get(MARKER) == ("capacity" if mode is Mode.CAPACITY else None)
    hosts = {rule.get("host") for rule in ingress["spec"]["rules"][1:]}
    services = {application.capacity.service, *(unit.backend.service for unit in application.units)}
    assert hosts == {f"{service}.standby.invalid" for service in services}


def test_scaled_objects_have_the_targets_of_each_mode() -> None:
    """Table 1's throughput in cost mode, Table 2's adjusted one in capacity mode."""
    for mode, wanted in ((Mode.COST, ["105", "130", "90", "61", "60"]), (Mode.CAPACITY, ["89.2", "89.2", "89.2", "61", "60"])):
        found = [one["spec"]["triggers"][0]["metadata"] for one in example("sd21", mode) if one["kind"] == "ScaledObject"]
        assert [one["targetMetricValue"] for one in found] == wanted
        assert all(isinstance(value, str) for one in found for value in one.values()), "KEDA takes text only"


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        pytest.param({}, None, id="two-mode"),
        pytest.param({"strategy": "adaptive"}, None, id="adaptive"),
        pytest.param({"strategy": "planned"}, None, id="planned and only shown"),
        pytest.param({"strategy": "planned", "plannedMode": "live"}, {"stabilizationWindowSeconds": 180}, id="planned"),
    ],
)
def test_scalers_wait_for_planned_floors(policy: dict[str, str], wanted: dict[str, int] | None) -> None:
    """Before they add replicas of their own; where no floors are planned nothing would come instead."""
    values = document()
    values["spec"].setdefault("policy", {}).update(policy)
    found = [one["spec"]["advanced"] for one in objects_of(parsed(values)) if one["kind"] == "ScaledObject"]
    assert len(found) == len(values["spec"]["units"])
    assert {json.dumps(one["horizontalPodAutoscalerConfig"]["behavior"].get("scaleUp")) for one in found} == {json.dumps(wanted)}


def test_replicas_are_left_to_keda() -> None:
    """Applying the manifest again must not scale a unit down."""
    assert not any("replicas" in one["spec"] for one in example("sd21") if one["kind"] == "Deployment")


def test_probes_leave_room_for_twice_the_load_time() -> None:
    """No container restarts while it loads, no rollout counts as stuck before, and only readiness admits traffic."""
    values = document()
    values["spec"]["units"][0]["stack"]["loadSeconds"] = 1200
    for one in [one for one in objects_of(parsed(values)) if one["kind"] == "Deployment"]:
        container = one["spec"]["template"]["spec"]["containers"][0]
        allowed = 2400 if one["metadata"]["name"] == "sd21-inf2" else 1800
        startup = container["startupProbe"]
        variables = {one["name"]: one.get("value", "") for one in container["env"]}
        assert int(variables["MODEL_SERVER_DOWNLOAD_TIMEOUT"]) < int(variables["MODEL_SERVER_LOAD_TIMEOUT"]) < allowed
        assert startup["periodSeconds"] * startup["failureThreshold"] == allowed
        assert one["spec"]["progressDeadlineSeconds"] > allowed
        assert container["readinessProbe"]["httpGet"]["path"] == "/readiness"
        assert container["livenessProbe"]["httpGet"]["path"] == "/health"


def test_a_pod_has_time_to_answer_its_requests() -> None:
    """Pre-stop, longest request and drain fit into the grace period; the load balancer waits for the longest request too."""
    values = document()
    values["spec"]["stack"]["requestSeconds"] = 300
    objects = objects_of(parsed(values))
    pod = _one(objects, "Deployment", "sd21-inf2")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] + 300 + 10
    variables = {one["name"]: one.get("value", "") for one in pod["containers"][0]["env"]}
    assert (variables["MODEL_SERVER_FINISH_SECONDS"], variables["MODEL_SERVER_DRAIN_SECONDS"]) == ("300", "10")
    annotations = _one(objects, "Ingress", "sd21")["metadata"]["annotations"]
    assert annotations["alb.ingress.kubernetes.io/load-balancer-attributes"] == "idle_timeout.timeout_seconds=330"
    for one in objects:
        attributes = one["metadata"].get("annotations", {}).get("alb.ingress.kubernetes.io/target-group-attributes", "")
        assert not attributes or "deregistration_delay.timeout_seconds=330" in attributes


def _capacity_types(objects: list[dict[str, Any]], pool: str) -> list[str]:
    requirements = _one(objects, "NodePool", pool)["spec"]["template"]["spec"]["requirements"]
    (found,) = [one["values"] for one in requirements if one["key"] == "karpenter.sh/capacity-type"]
    return list(found)


def test_reservations_are_selected_and_come_first() -> None:
    """Only by the node class of the unit's accelerator, and only NodePools of units that have some allow reserved."""
    values = document()
    first, second, third, *_ = values["spec"]["units"]
    first["stack"]["reservations"] = [{"id": "cr-1"}, {"tags": {"team": "inference"}, "ownerId": "123456789012"}]
    second["stack"] |= {"reservations": [{"id": "cr-1"}, {"id": "cr-2"}], "capacityTypes": ["reserved"]}
    objects = objects_of(parsed(values))
    classes = {
        one["metadata"]["name"]: one["spec"].get("capacityReservationSelectorTerms") for one in objects if one["kind"] == "EC2NodeClass"
    }
    tagged = {"tags": {"team": "inference"}, "ownerID": "123456789012"}
    assert classes == {"sd21-neuron": [{"id": "cr-1"}, tagged, {"id": "cr-2"}], "sd21-nvidia": None}
    kinds = [_capacity_types(objects, unit["nodePool"]) for unit in (first, second, third)]
    assert kinds == [["reserved", "on-demand"], ["reserved"], ["on-demand"]]


def test_a_unit_of_spot_instances_has_a_node_pool_of_its_zone() -> None:
    """Beside an on-demand unit of the same type: what may be taken back at once is one zone of one of them."""
    values = document()
    first = values["spec"]["units"][0]
    spot = {key: f"{first[key]}-spot-a" for key in ("name", "deployment", "nodePool", "scaledObject", "counterMetric", "latencyMetric")}
    service, stack = {"name": f"{first['name']}-spot-a", "port": 80}, {**first["stack"], "capacityTypes": ["on-demand", "spot"]}
    values["spec"]["units"][-1:] = [{**first, **spot, "service": service, "weight": 1, "zones": ["us-east-1a"], "stack": stack}]
    objects = objects_of(parsed(values))
    assert _capacity_types(objects, spot["nodePool"]) == ["spot", "on-demand"]
    stack["capacityTypes"] = ["spot"]
    objects = objects_of(parsed(values))
    assert _capacity_types(objects, spot["nodePool"]) == ["spot"]
    requirements = _one(objects, "NodePool", spot["nodePool"])["spec"]["template"]["spec"]["requirements"]
    assert [one["values"] for one in requirements if one["key"] == "topology.kubernetes.io/zone"] == [["us-east-1a"]]


def test_no_requirement_narrows_a_node_claim_beyond_its_units() -> None:
    """With a spread over zones Karpenter would request one zone, and its refusal would prove only that zone short."""
    for one in [one for one in example("sd21") if one["kind"] == "Deployment"]:
        pod = one["spec"]["template"]["spec"]
        assert not {"affinity", "topologySpreadConstraints"} & {*pod}
        assert [*pod["nodeSelector"]] == ["karpenter.sh/nodepool"]


def test_units_that_share_a_node_pool_each_keep_their_own_types() -> None:
    """The NodePool allows the types of both, a pod only its own."""
    values = document()
    triton, cuda = values["spec"]["units"][2], values["spec"]["units"][4]
    triton["instanceTypes"], cuda["zones"] = ["g5.xlarge", "g5.2xlarge"], ["us-west-2a"]
    objects = objects_of(parsed(values))
    pool = _one(objects, "NodePool", "amd-nvidia-a10g")["spec"]["template"]["spec"]["requirements"]
    assert [one["values"] for one in pool if one["key"] == "node.kubernetes.io/instance-type"] == [["g5.2xlarge", "g5.xlarge"]]
    assert "topology.kubernetes.io/zone" not in {one["key"] for one in pool}, "the other unit may use every zone"
    affinity = _one(objects, "Deployment", "sd21-g5-cuda")["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
    (term,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [
        {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["g5.xlarge"]},
        {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["us-west-2a"]},
    ]
    assert "affinity" not in _one(objects, "Deployment", "sd21-g5-triton")["spec"]["template"]["spec"]


def test_there_is_room_for_the_canary_and_a_rollout() -> None:
    """The NodePool's limit covers every replica that KEDA or the controller may request, and one more pod of each unit."""
    limits = {one["metadata"]["name"]: one["spec"]["limits"] for one in example("sd21") if one["kind"] == "NodePool"}
    assert limits["amd-nvidia-a10g"] == {"nvidia.com/gpu": "202"}
    assert limits["amd-neuron-inf2"] == {"aws.amazon.com/neuron": "101"}


def test_a_port_that_is_a_name_is_the_same_literal_everywhere() -> None:
    """For the load-balancer controller, 80 and "http" are two target groups."""
    values = document()
    for service in (values["spec"]["capacityService"], *(unit["service"] for unit in values["spec"]["units"])):
        service["port"] = "web"
    objects = objects_of(parsed(values))
    assert {one["spec"]["ports"][0]["name"] for one in objects if one["kind"] == "Service"} == {"web"}
    ingress = _one(objects, "Ingress", "sd21")
    targets, _, _ = parse_action(ingress["metadata"]["annotations"][action_key("weighted-routing")])
    ports = [rule["http"]["paths"][0]["backend"]["service"]["port"] for rule in ingress["spec"]["rules"][1:]]
    assert {target.port for target in targets} == {"web"}
    assert ports == [{"name": "web"}] * 6


def test_nodes_can_be_managed_elsewhere() -> None:
    """Two stacks may share NodePools if one of them renders them."""
    values = document()
    values["spec"]["stack"]["nodes"] = {"render": False}
    assert not {"NodePool", "EC2NodeClass"} & {one["kind"] for one in objects_of(parsed(values))}


def test_the_files_own_settings_take_precedence() -> None:
    """Variables of the container and annotations of the Ingress."""
    values = document()
    values["spec"]["units"][0]["stack"]["env"] = {"MODEL_SERVER_MAX_QUEUE": "8", "MODEL_SERVER_REQUEST_TIMEOUT": "5"}
    values["spec"]["stack"]["loadBalancer"] = {
        "annotations": {"alb.ingress.kubernetes.io/certificate-arn": "arn:x", "alb.ingress.kubernetes.io/scheme": "internal"}
    }
    objects = objects_of(parsed(values))
    variables = _one(objects, "Deployment", "sd21-inf2")["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {one["name"]: one["value"] for one in variables if "value" in one}.items() >= values["spec"]["units"][0]["stack"]["env"].items()
    assert len({one["name"] for one in variables}) == len(variables)
    annotations = _one(objects, "Ingress", "sd21")["metadata"]["annotations"]
    assert annotations["alb.ingress.kubernetes.io/scheme"] == "internal"
    assert annotations["alb.ingress.kubernetes.io/certificate-arn"] == "arn:x"


def test_the_queue_is_bounded_by_the_units_latency_limit() -> None:
    """In seconds: three times the limit of the unit, and never longer than a request may take."""
    values = document()
    unit = values["spec"]["units"][0]
    for limit, expected in ((2.0, "6"), (3000.0, str(values["spec"]["stack"].get("requestSeconds", 60)))):
        unit["latencyLimitSeconds"] = limit
        variables = _one(objects_of(parsed(values)), "Deployment", "sd21-inf2")["spec"]["template"]["spec"]["containers"][0]["env"]
        assert {one["name"]: one.get("value") for one in variables}["MODEL_SERVER_MAX_QUEUE_SECONDS"] == expected


def test_the_policy_is_the_same_with_and_without_a_stack() -> None:
    """`run` and `plan` do not use the stack."""
    values = document()
    with_stack = parsed(values).to_policy()
    del values["spec"]["stack"]
    for unit in values["spec"]["units"]:
        unit.pop("stack", None)
    assert parsed(values).to_policy() == with_stack
