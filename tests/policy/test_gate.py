"""Whether the routing changes now within its mode: what is urgent, what is worth it, and how often it may change at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.policy.account import Absorption, Figures, shown_s
from controller.policy.case import Case
from controller.policy.decision.gate import URGENT_S, gate
from controller.policy.memory import CHANGES_PER_HOUR, HOUR_S, REWRITTEN, applied, sent_as
from controller.policy.model import (
    Decision,
    Held,
    Memory,
    Mode,
    PolicySettings,
    Reservation,
    RoutingStyle,
    Sample,
    Snapshot,
    Source,
    Strategy,
    Target,
    Verb,
)
from controller.policy.model.modes import Repeats
from controller.policy.reasons import Reason
from controller.policy.routing import cost_targets
from controller.routing.ingress.action import format_action
from tests.policy.guard_cases import guard_case
from tests.policy.support import INF2, TRN1, change, decide
from tests.support.applications import COST_TARGETS, NOW, SERVICES, application, memory, routing, snapshot

SETTLED_S = shown_s(60)


def _world(*weights: int, requests: float | None = 840.0, app: Any = None, **changes: Any) -> Snapshot:
    """Two replicas of each unit, which serve 840 as the application file splits them, with these weights on the Ingress."""
    targets = tuple(replace(one, weight=weight) for one, weight in zip(COST_TARGETS, weights, strict=True))
    made = snapshot(app, routing=routing(targets=targets, action=format_action(targets, 0), **changes))
    for name, weight in zip(SERVICES, weights, strict=True):
        made = change(made, name, demand=None if requests is None else Sample(requests * weight / sum(weights), NOW))
    return made


def _since_change(made: Snapshot, seconds: float, **remembered: Any) -> Decision:
    return decide(memory(changed_at=NOW - seconds, verified_at=NOW - seconds, **remembered), made)[1]


def _weights(decision: Decision) -> list[int]:
    return [target.weight for target in decision.targets]


@pytest.mark.parametrize(
    ("weights", "young", "changes"),
    [
        pytest.param((36, 22, 15, 10, 17), True, False, id="weights that were cut come back once the last change can be judged"),
        pytest.param((36, 22, 15, 10, 17), False, True, id="then those of the file do, however close the present ones are"),
        pytest.param((0, 33, 25, 17, 25), True, True, id="a unit that serves again and gets nothing does not wait"),
    ],
)
def test_explicit_weights_come_back(weights: tuple[int, ...], *, young: bool, changes: bool) -> None:
    """What only gives traffic back would follow every sample of a demand that is close to a limit."""
    decision = _since_change(_world(*weights, requests=300.0), SETTLED_S - (1 if young else 0))
    assert decision.verb is (Verb.REWEIGHT if changes else Verb.HOLD)
    if not changes:
        assert decision.kept is not None
        assert (decision.kept.reason, decision.kept.reopens_s) == (Reason.WEIGHTS_SETTLING, 1.0)
        assert decision.next_check_s == 1.0


@pytest.mark.parametrize(
    ("ready", "verb"),
    [
        pytest.param(2, Verb.HOLD, id="1.33 of what two replicas of four are made for"),
        pytest.param(1, Verb.REWEIGHT, id="2.67 of what one is"),
    ],
)
def test_a_unit_that_is_overloaded_does_not_wait(ready: int, verb: Verb) -> None:
    """A third more than its throughput makes replicas slow for a while and breaks nothing."""
    made = change(_world(40, 20, 15, 10, 15, requests=700.0), INF2, ready=ready)
    assert _since_change(made, 1.0).verb is verb


def test_part_of_a_weight_that_was_cut_comes_back_as_late_as_all_of_it() -> None:
    """One of four replicas serves after none did: the unit would get more with each further one, within seconds."""
    made = change(_world(10, 30, 22, 16, 22, requests=700.0), INF2, ready=1)
    assert Figures.of(made).cut == {INF2}
    assert _since_change(made, SETTLED_S - 1).verb is Verb.HOLD
    assert _since_change(made, SETTLED_S).verb is Verb.REWEIGHT


@pytest.mark.parametrize(
    ("weights", "seconds", "urgent"),
    [
        pytest.param((21, 79), SETTLED_S, False, id="a twentieth more than it can serve"),
        pytest.param((22, 79), SETTLED_S, True, id="more than that"),
        pytest.param((22, 79), SETTLED_S - 1, False, id="more than that, by one sample since the last change"),
        pytest.param((1, 0), SETTLED_S, True, id="all traffic for the unit that is short"),
    ],
)
def test_a_short_unit_is_relieved_once_more_than_a_sample_says_so(weights: tuple[int, int], seconds: float, *, urgent: bool) -> None:
    """Of a light unit a point of a percent is a tenth, and the noise of one sample is more than that."""
    made = _world(*weights, 0, 0, 0, requests=1040.0)
    figures = replace(Figures.of(made), serving={INF2: 2, TRN1: 8}, demand=1040.0)
    absorbed = Absorption(50.0, 60.0, 0.9, {}, frozenset({INF2}))
    case = Case(made, memory(changed_at=NOW - seconds), Mode.COST, "", {}, replace(figures, cost={INF2: 20, TRN1: 80}), absorbed)
    wanted = cost_targets(made.application, case.figures.cost)
    passage = gate(Mode.COST, case, wanted)
    assert (passage.targets == wanted) is urgent


@pytest.mark.parametrize(
    ("weights", "moved_to", "urgent"),
    [
        pytest.param((40, 10, 50), (40, 9, 51), True, id="another unit keeps what it has too much of"),
        pytest.param((39, 10, 51), (40, 9, 51), False, id="that unit would get more"),
        pytest.param((40, 11, 49), (40, 10, 50), False, id="the short unit would still have too much"),
        pytest.param((40, 9, 51), (39, 9, 52), False, id="a unit with too much would have a little less of it"),
    ],
)
def test_relief_does_not_wait_for_the_overload_of_another_unit(
    weights: tuple[int, int, int], moved_to: tuple[int, int, int], *, urgent: bool
) -> None:
    """At 1400 a minute the unit INF2 has 1.12 of what its replicas serve, TRN1 is short and has 1.17, and the third has room."""
    made = _world(*weights, 0, 0, requests=1400.0)
    rooms = dict(zip(SERVICES, (500, 120, 1500), strict=False))
    units = tuple(replace(unit, throughput=rooms.get(unit.name, unit.throughput)) for unit in made.application.units)
    made = replace(made, application=replace(made.application, units=units))
    figures = replace(Figures.of(made), serving=dict.fromkeys(rooms, 1), demand=1400.0, cost=dict(zip(SERVICES, moved_to, strict=False)))
    absorbed = Absorption(20.0, 800.0, 0.7, {}, frozenset({TRN1}))
    case = Case(made, memory(changed_at=NOW - SETTLED_S), Mode.COST, "", {}, figures, absorbed)
    wanted = cost_targets(made.application, figures.cost)
    assert (gate(Mode.COST, case, wanted).targets == wanted) is urgent


@pytest.mark.parametrize(("ratio", "passes"), [(1.0, False), (1.04, False), (1.06, True)])
def test_weights_that_follow_the_ready_replicas_change_only_to_save_something(ratio: float, *, passes: bool) -> None:
    """A twentieth of the price: else each new replica would mean new weights."""
    app = application(policy=PolicySettings(strategy=Strategy.ADAPTIVE))
    cheap, costly = (replace(unit, price_per_hour=price, throughput=100) for unit, price in zip(app.units[:2], (1.0, 2.0), strict=True))
    app = replace(app, units=(cheap, costly))
    new = (Target(cheap.backend.service, 80, 100), Target(costly.backend.service, 80, 0))
    old = (Target(cheap.backend.service, 80, 100), Target(costly.backend.service, 80, round(100 * (ratio - 1) / (2 - ratio))))
    made = snapshot(routing=routing(targets=old, action=format_action(old, 0)))
    made = replace(made, application=app, units={unit.name: made.units[unit.name] for unit in app.units})
    case = Case(made, memory(), Mode.COST, "", {}, replace(Figures.of(made), demand=100.0))
    passage = gate(Mode.COST, case, new)
    assert passage.changes is passes
    if not passes and ratio > 1:
        assert passage.kept is not None
        assert passage.kept.text == "other weights are not worth a change: they would save less than 5% of the price"


def test_in_place_a_tenth_of_a_share_is_too_little_for_a_change() -> None:
    """Each change costs the load-balancer controller a whole reconcile."""
    app = application(routing_style=RoutingStyle.IN_PLACE)
    made = snapshot(app, mode=Mode.CAPACITY)
    close = tuple(replace(one, weight=weight) for one, weight in zip(COST_TARGETS, (21, 20, 20, 20, 19), strict=True))
    made = replace(made, routing=replace(made.routing, targets=close, action=format_action(close, 0)))
    passage = gate(Mode.CAPACITY, guard_case(made, Mode.CAPACITY), tuple(replace(one, weight=20) for one in close))
    assert passage.held is not None
    assert (passage.targets, passage.held.text) == (
        close,
        "other weights are not worth a change: no share of the traffic would change by a tenth",
    )


def _of_block(**known: Any) -> dict[str, Any]:
    return {"pool_held": (Held("inf2.xlarge", "cr-1", 2, block=True),), **known}


@pytest.mark.parametrize(
    ("present", "unit", "ec2", "waits"),
    [
        pytest.param(None, {}, {}, True, id="it names the unit no longer"),
        pytest.param(0, {}, {}, True, id="it names it without weight"),
        pytest.param(1, {}, {}, False, id="the unit still has the least traffic"),
        pytest.param(0, {"pool_held": ()}, {}, False, id="its nodes are in no block"),
        pytest.param(0, {"blocks": (Reservation("cr-1", "inf2.xlarge", "us-west-2a", block=True),)}, {}, False, id="the end is known"),
        pytest.param(0, {}, {"last_ok": NOW}, False, id="EC2 has answered"),
    ],
)
def test_a_unit_gets_no_traffic_back_before_the_end_of_its_block_can_be_known(
    present: int | None, unit: dict[str, Any], ec2: dict[str, Any], *, waits: bool
) -> None:
    """The process before may have moved it away for that end, and this one has just started."""
    service = SERVICES[0]
    targets = tuple(replace(one, weight=present or 0) if one.service == service else one for one in COST_TARGETS)
    targets = targets if present is not None else COST_TARGETS[1:]
    made = change(snapshot(routing=routing(targets=targets, action=format_action(targets, 0))), **_of_block(**unit))
    source = replace(Source("ec2", False, None, 900.0), **ec2)
    case = guard_case(replace(made, sources=(*made.sources, source)))
    kept = gate(Mode.COST, case, COST_TARGETS).kept
    assert (kept is not None and kept.reason is Reason.FIGURES_AWAITED) is waits
    for without in (COST_TARGETS[1:], (replace(COST_TARGETS[0], weight=0), *COST_TARGETS[1:])):
        kept = gate(Mode.COST, case, without).kept
        assert kept is None or kept.reason is not Reason.FIGURES_AWAITED


class TestBound:
    """A bound on changes an hour, for any cause."""

    @staticmethod
    def _spent(newest_s: float = 120.0, **remembered: Any) -> Memory:
        """As many changes as are allowed, the oldest 50 minutes ago."""
        at = [NOW - 3000.0 + number for number in range(CHANGES_PER_HOUR - 1)]
        return memory(routed_at=(*at, NOW - newest_s), **remembered)

    def test_what_is_worth_it_waits_until_the_oldest_change_is_an_hour_old(self) -> None:
        made = _world(0, 33, 25, 17, 25, requests=300.0)
        assert decide(memory(), made)[1].verb is Verb.REWEIGHT
        decision = decide(self._spent(), made)[1]
        assert (decision.verb, decision.reason, decision.targets) == (Verb.HOLD, Reason.ROUTING_BUDGET_SPENT, ())
        assert decision.sentence == "12 changes of the routing in the last hour, 12 are allowed; the next in 10 min"
        assert decision.next_check_s == HOUR_S - 3000.0
        assert decision.alerts == (), "a fleet that grows reaches the bound as well; of another writer the alert `fighting` says more"

    @pytest.mark.parametrize(("newest_s", "verb"), [(URGENT_S - 1, Verb.HOLD), (URGENT_S, Verb.REWEIGHT)])
    def test_what_cannot_serve_waits_for_five_minutes_at_most(self, newest_s: float, verb: Verb) -> None:
        """Its target group answers 503."""
        made = change(_world(40, 20, 15, 10, 15), INF2, ready=0, deployment_ready=0, endpoints_ready=0)
        assert decide(self._spent(newest_s), made)[1].verb is verb

    @pytest.mark.parametrize(("newest_s", "verb"), [(URGENT_S - 1, Verb.HOLD), (URGENT_S, Verb.REWEIGHT)])
    def test_nor_does_it_wait_longer_for_another_writer(self, newest_s: float, verb: Verb) -> None:
        """One who gives a unit traffic that it cannot serve was answered after up to ten minutes."""
        made = _world(40, 20, 15, 10, 15, foreign=True, writer="argocd")
        made = change(made, INF2, ready=0, deployment_ready=0, endpoints_ready=0)
        fought = memory(sent="x", reasserted=Repeats(9, NOW - newest_s), routed_at=(NOW - newest_s,))
        decision = decide(fought, made)[1]
        assert decision.verb is verb
        assert decision.reason is (Reason.REASSERT_BACKOFF if verb is Verb.HOLD else Reason.ROUTING_DRIFTED)

    def test_it_counts_what_was_written_within_the_hour(self) -> None:
        """And no more than decide anything."""
        made = Decision(Verb.REWEIGHT, Mode.COST, Reason.AVAILABILITY_CHANGED, {"change": "x"}, {}, (), COST_TARGETS)
        kept = applied(replace(self._spent(), routed_at=(NOW - HOUR_S, *self._spent().routed_at)), made, NOW, "x")
        assert (len(kept.routed_at), kept.routed_at[-1]) == (CHANGES_PER_HOUR, NOW)
        assert applied(kept, replace(made, verb=Verb.NUDGE), NOW + 1, "x").routed_at == kept.routed_at


@pytest.mark.parametrize(
    ("unseen", "shown", "writer"),
    [
        pytest.param(True, 300, REWRITTEN, id="what was sent was never there"),
        pytest.param(False, 300, None, id="it was there, and the controller may have sent another since"),
        pytest.param(True, 60, None, id="it is there"),
    ],
)
def test_who_changed_what_was_sent(*, unseen: bool, shown: int, writer: str | None) -> None:
    """A process that dies between a write and its memory must not accuse a webhook."""
    action = format_action(COST_TARGETS, shown)
    made = snapshot(routing=routing(action=action, stickiness_s=shown))
    remembered = memory(sent=sent_as(COST_TARGETS, 60), unseen=unseen)
    assert gate(Mode.COST, guard_case(made, memory=remembered), COST_TARGETS).writer == writer


def test_other_words_for_the_same_action_are_no_other_action() -> None:
    """A webhook that sorts keys or adds spaces changes nothing: weights go on following what can serve."""
    words = format_action(COST_TARGETS, 0).replace(",", ", ")
    made = change(snapshot(routing=routing(action=words)), INF2, ready=0, deployment_ready=0, endpoints_ready=0)
    before = memory(sent=sent_as(COST_TARGETS, 0), unseen=True)
    kept, decision = decide(before, made)
    assert (decision.verb, decision.reason) == (Verb.REWEIGHT, Reason.AVAILABILITY_CHANGED)
    assert not kept.unseen
