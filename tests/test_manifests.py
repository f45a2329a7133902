"""The manifests of `deploy/` say what they must, without a cluster to apply them to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

KUSTOMIZE = Path(__file__).parents[1] / "deploy" / "kustomize"


def _objects(folder: str) -> list[dict[str, Any]]:
    """The objects of one folder, as its kustomization lists them."""
    kustomization = yaml.safe_load((KUSTOMIZE / folder / "kustomization.yaml").read_text())
    return [
        document
        for name in kustomization["resources"]
        for document in yaml.safe_load_all((KUSTOMIZE / folder / name).read_text())
        if document
    ]


def test_the_kustomization_moves_nothing_to_another_namespace() -> None:
    """A `namespace:` in it would move the Role on events out of the namespace in which Karpenter's events are."""
    assert "namespace" not in yaml.safe_load((KUSTOMIZE / "base" / "kustomization.yaml").read_text())
    spaces = {(one["kind"], one["metadata"]["name"]): one["metadata"].get("namespace") for one in _objects("base")}
    assert spaces["Role", "failoverctl-events"] == "default"
    assert spaces["RoleBinding", "failoverctl-events"] == "default"
    assert spaces["Role", "failoverctl-state"] == spaces["Deployment", "failoverctl"] == "failover-system"


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
    """Least privilege: names, not stars."""
    rules = [rule for one in _objects("base") for rule in one.get("rules", ())]
    words = {word for rule in rules for key in ("apiGroups", "resources", "verbs") for word in rule[key]}
    assert not words & {"*", "secrets", "delete", "deletecollection", "escalate", "bind", "impersonate"}


def test_the_dry_run_overlay_takes_every_write_away() -> None:
    """Its patches name rules by position: this test fails when a rule moves."""
    overlay = yaml.safe_load((KUSTOMIZE / "dry-run" / "kustomization.yaml").read_text())
    objects = {(one["kind"], one["metadata"]["name"]): one for one in _objects("base")}
    for patch in overlay["patches"]:
        target = objects.get((patch["target"]["kind"], patch["target"]["name"]))
        for operation in yaml.safe_load(patch["patch"]):
            *path, last = operation["path"].strip("/").split("/")
            if operation["op"] == "replace" and target is not None:
                at: Any = target
                for step in path:
                    at = at[int(step)] if isinstance(at, list) else at[step]
                at[last] = operation["value"]
    verbs = {verb for one in objects.values() for rule in one.get("rules", ()) for verb in rule["verbs"]}
    assert verbs == {"get", "list", "watch"}
