"""`failoverctl drill` as a person runs it: what it shows first, what it refuses, and what it ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.clock import SystemClock
from controller.policy.model import Mode
from failover_testbed.demo.drill import restrict
from tests.drill.drills import ROLE
from tests.drill.stage import APP, NEEDED, POOL, Stage, staged


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as made:
        yield made


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


def test_a_simulated_drill_refuses_what_names_a_real_cluster(stage: Stage) -> None:
    """Somebody who believes that it plays in his cluster learns that it does not."""
    done = stage.drill("--simulate", "--zone", "us-west-2a")
    assert done.exit_code == 1
    assert "--zone: --simulate brings a cluster and an account of its own" in done.stderr


def test_a_simulated_drill_has_nothing_to_show_of_aws(stage: Stage) -> None:
    done = stage.drill("--simulate", "--check-left")
    assert done.exit_code == 1
    assert "--check-left: found beside --simulate" in done.stderr


@pytest.mark.parametrize(("missing", "extra"), [("failover_testbed", "demo"), ("starlette", "demo"), ("failover_setup", "setup")])
def test_a_package_that_is_missing_is_named_with_the_extra_that_installs_it(missing: str, extra: str) -> None:
    """The drill is of one distribution and its simulation of another; the wrong extra would install what is there already."""
    script = f"import sys; sys.modules[{missing!r}] = None; from controller.cli.main import main; main(['drill', '--simulate'])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert f"needs {missing}" in done.stderr
    assert f"pip install 'mixed-accelerator-failover[{extra}]'" in done.stderr
