"""Every combination of mode, evidence and guard yields a decision with a reason, and nothing but the table changes the mode."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from controller.policy.model import (
    ActionKind,
    Cause,
    Decision,
    Memory,
    Mode,
    ModeChange,
    Override,
    PolicySettings,
    Return,
    Sample,
    Snapshot,
    Source,
    Target,
    Verb,
    Verdict,
    Verification,
)
from controller.policy.model.modes import Repeats
from controller.policy.modes import TRANSITIONS, Trigger, transition
from controller.policy.reasons import Reason
from controller.policy.routing import MAX_TARGET_GROUPS
from controller.policy.routing.forward_action import MAX_WEIGHT
from tests.policy.support import INF2, TRN1, applied, change, decide, plan, pods, proven, refused, scaler, shortage, with_scalers
from tests.support.applications import COUNTED, NOW, SERVICES, application, memory, routing, snapshot

ELSEWHERE: dict[Reason, str] = {
    Reason.ROUTING_OBJECT_MISSING: "test_guards.py::test_ingress: an Ingress that does not exist has no mode to combine",
    Reason.OVERRIDE_UNREADABLE: "test_guards.py: of an annotation that cannot be read",
    Reason.SHORTAGE_ABSORBED: "test_absorption.py: of a demand that the others can serve",
    Reason.REASSERT_BACKOFF: "test_decide.py::TestDrift: of a foreign writer",
    Reason.ROUTING_DRIFTED: "test_decide.py::TestDrift: of a foreign writer",
    Reason.NOTHING_ANSWERS: "test_nothing_answers.py: of Services that are gone",
    Reason.NOTHING_SERVES: "test_decide.py::TestDrift: of Deployments that were scaled to 0",
    Reason.ROUTING_MISSING: "test_decide.py::TestDrift: of an action that was deleted",
    Reason.ROUTING_TAKEN_OVER: "test_decide.py::TestDrift: of an Ingress that the controller has never written",
    Reason.ROUTING_BUDGET_SPENT: "test_gate.py: of twenty changes within an hour",
    Reason.WEIGHTS_SETTLING: "test_gate.py: the reason of no decision, but of weights that stay",
    Reason.WEIGHTS_KEPT: "test_gate.py: likewise",
    Reason.FIGURES_AWAITED: "test_gate.py: likewise",
    Reason.ROLLED_BACK: "test_rollback.py: off by default",
    Reason.NUDGED: "test_nudge.py: of a change that was not shown for minutes",
    Reason.ACTION_REFUSED: "test_preflight.py: the application file does not allow what AWS refuses",
    Reason.RESERVATION_ENDS: "test_reservations.py: of a Capacity Block",
    Reason.RESERVATION_ENDING: "test_reservations.py: of a Capacity Block",
    Reason.ROUTING_BLOCKED: "test_preflight.py: of what the load-balancer controller reports",
}
"""Reasons that the dimensions below do not reach, and the test that does."""

ELSEWHERE_TRANSITIONS = {(mode, trigger) for mode in Mode for trigger in (Trigger.UNVERIFIED, Trigger.NOTHING_BEHIND)}
"""Those of test_rollback.py, off by default, and of test_nothing_answers.py."""

SAMPLE = Sample(300, NOW)


PLAIN = memory()


@dataclass(frozen=True)
class Evidence:
    """One class of evidence: how it changes a snapshot, and what is remembered of it."""

    name: str
    shown: Callable[[Snapshot], Snapshot]
    memory: Memory = PLAIN


def _all_short(made: Snapshot) -> Snapshot:
    return replace(made, units={name: shortage(made, name).units[name] for name in SERVICES})


def _narrow(made: Snapshot) -> Snapshot:
    return change(shortage(made, zones=("a",)), pool_zones=("a", "b"), pool_blocked_at=None)


def _not_allowed(made: Snapshot) -> Snapshot:
    policy = replace(made.application.policy, trip_causes=frozenset({Cause.CAPACITY}))
    return shortage(replace(made, application=replace(made.application, policy=policy)), cause=Cause.QUOTA)


PATIENT = memory(units=proven(NOW - 60))
COST = (
    Evidence("nothing", lambda made: made),
    Evidence("pods-wait", lambda made: change(made, pending=pods(), desired=4)),
    Evidence("refused-without-demand", lambda made: change(made, pool_failures=(refused(),))),
    Evidence("part-refused", _narrow),
    Evidence("part-refused-and-slow", lambda made: change(_narrow(made), latency=Sample(9.0, NOW))),
    Evidence("just-proven", shortage),
    Evidence("proven", shortage, PATIENT),
    Evidence("not-allowed", _not_allowed, PATIENT),
    Evidence("proven-and-slow", lambda made: change(shortage(made), latency=Sample(9.0, NOW)), PATIENT),
    Evidence("pool-limit", lambda made: change(made, pool_at_limit="8 cpu", pending=pods(since=NOW - 300), desired=4), PATIENT),
    Evidence("all-short", _all_short, PATIENT),
)


def _remembered(at: float = NOW - 80_000, returned: Return = Return.NONE, returned_at: float | None = None, **changes: object) -> Memory:
    made = memory(Mode.CAPACITY, units=proven(at, returned=returned, returned_at=returned_at))
    return replace(made, **changes)  # type: ignore[arg-type]


BACK = _remembered(returned=Return.REGISTERED, returned_at=NOW - 79_000)
CAPACITY = (
    Evidence("nothing-remembered", lambda made: made, memory(Mode.CAPACITY)),
    Evidence("no signal", lambda made: made, _remembered()),
    Evidence("registered", lambda made: made, BACK),
    Evidence("not-quiet", lambda made: made, _remembered(NOW - 300, Return.REGISTERED, NOW - 200)),
    Evidence("hold-runs", lambda made: made, _remembered(NOW - 900, Return.REPLICAS_READY, NOW - 200)),
    Evidence("too-young-a-mode", lambda made: made, replace(BACK, mode_since=NOW - 5)),
    Evidence("short-again", shortage, BACK),
)

OVERRIDES = (
    Override(),
    Override(pinned_mode=Mode.COST),
    Override(pinned_mode=Mode.CAPACITY),
    Override(paused_until=math.inf),
)
SPENT = tuple(ModeChange(NOW - age, Mode.COST, Reason.RETURN_PROVEN) for age in (3000.0, 2000.0, 1000.0, 100.0))
READY: tuple[Callable[[Snapshot], Snapshot], ...] = (
    lambda made: made,
    lambda made: change(made, TRN1, demand=Sample(2000, NOW)),
    lambda made: change(change(made, deployment_ready=2, endpoints_ready=0), ready=0),
)
STANDBY: tuple[Callable[[Snapshot], Snapshot], ...] = (
    lambda made: made,
    lambda made: replace(made, routing=replace(made.routing, capacity_ready=0)),
    lambda made: replace(made, routing=replace(made.routing, standby=())),
)


def _cases(mode: Mode | None, evidence: Evidence) -> Iterator[tuple[Memory, Snapshot]]:
    """All snapshots and memories of one class of evidence."""
    every_shortage = application(policy=PolicySettings(failover_utilization=0.0))
    plain = with_scalers(snapshot(every_shortage, mode or Mode.COST))
    plain = evidence.shown(change(plain, TRN1, demand=SAMPLE))
    if mode is None:
        plain = replace(plain, routing=routing(marker="", targets=(Target("other", 80, 1),), action="other"))
    sources = {fresh: (Source("karpenter", True, NOW if fresh else NOW - 999, 180),) for fresh in (True, False)}
    memories = [replace(evidence.memory, mode=mode, mode_changes=changes, changed_at=NOW - 700) for changes in ((), SPENT)]
    for change_ready, change_standby in itertools.product(READY, STANDBY):
        observed = change_standby(change_ready(plain))
        action = observed.routing.action
        verdicts = (
            Verification(Verdict.YES, NOW, "", action, counted=COUNTED),
            Verification(Verdict.NOT_YET, NOW, "rule 7", action, counted=COUNTED),
        )
        for override, verdict in itertools.product(OVERRIDES, verdicts):
            shown = replace(observed.routing, override=override, verification=verdict)
            for leader, fresh in itertools.product((True, False), (True, False)):
                made = replace(observed, leader=leader, sources=sources[fresh], routing=shown)
                for remembered in memories:
                    yield remembered, made


def _check_decision(made: Snapshot, decision: Decision) -> None:
    assert "?>" not in decision.sentence, f"a person reads a placeholder: {decision.sentence}"
    assert decision.sentence
    assert len(decision.evidence) == len(SERVICES)
    kinds = [action.kind for action in plan(decision, made).actions]
    stale = made.sources[0].last_ok != NOW
    if not made.leader or stale or made.routing.override.paused_until is not None or decision.mode is None:
        assert (decision.verb, decision.targets, kinds) == (Verb.HOLD, (), []), f"something is written although {decision.sentence}"
        return
    assert all("?>" not in result.text for result in decision.guards), "a person reads a placeholder in a guard"
    if decision.targets:
        weights = [target.weight for target in decision.targets]
        assert len(weights) <= MAX_TARGET_GROUPS, "AWS refuses the action and the Ingress answers 503"
        assert all(type(weight) is int and 0 <= weight <= MAX_WEIGHT for weight in weights)
        assert sum(weights) > 0, "no target group gets traffic: users get a 503"
    if decision.verb in {Verb.FAILOVER, Verb.FALLBACK}:
        assert not decision.lowering_allowed, "replicas are taken away behind traffic that has not moved"
        assert ActionKind.ROUTE in kinds, "the mode changes and the traffic does not"
        assert all(result.passed for result in decision.guards)
    elif decision.verb is Verb.HOLD:
        assert ActionKind.ROUTE not in kinds, "a hold moves traffic"


def _check_transition(before: Memory, made: Snapshot, after: Memory, decision: Decision, seen: set[tuple[Mode, Trigger]]) -> None:
    mode = before.mode
    if decision.verb not in {Verb.FAILOVER, Verb.FALLBACK}:
        assert decision.mode is mode, f"{decision.verb} changes the mode"
        assert after.mode is mode, "an observation is remembered as a mode change"
        assert decision.verb is Verb.HOLD or applied(after, decision, NOW).mode is mode, (
            f"{decision.verb} is remembered as a change of mode"
        )
        return
    assert mode is not None
    pin = made.routing.override.pin(made.now)
    if decision.reason is Reason.PINNED_TO_MODE:
        trigger = Trigger.PIN_COST if pin is Mode.COST else Trigger.PIN_CAPACITY
    elif decision.reason is Reason.NOTHING_ANSWERS:
        trigger = Trigger.NOTHING_BEHIND
    else:
        assert pin is None, "an automatic change against an operator's pin"
        trigger = Trigger.SHORTAGE if mode is Mode.COST else Trigger.RETURN
    assert TRANSITIONS[mode, trigger] == (decision.mode, decision.verb)
    assert applied(after, decision, NOW).mode is decision.mode
    seen.add((mode, trigger))


def _walk(mode: Mode | None, evidence: Evidence) -> tuple[set[Reason], set[tuple[Mode, Trigger]], int]:
    reasons: set[Reason] = set()
    seen: set[tuple[Mode, Trigger]] = set()
    count = 0
    for remembered, made in _cases(mode, evidence):
        after, decision = decide(remembered, made)
        _check_decision(made, decision)
        _check_transition(remembered, made, after, decision, seen)
        reasons.add(decision.reason)
        count += 1
    return reasons, seen, count


UNKNOWN = (Evidence("proven", shortage, PATIENT),)
ALL = [(mode, evidence) for mode, some in ((Mode.COST, COST), (Mode.CAPACITY, CAPACITY), (None, UNKNOWN)) for evidence in some]


def test_every_combination_has_a_decision_with_a_reason_and_every_reason_a_combination() -> None:
    """Mode x evidence x leader x paused x pinned x fresh x ready x budget x standby x verified: no surprise, no dead sentence."""
    reasons: set[Reason] = set()
    transitions: set[tuple[Mode, Trigger]] = set()
    count = 0
    for mode, evidence in ALL:
        found, seen, cases = _walk(mode, evidence)
        reasons |= found
        transitions |= seen
        count += cases
    assert count == len(ALL) * len(READY) * len(STANDBY) * len(OVERRIDES) * 2 * 2 * 2 * 2
    assert transitions | ELSEWHERE_TRANSITIONS == set(TRANSITIONS), "a transition of the table that nothing reaches"
    assert reasons.isdisjoint(ELSEWHERE), "reached after all: take it off the list"
    assert reasons | set(ELSEWHERE) == set(Reason), "a reason that nothing reaches is a sentence that nobody can test"


def test_reasons_that_are_reached_elsewhere_are_reached() -> None:
    """The list above is checked, not believed."""
    foreign: dict[str, Any] = {"targets": (Target(INF2, 80, 1),), "action": "x", "foreign": True, "writer": "argocd"}
    drifted = snapshot(routing=routing(**foreign))
    assert decide(memory(), drifted)[1].reason is Reason.ROUTING_DRIFTED
    assert decide(memory(reasserted=Repeats(1, NOW)), drifted)[1].reason is Reason.REASSERT_BACKOFF
    assert decide(memory(), snapshot(routing=routing(exists=False)))[1].reason is Reason.ROUTING_OBJECT_MISSING
    assert set(ELSEWHERE) <= set(Reason)


@pytest.mark.parametrize(("mode", "trigger"), list(itertools.product(Mode, Trigger)))
def test_a_pair_that_is_not_in_the_table_changes_nothing(mode: Mode, trigger: Trigger) -> None:
    """The table is complete: what it does not say does not happen."""
    expected = TRANSITIONS.get((mode, trigger), (mode, Verb.HOLD))
    assert transition(mode, trigger) == expected
    assert (expected[0] is not mode) == ((mode, trigger) in TRANSITIONS)


def test_a_scaler_is_in_every_combination() -> None:
    """Without any the plans above would be nearly empty."""
    assert scaler() is not None
    made = next(_cases(Mode.COST, COST[0]))[1]
    assert all(observed.scaler is not None for observed in made.units.values())
