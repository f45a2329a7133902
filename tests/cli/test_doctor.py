"""`doctor` as a person runs it: report, exit codes, what it asks the API server for, and what it prints to be applied."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from controller.cli.main import main
from controller.clients.kube import APPLY_PATCH, INGRESSES, JSON_PATCH, SCALED_OBJECTS, SERVICES, TARGET_GROUP_BINDINGS, connect
from controller.clock import SystemClock
from controller.routing.names import PREFIX, action_key
from failover_setup.cli.doctor import report_document, report_lines
from failover_setup.doctor.checks import CHECKS, examine
from failover_testbed.kube_api import READ_ONLY, EmulatedKubeApi, Identity
from tests.support.applications import application
from tests.support.cluster import NAMESPACE, write_application
from tests.support.healthy import Healthy
from tools.permissions import reading_rules

REPORT = Path(__file__).parent / "doctor.txt"
ENVIRONMENT = {
    "FAILOVERCTL_AWS__APIS": "[]",
}


@pytest.fixture
def api() -> Iterator[EmulatedKubeApi]:
    """An empty cluster with three kinds of users."""
    tokens = {
        "admin": Identity("admin"),
        "reader": Identity("reader", READ_ONLY),
        "manifests": Identity("manifests", reading_rules(NAMESPACE)),
    }
    with EmulatedKubeApi(SystemClock(), tokens=tokens) as made:
        yield made


def run(api: EmulatedKubeApi, folder: Path, *words: str, token: str = "reader", **more: Any) -> Result:
    """Runs a command under an identity."""
    kubeconfig = api.kubeconfig(token, folder / f"{token}.kubeconfig")
    common = ["--kubeconfig", str(kubeconfig), "--applications", str(write_application(folder))]
    env = {**ENVIRONMENT, **more.pop("env", {})}
    return CliRunner().invoke(main, [words[0], *common, *words[1:]], env=env, catch_exceptions=False, **more)


def of_application(command: str) -> tuple[str, ...]:
    """The command for the application alone: the cluster's components are the business of test_doctor_cluster.py."""
    return (command, "sd21")


def printed_patch(text: str) -> list[dict[str, Any]]:
    """The operations in the command that was printed."""
    head, _, rest = text.partition("--type json --patch-file /dev/stdin <<'END'\n")
    assert head.endswith(f"\nkubectl -n {NAMESPACE} patch ingress sd21 ")
    operations: list[dict[str, Any]] = yaml.safe_load(rest.partition("\nEND\n")[0])
    return operations


# --- the report -------------------------------------------------------------------------------------------------------------------------


def _faulty() -> Healthy:
    made = Healthy(application(), standby=False)
    made.annotations[f"{PREFIX}/healthcheck-path"] = "/health"
    made.event("FailedBuildModel", 'Failed build model due to ingress: shop/sd21: Service "nope" not found')
    made.unreadable = {SCALED_OBJECTS.name: f"{SCALED_OBJECTS.name} is not installed"}
    return made


def test_a_whole_report_reads_as_it_should() -> None:
    """At 80 columns, the worst first; every level with icon and word, and nothing but the command is wider."""
    lines = [text for _, text in report_lines(examine(_faulty().observed()), 80)]
    assert "\n".join(lines) == REPORT.read_text(), "see the difference, then write the file again"
    assert all(len(line) <= 80 for line in lines if not line.startswith(("kubectl ", "- {")))


def test_the_json_document_has_a_stable_shape() -> None:
    """Scripts read it."""
    document = report_document(examine(_faulty().observed()))
    assert {key: type(value) for key, value in json.loads(json.dumps(document)).items()} == {
        "application": str,
        "observedAt": str,
        "routingStyle": str,
        "counts": dict,
        "checks": list,
        "standbyPatch": list,
        "standbyWaits": list,
    }
    assert document["counts"] == {"problem": 2, "warning": 1, "unknown": 2, "ok": 20}
    assert {tuple(one) for one in document["checks"]} == {("check", "level", "seen", "why", "fix")}
    assert [one["check"] for one in document["checks"]] == [check.name for check in CHECKS if check.applies("Ingress", exists=True)]


def test_colour_only_repeats_what_is_written(api: EmulatedKubeApi, tmp_path: Path) -> None:
    """It is there on a terminal, and not where NO_COLOR is set; icon and word are always there."""
    Healthy(application()).create(api.store)
    coloured = run(api, tmp_path, "doctor", color=True).output
    plain = run(api, tmp_path, "doctor", color=True, env={"NO_COLOR": "1"}).output
    assert "\x1b[" in coloured
    assert "\x1b[" not in plain
    assert "✔ ok" in plain


