"""A bare laptop: a kubeconfig and no file. The applications are the cluster's own objects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from controller.cli.main import main
from controller.clients.kube import FAILOVER_APPLICATIONS, MERGE_PATCH
from controller.clock import SystemClock
from controller.routing.annotations import PINNED_MODE
from failover_testbed.kube_api import Identity
from tests.support.cluster import NAMESPACE, Cluster, application_document, write_application

ENVIRONMENT = {"FAILOVERCTL_AWS__APIS": "[]", "FAILOVERCTL_AWS__REGION": "us-west-2"}
KIND = "failoverapplications"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A healthy application in real time, and its object."""
    made = Cluster(SystemClock())
    _create(made)
    yield made
    made.close()


def _create(cluster: Cluster, namespace: str = NAMESPACE, name: str = "sd21", **spec: Any) -> None:
    made = application_document()
    made["metadata"] = {"name": name, "namespace": namespace, "labels": {"team": "images"}, "annotations": {"a": "b"}}
    made["spec"] |= spec
    cluster.store.create("FailoverApplication", made)


def _run(cluster: Cluster, folder: Path, *words: str, token: str = "controller", namespace: str = "default") -> Result:
    kubeconfig = cluster.api.kubeconfig(token, folder / f"{token}.kubeconfig", namespace=namespace)
    return CliRunner().invoke(main, [words[0], "--kubeconfig", str(kubeconfig), *words[1:]], env=ENVIRONMENT, catch_exceptions=False)


@pytest.mark.parametrize("command", ["status", "plan", "explain", "history", "doctor", "weights"])
def test_a_command_needs_no_file(command: str, cluster: Cluster, tmp_path: Path) -> None:
    """The person who is paged has none. Labels, status and managed fields of the object are no faults of it."""
    result = _run(cluster, tmp_path, command)
    assert result.exit_code in {0, 2}, result.output
    assert "sd21" in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize("files", [False, True])
def test_what_the_controller_says_of_an_application_is_in_its_object(cluster: Cluster, tmp_path: Path, *, files: bool) -> None:
    """Its account and its prices, also for who names a file of it."""
    details = {"at": "2026-12-02T05:00:00Z", "mode": "cost", "ledger": {"seconds": {"cost": 60}, "savedDollars": 12.5}}
    with closing(cluster.session(tmp_path)) as session:
        path = f"{FAILOVER_APPLICATIONS.path(NAMESPACE, 'sd21')}/status"
        session.request("PATCH", path, body=json.dumps({"status": {"details": details}}), content_type=MERGE_PATCH)
    named = ["--applications", str(write_application(tmp_path))] if files else []
    assert "cost mode saved $12.50" in _run(cluster, tmp_path, "status", "sd21", *named).stdout


def test_a_pin_needs_no_file(cluster: Cluster, tmp_path: Path) -> None:
    """It goes onto the routing object that the FailoverApplication names."""
    result = _run(cluster, tmp_path, "pin", "capacity", "sd21", "--yes", "--for", "1h", "--why", "drill")
    assert result.exit_code == 0, result.output
    assert cluster.store.get("Ingress", "sd21", namespace=NAMESPACE)["metadata"]["annotations"][PINNED_MODE] == "capacity"


def test_a_file_that_is_named_comes_before_the_objects(cluster: Cluster, tmp_path: Path) -> None:
    """A change that is tried locally shows its own effect."""
    result = _run(cluster, tmp_path, "status", "--applications", str(tmp_path / "mine.yaml"))
    assert result.exit_code == 1
    assert "mine.yaml: found no file" in result.output


