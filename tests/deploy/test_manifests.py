"""The manifests of `deploy/` have the required properties; checked without a cluster."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from controller.service.leadership import LEASE_NAME
from controller.signals.workload_kinds import WORKLOADS

KUSTOMIZE = Path(__file__).parents[2] / "deploy" / "kustomize"


def _objects(folder: str) -> list[dict[str, Any]]:
    """The objects of one folder, as the real kubectl renders them."""
    kubectl = Path(sys.executable).parent / "kubectl"
    done = subprocess.run([kubectl, "kustomize", KUSTOMIZE / folder], capture_output=True, text=True, timeout=30, check=True)
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def test_the_kustomization_moves_no_object_to_another_namespace() -> None:
    """A `namespace:` in it would move the Role on events out of the namespace in which Karpenter's events are."""
    assert "namespace" not in yaml.safe_load((KUSTOMIZE / "base" / "kustomization.yaml").read_text())
    spaces = {(one["kind"], one["metadata"]["name"]): one["metadata"].get("namespace") for one in _objects("base")}
    assert spaces["Role", "failoverctl-events"] == "default"
    assert spaces["RoleBinding", "failoverctl-events"] == "default"
    assert spaces["Role", "failoverctl-state"] == spaces["Deployment", "failoverctl"] == "failover-system"


def test_the_component_grants_every_kind_of_workload(tmp_path: Path) -> None:
    """Beside what the base grants, which has Deployments alone."""
    found = []
    for components in ([], [str(KUSTOMIZE / "workloads")]):
        folder = tmp_path / str(len(components))
        folder.mkdir()
        relative = [os.path.relpath(one, folder) for one in (str(KUSTOMIZE / "base"), *components)]
        (folder / "kustomization.yaml").write_text(yaml.safe_dump({"resources": relative[:1], "components": relative[1:]}))
        made = {one["metadata"]["name"]: one for one in _objects(str(folder)) if one["kind"] == "ClusterRole"}
        found.append({name for rule in made["failoverctl-application"]["rules"] for name in rule["resources"]})
    assert found[1] - found[0] == {one.plural for one in WORKLOADS.values()} - found[0] == {"statefulsets", "rollouts", "leaderworkersets"}


def test_the_pod_is_restricted() -> None:
    """Non-root, no privilege escalation, read-only root file system, no capabilities, and limits."""
    deployment = next(one for one in _objects("base") if one["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]


def test_no_rule_has_a_wildcard_or_reads_secrets() -> None:
    """Least privilege: rules name their resources."""
    rules = [rule for one in _objects("base") for rule in one.get("rules", ())]
    words = {word for rule in rules for key in ("apiGroups", "resources", "verbs") for word in rule[key]}
    assert not words & {"*", "secrets", "delete", "deletecollection", "escalate", "bind", "impersonate"}


def test_two_replicas_stand_by_for_each_other_and_a_drain_can_take_either() -> None:
    """The controller may touch only the Lease of its own election."""
    objects = {(one["kind"], one["metadata"]["name"]): one for one in _objects("base")}
    assert objects["Deployment", "failoverctl"]["spec"]["replicas"] == 2
    assert objects["PodDisruptionBudget", "failoverctl"]["spec"]["maxUnavailable"] == 1
    leases = [rule for rule in objects["Role", "failoverctl-state"]["rules"] if rule["resources"] == ["leases"]]
    assert {(verb, *rule.get("resourceNames", ())) for rule in leases for verb in rule["verbs"]} == {
        ("create",),
        ("get", LEASE_NAME),
        ("update", LEASE_NAME),
    }


def test_the_dry_run_overlay_removes_every_write() -> None:
    """Its patches name rules by position, so this test fails when a rule moves."""
    objects = _objects("dry-run")
    verbs = {verb for one in objects for rule in one.get("rules", ()) for verb in rule["verbs"]}
    assert verbs == {"get", "list", "watch"}
    deployment = next(one for one in objects if one["kind"] == "Deployment")
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["template"]["spec"]["containers"][0]["args"] == ["run", "--dry-run"]


def test_the_benchmark_runs_with_the_memory_settings_of_the_image() -> None:
    """The image uses the same settings as the benchmark."""
    root = KUSTOMIZE.parents[1]
    stated = set(re.findall(r"\bMALLOC_\w+=\S+", (root / "Dockerfile").read_text()))
    measured = re.findall(r'"(MALLOC_\w+)": "(\w+)"', (root / "benchmarks" / "process.py").read_text())
    assert stated == {f"{name}={value}" for name, value in measured} != set()
