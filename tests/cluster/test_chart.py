"""The Helm chart: linted and rendered by a real helm, compared with the plain manifests, and installed on a real API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from controller.errors import NotFound
from controller.settings import load_settings
from failover_harness.control_plane.control_plane import ControlPlane
from failover_harness.control_plane.kubelet import Kubelet
from failover_harness.waiting import wait_for
from tests.cluster.charts import CHART, EXAMPLES, Helm, Object, documents, forget_definition, without_helm
from tests.cluster.life import usable, whole_life
from tests.cluster.manifests import KUSTOMIZE, Installation, kubectl, overlay, rendered
from tests.cluster.stack import Stack
from tools import monitoring

RELEASE: Final = "chart-failoverctl"
INSTALLATION: Final = Installation("failover-chart", RELEASE)
_SERVICE_MONITORS: Final = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "servicemonitors.monitoring.coreos.com"},
    "spec": {
        "group": "monitoring.coreos.com",
        "names": {"kind": "ServiceMonitor", "listKind": "ServiceMonitorList", "plural": "servicemonitors", "singular": "servicemonitor"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "required": ["selector", "endpoints"],
                                "properties": {
                                    "selector": {
                                        "type": "object",
                                        "properties": {"matchLabels": {"type": "object", "additionalProperties": {"type": "string"}}},
                                    },
                                    "endpoints": {
                                        "type": "array",
                                        "items": {
                                            "type": "object",
                                            "properties": {name: {"type": "string"} for name in ("port", "path", "interval")},
                                        },
                                    },
                                },
                            }
                        },
                    }
                },
            }
        ],
    },
}
"""The Prometheus operator's ServiceMonitor, with the fields that we write."""


@pytest.fixture(scope="session")
def chart(helm: Path, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """A helm without a cluster."""
    return Helm(helm, tmp_path_factory.mktemp("helm"))


# --- rendering ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [None, *EXAMPLES], ids=lambda path: path.stem if path else "default")
def test_helm_finds_no_fault(chart: Helm, values: Path | None) -> None:
    """`helm lint --strict` with the defaults and with every example."""
    chart("lint", "--strict", str(CHART), *(("--values", str(values)) if values else ()))


@pytest.mark.parametrize(("flags", "folder"), [((), "base"), (("--set", "dryRun=true"), "dry-run")], ids=["act", "dry-run"])
def test_chart_and_plain_manifests_make_the_same(chart: Helm, plane: ControlPlane, flags: tuple[str, ...], folder: str) -> None:
    """All objects are equal, except the namespace, which helm's caller creates."""
    ours = without_helm(rendered(plane, KUSTOMIZE / folder))
    del ours["Namespace", "", "failover-system"]
    assert without_helm(chart.template(*flags)) == ours


def test_two_installations_share_no_object(chart: Helm) -> None:
    """They had one cluster role binding, and the second one took the first one's rights. Their applications may share a namespace.

    The definition of applications is the first one's: the cluster has one.
    """
    flags = ("--set", "applications.namespaces={shop}", "--set")
    installed = {"failover-system": "crds.install=true", "another": "crds.install=false"}
    first, second = (set(without_helm(chart.template("-n", space, *flags, crds))) for space, crds in installed.items())
    assert {kind for kind, *_ in first} >= {"ClusterRole", "ClusterRoleBinding", "ValidatingAdmissionPolicyBinding", "RoleBinding"}
    assert first & second == set()


def test_an_application_namespace_is_granted_the_same(chart: Helm, plane: ControlPlane, tmp_path: Path) -> None:
    """The same as from deploy/kustomize/application; and what monitors it is the same as in the monitoring folder, of its own namespace."""
    enabled = [f"{name}.enabled=true" for name in ("serviceMonitor", "prometheusRule", "grafanaDashboards")]
    flags = ("--set", ",".join(["applications.namespaces={shop}", *enabled]))
    made = without_helm(chart.template(*flags))
    plain = rendered(plane, overlay(tmp_path, "application", "shop")) + rendered(plane, KUSTOMIZE / "monitoring")
    ours = without_helm(plain)
    ours["PrometheusRule", "failover-system", "failoverctl"]["spec"] = monitoring.rules(monitoring.RUNBOOKS, "failover-system")
    assert {key: made[key] for key in ours} == ours


def test_the_settings_file_is_read_as_it_was_meant(chart: Helm, tmp_path: Path) -> None:
    """Helm reads numbers as floating point; an integer must not become 500.0."""
    meant = {"recording": {"folder": "/recordings"}, "polls": {"tick_interval_s": 7.5}}
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"settings": meant}))
    made = without_helm(chart.template("--values", str(values)))
    file = tmp_path / "settings.yaml"
    file.write_text(made["ConfigMap", "failover-system", "failoverctl-settings"]["data"]["settings.yaml"])
    settings = load_settings(file)
    assert (str(settings.recording.folder), settings.polls.tick_interval_s) == ("/recordings", 7.5)
    template = made["Deployment", "failover-system", "failoverctl"]["spec"]["template"]
    assert "checksum/settings" in template["metadata"]["annotations"]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        pytest.param((), {"WEBHOOK_URL_FILE": "/etc/failoverctl/slack/webhook-url"}, id="webhook"),
        pytest.param(
            ("--set", "slack.channel=C0123456,slack.key=token"),
            {"TOKEN_FILE": "/etc/failoverctl/slack/token", "CHANNEL": "C0123456"},
            id="bot",
        ),
    ],
)
def test_slack_is_a_webhook_or_a_bot_with_a_channel(chart: Helm, flags: tuple[str, ...], expected: dict[str, str]) -> None:
    """The same Secret holds the one or the other."""
    made = without_helm(chart.template("--set", "slack.existingSecret=ours", *flags))
    env = made["Deployment", "failover-system", "failoverctl"]["spec"]["template"]["spec"]["containers"][0]["env"]
    prefix = "FAILOVERCTL_SLACK__"
    assert {one["name"].removeprefix(prefix): one["value"] for one in env if one["name"].startswith(prefix)} == expected


