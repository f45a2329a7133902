"""What each unit gets in each kind of capacity mode: one rule for its weights, its shares, its price, the hold and the account."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from controller.policy.account import Figures, Ledger, booked, break_even_s, hourly
from controller.policy.model import Application, CapacityWeights, Mode, PolicySettings, RoutingStyle, Sample, Snapshot
from controller.policy.routing import asked_shares, blended_cost, capacity_targets
from failover_setup.tables import weights_report
from tests.policy.support import decide
from tests.support.applications import NOW, SERVICES, application, memory, routing, snapshot

DEMAND = 800.0  # requests a period
COST_MODE = 800 * 0.010467  # US dollars per hour: the AWS sample's weights
CAPACITY_MODE = {  # the AWS sample's prices by equal shares, and by shares in proportion to throughput
    CapacityWeights.READY: 800 * 0.0117391,
    CapacityWeights.READY_THROUGHPUT: 800 * 4.9188 / 446,
}
KINDS = [(style, by) for style in RoutingStyle for by in CapacityWeights]


def _application(style: RoutingStyle, by: CapacityWeights) -> Application:
    return application(routing_style=style, policy=PolicySettings(capacity_weights=by, hold_min_s=0.0))


def _seen(app: Application, mode: Mode = Mode.COST) -> Snapshot:
    made = snapshot(app, mode)
    units = {unit.name: replace(made.units[unit.name], demand=Sample(DEMAND * (unit.weight or 0) / 100, NOW - 30)) for unit in app.units}
    return replace(made, units=units)


@pytest.mark.parametrize(("style", "by"), KINDS)
def test_the_shares_are_what_the_action_asks_for(style: RoutingStyle, by: CapacityWeights) -> None:
    """Whatever serves: by weights with the in-place style, else within the one target group."""
    draw, app = random.Random(5), _application(style, by)
    for _ in range(50):
        ready = {name: draw.choice([0, 1, 2, 7, 40]) for name in SERVICES} | {"sd21-inf2": draw.randint(1, 9)}
        made = snapshot(app, Mode.CAPACITY, routing=routing(Mode.CAPACITY, targets=capacity_targets(app, ready)))
        made = replace(made, units={name: replace(one, ready=ready[name]) for name, one in made.units.items()})
        parts = {unit.name: ready[unit.name] * (1 if by is CapacityWeights.READY else unit.throughput) for unit in app.units}
        expected = {name: part / sum(parts.values()) for name, part in parts.items()}
        assert asked_shares(made) == pytest.approx(expected, abs=0.0 if style is RoutingStyle.SINGLE_SERVICE else 0.04, rel=1e-9)


@pytest.mark.parametrize(("style", "by"), KINDS)
def test_the_price_the_hold_and_the_account_follow_from_them(style: RoutingStyle, by: CapacityWeights) -> None:
    """With least outstanding requests they overstated the extra price 2.3 times, so that a fallback came 2.3 times too early."""
    app = _application(style, by)
    made, extra = _seen(app), CAPACITY_MODE[by] - COST_MODE
    figures = Figures.of(made)
    found = hourly(made, figures)
    assert found is not None
    assert found.cost == pytest.approx(COST_MODE, rel=1e-3)
    assert found.capacity == pytest.approx(CAPACITY_MODE[by], rel=1e-3)
    inf2 = app.unit("sd21-inf2")
    spent = 0.4 * DEMAND * inf2.price_per_hour / inf2.throughput * inf2.cold_start_s
    assert break_even_s(app, figures.intended, [inf2.name], 0) == pytest.approx(spent / extra, rel=0.01)
    for mode in Mode:
        observed = replace(_seen(app, mode), units=made.units)
        account = booked(Ledger(), observed, decide(memory(mode, mode_since=NOW - 10), observed)[1], mode, 60.0)
        assert account.premium + account.saved == pytest.approx(extra / 60, rel=0.01)


@pytest.mark.parametrize(("style", "by"), KINDS)
def test_the_table_of_weights_compares_with_it(style: RoutingStyle, by: CapacityWeights) -> None:
    """People choose weights by what they save."""
    app = _application(style, by)
    report = weights_report(app)
    (used,) = [row for row in report.weights if row.used]
    assert used.cost == pytest.approx(blended_cost({unit.name: unit.weight or 0 for unit in app.units}, app.units))
    assert used.saving == pytest.approx(1 - COST_MODE / CAPACITY_MODE[by], abs=1e-3)
    assert ("round robin" in report.notes[0]) is (by is CapacityWeights.READY)
