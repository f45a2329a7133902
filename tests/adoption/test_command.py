"""`failoverctl init` as a person runs it: its output, exit codes, and requests to the API server."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from controller.cli.main import main
from controller.clock import SystemClock
from failover_testbed.aws.server import EmulatedAws
from failover_testbed.kube_api import EmulatedKubeApi, Identity
from tests.support import hand_built, migrated
from tests.support.applications import seed_units
from tools.permissions import reading_rules

NAMESPACE = "shop"
INGRESS = f"{NAMESPACE}/{hand_built.INGRESS}"


@pytest.fixture
def api() -> Iterator[EmulatedKubeApi]:
    """A cluster with a stack that was built by hand; no pod runs."""
    tokens = {"admin": Identity("admin"), "reader": Identity("reader", reading_rules(NAMESPACE))}
    with EmulatedKubeApi(SystemClock(), tokens=tokens) as made:
        made.store.create("Namespace", {"metadata": {"name": NAMESPACE}})
        for one in hand_built.stack(NAMESPACE):
            made.store.create(one["kind"], one, manager="kubectl")
        yield made


def _run(api: EmulatedKubeApi, folder: Path, *words: str, identity: str = "reader", **variables: str) -> Result:
    environment = {
        "FAILOVERCTL_AWS__APIS": "[]",
    }
    kubeconfig = str(api.kubeconfig(identity, folder / "kubeconfig"))
    return CliRunner().invoke(
        main, [words[0], "--kubeconfig", kubeconfig, *words[1:]], env={**environment, **variables}, catch_exceptions=False
    )


def test_the_file_goes_to_standard_output_and_the_rest_to_standard_error(api: EmulatedKubeApi, tmp_path: Path) -> None:
    """Standard output can be redirected to a file; exit code 2 means that values are missing, which are listed."""
    result = _run(api, tmp_path, "init", "--ingress", INGRESS)
    assert result.exit_code == 2
    assert yaml.safe_load(result.stdout)["spec"]["ingress"] == hand_built.INGRESS
    assert "# CloudWatch was not queried: the settings disable it." in result.stdout
    assert "The file is refused until you fix these:" in result.stderr
    assert result.stderr.count("latencySeconds: found nothing") == 5


def test_with_cloudwatch_it_is_complete_and_plan_names_what_is_missing(api: EmulatedKubeApi, tmp_path: Path) -> None:
    """The busiest period of the last day gives each latency; the plan on the file names the standby rules and prints them."""
    path, clock = tmp_path / "adopted.yaml", SystemClock()
    with EmulatedAws() as aws:
        start = clock.now() // 300 * 300
        for unit in seed_units():
            data: list[dict[str, Any]] = []
            for ago, requests, latency_s in ((3600, 30, unit.latency_s), (7200, 10, 0.01)):
                stamp = start - ago
                data.append({"MetricName": unit.counter_metric, "Value": requests, "Timestamp": stamp})
                data.append({"MetricName": unit.latency_metric, "Value": latency_s, "Timestamp": stamp})
            aws.client("cloudwatch").put_metric_data(Namespace="hw-agnostic-infer", MetricData=data)
        result = _run(
            api, tmp_path, "init", "--ingress", INGRESS, "--out", str(path), **aws.environment(), FAILOVERCTL_AWS__APIS='["cloudwatch"]'
        )
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert f"failoverctl plan --applications {path}" in result.stderr
    found = {unit["name"]: unit["latencySeconds"] for unit in yaml.safe_load(path.read_text())["spec"]["units"]}
    assert found == {unit.name: unit.latency_s for unit in seed_units()}
    plan = _run(api, tmp_path, "plan", "--applications", str(path))
    assert plan.exit_code == 0, plan.output
    assert "Standby rules to add" in plan.stdout
    assert plan.stdout.count("standby.invalid") == 6


def test_it_only_lists(api: EmulatedKubeApi, tmp_path: Path) -> None:
    """The permissions of the read-only manifests suffice: only the kinds are refused that few applications use."""
    _run(api, tmp_path, "init", "--ingress", INGRESS)
    asked = [one for one in api.audit.records() if one.user == "reader"]
    assert {one.access.verb for one in asked} == {"list"}
    refused = {one.access.resource for one in asked if one.code != HTTPStatus.OK}
    assert refused == {"statefulsets", "rollouts", "leaderworkersets"}


@pytest.mark.parametrize("wanted", ["gradio-mix-ing", "shop/", "/x", "a/b/c", ""])
def test_an_ingress_has_a_namespace_and_a_name(api: EmulatedKubeApi, tmp_path: Path, wanted: str) -> None:
    """Wrong usage is an error, not a stack trace."""
    result = _run(api, tmp_path, "init", "--ingress", wanted)
    assert (result.exit_code, "allowed: NAMESPACE/NAME" in result.stderr) == (1, True)


def test_a_missing_ingress_is_an_error_that_names_the_others(api: EmulatedKubeApi, tmp_path: Path) -> None:
    """So that a person sees the correct spelling."""
    result = _run(api, tmp_path, "init", "--ingress", "shop/sd21")
    assert result.exit_code == 1
    assert "no Ingress shop/sd21; in that namespace there are: gradio-mix-ing" in result.stderr


def test_without_an_ingress_it_lists_those_with_an_action(api: EmulatedKubeApi, tmp_path: Path) -> None:
    """Each as the command to run; an Ingress without a forward action cannot be one."""
    plain = {"metadata": {"name": "plain", "namespace": NAMESPACE}, "spec": {"ingressClassName": "alb", "rules": []}}
    api.store.create("Ingress", plain)
    result = _run(api, tmp_path, "init", identity="admin")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[1:] == [f"  failoverctl init --ingress {INGRESS}"]


def test_without_an_ingress_and_the_permission_to_list_it_says_so(api: EmulatedKubeApi, tmp_path: Path) -> None:
    """The read-only manifests allow one namespace."""
    result = _run(api, tmp_path, "init")
    assert (result.exit_code, "you may not list those of all namespaces" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"AWS_REGION": ""}, "no AWS region: set AWS_REGION"),
        ({"AWS_REGION": "us-west-2"}, "no AWS credentials: set AWS_PROFILE"),
    ],
)
def test_it_says_what_keeps_it_from_cloudwatch(
    api: EmulatedKubeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], says: str
) -> None:
    """On standard error too: it is why the values are missing."""
    for name in ("AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    nowhere = {name: str(tmp_path / "none") for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")}
    result = _run(
        api,
        tmp_path,
        "init",
        "--ingress",
        INGRESS,
        **nowhere,
        **variables,
        AWS_EC2_METADATA_DISABLED="true",
        FAILOVERCTL_AWS__APIS='["cloudwatch"]',
    )
    assert says in result.stderr


def test_the_file_and_the_plan_report_a_missing_capacity_service(api: EmulatedKubeApi, tmp_path: Path) -> None:
    """A mode change to it is refused, and the file describes how to create it."""
    api.store.delete("Service", hand_built.CAPACITY, namespace=NAMESPACE)
    result = _run(api, tmp_path, "init", "--ingress", INGRESS)
    assert "# CAPACITY MODE HAS NO SERVICE YET." in result.stdout
    values = yaml.safe_load(result.stdout)
    for unit in values["spec"]["units"]:
        unit["latencySeconds"] = 0.5
    path = tmp_path / "filled.yaml"
    path.write_text(yaml.safe_dump(values))
    plan = _run(api, tmp_path, "plan", "--applications", str(path))
    assert "there is no Service with the port gradio-mix-ing-all:80, so the controller would not change the mode" in " ".join(
        plan.stdout.split()
    )
    doctor = _run(api, tmp_path, "doctor", INGRESS, "--applications", str(path))
    assert "Service gradio-mix-ing-all does not exist" in " ".join(doctor.stdout.split())


@pytest.fixture
def routed(api: EmulatedKubeApi) -> EmulatedKubeApi:
    """The stack with a route that `lbc-migrate` made of its Ingress beside it."""
    for one in migrated.stack(NAMESPACE, standby=True, name=hand_built.INGRESS):
        if "gateway" in one["apiVersion"]:
            api.store.create(one["kind"], one, manager="kubectl")
    return api


def test_a_translated_route_gives_a_file_with_which_plan_and_doctor_work(routed: EmulatedKubeApi, tmp_path: Path) -> None:
    """It says what is left of the standby rules, and both print the two rules that take their place."""
    path = tmp_path / "adopted.yaml"
    result = _run(routed, tmp_path, "init", "--route", INGRESS, "--out", str(path), identity="admin")
    assert (result.exit_code, "NO CLIENT REACHES THE HTTPRoute" in result.stderr) == (2, True)
    values = yaml.safe_load(path.read_text())
    assert values["spec"]["route"] == {"kind": "HTTPRoute", "name": hand_built.INGRESS, "rule": "0"}
    for unit in values["spec"]["units"]:
        unit["latencySeconds"] = 0.5
    path.write_text(yaml.safe_dump(values))
    rules = [migrated.route(NAMESPACE)["spec"]["rules"][0]]
    routed.store.patch(
        "HTTPRoute", hand_built.INGRESS, {"spec": {"hostnames": None, "rules": rules}}, namespace=NAMESPACE, manager="person"
    )
    assert "NO CLIENT" not in _run(routed, tmp_path, "init", "--route", INGRESS, identity="admin").stderr
    for command in ("plan", "doctor"):
        said = _run(routed, tmp_path, command, "--applications", str(path), identity="admin")
        assert "standby-capacity" in said.stdout, said.output
        assert "standby-units" in said.stdout


def test_the_services_of_a_route_are_found_in_their_namespace(api: EmulatedKubeApi, tmp_path: Path) -> None:
    """Where rules name several namespaces, a person says which rule is the application's."""
    api.store.create("Namespace", {"metadata": {"name": "gateways"}})
    made = migrated.route(NAMESPACE, name=hand_built.INGRESS)
    live = made["spec"]["rules"][0]
    live |= {"name": "main", "backendRefs": [{**one, "namespace": NAMESPACE} for one in live["backendRefs"]]}
    other = {"name": "other", "backendRefs": [{"name": "web", "namespace": "web", "port": 80}]}
    made |= {"metadata": {"name": "edge", "namespace": "gateways"}, "spec": {**made["spec"], "rules": [live, other]}}
    del made["spec"]["rules"][0]["filters"]
    api.store.create("HTTPRoute", made, manager="kubectl")
    several = _run(api, tmp_path, "init", "--route", "gateways/edge", identity="admin")
    assert "gateways/edge: its rules name Services of namespaces shop, web; name the application's rule with --rule" in several.stderr
    result = _run(api, tmp_path, "init", "--route", "gateways/edge", "--rule", "main", identity="admin")
    values = yaml.safe_load(result.stdout)
    assert values["metadata"]["namespace"] == NAMESPACE
    assert values["spec"]["route"] == {"kind": "HTTPRoute", "name": "edge", "namespace": "gateways", "rule": "main"}
    assert all(unit["deployment"] for unit in values["spec"]["units"])
    assert "failoverctl init --route gateways/edge" in _run(api, tmp_path, "init", identity="admin").stderr


