"""A fallback in steps: a part of the traffic, a check, the next part; and all of it reversed when users suffer."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from controller.policy.decide import decide
from controller.policy.figures import Figures
from controller.policy.forward_action import MAX_TARGET_GROUPS
from controller.policy.model import (
    Application,
    Decision,
    Memory,
    Mode,
    Override,
    PolicySettings,
    RoutingStyle,
    Sample,
    Snapshot,
    Source,
    Strategy,
    Verb,
    Verdict,
    Verification,
)
from controller.policy.reasons import Reason
from controller.policy.targets import return_targets
from tests.policy.support import INF2, World, applied, change, refused, returned, shortage, with_scalers
from tests.support.applications import CAPACITY_TARGETS, COUNTED, NOW, SERVICES, application, memory, snapshot

POLICY = PolicySettings(return_steps=4, return_step_s=120)


def app(style: RoutingStyle = RoutingStyle.SINGLE_SERVICE, **changes: Any) -> Application:
    """Four steps of two minutes."""
    return application(routing_style=style, policy=replace(POLICY, **changes))


def world(style: RoutingStyle = RoutingStyle.SINGLE_SERVICE, **changes: Any) -> World:
    """Every guard of a fallback passes."""
    made, remembered = returned()
    return World(with_scalers(replace(made, application=app(style, **changes))), remembered)


def at_step(step: int, ago: float = 130, **changes: Any) -> tuple[Memory, Snapshot]:
    """A step was made and is shown by the load balancer."""
    made, remembered = returned()
    made = replace(made, application=app(), now=NOW)
    targets = return_targets(made.application, Figures.of(made), step)
    seen = Verification(Verdict.YES, NOW, "", "step", applied=True, counted=COUNTED)
    shown = replace(made.routing, targets=targets, action="step", return_step=step, verification=seen)
    made = replace(made, routing=replace(shown, **changes))
    return replace(remembered, changed_at=NOW - ago - 5, verified_at=NOW - ago), made


@pytest.mark.parametrize(
    ("style", "step", "weights"),
    [
        (RoutingStyle.SINGLE_SERVICE, 1, {"sd21-all": 77, INF2: 10, "sd21-trn1": 5, "sd21-g5-triton": 4, "sd21-g5-cuda": 4}),
        (RoutingStyle.SINGLE_SERVICE, 3, {"sd21-all": 33, INF2: 30, "sd21-trn1": 15, "sd21-g5-triton": 11, "sd21-g5-cuda": 11}),
        (RoutingStyle.IN_PLACE, 2, {INF2: 30, "sd21-trn1": 20, "sd21-g5-triton": 18, "sd21-g6-triton": 15, "sd21-g5-cuda": 17}),
    ],
)
def test_the_targets_of_a_step(style: RoutingStyle, step: int, weights: dict[str, int]) -> None:
    """AWS takes five target groups an action: with five units and the capacity Service the lightest unit waits for the last step."""
    made = snapshot(app(style))
    found = {target.service: target.weight for target in return_targets(made.application, Figures.of(made), step)}
    assert found == pytest.approx(weights, abs=1)
    assert sum(found.values()) == 100
    assert len(found) <= MAX_TARGET_GROUPS


@pytest.mark.parametrize("style", list(RoutingStyle))
def test_the_whole_way_back(style: RoutingStyle) -> None:
    """Each step is verified and healthy for its time; the mode changes with the last one."""
    made = world(style)
    steps: list[tuple[float, Decision]] = []
    for tick in range(200):
        decision, plan = made.tick(5)
        assert decision.mode is not Mode.COST or tick > 60
        if any(action.kind == "route" for action in plan.due):
            steps.append((made.snapshot.now, decision))
    verbs = [(decision.verb, decision.return_step) for _, decision in steps]
    assert verbs == [(Verb.ADVANCE, 1), (Verb.ADVANCE, 2), (Verb.ADVANCE, 3), (Verb.FALLBACK, 0)]
    pauses = [later - earlier for (earlier, _), (later, _) in pairwise(steps)]
    assert all(pause >= POLICY.return_step_s for pause in pauses)
    assert made.snapshot.routing.marker == "cost"
    assert made.snapshot.routing.return_step == 0
    assert (
        steps[0][1].sentence
        == "step 1 of 4 of the way back to cost mode with every unit: no unit is remembered as short, and none waits that was refused"
    )


def test_nothing_is_lowered_on_the_way() -> None:
    """Neither side: each may soon have to carry all traffic."""
    made = world()
    for _ in range(100):
        decision, plan = made.tick(5)
        if decision.mode is Mode.CAPACITY:
            needed = {name: judged.needed for name, judged in decision.evidence.items()}
            lowered = [one for one in plan.due if one.kind == "lower-floor" and int(one.after) < needed[one.unit]]
            assert made.snapshot.routing.return_step == 0 or not lowered


def test_a_restart_in_the_middle_goes_on() -> None:
    """One patch writes the step and the action to the Ingress, so after a lost memory the step only waits its time anew."""
    _, made = at_step(2)
    decision = decide(Memory(), made)[1]
    assert decision.verb is Verb.HOLD
    assert decision.mode is Mode.CAPACITY


@pytest.mark.parametrize(
    ("changes", "problem", "then"),
    [
        pytest.param({"error_ratio": Sample(0.05, NOW)}, "5.0 % errors over 1.0 %", Reason.HOLD_RUNNING, id="errors"),
        pytest.param(
            {"units": change(snapshot(), latency=Sample(3.0, NOW)).units}, "latency 3.00 s over 0.90 s", Reason.HOLD_RUNNING, id="latency"
        ),
        pytest.param({"units": shortage(at=NOW - 10).units}, "sd21-inf2 cannot get capacity", Reason.RETURN_UNPROVEN, id="short again"),
    ],
)
def test_trouble_takes_the_steps_back(changes: dict[str, Any], problem: str, then: Reason) -> None:
    """At once, to full capacity mode, and the next attempt waits twice as long."""
    remembered, made = at_step(2, ago=10)
    kept, decision = decide(remembered, replace(made, **changes))
    assert (decision.verb, decision.reason, decision.mode, decision.return_step) == (Verb.REVERSE, Reason.RETURN_REVERSED, Mode.CAPACITY, 0)
    assert decision.targets == CAPACITY_TARGETS
    assert decision.sentence == f"the way back to cost mode is reversed after step 2 of 4: {problem}"
    after = applied(kept, decision, NOW)
    assert (after.reversed_at, after.hold_level) == (NOW, remembered.hold_level + 1)
    calm = replace(snapshot(app(), Mode.CAPACITY), now=NOW + 60)
    held = decide(replace(after, verified_at=NOW + 1, unverified_since=None), calm)[1]
    assert held.reason is then, "not tried again in the next pass"


@pytest.mark.parametrize("step", [1, 3])
def test_the_first_whole_figures_of_a_step_judge_it(step: int) -> None:
    """They also open the guard that waits for them: the next step, or all the traffic, must not come in that pass."""
    remembered, made = at_step(step, ago=300)
    fine = decide(remembered, replace(made, error_ratio=Sample(0.001, NOW)))[1]
    assert fine.verb is (Verb.ADVANCE if step < 3 else Verb.FALLBACK)
    for trouble in ({"error_ratio": Sample(0.4, NOW)}, {"units": change(made, latency=Sample(30.0, NOW)).units}):
        assert decide(remembered, replace(made, **trouble))[1].verb is Verb.REVERSE


def test_a_unit_that_may_cause_no_failover_takes_no_step_back() -> None:
    """It may be short all along: the steps would be made and taken back every four hours, for ever."""
    remembered, made = at_step(1, ago=300)
    short = shortage(at=NOW - 10).units
    units = tuple(replace(unit, weight=0) if unit.name == INF2 else unit for unit in made.application.units)
    idle = replace(made, application=replace(made.application, units=units), units=short, error_ratio=Sample(0.001, NOW))
    assert decide(replace(remembered, units={}), idle)[1].verb is not Verb.REVERSE
    assert decide(remembered, replace(made, units=short))[1].verb is Verb.REVERSE


@pytest.mark.parametrize("step", [1, 2])
def test_a_step_keeps_its_weights_while_they_carry(step: int) -> None:
    """With weights that follow the demand each sample would begin it anew, and the way back would have no end."""
    remembered, made = at_step(step, ago=60)
    policy = replace(POLICY, strategy=Strategy.ADAPTIVE)
    made = replace(made, application=replace(made.application, policy=policy), error_ratio=Sample(0.001, NOW))
    calm = change(made, INF2, demand=Sample(300.0, NOW))
    targets = return_targets(calm.application, Figures.of(calm), step)
    calm = replace(calm, routing=replace(calm.routing, targets=targets))
    for requests in (240.0, 300.0, 360.0):
        decision = decide(remembered, change(calm, INF2, demand=Sample(requests, NOW)))[1]
        assert (decision.verb, decision.targets) == (Verb.HOLD, targets)
    gone = change(change(calm, INF2, demand=Sample(300.0, NOW)), INF2, ready=0, endpoints_ready=0)
    assert decide(remembered, gone)[1].verb in {Verb.REWEIGHT, Verb.REVERSE}, "what it sends to nobody is urgent"


def test_a_step_keeps_its_weights_while_a_new_process_has_not_heard_cloudwatch() -> None:
    """Each restart would begin the step anew."""
    remembered, made = at_step(1, ago=60)
    policy = replace(POLICY, strategy=Strategy.ADAPTIVE)
    calm = change(replace(made, application=replace(made.application, policy=policy)), INF2, demand=Sample(300.0, NOW))
    targets = return_targets(calm.application, Figures.of(calm), 1)
    unasked = Source("cloudwatch", required=False, last_ok=None, budget_s=300.0)
    begun = replace(change(calm, INF2, demand=None), routing=replace(calm.routing, targets=targets), sources=(*calm.sources, unasked))
    decision = decide(remembered, begun)[1]
    assert (decision.verb, decision.targets) == (Verb.HOLD, targets)


def test_trouble_is_left_although_few_targets_are_healthy() -> None:
    """A fallback waits for most of them, because it only saves money. To go back to capacity mode is urgent."""
    remembered, made = at_step(2, ago=10)
    seen = made.routing.verification
    assert seen is not None
    few = replace(seen, healthy={"sd21-all": 1}, counted={**COUNTED, "sd21-all": 1})
    made = replace(made, routing=replace(made.routing, verification=few), error_ratio=Sample(0.4, NOW))
    decision = decide(remembered, made)[1]
    assert (decision.verb, decision.targets) == (Verb.REVERSE, CAPACITY_TARGETS)


def test_old_figures_do_not_take_it_back() -> None:
    """Errors from before the step do not count for it."""
    remembered, made = at_step(2, ago=10)
    assert decide(remembered, replace(made, error_ratio=Sample(0.5, NOW - 60)))[1].verb is Verb.HOLD


@pytest.mark.parametrize(
    ("why", "by", "said"),
    [("incident 12", "", "incident 12"), ("incident 12", "ana", "incident 12 (ana)"), ("", "", "no reason given")],
    ids=["a reason", "a reason and a name", "neither"],
)
def test_a_pin_to_capacity_takes_it_back(why: str, by: str, said: str) -> None:
    """A person who asks for capacity mode gets all of it, and is named."""
    remembered, made = at_step(3, override=Override(pinned_mode=Mode.CAPACITY, pinned_why=why, pinned_by=by))
    decision = decide(remembered, made)[1]
    assert (decision.verb, decision.targets) == (Verb.REVERSE, CAPACITY_TARGETS)
    assert f"an operator pinned capacity mode: {said}" in decision.sentence


def test_a_pin_to_cost_skips_the_rest() -> None:
    """A person who asks for cost mode does not wait for steps."""
    remembered, made = at_step(1, ago=1, override=Override(pinned_mode=Mode.COST))
    decision = decide(remembered, made)[1]
    assert (decision.verb, decision.mode, decision.reason) == (Verb.FALLBACK, Mode.COST, Reason.PINNED_TO_MODE)


def test_a_refusal_without_demand_stops_it() -> None:
    """It stops and is not reversed: users are served, and another ten quiet minutes are needed."""
    remembered, made = at_step(2)
    made = change(made, pool_failures=(refused(NOW - 20),), pool_blocked_at=NOW - 19)
    decision = decide(remembered, made)[1]
    assert (decision.verb, decision.held_back) == (Verb.HOLD, Verb.FALLBACK)
    assert decision.return_step == 2


class TestFigures:
    """Where CloudWatch is asked, the next step waits for its figures of a whole period after the last one."""

    def _judged(self, made: Snapshot, last_ok: float | None = NOW, errors: Sample | None = None, ago: float = 130) -> Decision:
        source = Source("cloudwatch", False, last_ok, 600.0)
        remembered, _ = at_step(1, ago=ago)
        return decide(remembered, replace(made, sources=(*made.sources, source), error_ratio=errors))[1]

    def test_known_and_fine(self) -> None:
        """A whole period after the step without errors."""
        made = at_step(1)[1]
        assert self._judged(made, errors=Sample(0.0, NOW - 60)).return_step == 2

    def test_not_known_yet(self) -> None:
        """CloudWatch lags by minutes; the period that the step fell into says nothing of it."""
        decision = self._judged(at_step(1)[1], errors=Sample(0.0, NOW - 100))
        assert (decision.verb, decision.reason) == (Verb.HOLD, Reason.STEP_RUNNING)
        assert decision.alerts == ()

    def test_missing_metrics_mean_no_requests_in_the_end(self) -> None:
        """Its metrics are reported only where there are requests."""
        decision = self._judged(at_step(1)[1], errors=None, ago=361)
        assert (decision.verb, decision.return_step) == (Verb.ADVANCE, 2)

    def test_a_source_that_does_not_answer_stops_it(self) -> None:
        """Unknown errors hold the step and raise an alert."""
        decision = self._judged(at_step(1)[1], last_ok=NOW - 700, errors=Sample(0.0, NOW))
        assert (decision.verb, decision.reason) == (Verb.HOLD, Reason.SIGNALS_STALE)
        assert [alert.key for alert in decision.alerts] == ["held/SignalsStale"]


@pytest.mark.parametrize("steps", [1, 2])
def test_fewer_steps_in_the_file_while_it_runs(steps: int) -> None:
    """The way back goes on with the steps that the file has now."""
    remembered, made = at_step(3)
    made = replace(made, application=app(return_steps=steps))
    decision = decide(remembered, made)[1]
    assert decision.verb is Verb.FALLBACK
    assert {target.service for target in decision.targets} == set(SERVICES)


def test_a_step_that_the_load_balancer_does_not_show_is_not_followed_by_another() -> None:
    """Otherwise two parts would move at once."""
    remembered, made = at_step(1)
    seen = Verification(Verdict.NOT_YET, NOW, "rule 7", "step", counted=COUNTED)
    made = replace(made, routing=replace(made.routing, verification=seen))
    remembered = replace(remembered, verified_at=None, unverified_since=NOW - 50)
    decision = decide(remembered, made)[1]
    assert (decision.verb, decision.reason) == (Verb.HOLD, Reason.ROUTING_UNVERIFIED)
    assert memory().reversed_at is None


def test_what_cannot_be_reversed_yet_says_what_would_reverse_it() -> None:
    """No replica is ready behind the capacity Service: its requests would fail, so the steps stay as they are."""
    remembered, made = at_step(2, ago=10, capacity_ready=0)
    decision = decide(remembered, replace(made, error_ratio=Sample(0.05, NOW)))[1]
    assert (decision.verb, decision.held_back, decision.mode) == (Verb.HOLD, Verb.REVERSE, Mode.CAPACITY)
    assert decision.reason is Reason.STANDBY_NOT_READY
    assert "sd21-all has no ready endpoint" in decision.sentence


@pytest.mark.parametrize(("ratio", "verb"), [(1.0, Verb.REVERSE), (1.5, Verb.HOLD)], ids=["all requests fail", "no ratio"])
def test_a_ratio_above_one_is_none(ratio: float, verb: Verb) -> None:
    """A counter that was read twice says nothing."""
    remembered, made = at_step(2, ago=10)
    assert decide(remembered, replace(made, error_ratio=Sample(ratio, NOW)))[1].verb is verb
