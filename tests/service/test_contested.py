"""A GitOps tool that puts a replica floor back every few seconds: pauses that double, an alert, and no pause for anything else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.policy.conclusion import conclude
from controller.policy.model import Action, ActionKind, Mode, Plan, PolicySettings
from controller.service.contested import Contested
from tests.policy.support import INF2, change, scaler, shortage
from tests.support.applications import NOW, memory, snapshot

POLICY = PolicySettings()


def raising() -> Plan:
    """A plan that raises floors, as a failover makes it."""
    made = snapshot(mode=Mode.CAPACITY)
    made = shortage(change(made, INF2, scaler=scaler(INF2)))
    return conclude(memory(Mode.CAPACITY), made).plan


def fight(seconds: int, every_s: int = 5, plan: Plan | None = None) -> tuple[Contested, list[float]]:
    """Somebody puts back what is written before every pass; the times of our writes."""
    contested, times, plan = Contested(), [], plan or raising()
    for t in range(0, seconds, every_s):
        due = contested.deferring(plan, POLICY, NOW + t).due
        contested.applied(due, POLICY, NOW + t)
        times += [float(t)] * any(action.kind is ActionKind.RAISE_FLOOR for action in due)
    return contested, times


def test_a_floor_that_is_put_back_is_written_after_pauses_that_double() -> None:
    """Every pass, which was up to 720 patches an hour."""
    _, times = fight(3600)
    assert times[:5] == [0, 10, 30, 70, 150]
    assert len(times) < 15


def test_people_are_notified_of_the_other_writer() -> None:
    """With the object, the field and what to do; not of one that put it back once."""
    contested, _ = fight(200)
    (alert,) = [one for one in contested.alerts(POLICY, NOW + 200) if one.key == f"contested/{INF2}/raise-floor"]
    assert "ScaledObject sd21-inf2-hpa minReplicaCount" in alert.text
    assert "GitOps" in alert.text
    assert not list(fight(15)[0].alerts(POLICY, NOW + 15))
    assert not list(contested.alerts(POLICY, NOW + 200 + POLICY.flap_window_s))


@pytest.mark.parametrize("field", ["before", "after"])
def test_another_value_is_written_at_once(field: str) -> None:
    """The demand has grown, or our own write stands: nobody has put anything back."""
    contested, _ = fight(200)
    plan = raising()

    def other(action: Action) -> Action:
        return replace(action, before="7") if field == "before" else replace(action, after="9")

    changed = replace(plan, actions=tuple(other(action) for action in plan.actions))
    assert contested.deferring(changed, POLICY, NOW + 201).due == changed.due


def test_a_write_that_waits_says_so_and_when_it_is_due() -> None:
    """In the plan that people see, and for the next pass."""
    contested, times = fight(200)
    deferred = [one.deferred for one in contested.deferring(raising(), POLICY, NOW + 200).actions if one.kind is ActionKind.RAISE_FLOOR]
    assert deferred
    assert all("another writer put it back" in words for words in deferred)
    waiting = contested.deferring(raising(), POLICY, NOW + 200)
    assert min(contested.again_s(waiting, POLICY, NOW + 200)) == pytest.approx(times[-1] + 160 - 200)


def test_what_was_written_just_now_asks_for_no_further_pass() -> None:
    """Nobody has put it back yet."""
    contested, plan = Contested(), raising()
    contested.applied(plan.due, POLICY, NOW)
    assert not list(contested.again_s(plan, POLICY, NOW))


def test_a_clock_that_was_set_back_makes_no_pause_longer() -> None:
    """The pause would last until the clock has caught up."""
    contested, _ = fight(200)
    assert contested.deferring(raising(), POLICY, NOW - 3600).due
