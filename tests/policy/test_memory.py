"""What is remembered from pass to pass: as whole values, because a time that is lost or kept too long shortens or lengthens a wait."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.policy.account import FLAP_WINDOW_S
from controller.policy.fleet import noted_demand
from controller.policy.memory import (
    KEPT_MODE_CHANGES,
    REWRITTEN,
    adopt,
    author,
    changes_within_an_hour,
    fingerprint,
    observe,
    priced,
    sent_as,
)
from controller.policy.model import (
    NEVER,
    Cause,
    Decision,
    Memory,
    Mode,
    ModeChange,
    PolicySettings,
    Proof,
    Return,
    Sample,
    Shortage,
    Snapshot,
    Strategy,
    Target,
    UnitEvidence,
    UnitMemory,
    Verb,
    Verdict,
    Verification,
)
from controller.policy.model.modes import Repeats
from controller.policy.reasons import Reason
from controller.routing.ingress.action import format_action
from tests.policy.support import INF2, TRN1, applied, decide
from tests.support.applications import CAPACITY_TARGETS, NOW, application, memory, routing, snapshot

ACTION, OTHER = fingerprint(routing().action), fingerprint(routing(Mode.CAPACITY).action)
KNOWN: dict[str, Any] = {"action": ACTION, "routed_by": "uid-1"}
TO_COST = ModeChange(NOW - 7200, Mode.COST, Reason.RETURN_PROVEN)

WAITING = memory(
    changed_at=NOW - 300,
    verified_at=None,
    unverified_since=NOW - 400,
    sticky_s=500,
    nudged=Repeats(2, NOW - 100),
    reasserted=Repeats(3, NOW - 60, "gitops"),
    hold_level=2,
    mode_changes=(TO_COST,),
    units={INF2: UnitMemory(NOW - 900, Cause.CAPACITY)},
    **KNOWN,
)
"""A change that the load balancer has not shown yet, and everything else that a memory may hold at the same time."""

SETTLED = replace(WAITING, verified_at=NOW - 290, unverified_since=None, nudged=NEVER, sticky_s=0)
"""The same, once it was shown."""


def _decision(verb: Verb, mode: Mode | None = Mode.COST, reason: Reason = Reason.DEMAND_MET, **changes: Any) -> Decision:
    made = Decision(verb, mode, reason, {}, {}, (), targets=(Target("sd21-all", 80, 1),))
    return replace(made, **changes)


WRITTEN = fingerprint(format_action((Target("sd21-all", 80, 1),), 0))
SENT = sent_as((Target("sd21-all", 80, 1),), 0)


@pytest.mark.parametrize(
    ("before", "changes"),
    [
        pytest.param(WAITING, {"sticky_s": 500, "unverified_since": NOW - 400, "nudged": Repeats(2, NOW - 100)}, id="one more"),
        pytest.param(SETTLED, {"sticky_s": 30, "unverified_since": NOW, "nudged": NEVER}, id="the first"),
    ],
)
def test_a_change_of_the_routing_action_must_be_shown_again_and_nothing_else_is_forgotten(before: Memory, changes: dict[str, Any]) -> None:
    """Nudges and the time of the first change that was not shown go on counting: else a roll-back would never come."""
    assert applied(before, _decision(Verb.REWEIGHT, sticky_s=30), NOW) == replace(
        before, action=WRITTEN, sent=SENT, unseen=True, routed_at=(NOW,), changed_at=NOW, verified_at=None, **changes
    )


@pytest.mark.parametrize(
    ("changed_at", "earlier_s", "sticky_s", "expected"),
    [
        (NOW - 499, 500, 30, 500),
        (NOW - 500, 500, 30, 30),
        (NOW - 10, 20, 30, 30),
        (None, 500, 30, 30),
    ],
)
def test_clients_that_stick_after_an_earlier_change_are_still_waited_for(
    changed_at: float | None, earlier_s: int, sticky_s: int, expected: int
) -> None:
    """A floor that sinks while they still come back to their old targets drops their requests."""
    before = replace(SETTLED, changed_at=changed_at, sticky_s=earlier_s)
    assert applied(before, _decision(Verb.REWEIGHT, sticky_s=sticky_s), NOW).sticky_s == expected


@pytest.mark.parametrize(
    ("other", "stickiness_s"),
    [((Target("sd21-all", "80", 1),), 0), ((Target("sd21-all", 80, 2),), 0), ((Target("sd21-al", 80, 1),), 0), (CAPACITY_TARGETS, 1)],
    ids=["port", "weight", "Service", "stickiness"],
)
def test_two_actions_that_route_differently_are_not_the_same_sent(other: tuple[Target, ...], stickiness_s: int) -> None:
    """A new weight would wait like the same one that a webhook has put back."""
    assert sent_as(CAPACITY_TARGETS, 0) == SENT != sent_as(other, stickiness_s)


def test_a_nudge_counts_and_changes_nothing_else() -> None:
    """It writes no other routing action, so nothing has to be shown or drained again."""
    assert applied(WAITING, _decision(Verb.NUDGE), NOW) == replace(WAITING, nudged=Repeats(3, NOW))


@pytest.mark.parametrize("reason", [Reason.ROUTING_DRIFTED, Reason.ROUTING_MISSING])
@pytest.mark.parametrize("writer", ["kubectl-edit", ""])
def test_what_is_written_again_counts_against_its_writer(reason: Reason, writer: str) -> None:
    """The pauses double with it, and the alert names who fights."""
    details = {"writer": writer} if writer else {}
    kept = applied(WAITING, _decision(Verb.REWEIGHT, reason=reason, details=details), NOW)
    assert (kept.reasserted.times, kept.reasserted.at, kept.reasserted.against) == (4, NOW, writer)
    other = applied(WAITING, _decision(Verb.REWEIGHT, details=details), NOW)
    assert (other.reasserted.times, other.reasserted.at, other.reasserted.against) == (3, NOW - 60, "gitops")


@pytest.mark.parametrize("last", ["gitops", REWRITTEN])
@pytest.mark.parametrize("writer", ["gitops", REWRITTEN])
def test_what_is_rewritten_on_its_way_changes_nothing_the_second_time(writer: str, last: str) -> None:
    """Else no change would get old enough to be drained, and floors would never sink again. The first time it may stand."""
    before = replace(SETTLED, reasserted=replace(SETTLED.reasserted, against=last))
    kept = applied(before, _decision(Verb.REWEIGHT, reason=Reason.ROUTING_DRIFTED, details={"writer": writer, "mode": "cost"}), NOW)
    same = writer == last == REWRITTEN
    assert (kept.changed_at, kept.verified_at) == ((SETTLED.changed_at, SETTLED.verified_at) if same else (NOW, None))
    assert (kept.action, kept.sent, kept.unseen) == (SETTLED.action if same else WRITTEN, SENT, True)
    assert (kept.reasserted.times, kept.reasserted.at, kept.reasserted.against) == (4, NOW, writer)


@pytest.mark.parametrize(
    ("verb", "mode", "reason", "level", "units"),
    [
        pytest.param(Verb.FAILOVER, Mode.CAPACITY, Reason.SHORTAGE_PROVEN, 0, True, id="a failover"),
        pytest.param(Verb.FALLBACK, Mode.COST, Reason.RETURN_PROVEN, 2, False, id="a fallback"),
        pytest.param(Verb.ROLLBACK, Mode.CAPACITY, Reason.ROLLED_BACK, 3, True, id="a fallback that is rolled back"),
        pytest.param(Verb.ROLLBACK, Mode.COST, Reason.ROLLED_BACK, 2, True, id="a failover that is rolled back"),
    ],
)
def test_a_mode_change_begins_its_own_waits(verb: Verb, mode: Mode, reason: Reason, level: int, *, units: bool) -> None:
    """Nothing of the previous mode may be left: neither its nudges, nor its re-assertions, nor units that a fallback took back."""
    made = _decision(verb, mode, reason, details={"units": "inf2", "cause": "capacity", "codes": "x", "pending": "2", "proof": "ready"})
    made = replace(made, details={**made.details, "mode": str(mode), "waited": "5 min", "problem": "none"})
    assert applied(WAITING, made, NOW) == replace(
        WAITING,
        mode=mode,
        mode_since=NOW,
        mode_changes=(TO_COST, ModeChange(NOW, mode, reason, made.sentence, "the controller")),
        hold_level=level,
        units=WAITING.units if units else {},
        action=WRITTEN,
        sent=SENT,
        unseen=True,
        routed_at=(NOW,),
        changed_at=NOW,
        unverified_since=NOW,
        nudged=NEVER,
        reasserted=NEVER,
    )


@pytest.mark.parametrize(("ago", "level"), [(FLAP_WINDOW_S - 1, 3), (FLAP_WINDOW_S, 0)])
def test_a_failover_soon_after_a_fallback_holds_twice_as_long(ago: float, level: int) -> None:
    """Capacity that does not stay is not worth two mode changes; after a long calm the wait is the ordinary one."""
    before = replace(WAITING, mode_changes=(replace(TO_COST, at=NOW - ago),))
    assert applied(before, _decision(Verb.FAILOVER, Mode.CAPACITY), NOW).hold_level == level


@pytest.mark.parametrize(
    ("reason", "details", "by"),
    [
        (Reason.PINNED_TO_MODE, {"by": "ann"}, "ann"),
        (Reason.PINNED_TO_MODE, {"by": ""}, "a person"),
        (Reason.PINNED_TO_MODE, {}, "a person"),
        (Reason.SHORTAGE_PROVEN, {"by": "ann"}, "the controller"),
    ],
)
def test_the_history_says_who_changed_the_mode(reason: Reason, details: dict[str, str], by: str) -> None:
    """People ask it after every outage."""
    assert author(_decision(Verb.FAILOVER, reason=reason, details=details)) == by
    details = {"mode": "capacity", "why": "drill", **details}
    assert applied(memory(), _decision(Verb.FAILOVER, Mode.CAPACITY, reason, details=details), NOW).mode_changes[-1].by == by


def test_only_the_newest_mode_changes_are_kept() -> None:
    """The ConfigMap has an end; the newest are what the flip budget and people read."""
    many = tuple(replace(TO_COST, at=NOW - 9000 + at) for at in range(KEPT_MODE_CHANGES))
    kept = applied(memory(mode_changes=many), _decision(Verb.FAILOVER, Mode.CAPACITY), NOW).mode_changes
    assert kept[:-1] == many[1:]
    assert (kept[-1].at, kept[-1].to) == (NOW, Mode.CAPACITY)


def test_the_flip_budget_counts_the_last_hour() -> None:
    """A change that is an hour old no longer holds one back."""
    ages = (9000, 3601, 3600, 3599, 5)
    remembered = memory(mode_changes=tuple(replace(TO_COST, at=NOW - ago) for ago in ages))
    assert changes_within_an_hour(remembered, NOW) == [NOW - 3599, NOW - 5]


def test_a_price_is_noted_of_the_last_mode_change_alone() -> None:
    """Earlier ones keep theirs: the history shows what each change cost."""
    first, second = replace(TO_COST, dollars_before=9.0, dollars_after=8.0), replace(TO_COST, at=NOW)
    before = memory(mode_changes=(first, TO_COST, second))
    after = replace(second, dollars_before=3.1, dollars_after=4.85)
    assert priced(before, 3.1, 4.85) == replace(before, mode_changes=(first, TO_COST, after))


@pytest.mark.parametrize(
    ("before", "mode", "expected"),
    [
        pytest.param(WAITING, Mode.COST, WAITING, id="as remembered"),
        pytest.param(WAITING, None, WAITING, id="unknown"),
        pytest.param(
            Memory(hold_level=2),
            Mode.COST,
            Memory(mode=Mode.COST, mode_since=0.0, changed_at=NOW, hold_level=2),
            id="cost mode, perhaps for years",
        ),
        pytest.param(
            Memory(hold_level=2),
            Mode.CAPACITY,
            Memory(mode=Mode.CAPACITY, mode_since=NOW, changed_at=NOW, hold_level=2),
            id="capacity mode, since nobody knows when",
        ),
    ],
)
def test_the_mode_of_the_ingress_is_adopted(before: Memory, mode: Mode | None, expected: Memory) -> None:
    """A memory that was lost must neither end a dwell too early nor forget that the last change may be seconds old."""
    assert adopt(before, mode, NOW, "kubectl-edit") == expected


@pytest.mark.parametrize(("before", "mode", "level"), [(Mode.COST, Mode.CAPACITY, 0), (Mode.CAPACITY, Mode.COST, 2)])
def test_a_mode_that_somebody_else_set_is_a_mode_change_of_now(before: Mode, mode: Mode, level: int) -> None:
    """With its writer in the history; it must be shown and drained like one of ours, and starts its own dwell."""
    remembered = replace(SETTLED, mode=before, sent=SENT)
    found = ModeChange(NOW, mode, Reason.ROUTING_DRIFTED, "found so", "kubectl-edit")
    assert adopt(remembered, mode, NOW, "kubectl-edit") == replace(
        remembered,
        mode=mode,
        mode_since=NOW,
        mode_changes=(TO_COST, found),
        sent="",
        hold_level=level,
        changed_at=NOW,
        verified_at=None,
        unverified_since=NOW,
        reasserted=NEVER,
    )
    assert adopt(remembered, mode, NOW).mode_changes[-1].by == ""


def test_times_ahead_become_now_before_the_mode_is_compared() -> None:
    """A clock that was set back must not make a dwell last until it has caught up."""
    ahead = replace(SETTLED, mode_since=NOW + 500, changed_at=NOW + 400)
    assert adopt(ahead, Mode.COST, NOW) == replace(SETTLED, mode_since=NOW, changed_at=NOW)


def _judged(**changes: Any) -> UnitEvidence:
    return replace(UnitEvidence(INF2, Shortage.NONE, cause=Cause.NETWORK, ready=7), **changes)


def _observed(remembered: Memory, *judged: UnitEvidence, made: Snapshot | None = None, demand: float | None = None) -> Memory:
    return observe(replace(remembered, **KNOWN), made or snapshot(), {one.unit: one for one in judged}, demand)


SHORT = _judged(shortage=Shortage.PROVEN, proof=Proof.SATURATED, last_refusal_at=NOW - 20)
SUSPECTED = UnitMemory(NOW - 100, Cause.CAPACITY)
PROVEN = UnitMemory(NOW - 100, Cause.CAPACITY, ready_then=3, proven_at=NOW - 90)
BACK = replace(PROVEN, returned=Return.REGISTERED, returned_at=NOW - 10)


@pytest.mark.parametrize(
    ("mode", "before", "judged", "after"),
    [
        pytest.param(Mode.COST, None, SHORT, UnitMemory(NOW - 20, Cause.NETWORK, 7, NOW), id="proven"),
        pytest.param(Mode.COST, SUSPECTED, SHORT, UnitMemory(NOW - 20, Cause.NETWORK, 7, NOW), id="proven after a suspicion"),
        pytest.param(Mode.COST, PROVEN, SHORT, UnitMemory(NOW - 20, Cause.NETWORK, 3, NOW - 90), id="proven before"),
        pytest.param(Mode.CAPACITY, BACK, SHORT, UnitMemory(NOW - 20, Cause.NETWORK, 3, NOW - 90), id="short again"),
        pytest.param(Mode.COST, None, replace(SHORT, last_refusal_at=None), None, id="short without a refusal"),
        pytest.param(Mode.COST, None, _judged(last_refusal_at=NOW - 20), None, id="refused, and never short"),
        pytest.param(
            Mode.COST,
            BACK,
            _judged(last_refusal_at=NOW - 99),
            replace(BACK, last_failure_at=NOW - 99, cause=Cause.NETWORK),
            id="refused later than remembered",
        ),
        pytest.param(Mode.CAPACITY, PROVEN, _judged(last_refusal_at=NOW - 100), PROVEN, id="refused when it is remembered"),
        pytest.param(Mode.COST, PROVEN, _judged(last_refusal_at=NOW - 100), None, id="over before anything was done"),
        pytest.param(Mode.COST, PROVEN, _judged(), None, id="over, with nothing refused"),
        pytest.param(Mode.COST, PROVEN, _judged(proof=Proof.AGE, last_refusal_at=NOW - 100), PROVEN, id="a pod is replaced"),
        pytest.param(Mode.CAPACITY, PROVEN, _judged(), PROVEN, id="in capacity mode it is remembered"),
        pytest.param(
            Mode.CAPACITY,
            PROVEN,
            _judged(returned=Return.REGISTERED, returned_at=NOW - 5),
            replace(PROVEN, returned=Return.REGISTERED, returned_at=NOW - 5),
            id="a node has joined",
        ),
        pytest.param(
            Mode.CAPACITY,
            PROVEN,
            _judged(returned=Return.REPLICAS_READY, returned_at=NOW - 5),
            replace(PROVEN, returned=Return.REPLICAS_READY, returned_at=NOW - 5),
            id="the replicas are ready",
        ),
        pytest.param(
            Mode.CAPACITY, PROVEN, _judged(returned=Return.LAUNCHED, returned_at=NOW - 5), PROVEN, id="an instance alone is no proof"
        ),
        pytest.param(Mode.CAPACITY, None, _judged(returned=Return.REGISTERED, returned_at=NOW - 5), None, id="back, and never short"),
    ],
)
def test_each_pass_notes_what_must_outlive_the_events(
    mode: Mode, before: UnitMemory | None, judged: UnitEvidence, after: UnitMemory | None
) -> None:
    """The API server keeps events for an hour: what is forgotten too early ends a failover, what stays too long holds a fallback."""
    others = {TRN1: UnitMemory(NOW - 50, Cause.QUOTA, proven_at=NOW - 50)}
    kept = _observed(memory(mode, units={**others, **({} if before is None else {INF2: before})}), judged)
    assert kept.units == {**others, **({} if after is None else {INF2: after})}, "of a unit that is not judged nothing is new"


@pytest.mark.parametrize("strategy", Strategy)
def test_demand_is_remembered_only_for_the_strategy_that_plans_with_it(strategy: Strategy) -> None:
    """A history of days in every ConfigMap would be paid for by everyone; one that stays after the strategy changed is stale."""
    made = snapshot(application(policy=PolicySettings(strategy=strategy)))
    counted = replace(made, units={name: replace(one, demand=Sample(10.0, NOW)) for name, one in made.units.items()})
    before = noted_demand(None, NOW - 600, 40.0)
    planned = strategy is Strategy.PLANNED
    assert decide(memory(demand_history=before), counted)[0].demand_history == (noted_demand(before, NOW, 50.0) if planned else None)
    assert decide(memory(demand_history=before), made)[0].demand_history == (before if planned else None)


@pytest.mark.parametrize(
    ("action", "ingress", "changes"),
    [
        pytest.param(ACTION, "uid-1", {}, id="as remembered"),
        pytest.param("", "", {}, id="the first that is seen"),
        pytest.param("", "uid-1", {}, id="the first action on a known Ingress"),
        pytest.param(OTHER, "uid-1", {"changed_at": NOW, "verified_at": None, "unverified_since": NOW}, id="another action"),
        pytest.param(
            ACTION, "uid-0", {"changed_at": NOW, "verified_at": None, "unverified_since": NOW}, id="an Ingress that was made anew"
        ),
    ],
)
def test_a_routing_action_that_differs_from_the_remembered_one_counts_as_changed_now(
    action: str, ingress: str, changes: dict[str, Any]
) -> None:
    """Floors sank before the load balancer had the action that somebody else, or a process that died, had written."""
    before = replace(SETTLED, action=action, routed_by=ingress, reasserted=Repeats(0, NOW - 60))
    made = snapshot(routing=replace(routing(), verification=None))
    units = {INF2: _judged()}
    assert observe(before, made, units, None) == replace(before, **KNOWN, **changes, units={})
    assert observe(before, snapshot(routing=replace(routing(), action="", verification=None)), units, None) == replace(before, units={})


@pytest.mark.parametrize(
    ("before", "seen", "changes"),
    [
        pytest.param(WAITING, {}, "shown", id="shown"),
        pytest.param(WAITING, {"at": NOW - 300}, "shown", id="shown in the moment of the change"),
        pytest.param(WAITING, {"at": NOW - 301}, "", id="compared before the change"),
        pytest.param(WAITING, {"action": "another"}, "", id="compared with another action"),
        pytest.param(WAITING, {"verdict": Verdict.CANNOT_TELL}, "", id="nobody can tell"),
        pytest.param(WAITING, {"verdict": Verdict.NOT_YET}, "", id="not yet"),
        pytest.param(replace(WAITING, verified_at=NOW - 200), {}, "", id="shown before"),
        pytest.param(replace(WAITING, changed_at=None), {}, "", id="nothing was changed"),
        pytest.param(SETTLED, {}, "", id="still shown"),
        pytest.param(SETTLED, {"verdict": Verdict.NOT_YET}, "changed", id="no longer shown"),
        pytest.param(SETTLED, {"verdict": Verdict.NOT_YET, "applied": True}, "", id="its targets are not healthy"),
        pytest.param(SETTLED, {"verdict": Verdict.CANNOT_TELL}, "", id="nobody can tell any more"),
    ],
)
def test_the_load_balancer_shows_a_change_once_and_its_loss_is_a_new_change(before: Memory, seen: dict[str, Any], changes: str) -> None:
    """Floors sink only after the first; the second is a rule that somebody edited, which nothing else would repair for hours."""
    verification = replace(Verification(Verdict.YES, NOW - 5, "", routing().action), **seen)
    made = snapshot(routing=replace(routing(), verification=verification))
    shown: dict[str, Any] = {
        "verified_at": verification.at,
        "unverified_since": None,
        "nudged": NEVER,
        "mode_changes": (replace(TO_COST, verified_at=verification.at),),
    }
    changed: dict[str, Any] = {"changed_at": NOW, "verified_at": None, "unverified_since": NOW, "sticky_s": 0}
    expected = {"shown": shown, "changed": changed, "": dict[str, Any]()}[changes]
    assert observe(before, made, {INF2: _judged(last_refusal_at=NOW - 900, proof=Proof.AGE)}, None) == replace(before, **expected)


def test_only_the_last_mode_change_is_noted_as_shown_and_only_once() -> None:
    """New weights that are shown later say nothing about how long the mode change took."""
    earlier, last = TO_COST, ModeChange(NOW - 300, Mode.COST, Reason.RETURN_PROVEN)
    made = snapshot(routing=replace(routing(), verification=Verification(Verdict.YES, NOW - 5, "", routing().action)))
    for changes, after in (
        ((earlier, last), (earlier, replace(last, verified_at=NOW - 5))),
        ((earlier, replace(last, verified_at=NOW - 200)), (earlier, replace(last, verified_at=NOW - 200))),
        ((), ()),
    ):
        kept = observe(replace(WAITING, mode_changes=changes), made, {}, None)
        assert (kept.mode_changes, kept.verified_at) == (after, NOW - 5)


@pytest.mark.parametrize(("ago", "calm"), [(FLAP_WINDOW_S - 1, False), (FLAP_WINDOW_S, True)])
def test_re_assertions_are_forgotten_after_a_flap_window_of_calm(ago: float, *, calm: bool) -> None:
    """Else the first change of a person next month would wait as long as the last fight made it."""
    made = snapshot()
    before = memory(reasserted=Repeats(3, NOW - ago, "gitops"), **KNOWN)
    forgotten = replace(before, reasserted=NEVER)
    assert observe(before, made, {}, None) == (forgotten if calm else before)


@pytest.mark.parametrize("seconds", [100.0, 7200.0])
def test_missing_metrics_are_noted_with_the_rest(seconds: float) -> None:
    """The hold of the replicas begins in the pass that finds no metrics."""
    kept = _observed(memory(demand_known_since=NOW - seconds), demand=5.0)
    assert kept.demand_known_since == NOW - seconds
    assert _observed(memory(), demand=5.0).demand_known_since == NOW
