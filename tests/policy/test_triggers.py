"""What asks for a mode change: the whole trigger with its words, and until when the load balancer may show the last change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from controller.policy.account import Figures
from controller.policy.case import Case
from controller.policy.evidence import assess
from controller.policy.model import (
    Cause,
    Memory,
    Mode,
    ModeChange,
    Override,
    PolicySettings,
    Proof,
    Return,
    Sample,
    Shortage,
    Snapshot,
    UnitEvidence,
    UnitMemory,
    Verdict,
    Verification,
)
from controller.policy.modes import Trigger, Triggered, guards, rollback_in_s, triggered
from controller.policy.reasons import Reason
from tests.policy.support import G6, INF2, TRN1, change
from tests.support.applications import NOW, application, memory, routing, snapshot

HURRIED = tuple(one for one in guards.FAILOVER if one.name != "patience")
APP = application(policy=PolicySettings(rollback_s=300.0))
ROUTING = replace(routing(), action="now", verification=Verification(Verdict.NOT_YET, NOW, "no rule has it", "now"))
CHANGED = memory(mode_changes=(ModeChange(NOW - 200, Mode.COST, Reason.RETURN_PROVEN),), unverified_since=NOW - 200)


def _case(made: Snapshot, remembered: Memory | None = None, judged: Sequence[UnitEvidence] = ()) -> Case:
    kept = remembered or memory()
    found = {**assess(made, kept, Figures.of(made).needed), **{one.unit: one for one in judged}}
    return Case(made, kept, kept.mode, "", found, Figures.of(made))


def _short(unit: str, **changes: Any) -> UnitEvidence:
    made = UnitEvidence(unit, Shortage.PROVEN, demand=2, cause=Cause.CAPACITY, codes=("Insufficient",), proof=Proof.SATURATED)
    return replace(made, **changes)


@pytest.mark.parametrize(("pin", "trigger"), [(Mode.CAPACITY, Trigger.PIN_CAPACITY), (Mode.COST, Trigger.PIN_COST)])
@pytest.mark.parametrize(
    ("why", "by", "words"),
    [("drill", "ann", "drill (ann)"), ("", "", "no reason given"), ("", "ann", "no reason given (ann)")],
)
def test_a_pin_asks_for_its_mode_with_the_name_and_the_reason_of_the_person(
    pin: Mode, trigger: Trigger, why: str, by: str, words: str
) -> None:
    """The history would not say who moved the traffic. A pin comes before every other trigger, and none is left in the mode it names."""
    mode = Mode.COST if pin is Mode.CAPACITY else Mode.CAPACITY
    made = snapshot(mode=mode, routing=routing(mode, override=Override(pinned_mode=pin, pinned_why=why, pinned_by=by)))
    details = {"mode": str(pin), "why": words, "units": "", "by": by}
    expected = Triggered(trigger, Reason.PINNED_TO_MODE, (), details, tuple(guards.MODE_CHANGE))
    assert triggered(mode, _case(made, memory(mode), [_short(INF2)])) == expected
    there = triggered(pin, _case(snapshot(mode=pin, routing=made.routing), memory(pin)))
    assert (there and there.trigger) is (Trigger.RETURN if pin is Mode.CAPACITY else None)


def test_a_change_that_is_not_shown_in_time_is_taken_back_with_the_load_balancers_words() -> None:
    """A person must read which mode is left, how long it was waited for, and what the load balancer lacks. It comes before a shortage."""
    made, old = snapshot(APP, routing=ROUTING), replace(CHANGED, unverified_since=NOW - 300)
    old = replace(old, mode_changes=(replace(CHANGED.mode_changes[0], at=NOW - 300),))
    details = {"mode": "cost", "waited": "5 min", "problem": "no rule has it"}
    expected = Triggered(Trigger.UNVERIFIED, Reason.ROLLED_BACK, (), details, tuple(guards.ROLLBACK))
    assert triggered(Mode.COST, _case(made, old, [_short(INF2)])) == expected
    assert triggered(Mode.COST, _case(made, CHANGED)) is None


def test_the_first_change_that_was_not_shown_counts() -> None:
    """New weights since then must not put the roll-back off."""
    later = replace(CHANGED, unverified_since=NOW - 200, changed_at=NOW - 5)
    assert rollback_in_s(Mode.COST, _case(snapshot(APP, routing=ROUTING), later)) == 100


@pytest.mark.parametrize("at", [NOW - 200, NOW - 100])
def test_a_mode_change_since_the_load_balancer_showed_all_is_the_one_to_take_back(at: float) -> None:
    """The time counts from the first change of ours that it has not shown."""
    remembered = replace(CHANGED, mode_changes=(replace(CHANGED.mode_changes[0], at=at),))
    assert rollback_in_s(Mode.COST, _case(snapshot(APP, routing=ROUTING), remembered)) == 100


@pytest.mark.parametrize(
    ("remembered", "seen"),
    [
        pytest.param({"unverified_since": None}, {}, id="it was shown"),
        pytest.param({"mode_changes": ()}, {}, id="no mode change is known"),
        pytest.param({"mode_changes": (ModeChange(NOW - 200, Mode.CAPACITY, Reason.SHORTAGE_PROVEN),)}, {}, id="of another mode"),
        pytest.param({"mode_changes": (ModeChange(NOW - 201, Mode.COST, Reason.RETURN_PROVEN),)}, {}, id="shown, unlike weights since"),
        pytest.param({"mode_changes": (ModeChange(NOW - 200, Mode.COST, Reason.PINNED_TO_MODE),)}, {}, id="a person made it"),
        pytest.param({"mode_changes": (ModeChange(NOW - 200, Mode.COST, Reason.ROUTING_DRIFTED),)}, {}, id="it was found so"),
        pytest.param({"mode_changes": (ModeChange(NOW - 200, Mode.COST, Reason.ROLLED_BACK),)}, {}, id="a roll-back itself"),
        pytest.param({}, {"verdict": Verdict.CANNOT_TELL}, id="nobody can tell"),
        pytest.param({}, {"verdict": Verdict.YES}, id="it shows it now"),
        pytest.param({}, {"action": "before"}, id="another action was compared"),
    ],
)
def test_nothing_else_is_taken_back(remembered: dict[str, Any], seen: dict[str, Any]) -> None:
    """A roll-back of what a person did, or of what nobody could verify, would move users without a reason."""
    made = snapshot(APP, routing=replace(ROUTING, verification=replace(ROUTING.verification, **seen)))  # type: ignore[type-var]
    case = _case(made, replace(CHANGED, **remembered))
    assert rollback_in_s(Mode.COST, case) == math.inf
    assert triggered(Mode.COST, case) is None


@pytest.mark.parametrize(("rollback_s", "left"), [(0.0, math.inf), (0.5, 0.0), (150.0, 0.0), (201.0, 1.0)])
def test_roll_backs_are_off_at_zero_seconds(rollback_s: float, left: float) -> None:
    """They are off by default; the shortest time that a person may set counts."""
    made = snapshot(application(policy=PolicySettings(rollback_s=rollback_s)), routing=ROUTING)
    assert rollback_in_s(Mode.COST, _case(made, CHANGED)) == left
    unseen = replace(made, routing=replace(ROUTING, verification=None))
    assert rollback_in_s(Mode.COST, _case(unseen, CHANGED)) == math.inf


def test_a_shortage_names_all_short_units_with_causes_codes_and_pods() -> None:
    """The sentence of the failover is what people read first at night; each name and code is in it once."""
    judged = (
        _short(INF2),
        _short(TRN1, demand=3, codes=("Insufficient", "Vcpu"), cause=Cause.QUOTA),
        _short(G6, shortage=Shortage.SUSPECTED),
    )
    details = {"units": "sd21-inf2, sd21-trn1", "cause": "capacity, quota", "codes": "Insufficient, Vcpu", "pending": "5"}
    expected = Triggered(Trigger.SHORTAGE, Reason.SHORTAGE_PROVEN, (INF2, TRN1), details, tuple(guards.FAILOVER))
    app = application(policy=PolicySettings(trip_causes=frozenset({Cause.CAPACITY, Cause.QUOTA})))
    assert triggered(Mode.COST, _case(snapshot(app), judged=judged)) == expected
    only = replace(app, policy=PolicySettings(trip_causes=frozenset({Cause.CAPACITY})))
    found = triggered(Mode.COST, _case(snapshot(only), judged=judged))
    assert found is not None
    assert (found.subject, found.details["cause"], found.details["pending"]) == ((INF2,), "capacity", "2")
    none = replace(app, policy=PolicySettings(trip_causes=frozenset({Cause.NETWORK})))
    found = triggered(Mode.COST, _case(snapshot(none), judged=judged))
    assert found is not None
    assert found.subject == (INF2, TRN1), "its guard says why nothing follows"
    assert triggered(Mode.COST, _case(snapshot(app), judged=judged[2:])) is None
    weightless = replace(app, units=tuple(replace(one, weight=0 if one.name == INF2 else one.weight) for one in app.units))
    assert triggered(Mode.COST, _case(snapshot(weightless), judged=judged[:1])) is None


@pytest.mark.parametrize(
    ("proof", "slow", "hurried"),
    [
        (Proof.SATURATED, INF2, True),
        (Proof.NAMED, INF2, True),
        (Proof.AGE, INF2, False),
        (Proof.SATURATED, G6, False),
    ],
)
def test_users_that_suffer_end_the_patience_of_a_sure_proof_alone(proof: Proof, slow: str, *, hurried: bool) -> None:
    """Latency passes its limit in every scale-up: with a guess, or of another unit, it would cause failovers that nobody needs."""
    app = application()
    app = replace(app, units=tuple(replace(one, latency_limit_s=2.0) for one in app.units))
    made = change(snapshot(app), slow, latency=Sample(9.0, NOW))
    details = {"units": INF2, "cause": "capacity", "codes": "Insufficient", "pending": "2"}
    expected = (
        Triggered(Trigger.SHORTAGE, Reason.SLO_BREACHED, (INF2,), {**details, "breach": "latency 9.00 s over 2.00 s"}, HURRIED)
        if hurried
        else Triggered(Trigger.SHORTAGE, Reason.SHORTAGE_PROVEN, (INF2,), details, tuple(guards.FAILOVER))
    )
    assert triggered(Mode.COST, _case(made, judged=[_short(INF2, proof=proof)])) == expected


READY, LAUNCHED = "the replicas that the present demand needs are ready", "an instance was launched"


@pytest.mark.parametrize(
    ("returned", "units", "proof"),
    [
        pytest.param({}, "every unit", "no unit is remembered as short, and none waits that was refused", id="nothing is remembered"),
        pytest.param({INF2: Return.REPLICAS_READY}, INF2, READY, id="one"),
        pytest.param({INF2: Return.REPLICAS_READY, TRN1: Return.REPLICAS_READY}, f"{INF2}, {TRN1}", READY, id="two with the same proof"),
        pytest.param(
            {INF2: Return.REPLICAS_READY, TRN1: Return.LAUNCHED},
            f"{INF2}, {TRN1}",
            f"{INF2}: {READY}; {TRN1}: {LAUNCHED}",
            id="two with a proof each",
        ),
        pytest.param({INF2: Return.NONE}, INF2, "nothing is known", id="none yet"),
        pytest.param({INF2: Return.REGISTERED}, INF2, "a node that was requested after the last refusal has joined", id="a node"),
    ],
)
def test_a_return_says_of_each_remembered_unit_what_proves_it(returned: dict[str, Return], units: str, proof: str) -> None:
    """It is the sentence of the fallback. A unit that is gone from the application file, or may cause no failover, is not waited for."""
    kept = {name: UnitMemory(NOW - 5000, Cause.CAPACITY) for name in (*returned, "gone")}
    kept[G6] = UnitMemory(NOW - 5000, Cause.QUOTA)
    made = snapshot(application(policy=PolicySettings(trip_causes=frozenset({Cause.CAPACITY}))), Mode.CAPACITY)
    judged = [UnitEvidence(name, Shortage.NONE, cause=Cause.CAPACITY, returned=one) for name, one in returned.items()]
    judged.append(UnitEvidence(G6, Shortage.NONE, cause=Cause.QUOTA))
    expected = Triggered(Trigger.RETURN, Reason.RETURN_PROVEN, tuple(returned), {"units": units, "proof": proof}, tuple(guards.FALLBACK))
    assert triggered(Mode.CAPACITY, _case(made, memory(Mode.CAPACITY, units=kept), judged)) == expected
