"""What a counter without a usable value must not do: lower a plan, move traffic onto fewer replicas, or teach the forecast a fall."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.policy.account import known_everywhere
from controller.policy.account.known_demand import known_in_part
from controller.policy.fleet.expected import SLOT_S
from controller.policy.model import Application, Memory, Mode, PolicySettings, Sample, Snapshot, Strategy, Verb
from controller.routing.conclusion import conclude
from controller.routing.ingress.action import format_action
from tests.policy.support import change
from tests.policy.test_planned_floors import G5, INF2, TRN1, live, observed, written
from tests.support.applications import NOW, application, memory

LATER = NOW + 1_200.0
ADAPTIVE = application(policy=PolicySettings(strategy=Strategy.ADAPTIVE))


def as_written(app: Application, demand: float) -> tuple[Memory, Snapshot]:
    """Eight ready replicas of each unit, twenty minutes after weights were written for the demand, of which each unit counts its part."""
    first = conclude(memory(), observed(app, demand, ready=8, floor=8))
    targets = first.decision.targets
    action, whole = format_action(targets, 0), sum(one.weight for one in targets)
    seen = observed(app, demand, now=LATER, ready=8, floor=8)
    verification = replace(seen.routing.verification, action=action)  # type: ignore[type-var]  # it has one
    seen = replace(seen, routing=replace(seen.routing, targets=targets, action=action, verification=verification))
    for unit, target in zip(app.units, targets, strict=True):
        seen = change(seen, unit.name, demand=Sample(demand * target.weight / whole, LATER - 60))
    return first.routed(NOW), seen


def without(seen: Snapshot, *names: str) -> Snapshot:
    for name in names:
        seen = change(seen, name, demand=None)
    return seen


@pytest.mark.parametrize("value", [2e9, -5.0, float("nan")])
def test_a_value_that_is_no_count_of_requests_is_a_missing_one(value: float) -> None:
    """It is no part of the demand, so it is no proof that the demand fell, either."""
    app = live(resilience_share=0.0)

    def seen(now: float) -> Snapshot:
        made = observed(app, 1_000.0, now=now, ready=12, floor=8)
        for name in (INF2, TRN1, G5):
            made = change(made, name, demand=Sample(value, now - 60))
        return made

    assert not known_everywhere(seen(NOW))
    before = conclude(memory(), seen(NOW)).memory
    assert not any(one.sinking for one in before.floors.values())
    assert written(conclude(before, seen(NOW + 600))) == {}


@pytest.mark.parametrize("app", [live(resilience_share=0.0), ADAPTIVE], ids=["planned", "adaptive"])
@pytest.mark.parametrize("names", [(INF2,), (INF2, TRN1), (G5,)])
def test_a_missing_counter_moves_no_traffic_onto_fewer_replicas(names: tuple[str, ...], app: Application) -> None:
    """What the others count is a part of the demand, and the cheapest replicas for it would get all of it."""
    kept, seen = as_written(app, 3_000.0)
    assert conclude(kept, without(seen, *names)).decision.verb is Verb.HOLD


@pytest.mark.parametrize("app", [live(resilience_share=0.0), ADAPTIVE], ids=["planned", "adaptive"])
def test_where_traffic_must_move_while_a_counter_is_missing_all_that_is_ready_gets_its_share(app: Application) -> None:
    """A unit ceased to serve. How much the others must carry is not known."""
    kept, seen = as_written(app, 3_000.0)
    decision = conclude(kept, change(without(seen, INF2), TRN1, ready=0)).decision
    assert decision.verb is Verb.REWEIGHT
    ready = [0.0 if unit.name == TRN1 else 8 * unit.throughput for unit in seen.application.units]
    assert [target.weight for target in decision.targets] == pytest.approx([100 * one / sum(ready) for one in ready], abs=1.0)


def test_a_missing_counter_teaches_the_forecast_nothing() -> None:
    """Its value comes back, and would be learned as a steep rise."""
    kept, seen = as_written(live(resilience_share=0.0), 3_000.0)
    spoilt = conclude(kept, without(seen, INF2)).memory
    assert spoilt.demand_history == kept.demand_history
    noted = conclude(kept, seen).memory.demand_history
    assert noted is not None
    assert noted.recent[-1].demand == pytest.approx(3_000.0)


def test_counters_of_units_that_get_nothing_say_nothing_of_the_one_that_gets_all() -> None:
    """The only unit with traffic lost its counter; the others go on counting none."""
    kept, seen = as_written(live(resilience_share=0.0), 700.0)
    first, *others = seen.routing.targets
    targets = (replace(first, weight=100), *(replace(one, weight=0) for one in others))
    alone = replace(seen, routing=replace(seen.routing, targets=targets, action=format_action(targets, 0)))
    for name in alone.units:
        alone = change(alone, name, demand=None if name == INF2 else Sample(0.0, LATER - 60))
    assert known_in_part(alone)
    assert conclude(kept, alone).memory.demand_history == kept.demand_history
    assert not known_in_part(change(alone, INF2, demand=Sample(700.0, LATER - 60)))
    assert not known_in_part(without(alone, *alone.units)), "then nothing is known"


def test_capacity_mode_notes_demands_too() -> None:
    """There the routing action does not say what each unit gets."""
    seen = observed(live(), 1_000.0, now=NOW + SLOT_S)
    capacity = replace(seen, routing=replace(seen.routing, targets=(), marker=str(Mode.CAPACITY)))
    history = conclude(memory(Mode.CAPACITY), capacity).memory.demand_history
    assert history is not None
    assert history.recent[-1].demand == pytest.approx(1_000.0)
