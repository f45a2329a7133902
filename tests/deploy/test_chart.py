"""What the chart renders, by a real helm without a cluster: labels, variables, and the pod of `helm test`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from controller.policy.model import WorkloadKind
from controller.service.http import Answer, HttpServer, make_routes
from controller.signals.workload_kinds import WORKLOADS
from tests.cluster.charts import CHART, Helm, Object, documents
from tests.deploy.test_chart_schema import schema_accepts
from tools.crd import CRD_FILE
from tools.permissions import granted_in_routes_namespace

EVERYTHING = "serviceMonitor.enabled=true,prometheusRule.enabled=true,grafanaDashboards.enabled=true,applications.namespaces={shop}"


@pytest.fixture(scope="module")
def chart(helm: Path, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """A helm without a cluster."""
    return Helm(helm, tmp_path_factory.mktemp("helm"))


def _rendered(chart: Helm, *flags: str, namespace: str = "failover-system") -> list[Object]:
    return documents(chart("template", "failoverctl", str(CHART), "-n", namespace, "--set", EVERYTHING, *flags))


def _labelled(made: list[Object]) -> Iterator[dict[str, Any]]:
    """The metadata of every object and of every pod that one makes."""
    for one in made:
        yield one["metadata"]
        if "template" in one.get("spec", {}):
            yield one["spec"]["template"]["metadata"]


def test_common_labels_are_on_every_object_and_pod(chart: Helm) -> None:
    """Cost reports and policies select by them. They change no selector, which Kubernetes would refuse at an upgrade."""
    made = _rendered(chart, "--set", "commonLabels.team=inference,podLabels.team=serving")
    (pod,) = [one["spec"]["template"]["metadata"] for one in made if one["kind"] == "Deployment"]
    assert pod["labels"].pop("team") == "serving", "podLabels take precedence on the controller's pods"
    assert {one["labels"].get("team") for one in _labelled(made) if one is not pod} == {"inference"}
    selectors = [one["spec"]["selector"] for one in made if "selector" in one.get("spec", {})]
    assert len(selectors) == 4
    assert "team" not in str(selectors)


def test_the_kind_of_the_applications_is_installed_and_outlives_the_release(chart: Helm) -> None:
    """Deleting the definition deletes every application of every team."""
    (made,) = _of_kind(_rendered(chart), "CustomResourceDefinition")
    source = yaml.safe_load((CHART.parents[1] / CRD_FILE).read_text())
    assert made["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    made["metadata"]["labels"] = {key: made["metadata"]["labels"][key] for key in source["metadata"]["labels"]}
    assert made == source
    (removable,) = _of_kind(_rendered(chart, "--set", "crds.keep=false"), "CustomResourceDefinition")
    assert "annotations" not in removable["metadata"]
    assert not _of_kind(_rendered(chart, "--set", "crds.install=false"), "CustomResourceDefinition")


def test_the_pods_mount_no_application_files(chart: Helm) -> None:
    """A pod that waits for a ConfigMap which nobody makes never starts."""
    (deployment,) = _of_kind(_rendered(chart), "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert not [one for one in pod["volumes"] if "configMap" in one]
    assert "FAILOVERCTL_APPLICATIONS" not in str(pod)


@pytest.mark.parametrize("dry_run", [False, True])
def test_the_controller_writes_of_an_application_its_status_alone(chart: Helm, dry_run: bool) -> None:
    """Its token must not change what a team asked for; a dry run writes nothing."""
    roles = {one["metadata"]["name"]: one for one in _of_kind(_rendered(chart, "--set", f"dryRun={str(dry_run).lower()}"), "ClusterRole")}
    granted = {(name, verb) for rule in roles["failoverctl-objects"]["rules"] for name in rule["resources"] for verb in rule["verbs"]}
    reads = {("failoverapplications", verb) for verb in ("get", "list", "watch")}
    assert granted == reads | (set() if dry_run else {("failoverapplications/status", "patch")})
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    parts = {name: {key.removeprefix(prefix) for key in one["metadata"]["labels"] if key.startswith(prefix)} for name, one in roles.items()}
    assert {name: of for name, of in parts.items() if of} == {"failoverctl-view": {"view"}, "failoverctl-edit": {"edit", "admin"}}
    assert "failoverapplications/status" not in str(roles["failoverctl-edit"])


def _of_kind(made: list[Object], kind: str) -> list[Object]:
    return [one for one in made if one["kind"] == kind]


@pytest.mark.parametrize("kind", [None, *WorkloadKind])
def test_only_the_kinds_of_workload_that_are_named_are_granted(chart: Helm, kind: WorkloadKind | None) -> None:
    flags = () if kind is None else ("--set", f"applications.workloads={{{kind}}}")
    wanted = {"deployments"} | (set() if kind is None else {WORKLOADS[kind].plural})
    rules = [rule for one in _rendered(chart, *flags) if one["kind"] == "ClusterRole" for rule in one["rules"]]
    granted = {name for rule in rules for name in rule["resources"] if rule["verbs"] == ["list", "watch"]}
    assert granted & {one.plural for one in WORKLOADS.values()} == wanted


_OF_ROUTES = {
    "httproutes",
    "grpcroutes",
    "listenerruleconfigurations",
    "targetgroupconfigurations",
    "referencegrants",
    "gateways",
    "loadbalancerconfigurations",
}
_BESIDE = {(name, "list watch") for name in _OF_ROUTES - {"httproutes", "grpcroutes"}}


@pytest.mark.parametrize(("kind", "wanted"), [
    ("", {("ingresses", "list watch patch")}),
    ("Ingress", {("ingresses", "list watch patch")}),
    ("HTTPRoute", {("httproutes", "list watch patch"), *_BESIDE}),
    ("GRPCRoute", {("grpcroutes", "list watch patch"), *_BESIDE}),
])  # fmt: skip
def test_only_what_routes_to_an_application_is_granted(chart: Helm, kind: str, wanted: set[tuple[str, str]]) -> None:
    """With a route alone no Ingress may be read; where nothing is said, there are Ingresses."""
    flags = ("--set", f"applications.routes={{{kind}}}") if kind else ()
    assert _rules_of_routes(chart, *flags) == wanted
    assert _rules_of_routes(chart, *flags, "--set", "dryRun=true") == {(name, "list watch") for name, _ in wanted}


def _rules_of_routes(chart: Helm, *flags: str) -> set[tuple[str, str]]:
    rules = [rule for one in _rendered(chart, *flags) if one["kind"] == "ClusterRole" for rule in one["rules"]]
    return {(name, " ".join(rule["verbs"])) for rule in rules for name in rule["resources"] if name in {"ingresses", *_OF_ROUTES}}


def test_gateways_alone_are_read_in_all_namespaces(chart: Helm) -> None:
    """They may be another team's; the rest is in the application's namespace."""
    made = _rendered(chart, "--set", "applications.routes={HTTPRoute,GRPCRoute,Ingress}")
    bound = {one["roleRef"]["name"] for one in made if one["kind"] == "ClusterRoleBinding"}
    roles = [one for one in made if one["kind"] == "ClusterRole" and one["metadata"]["name"] in bound]
    everywhere = {name for role in roles for rule in role["rules"] for name in rule["resources"]}
    assert everywhere & {"ingresses", *_OF_ROUTES} == {"gateways", "loadbalancerconfigurations"}


def test_in_the_namespace_of_a_route_only_the_route_is_granted(chart: Helm) -> None:
    """A namespace with an application too has the rights of both by its one binding."""
    made = _rendered(chart, "--set", "applications.routeNamespaces={edge,shop}")
    bindings = {(one["metadata"]["namespace"], one["roleRef"]["name"]) for one in made if one["kind"] == "RoleBinding"}
    ours = {space for space, role in bindings if role == "failoverctl-route"}
    assert ours == {"edge"}
    assert not ours & {space for space, role in bindings if role == "failoverctl-application"}
    (role,) = [one for one in made if one["kind"] == "ClusterRole" and one["metadata"]["name"] == "failoverctl-route"]
    granted = {(name, verb) for rule in role["rules"] for name in rule["resources"] for verb in rule["verbs"]}
    assert granted == {(one.resource, one.verb) for one in granted_in_routes_namespace()}


@pytest.mark.parametrize("flags", ["commonLabels.app\\.kubernetes\\.io/name=x", "podLabels.app\\.kubernetes\\.io/name=x"])
def test_labels_may_not_take_the_place_of_the_chart_s(chart: Helm, flags: str) -> None:
    """By `app.kubernetes.io/name` the Service, the budget and the policy select the pods."""
    done = chart.run("template", "failoverctl", str(CHART), "--set", flags)
    assert done.returncode != 0
    assert "app.kubernetes.io/name" in done.stderr


@pytest.mark.parametrize(("name", "accepted"), [
    ("HTTPS_PROXY", True), ("FAILOVERCTL_LOG__LEVEL", True), ("FAILOVERCTL_SETTINGS", False), ("FAILOVERCTL_APPLICATIONS", False),
    ("FAILOVERCTL_SLACK__WEBHOOK_URL", False), ("with space", False),
])  # fmt: skip
def test_further_variables_do_not_contradict_the_chart(name: str, accepted: bool) -> None:
    """Kubernetes takes the last of two variables with one name, so the mounted files would be ignored without a word."""
    assert schema_accepts({"extraEnv": [{"name": name, "value": "x"}]}) == accepted


def test_every_object_is_in_the_namespace_of_the_release(chart: Helm) -> None:
    """Except the grants in the applications' namespaces and in `default`, where Karpenter's events are, and what has no namespace."""
    made = _rendered(chart, namespace="elsewhere")
    found = {(one["kind"], one["metadata"].get("namespace", "elsewhere")) for one in made}
    elsewhere = {(kind, namespace) for kind, namespace in found if namespace != "elsewhere"}
    assert elsewhere == {("Role", "default"), ("RoleBinding", "default"), ("RoleBinding", "shop")}
    assert "failover-system" not in str([one for one in made if one["kind"] != "ConfigMap"])


@pytest.mark.parametrize(("problem", "code"), [("", 0), ("the watches have no answer yet", 1)])
def test_helm_test_passes_where_the_controller_is_ready(chart: Helm, problem: str, code: int) -> None:
    """The command of its pod, against the controller's own HTTP server."""
    (pod,) = [one for one in _rendered(chart) if one["kind"] == "Pod"]
    *command, address = pod["spec"]["containers"][0]["command"]
    assert address == "http://failoverctl.failover-system.svc:8080"
    assert command[:2] == ["python", "-c"]
    routes = make_routes(CollectorRegistry(), healthy=lambda: "", ready=lambda: problem, status=dict, page=lambda _: Answer(b""))
    server = HttpServer(routes, "127.0.0.1", 0)
    server.start()
    try:
        asked = [sys.executable, *command[1:], f"http://127.0.0.1:{server.port}"]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    finally:
        server.stop()
    assert (done.returncode != 0) == bool(code), done.stderr


