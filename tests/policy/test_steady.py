"""What is done within a mode: whole decisions of what restores, nudges, reverses or re-weights, at the limits of each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.policy import guards
from controller.policy.absorption import Absorption
from controller.policy.case import Case
from controller.policy.decide import decide
from controller.policy.figures import Figures
from controller.policy.model import Mode, Override, PolicySettings, RoutingStyle, Sample, Snapshot, Target, Verb, Verdict, Verification
from controller.policy.reasons import Reason
from controller.policy.routing import format_action
from controller.policy.steady import _overloads_short
from controller.policy.targets import return_targets
from tests.policy.support import INF2, TRN1, change, returned, with_scalers
from tests.support.applications import (
    CAPACITY_TARGETS,
    COST_TARGETS,
    COUNTED,
    NOW,
    SERVICES,
    application,
    memory,
    routing,
    snapshot,
)

FOREIGN = (Target("elsewhere", 80, 1),)
ALWAYS, REROUTE = ([one.__name__ for one in each] for each in (guards.ALWAYS, guards.REROUTE))


def _drifted(mode: Mode = Mode.COST, app: Any = None, **changes: Any) -> Snapshot:
    changed = {"targets": FOREIGN, "action": format_action(FOREIGN, 0), "writer": "argocd", "foreign": True, **changes}
    return snapshot(app, mode, routing=routing(mode, **changed))


@pytest.mark.parametrize(
    ("reasserts", "ago", "left"),
    [(0, None, 0), (1, 19, 1), (1, 20, 0), (3, 60, 20), (16, 65_000, 536), (17, 65_000, 536), (17, 65_536, 0), (900, 65_000, 536)],
)
def test_what_somebody_else_changed_is_restored_after_a_pause_that_doubles_sixteen_times(
    reasserts: int, ago: float | None, left: float
) -> None:
    """People read who fights, how long the pause is, and in which mode; a fight of a year must not make a pause without an end."""
    app = application(policy=PolicySettings(reassert_base_s=1.0 if reasserts > 3 else 10.0, reassert_max_s=1e9, flap_window_s=1e6))
    remembered = memory(reasserts=reasserts, reasserted_at=None if ago is None else NOW - ago)
    decision = decide(remembered, _drifted(app=app))[1]
    assert (decision.details["mode"], decision.details["writer"]) == ("cost", "argocd")
    assert [one.guard for one in decision.guards] == [*ALWAYS, *REROUTE]
    if left:
        assert (decision.verb, decision.mode, decision.reason) == (Verb.HOLD, Mode.COST, Reason.REASSERT_BACKOFF)
        assert (decision.targets, decision.next_check_s) == ((), left)
        minutes, seconds = divmod(int(left), 60)
        assert decision.details["remaining"] == (f"{minutes} min {seconds} s" if minutes else f"{seconds} s")
    else:
        assert (decision.verb, decision.mode, decision.reason) == (Verb.REWEIGHT, Mode.COST, Reason.ROUTING_DRIFTED)
        assert (decision.targets, "remaining" in decision.details) == (COST_TARGETS, False)


def test_a_writer_that_is_not_known_is_somebody() -> None:
    """The sentence must not end in nothing."""
    assert decide(memory(), _drifted(writer=""))[1].details["writer"] == "somebody"


def _at_step(step: int = 2, style: RoutingStyle = RoutingStyle.SINGLE_SERVICE, **changes: Any) -> Snapshot:
    """The second step of four of the way back, shown by the load balancer."""
    made, _ = returned()
    app = application(routing_style=style, policy=PolicySettings(return_steps=4, return_step_s=120, error_ratio_limit=0.01))
    made = replace(made, application=app)
    targets = return_targets(app, Figures.of(made), step)
    seen = Verification(Verdict.YES, NOW, "", "step", applied=True, counted=COUNTED)
    return replace(made, routing=replace(made.routing, targets=targets, action="step", return_step=step, verification=seen, **changes))


ON_THE_WAY = replace(returned()[1], changed_at=NOW - 15, verified_at=NOW - 10)


@pytest.mark.parametrize(
    ("until", "verb"),
    [(None, Verb.REVERSE), (NOW + 1, Verb.REVERSE), (NOW - 1, Verb.HOLD)],
)
def test_only_a_pin_that_still_counts_takes_the_way_back(until: float | None, verb: Verb) -> None:
    """A drill that ended yesterday must not send a return back to the expensive mode."""
    made = _at_step(override=Override(pinned_mode=Mode.CAPACITY, pinned_until=until))
    assert decide(ON_THE_WAY, made)[1].verb is verb


@pytest.mark.parametrize(("weight", "back"), [(0, False), (1, True), (40, True)])
def test_only_units_that_get_traffic_take_the_way_back(weight: int, *, back: bool) -> None:
    """Nobody waits for a unit without weight; a unit with the least weight has users like any other."""
    made = change(_at_step(), INF2, latency=Sample(9.0, NOW - 5))
    app = made.application
    app = replace(app, units=tuple(replace(one, weight=weight if one.name == INF2 else one.weight) for one in app.units))
    assert (decide(ON_THE_WAY, replace(made, application=app))[1].verb is Verb.REVERSE) is back


@pytest.mark.parametrize("at", [NOW - 15, NOW - 16])
def test_only_what_users_suffer_since_the_step_takes_the_way_back(at: float) -> None:
    """The figures of the mode before say nothing about the step. Where no change is remembered, those since the mode began count."""
    made = replace(_at_step(), error_ratio=Sample(0.5, at))
    assert decide(ON_THE_WAY, made)[1].verb is (Verb.REVERSE if at == NOW - 15 else Verb.HOLD)
    unknown = replace(ON_THE_WAY, changed_at=None)
    assert decide(unknown, made)[1].verb is Verb.REVERSE
    assert decide(replace(unknown, mode_since=NOW - 10), made)[1].verb is Verb.HOLD


def test_a_reversal_goes_to_all_of_capacity_mode_and_says_why() -> None:
    """Users suffer: nothing of the step may be left, and people read after which step and why."""
    made = replace(_at_step(), error_ratio=Sample(0.5, NOW - 5))
    decision = decide(ON_THE_WAY, made)[1]
    assert (decision.verb, decision.mode, decision.reason) == (Verb.REVERSE, Mode.CAPACITY, Reason.RETURN_REVERSED)
    assert (decision.targets, decision.return_step, decision.lowering_allowed) == (CAPACITY_TARGETS, 0, False)
    assert decision.details == {"step": "2", "steps": "4", "problem": "50.0 % errors over 1.0 %"}


def test_a_reversal_in_place_follows_what_can_serve() -> None:
    """A unit without a ready replica gets nothing of the traffic that goes back: it would answer 503."""
    made = _at_step(style=RoutingStyle.IN_PLACE)
    made = change(made, TRN1, ready=0, deployment_ready=0, endpoints_ready=0)
    decision = decide(ON_THE_WAY, replace(made, error_ratio=Sample(0.5, NOW - 5)))[1]
    assert decision.verb is Verb.REVERSE
    assert {one.service: one.weight for one in decision.targets} == {name: 0 if name == TRN1 else 25 for name in SERVICES}


def test_a_reversal_that_a_guard_holds_leaves_the_step_and_says_why() -> None:
    """Nothing ready behind the capacity Service: moving there would fail every request."""
    made = replace(_at_step(capacity_ready=0), error_ratio=Sample(0.5, NOW - 5))
    decision = decide(ON_THE_WAY, made)[1]
    assert (decision.verb, decision.held_back, decision.reason) == (Verb.HOLD, Verb.REVERSE, Reason.STANDBY_NOT_READY)
    assert (decision.targets, decision.return_step) == ((), 2)
    assert [one.guard for one in decision.guards] == [*ALWAYS, *REROUTE]


@pytest.mark.parametrize(
    ("weights", "found", "overloads"),
    [
        pytest.param((21, 79), {}, False, id="a twentieth more than it can serve"),
        pytest.param((22, 79), {}, True, id="more than that"),
        pytest.param((22, 79), {"cut": frozenset()}, False, id="nothing is cut"),
        pytest.param((22, 79), {"spare": 1.0}, False, id="the others cannot carry the rest either"),
        pytest.param((0, 0), {}, False, id="no weight at all"),
        pytest.param((1, 0), {}, True, id="the least weight, and all of it for the unit that is short"),
        pytest.param((90, 10), {"cut": frozenset({TRN1})}, False, id="another unit than the one that is cut"),
    ],
)
def test_weights_that_overload_a_short_unit_are_never_kept(weights: tuple[int, int], found: dict[str, Any], *, overloads: bool) -> None:
    """They may be as close to the wanted ones as usual weights that are kept: of a light unit a point of a percent is a tenth."""
    made = snapshot()
    targets = [replace(one, weight=0) for one in COST_TARGETS]
    targets[:2] = (replace(one, weight=weight) for one, weight in zip(targets[:2], weights, strict=True))
    made = replace(made, routing=replace(made.routing, targets=tuple(targets)))
    absorbed = replace(Absorption(50.0, 60.0, 0.9, {}, frozenset({INF2}), {INF2: 0.2, TRN1: 0.5}), **found)
    case = Case(made, memory(), Mode.COST, "", {}, Figures.of(made), absorbed)
    assert _overloads_short(case) is overloads
    assert not _overloads_short(replace(case, absorption=None))


def test_what_somebody_else_changed_names_the_mode_that_is_restored() -> None:
    """In capacity mode, too; and a guard that holds it back keeps all as it is."""
    made = _drifted(Mode.CAPACITY)
    decision = decide(memory(Mode.CAPACITY, mode_since=NOW - 10), made)[1]
    assert (decision.verb, decision.targets, decision.details["mode"]) == (Verb.REWEIGHT, CAPACITY_TARGETS, "capacity")
    held = decide(memory(Mode.CAPACITY, mode_since=NOW - 10), replace(made, routing=replace(made.routing, capacity_ready=0)))[1]
    assert (held.verb, held.held_back, held.targets) == (Verb.HOLD, Verb.REWEIGHT, ())


def test_no_floor_sinks_in_the_pass_that_moves_traffic() -> None:
    """Each side may have to carry all of it until the load balancer shows the change and sticky clients have left."""
    settled = replace(returned()[1], changed_at=NOW - 9000, verified_at=NOW - 9000)
    advancing, falling = decide(settled, _at_step(1))[1], decide(settled, _at_step(3))[1]
    assert (advancing.verb, advancing.return_step, falling.verb) == (Verb.ADVANCE, 2, Verb.FALLBACK)
    assert (advancing.lowering_allowed, falling.lowering_allowed) == (False, False)
    assert decide(memory(changed_at=NOW - 9000, verified_at=NOW - 9000), snapshot())[1].lowering_allowed


@pytest.mark.parametrize(("ago", "left"), [(100.0, 20.0), (119.0, 1.0), (120.0, None)])
def test_floors_sink_once_sticky_clients_have_left(ago: float, left: float | None) -> None:
    """A drain of two minutes by default; the pass comes when it is over."""
    decision = decide(memory(changed_at=NOW - 400, verified_at=NOW - ago), snapshot())[1]
    assert (decision.lowering_allowed, decision.next_check_s) == (left is None, left)


def test_a_unit_that_may_have_no_replica_keeps_none() -> None:
    """Scaled to zero by its own file: a floor that nobody asked for would be paid for ever."""
    app = application()
    app = replace(app, units=tuple(replace(one, min_replicas=0) for one in app.units))
    made = change(snapshot(app), INF2, ready=0, desired=0, deployment_ready=0, endpoints_ready=0)
    held = memory(demand_known_since=None, demand_missing_since=NOW - 60)
    for remembered in (memory(), held):
        assert decide(remembered, with_scalers(made, min_replicas=0))[1].floors[INF2] == 0
        assert decide(remembered, made)[1].floors[INF2] == 0
