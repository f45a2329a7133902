"""The tables of the AWS sample are computed, and the report names each cost that the sample prints differently."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from controller.catalog.loader import load_application_file
from controller.policy.account import keda_targets
from controller.policy.model import CapacityWeights, Mode, PolicySettings, Strategy, WeightStrategy
from controller.policy.routing import weight_strategy
from failover_setup.application import load_definitions
from failover_setup.tables import WIDTH, Report, weights_report

SD21 = Path(__file__).parents[2] / "config" / "sd21.yaml"


@pytest.fixture
def report() -> Report:
    (definition,) = load_definitions(SD21).values()
    return weights_report(definition.model.to_policy())


def test_table_1_is_computed(report: Report) -> None:
    assert [round(row.cost, 5) for row in report.costs] == [0.00722, 0.01034, 0.01118, 0.01319, 0.01677]


def test_table_2_is_computed(report: Report) -> None:
    assert [row.adjusted_throughput for row in report.throughputs] == [89.2, 89.2, 89.2, 61.0, 60.0]
    assert round(report.target_throughput or 0.0, 1) == 89.2


def test_the_shipped_weights_save_10_8_percent(report: Report) -> None:
    (used,) = [row for row in report.weights if row.used]
    assert (used.strategy, list(used.weights.values())) == ("explicit", [40, 20, 15, 10, 15])
    assert (round(used.cost, 5), round(100 * used.saving, 1)) == (0.01047, 10.8)
    assert "cost mode saves 10.8 %, capacity mode costs 1.122 times as much" in report.notes[0]


def test_merit_order_sends_all_to_inf2(report: Report) -> None:
    (merit,) = [row for row in report.weights if row.strategy == "merit-order"]
    assert (merit.weights["sd21-inf2"], round(merit.cost, 5)) == (100, 0.00722)
    assert report.merit_order[0] == "sd21-inf2"


def test_the_text_fits_80_columns_and_is_ascii(report: Report) -> None:
    text = report.text()
    assert max(len(line) for line in text.splitlines()) <= WIDTH
    assert text.isascii()
    assert all(line == line.rstrip() for line in text.splitlines())


def test_the_text_names_units_of_measure_in_its_headers(report: Report) -> None:
    for header in ("USD/h", "req/60 s", "latency s", "max (cost mode)", "adjusted (capacity mode)"):
        assert header in report.text()


def test_the_json_holds_the_same_numbers(report: Report) -> None:
    data = json.loads(report.json())
    assert data["application"] == "default/sd21"
    assert data["costs"][0]["cost"] == report.costs[0].cost
    assert len(data["weights"]) == len(WeightStrategy)


def test_without_explicit_weights_the_other_strategies_are_shown() -> None:
    (definition,) = load_definitions(SD21).values()
    application = definition.model.to_policy()
    application = replace(
        application,
        units=tuple(replace(unit, weight=None) for unit in application.units),
        policy=PolicySettings(strategy=Strategy.ADAPTIVE),
    )
    report = weights_report(application)
    assert "explicit" not in [row.strategy for row in report.weights]
    assert [row.strategy for row in report.weights if row.used] == ["merit-order"]


@pytest.mark.parametrize("stated", WeightStrategy)
@pytest.mark.parametrize("strategy", Strategy)
def test_the_weights_in_use_are_those_of_the_decisions(strategy: Strategy, stated: WeightStrategy) -> None:
    """With strategy planned the table named the explicit weights, which cost mode did not use."""
    (definition,) = load_definitions(SD21).values()
    application = replace(definition.model.to_policy(), policy=PolicySettings(strategy=strategy, weight_strategy=stated))
    assert [row.strategy for row in weights_report(application).weights if row.used] == [weight_strategy(application)]


def test_long_names_are_cut_and_not_wrapped() -> None:
    (definition,) = load_definitions(SD21).values()
    application = definition.model.to_policy()
    application = replace(application, units=tuple(replace(unit, name=f"{unit.name}-{'x' * 49}") for unit in application.units))
    assert max(len(line) for line in weights_report(application).text().splitlines()) <= WIDTH


def test_table_2_is_of_the_targets_that_the_controller_sets() -> None:
    """Where capacity mode shares by throughput, no target sinks to the mean; `llama` is such an application."""
    (llama,) = load_application_file(SD21.with_name("llama.yaml"))
    assert llama.policy.capacity_weights is CapacityWeights.READY_THROUGHPUT
    found, targets = weights_report(llama), keda_targets(llama, Mode.CAPACITY)
    assert {row.unit: f"{row.adjusted_throughput:g}" for row in found.throughputs} == targets
    assert (found.target_throughput, found.capacity_weights) == (None, "ready-throughput")
    assert "Table 2 - throughput per replica (ready-throughput: same target in both modes)" in found.text()
    assert max(map(len, found.text().splitlines())) <= WIDTH
