"""`failoverctl doctor` on the embedded environment, as `failoverctl demo --serve` shows it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Literal

import pytest
from click.testing import CliRunner

from controller.cli.main import main
from failover_testbed.clocks import AcceleratedClock
from failover_testbed.demo.environment import Environment
from failover_testbed.demo.scenario import FOLDER, load_scenario


@pytest.fixture(scope="module")
def env() -> Iterator[Environment]:
    with Environment(load_scenario(FOLDER / "seed.yaml"), AcceleratedClock(1)) as started:
        yield started


def _doctor(env: Environment, role: Literal["read-only", "controller"]) -> tuple[int, list[dict[str, set[str]]]]:
    """Exit code, and for each document the checks of each level."""
    words = ["doctor", "--output", "json", "--kubeconfig", str(env.kubeconfig(role)), "--applications", str(env.scenario.applications_path)]
    done = CliRunner().invoke(main, words, catch_exceptions=False)
    found = []
    for line in done.stdout.splitlines():
        levels: dict[str, set[str]] = {}
        for one in json.loads(line)["checks"]:
            levels.setdefault(one["level"], set()).add(one["check"])
        found.append(levels)
    return done.exit_code, found


def test_a_reader_finds_nothing_missing(env: Environment) -> None:
    """All components, for which fakes stand in, and the whole application are present."""
    code, documents = _doctor(env, "read-only")
    assert (code, [set(levels) for levels in documents]) == (0, [{"ok"}, {"ok"}]), documents


def test_the_controllers_own_identity_sees_its_application_alone(env: Environment) -> None:
    """It does not report as missing what it may not read."""
    code, (cluster, application) = _doctor(env, "controller")
    assert (code, set(cluster), set(application)) == (0, {"ok", "unknown"}, {"ok"}), cluster
    assert {"readiness-gates", "nvidia-device-plugin", "neuron-device-plugin"} <= cluster["unknown"]
