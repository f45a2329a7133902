"""The manifests of `deploy/` have the required properties; checked without a cluster."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.clients.kube import INGRESSES
from controller.routing.kinds import KINDS
from controller.service.leadership import LEASE_NAME
from controller.signals.workload_kinds import WORKLOADS
from tests.cluster.charts import documents

KUSTOMIZE = Path(__file__).parents[2] / "deploy" / "kustomize"


def _objects(folder: str) -> list[dict[str, Any]]:
    """The objects of one folder, as the real kubectl renders them."""
    kubectl = Path(sys.executable).parent / "kubectl"
    done = subprocess.run([kubectl, "kustomize", KUSTOMIZE / folder], capture_output=True, text=True, timeout=30, check=True)
    return documents(done.stdout)


def test_the_kustomization_moves_no_object_to_another_namespace() -> None:
    """A `namespace:` in it would move the Role on events out of the namespace in which Karpenter's events are."""
    assert "namespace" not in yaml.safe_load((KUSTOMIZE / "base" / "kustomization.yaml").read_text())
    spaces = {(one["kind"], one["metadata"]["name"]): one["metadata"].get("namespace") for one in _objects("base")}
    assert spaces["Role", "failoverctl-events"] == "default"
    assert spaces["RoleBinding", "failoverctl-events"] == "default"
    assert spaces["Role", "failoverctl-state"] == spaces["Deployment", "failoverctl"] == "failover-system"


def _for_teams(one: dict[str, Any]) -> bool:
    """Whether it is a role for people: it is part of Kubernetes' own, and no binding gives it to the controller."""
    return any(key.startswith("rbac.authorization.k8s.io/aggregate-to-") for key in one["metadata"].get("labels", {}))


def _granted(tmp_path: Path, base: str, *components: str) -> set[tuple[str, str]]:
    """Resources and verbs of an overlay's ClusterRoles."""
    folder = tmp_path / "-".join((base, *components))
    folder.mkdir()
    first, *others = [os.path.relpath(KUSTOMIZE / one, folder) for one in (base, *components)]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump({"resources": [first], "components": others}))
    roles = [one for one in _objects(str(folder)) if one["kind"] == "ClusterRole"]
    return {(name, verb) for one in roles for rule in one["rules"] for name in rule["resources"] for verb in rule["verbs"]}


def test_the_component_grants_every_kind_of_workload(tmp_path: Path) -> None:
    """Beside what the base grants, which has Deployments alone."""
    more = _granted(tmp_path, "base", "workloads") - _granted(tmp_path, "base")
    assert {name for name, _ in more} == {one.plural for one in WORKLOADS.values()} - {"deployments"}


@pytest.mark.parametrize(("base", "component", "writes"), [("base", "routes", True), ("dry-run", "routes-dry-run", False)])
def test_the_component_grants_every_kind_of_route_and_what_is_read_with_it(tmp_path: Path, base: str, component: str, writes: bool) -> None:
    """A dry run reads them; only the routes are ever written."""
    routes = {port.resource for port in KINDS.values()} - {INGRESSES}
    read = routes | {beside for port in KINDS.values() for beside in port.reads}
    wanted = {(one.plural, verb) for one in read for verb in ("list", "watch")}
    wanted |= {(one.plural, "patch") for one in routes if writes}
    assert _granted(tmp_path, base, component) - _granted(tmp_path, base) == wanted


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
    rules = [rule for one in _objects("base") if not _for_teams(one) for rule in one.get("rules", ())]
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
    verbs = {verb for one in objects if not _for_teams(one) for rule in one.get("rules", ()) for verb in rule["verbs"]}
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