def test_an_ingress_and_a_route_at_once_are_refused(api: EmulatedKubeApi, tmp_path: Path) -> None:
    """Before anything is read. The option of the other kind is refused too."""
    both = _run(api, tmp_path, "init", "--ingress", INGRESS, "--route", INGRESS)
    assert (both.exit_code, "--ingress and --route: name one of them" in both.stderr) == (1, True)
    other = _run(api, tmp_path, "init", "--ingress", INGRESS, "--rule", "main")
    assert (other.exit_code, "--rule: only with --route" in other.stderr) == (1, True)


def test_a_missing_route_is_an_error_that_names_the_others(routed: EmulatedKubeApi, tmp_path: Path) -> None:
    """Of both kinds."""
    result = _run(routed, tmp_path, "init", "--route", "shop/sd21", identity="admin")
    assert "no HTTPRoute or GRPCRoute shop/sd21; in that namespace there are: gradio-mix-ing" in result.stderr


def test_without_a_name_routes_are_listed_too(routed: EmulatedKubeApi, tmp_path: Path) -> None:
    """Each with the option that names it."""
    result = _run(routed, tmp_path, "init", identity="admin")
    assert result.stderr.splitlines()[1:] == [f"  failoverctl init --{one} {INGRESS}" for one in ("ingress", "route")]


