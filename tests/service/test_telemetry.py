"""Which series of the applications are exported."""

from __future__ import annotations

from controller.policy.conclusion import conclude
from controller.policy.ledger import Ledger
from controller.policy.model import Mode
from controller.service.telemetry import Telemetry
from tests.policy.support import shortage
from tests.support.applications import memory


def series(telemetry: Telemetry, label: str) -> dict[str, set[str]]:
    """The values of a label by the name of the metric, where it has any."""
    families = telemetry.registry.collect()
    found = {one.name: {sample.labels[label] for sample in one.samples if label in sample.labels} for one in families}
    return {name: values for name, values in found.items() if values}


def decided(*, units: bool) -> Telemetry:
    """After a decision in a shortage of one unit of five."""
    telemetry, shot = Telemetry(units=units), shortage()
    made = conclude(memory(Mode.COST), shot)
    telemetry.decided(shot, made.decision, made.memory, Ledger())
    return telemetry


def test_each_unit_has_series_by_default() -> None:
    found = series(decided(units=True), "unit")
    assert set(found) == {"failoverctl_unit_short", "failoverctl_unit_ready_replicas", "failoverctl_unit_waiting_pods"}
    assert {len(values) for values in found.values()} == {5}


def test_without_them_a_unit_that_is_short_still_has_the_one_that_its_alert_needs() -> None:
    telemetry = decided(units=False)
    assert series(telemetry, "unit") == {"failoverctl_unit_short": {"sd21-inf2"}}
    assert series(telemetry, "application").keys() == series(decided(units=True), "application").keys() - {
        "failoverctl_unit_ready_replicas",
        "failoverctl_unit_waiting_pods",
    }