BAD: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("at '/replicas': minimum: got 0, want 1", ("--set", "replicas=0")),
    ("additional properties 'replicaCount' not allowed", ("--set", "replicaCount=2")),
    ("at '/image/repository'", ("--set", "image.repository=registry/failoverctl:latest")),
    ("at '/image/digest'", ("--set", "image.digest=sha256:abc")),
    ("at '/aws/roleArn'", ("--set", "aws.roleArn=failoverctl")),
    ("at '/applications/namespaces/0'", ("--set", "applications.namespaces={Shop}")),
    ("at '/settings/polls/tick_interval_s'", ("--set", "settings.polls.tick_interval_s=1000")),
    ("additional properties 'pols' not allowed", ("--set", "settings.pols.tick_interval_s=1")),
    ("at '/podLabels/a'", ("--set", "podLabels.a=true")),
    ("at '/networkPolicy/egressPorts'", ("--set-json", "networkPolicy.egressPorts=[]")),
    ("at '/networkPolicy': missing property 'egressPorts'", ("--set", "networkPolicy.egressPorts=null")),
    ("missing property 'settings'", ("--set", "settings=null")),
    ("settings.kubernetes.state_namespace: found other", ("--set", "settings.kubernetes.state_namespace=other")),
    ("put webhook or token into a Secret", ("--set", "settings.slack.webhook_url=https://hooks.slack.com/x")),
    ("put webhook or token into a Secret", ("--set", "settings.slack.token_file=/x")),
    ("without slack.existingSecret", ("--set", "slack.channel=C0123456")),
    ("all of them would act", ("--set", "settings.leader_election.enabled=false")),
    ("settings.http.port: found 0", ("--set", "settings.http.port=0")),
    ("settings.applications: found a path", ("--set", "settings.applications=/x")),
    ("serviceAccount.name: found nothing", ("--set", "serviceAccount.create=false")),
    ("aws.roleArn: found one", ("--set", "serviceAccount.create=false,serviceAccount.name=x,aws.roleArn=arn:aws:iam::123456789012:role/x")),
    ("at '/applications/routes': minItems", ("--set-json", "applications.routes=[]")),
    ("apply the files, then set applications.files=null", ("--set", "applications.files.sd21\\.yaml=x")),
    ("apply the files, then set applications.existingConfigMap=null", ("--set", "applications.existingConfigMap=x")),
    ("apply the files, then set applications.existingConfigMaps=null", ("--set", "applications.existingConfigMaps={x}")),
)


