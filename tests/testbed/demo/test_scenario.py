"""Scenario files: the built-in ones are consistent, and errors name the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.catalog.loader import load_application_file
from controller.errors import ConfigError
from controller.policy.model import Mode, Unit
from failover_testbed.capacity.ec2 import FleetAnswer
from failover_testbed.demo.scenario import DEFAULT, FOLDER, builtin, builtin_names, load_scenario
from failover_testbed.traffic.demand import Demand, Point, Wave

GOOD = """\
apiVersion: failoverctl.dev/v1alpha1
kind: Scenario
name: mine
description: It shows something.
applications: app.yaml
durationSeconds: 100
demand: {points: [{atSeconds: 0, requests: 100}]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.yaml").write_text((FOLDER / "applications" / "seed.yaml").read_text())
    return tmp_path


def load(folder: Path, text: str) -> str:
    """The error of a scenario, without its folder."""
    path = folder / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_scenario(path)
    return str(caught.value).replace(f"{folder}/", "")


def test_the_default_comes_first() -> None:
    assert builtin_names() == (DEFAULT, "l4-limit", "mixed", "one-zone", "quota", "route", "spot")


@pytest.mark.parametrize("name", builtin_names())
def test_a_built_in_scenario_holds_together(name: str) -> None:
    scenario = load_scenario(builtin(name))
    assert scenario.name == name
    assert scenario.file.duration_s / scenario.file.factor <= 65  # real seconds, so that it ends within 75 with its start
    assert scenario.file.expect
    (application,) = scenario.applications.values()
    assert application.key == ("default/llama8b" if name == "mixed" else "default/sd21")
    if name != "mixed":
        assert [unit.weight for unit in application.units] == [40, 20, 15, 10, 15]
    policy = application.policy
    assert (policy.quiet_s, policy.dwell_capacity_s) == (600, 600)  # as in production
    final = [one.final_mode for one in scenario.file.expect if one.final_mode is not None]
    assert len(final) == 1


def test_the_mixed_fleet_is_the_shipped_one() -> None:
    """Its units are those of config/llama8b.yaml, with the demo's times."""
    (application,) = load_scenario(builtin("mixed")).applications.values()
    (shipped,) = load_application_file(Path("config/llama8b.yaml"))

    def shown(unit: Unit) -> tuple[object, ...]:
        return (unit.name, unit.node_pool, unit.instance_type, unit.price_per_hour, unit.throughput, unit.latency_s)

    assert [shown(one) for one in application.units] == [shown(one) for one in shipped.units]
    assert {one.instance_type.partition(".")[0] for one in application.units} == {"inf2", "trn2", "g6", "g6e"}


def test_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(
        ConfigError, match=r"scenario 'nope' is unknown; allowed: seed, l4-limit, mixed, one-zone, quota, route, spot, or a file"
    ):
        builtin("nope")


def test_defaults(folder: Path) -> None:
    (folder / "mine.yaml").write_text(GOOD)
    file = load_scenario(folder / "mine.yaml").file
    assert (file.factor, file.mode, file.events, file.expect, file.replicas) == (20, Mode.COST, (), (), {})
    assert (file.fleet, file.capacity_types) == (FleetAnswer.ONE_ZONE, {})


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (GOOD.replace("durationSeconds: 100", "duration: 100"), "mine.yaml:6: duration: found an unknown key"),
        (GOOD.replace("durationSeconds: 100", "durationSeconds: soon"), 'mine.yaml:6: durationSeconds: found "soon" (text)'),
        (GOOD.replace("demand: ", "demand: {wave: {base: 1, peak: 2, periodSeconds: 9}, points: []} #"), "mine.yaml:7: demand.points"),
        (
            GOOD.replace("{points: [{atSeconds: 0, requests: 100}]}", "{}"),
            "mine.yaml:7: demand: found none of them; allowed: exactly one of",
        ),
        (GOOD.replace("app.yaml", "gone.yaml"), "mine.yaml:5: applications: gone.yaml: found no file"),
        (GOOD + "replicas: {nope: 3}\n", 'mine.yaml:8: replicas.nope: found the unit "nope"; allowed: sd21-g5-cuda, '),
        (GOOD + "events:\n  - {atSeconds: 200, shortage: {}}\n", "mine.yaml:9: events[0].atSeconds: found 200; allowed: at most"),
        (GOOD + "events:\n  - {atSeconds: 1, shortage: {}, returned: {}}\n", "found shortage, returned; allowed: exactly one of shortage"),
        (GOOD + "events:\n  - {atSeconds: 1, shortage: {code: Nope}}\n", "allowed: InsufficientInstanceCapacity | VcpuLimitExceeded"),
        (GOOD + "events:\n  - {atSeconds: 1, limit: {nodePool: x, resource: cpu}}\n", 'found the NodePool "x"; allowed: amd-neuron-inf2'),
        (GOOD + "events:\n  - {atSeconds: 1, interrupted: {nodePool: x, nodes: 1}}\n", 'found the NodePool "x"; allowed: amd-neuron-inf2'),
        (GOOD + "capacityTypes: {x: [spot]}\n", 'mine.yaml:8: capacityTypes.x: found the NodePool "x"; allowed: amd-neuron-inf2'),
        (GOOD + "fleet: two-zones\n", 'mine.yaml:8: fleet: found "two-zones" (text); allowed: one-zone | all-zones'),
        (GOOD + "expect:\n  - failover: {units: [x]}\n", 'mine.yaml:9: expect[0].failover.units[0]: found the unit "x"'),
        (GOOD + "---\n" + GOOD, "mine.yaml: found 2 documents; allowed: one scenario"),
        ("", "mine.yaml: found 0 documents"),
    ],
)
def test_a_wrong_file_says_where(folder: Path, text: str, error: str) -> None:
    assert error in load(folder, text)


def test_demand_follows_its_points() -> None:
    demand = Demand(points=(Point(at_s=10, requests=100), Point(at_s=20, requests=200)))
    assert [demand.at(at) for at in (0, 10, 15, 20, 99)] == [100, 100, 150, 200, 200]


def test_demand_follows_its_wave() -> None:
    demand = Demand(wave=Wave(base=600, peak=2960, period_s=1200, peak_at_s=150))
    assert [demand.at(at) for at in (150, 750, 1350)] == [pytest.approx(2960), pytest.approx(600), pytest.approx(2960)]
    assert demand.at(450) == pytest.approx(1780)
