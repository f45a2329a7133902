"""`doctor` on the cluster's components, as a person runs it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from controller.cli.main import main
from controller.clock import SystemClock
from failover_setup.cli.doctor import cluster_document, cluster_lines
from failover_setup.doctor.cluster.checks import CLUSTER_CHECKS, examine_cluster
from failover_testbed.cluster import components
from failover_testbed.kube_api import READ_ONLY, EmulatedKubeApi, Identity, KubeStore
from failover_testbed.kube_api.auth import Rule, rules_of
from tests.cli.test_doctor import run
from tests.doctor.test_cluster import Complete
from tests.support.applications import application
from tests.support.healthy import Healthy
from tools.permissions import ROOT

REPORT = Path(__file__).parent / "doctor_cluster.txt"


def _role() -> tuple[Rule, ...]:
    """What deploy/kustomize/doctor grants."""
    return rules_of(yaml.safe_load((ROOT / "deploy" / "kustomize" / "doctor" / "cluster-role.yaml").read_text()))


@pytest.fixture
def api() -> Iterator[EmulatedKubeApi]:
    """An empty cluster with two kinds of users."""
    tokens = {"admin": Identity("admin"), "reader": Identity("reader", READ_ONLY), "doctor": Identity("doctor", _role())}
    with EmulatedKubeApi(SystemClock(), tokens=tokens) as made:
        yield made


def complete(store: KubeStore) -> None:
    """Every component, and an application for which nothing is missing."""
    made = Complete()
    for one in (*made.listed["namespaces"], *components.cluster_scoped(), *map(components.trigger_authentication, ("shop",))):
        store.create(one["kind"], one)
    for one in components.workloads():
        store.create(one["kind"], one)
        metadata = one["metadata"]
        store.update_status(one["kind"], metadata["name"], components.all_well(one), namespace=metadata["namespace"])
    for one in made.listed["nodes"]:
        store.create("Node", one)
    for one in made.listed["nodepools.karpenter.sh"]:
        store.create("NodePool", one)
    Healthy(application()).create(store)


def levels(output: str) -> dict[str, str]:
    """The worst level of each check in a JSON document."""
    order = ("ok", "unknown", "warning", "problem")
    found: dict[str, str] = {}
    for one in json.loads(output)["checks"]:
        found[one["check"]] = max(found.get(one["check"], "ok"), one["level"], key=order.index)
    return found


def test_a_whole_report_reads_as_it_should() -> None:
    """At 80 columns, the worst first, every level with icon and word."""
    made = Complete()
    made.drop("karpenter", "cloudwatch-agent")
    made.container("aws-load-balancer-controller")["args"] = ["--cluster-name=c"]
    made.unreadable = {"namespaces": "namespaces may not be listed with these credentials"}
    lines = [text for _, text in cluster_lines(examine_cluster(made.observed()), 80)]
    assert "\n".join(lines) == REPORT.read_text(), "see the difference, then write the file again"
    assert all(len(line) <= 80 for line in lines)


def test_the_json_document_has_a_stable_shape() -> None:
    """Scripts read it; that of an application has the key `application` in the place of `cluster`."""
    document = cluster_document(examine_cluster(Complete().observed()))
    kinds = {key: type(value) for key, value in json.loads(json.dumps(document)).items()}
    assert kinds == {"cluster": str, "observedAt": str, "counts": dict, "checks": list}
    assert document["counts"] == {"problem": 0, "warning": 0, "unknown": 0, "ok": len(CLUSTER_CHECKS)}


def test_the_cluster_comes_first_and_then_every_application(api: EmulatedKubeApi, tmp_path: Path) -> None:
    """One line each; all well is zero."""
    complete(api.store)
    done = run(api, tmp_path, "doctor", "--output", "json")
    cluster, app = (json.loads(line) for line in done.output.splitlines())
    assert (done.exit_code, cluster["counts"]["ok"], app["application"]) == (0, len(CLUSTER_CHECKS), "shop/sd21"), done.output
    assert "Doctor for the cluster" in run(api, tmp_path, "doctor").output
    assert "Doctor for the cluster" not in run(api, tmp_path, "doctor", "sd21").output


def test_what_is_missing_from_the_cluster_is_a_problem(api: EmulatedKubeApi, tmp_path: Path) -> None:
    """Although the application lacks nothing."""
    complete(api.store)
    api.store.delete("Deployment", "karpenter", namespace="kube-system")
    done = run(api, tmp_path, "doctor")
    assert done.exit_code == 2
    assert "karpenter: Karpenter is not installed" in done.output


def test_the_role_for_it_suffices_and_has_nothing_to_spare(api: EmulatedKubeApi, tmp_path: Path) -> None:
    """Everything is reported, nothing is refused, and everything that deploy/kustomize/doctor grants is used."""
    complete(api.store)
    done = run(api, tmp_path, "doctor", "--cluster", token="doctor")
    assert (done.exit_code, f"{len(CLUSTER_CHECKS)} ok." in done.output) == (0, True), done.output
    granted = {(*rule.groups, resource, *rule.verbs) for rule in _role() for resource in rule.resources}
    assert _used(api) == {one for one in granted if one[0] != "eks.amazonaws.com"}
    with EmulatedKubeApi(SystemClock(), tokens={"admin": Identity("admin"), "doctor": Identity("doctor", _role())}, auto_mode=True) as auto:
        complete(auto.store)
        done = run(auto, tmp_path, "doctor", "--cluster", token="doctor")
        assert "it serves no unit's NodePool" in " ".join(done.output.split()), done.output
        assert _used(auto) == granted


def _used(api: EmulatedKubeApi) -> set[tuple[str, str, str]]:
    """Group, resource and verb of everything that the doctor asked for; nothing was refused."""
    records = [record for record in api.audit.records() if record.user == "doctor" and record.access.resource]
    assert {record.code for record in records} == {200}
    return {(record.access.group, record.access.resource, record.access.verb) for record in records}


def test_what_may_not_be_read_is_said(api: EmulatedKubeApi, tmp_path: Path) -> None:
    """Of a namespace that may be listed, the report shows what is there; what is not there may be elsewhere."""
    complete(api.store)
    rules = [
        Rule(frozenset({"apps"}), frozenset({"deployments", "daemonsets"}), frozenset({"list"}), frozenset(), frozenset({"kube-system"}))
    ]
    with EmulatedKubeApi(SystemClock(), tokens={"admin": Identity("admin"), "some": Identity("some", rules)}) as other:
        complete(other.store)
        done = run(other, tmp_path, "doctor", "--cluster", "--output", "json", token="some")
    found = {one["check"]: one["seen"] for one in json.loads(done.output)["checks"]}
    assert done.exit_code == 0
    assert found["karpenter"].startswith("kube-system/karpenter: 2 of 2")
    assert found["keda"] == "KEDA is not in kube-system; other namespaces may not be listed"
    assert found["readiness-gates"] == "namespaces may not be listed with these credentials"
    assert levels(done.output)["keda"] == "unknown"


@pytest.mark.parametrize("there", [True, False], ids=["empty folder", "no folder"])
def test_the_cluster_alone_needs_no_application_file(api: EmulatedKubeApi, tmp_path: Path, *, there: bool) -> None:
    """Before there is one, it is how far the installation is; without `--cluster` it is an error."""
    folder = tmp_path / "applications"
    if there:
        folder.mkdir()
    kubeconfig = api.kubeconfig("reader", tmp_path / "reader.kubeconfig")
    words = ["doctor", "--kubeconfig", str(kubeconfig), "--applications", str(folder)]
    done = CliRunner().invoke(main, [*words, "--cluster"], catch_exceptions=False)
    assert done.exit_code == 2
    assert "no application file is known" in done.output
    assert CliRunner().invoke(main, words, catch_exceptions=False).exit_code == 1


@pytest.mark.parametrize("where", ["file", "folder", "subfolder"])
def test_a_wrong_application_file_is_an_error_also_with_the_cluster_alone(api: EmulatedKubeApi, tmp_path: Path, where: str) -> None:
    """What it says would be silently left out."""
    folder = tmp_path / "applications"
    wrong = folder / "of-a-team" / "a.yaml"
    wrong.parent.mkdir(parents=True)
    wrong.write_text("spec: {}\n")
    kubeconfig = api.kubeconfig("reader", tmp_path / "reader.kubeconfig")
    named = {"file": wrong, "folder": wrong.parent, "subfolder": folder}[where]
    words = ["doctor", "--cluster", "--kubeconfig", str(kubeconfig), "--applications", str(named)]
    done = CliRunner().invoke(main, words, catch_exceptions=False)
    assert done.exit_code == 1
    assert "a.yaml" in done.output


@pytest.mark.parametrize("more", [("sd21",), ("--gitops", "flux"), ("--output", "yaml")])
def test_the_cluster_alone_is_about_no_application(api: EmulatedKubeApi, tmp_path: Path, more: tuple[str, ...]) -> None:
    """Wrong usage is one."""
    done: Any = run(api, tmp_path, "doctor", "--cluster", *more)
    assert (done.exit_code, "--cluster is about no application" in done.output) == (1, True)