def test_the_pod_of_helm_test_is_none_of_the_controller_s(chart: Helm) -> None:
    """The Service would send it requests, and the budget would count it."""
    made = _rendered(chart)
    (pod,) = [one for one in made if one["kind"] == "Pod"]
    (service,) = [one for one in made if one["kind"] == "Service"]
    assert pod["metadata"]["labels"].items().isdisjoint(service["spec"]["selector"].items())
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    (deployment,) = [one for one in made if one["kind"] == "Deployment"]
    (own,) = deployment["spec"]["template"]["spec"]["containers"]
    (asks,) = pod["spec"]["containers"]
    assert (asks["image"], asks["securityContext"]) == (own["image"], own["securityContext"])
    assert "Pod" not in {one["kind"] for one in _rendered(chart, "--set", "test.enabled=false")}


def test_the_chart_is_packed_with_what_it_needs_and_nothing_else(chart: Helm, tmp_path: Path) -> None:
    """As a registry gets it: readme, files and templates, not the values files of the tests."""
    chart("package", str(CHART), "--destination", str(tmp_path))
    (archive,) = tmp_path.glob("failoverctl-*.tgz")
    made = documents(chart("template", "failoverctl", str(archive), "-n", "failover-system", "--set", EVERYTHING))
    assert made == _rendered(chart)
    assert yaml.safe_load(chart("show", "chart", str(archive)))["version"] in archive.name
    assert chart("show", "readme", str(archive)) == (CHART / "README.md").read_text() + "\n"
