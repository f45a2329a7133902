"""Every rendered object follows the schemas of the API server, Karpenter and KEDA."""

from __future__ import annotations

import ast
import gzip
import json
from pathlib import Path

import moto
import pytest

from controller.catalog.instances import INSTANCES
from controller.policy.model import Mode
from failover_harness.control_plane.crds import upstream
from tests.rendering.schemas import problems
from tests.support.stacks import NAMES, ROOT, document, example, objects_of, parsed

CUSTOM = ("karpenter.sh/v1", "karpenter.k8s.aws/v1", "keda.sh/v1alpha1")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", Mode)
def test_kubernetes_own_kinds_follow_the_openapi_types(name: str, mode: Mode) -> None:
    """No unknown field, no value of another type."""
    found = [one for one in example(name, mode) if one["apiVersion"] not in CUSTOM]
    assert {one["kind"] for one in found} == {"Namespace", "ServiceAccount", "Deployment", "PodDisruptionBudget", "Service", "Ingress"}
    assert [problem for one in found for problem in problems(one)] == []


@pytest.mark.skipif(not upstream(), reason="the upstream definitions are not here")
@pytest.mark.parametrize("name", NAMES)
def test_custom_resources_follow_their_definitions(name: str) -> None:
    """Karpenter's and KEDA's own schemas, with unknown fields refused."""
    found = [one for one in example(name) if one["apiVersion"] in CUSTOM]
    assert {one["kind"] for one in found} == {"EC2NodeClass", "NodePool", "TriggerAuthentication", "ScaledObject"}
    assert [problem for one in found for problem in problems(one)] == []


@pytest.mark.skipif(not upstream(), reason="the upstream definitions are not here")
def test_reservations_follow_karpenters_definition() -> None:
    """By id, by tags, and with an owner."""
    values = document()
    terms = [{"id": "cr-0123456789abcdef0"}, {"tags": {"team": "*"}, "ownerId": "123456789012"}]
    values["spec"]["units"][0]["stack"] |= {"reservations": terms, "capacityTypes": ["reserved"]}
    found = [one for one in objects_of(parsed(values)) if one["kind"] in {"EC2NodeClass", "NodePool"}]
    assert [problem for one in found for problem in problems(one)] == []


def test_the_check_itself_finds_faults() -> None:
    """A misspelt field, and a number in place of text."""
    objects = example("sd21")
    deployment = next(one for one in objects if one["kind"] == "Deployment")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container["redinessProbe"] = container.pop("readinessProbe")
    container["resources"]["limits"]["memory"] = True
    container["ports"][0]["containerPort"] = "8000"
    assert sorted(problem.rsplit(".", 1)[-1].split(":")[0] for problem in problems(deployment)) == [
        "containerPort",
        "memory",
        "redinessProbe",
    ]
    if upstream():
        scaled = next(one for one in objects if one["kind"] == "ScaledObject")
        scaled["spec"]["triggers"][0]["metadata"]["targetMetricValue"] = 105
        scaled["spec"]["minReplicas"] = 1
        assert len(problems(scaled)) == 2


def test_the_sizes_of_instance_types_are_those_of_the_ec2_api() -> None:
    """As moto has them from DescribeInstanceTypes."""
    path = Path(moto.__file__).parent / "ec2" / "resources" / "instance_types.json.gz"
    known = json.loads(gzip.decompress(path.read_bytes()))
    compared = 0
    for name, ours in INSTANCES.items():
        if name not in known:
            continue
        compared += 1
        theirs = known[name]
        assert (ours.vcpus, ours.memory_gib * 1024) == (theirs["VCpuInfo"]["DefaultVCpus"], theirs["MemoryInfo"]["SizeInMiB"]), name
        if "GpuInfo" in theirs:
            assert ours.accelerators == sum(one["Count"] for one in theirs["GpuInfo"]["Gpus"]), name
    assert compared >= 16


def test_the_variables_of_the_container_are_settings_of_the_model_server() -> None:
    """Read from its code: neither distribution imports the other."""
    source = ast.parse((ROOT / "model_server" / "src" / "failover_model_server" / "settings.py").read_text())
    (settings,) = [node for node in source.body if isinstance(node, ast.ClassDef) and node.name == "Settings"]
    known = {
        f"MODEL_SERVER_{node.target.id.upper()}"
        for node in settings.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    values = document()
    values["spec"]["stack"] |= {"model": "hf://org/repo", "revision": "0" * 40, "hubToken": {"name": "hub"}}
    for unit in values["spec"]["units"]:
        if unit["framework"] == "neuron":
            unit["stack"]["compiledRevision"] = "1" * 40
    containers = [one["spec"]["template"]["spec"]["containers"][0] for one in objects_of(parsed(values)) if one["kind"] == "Deployment"]
    used = {one["name"] for container in containers for one in container["env"]}
    assert {name for name in used if name.startswith("MODEL_SERVER_")} <= known
    assert used - known == {"AWS_REGION", "HF_TOKEN"}
