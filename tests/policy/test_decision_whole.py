"""What `decide` puts together of its parts: the mode, the guards' answers, the next check, and the memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.policy.account import Figures
from controller.policy.decision.steady import MAX_NUDGES
from controller.policy.evidence import assess
from controller.policy.fleet import noted_demand, planned
from controller.policy.model import (
    ActionKind,
    Mode,
    ModeChange,
    Override,
    PolicySettings,
    Sample,
    Snapshot,
    Strategy,
    Verb,
    Verdict,
    Verification,
)
from controller.policy.model.modes import Repeats
from controller.policy.modes import guards
from controller.policy.reasons import Reason
from controller.policy.routing import cost_targets
from controller.routing.conclusion import conclude
from tests.policy.support import INF2, change, decide, proven, shortage, with_scalers
from tests.support.applications import COUNTED, NOW, application, memory, routing, snapshot

ALWAYS = [one.name for one in guards.ALWAYS]


def _names(decided: tuple[object, ...]) -> list[str]:
    return [one.guard for one in decided]  # type: ignore[attr-defined]


def test_a_mode_that_is_found_is_remembered_with_its_writer() -> None:
    """People ask who changed it."""
    made = snapshot(mode=Mode.CAPACITY, routing=routing(Mode.CAPACITY, writer="kubectl-edit"))
    kept = decide(memory(Mode.COST), made)[0]
    assert (kept.mode_changes[-1].reason, kept.mode_changes[-1].by) == (Reason.ROUTING_DRIFTED, "kubectl-edit")


def test_a_mode_that_is_unknown_says_why() -> None:
    """A person must know which annotation to correct."""
    decision = decide(memory(), snapshot(routing=routing(marker="both")))[1]
    assert (decision.reason, decision.mode) == (Reason.ROUTING_UNKNOWN, None)
    assert "the mode annotation says 'both'" in decision.sentence


def test_a_decision_that_leaves_all_alone_keeps_the_mode() -> None:
    """Paused is still in a mode: `status` shows it, and metrics count its time."""
    override = Override(paused_until=NOW + 60)
    decision = decide(memory(Mode.CAPACITY), snapshot(mode=Mode.CAPACITY, routing=routing(Mode.CAPACITY, override=override)))[1]
    assert (decision.verb, decision.mode, decision.reason) == (Verb.HOLD, Mode.CAPACITY, Reason.PAUSED)
    assert decision.targets == ()


@pytest.mark.parametrize(
    "made", [snapshot(), shortage(with_scalers(snapshot())), snapshot(mode=Mode.CAPACITY)], ids=["quiet", "short", "back"]
)
def test_every_decision_holds_the_answers_of_the_guards_that_are_always_asked(made: Snapshot) -> None:
    """First, and each once; what a trigger asks comes after them."""
    mode = Mode.CAPACITY if made.routing.marker == "capacity" else Mode.COST
    names = _names(decide(memory(mode, units=proven()), made)[1].guards)
    assert names[: len(ALWAYS)] == ALWAYS
    assert len(set(names)) == len(names)


def _unseen(made: Snapshot) -> Snapshot:
    seen = Verification(Verdict.NOT_YET, NOW, "80 /* forwards to sd21-inf2 40", made.routing.action, counted=COUNTED)
    return replace(made, routing=replace(made.routing, verification=seen))


@pytest.mark.parametrize(("mode", "reason"), [(Mode.COST, Reason.RETURN_PROVEN), (Mode.CAPACITY, Reason.SHORTAGE_PROVEN)])
def test_a_pass_is_due_when_a_roll_back_is(mode: Mode, reason: Reason) -> None:
    """Nothing else wakes the loop while the load balancer stays as it is: in cost mode no guard is asked, in capacity mode one holds."""
    app = application(policy=PolicySettings(rollback_s=300.0, dwell_capacity_s=5000.0, hold_min_s=5000.0))
    made, at = _unseen(snapshot(app, mode)), NOW - 260
    remembered = memory(
        mode, mode_changes=(ModeChange(at, mode, reason),), changed_at=at, unverified_since=at, mode_since=at, nudged=Repeats(MAX_NUDGES)
    )
    decision = decide(remembered, made)[1]
    assert (decision.held_back is None) is (mode is Mode.COST)
    assert decision.next_check_s is not None
    assert decision.next_check_s <= 40
    never = replace(app, policy=replace(app.policy, rollback_s=0.0))
    without = decide(remembered, replace(made, application=never))[1].next_check_s
    assert without is None or without > 40


def test_what_strategy_planned_would_run_follows_the_demand_of_earlier_days() -> None:
    """It is planned for what is expected, from the history that the memory keeps."""
    app = application(policy=PolicySettings(strategy=Strategy.PLANNED))
    made = with_scalers(snapshot(app))
    made = replace(made, units={name: replace(one, demand=Sample(200.0, NOW)) for name, one in made.units.items()})
    history = None
    for ago in range(3600, 0, -60):
        history = noted_demand(history, NOW - ago, 1000.0 - ago / 4)
    kept, decision = decide(memory(demand_history=history), made)
    figures = Figures.of(made)
    evidence = assess(made, kept, figures.needed)
    assert decision.planned == planned(made, figures, evidence, kept)
    assert decision.planned != planned(made, figures, evidence, replace(kept, demand_history=None))


def test_a_pass_that_finds_a_shortage_decides_as_the_next_one() -> None:
    """A crash before anything was sent must not change the figures: replicas are planned as if the capacity of what is short came back."""
    made = shortage(with_scalers(snapshot()))
    made = change(made, ready=0, deployment_ready=0, endpoints_ready=0)
    kept, first = decide(memory(), made)
    assert kept.units.keys() - memory().units.keys() == {INF2}
    second = decide(kept, made)[1]
    assert first.evidence == second.evidence
    assert (first.floors, first.keda_targets, first.targets, first.reason) == (
        second.floors, second.keda_targets, second.targets, second.reason,
    )  # fmt: skip


def test_a_pin_to_cost_mode_gives_each_unit_what_it_can_carry() -> None:
    """Nothing is absorbed in capacity mode: there the others carry everything already."""
    override = Override(pinned_mode=Mode.COST, pinned_until=NOW + 9000)
    made = shortage(with_scalers(snapshot(mode=Mode.CAPACITY, routing=routing(Mode.CAPACITY, override=override))))
    remembered = memory(Mode.CAPACITY, units=proven())
    decision = decide(remembered, made)[1]
    assert (decision.verb, decision.mode) == (Verb.FALLBACK, Mode.COST)
    assert decision.targets == cost_targets(made.application, Figures.of(made, remembered.units).cost)


def test_the_memory_notes_what_was_written_and_nothing_else() -> None:
    """A process that dies between two requests must not remember a mode change that it never sent."""
    app = application(policy=PolicySettings(patience_s=0.0))
    made = conclude(memory(units=proven(NOW - 60)), shortage(with_scalers(snapshot(app))))
    routes = [one for one in made.plan.actions if one.kind is ActionKind.ROUTE]
    floors = [one for one in made.plan.actions if one.kind is ActionKind.RAISE_FLOOR]
    assert routes
    assert floors
    assert made.written((), NOW + 5) == made.memory
    only_floors = made.written(floors, NOW + 5)
    assert only_floors.mode_changes == made.memory.mode_changes
    assert only_floors.mode is Mode.COST
    whole = made.written([*floors, *routes], NOW + 5)
    assert (whole.mode, whole.mode_changes[-1].at, whole.changed_at) == (Mode.CAPACITY, NOW + 5, NOW + 5)


def test_prices_are_noted_of_mode_changes_alone() -> None:
    """New weights within cost mode are none."""
    made = conclude(memory(), change(with_scalers(snapshot()), ready=0, deployment_ready=0, endpoints_ready=0))
    assert made.decision.verb is Verb.REWEIGHT
    assert made.routed(NOW + 5).mode_changes == memory().mode_changes