# --- an application file for the Ingress becomes one for the route ------------------------------------------------------------------------


def _file(folder: Path, **policy: object) -> Path:
    """The application file of the Ingress, with comments of a person and a named port."""
    document = hand_built.application_document(NAMESPACE)
    document["spec"]["policy"] |= policy
    document["spec"]["capacityService"]["port"] = "web"
    lines = ["# ours, do not touch", *yaml.safe_dump(document, sort_keys=False).splitlines()]
    path = folder / "ingress.yaml"
    path.write_text("\n".join(f"{line}  # agreed with Ana" if "pricePerHour" in line else line for line in lines) + "\n")
    return path


def _named_port(api: EmulatedKubeApi) -> None:
    ports = [{"name": "web", "port": 80, "targetPort": 8000}]
    api.store.patch("Service", hand_built.CAPACITY, {"spec": {"ports": ports}}, namespace=NAMESPACE, manager="person")


def test_a_file_for_the_ingress_becomes_one_for_the_route(routed: EmulatedKubeApi, tmp_path: Path) -> None:
    """Only the lines that name the routing object, the stickiness and a named port change; comments stay."""
    path, out = _file(tmp_path, patienceSeconds=7), tmp_path / "route.yaml"
    _named_port(routed)
    result = _run(routed, tmp_path, "init", "--route", INGRESS, "--from", str(path), "--out", str(out), identity="admin")
    assert result.exit_code == 0, result.output
    before, after = path.read_text().splitlines(), out.read_text().splitlines()
    gone, new = [one for one in before if one not in after], [one for one in after if one not in before]
    assert [one.strip() for one in gone] == [
        "ingress: gradio-mix-ing",
        "action: weighted-routing",
        "port: web",
        "stickinessCostSeconds: 200",
    ]
    assert [one.strip() for one in new] == ["route: {kind: HTTPRoute, name: gradio-mix-ing, rule: '0'}", "port: 80"]
    assert len(after) == len(before) - 2
    assert "stickinessCostSeconds and stickinessCapacitySeconds are left out" in result.stderr
    assert "MODE" not in result.stderr
    assert "memory" not in result.stderr


