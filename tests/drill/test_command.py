"""`failoverctl drill` as a person runs it: what it shows first, what it refuses, and what it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from controller.cli.main import main
from controller.clients.kube import connect
from controller.clock import SystemClock, format_rfc3339
from controller.policy.model import Memory, Mode
from controller.ports import StoredMemory
from controller.service.status import NAME
from controller.service.store import ConfigMapStore
from failover_testbed.aws.server import EmulatedAws
from failover_testbed.cluster import manifests
from failover_testbed.demo.play import environment_variables
from failover_testbed.kube_api import EmulatedKubeApi, Identity
from tests.drill.drills import ROLE
from tests.support.applications import application
from tests.support.cluster import write_application
from tests.support.healthy import Healthy
from tests.support.node_pools import restrict

APP = application()
STATE = "failover-system"
POOL = APP.units[0].node_pool
NEEDED = ("--url", "http://127.0.0.1:1/", "--karpenter-role", ROLE, "--fis-role", f"{ROLE}-fis", "--zone", "us-west-2a")


class Stage:
    """A cluster whose controller publishes, and an account with FIS."""

    def __init__(self, api: EmulatedKubeApi, aws: EmulatedAws, folder: Path) -> None:
        self.api, self.aws, self._folder = api, aws, folder

    def publish(self, mode: Mode, at: float) -> None:
        """What a controller published at a time."""
        session = connect(kubeconfig=str(self.api.kubeconfig("admin", self._folder / "kubeconfig")))
        ConfigMapStore(session, STATE).save(APP.key, Memory(mode=mode), over=StoredMemory(Memory(), "", 0), epoch=1)
        session.close()
        status = {"metadata": {"name": NAME, "namespace": STATE}, "data": {"status": json.dumps({"at": format_rfc3339(at)})}}
        self.api.store.create("ConfigMap", status)

    def drill(self, *words: str) -> Result:
        """Runs the command."""
        file = write_application(self._folder)
        common = ["--kubeconfig", str(self.api.kubeconfig("admin", self._folder / "kubeconfig")), "--applications", str(file)]
        return CliRunner().invoke(main, ["drill", *common, *words], catch_exceptions=False)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with EmulatedKubeApi(SystemClock(), tokens={"admin": Identity("admin")}) as api, EmulatedAws() as aws:
        Healthy(APP).create(api.store)
        for name in dict.fromkeys(unit.node_pool for unit in APP.units):
            api.store.create("NodePool", manifests.node_pool(name, ("inf2.xlarge",), {}))
        restrict(api.store, POOL, "us-west-2a")
        with environment_variables(aws.environment()):
            yield Stage(api, aws, tmp_path)


def test_without_yes_it_shows_the_drill_and_begins_nothing(stage: Stage) -> None:
    stage.publish(Mode.COST, SystemClock().now())
    done = stage.drill(*NEEDED)
    assert done.exit_code == 1
    assert '"actionId": "aws:ec2:api-insufficient-instance-capacity-error"' in done.stderr
    assert f"Karpenter's role: {ROLE}\nStop conditions: none\n" in done.stderr
    assert "takes at most 1.00 USD" in done.stderr
    assert f"EC2 refuses nodes of {APP.units[0].name}: NodePool {POOL} asks in us-west-2a\n" in done.stderr
    assert f"EC2 does not refuse nodes of {APP.units[1].name}: NodePool {APP.units[1].node_pool} asks in every zone\n" in done.stderr
    assert "begin the drill with --yes" in done.stderr
    assert "have left nothing" in stage.drill("--check-left").stdout


def test_nodepools_of_several_zones_are_refused_in_spite_of_yes(stage: Stage) -> None:
    stage.publish(Mode.COST, SystemClock().now())
    restrict(stage.api.store, POOL, "us-west-2a", "us-west-2b")
    done = stage.drill(*NEEDED, "--yes")
    assert done.exit_code == 1
    assert f"found NodePool {POOL} asks in us-west-2a, us-west-2b; " in done.stderr
    assert f"give NodePool {POOL} the requirement topology.kubernetes.io/zone In [us-west-2a] while the drill runs" in done.stderr
    assert stage.aws.fis.zones() == ()


def test_capacity_mode_is_refused_in_spite_of_yes(stage: Stage) -> None:
    stage.publish(Mode.CAPACITY, SystemClock().now())
    done = stage.drill(*NEEDED, "--yes")
    assert done.exit_code == 1
    assert f"found {APP.key} in capacity mode" in done.stderr
    assert stage.aws.fis.zones() == ()


def test_a_cluster_without_a_running_controller_is_refused(stage: Stage) -> None:
    stage.publish(Mode.COST, SystemClock().now() - 86_400)
    done = stage.drill(*NEEDED, "--yes")
    assert done.exit_code == 1
    assert "no controller runs here" in done.stderr


def test_what_is_missing_is_named(stage: Stage) -> None:
    done = stage.drill("--url", "http://127.0.0.1:1/")
    assert done.exit_code == 1
    assert "--karpenter-role, --fis-role, --zone: found nothing" in done.stderr


def test_what_is_left_is_shown_and_ended_with_yes(stage: Stage) -> None:
    template = {"roleArn": ROLE, "tags": {"failoverctl-drill": APP.key}, "description": "d", "stopConditions": [{"source": "none"}]}
    stage.aws.client("fis").create_experiment_template(**template, actions={})
    shown = stage.drill("--check-left")
    assert (shown.exit_code, shown.stdout) == (2, f"Drills of {APP.key} have left template EXT1. End it with --yes.\n")
    assert stage.drill("--check-left", "--yes").exit_code == 0
    assert stage.drill("--check-left").exit_code == 0
