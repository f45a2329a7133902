"""One conclusion: what the caller adds to a decision, what is noted once it is written, and when the next pass is due."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.policy.account import FLAP_WINDOW_S
from controller.policy.model import ActionKind, Memory, Mode, Override, PolicySettings, Sample, Snapshot, Verb
from controller.routing.conclusion import conclude
from tests.policy.support import G6, INF2, TRN1, applied, change, proven, returned, scaler, shortage, with_scalers
from tests.support.applications import NOW, SERVICES, alert_of, application, memory, routing, snapshot

HASTY = application(policy=PolicySettings(patience_s=0.0))


def _with_demand(made: Snapshot, demand: float) -> Snapshot:
    for name in SERVICES:
        made = change(made, name, demand=Sample(demand / len(SERVICES), NOW - 30))
    return made


def _by_hand(demand: float) -> tuple[float, float]:
    """US dollars per hour in cost mode and in capacity mode, from prices, throughputs and weights alone."""
    weights = {INF2: 40, TRN1: 20, "sd21-g5-triton": 15, G6: 10, "sd21-g5-cuda": 15}
    each = {unit.name: unit.price_per_hour / unit.throughput * demand for unit in HASTY.units}
    weighted = sum(weight * each[name] for name, weight in weights.items()) / 100
    return weighted, sum(each.values()) / len(each)


def test_a_failover_is_priced_against_cost_mode_with_all_its_units() -> None:
    """The history would show a saving that no return brings back, if the unit that is short counted as gone for good."""
    short = change(_with_demand(shortage(with_scalers(snapshot(HASTY))), 900.0), ready=0, deployment_ready=0, endpoints_ready=0)
    made = conclude(memory(units=proven(NOW - 60)), short)
    assert made.decision.verb is Verb.FAILOVER
    (noted,) = made.routed(NOW + 5).mode_changes
    assert noted.to is Mode.CAPACITY
    assert (noted.dollars_before, noted.dollars_after) == pytest.approx(_by_hand(900.0))


def test_a_fallback_is_priced_the_other_way_and_earlier_changes_keep_their_prices() -> None:
    """What a fallback saves is how people see that the return was worth it."""
    there, remembered = returned()
    there = _with_demand(there, 100.0)
    earlier = conclude(memory(), shortage(snapshot(HASTY))).routed(NOW - 86_000).mode_changes
    before = replace(remembered, mode_changes=earlier)
    made = conclude(before, there)
    assert made.decision.verb is Verb.FALLBACK
    *kept, noted = made.routed(NOW + 5).mode_changes
    assert tuple(kept) == earlier
    assert noted.to is Mode.COST
    assert (noted.dollars_after, noted.dollars_before) == pytest.approx(_by_hand(100.0))


@pytest.mark.parametrize("demand", [900.0, 0.0], ids=["with demand", "without"])
def test_only_a_price_that_is_known_is_noted_and_nothing_else_depends_on_it(demand: float) -> None:
    """Zero dollars would be a claim where nothing is known, and a mode change must be remembered alike with and without a price."""
    pin = Override(pinned_mode=Mode.CAPACITY, pinned_by="ann")
    made = _with_demand(with_scalers(snapshot(routing=routing(override=pin))), demand)
    pinned = conclude(memory(), made)
    assert pinned.decision.verb is Verb.FAILOVER
    kept = pinned.routed(NOW + 5)
    (noted,) = kept.mode_changes
    dollars = (noted.dollars_before, noted.dollars_after)
    assert dollars == (pytest.approx(_by_hand(demand)) if demand else (None, None))
    free = replace(noted, dollars_before=None, dollars_after=None)
    assert replace(kept, mode_changes=(free,)) == applied(pinned.memory, pinned.decision, NOW + 5, made.application.scaled_objects)


def test_a_preview_shows_what_comes_once_the_waits_are_over() -> None:
    """`failoverctl plan` would show a hold, and people would not see the requests that come when the patience ends."""
    short = shortage(with_scalers(snapshot(application(policy=PolicySettings(patience_s=300.0)))))
    kept = memory(units=proven(NOW - 10))
    seen = conclude(kept, short, preview=True)
    assert (conclude(kept, short).decision.verb, seen.decision.verb) == (Verb.HOLD, Verb.FAILOVER)
    assert ActionKind.ROUTE in {action.kind for action in seen.plan.actions}


@pytest.mark.parametrize("fought", [False, True], ids=["alone", "while another writer puts a floor back"])
def test_alerts_of_the_caller_come_after_those_of_the_decision_and_change_nothing_else(*, fought: bool) -> None:
    """People hear of a source that does not answer with the decision: an alert that got lost would leave them blind."""
    made, before = shortage(change(snapshot(mode=Mode.CAPACITY), scaler=scaler())), memory(Mode.CAPACITY)
    if fought:
        first = conclude(before, made)
        before = first.written(first.plan.due, NOW - 4)
    silent = alert_of("absent/ec2", "warning", "EC2 does not answer")
    plain, added = conclude(before, made), conclude(before, made, alerts=[silent])
    assert added.decision == replace(plain.decision, alerts=(*plain.decision.alerts, silent))
    assert added.plan == replace(plain.plan, decision=added.decision)
    assert (added.before, added.snapshot, added.memory) == (before, made, plain.memory)
    assert added.before is before


def test_a_write_that_waits_delays_no_earlier_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next pass comes at the first of both moments: a guard that opens in a second must not wait for a fight over a floor."""
    monkeypatch.setattr("controller.policy.floors.account.reassert_pause_s", lambda _: 4000.0)
    made = shortage(change(snapshot(mode=Mode.CAPACITY), scaler=scaler()))
    first = conclude(memory(Mode.CAPACITY), made)
    assert first.decision.next_check_s is not None
    again = conclude(first.written(first.plan.due, NOW), replace(made, now=NOW + 4))
    assert any("another writer put it back" in action.deferred for action in again.plan.actions)
    assert again.decision.next_check_s == first.decision.next_check_s - 4


def test_a_floor_that_was_put_back_counts_only_within_the_flap_window() -> None:
    """A pause that was learned from last month's fight would leave a unit without the replicas that it needs now."""
    made = shortage(change(snapshot(mode=Mode.CAPACITY), scaler=scaler()))
    first = conclude(memory(Mode.CAPACITY), made)
    window = FLAP_WINDOW_S

    def repeats(after: float) -> int:
        kept: Memory = first.written(first.plan.due, NOW)
        last = replace(first, memory=kept).written(first.plan.due, NOW + after).floors[f"{INF2}-hpa"].floor
        assert last is not None
        return last.repeats

    assert (repeats(window - 1), repeats(window)) == (1, 0)