def test_a_policy_with_nothing_but_stickiness_goes_alone(routed: EmulatedKubeApi, tmp_path: Path) -> None:
    """What follows it stays, and so does a comment in between."""
    path = _file(tmp_path)
    _named_port(routed)
    policy, rest = "  policy:\n    stickinessCostSeconds: 200  # as ever\n", "  # the units, fastest first\n  units:\n"
    path.write_text(path.read_text().replace("  policy:\n    stickinessCostSeconds: 200\n", "").replace("  units:\n", policy + rest))
    result = _run(routed, tmp_path, "init", "--route", INGRESS, "--from", str(path), identity="admin")
    assert result.exit_code == 0, result.output
    assert rest in result.stdout
    assert "policy" not in result.stdout
    assert len(result.stdout.splitlines()) == len(path.read_text().splitlines()) - 3


def test_a_file_that_is_no_application_is_an_error(routed: EmulatedKubeApi, tmp_path: Path) -> None:
    """Not a stack trace."""
    path = tmp_path / "broken.yaml"
    for content in (b"a: [", b"\xff\xfe", b"kind: Application\n"):
        path.write_bytes(content)
        result = _run(routed, tmp_path, "init", "--route", INGRESS, "--from", str(path), identity="admin")
        assert (result.exit_code, "broken.yaml" in result.stderr) == (1, True), result.output


def test_what_the_route_lacks_of_the_ingress_is_said(routed: EmulatedKubeApi, tmp_path: Path) -> None:
    """Its name, its mode, and its overrides, with the command that sets them."""
    _named_port(routed)
    pinned = {"failoverctl.dev/pinned-mode": "capacity", "failoverctl.dev/pin-reason": "Bo's drill"}
    ingress = hand_built.ingress(NAMESPACE, capacity=True)["metadata"]["annotations"]
    routed.store.patch(
        "Ingress", hand_built.INGRESS, {"metadata": {"annotations": {**ingress, **pinned}}}, namespace=NAMESPACE, manager="person"
    )
    routed.store.create("HTTPRoute", migrated.route(NAMESPACE), manager="kubectl")
    path = _file(tmp_path)
    result = _run(routed, tmp_path, "init", "--route", f"{NAMESPACE}/{migrated.ROUTE}", "--from", str(path), identity="admin")
    assert result.exit_code == 0, result.output
    assert "policy:" not in result.stdout
    assert "the controller begins without memory and history" in result.stderr
    assert "THE INGRESS IS IN capacity MODE AND THE HTTPRoute IN cost MODE" in result.stderr
    command = f"kubectl annotate -n shop httproutes.gateway.networking.k8s.io {migrated.ROUTE} failoverctl.dev/pinned-mode=capacity"
    assert f"{command} 'failoverctl.dev/pin-reason=Bo'\"'\"'s drill'" in result.stderr


def test_an_ingress_whose_mode_is_unknown_does_not_keep_the_file_from_being_made(routed: EmulatedKubeApi, tmp_path: Path) -> None:
    """Where its action is broken, or it is gone already."""
    _named_port(routed)
    annotations = {"alb.ingress.kubernetes.io/actions.weighted-routing": "{"}
    routed.store.patch("Ingress", hand_built.INGRESS, {"metadata": {"annotations": annotations}}, namespace=NAMESPACE, manager="person")
    words = ("init", "--route", INGRESS, "--from", str(_file(tmp_path)))
    result = _run(routed, tmp_path, *words, identity="admin")
    assert (result.exit_code, "The mode of the Ingress is not known (action weighted-routing" in result.stderr) == (0, True)
    routed.store.delete("Ingress", hand_built.INGRESS, namespace=NAMESPACE)
    result = _run(routed, tmp_path, *words, identity="admin")
    assert (result.exit_code, "Ingress gradio-mix-ing cannot be read" in result.stderr) == (0, True)


def test_a_file_needs_a_route_and_an_application_with_an_ingress(routed: EmulatedKubeApi, tmp_path: Path) -> None:
    """Otherwise there is nothing to change."""
    path = _file(tmp_path)
    assert "--from: only with --route" in _run(routed, tmp_path, "init", "--from", str(path), identity="admin").stderr
    path.write_text(path.read_text().replace("namespace: shop", "namespace: other"))
    result = _run(routed, tmp_path, "init", "--route", INGRESS, "--from", str(path), identity="admin")
    assert "wanted is an application with an Ingress in namespace shop, found none" in result.stderr
