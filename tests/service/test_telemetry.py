"""Which series of the applications are exported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from weakref import ReferenceType, ref

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric

from controller.policy.account import Ledger
from controller.policy.memory import standing_mode
from controller.policy.model import Mode, Override, Price, PriceSource, Verdict, Verification
from controller.routing.conclusion import conclude
from controller.service.application_status import price_document, status_of
from controller.service.telemetry import Telemetry, exposition
from tests.policy.support import shortage
from tests.support.applications import NOW, memory, snapshot

KEY = "shop/sd21"


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


@pytest.mark.parametrize("stands", list(Mode))
def test_the_mode_is_the_one_that_stands_until_the_change_is_written(stands: Mode) -> None:
    """A webhook that denies every patch of the Ingress leaves the application as it is, whatever is decided."""
    wanted = Mode.CAPACITY if stands is Mode.COST else Mode.COST
    shot = snapshot(mode=stands)
    shot = replace(shot, routing=replace(shot.routing, override=Override(pinned_mode=wanted)))
    made = conclude(memory(stands), shot)
    assert made.decision.mode is wanted
    for written, mode in (((), stands), (made.plan.due, wanted)):
        telemetry, after = Telemetry(), made.written(written, NOW)
        telemetry.decided(shot, made.decision, after, Ledger())
        values = {one: telemetry.registry.get_sample_value("failoverctl_mode", {"application": KEY, "mode": one}) for one in Mode}
        assert values == {one: float(one is mode) for one in Mode}
        assert status_of(shot, made.decision, standing_mode(after, made.decision), Ledger())["mode"] == mode


@pytest.mark.parametrize("asked", [True, False], ids=["present action", "action before"])
def test_what_the_load_balancer_showed_counts_for_the_present_action_only(asked: bool) -> None:
    """After a change it says nothing until the load balancer is asked again: in a large fleet, after minutes."""
    shot = snapshot()
    seen = Verification(Verdict.YES, NOW, action=shot.routing.action if asked else "another")
    shot = replace(shot, routing=replace(shot.routing, verification=seen))
    made, telemetry = conclude(memory(Mode.COST), shot), Telemetry()
    telemetry.decided(shot, made.decision, made.memory, Ledger())
    assert telemetry.registry.get_sample_value("failoverctl_routing_verified", {"application": KEY}) == (1.0 if asked else -1.0)


def test_without_them_a_unit_that_is_short_still_has_the_one_that_its_alert_needs() -> None:
    telemetry = decided(units=False)
    assert series(telemetry, "unit") == {"failoverctl_unit_short": {"sd21-inf2"}}
    assert series(telemetry, "application").keys() == series(decided(units=True), "application").keys() - {
        "failoverctl_unit_ready_replicas",
        "failoverctl_unit_waiting_pods",
    }


def test_metrics_are_written_one_by_one_as_the_library_writes_all() -> None:
    """Each is gone before the next one is made: at a thousand applications the process would keep 11 MiB of all at once."""
    telemetry, made = decided(units=True), list[ReferenceType[Metric]]()
    assert exposition(telemetry.registry) == generate_latest(telemetry.registry)

    class Watching(CollectorRegistry):
        """Those of the telemetry, if the earlier ones are gone."""

        def collect(self) -> Iterator[Metric]:
            for metric in telemetry.registry.collect():
                made.append(ref(metric))
                yield metric
                del metric
                assert not any(one() for one in made[:-1])

    assert exposition(Watching()).count(b"# HELP") >= len(made) > 30


def test_a_price_has_its_source_and_age() -> None:
    """The application file's has no age."""
    telemetry, shot = Telemetry(), snapshot()
    prices = {"sd21-inf2": Price(0.7, PriceSource.KARPENTER, shot.now - 20), "sd21-trn1": Price(1.3438, PriceSource.FILE, None)}
    priced = {name: replace(one, price=prices.get(name)) for name, one in shot.units.items()}
    shot = replace(shot, units=priced)
    made = conclude(memory(Mode.COST), shot)
    telemetry.decided(shot, made.decision, made.memory, Ledger())
    values = {(one.name, *one.labels.values()): one.value for family in telemetry.registry.collect() for one in family.samples}
    app = shot.application.key
    assert values["failoverctl_unit_price_dollars_per_hour", app, "sd21-inf2", "karpenter"] == 0.7
    assert values["failoverctl_unit_price_dollars_per_hour", app, "sd21-trn1", "file"] == 1.3438
    assert price_document(None) is None
    assert (price_document(prices["sd21-inf2"]) or {})["source"] == "karpenter"


def test_counters_of_an_application_go_with_it() -> None:
    """Those of the others stay, although their units may be others than before."""
    telemetry = Telemetry()
    for application in ("shop/a", "shop/b"):
        telemetry.actions.count(application, "route", "applied")
        telemetry.mode_changes.count(application, "cost", "ReturnProven")
        telemetry.pass_errors.count(application)
    telemetry.actions.count("shop/a", "route", "applied")
    telemetry.forget("shop/a")
    telemetry.retain({"shop/a"})
    assert [line for line in exposition(telemetry.registry).decode().splitlines() if "shop/" in line] == [
        'failoverctl_switches_total{application="shop/a",reason="ReturnProven",to="cost"} 1.0',
        'failoverctl_actions_total{application="shop/a",kind="route",result="applied"} 2.0',
        'failoverctl_pass_errors_total{application="shop/a"} 1.0',
    ]
