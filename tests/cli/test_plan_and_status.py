"""`plan` and `status` as a person runs them, beside the running controller."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from controller.cli.main import main
from controller.clients.kube import Object
from controller.clock import SystemClock
from controller.policy.model import Memory, Mode, ModeChange, Target
from controller.policy.reasons import Reason
from controller.ports import StoredMemory
from controller.routing.annotations import MARKER
from controller.routing.ingress.action import format_action
from controller.service.store import ConfigMapStore
from failover_harness.waiting import wait_for
from failover_testbed.kube_api import Identity
from tests.support.cluster import ACTION, KIND, NAMESPACE, Cluster, application_document, make_service, running, write_application

ENVIRONMENT = {
    "FAILOVERCTL_AWS__APIS": "[]",
    "FAILOVERCTL_AWS__REGION": "us-west-2",
}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A healthy application in real time: the command line has no other."""
    made = Cluster(SystemClock())
    yield made
    made.close()


def _run(cluster: Cluster, folder: Path, *words: str, token: str = "reader") -> Result:
    kubeconfig = cluster.api.kubeconfig(token, folder / f"cli-{token}.kubeconfig")
    common = ["--kubeconfig", str(kubeconfig), "--applications", str(folder / "sd21.yaml")]
    return CliRunner().invoke(main, [words[0], *common, *words[1:]], env=ENVIRONMENT, catch_exceptions=False)


def _plan(cluster: Cluster, folder: Path) -> dict[str, Any]:
    result = _run(cluster, folder, "plan", "--json")
    assert result.exit_code in {0, 2}, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_plan_under_a_read_only_identity_says_that_there_is_nothing_to_do(cluster: Cluster, tmp_path: Path) -> None:
    """Exit code 0, the reason, every unit, and not one write."""
    write_application(tmp_path)
    result = _run(cluster, tmp_path, "plan")
    assert result.exit_code == 0, result.output
    assert "No changes." in result.output
    assert "Nothing has been applied." in result.output
    assert all(name in result.output for name in ("sd21-inf2", "sd21-g6-triton", "cloudwatch absent"))
    assert {record.access.verb for record in cluster.api.audit.records() if record.user == "reader"} <= {"get", "list"}


def test_the_patches_of_plan_are_what_run_then_applies_byte_for_byte(cluster: Cluster, tmp_path: Path) -> None:
    """While the controller is patient, `plan` shows what is coming; the API server then receives exactly that."""
    write_application(tmp_path, patienceSeconds=6)
    with running(make_service(cluster, tmp_path, policy={"patienceSeconds": 6})) as service:
        wait_for("a decision", lambda: bool(service.controller.views()))
        cluster.pend("sd21-inf2", 2)
        cluster.refuse("inf2", "inf2.xlarge")
        wait_for("patience", lambda: service.controller.views()[0].decision.reason == "Patience")
        wait_for("its memory", lambda: _remembers(cluster))
        shown = _plan(cluster, tmp_path)
        assert cluster.mode() == "", "the plan must be made before the mode change"
        wait_for("capacity mode", lambda: cluster.mode() == "capacity")
        wait_for("KEDA's targets", lambda: len(cluster.patches("scaledobjects")) >= _count(shown, "scaledobjects.keda.sh"))
    assert shown["reason"] == "Patience"
    assert [a["body"] for a in shown["coming"] if a["kind"] == "route"] == cluster.patches("ingresses")
    coming = [a["body"] for a in shown["coming"] if a["resource"] == "scaledobjects.keda.sh" and not a["deferred"]]
    sent = sorted(set(coming))  # floor and target of one object go out together, and both show the request
    assert sorted(cluster.patches("scaledobjects")[: len(sent)]) == sent, "different objects are patched side by side"


def _remembers(cluster: Cluster) -> bool:
    maps = cluster.store.list("ConfigMap", namespace="failover-system")
    return any("proven_at" in m.get("data", {}).get("memory", "") and '"units":{"' in m["data"]["memory"] for m in maps)


def _count(shown: dict[str, Any], resource: str) -> int:
    return len({a["name"] for a in shown["coming"] if a["resource"] == resource and not a["deferred"]})