def test_a_team_that_may_read_its_namespace_alone_sees_its_application(cluster: Cluster, tmp_path: Path) -> None:
    """By the namespace of its context, or by -n."""
    everything_else = Identity("team", deny=lambda access: access.resource == KIND and access.namespace != NAMESPACE)
    cluster.api.admit("team", everything_else)
    assert "sd21" in _run(cluster, tmp_path, "plan", token="team", namespace=NAMESPACE).stdout
    assert "sd21" in _run(cluster, tmp_path, "plan", "-n", NAMESPACE, token="team").stdout
    refused = _run(cluster, tmp_path, "plan", token="team")
    assert refused.exit_code == 1
    words = " ".join(refused.output.split())
    assert "may not list failoverapplications.failoverctl.dev, neither in all namespaces nor in namespace default" in words
    assert "bind the ClusterRole view or failoverctl-view to you" in words


def test_an_expired_login_is_no_missing_role(cluster: Cluster, tmp_path: Path) -> None:
    """Another role would not help."""
    refused = _run(cluster, tmp_path, "status", token="expired")
    assert refused.exit_code == 1
    assert "log in again" in refused.output


def test_a_cluster_without_the_kind_says_how_to_install_it(tmp_path: Path) -> None:
    """Most first runs are against a cluster where nothing is installed."""
    cluster = Cluster(SystemClock(), without_groups=frozenset({"failoverctl.dev"}))
    refused = _run(cluster, tmp_path, "status")
    cluster.close()
    assert refused.exit_code == 1
    assert "does not know the kind FailoverApplication" in refused.output
    assert "kubectl apply --server-side -f deploy/crds/failoverapplication.yaml" in refused.output
    assert "--applications FILE" in refused.output


def test_a_cluster_without_an_application_says_so(cluster: Cluster, tmp_path: Path) -> None:
    """And is no empty list, which would look like nothing to worry about."""
    cluster.store.delete("FailoverApplication", "sd21", namespace=NAMESPACE)
    refused = _run(cluster, tmp_path, "status")
    assert refused.exit_code == 1
    assert "found no FailoverApplication in the cluster" in refused.output


def test_a_faulty_object_hides_no_other(cluster: Cluster, tmp_path: Path) -> None:
    """Another team's mistake must not end everybody's status. A command about it names every fault with its place."""
    _create(cluster, "other", "broken", units=[])
    listed = _run(cluster, tmp_path, "plan", "--json")
    assert listed.exit_code == 0, listed.output
    assert json.loads(listed.stdout)["application"] == "shop/sd21"
    assert "left out: FailoverApplication other/broken: spec.units: found" in listed.stderr
    assert _run(cluster, tmp_path, "plan", "sd21").stderr == ""
    assert _run(cluster, tmp_path, "plan", "-n", NAMESPACE).stderr == ""
    asked = _run(cluster, tmp_path, "plan", "broken")
    assert asked.exit_code == 1
    assert "FailoverApplication other/broken: spec.units: found" in asked.output


def test_of_two_that_claim_one_ingress_the_older_has_it(cluster: Cluster, tmp_path: Path) -> None:
    """As in the controller: a pin to the other one would move requests that it does not control."""
    _create(cluster, name="twin", units=application_document()["spec"]["units"][:2])
    asked = _run(cluster, tmp_path, "pin", "capacity", "twin", "--yes", "--why", "drill")
    assert asked.exit_code == 1
    assert "found Ingress shop/sd21, which the older FailoverApplication shop/sd21 has too" in asked.output
    assert _run(cluster, tmp_path, "pin", "capacity", "sd21", "--yes", "--why", "drill").exit_code == 0


def test_one_name_in_two_namespaces_is_never_guessed(cluster: Cluster, tmp_path: Path) -> None:
    """A pin would go to the wrong team; with the namespace it goes to the right one."""
    _create(cluster, "other")
    refused = _run(cluster, tmp_path, "pin", "capacity", "sd21", "--yes", "--why", "drill")
    assert refused.exit_code == 1
    assert "name one application by its namespace/name; there are: other/sd21, shop/sd21" in refused.output
    for words in (("shop/sd21",), ("sd21", "-n", NAMESPACE)):
        assert _run(cluster, tmp_path, "pin", "capacity", *words, "--yes", "--why", "drill").exit_code == 0