@pytest.mark.parametrize(("message", "flags"), BAD, ids=[message for message, _ in BAD])
def test_a_wrong_value_is_refused_by_name(chart: Helm, message: str, flags: tuple[str, ...]) -> None:
    """The schema or the templates refuse it; nothing is rendered."""
    done = chart.run("template", "failoverctl", str(CHART), "-n", "failover-system", *flags)
    assert done.returncode != 0, done.stdout
    assert message in done.stderr


# --- on the API server ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def monitored(plane: ControlPlane) -> ControlPlane:
    """The control plane with the Prometheus operator's ServiceMonitor and the namespace of the plain manifests."""
    kubectl(plane, "apply", "-f", "-", stdin=json.dumps(_SERVICE_MONITORS))
    kubectl(plane, "wait", "--for=condition=Established", "crd/servicemonitors.monitoring.coreos.com")
    kubectl(plane, "apply", "-f", str(KUSTOMIZE / "base" / "namespace.yaml"))
    return plane


@pytest.mark.parametrize("values", [None, *EXAMPLES], ids=lambda path: path.stem if path else "default")
def test_the_api_server_knows_every_field(chart: Helm, monitored: ControlPlane, values: Path | None) -> None:
    """A server-side dry run with strict validation: Kubernetes' own schemas, admission and Pod Security."""
    flags = ("--values", str(values)) if values else ()
    forget_definition(monitored)
    made = documents(chart("template", RELEASE, str(CHART), "-n", "failover-system", *flags))
    printed = kubectl(monitored, "create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=json.dumps(_listed(made)))
    assert len(printed.splitlines()) == len(made)
    assert all(line.endswith("created (server dry run)") for line in printed.splitlines()), printed


def test_the_strict_validation_would_notice(chart: Helm, monitored: ControlPlane) -> None:
    """It refuses a misspelt field, so the test above can fail."""
    made = chart.template()
    next(one for one in made if one["kind"] == "Deployment")["spec"]["replica"] = 2
    with pytest.raises(AssertionError, match='unknown field "replica"'):
        kubectl(monitored, "create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=json.dumps(_listed(made)))


def _listed(made: list[Object]) -> Object:
    return {"apiVersion": "v1", "kind": "List", "items": made}


@pytest.fixture
def release(helm: Path, monitored: ControlPlane, tmp_path: Path) -> Iterator[Helm]:
    """The chart, installed into a namespace that enforces Pod Security, on a node that starts its pods."""
    space = INSTALLATION.namespace
    label = "pod-security.kubernetes.io/enforce=restricted"
    kubectl(monitored, "create", "namespace", space)
    kubectl(monitored, "label", "namespace", space, label)
    forget_definition(monitored)
    session = monitored.patient_session()
    runner = Helm(helm, tmp_path, monitored)
    with Kubelet(session) as kubelet:
        kubelet.register("chart-node", {}, {"cpu": "4", "memory": "8Gi", "pods": "20"})
        try:
            runner("install", RELEASE, str(CHART), "-n", space, "--wait", "--timeout", "60s")
            yield runner
        finally:
            runner.run("uninstall", RELEASE, "-n", space, "--wait")
            forget_definition(monitored)
            kubelet.remove("chart-node")
            kubectl(monitored, "delete", "namespace", space)
    session.close()


def _state(plane: ControlPlane) -> dict[str, int]:
    deployment = json.loads(kubectl(plane, "-n", INSTALLATION.namespace, "get", "deployment", RELEASE, "-o", "json"))
    return {"wanted": deployment["spec"]["replicas"], "ready": deployment["status"].get("readyReplicas", 0)}


def test_install_upgrade_and_uninstall(release: Helm, monitored: ControlPlane) -> None:
    """Two replicas become ready under `restricted`; an upgrade to the dry run removes all write permissions; nothing is left behind."""
    space = INSTALLATION.namespace
    assert _state(monitored) == {"wanted": 2, "ready": 2}
    assert "Succeeded" in release("test", RELEASE, "-n", space, "--timeout", "60s")
    flags = ("--set", "dryRun=true", "--set", "applications.namespaces={default}")
    notes = release("upgrade", RELEASE, str(CHART), "-n", space, "--wait", "--timeout", "60s", *flags)
    assert "as a dry run" in notes
    assert "It may work in: default." in notes
    assert _state(monitored) == {"wanted": 1, "ready": 1}
    for verb, what, where in (
        ("patch", "ingresses.networking.k8s.io", "default"),
        ("create", "configmaps", space),
        ("update", "leases", space),
    ):
        assert _may(monitored, verb, what, where) == "no"
    assert _may(monitored, "list", "ingresses.networking.k8s.io", "default") == "yes"
    release("rollback", RELEASE, "1", "-n", space, "--wait", "--timeout", "60s")
    assert _state(monitored) == {"wanted": 2, "ready": 2}
    assert _may(monitored, "list", "ingresses.networking.k8s.io", "default") == "no"
    release("uninstall", RELEASE, "-n", space, "--wait")
    kinds = "pod,deploy,svc,sa,cm,role,rolebinding,clusterrole,clusterrolebinding,pdb,networkpolicy"
    left = kubectl(monitored, "get", kinds, "-A", "-l", f"app.kubernetes.io/instance={RELEASE}", "-o", "name")
    assert left == ""
    assert kubectl(monitored, "get", "crd", "nodepools.karpenter.sh", "-o", "name"), "the cluster's own kinds stay"


def _may(plane: ControlPlane, verb: str, what: str, where: str) -> str:
    """Whether the API server allows the controller's ServiceAccount a request: yes or no."""
    review: dict[str, Any] = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": INSTALLATION.user,
            "resourceAttributes": {
                "verb": verb,
                "resource": what.partition(".")[0],
                "group": what.partition(".")[2],
                "namespace": where,
            },
        },
    }
    answer = json.loads(kubectl(plane, "create", "-o", "json", "-f", "-", stdin=json.dumps(review)))
    return "yes" if answer["status"]["allowed"] else "no"