# --- exit codes -------------------------------------------------------------------------------------------------------------------------


def test_nothing_wrong_is_zero_and_a_problem_is_two(api: EmulatedKubeApi, tmp_path: Path) -> None:
    """A warning alone is not a problem."""
    Healthy(application()).create(api.store)
    good = run(api, tmp_path, "doctor", "sd21")
    assert (good.exit_code, "25 ok.     Nothing has been changed." in good.output) == (0, True), good.output
    api.store.patch("Ingress", "sd21", {"metadata": {"annotations": {f"{PREFIX}/healthcheck-path": None}}}, namespace=NAMESPACE)
    warned = run(api, tmp_path, "doctor", f"{NAMESPACE}/sd21")
    assert (warned.exit_code, "1 warning(s), 24 ok." in warned.output) == (0, True), warned.output
    api.store.delete("TargetGroupBinding", "k8s-sd21-all", namespace=NAMESPACE)
    bad = run(api, tmp_path, *of_application("doctor"))
    assert (bad.exit_code, "1 problem(s), 1 warning(s), 23 ok." in bad.output) == (2, True), bad.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("doctor", "other"), f"there are: {NAMESPACE}/sd21"),
        (("doctor", "--gitops", "argocd", "--output", "json"), "--gitops prints YAML"),
        (("doctor", "--gitops", "chef"), "is not one of"),
    ],
)
def test_wrong_usage_is_an_error(api: EmulatedKubeApi, tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    """One, so that it does not read as a problem of the cluster."""
    result = run(api, tmp_path, *words)
    assert result.exit_code == 1
    assert message in result.output


def test_a_cluster_that_does_not_answer_is_an_error_and_what_to_try(api: EmulatedKubeApi, tmp_path: Path) -> None:
    """Two lines: no traceback and no list of unknown things."""
    api.stop()
    result = run(api, tmp_path, *of_application("doctor"))
    assert result.exit_code == 1
    assert result.output.startswith("Error: GET /apis/networking.k8s.io/v1/namespaces/shop/ingresses: ")
    assert len(result.output.splitlines()) == 2


# --- what it may read -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["reader", "manifests"])
def test_reading_suffices_and_nothing_is_refused(api: EmulatedKubeApi, tmp_path: Path, token: str) -> None:
    """Neither to one that may read everything nor to one with exactly what the manifests of the dry run grant."""
    Healthy(application()).create(api.store)
    assert run(api, tmp_path, *of_application("doctor"), token=token).exit_code == 0
    records = [record for record in api.audit.records() if record.user == token]
    asked = [record for record in records if record.access.resource]  # all but discovery, which every client may read
    assert {(record.access.verb, record.code) for record in asked} == {("list", 200)}


def test_the_group_is_reported_as_far_as_it_may_be_read(api: EmulatedKubeApi, tmp_path: Path) -> None:
    """The Ingresses of other namespaces are read only where there is a group, and not being allowed to is no error."""
    made = Healthy(application())
    made.annotations[f"{PREFIX}/group.name"] = "web"
    made.create(api.store)
    for namespace in ("shop", "blog"):
        metadata = {"name": "other", "namespace": namespace, "annotations": {f"{PREFIX}/group.name": "web"}}
        api.store.create("Ingress", {"metadata": metadata, "spec": {"rules": []}})
    assert "shared with blog/other, shop/other" in _unwrapped(run(api, tmp_path, "doctor").output)
    partly = _unwrapped(run(api, tmp_path, "doctor", token="manifests").output)
    assert "shared with shop/other (only this namespace may be listed)" in partly


def test_the_group_of_an_ingress_class_is_that_of_its_other_ingresses(api: EmulatedKubeApi, tmp_path: Path) -> None:
    """The class says so in its IngressClassParams; of ours only the target groups show it, of the others only their class."""
    made = Healthy(application())
    for one in made.listed[TARGET_GROUP_BINDINGS.name]:
        one["metadata"]["labels"] = {"ingress.k8s.aws/stack": "web"}
    made.create(api.store)
    for name, kind, group in (("same-class", "alb", {}), ("by-name", "edge", {f"{PREFIX}/group.name": "web"}), ("neither", "edge", {})):
        metadata = {"name": name, "namespace": "shop", "annotations": group}
        api.store.create("Ingress", {"metadata": metadata, "spec": {"ingressClassName": kind, "rules": []}})
    said = _unwrapped(run(api, tmp_path, "doctor").output)
    assert "IngressGroup web, which the IngressClass sets, is shared with shop/by-name, shop/same-class" in said
    assert "shop/neither" not in said


def _unwrapped(text: str) -> str:
    return " ".join(text.split())


def test_a_kind_that_is_not_installed_is_reported_as_unknown(tmp_path: Path) -> None:
    """Without KEDA and without the load-balancer controller's kinds; no problem by itself."""
    missing = frozenset({"keda.sh", "elbv2.k8s.aws"})
    with EmulatedKubeApi(SystemClock(), tokens={"reader": Identity("reader", READ_ONLY)}, without_groups=missing) as api:
        made = Healthy(application())
        made.listed[SCALED_OBJECTS.name] = made.listed[TARGET_GROUP_BINDINGS.name] = []
        made.create(api.store)
        result = run(api, tmp_path, *of_application("doctor"), "--output", "json")
    document = json.loads(result.output)
    unknown = {one["check"]: one["seen"] for one in document["checks"] if one["level"] == "unknown"}
    assert result.exit_code == 0
    assert unknown == {
        "target-group-bindings": "targetgroupbindings.elbv2.k8s.aws is not installed",
        "ingress-group": "it names no IngressGroup, and no TargetGroupBinding shows whether its IngressClass sets one",
        "quotas": "scaledobjects.keda.sh is not installed",
        "scaled-objects": "scaledobjects.keda.sh is not installed",
    }


def test_a_list_that_fails_is_reported_as_unknown(api: EmulatedKubeApi, tmp_path: Path) -> None:
    """The rest of the report is of use all the same."""
    Healthy(application()).create(api.store)
    api.fail_next(1, status=500, matcher=lambda access: access.resource == "services")
    result = run(api, tmp_path, *of_application("doctor"))
    assert result.exit_code == 0
    assert "6 cannot tell, 19 ok." in result.output, result.output


# --- what it prints to be applied -------------------------------------------------------------------------------------------------------


def _own_rules(made: Healthy) -> None:
    """An Ingress with a host, a path, a path type and a rule of its own, as people have them."""
    made.rules[0]["host"] = "sd21.example"
    made.rules[0]["http"]["paths"][0] |= {"path": "/v1", "pathType": "ImplementationSpecific"}
    made.rules.append({"host": "admin.example", "http": {"paths": [_path("/admin", "Exact")]}})
    admin = copy.deepcopy(made.one(SERVICES.name, "sd21-all"))
    admin["metadata"]["name"] = "admin"
    admin["spec"]["ports"][0] |= {"name": "web"}
    made.listed[SERVICES.name].append(admin)


def _path(path: str, kind: str) -> dict[str, Any]:
    return {"path": path, "pathType": kind, "backend": {"service": {"name": "admin", "port": {"name": "web"}}}}


def rules_of(api: EmulatedKubeApi) -> list[dict[str, Any]]:
    """The live rules."""
    rules: list[dict[str, Any]] = api.store.get("Ingress", "sd21", namespace=NAMESPACE)["spec"]["rules"]
    return rules


@pytest.mark.parametrize("command", ["doctor", "plan"])
def test_the_printed_command_adds_what_is_missing_and_touches_nothing_else(api: EmulatedKubeApi, tmp_path: Path, command: str) -> None:
    """`plan` prints it too. Applied as it stands, doctor has nothing to say of standby rules any more."""
    made = Healthy(application(), standby=False)
    _own_rules(made)
    made.create(api.store)
    before = rules_of(api)
    operations = printed_patch(run(api, tmp_path, *of_application(command)).output)
    _send(api, tmp_path, json.dumps(operations), JSON_PATCH, ())
    assert rules_of(api)[:2] == before
    assert len(rules_of(api)) == 2 + 6
    after = run(api, tmp_path, *of_application("doctor"))
    assert after.exit_code == 0, after.output
    assert "Standby rules to add" not in after.output + run(api, tmp_path, "plan").output


def test_the_printed_manifest_has_the_same_rules(api: EmulatedKubeApi, tmp_path: Path) -> None:
    """For Git; applied, nothing is missing, and a second one is only a comment."""
    made = Healthy(application(), standby=False)
    _own_rules(made)
    made.create(api.store)
    patched = run(api, tmp_path, *of_application("doctor"))
    text = run(api, tmp_path, "doctor", "--output", "yaml").output
    (document,) = yaml.safe_load_all(text)
    assert document["spec"]["rules"] == [*rules_of(api), *(one["value"] for one in printed_patch(patched.output))]
    _send(api, tmp_path, json.dumps(document), APPLY_PATCH, (("fieldManager", "git"), ("force", "true")))
    again = run(api, tmp_path, "doctor", "--output", "yaml")
    assert (again.exit_code, again.output) == (0, f"# {NAMESPACE}/sd21 lacks no standby rule\n")


def test_plan_for_machines_has_the_patch(api: EmulatedKubeApi, tmp_path: Path) -> None:
    """And an empty one where nothing is missing."""
    Healthy(application(), standby=False).create(api.store)
    shown = run(api, tmp_path, "plan", "--json")
    patch = json.loads(shown.stdout)["standbyPatch"]
    assert [one["path"] for one in patch] == ["/spec/rules/-"] * 6
    _send(api, tmp_path, json.dumps(patch), JSON_PATCH, ())
    assert json.loads(run(api, tmp_path, "plan", "--json").stdout)["standbyPatch"] == []


def _send(api: EmulatedKubeApi, folder: Path, body: str, content_type: str, query: Sequence[tuple[str, str]]) -> None:
    session = connect(kubeconfig=str(api.kubeconfig("admin", folder / "admin.kubeconfig")))
    session.request("PATCH", INGRESSES.path(NAMESPACE, "sd21"), body=body, content_type=content_type, query=query)
    session.close()


# --- GitOps -----------------------------------------------------------------------------------------------------------------------------


def _pointed(obj: Any, pointer: str) -> Any:
    """What a JSON pointer points at."""
    for key in (part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")):
        obj = obj[int(key)] if isinstance(obj, list) else obj[key]
    return obj


def _rules(tool: str, text: str) -> list[tuple[str, str, list[str]]]:
    """Kind, name and JSON pointers that a snippet ignores, once for each document."""
    found = []
    for document in yaml.safe_load_all(text):
        spec = document["spec"]
        if tool == "argocd":
            found += [(one["kind"], one["name"], one["jsonPointers"]) for one in spec["ignoreDifferences"]]
            assert spec["syncPolicy"]["syncOptions"] == ["RespectIgnoreDifferences=true", "ApplyOutOfSyncOnly=true"]
        else:
            rules = spec["ignore"] if "ignore" in spec else spec["driftDetection"]["ignore"]
            found += [(one["target"]["kind"], one["target"]["name"], one["paths"]) for one in rules]
    return found


@pytest.mark.parametrize(("tool", "documents"), [("argocd", 1), ("flux", 2)])
def test_the_snippet_points_at_the_fields_that_the_controller_writes(
    api: EmulatedKubeApi, tmp_path: Path, tool: str, documents: int
) -> None:
    """Every pointer leads to a value of an object that exists: the action, each floor, each target of the right trigger."""
    made = Healthy(application())
    other = {"type": "cron", "metadata": {"timezone": "UTC", "desiredReplicas": "3"}}
    made.one(SCALED_OBJECTS.name, "sd21-inf2-hpa")["spec"]["triggers"].insert(0, other)
    made.create(api.store)
    result = run(api, tmp_path, "doctor", "--gitops", tool)
    assert result.exit_code == 0, result.output
    assert "assumed" not in result.output
    rules = _rules(tool, result.output)
    assert len(rules) == 6 * documents
    values = {
        (kind, name, pointer): _pointed(api.store.get(kind, name, namespace=NAMESPACE), pointer)
        for kind, name, all_ in rules
        for pointer in all_
    }
    action = f"/metadata/annotations/{PREFIX}~1actions.weighted-routing"
    assert values["Ingress", "sd21", action] == made.annotations[action_key("weighted-routing")]
    assert values["ScaledObject", "sd21-inf2-hpa", "/spec/minReplicaCount"] == 1
    if tool == "flux":
        assert values["ScaledObject", "sd21-inf2-hpa", "/spec/triggers/1/metadata/targetMetricValue"] == "105"
        assert values["ScaledObject", "sd21-trn1-hpa", "/spec/triggers/0/metadata/targetMetricValue"] == "130"


@pytest.mark.parametrize("tool", ["argocd", "flux"])
def test_the_snippet_needs_no_cluster(tmp_path: Path, tool: str) -> None:
    """The application file names the objects; the snippet states its assumptions."""
    words = ["doctor", "--gitops", tool, "--applications", str(write_application(tmp_path)), "--kubeconfig", str(tmp_path / "none")]
    result = CliRunner().invoke(main, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert _rules(tool, result.output)[0][:2] == ("Ingress", "sd21")
    assert ("triggers/0 is assumed" in result.output) is (tool == "flux")
    (named,) = re.findall(r"deploy/gitops/\S+", result.output)
    assert tool in named
    assert (Path(__file__).parents[2] / named).is_file(), (
        "what tells the tool the health of the application is shipped under the name that is printed"
    )