@pytest.mark.parametrize("command", ["plan", "status"])
def test_what_is_logged_is_no_part_of_the_output(command: str, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Karpenter's metrics cannot be reached from where a person works. The document says so, and it is all of standard output."""
    write_application(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        monkeypatch.setenv("FAILOVERCTL_KARPENTER__METRICS_URL", f"http://127.0.0.1:{closed.getsockname()[1]}/metrics")
    result = _run(cluster, tmp_path, command, "--json")
    assert result.exit_code == 0, result.output
    json.loads(result.stdout)
    assert "refused" in result.stdout
    assert result.stderr == ""


def test_plan_with_changes_exits_with_two_and_shows_the_exact_request(cluster: Cluster, tmp_path: Path) -> None:
    """A pin asks for a change now; the request is printed as it would be sent, with the command that sends it."""
    write_application(tmp_path)
    result = _run(cluster, tmp_path, "pin", "capacity", "--yes", "--for", "1h", "--why", "drill", token="controller")
    assert result.exit_code == 0, result.output
    result = _run(cluster, tmp_path, "plan", "--show-requests")
    assert result.exit_code == 2, result.output
    assert "PinnedToMode" in result.output
    assert "drill" in result.output
    assert '"failoverctl.dev/mode":"capacity"' in result.output
    assert "application/apply-patch+yaml" in result.output
    assert f"\nkubectl -n {NAMESPACE} apply --server-side --force-conflicts --field-manager " in result.output


def test_a_pause_holds_everything_until_it_is_lifted(cluster: Cluster, tmp_path: Path) -> None:
    """The controller reads the annotation and never writes it."""
    write_application(tmp_path)
    with running(make_service(cluster, tmp_path)) as service:
        wait_for("a decision", lambda: bool(service.controller.views()))
        assert _run(cluster, tmp_path, "pause", "--yes", "--why", "maintenance", token="controller").exit_code == 0
        wait_for("the pause", lambda: service.controller.views()[0].decision.reason == "Paused")
        cluster.pend("sd21-inf2", 2)
        cluster.refuse("inf2", "inf2.xlarge")
        status = _run(cluster, tmp_path, "status")
        assert "PAUSED" in status.output
        assert "maintenance" in status.output
        assert cluster.mode() == ""
        assert _run(cluster, tmp_path, "resume", "--yes", token="controller").exit_code == 0
        wait_for("capacity mode", lambda: cluster.mode() == "capacity")


def test_a_mode_change_between_two_reads_is_not_one_by_hand(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Ingress is read some seconds before the memory, and the controller changes the mode just then: nobody has edited anything."""
    write_application(tmp_path)
    now = SystemClock().now()
    made = ModeChange(now, Mode.CAPACITY, Reason.SHORTAGE_PROVEN, "sd21-inf2 cannot get capacity")
    kept = Memory(mode=Mode.CAPACITY, mode_since=now, changed_at=now, mode_changes=(made,))
    session = cluster.session(tmp_path, "controller")
    ConfigMapStore(session, "failover-system").save(f"{NAMESPACE}/sd21", kept, over=StoredMemory(Memory(), "", 0), epoch=1)
    read = ConfigMapStore.found

    def found(store: ConfigMapStore, application: str) -> Object | None:
        if not cluster.mode():
            annotations = {MARKER: "capacity", ACTION: format_action((Target("sd21-all", 80, 1),), 0)}
            cluster.store.patch("Ingress", "sd21", {"metadata": {"annotations": annotations}}, namespace=NAMESPACE)
        return read(store, application)

    monkeypatch.setattr(ConfigMapStore, "found", found)
    document = json.loads(_run(cluster, tmp_path, "status", "--json").stdout)
    assert document["mode"] == "capacity"
    assert [one["reason"] for one in document["flips"]] == ["ShortageProven"]


def test_status_shows_units_history_and_notifiers(cluster: Cluster, tmp_path: Path) -> None:
    """One page: mode, weights, replicas, evidence, last mode changes and the health of the sinks."""
    write_application(tmp_path)
    with running(make_service(cluster, tmp_path)) as service:
        wait_for("a status in the object", lambda: "details" in cluster.store.get(KIND, "sd21", namespace=NAMESPACE).get("status", {}))
        cluster.pend("sd21-inf2", 2)
        cluster.refuse("inf2", "inf2.xlarge")
        wait_for("capacity mode", lambda: cluster.mode() == "capacity" and service.controller.views()[0].mode is Mode.CAPACITY)
        wait_for("the published status", lambda: "notifier events" in _run(cluster, tmp_path, "status").output)
        text = _run(cluster, tmp_path, "status").output
        document = json.loads(_run(cluster, tmp_path, "status", "--json").stdout)
    assert "sd21  CAPACITY" in text
    assert "ShortageProven" in text
    assert document["mode"] == "capacity"
    assert document["weights"] == {"sd21-all": 1}
    assert document["units"]["sd21-inf2"]["shortage"] == "proven"
    assert document["flips"][0]["to"] == "capacity"
    shown = document["controller"]["applications"]
    assert list(shown) == ["shop/sd21"], "of the application alone, however many there are"
    assert "ledger" in shown["shop/sd21"], "and its account"


def test_status_says_where_the_cluster_has_another_application_than_is_read_here(cluster: Cluster, tmp_path: Path) -> None:
    """One that was never applied, another generation, or one that is refused: all else shown is what would be done with this file."""
    document = application_document()

    def shown() -> str:
        (tmp_path / "sd21.yaml").write_text(yaml.safe_dump(document))
        found = json.loads(_run(cluster, tmp_path, "status", "--json").stdout.splitlines()[-1])  # the service of this process may log
        if found["controllerDifference"] is not None:
            assert f"✖ {found['controllerDifference']}" in " ".join(_run(cluster, tmp_path, "status").output.split())
        return str(found["controllerDifference"])

    with running(make_service(cluster, tmp_path)):
        write_application(tmp_path)
        wait_for("the published status", lambda: "notifier events" in _run(cluster, tmp_path, "status").output)
        assert shown() == "None"
        document["spec"]["policy"]["patienceSeconds"] = 1
        assert shown() == "the FailoverApplication shop/sd21 has another content than is read here; apply this with kubectl"
    refused = {"type": "Accepted", "status": "False", "reason": "Invalid", "message": "spec.units: none"}
    cluster.store.update_status(KIND, "sd21", {"conditions": [refused]}, namespace=NAMESPACE)
    assert shown() == "the controller refuses the FailoverApplication shop/sd21: spec.units: none"
    cluster.store.delete(KIND, "sd21", namespace=NAMESPACE)
    assert shown() == "the cluster has no FailoverApplication shop/sd21; apply it with kubectl"


def test_status_says_why_what_the_controller_published_cannot_be_read(tmp_path: Path) -> None:
    """Without the permission it runs all the same."""
    cluster = Cluster(SystemClock(), identity=Identity("controller", deny=lambda access: access.resource == "configmaps"))
    try:
        write_application(tmp_path)
        text = " ".join(_run(cluster, tmp_path, "status", token="controller").output.split())
    finally:
        cluster.close()
    assert "? its status cannot be read: " in text
    assert "no controller has published" not in text


def test_plan_and_status_say_what_keeps_keda_from_scaling(cluster: Cluster, tmp_path: Path) -> None:
    """A pause, and a metric that it cannot read: below the unit, for people and for machines; the second is an alert as well."""
    write_application(tmp_path)
    annotations = {"autoscaling.keda.sh/paused": "true"}
    cluster.store.patch("ScaledObject", "sd21-trn1-hpa", {"metadata": {"annotations": annotations}}, namespace=NAMESPACE)
    status = {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Fallback", "status": "True"}]}
    cluster.store.update_status("ScaledObject", "sd21-inf2-hpa", status, namespace=NAMESPACE)
    paused = "ScaledObject sd21-trn1-hpa is paused by an operator: nothing adds replicas"
    blind = "ScaledObject sd21-inf2-hpa: KEDA cannot read its metric and keeps to its fallback"
    for words in ("plan", "status"):
        shown = " ".join(_run(cluster, tmp_path, words).output.split())  # however it is wrapped
        assert f"⚠ {paused}" in shown
        assert f"⚠ {blind}" in shown
        why = "its replicas do not follow the demand, so requests wait or idle replicas cost money"
        assert f"sd21-inf2: {why}. Repair {blind}" in shown
    evidence = _plan(cluster, tmp_path)["evidence"]
    assert [evidence[unit]["scaler"] for unit in ("sd21-trn1", "sd21-inf2", "sd21-g5-cuda")] == [paused, blind, None]
    units = json.loads(_run(cluster, tmp_path, "status", "--json").stdout)["units"]
    assert [units[unit]["scaler"] for unit in ("sd21-trn1", "sd21-inf2", "sd21-g5-cuda")] == [paused, blind, None]


def test_a_missing_standby_rule_refuses_the_mode_change_with_its_reason(tmp_path: Path) -> None:
    """Without standby rules the mode change would cause 503s until the first health check: `plan` says so, nothing is changed."""
    cluster = Cluster(SystemClock(), standby=False)
    try:
        write_application(tmp_path)
        with running(make_service(cluster, tmp_path)) as service:
            wait_for("a decision", lambda: bool(service.controller.views()))
            cluster.pend("sd21-inf2", 2)
            cluster.refuse("inf2", "inf2.xlarge")
            wait_for("the refusal", lambda: service.controller.views()[0].decision.reason == "UnsafeSwitch")
            shown = _plan(cluster, tmp_path)
        assert shown["reason"] == "UnsafeSwitch"
        assert "no standby rule keeps sd21-all registered" in shown["why"]
        assert cluster.patches() == []
        assert "UnsafeSwitch" in cluster.events()
    finally:
        cluster.close()


def test_an_unknown_application_is_an_error_that_names_those_there_are(cluster: Cluster, tmp_path: Path) -> None:
    """Exit code 1, no traceback."""
    write_application(tmp_path)
    result = _run(cluster, tmp_path, "plan", "other")
    assert result.exit_code == 1
    assert f"there are: {NAMESPACE}/sd21" in result.output


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("plan", "--bogus"), id="an unknown option"),
        pytest.param(("pause", "--for", "0s", "--why", "x"), id="no time at all"),
        pytest.param(("pause", "--for", "99999999d", "--why", "x"), id="longer than a year"),
        pytest.param(("pause", "--for", "1h", "--why", " "), id="no reason"),
        pytest.param(("status", "--until", "capacity", "--timeout", "nan"), id="no number: it would wait for ever"),
        pytest.param(("status", "--until", "capacity", "--timeout", "inf"), id="no end"),
    ],
)
def test_wrong_usage_exits_with_one(cluster: Cluster, tmp_path: Path, words: tuple[str, ...]) -> None:
    """Two means "there are changes": a typo must not read as a pending switch."""
    write_application(tmp_path)
    assert _run(cluster, tmp_path, *words, token="controller").exit_code == 1