class ReleasedStack(Stack):
    """An application whose controller the chart installed."""

    release: Helm

    def grant(self) -> None:
        """Grants it the namespace, as the chart's users do."""
        flags = ("--reuse-values", "--set", f"applications.namespaces={{{self.namespace}}}")
        self.release("upgrade", RELEASE, str(CHART), "-n", self.installation.namespace, *flags)

    def revoke(self) -> None:
        """Takes that away."""
        self.release("upgrade", RELEASE, str(CHART), "-n", self.installation.namespace, "--reset-values")


def test_the_installed_account_suffices_and_has_nothing_to_spare(
    release: Helm, monitored: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """All functions under the chart's ServiceAccount use exactly what the plain manifests grant."""
    stack = ReleasedStack(monitored, namespace, tmp_path, INSTALLATION)
    stack.release = release
    with stack:
        used, allowed = whole_life(stack), usable()
    assert sorted(map(str, used ^ allowed)) == []
    stack.revoke()
    assert _may(monitored, "list", "pods", namespace) == "no"
    with pytest.raises(NotFound):
        monitored.session().request(
            "GET", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings/{INSTALLATION.namespace}-{RELEASE}"
        )


def test_helm_waits_for_replicas_that_never_start(release: Helm, monitored: ControlPlane) -> None:
    """`--wait` can fail here: pods without a node are not ready."""
    done = release.run(
        "upgrade", RELEASE, str(CHART), "-n", INSTALLATION.namespace, "--wait", "--timeout", "5s", "--set", "nodeSelector.none=here"
    )
    assert done.returncode != 0
    wait_for("two old replicas", lambda: _state(monitored)["ready"] == 2)
