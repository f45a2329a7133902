"""The vLLM profiles: patches of rendered stacks, built with the real kubectl."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.images.catalog import load
from deploy.images.dockerfiles import ROOT

STACKS = ROOT / "deploy" / "stacks"
PROFILES = ROOT / "deploy" / "vllm"
RESOURCES = {"cuda": "nvidia.com/gpu", "neuron": "aws.amazon.com/neuron"}
TARGETS = {"cuda": ".*-cuda", "neuron": ".*-(inf2|trn1)"}


@pytest.fixture(scope="module", params=["llama", "mistral"])
def deployments(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The Deployments of a language model's stack with both profiles put on, by name."""
    folder = tmp_path_factory.mktemp(request.param)
    source = (STACKS / request.param / "20-workloads.yaml").read_text()
    (folder / "20-workloads.yaml").write_text(source)
    patches = []
    for profile, pattern in TARGETS.items():
        (folder / f"{profile}.yaml").write_text((PROFILES / f"{profile}.yaml").read_text())
        patches.append({"path": f"{profile}.yaml", "target": {"kind": "Deployment", "name": pattern}})
    kustomization = {"resources": ["20-workloads.yaml"], "patches": patches}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    kubectl = Path(sys.executable).parent / "kubectl"
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, timeout=30, check=True)
    made = {one["metadata"]["name"]: one for one in yaml.safe_load_all(done.stdout) if one["kind"] == "Deployment"}
    before = {one["metadata"]["name"] for one in yaml.safe_load_all(source) if one and one["kind"] == "Deployment"}
    assert set(made) == before
    return made


def _profile(name: str) -> str:
    return "cuda" if re.fullmatch(TARGETS["cuda"], name) else "neuron"


def _containers(deployment: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in deployment["spec"]["template"]["spec"]["containers"]}


def test_the_accelerator_is_the_engines_alone(deployments: dict[str, dict[str, Any]]) -> None:
    """One container asks for it; two would not fit on the node."""
    for name, deployment in deployments.items():
        resource = RESOURCES[_profile(name)]
        asking = [one for one, container in _containers(deployment).items() if resource in container["resources"]["limits"]]
        assert asking == ["vllm"]


def test_the_adapter_is_what_the_stack_knows(deployments: dict[str, dict[str, Any]]) -> None:
    """Ports, probes and variables of the rendered container stay: Services, load balancer and counters see no difference."""
    for deployment in deployments.values():
        server = _containers(deployment)["server"]
        assert server["args"] == ["adapter"]
        assert server["startupProbe"]["httpGet"]["path"] == server["readinessProbe"]["httpGet"]["path"] == "/readiness"
        assert {port["name"] for port in server["ports"]} >= {"http"}
        assert "MODEL_SERVER_APP" in {variable["name"] for variable in server["env"]}


def test_the_engine_outlives_the_adapter_and_listens_where_it_is_looked_for(deployments: dict[str, dict[str, Any]]) -> None:
    """Its preStop covers preStop, drain and in-flight time of the adapter, within the grace period; its port is the adapter's default."""
    for deployment in deployments.values():
        pod, engine = deployment["spec"]["template"]["spec"], _containers(deployment)["vllm"]
        adapter = _containers(deployment)["server"]["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert adapter + 10 + 60 < engine["lifecycle"]["preStop"]["sleep"]["seconds"] < pod["terminationGracePeriodSeconds"]
        assert "--port=8001" in engine["args"]
        assert engine["command"][:2] == ["vllm", "serve"]


def test_pods_are_restricted(deployments: dict[str, dict[str, Any]]) -> None:
    """Non-root with a number, no privilege escalation, no capabilities, in every container."""
    for deployment in deployments.values():
        pod = deployment["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in (*pod["containers"], *pod["initContainers"]):
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert _containers(deployment)["vllm"]["securityContext"]["runAsUser"] == 65532


@pytest.mark.parametrize("profile", sorted(TARGETS))
def test_the_engines_image_is_that_of_the_list(profile: str) -> None:
    """By tag, and by digest as soon as images.yaml knows it."""
    patch = yaml.safe_load((PROFILES / f"{profile}.yaml").read_text())
    (engine,) = [one for one in patch["spec"]["template"]["spec"]["containers"] if one["name"] == "vllm"]
    assert engine["image"] == load().bases[f"vllm-{profile}"].reference
